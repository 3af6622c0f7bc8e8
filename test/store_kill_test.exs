defmodule Chunker.StoreKillTest do
  # A few rounds of scripts/kill-store.
  use ExUnit.Case, async: true

  # It takes half a minute.
  @moduletag :kill
  @moduletag :tmp_dir

  @ebin Path.join(Mix.Project.app_path(), "ebin")
  @script Path.expand("support/kill_store.exs", __DIR__)

  test "a store survives kills of VMs that use it", %{tmp_dir: folder} do
    seed = "#{ExUnit.configuration()[:seed]}"
    arguments = ["-pa", @ebin, @script, "drive", Path.join(folder, "kills"), "12", seed]
    {output, status} = System.cmd("elixir", arguments, stderr_to_stdout: true)
    assert status == 0, output
    assert output =~ ~r/^12 kills in 4 rounds; .* no fault/m
  end
end
