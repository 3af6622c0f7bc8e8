Code.require_file("support/task_run.exs", __DIR__)

defmodule Mix.Tasks.Chunker.StoreTest do
  # Not async: the task prints to this VM's standard output and error.
  use ExUnit.Case, async: false

  import Chunker.TaskRun, only: [file: 3]

  alias Chunker.{Store, TaskRun}
  alias Mix.Chunker.ProgressLine
  alias Mix.Tasks.Chunker.Store, as: Task

  @moduletag :tmp_dir

  # Returns what the task prints, with its exit status.
  defp run(arguments), do: TaskRun.run(Task, arguments)

  # Returns one line of JSON, as a map. OTP 25 has no reader, so Nix or Python is one.
  defp json(text) do
    assert [line] = String.split(text, "\n", trim: true)
    decode(line)
  end

  defp lines(text), do: text |> String.split("\n", trim: true) |> Enum.map(&decode/1)

  # Python is the independent reader: it prints an Elixir term.
  defp decode(line) do
    program = """
    import json, sys
    def term(value):
        if isinstance(value, dict):
            return "%{" + ", ".join(text(key) + " => " + term(inner) for key, inner in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(map(term, value)) + "]"
        if isinstance(value, str):
            return text(value)
        return {None: "nil", True: "true", False: "false"}.get(value, repr(value)) if isinstance(value, bool) or value is None else repr(value)
    def text(value):
        return "<<" + ", ".join(map(str, value.encode())) + ">>"
    print(term(json.loads(sys.argv[1])))
    """

    {printed, 0} = System.cmd("python3", ["-c", program, line])
    {term, _} = Code.eval_string(printed)
    term
  end

  # A store with small chunks.
  defp store(folder, name \\ "store") do
    path = Path.join(folder, name)
    assert {"", "", 0} = run(["init", "--avg-size", "4K", path])
    path
  end

  defp real_task(script) do
    environment = [{"MIX_ENV", "test"}, {"LC_ALL", "C.UTF-8"}]
    System.cmd("sh", ["-c", script], env: environment, stderr_to_stdout: true)
  end

  defp hex(id), do: Base.encode16(id, case: :lower)

  # Changes a byte in the largest pack.
  defp damage(path) do
    pack = Path.join(path, "packs/*/*") |> Path.wildcard() |> Enum.max_by(&File.stat!(&1).size)
    bytes = File.read!(pack)
    <<head::binary-size(40_000), byte, rest::binary>> = bytes
    File.write!(pack, [head, Bitwise.bxor(byte, 1), rest])
    {pack, bytes}
  end

  test "a full round trip", %{tmp_dir: folder} do
    store = store(folder)
    data = :rand.bytes(300_000)
    one = file(folder, "one", data)
    two = file(folder, "two", data <> "more")

    {printed, "", 0} = run(["put", "--name", "db/one", store, one])
    {:ok, %{id: id, chunk_count: chunks}} = store |> Store.open!() |> Store.manifest("db/one")
    assert [^one, named, counts, speed, "", ""] = String.split(printed, "\n")
    assert named == "#{hex(id)}  db/one"

    assert counts =~
             ~r/^300000 bytes in #{chunks} chunks; 300000 bytes in #{chunks} chunks are new \(100\.0%\), stored in 3\d{5}$/

    assert speed =~ ~r/^[\d.]+ MB\/s in [\d.]+ s$/

    object = json(elem(run(["put", "--json", store, two]), 0))
    assert %{"bytes" => 300_004, "name" => nil, "path" => ^two, "new_chunks" => 1} = object
    assert object["new_bytes"] < 17_000 and object["stored_bytes"] > object["new_bytes"]
    assert object["hash"] == hex(Chunker.hash(data <> "more", :blake3))

    assert Map.keys(object) ==
             ~w(bytes chunks hash id name new_bytes new_chunks path seconds stored_bytes)

    assert {"", "", 0} = run(["tag", store, "db/two", object["id"]])
    {printed, "", 0} = run(["ls", store, "db/"])
    assert printed == "        300000  #{hex(id)}  db/one\n        300004  #{object["id"]}  db/two\n"
    assert {"", "", 0} = run(["ls", store, "none"])

    for {name, content} <- [{"db/one", data}, {object["id"], data <> "more"}] do
      to = Path.join(folder, "to")
      {printed, "", 0} = run(["get", "--threads", "1", store, name, to])
      assert printed =~ ~r/^#{to}\n#{byte_size(content)} bytes of #{name}, [\d.]+ MB\/s/
      assert File.read!(to) == content
    end

    result = json(elem(run(["get", "--json", store, "db/one", one]), 0))
    assert %{"name" => "db/one", "path" => ^one, "bytes" => 300_000, "seconds" => _} = result
    assert result["id"] == hex(id)

    {printed, "", 0} = run(["gc", store])
    assert printed =~ ~r/^deleted \d+ packs? of \d+ bytes; #{packs(store)} packs with 2 objects stay\n$/
    assert {"", "", 0} = run(["untag", store, "db/two"])
    assert {"", "", 0} = run(["rm", store, "db/one", object["id"]])
    assert {"", "", 0} = run(["ls", store])
    collected = json(elem(run(["gc", "--json", store]), 0))
    assert %{"store" => ^store, "packs" => 0, "objects" => 0, "seconds" => _} = collected
    assert collected["deleted_packs"] > 0 and collected["deleted_bytes"] > 300_000
  end

  defp packs(store), do: Path.join(store, "{packs,meta}/*/*") |> Path.wildcard() |> length()

  test "init creates a store, and says what an existing one has", %{tmp_dir: folder} do
    path = Path.join(folder, "store")
    arguments = ~w(--hash sha256 --avg-size 8K --codec xz --level 1 --seed 5 --normalization 2)
    assert %{"store" => ^path, "created" => true} = json(elem(run(["init", "--json", path] ++ arguments), 0))
    format = File.read!(Path.join(path, "format"))

    for line <- ["hash sha256", "avg_size 8192", "codec xz", "level 1", "seed 5", "normalization 2"],
        do: assert(format =~ line <> "\n")

    assert {printed, "", 0} = run(["init", path])
    assert printed == "#{path} is a store already\n"
    assert %{"created" => false} = json(elem(run(["init", "--json", path]), 0))
    message = "option --hash is blake3, but must be sha256, which the store has"
    assert_raise Mix.Error, message, fn -> run(["init", "--hash", "blake3", path]) end
    preset = Path.join(folder, "preset")
    assert {"", "", 0} = run(["init", "--preset", "small_packages", preset])
    other = Path.join(folder, "other")
    File.mkdir!(other)
    file(other, "file", "")
    assert_raise Mix.Error, "#{other} is not empty, and is no store", fn -> run(["init", other]) end
    assert {"", errors, 1} = run(["init", Path.join(folder, "no/such")])
    assert errors == "chunker.store: #{folder}/no/such: no such file or directory\n"
  end

  test "untag --if removes only tags that name the object", %{tmp_dir: folder} do
    store = store(folder)
    [one, two] = for name <- ["one", "two"], do: file(folder, name, name)
    for {name, path} <- [a: one, b: two, c: one], do: run(["put", "--name", "#{name}", store, path])
    assert {printed, errors, 1} = run(["untag", "--json", "--if", "a", store, "a", "b", "c"])

    assert [%{"name" => "a"}, %{"name" => "b", "error" => "already_exists"}, %{"name" => "c"}] =
             lines(printed)

    assert errors == ""
    assert {_, "", 0} = run(["ls", store])
    assert {"", "chunker.store: a is not there\n", 1} = run(["untag", "--if", "a", store, "b"])
    assert {"", "", 0} = run(["untag", "--if", id(store, two), store, "b"])
    assert {"", "", 0} = run(["ls", store])
    assert {_, "", 0} = run(["gc", "--threads", "2", store])
  end

  test "what cannot be done spoils nothing else", %{tmp_dir: folder} do
    store = store(folder)
    [one, two] = for name <- ["one", "two"], do: file(folder, name, name)
    missing = Path.join(folder, "missing")
    {printed, errors, 1} = run(["put", store, one, missing, two])
    assert errors == "chunker.store: #{missing}: no such file or directory\n"
    assert printed =~ "#{one}\n" and printed =~ "#{two}\n"
    {printed, "", 1} = run(["put", "--json", store, missing, two])

    assert [
             %{"path" => ^missing, "error" => "io_error", "message" => message},
             %{"path" => ^two, "new_chunks" => 0}
           ] = lines(printed)

    assert message == "#{missing}: no such file or directory"

    for {arguments, text} <- [
          {["get", store, "a", one <> ".to"], "a is not there"},
          {["get", store, hex(<<7::256>>), one], "#{hex(<<7::256>>)} is not there"},
          {["cat", store, "a"], "a is not there"},
          {["tag", store, "b", "a"], "b: a is not there"},
          {["untag", store, "a"], "a is not there"},
          {["rm", store, "a"], "a is not there"},
          {["copy", store, store, "a"], "#{store}: a is not there"},
          {["stats", missing], "#{missing} has no store; init creates one"},
          {["put", missing, one], "#{missing} has no store; init creates one"}
        ] do
      assert run(arguments) == {"", "chunker.store: #{text}\n", 1}
    end

    refute File.exists?(missing)
    assert File.read!(one) == "one"
    {printed, "", 1} = run(["rm", "--json", store, "a", hex(Chunker.hash("x", :blake3))])

    assert [
             %{"name" => "a", "error" => "not_found", "message" => "a is not there"},
             %{"error" => "not_found"}
           ] = lines(printed)

    assert {"", errors, 1} = run(["get", store, id(store, one), Path.join(folder, "no/such")])
    assert errors =~ "no such file or directory"
  end

  defp id(store, path), do: elem(run(["put", "--json", store, path]), 0) |> json() |> Map.fetch!("id")

  test "tags are compared and set", %{tmp_dir: folder} do
    store = store(folder)
    [one, two] = for name <- ["one", "two"], do: id(store, file(folder, name, name))

    assert %{"name" => "t", "id" => ^one} =
             json(elem(run(["tag", "--json", "--if-absent", store, "t", one]), 0))

    taken = {"", "chunker.store: t: tag t exists, or names another object\n", 1}
    assert run(["tag", "--if-absent", store, "t", two]) == taken
    assert run(["tag", "--if", two, store, "t", two]) == taken
    assert run(["tag", "--if", "t", store, "t", two]) == {"", "", 0}
    assert {printed, "", 0} = run(["ls", "--json", store])
    assert %{"name" => "t", "id" => ^two, "bytes" => 3} = json(printed)

    assert_raise Mix.Error, "options --if and --if-absent exclude each other", fn ->
      run(["tag", "--if-absent", "--if", one, store, "t", one])
    end

    assert_raise Mix.Error, ~r/^option --name is a\/\/b, but must be components/, fn ->
      run(["tag", store, "a//b", one])
    end
  end

  test "cat writes bytes of any value, and parts of them", %{tmp_dir: folder} do
    store = store(folder)
    data = for(byte <- 0..255, into: "", do: <<byte>>) |> :binary.copy(1000)
    path = file(folder, "data", data)
    {_, "", 0} = run(["put", "--name", "a", store, path])
    to = Path.join(folder, "to")
    assert real_task("mix chunker.store cat #{store} a > #{to}") == {"", 0}
    assert File.read!(to) == data
    assert real_task("mix chunker.store cat --offset 1000 --length 255000 #{store} a > #{to}") == {"", 0}
    assert File.read!(to) == binary_part(data, 1000, 255_000)
    assert {"", errors, 1} = run(["cat", "--offset", "256001", store, "a"])
    assert errors =~ "chunker.store: a: cannot read"
    message = ~r/^option --offset is -1, but must be 0\.\./
    assert_raise Mix.Error, message, fn -> run(["cat", "--offset", "-1", store, "a"]) end
  end

  test "standard input is put as it is", %{tmp_dir: folder} do
    store = store(folder)
    data = for(byte <- 0..255, into: "", do: <<byte>>) |> :binary.copy(1000)
    path = file(folder, "data", data)
    assert {printed, 0} = real_task("cat #{path} | mix chunker.store put --json --name in #{store} -")
    assert %{"path" => "-", "bytes" => 256_000, "name" => "in"} = json(printed)

    assert {printed, 0} =
             real_task(
               "CHUNKER_STANDARD_INPUT=/dev/fd/3 mix chunker.store put --json #{store} - 3<#{path} </dev/null"
             )

    assert %{"path" => "-", "bytes" => 256_000, "new_chunks" => 0} = json(printed)
    assert {:ok, ^data} = store |> Store.open!() |> Store.read("in")
    script = "CHUNKER_STANDARD_INPUT=/dev/fd/9 mix chunker.store put #{store} - 9<&- </dev/null"
    assert {"chunker.store: -: " <> _, 1} = real_task(script)
  end

  describe "damage:" do
    setup %{tmp_dir: folder} do
      store = store(folder)
      path = file(folder, "file", :rand.bytes(100_000))
      {_, "", 0} = run(["put", "--name", "a", store, path])
      {_, "", 0} = run(["put", "--name", "b", store, file(folder, "other", "other")])
      %{store: store, path: path}
    end

    test "a good store is status 0", %{store: store} do
      {printed, "", 0} = run(["check", store])
      assert printed =~ ~r/^#{packs(store)} packs of \d+ bytes, with \d+ records of 2 objects: all is well\n$/
      report = json(elem(run(["check", "--json", "--threads", "1", store]), 0))
      assert Map.keys(report) == ~w(bytes damage incomplete kept objects packs records seconds store)
      assert {report["damage"], report["incomplete"], report["objects"]} == {[], [], 2}
      assert {_, "", 0} = run(["repair", store])
    end

    test "status 2 tells it from trouble", %{store: store, path: path} do
      {pack, _} = damage(store)
      name = Path.relative_to(pack, store)

      {printed, "", 2} = run(["check", store])
      assert [damaged, lacks, summary] = String.split(printed, "\n", trim: true)
      assert damaged =~ ~r/^#{name} is damaged at byte \d+: record (payload|digest|header)$/
      assert lacks =~ ~r/^object [0-9a-f]{64} \(a\) lacks [0-9a-f]{64}$/
      assert summary =~ ": 1 damaged place, 1 object that cannot be read as a whole"

      {printed, "", 2} = run(["check", "--json", store])

      assert %{"damage" => [%{"object" => ^name, "offset" => at, "why" => _}], "incomplete" => [lost]} =
               json(printed)

      assert is_integer(at)
      assert %{"tags" => ["a"], "missing" => [_], "id" => _} = lost

      to = path <> ".to"
      {"", errors, 2} = run(["get", store, "a", to])
      assert errors =~ "chunker.store: a: #{name} is damaged at byte"
      assert errors =~ "check the store, repair it"
      refute File.exists?(to)
      {_, errors, 2} = run(["cat", store, "a"])
      assert errors =~ "chunker.store: a: "
      {printed, "", 2} = run(["get", "--json", store, "a", to])
      assert %{"name" => "a", "error" => "store_corrupt", "message" => _} = json(printed)
      # The other object is not concerned.
      assert {_, "", 0} = run(["get", store, "b", to])

      assert {_, "", 2} = run(["repair", store])
      {"", errors, 2} = run(["get", store, "a", to])
      assert errors =~ "chunks are missing"
      {printed, "", 2} = run(["check", store])
      assert printed =~ "0 damaged places, 1 object that cannot"

      # Putting the file again heals.
      assert {_, "", 0} = run(["put", "--name", "a", store, path])
      assert {_, "", 0} = run(["check", store])
      assert {_, "", 0} = run(["get", store, "a", to])
      assert File.read!(to) == File.read!(path)
    end

    test "a repair that loses nothing is status 0", %{store: store, path: path} do
      {pack, bytes} = damage(store)
      # The same content in another pack.
      assert {_, "", 2} = run(["check", store])
      assert {_, "", 2} = run(["repair", store])
      assert {_, "", 0} = run(["put", store, path])
      File.mkdir_p!(Path.dirname(pack))
      File.write!(pack, binary_part(bytes, 0, byte_size(bytes) - 10))
      assert {printed, "", 2} = run(["check", store])
      assert printed =~ "pack footer"
      assert {_, "", 0} = run(["repair", store])
      assert {_, "", 0} = run(["check", store])
    end

    test "a damaged tag or format is status 2", %{store: store} do
      [tag] = Path.wildcard(Path.join(store, "refs/a="))
      File.write!(tag, "id 1\n")
      assert {_, errors, 2} = run(["ls", store])
      assert errors =~ "refs/a= is damaged"
      assert {printed, "", 2} = run(["check", store])
      assert printed =~ "refs/a= is damaged: tag\n"
      # A repair keeps what the tag may have named.
      assert {printed, "", 2} = run(["repair", store])
      assert printed =~ ~r/^object [0-9a-f]{64} may have lost its name, and is kept$/m
      assert {printed, "", 0} = run(["check", "--json", store])
      assert %{"damage" => [], "kept" => [], "objects" => 2} = json(printed)
      format = Path.join(store, "format")
      File.write!(format, "x" <> File.read!(format))
      assert {"", errors, 2} = run(["stats", store])
      assert errors =~ "chunker.store: #{store}: format is damaged: check mismatch; write this file anew"
    end

    test "a tag whose object is gone is status 2", %{store: store} do
      File.rm_rf!(Path.join(store, "meta"))
      assert {"", errors, 2} = run(["ls", store])
      assert errors =~ "chunker.store: a: chunks are missing"
      assert %{"unreadable_objects" => 2, "objects" => 2} = json(elem(run(["stats", "--json", store]), 0))
    end
  end

  test "copy sends what is missing", %{tmp_dir: folder} do
    [from, to] = for name <- ["from", "to"], do: store(folder, name)

    for name <- ["a", "b"],
        do: run(["put", "--name", "db/#{name}", from, file(folder, name, :rand.bytes(50_000))])

    copied = json(elem(run(["copy", "--json", from, to, "db/a"]), 0))
    assert Map.keys(copied) == ~w(ids new_bytes new_chunks other seconds store stored_bytes)
    assert %{"new_bytes" => 50_000, "store" => ^from, "other" => ^to, "ids" => [_]} = copied
    {printed, "", 0} = run(["copy", "--all", from, to])
    assert printed =~ ~r/^2 objects; 50000 bytes in \d+ chunks are new, stored in \d+\n$/
    assert run(["ls", from]) == run(["ls", to])
    third = store(folder, "third")
    assert {_, "", 0} = run(["copy", "--no-tags", "--prefix", "db/b", from, third])
    assert {"", "", 0} = run(["ls", third])
    assert %{"objects" => 1, "tags" => 0} = json(elem(run(["stats", "--json", third]), 0))

    assert_raise Mix.Error, ~r/^--all and --prefix copy tags/, fn ->
      run(["copy", "--all", from, to, "db/a"])
    end

    assert_raise Mix.Error, ~r/^which objects\?/, fn -> run(["copy", from, to]) end
  end

  test "stats are a table, or JSON", %{tmp_dir: folder} do
    store = store(folder)
    {_, "", 0} = run(["put", "--name", "a", store, file(folder, "file", :rand.bytes(100_000))])
    {printed, "", 0} = run(["stats", store])
    assert printed =~ ~r/^             1  objects\n        100000  bytes of all objects\n/
    stats = json(elem(run(["stats", "--json", store]), 0))
    {:ok, expected} = store |> Store.open!() |> Store.stats()

    assert Map.delete(stats, "store") ==
             Map.new(expected, fn {key, value} -> {Atom.to_string(key), value} end)
  end

  test "odd names are shown in a form that is safe for a terminal", %{tmp_dir: folder} do
    store = store(folder)

    for {name, shown} <- [{<<"a", 255, "b">>, "a\uFFFDb"}, {"new\nline\e[2J", nil}, {"größe €", "größe €"}] do
      path = Path.join(folder, name)
      File.write!(path, "x")
      {printed, "", 0} = run(["put", store, path])
      shown = if shown, do: Path.join(folder, shown), else: inspect(path)
      assert String.starts_with?(printed, shown <> "\n")
      File.rm!(path)
      {"", errors, 1} = run(["put", store, path])
      assert errors =~ ~r/no such file or directory\n\z/
      refute errors =~ "\e"
    end
  end

  describe "usage:" do
    test "--help describes everything" do
      for help <- ["--help", "-h"] do
        {printed, "", 0} = run([help])

        for name <- ~w(init put get cat ls tag untag rm gc check repair copy stats) do
          assert printed =~ "| `#{name} STORE"
          {described, "", 0} = run([name, help])
          assert described =~ ~r/\A    mix chunker\.store #{name} STORE.* \[OPTIONS\]\n\n/
          assert described =~ "$ mix chunker.store #{name}"

          {^described, "", 0} =
            run([name, "--json", help, "/no/such"] -- if(name == "cat", do: ["--json"], else: []))
        end
      end
    end

    test "each switch is described" do
      for {name, command} <-
            Mix.Chunker.Store.Transfer.commands() ++
              Mix.Chunker.Store.Names.commands() ++ Mix.Chunker.Store.Upkeep.commands(),
          {switch, type} <- command.switches,
          switch != :progress do
        text = if switch == :tags, do: "--no-tags", else: Mix.Chunker.Switches.name(switch)
        assert command.help =~ text, "#{name} does not describe #{text}, of type #{type}"
      end
    end

    test "mistakes are explained", %{tmp_dir: folder} do
      store = store(folder)
      path = file(folder, "file", "x")

      for {arguments, message} <- [
            {[], "which subcommand? mix chunker.store --help lists them"},
            {["putt", store, path], "there is no subcommand putt; mix chunker.store --help lists them"},
            {["--json", "put"], "there is no subcommand --json; mix chunker.store --help lists them"},
            {["put"], "put takes other arguments: mix chunker.store put STORE PATH... [OPTIONS]"},
            {["put", store], ~r/^put takes other arguments/},
            {["gc", store, "more"], "gc takes other arguments: mix chunker.store gc STORE [OPTIONS]"},
            {["get", store, "a"], ~r/^get takes other arguments: mix chunker.store get STORE NAME PATH/},
            {["put", "--nam", "a", store, path],
             "unknown option, or one that lacks its value: --nam; mix chunker.store put --help lists the options"},
            {["stats", "--threads", "2", store], ~r/^unknown option.*--threads/},
            {["put", "--threads", "many", store, path], ~r/^option --threads cannot be many; /},
            {["put", "--threads", "0", store, path], "option --threads is 0, but must be 1..1024"},
            {["check", "--threads", "2000", store], "option --threads is 2000, but must be 1..1024"},
            {["gc", "--threads", "0", store], "option --threads is 0, but must be 1..1024"},
            {["put", "--name", "a", store, path, path], "option --name names one object, not 2"},
            {["put", "--name", "a\nb", store, path],
             ~r/^option --name is a\nb, but must be no control characters/},
            {["put", "--codec", "zip", store, path],
             "option --codec must be one of zstd, lz4, xz, bzip2, gzip, brotli, none, not zip"},
            {["put", "--level", "99", store, path], ~r/^option --level is 99, but must be -?\d+\.\.22/},
            {["init", "--avg-size", "1", folder <> "/new"],
             "option --avg-size is 1, but must be 256..4194304"},
            {["init", "--avg-size", "4Q", folder <> "/new"],
             "option --avg-size must be a size such as 65536, 64K or 4M, not 4Q"}
          ] do
        assert_raise Mix.Error, message, fn -> run(arguments) end
      end

      assert {"", "", 0} = run(["ls", store])
    end
  end

  describe "trees and archives:" do
    setup %{tmp_dir: folder} do
      tree = Path.join(folder, "tree")
      File.mkdir_p!(Path.join(tree, "bin"))
      File.mkdir_p!(Path.join(tree, "empty"))
      file(tree, "bin/run", "#!/bin/sh\n")
      File.chmod!(Path.join(tree, "bin/run"), 0o755)
      file(tree, "data", :rand.bytes(100_000))
      File.ln_s!("data", Path.join(tree, "link"))
      %{store: store(folder), tree: tree}
    end

    test "a folder is put as a tree, and unpacked", %{store: store, tree: tree, tmp_dir: folder} do
      {printed, "", 0} = run(["put", "--name", "t", store, tree])
      assert String.starts_with?(printed, tree <> "\n")
      to = Path.join(folder, "to")
      {_, "", 0} = run(["get", store, "t", to])
      {"", 0} = System.cmd("diff", ["-r", "--no-dereference", tree, to])
      assert File.stat!(Path.join(to, "bin/run")).mode == 0o100755
      {"", errors, 1} = run(["get", store, "t", to])
      assert errors =~ "file already exists"

      # The NAR is that of the tree.
      nar = Path.join(folder, "nar")
      {_, "", 0} = run(["get", "--nar", store, "t", nar])
      assert File.read!(nar) == tree |> Chunker.Nar.stream() |> Enum.join()
      {printed, "", 0} = run(["put", "--json", "--nar", store, nar])
      assert json(printed)["new_bytes"] == 0

      for {arguments, path} <- [{["--path", "data"], "data"}, {["--path", "bin/run"], "bin/run"}] do
        one = Path.join(folder, "one")
        {_, "", 0} = run(["get", store, "t", one] ++ arguments)
        assert File.read!(one) == File.read!(Path.join(tree, path))
        assert {printed, 0} = real_task("mix chunker.store cat #{Enum.join(arguments, " ")} #{store} t")
        assert printed == File.read!(one)
      end

      {"", errors, 1} = run(["cat", "--path", "bin", store, "t"])
      assert errors =~ "illegal operation on a directory"
      {"", errors, 1} = run(["get", "--path", "none", store, "t", to])
      assert errors =~ "none is not there"
    end

    test "ls lists what is in a tree", %{store: store, tree: tree} do
      {_, "", 0} = run(["put", "--name", "t", store, tree])
      {printed, "", 0} = run(["ls", "--in", "t", store])

      assert for([_, name] <- Regex.scan(~r/^ +\S+  (.*)$/m, printed), do: name) ==
               ["bin/", "data", "empty/", "link -> data"]

      assert printed =~ "        100000  data\n"
      {printed, "", 0} = run(["ls", "--in", "t", "--json", store, "bin"])

      assert %{"path" => "bin/run", "type" => "regular", "bytes" => 10, "executable" => true, "target" => nil} =
               json(printed)

      {printed, "", 0} = run(["ls", "--in", "t", "--recursive", store])
      assert printed =~ "  bin/run\n" and printed =~ "  link -> data\n"
      assert {"", "chunker.store: t: none is not there\n", 1} = run(["ls", "--in", "t", store, "none"])
      {_, "", 0} = run(["put", "--name", "f", store, Path.join(tree, "data")])
      assert {"", "chunker.store: f is no tree, and no NAR\n", 1} = run(["ls", "--in", "f", store])
    end

    test "tars are chunked along their members", %{store: store, tree: tree, tmp_dir: folder} do
      tar = Path.join(folder, "tar")
      {_, 0} = System.cmd("tar", ["cf", tar, "-C", tree, "."])
      {_, "", 0} = run(["put", store, Path.join(tree, "data")])
      object = json(elem(run(["put", "--json", "--tar", "--name", "tar", store, tar]), 0))
      assert object["new_bytes"] < object["bytes"] - 90_000
      {_, "", 0} = run(["get", store, "tar", tar <> ".to"])
      assert File.read!(tar <> ".to") == File.read!(tar)
      {printed, 0} = real_task("cat #{tar} | mix chunker.store put --json --tar #{store} -")
      assert %{"new_bytes" => 0} = json(printed)

      for {arguments, message} <- [
            {["put", "--nar", "--tar", store, tar], "options --nar and --tar exclude each other"},
            {["put", "--references", store, tar], "option --references needs option --nar, or trees"},
            {["ls", "--recursive", store], "option --recursive needs option --in"},
            {["get", "--path", "x", "--nar", store, "tar", tar],
             "options --path and --nar exclude each other"},
            {["get", "--path", "x", store, "tar", tar],
             "option --path is x, but must be absent, since the object was not put as a NAR but as tar"}
          ] do
        assert_raise Mix.Error, message, fn -> run(arguments) end
      end

      assert {"", errors, 1} = run(["put", "--nar", store, tar])
      assert errors =~ "not a NAR"
    end

    test "copies go to a store with another hash function", %{store: store, tree: tree, tmp_dir: folder} do
      {_, "", 0} = run(["put", "--name", "t", store, tree])
      other = Path.join(folder, "other")
      {"", "", 0} = run(["init", "--hash", "sha256", other])
      {_, "", 0} = run(["copy", "--all", store, other])
      to = Path.join(folder, "to")
      {_, "", 0} = run(["get", other, "t", to])
      {"", 0} = System.cmd("diff", ["-r", "--no-dereference", tree, to])
      # With the outline, which copies have too.
      third = store(folder, "third")
      {_, "", 0} = run(["copy", "--all", store, third])
      assert run(["ls", "--in", "t", "--recursive", third]) == run(["ls", "--in", "t", "--recursive", store])
      assert run(["ls", "--in", "t", "--recursive", other]) == run(["ls", "--in", "t", "--recursive", store])
      assert {_, "", 0} = run(["check", third])
    end
  end

  describe "progress" do
    test "is shown on request, and removed", %{tmp_dir: folder} do
      store = store(folder)
      path = file(folder, "file", :rand.bytes(100_000))
      {_, errors, 0} = run(["put", "--progress", "--name", "a", store, path])
      assert errors =~ "\r#{path}  0%  0.0 MB of 0.1 MB\e[K"
      assert errors =~ ~r/100%  0\.1 MB of 0\.1 MB  [\d.]+ MB\/s\e\[K\r\e\[K\z/
      {_, errors, 0} = run(["check", "--progress", store])
      assert errors =~ ~r/100%  #{packs(store)} packs of #{packs(store)} packs(  [\d.]+ packs\/s)?\e\[K/
      assert {_, "", 0} = run(["put", "--no-progress", store, path])

      for arguments <- [["get", store, "a", path], ["copy", store, store, "a"], ["repair", store]] do
        [name | rest] = arguments
        assert {_, "\r" <> _, 0} = run([name, "--progress" | rest])
      end
    end

    test "has a rate and the time that is left" do
      for {arguments, text} <- [
            {["x", :bytes, 0, 10_000_000, 0.0], "x  0%  0.0 MB of 10.0 MB"},
            {["x", :bytes, 5_000_000, 10_000_000, 2.0], "x  50%  5.0 MB of 10.0 MB  2.5 MB/s  0:02 left"},
            {["x", :bytes, 1_000_000_000, 3_600_000_000_000, 1.0],
             "x  0%  1.0 GB of 3600.0 GB  1.0 GB/s  59:59 left"},
            {["x", :bytes, 1_000_000_000, 9_000_000_000_000, 1.0],
             "x  0%  1.0 GB of 9000.0 GB  1.0 GB/s  2:29:59 left"},
            {["x", :bytes, 9_999_999, 10_000_000, 1.0], "x  99%  10.0 MB of 10.0 MB  10.0 MB/s  0:01 left"},
            {["x", :bytes, 1_000_000, nil, 2.0], "x  1.0 MB  0.5 MB/s"},
            {["x", :packs, 3, 10, 2.0], "x  30%  3 packs of 10 packs  1.5 packs/s  0:05 left"},
            {["x", :bytes, 0, 0, 1.0], "x  100%  0.0 MB of 0.0 MB"}
          ] do
        assert apply(ProgressLine, :line, arguments) == text
      end
    end

    test "is shown on a terminal only", %{tmp_dir: folder} do
      store = store(folder)
      path = file(folder, "file", :rand.bytes(100_000))
      {printed, 0} = real_task("mix chunker.store put #{store} #{path}")
      refute printed =~ "\e[K"
      # Python gives it a terminal.
      python = "import pty, sys; sys.exit(pty.spawn(['mix', 'chunker.store', 'check', '#{store}']) >> 8)"
      {printed, 0} = real_task(~s(python3 -c "#{python}"))
      assert printed =~ "100%" and printed =~ "all is well"
    end
  end

  describe "as a program" do
    test "its exit status tells trouble from damage", %{tmp_dir: folder} do
      store = store(folder)
      path = file(folder, "file", :rand.bytes(100_000))
      assert {_, 0} = real_task("mix chunker.store put --name a #{store} #{path}")
      assert {printed, 1} = real_task("mix chunker.store get #{store} b #{path}.to")
      assert printed == "chunker.store: b is not there\n"

      assert {"** (Mix) option --threads is 0, but must be 1..1024\n", 1} =
               real_task("mix chunker.store check --threads 0 #{store}")

      damage(store)
      assert {printed, 2} = real_task("mix chunker.store check #{store}")
      assert printed =~ "is damaged at byte"
      refute printed =~ "**"
      assert {_, 2} = real_task("mix chunker.store get #{store} a #{path}.to")
    end

    test "it prints no error if its output is not read to the end", %{tmp_dir: folder} do
      store = store(folder)
      path = file(folder, "file", :crypto.strong_rand_bytes(5_000_000))
      {_, "", 0} = run(["put", "--name", "a", store, path])
      for n <- 1..300, do: {"", "", 0} = run(["tag", store, "a#{n}", "a"])
      assert {printed, 0} = real_task("mix chunker.store cat #{store} a | head -c 20")
      assert printed == binary_part(File.read!(path), 0, 20)
      assert {"", 0} = real_task("mix chunker.store cat #{store} a | true")
      assert {printed, 0} = real_task("mix chunker.store ls #{store} | head -c 20")
      assert byte_size(printed) == 20
      assert {"", 0} = real_task("mix chunker.store ls --json #{store} | true")
      assert {errors, 1} = real_task("mix chunker.store cat #{store} a >/dev/full")
      assert errors =~ "the output cannot be written\n"
    end
  end
end
