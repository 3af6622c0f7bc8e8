Code.require_file("support/file_stream.exs", __DIR__)

defmodule Chunker.NarNotesTest do
  # Annotations of the chunks of a NAR: the entries that each chunk overlaps, the store hashes that were
  # normalized in it, and the hash of the whole NAR. The engine's own tests check the annotations; these tests
  # check that each way through the public API returns them.
  use ExUnit.Case, async: true

  alias Chunker.{Chunk, Error, FileStream, Nar}
  alias Chunker.Nar.Part

  @moduletag :tmp_dir

  @small [min_size: 1024, avg_size: 4096, max_size: 16_384]
  @digits ~c"0123456789abcdfghijklmnpqrsvwxyz"
  @store_hash ~r|(?<=/nix/store/)[0-9a-df-np-sv-z]{32}|

  defp tree(folder) do
    tree = Path.join(folder, "tree#{System.unique_integer([:positive])}")
    for name <- ~w(bin lib/deep share/empty), do: File.mkdir_p!(Path.join(tree, name))
    File.write!(Path.join(tree, "bin/large"), [:rand.bytes(300_001), store_path(), :rand.bytes(100_000)])
    File.chmod!(Path.join(tree, "bin/large"), 0o755)
    File.write!(Path.join(tree, "lib/nothing"), "")
    for i <- 1..200, do: File.write!(Path.join(tree, "lib/deep/#{i}"), script(i))
    File.ln_s!(store_path(), Path.join(tree, "lib/link"))
    tree
  end

  defp store_path, do: "/nix/store/#{for _ <- 1..32, into: "", do: <<Enum.random(@digits)>>}-glibc/lib"

  # One file is full of store paths, so that hashes cross the ends of chunks.
  defp script(1), do: for(_ <- 1..2000, do: store_path())
  defp script(i), do: ["#!", store_path(), "\n", :rand.bytes(rem(i * 7919, 900))]

  defp nar(tree), do: tree |> Nar.stream() |> Enum.join()

  defp put(folder, data) do
    path = Path.join(folder, "input#{System.unique_integer([:positive])}")
    File.write!(path, data)
    path
  end

  defp fifo(folder, data) do
    path = Path.join(folder, "fifo#{System.unique_integer([:positive])}")
    {_, 0} = System.cmd("mkfifo", [path])
    source = put(folder, data)
    spawn_link(fn -> System.cmd("sh", ["-c", ~S(cat "$0" > "$1"), source, path]) end)
    path
  end

  defp pieces(data, size) do
    for at <- 0..(byte_size(data) - 1)//size, do: binary_part(data, at, min(size, byte_size(data) - at))
  end

  # Each way to chunk, and whether it returns chunks with their bytes.
  defp ways(folder, nar, options) do
    path = put(folder, nar)
    many = [parallel_threshold: 0] ++ options

    [
      {:data, fn -> Chunker.chunk_data!(nar, options) end},
      {nil, fn -> Chunker.chunk_file!(path, options) end},
      {nil, fn -> Chunker.chunk_file!(fifo(folder, nar), options) end},
      {nil, fn -> [path] |> Chunker.chunk_files!(options) |> hd() end},
      {nil, fn -> [path, path] |> Chunker.chunk_files!(many) |> List.last() end},
      {nil, fn -> [fifo(folder, nar)] |> Chunker.chunk_files!(many) |> hd() end},
      {:data, fn -> path |> Chunker.stream(options) |> Enum.to_list() end},
      {:data, fn -> folder |> fifo(nar) |> Chunker.stream(options) |> Enum.to_list() end},
      {:data, fn -> nar |> pieces(777) |> Chunker.stream(options) |> Enum.to_list() end},
      {:data, fn -> [nar] |> Chunker.stream(options) |> Enum.to_list() end},
      {nil, fn -> Nar.chunk!({:file, path}, options -- [nar: true]).chunks end},
      {nil, fn -> Nar.chunk!({:file, fifo(folder, nar)}, options -- [nar: true]).chunks end},
      {nil, fn -> Nar.chunk!(nar, options -- [nar: true]).chunks end},
      {nil, fn -> Nar.chunk!(Stream.map(pieces(nar, 50_000), & &1), options -- [nar: true]).chunks end}
    ]
  end

  defp bare(chunks), do: Enum.map(chunks, &%{&1 | data: nil})

  test "each way to chunk returns the same entries, on any number of threads", %{tmp_dir: folder} do
    nar = folder |> tree() |> nar()
    plain = nar |> Chunker.chunk_data!([nar: true] ++ @small) |> bare()
    assert Enum.all?(plain, &(&1.entries == nil and &1.references == nil))
    [expected | _] = all = for threads <- [1, 2], do: entries_of(folder, nar, threads)
    assert Enum.uniq(all) == [expected]
    assert Enum.map(expected, &%{&1 | entries: nil}) == plain
    # The same with `nar: :auto`, which detects the NAR.
    assert nar |> Chunker.chunk_data!([nar: :auto, entries: true] ++ @small) |> bare() == expected
  end

  defp entries_of(folder, nar, threads) do
    ways = ways(folder, nar, [nar: true, entries: true, threads: threads] ++ @small)
    assert [chunks] = ways |> Enum.map(fn {_, way} -> bare(way.()) end) |> Enum.uniq()
    chunks
  end

  test "entries are all entries of the NAR, and their parts are their contents", %{tmp_dir: folder} do
    nar = folder |> tree() |> nar()

    for options <- [@small, [preset: :default]] do
      chunks = Chunker.chunk_data!(nar, [nar: true, entries: true] ++ options)

      contents =
        for chunk <- chunks, %Part{} = part <- chunk.entries, reduce: %{} do
          files ->
            bytes = binary_part(chunk.data, part.position, part.length)
            before = Map.get(files, part.path, "")
            assert part.offset == byte_size(before)
            Map.put(files, part.path, before <> bytes)
        end

      entries = Nar.list!(nar)
      assert contents |> Map.keys() |> Enum.sort() == entries |> Enum.map(& &1.path) |> Enum.sort()

      for entry <- entries do
        expected = if entry.type == :regular, do: Nar.read_file!(nar, entry.path), else: ""
        assert contents[entry.path] == expected
      end
    end
  end

  # A tree with entries of each kind, names of many lengths, and paths of more than 64 bytes, which the VM keeps
  # outside the heap of a process.
  defp wide_tree(folder, files) do
    tree = Path.join(folder, "wide")
    name = fn i -> String.pad_leading("#{i}", 1 + rem(i, 120), "n") <> "-#{i}" end

    for i <- 1..files do
      directory = Path.join([tree, "d#{rem(i, 50)}", String.duplicate("e", 1 + 3 * rem(i, 40))])
      File.mkdir_p!(directory)
      file = Path.join(directory, name.(i))

      case rem(i, 10) do
        0 -> File.mkdir_p!(file)
        1 -> File.ln_s!("../#{name.(i + 1)}", file)
        2 -> File.write!(file, "")
        _ -> File.write!(file, :binary.copy("#{i} ", rem(i, 100)))
      end

      if rem(i, 10) == 3, do: File.chmod!(file, 0o755)
    end

    tree
  end

  @tag :nix
  test "the entries are those that Nix lists, in both languages", %{tmp_dir: folder} do
    tree = wide_tree(folder, 6000)
    path = Path.join(folder, "wide.nar")
    {_, 0} = System.shell(~s(nix-store --dump "#{tree}" > "#{path}"))
    nix = ~w(--extra-experimental-features nix-command nar ls --long --recursive #{path} /)
    {listing, 0} = System.cmd("nix", nix, stderr_to_stdout: false)

    listed =
      for line <- String.split(listing, "\n", trim: true) do
        [_mode, size, "." <> path | _target] = String.split(line)
        {String.trim_leading(path, "/"), String.to_integer(size)}
      end

    assert length(listed) > 6000

    # Paths are longer than some of the smallest chunks, and shorter than most others.
    for sizes <- [[min_size: 64, avg_size: 256, max_size: 1024], @small, []], threads <- [1, 2] do
      options = [nar: true, entries: true, threads: threads] ++ sizes
      chunks = Chunker.chunk_file!(path, options)

      assert {chunks, chunks} ==
               {Chunker.stream(path, options) |> bare(),
                Nar.chunk!({:file, path}, options -- [nar: true]).chunks}

      parts = Enum.flat_map(chunks, & &1.entries)
      merged = Enum.chunk_by(parts, & &1.path)
      # The root is a directory, which Nix does not list.
      assert [[%Part{path: "", offset: 0, length: 0}] | merged] = merged

      assert Enum.map(merged, &{hd(&1).path, &1 |> Enum.map(fn part -> part.length end) |> Enum.sum()}) ==
               listed

      {:ok, maps} = :chunker.chunk_file(path, options)
      {:ok, iterator} = :chunker.stream({:file, path}, options)
      assert maps == iterator |> iterate() |> Enum.map(&Map.delete(&1, :data))
      plain = fn struct -> struct |> Map.from_struct() |> Map.reject(fn {_, value} -> value == nil end) end

      assert maps ==
               for(
                 chunk <- chunks,
                 do: %{plain.(chunk) | entries: Enum.map(chunk.entries, &Map.from_struct/1)}
               )
    end
  end

  defp iterate(iterator) do
    case :chunker.next(iterator) do
      {:ok, chunk, next} -> [chunk | iterate(next)]
      :done -> []
    end
  end

  test "a changed mode, target or empty file is in the entries of a changed chunk", %{tmp_dir: folder} do
    tree = tree(folder)

    chunks = fn ->
      {:ok, chunks} = Chunker.chunk_data(nar(tree), [nar: true, entries: true] ++ @small)
      Map.new(chunks, &{&1.hash, Enum.map(&1.entries, fn part -> part.path end)})
    end

    for {path, change} <- [
          {"bin/large", &File.chmod!(&1, 0o644)},
          {"lib/link", fn link -> [File.rm!(link), File.ln_s!("elsewhere", link)] end},
          {"lib/new", &File.write!(&1, "")}
        ] do
      before = chunks.()
      change.(Path.join(tree, path))
      new = for {hash, paths} <- chunks.(), not is_map_key(before, hash), do: paths
      assert Enum.any?(new, &(path in &1))
    end
  end

  test "an input that is not a NAR has no entries and no references", %{tmp_dir: folder} do
    data = :rand.bytes(100_000) <> store_path()
    options = [nar: :auto, entries: true, references: true] ++ @small
    path = put(folder, data)

    for chunks <- [
          Chunker.chunk_data!(data, options),
          Chunker.chunk_file!(path, options),
          Enum.to_list(Chunker.stream(path, options))
        ] do
      assert bare(chunks) == bare(Chunker.chunk_data!(data, @small))
    end
  end

  test "each way to chunk normalizes the same references, and they can be restored", %{tmp_dir: folder} do
    nar = folder |> tree() |> nar()
    normalized = Regex.replace(@store_hash, nar, String.duplicate("e", 32))
    expected = normalized |> Chunker.chunk_data!([nar: true] ++ @small) |> bare()

    for threads <- [1, 2] do
      ways = ways(folder, nar, [nar: true, references: true, threads: threads] ++ @small)

      tables =
        for {data, way} <- ways do
          chunks = way.()
          assert chunks |> bare() |> Enum.map(&%{&1 | references: nil}) == expected

          if data do
            restored = for chunk <- chunks, do: Nar.restore_references!(chunk.data, chunk.references)
            assert IO.iodata_to_binary(restored) == nar
          else
            assert Enum.all?(chunks, &(&1.data == nil))
          end

          Enum.map(chunks, & &1.references)
        end

      assert [table] = Enum.uniq(tables)
      # Some references cross the end of a chunk.
      assert table |> List.flatten() |> Enum.any?(fn {_, characters} -> byte_size(characters) < 32 end)
    end

    path = put(folder, nar)

    for chunk <- Chunker.chunk_file!(path, [nar: true, references: true] ++ @small) do
      bytes = Chunker.read_chunk!(path, chunk)
      assert bytes == binary_part(normalized, chunk.offset, chunk.length)
      # Without the table the digest differs, if the chunk has references.
      if chunk.references != [] do
        assert {:error, %Error{reason: :file_changed}} = Chunker.read_chunk(path, %{chunk | references: nil})
      end
    end

    compressed = Chunker.stream(path, [nar: true, references: true, compress: [codec: :lz4]] ++ @small)
    assert Enum.map_join(compressed, &Chunker.decompress!(&1.compressed)) == normalized
  end

  test "the chunks of two builds that differ only in store hashes are the same", %{tmp_dir: folder} do
    nar = folder |> tree() |> nar()
    rebuilt = Regex.replace(@store_hash, nar, "0123456789abcdfghijklmnpqrsvwxyz")

    hashes = fn nar, options ->
      for chunk <- Chunker.chunk_data!(nar, [nar: true] ++ options), do: chunk.hash
    end

    assert hashes.(nar, references: true) == hashes.(rebuilt, references: true)
    refute hashes.(nar, []) == hashes.(rebuilt, [])
  end

  @tag :nix
  test "the hash computed in the same pass matches Nix", %{tmp_dir: folder} do
    path = Path.join(folder, "nar")
    tree = tree(folder)
    {_, 0} = System.shell(~s(nix-store --dump "#{tree}" > "#{path}"))
    {hash, 0} = System.cmd("nix-hash", ~w(--type sha256 --base32 #{tree}))
    {sum, 0} = System.cmd("sha256sum", [path])
    nar = File.read!(path)
    hash = "sha256:" <> String.trim(hash)

    assert hash ==
             "sha256:" <>
               (sum |> binary_part(0, 64) |> Base.decode16!(case: :lower) |> Chunker.to_nix_base32())

    for threads <- [1, 2], options <- [[], [references: true], [entries: true, references: true]] do
      options = [threads: threads] ++ options ++ @small

      for source <- [
            {:file, path},
            {:file, fifo(folder, nar)},
            nar,
            pieces(nar, 1000),
            Stream.map(pieces(nar, 333), & &1),
            FileStream.stream!(path, 65_536)
          ] do
        assert {:ok, %{chunks: chunks, hash: ^hash, size: size}} = Nar.chunk(source, options)
        assert size == byte_size(nar)
        assert chunks == Chunker.chunk_file!(path, [nar: true] ++ options)
        assert Enum.all?(chunks, &(&1.data == nil))
      end
    end
  end

  test "an input that is not a NAR has no hash", %{tmp_dir: folder} do
    nar = folder |> tree() |> nar()

    for {data, details} <- [
          {"", %{offset: 0, why: :truncated}},
          {"something else", %{offset: 0, why: :bad_magic}},
          {binary_part(nar, 0, byte_size(nar) - 1), %{offset: byte_size(nar) - 1, why: :truncated}},
          {nar <> "x", %{offset: byte_size(nar), why: :trailing_data}}
        ],
        threads <- [1, 2],
        source <- [data, {:file, put(folder, data)}, {:file, fifo(folder, data)}, Stream.map([data], & &1)] do
      assert {:error, %Error{reason: :invalid_nar} = error} = Nar.chunk(source, threads: threads)
      assert error.details == details
    end

    assert {:error, %Error{reason: :io_error}} = Nar.chunk({:file, "/no/such/file"})
    assert {:error, %Error{reason: :invalid_options}} = Nar.chunk(nar, avg_size: 1)
    assert_raise ArgumentError, ~r/unknown option :nar/, fn -> Nar.chunk(nar, nar: true) end
    assert_raise Error, fn -> Nar.chunk!("") end
  end

  test "annotation options need nar and a value of the right type" do
    for option <- [:entries, :references] do
      message = "option :#{option} needs option :nar"
      assert_raise ArgumentError, message, fn -> Chunker.chunk_data("", [{option, true}]) end
      assert Chunker.chunk_data("", [{option, false}]) == {:ok, []}
      message = "option :#{option} must be true or false, not 1"
      assert_raise ArgumentError, message, fn -> Chunker.chunk_data("", [{option, 1}, {:nar, true}]) end
    end
  end

  test "invalid references are rejected" do
    for wrong <- [[{-1, "a"}], [{0, ~c"a"}], [1], :none, [{0, "a"} | :tail]] do
      assert_raise ArgumentError, ~r/expected a list of pairs of a position and characters, got: /, fn ->
        Nar.restore_references("e", wrong)
      end
    end

    assert Nar.restore_references(["e", "e"], nil) == {:ok, "ee"}
    assert Nar.restore_references("", []) == {:ok, ""}
    many = for at <- 0..9_999, do: {at, "x"}
    all = String.duplicate("x", 10_000)
    assert Nar.restore_references(String.duplicate("e", 10_000), many) == {:ok, all}
    long = String.duplicate("e", 100_000)
    assert Nar.restore_references(long, [{99_999, "x"}]) == {:ok, binary_part(long, 0, 99_999) <> "x"}

    for position <- [100_000, 1_000_000_000_000, 18_446_744_073_709_551_615, 100_000_000_000_000_000_000] do
      assert {:error, %Error{reason: :invalid_references, details: %{position: ^position}}} =
               Nar.restore_references(long, [{position, "x"}])
    end
  end

  test "inspect of a chunk shows how many entries and references it has" do
    chunk = %Chunk{offset: 0, length: 1, hash: <<0::256>>, entries: [], references: [{1, "a"}]}
    assert inspect(chunk) =~ ~s(", entries: 0, references: 1>)
  end

  test "killing the caller ends the computation of chunks and hash", %{tmp_dir: folder} do
    path = Path.join(folder, "sparse")
    [head, tail] = folder |> put("MARKMARK") |> nar() |> :binary.split("MARKMARK")
    size = 20_000_000_000
    head = binary_part(head, 0, byte_size(head) - 8) <> <<size::little-64>>
    File.write!(path, head)
    {:ok, file} = :file.open(path, [:read, :write, :raw])
    :ok = :file.pwrite(file, byte_size(head) + size, tail)
    :ok = :file.close(file)

    {caller, monitor} = spawn_monitor(fn -> Nar.chunk({:file, path}) end)
    wait_until(fn -> open?(path) end)
    Process.exit(caller, :kill)
    assert_receive {:DOWN, ^monitor, :process, ^caller, :killed}, 1000
    wait_until(fn -> not open?(path) end)
  end

  defp open?(path),
    do: Enum.any?(File.ls!("/proc/self/fd"), &(File.read_link("/proc/self/fd/#{&1}") == {:ok, path}))

  defp wait_until(condition, left \\ 1000) do
    assert left > 0
    unless condition.(), do: Process.sleep(10) && wait_until(condition, left - 1)
  end
end
