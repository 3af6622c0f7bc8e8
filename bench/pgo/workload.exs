# The workload that `scripts/build-pgo.sh` profiles and compares builds with: chunking, hashing, compression
# and decompression with all codecs, reading and writing NARs, batches, streams, narinfos. It represents the
# work of stores and binary caches, and generates its data: a folder of random files, text, numbers and
# repeated pieces of them.
#
#     mix run bench/pgo/workload.exs SEED ROUNDS
#
# Prints `name  seconds` for each job and round. Another SEED generates other data, so that a build can be
# measured on data that it was not trained with.

[seed, rounds] = Enum.map(System.argv(), &String.to_integer/1)
# Jobs call hundreds of functions; small jobs are repeated, so that each is measured and contributes.
:rand.seed(:exsss, {seed, seed, seed})
folder = Path.join(System.tmp_dir!(), "chunker-pgo-#{System.pid()}")
tree = Path.join(folder, "tree")
File.mkdir_p!(Path.join(tree, "lib"))
# Standard output contains only the times.
IO.puts(:stderr, "Makes its data in #{folder} ...")

random = :rand.bytes(24_000_000)

words =
  List.to_tuple(for _ <- 1..3000, do: Base.encode32(:rand.bytes(:rand.uniform(6)), padding: false) <> " ")

text = IO.iodata_to_binary(for _ <- 1..1_200_000, do: elem(words, :rand.uniform(3000) - 1))
numbers = for i <- 1..1_000_000, into: <<>>, do: <<i * 7::little-32, :rand.uniform(100)>>

mixed =
  IO.iodata_to_binary([
    text,
    numbers,
    binary_part(random, 0, 4_000_000),
    binary_part(text, 1_000_000, 2_000_000)
  ])

piece = binary_part(mixed, byte_size(text) - 1_000_000, 3_000_000)

for {name, content} <- [{"random", random}, {"text", text}, {"lib/numbers", numbers}, {"lib/mixed", mixed}],
    do: File.write!(Path.join(tree, name), content)

for i <- 1..200, do: File.write!(Path.join(tree, "lib/small-#{i}"), binary_part(text, i * 5000, 100 * i))
File.ln_s!("mixed", Path.join(tree, "lib/link"))
nar = Path.join(folder, "tree.nar")
Chunker.Nar.dump!(tree, {:file, nar})

items = for i <- 0..399, do: binary_part(mixed, i * 16_384, 16_384)
paths = Path.wildcard(Path.join(tree, "lib/*"))
small = [min_size: 16_384, avg_size: 65_536, max_size: 262_144]
dictionary = Chunker.train_dictionary!(items, max_size: 16_384)

keys = Chunker.NarInfo.generate_key!("pgo-1")

narinfo = """
StorePath: /nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-hello
URL: nar/hello.nar.xz
Compression: xz
NarHash: sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73
NarSize: 120
References: 00bgd045z0d4icpbc2yyz4gx48ak44la-hello
"""

codecs =
  for {codec, times} <- [zstd: 8, lz4: 16, xz: 1, bzip2: 1, gzip: 4, brotli: 4] do
    packed = Chunker.compress!(piece, codec: codec)

    [
      {"compress #{codec}", times, fn -> Chunker.compress!(piece, codec: codec) end},
      {"decompress #{codec}", 8 * times, fn -> Chunker.decompress!(packed, codec: codec) end}
    ]
  end

jobs =
  [
    {"chunk_file blake3", 20, fn -> Chunker.chunk_file!(Path.join(tree, "random")) end},
    {"chunk_file sha256", 20, fn -> Chunker.chunk_file!(Path.join(tree, "random"), hash: :sha256) end},
    {"chunk_data 64 KiB", 20, fn -> Chunker.chunk_data!(random, small) end},
    {"chunk_data 4 KiB", 5000, fn -> Chunker.chunk_data!(hd(items)) end},
    {"stream", 10, fn -> [random, text] |> Chunker.stream(small) |> Stream.run() end},
    {"stream zstd", 3, fn -> nar |> Chunker.stream(compress: [codec: :zstd]) |> Stream.run() end},
    {"hash", 5000, fn -> {Chunker.hash(hd(items), :blake3), Chunker.hash(hd(items), :sha256)} end},
    {"nar list", 200, fn -> Chunker.Nar.list!({:file, nar}) end},
    {"nar hash", 5, fn -> Chunker.Nar.hash!({:file, nar}) end},
    {"nar dump", 3, fn -> tree |> Chunker.Nar.stream() |> Stream.run() end},
    {"nar chunks", 10, fn -> Chunker.chunk_file!(nar, nar: true, preset: :small_packages) end},
    {"nar restore", 3,
     fn ->
       place = Path.join(folder, "restored")
       Chunker.Nar.restore!({:file, nar}, place)
       File.rm_rf!(place)
     end},
    {"batches", 3,
     fn ->
       Chunker.hash_batch(items)
       Chunker.chunk_files(paths)
       items |> Chunker.compress_batch!(codec: :lz4) |> Chunker.decompress_batch!()
       Chunker.compress_batch!(items, dictionary: dictionary)
     end},
    {"codec streams", 3,
     fn -> [text] |> Chunker.compress_stream(codec: :zstd) |> Chunker.decompress_stream() |> Stream.run() end},
    {"narinfo", 2000,
     fn ->
       narinfo
       |> Chunker.NarInfo.parse!()
       |> Chunker.NarInfo.sign!(keys.secret_key)
       |> Chunker.NarInfo.verify!([keys.public_key])
     end},
    {"cache", 20, fn -> Chunker.chunk_file!(Path.join(tree, "random"), cache: Chunker.Cache.new()) end}
  ] ++ Enum.concat(codecs)

try do
  for _ <- 1..rounds, {name, times, run} <- jobs do
    {microseconds, _} = :timer.tc(fn -> Enum.each(1..times, fn _ -> run.() end) end)
    IO.puts("#{name}\t#{microseconds / 1.0e6}")
  end
after
  File.rm_rf!(folder)
end
