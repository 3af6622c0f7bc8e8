defmodule Chunker.ReadChunkTest do
  # Chunks of a file, found first and read later.
  use ExUnit.Case, async: true

  alias Chunker.{Chunk, Error}

  @moduletag :tmp_dir
  @small [min_size: 1024, avg_size: 4096, max_size: 16_384]

  defp file(folder, bytes) do
    path = Path.join(folder, "data")
    File.write!(path, bytes)
    path
  end

  test "each chunk of a file is read", %{tmp_dir: folder} do
    data = :crypto.strong_rand_bytes(300_000)
    path = file(folder, data)

    for hash <- [:blake3, :sha256] do
      chunks = Chunker.chunk_file!(path, [hash: hash] ++ @small)
      assert length(chunks) > 10

      assert IO.iodata_to_binary(for c <- Enum.reverse(chunks), do: Chunker.read_chunk!(path, c, hash: hash)) !=
               data

      assert IO.iodata_to_binary(for c <- chunks, do: Chunker.read_chunk!(path, c, hash: hash)) == data

      for %{offset: offset, length: length, hash: digest} <- chunks do
        chunk = %{offset: offset, length: length, hash: digest}
        assert :chunker.read_chunk(path, chunk, %{hash: hash}) == {:ok, binary_part(data, offset, length)}
      end
    end
  end

  test "offsets may exceed 32 bits", %{tmp_dir: folder} do
    path = Path.join(folder, "sparse")

    File.open!(path, [:write, :raw], fn file ->
      {:ok, _} = :file.position(file, 5_000_000_000)
      :file.write(file, "end")
    end)

    chunk = %Chunk{offset: 5_000_000_000, length: 3, hash: Chunker.hash("end", :blake3)}
    assert Chunker.read_chunk(path, chunk) == {:ok, "end"}
  end

  test "changed content is an error, and so is another algorithm", %{tmp_dir: folder} do
    path = file(folder, "content")
    [chunk] = Chunker.chunk_file!(path)

    assert {:error, %Error{reason: :file_changed, details: %{path: ^path}}} =
             Chunker.read_chunk(path, chunk, hash: :sha256)

    File.write!(path, "CONTENT")
    assert {:error, %Error{reason: :file_changed, details: %{path: ^path}}} = Chunker.read_chunk(path, chunk)
    assert :chunker.read_chunk(path, Map.from_struct(chunk)) == {:error, {:file_changed, %{path: path}}}
    assert_raise Error, fn -> Chunker.read_chunk!(path, chunk) end
  end

  test "a chunk that is not within the file is an error", %{tmp_dir: folder} do
    path = file(folder, "content")
    hash = Chunker.hash("", :blake3)

    for {offset, length} <- [
          {0, 8},
          {7, 1},
          {8, 1},
          {9_223_372_036_854_775_807, 2},
          {1_000_000_000_000, 16_777_216}
        ] do
      details = %{offset: offset, length: length, data_length: 7}
      chunk = %Chunk{offset: offset, length: length, hash: hash}

      assert {:error, %Error{reason: :bounds_check_failed, details: ^details} = error} =
               Chunker.read_chunk(path, chunk)

      assert Exception.message(error) ==
               "cannot read #{length} bytes at offset #{offset}: the data has 7 bytes"

      assert :chunker.read_chunk(path, Map.from_struct(chunk)) == {:error, {:bounds_check_failed, details}}
    end
  end

  test "a chunk with a huge length takes no more memory than the longest possible chunk", %{tmp_dir: folder} do
    path = file(folder, "content")

    for length <- [16_777_217, 1_000_000_000_000, 2 ** 63, 2 ** 100] do
      chunk = %Chunk{offset: 0, length: length, hash: <<0::256>>}
      details = %{attempted: length, limit: 16_777_216}

      assert {:error, %Error{reason: :buffer_limit_exceeded, details: ^details} = error} =
               Chunker.read_chunk(path, chunk)

      assert Exception.message(error) == "requested #{length} bytes, but the limit is 16777216 bytes"
      assert :chunker.read_chunk(path, Map.from_struct(chunk)) == {:error, {:buffer_limit_exceeded, details}}
    end
  end

  test "a file that is not regular and a value that is not a chunk are rejected", %{tmp_dir: folder} do
    chunk = %Chunk{offset: 0, length: 1, hash: <<0::256>>}

    for {path, kind} <- [{folder, :eisdir}, {Path.join(folder, "missing"), :enoent}, {"/dev/null", :espipe}] do
      assert {:error, %Error{reason: :io_error, details: %{kind: ^kind, path: ^path}}} =
               Chunker.read_chunk(path, chunk)
    end

    for wrong <- [
          %{chunk | length: 0},
          %{chunk | offset: -1},
          %{chunk | hash: "short"},
          %{chunk | length: 1.0}
        ] do
      assert_raise ArgumentError, ~r/expected a chunk, got: #Chunker.Chunk</, fn ->
        Chunker.read_chunk(folder, wrong)
      end

      assert_raise ArgumentError, ~r/must be a chunk/, fn ->
        :chunker.read_chunk(folder, Map.from_struct(wrong))
      end
    end

    assert_raise ArgumentError, ~r/unknown option :size/, fn -> Chunker.read_chunk(folder, chunk, size: 1) end
    assert {:error, %Error{reason: :invalid_options}} = Chunker.read_chunk(folder, chunk, hash: :md5)
  end
end
