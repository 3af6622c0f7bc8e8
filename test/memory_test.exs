defmodule Chunker.MemoryTest do
  # Large inputs, in a separate VM whose resident memory is read from the kernel.
  use ExUnit.Case, async: true

  @mib 1_048_576
  @size 5 * 1024 * @mib

  setup_all do
    # Holes of a file in memory are read without filling the page cache.
    parent = if File.dir?("/dev/shm"), do: "/dev/shm", else: System.tmp_dir!()
    folder = Path.join(parent, "chunker-memory-#{System.pid()}")
    File.mkdir_p!(folder)
    on_exit(fn -> File.rm_rf!(folder) end)

    path = Path.join(folder, "large")
    {:ok, file} = File.open(path, [:write, :read, :binary, :raw])
    # Data with cut points at offsets beyond 32 bits.
    :ok = :file.pwrite(file, 4_831_838_208, :rand.bytes(6_000_000))
    :ok = :file.pwrite(file, @size - 1, "x")
    :ok = File.close(file)
    %{path: path, folder: folder}
  end

  # Runs `code` with `path` in it. Returns its value, and by how many MiB the highest resident memory exceeds
  # the resident memory after a warm-up on a small file.
  defp in_fresh_vm(path, folder, code) do
    answer = Path.join(folder, "answer-#{System.unique_integer([:positive])}")

    script = """
    resident = fn field ->
      [_, kib] = Regex.run(~r/^\#{field}:\\s+(\\d+) kB/m, File.read!("/proc/self/status"))
      String.to_integer(kib) / 1024
    end

    call = fn path -> #{code} end
    call.("mix.exs")
    :erlang.garbage_collect()
    before = resident.("VmRSS")
    result = call.(#{inspect(path)})
    grown = resident.("VmHWM") - before
    File.write!(#{inspect(answer)}, :erlang.term_to_binary({result, grown}))
    """

    ebin = Path.join(Mix.Project.app_path(), "ebin")
    {output, status} = System.cmd("elixir", ["-pa", ebin, "-e", script], stderr_to_stdout: true)
    assert {output, status} == {"", 0}
    answer |> File.read!() |> :erlang.binary_to_term()
  end

  test "chunk_file/2 of 5 GiB takes at most 64 MiB, and counts beyond 32 bits", %{path: path, folder: folder} do
    {chunks, grown} = in_fresh_vm(path, folder, "Chunker.chunk_file!(path, hash: :sha256)")
    assert grown <= 64

    finish =
      Enum.reduce(chunks, 0, fn chunk, expected ->
        assert chunk.offset == expected
        expected + chunk.length
      end)

    assert finish == @size

    # Chunks of zeros are the same at all positions.
    far = chunks |> Enum.filter(&(&1.offset > 0xFFFF_FFFF)) |> Enum.uniq_by(& &1.hash)
    assert length(far) > 3
    {:ok, file} = File.open(path, [:read, :binary, :raw])

    for chunk <- far do
      {:ok, data} = :file.pread(file, chunk.offset, chunk.length)
      assert chunk.hash == :crypto.hash(:sha256, data)
    end
  end

  test "stream/2 of a file of 5 GiB takes at most 128 MiB", %{path: path, folder: folder} do
    code = "path |> Chunker.stream() |> Enum.reduce(0, &(byte_size(&1.data) + &2))"
    {size, grown} = in_fresh_vm(path, folder, code)
    assert size == @size
    assert grown <= 128
  end

  test "stream/2 of 2 GiB in pieces takes at most 128 MiB, for pieces of any kind", %{
    path: path,
    folder: folder
  } do
    for piece <- [@mib, 20 * @mib] do
      code = """
      piece = :binary.copy(<<0>>, #{piece})
      count = if path == "mix.exs", do: 1, else: div(2048 * #{@mib}, #{piece})

      Stream.repeatedly(fn -> piece end)
      |> Stream.take(count)
      |> Chunker.stream()
      |> Enum.reduce(0, &(byte_size(&1.data) + &2))
      """

      {size, grown} = in_fresh_vm(path, folder, code)
      assert size == div(2048 * @mib, piece) * piece
      assert grown <= 128
    end
  end

  test "streams that are dropped in the middle free their memory", %{path: path, folder: folder} do
    # Each holds some MiB of the input that it has read, in total more than 1 GiB.
    code = """
    piece = :binary.copy(<<1>>, 3 * #{@mib})
    options = {{nil, 262_144, 1_048_576, 16_777_216, 1, 0}, nil, {:blake3, nil}, {2, 2}, :error}

    for round <- 1..if(path == "mix.exs", do: 20, else: 400) do
      {:ok, stream} = :chunker_nif.stream_pieces(options, nil, false)
      {:ok, []} = :chunker_nif.stream_push(stream, piece)
      if rem(round, 10) == 0, do: :erlang.garbage_collect()
    end

    :done
    """

    assert {:done, grown} = in_fresh_vm(path, folder, code)
    assert grown <= 128
  end

  test "hash_file/2 takes at most 16 MiB", %{folder: folder} do
    path = Path.join(folder, "gibibyte")
    {:ok, file} = File.open(path, [:write, :read, :binary, :raw])
    :ok = :file.pwrite(file, 1024 * @mib - 1, "x")
    :ok = File.close(file)
    {digest, grown} = in_fresh_vm(path, folder, "Chunker.hash_file!(path, :blake3)")
    assert grown <= 16
    # A mapping would fill the holes.
    {output, 0} = System.cmd("b3sum", ["--no-names", "--no-mmap", path])
    assert Base.encode16(digest, case: :lower) == String.trim(output)
  end
end

defmodule Chunker.BinaryMemoryTest do
  # Not async: it measures the memory of all binaries of this VM.
  use ExUnit.Case, async: false

  @mib 1_048_576

  test "chunk_data/2 returns parts of the input and copies nothing" do
    data = :crypto.strong_rand_bytes(20_000_000)
    before = :erlang.memory(:binary)
    chunks = Chunker.chunk_data!(data, min_size: 1000, avg_size: 60_000, max_size: 100_000)
    assert :erlang.memory(:binary) - before < 2_000_000
    assert length(chunks) > 200
    assert Enum.all?(chunks, &(:binary.referenced_byte_size(&1.data) == 20_000_000))
  end

  test "a huge element of a stream is chunked incrementally" do
    data = :crypto.strong_rand_bytes(64 * @mib)
    owner = self()
    before = :erlang.memory(:binary)

    [data]
    |> Chunker.stream(threads: 2)
    |> Stream.each(fn _ -> send(owner, {:memory, :erlang.memory(:binary) - before}) end)
    |> Stream.take(5)
    |> Stream.run()

    # All chunks at once would take 64 MiB.
    assert_received {:memory, grown}
    assert grown < 48 * @mib

    {:ok, iterator} = :chunker.stream([data], threads: 2)
    before = :erlang.memory(:binary)
    {:ok, _, next} = :chunker.next(iterator)
    assert :erlang.memory(:binary) - before < 48 * @mib
    assert :ok = :chunker.close(next)
  end
end
