defmodule Chunker.StoreDeltaTest do
  # Deltas, as Elixir, Erlang and the shell have them. How they are kept is tested in Rust.
  use ExUnit.Case, async: true

  alias Chunker.{Error, Store}

  @moduletag :tmp_dir

  setup %{tmp_dir: folder} do
    options = [avg_size: 16_384, durability: :relaxed]

    %{
      with: Store.open!(Path.join(folder, "with"), [delta: true] ++ options),
      without: Store.open!(Path.join(folder, "without"), options)
    }
  end

  # Versions that differ from the first one in a byte of nearly every chunk.
  defp versions(count) do
    first = :rand.bytes(400_000)

    others =
      for version <- 1..(count - 1),
          do: for(<<block::binary-size(8000) <- first>>, into: "", do: change(block, version))

    [first | others]
  end

  defp change(<<start::binary-size(4000), _, rest::binary>>, version),
    do: <<start::binary, version, rest::binary>>

  # Each source of the bytes that a put takes.
  defp sources(content, folder) do
    path = Path.join(folder, "source")
    File.write!(path, content)

    [content, [binary_part(content, 0, 7), binary_part(content, 7, byte_size(content) - 7)], {:file, path}] ++
      [Stream.map([content], & &1), {:tar, content}, {:tar, {:file, path}}]
  end

  test "a version of a name takes what differs", %{with: store, without: whole, tmp_dir: folder} do
    [first, second] = versions(2)

    for {_, n} <- Enum.with_index(sources(second, folder)) do
      for store <- [store, whole], do: Store.put!(store, first, name: "#{n}")
    end

    for {source, n} <- Enum.with_index(sources(second, folder)) do
      {:ok, put} = Store.put(store, source, name: "#{n}")
      if n == 0, do: assert(put.stored_bytes in 1..40_000)
      assert Store.read(store, "#{n}") == {:ok, second}
      assert Store.put!(whole, source, name: "#{n}").id == put.id
    end

    assert {:ok, %{deltas: deltas, delta_packs: packs, chunks: chunks} = stats} = Store.stats(store)
    assert packs > 0 and deltas in div(chunks, 3)..chunks
    assert stats.delta_bytes < div(stats.delta_chunk_bytes, 5)
    assert stats.delta_chunk_bytes < stats.chunk_bytes and stats.chunk_bytes <= stats.object_bytes
    assert {:ok, %{deltas: 0, delta_packs: 0, delta_bytes: 0}} = Store.stats(whole)
    assert {:ok, %{damage: [], incomplete: []}} = Store.check(store)
    assert :ok = Store.restore(store, "0", {:file, Path.join(folder, "restored")})
    assert File.read!(Path.join(folder, "restored")) == second

    assert Store.read(store, "0", offset: 123_456, length: 78_901) ==
             {:ok, binary_part(second, 123_456, 78_901)}
  end

  test "a base is a tag or an id, also in a session", %{with: store, tmp_dir: folder} do
    [first | others] = versions(7)
    %{id: id} = Store.put!(store, first, name: "base")
    bases = [id, "base", Base.encode16(id), ~c"base", id, "base"]

    for {{content, base}, n} <- Enum.with_index(Enum.zip(others, bases)) do
      source = content |> sources(folder) |> Enum.at(n)

      put =
        if rem(n, 2) == 0,
          do: Store.put!(store, source, base: base),
          else: Store.session(store, &Store.put!(&1, source, base: base)) |> elem(1)

      assert put.stored_bytes in 1..40_000, inspect({n, put})
      assert Store.read(store, put.id) == {:ok, content}
    end

    File.mkdir_p!(Path.join(folder, "tree"))
    File.write!(Path.join(folder, "tree/file"), first)
    tree = Store.put!(store, {:tree, Path.join(folder, "tree")}, name: "tree")
    File.write!(Path.join(folder, "tree/file"), hd(others))
    File.write!(Path.join(folder, "tree/another"), :rand.bytes(100))
    assert Store.put!(store, {:tree, Path.join(folder, "tree")}, base: tree.id).stored_bytes < 40_000

    assert Store.put!(store, {:tree, Path.join(folder, "tree")}, base: "tree", references: true).stored_bytes <
             40_000
  end

  test "a base that is not there, or that a store has no use for, is an error", %{
    with: store,
    without: whole,
    tmp_dir: folder
  } do
    for base <- ["unknown", <<7::256>>], source <- sources("content", folder) do
      assert {:error, %Error{reason: :not_found, details: %{name: name}}} =
               Store.put(store, source, base: base)

      assert name in ["unknown", Base.encode16(<<7::256>>, case: :lower)]

      in_session = &Store.put(&1, source, base: base)
      assert {:error, %Error{reason: :not_found}} = Store.session(store, in_session)
    end

    %{id: id} = Store.put!(whole, "content", name: "a")

    for source <- sources("content", folder) do
      assert {:error,
              %Error{
                reason: :invalid_options,
                details: %{option: :base, allowed: "absent, since the store has no deltas"}
              }} = Store.put(whole, source, base: "a")
    end

    assert_raise ArgumentError, fn -> Store.put(store, "content", base: 7) end

    assert {:error, {:not_found, %{name: "unknown"}}} =
             :chunker_store.put(store.store, "content", base: "unknown")

    assert {:ok, %{id: ^id}} = :chunker_store.put(store.store, "content", name: "a", base: nil)
  end

  test "whether there are deltas is kept", %{tmp_dir: folder} do
    for {name, deltas} <- [{"with", true}, {"without", false}] do
      path = Path.join(folder, name)
      assert {:ok, _} = Store.open(path)
      assert {:ok, _} = Store.open(path, delta: deltas)
      other = not deltas
      allowed = "#{deltas}, which the store has"

      assert {:error, %Error{reason: :invalid_options, details: %{option: :delta, allowed: ^allowed}}} =
               Store.open(path, delta: other)
    end

    assert_raise ArgumentError, fn -> Store.open(folder, delta: :yes) end
  end

  test "a copy sends deltas to a store that has the bases", %{with: store, without: whole, tmp_dir: folder} do
    [first, second] = versions(2)
    [a, b] = for content <- [first, second], do: Store.put!(store, content, name: "v").id
    Store.tag(store, "first", a)
    other = Store.open!(Path.join(folder, "other"), avg_size: 16_384, durability: :relaxed, delta: true)
    assert {:ok, %{ids: [^a]}} = Store.copy(store, other, ["first"])
    assert {:ok, %{ids: [^b], stored_bytes: bytes, new_bytes: new}} = Store.copy(store, other, ["v"])
    assert bytes < 40_000 and new > 300_000
    assert {:ok, %{stored_bytes: bytes}} = Store.copy(store, whole, ["first", "v"])
    assert bytes > 700_000
    for store <- [other, whole], do: assert(Store.read(store, "v") == {:ok, second})
  end

  test "the shell has them", %{tmp_dir: folder} do
    run = fn arguments ->
      {:ok, output} = StringIO.open("")
      leader = Process.group_leader()
      Process.group_leader(self(), output)

      try do
        Mix.Tasks.Chunker.Store.run(arguments)
      after
        Process.group_leader(self(), leader)
      end

      output |> StringIO.close() |> elem(1) |> elem(1)
    end

    store = Path.join(folder, "shell")
    [first, second] = versions(2)

    paths =
      for {content, n} <- Enum.with_index([first, second]),
          do: tap(Path.join(folder, "#{n}"), &File.write!(&1, content))

    run.(["init", "--delta", "--avg-size", "16K", store])
    [one, two] = paths
    run.(["put", "--name", "one", store, one])
    assert run.(["put", "--json", "--base", "one", store, two]) =~ ~r/"stored_bytes":\d{1,5}\D/
    assert run.(["stats", store]) =~ ~r/^ +[1-9]\d*  deltas$/m
  end
end
