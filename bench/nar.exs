# Measures the cost of chunking a NAR along its files, listing entries, normalizing references, and hashing
# the whole NAR.
#
#     MIX_ENV=prod mix run bench/nar.exs [FILE.nar]
#
# `Chunker.chunk_file` of a NAR in the page cache, plain and with `nar: true`, with the same sizes. Rounds
# alternate, so that all run under the same load. Without FILE it dumps 500 MB of the files below /usr/lib, in
# the order of their names, into the system's temporary folder. Needs no Hex package.

Code.require_file("input.exs", __DIR__)
alias Chunker.Nar

rounds = 7

{path, made} =
  case System.argv() do
    [path] ->
      {Bench.Input.given(path), false}

    [] ->
      path = Bench.Input.temporary("nar-bench")
      tree = path <> "-tree"

      for {file, _} <- Bench.Input.files("/usr/lib", 500_000_000) do
        copy = Path.join(tree, Path.relative_to(file, "/usr/lib"))
        File.mkdir_p!(Path.dirname(copy))
        File.cp!(file, copy)
      end

      Nar.dump!(tree, {:file, path})
      File.rm_rf!(tree)
      {path, true}
  end

entries = Nar.list!({:file, path})
size = File.stat!(path).size
large = for %{type: :regular, size: size} when size >= 1_048_576 <- entries, do: size

IO.puts(
  "#{size} bytes, #{length(entries)} entries, #{div(100 * Enum.sum(large), size)}% in files of 1 MiB or more; " <>
    "median (slowest to fastest) of #{rounds} rounds, GB/s; #{Chunker.info().threads} threads"
)

plain = fn hash -> fn -> Chunker.chunk_file!(path, preset: :default, hash: hash) end end
aware = fn hash, options -> fn -> Chunker.chunk_file!(path, [nar: true, hash: hash] ++ options) end end
seconds = fn run -> (run |> :timer.tc() |> elem(0)) / 1.0e6 end
median = fn times -> times |> Enum.sort() |> Enum.at(div(rounds, 2)) end
rate = fn seconds -> :erlang.float_to_binary(size / seconds / 1.0e9, decimals: 2) end

for hash <- [:blake3, :sha256] do
  runs = [
    {"plain", plain.(hash)},
    {"nar: true", aware.(hash, [])},
    {"nar: :auto", fn -> Chunker.chunk_file!(path, nar: :auto, hash: hash) end},
    {"nar: true, entries: true", aware.(hash, entries: true)},
    {"nar: true, references: true", aware.(hash, references: true)},
    {"Chunker.Nar.chunk", fn -> Nar.chunk!({:file, path}, hash: hash) end},
    {"Chunker.Nar.hash alone", fn -> Nar.hash!({:file, path}) end}
  ]

  for {_, run} <- runs, do: run.()

  times =
    for _ <- 1..rounds, {name, run} <- runs, reduce: %{} do
      times -> Map.update(times, name, [seconds.(run)], &[seconds.(run) | &1])
    end

  for {name, _} <- runs do
    all = times[name]
    # Compared round by round, because measurements of one round run under the same load.
    ratio = all |> Enum.zip(times["plain"]) |> Enum.map(fn {one, plain} -> one / plain end) |> then(median)

    IO.puts(
      "#{hash}  #{String.pad_trailing(name, 33)} #{rate.(median.(all))} " <>
        "(#{rate.(Enum.max(all))} to #{rate.(Enum.min(all))})  " <>
        "#{:erlang.float_to_binary(ratio, decimals: 3)} times the time of plain"
    )
  end
end

if made, do: File.rm!(path)
