# The work of a backup for a file: finding chunks, hashing and compressing them, and writing new ones to a
# store. Chunker with a store of one file per chunk, compared with backup programs and with programs that only
# compress.

Code.require_file("suite.exs", __DIR__)

path = Suite.data("tar")
bytes = File.stat!(path).size
store = Suite.data("store")
cores = System.schedulers_online()

defmodule Store do
  # 256 folders with a file for each chunk, named by the digest.
  def make(folder) do
    for first <- 0..255, do: File.mkdir_p!(Path.join(folder, Chunker.to_hex(<<first>>)))
  end

  def write(chunk, folder) do
    <<first::binary-size(2), rest::binary>> = Chunker.to_hex(chunk.hash)

    case File.open(Path.join([folder, first, rest]), [:raw, :write, :exclusive]) do
      {:ok, file} ->
        :ok = :file.write(file, chunk.compressed)
        :ok = :file.close(file)

      # A duplicate chunk.
      {:error, :eexist} ->
        :ok
    end
  end
end

ours = fn options ->
  fn -> path |> Chunker.stream(options) |> Enum.each(&Store.write(&1, store)) end
end

quote_store = "'#{store}'"
password = "RESTIC_PASSWORD=bench restic -q --no-cache -r #{quote_store}"
borg = "BORG_BASE_DIR='#{store}-base' borg"

programs = [
  {"zstd", "zstd -3 -T#{cores}", "mkdir #{quote_store}",
   "zstd -3 -T#{cores} -q \"$1\" -o #{quote_store}/tar.zst"},
  {"lz4", "lz4 -1", "mkdir #{quote_store}", "lz4 -1 -q \"$1\" #{quote_store}/tar.lz4"},
  {"borg", "borg, zstd 3", "#{borg} init -e none #{quote_store}",
   "#{borg} create --compression zstd,3 #{quote_store}::tar \"$1\""},
  {"borg", "borg, lz4", "#{borg} init -e none #{quote_store}",
   "#{borg} create --compression lz4 #{quote_store}::tar \"$1\""},
  {"restic", "restic, zstd", "#{password} init --repository-version 2",
   "#{password} backup --compression auto \"$1\""},
  {"casync", "casync, zstd", "mkdir #{quote_store}",
   "casync make --store=#{quote_store} #{quote_store}/tar.caibx \"$1\""}
]

clear = fn ->
  File.rm_rf!(store)
  File.rm_rf!(store <> "-base")
end

# Returns the size of the store, in bytes.
weigh = fn _ ->
  store
  |> Mix.Chunker.FileTree.files()
  |> Enum.map(fn {path, :ok} -> File.lstat!(path).size end)
  |> Enum.sum()
end

sizes = :ets.new(:sizes, [:public])

row = fn name, run, prepare, command ->
  %{
    table: "store",
    row: name,
    x: "",
    bytes: bytes,
    before: fn -> clear.() && prepare.() end,
    run: run,
    after: fn result -> :ets.insert(sizes, {name, weigh.(result)}) end,
    output: fn _ -> :ets.lookup_element(sizes, name, 2) end,
    command: command |> String.replace(store, "store")
  }
end

contestants =
  for(
    {name, options} <- [
      {"Chunker, zstd 3, blake3", [compress: [codec: :zstd, level: 3]]},
      {"Chunker, zstd 3, sha256", [hash: :sha256, compress: [codec: :zstd, level: 3]]},
      {"Chunker, lz4, blake3", [compress: [codec: :lz4]]}
    ],
    do:
      row.(
        name,
        ours.(options),
        fn -> Store.make(store) end,
        "Chunker.stream(path, #{options |> inspect() |> String.slice(1..-2//1)}) |> Enum.each(&write/1)"
      )
  ) ++
    for {program, name, prepare, command} <- programs, Suite.installed?(program) do
      row.(name, Suite.program(command, path), Suite.program(prepare, path), command)
    end

# Compression without writing; and the codec alone, on pieces in memory of about the length of the chunks. The
# pieces are a persistent term, because a process that holds much memory collects its garbage less often.
piece = 1_300_000

keep = fn ->
  content = File.read!(path)
  pieces = for start <- 0..(bytes - 1)//piece, do: binary_part(content, start, min(piece, bytes - start))
  :persistent_term.put(:pieces, pieces)
end

Task.await(Task.async(keep), :infinity)

counted = %{
  table: "compressed",
  x: "",
  bytes: bytes
}

compressed = [
  Map.merge(counted, %{
    row: "Chunker, zstd 3, blake3",
    run: fn ->
      path
      |> Chunker.stream(compress: [codec: :zstd, level: 3])
      |> Enum.reduce(0, &(byte_size(&1.compressed) + &2))
    end,
    output: & &1,
    command:
      "Chunker.stream(path, compress: [codec: :zstd, level: 3]) |> Enum.reduce(0, &(byte_size(&1.compressed) + &2))"
  })
  | [
      Map.merge(counted, %{
        row: "zstd 3 alone",
        run: fn -> Chunker.compress_batch!(:persistent_term.get(:pieces)) end,
        output: fn compressed -> compressed |> Enum.map(&byte_size/1) |> Enum.sum() end,
        command: "Chunker.compress_batch(pieces)"
      })
    ] ++
      if Suite.installed?("zstd") do
        [
          Map.merge(counted, %{
            row: "zstd -3 -T#{cores}",
            run: Suite.program("zstd -3 -T#{cores} -q -c \"$1\" | wc -c", path),
            output: &String.trim/1,
            command: "zstd -3 -T#{cores} -q -c \"$1\" | wc -c"
          })
        ]
      else
        []
      end
]

# The file is read once beforehand, so that it is in the page cache for all contestants.
Chunker.hash_file!(path, :blake3)
Suite.keep("store", Suite.race(compressed ++ contestants, Suite.rounds(3), warm: false))
clear.()
