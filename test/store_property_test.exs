defmodule Chunker.StorePropertyTest do
  # Random sequences of all operations, against a model in memory: what each tag names, and what is kept
  # without one.
  #
  # Everything follows from ExUnit's seed (`mix test --seed`), except the order in which processes take turns.
  # A failure prints the round, the process and its last operations. CHUNKER_STORE_SECONDS sets how long each
  # test goes on, 5 by default.
  use ExUnit.Case, async: true

  alias Chunker.{Error, Store}

  @moduletag :tmp_dir

  @seconds String.to_integer(System.get_env("CHUNKER_STORE_SECONDS", "5"))
  @steps 60
  @unknown <<7::256>>

  # Each worker has names of its own, and what it keeps without a name is not put by others. Blocks are
  # shared, so that all workers have chunks in common with each other and with garbage.
  defmodule Worker do
    defstruct [
      :store,
      :folder,
      :number,
      :blocks,
      :ids,
      alone?: false,
      tags: %{},
      kept: MapSet.new(),
      trace: []
    ]
  end

  test "one process", %{tmp_dir: folder} do
    rounds(folder, fn folder, blocks, ids ->
      worker = worker(folder, 0, blocks, ids)
      [run(%{worker | alone?: true}, @steps)]
    end)
  end

  test "several processes, and another one that collects garbage", %{tmp_dir: folder} do
    rounds(folder, fn folder, blocks, ids ->
      {seed, round} = Process.get(:round)
      collector = Task.async(fn -> collect(open(folder), 0) end)

      workers =
        for number <- 1..3 do
          Task.async(fn ->
            :rand.seed(:exsss, {seed, round, number})
            Process.put(:round, {seed, round})
            run(worker(folder, number, blocks, ids), @steps)
          end)
        end

      results = Task.await_many(workers, :infinity)
      send(collector.pid, :stop)
      collections = Task.await(collector, :infinity)
      assert is_integer(collections), "gc: #{inspect(collections)}"
      results
    end)
  end

  # Rounds with a store each, until the time is over. What all workers say must be there is there, and no
  # more.
  defp rounds(folder, run) do
    seed = ExUnit.configuration()[:seed]
    finish = System.monotonic_time(:second) + @seconds

    Stream.iterate(1, &(&1 + 1))
    |> Stream.take_while(fn round -> round == 1 or System.monotonic_time(:second) < finish end)
    |> Enum.each(fn round ->
      Process.put(:round, {seed, round})
      :rand.seed(:exsss, {seed, round, 0})
      blocks = for _ <- 1..24, do: :rand.bytes(:rand.uniform(5000))
      ids = :ets.new(:ids, [:public])
      round_folder = Path.join(folder, "#{round}")
      File.mkdir_p!(round_folder)
      results = run.(round_folder, blocks, ids)
      for {:error, message, stacktrace} <- results, do: reraise(message, stacktrace)
      judge(open(round_folder), results)
      File.rm_rf!(round_folder)
    end)
  end

  defp open(folder) do
    Store.open!(Path.join(folder, "store"), avg_size: 1024, durability: :relaxed, delta: true)
  end

  defp worker(folder, number, blocks, ids) do
    %Worker{store: open(folder), folder: folder, number: number, blocks: blocks, ids: ids}
  end

  defp judge(store, workers) do
    tags = for worker <- workers, {name, content} <- worker.tags, do: {name, content}
    kept = for worker <- workers, content <- worker.kept, do: content
    # What workers have aborted shortly before the last collection began.
    {:ok, _} = Store.gc(store)
    {:ok, collected} = Store.gc(store)
    contents = Enum.uniq(kept ++ for({_, content} <- tags, do: content))
    assert collected.objects == length(contents)
    assert {:ok, %{damage: [], incomplete: [], objects: objects}} = Store.check(store)
    assert objects == length(contents)
    {:ok, found} = Store.tags(store)
    assert for({name, _} <- found, do: name) == Enum.sort(for {name, _} <- tags, do: name)
    for {name, content} <- tags, do: assert(Store.read!(store, name) == content)
    ids = hd(workers).ids

    # Some of what is not needed shares packs with what is.
    for {content, id} <- :ets.tab2list(ids) do
      case Store.read(store, id) do
        {:ok, read} ->
          assert read == content

        {:error, %Error{reason: reason}} ->
          assert content not in contents and reason in ~w(not_found chunk_missing)a
      end
    end

    for {name, _} <- tags, do: {:ok, true} = Store.untag(store, name)
    for content <- kept, do: {:ok, true} = Store.forget(store, id(hd(workers), content))
    {:ok, _} = Store.gc(store)
    assert {:ok, %{objects: 0, packs: 0, deleted_packs: 0}} = Store.gc(store)
  end

  defp collect(store, count) do
    case Store.gc(store) do
      {:ok, _} ->
        receive do
          :stop -> count + 1
        after
          :rand.uniform(20) -> collect(store, count + 1)
        end

      failure ->
        failure
    end
  end

  defp run(worker, 0), do: worker

  defp run(worker, left) do
    operation = Enum.random(operations(worker))

    try do
      run(apply_operation(operation, worker), left - 1)
    rescue
      error ->
        {seed, round} = Process.get(:round)

        message = """
        #{Exception.message(error)}

        --seed #{seed}, round #{round}, process #{worker.number}, #{left} steps before the end:
        #{inspect(operation)} after
        #{worker.trace |> Enum.take(15) |> Enum.reverse() |> Enum.map_join("\n", &inspect/1)}
        """

        {:error, message, __STACKTRACE__}
    end
  end

  # Those that change something come more often.
  defp operations(worker) do
    changes = ~w(put put put_kept session abort tag tag_if untag untag_if forget)a
    reads = ~w(read range stream restore chunks manifest tags wrong_name reopen)a
    if(worker.alone?, do: [:gc, :gc, :check, :repair], else: []) ++ changes ++ reads
  end

  defp traced(worker, what), do: %{worker | trace: [what | worker.trace]}

  defp apply_operation(:put, worker) do
    {name, content} = {new_name(worker), content(worker)}
    object = put(worker, worker.store, content, name: name)
    named(worker, name, content, {:put, name, byte_size(content), object.new_chunks})
  end

  defp apply_operation(:put_kept, worker) do
    content = own_content(worker)
    object = put(worker, worker.store, content, [])
    assert Store.read!(worker.store, object.id) == content
    traced(%{worker | kept: MapSet.put(worker.kept, content)}, {:put, nil, byte_size(content)})
  end

  # Puts with and without names, tags of what it has put and of what was there, in one commit.
  defp apply_operation(:session, worker) do
    steps = session_steps(worker)
    before = worker.tags

    assert {:ok, :result} =
             retried(worker, fn ->
               Store.session(worker.store, fn session ->
                 with :ok <- in_session(worker, session, steps) do
                   assert own_tags(worker) == expected_tags(%{worker | tags: before})
                   :result
                 end
               end)
             end)

    worker =
      Enum.reduce(steps, worker, fn
        {:put, nil, content}, worker -> %{worker | kept: MapSet.put(worker.kept, content)}
        {_, name, content}, worker -> %{worker | tags: Map.put(worker.tags, name, content)}
      end)

    # A tag that a later step of the session moved names something else, and what it named first is not kept.
    assert own_tags(worker) == expected_tags(worker)
    traced(worker, {:session, for({kind, name, content} <- steps, do: {kind, name, byte_size(content)})})
  end

  defp apply_operation(:abort, worker) do
    steps = session_steps(worker)

    abort =
      Enum.random([
        fn -> {:error, :aborted} end,
        fn -> throw({:error, :aborted}) end,
        fn -> exit({:error, :aborted}) end
      ])

    result =
      try do
        Store.session(worker.store, fn session ->
          with :ok <- in_session(worker, session, steps), do: abort.()
        end)
      catch
        _, reason -> reason
      end

    assert result == {:error, :aborted} or refused?(result)
    assert own_tags(worker) == expected_tags(worker)
    traced(worker, {:abort, length(steps)})
  end

  defp apply_operation(:tag, worker) do
    with_object(worker, fn content ->
      name = new_name(worker)
      assert :ok = retried(worker, fn -> Store.tag(worker.store, name, id(worker, content)) end)
      named(worker, name, content, {:tag, name})
    end)
  end

  defp apply_operation(:tag_if, worker) do
    with_object(worker, fn content ->
      {name, condition} = {new_name(worker), condition(worker)}
      tag = fn -> Store.tag(worker.store, name, id(worker, content), if: condition) end

      if holds?(worker, name, condition) do
        assert :ok = retried(worker, tag)
        named(worker, name, content, {:tag, name, condition})
      else
        assert {:error, %Error{reason: :already_exists, details: %{name: ^name}}} = tag.()
        traced(worker, {:tag, name, condition, :refused})
      end
    end)
  end

  defp apply_operation(:untag, worker) do
    name = new_name(worker)
    assert Store.untag(worker.store, name) == {:ok, Map.has_key?(worker.tags, name)}
    unnamed(worker, name, {:untag, name})
  end

  defp apply_operation(:untag_if, worker) do
    {name, condition} = {new_name(worker), condition(worker)}
    result = Store.untag(worker.store, name, if: condition)

    if holds?(worker, name, condition) do
      assert result == {:ok, Map.has_key?(worker.tags, name)}
      unnamed(worker, name, {:untag, name, condition})
    else
      assert {:error, %Error{reason: :already_exists}} = result
      traced(worker, {:untag, name, condition, :refused})
    end
  end

  defp apply_operation(:forget, worker) do
    content = if Enum.empty?(worker.kept), do: own_content(worker), else: Enum.random(worker.kept)

    case :ets.lookup(worker.ids, content) do
      [{_, id}] -> assert Store.forget(worker.store, id) == {:ok, content in worker.kept}
      [] -> assert Store.forget(worker.store, @unknown) == {:ok, false}
    end

    traced(%{worker | kept: MapSet.delete(worker.kept, content)}, :forget)
  end

  defp apply_operation(:read, worker) do
    with_reference(worker, fn reference, content ->
      assert Store.read!(worker.store, reference) == content
    end)
  end

  defp apply_operation(:range, worker) do
    with_reference(worker, fn reference, content ->
      size = byte_size(content)
      offset = :rand.uniform(size + 10) - 1
      length = :rand.uniform(size + 10) - 1
      result = Store.read(worker.store, reference, offset: offset, length: length)

      if offset + length <= size,
        do: assert(result == {:ok, binary_part(content, offset, length)}),
        else: assert({:error, %Error{reason: :bounds_check_failed}} = result)

      if offset <= size,
        do: assert(Store.read!(worker.store, reference, offset: offset) == drop(content, offset))
    end)
  end

  defp apply_operation(:stream, worker) do
    with_reference(worker, fn reference, content ->
      pieces = worker.store |> Store.stream(reference) |> Enum.to_list()
      assert Enum.join(pieces) == content
      assert Enum.all?(pieces, &(&1 != ""))
      # One that is not read to its end.
      worker.store |> Store.stream(reference) |> Enum.take(1)
    end)
  end

  defp apply_operation(:restore, worker) do
    with_reference(worker, fn reference, content ->
      path = Path.join(worker.folder, "restored #{worker.number}")
      assert Store.restore(worker.store, reference, {:file, path}) == :ok
      assert File.read!(path) == content
    end)
  end

  defp apply_operation(:chunks, worker) do
    with_reference(worker, fn reference, content ->
      chunks = worker.store |> Store.chunks(reference) |> Enum.to_list()
      parts = for {_, offset, length} <- chunks, do: binary_part(content, offset, length)
      assert Enum.join(parts) == content
      digests = for {digest, _, _} <- chunks, do: digest
      assert digests == Enum.map(parts, &Chunker.hash(&1, :blake3))
      assert Store.missing(worker.store, digests ++ [@unknown | digests]) == {:ok, [@unknown]}
    end)
  end

  defp apply_operation(:manifest, worker) do
    with_reference(worker, fn reference, content ->
      assert {:ok, manifest} = Store.manifest(worker.store, reference)
      assert {manifest.id, manifest.size} == {id(worker, content), byte_size(content)}
      assert manifest.hash == Chunker.hash(content, :blake3)
      assert Store.id(worker.store, reference) == {:ok, manifest.id}
    end)
  end

  defp apply_operation(:tags, worker) do
    assert own_tags(worker) == expected_tags(worker)
    traced(worker, :tags)
  end

  defp apply_operation(:wrong_name, worker) do
    name = "#{worker.number}/no such name"

    for fun <- [&Store.read/2, &Store.manifest/2], name <- [name, @unknown] do
      assert {:error, %Error{reason: :not_found}} = fun.(worker.store, name)
    end

    assert {:error, %Error{reason: :not_found}} = Store.tag(worker.store, name, @unknown)
    assert Store.id(worker.store, name) == {:ok, nil}
    traced(worker, :wrong_name)
  end

  defp apply_operation(:reopen, worker), do: traced(%{worker | store: open(worker.folder)}, :reopen)

  # With one process a collection takes all at once.
  defp apply_operation(:gc, worker) do
    assert {:ok, collected} = Store.gc(worker.store)
    live = MapSet.union(worker.kept, MapSet.new(Map.values(worker.tags)))
    assert collected.objects == MapSet.size(live)
    assert {:ok, %{deleted_packs: 0, packs: packs}} = Store.gc(worker.store)
    assert packs == collected.packs
    traced(worker, :gc)
  end

  defp apply_operation(check, worker) when check in [:check, :repair] do
    assert {:ok, report} = apply(Store, check, [worker.store])
    live = MapSet.union(worker.kept, MapSet.new(Map.values(worker.tags)))
    assert %{damage: [], incomplete: []} = report
    assert report.objects == MapSet.size(live)
    traced(worker, check)
  end

  defp session_steps(worker) do
    puts =
      for _ <- 1..:rand.uniform(3) do
        if :rand.uniform(4) == 1,
          do: {:put, nil, own_content(worker)},
          else: {:put, new_name(worker), content(worker)}
      end

    # A session keeps what it has put without naming it at the end: so no name twice.
    puts = Enum.uniq_by(puts, fn {_, name, _} -> name || make_ref() end)
    taken = for {_, name, _} <- puts, do: name
    present = for content <- Map.values(worker.tags), do: content
    name = new_name(worker)

    cond do
      name in taken or :rand.uniform(2) == 1 ->
        puts

      present == [] or :rand.uniform(2) == 1 ->
        puts ++ for {:put, n, c} <- Enum.take(puts, 1), n, do: {:tag, name, c}

      true ->
        [{:tag, name, Enum.random(present)} | puts]
    end
  end

  defp in_session(worker, session, steps) do
    Enum.reduce_while(steps, :ok, fn step, :ok ->
      result =
        case step do
          {:put, name, content} -> put_once(worker, session, content, if(name, do: [name: name], else: []))
          {:tag, name, content} -> Store.tag(session, name, id(worker, content))
        end

      case result do
        {:ok, _} -> {:cont, :ok}
        :ok -> {:cont, :ok}
        {:error, _} -> {:halt, result}
      end
    end)
  end

  # A collection that has deleted what a put had found lets it fail, and the caller puts again.
  defp retried(worker, fun, attempts \\ 100) do
    result = fun.()

    if not worker.alone? and attempts > 0 and refused?(result) do
      Process.sleep(5)
      retried(worker, fun, attempts - 1)
    else
      result
    end
  end

  defp refused?({:error, %Error{reason: reason}}), do: reason == :session_fenced
  defp refused?(_result), do: false

  defp put(worker, store, content, options) do
    assert {:ok, object} = retried(worker, fn -> put_once(worker, store, content, options) end)
    object
  end

  defp put_once(worker, store, content, options) do
    with {:ok, object} <- Store.put(store, source(worker, content), options) do
      assert object.size == byte_size(content)
      assert object.hash == Chunker.hash(content, :blake3)
      assert object.new_chunks <= object.chunk_count and object.new_bytes <= object.size
      :ets.insert_new(worker.ids, {content, object.id})
      assert object.id == id(worker, content)
      {:ok, object}
    end
  end

  defp source(worker, content) do
    pieces = pieces(content)

    case :rand.uniform(4) do
      1 ->
        content

      2 ->
        [pieces]

      3 ->
        Stream.map(pieces, & &1)

      4 ->
        path = Path.join(worker.folder, "file #{worker.number}")
        File.write!(path, content)
        {:file, path}
    end
  end

  defp pieces(""), do: []

  defp pieces(content) do
    length = min(:rand.uniform(4000), byte_size(content))
    <<piece::binary-size(length), rest::binary>> = content
    [piece | pieces(rest)]
  end

  defp content(worker) do
    worker.blocks |> Enum.take_random(:rand.uniform(12) - 1) |> Enum.join()
  end

  defp own_content(worker), do: content(worker) <> "#{worker.number} #{:rand.uniform(3)}"

  defp new_name(worker), do: "#{worker.number}/" <> Enum.random(~w(a b b/c d.e ü%20 .f))

  defp condition(worker) do
    case :rand.uniform(3) do
      1 -> :absent
      2 -> {:is, @unknown}
      3 -> {:is, with_object(worker, &id(worker, &1), @unknown)}
    end
  end

  defp holds?(worker, name, :absent), do: not Map.has_key?(worker.tags, name)

  defp holds?(worker, name, {:is, id}),
    do: is_map_key(worker.tags, name) and id(worker, worker.tags[name]) == id

  defp id(worker, content), do: :ets.lookup_element(worker.ids, content, 2)

  # An object that is there, if there is one.
  defp with_object(worker, fun, default \\ nil) do
    case Map.values(worker.tags) ++ Enum.to_list(worker.kept) do
      [] -> default || worker
      contents -> fun.(Enum.random(contents))
    end
  end

  # The same, with something that it is read by.
  defp with_reference(worker, fun) do
    by_name = for {name, content} <- worker.tags, do: {name, content}

    by_id =
      for content <- Map.values(worker.tags) ++ Enum.to_list(worker.kept),
          reference <- [id(worker, content), Base.encode16(id(worker, content), case: :lower)],
          do: {reference, content}

    with [_ | _] = all <- by_name ++ by_id do
      {reference, content} = Enum.random(all)
      fun.(reference, content)
    end

    worker
  end

  defp named(worker, name, content, what) do
    assert Store.id(worker.store, name) == {:ok, id(worker, content)}
    traced(%{worker | tags: Map.put(worker.tags, name, content)}, what)
  end

  defp unnamed(worker, name, what) do
    assert Store.id(worker.store, name) == {:ok, nil}
    traced(%{worker | tags: Map.delete(worker.tags, name)}, what)
  end

  defp own_tags(worker) do
    assert {:ok, tags} = Store.tags(worker.store, "#{worker.number}/")
    tags
  end

  defp expected_tags(worker),
    do: Enum.sort(for {name, content} <- worker.tags, do: {name, id(worker, content)})

  defp drop(content, offset), do: binary_part(content, offset, byte_size(content) - offset)
end
