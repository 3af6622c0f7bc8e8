defmodule Chunker.Result do
  @moduledoc false
  # What the engine answers, as callers get it.

  alias Chunker.{Chunk, Error}
  alias Chunker.Nar.Part

  @spec result({:ok, value} | {:error, {atom(), map()}}) :: {:ok, value} | {:error, Error.t()} when value: var
  def result({:ok, value}), do: {:ok, value}
  def result({:error, {reason, details}}), do: {:error, Error.new(reason, details)}

  # Options that were checked.
  @spec checked({:ok, value} | {:error, {atom(), map()}} | {:badarg, String.t()}) ::
          {:ok, value} | {:error, Error.t()}
        when value: var
  def checked({:badarg, message}), do: raise(ArgumentError, message)
  def checked(checked), do: result(checked)

  # A chunk as the engine gives it: `{offset, length, hash}`, perhaps with bytes, and perhaps with notes.
  @spec to_chunk(tuple()) :: Chunk.t()
  def to_chunk({chunk, entries, references}) when is_tuple(chunk),
    do: %Chunk{to_chunk(chunk) | entries: entries && Enum.map(entries, &part/1), references: references}

  def to_chunk({offset, length, hash}), do: %Chunk{offset: offset, length: length, hash: hash}

  def to_chunk({offset, length, hash, data, compressed}),
    do: %Chunk{offset: offset, length: length, hash: hash, data: data, compressed: compressed}

  defp part({path, offset, length, position}),
    do: %Part{path: path, offset: offset, length: length, position: position}

  @spec bang!({:ok, value} | {:error, Error.t()}) :: value when value: var
  def bang!({:ok, value}), do: value
  def bang!({:error, error}), do: raise(error)
end
