# Digests of a whole input: Chunker, OTP's `:crypto`, and programs.

Code.require_file("suite.exs", __DIR__)

path = Suite.data("random")
data = File.read!(path)
cores = System.schedulers_online()

ours = [
  {"Chunker.hash_file, blake3", "Chunker.hash_file(path, :blake3)",
   fn -> Chunker.hash_file!(path, :blake3) end},
  {"Chunker.hash, blake3", "Chunker.hash(data, :blake3)", fn -> Chunker.hash(data, :blake3) end},
  {"Chunker.hash_file, sha256", "Chunker.hash_file(path, :sha256)",
   fn -> Chunker.hash_file!(path, :sha256) end},
  {"Chunker.hash, sha256", "Chunker.hash(data, :sha256)", fn -> Chunker.hash(data, :sha256) end},
  {":crypto.hash, sha256", ":crypto.hash(:sha256, data)", fn -> :crypto.hash(:sha256, data) end}
]

programs =
  for {program, command} <- [
        {"b3sum", "b3sum --num-threads 1 \"$1\""},
        {"b3sum", "b3sum --num-threads #{cores} \"$1\""},
        {"sha256sum", "sha256sum \"$1\""},
        {"openssl", "openssl dgst -sha256 \"$1\""}
      ],
      Suite.installed?(program),
      do: {String.replace(command, " \"$1\"", ""), command, Suite.program(command, path)}

contestants =
  for {name, command, run} <- ours ++ programs,
      do: %{table: "hashes", row: name, x: "", bytes: byte_size(data), run: run, command: command}

Suite.keep("hashes", Suite.race(contestants, Suite.rounds(5)))
