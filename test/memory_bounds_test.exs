defmodule Chunker.MemoryBoundsTest do
  # The memory that a call returns is charged to its process, so the VM collects it regardless of the size of
  # the process's heap. On OTP 27 a binary over a resource is not charged: a process with a large heap then
  # keeps all that it received.
  use ExUnit.Case, async: true

  @mib 1_048_576
  @bytes 512 * @mib
  @probe Path.expand("support/memory_probe.exs", __DIR__)

  setup_all do
    parent = if File.dir?("/dev/shm"), do: "/dev/shm", else: System.tmp_dir!()
    folder = Path.join(parent, "chunker-bounds-#{System.pid()}")
    on_exit(fn -> File.rm_rf!(folder) end)
    %{folder: folder}
  end

  operations = ~w(stream stream_compress compress decompress compress_batch decompress_batch compress_stream
                  decompress_stream chunk_data nar_stream nar_read_file read_chunk hash_batch)

  for operation <- operations do
    @tag skip:
           not File.exists?("/proc/self/clear_refs") &&
             "the peak of resident memory can be reset on Linux only"
    test "#{operation}: peak memory does not depend on the heap of the process", %{folder: folder} do
      folder = Path.join(folder, unquote(operation))
      File.mkdir_p!(folder)
      peaks = for heap <- ~w(small map list), do: peak(unquote(operation), heap, folder)
      File.rm_rf!(folder)
      {lowest, highest} = Enum.min_max(peaks)
      assert highest - lowest <= 64, "MiB with a small heap, a map and a list: #{inspect(peaks)}"
    end
  end

  defp peak(operation, heap, folder) do
    ebin = Path.join(Mix.Project.app_path(), "ebin")
    arguments = ["-pa", ebin, @probe, operation, heap, to_string(@bytes), folder]
    {output, 0} = System.cmd("elixir", arguments, env: [{"ELIXIR_ERL_OPTIONS", ""}])
    output |> String.trim() |> String.to_float()
  end
end

