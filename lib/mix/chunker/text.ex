defmodule Mix.Chunker.Text do
  @moduledoc false
  # Names of files and objects as JSON and for people.

  @doc "Returns JSON: `{:object, pairs}` is an object, whose pairs keep their order."
  @spec json(term()) :: iodata()
  def json(nil), do: "null"
  def json(boolean) when is_boolean(boolean), do: Atom.to_string(boolean)
  def json(atom) when is_atom(atom), do: json(Atom.to_string(atom))
  def json(integer) when is_integer(integer), do: Integer.to_string(integer)
  def json(float) when is_float(float), do: :erlang.float_to_binary(float, decimals: 6)
  def json(list) when is_list(list), do: [?[, list |> Enum.map(&json/1) |> Enum.intersperse(?,), ?]]

  def json({:object, pairs}) do
    pairs = for {name, value} <- pairs, do: [json(name), ?:, json(value)]
    [?{, Enum.intersperse(pairs, ?,), ?}]
  end

  # JSON is Unicode, and names of files need not be: other bytes become U+FFFD, as JSON writers do.
  def json(text) when is_binary(text),
    do: [?", text |> path() |> String.to_charlist() |> Enum.map(&escape/1), ?"]

  defp escape(?"), do: "\\\""
  defp escape(?\\), do: "\\\\"
  defp escape(c) when c < 0x20, do: ["\\u", c |> Integer.to_string(16) |> String.pad_leading(4, "0")]
  defp escape(c), do: <<c::utf8>>

  @doc "Returns a name for people, who must see where it ends and whose terminal it must not control."
  @spec name(binary()) :: String.t()
  def name(path) do
    if String.valid?(path) and path =~ ~r/[[:cntrl:]]/u, do: inspect(path), else: path(path)
  end

  @doc "Returns a name with U+FFFD for each byte that is no text."
  @spec path(binary()) :: String.t()
  def path(path) do
    if String.valid?(path), do: path, else: for(<<byte <- path>>, into: "", do: ascii(byte))
  end

  defp ascii(byte) when byte < 128, do: <<byte>>
  defp ascii(_byte), do: "\uFFFD"

  @doc "Returns the throughput of some bytes in some seconds."
  @spec throughput(non_neg_integer(), number()) :: String.t()
  def throughput(bytes, seconds) when seconds > 0,
    do: "#{decimal(bytes / seconds / 1_000_000, 1)} MB/s in #{decimal(seconds / 1, 3)} s"

  def throughput(_bytes, _seconds), do: "at once"

  @doc "Returns a number with so many decimals, and never with an exponent."
  @spec decimal(float(), non_neg_integer()) :: String.t()
  def decimal(number, decimals), do: :erlang.float_to_binary(number, decimals: decimals)

  @doc "Returns a share in percent, in parentheses, or nothing of nothing."
  @spec share(non_neg_integer(), non_neg_integer()) :: String.t()
  def share(_part, 0), do: ""
  def share(part, whole), do: " (#{Float.round(100 * part / whole, 1)}%)"
end
