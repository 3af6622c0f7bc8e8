defmodule Mix.Chunker.Tally do
  @moduledoc false
  # Counts chunks, of one file or of many. A table of digests tells which were there before, in some 130 bytes for each
  # different chunk; nothing else grows.

  @enforce_keys [:digests]
  defstruct [
    :digests,
    files: 0,
    seconds: 0,
    chunks: 0,
    bytes: 0,
    unique_bytes: 0,
    smallest: nil,
    largest: nil
  ]

  @spec new() :: %__MODULE__{}
  def new, do: %__MODULE__{digests: :ets.new(__MODULE__, [:set, :private])}

  @doc "Counts the chunks of a file, which took so many seconds to find."
  @spec add(%__MODULE__{}, [Chunker.Chunk.t()], number()) :: %__MODULE__{}
  def add(tally, chunks, seconds) do
    tally = %{tally | files: tally.files + 1, seconds: tally.seconds + seconds}
    Enum.reduce(chunks, tally, &count/2)
  end

  defp count(%{length: length, hash: hash}, tally) do
    new = if :ets.insert_new(tally.digests, {hash}), do: length, else: 0

    %{
      tally
      | chunks: tally.chunks + 1,
        bytes: tally.bytes + length,
        unique_bytes: tally.unique_bytes + new,
        # No number is greater than an atom.
        smallest: min(tally.smallest, length),
        largest: max(tally.largest || 0, length)
    }
  end

  @doc "Frees the table of digests; the counts stay."
  @spec close(%__MODULE__{}) :: %__MODULE__{}
  def close(tally) do
    :ets.delete(tally.digests)
    tally
  end
end
