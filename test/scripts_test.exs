defmodule Chunker.ScriptsTest do
  # scripts/chunk in a copy of the project, which takes the library that is already there.
  use ExUnit.Case, async: true

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

  # Standard output alone: what the build says goes elsewhere.
  defp chunk(script, folder, arguments, locale \\ "C.UTF-8") do
    {printed, status} =
      System.cmd("sh", ["-c", "exec 2>errors; " <> Enum.join(["'#{script}'" | arguments], " ")],
        cd: folder,
        env: [{"CHUNKER_NIF_PATH", @library}, {"LC_ALL", locale}, {"MIX_ENV", nil}]
      )

    {printed, File.read!(Path.join(folder, "errors")), status}
  end

  test "scripts/chunk takes every name as it is, from the folder it is called in", %{
    script: script,
    tmp_dir: folder
  } do
    for {name, size} <- [{"größe", 1}, {<<"a", 255, "b">>, 22}, {"a b\nc", 333}, {"--json", 4444}] do
      File.write!(Path.join(folder, name), :binary.copy("x", size))
    end

    # System.cmd/3 takes text only; so the shell makes the names.
    arguments = ~S[--summary größe "$(printf 'a\377b')" "$(printf 'a b\nc')" "" -- --json]

    for locale <- ["C.UTF-8", "C"] do
      assert {printed, errors, 1} = chunk(script, folder, [arguments], locale)
      assert for([_, bytes] <- Regex.scan(~r/^(\d+) bytes in/m, printed), do: bytes) == ~w(1 22 333 4444 4800)
      assert errors =~ ~s(chunker.chunk: "": no such file or directory)
    end

    # Nothing but what the task prints comes to standard output, and its exit status is the script's.
    assert {~s({"path":"/dev/null") <> _, _, 0} = chunk(script, folder, ["--json", "/dev/null"])
    assert {"", errors, 1} = chunk(script, folder, ["--hash", "md5", "/dev/null"])
    assert errors =~ "option --hash must be blake3 or sha256, not md5"
    assert {"", errors, 1} = chunk(script, folder, [])
    assert errors =~ "which file?"
    assert {"Prints the content-defined chunks" <> _, _, 0} = chunk(script, folder, ["--help"])
    assert {printed, _, 0} = chunk(script, folder, ["--summary", "-", "<", "größe"])
    assert printed =~ "1 bytes in 1 chunk"
  end

  test "scripts/check-glibc fails if the library needs a newer glibc than it may", %{tmp_dir: folder} do
    check = fn arguments ->
      System.cmd(Path.join(@root, "scripts/check-glibc"), arguments, cd: folder, stderr_to_stdout: true)
    end

    # As the guide says.
    assert {"needs glibc " <> _, 0} = check.([@library])

    assert {output, 1} = check.([@library, "2.3"])
    assert output =~ "and docs/building.md promises 2.3. What needs 2."
    assert output =~ ~r/\(GLIBC_2\.\d+\)\s+\w+/
    # Versions are compared as numbers, and not as text.
    assert {_, 0} = check.([@library, "2.340"])
    assert {output, 1} = check.(["/dev/null"])
    refute output =~ "allowed"
  end
end
