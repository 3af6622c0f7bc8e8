defmodule Chunker.Input do
  @moduledoc false
  # What callers hand over: bytes, names of files, and pieces that come one after the other.

  # A large piece is cut down to this size, so that what comes of it does not come all at once.
  @slice 4_194_304

  @spec binary!(iodata()) :: binary()
  def binary!(data) when is_binary(data), do: data

  def binary!(data) do
    IO.iodata_to_binary(data)
  rescue
    ArgumentError -> not_iodata!(data)
  end

  @spec path!(Path.t()) :: binary()
  def path!(path) when is_binary(path), do: path

  def path!(path) when is_list(path) do
    IO.chardata_to_string(path)
  rescue
    _ in [ArgumentError, UnicodeConversionError] -> not_a_path!(path)
  end

  def path!(path), do: not_a_path!(path)

  @spec not_a_path!(term()) :: no_return()
  defp not_a_path!(path) do
    raise ArgumentError, "expected the name of a file, got: " <> inspect(path, limit: 5)
  end

  # What was taken out of a chunk.
  @spec references!(nil | Chunker.Nar.references()) :: Chunker.Nar.references()
  def references!(references) do
    case :chunker_input.references(references) do
      {:ok, references} -> references
      {:badarg, message} -> raise ArgumentError, "references #{message}"
    end
  end

  # Binaries of at least `gather` bytes (but for the last one) and at most `@slice`.
  @spec pieces(Enumerable.t(), pos_integer()) :: Enumerable.t()
  def pieces(enumerable, gather) do
    Stream.transform(
      enumerable,
      fn -> {[], 0} end,
      fn element, {gathered, size} ->
        size = size + iodata_length!(element)

        if size < gather do
          {[], {[gathered | element], size}}
        else
          binary = if gathered == [], do: binary!(element), else: IO.iodata_to_binary([gathered | element])
          {slices(binary), {[], 0}}
        end
      end,
      fn {gathered, _size} = state -> {[IO.iodata_to_binary(gathered)], state} end,
      fn _state -> :ok end
    )
  end

  defp slices(binary) when byte_size(binary) <= @slice, do: [binary]

  defp slices(binary) do
    for offset <- 0..(byte_size(binary) - 1)//@slice do
      binary_part(binary, offset, min(@slice, byte_size(binary) - offset))
    end
  end

  defp iodata_length!(data) do
    IO.iodata_length(data)
  rescue
    ArgumentError -> not_iodata!(data)
  end

  @spec not_iodata!(term()) :: no_return()
  defp not_iodata!(data), do: raise(ArgumentError, "expected iodata, got: " <> inspect(data, limit: 5))
end
