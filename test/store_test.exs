Code.require_file("support/file_stream.exs", __DIR__)

defmodule Chunker.StoreTest do
  # The store as Elixir and Erlang programs use it. The engine's own tests cut the power, damage files and let
  # writers and collections run at once.
  use ExUnit.Case, async: true

  alias Chunker.{Error, Store}

  doctest Chunker.Store

  @moduletag :tmp_dir

  defp open(folder, options \\ []) do
    Store.open!(Path.join(folder, "store"), [avg_size: 4096, durability: :relaxed] ++ options)
  end

  defp refused({:error, %Error{} = error}) do
    assert Exception.message(error) =~ ~r/^[[:print:]]+$/
    {error.reason, error.details}
  end

  test "files, iodata and enumerables are the same object", %{tmp_dir: folder} do
    store = open(folder)
    data = :rand.bytes(1_000_000)
    path = Path.join(folder, "file")
    File.write!(path, data)
    assert {:ok, first} = Store.put(store, {:file, path}, name: "file")
    assert first.size == 1_000_000 and first.new_bytes == 1_000_000 and first.new_chunks == first.chunk_count
    assert first.hash == Chunker.hash(data, :blake3)

    parts = for <<part::binary-size(999) <- data>>, do: part
    rest = binary_part(data, 1_000_000 - rem(1_000_000, 999), rem(1_000_000, 999))

    for source <- [data, [data | ""], Stream.concat(parts, [rest]), Chunker.FileStream.stream!(path, 10_000)] do
      assert {:ok, again} = Store.put(store, source)
      assert {again.id, again.new_chunks, again.stored_bytes} == {first.id, 0, 0}
    end

    assert {:ok, ^first} =
             {:ok,
              %{
                elem(Store.manifest(store, "file"), 1)
                | new_chunks: first.new_chunks,
                  new_bytes: first.new_bytes,
                  stored_bytes: first.stored_bytes
              }}

    hex = Base.encode16(first.id, case: :lower)
    for name <- ["file", first.id, hex], do: assert(Store.read(store, name) == {:ok, data})
    assert store |> Store.stream("file") |> Enum.join() == data
    assert {:ok, chunks} = Chunker.chunk_data(data, avg_size: 4096)

    assert store |> Store.chunks("file") |> Enum.to_list() ==
             for(c <- chunks, do: {c.hash, c.offset, c.length})

    assert inspect(first) =~ hex
    assert inspect(store) == "#Chunker.Store<#{inspect(Path.join(folder, "store"))}>"
  end

  test "ranges", %{tmp_dir: folder} do
    store = open(folder)
    data = :rand.bytes(100_000)
    Store.put!(store, data, name: "a")

    for {offset, length} <- [{0, 0}, {0, 1}, {99_999, 1}, {100_000, 0}, {12_345, 54_321}] do
      assert Store.read(store, "a", offset: offset, length: length) ==
               {:ok, binary_part(data, offset, length)}

      assert store |> Store.stream("a", offset: offset, length: length) |> Enum.join() ==
               binary_part(data, offset, length)
    end

    assert Store.read(store, "a", offset: 99_000) == {:ok, binary_part(data, 99_000, 1000)}

    assert refused(Store.read(store, "a", offset: 99_000, length: 1001)) ==
             {:bounds_check_failed, %{offset: 99_000, length: 1001, data_length: 100_000}}

    assert refused(Store.read(store, "a", offset: -1)) ==
             {:invalid_options, %{option: :offset, value: -1, allowed: "0..18446744073709551615"}}
  end

  test "a restored file is there as a whole", %{tmp_dir: folder} do
    store = open(folder)
    data = :rand.bytes(3_000_000)
    Store.put!(store, data, name: "a")
    to = Path.join(folder, "restored")
    assert Store.restore(store, "a", {:file, to}) == :ok
    assert File.read!(to) == data
    Store.put!(store, "short", name: "b")
    assert Store.restore(store, "b", {:file, to}, threads: 1) == :ok
    assert File.read!(to) == "short"

    assert {:io_error, %{kind: :enoent}} =
             refused(Store.restore(store, "b", {:file, Path.join([folder, "no", "such"])}))

    assert refused(Store.restore(store, "c", {:file, to})) == {:not_found, %{name: "c"}}
    assert File.read!(to) == "short"
  end

  test "a session is there as a whole or not at all", %{tmp_dir: folder} do
    store = open(folder)

    assert {:ok, :done} =
             Store.session(store, fn session ->
               a = Store.put!(session, "a", name: "x/a")
               Store.put!(session, ["b", "c"], name: "x/b")
               assert Store.tag(session, "x/again", a.id) == :ok
               assert Store.tags(store) == {:ok, []}
               :done
             end)

    assert {:ok, [{"x/a", id}, {"x/again", id}, {"x/b", _}]} = Store.tags(store, "x/")

    assert Store.session(store, fn session ->
             Store.put!(session, "d", name: "y")
             {:error, :changed_my_mind}
           end) == {:error, :changed_my_mind}

    assert_raise RuntimeError, "oops", fn ->
      Store.session(store, fn session ->
        Store.put!(session, "d", name: "y")
        raise "oops"
      end)
    end

    assert catch_throw(Store.session(store, fn _ -> throw(:ball) end)) == :ball
    assert Store.id(store, "y") == {:ok, nil}
    assert {:ok, %{objects: 2}} = Store.gc(store)
    assert Store.read(store, "x/b") == {:ok, "bc"}
  end

  test "a session whose chunks a collection has deleted is called again", %{tmp_dir: folder} do
    store = open(folder)
    data = :rand.bytes(100_000)

    # What it finds in the store is deleted before it commits, as often as asked for.
    run = fn options, deletions ->
      left = :counters.new(2, [])
      :counters.put(left, 1, deletions)

      result =
        Store.session(store, options, fn session ->
          :counters.add(left, 2, 1)
          if :counters.get(left, 1) > 0, do: Store.put!(store, data, name: "old")
          put = Store.put!(session, data, name: "new")

          if :counters.get(left, 1) > 0 do
            :counters.sub(left, 1, 1)
            {:ok, true} = Store.untag(store, "old")
            {:ok, %{deleted_packs: deleted}} = Store.gc(store)
            assert deleted >= 2
          end

          put.id
        end)

      {result, :counters.get(left, 2)}
    end

    assert {{:error, %Error{reason: :session_fenced}}, 1} = run.([], 1)
    assert {{:error, %Error{reason: :session_fenced}}, 2} = run.([attempts: 2], 2)
    assert Store.tags(store) == {:ok, []}
    assert {{:ok, id}, 3} = run.([attempts: 3], 2)
    assert Store.read(store, id) == {:ok, data}
    assert refused(Store.session(store, [attempts: 0], fn _ -> :ok end)) |> elem(0) == :invalid_options
    assert_raise ArgumentError, ~r/:attempt/, fn -> Store.session(store, [attempt: 2], fn _ -> :ok end) end
  end

  test "tags are compared and set", %{tmp_dir: folder} do
    store = open(folder)
    [a, b] = for content <- ["a", "b"], do: Store.put!(store, content).id
    assert Store.tag(store, "t", a, if: :absent) == :ok
    assert refused(Store.tag(store, "t", b, if: :absent)) == {:already_exists, %{name: "t"}}
    assert refused(Store.tag(store, "t", b, if: {:is, b})) == {:already_exists, %{name: "t"}}
    assert Store.tag(store, "t", b, if: {:is, a}) == :ok
    assert refused(Store.untag(store, "t", if: {:is, a})) == {:already_exists, %{name: "t"}}
    assert Store.untag(store, "t", if: {:is, b}) == {:ok, true}
    assert Store.untag(store, "t") == {:ok, false}

    assert refused(Store.tag(store, "t", <<1::256>>)) ==
             {:not_found, %{name: Base.encode16(<<1::256>>, case: :lower)}}

    assert {:invalid_options, %{option: :name, value: "a//b"}} = refused(Store.tag(store, "a//b", a))
    assert_raise ArgumentError, ~r/:absent/, fn -> Store.tag(store, "t", a, if: :maybe) end
    assert_raise ArgumentError, ~r/32 bytes/, fn -> Store.tag(store, "t", "short") end
    # Both were put without a name.
    assert Store.forget(store, a) == {:ok, true}
    assert Store.forget(store, a) == {:ok, false}
    assert {:ok, %{objects: 1}} = Store.gc(store)
    assert Store.read(store, b) == {:ok, "b"}
    assert {:not_found, _} = refused(Store.read(store, a))
  end

  test "what a peer lacks", %{tmp_dir: folder} do
    [one, other] =
      for name <- ["one", "other"], do: Store.open!(Path.join(folder, name), durability: :relaxed)

    Store.put!(one, :rand.bytes(3_000_000), name: "a")
    digests = for {digest, _, _} <- Store.chunks(one, "a"), do: digest
    assert Store.missing(one, digests) == {:ok, []}
    assert Store.missing(other, digests) == {:ok, digests}
    assert Store.missing(other, []) == {:ok, []}
    assert_raise ArgumentError, fn -> Store.missing(other, ["short"]) end
  end

  test "an existing store keeps its options", %{tmp_dir: folder} do
    path = Path.join(folder, "store")
    assert refused(Store.open(path, create: false)) == {:not_found, %{name: path}}
    assert {:ok, _} = Store.open(path, hash: :sha256, avg_size: 8192, codec: :none)
    assert {:ok, _} = Store.open(path)
    assert {:ok, other} = Store.open(path, hash: :sha256, avg_size: 8192, codec: :lz4, create: false)
    assert Store.read(other, Store.put!(other, "content").id) == {:ok, "content"}

    assert refused(Store.open(path, hash: :blake3)) ==
             {:invalid_options, %{option: :hash, value: "blake3", allowed: "sha256, which the store has"}}

    assert refused(Store.open(path, durability: :relaxed)) ==
             {:invalid_options,
              %{option: :durability, value: "relaxed", allowed: "full, which the store has"}}

    assert {:invalid_options, %{option: :min_size}} = refused(Store.open(path, avg_size: 4096))
    assert {:invalid_options, %{option: :avg_size}} = refused(Store.open(Path.join(folder, "b"), avg_size: 1))
    assert {:invalid_options, %{option: :level}} = refused(Store.open(Path.join(folder, "b"), level: 99))
    assert_raise ArgumentError, ~r/unknown option :size/, fn -> Store.open(path, size: 1) end
    File.mkdir_p!(Path.join(folder, "c"))
    File.write!(Path.join(folder, "c/file"), "")
    assert {:invalid_options, %{option: :location}} = refused(Store.open(Path.join(folder, "c")))
    assert {:io_error, %{kind: :enoent}} = refused(Store.open(Path.join([folder, "no", "such"])))
  end

  test "damage is found, repaired and healed", %{tmp_dir: folder} do
    store = open(folder)
    data = :rand.bytes(500_000)
    a = Store.put!(store, data, name: "a")
    Store.put!(store, "other", name: "b")
    assert {:ok, %{damage: [], incomplete: [], objects: 2}} = Store.check(store)
    largest = Path.join(folder, "store/packs/*/*") |> Path.wildcard() |> Enum.max_by(&File.stat!(&1).size)
    bytes = File.read!(largest)
    <<head::binary-size(250_000), byte, rest::binary>> = bytes
    File.write!(largest, [head, Bitwise.bxor(byte, 1), rest])
    assert {:ok, %{damage: [%{why: why, object: object}], incomplete: [lost]}} = Store.check(open(folder))
    assert why == :record_payload or why == :record_digest
    assert Path.join([folder, "store", object]) == largest
    assert lost.id == a.id and lost.tags == ["a"] and length(lost.missing) == 1
    assert {:store_corrupt, %{pack: ^object, offset: _, why: _}} = refused(Store.read(open(folder), "a"))
    assert {:ok, %{incomplete: [_]}} = Store.repair(store)
    assert refused(Store.read(store, "a")) == {:chunk_missing, %{digests: lost.missing}}
    assert_raise Error, fn -> store |> Store.stream("a") |> Enum.take(1) end
    assert %{new_chunks: 1} = Store.put!(store, data, name: "a")
    assert {:ok, %{damage: [], incomplete: []}} = Store.check(store)
    assert Store.read(store, "a") == {:ok, data}
  end

  test "a source that fails leaves nothing", %{tmp_dir: folder} do
    store = open(folder)
    failing = Stream.map(1..100, fn n -> if n == 50, do: raise("no more"), else: :rand.bytes(10_000) end)
    assert_raise RuntimeError, "no more", fn -> Store.put(store, failing, name: "a") end
    assert_raise ArgumentError, fn -> Store.put(store, [:no_iodata], name: "a") end
    assert_raise ArgumentError, fn -> Store.put(store, Stream.map([1], fn _ -> :no_iodata end), name: "a") end
    assert {:io_error, %{kind: :enoent}} = refused(Store.put(store, {:file, "/no/such/file"}, name: "a"))
    assert Store.tags(store) == {:ok, []}
    Store.gc(store)
    assert {:ok, %{packs: 0}} = Store.gc(store)
  end

  test "a put that fails says why, and ends the enumerable", %{tmp_dir: folder} do
    store = open(folder)
    File.write!(Path.join(folder, "store/packs"), "no folder")
    test = self()

    endless =
      Stream.resource(
        fn -> 0 end,
        fn n -> {[:rand.bytes(1_000_000)], n + 1} end,
        fn n -> send(test, {:ended, n}) end
      )

    # Not before a pack is full.
    assert {:io_error, %{kind: :enotdir, path: path}} = refused(Store.put(store, endless, name: "a"))
    assert path =~ Path.join(folder, "store/packs")
    assert_received {:ended, n} when n in 10..100
    assert Store.tags(store) == {:ok, []}
  end

  test "a name that is a digest in hexadecimal is an id, and no other number is", %{tmp_dir: folder} do
    store = open(folder)
    hex = Base.encode16(Store.put!(store, "a").id)
    assert Store.read(store, hex) == {:ok, "a"}
    assert Store.read(store, String.downcase(hex)) == {:ok, "a"}
    for sign <- ["+", "-"], do: assert(Store.id(store, sign <> String.slice(hex, 1..-1//1)) == {:ok, nil})
    assert Store.id(store, String.slice(hex, 1..-1//1) <> "\n") == {:ok, nil}
  end

  test "a damaged tag is an error, not another name", %{tmp_dir: folder} do
    store = open(folder)
    id = Store.put!(store, "content").id
    hex = Base.encode16(id, case: :lower)
    :ok = Store.tag(store, hex, id)
    File.write!(Path.join([folder, "store/refs", hex <> "="]), "id ?")
    assert {:store_corrupt, %{pack: "refs/" <> _}} = refused(Store.read(store, hex))
    assert {:ok, %{kept: []}} = Store.check(store)
    # The object has no other name, but is kept since it was put without one.
    assert {:ok, %{damage: [%{why: :tag}], kept: []}} = Store.repair(store)
    assert Store.read(store, hex) == {:ok, "content"}
  end

  test "many processes put at once", %{tmp_dir: folder} do
    store = open(folder)
    contents = for size <- 1..10, do: :rand.bytes(size * 10_000)

    1..40
    |> Task.async_stream(
      fn n ->
        content = Enum.at(contents, rem(n, 10))
        object = Store.put!(store, content, name: "p/#{n}")
        if rem(n, 10) == 0, do: Store.gc(store)
        assert Store.read(store, object.id) == {:ok, content}
      end,
      timeout: 60_000,
      max_concurrency: 8
    )
    |> Stream.run()

    assert {:ok, tags} = Store.tags(store, "p/")
    assert length(tags) == 40
    assert {:ok, %{damage: [], incomplete: [], objects: 10}} = Store.check(store)
  end

  test "a store of another node, or none, is an ArgumentError", %{tmp_dir: folder} do
    store = open(folder)

    for wrong <- [nil, make_ref(), %{store | store: make_ref()}] do
      assert_raise ArgumentError, fn -> Store.put(wrong, "content") end
    end

    assert_raise ArgumentError, ~r/a store of this node/, fn -> Store.gc(%{store | store: make_ref()}) end
  end

  test "Erlang has the same", %{tmp_dir: folder} do
    {:ok, store} = :chunker_store.open(Path.join(folder, "store"), %{durability: :relaxed})
    pieces = fn -> {"some ", fn -> {["con", "tent"], fn -> :done end} end} end
    {:ok, %{id: id}} = :chunker_store.put(store, pieces, name: "a")
    assert :chunker_store.read(store, [?a]) == {:ok, "some content"}
    {:ok, iterator} = :chunker_store.stream(store, id)
    assert :chunker_store.next(iterator) == {:ok, ["some content"]}
    assert :chunker_store.next(iterator) == :done
    assert :chunker_store.close(iterator) == :ok
    {:ok, chunks} = :chunker_store.chunks(store, id)
    assert {:ok, [{_, 0, 12}]} = :chunker_store.next(chunks)

    {:ok, :x} =
      :chunker_store.session(store, fn session ->
        {:ok, _} = :chunker_store.put(session, "b")
        :x
      end)

    assert {:error, {:not_found, %{name: "b"}}} = :chunker_store.read(store, "b")
    assert {:ok, %{objects: 2}} = :chunker_store.gc(store)
  end
end
