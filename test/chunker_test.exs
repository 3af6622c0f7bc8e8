defmodule ChunkerTest do
  use ExUnit.Case, async: true
  doctest Chunker
  doctest Chunker.Chunk
  doctest Chunker.Error
end
