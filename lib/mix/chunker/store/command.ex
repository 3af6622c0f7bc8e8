defmodule Mix.Chunker.Store.Command do
  @moduledoc false
  # A subcommand of `mix chunker.store`, and how one reports what it has done.
  #
  # Each result is a line of JSON or some text. A failure of one item is reported and spoils no other one. What a
  # subcommand returns is its exit status: 0, 1 if something could not be done, or 2 if the store is damaged.

  alias Chunker.Error
  alias Mix.Chunker.{ProgressLine, Switches, Text}

  @enforce_keys [:usage, :arguments, :help, :run]
  defstruct [:usage, :arguments, :help, :run, switches: []]

  @typedoc "`arguments` is how many there are, at least and at most."
  @type t :: %__MODULE__{
          usage: String.t(),
          arguments: {non_neg_integer(), non_neg_integer() | :any},
          help: String.t(),
          switches: keyword(atom()),
          run: ([binary()], keyword() -> status())
        }

  @type status :: 0 | 1 | 2

  @doc "The switches that several subcommands have."
  @spec common([:json | :threads | :progress]) :: keyword(atom())
  def common(names), do: Keyword.take([json: :boolean, threads: :integer, progress: :boolean], names)

  @doc "Opens a store that exists, or reports why it cannot be, and calls a function with it."
  @spec with_store(binary(), keyword(), keyword(), (Chunker.Store.t() -> status())) :: status()
  def with_store(path, switches, options \\ [], run) do
    case Chunker.Store.open(path, [create: false] ++ options) do
      {:ok, store} ->
        run.(store)

      {:error, %{reason: :not_found}} ->
        fail(switches, [store: path], :not_found, "#{Text.name(path)} has no store; init creates one")

      {:error, error} ->
        refuse(error, path)
        failure(switches, [store: path], error)
    end
  end

  @doc "Ends the task if an error is a mistake of the call, and not of a file."
  @spec refuse(Error.t(), binary()) :: :ok
  def refuse(%{reason: :invalid_options, details: %{option: :location}}, path),
    do: Mix.raise("#{Text.name(path)} is not empty, and is no store")

  def refuse(%{reason: :invalid_options, details: details}, _path),
    do: Mix.raise(Switches.out_of_range(details))

  def refuse(_error, _path), do: :ok

  @doc "Prints a result: pairs as JSON, or text."
  @spec result(keyword(), keyword(), iodata()) :: 0
  def result(switches, pairs, text) do
    cond do
      switches[:json] -> IO.puts(Text.json({:object, pairs}))
      text == [] -> :ok
      true -> IO.puts(text)
    end

    0
  end

  @doc "Reports an error about what the pairs name, and returns the status that it means."
  @spec failure(keyword(), keyword(), Error.t()) :: 1 | 2
  def failure(switches, pairs, %Error{} = error) do
    message = Exception.message(error)
    {_key, subject} = hd(pairs)
    subject = Text.name(subject)
    named? = String.starts_with?(message, [subject <> ":", subject <> " "])
    shown = if named?, do: message, else: "#{subject}: #{message}"
    max(fail(switches, pairs, error.reason, shown, message), status(error))
  end

  @doc "The same, for what is no error of the library."
  @spec fail(keyword(), keyword(), atom(), String.t(), String.t() | nil) :: 1
  def fail(switches, pairs, reason, shown, message \\ nil) do
    if switches[:json] do
      IO.puts(Text.json({:object, pairs ++ [error: reason, message: message || shown]}))
    else
      IO.puts(:stderr, "chunker.store: #{shown}")
    end

    1
  end

  defp status(%{reason: reason}) when reason in [:store_corrupt, :chunk_missing], do: 2
  defp status(_error), do: 1

  @doc "Returns the worst status of some items."
  @spec worst(Enumerable.t()) :: status()
  def worst(statuses), do: Enum.reduce(statuses, 0, &max/2)

  @doc "Calls a function of the library with its options, and shows its progress. Returns the seconds that it took as well."
  @spec timed(keyword(), String.t(), atom(), (keyword() -> result)) :: {float(), result} when result: term()
  def timed(switches, title, unit, run) do
    options = Keyword.take(switches, [:threads])

    {microseconds, result} =
      :timer.tc(fn -> ProgressLine.show(switches[:progress], title, unit, &run.(&1 ++ options)) end)

    {microseconds / 1_000_000, result}
  end

  @doc "Returns an id in hexadecimal."
  @spec hex(binary()) :: String.t()
  def hex(id), do: Base.encode16(id, case: :lower)

  @doc "Returns a number with its noun."
  @spec count(non_neg_integer(), String.t()) :: String.t()
  def count(1, noun), do: "1 #{noun}"
  def count(number, noun), do: "#{number} #{noun}s"
end
