defmodule Chunker.NarChunkingTest do
  # Chunks NARs along their files. The tests of the engine check the cut points; these tests check that each
  # way through the public API uses them.
  use ExUnit.Case, async: true

  alias Chunker.{Error, Nar}

  @moduletag :tmp_dir

  # Small sizes, so that small files have many chunks.
  @small [min_size: 1024, avg_size: 4096, max_size: 16_384]

  defp nar(folder, files) do
    tree = Path.join(folder, "tree#{System.unique_integer([:positive])}")

    for {name, content} <- files do
      path = Path.join(tree, name)
      File.mkdir_p!(Path.dirname(path))
      File.write!(path, content)
    end

    tree |> Nar.stream() |> Enum.join()
  end

  defp some_nar(folder) do
    small = for i <- 1..100, do: {"lib/#{i}", :rand.bytes(:rand.uniform(3000))}

    nar(folder, [
      {"bin/large", :rand.bytes(700_001)},
      {"share/text", String.duplicate("text\n", 20_000)} | small
    ])
  end

  defp put(folder, data) do
    path = Path.join(folder, "input#{System.unique_integer([:positive])}")
    File.write!(path, data)
    path
  end

  # Without a writer.
  defp fifo(folder) do
    path = Path.join(folder, "fifo#{System.unique_integer([:positive])}")
    {_, 0} = System.cmd("mkfifo", [path])
    path
  end

  defp fifo(folder, data) do
    path = fifo(folder)
    source = put(folder, data)
    spawn_link(fn -> System.cmd("sh", ["-c", ~S(cat "$0" 2> /dev/null > "$1"), source, path]) end)
    path
  end

  defp pieces(data, size) do
    for at <- 0..(byte_size(data) - 1)//size, do: binary_part(data, at, min(size, byte_size(data) - at))
  end

  defp key(chunks), do: Enum.map(chunks, &{&1.offset, &1.length, &1.hash})

  # All ways to chunk an input that can be read once or more often.
  defp ways(folder, data, options) do
    path = put(folder, data)
    many = [parallel_threshold: 0] ++ options

    %{
      data: fn -> Chunker.chunk_data(data, options) end,
      iodata: fn ->
        Chunker.chunk_data([binary_part(data, 0, 1), [binary_part(data, 1, byte_size(data) - 1)]], options)
      end,
      file: fn -> Chunker.chunk_file(path, options) end,
      few_files: fn -> [path] |> Chunker.chunk_files(options) |> only() end,
      many_files: fn ->
        {:ok, results} = Chunker.chunk_files([path, path], many)
        only({:ok, Enum.uniq(results)})
      end,
      stream: fn -> streamed(path, options) end
    }
  end

  # All ways to chunk an input that can be read only once.
  defp ways_of_once(fifo, data, options) do
    ways = %{
      fifo: fn -> Chunker.chunk_file(fifo.(), options) end,
      fifo_of_files: fn -> only(Chunker.chunk_files([fifo.()], options)) end,
      fifo_streamed: fn -> streamed(fifo.(), options) end
    }

    for size <- [7, 1000, 65_536, byte_size(data)], into: ways do
      {{:pieces, size}, fn -> data |> pieces(size) |> streamed(options) end}
    end
  end

  defp only({:ok, [one]}), do: one

  defp streamed(source, options) do
    {:ok, source |> Chunker.stream(options) |> Enum.to_list()}
  rescue
    error in Error -> {:error, error}
  end

  defp assert_chunks(ways, expected) do
    for {name, way} <- ways do
      assert {:ok, chunks} = way.()
      assert {name, key(chunks) == key(expected)} == {name, true}
    end
  end

  defp assert_refused(ways, details) do
    for {name, way} <- ways do
      assert {:error, %Error{reason: :invalid_nar} = error} = way.()
      assert {name, error.details} == {name, details}
    end
  end

  test "each way to chunk a NAR gives the same chunks, on any number of threads", %{tmp_dir: folder} do
    nar = some_nar(folder)
    expected = Chunker.chunk_data!(nar, [nar: true] ++ @small)
    assert Enum.map_join(expected, & &1.data) == nar
    for chunk <- expected, do: assert(chunk.hash == Chunker.hash(chunk.data, :blake3))
    assert Enum.all?(expected, &(&1.length <= 16_384))
    refute key(expected) == key(Chunker.chunk_data!(nar, @small))

    for threads <- [1, 2] do
      options = [nar: true, threads: threads] ++ @small
      assert_chunks(ways(folder, nar, options), expected)
      assert_chunks(ways_of_once(fn -> fifo(folder, nar) end, nar, options), expected)
      assert_chunks(ways(folder, nar, [nar: :auto, threads: threads] ++ @small), expected)
    end

    streamed =
      put(folder, nar) |> Chunker.stream([nar: true, compress: [codec: :lz4]] ++ @small) |> Enum.to_list()

    assert Enum.map_join(streamed, &Chunker.decompress!(&1.compressed)) == nar
  end

  test "cuts are at the beginning and end of the contents of a large file", %{tmp_dir: folder} do
    nar = some_nar(folder)
    %{offset: offset, size: size} = nar |> Nar.list!() |> Enum.find(&(&1.path == "bin/large"))
    offsets = for chunk <- Chunker.chunk_data!(nar, nar: true, preset: :small_packages), do: chunk.offset
    assert offset in offsets
    assert (offset + size) in offsets

    # With a larger `min_entry_size`, the file counts as small and no cut is at its beginning.
    above = for chunk <- Chunker.chunk_data!(nar, nar: true, min_entry_size: size + 1), do: chunk.offset
    refute offset in above
    exactly = for chunk <- Chunker.chunk_data!(nar, nar: true, min_entry_size: size), do: chunk.offset
    assert offset in exactly
  end

  test "a large file has the same chunks in every NAR", %{tmp_dir: folder} do
    content = :rand.bytes(3_000_000)
    others = for i <- 1..50, do: {"zoo/#{i}", :rand.bytes(5000)}

    [alone, among, renamed] =
      for files <- [[{"a", content}], [{"lib/b", content} | others], [{"Q/r/s", content}, {"A", "a"}]] do
        nar = nar(folder, files)
        chunks = Chunker.chunk_data!(nar, nar: true)
        assert Enum.map_join(chunks, & &1.data) == nar
        %{offset: from, size: 3_000_000} = nar |> Nar.list!() |> Enum.find(&(&1.size == 3_000_000))
        inside = Enum.filter(chunks, &(&1.offset >= from and &1.offset + &1.length <= from + 3_000_000))
        assert inside |> Enum.map(& &1.length) |> Enum.sum() == 3_000_000
        Enum.map(inside, & &1.hash)
      end

    assert length(alone) > 1
    assert among == alone
    assert renamed == alone
    # They are the chunks of the file by itself.
    assert alone == for(chunk <- Chunker.chunk_data!(content, preset: :default), do: chunk.hash)
  end

  test "the cut moves back to the end of a file within the given distance", %{tmp_dir: folder} do
    nar = some_nar(folder)

    of = fn distance ->
      nar |> Chunker.chunk_data!([nar: true, boundary_preference_distance: distance] ++ @small) |> key()
    end

    refute of.(0) == of.(1024)
    assert of.(nil) == of.(1024)
    # Without large files and without a boundary distance, a NAR is chunked like any input.
    never = [nar: true, boundary_preference_distance: 0, min_entry_size: 10_000_000] ++ @small
    assert nar |> Chunker.chunk_data!(never) |> key() == nar |> Chunker.chunk_data!(@small) |> key()
  end

  test "an invalid NAR is rejected with offset and reason, by each way", %{tmp_dir: folder} do
    nar = some_nar(folder)
    size = byte_size(nar)

    for {data, details} <- [
          {"something else", %{offset: 0, why: :bad_magic}},
          {binary_part(nar, 0, size - 1), %{offset: size - 1, why: :truncated}},
          {binary_part(nar, 0, 55), %{offset: 55, why: :truncated}},
          {nar <> "x", %{offset: size, why: :trailing_data}},
          {binary_part(nar, 0, size - 20) <> String.duplicate("?", 20), nil}
        ],
        options <- [
          [nar: true, threads: 1] ++ @small,
          [nar: true],
          [nar: true, threads: 2, preset: :small_packages]
        ] do
      details = details || elem(Nar.list(data), 1).details
      assert_refused(ways(folder, data, options), details)
      assert_refused(ways_of_once(fn -> fifo(folder, data) end, data, options), details)
    end

    assert {:error, %Error{reason: :invalid_nar, details: %{offset: 0, why: :truncated}}} =
             Chunker.chunk_data("", nar: true)
  end

  test "with :auto an input that is not a valid NAR to its end is chunked as plain data", %{tmp_dir: folder} do
    nar = some_nar(folder)

    for data <- [
          :rand.bytes(500_000),
          "short",
          binary_part(nar, 0, byte_size(nar) - 1),
          binary_part(nar, 0, 56),
          nar <> <<0>>,
          nar <> nar,
          # The last byte is padding of the last parenthesis.
          binary_part(nar, 0, byte_size(nar) - 1) <> <<1>>
        ],
        threads <- [1, 2] do
      plain = Chunker.chunk_data!(data, @small)
      assert_chunks(ways(folder, data, [nar: :auto, threads: threads] ++ @small), plain)
    end

    assert Chunker.chunk_data("", nar: :auto) == {:ok, []}
    assert Chunker.chunk_file("/proc/self/status", nar: :auto) |> elem(0) == :ok
    assert {:error, %Error{reason: :io_error}} = Chunker.chunk_file("/no/such/file", nar: :auto)
    assert {:error, %Error{reason: :io_error}} = Chunker.chunk_file(folder, nar: :auto)
  end

  test "with :auto an input that can be read only once is rejected, whatever it contains", %{tmp_dir: folder} do
    for data <- ["no NAR", some_nar(folder)],
        {name, way} <- ways_of_once(fn -> fifo(folder) end, data, nar: :auto) do
      assert {:error, %Error{reason: :invalid_options} = error} = way.()
      assert {name, error.details.option, error.details.value} == {name, :nar, :auto}
    end
  end

  test "each preset sets its sizes, for NARs and other inputs", %{tmp_dir: folder} do
    large = some_nar(folder) <> :rand.bytes(9_000_000)
    nar = nar(folder, [{"large", :rand.bytes(9_000_000)}, {"small", "content"}])
    kib = fn {min, avg, max} -> [min_size: min * 1024, avg_size: avg * 1024, max_size: max * 1024] end

    for {preset, sizes} <- [
          default: {128, 512, 2048},
          large_packages: {256, 1024, 4096},
          small_packages: {32, 128, 512}
        ] do
      assert Chunker.chunk_data!(large, preset: preset) == Chunker.chunk_data!(large, kib.(sizes))

      assert Chunker.chunk_data!(nar, nar: true, preset: preset) ==
               Chunker.chunk_data!(nar, [nar: true] ++ kib.(sizes))
    end

    # A NAR has the sizes of a preset even if no preset is given, and so has an input that turns out not to be
    # one.
    default = Chunker.chunk_data!(nar, nar: true, preset: :default)
    assert Chunker.chunk_data!(nar, nar: true) == default
    assert Chunker.chunk_data!(nar, nar: :auto) == default
    assert Chunker.chunk_data!(large, nar: :auto) == Chunker.chunk_data!(large, preset: :default)
    assert Chunker.chunk_data!(large, preset: nil) == Chunker.chunk_data!(large)
    assert Chunker.chunk_data!(large, nar: false) == Chunker.chunk_data!(large)
    # A given average replaces the average of the preset, and the other sizes are derived from it.
    for nar? <- [true, :auto] do
      assert Chunker.chunk_data!(nar, nar: nar?, avg_size: 262_144) ==
               Chunker.chunk_data!(nar, [nar: nar?] ++ kib.({64, 256, 1024}))

      assert Chunker.chunk_data!(nar, nar: nar?, preset: :small_packages, min_size: 16_384) ==
               Chunker.chunk_data!(nar, [nar: nar?] ++ kib.({16, 128, 512}))
    end
  end

  test "digests are of the requested algorithm", %{tmp_dir: folder} do
    nar = some_nar(folder)
    cache = Chunker.Cache.new()

    for _ <- 1..2,
        {:ok, chunks} = Chunker.chunk_data(nar, nar: true, hash: :sha256, cache: cache),
        chunk <- chunks do
      assert chunk.hash == :crypto.hash(:sha256, chunk.data)
    end

    assert Chunker.Cache.stats(cache).hits > 0
  end

  test "options that depend on others are rejected without them" do
    for {option, value} <- [min_entry_size: 1_000_000, boundary_preference_distance: 0] do
      message = "option :#{option} needs option :nar or :tar"
      assert_raise ArgumentError, message, fn -> Chunker.chunk_data("", [{option, value}]) end
      assert_raise ArgumentError, message, fn -> Chunker.chunk_data("", [{option, value}, {:nar, false}]) end
      assert Chunker.chunk_data("", [{option, nil}]) == {:ok, []}
      assert Chunker.chunk_data("", [{option, value}, {:nar, :auto}]) == {:ok, []}
    end

    assert_raise ArgumentError, "option :nar must be an atom, not 1", fn -> Chunker.chunk_data("", nar: 1) end
  end

  test "killing the caller ends the search for a NAR", %{tmp_dir: folder} do
    # A sparse file that declares one file of 3 GB: skipping it takes no time, chunking it takes seconds.
    path = Path.join(folder, "sparse")
    [head, tail] = nar(folder, [{"x", "MARKMARK"}]) |> :binary.split("MARKMARK")
    size = 3_000_000_000
    head = binary_part(head, 0, byte_size(head) - 8) <> <<size::little-64>>
    File.write!(path, head)
    {:ok, file} = :file.open(path, [:read, :write, :raw])
    :ok = :file.pwrite(file, byte_size(head) + size, tail)
    :ok = :file.close(file)
    assert {:ok, [_ | _]} = Nar.list({:file, path})

    {caller, monitor} = spawn_monitor(fn -> Chunker.chunk_file(path, nar: :auto) end)
    Process.sleep(50)
    Process.exit(caller, :kill)
    assert_receive {:DOWN, ^monitor, :process, ^caller, :killed}, 1000
    # The first chunks of the stream arrive before the whole input is read.
    assert [first | _] = path |> Chunker.stream(nar: :auto) |> Enum.take(2)
    assert first.length == byte_size(head)
  end
end
