# Measures how long other processes wait while Chunker works.
#
#     MIX_ENV=prod mix run bench/latency.exs [SECONDS]
#
# Three processes record, each for itself and for SECONDS: one how late it wakes from a sleep of 1 ms, one how
# long a hash of 100 KB takes, and one how long the collection of its heap of 32 MB takes, which the VM does on
# a dirty CPU scheduler. They do so in an idle VM, while four processes repeatedly chunk a file of 1 GB in the
# page cache, and while eight processes repeatedly compress 20 MB with xz. Needs no Hex package.

Code.require_file("input.exs", __DIR__)

seconds =
  case System.argv() do
    [seconds] -> String.to_integer(seconds)
    [] -> 20
  end

defmodule Probe do
  @pause 5

  # Returns the milliseconds that each repetition has taken.
  def repeat(call, until, taken \\ []) do
    {microseconds, _} = :timer.tc(call)
    taken = [microseconds / 1000 | taken]
    if System.monotonic_time(:microsecond) < until, do: repeat(call, until, taken), else: Enum.sort(taken)
  end

  def report(work, seconds) do
    until = System.monotonic_time(:microsecond) + seconds * 1_000_000
    data = :rand.bytes(100_000)

    probes = [
      {"wakes late", fn -> repeat(fn -> Process.sleep(1) end, until) |> Enum.map(&max(&1 - 1, 0.0)) end},
      {"hash of 100 KB", fn -> paused(fn -> Chunker.hash(data, :blake3) end, until) end},
      {"collection",
       fn ->
         held = Enum.to_list(1..2_000_000)
         taken = paused(&:erlang.garbage_collect/0, until)
         # Still referenced, so that it is not collected earlier.
         :erlang.phash2(hd(held))
         taken
       end}
    ]

    tasks = for {name, probe} <- probes, do: {name, Task.async(probe)}
    for {name, task} <- tasks, do: row(work, name, Task.await(task, :infinity))
  end

  # Only the time of the call counts.
  defp paused(call, until, taken \\ []) do
    Process.sleep(@pause)
    {microseconds, _} = :timer.tc(call)
    taken = [microseconds / 1000 | taken]
    if System.monotonic_time(:microsecond) < until, do: paused(call, until, taken), else: Enum.sort(taken)
  end

  defp row(work, name, taken) do
    count = length(taken)
    over = fn limit -> Enum.count(taken, &(&1 > limit)) end

    at = fn share ->
      taken |> Enum.at(min(count - 1, trunc(count * share))) |> Float.round(2) |> to_string()
    end

    [work, name, to_string(count), at.(0.5), at.(0.99), at.(1.0), to_string(over.(10)), to_string(over.(100))]
    |> print()
  end

  def print(cells) do
    [13, 15, 7, 8, 8, 9, 8, 8]
    |> Enum.zip_with(cells, &String.pad_trailing(&2, &1))
    |> Enum.join(" ")
    |> String.trim_trailing()
    |> IO.puts()
  end

  # Runs `work` again and again in `count` processes while the probes run, and returns how often it was done.
  def beside(name, count, work, seconds) do
    done = :counters.new(1, [])

    workers =
      for _ <- 1..count do
        spawn_link(fn -> Stream.repeatedly(work) |> Enum.each(fn _ -> :counters.add(done, 1, 1) end) end)
      end

    report(name, seconds)
    Enum.each(workers, fn pid -> Process.unlink(pid) && Process.exit(pid, :kill) end)
    :counters.get(done, 1)
  end
end

path = Bench.Input.random_file("latency")
text = Base.encode64(:rand.bytes(15_000_000))

Probe.print(["beside", "milliseconds of", "times", "median", "99%", "most", "> 10 ms", "> 100 ms"])
Probe.report("nothing", seconds)
files = Probe.beside("chunk_file", 4, fn -> Chunker.chunk_file!(path) end, seconds)
texts = Probe.beside("compress, xz", 8, fn -> Chunker.compress!(text, codec: :xz) end, seconds)
IO.puts("in #{seconds} s each: #{files} files of 1 GB chunked, #{texts} texts of 20 MB compressed")
File.rm!(path)
