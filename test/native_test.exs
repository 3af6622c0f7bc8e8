defmodule Chunker.NativeTest do
  use ExUnit.Case, async: true

  @ebin Path.join(Mix.Project.app_path(), "ebin")

  # Runs in a node of its own, since this one has the library loaded. Only `ebin` is on its code path, under a folder
  # that is not named after the application, and there is no Elixir.
  defp call_in_plain_erlang(app) do
    code = ~S"""
    try io:format("returned ~p", [chunker_nif:info()])
    catch error:#{message := Message} -> io:format("~ts", [Message])
    end, halt().
    """

    {output, 0} = System.cmd("erl", ["-noshell", "-noinput", "-pa", Path.join(app, "ebin"), "-eval", code])
    output
  end

  defp app_with_library(tmp_dir, library) do
    app = Path.join(tmp_dir, "some_folder")
    File.mkdir_p!(Path.join(app, "priv"))
    File.cp_r!(@ebin, Path.join(app, "ebin"))
    if library, do: File.write!(Path.join(app, "priv/chunker_nif.so"), library)
    app
  end

  @tag :tmp_dir
  test "loads in a plain Erlang node, whatever the folder is called", %{tmp_dir: tmp_dir} do
    library = File.read!(Path.join(Mix.Project.app_path(), "priv/chunker_nif.so"))
    assert call_in_plain_erlang(app_with_library(tmp_dir, library)) =~ "returned "
  end

  @tag :tmp_dir
  test "explains to every caller why a broken library does not load", %{tmp_dir: tmp_dir} do
    app = app_with_library(tmp_dir, String.duplicate("this is no library\n", 100))
    message = call_in_plain_erlang(app)

    assert message =~ Path.join(app, "priv/chunker_nif.so") <> " (1900 bytes)\n"
    assert message =~ "#{:erlang.system_info(:system_architecture)}"
    assert message =~ "NIF version #{:erlang.system_info(:nif_version)} (the library needs 2.15"
    # The dynamic linker's own words.
    assert message =~ "invalid ELF header" or message =~ "not a mach-o"
  end

  @tag :tmp_dir
  test "explains that the library is missing", %{tmp_dir: tmp_dir} do
    app = app_with_library(tmp_dir, nil)
    message = call_in_plain_erlang(app)

    assert message =~ "could not be loaded"
    assert message =~ Path.join(app, "priv/chunker_nif.so") <> " (missing)\n"
  end

  @tag :tmp_dir
  test "tells a library for another kind of machine from a missing one", %{tmp_dir: tmp_dir} do
    <<before::binary-size(18), machine, rest::binary>> =
      File.read!(Path.join(Mix.Project.app_path(), "priv/chunker_nif.so"))

    # x86-64 and 64-bit ARM, as ELF numbers them.
    other = if machine == 0x3E, do: 0xB7, else: 0x3E
    app = app_with_library(tmp_dir, <<before::binary, other, rest::binary>>)
    message = call_in_plain_erlang(app)

    assert message =~ "could not be loaded"
    assert message =~ "priv/chunker_nif.so (#{19 + byte_size(rest)} bytes)\n"
  end

  @tag :tmp_dir
  test "raises that explanation in Elixir too", %{tmp_dir: tmp_dir} do
    app = app_with_library(tmp_dir, nil)
    arguments = ["-pa", Path.join(app, "ebin"), "-e", ":chunker_nif.info()"]
    {output, 1} = System.cmd("elixir", arguments, stderr_to_stdout: true)

    assert output =~ "** (RuntimeError) The native library of Chunker could not be loaded.\n  library: #{app}"
  end
end
