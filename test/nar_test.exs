Code.require_file("support/file_stream.exs", __DIR__)
Code.require_file("support/attempts.exs", __DIR__)

defmodule Chunker.NarTest do
  use ExUnit.Case, async: true

  alias Chunker.{Attempts, Error, FileStream, Nar}
  alias Chunker.Nar.Entry

  doctest Chunker.Nar

  @moduletag :tmp_dir

  defp nix(program, arguments) do
    {output, 0} = System.cmd(program, arguments)
    output
  end

  defp nix_dump(path), do: nix("nix-store", ["--dump", path])

  defp nix_hash(path),
    do: "sha256:" <> String.trim_trailing(nix("nix-hash", ~w(--type sha256 --base32) ++ [path]))

  defp assert_listed_as_nix_lists(listing, tree, folder) do
    case nix_ls(tree, folder) do
      {:ok, expected} ->
        assert listing == expected

      # Nix versions newer than 2.8 sort names differently and do not list names that are not text. For these
      # versions the odd name is replaced by a name of the same length.
      {:error, message} ->
        assert message =~ "invalid UTF-8"
        {odd, text} = {<<"not text ", 255>>, "not text ~"}
        listed = Path.join(folder, "listed")
        {"", 0} = System.cmd("cp", ["-a", tree, listed])
        File.rename!(listed <> "/" <> odd, listed <> "/" <> text)
        {:ok, expected} = nix_ls(listed, folder)
        assert [_, _] = String.split(listing, odd)
        assert listing |> String.replace(odd, text) |> sorted_json(folder) == sorted_json(expected, folder)
    end
  end

  # Returns the JSON in the same form as Nix writes it.
  defp sorted_json(text, folder) do
    path = Path.join(folder, "listing.json")
    File.write!(path, text)
    expression = "builtins.fromJSON (builtins.readFile #{inspect(path)})"
    nix("nix-instantiate", ["--eval", "--strict", "--json", "-E", expression])
  end

  defp nix_ls(tree, folder) do
    nar = Path.join(folder, "listed.nar")
    File.write!(nar, nix_dump(tree))
    command = ~s(nix --extra-experimental-features nix-command nar ls --json -R "$1" / 2> "$2")
    errors = nar <> ".errors"

    case System.cmd("sh", ["-c", command, "sh", nar, errors]) do
      {listing, 0} -> {:ok, listing}
      {_, 1} -> {:error, File.read!(errors)}
    end
  end

  # Unusual nodes that are allowed.
  defp tree(folder) do
    tree = Path.join(folder, "tree")
    File.mkdir_p!(Path.join(tree, "folder/empty"))

    names = [
      <<"not text ", 255>>,
      "blank and\nnewline",
      "twin",
      "TWIN",
      String.duplicate("x", 255),
      "日本",
      "a\"\\"
    ]

    for name <- names, do: File.write!(tree <> "/" <> name, name)
    File.write!(Path.join(tree, "folder/empty file"), "")
    File.write!(Path.join(tree, "executable"), :rand.bytes(100_001))
    File.chmod!(Path.join(tree, "executable"), 0o755)
    File.write!(Path.join(tree, "large"), :rand.bytes(3_000_000))
    File.ln_s!("no/where", Path.join(tree, "dangling"))
    tree
  end

  # Every form of a source.
  defp sources(nar, folder) do
    path = Path.join(folder, "nar")
    File.write!(path, nar)

    %{
      file: {:file, path},
      link: {:file, Path.join([folder, ".", "nar"])},
      binary: nar,
      iodata: [[binary_part(nar, 0, 100)] | binary_part(nar, 100, byte_size(nar) - 100)],
      stream: FileStream.stream!(path, 1000),
      large_pieces: Stream.map([nar], & &1),
      iodata_pieces: Stream.map([nar], &[[], [&1]])
    }
  end

  defp same(sources, call) do
    results = Enum.map(sources, fn {name, source} -> {name, call.(source)} end)
    {_, first} = hd(results)
    for {name, result} <- results, do: assert({name, result == first} == {name, true})
    first
  end

  defp fifo(folder) do
    path = Path.join(folder, "fifo#{System.unique_integer([:positive])}")
    {_, 0} = System.cmd("mkfifo", [path])
    path
  end

  defp eventually(condition, patience \\ 5_000) do
    cond do
      condition.() -> true
      patience <= 0 -> false
      true -> Process.sleep(10) && eventually(condition, patience - 10)
    end
  end

  # Returns whether there are partially restored or written files.
  defp leftovers(folder), do: Enum.filter(File.ls!(folder), &String.starts_with?(&1, ".chunker-"))

  @tag :nix
  test "a tree is dumped to the same NAR as by Nix", %{tmp_dir: folder} do
    tree = tree(folder)
    expected = nix_dump(tree)
    assert tree |> Nar.stream() |> Enum.join() == expected
    assert Enum.all?(Nar.stream(tree), &(byte_size(&1) in 1..262_144))
    into = Path.join(folder, "dumped")
    assert Nar.dump(tree, {:file, into}) == {:ok, nix_hash(tree)}
    assert File.read!(into) == expected
    assert Nar.dump!(String.to_charlist(tree), {:file, into}) == nix_hash(tree)
    assert Nar.nar?(expected)
    assert Nar.nar?(binary_part(expected, 0, 56))
    refute Nar.nar?(binary_part(expected, 0, 55))
    refute Nar.nar?(<<0>> <> expected)
    assert_raise FunctionClauseError, fn -> Nar.nar?([expected]) end
  end

  @tag :nix
  test "each kind of source gives the same result", %{tmp_dir: folder} do
    tree = tree(folder)
    nar = nix_dump(tree)
    sources = sources(nar, folder)

    assert same(sources, &Nar.hash/1) == {:ok, nix_hash(tree)}

    {:ok, listing} = same(sources, &Nar.listing/1)
    assert_listed_as_nix_lists(listing, tree, folder)

    {:ok, entries} = same(sources, &Nar.list/1)

    assert [%Entry{path: "", type: :directory, size: nil, offset: nil, executable: false, target: nil} | _] =
             entries

    assert length(entries) == 14
    by_path = Map.new(entries, &{&1.path, &1})
    assert map_size(by_path) == 14
    assert by_path["dangling"] == %Entry{path: "dangling", type: :symlink, target: "no/where"}
    assert by_path["folder/empty"] == %Entry{path: "folder/empty", type: :directory}
    assert %Entry{type: :regular, size: 100_001, executable: true} = by_path["executable"]
    assert by_path[<<"not text ", 255>>].size == 10

    for %Entry{type: :regular} = entry <- entries do
      content = File.read!(tree <> "/" <> entry.path)
      assert {entry.path, entry.size} == {entry.path, byte_size(content)}
      assert binary_part(nar, entry.offset, entry.size) == content
      assert same(sources, &Nar.read_file(&1, entry.path)) == {:ok, content}
      assert same(sources, &Nar.read_file(&1, "/" <> entry.path)) == {:ok, content}
    end

    for {path, kind} <- [
          {"folder", :eisdir},
          {"dangling", :eloop},
          {"missing", :enoent},
          {"large/x", :enoent}
        ] do
      assert {:error, %Error{reason: :io_error, details: details}} = same(sources, &Nar.read_file(&1, path))
      assert details == %{kind: kind, path: path}
    end

    assert Nar.list!(nar) == entries
    assert Nar.read_file!(nar, "twin") == "twin"
    assert_raise Error, fn -> Nar.read_file!(nar, "missing") end
  end

  @tag :nix
  test "each kind of source is restored to the same tree as by Nix", %{tmp_dir: folder} do
    tree = tree(folder)
    nar = nix_dump(tree)

    for {name, source} <- sources(nar, folder) do
      dest = Path.join(folder, "restored #{name}")
      assert Nar.restore(source, dest) == :ok
      assert nix_dump(dest) == nar
      assert {:error, %Error{reason: :io_error, details: details}} = Nar.restore(source, dest)
      assert details == %{kind: :eexist, path: dest}
      assert_raise Error, fn -> Nar.restore!(source, dest) end
      dest = Path.join(folder, "missing/dest")
      assert {:error, %Error{details: %{kind: :enoent, path: ^dest}}} = Nar.restore(source, dest)
    end

    assert leftovers(folder) == []
  end

  @tag :nix
  test "a root may be a file or a link", %{tmp_dir: folder} do
    file = Path.join(folder, "file")
    link = Path.join(folder, "link")
    File.write!(file, "content")
    File.ln_s!("file", link)

    for {path, type} <- [{file, :regular}, {link, :symlink}] do
      nar = nix_dump(path)
      assert path |> Nar.stream() |> Enum.join() == nar
      assert {:ok, [%Entry{path: "", type: ^type}]} = Nar.list(nar)
      assert Nar.restore(nar, path <> " restored") == :ok
      assert nix_dump(path <> " restored") == nar
    end

    assert Nar.read_file(nix_dump(file), "") == {:ok, "content"}
    assert {:error, %Error{details: %{kind: :eloop, path: ""}}} = Nar.read_file(nix_dump(link), "")
    assert File.read_link(link <> " restored") == {:ok, "file"}
  end

  test "a NAR written into its own tree contains the tree as it was before", %{tmp_dir: folder} do
    tree = Path.join(folder, "own")
    File.mkdir_p!(Path.join(tree, "deep/down"))
    File.write!(Path.join(tree, "file"), :rand.bytes(1_000_000))

    for into <- ["nar", "deep/down/nar"], _ <- 1..2 do
      {:ok, hash} = tree |> Nar.stream() |> Nar.hash()
      into = Path.join(tree, into)
      assert Nar.dump(tree, {:file, into}) == {:ok, hash}
      assert Nar.hash({:file, into}) == {:ok, hash}
      refute tree |> Nar.stream() |> Nar.list!() |> Enum.any?(&(&1.path =~ ".chunker-"))
    end
  end

  test "a node that a NAR cannot contain is rejected", %{tmp_dir: folder} do
    path = fifo(folder)
    into = Path.join([folder, "..", "into"])
    refused = %{kind: :enotsup, path: path}

    for path <- [folder, path] do
      assert {:error, %Error{reason: :io_error, details: ^refused}} = Nar.dump(path, {:file, into})
      error = assert_raise Error, fn -> path |> Nar.stream() |> Stream.run() end
      assert error.details == refused
    end

    refute File.exists?(into)
  end

  @tag :nix
  test "a FIFO is read without holding a scheduler", %{tmp_dir: folder} do
    nar = folder |> tree() |> nix_dump()
    File.write!(Path.join(folder, "nar"), nar)
    expected = Nar.list!(nar)
    # More FIFOs than schedulers of any kind.
    count = :erlang.system_info(:dirty_io_schedulers) + :erlang.system_info(:dirty_cpu_schedulers) + 3
    fifos = for _ <- 1..count, do: fifo(folder)
    tasks = for fifo <- fifos, do: Task.async(fn -> Nar.list({:file, fifo}) end)
    restored = Path.join(folder, "restored")
    slow = fifo(folder)
    restoring = Task.async(fn -> Nar.restore({:file, slow}, restored) end)
    Process.sleep(100)
    assert Nar.hash({:file, Path.join(folder, "nar")}) == Nar.hash(nar)

    for fifo <- [slow | fifos] do
      {_, 0} = System.cmd("sh", ["-c", ~s(cat "$0/nar" > "$1"), folder, fifo])
    end

    for task <- tasks, do: assert(Task.await(task) == {:ok, expected})
    assert Task.await(restoring) == :ok
    assert nix_dump(restored) == nar
  end

  test "an enumerable is read only as far as needed" do
    start = <<13::little-64, "nix-archive-1", 0::24>>

    string = fn text ->
      <<byte_size(text)::little-64, text::binary, 0::size(rem(8 - rem(byte_size(text), 8), 8) * 8)>>
    end

    strings = fn texts -> Enum.map_join(texts, string) end

    entry = fn name, content ->
      strings.(["entry", "(", "name", name, "node", "(", "type", "regular", "contents", content, ")", ")"])
    end

    head = start <> strings.(["(", "type", "directory"]) <> entry.("a", "wanted")

    pieces =
      Stream.concat(
        [head, entry.("b", :binary.copy("x", 100_000))],
        Stream.repeatedly(fn -> raise "too far" end)
      )

    assert Nar.read_file(pieces, "a") == {:ok, "wanted"}
    assert Nar.read_file(pieces, "/a") == {:ok, "wanted"}
    assert_raise RuntimeError, "too far", fn -> Nar.list(pieces) end

    for wrong <- [Stream.map([:atom], & &1), Stream.map([1], & &1)] do
      assert_raise ArgumentError, ~r/expected iodata/, fn -> Nar.list(wrong) end
    end

    assert_raise ArgumentError, ~r/expected iodata/, fn -> Nar.list([:atom]) end
    assert_raise Protocol.UndefinedError, fn -> Nar.list(:atom) end
    assert_raise FunctionClauseError, fn -> apply(Nar, :dump, ["path", "into"]) end
  end

  # Half of a NAR, then blocks forever.
  defp stuck(nar) do
    half = binary_part(nar, 0, div(byte_size(nar), 2))
    Stream.concat([half], Stream.repeatedly(fn -> Process.sleep(:infinity) end))
  end

  # An archive of this many entries takes a thousandth of its list, once it is compressed.
  defp wide_nar(entries) do
    string = fn text ->
      [<<byte_size(text)::little-64>>, text, :binary.copy(<<0>>, rem(8 - rem(byte_size(text), 8), 8))]
    end

    strings = fn texts -> Enum.map(texts, string) end

    names = for i <- 1..(entries - 1), do: i |> Integer.to_string() |> String.pad_leading(8, "0")

    IO.iodata_to_binary([
      strings.(["nix-archive-1", "(", "type", "directory"]),
      for(
        name <- names,
        do: strings.(["entry", "(", "name", name, "node", "(", "type", "symlink", "target", "x", ")", ")"])
      ),
      string.(")")
    ])
  end

  test "the entries of a hostile NAR are limited" do
    nar = wide_nar(2000)
    assert byte_size(Chunker.compress!(nar)) < 30_000
    {:ok, json} = Nar.listing(nar)
    assert length(Nar.list!(nar, max_entries: 2000, max_memory: :infinity)) == 2000
    assert Nar.listing(nar, max_entries: 2000, max_memory: byte_size(json)) == {:ok, json}
    size = 256 + 1999 * (256 + 8 + 1)
    assert length(Nar.list!(nar, max_memory: size, max_entries: :infinity)) == 2000
    pieces = for <<piece::binary-size(7) <- nar>>, do: piece
    chunked = [nar: true, entries: true]

    for {limit, option} <- [
          {1999, :max_entries},
          {0, :max_entries},
          {size - 1, :max_memory},
          {0, :max_memory}
        ],
        call <- [
          &Nar.list(nar, &1),
          &Nar.list(Stream.map(pieces, fn piece -> piece end), &1),
          &Chunker.chunk_data(nar, &1 ++ chunked),
          &Nar.chunk(nar, &1 ++ [entries: true]),
          &with(
            {:error, {reason, details}} <- :chunker_nar.list(nar, &1),
            do: {:error, Error.new(reason, details)}
          )
        ] do
      assert {:error, %Error{reason: :limit_exceeded} = error} = call.([{option, limit}])
      assert error.details == %{option: option, limit: limit}
      assert error.message == "the result exceeds the limit of #{limit} that option #{inspect(option)} sets"
    end

    {:ok, ls} = Nar.listing(nar, format: :ls)
    assert Nar.listing(nar, format: :ls, max_memory: byte_size(ls)) == {:ok, ls}
    assert {:error, %{reason: :limit_exceeded}} = Nar.listing(nar, format: :ls, max_memory: byte_size(ls) - 1)

    for {limit, option} <- [{1999, :max_entries}, {byte_size(json) - 1, :max_memory}, {0, :max_memory}] do
      assert {:error, %Error{reason: :limit_exceeded, details: %{option: ^option, limit: ^limit}}} =
               Nar.listing(nar, [{option, limit}])
    end

    exact = [max_entries: 2000, max_memory: size]
    assert {:ok, [%{entries: entries} | _]} = Chunker.chunk_data(nar, exact ++ chunked)
    assert length(entries) > 0

    assert_raise Error, fn ->
      nar |> List.wrap() |> Chunker.stream([max_entries: 9] ++ chunked) |> Stream.run()
    end

    # Without entries there is nothing to limit.
    assert {:ok, _} = Chunker.chunk_data(nar, nar: true, max_entries: 1)

    for wrong <- [-1, 18_446_744_073_709_551_616] do
      assert {:error, %Error{reason: :invalid_options, details: %{option: :max_entries, value: ^wrong}}} =
               Nar.list(nar, max_entries: wrong)
    end

    message = "option :max_memory must be an integer or :infinity, not nil"
    assert_raise ArgumentError, message, fn -> Nar.list(nar, max_memory: nil) end

    assert_raise ArgumentError, ~r/option :max_entries needs option :nar/, fn ->
      Chunker.chunk_data("", max_entries: 1)
    end
  end

  test "by default a million entries are listed, and not more" do
    nar = wide_nar(1_000_001)
    assert {:error, %Error{reason: :limit_exceeded, details: details}} = Nar.list(nar)
    assert details == %{option: :max_entries, limit: 1_000_000}
    assert {:error, %Error{reason: :limit_exceeded}} = Nar.listing(nar)
    assert {:error, %Error{reason: :limit_exceeded}} = Chunker.chunk_data(nar, nar: true, entries: true)
  end

  # As the versions of Nix write it.
  @listing %{
    nix_2_8:
      ~S({"type":"directory","entries":{"a\u0008\u000c\n":{"type":"regular","size":1,"narOffset":232},) <>
        ~S("d":{"type":"directory","entries":{}},"l":{"type":"symlink","target":"no\\\"where"},) <>
        ~S("x":{"type":"regular","size":0,"executable":true,"narOffset":824}}}),
    newest:
      ~S({"entries":{"a\b\f\n":{"narOffset":232,"size":1,"type":"regular"},) <>
        ~S("d":{"entries":{},"type":"directory"},"l":{"target":"no\\\"where","type":"symlink"},) <>
        ~S("x":{"executable":true,"narOffset":824,"size":0,"type":"regular"}},"type":"directory"})
  }

  defp small_tree(folder) do
    tree = Path.join(folder, "small")
    File.mkdir_p!(Path.join(tree, "d"))
    File.write!(Path.join(tree, "a\b\f\n"), "a")
    File.ln_s!("no\\\"where", Path.join(tree, "l"))
    File.write!(Path.join(tree, "x"), "")
    File.chmod!(Path.join(tree, "x"), 0o755)
    tree
  end

  test "a listing has the notation and the format that are asked for", %{tmp_dir: folder} do
    nar = folder |> small_tree() |> Nar.stream() |> Enum.join()
    expected = @listing

    for {notation, json} <- expected do
      assert Nar.listing(nar, notation: notation) == {:ok, json}
      assert Nar.listing!(nar, notation: notation, format: :json) == json
      assert :chunker_nar.listing(nar, %{notation: notation}) == {:ok, json}
    end

    assert Nar.listing(nar) == {:ok, expected.nix_2_8}
    assert Nar.listing!(nar, format: :ls) == ~s({"version":1,"root":#{expected.nix_2_8}})
    assert Nar.listing!(nar, format: :ls, notation: :newest) == ~s({"root":#{expected.newest},"version":1})

    for option <- [:format, :notation] do
      assert {:error, %Error{reason: :invalid_options, details: %{option: ^option, value: :other}}} =
               Nar.listing(nar, [{option, :other}])
    end
  end

  @tag :nix
  test "a listing is that of Nix in both formats", %{tmp_dir: folder} do
    tree = small_tree(folder)
    nar = nix_dump(tree)
    "nix (Nix) " <> version = nix("nix", ["--version"])
    notation = if version =~ ~r/^2\.[0-8](\.|$)/, do: :nix_2_8, else: :newest
    assert {:ok, json} = nix_ls(tree, folder)
    # The output of a newer version ends with a line break.
    assert Nar.listing(nar, notation: notation) == {:ok, String.trim_trailing(json, "\n")}

    # A store of its own, so that nothing is written to the machine's.
    cache = Path.join(folder, "cache")

    script = """
    export NIX_CONFIG="experimental-features = nix-command
    build-users-group =" NIX_STATE_DIR="$2/state"
    path=$(nix store add-path --store "$2/store" "$1" 2> "$2/errors") &&
      nix copy --offline --from "$2/store" --no-check-sigs --to "file://$3?write-nar-listing=true" "$path" 2>> "$2/errors"
    """

    {output, status} = System.cmd("sh", ["-c", script, "sh", tree, folder, cache])
    assert {output, status} == {"", 0}, File.read!(Path.join(folder, "errors"))
    assert [ls] = Path.wildcard(cache <> "/*.ls")
    assert Nar.listing(nar, format: :ls, notation: notation) == {:ok, File.read!(ls)}
  end

  test "a file that is replaced keeps its mode", %{tmp_dir: folder} do
    [source, into] = for name <- ["source", "into"], do: Path.join(folder, name)
    File.write!(source, "content")

    for dump <- [&Nar.dump/2, &:chunker_nar.dump/2], mode <- [0o600, 0o644, 0o440] do
      File.write!(into, "old")
      File.chmod!(into, mode)
      assert {:ok, _} = dump.(source, {:file, into})
      assert Bitwise.band(File.stat!(into).mode, 0o7777) == mode
      File.rm!(into)
    end
  end

  test "the next restore removes what a killed VM has left", %{tmp_dir: folder} do
    nar = IO.iodata_to_binary(Enum.to_list(Nar.stream(small_tree(folder))))
    [half, dest] = for name <- ["half", "dest"], do: Path.join(folder, name)
    File.write!(half, binary_part(nar, 0, 700))
    ebin = Path.join(Mix.Project.app_path(), "ebin")

    # Pieces are gathered up to 64 KiB, so this one is pushed by hand.
    code = """
    {:ok, reader} = :chunker_nif.nar_open({:restore, #{inspect(dest)}})
    {:ok, :more} = :chunker_nif.nar_push_io(reader, File.read!(#{inspect(half)}))
    System.cmd("kill", ["-9", System.pid()])
    Process.sleep(:infinity)
    """

    System.cmd("elixir", ["-pa", ebin, "-e", code], stderr_to_stdout: true)
    assert [_] = leftovers(folder)
    assert Nar.restore(nar, dest) == :ok
    assert leftovers(folder) == []
    assert dest |> Nar.stream() |> Enum.join() == nar
  end

  @tag :nix
  test "killing the caller leaves no partially restored files", %{tmp_dir: folder} do
    nar = folder |> tree() |> nix_dump()
    dest = Path.join(folder, "dest")
    pid = spawn(fn -> Nar.restore(stuck(nar), dest) end)
    assert eventually(fn -> leftovers(folder) != [] end)
    Process.exit(pid, :kill)
    assert eventually(fn -> leftovers(folder) == [] end)
    refute File.exists?(dest)

    broken = Stream.concat([binary_part(nar, 0, 200_000)], Stream.map([1], fn _ -> raise "no more" end))
    assert_raise RuntimeError, fn -> Nar.restore(broken, dest) end
    assert leftovers(folder) == []
    assert {:error, %Error{details: %{why: :truncated}}} = Nar.restore(binary_part(nar, 0, 200_000), dest)
    assert leftovers(folder) == []
  end

  test "killing the caller stops its work", %{tmp_dir: folder} do
    # Large enough to take half a minute, without using disk space.
    large = Path.join(folder, "large")
    {_, 0} = System.cmd("truncate", ["-s", "60G", large])
    into = Path.join([folder, "into"])

    assert Attempts.once?(fn ->
             pid = spawn(fn -> Nar.dump(large, {:file, into}) end)
             assert eventually(fn -> leftovers(folder) != [] end)
             Process.exit(pid, :kill)
             started = System.monotonic_time(:millisecond)
             assert eventually(fn -> leftovers(folder) == [] end)
             # 100 ms, and as much again for a busy machine.
             System.monotonic_time(:millisecond) - started < 200
           end)

    refute File.exists?(into)
  end

  test "a stream of a tree stops with its consumer", %{tmp_dir: folder} do
    large = Path.join(folder, "large")
    {_, 0} = System.cmd("truncate", ["-s", "3G", large])
    [first, _] = large |> Nar.stream() |> Enum.take(2)
    assert Nar.nar?(first)

    open = fn ->
      Enum.any?(File.ls!("/proc/self/fd"), &(File.read_link("/proc/self/fd/#{&1}") == {:ok, large}))
    end

    refute open.()
    # A stream does nothing before it is enumerated.
    assert Nar.stream("/no/such/file")
    error = assert_raise Error, fn -> "/no/such/file" |> Nar.stream() |> Stream.run() end
    assert error.details == %{kind: :enoent, path: "/no/such/file"}
  end
end
