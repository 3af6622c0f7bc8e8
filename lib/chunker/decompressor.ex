defmodule Chunker.Decompressor do
  @moduledoc """
  Decompression of what comes in pieces, step by step, for those whom `Chunker.decompress_stream/2` does not fit.

      iex> {one, two} = "content" |> Chunker.compress!() |> :erlang.split_binary(5)
      iex> {:ok, decompressor} = Chunker.Decompressor.new()
      iex> {:ok, a} = Chunker.Decompressor.update(decompressor, one)
      iex> {:ok, b} = Chunker.Decompressor.update(decompressor, two)
      iex> {:ok, c} = Chunker.Decompressor.finish(decompressor)
      iex> IO.iodata_to_binary([a, b, c])
      "content"

  A decompressor is changed by each call and belongs to one process at a time. What it holds is freed by `finish/1`, by an
  error, by `close/1`, or when no process holds it any more. A call after that gives `:cancelled`.
  """

  import Chunker.Result

  alias Chunker.Error

  @enforce_keys [:coder]
  defstruct [:coder]

  @opaque t :: %__MODULE__{coder: :chunker.decompressor()}

  @doc """
  Begins a content. Takes the options of `Chunker.decompress/2`, and fails as that does.
  """
  @spec new([Chunker.decompression_option()] | map()) :: {:ok, t()} | {:error, Error.t()}
  def new(options \\ []) do
    with {:ok, coder} <- result(:chunker.decompressor(options)), do: {:ok, %__MODULE__{coder: coder}}
  end

  @doc """
  Takes the next bytes and gives all that they lead to, which may be nothing: it can be a
  thousand times as much, up to `:max_output_size`.
  """
  @spec update(t(), iodata()) :: {:ok, iodata()} | {:error, Error.t()}
  def update(%__MODULE__{coder: coder}, data), do: result(:chunker.decompressor_update(coder, data))

  @doc """
  Ends the input, which must have been whole, else the error is `:decompression_failed`. The decompressor is then closed.
  """
  @spec finish(t()) :: {:ok, iodata()} | {:error, Error.t()}
  def finish(%__MODULE__{coder: coder}), do: result(:chunker.decompressor_finish(coder))

  @doc """
  Frees what the decompressor holds, before its end.
  """
  @spec close(t()) :: :ok
  def close(%__MODULE__{coder: coder}), do: call(:chunker.decompressor_close(coder))
end
