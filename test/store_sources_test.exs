defmodule Chunker.StoreSourcesTest do
  # Archives and trees in a store, compared with the functions of Chunker.Nar. The engine's own tests compare their
  # chunks, damage them, and cut the power.
  use ExUnit.Case, async: true

  alias Chunker.{Error, Nar, Store}

  @moduletag :tmp_dir

  defp open(folder) do
    Store.open!(Path.join(folder, "store"), avg_size: 4096, durability: :relaxed)
  end

  defp refused({:error, %Error{} = error}) do
    assert Exception.message(error) =~ ~r/^[[:print:]]+$/
    {error.reason, error.details}
  end

  # A tree with files of all sizes, empty folders, links, and names that are not ASCII.
  defp tree(folder) do
    tree = Path.join(folder, "tree")
    for name <- ["bin", "share/empty", "ü"], do: File.mkdir_p!(Path.join(tree, name))

    for {name, contents} <- [
          {"bin/git", "#!/nix/store/6xg259477c90a229xwmb53pdfkn6ig3g-bash-5.2/bin/sh\n"},
          {"bin/large", :rand.bytes(300_000)},
          {"share/nothing", ""},
          {"ü/text", String.duplicate("/nix/store/0c5b8vw40dy178xlpddw65q9gf1h2186-x\n", 5000)}
        ],
        do: File.write!(Path.join(tree, name), contents)

    File.chmod!(Path.join(tree, "bin/git"), 0o755)
    File.ln_s!("git", Path.join(tree, "bin/link"))
    tree
  end

  defp nar(tree), do: tree |> Nar.stream() |> Enum.join()

  test "a tree is its NAR, from wherever it comes", %{tmp_dir: folder} do
    store = open(folder)
    tree = tree(folder)
    nar = nar(tree)
    file = Path.join(folder, "nar")
    File.write!(file, nar)
    {:ok, hash} = Nar.hash(nar)

    for references <- [false, true] do
      options = [name: "tree", references: references]
      assert {:ok, first} = Store.put(store, {:tree, tree}, options)
      assert {first.kind, first.size, first.nar_hash} == {:nar, byte_size(nar), hash}
      assert first.hash == Chunker.hash(nar, :blake3)

      for source <- [{:file, file}, nar, [[nar]], Nar.stream(tree), File.stream!(file, [], 1000)] do
        assert {:ok, again} = Store.put(store, {:nar, source}, options)
        assert {again.id, again.new_chunks, again.stored_bytes} == {first.id, 0, 0}
      end

      assert {:ok, again} = Store.put(store, {:tree, tree}, options)
      assert {again.id, again.stored_bytes} == {first.id, 0}

      assert {:ok, again} =
               Store.session(store, fn session ->
                 Store.put!(session, {:nar, {:file, file}}, options)
                 Store.put!(session, {:tree, tree}, options)
               end)

      assert {again.id, again.stored_bytes} == {first.id, 0}
      assert {:ok, manifest} = Store.manifest(store, "tree")
      assert {manifest.kind, manifest.nar_hash, manifest.id} == {:nar, hash, first.id}
      assert inspect(manifest) =~ hash

      assert Store.read(store, "tree") == {:ok, nar}
      assert store |> Store.stream("tree") |> Enum.join() == nar

      for {offset, length} <- [{0, 500}, {byte_size(nar) - 9, 9}, {12_345, 65_432}, {330_000, 100}] do
        assert Store.read(store, "tree", offset: offset, length: length) ==
                 {:ok, binary_part(nar, offset, length)}
      end

      assert Store.restore(store, "tree", {:file, file}) == :ok
      assert File.read!(file) == nar
      to = Path.join(folder, "to-#{references}")
      assert Store.restore(store, "tree", {:tree, to}) == :ok
      assert nar(to) == nar
      assert {:io_error, %{kind: :eexist, path: ^to}} = refused(Store.restore(store, "tree", {:tree, to}))
      assert nar(to) == nar
    end

    {:ok, chunks} = Chunker.chunk_data(nar, nar: true, avg_size: 4096)
    plain = Store.put!(store, {:nar, nar})
    assert Enum.to_list(Store.chunks(store, plain.id)) == for(c <- chunks, do: {c.hash, c.offset, c.length})

    with_references = Store.put!(store, {:nar, nar}, references: true)
    {:ok, chunks} = Chunker.chunk_data(nar, nar: true, references: true, avg_size: 4096)

    assert Enum.to_list(Store.chunks(store, with_references.id)) ==
             for(c <- chunks, do: {c.hash, c.offset, c.length})

    assert plain.id != with_references.id
    assert {:ok, %{damage: [], incomplete: []}} = Store.check(store)
  end

  test "files in a NAR", %{tmp_dir: folder} do
    store = open(folder)
    tree = tree(folder)
    nar = nar(tree)

    for references <- [false, true] do
      Store.put!(store, {:nar, nar}, name: "a", references: references)

      for path <- ["bin/git", "bin/large", "share/nothing", "ü/text"] do
        contents = File.read!(Path.join(tree, path))
        assert Nar.read_file(nar, path) == {:ok, contents}
        assert Store.read(store, "a", path: path) == {:ok, contents}
        assert Store.read(store, "a", path: "/" <> path) == {:ok, contents}
        assert store |> Store.stream("a", path: path) |> Enum.join() == contents
        to = Path.join(folder, "to")
        assert Store.restore(store, "a", {:file, to}, path: path) == :ok
        assert File.read!(to) == contents

        if byte_size(contents) > 0 do
          assert Store.read(store, "a", path: path, offset: 3, length: 20) ==
                   {:ok, binary_part(contents, 3, 20)}

          assert Store.read!(store, "a", path: path, offset: byte_size(contents) - 1) ==
                   binary_part(contents, byte_size(contents), -1)
        end

        size = byte_size(contents)

        assert refused(Store.read(store, "a", path: path, offset: size, length: 1)) ==
                 {:bounds_check_failed, %{offset: size, length: 1, data_length: size}}
      end

      assert refused(Store.read(store, "a", path: "bin/none")) == {:not_found, %{name: "bin/none"}}
      assert refused(Store.read(store, "a", path: "bin")) == {:io_error, %{kind: :eisdir, path: "bin"}}
      assert refused(Store.read(store, "a", path: "")) == {:io_error, %{kind: :eisdir, path: ""}}

      assert refused(Store.read(store, "a", path: "bin/link")) ==
               {:io_error, %{kind: :eloop, path: "bin/link"}}
    end

    Store.put!(store, nar, name: "bytes")

    assert refused(Store.read(store, "bytes", path: "bin/git")) ==
             {:invalid_options,
              %{
                option: :path,
                value: "bin/git",
                allowed: "absent, since the object was not put as a NAR but as bytes"
              }}

    assert_raise ArgumentError, ~r/:path/, fn ->
      Store.restore(store, "a", {:tree, Path.join(folder, "t")}, path: "bin")
    end

    assert_raise ArgumentError, fn -> Store.read(store, "a", path: 1) end
  end

  test "the entries of a NAR", %{tmp_dir: folder} do
    store = open(folder)
    nar = nar(tree(folder))
    Store.put!(store, {:nar, nar}, name: "a")
    {:ok, [_root | entries]} = Nar.list(nar)
    assert Store.ls(store, "a", "", recursive: true) == {:ok, entries}
    assert {:ok, top} = Store.ls(store, "a")

    assert for(e <- top, do: {e.path, e.type}) == [
             {"bin", :directory},
             {"share", :directory},
             {"ü", :directory}
           ]

    assert Store.ls!(store, "a", "bin") == Enum.filter(entries, &String.starts_with?(&1.path, "bin/"))
    assert Store.ls(store, "a", "share/empty") == {:ok, []}

    for path <- ["bin/git", "bin/link"],
        do: assert(Store.ls(store, "a", path) == {:ok, Enum.filter(entries, &(&1.path == path))})

    assert refused(Store.ls(store, "a", "none")) == {:not_found, %{name: "none"}}
    assert refused(Store.ls(store, "b")) == {:not_found, %{name: "b"}}

    assert refused(Store.ls(store, "a", "", max_entries: 2)) ==
             {:limit_exceeded, %{option: :max_entries, limit: 2}}

    Store.put!(store, {:tar, "x"}, name: "tar")
    assert {:invalid_options, %{option: :path}} = refused(Store.ls(store, "tar"))
    assert_raise Error, fn -> Store.ls!(store, "tar") end
  end

  test "tars", %{tmp_dir: folder} do
    store = open(folder)
    tree(folder)
    tar = Path.join(folder, "tar")
    {_, 0} = System.cmd("tar", ["-cf", tar, "-C", folder, "tree"])
    bytes = File.read!(tar)
    {:ok, chunks} = Chunker.chunk_file(tar, tar: true, avg_size: 4096)

    for source <- [{:file, tar}, bytes, File.stream!(tar, [], 1000)] do
      assert {:ok, put} = Store.put(store, {:tar, source}, name: "tar")
      assert {put.kind, put.nar_hash, put.size} == {:tar, nil, byte_size(bytes)}
      assert Enum.to_list(Store.chunks(store, "tar")) == for(c <- chunks, do: {c.hash, c.offset, c.length})
      assert {:ok, %{kind: :tar, nar_hash: nil}} = Store.manifest(store, "tar")
    end

    assert Store.read(store, "tar") == {:ok, bytes}
    assert {:ok, %{kind: :tar}} = Store.put(store, {:tar, "no tar"})
    to = Path.join(folder, "to")

    assert {:invalid_options, %{option: :tree, value: ^to}} =
             refused(Store.restore(store, "tar", {:tree, to}))

    refute File.exists?(to)
  end

  test "what is no NAR leaves nothing", %{tmp_dir: folder} do
    store = open(folder)
    nar = nar(tree(folder))
    short = binary_part(nar, 0, byte_size(nar) - 1)
    path = Path.join(folder, "short")
    File.write!(path, short)

    for source <- [short, [short], {:file, path}, Stream.map([short], & &1)], references <- [false, true] do
      assert refused(Store.put(store, {:nar, source}, name: "a", references: references)) ==
               {:invalid_nar, %{offset: byte_size(short), why: :truncated}}
    end

    assert {:invalid_nar, %{why: :bad_magic}} = refused(Store.put(store, {:nar, "something else"}))
    none = Path.join(folder, "none")
    assert {:io_error, %{kind: :enoent, path: ^none}} = refused(Store.put(store, {:tree, none}))
    fifo = Path.join(folder, "tree/fifo")
    {_, 0} = System.cmd("mkfifo", [fifo])

    assert {:io_error, %{kind: :enotsup, path: ^fifo}} =
             refused(Store.put(store, {:tree, Path.join(folder, "tree")}))

    assert_raise ArgumentError, ~r/:references/, fn -> Store.put(store, "x", references: true) end
    assert_raise ArgumentError, ~r/:references/, fn -> Store.put(store, {:tar, "x"}, references: true) end
    assert_raise ArgumentError, fn -> Store.put(store, {:nar, [:no_iodata]}) end
    assert_raise ArgumentError, fn -> Store.put(store, {:tree, 1}) end
    assert Store.tags(store) == {:ok, []}
    Store.gc(store)
    assert {:ok, %{packs: 0}} = Store.gc(store)
  end

  test "equal packages in other store paths share their chunks", %{tmp_dir: folder} do
    store = open(folder)

    package = fn hash ->
      tree = Path.join(folder, hash)
      File.mkdir_p!(tree)
      :rand.seed(:exsss, 1)
      words = for _ <- 1..3000, do: [:rand.bytes(20), "/nix/store/", hash, "-name\n"]
      File.write!(Path.join(tree, "file"), words)
      tree
    end

    [one, other] = for letter <- ["a", "b"], do: package.(String.duplicate(letter, 32))
    first = Store.put!(store, {:tree, one}, references: true, name: "one")
    second = Store.put!(store, {:tree, other}, references: true, name: "other")
    assert first.new_chunks == first.chunk_count and first.chunk_count > 10
    assert {second.new_chunks, second.chunk_count} == {0, first.chunk_count}
    assert {:ok, %{objects: 2}} = Store.gc(store)
    assert Store.read!(store, "other") == nar(other)
    assert Store.read!(store, "one", path: "file") == File.read!(Path.join(one, "file"))
  end

  test "Erlang has the same", %{tmp_dir: folder} do
    {:ok, store} = :chunker_store.open(Path.join(folder, "store"), %{durability: :relaxed})
    tree = tree(folder)
    nar = nar(tree)
    pieces = fn -> {nar, fn -> :done end} end
    {:ok, %{id: id, kind: :nar}} = :chunker_store.put(store, {:nar, pieces}, name: "a", references: true)
    {:ok, %{id: ^id}} = :chunker_store.put(store, {:tree, String.to_charlist(tree)}, %{references: true})
    {:ok, hash} = :chunker_nar.hash(nar)
    assert {:ok, %{kind: :nar, nar_hash: ^hash}} = :chunker_store.manifest(store, id)
    {:ok, %{kind: :tar}} = :chunker_store.put(store, {:tar, "x"}, name: "tar")
    git = File.read!(Path.join(tree, "bin/git"))
    assert :chunker_store.read(store, "a", path: ~c"bin/git") == {:ok, git}
    {:ok, iterator} = :chunker_store.stream(store, "a", path: "bin/git")
    assert :chunker_store.next(iterator) == {:ok, [git]}
    {:ok, [_ | entries]} = :chunker_nar.list(nar)
    assert :chunker_store.ls(store, "a", "", recursive: true) == {:ok, entries}
    assert {:ok, [_, _, _]} = :chunker_store.ls(store, "a")
    assert {:ok, [_, _, _]} = :chunker_store.ls(store, "a", ~c"bin")
    assert :chunker_store.restore(store, "a", {:tree, Path.join(folder, "to")}) == :ok
    assert nar(Path.join(folder, "to")) == nar

    assert {:error, {:not_found, %{name: "none"}}} = :chunker_store.read(store, "a", path: "none")
    assert {:error, {:invalid_nar, _}} = :chunker_store.put(store, {:nar, "x"})
    assert_raise ArgumentError, fn -> :chunker_store.put(store, "x", references: true) end
    assert_raise ArgumentError, fn -> :chunker_store.restore(store, "a", {:folder, "x"}) end
  end
end
