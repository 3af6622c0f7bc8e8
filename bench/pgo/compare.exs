# Prints the medians of the output of `workload.exs` for several builds, compared with the first build.
#
#     elixir bench/pgo/compare.exs FILE...

[{_, base} | others] =
  builds =
  for file <- System.argv() do
    times =
      file
      |> File.stream!()
      |> Enum.map(&(&1 |> String.trim() |> String.split("\t")))
      |> Enum.group_by(&hd/1, fn [_, seconds] -> String.to_float(seconds) end)

    {Path.basename(file, ".tsv"), times}
  end

median = fn times -> times |> Enum.sort() |> Enum.at(div(length(times), 2)) end
show = fn number, decimals -> :erlang.float_to_binary(number / 1, decimals: decimals) end
names = Enum.map(builds, &elem(&1, 0))

IO.puts("| job | #{hd(names)}, ms | #{Enum.map_join(tl(names), " | ", &"#{&1}, ms | of the speed")} |")
IO.puts("|---|---|#{String.duplicate("---|---|", length(others))}")

for {job, times} <- Enum.sort(base) do
  cells =
    for {_, other} <- others do
      "#{show.(median.(other[job]) * 1000, 1)} | #{show.(median.(times) / median.(other[job]), 3)}"
    end

  spread = "#{show.(Enum.min(times) * 1000, 1)} to #{show.(Enum.max(times) * 1000, 1)}"
  IO.puts("| #{job} | #{show.(median.(times) * 1000, 1)} (#{spread}) | #{Enum.join(cells, " | ")} |")
end

means =
  for {_, other} <- others do
    logarithms = for {job, times} <- base, do: :math.log(median.(times) / median.(other[job]))
    " | #{show.(:math.exp(Enum.sum(logarithms) / length(logarithms)), 3)}"
  end

rounds = base |> Map.values() |> hd() |> length()
IO.puts("| geometric mean, #{rounds} rounds | | #{Enum.join(means, " | ")} |")
