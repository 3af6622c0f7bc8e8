Code.require_file("support/reference.exs", __DIR__)
Code.require_file("support/task_run.exs", __DIR__)

defmodule Mix.Tasks.Chunker.ChunkTest do
  # Not async: the task prints to this VM's standard output and error.
  use ExUnit.Case, async: false

  import Chunker.TaskRun, only: [file: 3]
  alias Chunker.{Reference, TaskRun}
  alias Mix.Tasks.Chunker.Chunk

  @moduletag :tmp_dir
  @small [min_size: 1024, avg_size: 4096, max_size: 16_384]
  @sizes ~w(--min-size 1K --avg-size 4K --max-size 16K)

  # Returns what the task prints, with its exit status.
  defp run(arguments), do: TaskRun.run(Chunk, arguments)

  defp sha256(bytes), do: :crypto.hash(:sha256, bytes)
  defp hex(bytes), do: Base.encode16(bytes, case: :lower)

  # Returns what the reference expects of `data`: offset, length and digest of each chunk.
  defp expected(data, options \\ @small) do
    for {offset, length} <- Reference.chunks(data, options) do
      {offset, length, hex(sha256(binary_part(data, offset, length)))}
    end
  end

  # Returns the rows below each header of a table.
  defp rows(printed) do
    for [_, offset, length, hash] <- Regex.scan(~r/^ *(\d+) +(\d+)  (\S+)$/m, printed) do
      {String.to_integer(offset), String.to_integer(length), hash}
    end
  end

  defp real_task(script) do
    environment = [{"MIX_ENV", "test"}, {"LC_ALL", "C.UTF-8"}]
    System.cmd("sh", ["-c", script], env: environment, stderr_to_stdout: true)
  end

  # Nix is the independent reader of JSON.
  defp json(folder, text, expression) do
    path = Path.join(folder, "output.json")
    File.write!(path, text)
    program = "let json = builtins.fromJSON (builtins.readFile #{inspect(path)}); in #{expression}"
    {output, 0} = System.cmd("nix-instantiate", ["--eval", "--strict", "-E", program])
    output |> String.trim() |> String.trim("\"") |> String.replace("\\n", "\n")
  end

  test "NARs are chunked along their files on request", %{tmp_dir: folder} do
    content = :rand.bytes(100_000)
    nar = folder |> file("content", content) |> Chunker.Nar.stream() |> Enum.join()
    path = file(folder, "nar", nar)
    other = file(folder, "other", content)

    for {nar, options} <- [{"true", [nar: true]}, {"auto", [nar: :auto]}, {"false", []}] do
      {printed, "", 0} = run(["--nar", nar, path] ++ @sizes)

      for chunk <- Chunker.chunk_file!(path, options ++ @small),
          do: assert(printed =~ Chunker.to_hex(chunk.hash))
    end

    assert {printed, "", 0} = run(["--nar", "auto", "--preset", "small_packages", other])

    for chunk <- Chunker.chunk_file!(other, preset: :small_packages),
        do: assert(printed =~ Chunker.to_hex(chunk.hash))

    assert {"", "chunker.chunk: not a NAR: bad magic at byte 0\n", 1} = run(["--nar", "true", other])

    message = "option --preset must be one of default, large_packages, small_packages, not huge"
    assert_raise Mix.Error, message, fn -> run(["--preset", "huge", other]) end

    # Standard input can be read only once.
    assert {"", "chunker.chunk: option :nar is :auto" <> _, 1} = run(["--nar", "auto", "-"])
  end

  test "tars are chunked along their files on request", %{tmp_dir: folder} do
    content = :rand.bytes(100_000)
    path = Path.join(folder, "tar")
    :ok = path |> String.to_charlist() |> :erl_tar.create([{~c"content", content}])

    {printed, "", 0} = run(["--tar", path] ++ @sizes)
    chunks = Chunker.chunk_file!(path, [tar: true] ++ @small)
    assert [{0, 512, _} | _] = rows(printed)
    for chunk <- chunks, do: assert(printed =~ Chunker.to_hex(chunk.hash))

    # Other files are chunked as they are.
    {printed, "", 0} = run(["--tar", "--hash", "sha256", file(folder, "other", content)] ++ @sizes)
    assert rows(printed) == expected(content)

    assert_raise Mix.Error, "options --nar and --tar exclude each other", fn ->
      run(["--tar", "--nar", "auto", path])
    end

    assert_raise Mix.Error, "option --entries needs option --nar", fn ->
      run(["--tar", "--entries", "--json", path])
    end

    assert {_, "", 0} = run(["--tar", "--nar", "false", path])
  end

  describe "the table" do
    test "lists each chunk, and a summary follows", %{tmp_dir: folder} do
      block = :rand.bytes(100_000)
      # The same content twice, so that some chunks repeat.
      data = block <> block <> "end"
      path = file(folder, "data", data)
      {printed, "", 0} = run(@sizes ++ ["--hash", "sha256", path])

      chunks = expected(data)
      assert rows(printed) == chunks
      assert [^path, header | _] = String.split(printed, "\n")
      assert String.split(header) == ~w(offset length hash)

      lengths = Enum.map(chunks, &elem(&1, 1))
      unique = chunks |> Map.new(fn {_, length, hash} -> {hash, length} end) |> Map.values() |> Enum.sum()
      assert unique < 200_003
      mean = round(200_003 / length(chunks))

      assert printed =~
               "\n200003 bytes in #{length(chunks)} chunks: mean #{mean}, " <>
                 "smallest #{Enum.min(lengths)}, largest #{Enum.max(lengths)}\n"

      assert printed =~ "\n#{unique} unique bytes (#{Float.round(100 * unique / 200_003, 1)}%), "
      assert printed =~ ~r/, \d+\.\d MB\/s in \d+\.\d+ s\n/
      refute printed =~ "all "
    end

    test "is left out with --summary", %{tmp_dir: folder} do
      path = file(folder, "data", :rand.bytes(50_000))
      {printed, "", 0} = run(["--summary", path])

      assert [^path, "50000 bytes in 1 chunk: mean 50000, smallest 50000, largest 50000", last, "", ""] =
               String.split(printed, "\n")

      assert last =~ ~r/^50000 unique bytes \(100\.0%\), [\d.]+ MB\/s in [\d.]+ s$/
    end

    test "of an empty file is empty", %{tmp_dir: folder} do
      {printed, "", 0} = run([file(folder, "empty", "")])
      assert rows(printed) == []
      assert printed =~ "0 bytes in 0 chunks: empty\n0 unique bytes, "
    end

    test "is printed for each file, and the summary of all counts shared chunks once", %{tmp_dir: folder} do
      data = :rand.bytes(60_000)
      paths = for name <- ["one", "two", "three"], do: file(folder, name, data)
      {printed, "", 0} = run(@sizes ++ ["--hash", "sha256" | paths])
      assert rows(printed) == List.duplicate(expected(data), 3) |> Enum.concat()
      assert [_, all] = String.split(printed, "all 3 files\n")
      assert all =~ "180000 bytes in #{3 * length(expected(data))} chunks: mean "
      assert all =~ "60000 unique bytes (33.3%), "
    end

    test "continues after a file that cannot be chunked", %{tmp_dir: folder} do
      [one, two] = for name <- ["one", "two"], do: file(folder, name, name)
      missing = Path.join(folder, "missing")
      {printed, errors, 1} = run([one, missing, two])
      assert errors == "chunker.chunk: #{missing}: no such file or directory\n"
      assert length(rows(printed)) == 2
      assert printed =~ "all 2 files\n6 bytes in 2 chunks"
      assert {"", _, 1} = run([missing])
    end

    test "prints odd names in a form that is safe for a terminal", %{tmp_dir: folder} do
      for {name, shown} <- [
            {<<"a", 255, "b">>, folder <> "/a\uFFFDb"},
            {"new\nline\e[2J", inspect(folder <> "/new\nline\e[2J")},
            {~s(quo"te's), folder <> ~s(/quo"te's)},
            {"größe €", folder <> "/größe €"}
          ] do
        {printed, "", 0} = run([file(folder, name, "x")])
        assert String.starts_with?(printed, shown <> "\noffset")
      end
    end
  end

  describe "a directory" do
    # A tree with every kind of entry, and the regular files below it in order.
    defp tree(folder) do
      root = Path.join(folder, "tree")
      File.mkdir_p!(Path.join(root, "b/empty"))
      File.mkdir_p!(Path.join(root, "größe"))
      names = ["a", "b/.hidden", "b/c", "größe/ü", <<"z", 255>>]
      paths = for name <- names, do: file(root, name, :rand.bytes(20_000))
      File.ln_s!("..", Path.join(root, "b/loop"))
      File.ln_s!(Path.join(root, "a"), Path.join(root, "link"))
      File.ln_s!("/no/such/file", Path.join(root, "dangling"))
      {_, 0} = System.cmd("mkfifo", [Path.join(root, "fifo")])
      {root, paths}
    end

    @tag :nix
    test "stands for the files below it, in order and without following links", %{tmp_dir: folder} do
      {root, paths} = tree(folder)
      {printed, "", 0} = run(@sizes ++ ["--hash", "sha256", root])
      assert rows(printed) == Enum.flat_map(paths, &expected(File.read!(&1)))
      shown = for path <- paths, do: String.replace(path, <<255>>, "\uFFFD")
      assert Regex.scan(~r{^/.*$}m, printed) |> List.flatten() == shown
      assert printed =~ "all 5 files\n100000 bytes in "

      # A link that is given by name is followed, and paths are printed as they were given.
      link = Path.join(folder, "link")
      File.ln_s!(root, link)

      for given <- [link, link <> "/"] do
        {printed, "", 0} = run(["--json", given])
        assert [first | _] = lines = String.split(printed, "\n", trim: true)
        assert json(folder, first, "json.path") == link <> "/a"
        assert length(lines) == 5
      end
    end

    test "can be one of several paths", %{tmp_dir: folder} do
      {root, _paths} = tree(folder)
      {printed, "", 0} = run(["--summary", Path.join(root, "a"), Path.join(root, "b"), Path.join(root, "a")])
      assert printed =~ "all 4 files\n80000 bytes in 4 chunks"
      assert printed =~ "\n60000 unique bytes (75.0%), "
    end

    test "that is empty is no error", %{tmp_dir: folder} do
      {printed, "", 0} = run([folder])
      assert printed =~ "all 0 files\n0 bytes in 0 chunks: empty\n"
      assert run(["--json", folder]) == {"", "", 0}
    end

    @tag :nix
    test "with an entry that cannot be visited is chunked without that entry" do
      # Outside the folder of this test, because ExUnit could not remove it.
      root = Path.join(System.tmp_dir!(), "chunker deep #{System.pid()}")
      on_exit(fn -> {"", 0} = System.cmd("rm", ["-r", root]) end)
      # Not even root can name a path this deep, so it is created in two steps.
      half = String.duplicate("/" <> String.duplicate("d", 250), 10)
      for start <- ["/b", "/other"], do: File.mkdir_p!(root <> start <> half)
      File.rename!(root <> "/other", root <> "/b" <> half <> "/other")
      for name <- ["a", "c"], do: file(root, name, name)

      {printed, errors, 1} = run(["--summary", root])
      assert printed =~ "all 2 files\n2 bytes in 2 chunks"
      assert [error] = String.split(errors, "\n", trim: true)
      assert String.starts_with?(error, "chunker.chunk: #{root}/b/d")
      assert error =~ ~r"/other(/d{250})+: file name too long$"

      {printed, "", 1} = run(["--json", root])
      assert [_, error, _] = String.split(printed, "\n", trim: true)
      assert json(root, error, "json.error") == "io_error"

      path = Path.join(root, "missing")
      assert [{^path, {:error, error}}] = Enum.to_list(Mix.Chunker.FileTree.files(path))
      assert error.details == %{kind: :enoent, path: path}
    end

    test "of many files takes no more memory than one of few", %{tmp_dir: folder} do
      for directory <- 1..100 do
        path = Path.join(folder, "#{directory}")
        File.mkdir!(path)
        for name <- 1..100, do: file(path, "#{name}", "#{directory} #{name}")
      end

      for arguments <- [["--json"], []] do
        {:ok, output} = StringIO.open("")

        {walker, monitor} =
          spawn_monitor(fn ->
            Process.group_leader(self(), output)
            # In words. All 10,000 paths and chunks would have eight times as many.
            Process.flag(:max_heap_size, %{size: 150_000, kill: true, error_logger: false})
            Chunk.run(arguments ++ [folder])
          end)

        assert_receive {:DOWN, ^monitor, :process, ^walker, reason}, 60_000
        assert reason == :normal
        {_, printed} = StringIO.contents(output)
        if arguments == [], do: assert(printed =~ "all 10000 files\n")
      end
    end
  end

  describe "options:" do
    test "sizes take units", %{tmp_dir: folder} do
      data = :rand.bytes(100_000)
      path = file(folder, "data", data)
      expected = expected(data)

      for sizes <- [
            ~w(--min-size 1024 --avg-size 4096 --max-size 16384),
            ~w(--min-size=1k --avg-size=4KiB --max-size=16kb),
            ~w(--min-size 1K --avg-size 4K --max-size 16384B)
          ] do
        {printed, "", 0} = run(["--hash", "sha256", path | sizes])
        assert rows(printed) == expected
      end

      # The other sizes are derived from the average.
      {printed, "", 0} = run(["--hash", "sha256", "--avg-size", "4K", path])
      assert rows(printed) == expected

      {printed, "", 0} = run(~w(--min-size 1M --avg-size 4M --max-size 16M --hash sha256) ++ [path])
      assert [{0, 100_000, _}] = rows(printed)
    end

    test "normalization, seed and threads reach the engine", %{tmp_dir: folder} do
      data = :rand.bytes(100_000)
      path = file(folder, "data", data)
      {printed, "", 0} = run(@sizes ++ ~w(--normalization 3 --seed 12345 --threads 1 --hash sha256) ++ [path])
      assert rows(printed) == expected(data, [normalization: 3, seed: 12_345] ++ @small)
      {printed, "", 0} = run(@sizes ++ ~w(--seed 18446744073709551615 --hash sha256) ++ [path])
      assert rows(printed) == expected(data, [seed: 0xFFFF_FFFF_FFFF_FFFF] ++ @small)
    end

    @tag :nix
    test "digests are written in three formats", %{tmp_dir: folder} do
      path = file(folder, "abc", "abc")
      digest = sha256("abc")
      {nix32, 0} = System.cmd("nix-hash", ["--to-base32", "--type", "sha256", hex(digest)])

      for {format, text} <- [
            {"hex", hex(digest)},
            {"nix32", String.trim(nix32)},
            {"base64", Base.encode64(digest)}
          ] do
        {printed, "", 0} = run(["--hash", "sha256", "--digest", format, path])
        assert rows(printed) == [{0, 3, text}]
      end

      {b3sum, 0} = System.cmd("b3sum", ["--no-names", path])
      assert {printed, "", 0} = run([path])
      assert rows(printed) == [{0, 3, String.trim(b3sum)}]
      {named, "", 0} = run(["--hash", "blake3", path])
      assert rows(named) == rows(printed)
    end

    test "--help prints them all" do
      for help <- [["--help"], ["-h"], ["--help", "--json", "/no/such/file"]] do
        {printed, "", 0} = run(help)

        for option <-
              ~w(--min-size --avg-size --max-size --normalization --seed --hash --digest --threads --summary --json) do
          assert printed =~ option
        end
      end
    end

    test "that are invalid are explained", %{tmp_dir: folder} do
      path = file(folder, "data", "x")

      for {arguments, message} <- [
            {[], "which file? mix chunker.chunk [OPTIONS] PATH..."},
            {["--json"], "which file? mix chunker.chunk [OPTIONS] PATH..."},
            {["--size", "1", path], ~r/^unknown option, or one that lacks its value: --size/},
            {[path, "--seed"], ~r/^unknown option, or one that lacks its value: --seed/},
            {["-x", path], ~r/^unknown option.*: -x/},
            {["--seed", "many", path], ~r/^option --seed cannot be many; mix chunker.chunk --help/},
            {["--threads", "1.5", path], ~r/^option --threads cannot be 1.5/},
            {["--avg-size", "3Q", path], "option --avg-size must be a size such as 65536, 64K or 4M, not 3Q"},
            {["--min-size", "-1", path], "option --min-size must be a size such as 65536, 64K or 4M, not -1"},
            {["--max-size=", path], "option --max-size must be a size such as 65536, 64K or 4M, not "},
            {["--max-size", "4M\n", path],
             "option --max-size must be a size such as 65536, 64K or 4M, not 4M\n"},
            {["--hash", "md5", path], "option --hash must be blake3 or sha256, not md5"},
            {["--digest", "HEX", path], "option --digest must be hex, nix32 or base64, not HEX"},
            {["--min-size", "1", path], "option --min-size is 1, but must be 64..1048576"},
            {["--max-size", "256K", path],
             "option --max-size is 262144, but must be at least --avg-size, which is 1048576"},
            {["--max-size", "99999999999999999999M", path],
             "option --max-size is 104857599999999999998951424, but must be 1024..16777216"},
            {["--normalization", "4", path], "option --normalization is 4, but must be 0..3"},
            {["--seed", "-1", path], "option --seed is -1, but must be 0..18446744073709551615"},
            {["--threads", "0", path], "option --threads is 0, but must be 1..1024"}
          ] do
        assert_raise Mix.Error, message, fn -> run(arguments) end
      end
    end

    test "end at --", %{tmp_dir: folder} do
      {"", errors, 1} = run(["--", "--json"])
      assert errors == "chunker.chunk: --json: no such file or directory\n"
      {printed, "", 0} = run(["--", file(folder, "data", "x")])
      assert [{0, 1, _}] = rows(printed)
    end
  end

  describe "--json" do
    @tag :nix
    test "prints one object per line, which another program reads", %{tmp_dir: folder} do
      data = :rand.bytes(60_000) |> then(&(&1 <> &1))
      path = file(folder, "data", data)
      missing = Path.join(folder, "missing")

      {printed, "", 1} =
        run(@sizes ++ ["--json", "--hash", "sha256", path, missing, file(folder, "empty", "")])

      assert [first, second, third] = String.split(printed, "\n", trim: true)

      rows =
        json(folder, first, """
        builtins.concatStringsSep "\\n"
          (map (c: "${toString c.offset} ${toString c.length}  ${c.hash}") json.chunks)
        """)

      assert rows(rows) == expected(data)
      unique = expected(data) |> Enum.uniq_by(&elem(&1, 2)) |> Enum.map(&elem(&1, 1)) |> Enum.sum()

      assert json(folder, first, "[json.bytes json.unique_bytes json.hash json.path]") ==
               ~s([ 120000 #{unique} "sha256" "#{path}" ])

      assert json(folder, first, "json.seconds > 0 && json.seconds < 60") == "true"

      assert json(folder, first, "builtins.attrNames json") ==
               ~s([ "bytes" "chunks" "hash" "path" "seconds" "unique_bytes" ])

      assert json(folder, second, "[json.path json.error json.message (json ? chunks)]") ==
               ~s([ "#{missing}" "io_error" "#{missing}: no such file or directory" false ])

      assert json(folder, third, "[json.bytes json.unique_bytes json.chunks]") == "[ 0 0 [ ] ]"
    end

    @tag :nix
    test "lists the entries that a chunk of a NAR overlaps, on request", %{tmp_dir: folder} do
      tree = Path.join(folder, "tree")
      File.mkdir_p!(tree)
      for i <- 1..3, do: file(tree, ~s(a"#{i}), :rand.bytes(10_000))
      nar = tree |> Chunker.Nar.stream() |> Enum.join()
      path = file(folder, "nar", nar)
      {printed, "", 0} = run(["--json", "--nar", "true", "--entries", path] ++ @sizes)

      parts =
        json(folder, printed, """
        builtins.concatStringsSep "\n" (builtins.concatMap
          (c: map (e: "${e.path} ${toString e.offset} ${toString e.length} ${toString e.position}") c.entries)
          json.chunks)
        """)

      expected =
        for chunk <- Chunker.chunk_data!(nar, [nar: true, entries: true] ++ @small), part <- chunk.entries do
          "#{part.path} #{part.offset} #{part.length} #{part.position}"
        end

      assert length(expected) > 6
      assert parts |> String.replace(~S(\"), ~S(")) |> String.split("\n") == expected

      for {arguments, needed} <- [
            {["--json"], "--nar"},
            {["--nar", "false"], "--nar"},
            {["--nar", "true"], "--json"}
          ] do
        message = "option --entries needs option #{needed}"
        assert_raise Mix.Error, message, fn -> run(["--entries", path] ++ arguments) end
      end
    end

    @tag :nix
    test "lists all chunks", %{tmp_dir: folder} do
      data = :rand.bytes(700_000)
      path = file(folder, "data", data)
      sizes = ~w(--min-size 64 --avg-size 256 --max-size 1024)
      {printed, "", 0} = run(["--json", path | sizes])
      count = length(Reference.chunks(data, min_size: 64, avg_size: 256, max_size: 1024))
      assert count > 2000
      assert json(folder, printed, "builtins.length json.chunks") == to_string(count)
    end

    @tag :nix
    test "quotes every name", %{tmp_dir: folder} do
      for {name, shown} <- [
            {~s(quo"te's back\\slash), nil},
            {"new\nline\ttab\r\e[2J\x01\x7F", nil},
            {"größe € 😀 \u2028", nil},
            {<<"a", 255, 254, "b">>, "a\uFFFD\uFFFDb"}
          ] do
        path = file(folder, name, "x")
        {printed, "", 0} = run(["--json", path])
        assert [_] = String.split(printed, "\n", trim: true)
        expected = hex(sha256(folder <> "/" <> (shown || name)))
        assert json(folder, printed, ~s(builtins.hashString "sha256" json.path)) == expected

        # An error contains the name too.
        File.rm!(path)
        {printed, "", 1} = run(["--json", path])
        assert json(folder, printed, ~s(builtins.hashString "sha256" json.path)) == expected
        assert json(folder, printed, "json.message") =~ "no such file or directory"
      end
    end
  end

  describe "as a program" do
    @tag :nix
    test "it reads bytes of any value from standard input", %{tmp_dir: folder} do
      data = for(byte <- 0..255, into: "", do: <<byte>>) |> :binary.copy(1000)
      path = file(folder, "data", data)
      script = "mix chunker.chunk --hash sha256 #{Enum.join(@sizes, " ")} - < #{path}"
      {printed, 0} = real_task(script)
      assert rows(printed) == expected(data)
      assert String.starts_with?(printed, "-\n")

      assert {printed, 0} = real_task("cat #{path} | mix chunker.chunk --json -")
      assert json(folder, printed, "[json.path json.bytes]") == ~s([ "-" 256000 ])
      assert {printed, 0} = real_task("mix chunker.chunk --json - < /dev/null")
      assert json(folder, printed, "json.bytes") == "0"

      for other <- ["/dev/stdin", "/dev/fd/0"] do
        assert {printed, 0} = real_task("cat #{path} | mix chunker.chunk --json #{other}")
        assert json(folder, printed, "[json.path json.bytes]") == ~s([ "#{other}" 256000 ])
      end
    end

    test "its exit status says whether all inputs succeeded", %{tmp_dir: folder} do
      path = file(folder, "data", "x")
      {printed, 1} = real_task("mix chunker.chunk #{folder}/missing #{path}")
      assert printed =~ "chunker.chunk: #{folder}/missing: no such file or directory\n"
      assert [{0, 1, _}] = rows(printed)
      refute printed =~ "**"

      {printed, 1} = real_task("mix chunker.chunk --avg-size 1 #{path}")
      assert printed == "** (Mix) option --avg-size is 1, but must be 256..4194304\n"
    end

    test "it prints no error if its output is not read to the end", %{tmp_dir: folder} do
      path = file(folder, "data", :crypto.strong_rand_bytes(3_000_000))
      sizes = "--min-size 64 --avg-size 256 --max-size 1024"

      for json <- ["", "--json"] do
        {printed, 0} = real_task("mix chunker.chunk #{json} #{sizes} #{path} | head -c 20")
        assert byte_size(printed) == 20
      end

      assert {"", 0} = real_task("mix chunker.chunk #{sizes} #{path} | true")
    end

    test "it prints no error either if it ends long after its output is closed", %{tmp_dir: folder} do
      # By then the VM has logged that the output is closed, as it has on a busy machine.
      script =
        file(folder, "slow.exs", """
        Mix.Chunker.StandardStreams.run(fn ->
          try do
            for _ <- Stream.cycle([1]), do: Mix.Chunker.StandardStreams.write("0123456789abcdef")
          rescue
            error ->
              Process.sleep(500)
              reraise error, __STACKTRACE__
          end
        end)
        """)

      assert {"0123456789abcdef0123", 0} = real_task("mix run --no-start #{script} | head -c 20")
    end

    test "it reports a full disk", %{tmp_dir: folder} do
      path = file(folder, "data", :crypto.strong_rand_bytes(3_000_000))
      sizes = "--min-size 64 --avg-size 256 --max-size 1024"
      assert {errors, 1} = real_task("mix chunker.chunk #{sizes} #{path} >/dev/full")
      assert errors =~ "the output cannot be written\n"
      # Older versions of the VM do not report the reason.
      if System.otp_release() >= "26", do: assert(errors =~ "enospc")
    end
  end
end
