# Measures the gain of a batch call, and the cost of a small call.
#
#     MIX_ENV=prod mix run bench/batch.exs [ROUNDS]
#
# 1,000 items of 64 KiB in one call on all threads, compared with one call per item; and `Chunker.hash` of 1
# KiB, compared with `:crypto.hash`. Rounds alternate. Needs no Hex package.

rounds =
  case System.argv() do
    [rounds] -> String.to_integer(rounds)
    [] -> 9
  end

IO.puts("Takes 1,000 items of 64 KiB, words in random order, which it makes now ...")

words =
  List.to_tuple(
    for _ <- 1..2000, do: Base.encode32(:crypto.strong_rand_bytes(:rand.uniform(6)), padding: false) <> " "
  )

items =
  for _ <- 1..1000 do
    text = IO.iodata_to_binary(for _ <- 1..20_000, do: elem(words, :rand.uniform(2000) - 1))
    binary_part(text, 0, 65_536)
  end

compressed = Chunker.compress_batch!(items)
median = fn times -> times |> Enum.sort() |> Enum.at(div(length(times), 2)) end
time = fn run -> run |> :timer.tc() |> elem(0) end

contests = [
  {"hash_batch sha256", fn -> Chunker.hash_batch(items, hash: :sha256) end,
   fn -> Enum.map(items, &Chunker.hash(&1, :sha256)) end},
  {"hash_batch blake3", fn -> Chunker.hash_batch(items) end,
   fn -> Enum.map(items, &Chunker.hash(&1, :blake3)) end},
  {"compress_batch zstd", fn -> Chunker.compress_batch(items) end,
   fn -> Enum.map(items, &Chunker.compress/1) end},
  {"compress_batch lz4", fn -> Chunker.compress_batch(items, codec: :lz4) end,
   fn -> Enum.map(items, &Chunker.compress(&1, codec: :lz4)) end},
  {"decompress_batch zstd", fn -> Chunker.decompress_batch(compressed) end,
   fn -> Enum.map(compressed, &Chunker.decompress/1) end}
]

IO.puts("1000 items of 64 KiB, medians of #{rounds} rounds, ms; #{Chunker.info().threads} threads")

for {name, batch, one_by_one} <- contests do
  batch.()
  one_by_one.()
  {batches, singles} = Enum.unzip(for _ <- 1..rounds, do: {time.(batch), time.(one_by_one)})
  [batch, single] = Enum.map([batches, singles], median)

  IO.puts(
    "#{String.pad_trailing(name, 22)} #{Float.round(batch / 1000, 1)}, one by one #{Float.round(single / 1000, 1)}: " <>
      "#{Float.round(single / batch, 2)} times as fast"
  )
end

small = :crypto.strong_rand_bytes(1024)
times = 100_000

loop = fn run ->
  time.(fn -> Enum.each(1..times, fn _ -> run.() end) end) * 1000 / times
end

rows =
  for _ <- 1..rounds do
    {loop.(fn -> :crypto.hash(:sha256, small) end), loop.(fn -> Chunker.hash(small, :sha256) end),
     loop.(fn -> Chunker.hash(small, :blake3) end),
     loop.(fn -> Chunker.chunk_data(binary_part(small, 0, 1024)) end)}
  end

[crypto, sha256, blake3, chunk] = for i <- 0..3, do: median.(Enum.map(rows, &elem(&1, i)))

IO.puts(
  "1 KiB, ns: :crypto.hash sha256 #{round(crypto)}; Chunker.hash sha256 #{round(sha256)} " <>
    "(#{Float.round(sha256 / crypto, 2)} of it), blake3 #{round(blake3)} (#{Float.round(blake3 / crypto, 2)}); chunk_data #{round(chunk)}"
)
