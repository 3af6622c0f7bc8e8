defmodule Chunker.ErlangDocsTest do
  # The output of h/1 for the Erlang modules in either shell.
  use ExUnit.Case, async: true

  @ebin Path.join(Mix.Project.app_path(), "ebin")
  @modules [:chunker, :chunker_cache, :chunker_nar, :chunker_narinfo, :chunker_store]
  # Exported for other modules of Chunker, and for the VM.
  @internal [module_info: 0, module_info: 1, chunk: 3, chunk_file: 3, chunk_data: 3, chunk_files: 3, entry: 1]

  for module <- @modules do
    test "#{module} and each of its functions have documentation" do
      module = unquote(module)
      assert {:docs_v1, _, :erlang, format, %{"en" => documentation}, _, docs} = Code.fetch_docs(module)
      otp = :erlang.system_info(:otp_release) |> List.to_integer()
      assert format == if(otp >= 27, do: "text/markdown", else: "application/erlang+html")
      assert documentation != ""

      for {name, arity} = function <- module.module_info(:exports), function not in @internal do
        assert {_, _, _, documentation, _} = List.keyfind(docs, {:function, name, arity}, 0),
               inspect(function)

        assert %{"en" => text} = documentation, inspect(function)
        assert text != "", inspect(function)
      end
    end
  end

  test "h/1 of Erlang's shell prints it" do
    code = "c:h(chunker), c:h(chunker, chunk_file, 2), c:h(chunker_nar, dump, 3), halt()."
    # Elixir passes its own folders to child processes.
    environment = [{"ERL_LIBS", nil}, {"ERL_FLAGS", nil}, {"ERL_AFLAGS", nil}]
    # Before OTP 27 the shell stops after a hundred lines, and waits for the answer that there shall be more.
    command = "yes | exec erl -noshell -pa \"$1\" -eval \"$2\""
    {output, 0} = System.cmd("sh", ["-c", command, "sh", @ebin, code], env: environment)
    shown = plain(output)

    for part <- [
          "Content-defined chunking for Erlang.",
          ~S|{ok, Chunks} = chunker:chunk_file("/var/backups/db.tar", [{hash, sha256}]),|,
          "avg_size: bytes, 256 to 4,194,304; sizes gather around it.",
          "chunk_file(Path :: file:name_all(), Options :: options())",
          "Returns the chunks of a file, without their bytes.",
          "Errors: io_error with kind (enoent, eacces, eisdir and so on) and path;",
          "Writes the archive of the tree at Path to a file,"
        ] do
      assert shown =~ part
    end
  end

  test "h/1 of Elixir's shell prints it" do
    code = "import IEx.Helpers; h(:chunker); h(:chunker.chunk_file/2); h(:chunker_nar.dump)"
    {output, 0} = System.cmd("elixir", ["-pa", @ebin, "-e", code])
    shown = plain(output)

    for part <- [
          "Content-defined chunking for Erlang.",
          ~S|{ok, Chunks} = chunker:chunk_file("/var/backups/db.tar", [{hash, sha256}]),|,
          "avg_size: bytes, 256 to 4,194,304; sizes gather around it.",
          "Returns the chunks of a file, without their bytes.",
          "Errors: io_error with kind (enoent, eacces, eisdir and so on) and path;",
          "Writes the archive of the tree at Path to a file,"
        ] do
      assert shown =~ part
    end
  end

  # Removes colours, marks and line breaks.
  defp plain(text) do
    text |> String.replace(~r/\e\[[\d;]*m|`/, "") |> String.split() |> Enum.join(" ")
  end
end
