# Kills VMs that use a store, again and again, and checks after each round that it has what it must have:
#
#     elixir -pa EBIN test/support/kill_store.exs drive FOLDER KILLS SEED
#
# In each round two VMs put, tag and untag, from several processes each, and a third one collects garbage.
# Some are stopped for a moment, and one after the other is killed at random points. Then a fresh VM opens the
# store and judges it. Each process notes in a file of its own what it is about to do, and what has returned;
# a kill loses nothing of that. scripts/kill-store runs this, and so does test/store_kill_test.exs with few
# kills.

defmodule Chunker.KillStore do
  alias Chunker.{Error, Store}

  @writers 2
  @processes 3
  # Blocks that contents consist of, the largest of which has 200 times as many bytes.
  @blocks 40

  def main(["drive", folder, kills, seed]),
    do: drive(folder, String.to_integer(kills), String.to_integer(seed))

  def main(["put", folder, writer, seed]), do: put(folder, writer, String.to_integer(seed))
  def main(["collect", folder]), do: collect(folder)
  def main(["judge", folder]), do: judge(folder)
  def main(["empty", folder]), do: empty(folder)

  defp open(folder, name \\ "store"),
    do: Store.open!(Path.join(folder, name), avg_size: 1024, durability: read(folder).durability, delta: true)

  # What the store has: the contents of all tags and of all objects that are kept without one.
  defp read(folder), do: folder |> Path.join("expected") |> File.read!() |> :erlang.binary_to_term()

  defp write(folder, expected),
    do: File.write!(Path.join(folder, "expected"), :erlang.term_to_binary(expected))

  defp notes_of(folder), do: Path.join(folder, "notes")

  ## The driver

  defp drive(folder, kills, seed) do
    :rand.seed(:exsss, seed)
    File.mkdir_p!(folder)
    # With odd seeds it does not wait for the disk, so that more happens between two kills.
    durability = if rem(seed, 2) == 0, do: :full, else: :relaxed
    write(folder, %{durability: durability, tags: %{}, kept: %{}})
    started = System.monotonic_time(:second)
    totals = rounds(folder, kills, %{rounds: 0, kills: 0, returned: 0, finished: 0, undone: 0})
    run(folder, "the end", ["empty", folder])
    seconds = System.monotonic_time(:second) - started
    IO.puts("#{text(totals)}; no fault, in #{seconds} seconds, with seed #{seed}")
  end

  defp text(totals) do
    "#{totals.kills} kills in #{totals.rounds} rounds; #{totals.returned} operations had returned; of those that were " <>
      "interrupted #{totals.finished} were there as a whole and #{totals.undone} not at all"
  end

  defp rounds(_folder, kills, %{kills: killed} = totals) when killed >= kills, do: totals

  defp rounds(folder, kills, totals) do
    File.mkdir_p!(notes_of(folder))
    seed = fn -> "#{:rand.uniform(1_000_000_000)}" end
    writers = for writer <- 1..@writers, do: vm(["put", folder, "#{writer}", seed.()])
    vms = for vm <- Enum.shuffle([vm(["collect", folder]) | writers]), do: {vm, await_start(vm)}

    for {_, pid} <- vms do
      {_, stopped} = Enum.random(vms)
      pause(300)
      signal("STOP", stopped)
      pause(100)
      signal("CONT", stopped)
      pause(300)
      signal("KILL", pid)
    end

    for {vm, _} <- vms do
      {output, status} = wait(vm)
      # One that has ended by itself has found a fault.
      if status != 128 + 9, do: fault(folder, "round #{totals.rounds + 1}", output)
    end

    output = run(folder, "round #{totals.rounds + 1}", ["judge", folder])
    [counts] = Regex.run(~r/^counts (.*)$/m, output, capture: :all_but_first)
    {counts, _} = Code.eval_string(counts)
    totals = Map.merge(totals, Map.merge(counts, %{rounds: 1, kills: length(vms)}), fn _, a, b -> a + b end)
    File.rm_rf!(notes_of(folder))
    if rem(totals.rounds, 20) == 0, do: IO.puts(:stderr, text(totals))
    rounds(folder, kills, totals)
  end

  defp run(folder, when_, arguments) do
    {output, status} = wait(vm(arguments))
    if status == 0, do: output, else: fault(folder, when_, output)
  end

  defp fault(folder, when_, output) do
    IO.puts(:stderr, "kill-store: a fault in #{when_}; what is left is in #{folder}\n#{output}")
    System.halt(1)
  end

  defp pause(most), do: Process.sleep(:rand.uniform(most))

  defp vm(arguments) do
    ebin = :code.which(:chunker_store) |> to_string() |> Path.dirname()
    options = [:binary, :exit_status, :stderr_to_stdout, args: ["-pa", ebin, __ENV__.file | arguments]]
    Port.open({:spawn_executable, System.find_executable("elixir")}, options)
  end

  defp await_start(port, output \\ "") do
    case Regex.run(~r/^ready (\d+)\n/m, output, capture: :all_but_first) do
      [pid] ->
        pid

      nil ->
        receive do
          {^port, {:data, data}} -> await_start(port, output <> data)
          {^port, {:exit_status, _}} -> raise "a VM did not start: #{output}"
        end
    end
  end

  defp signal(signal, pid), do: System.cmd("kill", ["-#{signal}", pid], stderr_to_stdout: true)

  defp wait(port, output \\ "") do
    receive do
      {^port, {:data, data}} -> wait(port, output <> data)
      {^port, {:exit_status, status}} -> {output, status}
    end
  end

  ## The VMs that are killed

  # Works until it is killed, or until the driver has ended. Something unexpected ends the VM.
  defp work(functions) do
    for function <- functions do
      spawn(fn ->
        try do
          function.()
        catch
          kind, reason ->
            IO.puts(Exception.format(kind, reason, __STACKTRACE__))
            System.halt(1)
        end
      end)
    end

    IO.puts("ready #{System.pid()}")
    :eof = IO.read(:line)
    System.halt(2)
  end

  defp collect(folder) do
    store = open(folder)
    work([fn -> collect_again(store) end])
  end

  defp collect_again(store) do
    {:ok, _} = Store.gc(store)
    Process.sleep(:rand.uniform(30))
    collect_again(store)
  end

  defp put(folder, writer, seed) do
    store = open(folder)
    expected = read(folder)

    work(
      for process <- 1..@processes do
        fn ->
          :rand.seed(:exsss, {seed, process, 0})
          prefix = "#{writer}/#{process}/"
          tags = Map.filter(expected.tags, fn {name, _} -> String.starts_with?(name, prefix) end)
          kept = for {id, {_, _, ^prefix}} <- expected.kept, do: id
          {:ok, notes} = File.open(Path.join(notes_of(folder), "#{writer}-#{process}"), [:append, :raw])
          operate(%{store: store, folder: folder, prefix: prefix, notes: notes, tags: tags, kept: kept})
        end
      end
    )
  end

  defp operate(worker) do
    operation = operation(worker)
    note(worker, {:begin, operation})

    case perform(worker.store, worker, operation) do
      {:ok, worker} ->
        note(worker, :done)
        operate(worker)

      # A collection has ended the session: nothing of it may be there.
      {:error, %Error{reason: :session_fenced}} ->
        note(worker, :not_done)
        operate(worker)
    end
  end

  defp note(worker, term), do: :ok = :file.write(worker.notes, [inspect(term, limit: :infinity), "\n"])

  # A content is named by what it is made of, and the prefix of the process if no other may have it.
  defp operation(worker) do
    name = fn -> worker.prefix <> Enum.random(~w(a b c d)) end
    content = fn own -> {:rand.uniform(1000), Enum.random([0, 1, 3, 10, 40]), own} end

    case :rand.uniform(12) do
      n when n <= 4 -> {:set, Enum.random([:binary, :file, :stream]), %{name.() => content.("")}}
      n when n <= 7 -> {:set, :session, Map.new(1..4, fn _ -> {name.(), content.("")} end)}
      n when n <= 9 and worker.tags != %{} -> {:tag, name.(), worker.tags |> Map.values() |> Enum.random()}
      10 when worker.kept != [] -> {:forget, Enum.random(worker.kept)}
      11 -> {:keep, content.(worker.prefix)}
      _ -> {:untag, name.()}
    end
  end

  defp perform(store, worker, {:set, :session, contents}) do
    session =
      Store.session(store, fn session ->
        Enum.reduce_while(contents, :put, fn {name, content}, :put ->
          case Store.put(session, bytes(content), name: name) do
            {:ok, _} -> {:cont, :put}
            failure -> {:halt, failure}
          end
        end)
      end)

    with {:ok, :put} <- session, do: {:ok, %{worker | tags: Map.merge(worker.tags, contents)}}
  end

  defp perform(store, worker, {:set, form, contents}) do
    [{name, content}] = Map.to_list(contents)

    with {:ok, _} <- Store.put(store, source(worker, form, bytes(content)), name: name),
         do: {:ok, put_in(worker.tags[name], content)}
  end

  defp perform(store, worker, {:tag, name, content}) do
    [{other, _} | _] = Enum.filter(worker.tags, fn {_, tagged} -> tagged == content end)
    {:ok, id} = Store.id(store, other)
    with :ok <- Store.tag(store, name, id), do: {:ok, put_in(worker.tags[name], content)}
  end

  defp perform(store, worker, {:untag, name}) do
    true = Store.untag(store, name) == {:ok, is_map_key(worker.tags, name)}
    {:ok, %{worker | tags: Map.delete(worker.tags, name)}}
  end

  defp perform(store, worker, {:keep, content}) do
    with {:ok, %{id: id}} <- Store.put(store, bytes(content)),
         do: {:ok, %{worker | kept: Enum.uniq([id | worker.kept])}}
  end

  defp perform(store, worker, {:forget, id}) do
    {:ok, true} = Store.forget(store, id)
    {:ok, %{worker | kept: worker.kept -- [id]}}
  end

  defp source(_worker, :binary, bytes), do: bytes
  defp source(_worker, :stream, bytes), do: Stream.map([bytes, ""], & &1)

  defp source(worker, :file, bytes) do
    path = Path.join(worker.folder, "source-" <> String.replace(worker.prefix, "/", "-"))
    File.write!(path, bytes)
    {:file, path}
  end

  # Of blocks that other contents have as well, so that what one process puts is garbage of another, or was.
  defp bytes({seed, blocks, own}) do
    {blocks, _} = Enum.map_reduce(List.duplicate(0, blocks), :rand.seed_s(:exsss, seed), &block/2)
    IO.iodata_to_binary([blocks, own])
  end

  defp block(_, state) do
    {number, state} = :rand.uniform_s(@blocks, state)
    {bytes, _} = :rand.bytes_s(200 * number, :rand.seed_s(:exsss, number))
    {bytes, state}
  end

  ## The fresh VM that judges

  defp judge(folder) do
    store = open(folder)
    before = read(folder)
    {:ok, tags} = Store.tags(store)
    found = Map.new(tags, fn {name, _} -> {name, Store.read!(store, name)} end)
    processes = for path <- Path.wildcard(Path.join(notes_of(folder), "*")), do: notes(path)

    expected =
      Enum.reduce(processes, before, fn {done, _}, expected ->
        Enum.reduce(done, expected, &done(folder, &1, &2))
      end)

    interrupted = for {_, {:begin, operation}} <- processes, do: interrupted(folder, operation)
    {finished, undone} = Enum.split_with(interrupted, &done?(store, found, &1))
    expected = Enum.reduce(finished, expected, &done(folder, &1, &2))

    # All tags are what returned last, or what was to be set when the VM was killed.
    for name <- Enum.uniq(Map.keys(found) ++ Map.keys(expected.tags)) do
      content = expected.tags[name]

      if found[name] != (content && bytes(content)),
        do: wrong("tag #{name} is not #{inspect(content)}", {interrupted, expected})
    end

    judge_all(store, found, expected)
    objects = length(Enum.uniq(Map.values(found) ++ for({_, content} <- expected.kept, do: bytes(content))))
    collect_all(store, objects)
    {:ok, %{damage: [], incomplete: [], objects: ^objects}} = Store.check(store)
    [] = Path.wildcard(Path.join(folder, "store/sessions/*"))
    judge_all(open(folder), found, expected)
    write(folder, expected)
    returned = Enum.sum(for {done, _} <- processes, do: length(done))
    IO.puts("counts #{inspect(%{returned: returned, finished: length(finished), undone: length(undone)})}")
  end

  # What was left is garbage. Garbage that shares a slot of a pack with a record that is needed is written anew
  # with that, and may be most of the new pack, so that a few collections are needed until all is as it stays.
  defp collect_all(store, objects, collections \\ 5) do
    {:ok, %{objects: ^objects, deleted_packs: deleted}} = Store.gc(store)

    cond do
      deleted == 0 -> :ok
      collections > 1 -> collect_all(store, objects, collections - 1)
      true -> wrong("garbage that is never gone", Store.stats(store))
    end
  end

  defp judge_all(store, found, expected) do
    for {name, content} <- found, do: true = Store.read!(store, name) == content

    for {id, content} <- expected.kept do
      if Store.read(store, id) != {:ok, bytes(content)}, do: wrong("a kept object is lost", {id, content})
    end

    case Store.check(store) do
      {:ok, %{damage: [], incomplete: []}} -> :ok
      report -> wrong("check", report)
    end
  end

  defp wrong(what, details) do
    IO.puts("#{what}: #{inspect(details, limit: :infinity, pretty: true)}")
    System.halt(1)
  end

  # Returns the operations of a process that are done, and the one that was interrupted.
  defp notes(path) do
    # A kill may have cut the last line.
    lines = path |> File.read!() |> String.split("\n") |> Enum.drop(-1)

    Enum.reduce(lines, {[], nil}, fn line, {done, begun} ->
      case {Code.eval_string(line), begun} do
        {{{:begin, _} = begun, _}, nil} -> {done, begun}
        {{:done, _}, {:begin, operation}} -> {done ++ [operation], nil}
        {{:not_done, _}, {:begin, _}} -> {done, nil}
      end
    end)
  end

  defp done(_folder, {:set, _, contents}, expected),
    do: %{expected | tags: Map.merge(expected.tags, contents)}

  defp done(_folder, {:tag, name, content}, expected), do: put_in(expected.tags[name], content)
  defp done(_folder, {:untag, name}, expected), do: %{expected | tags: Map.delete(expected.tags, name)}
  defp done(folder, {:keep, content}, expected), do: put_in(expected.kept[id(folder, content)], content)
  defp done(_folder, {:forget, id}, expected), do: %{expected | kept: Map.delete(expected.kept, id)}

  # Returns whether an operation that was interrupted has had its effect, as a whole.
  defp done?(_store, found, {:set, _, contents}),
    do: Enum.all?(contents, fn {name, content} -> found[name] == bytes(content) end)

  defp done?(_store, found, {:tag, name, content}), do: found[name] == bytes(content)
  defp done?(_store, found, {:untag, name}), do: found[name] == nil

  defp done?(store, _found, {:forget, id}) do
    {:ok, _} = Store.forget(store, id)
    true
  end

  # Whether an object is kept does not show, so it is forgotten.
  defp interrupted(folder, {:keep, content}), do: {:forget, id(folder, content)}
  defp interrupted(_folder, operation), do: operation

  # The id of a content, from another store with the same options.
  defp id(folder, content), do: Store.put!(open(folder, "other"), bytes(content)).id

  # Everything can be deleted.
  defp empty(folder) do
    store = open(folder)
    expected = read(folder)
    for {name, _} <- expected.tags, do: {:ok, true} = Store.untag(store, name)
    for {id, _} <- expected.kept, do: {:ok, true} = Store.forget(store, id)
    {:ok, %{objects: 0, packs: 0}} = Store.gc(store)
    {:ok, %{damage: [], incomplete: [], packs: 0}} = Store.check(store)
  end
end

Chunker.KillStore.main(System.argv())
