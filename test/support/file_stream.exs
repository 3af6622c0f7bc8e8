defmodule Chunker.FileStream do
  @moduledoc false

  # Elixir 1.16 turned the arguments round, and newer ones warn of the old order.
  if Version.match?(System.version(), ">= 1.16.0") do
    @doc "Streams a file in pieces of so many bytes."
    def stream!(path, bytes), do: File.stream!(path, bytes)
  else
    def stream!(path, bytes), do: File.stream!(path, [], bytes)
  end
end
