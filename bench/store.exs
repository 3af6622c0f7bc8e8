# Measures the work of a store for a file: finding chunks, hashing and compressing them; compared with
# programs that only compress.
#
#     MIX_ENV=prod mix run bench/store.exs FILE [ROUNDS]
#
# `Chunker.stream` with default sizes (1 MiB on average), BLAKE3 and `compress:`, on all threads; compared
# with `zstd -3 -B1MiB -T2` and `lz4 -1`, which read the same file and discard the output. Rounds alternate,
# so that all run under the same load. FILE should be a tar of several hundred MB; it is read once beforehand,
# so that it is in the page cache. Needs the programs zstd and lz4, and no Hex package.

Code.require_file("input.exs", __DIR__)

{path, rounds} =
  case System.argv() do
    [path] -> {path, 5}
    [path, rounds] -> {path, String.to_integer(rounds)}
    _ -> raise "usage: mix run bench/store.exs FILE [ROUNDS]"
  end

Bench.Input.given(path)
size = File.stat!(path).size
Chunker.hash_file!(path, :blake3)

stream = fn compress ->
  fn ->
    path
    |> Chunker.stream(compress: compress)
    |> Enum.reduce(0, &(byte_size(&1.compressed) + &2))
  end
end

program = fn command ->
  fn ->
    {output, 0} = System.cmd("sh", ["-c", command <> " | wc -c", "sh", path])
    output |> String.trim() |> String.to_integer()
  end
end

contests = [
  {"stream, zstd 3", stream.(codec: :zstd, level: 3), "zstd -3 -B1MiB -T2",
   program.("zstd -3 -B1MiB -T2 -q -c \"$1\"")},
  {"stream, lz4", stream.(codec: :lz4), "lz4 -1", program.("lz4 -1 -q -c \"$1\"")}
]

median = fn seconds -> seconds |> Enum.sort() |> Enum.at(div(length(seconds), 2)) end
mb = fn seconds -> :erlang.float_to_binary(size / seconds / 1.0e6, decimals: 1) end

time = fn run ->
  {microseconds, bytes} = :timer.tc(run)
  {microseconds / 1.0e6, bytes}
end

IO.puts("#{size} bytes, medians (slowest to fastest) of #{rounds} rounds; #{Chunker.info().threads} threads")

for {ours, run_ours, theirs, run_theirs} <- contests do
  rows = for _ <- 1..rounds, do: {time.(run_ours), time.(run_theirs)}
  {our_rows, their_rows} = Enum.unzip(rows)

  for {name, rows} <- [{ours, our_rows}, {theirs, their_rows}] do
    seconds = Enum.map(rows, &elem(&1, 0))
    {_, bytes} = hd(rows)

    IO.puts(
      "#{String.pad_trailing(name, 20)} #{mb.(median.(seconds))} MB/s " <>
        "(#{mb.(Enum.max(seconds))} to #{mb.(Enum.min(seconds))}), #{bytes} bytes"
    )
  end

  speed = median.(Enum.map(their_rows, &elem(&1, 0))) / median.(Enum.map(our_rows, &elem(&1, 0)))
  {{_, our_bytes}, {_, their_bytes}} = hd(rows)

  IO.puts(
    "#{String.pad_trailing("", 20)} #{Float.round(speed, 2)} of the speed, #{Float.round(our_bytes / their_bytes, 3)} of the size"
  )
end
