defmodule Chunker.Input do
  @moduledoc false
  # Checks inputs that Elixir takes in another form than Erlang does.

  # In Erlang atoms are names of files as well, also in lists.
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

  # Binaries of at least `gather` bytes, except for the last one, and at most 4 MiB.
  @spec pieces(Enumerable.t(), pos_integer()) :: Enumerable.t()
  def pieces(enumerable, gather) do
    Stream.transform(
      enumerable,
      fn -> :chunker_input.gathered(gather) end,
      fn piece, gathered ->
        with {:badarg, message} <- :chunker_input.add(piece, gathered),
             do: raise(ArgumentError, Chunker.Result.text(message))
      end,
      fn gathered -> {:chunker_input.rest(gathered), gathered} end,
      fn _gathered -> :ok end
    )
  end
end
