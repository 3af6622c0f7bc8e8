defmodule Mix.Tasks.Compile.ChunkerDocs do
  @moduledoc """
  Writes the documentation of the Erlang modules to where `h/1` of either shell and ExDoc find it.

  `mix compile` runs this compiler. The documentation (EEP 48) goes to `doc/chunks` in the application's folder in
  `_build`. EDoc makes it in a VM of its own. EDoc is a part of OTP that some systems have in a package of its own,
  `erlang-edoc` on Debian: without it nothing is written. After it was installed, `mix compile --force` makes up for it.
  """
  use Mix.Task.Compiler

  @script "scripts/erlang-docs"
  # Those that users call.
  @sources ~w(src/chunker.erl src/chunker_cache.erl src/chunker_nar.erl src/chunker_narinfo.erl src/chunker_store.erl)

  @impl true
  def run(args) do
    files = [@script | Path.wildcard("src/*.{erl,hrl}")]
    digest = files |> Enum.map(&File.read!/1) |> :erlang.md5()

    if "--force" not in args and File.read(manifest()) == {:ok, digest} do
      {:noop, []}
    else
      clean()
      write()
      File.mkdir_p!(Path.dirname(manifest()))
      File.write!(manifest(), digest)
      {:ok, []}
    end
  end

  # A failure costs the documentation and not the build.
  defp write do
    if escript = :os.find_executable(~c"escript", :filename.join(:code.root_dir(), ~c"bin")) do
      arguments = [@script, folder() | @sources]
      System.cmd(to_string(escript), arguments, into: IO.stream(:stdio, :line), stderr_to_stdout: true)
    end
  end

  @impl true
  def manifests, do: [manifest()]

  @impl true
  def clean do
    File.rm_rf!(Path.join(folder(), "chunks"))
    File.rm(manifest())
    :ok
  end

  defp folder, do: Path.join(Mix.Project.app_path(), "doc")
  defp manifest, do: Path.join(Mix.Project.manifest_path(), "compile.chunker_docs")
end
