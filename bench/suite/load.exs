# How long other processes wait while Chunker is busy, and how much memory many calls hold at once.

Code.require_file("suite.exs", __DIR__)
Code.require_file("../waits.exs", __DIR__)
Code.require_file("../load.exs", __DIR__)

quick = Suite.mode() == :quick
seconds = if quick, do: 2, else: 15
text = Base.encode64(:rand.bytes(15_000_000))
file = Suite.data("random")

rows = fn beside, measured, command ->
  for {name, taken} <- measured do
    taken
    |> Enum.map(&(&1 / 1000))
    |> Suite.summary()
    |> Map.merge(%{table: "waits", row: name, x: beside, command: command})
  end
end

{_, chunking} = Bench.Waits.beside(4, fn -> Chunker.chunk_file!(file) end, seconds)
{_, compressing} = Bench.Waits.beside(8, fn -> Chunker.compress!(text, codec: :xz) end, seconds)

Suite.keep(
  "load",
  rows.("nothing", Bench.Waits.measure(seconds), "") ++
    rows.("4 × `chunk_file`", chunking, "Chunker.chunk_file(\"random\")") ++
    rows.("8 × `compress`, xz", compressing, "Chunker.compress(text, codec: :xz)")
)

if File.exists?("/proc/self/status") do
  processes = if quick, do: 20, else: 500

  %{calls: calls, milliseconds: milliseconds, memory: memory} =
    Bench.Load.run(processes, if(quick, do: 1, else: 15))

  lines = for {name, mebibytes} <- memory, do: "#{name}\t#{mebibytes}"
  title = "#{calls} calls of #{processes} processes in #{Suite.show(milliseconds / 1000, 1)} s\tMiB"
  Enum.each([title | lines], &IO.puts/1)
  Suite.write("load_memory", [title | lines])
end
