defmodule Chunker.ReadmeTest do
  # The examples of the README, executed as a user would type them.
  use ExUnit.Case, async: true

  @moduletag :tmp_dir

  @readme File.read!(Path.expand("../README.md", __DIR__))
  @ebin Path.join(Mix.Project.app_path(), "ebin")

  # The code blocks of a section, each identified by one of its lines.
  defp block(language, line) do
    blocks = Regex.scan(~r/^```#{language}\n(.*?)^```$/ms, @readme, capture: :all_but_first)
    assert [code] = for([code] <- blocks, code =~ line, do: code)
    code
  end

  for {name, line} <- [
        {"the tour in Elixir", "# What are the chunks of this file?"},
        {"Nix archives", "Chunker.Nar.dump("}
      ] do
    test "#{name} runs unchanged", %{tmp_dir: folder} do
      code = block("elixir", unquote(line)) <> ~s|\nIO.puts("to its end")|
      arguments = ["-pa", @ebin, "-e", code]
      {output, status} = System.cmd("elixir", arguments, cd: folder, stderr_to_stdout: true)
      assert {status, output =~ "to its end"} == {0, true}, output
      refute output =~ "deprecated"
    end
  end

  test "the Erlang examples run unchanged", %{tmp_dir: folder} do
    code = block("erlang", "chunker:next(Stream)") <> ~s|io:put_chars("to its end"), halt().|
    environment = [{"ERL_LIBS", nil}, {"ERL_FLAGS", nil}, {"ERL_AFLAGS", nil}]
    arguments = ["-noinput", "-pa", @ebin, "-eval", String.replace(code, ~s|"/nowhere").|, ~s|"/nowhere"),|)]
    {output, status} = System.cmd("erl", arguments, cd: folder, stderr_to_stdout: true, env: environment)
    assert {output, status} == {"to its end", 0}
  end
end
