# Measures what `strategy: :smallest` costs: time and memory, beside the codecs that it tries and the other strategies.
#
#     mix run bench/smallest.exs FILE [MIB ...]
#
# compresses the first MIB of FILE, by default 1, 16 and 128. The kernel keeps the peak of the resident memory, so this
# needs Linux. The time is that of the processor, so other programs do not count. Memory that the allocator kept from
# the call before is not counted again.

{path, sizes} =
  case System.argv() do
    [path] -> {path, [1, 16, 128]}
    [path | sizes] -> {path, Enum.map(sizes, &String.to_integer/1)}
  end

resident = fn name ->
  [_, kib] = Regex.run(~r/^#{name}:\s+(\d+) kB/m, File.read!("/proc/self/status"))
  String.to_integer(kib) / 1024
end

ways = [
  [strategy: :fastest],
  [strategy: :balanced],
  [codec: :zstd, level: 22],
  [codec: :gzip, level: 9],
  [codec: :xz, level: 9],
  [codec: :bzip2, level: 9],
  [strategy: :smallest]
]

IO.puts("| options | content, MiB | output, bytes | CPU time, s | memory, MiB |\n|---|---|---|---|---|")

for mib <- sizes, {:ok, data} = File.open(path, &IO.binread(&1, mib * 1_048_576)), options <- ways do
  # proc(5): 5 resets the peak to the current size.
  File.write!("/proc/self/clear_refs", "5")
  before = resident.("VmRSS")
  {start, _} = :erlang.statistics(:runtime)
  compressed = Chunker.compress!(data, options)
  {stop, _} = :erlang.statistics(:runtime)
  memory = resident.("VmHWM") - before

  ("| `#{inspect(options)}` | #{div(byte_size(data), 1_048_576)} | #{byte_size(compressed)} | " <>
     "#{Float.round((stop - start) / 1000, 2)} | #{round(memory)} |")
  |> IO.puts()

  :erlang.garbage_collect()
end
