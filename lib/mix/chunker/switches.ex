defmodule Mix.Chunker.Switches do
  @moduledoc false
  # Reads the switches of a command. A value of the wrong form is a mistake of the call, which ends the task.

  @doc "Says what is wrong with the first of the switches that `OptionParser` refuses."
  @spec describe([{String.t(), String.t() | nil}]) :: String.t()
  def describe([{switch, nil} | _]), do: "unknown option, or one that lacks its value: #{switch}"
  def describe([{switch, value} | _]), do: "option #{switch} cannot be #{value}"

  @doc "Returns the sizes of chunks among the switches, in bytes."
  @spec sizes(keyword()) :: keyword(non_neg_integer())
  def sizes(switches),
    do: for(key <- [:min_size, :avg_size, :max_size], text = switches[key], do: {key, size(key, text)})

  defp size(key, text) do
    case Regex.run(~r/\A(\d+)([KM]?)(i?B)?\z/i, text) do
      [_, digits | unit] ->
        String.to_integer(digits) * factor(String.upcase(List.first(unit, "")))

      nil ->
        Mix.raise("option #{name(key)} must be a size such as 65536, 64K or 4M, not #{text}")
    end
  end

  defp factor(""), do: 1
  defp factor("K"), do: 1024
  defp factor("M"), do: 1_048_576

  @doc "Returns the option that a switch stands for, which is one of some atoms, or none."
  @spec one_of(keyword(), atom(), [atom()]) :: keyword(atom())
  def one_of(switches, key, names) do
    case switches[key] do
      nil ->
        []

      text ->
        unless text in Enum.map(names, &Atom.to_string/1) do
          Mix.raise("option #{name(key)} must be one of #{Enum.join(names, ", ")}, not #{text}")
        end

        [{key, String.to_existing_atom(text)}]
    end
  end

  @doc "Returns the hash function among the switches."
  @spec hash(keyword()) :: keyword(atom())
  def hash(switches) do
    case switches[:hash] do
      nil -> []
      "blake3" -> [hash: :blake3]
      "sha256" -> [hash: :sha256]
      other -> Mix.raise("option --hash must be blake3 or sha256, not #{other}")
    end
  end

  @doc "Says which switch is out of range, by the details of an error."
  @spec out_of_range(map()) :: String.t()
  def out_of_range(%{option: option, value: value, allowed: allowed}) do
    # What is allowed may name another option.
    allowed = Regex.replace(~r/[a-z]+_size/, allowed, &name/1)
    "option #{name(option)} is #{value}, but must be #{allowed}"
  end

  @doc "Returns the switch of an option."
  @spec name(atom() | String.t()) :: String.t()
  def name(key), do: "--" <> String.replace(to_string(key), "_", "-")
end
