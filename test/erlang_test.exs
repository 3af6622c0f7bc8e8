defmodule Chunker.ErlangTest do
  # The Erlang API in a plain Erlang node, which has this application's `ebin` on its code path and no Elixir.
  use ExUnit.Case, async: true

  @moduletag :tmp_dir

  # The minimum number of tests in a module.
  for {module, least} <- [
        chunker_tests: 55,
        chunker_nar_tests: 6,
        chunker_narinfo_tests: 6,
        chunker_cache_tests: 5
      ] do
    test "the EUnit tests of #{module} pass without Elixir", %{tmp_dir: folder} do
      run(unquote(module), unquote(least), folder)
    end
  end

  defp run(module, least, folder) do
    ebin = Path.join(Mix.Project.app_path(), "ebin")
    source = Path.join(__DIR__, "#{module}.erl")

    {output, status} =
      System.cmd("erlc", ["-Werror", "-pa", ebin, "-o", folder, source], stderr_to_stdout: true)

    assert {output, status} == {"", 0}

    code = """
    case eunit:test(#{module}, [{print_depth, 100}]) of ok -> halt(0); _ -> halt(1) end.
    """

    arguments = ["-noshell", "-noinput", "-pa", ebin, "-pa", folder, "-eval", code]
    # Elixir passes its own folders to child processes.
    environment = [{"TMPDIR", folder}, {"ERL_LIBS", nil}, {"ERL_FLAGS", nil}, {"ERL_AFLAGS", nil}]
    {output, status} = System.cmd("erl", arguments, stderr_to_stdout: true, env: environment)
    assert status == 0, output
    # Every test of the file has run.
    [_, count] = Regex.run(~r/All (\d+) tests passed/, output)
    assert String.to_integer(count) >= least
  end
end
