defmodule Bench.Load do
  @moduledoc """
  Measures the resident memory of the VM while many processes call Chunker at once. Linux only.
  """

  @doc """
  Starts `processes`, each of which calls functions of every kind with inputs of 1 to 20 MB, one after the other and in
  an order of its own.

  Returns the number of calls, the milliseconds that they took, and the resident memory in MiB: before, at the peak, when
  all processes have ended and all garbage is collected, and `seconds` later.
  """
  def run(processes, seconds) do
    folder = Path.join(System.tmp_dir!(), "chunker-load-#{System.pid()}")
    File.mkdir_p!(folder)
    calls = calls(folder)
    before = resident("VmRSS")
    start = System.monotonic_time(:millisecond)

    tasks =
      for n <- 1..processes do
        Task.async(fn ->
          :rand.seed(:exsss, {n, 2, 3})
          for call <- Enum.shuffle(calls), do: call.()
          :ok
        end)
      end

    Task.await_many(tasks, :infinity)
    milliseconds = System.monotonic_time(:millisecond) - start
    peak = resident("VmHWM")
    for pid <- Process.list(), do: :erlang.garbage_collect(pid)
    Process.sleep(100)
    at_end = resident("VmRSS")
    Process.sleep(1000 * seconds)
    File.rm_rf!(folder)

    %{
      calls: processes * length(calls),
      milliseconds: milliseconds,
      memory: [
        {"before", before},
        {"peak", peak},
        {"at the end", at_end},
        {"#{seconds} s later", resident("VmRSS")}
      ]
    }
  end

  defp calls(folder) do
    path = Path.join(folder, "file")
    text = Base.encode64(:rand.bytes(15_000_000))
    File.write!(path, text)
    tree = Path.join(folder, "tree")
    File.mkdir_p!(tree)
    for n <- 1..20, do: File.write!(Path.join(tree, "#{n}"), binary_part(text, n * 100_000, 1_000_000))
    nar = Path.join(folder, "nar")
    {:ok, _} = Chunker.Nar.dump(tree, {:file, nar})
    short = binary_part(text, 0, 1_000_000)
    packed = for codec <- [:zstd, :xz, :bzip2, :lz4], do: Chunker.compress!(short, codec: codec)

    [
      fn -> Chunker.chunk_file!(path) end,
      fn -> Chunker.chunk_data!(text) end,
      fn -> path |> Chunker.stream() |> Enum.count() end,
      fn -> path |> Chunker.stream(compress: [codec: :zstd]) |> Enum.count() end,
      fn -> [text] |> Chunker.stream() |> Enum.count() end,
      fn -> Chunker.hash(text, :blake3) end,
      fn -> Chunker.hash_file(path, :sha256) end,
      fn -> Chunker.compress!(text) end,
      fn -> Chunker.compress_batch!(List.duplicate(short, 10)) end,
      fn -> [text] |> Chunker.compress_stream() |> Stream.run() end,
      fn -> Chunker.Nar.list!({:file, nar}) end,
      fn -> Chunker.Nar.chunk!({:file, nar}) end,
      fn -> tree |> Chunker.Nar.stream() |> Stream.run() end
    ] ++
      for(codec <- [:xz, :bzip2], do: fn -> Chunker.compress!(short, codec: codec) end) ++
      for(bytes <- packed, do: fn -> Chunker.decompress!(bytes) end)
  end

  # A field of the process's status, in MiB.
  defp resident(field) do
    [_, kilobytes] = Regex.run(~r/#{field}:\s+(\d+)/, File.read!("/proc/self/status"))
    div(String.to_integer(kilobytes), 1024)
  end
end
