# Compresses and decompresses one file with each codec at its default level, compared with the official
# programs.
#
#     ERL_LIBS=/path/to/libs MIX_ENV=prod mix run bench/compression.exs [FILE] [SECONDS]
#
# Needs Benchee (see bench/chunking.exs) and the programs zstd, lz4, xz, bzip2, gzip and brotli. FILE is read
# as a whole; without it, 32 MiB of the libraries below /usr/lib are used. Programs read from and write to pipes,
# discard the output, and use one thread each; their times include the start of a process, about 1 ms.

Code.require_file("input.exs", __DIR__)
Bench.Input.needs_benchee!()

{file, seconds} =
  case System.argv() do
    [file, seconds] -> {file, String.to_integer(seconds)}
    [file] -> {file, 5}
    [] -> {nil, 5}
  end

folder = Bench.Input.temporary("compression")
File.mkdir_p!(folder)

data =
  if file do
    file |> Bench.Input.given() |> File.read!()
  else
    files = Bench.Input.files("/usr/lib", 33_554_432, &(&1 =~ ~r/\.so[.\d]*$/))
    libraries = IO.iodata_to_binary(for {path, _} <- files, do: File.read!(path))
    binary_part(libraries, 0, min(byte_size(libraries), 33_554_432))
  end

plain = Path.join(folder, "data")
File.write!(plain, data)

codecs = [
  {:zstd, "zstd", ["-3", "-q", "--single-thread", "-c"]},
  {:lz4, "lz4", ["-1", "-q", "-c"]},
  {:xz, "xz", ["-6", "-T1", "-c"]},
  {:bzip2, "bzip2", ["-6", "-c"]},
  {:gzip, "gzip", ["-6", "-c"]},
  {:brotli, "brotli", ["-6", "-c"]}
]

shell = fn program, arguments, input ->
  {_, 0} = System.cmd("sh", ["-c", "exec #{program} #{Enum.join(arguments, " ")} < #{input} > /dev/null"])
end

inputs =
  for {codec, program, arguments} <- codecs, into: %{} do
    compressed = Chunker.compress!(data, codec: codec)
    path = Path.join(folder, "data.#{codec}")
    File.write!(path, compressed)
    {output, 0} = System.cmd("sh", ["-c", "#{program} #{Enum.join(arguments, " ")} < #{plain} | wc -c"])
    theirs = output |> String.trim() |> String.to_integer()

    IO.puts(
      "#{codec}: #{byte_size(data)} bytes to #{byte_size(compressed)}, the program to #{theirs} " <>
        "(ours is #{Float.round(byte_size(compressed) / theirs, 4)} of it)"
    )

    {"#{codec}", %{codec: codec, program: program, arguments: arguments, compressed: compressed, path: path}}
  end

throughput = fn suite ->
  for {input, scenarios} <- Enum.group_by(suite.scenarios, & &1.input_name) do
    IO.puts("\n##### #{input}, MB/s of content, median")

    for scenario <- Enum.sort_by(scenarios, & &1.name) do
      # Benchee measures in nanoseconds.
      rate = byte_size(data) * 1000 / scenario.run_time_data.statistics.median
      IO.puts("#{String.pad_trailing(scenario.name, 24)} #{:erlang.float_to_binary(rate, decimals: 1)}")
    end
  end
end

try do
  Benchee.run(
    %{
      "compress" => &Chunker.compress!(data, codec: &1.codec),
      "compress, program" => &shell.(&1.program, &1.arguments, plain),
      "decompress" => &Chunker.decompress!(&1.compressed, codec: &1.codec),
      "decompress, program" => &shell.(&1.program, ["-dc"], &1.path)
    },
    inputs: inputs,
    time: seconds,
    warmup: 0,
    print: [fast_warning: false],
    formatters: [Benchee.Formatters.Console, throughput]
  )
after
  File.rm_rf!(folder)
end
