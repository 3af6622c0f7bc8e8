defmodule Mix.Chunker.ProgressLine do
  @moduledoc false
  # Shows progress with its rate and the time that is left, on one line of a terminal.

  alias Mix.Chunker.Text

  @unit_names %{bytes: "bytes", packs: "packs", objects: "objects"}

  @doc "Whether standard error is a terminal."
  @spec terminal?() :: boolean()
  def terminal? do
    # A port inherits it from the VM.
    case System.find_executable("test") do
      nil -> false
      test -> match?({_, 0}, System.cmd(test, ["-t", "2"]))
    end
  end

  @doc """
  Calls a function with the options that make a call of the library report to such a line, and removes the line at the
  end.
  """
  @spec show(boolean(), String.t(), :bytes | :packs | :objects, (keyword() -> result)) :: result
        when result: term()
  def show(false, _title, _unit, run), do: run.([])

  def show(true, title, unit, run) do
    start = System.monotonic_time(:millisecond)

    report = fn done, total ->
      seconds = (System.monotonic_time(:millisecond) - start) / 1000
      IO.write(:stderr, ["\r", line(title, unit, done, total, seconds), "\e[K"])
    end

    try do
      run.(progress: report)
    after
      IO.write(:stderr, "\r\e[K")
    end
  end

  @doc "Returns the text of the line."
  @spec line(String.t(), atom(), non_neg_integer(), nil | non_neg_integer(), float()) :: String.t()
  def line(title, unit, done, total, seconds) do
    rate = if seconds > 0, do: done / seconds, else: 0.0

    [title, part(unit, done, total), rate(unit, rate), left(done, total, rate)]
    |> Enum.reject(&(&1 == ""))
    |> Enum.join("  ")
  end

  defp part(unit, done, nil), do: amount(unit, done)

  defp part(unit, done, total),
    do:
      "#{if total > 0, do: floor(100 * done / total), else: 100}%  #{amount(unit, done)} of #{amount(unit, total)}"

  defp rate(_unit, rate) when rate <= 0, do: ""
  defp rate(:bytes, rate), do: amount(:bytes, round(rate)) <> "/s"
  defp rate(unit, rate), do: "#{Text.decimal(rate, 1)} #{@unit_names[unit]}/s"

  defp left(done, total, rate) when is_integer(total) and total > done and rate > 0 do
    seconds = ceil((total - done) / rate)
    minutes = div(seconds, 60)

    if minutes >= 60,
      do: "#{div(minutes, 60)}:#{two(rem(minutes, 60))}:#{two(rem(seconds, 60))} left",
      else: "#{minutes}:#{two(rem(seconds, 60))} left"
  end

  defp left(_done, _total, _rate), do: ""

  defp two(number), do: number |> Integer.to_string() |> String.pad_leading(2, "0")

  # Powers of 1,000.
  defp amount(:bytes, bytes) when bytes >= 1_000_000_000, do: "#{Text.decimal(bytes / 1.0e9, 1)} GB"
  defp amount(:bytes, bytes), do: "#{Text.decimal(bytes / 1.0e6, 1)} MB"
  defp amount(unit, number), do: "#{number} #{@unit_names[unit]}"
end
