defmodule Chunker.MixProject do
  use Mix.Project

  # The same as in Cargo.toml; a test compares them.
  @version "0.1.0"

  # The address of the repository. docs/RELEASING.md: to be set before the first release.
  @source_url "https://example.org/chunker"

  def project do
    [
      app: :chunker,
      version: @version,
      elixir: "~> 1.14",
      name: "Chunker",
      description: description(),
      source_url: @source_url,
      package: package(),
      docs: docs(),
      deps: deps(Mix.env()),
      # These come last: the tasks are among the modules compiled before.
      compilers: Mix.compilers() ++ [:chunker, :chunker_docs],
      # A dependency is compiled in the environment `prod`, where a newer Elixir's warnings must stop nobody.
      elixirc_options: [warnings_as_errors: Mix.env() == :test],
      erlc_paths: ["src"],
      erlc_options: erlc_options(Mix.env()),
      # Elixir 1.19 and newer warn of other files in the folder of tests.
      test_ignore_filters: [&String.starts_with?(&1, "test/support/")],
      test_coverage: [
        ignore_modules: [:chunker_nif, Mix.Tasks.Compile.Chunker, Mix.Tasks.Compile.ChunkerDocs]
      ]
    ]
  end

  # Erlang programs need no Elixir at run time, and their releases should not have to contain it. Older versions of Mix read
  # the first of these options, newer ones the second.
  def application, do: [extra_applications: [elixir: :optional], optional_applications: [:elixir]]

  # `mix docs` runs in the environment that has ExDoc, once `MIX_ENV=docs mix deps.get` has fetched it.
  def cli, do: [preferred_envs: [docs: :docs]]

  defp description do
    "Content-defined chunking, hashing, compression and Nix archives for Elixir and Erlang, with a core in Rust."
  end

  # Compiling and testing need no Hex package. Mix requires Hex as soon as the list has a package, whatever its `:only`,
  # so the packages for documentation and benchmarks are listed only in environments of their own.
  defp deps(:docs), do: [{:ex_doc, "~> 0.34", only: :docs, runtime: false}]
  defp deps(:bench), do: [{:benchee, "~> 1.3", only: :bench, runtime: false}]
  defp deps(_env), do: []

  defp erlc_options(env) do
    options = [:debug_info, :warn_unused_vars, :warn_export_vars, :warn_shadow_vars, :warn_obsolete_guard]
    if env == :test, do: [:warnings_as_errors | options], else: options
  end

  defp package do
    [
      licenses: ["Apache-2.0"],
      links: %{"Source" => @source_url, "Changelog" => "#{@source_url}/blob/v#{@version}/CHANGELOG.md"},
      files: [
        "lib",
        "src",
        "mix.exs",
        # For projects that rebar3 builds.
        "rebar.config",
        "scripts/build-library",
        "scripts/erlang-docs",
        ".formatter.exs",
        "Cargo.toml",
        "Cargo.lock",
        "native/*/{Cargo.toml,build.rs,src}",
        # Cargo refuses a manifest whose benchmarks and examples are missing.
        "native/*/{benches,examples}",
        "docs/{building,cache,changing-files,chunking,features,nar-chunking,rust,store,store-format,tar-chunking}.md",
        "docs/measurements/{benchmarks,build-variants,caching,chunking-nars,chunking-tars,deltas,memory,vm}.md",
        "README.md",
        "CHANGELOG.md",
        "LICENSE"
      ]
    ]
  end

  defp docs do
    [
      main: "readme",
      source_url_pattern: "#{@source_url}/blob/v#{@version}/%{path}#L%{line}",
      extras: [
        "README.md",
        "docs/building.md",
        "docs/features.md",
        "docs/chunking.md",
        "docs/store.md",
        "docs/store-format.md",
        "docs/cache.md",
        "docs/nar-chunking.md",
        "docs/tar-chunking.md",
        "docs/changing-files.md",
        "docs/rust.md",
        "docs/measurements/benchmarks.md",
        {"docs/measurements/vm.md", filename: "measurements-vm"},
        {"docs/measurements/memory.md", filename: "measurements-memory"},
        "docs/measurements/caching.md",
        "docs/measurements/chunking-nars.md",
        "docs/measurements/chunking-tars.md",
        "docs/measurements/deltas.md",
        {"docs/measurements/build-variants.md", filename: "measurements-build-variants"},
        "CHANGELOG.md",
        "LICENSE"
      ],
      groups_for_extras: [
        Guides: ~r"^docs/[a-z-]+\.md$",
        Measurements: ~r"^docs/measurements/"
      ],
      # EDoc has written the documentation of the Erlang modules to `doc/chunks` if it was there when they were compiled.
      groups_for_modules: [
        Chunking: [Chunker, Chunker.Chunk, Chunker.Cache],
        Compression: [Chunker.Compressor, Chunker.Decompressor],
        Store: [Chunker.Store, Chunker.Store.Manifest, Chunker.Store.Session],
        Nix: [Chunker.Nar, Chunker.Nar.Entry, Chunker.Nar.Part, Chunker.NarInfo],
        Errors: [Chunker.Error, Chunker.PanicError],
        Erlang: [:chunker, :chunker_cache, :chunker_nar, :chunker_narinfo, :chunker_store]
      ],
      groups_for_docs:
        for group <- ["Chunking", "Streams", "Batches", "Digests", "Compression", "About this build"] do
          {String.to_atom(group), &(&1[:group] == group)}
        end,
      assets: %{"docs/measurements/plots" => "plots"}
    ]
  end
end
