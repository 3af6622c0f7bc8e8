# The lengths of chunks, and the share of duplicate data in a real file. Nothing is timed.

Code.require_file("suite.exs", __DIR__)

average = 65_536
sizes = [min_size: div(average, 4), avg_size: average, max_size: average * 4]
bin = div(average, 16)

shares =
  for normalization <- 0..3 do
    chunks = Chunker.chunk_file!(Suite.data("random"), [normalization: normalization] ++ sizes)
    bins = Enum.frequencies_by(chunks, &div(&1.length, bin))

    for number <- 0..div(4 * average, bin),
        do: {normalization, number, Map.get(bins, number, 0) / length(chunks)}
  end

Suite.write("distribution", [
  "length of a chunk over the average\tnormalization 0\tnormalization 1\tnormalization 2\tnormalization 3"
  | for row <- Enum.zip_with(shares, & &1) do
      number = row |> hd() |> elem(1)
      Enum.map_join([number / 16 | Enum.map(row, &(elem(&1, 2) * 100))], "\t", &Suite.show(&1, 4))
    end
])

rows =
  for {name, file, options} <- [
        {"random bytes", "random", []},
        {"tar", "tar", []},
        {"tar, 64 KiB on average", "tar", sizes}
      ] do
    chunks = Chunker.chunk_file!(Suite.data(file), options)
    lengths = chunks |> Enum.map(& &1.length) |> Enum.sort()
    total = Enum.sum(lengths)
    once = chunks |> Enum.uniq_by(& &1.hash) |> Enum.map(& &1.length) |> Enum.sum()

    [
      name,
      length(lengths),
      hd(lengths),
      Enum.at(lengths, div(length(lengths), 2)),
      round(total / length(lengths)),
      List.last(lengths),
      Suite.show(100 * (total - once) / total, 2)
    ]
    |> Enum.join("\t")
  end

Suite.write("chunks", ["input\tchunks\tshortest\tmedian\tmean\tlongest\trepeated, %" | rows])
Enum.each(rows, &IO.puts/1)
