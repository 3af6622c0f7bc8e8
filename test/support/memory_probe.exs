# Runs one call of Chunker repeatedly, in a process that keeps only digests, and prints by how many MiB peak
# resident memory exceeds the resident memory before:
#
#     elixir -pa EBIN test/support/memory_probe.exs OPERATION HEAP BYTES FOLDER
#
# BYTES is the total that goes through the call. HEAP is what the process holds at the same time: `small`, a
# `map` of 100,000 entries, or a `list` of a million integers. With a large heap the VM collects garbage only
# if binaries are charged to the process. Inputs are created in FOLDER. Used by test/memory_bounds_test.exs
# and bench/memory.exs.

defmodule Chunker.MemoryProbe do
  @mib 1_048_576
  @unit 64 * @mib

  def operations do
    ~w(stream stream_compress compress decompress compress_batch decompress_batch compress_stream
       decompress_stream chunk_data nar_stream nar_read_file read_chunk hash_batch)
  end

  def heaps, do: ~w(small map list)

  def run(operation, heap, bytes, folder) do
    owner = self()

    {pid, monitor} =
      spawn_monitor(fn ->
        held = hold(heap)
        call = prepare(operation, folder)
        # The first calls create pools and load code.
        for _ <- 1..2, do: digest(call.())
        :erlang.garbage_collect()
        Process.sleep(100)
        reset_peak()
        before = resident("VmRSS")
        digests = for _ <- 1..div(bytes, @unit), do: digest(call.())
        send(owner, {:grown, resident("VmHWM") - before, length(digests)})
        # Still referenced, so that it cannot be collected earlier.
        :erlang.phash2(held)
      end)

    receive do
      {:grown, grown, _} -> grown
      {:DOWN, ^monitor, :process, ^pid, reason} -> exit(reason)
    end
  end

  defp hold("small"), do: nil
  defp hold("map"), do: Map.new(1..100_000, &{&1, {&1, :value}})
  defp hold("list"), do: Enum.to_list(1..1_000_000)

  # Each call takes or returns 64 MiB. The retained part is hashed, so that it is actually in memory.
  defp prepare("stream", folder) do
    path = file(folder)
    fn -> path |> Chunker.stream() |> Stream.map(& &1.data) end
  end

  defp prepare("stream_compress", folder) do
    path = file(folder)
    fn -> path |> Chunker.stream(compress: [codec: :lz4]) |> Stream.map(& &1.compressed) end
  end

  defp prepare("compress", _folder) do
    data = :crypto.strong_rand_bytes(div(@unit, 4))
    fn -> for _ <- 1..4, do: sum(Chunker.compress!(data, codec: :lz4)) end
  end

  defp prepare("decompress", _folder) do
    packed = Chunker.compress!(:binary.copy("content!", div(@unit, 32)), codec: :lz4)
    fn -> for _ <- 1..4, do: sum(Chunker.decompress!(packed)) end
  end

  defp prepare("compress_batch", _folder) do
    items = for _ <- 1..16, do: :crypto.strong_rand_bytes(@mib)
    fn -> for _ <- 1..4, do: items |> Chunker.compress_batch!(codec: :lz4) |> sum() end
  end

  defp prepare("decompress_batch", _folder) do
    items = for _ <- 1..16, do: Chunker.compress!(:binary.copy("content!", div(@mib, 8)), codec: :lz4)
    fn -> for _ <- 1..4, do: items |> Chunker.decompress_batch!() |> sum() end
  end

  defp prepare("compress_stream", _folder) do
    piece = :crypto.strong_rand_bytes(@mib)
    fn -> Stream.repeatedly(fn -> piece end) |> Stream.take(64) |> Chunker.compress_stream(codec: :lz4) end
  end

  defp prepare("decompress_stream", _folder) do
    packed = Chunker.compress!(:binary.copy("content!", div(@unit, 8)), codec: :lz4)
    fn -> Chunker.decompress_stream([packed]) end
  end

  defp prepare("chunk_data", _folder) do
    fn ->
      for _ <- 1..4 do
        data = :crypto.strong_rand_bytes(div(@unit, 4))
        data |> Chunker.chunk_data!() |> Enum.map(& &1.hash)
      end
    end
  end

  defp prepare("nar_stream", folder) do
    path = file(folder)
    fn -> Chunker.Nar.stream(path) end
  end

  defp prepare("nar_read_file", folder) do
    [contents, nar] = for name <- ["contents", "contents.nar"], do: Path.join(folder, name)
    File.write!(contents, :crypto.strong_rand_bytes(div(@unit, 4)))
    {:ok, _} = Chunker.Nar.dump(contents, {:file, nar})
    fn -> for _ <- 1..4, do: sum(Chunker.Nar.read_file!({:file, nar}, "")) end
  end

  defp prepare("read_chunk", folder) do
    path = file(folder)
    chunks = Chunker.chunk_file!(path)
    fn -> Stream.map(chunks, &Chunker.read_chunk!(path, &1)) end
  end

  defp prepare("hash_batch", _folder) do
    fn ->
      for _ <- 1..4 do
        items = for _ <- 1..16, do: :binary.copy("content!", div(@mib, 8))
        Chunker.hash_batch!(items)
      end
    end
  end

  defp sum(binary) when is_binary(binary), do: :erlang.crc32(binary)
  defp sum(binaries), do: Enum.map(binaries, &sum/1)

  defp digest(results), do: results |> Stream.map(&:erlang.phash2/1) |> Enum.sum()

  defp file(folder) do
    path = Path.join(folder, "data")

    if not File.exists?(path) do
      File.open!(path, [:write, :raw], fn file ->
        for _ <- 1..64, do: :ok = :file.write(file, :crypto.strong_rand_bytes(@mib))
      end)
    end

    path
  end

  # The kernel measures the peak from here on.
  defp reset_peak, do: File.write!("/proc/self/clear_refs", "5")

  defp resident(field) do
    [_, kib] = Regex.run(~r/^#{field}:\s+(\d+) kB/m, File.read!("/proc/self/status"))
    String.to_integer(kib) / 1024
  end
end

case System.argv() do
  [operation, heap, bytes, folder] ->
    grown = Chunker.MemoryProbe.run(operation, heap, String.to_integer(bytes), folder)
    IO.puts(:erlang.float_to_binary(grown, decimals: 1))

  [] ->
    IO.puts(Enum.join(Chunker.MemoryProbe.operations(), " "))
end
