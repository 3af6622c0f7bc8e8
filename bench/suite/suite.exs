defmodule Suite do
  @moduledoc """
  Shared functions of the parts of `scripts/bench`: the location of the data, alternating rounds, and recording results.

  A part measures contestants and records a row for each: a line of `PART.tsv` in the folder of results, from which
  `page.exs` generates the page. Times are in seconds and sizes in bytes; rates are computed where they are shown.
  """

  @columns [:table, :row, :x, :bytes, :median, :fastest, :slowest, :rounds, :output, :command]

  @doc "Returns the path of a file that `scripts/bench` has created."
  def data(name), do: Path.join(System.fetch_env!("CHUNKER_BENCH_DATA"), name)

  @doc "Returns `:quick`, `:usual` or `:full`."
  def mode, do: String.to_existing_atom(System.fetch_env!("CHUNKER_BENCH_MODE"))

  @doc "Returns the number of rounds."
  def rounds(usual), do: if(mode() == :quick, do: 2, else: usual)

  @doc "Returns whether a program is installed, and prints a message to standard error if not."
  def installed?(program) do
    found = System.find_executable(program) != nil
    if not found, do: IO.puts(:stderr, "scripts/bench: left out, since it is not installed: #{program}")
    found
  end

  @doc """
  Runs contestants in alternation and returns their rows, with the median, fastest and slowest time.

  A contestant is a row with `:run`, a function without arguments. `:before` is called before each turn and `:after`
  after it, with the result; neither is timed. With `:repeats`, a turn is that number of calls, and their average is
  its time. Each contestant runs once beforehand, unless `warm: false` is given.
  """
  def race(contestants, rounds, options \\ []) do
    if Keyword.get(options, :warm, true), do: Enum.each(contestants, &turn/1)

    times =
      for _ <- 1..rounds, {contestant, place} <- Enum.with_index(contestants), do: {place, turn(contestant)}

    for {contestant, place} <- Enum.with_index(contestants) do
      {seconds, results} = Enum.unzip(for {^place, turn} <- times, do: turn)
      output = if is_function(contestant[:output]), do: contestant.output.(hd(results))
      contestant |> Map.merge(summary(seconds)) |> Map.put(:output, output)
    end
  end

  defp turn(contestant) do
    if before = contestant[:before], do: before.()
    repeats = Map.get(contestant, :repeats, 1)
    :erlang.garbage_collect()

    {microseconds, result} =
      :timer.tc(fn ->
        for _ <- 2..repeats//1, do: contestant.run.()
        contestant.run.()
      end)

    if later = contestant[:after], do: later.(result)
    {microseconds / 1.0e6 / repeats, result}
  end

  @doc "Summarizes the times of a contestant."
  def summary(seconds) do
    sorted = Enum.sort(seconds)
    count = length(sorted)
    middle = Enum.at(sorted, div(count, 2))
    median = if rem(count, 2) == 1, do: middle, else: (Enum.at(sorted, div(count, 2) - 1) + middle) / 2
    %{median: median, fastest: hd(sorted), slowest: List.last(sorted), rounds: count}
  end

  @doc "Returns a contestant that is a shell command; `$1` in it is the path."
  def program(command, path) do
    fn ->
      case System.cmd("sh", ["-c", command, "sh", path], stderr_to_stdout: true) do
        {output, 0} -> output
        {output, status} -> raise "#{command} failed with #{status}: #{output}"
      end
    end
  end

  @doc "Records the rows of a part, and prints them."
  def keep(part, rows) do
    lines = for row <- rows, do: Enum.map_join(@columns, "\t", &field(row[&1]))
    write(part, [Enum.join(@columns, "\t") | lines])

    for row <- rows do
      rate = if row[:bytes] in [nil, 0], do: "", else: "#{show(row.bytes / row.median / 1.0e6, 1)} MB/s"

      IO.puts(
        Enum.join(
          [
            String.pad_trailing("#{row.table}", 14),
            String.pad_trailing("#{row.row}", 34),
            String.pad_trailing("#{row[:x]}", 16),
            String.pad_leading(rate, 14),
            String.pad_leading("#{show(row.median * 1000, 3)} ms", 16),
            "  (#{show(row.fastest * 1000, 3)} to #{show(row.slowest * 1000, 3)})",
            if(row[:output], do: "  #{row.output} bytes", else: "")
          ],
          " "
        )
      )
    end
  end

  @doc "Records lines of any form, under the name of a part."
  def write(part, lines) do
    folder = System.fetch_env!("CHUNKER_BENCH_RESULTS")
    File.mkdir_p!(folder)
    File.write!(Path.join(folder, part <> ".tsv"), Enum.map(lines, &[&1, ?\n]))
  end

  @doc "Returns the recorded rows of a part, with numbers parsed; none if it was not measured."
  def kept(part) do
    for row <- lines(part) do
      row = @columns |> Enum.zip(row) |> Map.new()

      numbers =
        for key <- [:bytes, :median, :fastest, :slowest, :rounds, :output],
            into: %{},
            do: {key, number(row[key])}

      Map.merge(row, numbers)
    end
  end

  @doc "Returns the fields of the recorded lines of a part, without the header line."
  def lines(part), do: part |> recorded() |> Enum.drop(1)

  @doc "Returns the fields of the header line of a part, in a list; an empty list if it was not measured."
  def header(part), do: part |> recorded() |> Enum.take(1)

  defp recorded(part) do
    case File.read(Path.join(System.fetch_env!("CHUNKER_BENCH_RESULTS"), part <> ".tsv")) do
      {:ok, text} -> text |> String.split("\n", trim: true) |> Enum.map(&String.split(&1, "\t"))
      {:error, :enoent} -> []
    end
  end

  @doc "Formats a number with the given number of decimals."
  def show(number, decimals), do: :erlang.float_to_binary(number / 1, decimals: decimals)

  defp number(""), do: nil
  defp number(text), do: text |> Float.parse() |> elem(0)

  defp field(nil), do: ""
  defp field(value), do: to_string(value)
end
