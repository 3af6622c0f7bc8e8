# Measures `chunk_file`, `chunk_data` and `stream` on inputs of three sizes, random and compressible, compared
# with `:crypto.hash` as a baseline. Prints throughput in addition to Benchee's own figures.
#
#     MIX_ENV=bench mix deps.get && MIX_ENV=bench mix run bench/chunking.exs [OPTIONS]
#
# or, where Hex cannot be reached, with Benchee, Statistex and DeepMerge compiled into folders on ERL_LIBS:
#
#     ERL_LIBS=/path/to/libs MIX_ENV=prod mix run bench/chunking.exs [OPTIONS]
#
#   --largest BYTES  leave out inputs larger than this
#   --time SECONDS   for each job on each input; 5 by default
#   --save FILE      keep the results
#   --load FILE      compare with results kept before; may be given several times

Code.require_file("input.exs", __DIR__)
Bench.Input.needs_benchee!()

{switches, [], []} =
  OptionParser.parse(System.argv(), strict: [largest: :integer, time: :integer, save: :string, load: :keep])

defmodule Inputs do
  @piece 16_777_216

  def random(bytes) when bytes <= @piece, do: :crypto.strong_rand_bytes(bytes)

  def random(bytes),
    do: IO.iodata_to_binary(for _ <- 1..div(bytes, @piece), do: :crypto.strong_rand_bytes(@piece))

  # Words of a vocabulary in random order: zstd compresses them to about a quarter.
  def compressible(bytes) when bytes <= @piece do
    words =
      for _ <- 1..2000, do: [Base.encode32(:crypto.strong_rand_bytes(:rand.uniform(6)), padding: false), " "]

    words = List.to_tuple(words)
    text = for _ <- 1..(div(bytes, 4) + 1), do: elem(words, :rand.uniform(2000) - 1)
    text |> IO.iodata_to_binary() |> binary_part(0, bytes)
  end

  # Each piece is different, so that no chunk repeats.
  def compressible(bytes), do: IO.iodata_to_binary(for _ <- 1..div(bytes, @piece), do: compressible(@piece))
end

folder = Bench.Input.temporary("bench")
File.mkdir_p!(folder)

sizes =
  for {name, bytes} <- [{"64 KiB", 65_536}, {"16 MiB", 16_777_216}, {"1 GiB", 1_073_741_824}],
      bytes <= (switches[:largest] || bytes),
      do: {name, bytes}

inputs =
  for {size, bytes} <- sizes,
      {kind, make} <- [random: &Inputs.random/1, compressible: &Inputs.compressible/1] do
    path = Path.join(folder, "#{kind}-#{bytes}")
    IO.puts("Takes #{size} of #{kind} bytes, which it makes now and writes to #{path} ...")
    data = make.(bytes)
    File.write!(path, data)
    {"#{size} #{kind}", %{data: data, path: path, bytes: bytes}}
  end

jobs = %{
  "chunk_file blake3" => &Chunker.chunk_file!(&1.path),
  "chunk_file sha256" => &Chunker.chunk_file!(&1.path, hash: :sha256),
  "chunk_data blake3" => &Chunker.chunk_data!(&1.data),
  "chunk_data sha256" => &Chunker.chunk_data!(&1.data, hash: :sha256),
  "stream blake3" => &(&1.path |> Chunker.stream() |> Stream.run()),
  "stream sha256" => &(&1.path |> Chunker.stream(hash: :sha256) |> Stream.run()),
  ":crypto.hash sha256" => &:crypto.hash(:sha256, &1.data)
}

bytes = Map.new(inputs, fn {name, input} -> {name, input.bytes} end)

throughput = fn suite ->
  for {input, scenarios} <- Enum.group_by(suite.scenarios, & &1.input_name), bytes = bytes[input] do
    IO.puts("\n##### Throughput with input #{input}, median")

    scenarios
    |> Enum.sort_by(& &1.run_time_data.statistics.median)
    |> Enum.each(fn scenario ->
      # Benchee measures in nanoseconds.
      rate = bytes * 1000 / scenario.run_time_data.statistics.median
      name = String.pad_trailing(scenario.name, 40)
      IO.puts("#{name} #{String.pad_leading(:erlang.float_to_binary(rate, decimals: 1), 9)} MB/s")
    end)
  end
end

saved = if file = switches[:save], do: [save: [path: file, tag: Path.basename(file)]], else: []
loaded = Keyword.get_values(switches, :load)
loaded = if loaded == [], do: [], else: [load: loaded]

try do
  Benchee.run(
    jobs,
    [
      inputs: inputs,
      time: switches[:time] || 5,
      warmup: 1,
      formatters: [Benchee.Formatters.Console, throughput]
    ] ++ saved ++ loaded
  )
after
  File.rm_rf!(folder)
end
