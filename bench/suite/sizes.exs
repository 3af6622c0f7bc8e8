# `chunk_file` by the size of the file: what a byte costs must not depend on how many there are.

Code.require_file("suite.exs", __DIR__)

largest = File.stat!(Suite.data("random")).size

sizes =
  Enum.filter([1_000_000, 4_000_000, 16_000_000, 64_000_000, 256_000_000, 1_000_000_000], &(&1 <= largest))

files =
  for size <- sizes do
    path = Suite.data("random-#{size}")

    {_, 0} =
      System.cmd("sh", ["-c", "head -c \"$1\" \"$2\" > \"$3\"", "sh", "#{size}", Suite.data("random"), path])

    {size, path}
  end

huge = Suite.data("huge")
files = if File.exists?(huge), do: files ++ [{File.stat!(huge).size, huge}], else: files

contestants =
  for {size, path} <- files, hash <- [:blake3, :sha256] do
    %{
      table: "sizes",
      row: "#{hash}",
      x: size,
      bytes: size,
      repeats: max(1, div(256_000_000, size)),
      run: fn -> Chunker.chunk_file!(path, hash: hash) end,
      command: "Chunker.chunk_file(path, hash: :#{hash})"
    }
  end

Suite.keep("sizes", Suite.race(contestants, Suite.rounds(7)))
for {_, path} <- files, path != huge, do: File.rm!(path)
