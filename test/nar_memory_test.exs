defmodule Chunker.NarMemoryTest do
  # Not async: the memory of other tests would count too.
  use ExUnit.Case, async: false

  alias Chunker.Nar

  @moduletag :tmp_dir

  # The longest possible paths, 16 KiB, of entries that take 184 bytes each.
  @names 63
  @path 62 * 256 + 8
  @sizes [min_size: 16_384, avg_size: 65_536, max_size: 262_144]

  defp string(bytes) do
    size = byte_size(bytes)
    <<size::little-64, bytes::binary, 0::size(Integer.mod(-size, 8))-unit(8)>>
  end

  defp strings(strings), do: Enum.map(strings, &string/1)

  defp write_deep(folder, count) do
    down = fn name -> strings(["entry", "(", "name", name, "node", "(", "type", "directory"]) end
    file = ["node", "(", "type", "regular", "contents", "", ")", ")"]
    files = for i <- 1..count, do: strings(["entry", "(", "name", String.pad_leading("#{i}", 8, "0") | file])
    path = Path.join(folder, "deep#{count}.nar")

    File.write!(path, [
      strings(["nix-archive-1", "(", "type", "directory"]),
      List.duplicate(down.(String.duplicate("d", 255)), @names - 1),
      files,
      strings(List.duplicate(")", 2 * (@names - 1) + 1))
    ])

    path
  end

  # Runs `code` with `path` and `options` in it, in a separate VM, because the allocators of this VM do not
  # count the engine's memory. Returns the value of `code`, and by how many bytes the highest resident memory
  # exceeds the resident memory before.
  defp in_fresh_vm(code, path, small) do
    answer = path <> ".answer"

    script = """
    resident = fn field ->
      [_, kib] = Regex.run(~r/^\#{field}:\\s+(\\d+) kB/m, File.read!("/proc/self/status"))
      String.to_integer(kib) * 1024
    end

    options = #{inspect(@sizes)} ++ [entries: true]
    lengths = fn chunks -> for %{entries: entries} <- chunks, %{path: path} <- entries, do: byte_size(path) end
    call = fn path -> #{code} end
    call.(#{inspect(small)})
    :erlang.garbage_collect()
    before = resident.("VmRSS")
    result = call.(#{inspect(path)})
    File.write!(#{inspect(answer)}, :erlang.term_to_binary({result, resident.("VmHWM") - before}))
    """

    ebin = Path.join(Mix.Project.app_path(), "ebin")
    {output, status} = System.cmd("elixir", ["-pa", ebin, "-e", script], stderr_to_stdout: true)
    assert {output, status} == {"", 0}
    answer |> File.read!() |> :erlang.binary_to_term()
  end

  # A tree with a file of this size and one behind it, and its NAR, both with holes in place of contents.
  defp write_large(folder, name, size) do
    folder = Path.join(folder, name)
    tree = Path.join(folder, "tree")
    File.mkdir_p!(tree)
    {_, 0} = System.cmd("truncate", ["-s", "#{size}", Path.join(tree, "large")])
    File.write!(Path.join(tree, "last"), "content")
    start = ["nix-archive-1", "(", "type", "directory", "entry", "(", "name", "large", "node", "("]
    start = IO.iodata_to_binary([strings(start ++ ["type", "regular", "contents"]), <<size::little-64>>])

    last = [
      "entry",
      "(",
      "name",
      "last",
      "node",
      "(",
      "type",
      "regular",
      "contents",
      "content",
      ")",
      ")",
      ")"
    ]

    {:ok, file} = File.open(Path.join(folder, "nar"), [:write, :raw])
    :ok = :file.pwrite(file, [{0, start}, {byte_size(start) + size, strings([")", ")"] ++ last)}])
    :ok = File.close(file)
    folder
  end

  @large 536_870_912

  # The kernel counts the memory of the engine too, which :erlang.memory/0 does not see.
  test "a NAR of half a GiB takes little memory, whatever is done with it", %{tmp_dir: folder} do
    small = write_large(folder, "small", 4096)
    path = write_large(folder, "large", @large)
    {hash, 0} = System.cmd("sha256sum", [Path.join(path, "nar")])
    <<hash::binary-size(64), _::binary>> = hash
    hash = "sha256:" <> (hash |> Base.decode16!(case: :lower) |> Chunker.to_nix_base32())

    stream = "(path |> Path.join(~s(tree)) |> Chunker.Nar.stream())"
    binaries = "(path |> Path.join(~s(nar)) |> File.stream!([], 65_536))"
    file = "{:file, Path.join(path, ~s(nar))}"

    for {code, expected} <-
          [
            {"#{stream} |> Enum.reduce(0, &(byte_size(&1) + &2))", File.stat!(Path.join(path, "nar")).size},
            {"path |> Path.join(~s(tree)) |> Chunker.Nar.dump!({:file, Path.join(path, ~s(dumped))})", hash}
            | for source <- [stream, binaries, file],
                  {call, expected} <- [
                    {"Chunker.Nar.list!() |> Enum.map(& &1.size)", [nil, @large, 7]},
                    {"Chunker.Nar.listing!() |> byte_size() |> Kernel.<(1000)", true},
                    {"Chunker.Nar.hash!()", hash},
                    {"Chunker.Nar.read_file!(~s(last))", "content"},
                    {"Chunker.Nar.chunk!() |> Map.fetch!(:hash)", hash}
                  ] do
                {"#{source} |> #{call}", expected}
              end
          ] ++
            [
              {"#{file} |> Chunker.Nar.restore!(Path.join(path, ~s(restored)))", :ok},
              {"#{stream} |> Chunker.Nar.restore!(Path.join(path, ~s(restored from pieces)))", :ok}
            ] do
      {result, grown} = in_fresh_vm(code, path, small)
      assert {code, result} == {code, expected}
      assert {code, grown < 64 * 1_048_576, grown} == {code, true, grown}
    end
  end

  test "a stream with long paths takes as much memory for many entries as for few", %{tmp_dir: folder} do
    small = write_deep(folder, 10)
    path = write_deep(folder, 180_000)

    for code <- [
          "path |> Chunker.stream([nar: true] ++ options)",
          "path |> File.open!() |> IO.binstream(65_536) |> Chunker.stream([nar: true] ++ options)"
        ] do
      code = code <> " |> Enum.reduce(0, &(length(&1.entries) + &2))"
      {count, grown} = in_fresh_vm(code, path, small)
      assert count == 180_000 + @names
      # All paths are 2.9 GB, the paths of one chunk up to 23 MB.
      assert grown < 160 * 1_048_576
    end
  end

  test "the peak memory of a call that returns long paths is little above its result", %{tmp_dir: folder} do
    small = write_deep(folder, 10)
    path = write_deep(folder, 15_000)

    for code <- [
          "path |> Chunker.chunk_file!([nar: true] ++ options) |> lengths.()",
          "path |> File.read!() |> Chunker.chunk_data!([nar: true] ++ options) |> lengths.()",
          "Chunker.Nar.chunk!({:file, path}, options).chunks |> lengths.()",
          "path |> File.open!() |> IO.binstream(65_536) |> Chunker.Nar.chunk!(options) |> Map.fetch!(:chunks) |> lengths.()",
          "{:file, path} |> Chunker.Nar.list!() |> Enum.map(&byte_size(&1.path))"
        ] do
      {lengths, grown} = in_fresh_vm(code, path, small)
      assert length(lengths) == 15_000 + @names
      assert lengths |> Enum.take(-15_000) |> Enum.uniq() == [@path]
      assert grown < 1.3 * Enum.sum(lengths)
    end
  end

  test "an entry that is in many chunks has one path binary", %{tmp_dir: folder} do
    tree = Path.join(folder, "tree")
    path = Path.join([tree | List.duplicate(String.duplicate("d", 200), 10)])
    File.mkdir_p!(path)
    File.write!(Path.join(path, "file"), :rand.bytes(1_000_000))
    nar = tree |> Nar.stream() |> Enum.join()
    before = :erlang.memory(:binary)
    chunks = Chunker.chunk_data!(nar, nar: true, entries: true, min_size: 64, avg_size: 256, max_size: 1024)
    grown = :erlang.memory(:binary) - before
    assert Enum.count(chunks, &match?([%{path: <<_::binary-size(2014)>>} | _], &1.entries)) > 1000
    # One path per chunk would take 8 MB.
    assert grown < 1_000_000
  end
end
