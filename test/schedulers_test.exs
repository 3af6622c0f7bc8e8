defmodule Chunker.SchedulersTest do
  # The kind of scheduler that each call runs on, as traced by the VM: calls that can take longer than a
  # millisecond must not run on normal schedulers.
  use ExUnit.Case, async: true

  alias Chunker.Cache

  @moduletag :tmp_dir

  # The trace reports dirty schedulers as number 0.
  @dirty 0

  # Returns the functions of the NIF that a call has run on dirty schedulers.
  defp dirty(call) do
    {pid, monitor} = spawn_monitor(fn -> receive(do: (:go -> call.())) end)
    :erlang.trace(pid, true, [:running, :scheduler_id])
    send(pid, :go)
    assert_receive {:DOWN, ^monitor, _, _, :normal}, 60_000
    delivered = :erlang.trace_delivered(pid)
    assert_receive {:trace_delivered, ^pid, ^delivered}
    Enum.uniq(traced(pid))
  end

  defp traced(pid) do
    receive do
      {:trace, ^pid, :in, {:chunker_nif, function, _arity}, @dirty} -> [function | traced(pid)]
      {:trace, ^pid, _, _, _} -> traced(pid)
    after
      0 -> []
    end
  end

  test "long work runs on dirty schedulers", %{tmp_dir: folder} do
    data = :rand.bytes(200_000)
    path = Path.join(folder, "file")
    File.write!(path, data)
    fifo = Path.join(folder, "fifo")
    {_, 0} = System.cmd("mkfifo", [fifo])
    nar = Path.join(folder, "nar")
    {:ok, _} = Chunker.Nar.dump(path, {:file, nar})
    [chunk] = Chunker.chunk_file!(path)
    text = Chunker.to_nix_base32(data)
    cache = Cache.new()
    compressed = Chunker.compress!(data)

    fed = fn call ->
      writer = Task.async(fn -> System.cmd("sh", ["-c", "cat #{path} > #{fifo}"]) end)
      call.()
      Task.await(writer, 60_000)
    end

    for {functions, call} <- [
          chunk_data_dirty: fn -> Chunker.chunk_data(data) end,
          chunk_file: fn -> Chunker.chunk_file(path) end,
          chunk_file: fn -> Chunker.chunk_file("/no/such/file") end,
          chunk_files: fn -> Chunker.chunk_files([path, path]) end,
          read_chunk: fn -> Chunker.read_chunk(path, chunk) end,
          hash_dirty: fn -> Chunker.hash(data, :sha256) end,
          hash_file: fn -> Chunker.hash_file(path, :blake3) end,
          hash_batch: fn -> Chunker.hash_batch([data]) end,
          compress: fn -> Chunker.compress(data) end,
          compress_batch: fn -> Chunker.compress_batch(["abc"]) end,
          decompress: fn -> Chunker.decompress(compressed) end,
          decompress_batch: fn -> Chunker.decompress_batch([compressed]) end,
          nix_base32_encode_dirty: fn -> Chunker.to_nix_base32(data) end,
          nix_base32_decode_dirty: fn -> Chunker.from_nix_base32(text) end,
          cache_put_dirty: fn -> Cache.put(cache, data, :sha256) end,
          cache_fetch_dirty: fn -> Cache.fetch(cache, data, :blake3) end,
          cache_get_dirty: fn -> Cache.get(cache, data, :sha256) end,
          nar_file: fn -> Chunker.Nar.list({:file, nar}) end,
          nar_dump_file: fn -> Chunker.Nar.dump(path, {:file, nar}) end
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
