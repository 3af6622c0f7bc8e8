# Each codec, compressing and decompressing one binary on one thread, compared with the official programs on
# the same bytes.

Code.require_file("suite.exs", __DIR__)

plain = Suite.data("piece")
data = File.read!(plain)

codecs = [
  {:zstd, "zstd", "zstd -3 -q --single-thread -c"},
  {:lz4, "lz4", "lz4 -1 -q -c"},
  {:xz, "xz", "xz -6 -T1 -c"},
  {:bzip2, "bzip2", "bzip2 -6 -c"},
  {:gzip, "gzip", "gzip -6 -c"},
  {:brotli, "brotli", "brotli -6 -c"}
]

contestants =
  for {codec, program, command} <- codecs do
    compressed = Chunker.compress!(data, codec: codec)
    path = Suite.data("piece.#{codec}")
    File.write!(path, compressed)
    row = %{x: to_string(codec), bytes: byte_size(data)}

    ours = [
      Map.merge(row, %{
        table: "compress",
        row: "Chunker",
        run: fn -> Chunker.compress!(data, codec: codec) end,
        output: &byte_size/1,
        command: "Chunker.compress(data, codec: :#{codec})"
      }),
      Map.merge(row, %{
        table: "decompress",
        row: "Chunker",
        run: fn -> Chunker.decompress!(compressed, codec: codec) end,
        command: "Chunker.decompress(compressed, codec: :#{codec})"
      })
    ]

    theirs = [
      Map.merge(row, %{
        table: "compress",
        row: "program",
        run: Suite.program(command <> " < \"$1\" | wc -c", plain),
        output: &String.trim/1,
        command: command
      }),
      Map.merge(row, %{
        table: "decompress",
        row: "program",
        run: Suite.program("#{program} -dc < \"$1\" > /dev/null", path),
        command: "#{program} -dc"
      })
    ]

    if Suite.installed?(program), do: ours ++ theirs, else: ours
  end

Suite.keep("codecs", Suite.race(Enum.concat(contestants), Suite.rounds(3), warm: false))
