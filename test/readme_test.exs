defmodule Chunker.ReadmeTest do
  # The tours of the README, as somebody would type them.
  use ExUnit.Case, async: true

  @moduletag :tmp_dir

  @readme File.read!(Path.expand("../README.md", __DIR__))
  @ebin Path.join(Mix.Project.app_path(), "ebin")

  # The blocks of a section, each with a line in it that tells it from other code.
  defp block(language, line) do
    blocks = Regex.scan(~r/^```#{language}\n(.*?)^```$/ms, @readme, capture: :all_but_first)
    assert [code] = for([code] <- blocks, code =~ line, do: code)
    code
  end

  for {name, line} <- [
        {"the tour in Elixir", "# What are the chunks of this file?"},
        {"Nix archives", "Chunker.Nar.dump("}
      ] do
    test "#{name} works as it stands", %{tmp_dir: folder} do
      code = block("elixir", unquote(line)) <> ~s|\nIO.puts("to its end")|
      arguments = ["-pa", @ebin, "-e", code]
      {output, status} = System.cmd("elixir", arguments, cd: folder, stderr_to_stdout: true)
      assert {status, output =~ "to its end"} == {0, true}, output
      refute output =~ "deprecated"
    end
  end

  test "the tour in Erlang works as it stands", %{tmp_dir: folder} do
    code = block("erlang", "chunker:next(Stream)") <> ~s|io:put_chars("to its end"), halt().|
    environment = [{"ERL_LIBS", nil}, {"ERL_FLAGS", nil}, {"ERL_AFLAGS", nil}]
    arguments = ["-noinput", "-pa", @ebin, "-eval", String.replace(code, ~s|"/nowhere").|, ~s|"/nowhere"),|)]
    {output, status} = System.cmd("erl", arguments, cd: folder, stderr_to_stdout: true, env: environment)
    assert {output, status} == {"to its end", 0}
  end
end
