# Speed of the calls that hand out much memory, in GB/s, a median of five runs each. Prints a name and a figure a line, so that
# two builds can be compared in turns:
#
#     elixir -pa BUILD/ebin bench/memory_speed.exs RANDOM_FILE TEXT_FILE
#
# `stream` reads RANDOM_FILE; the others take the first 17 MB of TEXT_FILE.

[random, text] = System.argv()
size = File.stat!(random).size
text = File.open!(text, [:read, :raw, :binary], fn file -> elem(:file.read(file, 17_000_000), 1) end)
bytes = byte_size(text)

sizes = fn average -> [min_size: div(average, 4), avg_size: average, max_size: average * 4] end
slices = fn length -> for at <- 0..(div(bytes, length) - 1), do: binary_part(text, at * length, length) end
stream = fn average -> fn -> random |> Chunker.stream(sizes.(average)) |> Stream.run() end end

decompress = fn length, options ->
  packed = for slice <- slices.(length), do: Chunker.compress!(slice, options)
  fn -> for one <- packed, do: byte_size(Chunker.decompress!(one)) end
end

zstd = [codec: :zstd, level: 1]
lz4 = [codec: :lz4]
whole = Chunker.compress!(text, zstd)

rows = [
  {"stream 1 MiB", size, stream.(1_048_576)},
  {"stream 64 KiB", size, stream.(65_536)},
  {"stream 8 KiB", size, stream.(8192)},
  {"compress_stream zstd 1", bytes,
   fn -> slices.(1_000_000) |> Chunker.compress_stream(zstd) |> Stream.run() end},
  {"decompress_stream zstd", bytes, fn -> [whole] |> Chunker.decompress_stream() |> Stream.run() end},
  {"decompress zstd 17 MB", bytes, decompress.(bytes, zstd)},
  {"decompress lz4 17 MB", bytes, decompress.(bytes, lz4)},
  {"decompress zstd 1 MiB", bytes, decompress.(1_048_576, zstd)},
  {"decompress lz4 1 MiB", bytes, decompress.(1_048_576, lz4)},
  {"decompress zstd 64 KiB", bytes, decompress.(65_536, zstd)},
  {"decompress lz4 64 KiB", bytes, decompress.(65_536, lz4)}
]

for {name, bytes, run} <- rows do
  run.()
  times = for _ <- 1..5, do: run |> :timer.tc() |> elem(0)
  median = times |> Enum.sort() |> Enum.at(2)
  IO.puts("#{String.pad_trailing(name, 24)} #{:erlang.float_to_binary(bytes / median / 1000, decimals: 3)}")
end
