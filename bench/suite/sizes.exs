# `chunk_file` by the size of the file: the cost per byte must not depend on the size. And `chunk_files` of as
# many files of that size as make up 256 MB, which is the usual way to chunk small files.

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
    count = max(1, div(256_000_000, size))

    alone = %{
      table: "sizes",
      row: "#{hash}",
      x: size,
      bytes: size,
      repeats: count,
      run: fn -> Chunker.chunk_file!(path, hash: hash) end,
      command: "Chunker.chunk_file(path, hash: :#{hash})"
    }

    paths = List.duplicate(path, count)

    together = %{
      table: "together",
      row: "#{hash}",
      x: size,
      bytes: size * count,
      run: fn -> Chunker.chunk_files(paths, hash: hash) end,
      command: "Chunker.chunk_files(paths, hash: :#{hash})"
    }

    [alone, together]
  end

contestants = List.flatten(contestants)

Suite.keep("sizes", Suite.race(contestants, Suite.rounds(7)))
for {_, path} <- files, path != huge, do: File.rm!(path)
