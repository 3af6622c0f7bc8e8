defmodule Chunker.FileStream do
  @moduledoc false

  # Elixir 1.16 swapped the arguments, and newer versions warn about the old order.
  if Version.match?(System.version(), ">= 1.16.0") do
    @doc "Streams a file in pieces of `bytes` bytes."
    def stream!(path, bytes), do: File.stream!(path, bytes)
  else
    def stream!(path, bytes), do: File.stream!(path, [], bytes)
  end
end
