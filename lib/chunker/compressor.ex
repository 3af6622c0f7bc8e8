defmodule Chunker.Compressor do
  @moduledoc """
  Compression of what comes in pieces, step by step, for those whom `Chunker.compress_stream/2` does not fit.

      iex> {:ok, compressor} = Chunker.Compressor.new(codec: :xz)
      iex> {:ok, one} = Chunker.Compressor.update(compressor, "some ")
      iex> {:ok, two} = Chunker.Compressor.update(compressor, ["con", "tent"])
      iex> {:ok, three} = Chunker.Compressor.finish(compressor)
      iex> Chunker.decompress([one, two, three])
      {:ok, "some content"}

  A compressor is changed by each call and belongs to one process at a time. What it holds is freed by `finish/1`, by an
  error, by `close/1`, or when no process holds it any more. A call after that gives `:cancelled`.
  """

  alias Chunker.Error

  @enforce_keys [:coder]
  defstruct [:coder]

  @opaque t :: %__MODULE__{coder: reference()}

  @doc """
  Begins a content. Takes the options of `Chunker.compress/2`, except `:fallback`.
  """
  @spec new([Chunker.compression_option()] | map()) :: {:ok, t()} | {:error, Error.t()}
  def new(options \\ []) do
    with {:badarg, message} <- :chunker.compressor(options) |> shape(), do: raise(ArgumentError, message)
  end
end
