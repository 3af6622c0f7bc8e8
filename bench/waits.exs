defmodule Bench.Waits do
  @moduledoc """
  Measures how long processes wait for what they do while others use Chunker.
  """

  # Milliseconds between two repetitions.
  @pause 5

  @doc """
  Returns for each of four processes the milliseconds of its repetitions in `seconds`, sorted: how late one wakes from
  a sleep of 1 ms, how long a hash of 100 KB takes, which runs on a dirty CPU scheduler, one of 2 MB, which is a short
  job, and how long the collection of a heap of 32 MB takes, which the VM does on a dirty CPU scheduler.
  """
  def measure(seconds) do
    until = System.monotonic_time(:microsecond) + seconds * 1_000_000
    data = :rand.bytes(100_000)
    large = :rand.bytes(2_000_000)

    probes = [
      {"wakes late", fn -> repeat(fn -> Process.sleep(1) end, 0, until) |> Enum.map(&max(&1 - 1, 0.0)) end},
      {"hash of 100 KB", fn -> repeat(fn -> Chunker.hash(data, :blake3) end, @pause, until) end},
      {"hash of 2 MB", fn -> repeat(fn -> Chunker.hash(large, :blake3) end, @pause, until) end},
      {"collection",
       fn ->
         held = Enum.to_list(1..2_000_000)
         taken = repeat(&:erlang.garbage_collect/0, @pause, until)
         # Still referenced, so that it is not collected earlier.
         :erlang.phash2(hd(held))
         taken
       end}
    ]

    tasks = for {name, probe} <- probes, do: {name, Task.async(probe)}
    for {name, task} <- tasks, do: {name, task |> Task.await(:infinity) |> Enum.sort()}
  end

  @doc """
  Measures while `count` processes call `work` again and again. Returns how often it was done, and the measurements.
  """
  def beside(count, work, seconds) do
    done = :counters.new(1, [])

    workers =
      for _ <- 1..count do
        spawn_link(fn -> Stream.repeatedly(work) |> Enum.each(fn _ -> :counters.add(done, 1, 1) end) end)
      end

    measured = measure(seconds)
    Enum.each(workers, fn pid -> Process.unlink(pid) && Process.exit(pid, :kill) end)
    {:counters.get(done, 1), measured}
  end

  # Only the time of the call counts.
  defp repeat(call, pause, until, taken \\ []) do
    Process.sleep(pause)
    {microseconds, _} = :timer.tc(call)
    taken = [microseconds / 1000 | taken]
    if System.monotonic_time(:microsecond) < until, do: repeat(call, pause, until, taken), else: taken
  end
end
