defmodule Chunker.BatchTest do
  use ExUnit.Case, async: true

  import Bitwise

  alias Chunker.{Chunk, Error}

  @moduletag :tmp_dir
  @mib 1_048_576
  @small [min_size: 64, avg_size: 256, max_size: 1024]

  # Each batch function with valid items, and the function for one item whose results it must match.
  defp functions do
    compressed = fn item -> Chunker.compress!(item) end

    [
      hash_batch: {&Chunker.hash_batch/2, & &1, &Chunker.hash(&1, :blake3)},
      compress_batch: {&Chunker.compress_batch/2, & &1, &Chunker.compress/1},
      decompress_batch: {&Chunker.decompress_batch/2, compressed, &{:ok, IO.iodata_to_binary(&1)}}
    ]
  end

  defp items(count), do: for(i <- 1..count//1, do: "item #{i}")

  defp file(folder, name, content) do
    path = Path.join(folder, name)
    File.write!(path, content)
    path
  end

  defp bare(path, options \\ []), do: Chunker.chunk_file(path, options)

  defp messages do
    receive do
      message -> [message | messages()]
    after
      0 -> []
    end
  end

  defp progress(messages, ref) do
    for message <- messages do
      assert {:chunker_progress, ^ref, done, total} = message
      {done, total}
    end
  end

  defp assert_progress(reported, total, time) do
    assert List.first(reported) == {0, total}
    assert List.last(reported) == {total, total}
    assert reported == reported |> Enum.sort() |> Enum.uniq()
    assert length(reported) <= 2 + div(time, 100_000)
  end

  describe "results" do
    test "are in item order for any number of items and threads" do
      for {name, {batch, prepare, single}} <- functions(), count <- [0, 1, 2, 3, 4, 5, 1000] do
        items = items(count)
        expected = Enum.map(items, single)
        prepared = Enum.map(items, prepare)

        for threads <- [1, 2, 3, 4], threshold <- [0, 1, 4, 1 <<< 63] do
          got = batch.(prepared, threads: threads, parallel_threshold: threshold)
          assert {name, count, got == {:ok, expected}} == {name, count, true}
        end

        assert batch.(prepared, %{}) == {:ok, expected}
      end
    end

    test "are right for 100,000 small items" do
      items = items(100_000)
      assert Chunker.hash_batch(items, hash: :sha256) == {:ok, Enum.map(items, &:crypto.hash(:sha256, &1))}
      {:ok, results} = Chunker.compress_batch(items, codec: :lz4)
      compressed = Enum.map(results, fn {:ok, compressed} -> compressed end)
      assert Chunker.decompress_batch(compressed) == {:ok, Enum.map(items, &{:ok, &1})}
    end

    test "are right for items of very different sizes" do
      sizes = [0, 1, 30 * @mib, 10, 5 * @mib, 64 * 1024, 64 * 1024 + 1, 9 * @mib, 3]
      noise = :rand.bytes(30 * @mib)
      items = for size <- sizes ++ Enum.reverse(sizes), do: binary_part(noise, 0, size)
      assert Chunker.hash_batch(items) == {:ok, Enum.map(items, &Chunker.hash(&1, :blake3))}

      for codec <- [:zstd, :lz4] do
        {:ok, results} = Chunker.compress_batch(items, codec: codec)
        compressed = Enum.map(results, fn {:ok, compressed} -> compressed end)
        assert Chunker.decompress_batch(compressed) == {:ok, Enum.map(items, &{:ok, &1})}
        assert Chunker.decompress_batch!(compressed) == items
      end
    end

    test "are right for iodata" do
      items = [[], "", ["a", [?b | "c"]], [[["d"]]]]
      flat = ["", "", "abc", "d"]
      assert Chunker.hash_batch(items) == {:ok, Enum.map(flat, &Chunker.hash(&1, :blake3))}
      assert Chunker.hash_batch!(items) == Chunker.hash_batch!(flat)
      compressed = Chunker.compress_batch!(items, codec: :xz)
      assert compressed == Enum.map(flat, &Chunker.compress!(&1, codec: :xz))
      split = for <<head::binary-size(3), rest::binary>> <- compressed, do: [head, [rest]]
      assert Chunker.decompress_batch!(split) == flat
    end

    test "contain the error of a failed item and do not affect the others" do
      good = Chunker.compress!("good")
      cut = binary_part(good, 0, 8)
      large = Chunker.compress!("larger than that")
      items = [good, "nonsense", cut, large, "", good]

      for threads <- 1..3 do
        assert {:ok,
                [
                  {:ok, "good"},
                  {:error, %Error{reason: :unknown_format, details: %{magic: "nons"}}},
                  {:error, %Error{reason: :decompression_failed, details: %{codec: :zstd, why: :truncated}}},
                  {:error, %Error{reason: :size_exceeded, details: %{limit: 5}}},
                  {:error, %Error{reason: :unknown_format, details: %{magic: ""}}},
                  {:ok, "good"}
                ]} = Chunker.decompress_batch(items, max_output_size: 5, threads: threads)
      end

      error = assert_raise Error, fn -> Chunker.decompress_batch!(items) end
      assert error.reason == :unknown_format
    end

    test "are returned even if every item fails" do
      {:ok, results} = Chunker.decompress_batch(List.duplicate("nonsense", 10_000))
      assert length(results) == 10_000
      assert Enum.all?(results, &match?({:error, %Error{reason: :unknown_format}}, &1))
    end
  end

  describe "options" do
    test "out of range return one error for the call, also without items", %{tmp_dir: folder} do
      path = file(folder, "file", "content")
      most = (1 <<< 64) - 1

      for {option, wrong, allowed} <- [
            {:threads, 0, "1..1024"},
            {:threads, 1025, "1..1024"},
            {:threads, -1, "1..1024"},
            {:threads, 1 <<< 70, "1..1024"},
            {:parallel_threshold, -1, "0..#{most}"},
            {:parallel_threshold, 1 <<< 64, "0..#{most}"}
          ],
          list <- [[], [path], List.duplicate(path, 10)],
          call <- [
            &Chunker.hash_batch/2,
            &Chunker.compress_batch/2,
            &Chunker.decompress_batch/2,
            &Chunker.chunk_files/2
          ] do
        options = [{option, wrong}, {:progress, self()}]
        assert {:error, %Error{reason: :invalid_options, details: details}} = call.(list, options)
        assert details == %{option: option, value: wrong, allowed: allowed}
        # No progress is reported for work that was not started.
        assert messages() == []
      end

      assert {:error, %Error{details: %{option: :hash, value: :md5}}} = Chunker.hash_batch([], hash: :md5)
      assert {:error, %Error{details: %{option: :min_size}}} = Chunker.chunk_files([], min_size: 1)

      for function <- [:hash_batch!, :compress_batch!, :decompress_batch!, :chunk_files!] do
        assert_raise Error, fn -> apply(Chunker, function, [[], [threads: 0]]) end
      end
    end

    test "of the wrong type raise" do
      for wrong <- [
            [threads: :all],
            [threads: 1.0],
            [parallel_threshold: "4"],
            [parallel_threshold: :infinity],
            [progress: true],
            [progress: fn -> :ok end],
            [progress: fn _ -> :ok end],
            [progress: {self(), :ref}],
            [progress: {:name, make_ref()}],
            [progress: :name],
            [fallback: true],
            [colour: :red]
          ],
          call <- [
            &Chunker.hash_batch/2,
            &Chunker.compress_batch/2,
            &Chunker.decompress_batch/2,
            &Chunker.chunk_files/2
          ] do
        assert_raise ArgumentError, fn -> call.([], wrong) end
      end
    end

    test "that are nil count as not given" do
      assert Chunker.hash_batch(["a"], progress: nil) == Chunker.hash_batch(["a"])
    end
  end

  describe "progress" do
    test "is sent to a pid, from zero to the total, and ends with the call" do
      for {_name, {batch, prepare, _}} <- functions(), count <- [0, 1, 3, 4, 20_000], threads <- [1, 3] do
        items = Enum.map(items(count), prepare)
        {time, _} = :timer.tc(fn -> batch.(items, progress: self(), threads: threads) end)
        assert [{:chunker_progress, ref, 0, ^count} | _] = messages = messages()
        assert is_reference(ref)
        assert_progress(progress(messages, ref), count, time)
      end

      Process.sleep(20)
      assert messages() == []
    end

    test "is sent with the reference of the caller" do
      ref = make_ref()
      {time, _} = :timer.tc(fn -> Chunker.hash_batch(items(10), progress: {self(), ref}) end)
      assert_progress(progress(messages(), ref), 10, time)
    end

    test "is sent to another process" do
      me = self()

      listener =
        spawn_link(fn ->
          receive(do: ({:chunker_progress, _, 0, 5} -> :ok))
          receive(do: ({:chunker_progress, _, 5, 5} -> send(me, :heard)))
        end)

      Chunker.hash_batch(items(5), progress: listener)
      assert_receive :heard
      assert messages() == []
    end

    test "to a dead process has no effect" do
      {dead, monitor} = spawn_monitor(fn -> :ok end)
      assert_receive {:DOWN, ^monitor, _, _, _}
      assert Chunker.hash_batch(["a"], progress: dead) == Chunker.hash_batch(["a"])
      assert Chunker.hash_batch(["a"], progress: {dead, make_ref()}) == Chunker.hash_batch(["a"])
    end

    test "calls a function in another process, first with zero and last with the total" do
      for {_name, {batch, prepare, single}} <- functions(), count <- [0, 1, 3, 4, 20_000] do
        me = self()
        items = items(count)
        prepared = Enum.map(items, prepare)
        report = fn done, total -> send(me, {:reported, self(), done, total}) end
        {time, results} = :timer.tc(fn -> batch.(prepared, progress: report) end)
        assert results == {:ok, Enum.map(items, single)}
        # Every call of the function came before the batch returned.
        messages = messages()
        assert [{:reported, reporter, _, _} | _] = messages
        assert reporter != me
        reported = for {:reported, ^reporter, done, total} <- messages, do: {done, total}
        assert length(reported) == length(messages)
        assert_progress(reported, count, time)
        refute Process.alive?(reporter)
      end
    end

    test "is reported in the middle of a long batch, at a limited rate" do
      me = self()
      # Takes more than a second here, so it takes several tenths of a second on any machine.
      items = List.duplicate(:binary.copy("content ", 1000), 300_000)

      for progress <- [self(), fn done, total -> send(me, {:chunker_progress, :fun, done, total}) end] do
        {time, _} = :timer.tc(fn -> Chunker.compress_batch(items, level: 9, progress: progress) end)
        assert time > 200_000
        reported = for {:chunker_progress, _, done, total} <- messages(), do: {done, total}
        assert_progress(reported, 300_000, time)
        assert length(reported) > 2
      end
    end

    test "with a function that fails makes the call fail in the same way at the end" do
      raising = fn done, _ -> if done == 0, do: raise("from the function") end
      throwing = fn _, _ -> throw(:thrown) end
      exiting = fn done, total -> if done == total, do: exit(:left) end
      killed = fn _, _ -> Process.exit(self(), :kill) end

      for count <- [0, 1, 100] do
        items = items(count)
        assert_raise RuntimeError, "from the function", fn -> Chunker.hash_batch(items, progress: raising) end
        assert catch_throw(Chunker.compress_batch(items, progress: throwing)) == :thrown
        assert catch_exit(Chunker.hash_batch(items, progress: exiting)) == :left
        assert catch_exit(Chunker.hash_batch(items, progress: killed)) == :killed
      end

      assert messages() == []
    end

    test "with a function leaves no process behind when the call raises" do
      me = self()
      # Imitates a bug in the engine.
      run = fn {reporter, _ref} ->
        send(me, {:reporter, Process.monitor(reporter)})
        raise "boom"
      end

      assert_raise RuntimeError, "boom", fn -> :chunker_progress.with(fn _, _ -> :ok end, run) end
      assert_receive {:reporter, monitor}
      assert_receive {:DOWN, ^monitor, :process, _, :normal}
      assert messages() == []
    end

    test "with a function ends with its caller" do
      me = self()

      caller =
        spawn(fn ->
          item = Base.encode64(:rand.bytes(3 * @mib))
          report = fn _, _ -> send(me, {:reporter, self()}) end
          Chunker.compress_batch(List.duplicate(item, 50), codec: :xz, progress: report)
        end)

      assert_receive {:reporter, reporter}, 10_000
      monitor = Process.monitor(reporter)
      Process.exit(caller, :kill)
      assert_receive {:DOWN, ^monitor, :process, _, _}, 1_000
    end

    test "is relayed by a process of this node to another node, which the engine cannot reach" do
      me = self()
      # A pid as that node would send it.
      name = "far@away"
      far = :erlang.binary_to_term(<<131, 88, 119, byte_size(name), name::binary, 1::32, 0::32, 1::32>>)
      assert node(far) == :far@away
      ref = make_ref()

      for to <- [far, {far, ref}] do
        result = :chunker_progress.with(to, fn {pid, _ref} -> send(me, {:reported, node(pid)}) end)
        assert result == {:reported, node()}
        assert_receive {:reported, reported} when reported == node()
        assert Chunker.hash_batch(["a"], progress: to) == Chunker.hash_batch(["a"])
      end
    end

    test "does not consume other messages" do
      send(self(), {:DOWN, make_ref(), :process, self(), :normal})
      send(self(), {make_ref(), :stop})
      before = Process.info(self(), :messages)
      Chunker.hash_batch(items(10), progress: fn _, _ -> :ok end)
      assert Process.info(self(), :messages) == before
    end
  end

  test "a batch ends when its caller is killed", %{tmp_dir: folder} do
    path = file(folder, "file", Base.encode64(:rand.bytes(30 * @mib)))
    item = File.read!(path)
    compressed = for _ <- 1..30, do: Chunker.compress!(item, level: 1)

    calls = [
      fn p -> Chunker.hash_batch(List.duplicate(item, 1000), hash: :sha256, progress: p) end,
      fn p -> Chunker.compress_batch(List.duplicate(item, 100), codec: :xz, progress: p) end,
      fn p -> Chunker.decompress_batch(compressed ++ compressed ++ compressed, progress: p) end,
      fn p -> Chunker.chunk_files(List.duplicate(path, 1000), hash: :sha256, progress: p) end
    ]

    for call <- calls do
      me = self()
      caller = spawn(fn -> call.(me) end)
      assert_receive {:chunker_progress, _, 0, _}, 10_000
      Process.sleep(150)
      Process.exit(caller, :kill)
      # Messages that were already on their way arrive, and no more follow.
      Process.sleep(300)
      reported = messages()
      refute Enum.any?(reported, &match?({_, _, all, all}, &1))
      refute_receive {:chunker_progress, _, _, _}, 400
      refute open?(path)
    end
  end

  defp open?(path) do
    Enum.any?(File.ls!("/proc/self/fd"), &(File.read_link("/proc/self/fd/#{&1}") == {:ok, path}))
  end

  describe "chunk_files/2" do
    test "returns for each path what chunk_file/2 returns", %{tmp_dir: folder} do
      File.mkdir!(Path.join(folder, "folder"))

      paths =
        for(
          {size, i} <- Enum.with_index([0, 1, 100, 70_000, 6 * @mib]),
          do: file(folder, "#{i}", :rand.bytes(size))
        ) ++
          [Path.join(folder, "missing"), Path.join(folder, "folder"), "nul\0", ""]

      for options <- [[], @small, [hash: :sha256]],
          threads <- 1..3,
          threshold <- [0, 4, 100],
          list <- [paths, Enum.reverse(paths), paths ++ paths, tl(paths), Enum.take(paths, 1), []] do
        expected = Enum.map(list, &bare(&1, options))
        batch = [threads: threads, parallel_threshold: threshold]
        assert Chunker.chunk_files(list, options ++ batch) == {:ok, expected}
      end

      {:ok, results} = Chunker.chunk_files(paths)
      [{:ok, []}, {:ok, [%Chunk{data: nil, compressed: nil, length: 1}]} | _] = results
      kinds = for {:error, error} <- results, do: {error.reason, error.details.kind}
      assert kinds == [io_error: :enoent, io_error: :eisdir, io_error: :einval, io_error: :enoent]
    end

    test "accepts character lists as names, and rejects what is not a name", %{tmp_dir: folder} do
      path = file(folder, "file", "content")
      expected = bare(path)
      assert Chunker.chunk_files([to_charlist(path), path]) == {:ok, [expected, expected]}

      for wrong <- [nil, 1, {:file, path}] do
        message = "expected the name of a file, got: " <> inspect(wrong)
        assert_raise ArgumentError, message, fn -> Chunker.chunk_files([path, wrong]) end
      end

      for wrong <- [:paths, path, nil] do
        assert_raise FunctionClauseError, fn -> Chunker.chunk_files(wrong) end
      end
    end

    test "raises the first error in its ! variant", %{tmp_dir: folder} do
      path = file(folder, "file", "content")
      {:ok, chunks} = bare(path)
      assert Chunker.chunk_files!([path, path]) == [chunks, chunks]
      error = assert_raise Error, fn -> Chunker.chunk_files!([path, "/no/such/file", folder]) end
      assert error.details == %{kind: :enoent, path: "/no/such/file"}
    end

    test "keeps the order around FIFOs, which it reads one after the other", %{tmp_dir: folder} do
      regular = file(folder, "regular", "content")
      missing = Path.join(folder, "missing")
      fifos = for name <- ["one", "two"], do: Path.join(folder, name)
      {_, 0} = System.cmd("mkfifo", fifos)
      [one, two] = fifos
      hash = fn data -> Chunker.hash(data, :blake3) end

      for threads <- [1, 2] do
        feeders =
          for path <- [two, one], do: Task.async(fn -> System.cmd("sh", ["-c", "echo #{path} > #{path}"]) end)

        paths = [one, regular, missing, two, folder, regular, "/dev/null"]
        {:ok, results} = Chunker.chunk_files(paths, threads: threads, progress: self())
        Task.await_many(feeders)

        assert [
                 {:ok, [%Chunk{hash: hash_one}]},
                 {:ok, [%Chunk{hash: hash_regular}]},
                 {:error, %Error{details: %{kind: :enoent, path: ^missing}}},
                 {:ok, [%Chunk{hash: hash_two}]},
                 {:error, %Error{details: %{kind: :eisdir, path: ^folder}}},
                 {:ok, [%Chunk{hash: hash_regular}]},
                 {:ok, []}
               ] = results

        assert {hash_one, hash_regular, hash_two} ==
                 {hash.(one <> "\n"), hash.("content"), hash.(two <> "\n")}

        assert {:chunker_progress, _, 7, 7} = List.last(messages())
      end
    end

    test "reports the total only after FIFOs have ended too", %{tmp_dir: folder} do
      regular = file(folder, "regular", "content")
      fifo = Path.join(folder, "fifo")
      {_, 0} = System.cmd("mkfifo", [fifo])
      me = self()
      ref = make_ref()

      for paths <- [[fifo, regular, regular], [fifo], [regular, fifo]], threads <- [1, 2] do
        total = length(paths)
        call = fn -> Chunker.chunk_files(paths, threads: threads, progress: {me, ref}) end
        task = Task.async(call)
        assert_receive {:chunker_progress, ^ref, 0, ^total}, 5000
        refute_receive {:chunker_progress, ^ref, ^total, ^total}, 200
        File.write!(fifo, "from the FIFO")
        {:ok, results} = Task.await(task)
        assert Enum.all?(results, &match?({:ok, [_]}, &1))
        reported = progress(messages(), ref)
        assert List.last(reported) == {total, total}
        assert reported == reported |> Enum.sort() |> Enum.uniq()
      end
    end

    test "returns an error for unreadable files" do
      # Outside the checkout, whose folder another user may be unable to reach.
      folder = Path.join(System.tmp_dir!(), "chunker-batch-#{System.unique_integer([:positive])}")
      on_exit(fn -> File.rm_rf!(folder) end)
      File.mkdir_p!(folder)
      File.chmod!(folder, 0o755)
      ebin = Path.join(folder, "ebin")
      File.cp_r!(Path.join(Mix.Project.app_path(), "ebin"), ebin)
      priv = :code.priv_dir(:chunker) |> to_string()
      File.cp_r!(priv, Path.join(folder, "priv"))
      good = file(folder, "good", "content")
      secret = file(folder, "secret", "content")
      File.chmod!(secret, 0o000)

      code = """
      for {:error, e} <- elem(Chunker.chunk_files([#{inspect(good)}, #{inspect(secret)}, #{inspect(good)}]), 1),
          do: IO.inspect({e.reason, e.details.kind, Path.basename(e.details.path)})
      """

      {uid, 0} = System.cmd("id", ["-u"])
      elixir = ["elixir", "-pa", ebin, "-e", code]

      {command, arguments} =
        if String.trim(uid) == "0",
          do: {"setpriv", ["--reuid=65534", "--regid=65534", "--clear-groups" | elixir]},
          else: {hd(elixir), tl(elixir)}

      assert {"{:io_error, :eacces, \"secret\"}\n", 0} =
               System.cmd(command, arguments, stderr_to_stdout: true, cd: folder, env: [{"HOME", folder}])
    end

    test "accepts 100,000 paths", %{tmp_dir: folder} do
      files = for i <- 1..5, do: file(folder, "#{i}", :rand.bytes(i * 10_000))
      paths = Enum.take(Stream.cycle(files ++ [Path.join(folder, "missing"), folder]), 100_000)
      expected = Map.new(Enum.uniq(paths), &{&1, bare(&1)})

      for threads <- [1, 2, 3] do
        assert Chunker.chunk_files(paths, threads: threads) == {:ok, Enum.map(paths, &expected[&1])}
      end
    end

    test "keeps no more files open than threads", %{tmp_dir: folder} do
      paths = for i <- 1..12, do: Path.join(folder, "#{i}")
      for path <- paths, do: {_, 0} = System.cmd("truncate", ["-s", "100M", path])

      for threads <- [1, 2, 3] do
        # A look may miss the moments at which files are open, but not every time.
        assert Enum.any?(1..20, fn _ ->
                 task = Task.async(fn -> Chunker.chunk_files(paths, threads: threads) end)
                 {most, {:ok, results}} = most_open(task, MapSet.new(paths), [], 0)
                 assert Enum.all?(results, &match?({:ok, [_ | _]}, &1))
                 assert most <= threads
                 most > 0
               end)
      end
    end
  end

  # Returns the largest number of `known` files that were open at the same time until the task was done, and
  # the task's result. Files that two consecutive looks both show were open at the same time between these
  # looks; a single look is not atomic.
  defp most_open(task, known, before, most) do
    open =
      for fd <- File.ls!("/proc/self/fd"),
          {:ok, path} <- [File.read_link("/proc/self/fd/#{fd}")],
          path in known,
          do: {fd, path}

    most = if open == before, do: max(most, length(open)), else: most

    case Task.yield(task, 1) do
      nil -> most_open(task, known, open, most)
      {:ok, result} -> {most, result}
    end
  end
end
