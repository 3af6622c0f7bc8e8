# Measures the time that a cache saves when a file is chunked again, and the number of lookups per second.
#
#     MIX_ENV=prod mix run bench/cache.exs [FILE [ROUNDS]]
#
# Measures the memory of full caches; then `Chunker.chunk_file` of FILE without a cache, with an empty one,
# and again with the same one, which then has all chunks, in alternating rounds; then `get` and `put` from
# 1,000 processes. Without FILE it creates a file of 1 GB of random bytes in the system's temporary folder.
# Needs no Hex package.

Code.require_file("input.exs", __DIR__)
alias Chunker.Cache

{path, made, rounds} =
  case System.argv() do
    [path, rounds] -> {Bench.Input.given(path), false, String.to_integer(rounds)}
    [path] -> {Bench.Input.given(path), false, 7}
    [] -> {Bench.Input.random_file("cache-bench"), true, 7}
  end

seconds = fn run -> (run |> :timer.tc() |> elem(0)) / 1.0e6 end
median = fn times -> times |> Enum.sort() |> Enum.at(div(length(times), 2)) end
show = fn number, decimals -> :erlang.float_to_binary(number / 1, decimals: decimals) end
all = Chunker.info().threads

resident = fn ->
  [_, kib] = Regex.run(~r/^VmRSS:\s+(\d+) kB/m, File.read!("/proc/self/status"))
  String.to_integer(kib) * 1024
end

if File.exists?("/proc/self/status") do
  for entries <- [100_000, 1_000_000] do
    :erlang.garbage_collect()
    before = resident.()
    cache = Cache.new(max_entries: entries)
    # Three times the capacity, so that entries have been evicted too.
    Enum.each(1..(3 * entries), &Cache.put(cache, <<&1::64>>, :blake3))
    :erlang.garbage_collect()
    taken = resident.() - before
    stats = Cache.stats(cache)

    IO.puts(
      "#{stats.entries} entries: #{show.(taken / 1.0e6, 1)} MB resident, #{show.(taken / stats.entries, 0)} bytes each; " <>
        "counted as #{show.(stats.bytes / 1.0e6, 1)} MB"
    )
  end
end

IO.puts(
  "#{Path.basename(path)}: #{File.stat!(path).size} bytes, medians of #{rounds} rounds; kernels: #{inspect(Chunker.info().kernels)}"
)

contests =
  for(hash <- [:blake3, :sha256], threads <- Enum.uniq([1, all]), do: {:fingerprint, hash, threads}) ++
    [{:content, :blake3, all}]

for {verify, hash, threads} <- contests do
  options = [hash: hash, threads: threads]
  memory = if verify == :content, do: 2 * File.stat!(path).size + 100_000_000, else: 268_435_456
  Chunker.chunk_file!(path, options)

  times =
    for _ <- 1..rounds do
      cache = Cache.new(verify: verify, max_memory: memory)
      without = seconds.(fn -> Chunker.chunk_file!(path, options) end)
      first = seconds.(fn -> Chunker.chunk_file!(path, [cache: cache] ++ options) end)
      second = seconds.(fn -> Chunker.chunk_file!(path, [cache: cache] ++ options) end)
      %{hit_rate: 0.5} = Cache.stats(cache)
      {without, first, second}
    end

  [without, first, second] = for i <- 0..2, do: median.(Enum.map(times, &elem(&1, i)))

  IO.puts(
    "#{verify} #{hash} #{threads} thread(s): without #{show.(without, 3)} s, first #{show.(first, 3)}, " <>
      "second #{show.(second, 3)}; second / first #{show.(second / first, 2)}, first / without #{show.(first / without, 2)}"
  )
end

if made, do: File.rm!(path)

# Lookups from many processes: 100,000 contents, of which each process looks up its own sequence.
for size <- [256, 65_536, 1_048_576] do
  count = min(100_000, div(400_000_000, size))
  data = :crypto.strong_rand_bytes(size)
  contents = for i <- 1..count, do: <<i::64, binary_part(data, 8, size - 8)::binary>>
  # Data passed to a process is copied, except for persistent terms.
  :persistent_term.put(:contents, List.to_tuple(contents))
  cache = Cache.new(max_entries: 200_000)
  calls = max(1, div(min(1_000_000, div(8_000_000_000, size)), 1000))

  for {name, call} <- [put: &Cache.put/3, get: &Cache.get/3], processes <- [1, 1000] do
    run = fn ->
      1..processes
      |> Enum.map(fn worker ->
        Task.async(fn ->
          contents = :persistent_term.get(:contents)

          for i <- 1..div(calls * 1000, processes) do
            call.(cache, elem(contents, rem(i * 7919 + worker * 104_729, count)), :blake3)
          end

          :ok
        end)
      end)
      |> Task.await_many(:infinity)
    end

    run.()
    rate = calls * 1000 / median.(for _ <- 1..3, do: seconds.(run))

    IO.puts(
      "#{name} of #{size} bytes from #{processes} process(es): #{show.(rate / 1000, 1)} thousand a second, " <>
        "#{show.(rate * size / 1.0e9, 2)} GB/s"
    )
  end
end
