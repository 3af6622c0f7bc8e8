defmodule Chunker.Compressor do
  @moduledoc """
  Compresses data that arrives in pieces, step by step. `Chunker.compress_stream/2` is simpler if the pieces
  are an enumerable.

      iex> {:ok, compressor} = Chunker.Compressor.new(codec: :xz)
      iex> {:ok, one} = Chunker.Compressor.update(compressor, "some ")
      iex> {:ok, two} = Chunker.Compressor.update(compressor, ["con", "tent"])
      iex> {:ok, three} = Chunker.Compressor.finish(compressor)
      iex> Chunker.decompress([one, two, three])
      {:ok, "some content"}

  Each call changes the compressor, which belongs to one process at a time. Its memory is freed by `finish/1`,
  an error or `close/1`, or when no process holds it any more. A later call returns `:cancelled`.
  """

  import Chunker.Result

  alias Chunker.Error

  @enforce_keys [:coder]
  defstruct [:coder]

  @opaque t :: %__MODULE__{coder: :chunker.compressor()}

  @doc """
  Returns a compressor. Takes the options of `Chunker.compress/2`, except `:fallback`, and fails as it does.
  """
  @spec new([Chunker.compression_option()] | map()) :: {:ok, t()} | {:error, Error.t()}
  def new(options \\ []) do
    with {:ok, coder} <- result(:chunker.compressor(options)), do: {:ok, %__MODULE__{coder: coder}}
  end

  @doc """
  Compresses the next bytes and returns the output that is ready, which may be empty.
  """
  @spec update(t(), iodata()) :: {:ok, iodata()} | {:error, Error.t()}
  def update(%__MODULE__{coder: coder}, data), do: result(:chunker.compressor_update(coder, data))

  @doc """
  Returns so much output that everything passed so far can be decompressed, which a peer who waits for a message
  needs.

  Each flush costs some bytes and compression across it, so flush messages and not pieces. bzip2 ends its
  stream and starts another one; together they are one content.

      iex> {:ok, compressor} = Chunker.Compressor.new()
      iex> {:ok, decompressor} = Chunker.Decompressor.new()
      iex> {:ok, one} = Chunker.Compressor.update(compressor, "a message")
      iex> {:ok, two} = Chunker.Compressor.flush(compressor)
      iex> {:ok, message} = Chunker.Decompressor.update(decompressor, [one, two])
      iex> IO.iodata_to_binary(message)
      "a message"

  """
  @spec flush(t()) :: {:ok, iodata()} | {:error, Error.t()}
  def flush(%__MODULE__{coder: coder}), do: result(:chunker.compressor_flush(coder))

  @doc """
  Ends the content, returns the rest of the output and closes the compressor.
  """
  @spec finish(t()) :: {:ok, iodata()} | {:error, Error.t()}
  def finish(%__MODULE__{coder: coder}), do: result(:chunker.compressor_finish(coder))

  @doc """
  Frees the memory of the compressor before its end.
  """
  @spec close(t()) :: :ok
  def close(%__MODULE__{coder: coder}), do: call(:chunker.compressor_close(coder))
end
