defmodule Mix.Tasks.Chunker.Chunk do
  @shortdoc "Prints the content-defined chunks of files"

  @moduledoc """
  Prints the content-defined chunks of files.

      mix chunker.chunk [OPTIONS] PATH...

  For each file it prints a table of its chunks (offset and length in bytes, and digest) and a summary: bytes, chunks,
  the mean, smallest and largest chunk, unique bytes (what a store would hold that keeps each chunk once), and
  throughput, reading and hashing included. With several files a summary of all of them follows; its unique bytes count
  a chunk once however many files have it.

      $ mix chunker.chunk --avg-size 64K --hash sha256 one.tar two.tar
      $ mix chunker.chunk --summary /var/backups

  ## Options

    * `--avg-size SIZE`, `--min-size SIZE`, `--max-size SIZE` - sizes in bytes, or with a unit: `16K`, `4M` (powers of
      1024). Defaults: `1M`, and a quarter and four times the average
    * `--nar MODE` - `true`: the files are Nix archives, which are chunked along the files in them; `auto`: those that are
      (not on standard input); `false`, the default
    * `--tar` - chunk tars along the files in them, and other files as they are
    * `--preset NAME` - sizes for archives, at once: `default` (also with `--nar true` and `--nar auto`),
      `large_packages`, `small_packages`
    * `--entries` - with `--nar` and `--json`: each chunk tells the entries of the archive that it touches, as
      `"entries": [{"path", "offset", "length", "position"}]`; see `Chunker.Nar.Part`
    * `--normalization N` - 0 to 3: how strongly sizes gather around the average. Default: 1
    * `--seed N` - changes the cut points; no secret key. Default: 0
    * `--hash NAME` - `blake3` (the default) or `sha256`
    * `--digest FORMAT` - how digests are written: `hex` (the default), `nix32` (Nix's base-32) or `base64`
    * `--threads N` - use at most so many threads
    * `--summary` - print no tables, only summaries
    * `--json` - print one JSON object a line for each file, for programs:
      `{"path", "bytes", "unique_bytes", "seconds", "hash", "chunks": [{"offset", "length", "hash"}]}`, or
      `{"path", "error", "message"}` for a file that cannot be chunked
    * `--help`, `-h` - print this

  The path `-` is standard input; so is `/dev/stdin`. Since OTP 26 the Erlang VM passes on no more than some 8 MB/s of its
  standard input. `scripts/chunk` hands it over as another descriptor, which is read as fast as a file; inside a Mix project

      $ mix chunker.chunk /dev/fd/3 3<&0 </dev/null

  does the same.

  A directory stands for all regular files below it, each of which is printed with its path, in the order of names.
  Symbolic links in it are not followed, and FIFOs, sockets and devices in it are passed over. Memory does not grow with
  the number of files, except for the summary of all: some 130 bytes for each different chunk. With `--json` there is none.

  A file that cannot be chunked and a directory that cannot be read are reported on standard error and spoil no other
  file. The exit status is 0 if every file was chunked, and 1 if not.
  """

  use Mix.Task

  alias Mix.Chunker.{FileTree, StandardStreams, Switches, Tally, Text}

  @requirements ["app.config"]

  @switches [
    min_size: :string,
    avg_size: :string,
    max_size: :string,
    nar: :string,
    tar: :boolean,
    preset: :string,
    entries: :boolean,
    normalization: :integer,
    seed: :integer,
    hash: :string,
    digest: :string,
    threads: :integer,
    summary: :boolean,
    json: :boolean,
    help: :boolean
  ]

  # So many lines go to the terminal at once.
  @lines 1000

  @impl true
  def run(arguments), do: StandardStreams.run(fn -> parse(arguments) end)

  defp parse(arguments) do
    {switches, paths, invalid} = OptionParser.parse(arguments, strict: @switches, aliases: [h: :help])

    cond do
      switches[:help] -> IO.puts(@moduledoc)
      invalid != [] -> Mix.raise("#{Switches.describe(invalid)}; mix chunker.chunk --help lists the options")
      paths == [] -> Mix.raise("which file? mix chunker.chunk [OPTIONS] PATH...")
      true -> chunk(paths, switches)
    end
  end

  defp chunk(paths, switches) do
    options = options(switches)
    digest = digest(switches[:digest] || "hex")

    # Options that are out of range are a mistake of the call, not of each file.
    with {:error, %{reason: :invalid_options} = error} <- Chunker.chunk_data("", options) do
      Mix.raise(Switches.out_of_range(error.details))
    end

    {total, failed} =
      paths
      |> Stream.flat_map(&files/1)
      |> Enum.reduce({Tally.new(), 0}, fn {path, visited}, {total, failed} ->
        {microseconds, result} = :timer.tc(fn -> with :ok <- visited, do: chunk_path(path, options) end)
        file = %{path: path, seconds: microseconds / 1_000_000, result: result}
        if switches[:json], do: print_json(file, options, digest), else: print(file, switches, digest)

        case result do
          {:ok, chunks} ->
            {if(switches[:json], do: total, else: Tally.add(total, chunks, file.seconds)), failed}

          {:error, _error} ->
            {total, failed + 1}
        end
      end)

    # Of one file it has been printed, and of no file there is something to say if that is no error.
    if !switches[:json] and (total.files > 1 or (total.files == 0 and failed == 0)) do
      IO.puts("all #{total.files} files")
      print_summary(Tally.close(total))
    end

    if failed > 0, do: exit({:shutdown, 1})
  end

  # The files that a path stands for, and what of it cannot be visited.
  defp files(path) do
    if not StandardStreams.input?(path) and File.dir?(path), do: FileTree.files(path), else: [{path, :ok}]
  end

  defp chunk_path(path, options) do
    if StandardStreams.input?(path) do
      StandardStreams.with_input(
        path,
        &Chunker.chunk_file(&1, options),
        &{:ok, &1 |> Chunker.stream(options) |> Enum.map(fn chunk -> %{chunk | data: nil} end)}
      )
    else
      Chunker.chunk_file(path, options)
    end
  end

  defp options(switches) do
    nar = Switches.one_of(switches, :nar, ~w(true false auto)a)
    preset = Switches.one_of(switches, :preset, ~w(default large_packages small_packages)a)
    entries = entries(switches, nar)

    if switches[:tar] && nar not in [[], [nar: false]],
      do: Mix.raise("options --nar and --tar exclude each other")

    Switches.sizes(switches) ++
      Switches.hash(switches) ++
      nar ++ preset ++ entries ++ Keyword.take(switches, [:tar, :normalization, :seed, :threads])
  end

  defp entries(switches, nar) do
    cond do
      !switches[:entries] -> []
      nar in [[], [nar: false]] -> Mix.raise("option --entries needs option --nar")
      !switches[:json] -> Mix.raise("option --entries needs option --json")
      true -> [entries: true]
    end
  end

  defp digest("hex"), do: &Chunker.to_hex/1
  defp digest("nix32"), do: &Chunker.to_nix_base32/1
  defp digest("base64"), do: &Base.encode64/1
  defp digest(other), do: Mix.raise("option --digest must be hex, nix32 or base64, not #{other}")

  defp print(%{result: {:error, error}}, _switches, _digest) do
    IO.puts(:stderr, "chunker.chunk: #{Exception.message(error)}")
  end

  defp print(%{path: path, result: {:ok, chunks}, seconds: seconds}, switches, digest) do
    IO.puts(Text.name(path))
    unless switches[:summary], do: print_table(chunks, digest)
    Tally.new() |> Tally.add(chunks, seconds) |> Tally.close() |> print_summary()
  end

  defp print_table(chunks, digest) do
    last = List.last(chunks)
    width = max(6, digits(if last, do: last.offset, else: 0))
    IO.puts([String.pad_leading("offset", width), "   length  hash"])

    chunks
    |> Stream.chunk_every(@lines)
    |> Enum.each(fn some ->
      IO.write(
        for chunk <- some do
          offset = String.pad_leading(Integer.to_string(chunk.offset), width)
          length = String.pad_leading(Integer.to_string(chunk.length), 9)
          [offset, length, "  ", digest.(chunk.hash), ?\n]
        end
      )
    end)
  end

  defp digits(number), do: number |> Integer.to_string() |> byte_size()

  defp print_summary(%Tally{bytes: bytes, chunks: count, unique_bytes: unique} = tally) do
    sizes =
      if count > 0 do
        "mean #{round(bytes / count)}, smallest #{tally.smallest}, largest #{tally.largest}"
      else
        "empty"
      end

    IO.puts("""
    #{bytes} bytes in #{count} #{if count == 1, do: "chunk", else: "chunks"}: #{sizes}
    #{unique} unique bytes#{Text.share(unique, bytes)}, #{Text.throughput(bytes, tally.seconds)}
    """)
  end

  defp print_json(%{path: path, result: {:error, error}}, _options, _digest) do
    IO.puts([
      ["{\"path\":", Text.json(path), ",\"error\":", Text.json(error.reason)],
      [",\"message\":", Text.json(Exception.message(error)), "}"]
    ])
  end

  defp print_json(%{path: path, result: {:ok, chunks}, seconds: seconds}, options, digest) do
    %{bytes: bytes, unique_bytes: unique} = Tally.new() |> Tally.add(chunks, seconds) |> Tally.close()
    hash = Atom.to_string(Keyword.get(options, :hash, :blake3))

    IO.write([
      ["{\"path\":", Text.json(path), ",\"bytes\":", Integer.to_string(bytes)],
      [",\"unique_bytes\":", Integer.to_string(unique)],
      [",\"seconds\":", :erlang.float_to_binary(seconds, decimals: 6), ",\"hash\":", Text.json(hash)],
      ",\"chunks\":["
    ])

    chunks
    |> Stream.map(fn chunk ->
      [
        ["{\"offset\":", Integer.to_string(chunk.offset), ",\"length\":", Integer.to_string(chunk.length)],
        [",\"hash\":", Text.json(digest.(chunk.hash)), json_entries(chunk.entries), "}"]
      ]
    end)
    |> Stream.intersperse(",")
    |> Stream.chunk_every(@lines)
    |> Enum.each(&IO.write/1)

    IO.puts("]}")
  end

  defp json_entries(nil), do: []

  defp json_entries(parts) do
    parts =
      for part <- parts do
        [
          ["{\"path\":", Text.json(part.path), ",\"offset\":", Integer.to_string(part.offset)],
          [",\"length\":", Integer.to_string(part.length)],
          [",\"position\":", Integer.to_string(part.position), "}"]
        ]
      end

    [",\"entries\":[", Enum.intersperse(parts, ","), "]"]
  end
end
