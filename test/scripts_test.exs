Code.require_file("support/attempts.exs", __DIR__)

defmodule Chunker.ScriptsTest do
  # scripts/chunk and scripts/store in a copy of the project, which uses the existing library.
  use ExUnit.Case, async: true

  alias Chunker.Attempts

  @moduletag :tmp_dir

  @root Path.expand("..", __DIR__)
  @library Path.join(Mix.Project.app_path(), "priv/chunker_nif.so")

  setup_all do
    copy = Path.join(System.tmp_dir!(), "chunker scripts #{System.pid()}")
    on_exit(fn -> File.rm_rf!(copy) end)
    File.mkdir_p!(copy)

    for name <- ~w(mix.exs lib src scripts Cargo.toml),
        do: File.cp_r!(Path.join(@root, name), Path.join(copy, name))

    %{script: Path.join(copy, "scripts/chunk")}
  end

  # Returns standard output only; build output goes elsewhere.
  defp chunk(script, folder, arguments, locale \\ "C.UTF-8") do
    {printed, status} =
      System.cmd("sh", ["-c", "exec 2>errors; " <> Enum.join(["'#{script}'" | arguments], " ")],
        cd: folder,
        env: [{"CHUNKER_NIF_PATH", @library}, {"LC_ALL", locale}, {"MIX_ENV", nil}]
      )

    {printed, File.read!(Path.join(folder, "errors")), status}
  end

  test "scripts/chunk accepts any file name, relative to the caller's folder", %{
    script: script,
    tmp_dir: folder
  } do
    for {name, size} <- [{"größe", 1}, {<<"a", 255, "b">>, 22}, {"a b\nc", 333}, {"--json", 4444}] do
      File.write!(Path.join(folder, name), :binary.copy("x", size))
    end

    # System.cmd/3 accepts only text, so the shell creates the names.
    arguments = ~S[--summary größe "$(printf 'a\377b')" "$(printf 'a b\nc')" "" -- --json]

    for locale <- ["C.UTF-8", "C"] do
      assert {printed, errors, 1} = chunk(script, folder, [arguments], locale)
      assert for([_, bytes] <- Regex.scan(~r/^(\d+) bytes in/m, printed), do: bytes) == ~w(1 22 333 4444 4800)
      assert errors =~ ~s(chunker.chunk: "": no such file or directory)
    end

    # Standard output contains only the output of the task, and the exit status of the task is the script's.
    assert {~s({"path":"/dev/null") <> _, _, 0} = chunk(script, folder, ["--json", "/dev/null"])
    assert {"", errors, 1} = chunk(script, folder, ["--hash", "md5", "/dev/null"])
    assert errors =~ "option --hash must be blake3 or sha256, not md5"
    assert {"", errors, 1} = chunk(script, folder, [])
    assert errors =~ "which file?"
    assert {"Prints the content-defined chunks" <> _, _, 0} = chunk(script, folder, ["--help"])
  end

  test "scripts/store works from any folder, and passes on its standard input and status", %{
    script: script,
    tmp_dir: folder
  } do
    script = Path.join(Path.dirname(script), "store")
    data = :rand.bytes(300_000)
    File.write!(Path.join(folder, "größe"), data)
    assert {"", _, 0} = chunk(script, folder, ["init", "s"])
    assert {"größe\n" <> _, _, 0} = chunk(script, folder, ["put", "--name", "a", "s", "größe"])
    assert {printed, _, 0} = chunk(script, folder, ["put", "--json", "s", "-", "<größe"])
    assert printed =~ ~s({"path":"-") and printed =~ ~s("bytes":300000,) and printed =~ ~s("new_bytes":0,)
    assert {"", _, 0} = chunk(script, folder, ["cat", "s", "a", ">to"])
    assert File.read!(Path.join(folder, "to")) == data
    assert {"", errors, 1} = chunk(script, folder, ["get", "s", "b", "to"])
    assert errors =~ "chunker.store: b is not there"

    assert {"", "scripts/store: standard input is closed\n", 1} =
             chunk(script, folder, ["put", "s", "-", "<&-"])

    File.rm_rf!(Path.join(folder, "s/packs"))
    assert {_, _, 2} = chunk(script, folder, ["check", "s"])
  end

  # Runs `command`, in which `$script` is the script, and checks that it chunks `count` bytes. Returns what it prints.
  defp assert_chunks(script, folder, command, count) do
    command = "exec 2>errors; script='#{script}'; " <> command
    environment = [{"CHUNKER_NIF_PATH", @library}, {"MIX_ENV", nil}]
    {printed, status} = System.cmd("bash", ["-c", command], cd: folder, env: environment)
    assert {command, status} == {command, 0}
    [_, bytes] = Regex.run(~r/^(\d+) bytes in/m, printed)
    assert {command, bytes} == {command, "#{count}"}
    printed
  end

  describe "standard input of scripts/chunk" do
    setup %{tmp_dir: folder} do
      File.write!(Path.join(folder, "data"), :rand.bytes(1_000_000))
      {_, 0} = System.cmd("mkfifo", [Path.join(folder, "fifo")])
      :ok
    end

    test "may be a file, and is read from its current position", %{script: script, tmp_dir: folder} do
      assert_chunks(script, folder, ~S("$script" --summary - <data), 1_000_000)
      assert_chunks(script, folder, ~S({ head -c 7 >/dev/null; "$script" --summary - ; } <data), 999_993)
      assert_chunks(script, folder, ~S("$script" --summary /dev/stdin </dev/null), 0)
    end

    test "may be a pipe, a FIFO or a socket, also after its writer has ended", %{
      script: script,
      tmp_dir: folder
    } do
      assert_chunks(script, folder, ~S(cat data | "$script" --summary -), 1_000_000)
      assert_chunks(script, folder, ~S(printf 12345 | { sleep 0.1; "$script" --summary - ; }), 5)
      assert_chunks(script, folder, ~S(cat data >fifo & "$script" --summary - <fifo), 1_000_000)
      # A FIFO opened for reading and writing does not wait; afterwards it has a reader and no writer.
      ended = ~S(exec 5<>fifo 6<fifo; printf 12345 >&5; exec 5>&-; "$script" --summary - <&6)
      assert_chunks(script, folder, ended, 5)

      socket = """
      import socket, subprocess, sys
      here, there = socket.socketpair()
      child = subprocess.Popen(sys.argv[1:], stdin=there)
      there.close()
      here.sendall(open("data", "rb").read())
      here.close()
      sys.exit(child.wait())
      """

      File.write!(Path.join(folder, "feed.py"), socket)
      assert_chunks(script, folder, ~S(python3 feed.py "$script" --summary -), 1_000_000)
    end

    test "may be a terminal", %{script: script, tmp_dir: folder} do
      # script(1) is part of every Debian; it creates a terminal and types its input.
      command = ~S[{ printf 'typed\n\004'; sleep 3; } | script -qec "'$script' --summary -" /dev/null]

      assert_chunks(script, folder, command, 6)
    end

    test "that cannot be read is an error with the given name", %{script: script, tmp_dir: folder} do
      assert {"", errors, 1} = chunk(script, folder, ["-", "<", "."])
      assert errors =~ "chunker.chunk: -: illegal operation on a directory"
      assert {"", errors, 1} = chunk(script, folder, ["--nar", "true", "/dev/stdin", "<", "data"])
      assert errors =~ "chunker.chunk: not a NAR"
      assert {"", "scripts/chunk: standard input is closed\n", 1} = chunk(script, folder, ["-", "<&-"])
    end

    test "is not consumed unless it is requested", %{script: script, tmp_dir: folder} do
      command =
        ~S(printf 'data\nrest\n' | { read -r name; "$script" --summary "$name"; read -r rest; [ "$rest" = rest ]; })

      assert_chunks(script, folder, command, 1_000_000)
      assert_chunks(script, folder, ~S("$script" --summary data <&-), 1_000_000)
      assert_chunks(script, folder, ~S("$script" --summary /dev/fd/3 3<data), 1_000_000)
    end

    # Through the VM's own I/O server it would be 8 MB/s since OTP 26.
    test "is as fast as a file", %{script: script, tmp_dir: folder} do
      File.write!(Path.join(folder, "large"), :rand.bytes(100_000_000))

      for command <- [~S("$script" --summary - <large), ~S(cat large | "$script" --summary -)] do
        assert Attempts.once?(fn ->
                 printed = assert_chunks(script, folder, command, 100_000_000)
                 [_, rate] = Regex.run(~r/, (\d+)\.\d MB\/s/, printed)
                 String.to_integer(rate) > 60
               end)
      end
    end
  end

  test "scripts/check-glibc fails if the library needs a newer glibc than allowed", %{tmp_dir: folder} do
    check = fn arguments ->
      System.cmd(Path.join(@root, "scripts/check-glibc"), arguments, cd: folder, stderr_to_stdout: true)
    end

    # The default is the version stated in the guide.
    assert {"needs glibc " <> _, 0} = check.([@library])

    assert {output, 1} = check.([@library, "2.3"])
    assert output =~ "and docs/building.md promises 2.3. What needs 2."
    assert output =~ ~r/\(GLIBC_2\.\d+\)\s+\w+/
    # Versions are compared as numbers, not as text.
    assert {_, 0} = check.([@library, "2.340"])
    assert {output, 1} = check.(["/dev/null"])
    refute output =~ "allowed"
  end
end
