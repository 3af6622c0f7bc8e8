defmodule Chunker.NativeTest do
  use ExUnit.Case, async: true

  @ebin Path.join(Mix.Project.app_path(), "ebin")

  # Runs in a separate node, because this one has the library loaded. Only `ebin` is on its code path, in a
  # folder that is not named after the application, and there is no Elixir.
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
  test "loads in a plain Erlang node, from a folder of any name", %{tmp_dir: tmp_dir} do
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
    # The message of the dynamic linker.
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
  test "distinguishes a library for another architecture from a missing one", %{tmp_dir: tmp_dir} do
    <<before::binary-size(18), machine, rest::binary>> =
      File.read!(Path.join(Mix.Project.app_path(), "priv/chunker_nif.so"))

    # The ELF numbers of x86-64 and 64-bit ARM.
    other = if machine == 0x3E, do: 0xB7, else: 0x3E
    app = app_with_library(tmp_dir, <<before::binary, other, rest::binary>>)
    message = call_in_plain_erlang(app)

    assert message =~ "could not be loaded"
    assert message =~ "priv/chunker_nif.so (#{19 + byte_size(rest)} bytes)\n"
  end

  @tag :tmp_dir
  test "raises the same explanation in Elixir", %{tmp_dir: tmp_dir} do
    app = app_with_library(tmp_dir, nil)
    arguments = ["-pa", Path.join(app, "ebin"), "-e", ":chunker_nif.info()"]
    {output, 1} = System.cmd("elixir", arguments, stderr_to_stdout: true)

    assert output =~ "** (RuntimeError) The native library of Chunker could not be loaded.\n  library: #{app}"
  end

  @tag :tmp_dir
  test "an escript takes the library from beside itself, or from CHUNKER_NIF_PATH", %{tmp_dir: tmp_dir} do
    library = Path.join(Mix.Project.app_path(), "priv/chunker_nif.so")
    script = Path.join(tmp_dir, "some_tool")

    main = ~S"""
    -module(some_tool).
    -export([main/1]).
    main([Text]) ->
        try io:format("~s", [binary:encode_hex(chunker:hash(Text, sha256))])
        catch error:#{message := Message} -> io:format("~ts", [Message])
        end.
    """

    source = Path.join(tmp_dir, "some_tool.erl")
    File.write!(source, main)
    {:ok, :some_tool, code} = :compile.file(String.to_charlist(source), [:binary])

    beams = Path.wildcard(Path.join(@ebin, "chunker*.beam")) ++ [Path.join(@ebin, "chunker.app")]

    create = fn folder ->
      files = for beam <- beams, do: {~c"#{folder}#{Path.basename(beam)}", File.read!(beam)}
      archive = [{~c"some_tool/ebin/some_tool.beam", code}, {~c"some_tool.beam", code} | files]
      parts = [:shebang, {:emu_args, ~c"-escript main some_tool"}, {:archive, archive, []}]
      :ok = :escript.create(String.to_charlist(script), parts)
    end

    run = fn environment ->
      {output, 0} = System.cmd("escript", [script, "content"], env: [{"CHUNKER_NIF_PATH", nil} | environment])
      output
    end

    digest = "content" |> Chunker.hash(:sha256) |> Base.encode16()

    # The layouts of rebar3 and of Mix.
    for folder <- ["chunker/ebin/", ""] do
      create.(folder)
      message = run.([])
      assert message =~ Path.join(tmp_dir, "chunker_nif.so") <> " (missing)\n"

      assert message =~
               "#{script} is an archive, from which no library can be loaded. Put a copy of priv/chunker_nif.so"

      assert run.([{"CHUNKER_NIF_PATH", library}]) == digest
      assert run.([{"CHUNKER_NIF_PATH", script <> ".so"}]) =~ script <> ".so (missing)\n"
      File.cp!(library, Path.join(tmp_dir, "chunker_nif.so"))
      assert run.([]) == digest
      # Through a link from another folder.
      link = Path.join([tmp_dir, "bin", "link"])
      File.mkdir_p!(Path.dirname(link))
      File.rm(link)
      File.ln_s!("../some_tool", link)
      assert {^digest, 0} = System.cmd("escript", [link, "content"], env: [{"CHUNKER_NIF_PATH", nil}])
      File.rm!(Path.join(tmp_dir, "chunker_nif.so"))
    end
  end

  describe "reloading" do
    # Runs code in a separate VM, with Elixir and the application's folder, and returns the value of the code.
    defp in_vm(app, code) do
      script =
        ":logger.set_primary_config(:level, :none)\n(" <>
          code <> ") |> inspect(limit: :infinity) |> IO.puts()"

      arguments = ["-pa", Path.join(app, "ebin"), "-e", script]
      {output, 0} = System.cmd("sh", ["-c", "exec elixir \"$@\" 2>/dev/null", "sh" | arguments])
      output |> Code.eval_string() |> elem(0)
    end

    # Binds a stream, a cache, a compressor and a decompressor that are in use, and `proceed`, which continues
    # to use them.
    @in_use """
    data = :binary.copy("some content ", 100_000)
    {:ok, stream} = :chunker.stream([data, data], avg_size: 65_536)
    {:ok, first, stream} = :chunker.next(stream)
    cache = Chunker.Cache.new()
    digest = Chunker.Cache.put(cache, data, :blake3)
    {:ok, compressor} = Chunker.Compressor.new(codec: :xz)
    {:ok, head} = Chunker.Compressor.update(compressor, data)
    {:ok, decompressor} = Chunker.Decompressor.new()
    {:ok, begin} = Chunker.Decompressor.update(decompressor, binary_part(Chunker.compress!(data), 0, 20))

    rest = fn rest, stream ->
      case :chunker.next(stream) do
        {:ok, chunk, stream} -> chunk.data <> rest.(rest, stream)
        :done -> ""
      end
    end

    proceed = fn ->
      {:ok, tail} = Chunker.Compressor.finish(compressor)
      {:ok, back} = Chunker.Decompressor.update(decompressor, binary_part(Chunker.compress!(data), 20, 40))

      [
        stream: first.data <> rest.(rest, stream) == data <> data,
        cache: Chunker.Cache.get(cache, data, :blake3) == digest,
        compressor: Chunker.decompress!([head, tail]) == data,
        decompressor: String.starts_with?(data, IO.iodata_to_binary([begin, back]))
      ]
    end
    """
    @goes_on [stream: true, cache: true, compressor: true, decompressor: true]

    test "is rejected in a running VM, whose streams, caches and coders remain usable" do
      code = """
      #{@in_use}
      reloaded = for _ <- 1..3, do: :code.load_file(:chunker_nif)
      purged = {:code.purge(:chunker_nif), :code.soft_purge(:chunker_nif)}
      {reloaded, purged, proceed.(), byte_size(Chunker.hash("abc", :sha256))}
      """

      refused = List.duplicate({:error, :on_load_failure}, 3)
      assert in_vm(Mix.Project.app_path(), code) == {refused, {false, true}, @goes_on, 32}
    end

    test "is rejected while calls run" do
      code = """
      Chunker.info()
      task = Task.async(fn -> Chunker.compress!(:binary.copy("some content ", 2_000_000), codec: :xz) end)
      Process.sleep(100)
      reloaded = :code.load_file(:chunker_nif)
      {reloaded, Task.yield(task, 0), task |> Task.await(60_000) |> Chunker.decompress!() |> byte_size()}
      """

      assert in_vm(Mix.Project.app_path(), code) == {{:error, :on_load_failure}, nil, 26_000_000}
    end

    @tag :tmp_dir
    test "is rejected if the library is missing or broken by now", %{tmp_dir: tmp_dir} do
      library = File.read!(Path.join(Mix.Project.app_path(), "priv/chunker_nif.so"))
      app = app_with_library(tmp_dir, library)
      file = Path.join(app, "priv/chunker_nif.so")

      code = """
      #{@in_use}
      File.rm!(#{inspect(file)})
      gone = :code.load_file(:chunker_nif)
      File.write!(#{inspect(file)}, "no library")
      {gone, :code.load_file(:chunker_nif), proceed.()}
      """

      assert in_vm(app, code) == {{:error, :on_load_failure}, {:error, :on_load_failure}, @goes_on}
    end

    @tag :tmp_dir
    test "loads the library once it is there", %{tmp_dir: tmp_dir} do
      app = app_with_library(tmp_dir, nil)
      File.mkdir_p!(Path.join(app, "priv"))
      library = Path.join(Mix.Project.app_path(), "priv/chunker_nif.so")

      code = """
      hash = fn -> try do Chunker.hash("abc", :sha256) |> byte_size() rescue e in RuntimeError -> e.message end end
      before = hash.()
      File.cp!(#{inspect(library)}, #{inspect(Path.join(app, "priv/chunker_nif.so"))})
      {before, :code.load_file(:chunker_nif), hash.()}
      """

      assert {"The native library of Chunker could not be loaded." <> _, {:module, :chunker_nif}, 32} =
               in_vm(app, code)
    end

    test "of other modules works, as by `recompile` and `r Chunker` in IEx" do
      code = """
      #{@in_use}
      modules = [Chunker, Chunker.Compressor, :chunker, :chunker_dispatch, :chunker_options]
      reloaded = for module <- modules, do: {:code.purge(module), elem(:code.load_file(module), 0)}
      {Enum.uniq(reloaded), proceed.()}
      """

      assert in_vm(Mix.Project.app_path(), code) == {[{false, :module}], @goes_on}
    end

    test "is not needed after the code was deleted, which the Erlang compiler of Mix does before it writes a module" do
      code = """
      before = Chunker.hash("abc", :sha256)
      deleted = :code.delete(:chunker_nif)
      {deleted, Chunker.hash("abc", :sha256) == before, :code.load_file(:chunker_nif)}
      """

      assert in_vm(Mix.Project.app_path(), code) == {true, true, {:error, :on_load_failure}}
    end
  end
end
