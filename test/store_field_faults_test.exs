defmodule Chunker.StoreFieldFaultsTest do
  # What stores of others got wrong, each of which is a test here or in native/chunker/tests/suite/store:
  # field_faults.rs has those that take a look at single operations.
  use ExUnit.Case, async: true

  alias Chunker.{Error, Store}

  @moduletag :tmp_dir

  setup %{tmp_dir: folder} do
    %{path: Path.join(folder, "store"), store: open(folder)}
  end

  defp open(folder, options \\ []),
    do: Store.open!(Path.join(folder, "store"), [avg_size: 4096, durability: :relaxed] ++ options)

  defp packs(path), do: path |> Path.join("packs/*/*") |> Path.wildcard() |> Enum.sort()

  # Two objects, of which the second has its first half in the pack of the first one.
  defp in_two_packs(store, path) do
    [first, second] = for _ <- 1..2, do: :rand.bytes(200_000)
    Store.put!(store, first, name: "first")
    before = packs(path)
    Store.put!(store, first <> second, name: "both")
    [pack] = packs(path) -- before
    {first <> second, pack}
  end

  test "a chunk whose file has gone, or was cut, is written anew by the next put", %{store: store, path: path} do
    for loss <- [&File.rm!/1, &File.write!(&1, ""), &cut/1] do
      {data, pack} = in_two_packs(store, path)
      loss.(pack)
      # Through the handle that has written it, and knows that it was there.
      assert %{new_chunks: new} = Store.put!(store, data, name: "both")
      assert new > 0
      assert Store.read!(store, "both") == data
      Store.put!(store, binary_part(data, 0, 200_000), name: "first")
      assert {:ok, %{incomplete: []}} = Store.check(store)
      for name <- ["first", "both"], do: {:ok, true} = Store.untag(store, name)
      {:ok, _} = Store.repair(store)
      {:ok, _} = Store.gc(store)
    end
  end

  defp cut(path) do
    bytes = File.read!(path)
    File.write!(path, binary_part(bytes, 0, div(byte_size(bytes), 3)))
  end

  test "a reader fails before its first byte if a chunk is missing", %{store: store, path: path} = context do
    {data, pack} = in_two_packs(store, path)
    File.rm!(pack)
    to = Path.join(context.tmp_dir, "restored")
    File.write!(to, "what was there")

    for store <- [store, open(context.tmp_dir)] do
      test = self()
      stream = store |> Store.stream("both") |> Stream.each(&send(test, {:piece, &1}))
      assert_raise Error, ~r/missing/, fn -> Stream.run(stream) end
      refute_received {:piece, _}

      assert {:error, %Error{reason: :chunk_missing, details: %{digests: [_ | _]}}} =
               Store.read(store, "both")

      assert {:error, %Error{reason: :chunk_missing}} = Store.restore(store, "both", {:file, to})
      assert File.read!(to) == "what was there"
      assert File.ls!(context.tmp_dir) |> Enum.sort() == ["restored", "store"]
      # A range that lacks nothing is read.
      assert Store.read!(store, "both", length: 150_000) == binary_part(data, 0, 150_000)
    end
  end

  test "a source that ended early is not committed", %{store: store, tmp_dir: folder} do
    test = self()

    # The process that puts is killed, as if its client had gone.
    {pid, monitor} =
      spawn_monitor(fn ->
        pieces =
          Stream.map(1..100, fn
            50 -> send(test, :half) && Process.sleep(:infinity)
            _ -> :rand.bytes(100_000)
          end)

        Store.put(store, pieces, name: "killed")
      end)

    assert_receive :half, 60_000
    Process.exit(pid, :kill)
    assert_receive {:DOWN, ^monitor, _, _, :killed}, 60_000

    for {kind, ending} <- [
          raise: fn -> raise "no more" end,
          throw: fn -> throw(:no_more) end,
          exit: fn -> exit(:no_more) end
        ] do
      pieces = Stream.map(1..20, fn n -> if n == 10, do: ending.(), else: :rand.bytes(100_000) end)
      assert catch_any(fn -> Store.put(store, pieces, name: "#{kind}") end)

      assert catch_any(fn ->
               Store.session(store, fn session ->
                 Store.put!(session, "whole", name: "other")
                 Store.put(session, pieces, name: "#{kind}")
               end)
             end)
    end

    # A file that gets shorter while it is read.
    path = Path.join(folder, "file")
    {_, 0} = System.cmd("truncate", ["-s", "3G", path])
    cut = Task.async(fn -> Process.sleep(100) && System.cmd("truncate", ["-s", "1M", path]) end)
    assert {:error, %Error{reason: :file_changed}} = Store.put(store, {:file, path}, name: "cut")
    Task.await(cut)

    assert Store.tags(store) == {:ok, []}
    assert {:ok, %{objects: 0}} = Store.gc(store)
    assert {:ok, %{packs: 0}} = Store.gc(store)
  end

  defp catch_any(fun) do
    fun.()
    false
  catch
    _, _ -> true
  end

  test "a writer slept while garbage was collected", %{store: store, tmp_dir: folder} do
    data = :rand.bytes(300_000)
    Store.put!(store, data, name: "a")
    {:ok, true} = Store.untag(store, "a")
    other = open(folder)

    # It finds all chunks, and goes on when they have gone.
    sleeper = fn ->
      Store.session(store, fn session ->
        assert %{new_chunks: 0} = Store.put!(session, data, name: "b")
        assert {:ok, %{deleted_packs: 2}} = Store.gc(other)
        # Long after.
        Store.put!(session, "more", name: "c")
        :done
      end)
    end

    assert {:error, %Error{reason: :session_fenced}} = sleeper.()
    assert Store.tags(store) == {:ok, []}

    assert Store.session(store, fn session -> Store.put!(session, data, name: "b") && :done end) ==
             {:ok, :done}

    {:ok, _} = Store.gc(other)
    assert Store.read!(store, "b") == data
  end

  test "a VM that was stopped while garbage was collected goes on", %{store: store, tmp_dir: folder} do
    data = :rand.bytes(300_000)
    Store.put!(store, data, name: "a")
    source = Path.join(folder, "source")
    File.write!(source, data)
    ebin = Path.join(Mix.Project.app_path(), "ebin")

    code = """
    store = Chunker.Store.open!(#{inspect(Path.join(folder, "store"))})

    result =
      Chunker.Store.session(store, fn session ->
        %{new_chunks: 0} = Chunker.Store.put!(session, {:file, #{inspect(source)}}, name: "b")
        IO.puts("found")
        # Until it goes on after SIGSTOP.
        IO.read(:line)
        :done
      end)

    with {:error, error} <- result, do: IO.puts(error.reason)
    Chunker.Store.put!(store, {:file, #{inspect(source)}}, name: "b")
    IO.puts("put")
    """

    arguments = ["-pa", ebin, "-e", code]
    port = Port.open({:spawn_executable, System.find_executable("elixir")}, [:binary, args: arguments])
    {:os_pid, pid} = Port.info(port, :os_pid)
    signal = fn signal -> {_, 0} = System.cmd("kill", ["-#{signal}", "#{pid}"]) end
    assert_receive {^port, {:data, "found\n"}}, 60_000
    signal.("STOP")
    {:ok, true} = Store.untag(store, "a")
    assert {:ok, %{deleted_packs: 2}} = Store.gc(store)
    signal.("CONT")
    Port.command(port, "go on\n")
    assert output(port, "") == "session_fenced\nput\n"
    {:ok, _} = Store.gc(store)
    assert Store.read!(store, "b") == data
  end

  defp output(port, output) do
    if String.ends_with?(output, "put\n") do
      output
    else
      receive do
        {^port, {:data, data}} -> output(port, output <> data)
      after
        60_000 -> output
      end
    end
  end

  test "a collection spares what an unfinished upload has written, and what it has found", context do
    %{store: store, tmp_dir: folder, path: path} = context
    live = :rand.bytes(300_000)
    Store.put!(store, live, name: "live")
    other = open(folder)
    new = :rand.bytes(40_000_000)

    assert {:ok, object} =
             Store.session(store, fn session ->
               object = Store.put!(session, live <> new, name: "new")
               # Two packs are full by now; wait until they are there.
               assert Enum.any?(1..1000, fn _ -> length(packs(path)) >= 3 or Process.sleep(10) == nil end)
               Store.put!(other, :rand.bytes(100_000), name: "garbage")
               {:ok, true} = Store.untag(other, "garbage")
               assert {:ok, %{deleted_packs: 2}} = Store.gc(other)
               object
             end)

    assert object.new_bytes < 41_000_000
    {:ok, _} = Store.gc(other)
    assert Store.read!(store, "new") == live <> new
  end

  test "a failed upload's chunks are not relied on", %{store: store, path: path} do
    data = :rand.bytes(500_000)
    folder = Path.join(path, "packs")
    # Nothing can be written there.
    File.rm_rf!(folder)
    File.write!(folder, "")
    assert {:error, %Error{reason: :io_error}} = Store.put(store, data, name: "a")
    assert Store.tags(store) == {:ok, []}
    File.rm!(folder)
    store = open(Path.dirname(path))
    object = Store.put!(store, data, name: "a")
    assert object.new_chunks == object.chunk_count
    assert Store.read!(store, "a") == data
    assert {:ok, %{damage: [], incomplete: []}} = Store.check(store)
  end

  test "records say their codec themselves: writers with several codecs", %{tmp_dir: folder} do
    stores = for codec <- ~w(none zstd lz4 xz gzip brotli bzip2)a, do: open(folder, codec: codec)
    block = fn number -> :binary.copy("block #{number} of several writers, ", 2000) end

    # Each has chunks that the ones before have written.
    for {store, number} <- Enum.with_index(stores) do
      Store.put!(store, Enum.map(0..number, block), name: "#{number}")
    end

    for store <- [open(folder) | stores], number <- 0..6 do
      assert Store.read!(store, "#{number}") == IO.iodata_to_binary(Enum.map(0..number, block))
    end

    assert {:ok, %{damage: [], incomplete: []}} = Store.check(open(folder))
  end
end
