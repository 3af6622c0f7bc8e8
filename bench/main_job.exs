# Measures the main job: `Chunker.chunk_file` with defaults on a file in the page cache, compared with crate
# `fastcdc` and a hash function called in sequence (one thread, the file already in memory).
#
#     MIX_ENV=prod mix run bench/main_job.exs [FILE]
#
# Without FILE it creates a file of 1 GB of random bytes in the system's temporary folder. Rounds of the two
# alternate, so that both run under the same load. Needs Cargo, and no Hex package.

Code.require_file("input.exs", __DIR__)

rounds = 7

defmodule Rival do
  # Returns the seconds for one round of cutting and hashing.
  def run(path, hash) do
    arguments =
      ~w(run --quiet --release --locked --package chunker --example bare_sequence --) ++ [path, hash, "1"]

    {output, 0} = System.cmd("cargo", arguments)
    output |> String.trim() |> String.to_float()
  end
end

{path, made} =
  case System.argv() do
    [path] -> {Bench.Input.given(path), false}
    [] -> {Bench.Input.random_file("main-job"), true}
  end

size = File.stat!(path).size
median = fn seconds -> seconds |> Enum.sort() |> Enum.at(div(length(seconds), 2)) end
rate = fn seconds -> size / seconds / 1.0e9 end
show = fn seconds -> :erlang.float_to_binary(rate.(seconds), decimals: 2) end

info = Chunker.info()

IO.puts(
  "#{size} bytes, median (slowest to fastest) of #{rounds} rounds, GB/s; #{info.threads} threads, #{inspect(info.hashes)}"
)

for hash <- [:blake3, :sha256] do
  Rival.run(path, to_string(hash))
  Chunker.chunk_file!(path, hash: hash)

  {bare, job, stream} =
    for _ <- 1..rounds, reduce: {[], [], []} do
      {bare, job, stream} ->
        rival = Rival.run(path, to_string(hash))
        {microseconds, _} = :timer.tc(fn -> Chunker.chunk_file!(path, hash: hash) end)
        {streamed, _} = :timer.tc(fn -> path |> Chunker.stream(hash: hash) |> Stream.run() end)
        {[rival | bare], [microseconds / 1.0e6 | job], [streamed / 1.0e6 | stream]}
    end

  for {name, seconds} <- ["fastcdc, then #{hash}": bare, chunk_file: job, stream: stream] do
    range = "(#{show.(Enum.max(seconds))} to #{show.(Enum.min(seconds))})"
    factor = :erlang.float_to_binary(median.(bare) / median.(seconds), decimals: 2)

    IO.puts(
      "#{String.pad_trailing(to_string(name), 24)} #{show.(median.(seconds))} #{range}  #{factor} times"
    )
  end
end

if made, do: File.rm!(path)
