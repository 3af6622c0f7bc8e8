defmodule Chunker.TarChunkingTest do
  # Chunks tars along their files. The tests of the engine check the cut points; these tests check that each way
  # through the public API uses them.
  use ExUnit.Case, async: true

  alias Chunker.Error

  @moduletag :tmp_dir

  # Small sizes, so that small files have many chunks.
  @small [min_size: 1024, avg_size: 4096, max_size: 16_384]

  defp tar(folder, files) do
    path = Path.join(folder, "tar#{System.unique_integer([:positive])}")
    entries = for {name, content} <- files, do: {String.to_charlist(name), content}
    :ok = path |> String.to_charlist() |> :erl_tar.create(entries)
    File.read!(path)
  end

  defp some_tar(folder, large) do
    small = for i <- 1..100, do: {"lib/#{i}", :rand.bytes(:rand.uniform(3000))}
    tar(folder, [{"bin/large", large}, {"share/text", String.duplicate("text\n", 20_000)} | small])
  end

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

  defp key(chunks), do: Enum.map(chunks, &{&1.offset, &1.length, &1.hash})

  defp ways(folder, data, options) do
    path = put(folder, data)

    %{
      data: Chunker.chunk_data!(data, options),
      iodata: Chunker.chunk_data!(pieces(data, 100_000), options),
      file: Chunker.chunk_file!(path, options),
      fifo: Chunker.chunk_file!(fifo(folder, data), options),
      files: [path, path] |> Chunker.chunk_files!(options) |> hd(),
      stream: path |> Chunker.stream(options) |> Enum.to_list(),
      fifo_streamed: folder |> fifo(data) |> Chunker.stream(options) |> Enum.to_list(),
      pieces: data |> pieces(7) |> Chunker.stream(options) |> Enum.to_list(),
      large_pieces: data |> pieces(65_537) |> Chunker.stream(options) |> Enum.to_list()
    }
  end

  test "each way to chunk a tar gives the same chunks, on any number of threads", %{tmp_dir: folder} do
    tar = some_tar(folder, :rand.bytes(700_001))
    expected = Chunker.chunk_data!(tar, [tar: true] ++ @small)
    assert Enum.map_join(expected, & &1.data) == tar
    for chunk <- expected, do: assert(chunk.hash == Chunker.hash(chunk.data, :blake3))
    assert Enum.all?(expected, &(&1.length <= 16_384))
    refute key(expected) == key(Chunker.chunk_data!(tar, @small))

    for threads <- [1, 2], {name, chunks} <- ways(folder, tar, [tar: true, threads: threads] ++ @small) do
      assert {name, key(chunks) == key(expected)} == {name, true}
    end

    streamed =
      put(folder, tar) |> Chunker.stream([tar: true, compress: [codec: :lz4]] ++ @small) |> Enum.to_list()

    assert Enum.map_join(streamed, &Chunker.decompress!(&1.compressed)) == tar
  end

  test "a large file has the same chunks in each tar and by itself", %{tmp_dir: folder} do
    large = :rand.bytes(3_000_001)
    hashes = fn chunks -> Enum.map(chunks, & &1.hash) end

    for sizes <- [@small, [], [preset: :default]] do
      alone = hashes.(Chunker.chunk_data!(large, sizes))

      for tar <- [some_tar(folder, large), tar(folder, [{"a", "small"}, {"another/name", large}])] do
        chunks = Chunker.chunk_data!(tar, [tar: true] ++ sizes)
        assert alone -- hashes.(chunks) == []
      end
    end
  end

  test "an input that is no tar has the chunks of any input", %{tmp_dir: folder} do
    for data <- [:rand.bytes(300_000), "", String.duplicate(" ", 100_000)] do
      plain = Chunker.chunk_data!(data, @small)
      assert Chunker.chunk_data!(data, [tar: true] ++ @small) == plain

      if data != "" do
        for {name, chunks} <- ways(folder, data, [tar: true] ++ @small) do
          assert {name, key(chunks)} == {name, key(plain)}
        end
      end
    end
  end

  test "a truncated and a damaged tar are chunked without an error", %{tmp_dir: folder} do
    tar = some_tar(folder, :rand.bytes(100_000))
    <<head::binary-size(150_000), _, rest::binary>> = tar

    for data <- [binary_part(tar, 0, 150_001), head <> <<255>> <> rest, tar <> "more", tar <> tar] do
      chunks = Chunker.chunk_data!(data, [tar: true] ++ @small)
      assert Enum.map_join(chunks, & &1.data) == data

      for {name, others} <- ways(folder, data, [tar: true] ++ @small),
          do: assert({name, key(others)} == {name, key(chunks)})
    end
  end

  test "min_entry_size and boundary_preference_distance apply", %{tmp_dir: folder} do
    tar = some_tar(folder, :rand.bytes(100_000))

    lengths = fn options ->
      for c <- Chunker.chunk_data!(tar, [tar: true] ++ options ++ @small), do: c.length
    end

    assert [512 | _] = lengths.([])
    refute match?([512 | _], lengths.(min_entry_size: 100_001))

    assert lengths.(min_entry_size: 1_000_000, boundary_preference_distance: 0) ==
             Enum.map(Chunker.chunk_data!(tar, @small), & &1.length)

    for {option, value, allowed} <- [
          {:min_entry_size, 1023, "at least min_size, which is 1024"},
          {:min_entry_size, -1, "1024..18446744073709551615"},
          {:boundary_preference_distance, 1025, "at most min_size, which is 1024"}
        ] do
      assert {:error, %Error{reason: :invalid_options, details: details}} =
               Chunker.chunk_data(tar, [{:tar, true}, {option, value} | @small])

      assert details == %{option: option, value: value, allowed: allowed}
    end
  end

  test "options that do not go together are rejected" do
    for nar <- [true, :auto] do
      assert_raise ArgumentError, ~r/options :nar and :tar exclude each other/, fn ->
        Chunker.chunk_data("", tar: true, nar: nar)
      end

      assert Chunker.chunk_data("", tar: false, nar: :auto) == {:ok, []}
    end

    assert Chunker.chunk_data("", tar: true, nar: false) == {:ok, []}

    for option <- [:entries, :references] do
      assert_raise ArgumentError, "option #{inspect(option)} needs option :nar", fn ->
        Chunker.chunk_data("", [{:tar, true}, {option, true}])
      end
    end

    assert_raise ArgumentError, "option :tar must be true or false, not :auto", fn ->
      Chunker.stream("/dev/null", tar: :auto) |> Enum.to_list()
    end

    assert_raise ArgumentError, ~r/unknown option :tar/, fn -> Chunker.Nar.chunk("", tar: false) end
  end
end
