defmodule Chunker.Result do
  @moduledoc false
  # What the engine answers, as callers get it.

  alias Chunker.{Chunk, Error}
  alias Chunker.Nar.Part

  @spec result({:ok, value} | {:error, {atom(), map()}}) :: {:ok, value} | {:error, Error.t()} when value: var
  def result({:ok, value}), do: {:ok, value}
  def result({:error, {reason, details}}), do: {:error, Error.new(reason, details)}

  # Options that were checked.
  @spec checked({:ok, value} | {:error, {atom(), map()}} | {:badarg, String.t() | {:general, String.t()}}) ::
          {:ok, value} | {:error, Error.t()}
        when value: var
  def checked({:badarg, {:general, message}}), do: raise(ArgumentError, message)
  def checked({:badarg, message}), do: raise(ArgumentError, message)
  def checked(checked), do: result(checked)

  # A chunk as the engine gives it: `{offset, length, hash}`, perhaps with bytes, and perhaps with notes.
  @spec to_chunk(tuple()) :: Chunk.t()
  def to_chunk(chunk), do: chunk |> to_chunk(:chunker_paths.new()) |> elem(0)

  # Chunks that follow each other, and so share the path of an entry that is in several.
  @spec to_chunks([tuple()]) :: [Chunk.t()]
  def to_chunks(chunks), do: chunks |> Enum.map_reduce(:chunker_paths.new(), &to_chunk/2) |> elem(0)

  defp to_chunk({chunk, entries, references}, joined) when is_tuple(chunk) do
    {chunk, joined} = to_chunk(chunk, joined)
    {entries, joined} = if entries, do: Enum.map_reduce(entries, joined, &part/2), else: {nil, joined}
    {%{chunk | entries: entries, references: references}, joined}
  end

  defp to_chunk({offset, length, hash}, joined),
    do: {%Chunk{offset: offset, length: length, hash: hash}, joined}

  defp to_chunk({offset, length, hash, data, compressed}, joined),
    do: {%Chunk{offset: offset, length: length, hash: hash, data: data, compressed: compressed}, joined}

  defp part({names, offset, length, position}, joined) do
    {path, joined} = :chunker_paths.join(names, joined)
    {%Part{path: path, offset: offset, length: length, position: position}, joined}
  end

  @spec bang!({:ok, value} | {:error, Error.t()}) :: value when value: var
  def bang!({:ok, value}), do: value
  def bang!({:error, error}), do: raise(error)
end
