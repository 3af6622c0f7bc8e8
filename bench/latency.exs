# Measures how late ordinary processes wake up while Chunker works.
#
#     MIX_ENV=prod mix run bench/latency.exs [SECONDS]
#
# A process repeatedly sleeps for 1 ms and records the delay of each wake-up: first in an idle VM, then while
# four processes repeatedly chunk a file of 1 GB in the page cache. Needs no Hex package.

Code.require_file("input.exs", __DIR__)

seconds =
  case System.argv() do
    [seconds] -> String.to_integer(seconds)
    [] -> 20
  end

defmodule Sleeper do
  # Returns the delay of each wake-up, in milliseconds.
  def run(until, late \\ []) do
    before = System.monotonic_time(:microsecond)
    Process.sleep(1)
    now = System.monotonic_time(:microsecond)
    late = [(now - before) / 1000 - 1 | late]
    if now < until, do: run(until, late), else: Enum.sort(late)
  end

  def report(name, late) do
    count = length(late)
    over = Enum.count(late, &(&1 > 10))
    at = fn share -> late |> Enum.at(min(count - 1, trunc(count * share))) |> Float.round(2) end

    IO.puts(
      "#{String.pad_trailing(name, 8)} #{count} wakes, late by ms: median #{at.(0.5)}, 99% #{at.(0.99)}, " <>
        "99.9% #{at.(0.999)}, most #{at.(1.0)}; by more than 10 ms: #{over}, " <>
        "#{Float.round(1000 * over / count, 2)} of 1000"
    )
  end
end

path = Bench.Input.random_file("latency")
until = fn -> System.monotonic_time(:microsecond) + seconds * 1_000_000 end
Sleeper.report("idle", Sleeper.run(until.()))

counter = :counters.new(1, [])

chunkers =
  for _ <- 1..4 do
    spawn_link(fn ->
      Stream.repeatedly(fn -> Chunker.chunk_file!(path) end)
      |> Enum.each(fn _ -> :counters.add(counter, 1, 1) end)
    end)
  end

Sleeper.report("chunking", Sleeper.run(until.()))
IO.puts("in that time #{:counters.get(counter, 1)} files of 1 GB were chunked in #{seconds} s")
Enum.each(chunkers, fn pid -> Process.unlink(pid) && Process.exit(pid, :kill) end)
File.rm!(path)
