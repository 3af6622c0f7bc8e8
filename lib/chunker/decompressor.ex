defmodule Chunker.Decompressor do
  @moduledoc """
  Decompresses data that arrives in pieces, step by step. `Chunker.decompress_stream/2` is simpler if the
  pieces are an enumerable.

      iex> {one, two} = "content" |> Chunker.compress!() |> :erlang.split_binary(5)
      iex> {:ok, decompressor} = Chunker.Decompressor.new()
      iex> {:ok, a} = Chunker.Decompressor.update(decompressor, one)
      iex> {:ok, b} = Chunker.Decompressor.update(decompressor, two)
      iex> {:ok, c} = Chunker.Decompressor.finish(decompressor)
      iex> IO.iodata_to_binary([a, b, c])
      "content"

  Each call changes the decompressor, which belongs to one process at a time. Its memory is freed by
  `finish/1`, an error or `close/1`, or when no process holds it any more. A later call returns `:cancelled`.
  """

  import Chunker.Result

  alias Chunker.Error

  @enforce_keys [:coder]
  defstruct [:coder]

  @opaque t :: %__MODULE__{coder: :chunker.decompressor()}

  @doc """
  Returns a decompressor. Takes the options of `Chunker.decompress/2`, and fails as it does. `:max_output_size`
  applies to the whole content and is `:infinity` by default; give it for content that comes from others, since
  a small piece may decompress to gigabytes, which `update/2` returns at once.
  """
  @spec new([Chunker.decompression_option()] | map()) :: {:ok, t()} | {:error, Error.t()}
  def new(options \\ []) do
    with {:ok, coder} <- result(:chunker.decompressor(options)), do: {:ok, %__MODULE__{coder: coder}}
  end

  @doc """
  Decompresses the next bytes and returns the output, which may be empty, or a thousand times the size of the
  input; `:max_output_size` limits it.
  """
  @spec update(t(), iodata()) :: {:ok, iodata()} | {:error, Error.t()}
  def update(%__MODULE__{coder: coder}, data), do: result(:chunker.decompressor_update(coder, data))

  @doc """
  Ends the input and closes the decompressor. An input that is not complete is `:decompression_failed`.
  """
  @spec finish(t()) :: {:ok, iodata()} | {:error, Error.t()}
  def finish(%__MODULE__{coder: coder}), do: result(:chunker.decompressor_finish(coder))

  @doc """
  Returns the number of bytes after the last stream or frame that were ignored so far, which is 0 without
  `trailing: :ignore`. It is final after `finish/1`, and also known of a closed decompressor.

      iex> {:ok, decompressor} = Chunker.Decompressor.new(trailing: :ignore)
      iex> {:ok, _} = Chunker.Decompressor.update(decompressor, [Chunker.compress!("content"), "garbage"])
      iex> {:ok, _} = Chunker.Decompressor.finish(decompressor)
      iex> Chunker.Decompressor.ignored(decompressor)
      7

  """
  @spec ignored(t()) :: non_neg_integer()
  def ignored(%__MODULE__{coder: coder}), do: call(:chunker.decompressor_ignored(coder))

  @doc """
  Frees the memory of the decompressor before its end.
  """
  @spec close(t()) :: :ok
  def close(%__MODULE__{coder: coder}), do: call(:chunker.decompressor_close(coder))
end
