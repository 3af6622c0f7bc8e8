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

  import Chunker.Result

  alias Chunker.Error

  @enforce_keys [:coder]
  defstruct [:coder]

  @opaque t :: %__MODULE__{coder: :chunker.compressor()}

  @doc """
  Begins a content. Takes the options of `Chunker.compress/2`, except `:fallback`, and fails as that does.
  """
  @spec new([Chunker.compression_option()] | map()) :: {:ok, t()} | {:error, Error.t()}
  def new(options \\ []) do
    with {:ok, coder} <- result(:chunker.compressor(options)), do: {:ok, %__MODULE__{coder: coder}}
  end

  @doc """
  Takes the next bytes and gives all that they lead to, which may be nothing.
  """
  @spec update(t(), iodata()) :: {:ok, iodata()} | {:error, Error.t()}
  def update(%__MODULE__{coder: coder}, data), do: result(:chunker.compressor_update(coder, data))

  @doc """
  Ends the content and gives what is left. The compressor is then closed.
  """
  @spec finish(t()) :: {:ok, iodata()} | {:error, Error.t()}
  def finish(%__MODULE__{coder: coder}), do: result(:chunker.compressor_finish(coder))

  @doc """
  Frees what the compressor holds, before its end.
  """
  @spec close(t()) :: :ok
  def close(%__MODULE__{coder: coder}), do: call(:chunker.compressor_close(coder))
end
