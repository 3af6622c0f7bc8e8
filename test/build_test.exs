defmodule Chunker.BuildTest do
  # Builds a copy of the project in separate folders, as for a user who gets it from Hex: the copy holds the
  # files of the package and no others. Its Cargo target folder is kept between runs, and its code is not
  # optimized: these tests check how the library is built and found.
  use ExUnit.Case, async: false

  @moduletag :build
  @moduletag timeout: 600_000

  @root Path.expand("..", __DIR__)
  @area Path.join(@root, "_build/build_test")
  @copy Path.join(@area, "chunker")
  @consumer Path.join(@area, "consumer")
  @target Path.join(@consumer, "_build/chunker_target")
  @engine Path.join(@copy, "native/chunker/src/lib.rs")

  # The environment of this run must not affect the projects below.
  @unset for name <- ~w(MIX_EXS MIX_BUILD_PATH MIX_BUILD_ROOT MIX_DEPS_PATH MIX_TARGET CARGO_TARGET_DIR
                        CARGO_BUILD_TARGET_DIR CARGO_BUILD_TARGET CHUNKER_NIF_PATH RUSTFLAGS),
             do: {name, nil}
  @cheap [
    {"CARGO_PROFILE_RELEASE_LTO", "off"},
    {"CARGO_PROFILE_RELEASE_OPT_LEVEL", "0"},
    {"CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"}
  ]

  setup_all do
    for path <- [@copy, Path.join(@consumer, "_build/dev"), Path.join(@consumer, "_build/prod")],
        do: File.rm_rf!(path)

    copy_package(@copy)
    write_consumer()
    before = files(@copy)
    {output, status} = mix(@consumer, ["compile"])
    assert status == 0, output
    %{before: before, first_build: output}
  end

  # The projects.

  defp copy_package(to) do
    for pattern <- Mix.Project.config()[:package][:files],
        source <- Path.wildcard(Path.join(@root, pattern), match_dot: true) do
      destination = Path.join(to, Path.relative_to(source, @root))
      File.mkdir_p!(Path.dirname(destination))
      File.cp_r!(source, destination)
    end
  end

  defp write_consumer do
    File.mkdir_p!(Path.join(@consumer, "lib"))

    File.write!(Path.join(@consumer, "mix.exs"), """
    defmodule Consumer.MixProject do
      use Mix.Project
      def project, do: [app: :consumer, version: "1.0.0", deps: [{:chunker, path: "../chunker"}]]
      def application, do: []
    end
    """)

    File.mkdir_p!(Path.join(@consumer, "config"))

    File.write!(Path.join(@consumer, "config/config.exs"), """
    import Config
    config :chunker, threads: 3
    """)

    File.write!(Path.join(@consumer, "config/runtime.exs"), """
    import Config
    if threads = System.get_env("THREADS"), do: config(:chunker, threads: String.to_integer(threads))
    """)

    File.write!(Path.join(@consumer, "lib/consumer.ex"), """
    defmodule Consumer do
      def info, do: :chunker_nif.info()
    end
    """)
  end

  defp files(folder),
    do: folder |> Path.join("**") |> Path.wildcard(match_dot: true) |> Enum.filter(&File.regular?/1)

  # `mix` in `folder`, with both output streams in one.
  defp mix(folder, arguments, variables \\ []) do
    variables = @unset ++ @cheap ++ [{"MIX_ENV", "dev"}] ++ variables
    System.cmd("mix", arguments, cd: folder, env: variables, stderr_to_stdout: true)
  end

  # `mix` in the copy itself, which shares the compiled crates with the consumer.
  defp mix_in_copy(arguments, variables \\ []),
    do: mix(@copy, arguments, [{"CARGO_TARGET_DIR", @target} | variables])

  defp compile!(variables \\ []) do
    {output, status} = mix_in_copy(["compile"], variables)
    assert status == 0, output
    output
  end

  # Returns what the compiler returns to Mix: its status and diagnostics.
  defp compiler_result(variables \\ [], arguments \\ []) do
    answer = Path.join(@area, "answer")
    File.rm(answer)

    code =
      "result = Mix.Task.run(\"compile.chunker\", #{inspect(arguments)}); " <>
        "File.write!(#{inspect(answer)}, :erlang.term_to_binary(result))"

    {output, status} = mix_in_copy(["run", "--no-compile", "--no-start", "-e", code], variables)
    assert status == 0, output
    {answer |> File.read!() |> :erlang.binary_to_term(), output}
  end

  defp library(env \\ "dev"), do: Path.join(@copy, "_build/#{env}/lib/chunker/priv/chunker_nif.so")

  # Returns what the library of the copy answers, in a separate VM.
  defp call_library do
    mix_in_copy(["run", "--no-compile", "--no-start", "-e", "IO.inspect(:chunker_nif.info())"])
  end

  # Replaces the contents of the file while `test` runs, and compiles the original ones at the end.
  defp with_contents(path, contents, test) do
    old = File.read(path)

    try do
      File.mkdir_p!(Path.dirname(path))
      File.write!(path, contents)
      test.()
    after
      case old do
        {:ok, bytes} -> File.write!(path, bytes)
        {:error, :enoent} -> File.rm!(path)
      end
    end
  end

  # Returns a PATH whose first `cargo` is a script that records that it was called.
  defp path_with_cargo(folder, script) do
    cargo = Path.join(folder, "cargo")
    File.write!(cargo, "#!/bin/sh\ntouch #{folder}/called\n#{script}\n")
    File.chmod!(cargo, 0o755)
    {"PATH", folder <> ":" <> System.fetch_env!("PATH")}
  end

  # Returns a PATH with everything except the Rust tools.
  defp path_without_rust(folder), do: path_without(["cargo", "rust"], folder)

  # Returns a PATH with everything except programs whose names begin with one of these.
  defp path_without(prefixes, folder) do
    for directory <- String.split(System.fetch_env!("PATH"), ":", trim: true),
        {:ok, names} <- [File.ls(directory)],
        name <- names,
        not String.starts_with?(name, prefixes) do
      # The first program of a name wins, as on a PATH.
      File.ln_s(Path.join(directory, name), Path.join(folder, name))
    end

    {"PATH", folder}
  end

  defp inode(path), do: File.stat!(path).inode

  describe "as a dependency" do
    test "is compiled and called", %{first_build: output} do
      assert output =~ "Compiling crate chunker_nif (release)"

      {output, 0} = mix(@consumer, ["run", "-e", "IO.inspect(Consumer.info())"])
      assert output =~ Chunker.MixProject.project()[:version]
    end

    test "writes nothing into its sources", %{before: before} do
      {_, 0} = mix(@consumer, ["compile"])
      written = Enum.reject(files(@copy) -- before, &String.starts_with?(&1, Path.join(@copy, "_build")))
      assert written == []
      assert File.dir?(Path.join(@target, "release"))
    end

    test "goes into a release" do
      {output, status} = mix(@consumer, ["release", "--overwrite"], [{"MIX_ENV", "prod"}])
      assert status == 0, output

      # The release must not need the contents of the project's `_build`.
      release = Path.join(@area, "release")
      File.rm_rf!(release)
      File.cp_r!(Path.join(@consumer, "_build/prod/rel/consumer"), release)
      File.rm_rf!(Path.join(@consumer, "_build/prod"))

      assert {output, 0} = eval(release, "IO.inspect(Consumer.info())")
      assert output =~ Chunker.MixProject.project()[:version]

      # There, no application is started, and with older versions of Elixir none is loaded.
      threads =
        "IO.inspect({List.keymember?(Application.started_applications(), :chunker, 0), Chunker.info().threads})"

      assert eval(release, threads) == {"{false, 3}\n", 0}
      assert eval(release, threads, [{"THREADS", "5"}]) == {"{false, 5}\n", 0}
      assert {output, 1} = eval(release, ~s{Chunker.chunk_data("abc")}, [{"THREADS", "0"}])

      assert output =~
               "** (ArgumentError) the configuration of application chunker has threads: 0, which must be"
    end

    defp eval(release, code, variables \\ []) do
      System.cmd(Path.join(release, "bin/consumer"), ["eval", code], stderr_to_stdout: true, env: variables)
    end
  end

  describe "as a dependency of rebar3, from git" do
    @erlang Path.join(@area, "erlang")
    @repository Path.join(@erlang, "chunker")
    @project Path.join(@erlang, "my_app")

    setup do
      # Dialyzer's types of OTP are kept between runs.
      for path <- [@repository, @project], do: File.rm_rf!(path)
      copy_package(@repository)
      for arguments <- [["init", "-q"], ["add", "."], ["commit", "-q", "-m", "All"]], do: git!(arguments)

      write_in_project("rebar.config", """
      {erl_opts, [debug_info]}.
      {deps, [{chunker, {git, "file://#{@repository}", {branch, "main"}}}]}.
      {relx, [{release, {my_app, "1.0.0"}, [my_app]}, {include_erts, true}]}.
      {dialyzer, [{base_plt_location, "#{@erlang}"}]}.
      """)

      write_in_project("src/my_app.app.src", """
      {application, my_app, [{vsn, "1.0.0"}, {registered, []}, {applications, [kernel, stdlib, chunker]}]}.
      """)

      write_in_project("src/my_app.erl", """
      -module(my_app).
      -export([count/1]).
      -spec count(file:name_all()) -> {ok, non_neg_integer()} | {error, chunker:error()}.
      count(Path) ->
          case chunker:chunk_file(Path, [{hash, sha256}]) of
              {ok, Chunks} -> {ok, length(Chunks)};
              Error -> Error
          end.
      """)
    end

    defp git!(arguments) do
      identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
      {output, status} = System.cmd("git", identity ++ arguments, cd: @repository, stderr_to_stdout: true)
      assert status == 0, output
    end

    defp write_in_project(path, contents) do
      path = Path.join(@project, path)
      File.mkdir_p!(Path.dirname(path))
      File.write!(path, contents)
    end

    defp rebar3(arguments, variables) do
      # Elixir passes its own folders to child processes. The crates that Cargo compiled for the other tests
      # are reused.
      own = [{"ERL_LIBS", nil}, {"ERL_FLAGS", nil}, {"ERL_AFLAGS", nil}, {"CARGO_TARGET_DIR", @target}]
      variables = @unset ++ @cheap ++ own ++ variables
      System.cmd("rebar3", arguments, cd: @project, env: variables, stderr_to_stdout: true)
    end

    # Without Elixir and without a plugin.
    @tag :tmp_dir
    test "it is compiled, called, analysed and released", %{tmp_dir: tmp_dir} do
      path = path_without(["elixir", "mix", "iex"], Path.join(tmp_dir, "bin") |> tap(&File.mkdir_p!/1))
      assert {output, 0} = rebar3(["compile"], [path])
      assert output =~ "Compiling my_app"
      libraries = Path.join(@project, "_build/default/lib")
      assert File.exists?(Path.join(libraries, "chunker/doc/chunks/chunker.chunk"))

      expected = {:ok, length(Chunker.chunk_file!(__ENV__.file))}
      assert count(libraries) == expected

      # Dialyzer reports nothing for the correct project, and finds an error.
      assert {output, 0} = rebar3(["dialyzer"], [path])
      refute output =~ "Warnings"
      source = File.read!(Path.join(@project, "src/my_app.erl"))
      write_in_project("src/my_app.erl", String.replace(source, "chunk_file(Path,", "chunk_file(1.0,"))
      assert {output, 1} = rebar3(["dialyzer"], [path])
      assert output =~ "chunker:chunk_file"
      write_in_project("src/my_app.erl", source)

      assert {_, 0} = rebar3(["release"], [path])
      File.rm_rf!(libraries)
      release = Path.join(@project, "_build/default/rel/my_app")
      assert count(Path.join(release, "lib")) == expected
    end

    defp count(libraries) do
      code = ~S|io:format("~p.", [my_app:count(hd(init:get_plain_arguments()))]), halt().|
      arguments = ["-noinput", "-eval", code, "-extra", __ENV__.file]
      {output, 0} = System.cmd("erl", arguments, env: [{"ERL_LIBS", libraries}])
      {:ok, tokens, _} = output |> String.to_charlist() |> :erl_scan.string()
      {:ok, term} = :erl_parse.parse_term(tokens)
      term
    end

    @tag :tmp_dir
    test "a library from elsewhere needs no Rust, and anything missing is explained", %{tmp_dir: tmp_dir} do
      compile!()
      prebuilt = Path.join(tmp_dir, "prebuilt.so")
      File.cp!(library(), prebuilt)
      path = path_without_rust(Path.join(tmp_dir, "bin") |> tap(&File.mkdir_p!/1))
      home = {"CARGO_HOME", tmp_dir}

      assert {output, 1} = rebar3(["compile"], [path, home])
      assert output =~ "Chunker: Cargo was not found on the PATH."
      assert {output, 1} = rebar3(["compile"], [path, home, {"CHUNKER_NIF_PATH", prebuilt <> "x"}])
      assert output =~ "Chunker: CHUNKER_NIF_PATH names no file: #{prebuilt}x"
      assert {output, 1} = rebar3(["compile"], [path, home, {"CHUNKER_NIF_PATH", "lib.so"}])
      assert output =~ "Chunker: CHUNKER_NIF_PATH must be an absolute path"

      assert {_, 0} = rebar3(["compile"], [path, home, {"CHUNKER_NIF_PATH", prebuilt}])
      copy = Path.join(@project, "_build/default/lib/chunker/priv/chunker_nif.so")
      assert File.read!(copy) == File.read!(prebuilt)
    end

    test "features are chosen, and an error of rustc is shown" do
      assert {_, 0} = rebar3(["compile"], [{"CHUNKER_FEATURES", "minimal, zstd"}])
      code = "io:format(\"~p\", [maps:get(codecs, chunker:info())]), halt()."
      environment = [{"ERL_LIBS", Path.join(@project, "_build/default/lib")}]
      assert {"[zstd]", 0} = System.cmd("erl", ["-noinput", "-eval", code], env: environment)

      File.rm_rf!(Path.join(@project, "_build"))
      assert {output, 1} = rebar3(["compile"], [{"CHUNKER_FEATURES", "nonsense"}])
      assert output =~ "nonsense"
      assert output =~ "Chunker: the native library could not be built"
    end
  end

  describe "an unchanged project" do
    @describetag :tmp_dir

    test "is not built again, and Cargo is not started", %{tmp_dir: tmp_dir} do
      compile!()
      inode = inode(library())
      {microseconds, output} = :timer.tc(fn -> compile!([path_with_cargo(tmp_dir, "exit 1")]) end)

      assert output == ""
      refute File.exists?(Path.join(tmp_dir, "called"))
      assert inode(library()) == inode
      # Most of it is the start of the VM: half a second on an idle machine.
      assert microseconds < 5_000_000
    end

    test "is built once for each environment" do
      # Linked again, because another folder's build may have left its library in Cargo's target folder.
      File.rm(library())
      compile!()
      File.rm_rf!(Path.join(@copy, "_build/prod"))
      assert compile!([{"MIX_ENV", "prod"}]) =~ "Compiling crate chunker_nif"
      assert compile!([{"MIX_ENV", "prod"}]) == ""
      assert compile!() == ""
      assert File.read!(library("prod")) == File.read!(library("dev"))
      assert inode(library("prod")) != inode(library("dev"))
    end

    test "gets its library back if it is missing or damaged" do
      compile!()

      File.rm!(library())
      compile!()
      assert {output, 0} = call_library()
      assert output =~ "version"
      # Compared from here on: the library before may have been linked for another folder's build.
      whole = File.read!(library())

      File.write!(library(), "damaged")
      compile!()
      assert File.read!(library()) == whole
    end
  end

  describe "a change" do
    test "of a Rust file is noticed, and the new library is another file" do
      compile!()
      {inode, bytes} = {inode(library()), File.read!(library())}

      # An open file stands in for a VM that has the library loaded.
      {:ok, open} = File.open(library(), [:read, :binary])

      with_contents(
        @engine,
        String.replace(File.read!(@engine), "env!(\"CARGO_PKG_VERSION\")", "\"9.8.7\""),
        fn ->
          assert compile!() =~ "Compiling crate chunker_nif"
          assert {output, 0} = call_library()
          assert output =~ "9.8.7"
          assert inode(library()) != inode
          assert IO.binread(open, byte_size(bytes) + 1) == bytes
        end
      )

      assert compile!() =~ "Compiling crate chunker_nif"
      assert {output, 0} = call_library()
      refute output =~ "9.8.7"
      assert compile!() == ""
    end

    test "that adds or removes a file is noticed" do
      compile!()

      with_contents(Path.join(@copy, "native/chunker/src/added.rs"), "//! New.\n", fn ->
        assert compile!() =~ "Compiling crate chunker_nif"
        assert compile!() == ""
      end)

      assert compile!() =~ "Compiling crate chunker_nif"
      assert compile!() == ""
    end

    test "of Cargo's configuration or environment is noticed" do
      compile!()

      with_contents(Path.join(@copy, ".cargo/config.toml"), "[term]\nquiet = true\n", fn ->
        assert compile!() =~ "Compiling crate chunker_nif"
      end)

      assert compile!() =~ "Compiling crate chunker_nif"
      # This variable has its usual value, so that no crate has to be compiled again.
      assert compile!([{"CARGO_PROFILE_RELEASE_DEBUG", "false"}]) =~ "Compiling crate chunker_nif"
      compile!()
    end

    test "is built completely by several compilers at once" do
      compile!()

      with_contents(
        @engine,
        String.replace(File.read!(@engine), "env!(\"CARGO_PKG_VERSION\")", "\"6.5.4\""),
        fn ->
          1..4
          |> Enum.map(fn _ -> Task.async(fn -> mix_in_copy(["compile"]) end) end)
          |> Task.await_many(:infinity)
          |> Enum.each(fn {output, status} -> assert status == 0, output end)

          assert {output, 0} = call_library()
          assert output =~ "6.5.4"
          assert compile!() == ""
        end
      )

      compile!()
    end
  end

  test "mix clean removes the library and the manifest" do
    compile!()
    manifest = Path.join(@copy, "_build/dev/lib/chunker/.mix/compile.chunker")
    assert File.exists?(manifest)

    documentation = Path.join(@copy, "_build/dev/lib/chunker/doc/chunks/chunker.chunk")
    assert File.exists?(documentation)

    assert {_, 0} = mix_in_copy(["clean"])
    refute File.exists?(library())
    refute File.exists?(manifest)
    refute File.exists?(documentation)

    compile!()
    assert File.exists?(library())
    assert File.exists?(documentation)
  end

  describe "CHUNKER_NIF_PATH" do
    @describetag :tmp_dir

    test "installs a library from elsewhere without Rust, and can be unset again", %{tmp_dir: tmp_dir} do
      # Linked again, because another folder's build may have left its library in Cargo's target folder.
      File.rm(library())
      compile!()
      built = File.read!(library())
      prebuilt = Path.join(tmp_dir, "prebuilt.so")
      # Bytes after the end of an ELF file have no effect, but distinguish the two files.
      File.write!(prebuilt, built <> "prebuilt")
      path = path_without_rust(Path.join(tmp_dir, "bin") |> tap(&File.mkdir_p!/1))

      output = compile!([{"CHUNKER_NIF_PATH", prebuilt}, path])
      assert output =~ "Using the prebuilt library #{prebuilt}"
      assert File.read!(library()) == built <> "prebuilt"
      assert {_, 0} = call_library()
      assert compile!([{"CHUNKER_NIF_PATH", prebuilt}, path]) == ""

      File.write!(prebuilt, built <> "prebuilt anew")
      assert compile!([{"CHUNKER_NIF_PATH", prebuilt}, path]) =~ "Using the prebuilt library"
      assert File.read!(library()) == built <> "prebuilt anew"

      assert compile!() =~ "Compiling crate chunker_nif"
      assert File.read!(library()) == built
    end

    test "is rejected if it names no file or is relative", %{tmp_dir: tmp_dir} do
      compile!()
      missing = Path.join(tmp_dir, "missing.so")
      assert {{:error, [diagnostic]}, output} = compiler_result([{"CHUNKER_NIF_PATH", missing}])

      assert %{severity: :error, message: "CHUNKER_NIF_PATH names no file: " <> _} = diagnostic

      assert output =~ missing

      assert {{:error, [diagnostic]}, _} = compiler_result([{"CHUNKER_NIF_PATH", "lib.so"}])
      assert diagnostic.message =~ "must be an absolute path"

      assert {_, 1} = mix_in_copy(["compile"], [{"CHUNKER_NIF_PATH", missing}])
      # The previous build is left unchanged.
      assert compile!() == ""
    end
  end

  describe "Cargo" do
    @describetag :tmp_dir

    setup do
      compile!()
      [_, needed] = Regex.run(~r/^rust-version = "(.*)"/m, File.read!(Path.join(@root, "Cargo.toml")))
      %{needed: needed}
    end

    test "that is missing is explained", %{tmp_dir: tmp_dir, needed: needed} do
      path = path_without_rust(tmp_dir)
      assert {{:error, [diagnostic]}, output} = compiler_result([path], ["--force"])
      assert diagnostic.severity == :error
      assert diagnostic.file == Path.join(@copy, "Cargo.toml")
      assert diagnostic.message =~ "Cargo was not found"
      assert diagnostic.message =~ "needs Rust #{needed}"
      assert diagnostic.message =~ "https://rustup.rs"
      assert output =~ diagnostic.message
    end

    test "that is too old is explained", %{tmp_dir: tmp_dir, needed: needed} do
      path = path_with_cargo(tmp_dir, "echo 'cargo 1.63.0 (fd9c4297c 2022-07-01)'")
      assert {{:error, [diagnostic]}, _} = compiler_result([path], ["--force"])
      assert diagnostic.message =~ "Cargo 1.63.0 (#{tmp_dir}/cargo) is too old"
      assert diagnostic.message =~ "needs Rust #{needed}"
      assert diagnostic.message =~ "https://rustup.rs"
    end

    test "that has no toolchain is explained with its own message", %{tmp_dir: tmp_dir} do
      path = path_with_cargo(tmp_dir, "echo 'error: no default toolchain is configured' >&2; exit 1")
      assert {{:error, [diagnostic]}, _} = compiler_result([path], ["--force"])
      assert diagnostic.message =~ "no default toolchain is configured"
      assert diagnostic.message =~ "https://rustup.rs"
    end

    test "that fails without a diagnostic of the sources is quoted", %{tmp_dir: tmp_dir} do
      script = "case $1 in --version) echo 'cargo 9.9.9';; *) echo 'killed by someone' >&2; exit 137;; esac"
      assert {{:error, [diagnostic]}, _} = compiler_result([path_with_cargo(tmp_dir, script)], ["--force"])
      assert diagnostic.message =~ "exit status 137"
      assert diagnostic.message =~ "killed by someone"
    end
  end

  describe "a diagnostic" do
    test "has file, line and column of an error, and appears in the output" do
      compile!()
      source = File.read!(@engine)
      line = length(String.split(source, "\n"))

      with_contents(@engine, source <> "const WRONG: u8 = missing;\n", fn ->
        assert {{:error, [diagnostic]}, output} = compiler_result()

        assert %{compiler_name: "chunker", severity: :error, file: @engine, position: {^line, 19}} =
                 diagnostic

        assert diagnostic.message =~ "cannot find value `missing`"
        assert output =~ "cannot find value `missing`"

        assert {_, 1} = mix_in_copy(["compile"])
      end)

      assert {{:ok, []}, _} = compiler_result([], ["--force"])
    end

    test "for a warning stays until the warning is gone" do
      compile!()
      source = File.read!(@engine)
      line = length(String.split(source, "\n"))

      with_contents(@engine, source <> "const UNUSED: u8 = 0;\n", fn ->
        assert {{:ok, [diagnostic]}, output} = compiler_result()
        assert %{severity: :warning, file: @engine, position: {^line, 7}} = diagnostic
        assert output =~ "never used"

        assert {{:noop, [^diagnostic]}, _} = compiler_result()
        assert {{:error, [^diagnostic]}, _} = compiler_result([], ["--warnings-as-errors"])
      end)

      assert {{:ok, []}, _} = compiler_result()
    end

    test "reports an error of Cargo itself" do
      compile!()
      manifest = Path.join(@copy, "native/chunker/Cargo.toml")

      with_contents(manifest, File.read!(manifest) <> "\n[dependencies\n", fn ->
        assert {{:error, [diagnostic | _]}, _} = compiler_result()
        assert diagnostic.severity == :error
        assert diagnostic.message =~ "Cargo.toml"
      end)

      compile!()
    end
  end

  describe "for musl" do
    @musl "x86_64-unknown-linux-musl"
    @dynamic "-C target-feature=-crt-static"

    # Builds in a copy, with a rustc that answers Cargo's questions and records the flags of the first crate for
    # musl, since the standard library for that target may be missing. Returns these flags and the output.
    defp flags(tmp_dir, environment, configuration, build) do
      log = Path.join(tmp_dir, "flags")
      File.rm(log)
      wrapper = Path.join(tmp_dir, "rustc")

      File.write!(wrapper, """
      #!/bin/sh
      case "$*" in
        *"--crate-name ___"*) ;;
        *"--target #{@musl}"*) printf '%s\\n' "$*" >> "#{log}"; exit 1 ;;
      esac
      exec "$@"
      """)

      File.chmod!(wrapper, 0o755)
      config = Path.join(@copy, ".cargo/config.toml")

      environment =
        [
          {"RUSTC_WRAPPER", wrapper},
          {"CARGO_BUILD_TARGET", @musl},
          {"CARGO_TARGET_DIR", Path.join(tmp_dir, "target")}
        ] ++
          environment

      {output, _} = with_contents(config, configuration, fn -> build.(environment) end)
      {output, if(File.exists?(log), do: log |> File.read!() |> String.split("\n") |> hd())}
    end

    @tag :tmp_dir
    test "libc is linked dynamically, and other flags count as well", %{tmp_dir: tmp_dir} do
      File.mkdir_p!(Path.join(@copy, ".cargo"))
      user = "--cfg from_user"
      array = ~s(rustflags = ["--cfg", "from_user"]\n)

      builds = [
        mix: fn environment -> mix(@copy, ["compile", "--force"], environment) end,
        script: fn environment ->
          System.cmd("sh", ["scripts/build-library"],
            cd: @copy,
            env: @unset ++ environment,
            stderr_to_stdout: true
          )
        end
      ]

      for {_, build} <- builds,
          {environment, configuration, expected} <- [
            {[], "", @dynamic},
            {[{"RUSTFLAGS", user}], "", "#{user} #{@dynamic}"},
            {[{"CARGO_ENCODED_RUSTFLAGS", "--cfg\x1ffrom_user"}], "", "#{user} #{@dynamic}"},
            {[], "[build]\n" <> array, "#{user} #{@dynamic}"},
            {[], "[target.#{@musl}]\n" <> array, "#{user} #{@dynamic}"}
          ] do
        {output, flags} = flags(tmp_dir, environment, configuration, build)
        assert flags != nil, output
        assert flags =~ expected
      end
    end
  end

  test "CHUNKER_FEATURES disables the features that it does not name, and calls that need them say so" do
    compile!([{"CHUNKER_FEATURES", "minimal"}])

    code = """
    # Only test builds have the function that panics.
    %RuntimeError{} = try(do: :chunker_nif.panic("boom"), rescue: (error -> error))
    catch_error = fn call -> try(do: call.(), catch: (:error, reason -> reason)) end
    {:error, %{reason: :feature_disabled, details: %{feature: :blake3}}} = Chunker.chunk_data("a")
    {:ok, [_]} = Chunker.chunk_data("a", hash: :sha256)
    for call <- [fn -> Chunker.hash("a", :blake3) end, fn -> Chunker.hash_file("/dev/null", :blake3) end] do
      %Chunker.Error{reason: :feature_disabled, details: %{feature: :blake3}} = try(do: call.(), rescue: (error -> error))
    end
    {:feature_disabled, %{feature: :blake3}} = catch_error.(fn -> :chunker.hash("a", :blake3) end)
    {:feature_disabled, %{feature: :blake3}} = catch_error.(fn -> :chunker.hash_file("/dev/null", :blake3) end)
    {:error, %{reason: :feature_disabled, details: %{feature: :blake3}}} = Chunker.hash_batch(["a"])
    for codec <- [:zstd, :lz4, :xz, :bzip2, :gzip, :brotli] do
      {:error, %{reason: :feature_disabled, details: %{feature: ^codec}}} = Chunker.compress("a", codec: codec)
      {:error, %{reason: :feature_disabled, details: %{feature: ^codec}}} = Chunker.decompress("a", codec: codec)
      {:error, %{reason: :feature_disabled}} = Chunker.compress("a", codec: codec, fallback: true)
    end
    {:error, %{reason: :feature_disabled, details: %{feature: :xz}}} = Chunker.decompress("a", codec: :lzma)
    {:error, %{reason: :feature_disabled}} = Chunker.train_dictionary(["a"])
    {:error, {:feature_disabled, %{feature: :zstd}}} = :chunker.compress("a")
    {:error, {:feature_disabled, %{feature: :blake3}}} = :chunker.chunk_data("a")
    narinfo = %Chunker.NarInfo{
      store_path: "/nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-a",
      url: "nar/a.nar",
      compression: "none",
      nar_hash: "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
      nar_size: 120
    }
    {:ok, "1;/nix/store/" <> _} = Chunker.NarInfo.fingerprint(narinfo)
    for call <- [
          fn -> Chunker.NarInfo.generate_key("a") end,
          fn -> Chunker.NarInfo.public_key("a") end,
          fn -> Chunker.NarInfo.sign(narinfo, "a") end,
          fn -> Chunker.NarInfo.verify(narinfo, []) end
        ] do
      {:error, %{reason: :feature_disabled, details: %{feature: :signing}}} = call.()
    end
    {:error, {:feature_disabled, %{feature: :signing}}} = :chunker_narinfo.generate_key("a")
    %{hashes: %{sha256: _} = hashes, codecs: []} = Chunker.info()
    1 = map_size(hashes)
    IO.puts("all as it should be")
    """

    {output, status} = mix_in_copy(["run", "--no-compile", "--no-start", "-e", code])
    assert {status, output =~ "all as it should be"} == {0, true}, output

    {{:error, _diagnostics}, output} = compiler_result([{"CHUNKER_FEATURES", "nonsense"}])
    assert output =~ "nonsense"
  after
    compile!()
  end

  test "mix.exs, Cargo.toml and the library have the same version" do
    version = Chunker.MixProject.project()[:version]

    [_, cargo] =
      Regex.run(~r/^\[workspace\.package\]\nversion = "(.*)"/m, File.read!(Path.join(@root, "Cargo.toml")))

    assert cargo == version
    assert {:ok, [{:application, :chunker, fields}]} = :file.consult(Path.join(@root, "src/chunker.app.src"))
    assert fields[:vsn] == String.to_charlist(version)
    assert inspect(:chunker_nif.info()) =~ inspect(version)
  end
end
