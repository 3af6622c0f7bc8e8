Code.require_file("support/file_stream.exs", __DIR__)
Code.require_file("support/reference.exs", __DIR__)

defmodule Chunker.StreamTest do
  use ExUnit.Case, async: true

  alias Chunker.{Error, FileStream, Reference}

  @moduletag :tmp_dir
  @mib 1_048_576
  @small [min_size: 64, avg_size: 256, max_size: 1024]

  # In the form that `chunker_options` returns.
  @native {{nil, 64, 256, 1024, 1, 0}, nil, {:blake3, nil}, {2, 2}, :error}

  defp open?(path) do
    Enum.any?(File.ls!("/proc/self/fd"), &(File.read_link("/proc/self/fd/#{&1}") == {:ok, path}))
  end

  # A thread of the engine that is in a read when a stream ends closes the file when the read returns.
  defp closed?(path), do: eventually(fn -> not open?(path) end)

  # Returns the position of this VM in a file that it has opened once.
  defp position(path) do
    fd = Enum.find(File.ls!("/proc/self/fd"), &(File.read_link("/proc/self/fd/#{&1}") == {:ok, path}))
    [_, position] = Regex.run(~r/^pos:\s+(\d+)/, File.read!("/proc/self/fdinfo/#{fd}"))
    String.to_integer(position)
  end

  defp eventually(condition, patience \\ 5_000) do
    cond do
      condition.() ->
        true

      patience <= 0 ->
        false

      true ->
        Process.sleep(10)
        eventually(condition, patience - 10)
    end
  end

  defp sparse(folder, name, size) do
    path = Path.join(folder, name)
    {:ok, file} = File.open(path, [:write, :read, :binary, :raw])
    :ok = :file.pwrite(file, size - 1, "x")
    :ok = File.close(file)
    path
  end

  # A source that sends the test a message for each piece that it yields.
  defp telling(piece, count) do
    parent = self()

    Stream.resource(
      fn ->
        send(parent, :source_opened)
        0
      end,
      fn
        ^count ->
          {:halt, count}

        given ->
          send(parent, :piece)
          {[piece], given + 1}
      end,
      fn _ -> send(parent, :source_closed) end
    )
  end

  defp received(message, count \\ 0) do
    receive do
      ^message -> received(message, count + 1)
    after
      0 -> count
    end
  end

  describe "a stream is lazy:" do
    test "nothing is opened before it runs", %{tmp_dir: folder} do
      path = Path.join(folder, "later")
      stream = Chunker.stream(path, @small)
      bad = Chunker.stream(path, min_size: 1)
      File.write!(path, "hello")
      refute open?(path)
      assert [%{data: "hello"}] = Enum.to_list(stream)
      assert_raise Error, fn -> Enum.to_list(bad) end

      stream = telling("hello", 1) |> Chunker.stream()
      refute_received :source_opened
      assert [%{data: "hello"}] = Enum.to_list(stream)
      assert_received :source_opened
      assert_received :source_closed
    end

    test "it can run again, and twice at the same time", %{tmp_dir: folder} do
      path = Path.join(folder, "again")
      data = :rand.bytes(100_000)
      File.write!(path, data)

      for source <- [path, [data], telling(data, 1)] do
        stream = Chunker.stream(source, @small)
        first = Enum.to_list(stream)
        assert length(first) > 100
        assert Enum.to_list(stream) == first
        assert stream |> Stream.zip(stream) |> Enum.map(&elem(&1, 0)) == first
        assert stream |> Stream.zip(stream) |> Enum.map(&elem(&1, 1)) == first
      end

      refute open?(path)
      received(:piece)
    end

    test "it reads no more of an endless source than it needs" do
      piece = :rand.bytes(100_000)
      assert [_, _, _] = telling(piece, :never) |> Chunker.stream([threads: 2] ++ @small) |> Enum.take(3)
      # On a busy machine the engine receives up to its bound, a few MiB, until the first chunk is complete.
      assert received(:piece) <= 80
      assert_received :source_closed

      assert [_] = telling(:binary.copy(<<0>>, @mib), :never) |> Chunker.stream(threads: 2) |> Enum.take(1)
      # The bound is four times the largest chunk, which is 16 MiB, and a few MiB for each thread.
      assert received(:piece) <= 32
    end

    test "a chunk refers to little more memory than it has bytes", %{tmp_dir: folder} do
      path = Path.join(folder, "random")
      File.write!(path, :crypto.strong_rand_bytes(20 * @mib))

      for %{data: data} <- Chunker.stream(path) do
        size = byte_size(data)
        assert :binary.referenced_byte_size(data) <= if(size <= 512 * 1024, do: size, else: div(size * 5, 4))
      end
    end

    test "the read-ahead of a file is bounded", %{tmp_dir: folder} do
      path = sparse(folder, "ahead", 1024 * @mib)

      for {options, bound} <- [
            {[threads: 2], 32 * @mib},
            {[threads: 1], 24 * @mib},
            {[threads: 2] ++ @small, 16 * @mib}
          ] do
        path
        |> Chunker.stream(options)
        |> Enum.take(3)
        |> then(fn [_, _, _] -> assert closed?(path) end)

        {:ok, iterator} = :chunker.stream({:file, path}, options)
        {:ok, _, next} = :chunker.next(iterator)
        Process.sleep(100)
        assert position(path) <= bound
        :chunker.close(next)
        assert closed?(path)
      end
    end
  end

  describe "the file is closed" do
    setup %{tmp_dir: folder} do
      %{path: sparse(folder, "closed", 100 * @mib)}
    end

    test "at the end", %{path: path} do
      assert path |> Chunker.stream() |> Enum.count() > 20
      assert closed?(path)
    end

    test "when the consumer halts", %{path: path} do
      assert [_] = path |> Chunker.stream() |> Enum.take(1)
      assert closed?(path)
      assert path |> Chunker.stream() |> Enum.find(&(&1.offset > 0))
      assert closed?(path)
      assert [{_, 1}, {_, 2}] = path |> Chunker.stream() |> Enum.zip(1..2)
      assert closed?(path)

      assert [_ | _] =
               path |> Chunker.stream() |> Stream.take_while(&(&1.offset < 10 * @mib)) |> Enum.to_list()

      assert closed?(path)
    end

    test "when the consumer raises, throws or exits", %{path: path} do
      stream = Chunker.stream(path)
      assert catch_error(Enum.each(stream, fn _ -> raise "no" end))
      assert closed?(path)
      assert catch_throw(Enum.each(stream, fn _ -> throw(:no) end)) == :no
      assert closed?(path)
      assert catch_exit(Enum.each(stream, fn _ -> exit(:no) end)) == :no
      assert closed?(path)
    end

    test "when the consumer is killed", %{path: path} do
      owner = self()

      {pid, monitor} =
        spawn_monitor(fn ->
          Enum.each(Chunker.stream(path), fn _ ->
            send(owner, :chunk)
            Process.sleep(:infinity)
          end)
        end)

      assert_receive :chunk, 5_000
      assert open?(path)
      Process.exit(pid, :kill)
      assert_receive {:DOWN, ^monitor, _, _, _}
      assert closed?(path)
    end

    test "when a suspended stream is halted, and it can be resumed before", %{path: path} do
      next = &Enumerable.reduce(Chunker.stream(path), &1, fn chunk, _ -> {:suspend, chunk} end)
      assert {:suspended, first, next} = next.({:cont, nil})
      assert first.offset == 0
      assert open?(path)
      assert {:suspended, second, next} = next.({:cont, nil})
      assert second.offset == first.length
      assert {:halted, :enough} = next.({:halt, :enough})
      assert closed?(path)
    end

    test "when no process holds the stream any more", %{path: path} do
      iterate = fn ->
        {:ok, iterator} = :chunker.stream({:file, path})
        :chunker.next(iterator)
      end

      suspend = fn ->
        Enumerable.reduce(Chunker.stream(path), {:cont, nil}, fn _, _ -> {:suspend, nil} end)
      end

      for hold <- [iterate, suspend] do
        # A variable would be free after its last use.
        Process.put(:held, hold.())
        :erlang.garbage_collect()
        assert open?(path)
        Process.delete(:held)
        assert eventually(fn -> :erlang.garbage_collect() && not open?(path) end)
      end
    end
  end

  describe "a source" do
    test "may have pieces of any kind, with the chunks of the whole" do
      data = for(i <- 1..30_000, into: "", do: <<rem(i * i, 251)>>)
      expected = Reference.chunks(data, @small)
      spans = fn source -> source |> Chunker.stream(@small) |> Enum.map(&{&1.offset, &1.length}) end
      bytes = :binary.bin_to_list(data)

      assert spans.([data]) == expected
      assert spans.([bytes]) == expected
      assert spans.(Enum.map(bytes, &<<&1>>)) == expected
      assert spans.(Stream.map(bytes, &[[[&1], []], ""])) == expected
      assert spans.(Enum.intersperse([data], "")) == expected
      assert spans.(Stream.intersperse(Enum.map(bytes, &[&1]), [])) == expected
      # Deep nesting, and lists that end in a binary.
      assert spans.([Enum.reduce(bytes, [], fn byte, deep -> [deep, byte] end)]) == expected
      assert spans.([Enum.reduce(Enum.reverse(bytes), "", fn byte, rest -> [byte | rest] end)]) == expected
    end

    test "may be any enumerable", %{tmp_dir: folder} do
      path = Path.join(folder, "source")
      data = :rand.bytes(100_000)
      File.write!(path, data)
      expected = Reference.chunks(data, @small)
      spans = fn source -> source |> Chunker.stream(@small) |> Enum.map(&{&1.offset, &1.length}) end

      assert spans.(FileStream.stream!(path, 1000)) == expected
      assert spans.(MapSet.new([data])) == expected
      {:ok, device} = StringIO.open(Base.encode16(data))
      text = IO.binstream(device, 777)
      assert spans.(text) == Reference.chunks(Base.encode16(data), @small)
      # Chunks are a source too, by their data.
      assert path |> Chunker.stream() |> Stream.map(& &1.data) |> spans.() == expected
    end

    test "may be empty" do
      for source <- [[], [""], [[]], ["", [[], ""]], Stream.take(["a"], 0), MapSet.new()] do
        assert source |> Chunker.stream() |> Enum.to_list() == []
      end
    end

    test "that raises midway raises in the consumer, after the chunks before" do
      owner = self()
      source = Stream.map(1..100, fn i -> if i == 50, do: raise("source"), else: :rand.bytes(10_000) end)

      assert_raise RuntimeError, "source", fn ->
        source |> Chunker.stream(@small) |> Enum.each(&send(owner, &1))
      end

      assert_received %Chunker.Chunk{offset: 0}

      stream =
        Stream.transform([1], fn -> :ok end, fn _, _ -> throw(:source) end, fn _ -> send(owner, :after) end)

      assert catch_throw(stream |> Chunker.stream() |> Enum.to_list()) == :source
      assert_received :after
    end

    test "that yields anything other than iodata raises" do
      for wrong <- [1, :a, nil, {"a"}, %{}, [256], [:a], <<1::3>>, 1.0, ["a" | 5]] do
        message = "expected iodata, got: #{inspect(wrong)}"
        assert_raise ArgumentError, message, fn -> [wrong] |> Chunker.stream() |> Enum.to_list() end
        assert_raise ArgumentError, message, fn -> ["a", wrong] |> Chunker.stream() |> Enum.to_list() end

        assert_raise ArgumentError, message, fn ->
          [:rand.bytes(100_000), wrong] |> Chunker.stream(@small) |> Enum.to_list()
        end
      end

      # A path as a list of characters is read as pieces.
      assert_raise ArgumentError, "expected iodata, got: 47", fn ->
        ~c"/etc/passwd" |> Chunker.stream() |> Enum.to_list()
      end

      assert_raise Protocol.UndefinedError, fn -> nil |> Chunker.stream() |> Enum.to_list() end
    end

    test "is closed when the consumer halts or raises" do
      assert [_] = telling(:rand.bytes(10_000), :never) |> Chunker.stream(@small) |> Enum.take(1)
      assert_received :source_closed

      assert_raise RuntimeError, fn ->
        telling(:rand.bytes(10_000), :never) |> Chunker.stream(@small) |> Enum.each(fn _ -> raise "no" end)
      end

      assert_received :source_closed

      assert received(:source_opened) == 2
      assert_raise Error, fn -> telling("a", 1) |> Chunker.stream(min_size: 1) |> Enum.to_list() end
      # Either not opened, or closed again.
      assert received(:source_opened) == received(:source_closed)
    end

    test "that halts early ends the input" do
      data = :rand.bytes(50_000)
      chunks = [data] |> Chunker.stream(@small) |> Enum.to_list()
      assert [data, :rand.bytes(10)] |> Stream.take(1) |> Chunker.stream(@small) |> Enum.to_list() == chunks

      source =
        Stream.transform([data, :end, data], :ok, fn piece, acc ->
          if piece == :end, do: {:halt, acc}, else: {[piece], acc}
        end)

      assert source |> Chunker.stream(@small) |> Enum.to_list() == chunks
    end
  end

  test "streams can be concatenated, zipped and nested" do
    data = :rand.bytes(30_000)
    stream = Chunker.stream([data], @small)
    chunks = Enum.to_list(stream)
    assert stream |> Stream.concat(stream) |> Enum.to_list() == chunks ++ chunks

    assert stream |> Stream.flat_map(fn chunk -> Chunker.stream([chunk.data], @small) end) |> Enum.count() ==
             length(chunks)

    assert Stream.zip([stream, 1..2, stream]) |> Enum.to_list() |> length() == 2
    assert Enum.member?(stream, hd(chunks))
    assert Enum.slice(stream, 2, 3) == Enum.slice(chunks, 2, 3)
  end

  describe "the native stream" do
    test "belongs to one caller at a time", %{tmp_dir: folder} do
      path = sparse(folder, "fought-over", 20 * @mib)

      for round <- 1..20 do
        {:ok, file, :regular} = :chunker_nif.stream_file(path, @native, nil)
        {:ok, pieces} = :chunker_nif.stream_pieces(@native, nil, false)
        piece = :rand.bytes(100_000)

        results =
          1..8
          |> Enum.map(fn i ->
            Task.async(fn ->
              for _ <- 1..10 do
                if round > 10 and i == 8, do: :chunker_nif.stream_close(file)
                [:chunker_nif.stream_next(file), :chunker_nif.stream_push(pieces, piece)]
              end
            end)
          end)
          |> Task.await_many(60_000)
          |> List.flatten()

        for result <- results do
          assert match?({:ok, chunks} when is_list(chunks), result) or result == {:error, {:cancelled, %{}}}
        end

        :chunker_nif.stream_close(file)
        assert :chunker_nif.stream_next(file) == {:error, {:cancelled, %{}}}
      end

      assert closed?(path)
    end

    test "returns errors for wrong use" do
      {:ok, pieces} = :chunker_nif.stream_pieces(@native, nil, false)
      {:ok, file, :regular} = :chunker_nif.stream_file(__ENV__.file, @native, nil)
      cancelled = {:error, {:cancelled, %{}}}

      assert :chunker_nif.stream_next(pieces) == cancelled
      assert :chunker_nif.stream_push(file, "a") == cancelled
      assert :chunker_nif.stream_finish(file) == cancelled
      {:ok, pieces} = :chunker_nif.stream_pieces(@native, nil, false)
      assert {:ok, []} = :chunker_nif.stream_push(pieces, "a")
      assert {:ok, [{0, 1, _, "a", nil}]} = :chunker_nif.stream_finish(pieces)
      assert :chunker_nif.stream_finish(pieces) == cancelled
      assert :chunker_nif.stream_push(pieces, "a") == cancelled
      assert :chunker_nif.stream_close(pieces) == :ok
      assert :chunker_nif.stream_close(pieces) == :ok

      {:ok, pieces} = :chunker_nif.stream_pieces(@native, nil, false)
      options = for wrong <- [{}, nil], do: {:stream_pieces, [wrong, nil, false]}

      streams =
        for wrong <- [make_ref(), nil, 1, "x"],
            {function, arguments} <- [stream_next: [], stream_push: [""], stream_close: []],
            do: {function, [wrong | arguments]}

      for {function, arguments} <- [{:stream_push, [pieces, ["a"]]} | options ++ streams] do
        assert_raise ArgumentError, fn -> apply(:chunker_nif, function, arguments) end
      end
    end

    test "that is closed while another process waits in it stays closed, and releases that process", %{
      tmp_dir: folder
    } do
      path = Path.join(folder, "fifo")
      {_, 0} = System.cmd("mkfifo", [path])
      {:ok, iterator} = :chunker.stream({:file, path})
      task = Task.async(fn -> :chunker.next(iterator) end)
      Process.sleep(100)
      assert :chunker.close(iterator) == :ok
      assert Task.yield(task, 2_000) == {:ok, {:error, {:cancelled, %{}}}}
      assert closed?(path)
    end
  end
end
