Code.require_file("support/attempts.exs", __DIR__)

defmodule Chunker.SchedulersTest do
  # Where each call runs, as traced by the VM: calls that can take longer than a millisecond must not run on
  # normal schedulers, and those that can take longer than some ten milliseconds not on dirty ones either.
  use ExUnit.Case, async: false

  alias Chunker.{Attempts, Cache, Store}

  @moduletag :tmp_dir

  # The trace reports dirty schedulers as number 0.
  @dirty 0

  setup do
    {:module, _} = Code.ensure_loaded(:chunker_nif)

    jobs =
      for {name, arity} <- :chunker_nif.module_info(:exports),
          name |> Atom.to_string() |> String.ends_with?("_job"),
          do: {:chunker_nif, name, arity}

    for job <- jobs, do: 1 = :erlang.trace_pattern(job, true, [:local])
    on_exit(fn -> for job <- jobs, do: :erlang.trace_pattern(job, false, [:local]) end)
  end

  # Returns the functions of the NIF that a call has run on dirty schedulers, and those that it has started as jobs.
  defp dirty(call) do
    {pid, monitor} = spawn_monitor(fn -> receive(do: (:go -> call.())) end)
    :erlang.trace(pid, true, [:running, :scheduler_id, :call])
    send(pid, :go)
    assert_receive {:DOWN, ^monitor, _, _, :normal}, 60_000
    delivered = :erlang.trace_delivered(pid)
    assert_receive {:trace_delivered, ^pid, ^delivered}, 60_000
    Enum.uniq(traced(pid))
  end

  defp traced(pid) do
    receive do
      {:trace, ^pid, :in, {:chunker_nif, function, _arity}, @dirty} -> [function | traced(pid)]
      {:trace, ^pid, :call, {:chunker_nif, function, _}, _} -> [function | traced(pid)]
      {:trace, ^pid, _, _, _} -> traced(pid)
    after
      0 -> []
    end
  end

  test "work of some milliseconds runs on dirty schedulers", %{tmp_dir: folder} do
    data = :rand.bytes(200_000)
    path = Path.join(folder, "file")
    File.write!(path, data)
    fifo = Path.join(folder, "fifo")
    {_, 0} = System.cmd("mkfifo", [fifo])
    nar = Path.join(folder, "nar")
    {:ok, _} = Chunker.Nar.dump(path, {:file, nar})
    [chunk] = Chunker.chunk_file!(path)
    bytes = binary_part(data, 0, 30_000)
    text = Chunker.to_nix_base32(bytes)
    cache = Cache.new()
    small = Chunker.compress!(:binary.copy("content", 30_000))

    fed = fn call ->
      writer = Task.async(fn -> System.cmd("sh", ["-c", "cat #{path} > #{fifo}"]) end)
      call.()
      Task.await(writer, 60_000)
    end

    for {functions, call} <- [
          chunk_data_dirty: fn -> Chunker.chunk_data(data) end,
          chunk_file: fn -> Chunker.chunk_file(path) end,
          chunk_file: fn -> Chunker.chunk_file("/no/such/file") end,
          read_chunk: fn -> Chunker.read_chunk(path, chunk) end,
          hash_dirty: fn -> Chunker.hash(data, :sha256) end,
          hash_cached_dirty: fn -> Chunker.hash(data, :sha256, cache: cache) end,
          hash_file: fn -> Chunker.hash_file(path, :blake3) end,
          hash_batch: fn -> Chunker.hash_batch([data]) end,
          compress: fn -> Chunker.compress(binary_part(data, 0, 100_000)) end,
          decompress: fn -> Chunker.decompress(small) end,
          nix_base32_encode_dirty: fn -> Chunker.to_nix_base32(bytes) end,
          nix_base32_decode_dirty: fn -> Chunker.from_nix_base32(text) end,
          cache_put_dirty: fn -> Cache.put(cache, data, :sha256) end,
          cache_fetch_dirty: fn -> Cache.fetch(cache, data, :blake3) end,
          cache_get_dirty: fn -> Cache.get(cache, data, :sha256) end,
          nar_file: fn -> Chunker.Nar.list({:file, nar}) end
        ] do
      assert dirty(call) == [functions]
    end

    for {functions, call} <- [
          {[:stream_file, :stream_next], fn -> path |> Chunker.stream() |> Stream.run() end},
          {[:stream_pieces, :stream_push, :stream_finish],
           fn -> [data] |> Chunker.stream() |> Stream.run() end},
          {[:nar_dump_next], fn -> path |> Chunker.Nar.stream() |> Stream.run() end},
          # Waiting for a FIFO occupies no scheduler.
          {[:chunk_file, :special_chunks, :special_next], fn -> fed.(fn -> Chunker.chunk_file(fifo) end) end},
          {[:hash_file, :special_digest, :special_next],
           fn -> fed.(fn -> Chunker.hash_file(fifo, :sha256) end) end}
        ] do
      assert dirty(call) == functions
    end
  end

  test "long work runs in threads of the library", %{tmp_dir: folder} do
    data = :rand.bytes(1_100_000)
    path = Path.join(folder, "file")
    File.write!(path, data)
    nar = Path.join(folder, "nar")
    {:ok, _} = Chunker.Nar.dump(path, {:file, nar})
    archive = File.read!(nar)
    text = Chunker.to_nix_base32(data)
    cache = Cache.new()
    compressed = Chunker.compress!(data)
    bomb = Chunker.compress!(:binary.copy(<<0>>, 10_000_000))
    small = Chunker.compress!("abc", dictionary: data)
    empty = Path.join(folder, "empty")
    {:ok, _} = Chunker.Nar.dump(folder, {:file, empty})

    [store, other] =
      for name <- ["store", "other"], do: Store.open!(Path.join(folder, name), durability: :relaxed)

    Store.put!(store, "content", name: "a")

    for {functions, call} <- [
          {[:chunk_data_job], fn -> Chunker.chunk_data(data) end},
          {[:chunk_file, :chunk_file_job], fn -> Chunker.chunk_file(path) end},
          {[:chunk_files_job], fn -> Chunker.chunk_files([path, path]) end},
          {[:hash_job], fn -> Chunker.hash(data, :sha256) end},
          {[:hash_cached_job], fn -> Chunker.hash(data, :sha256, cache: cache) end},
          {[:hash_file, :hash_file_job], fn -> Chunker.hash_file(path, :blake3) end},
          {[:hash_batch_job], fn -> Chunker.hash_batch([data]) end},
          {[:compress_job], fn -> Chunker.compress(data) end},
          {[:compress, :compress_job], fn -> Chunker.compress("abc", codec: :xz) end},
          {[:compress, :compress_job], fn -> Chunker.compress("abc", level: 19) end},
          {[:compress, :compress_job], fn -> Chunker.compress("abc", codec: :gzip, level: 9) end},
          # A dictionary is digested first.
          {[:compress_job], fn -> Chunker.compress("abc", dictionary: data) end},
          {[:decompress_job], fn -> Chunker.decompress(small, dictionary: data) end},
          # Their number takes time, too.
          {[:hash_batch_job], fn -> Chunker.hash_batch(List.duplicate("", 20_000)) end},
          {[:compress_batch_job], fn -> Chunker.compress_batch(["abc"]) end},
          {[:decompress_job], fn -> Chunker.decompress(compressed) end},
          {[:decompress, :decompress_job], fn -> Chunker.decompress(bomb) end},
          {[:decompress_batch_job], fn -> Chunker.decompress_batch([bomb]) end},
          {[:train_dictionary_job], fn -> Chunker.train_dictionary(["abc"]) end},
          {[:nix_base32_encode_job], fn -> Chunker.to_nix_base32(data) end},
          {[:nix_base32_decode_job], fn -> Chunker.from_nix_base32(text) end},
          {[:cache_put_job], fn -> Cache.put(cache, data, :sha256) end},
          {[:cache_fetch_job], fn -> Cache.fetch(cache, data, :blake3) end},
          {[:cache_get_job], fn -> Cache.get(cache, data, :sha256) end},
          {[:nar_data_job], fn -> Chunker.Nar.list(archive) end},
          {[:nar_file, :nar_file_job], fn -> Chunker.Nar.list({:file, nar}) end},
          {[:nar_chunk_data_job], fn -> Chunker.Nar.chunk(archive) end},
          {[:nar_chunk_file, :nar_chunk_file_job], fn -> Chunker.Nar.chunk({:file, nar}) end},
          {[:nar_file_job], fn -> Chunker.Nar.restore({:file, empty}, Path.join(folder, "restored")) end},
          {[:store_put_file_job], fn -> Store.put!(store, {:tree, path}, name: "a") end},
          {[
             :store_session_job,
             :session_pieces_job,
             :pieces_push_job,
             :pieces_finish_job,
             :session_commit_job
           ], fn -> Store.put!(store, {:nar, archive}) end},
          {[:store_session_job, :session_put_file_job, :session_commit_job],
           fn -> {:ok, _} = Store.session(store, &Store.put!(&1, {:tar, {:file, nar}})) end},
          {[:store_tag, :store_entries_job], fn -> Store.ls!(store, "a") end},
          {[:store_tag, :store_read_job], fn -> Store.read!(store, "a", path: "") end},
          {[:store_tag, :store_restore_file_job],
           fn -> :ok = Store.restore(store, "a", {:file, Path.join(folder, "to")}, path: "") end},
          {[:store_tag, :store_restore_tree_job],
           fn -> :ok = Store.restore(store, "a", {:tree, Path.join(folder, "tree")}) end},
          {[:nar_dump_file_job], fn -> Chunker.Nar.dump(path, {:file, nar}) end},
          {[:store_stats_job], fn -> Store.stats(store) end},
          {[:store_tag, :store_copy_job], fn -> Store.copy(store, other, ["a"]) end},
          {[:store_check_job], fn -> Store.check(store) end},
          {[:stream_file, :stream_next_job], fn -> path |> Chunker.stream(compress: []) |> Stream.run() end},
          {[:stream_pieces, :stream_push_job, :stream_finish],
           fn -> [data] |> Chunker.stream() |> Stream.run() end},
          {[
             :compressor_new,
             :compressor_update,
             :compressor_update_job,
             :compressor_finish,
             :compressor_finish_job
           ], fn -> ["abc"] |> Chunker.compress_stream(codec: :xz) |> Stream.run() end},
          {[:stream_file_job, :stream_next_job],
           fn -> path |> Chunker.stream(compress: [dictionary: data]) |> Stream.run() end},
          {[:stream_pieces_job, :stream_push_job, :stream_finish_job],
           fn -> ["abc"] |> Chunker.stream(compress: [dictionary: data]) |> Stream.run() end},
          {[:compressor_new_job, :compressor_update, :compressor_finish],
           fn -> ["abc"] |> Chunker.compress_stream(dictionary: data) |> Stream.run() end},
          {[:decompressor_new_job, :decompressor_update, :decompressor_finish],
           fn -> [small] |> Chunker.decompress_stream(dictionary: data) |> Stream.run() end}
        ] do
      assert dirty(call) == functions
    end
  end

  test "neither short calls nor pieces of a stream nor collections wait for long jobs" do
    # Takes ten seconds each, on any machine.
    text = Base.encode64(:rand.bytes(15_000_000))

    busy =
      for _ <- 1..(System.schedulers_online() + 4), do: spawn(fn -> Chunker.compress(text, codec: :xz) end)

    Process.sleep(200)
    piece = binary_part(text, 0, 2_000_000)
    large = Enum.to_list(1..1_000_000)

    for call <- [
          fn -> Chunker.hash(piece, :sha256) end,
          fn -> Chunker.chunk_data(piece) end,
          fn -> Chunker.compress(binary_part(piece, 0, 200_000)) end,
          fn -> Chunker.decompress_batch(["abc"]) end,
          fn -> [binary_part(piece, 0, 200_000)] |> Chunker.compress_stream(codec: :xz) |> Stream.run() end,
          &:erlang.garbage_collect/0
        ] do
      assert Attempts.once?(fn ->
               {microseconds, _} = :timer.tc(call)
               microseconds < 2_000_000
             end)
    end

    assert length(large) == 1_000_000
    assert Enum.all?(busy, &Process.alive?/1)
    for pid <- busy, do: Process.exit(pid, :kill)
  end

  test "short work runs on the calling scheduler" do
    cache = Cache.new()

    for call <- [
          fn -> Chunker.chunk_data("abc") end,
          fn -> Chunker.hash("abc", :sha256) end,
          fn -> Cache.put(cache, "abc", :sha256) end,
          fn -> Cache.fetch(cache, "abc", :blake3) end,
          fn -> Cache.get(cache, "abc", :sha256) end,
          fn -> Chunker.to_nix_base32(<<0::256>>) end,
          fn -> Chunker.from_nix_base32("0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73") end,
          fn -> Chunker.info() end
        ] do
      assert dirty(call) == []
    end
  end
end
