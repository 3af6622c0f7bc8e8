# Measures the resident memory of the VM before, while and after many processes call Chunker at once.
#
#     MIX_ENV=prod mix run bench/load_memory.exs [PROCESSES] [SECONDS]
#
# PROCESSES (default 300) each call, one after the other and in an order of their own, functions of every kind with
# inputs of 1 to 20 MB. Peak memory is that of the whole time; the memory at the end is read when all processes
# have ended, all garbage is collected, and then again for SECONDS (default 15). Linux only. Needs no Hex package.

{processes, seconds} =
  case Enum.map(System.argv(), &String.to_integer/1) do
    [] -> {300, 15}
    [processes] -> {processes, 15}
    [processes, seconds] -> {processes, seconds}
  end

resident = fn field ->
  [_, kilobytes] = Regex.run(~r/#{field}:\s+(\d+)/, File.read!("/proc/self/status"))
  div(String.to_integer(kilobytes), 1024)
end

report = fn name, field -> IO.puts("#{String.pad_trailing(name, 24)} #{resident.(field)} MiB resident") end

folder = Path.join(System.tmp_dir!(), "chunker-load-#{System.pid()}")
File.mkdir_p!(folder)
path = Path.join(folder, "file")
text = Base.encode64(:rand.bytes(15_000_000))
File.write!(path, text)
tree = Path.join(folder, "tree")
File.mkdir_p!(tree)
for n <- 1..20, do: File.write!(Path.join(tree, "#{n}"), binary_part(text, n * 100_000, 1_000_000))
nar = Path.join(folder, "nar")
{:ok, _} = Chunker.Nar.dump(tree, {:file, nar})
short = binary_part(text, 0, 1_000_000)
packed = for codec <- [:zstd, :xz, :bzip2, :lz4], do: Chunker.compress!(short, codec: codec)

calls =
  [
    fn -> Chunker.chunk_file!(path) end,
    fn -> Chunker.chunk_data!(text) end,
    fn -> path |> Chunker.stream() |> Enum.count() end,
    fn -> path |> Chunker.stream(compress: [codec: :zstd]) |> Enum.count() end,
    fn -> [text] |> Chunker.stream() |> Enum.count() end,
    fn -> Chunker.hash(text, :blake3) end,
    fn -> Chunker.hash_file(path, :sha256) end,
    fn -> Chunker.compress!(text) end,
    fn -> Chunker.compress_batch!(List.duplicate(short, 10)) end,
    fn -> [text] |> Chunker.compress_stream() |> Stream.run() end,
    fn -> Chunker.Nar.list!({:file, nar}) end,
    fn -> Chunker.Nar.chunk!({:file, nar}) end,
    fn -> tree |> Chunker.Nar.stream() |> Stream.run() end
  ] ++
    for(codec <- [:xz, :bzip2], do: fn -> Chunker.compress!(short, codec: codec) end) ++
    for(bytes <- packed, do: fn -> Chunker.decompress!(bytes) end)

report.("before", "VmRSS")
start = System.monotonic_time(:millisecond)

tasks =
  for n <- 1..processes do
    Task.async(fn ->
      :rand.seed(:exsss, {n, 2, 3})
      for call <- Enum.shuffle(calls), do: call.()
      :ok
    end)
  end

Task.await_many(tasks, :infinity)
IO.puts("#{processes * length(calls)} calls took #{System.monotonic_time(:millisecond) - start} ms")
report.("peak", "VmHWM")
for pid <- Process.list(), do: :erlang.garbage_collect(pid)
Process.sleep(100)
report.("after the last call", "VmRSS")
Process.sleep(1000 * seconds)
report.("#{seconds} s later", "VmRSS")
IO.puts("of which the VM counts     #{div(:erlang.memory(:total), 1_048_576)} MiB")
File.rm_rf!(folder)