defmodule Chunker.BinaryAccountingTest do
  # Not async: it measures the memory of all binaries of this VM.
  use ExUnit.Case, async: false

  @mib 1_048_576
  @slack 4 * @mib

  # Returns the bytes of all binaries after garbage has been freed, which other threads of the VM do some time
  # after the collection. The value is settled if five successive measurements, 20 ms apart, differ by less than
  # 64 KiB.
  defp binaries, do: settled([])

  defp settled([last | _] = measured) when length(measured) == 5 do
    if Enum.max(measured) - Enum.min(measured) < 65_536, do: last, else: settled(Enum.take(measured, 4))
  end

  defp settled(measured) do
    for pid <- Process.list(), do: :erlang.garbage_collect(pid)
    Process.sleep(20)
    settled([:erlang.memory(:binary) | measured])
  end

  defp wait_until(condition, attempts \\ 500) do
    cond do
      condition.() ->
        :ok

      attempts == 0 ->
        flunk("the memory of binaries is #{:erlang.memory(:binary)} bytes")

      true ->
        Process.sleep(10)
        wait_until(condition, attempts - 1)
    end
  end

  test "returned data counts as memory of binaries, and is freed with the process that holds it" do
    data = :crypto.strong_rand_bytes(32 * @mib)
    path = Path.join(System.tmp_dir!(), "chunker-accounting-#{System.pid()}")
    File.write!(path, data)
    on_exit(fn -> File.rm(path) end)
    zstd = Chunker.compress!(data)
    items = for part <- 0..7, do: binary_part(data, part * 4 * @mib, 4 * @mib)

    calls = [
      stream: fn -> path |> Chunker.stream() |> Enum.map(& &1.data) end,
      stream_of_pieces: fn -> [data] |> Chunker.stream() |> Enum.map(& &1.data) end,
      compress: fn -> [Chunker.compress!(data)] end,
      decompress: fn -> [Chunker.decompress!(zstd)] end,
      compress_batch: fn -> Chunker.compress_batch!(items) end,
      compress_stream: fn -> Enum.to_list(Chunker.compress_stream(items)) end,
      decompress_stream: fn -> Enum.to_list(Chunker.decompress_stream([zstd])) end,
      nar_stream: fn -> Enum.to_list(Chunker.Nar.stream(path)) end
    ]

    for {name, call} <- calls do
      before = binaries()
      owner = self()

      holder =
        spawn(fn ->
          held = call.()
          send(owner, :holds)
          receive do: (:end -> length(held))
        end)

      assert_receive :holds, 60_000
      during = binaries() - before
      assert abs(during - 32 * @mib) < @slack, "#{name}: #{during} bytes"
      Process.exit(holder, :kill)
      # Other threads of the VM free it, after a short delay.
      wait_until(fn -> :erlang.memory(:binary) - before < @slack end)
    end

    # The inputs are used here, so that none of them is collected between two measurements.
    assert :erlang.crc32(data) == :erlang.crc32(items)
    assert byte_size(zstd) > 0
  end

  test "a call that waits behind long ones gives its input back if its caller dies" do
    # Takes half a minute each, on any machine.
    text = Base.encode64(:rand.bytes(45_000_000))
    busy = for _ <- 1..System.schedulers_online(), do: spawn(fn -> Chunker.compress(text, codec: :xz) end)
    Process.sleep(200)
    before = binaries()
    waiting = spawn(fn -> Chunker.compress(:binary.copy(<<0>>, 200 * @mib), codec: :xz) end)
    waits = {:current_function, {:chunker_dispatch, :job, 2}}
    wait_until(fn -> Process.info(waiting, :current_function) == waits end)
    assert :erlang.memory(:binary) - before > 150 * @mib
    Process.exit(waiting, :kill)
    # Other calls wake the threads of the library.
    data = :binary.copy(<<0>>, 2 * @mib)
    calls = Stream.repeatedly(fn -> Process.sleep(500) && Chunker.hash(data, :blake3) end)
    spawn_link(fn -> Stream.run(calls) end)
    # Within ten seconds.
    wait_until(fn -> :erlang.memory(:binary) - before < 50 * @mib end, 1500)
    assert Enum.all?(busy, &Process.alive?/1)
    for pid <- busy, do: Process.exit(pid, :kill)
  end

  test "a stream retains little of the memory of chunks that are dropped" do
    path = Path.join(System.tmp_dir!(), "chunker-spare-#{System.pid()}")
    on_exit(fn -> File.rm(path) end)
    # Written by another program, because the memory of this VM is measured.
    {"", 0} = System.cmd("sh", ["-c", "head -c #{256 * @mib} /dev/urandom > \"$1\"", "sh", path])
    before = binaries()

    # Holds every chunk of the first half and none of the second.
    step = fn
      %{offset: offset} = chunk, held when offset < 128 * @mib -> [chunk | held]
      %{offset: offset}, _held when offset < 192 * @mib -> []
      # 32 MiB are kept for later chunks, and as much may be in flight.
      _chunk, [] -> wait_until(fn -> binaries() - before < 64 * @mib end)
      _chunk, :ok -> :ok
    end

    assert :ok = path |> Chunker.stream() |> Enum.reduce([], step)
    wait_until(fn -> binaries() - before < @slack end)
  end

  test "a thousand processes that hold one chunk each hold no more than their chunks" do
    data = :crypto.strong_rand_bytes(64 * @mib)
    options = [min_size: 16_384, avg_size: 65_536, max_size: 262_144]
    owner = self()
    before = binaries()

    {holders, bytes} =
      [data]
      |> Chunker.stream(options)
      |> Enum.map_reduce(0, fn chunk, bytes ->
        holder =
          spawn_link(fn ->
            receive do
              {:hold, chunk} ->
                send(owner, {:holds, byte_size(chunk.data)})
                # Used afterwards, so that the process holds it until then.
                receive do: (:let_go -> send(owner, {:held, :erlang.crc32(chunk.data)}))
            end
          end)

        send(holder, {:hold, chunk})
        assert_receive {:holds, size}, 60_000
        {holder, bytes + size}
      end)

    assert length(holders) > 700
    assert bytes == byte_size(data)
    grown = binaries() - before
    assert abs(grown - bytes) < @slack, "#{grown} bytes for #{bytes}"

    # Half of the processes drop their chunk, which frees half of the memory.
    leaving = Enum.take(holders, div(length(holders), 2))
    Enum.each(leaving, &send(&1, :let_go))
    wait_until(fn -> abs(binaries() - before - div(bytes, 2)) < @slack end)
    Enum.each(holders -- leaving, &send(&1, :let_go))
    wait_until(fn -> binaries() - before < @slack end)
    # The input is used here, so that it is not collected before.
    assert is_integer(:erlang.crc32(data))
  end
end
