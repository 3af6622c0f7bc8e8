# Measures how much hashing a cache saves for the next version of a package.
#
#     MIX_ENV=prod mix run bench/nar_versions.exs FOLDER
#
# FOLDER is the output of scripts/nar-series: a folder per package, with a NAR of each version. All versions
# of a package are chunked with `nar: true` and one cache; the share is the part of the bytes of versions 2 to
# n that was looked up instead of hashed. Then it measures the time for versions 2 to n, with a cache that has
# version 1 and without a cache. Needs no Hex package.

alias Chunker.Cache

folder =
  case System.argv() do
    [folder] -> folder
    _ -> raise "usage: mix run bench/nar_versions.exs FOLDER"
  end

IO.puts("Takes the versions of #{folder |> File.ls!() |> Enum.sort() |> Enum.join(", ")} in #{folder}.\n")
rounds = 5
seconds = fn run -> (run |> :timer.tc() |> elem(0)) / 1.0e6 end
median = fn times -> times |> Enum.sort() |> Enum.at(div(rounds, 2)) end
percent = fn part, whole -> :erlang.float_to_binary(100 * part / whole, decimals: 1) end
times = fn one, other -> :erlang.float_to_binary(one / other, decimals: 2) end
chunk = &Chunker.chunk_file!(&1, [nar: true] ++ &2)

# Returns the bytes of the chunks that are already in the cache.
looked_up = fn paths ->
  cache = Cache.new()

  {_, looked_up} =
    for path <- paths, reduce: {MapSet.new(), 0} do
      {known, looked_up} ->
        hits = Cache.stats(cache).hits
        chunks = chunk.(path, cache: cache)
        # Chunks of less than 2 KiB bypass the cache.
        found = for %{length: length, hash: hash} when length >= 2048 <- chunks, hash in known, do: length
        repeated = length(chunks) - length(Enum.uniq_by(chunks, & &1.hash))
        new_hits = Cache.stats(cache).hits - hits
        true = new_hits in length(found)..(length(found) + repeated)
        {Enum.into(chunks, known, & &1.hash), looked_up + Enum.sum(found)}
    end

  looked_up
end

IO.puts(
  "| package | versions | MB | looked up | BLAKE3, 1 thread | 2 threads | SHA-256, 1 thread | 2 threads |"
)

IO.puts("|---|---|---|---|---|---|---|---|")

rows =
  for name <- Enum.sort(File.ls!(folder)) do
    [first | next] =
      paths =
      folder |> Path.join(name) |> File.ls!() |> Enum.sort() |> Enum.map(&Path.join([folder, name, &1]))

    bytes = next |> Enum.map(&File.stat!(&1).size) |> Enum.sum()
    saved = looked_up.(paths)

    timed =
      for hash <- [:blake3, :sha256], threads <- [1, 2] do
        options = [hash: hash, threads: threads]

        {with_cache, without} =
          for _ <- 1..rounds, reduce: {[], []} do
            {with_cache, without} ->
              cache = Cache.new()
              chunk.(first, [cache: cache] ++ options)
              with_it = seconds.(fn -> Enum.each(next, &chunk.(&1, [cache: cache] ++ options)) end)
              {[with_it | with_cache], [seconds.(fn -> Enum.each(next, &chunk.(&1, options)) end) | without]}
          end

        {median.(with_cache), median.(without)}
      end

    shown = for {with_it, without} <- timed, do: times.(with_it, without)
    megabytes = :erlang.float_to_binary(bytes / 1.0e6, decimals: 1)

    IO.puts(
      "| #{name} | #{length(paths)} | #{megabytes} | #{percent.(saved, bytes)}% | #{Enum.join(shown, " | ")} |"
    )

    {bytes, saved, timed}
  end

bytes = rows |> Enum.map(&elem(&1, 0)) |> Enum.sum()
saved = rows |> Enum.map(&elem(&1, 1)) |> Enum.sum()

shown =
  for at <- 0..3 do
    pairs = for {_, _, timed} <- rows, do: Enum.at(timed, at)
    times.(pairs |> Enum.map(&elem(&1, 0)) |> Enum.sum(), pairs |> Enum.map(&elem(&1, 1)) |> Enum.sum())
  end

megabytes = :erlang.float_to_binary(bytes / 1.0e6, decimals: 1)
IO.puts("| together | | #{megabytes} | #{percent.(saved, bytes)}% | #{Enum.join(shown, " | ")} |")
