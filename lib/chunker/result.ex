defmodule Chunker.Result do
  @moduledoc false
  # Turns what the Erlang face returns and raises into what Elixir callers get.

  alias Chunker.Error

  # Calls the Erlang face. A mistake that it raises as `badarg` becomes an `ArgumentError`, with Elixir terms in its text.
  defmacro call(expression) do
    quote do
      try do
        unquote(expression)
      catch
        :error, reason -> unquote(__MODULE__).raise_again(reason, __STACKTRACE__)
      end
    end
  end

  # The same, for functions that return `{:ok, value}` or an error.
  defmacro result(expression) do
    quote do: unquote(__MODULE__).to_result(unquote(__MODULE__).call(unquote(expression)))
  end

  @spec to_result({:ok, value} | {:error, {atom(), map()}}) :: {:ok, value} | {:error, Error.t()}
        when value: var
  def to_result({:ok, value}), do: {:ok, value}
  def to_result({:error, {reason, details}}), do: {:error, Error.new(reason, details)}

  # Options that `:chunker_options` has checked.
  @spec checked({:ok, value} | {:error, {atom(), map()}} | {:badarg, tuple() | list()}) ::
          {:ok, value} | {:error, Error.t()}
        when value: var
  def checked({:badarg, message}), do: raise(ArgumentError, text(message))
  def checked(checked), do: to_result(checked)

  @spec bang!({:ok, value} | {:error, Error.t()}) :: value when value: var
  def bang!({:ok, value}), do: value
  def bang!({:error, error}), do: raise(error)

  @spec raise_again(term(), Exception.stacktrace()) :: no_return()
  def raise_again(:badarg, [{_, _, _, info} | callers] = stacktrace) do
    case info[:error_info] do
      %{module: :chunker_badarg, cause: {_, message}} -> reraise ArgumentError, text(message), callers
      _ -> :erlang.raise(:error, :badarg, stacktrace)
    end
  end

  # What functions raise that have no error to return.
  def raise_again({reason, %{} = details}, [{module, _, _, _} | callers])
      when module in [:chunker, :chunker_cache] and is_atom(reason),
      do: reraise(Error.new(reason, details), callers)

  def raise_again(reason, stacktrace), do: :erlang.raise(:error, reason, stacktrace)

  # A message of `:chunker_badarg`.
  @spec text(tuple() | list()) :: String.t()
  def text({:general, message}), do: text(message)
  def text({:expected, what, got}), do: "expected #{what}, got: #{inspect(got, limit: 5)}"
  def text({:piece, got}), do: text({:expected, "iodata", got})
  def text(parts), do: Enum.map_join(parts, &part/1)

  defp part({:term, term}), do: inspect(term)
  defp part({:terms, terms}), do: Enum.map_join(terms, ", ", &inspect/1)
  defp part(text), do: text
end
