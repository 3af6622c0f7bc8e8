defmodule Chunker.StoreGuideTest do
  # The backup of docs/store.md, executed as a user would run it.
  use ExUnit.Case, async: true

  @moduletag :tmp_dir

  @guide File.read!(Path.expand("../docs/store.md", __DIR__))
  @ebin Path.join(Mix.Project.app_path(), "ebin")

  test "backs up, restores and removes", %{tmp_dir: folder} do
    blocks = Regex.scan(~r/^```elixir\n(.*?)^```$/ms, @guide, capture: :all_but_first)
    assert [[backup], [use] | _] = blocks
    assert backup |> String.split("\n", trim: true) |> Enum.reject(&(&1 =~ ~r/^\s*(#|$)/)) |> length() <= 30

    documents = Path.join(folder, "documents")
    contents = for n <- 1..3, into: %{}, do: {"a/b#{n}/.file #{n}", :crypto.strong_rand_bytes(100_000)}

    for {name, content} <- contents do
      File.mkdir_p!(Path.dirname(Path.join(documents, name)))
      File.write!(Path.join(documents, name), content)
    end

    code = backup <> use <> ~s|\nIO.inspect(Chunker.Store.tags(store), label: "tags")|
    {printed, status} = System.cmd("elixir", ["-pa", @ebin, "-e", code], cd: folder, stderr_to_stdout: true)
    assert {status, printed} == {0, printed}, printed
    assert [_, monday] = Regex.run(~r/^(\d+) bytes for monday$/m, printed)
    assert String.to_integer(monday) > 300_000
    assert printed =~ ~r/^0 bytes for tuesday$/m
    assert printed =~ "tags: {:ok,"
    refute printed =~ "monday/a"
    for n <- 1..3, do: assert(printed =~ "tuesday/a/b#{n}/.file #{n}")

    for {name, content} <- contents,
        do: assert(File.read!(Path.join([folder, "restored", name])) == content)

    # What tuesday needs is still there.
    store = Chunker.Store.open!(Path.join(folder, "store"))

    for {name, content} <- contents,
        do: assert(Chunker.Store.read(store, "tuesday/" <> name) == {:ok, content})
  end

  test "keeps builds as deltas", %{tmp_dir: folder} do
    assert [_, _, [versions], [other]] =
             Regex.scan(~r/^```elixir\n(.*?)^```$/ms, @guide, capture: :all_but_first)

    content = :crypto.strong_rand_bytes(3_000_000)

    for n <- 1..3 do
      File.mkdir_p!(Path.join(folder, "build-#{n}"))
      <<start::binary-size(1_000_000 + n), _, rest::binary>> = content
      File.write!(Path.join(folder, "build-#{n}/program"), [start, n, rest])
    end

    code = versions <> other <> ~s|\nIO.inspect(Chunker.Store.stats(store), label: "stats")|
    {printed, status} = System.cmd("elixir", ["-pa", @ebin, "-e", code], cd: folder, stderr_to_stdout: true)
    assert {status, printed} == {0, printed}, printed
    assert [_, bytes] = Regex.run(~r/object_bytes: (\d+)/, printed)
    assert String.to_integer(bytes) > 6_000_000
    assert [_, deltas] = Regex.run(~r/\bdeltas: (\d+)/, printed)
    assert String.to_integer(deltas) == 2
  end
end
