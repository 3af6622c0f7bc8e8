Code.require_file("support/file_stream.exs", __DIR__)

defmodule Chunker.StreamCompressTest do
  # `stream/2` with `compress:`.
  use ExUnit.Case, async: true

  alias Chunker.{Error, FileStream}

  @moduletag :tmp_dir
  @mib 1_048_576
  @small [min_size: 1024, avg_size: 4096, max_size: 16_384]
  @codecs [:zstd, :lz4, :xz, :bzip2, :gzip, :brotli]

  defp assert_chunks(stream, data, options, codec) do
    chunks = Enum.to_list(stream)
    expected = Chunker.chunk_data!(data, options)
    assert Enum.map(chunks, &%{&1 | compressed: nil}) == expected

    for chunk <- chunks do
      # brotli has no magic.
      assert codec == :brotli or Chunker.detect_format(chunk.compressed) == {:ok, codec}
      assert Chunker.decompress!(chunk.compressed, codec: codec) == chunk.data
    end
  end

  for codec <- @codecs do
    test "returns each chunk compressed with #{codec}, for a file and for pieces", %{tmp_dir: folder} do
      codec = unquote(codec)
      path = Path.join(folder, "file")
      half = Base.encode64(:rand.bytes(15_000))

      for {data, options} <- [
            {"", []},
            {"a", []},
            {half <> :rand.bytes(8_000) <> half, @small},
            {:binary.copy(half, 60), [hash: :sha256]}
          ],
          threads <- [1, 3] do
        File.write!(path, data)
        all = options ++ [threads: threads, compress: [codec: codec]]
        path |> Chunker.stream(all) |> assert_chunks(data, options, codec)
        [data] |> Chunker.stream(all) |> assert_chunks(data, options, codec)
        [[], data, ""] |> Chunker.stream(Map.new(all)) |> assert_chunks(data, options, codec)
        path |> FileStream.stream!(1000) |> Chunker.stream(all) |> assert_chunks(data, options, codec)
      end
    end
  end

  test "returns what compress/2 returns for the chunk" do
    data = Base.encode64(:rand.bytes(2 * @mib))

    for options <- [[], [level: 19], [codec: :xz, level: 0], [strategy: :fastest], %{strategy: :smallest}] do
      for chunk <-
            Chunker.stream([data], min_size: 65_536, avg_size: 131_072, max_size: 262_144, compress: options) do
        whole = Chunker.compress!(chunk.data, options)
        # A chunk that is compressed in several pieces may be slightly larger.
        assert byte_size(chunk.compressed) in (byte_size(whole) - 200)..(byte_size(whole) + 200)
        assert Chunker.decompress!(chunk.compressed) == chunk.data
      end
    end
  end

  test "returns no compressed data without `compress`" do
    for options <- [[], [compress: nil]] do
      assert [%{compressed: nil, data: "data"}] = ["data"] |> Chunker.stream(options) |> Enum.to_list()
    end

    # Empty compression options are the defaults.
    assert [%{compressed: compressed}] = ["data"] |> Chunker.stream(compress: []) |> Enum.to_list()
    assert Chunker.detect_format(compressed) == {:ok, :zstd}
    assert [%{compressed: ^compressed}] = ["data"] |> Chunker.stream(compress: %{}) |> Enum.to_list()
  end

  test "reports options of the wrong type when it is created, and other invalid options when it runs" do
    for source <- [["data"], "/no/such/file"] do
      for wrong <- [
            :xz,
            true,
            [codec: "xz"],
            [fallback: true],
            [threads: 1],
            [strategy: :fastest, level: 1],
            3
          ] do
        assert_raise ArgumentError, fn -> Chunker.stream(source, compress: wrong) end
      end

      for {wrong, option} <- [
            {[codec: :lzma], :codec},
            {[level: 100], :level},
            {[strategy: :none], :strategy},
            {[dictionary: ""], :dictionary},
            {[codec: :xz, dictionary: "abc"], :codec}
          ] do
        stream = Chunker.stream(source, compress: wrong)
        error = assert_raise Error, fn -> Enum.to_list(stream) end
        assert {error.reason, error.details.option} == {:invalid_options, option}
      end
    end

    # Other functions do not have this option.
    for call <- [&Chunker.chunk_file/2, &Chunker.chunk_data/2] do
      assert_raise ArgumentError, fn -> call.("/no/such/file", compress: []) end
    end

    assert_raise ArgumentError, fn -> Chunker.chunk_files([], compress: []) end
  end

  test "stops when its consumer stops" do
    data = Base.encode64(:rand.bytes(3 * @mib))

    {:ok, counter} = Agent.start_link(fn -> 0 end)

    source =
      Stream.repeatedly(fn ->
        Agent.update(counter, &(&1 + 1))
        data
      end)

    assert [_, _] = source |> Chunker.stream(compress: [codec: :lz4]) |> Enum.take(2)
    assert Agent.get(counter, & &1) < 20
  end

  test "keeps its memory bound even with the largest chunks", %{tmp_dir: folder} do
    path = Path.join(folder, "file")
    block = Base.encode64(:rand.bytes(12 * @mib))
    File.write!(path, List.duplicate(block, 16))

    # In a separate VM, whose memory is read from the kernel.
    code = """
    resident = fn field ->
      [_, kib] = Regex.run(~r/^\#{field}:\\s+(\\d+) kB/m, File.read!("/proc/self/status"))
      String.to_integer(kib) / 1024
    end

    run = fn path ->
      path
      |> Chunker.stream(max_size: 16_777_216, avg_size: 4_194_304, min_size: 1_048_576, compress: [level: 3])
      |> Enum.reduce(0, fn chunk, sum -> byte_size(chunk.data) + sum end)
    end

    run.("mix.exs")
    :erlang.garbage_collect()
    before = resident.("VmRSS")
    size = run.(#{inspect(path)})
    IO.puts("\#{size} \#{ceil(resident.("VmHWM") - before)}")
    """

    ebin = Path.join(Mix.Project.app_path(), "ebin")
    {output, 0} = System.cmd("elixir", ["-pa", ebin, "-e", code], stderr_to_stdout: true)
    [size, mib] = output |> String.split() |> Enum.map(&String.to_integer/1)
    assert size == 16 * byte_size(block)

    # Four times 16 MiB, as much again for compressed data, and a few MiB for each of at most 8 threads. The
    # file has 256 MiB.
    assert mib <= 4 * 16 + 4 * 16 + 8 * 8
  end
end
