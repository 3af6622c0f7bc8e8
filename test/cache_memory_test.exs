defmodule Chunker.CacheMemoryTest do
  # Not async: it looks at the memory of the whole VM.
  use ExUnit.Case, async: false

  alias Chunker.Cache

  defp resident do
    [_, kib] = Regex.run(~r/^VmRSS:\s+(\d+) kB/m, File.read!("/proc/self/status"))
    String.to_integer(kib) * 1024
  end

  defp settled(below, tries \\ 100) do
    :erlang.garbage_collect()

    cond do
      resident() < below -> true
      tries == 0 -> false
      true -> Process.sleep(20) && settled(below, tries - 1)
    end
  end

  defp fill(cache, count, size) do
    for i <- 1..count, do: Cache.put(cache, <<i::64, 0::unit(8)-size(size)>>, :blake3)
  end

  test "contents stay within max_memory, and are freed with the cache" do
    before = resident()

    # In a process of its own, with which the cache goes.
    Task.async(fn ->
      cache = Cache.new(verify: :content, max_memory: 100_000_000)
      fill(cache, 500, 1_000_000)
      assert Cache.stats(cache).bytes <= 100_000_000
      assert settled(before + 125_000_000)
      assert resident() > before + 50_000_000
      assert Cache.stats(cache).entries > 50
    end)
    |> Task.await(60_000)

    assert settled(before + 25_000_000)
  end
end
