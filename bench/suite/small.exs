# The cost of a small call.

Code.require_file("suite.exs", __DIR__)

data = :binary.part(File.read!(Suite.data("piece")), 0, 4096)
path = Suite.data("4096")
File.write!(path, data)
kibibyte = :binary.part(data, 0, 1024)

contestants =
  for {row, bytes, run, command} <- [
        {"chunk_data of 4 KiB", 4096, fn -> Chunker.chunk_data!(data) end, "Chunker.chunk_data(data)"},
        {"chunk_data of 4 KiB, sha256", 4096, fn -> Chunker.chunk_data!(data, hash: :sha256) end,
         "Chunker.chunk_data(data, hash: :sha256)"},
        {"chunk_file of 4 KiB", 4096, fn -> Chunker.chunk_file!(path) end, "Chunker.chunk_file(path)"},
        {"hash of 1 KiB, blake3", 1024, fn -> Chunker.hash(kibibyte, :blake3) end,
         "Chunker.hash(data, :blake3)"},
        {"hash of 1 KiB, sha256", 1024, fn -> Chunker.hash(kibibyte, :sha256) end,
         "Chunker.hash(data, :sha256)"},
        {":crypto.hash of 1 KiB, sha256", 1024, fn -> :crypto.hash(:sha256, kibibyte) end,
         ":crypto.hash(:sha256, data)"}
      ],
      do: %{table: "small", row: row, x: "", bytes: bytes, repeats: 20_000, run: run, command: command}

Suite.keep("small", Suite.race(contestants, Suite.rounds(7)))
File.rm!(path)
