defmodule Chunker.MixProject do
  use Mix.Project

  # The same as in Cargo.toml; a test compares them.
  @version "0.1.0"

  def project do
    [
      app: :chunker,
      version: @version,
      elixir: "~> 1.14",
      name: "Chunker",
      description: description(),
      package: package(),
      docs: docs(),
      deps: deps(Mix.env()),
      # These come last: the tasks are among the modules compiled before.
      compilers: Mix.compilers() ++ [:chunker, :chunker_docs],
      # A dependency is compiled in the environment `prod`, where a newer Elixir's warnings must stop nobody.
      elixirc_options: [warnings_as_errors: Mix.env() == :test],
      erlc_paths: ["src"],
      erlc_options: erlc_options(Mix.env()),
      test_coverage: [
        ignore_modules: [:chunker_nif, Mix.Tasks.Compile.Chunker, Mix.Tasks.Compile.ChunkerDocs]
      ]
    ]
  end

  # Erlang programs need no Elixir at run time, and their releases should not have to hold it. Older versions of Mix look
  # for that in the one place, newer ones in the other.
  def application, do: [extra_applications: [elixir: :optional], optional_applications: [:elixir]]

  defp description do
    "Content-defined chunking, hashing, compression and Nix archives for Elixir and Erlang, with a core in Rust."
  end

  # Compiling and testing need no Hex package. Mix asks for Hex as soon as it sees a package in the list, whatever
  # its `:only` says, so those for documentation and benchmarks are listed in their own environments alone.
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
        "docs/{benchmarks,building,cache,features,nar-chunking}.md",
        "README.md",
        "CHANGELOG.md",
        "LICENSE"
      ]
    ]
  end

  defp docs do
    [
      main: "Chunker",
      extras: [
        "README.md",
        "docs/building.md",
        "docs/benchmarks.md",
        "docs/features.md",
        "docs/nar-chunking.md",
        "docs/cache.md",
        "CHANGELOG.md",
        "LICENSE"
      ],
      groups_for_docs:
        for group <- ["Chunking", "Streams", "Batches", "Digests", "Compression", "About this build"] do
          {String.to_atom(group), &(&1[:group] == group)}
        end,
      # Their documentation is in `doc/chunks` if EDoc was at hand when they were compiled.
      groups_for_modules: [Erlang: [:chunker, :chunker_cache, :chunker_nar, :chunker_narinfo]],
      assets: %{"docs/plots" => "plots"}
    ]
  end
end
