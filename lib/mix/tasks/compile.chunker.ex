defmodule Mix.Tasks.Compile.Chunker do
  @moduledoc false
  use Mix.Task.Compiler

  @impl true
  def run(_args) do
    {_, 0} = System.cmd("cargo", ["build", "--release", "-p", "chunker_nif"], into: IO.stream())
    priv = Path.join(Mix.Project.app_path(), "priv")
    File.mkdir_p!(priv)
    File.cp!("target/release/libchunker_nif.so", Path.join(priv, "chunker_nif.so"))
    :ok
  end
end
