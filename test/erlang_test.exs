defmodule Chunker.ErlangTest do
  # The Erlang face in a plain Erlang node, which has this application's `ebin` on its code path and no Elixir.
  use ExUnit.Case, async: true

  @moduletag :tmp_dir
  @tests Path.join(__DIR__, "chunker_tests.erl")

  test "the EUnit tests of module chunker pass without Elixir", %{tmp_dir: folder} do
    ebin = Path.join(Mix.Project.app_path(), "ebin")

    {output, status} =
      System.cmd("erlc", ["-Werror", "-pa", ebin, "-o", folder, @tests], stderr_to_stdout: true)

    assert {output, status} == {"", 0}

    code = """
    case eunit:test(chunker_tests, [{print_depth, 100}]) of ok -> halt(0); _ -> halt(1) end.
    """

    arguments = ["-noshell", "-noinput", "-pa", ebin, "-pa", folder, "-eval", code]
    # Elixir hands its own folders down.
    environment = [{"TMPDIR", folder}, {"ERL_LIBS", nil}, {"ERL_FLAGS", nil}, {"ERL_AFLAGS", nil}]
    {output, status} = System.cmd("erl", arguments, stderr_to_stdout: true, env: environment)
    assert status == 0, output
    # Every test of the file was run.
    [_, count] = Regex.run(~r/All (\d+) tests passed/, output)
    assert String.to_integer(count) > 55
  end
end
