defmodule Chunker.StoreCopyTest do
  # Copies between stores, and what stats say of them. The engine's own tests count what is sent.
  use ExUnit.Case, async: true

  alias Chunker.{Error, Store}

  @moduletag :tmp_dir

  defp open(folder, name, options \\ []) do
    Store.open!(Path.join(folder, name), [avg_size: 4096, durability: :relaxed] ++ options)
  end

  test "tags go with what they name, and ids are kept", %{tmp_dir: folder} do
    [one, other] = for name <- ["one", "other"], do: open(folder, name)
    [a, b, c] = for _ <- 1..3, do: :rand.bytes(100_000)
    for {name, content} <- [{"db/a", a}, {"db/b", b}], do: Store.put!(one, content, name: name)
    %{id: id} = Store.put!(one, c)
    Store.put!(other, "before", name: "db/a")
    hex = Base.encode16(id, case: :lower)

    assert {:ok, copied} = Store.copy(one, other, ["db/a", hex])
    assert copied.ids == [elem(Store.id(one, "db/a"), 1), id]
    assert copied.new_bytes == 200_000 and copied.new_chunks > 20
    assert copied.stored_bytes > 200_000 and copied.stored_bytes < 230_000
    assert {:ok, [{"db/a", _}]} = Store.tags(other)
    assert Store.read(other, "db/a") == {:ok, a}
    assert Store.read(other, id) == {:ok, c}
    # What the tag named is garbage now, and the object without a tag is kept.
    assert {:ok, %{objects: 2}} = Store.gc(other)
    assert Store.forget(other, id) == {:ok, true}

    assert {:ok, %{new_chunks: 0, new_bytes: 0, stored_bytes: 0}} = Store.copy(one, other, ["db/a"])

    assert {:ok, %{ids: [_], new_bytes: 100_000}} = Store.copy(one, other, ["db/b"], tags: false)

    assert {:ok, [{"db/a", _}]} = Store.tags(other)
    assert Store.forget(other, elem(Store.id(one, "db/b"), 1)) == {:ok, true}
    assert {:ok, %{ids: [], new_chunks: 0}} = Store.copy(one, other, [])
  end

  test "a store with another hash function has other ids", %{tmp_dir: folder} do
    [one, other] =
      for {name, hash} <- [{"one", :blake3}, {"other", :sha256}], do: open(folder, name, hash: hash)

    content = :rand.bytes(300_000)
    Store.put!(one, content, name: "a")
    assert {:ok, %{ids: [id], new_bytes: 300_000}} = Store.copy(one, other, ["a"], threads: 1)
    assert {:ok, %{id: ^id, hash: hash}} = Store.manifest(other, "a")
    assert hash == Chunker.hash(content, :sha256)
    assert Store.read(other, "a") == {:ok, content}
  end

  test "errors leave nothing", %{tmp_dir: folder} do
    [one, other] = for name <- ["one", "other"], do: open(folder, name)
    Store.put!(one, "content", name: "a")
    assert {:error, %Error{reason: :not_found, details: %{name: "b"}}} = Store.copy(one, other, ["a", "b"])
    File.rm_rf!(Path.join(folder, "one/packs"))
    assert {:error, %Error{reason: :chunk_missing}} = Store.copy(open(folder, "one"), other, ["a"])
    assert Store.tags(other) == {:ok, []}
    assert {:ok, %{objects: 0}} = Store.stats(other)

    for wrong <- [:a, ["a" | "b"], [1], "a"] do
      assert_raise ArgumentError, fn -> Store.copy(one, other, wrong) end
    end

    assert_raise ArgumentError, ~r/2nd argument|a store of this node/, fn ->
      Store.copy(one, %{other | store: make_ref()}, ["a"])
    end

    assert_raise ArgumentError, ~r/option :tags must be true or false/, fn ->
      Store.copy(one, other, [], tags: 1)
    end
  end

  test "Erlang has the same", %{tmp_dir: folder} do
    [one, other] = for name <- ["one", "other"], do: open(folder, name).store
    {:ok, %{id: id}} = :chunker_store.put(one, "content", name: "a")

    assert {:ok, %{ids: [^id, ^id], new_bytes: 7}} =
             :chunker_store.copy(one, other, [~c"a", id], %{threads: 1})

    assert :chunker_store.tags(other) == {:ok, [{"a", id}]}
    assert {:ok, %{objects: 1, object_bytes: 7, tags: 1}} = :chunker_store.stats(other)
    assert :chunker_store.close(other) == :ok
    assert :chunker_store.stats(other) == {:error, {:cancelled, %{}}}
    assert {:error, {:cancelled, _}} = :chunker_store.copy(one, other, [id])
    assert_raise ArgumentError, fn -> :chunker_store.close(make_ref()) end
  end

  test "stats count files, objects and bytes", %{tmp_dir: folder} do
    store = open(folder, "store")
    assert {:ok, empty} = Store.stats(store)
    assert empty |> Map.values() |> Enum.uniq() == [0]
    content = :rand.bytes(1_000_000)
    a = Store.put!(store, content, name: "a")
    Store.put!(store, content, name: "b")
    Store.put!(store, binary_part(content, 0, 500_000))
    assert {:ok, stats} = Store.stats(store)
    files = Path.wildcard(Path.join(folder, "store/{packs,meta,index}/**")) |> Enum.filter(&File.regular?/1)

    sizes =
      for path <- files,
          do:
            {path |> Path.relative_to(Path.join(folder, "store")) |> Path.split() |> hd(),
             File.stat!(path).size}

    for {kind, number, bytes} <- [
          {"packs", :packs, :pack_bytes},
          {"meta", :meta_packs, :meta_bytes},
          {"index", :index_segments, :index_bytes}
        ] do
      of_kind = for {^kind, size} <- sizes, do: size
      assert {kind, stats[number], stats[bytes]} == {kind, length(of_kind), Enum.sum(of_kind)}
    end

    assert {stats.tags, stats.objects, stats.object_bytes, stats.sessions} == {2, 2, 1_500_000, 0}
    assert stats.records > a.chunk_count
    {:ok, report} = Store.check(store)

    assert {report.packs, report.bytes, report.records} ==
             {stats.packs + stats.meta_packs, stats.pack_bytes + stats.meta_bytes, stats.records}

    {:ok, 1} =
      Store.session(store, fn _ -> with({:ok, %{sessions: open}} <- Store.stats(store), do: open) end)
  end
end
