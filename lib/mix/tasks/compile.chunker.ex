defmodule Mix.Tasks.Compile.Chunker do
  @moduledoc """
  Builds the native library with Cargo and puts it into the application's `priv`.

  `mix compile` runs this compiler; it is not meant to be called by hand. Cargo builds the crate `chunker_nif` in release mode,
  and the library goes to `priv/chunker_nif.so` (`.dll` on Windows) below the application's folder in `_build`.
  When no source file, manifest or relevant environment variable changed since the last build, Cargo is not started.

  ## Environment variables

    * `CHUNKER_NIF_PATH` - the absolute path of a library built elsewhere. It is copied, and Rust is not needed.
    * `CHUNKER_FEATURES` - what is built in: Cargo features, separated by commas or spaces, such as `minimal` or
      `sha256,zstd`. By default everything; see [features](features.html).
    * `CARGO_TARGET_DIR` - where Cargo builds. By default that is `target/` when Chunker is compiled in its own
      folder, and `_build/chunker_target` of the depending project when it is a dependency.
    * `RUSTFLAGS`, `CARGO_PROFILE_RELEASE_*`, `CARGO_BUILD_TARGET` and Cargo's other variables for compiler, flags and
      target are Cargo's own; a change of one of them leads to a new build.

  ## Command line options

    * `--force` - asks Cargo even if nothing changed
    * `--warnings-as-errors` - fails if rustc warns

  """
  use Mix.Task.Compiler

  alias Mix.Task.Compiler.Diagnostic

  # Goes up when the meaning of the manifest changes, so that an older one counts as missing.
  @manifest_version 1

  @tracked_files [
    "Cargo.toml",
    "Cargo.lock",
    "rust-toolchain",
    "rust-toolchain.toml",
    ".cargo/config",
    ".cargo/config.toml",
    "native/*/Cargo.toml",
    "native/*/build.rs",
    "native/*/src/**/*"
  ]

  @tracked_variables ~w(CHUNKER_FEATURES RUSTC RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER RUSTFLAGS RUSTUP_TOOLCHAIN
                        CARGO_ENCODED_RUSTFLAGS CC CFLAGS AR)
  @tracked_prefixes ~w(CARGO_BUILD_ CARGO_PROFILE_RELEASE_ CARGO_TARGET_)

  @impl true
  def run(args) do
    Mix.Project.get!()

    case source() do
      {:ok, source} -> run(source, fingerprint(source), args)
      {:error, file, message} -> fail(file, message)
    end
  end

  defp run(source, fingerprint, args) do
    case read_manifest() do
      {^fingerprint, digest, warnings} ->
        if "--force" in args or digest != digest(library()) or fatal?(warnings, args),
          do: build(source, fingerprint, args),
          else: {:noop, warnings}

      _ ->
        build(source, fingerprint, args)
    end
  end

  @impl true
  def manifests, do: [manifest()]

  @impl true
  def clean do
    File.rm(library())
    File.rm(manifest())
    :ok
  end

  # What the library comes from.

  defp source do
    case System.get_env("CHUNKER_NIF_PATH", "") do
      "" ->
        {:ok, :crate}

      path ->
        cond do
          # A dependency is compiled in its own folder, so a relative path would mean another file there.
          Path.type(path) != :absolute ->
            {:error, path, "CHUNKER_NIF_PATH must be an absolute path, got: #{path}"}

          not File.regular?(path) ->
            {:error, path, "CHUNKER_NIF_PATH names no file: #{path}"}

          true ->
            {:ok, {:prebuilt, path}}
        end
    end
  end

  # Contents, not modification times: those have a resolution of one second here, and a checkout changes them.
  defp fingerprint({:prebuilt, path}), do: digest_term({:prebuilt, path, digest(path)})

  defp fingerprint(:crate) do
    files = @tracked_files |> Enum.flat_map(&Path.wildcard/1) |> Enum.filter(&File.regular?/1)

    variables =
      for {name, value} <- System.get_env(),
          name in @tracked_variables or String.starts_with?(name, @tracked_prefixes),
          do: {name, value}

    # A `_build` may be shared by machines of several kinds, through a mounted folder for example.
    machine = :erlang.system_info(:system_architecture)
    digest_term({:crate, machine, Enum.sort(variables), Enum.map(files, &{&1, digest(&1)})})
  end

  defp digest_term(term), do: term |> :erlang.term_to_binary() |> :erlang.md5()

  defp digest(path) do
    case File.read(path) do
      {:ok, bytes} -> :erlang.md5(bytes)
      {:error, reason} -> reason
    end
  end

  # Building.

  defp build({:prebuilt, path}, fingerprint, _args) do
    Mix.shell().info("Using the prebuilt library #{path}")

    case install(path) do
      {:ok, digest} -> finish(fingerprint, digest, [])
      {:error, message} -> fail(path, message)
    end
  end

  defp build(:crate, fingerprint, args) do
    with {:ok, cargo} <- find_cargo(),
         Mix.shell().info("Compiling crate chunker_nif (release)"),
         {:ok, digest, warnings} <- build_crate(cargo, 3) do
      if fatal?(warnings, args) do
        write_manifest({fingerprint, digest, warnings})
        {:error, warnings}
      else
        finish(fingerprint, digest, warnings)
      end
    else
      {:error, message} -> fail(Path.absname("Cargo.toml"), message)
      {:error, :reported, diagnostics} -> {:error, diagnostics}
    end
  end

  defp build_crate(cargo, attempts) do
    {output, status} = run_cargo_build(cargo)
    {messages, text} = Enum.split_with(output, &String.starts_with?(&1, "{"))
    diagnostics = diagnostics(text)

    case {status, Enum.find_value(messages, &artifact/1)} do
      {0, nil} ->
        {:error, "Cargo built chunker_nif but named no library for it"}

      {0, path} ->
        case install(path) do
          {:ok, digest} ->
            {:ok, digest, diagnostics}

          # Another Cargo, for the same target folder, is just replacing the file: it removes it and links it anew.
          # The next run waits for that one's lock.
          {:error, _} when attempts > 1 ->
            build_crate(cargo, attempts - 1)

          {:error, message} ->
            {:error, message}
        end

      {status, _} ->
        if Enum.any?(diagnostics, &(&1.severity == :error)),
          do: {:error, :reported, diagnostics},
          else: {:error, "Cargo failed with exit status #{status}:\n" <> Enum.join(text, "\n")}
    end
  end

  # For musl, rustc makes a dynamic library only if libc is linked dynamically, which is the default of Alpine's rustc
  # but not of rustup's. Cargo reports that before it compiles anything, and names the target: that of the environment,
  # of its configuration, or the machine's own.
  @no_library ~r/^error: cannot produce cdylib for `chunker_nif .* as the target `([^`]+)` does not/
  @dynamic_libc ["-C", "target-feature=-crt-static"]

  defp run_cargo_build(cargo) do
    result = run_cargo_build(cargo, {[], []})

    case unsupported_target(result) do
      nil ->
        result

      target ->
        Mix.shell().info("Compiling for #{target} with libc linked dynamically")

        Enum.reduce_while(dynamic_libc(target), result, fn place, _ ->
          result = run_cargo_build(cargo, place)
          {if(unsupported_target(result), do: :cont, else: :halt), result}
        end)
    end
  end

  defp run_cargo_build(cargo, {environment, configuration}) do
    show = fn line -> unless line =~ @no_library, do: IO.binwrite(:stderr, [line, ?\n]) end
    run_cargo(cargo, configuration ++ cargo_arguments(), show, environment)
  end

  defp unsupported_target({output, status}) do
    if status != 0,
      do: Enum.find_value(output, fn line -> with [_, target] <- Regex.run(@no_library, line), do: target end)
  end

  # Where to add the flags, so that those of the user still count: Cargo takes flags from the first of these places that
  # has some, and adds what the command line says of a place in its configuration.
  defp dynamic_libc(target) do
    encoded = System.get_env("CARGO_ENCODED_RUSTFLAGS")
    flags = System.get_env("RUSTFLAGS")

    cond do
      encoded != nil ->
        parts = String.split(encoded, <<0x1F>>, trim: true) ++ @dynamic_libc
        [{[{~c"CARGO_ENCODED_RUSTFLAGS", parts |> Enum.join(<<0x1F>>) |> to_charlist()}], []}]

      flags != nil ->
        [{[{~c"RUSTFLAGS", to_charlist(Enum.join([flags | @dynamic_libc], " "))}], []}]

      true ->
        # Those for a target hide those for all, so this fails in the same way if there are some for this target.
        for place <- ["build", "target." <> target],
            do: {[], ["--config", ~s(#{place}.rustflags=["-C","target-feature=-crt-static"])]}
    end
  end

  defp cargo_arguments do
    ~w(build --release --locked -p chunker_nif --color never --message-format json-render-diagnostics) ++
      features(System.get_env("CHUNKER_FEATURES", "")) ++
      case target_directory() do
        nil -> []
        path -> ["--target-dir", path]
      end
  end

  defp features(chosen) do
    # Chunker's own tests need a function that panics. A dependency is compiled in the environment `prod`.
    test = if Mix.env() == :test, do: ["panic"], else: []

    case String.split(chosen, [",", " "], trim: true) ++ test do
      [] -> []
      ^test -> ["--features", "panic"]
      features -> ["--no-default-features", "--features", Enum.join(features, ",")]
    end
  end

  # `nil` leaves the choice to Cargo.
  defp target_directory do
    build_path = Mix.Project.build_path()

    cond do
      System.get_env("CARGO_TARGET_DIR", "") != "" or System.get_env("CARGO_BUILD_TARGET_DIR", "") != "" ->
        nil

      # In its own folder Chunker shares what it compiled with a `cargo` that is called by hand.
      String.starts_with?(build_path, File.cwd!() <> "/") ->
        nil

      # As a dependency it must not write into its sources, which may be read-only. Beside `dev`, `test` and `prod` all
      # of them share one build; only with MIX_BUILD_PATH the folder above may be anybody's.
      System.get_env("MIX_BUILD_PATH", "") != "" ->
        Path.join(build_path, "chunker_target")

      true ->
        Path.join(Path.dirname(build_path), "chunker_target")
    end
  end

  defp find_cargo do
    needed = needed_version()

    advice =
      "Building Chunker needs Rust #{needed} or newer. Install it with rustup (https://rustup.rs), or update it with " <>
        "`rustup update stable`. A library that was built elsewhere needs no Rust: set CHUNKER_NIF_PATH to its path."

    with cargo when cargo != nil <- System.find_executable("cargo"),
         {output, 0} <- run_cargo(cargo, ["--version"], fn _ -> :ok end),
         [_, found] <- Regex.run(~r/^cargo (\d+\.\d+\.\d+)/m, Enum.join(output, "\n")) do
      if Version.compare(found, needed) == :lt,
        do: {:error, "Cargo #{found} (#{cargo}) is too old. #{advice}"},
        else: {:ok, cargo}
    else
      nil ->
        {:error, "Cargo was not found on the PATH. #{advice}"}

      {output, status} ->
        {:error, "`cargo --version` failed (#{status}): #{Enum.join(output, "\n")}\n#{advice}"}

      _ ->
        {:error, "`cargo --version` does not name a version. #{advice}"}
    end
  end

  defp needed_version do
    [_, version] = Regex.run(~r/^rust-version = "(\d+\.\d+(?:\.\d+)?)"/m, File.read!("Cargo.toml"))
    if version =~ ~r/^\d+\.\d+$/, do: version <> ".0", else: version
  end

  # Cargo's messages for machines and those for people share one pipe. Only Cargo's main thread writes to it, a line
  # at a time, so the lines cannot mix; those for machines are the ones that begin with a brace.
  defp run_cargo(cargo, arguments, show, environment \\ []) do
    options = [
      :binary,
      :exit_status,
      :hide,
      :stderr_to_stdout,
      line: 65_536,
      args: arguments,
      env: environment
    ]

    {:spawn_executable, cargo} |> Port.open(options) |> collect(show, "", [])
  end

  defp collect(port, show, partial, lines) do
    receive do
      {^port, {:data, {:noeol, part}}} ->
        collect(port, show, partial <> part, lines)

      {^port, {:data, {:eol, part}}} ->
        line = partial <> part
        unless String.starts_with?(line, "{"), do: show.(line)
        collect(port, show, "", [line | lines])

      {^port, {:exit_status, status}} ->
        {Enum.reverse(lines), status}
    end
  end

  # The path of the library, if this line of Cargo's JSON announces it. The format is documented in the Cargo book,
  # "External tools"; two of its fields do not call for a JSON parser, which Elixir has only since 1.18.
  defp artifact(line) do
    with true <- line =~ ~s("reason":"compiler-artifact") and line =~ ~s("crate_types":["cdylib"]),
         [_, names] <- Regex.run(~r/"filenames":\[((?:"(?:[^"\\]|\\.)*",?)*)\]/, line) do
      ~r/"((?:[^"\\]|\\.)*)"/
      |> Regex.scan(names, capture: :all_but_first)
      |> Enum.map(fn [name] -> String.replace(name, ~r/\\(.)/, "\\1") end)
      |> Enum.find(&(Path.extname(&1) in ~w(.so .dylib .dll)))
    else
      _ -> nil
    end
  end

  # Diagnostics.

  @progress ~r/^ +(?:[A-Z][a-z]+ing|Compiled|Downloaded|Finished|Fresh|Locked|Updated) /
  @headline ~r/^(error|warning)(?:\[\w+\])?: (.*)/
  # Lines in which Cargo sums up what stands in others.
  @summary ~r/^(?:could not compile |`.+` \(.+\) generated \d+ warning|build failed, waiting|aborting due to )/
  @position ~r/^ *--> (.+):(\d+):(\d+)$/

  # A diagnostic of rustc or Cargo begins with a headline and goes on to the next one.
  defp diagnostics(lines) do
    lines
    |> Enum.reject(&(&1 =~ @progress))
    |> Enum.chunk_while(
      nil,
      fn line, block ->
        cond do
          line =~ @headline -> {:cont, block, [line]}
          block == nil -> {:cont, nil}
          true -> {:cont, [line | block]}
        end
      end,
      &{:cont, &1, nil}
    )
    |> Enum.reject(&is_nil/1)
    |> Enum.map(&Enum.reverse/1)
    |> Enum.flat_map(&diagnostic/1)
  end

  defp diagnostic([headline | _] = block) do
    [_, severity, text] = Regex.run(@headline, headline)

    if text =~ @summary do
      []
    else
      {file, position} =
        case Enum.find_value(block, &Regex.run(@position, &1)) do
          [_, file, line, column] -> {file, {String.to_integer(line), String.to_integer(column)}}
          nil -> {"Cargo.toml", 0}
        end

      [
        %Diagnostic{
          compiler_name: "chunker",
          file: Path.absname(file),
          message: block |> Enum.join("\n") |> String.trim_trailing(),
          position: position,
          severity: if(severity == "error", do: :error, else: :warning)
        }
      ]
    end
  end

  defp fatal?(warnings, args), do: warnings != [] and "--warnings-as-errors" in args

  defp fail(file, message) do
    Mix.shell().error(message)

    {:error,
     [%Diagnostic{compiler_name: "chunker", file: file, message: message, position: 0, severity: :error}]}
  end

  defp finish(fingerprint, digest, warnings) do
    write_manifest({fingerprint, digest, warnings})
    {:ok, warnings}
  end

  # Files.

  defp library do
    extension = if match?({:win32, _}, :os.type()), do: ".dll", else: ".so"
    Path.join([Mix.Project.app_path(), "priv", "chunker_nif" <> extension])
  end

  defp manifest, do: Path.join(Mix.Project.manifest_path(), "compile.chunker")

  defp read_manifest do
    with {:ok, bytes} <- File.read(manifest()),
         {@manifest_version, fingerprint, digest, warnings} <- :erlang.binary_to_term(bytes) do
      {fingerprint, digest, warnings}
    else
      _ -> nil
    end
  rescue
    ArgumentError -> nil
  end

  defp write_manifest({fingerprint, digest, warnings}) do
    bytes = :erlang.term_to_binary({@manifest_version, fingerprint, digest, warnings})

    case put(manifest(), &File.write(&1, bytes)) do
      :ok -> :ok
      {:error, reason} -> Mix.raise("could not write #{manifest()}: #{:file.format_error(reason)}")
    end
  end

  defp install(from) do
    # The digest is that of the copy: the original may change at any time.
    case put(library(), &copy(from, &1)) do
      :ok -> {:ok, digest(library())}
      {:error, reason} -> {:error, "could not copy #{from} to #{library()}: #{:file.format_error(reason)}"}
    end
  end

  defp copy(from, to) do
    with {:ok, bytes} <- File.read(from), do: File.write(to, bytes)
  end

  # Writes beside and renames. A VM that has the old library loaded keeps its file, whose pages it would otherwise
  # see change under its feet, and two builds at once each put a whole file in place. The temporary name lies
  # outside `priv`, so that one which a killed build leaves behind goes into no release.
  defp put(path, write) do
    temporary =
      Path.join(Mix.Project.manifest_path(), "chunker.#{System.pid()}.#{System.unique_integer([:positive])}")

    with :ok <- File.mkdir_p(Path.dirname(temporary)),
         :ok <- File.mkdir_p(Path.dirname(path)),
         :ok <- write.(temporary),
         :ok <- File.rename(temporary, path) do
      :ok
    else
      error ->
        File.rm(temporary)
        error
    end
  end
end
