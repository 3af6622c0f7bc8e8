defmodule Chunker.StoreProgressTest do
  # The option :progress of a store's long calls, in each of its forms.
  use ExUnit.Case, async: true

  alias Chunker.Store

  @moduletag :tmp_dir

  # Calls `run` with each form of the option, and returns what was reported.
  defp reports(run) do
    parent = self()
    {:ok, agent} = Agent.start_link(fn -> [] end)

    by_function =
      (
        run.(fn done, total -> Agent.update(agent, &[{done, total} | &1]) end)
        agent |> Agent.get(& &1) |> Enum.reverse()
      )

    reference = make_ref()
    run.({parent, reference})
    by_reference = received(reference)
    run.(parent)
    by_pid = received(nil)
    {first, last} = {hd(by_function), List.last(by_function)}
    for other <- [by_reference, by_pid], do: assert({hd(other), List.last(other)} == {first, last})
    assert Enum.sort(by_function) == by_function or elem(first, 1) == nil
    by_function
  end

  defp received(reference) do
    receive do
      {:chunker_progress, ^reference, done, total} ->
        [{done, total} | received(reference)]

      {:chunker_progress, other, done, total} when reference == nil and is_reference(other) ->
        [{done, total} | received(nil)]
    after
      0 -> []
    end
  end

  test "is in bytes, and begins at nothing and ends at everything", %{tmp_dir: folder} do
    [store, other] =
      for name <- ["store", "other"],
          do: Store.open!(Path.join(folder, name), avg_size: 4096, durability: :relaxed)

    data = :rand.bytes(5_000_000)
    path = Path.join(folder, "file")
    File.write!(path, data)
    all = {5_000_000, 5_000_000}
    to = Path.join(folder, "to")

    for run <- [
          &Store.put!(store, {:file, path}, name: "a", progress: &1),
          &Store.session(store, fn session -> Store.put!(session, {:file, path}, progress: &1) end),
          &Store.put!(store, data, progress: &1),
          &(:ok = Store.restore(store, "a", {:file, to}, progress: &1)),
          &({:ok, _} = Store.copy(store, other, ["a"], progress: &1))
        ] do
      reports = reports(run)
      assert hd(reports) == {0, 5_000_000} and List.last(reports) == all
      assert Enum.all?(reports, fn {_, total} -> total == 5_000_000 end)
    end

    # How long a stream is shows at its end.
    reports = reports(&Store.put!(store, Stream.map([data, "more"], fn part -> part end), progress: &1))
    assert hd(reports) == {0, nil} and List.last(reports) == {5_000_004, 5_000_004}
    assert reports(&Store.put!(store, "", progress: &1)) == [{0, 0}]
    assert reports(&Store.put!(store, [] |> Stream.concat([]), progress: &1)) == [{0, nil}, {0, 0}]
  end

  test "of a tree is in bytes of its NAR", %{tmp_dir: folder} do
    store = Store.open!(Path.join(folder, "store"), durability: :relaxed)
    tree = Path.join(folder, "tree")
    File.mkdir_p!(tree)
    File.write!(Path.join(tree, "file"), :rand.bytes(2_000_000))
    size = tree |> Chunker.Nar.stream() |> Enum.map(&byte_size/1) |> Enum.sum()
    put = reports(&Store.put!(store, {:tree, tree}, name: "t", progress: &1))
    assert hd(put) == {0, nil} and List.last(put) == {size, size}

    restored =
      reports(fn progress ->
        to = Path.join(folder, "to #{System.unique_integer([:positive])}")
        :ok = Store.restore(store, "t", {:tree, to}, progress: progress)
      end)

    assert hd(restored) == {0, size} and List.last(restored) == {size, size}
    to = Path.join(folder, "file")
    one = reports(&(:ok = Store.restore(store, "t", {:file, to}, path: "file", progress: &1)))
    assert hd(one) == {0, 2_000_000} and List.last(one) == {2_000_000, 2_000_000}
  end

  test "of a check is in packs", %{tmp_dir: folder} do
    store = Store.open!(Path.join(folder, "store"), durability: :relaxed)
    for n <- 1..3, do: Store.put!(store, "content #{n}", name: "#{n}")
    {:ok, %{packs: packs}} = Store.check(store)

    for run <- [
          &({:ok, _} = Store.check(store, progress: &1)),
          &({:ok, _} = Store.repair(store, progress: &1))
        ] do
      reports = reports(run)
      assert hd(reports) == {0, packs} and List.last(reports) == {packs, packs}
    end
  end

  test "of a collection is in names of objects", %{tmp_dir: folder} do
    store = Store.open!(Path.join(folder, "store"), durability: :relaxed)
    assert reports(&({:ok, _} = Store.gc(store, progress: &1))) == [{0, 0}]
    for n <- 1..3, do: Store.put!(store, "content #{rem(n, 2)}", name: "#{n}")
    reports = reports(&({:ok, %{objects: 2}} = Store.gc(store, progress: &1)))
    assert hd(reports) == {0, 3} and List.last(reports) == {3, 3}
  end

  test "goes on while a slow source is put", %{tmp_dir: folder} do
    store = Store.open!(Path.join(folder, "store"), durability: :relaxed)
    slow = Stream.map(1..4, fn _ -> Process.sleep(120) && :rand.bytes(2_000_000) end)
    Store.put!(store, slow, progress: {self(), reference = make_ref()})
    reports = received(reference)
    assert length(reports) >= 4
    assert Enum.sort(reports, fn {a, _}, {b, _} -> a <= b end) == reports
  end

  test "of a function that raises is raised, and nothing is put", %{tmp_dir: folder} do
    store = Store.open!(Path.join(folder, "store"), durability: :relaxed)
    path = Path.join(folder, "file")
    File.write!(path, "content")

    for source <- ["content", {:file, path}] do
      assert_raise RuntimeError, "oops", fn ->
        Store.put(store, source, progress: fn _, _ -> raise "oops" end)
      end
    end

    for wrong <- [fn -> :ok end, :a, {self(), 1}] do
      assert_raise ArgumentError, ~r/option :progress must be/, fn ->
        Store.put(store, "content", progress: wrong)
      end
    end
  end
end
