defmodule Chunker.MixProject do
  use Mix.Project

  @version "0.1.0"

  def project do
    [
      app: :chunker,
      version: @version,
      elixir: "~> 1.14",
      compilers: Mix.compilers() ++ [:chunker]
    ]
  end

  def application, do: [extra_applications: []]
end
