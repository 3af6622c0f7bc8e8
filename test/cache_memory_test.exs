defmodule Chunker.CacheMemoryTest do
  # Runs in a separate VM: a VM that has done other work would reuse the memory which that work freed.
  use ExUnit.Case, async: true

  test "contents stay within max_memory, and are freed with the cache" do
    code = """
    alias Chunker.Cache

    resident = fn ->
      [_, kib] = Regex.run(~r/^VmRSS:\\s+(\\d+) kB/m, File.read!("/proc/self/status"))
      String.to_integer(kib) * 1024
    end

    settled = fn ->
      Enum.find_value(1..100, fn _ ->
        :erlang.garbage_collect()
        Process.sleep(20)
        resident.() < Application.fetch_env!(:chunker, :below)
      end) || false
    end

    before = resident.()

    # In a separate process, with which the cache is freed.
    Task.async(fn ->
      cache = Cache.new(verify: :content, max_memory: 100_000_000)
      for i <- 1..500, do: Cache.put(cache, <<i::64, 0::unit(8)-size(1_000_000)>>, :blake3)
      Application.put_env(:chunker, :below, before + 125_000_000)

      IO.inspect(
        counted: Cache.stats(cache).bytes <= 100_000_000,
        below: settled.(),
        held: resident.() > before + 50_000_000,
        entries: Cache.stats(cache).entries > 50
      )
    end)
    |> Task.await(60_000)

    Application.put_env(:chunker, :below, before + 25_000_000)
    IO.inspect(freed: settled.())
    """

    ebin = Path.join(Mix.Project.app_path(), "ebin")

    assert System.cmd("elixir", ["-pa", ebin, "-e", code], stderr_to_stdout: true) ==
             {"[counted: true, below: true, held: true, entries: true]\n[freed: true]\n", 0}
  end
end
