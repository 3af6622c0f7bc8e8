# Compares the speed of the calls that hand out much memory in two builds, such as today's and an older one:
#
#     elixir bench/memory_speed.exs RANDOM_FILE TEXT_FILE BUILD_BEFORE BUILD_AFTER
#
# A BUILD is a folder such as _build/prod/lib/chunker. `stream` reads RANDOM_FILE; the other rows take the first
# 17 MB of TEXT_FILE. Each build has a VM of its own, and the two take turns, one pass each in random order, 40
# times a row, so that other load on the machine affects both alike. Prints for each row the median speeds in
# GB/s and the median of the ratios of neighbouring passes, where more than 1 means that BUILD_AFTER is faster.

defmodule MemorySpeed do
  @compile {:no_warn_undefined, Chunker}

  @passes 40

  def compare(random, text, before_build, after_build) do
    vms = for build <- [before_build, after_build], do: start(build, random, text)
    IO.puts(row(["", "before", "after", "ratio"]))

    for {name, bytes, _} <- rows(random, text) do
      Enum.each(vms, &pass(&1, name))
      times = for _ <- 1..@passes, do: turn(vms, name)
      [before_times, after_times] = for i <- [0, 1], do: Enum.map(times, &elem(&1, i))
      ratio = median(for {before_time, after_time} <- times, do: before_time / after_time)
      speeds = for times <- [before_times, after_times], do: bytes / median(times) / 1000
      IO.puts(row([name | Enum.map(speeds ++ [ratio], &:erlang.float_to_binary(&1, decimals: 2))]))
    end
  end

  # Runs the row that each line of standard input names, and prints its time in microseconds.
  def serve(random, text) do
    rows = for {name, _, prepare} <- rows(random, text), into: %{}, do: {name, prepare}

    Enum.reduce(IO.stream(:stdio, :line), {nil, nil}, fn line, {prepared, run} ->
      name = String.trim(line)
      run = if name == prepared, do: run, else: Map.fetch!(rows, name).()
      IO.puts(run |> :timer.tc() |> elem(0))
      {name, run}
    end)
  end

  defp start(build, random, text) do
    args = ["-pa", Path.join(build, "ebin"), __ENV__.file, "--serve", random, text]
    elixir = {:spawn_executable, System.find_executable("elixir")}
    Port.open(elixir, [:binary, :exit_status, line: 100, args: args])
  end

  defp turn([before_vm, after_vm], name) do
    if :rand.uniform(2) == 1 do
      time = pass(before_vm, name)
      {time, pass(after_vm, name)}
    else
      time = pass(after_vm, name)
      {pass(before_vm, name), time}
    end
  end

  defp pass(vm, name) do
    Port.command(vm, [name, ?\n])

    receive do
      {^vm, {:data, {:eol, time}}} -> String.to_integer(time)
      {^vm, {:exit_status, status}} -> raise "a VM ended with status #{status}"
    end
  end

  defp median(numbers), do: numbers |> Enum.sort() |> Enum.at(div(length(numbers), 2))

  defp row([name | figures]),
    do: Enum.join([String.pad_trailing(name, 24) | Enum.map(figures, &String.pad_leading(&1, 8))])

  # The name of each row, the bytes of one pass, and a function that prepares the pass.
  defp rows(random, text) do
    text = File.open!(text, [:read, :raw, :binary], fn file -> elem(:file.read(file, 17_000_000), 1) end)
    bytes = byte_size(text)
    zstd = [codec: :zstd, level: 1]
    lz4 = [codec: :lz4]

    stream = fn average ->
      options = [min_size: div(average, 4), avg_size: average, max_size: average * 4]
      {File.stat!(random).size, fn -> fn -> random |> Chunker.stream(options) |> Stream.run() end end}
    end

    decompress = fn length, options ->
      {bytes,
       fn ->
         packed = for slice <- slices(text, length), do: Chunker.compress!(slice, options)
         fn -> for one <- packed, do: byte_size(Chunker.decompress!(one)) end
       end}
    end

    compress_stream = fn ->
      fn -> text |> slices(1_000_000) |> Chunker.compress_stream(zstd) |> Stream.run() end
    end

    decompress_stream = fn ->
      packed = Chunker.compress!(text, zstd)
      fn -> [packed] |> Chunker.decompress_stream() |> Stream.run() end
    end

    rows = [
      {"stream 1 MiB", stream.(1_048_576)},
      {"stream 64 KiB", stream.(65_536)},
      {"stream 8 KiB", stream.(8192)},
      {"compress_stream zstd 1", {bytes, compress_stream}},
      {"decompress_stream zstd", {bytes, decompress_stream}},
      {"decompress zstd 17 MB", decompress.(bytes, zstd)},
      {"decompress lz4 17 MB", decompress.(bytes, lz4)},
      {"decompress zstd 1 MiB", decompress.(1_048_576, zstd)},
      {"decompress lz4 1 MiB", decompress.(1_048_576, lz4)},
      {"decompress zstd 64 KiB", decompress.(65_536, zstd)},
      {"decompress lz4 64 KiB", decompress.(65_536, lz4)}
    ]

    for {name, {bytes, prepare}} <- rows, do: {name, bytes, prepare}
  end

  defp slices(text, length) do
    for at <- 0..(div(byte_size(text), length) - 1), do: binary_part(text, at * length, length)
  end
end

case System.argv() do
  ["--serve", random, text] ->
    MemorySpeed.serve(random, text)

  [random, text, before_build, after_build] ->
    MemorySpeed.compare(random, text, before_build, after_build)

  _ ->
    IO.puts(:stderr, "usage: elixir bench/memory_speed.exs RANDOM_FILE TEXT_FILE BUILD_BEFORE BUILD_AFTER")
    System.halt(2)
end
