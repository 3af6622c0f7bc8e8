defmodule Chunker.CacheTest do
  use ExUnit.Case, async: true

  alias Chunker.{Cache, Nar}

  doctest Chunker.Cache

  @moduletag :tmp_dir
  @small [min_size: 4096, avg_size: 16_384, max_size: 65_536]

  defp random(size, seed \\ 7) do
    state = :rand.seed_s(:exsss, seed)
    {bytes, _state} = :rand.bytes_s(size, state)
    bytes
  end

  defp expected(data, :sha256), do: :crypto.hash(:sha256, data)
  defp expected(data, :blake3), do: Chunker.hash(data, :blake3)

  # Every way to get the digests of a file's chunks, as `{offset, length, hash}`.
  defp ways(path, data, options) do
    bare = &Enum.map(&1, fn chunk -> {chunk.offset, chunk.length, chunk.hash} end)

    [
      fn -> bare.(Chunker.chunk_file!(path, options)) end,
      fn -> bare.(Chunker.chunk_data!(data, options)) end,
      fn -> [path, path, path, path, path] |> Chunker.chunk_files!(options) |> List.last() |> bare.() end,
      fn -> [path] |> Chunker.chunk_files!(options) |> List.last() |> bare.() end,
      fn -> path |> Chunker.stream(options) |> Enum.to_list() |> bare.() end,
      fn -> [data] |> Chunker.stream(options) |> Enum.to_list() |> bare.() end
    ]
  end

  for hash <- [:blake3, :sha256], verify <- [:fingerprint, :content], threads <- [1, 3] do
    test "all functions return the same with and without a cache: #{hash}, #{verify}, #{threads} threads", %{
      tmp_dir: folder
    } do
      data = random(3_000_000)
      path = Path.join(folder, "data")
      File.write!(path, data)
      options = [hash: unquote(hash), threads: unquote(threads)] ++ @small
      without = Enum.map(ways(path, data, options), & &1.())
      cache = Cache.new(verify: unquote(verify))

      for _round <- 1..2 do
        assert Enum.map(ways(path, data, [cache: cache] ++ options), & &1.()) == without
      end

      chunks = length(hd(without))
      stats = Cache.stats(cache)
      # In a round, the file is chunked ten times. Each chunk was computed once, except in a race.
      assert stats.hits + stats.misses == 2 * 10 * chunks
      assert stats.misses in chunks..(chunks * unquote(threads))
      assert stats.entries == chunks
      assert stats.insertions == chunks
      assert {stats.evictions, stats.collisions} == {0, 0}

      items = for {offset, length, _hash} <- hd(without), do: binary_part(data, offset, length)

      assert Chunker.hash_batch!(items, hash: unquote(hash), threads: unquote(threads), cache: cache) ==
               Enum.map(hd(without), &elem(&1, 2))

      assert Cache.stats(cache).hits == stats.hits + chunks
    end
  end

  test "the chunks of a FIFO are cached too", %{tmp_dir: folder} do
    fifo = Path.join(folder, "fifo")
    {_, 0} = System.cmd("mkfifo", [fifo])
    data = random(1_000_000)
    cache = Cache.new()
    without = Chunker.chunk_data!(data, @small)

    for _round <- 1..2 do
      writer = Task.async(fn -> File.write!(fifo, data) end)
      chunks = Chunker.chunk_file!(fifo, [cache: cache] ++ @small)
      assert Enum.map(chunks, & &1.hash) == Enum.map(without, & &1.hash)
      Task.await(writer)
    end

    assert %{hits: hits, misses: hits} = Cache.stats(cache)
    assert hits == length(without)
  end

  test "the chunks of NARs are looked up with any options for cuts and annotations", %{tmp_dir: folder} do
    reference = "0123456789abcdfghijklmnpqrsvwxyz"

    for i <- 1..20,
        do: File.write!(Path.join(folder, "file #{i}"), [random(40_000, i), "/nix/store/", reference, "-x"])

    nar = folder |> Nar.stream() |> Enum.to_list() |> IO.iodata_to_binary()
    path = folder <> ".nar"
    File.write!(path, nar)
    on_exit(fn -> File.rm!(path) end)

    for how <- [[nar: true], [nar: :auto], [nar: true, entries: true], [nar: true, references: true]] do
      options = how ++ @small
      annotations = how |> Keyword.delete(:nar) |> Keyword.merge(@small)

      ways = [
        &Chunker.chunk_file!(path, &1 ++ options),
        &Chunker.chunk_data!(nar, &1 ++ options),
        &hd(Chunker.chunk_files!([path], &1 ++ options)),
        &Enum.to_list(Chunker.stream(path, &1 ++ options)),
        &Nar.chunk!({:file, path}, &1 ++ annotations),
        &Nar.chunk!(nar, &1 ++ annotations),
        &Nar.chunk!([nar], &1 ++ annotations)
      ]

      for way <- ways do
        cache = Cache.new()
        expected = way.([])
        assert way.(cache: cache) == expected
        first = Cache.stats(cache)
        assert first.entries > 20 and first.entries == first.misses
        assert way.(cache: cache) == expected
        assert Cache.stats(cache).hits == first.hits + first.hits + first.misses
        assert Cache.stats(cache).misses == first.misses
      end
    end
  end

  test "a stream that compresses its chunks also looks up digests" do
    data = random(500_000)
    cache = Cache.new()

    stream = fn options ->
      [data] |> Chunker.stream([compress: [codec: :lz4]] ++ options ++ @small) |> Enum.to_list()
    end

    without = stream.([])
    assert stream.(cache: cache) == without
    assert stream.(cache: cache) == without
    assert Cache.stats(cache).hits == length(without)
  end

  # Same length, same first and last kilobyte, one bit flipped anywhere; and lengths that differ by one byte.
  defp family(size) do
    base = random(size)
    positions = for _ <- 1..40, do: :rand.uniform(size - 2048) + 1023
    flipped = for position <- positions, do: flip(base, position)
    [base, binary_part(base, 0, size - 1), base <> "x", :binary.copy(<<0>>, size) | flipped]
  end

  defp flip(data, position) do
    {head, <<byte, tail::binary>>} = :erlang.split_binary(data, position)
    <<head::binary, Bitwise.bxor(byte, Bitwise.bsl(1, rem(position, 8))), tail::binary>>
  end

  for verify <- [:fingerprint, :content] do
    test "similar contents from many processes get their own digests: #{verify}" do
      # Small enough that entries are evicted all the time.
      cache = Cache.new(verify: unquote(verify), max_entries: 60, max_memory: 60 * 40_000)
      contents = family(20_000)

      1..24
      |> Task.async_stream(
        fn worker ->
          :rand.seed(:exsss, worker)

          for _ <- 1..150 do
            content = Enum.random(contents)
            hash = Enum.random([:blake3, :sha256])
            digest = expected(content, hash)

            case :rand.uniform(4) do
              1 -> assert Cache.get(cache, content, hash) in [nil, digest]
              2 -> assert Cache.put(cache, content, hash) == digest
              3 -> assert Chunker.hash_batch!([content], hash: hash, cache: cache) == [digest]
              4 -> assert [%{hash: ^digest}] = Chunker.chunk_data!(content, hash: hash, cache: cache)
            end
          end
        end,
        max_concurrency: 24,
        timeout: :infinity
      )
      |> Stream.run()

      stats = Cache.stats(cache)
      assert stats.entries == stats.insertions - stats.evictions
      assert stats.entries <= 60 and stats.bytes <= 60 * 40_000
      assert stats.evictions > 0 and stats.hits > 0
      assert stats.collisions == 0
      assert stats.hit_rate == stats.hits / (stats.hits + stats.misses)
    end
  end

  test "a thousand processes share a cache, and its counters add up" do
    cache = Cache.new(max_entries: 500)
    contents = for i <- 1..800, do: random(5000, i)
    digests = Enum.map(contents, &Chunker.hash(&1, :blake3))
    pairs = List.to_tuple(Enum.zip(contents, digests))

    1..1000
    |> Enum.map(fn worker ->
      Task.async(fn ->
        for i <- 1..20 do
          {content, digest} = elem(pairs, rem(worker * 7919 + i * 104_729, 800))
          assert Cache.get(cache, content, :blake3) in [nil, digest]
          if rem(i, 3) == 0, do: assert(Cache.put(cache, content, :blake3) == digest)
          if rem(worker * i, 2000) == 0, do: Cache.clear(cache)
        end
      end)
    end)
    |> Task.await_many(60_000)

    stats = Cache.stats(cache)
    assert stats.hits + stats.misses == 20_000
    assert stats.entries == stats.insertions - stats.evictions
    assert stats.entries in 0..500
    assert stats.bytes == 128 * stats.entries
    assert Enum.count(contents, &(Cache.get(cache, &1, :blake3) != nil)) == stats.entries
  end

  test "limits hold" do
    by_memory = Cache.new(max_memory: 10_000)
    by_number = Cache.new(max_entries: 77)
    contents = Cache.new(max_memory: 1_000_000, verify: :content)

    for i <- 1..1000, cache <- [by_memory, by_number, contents] do
      Cache.put(cache, random(10_000, i), :blake3)
    end

    assert %{entries: 78, bytes: 9984, insertions: 1000, evictions: 922} = Cache.stats(by_memory)
    assert %{entries: 77} = Cache.stats(by_number)
    assert %{entries: entries, bytes: bytes} = Cache.stats(contents)
    assert bytes <= 1_000_000 and entries in 70..100
    # One entry fits, and may use all of the memory.
    single = Cache.new(max_entries: 1, verify: :content)
    digests = for i <- 1..3, do: Cache.put(single, "content #{i}", :blake3)
    assert Cache.get(single, "content 3", :blake3) == List.last(digests)
    assert %{entries: 1, evictions: 2} = Cache.stats(single)
    # No entry fits.
    nothing = Cache.new(max_memory: 1)
    Cache.put(nothing, "content", :blake3)
    assert Cache.stats(nothing).entries == 0
  end

  # What fills an empty cache stays longer than what comes later, whether it is used or not.
  test "a lookup counts as use" do
    for use <- [&Cache.get/3, &Cache.fetch/3] do
      cache = Cache.new(max_entries: 10)
      for i <- 1..100, do: Cache.put(cache, "content #{i}", :blake3)
      Cache.put(cache, "used", :blake3)
      Cache.put(cache, "unused", :blake3)

      for i <- 101..200 do
        hits = Cache.stats(cache).hits
        assert use.(cache, "used", :blake3) == Chunker.hash("used", :blake3)
        assert Cache.stats(cache).hits == hits + 1
        Cache.put(cache, "content #{i}", :blake3)
      end

      assert Cache.get(cache, "unused", :blake3) == nil
    end
  end

  test "fetch computes a digest once" do
    for verify <- [:fingerprint, :content], hash <- [:blake3, :sha256], size <- [0, 1, 100_000, 20_000_000] do
      cache = Cache.new(verify: verify)
      content = random(size)
      digest = Chunker.hash(content, hash)
      for _ <- 1..3, do: assert(Cache.fetch(cache, [content, []], hash) == digest)
      assert %{hits: 2, misses: 1, insertions: 1} = Cache.stats(cache)
      assert Cache.get(cache, content, hash) == digest
    end
  end

  test "small items bypass the cache in a batch, but not in get and put" do
    cache = Cache.new()
    items = for size <- [0, 1, 100, 2047, 2048, 5000], do: random(size)
    assert Chunker.hash_batch!(items, cache: cache) == Enum.map(items, &Chunker.hash(&1, :blake3))
    assert %{misses: 2, entries: 2} = Cache.stats(cache)

    for item <- items, do: Cache.put(cache, item, :blake3)
    for item <- items, do: assert(Cache.get(cache, item, :blake3) == Chunker.hash(item, :blake3))
    assert %{hits: 6, entries: 6} = Cache.stats(cache)
  end

  for verify <- [:fingerprint, :content], hash <- [:blake3, :sha256] do
    @tag verify: verify, hash: hash
    test "hash/3 and hash_file/3 look digests up: #{verify}, #{hash}", context do
      %{verify: verify, hash: hash, tmp_dir: folder} = context
      path = Path.join(folder, "file")

      for size <- [0, 100, 2047, 2048, 70_000, 1_048_575, 1_048_576, 2_500_000] do
        content = random(size)
        File.write!(path, content)
        digest = expected(content, hash)

        looked_up =
          &if(&1, do: %{hits: 3, misses: 1, insertions: 1}, else: %{hits: 0, misses: 0, insertions: 0})

        cache = Cache.new(verify: verify)

        for {module, input, options} <- [
              {Chunker, [content], [cache: cache]},
              {Chunker, content, %{cache: cache}},
              {:chunker, content, [cache: cache.cache]},
              {:chunker, [content], %{cache: cache}}
            ] do
          assert {module, options, module.hash(input, hash, options)} == {module, options, digest}
        end

        assert Map.take(Cache.stats(cache), [:hits, :misses, :insertions]) == looked_up.(size >= 2048)

        cache = Cache.new(verify: verify)

        for {module, function, options, expected} <- [
              {Chunker, :hash_file, [cache: cache], {:ok, digest}},
              {Chunker, :hash_file!, [cache: cache, on_change: :snapshot], digest},
              {:chunker, :hash_file, [cache: cache.cache], {:ok, digest}},
              {:chunker, :hash_file, %{cache: cache}, {:ok, digest}}
            ] do
          result = apply(module, function, [path, hash, options])
          assert {module, function, options, result} == {module, function, options, expected}
        end

        by_file = size >= 2048 and (verify == :fingerprint or size < 1_048_576)
        assert Map.take(Cache.stats(cache), [:hits, :misses, :insertions]) == looked_up.(by_file)

        # A content is the same wherever it comes from, and another algorithm is another key.
        if by_file do
          other = hd([:blake3, :sha256] -- [hash])
          assert Chunker.hash(content, hash, cache: cache) == digest
          assert Chunker.hash_batch!([content], hash: hash, cache: cache) == [digest]
          assert %{hits: 5, misses: 1} = Cache.stats(cache)
          assert Chunker.hash_file!(path, other, cache: cache) == expected(content, other)
          assert %{hits: 5, misses: 2} = Cache.stats(cache)
        end
      end

      assert Chunker.hash("content", hash, cache: nil) == Chunker.hash("content", hash, [])
    end
  end

  test "a FIFO and a file without a length are hashed without a lookup", %{tmp_dir: folder} do
    cache = Cache.new()
    path = Path.join(folder, "fifo")
    {_, 0} = System.cmd("mkfifo", [path])
    content = random(100_000)
    task = Task.async(fn -> File.write!(path, content) end)
    assert Chunker.hash_file!(path, :sha256, cache: cache) == :crypto.hash(:sha256, content)
    Task.await(task)
    text = File.read!("/proc/filesystems")
    assert Chunker.hash_file!("/proc/filesystems", :blake3, cache: cache) == Chunker.hash(text, :blake3)
    assert %{hits: 0, misses: 0, entries: 0} = Cache.stats(cache)
  end

  test "hash/3 and hash_file/3 refuse options that are none" do
    for call <- [&Chunker.hash("x", :blake3, &1), &Chunker.hash_file("mix.exs", :blake3, &1)] do
      assert_raise ArgumentError, ~r/option :cache must be a cache of this node, not 1/, fn ->
        call.(cache: 1)
      end

      assert_raise ArgumentError, ~r/unknown option :hash; there are: :cache/, fn -> call.(hash: :sha256) end
      assert_raise ArgumentError, ~r/options must be/, fn -> call.(:cache) end
    end

    for call <- [&:chunker.hash("x", :blake3, &1), &:chunker.hash_file("mix.exs", :blake3, &1)],
        options <- [[cache: 1], [hash: :sha256], :cache] do
      assert catch_error(call.(options)) == :badarg
    end
  end

  test "clear removes everything, and counts the removed entries" do
    cache = Cache.new()
    for i <- 1..100, do: Cache.put(cache, "#{i}", :sha256)
    assert Cache.clear(cache) == :ok
    assert %{entries: 0, bytes: 0, insertions: 100, evictions: 100} = Cache.stats(cache)
    assert Cache.get(cache, "1", :sha256) == nil
    assert Cache.put(cache, "1", :sha256) == :crypto.hash(:sha256, "1")
    assert Cache.get(cache, "1", :sha256)
  end

  test "inspect shows the counters of a cache, and no secret" do
    cache = Cache.new()
    Cache.put(cache, "content", :blake3)
    Cache.get(cache, "content", :blake3)
    Cache.get(cache, "other", :blake3)
    assert inspect(cache) == "#Chunker.Cache<entries: 1, bytes: 128, hits: 1, misses: 1>"
  end

  test "wrong options and arguments raise ArgumentError" do
    for options <- [
          [max_entries: 0],
          [max_entries: -1],
          [max_entries: 1_000_000_001],
          [max_entries: 2 ** 80],
          [max_entries: 1.0],
          [max_memory: 0],
          [max_memory: 2 ** 60 + 1],
          [max_memory: "1"],
          [verify: :nothing],
          [verify: true],
          [size: 1],
          :none
        ] do
      assert_raise ArgumentError, fn -> Cache.new(options) end
    end

    cache = Cache.new(%{max_entries: 5})
    assert_raise ArgumentError, fn -> Cache.get(cache, "content", :md5) end
    assert_raise ArgumentError, fn -> Cache.put(cache, [:no], :sha256) end
    assert_raise ArgumentError, fn -> Cache.fetch(cache, [:no], :sha256) end
    assert_raise FunctionClauseError, fn -> apply(Cache, :get, [nil, "content", :sha256]) end

    for wrong <- [:cache, "cache", make_ref(), self(), %{}, %Cache{cache: make_ref()}, %Cache{cache: nil}] do
      for call <- [
            &Chunker.chunk_data("content", &1),
            &Chunker.chunk_file("/dev/null", &1),
            &Chunker.chunk_files(["/dev/null"], &1),
            &Chunker.stream(["content"], &1),
            &Chunker.hash_batch(["content"], &1)
          ] do
        assert_raise ArgumentError, ~r/^option :cache must be a cache of this node, not /, fn ->
          call.(cache: wrong)
        end
      end
    end

    assert Chunker.hash_batch(["content"], cache: nil) == {:ok, [Chunker.hash("content", :blake3)]}
  end

  test "a handle without a cache on this node is distinguished from a cache" do
    # In a separate process, with which the cache is freed.
    stored = Task.await(Task.async(fn -> :erlang.term_to_binary(Cache.new()) end))

    wait_until(fn ->
      inspect(:erlang.binary_to_term(stored)) == "#Chunker.Cache<freed, or of another node>"
    end)

    gone = :erlang.binary_to_term(stored)

    for {message, call} <- [
          {~r/a cache of this node/, fn -> Cache.get(gone, "content", :blake3) end},
          {~r/a cache of this node/, fn -> Cache.put(gone, "content", :blake3) end},
          {~r/a cache of this node/, fn -> Cache.put(gone, :binary.copy("content", 100_000), :blake3) end},
          {~r/a cache of this node/, fn -> Cache.fetch(gone, "content", :blake3) end},
          {~r/a cache of this node/, fn -> Cache.stats(gone) end},
          {~r/a cache of this node/, fn -> Cache.clear(gone) end},
          {~r/^option :cache must be a cache of this node, not #Chunker.Cache<freed, or of another node>$/,
           fn -> Chunker.hash_batch(["content"], cache: gone) end}
        ] do
      assert_raise ArgumentError, message, call
    end

    # A copy of the handle names the same cache while a process holds the cache.
    cache = Cache.new()
    same = :erlang.binary_to_term(:erlang.term_to_binary(cache))
    digest = Cache.put(same, "content", :blake3)
    assert Cache.get(cache, "content", :blake3) == digest
  end

  defp wait_until(fun) do
    fun.() || (Process.sleep(10) && wait_until(fun))
  end

  test "a put of much data ends when the caller dies" do
    cache = Cache.new()
    data = :binary.copy(<<7>>, 700_000_000)

    caller =
      spawn(fn ->
        for _ <- Stream.cycle([:again]), do: Cache.put(cache, data, :sha256)
      end)

    Process.sleep(100)
    monitor = Process.monitor(caller)
    Process.exit(caller, :kill)
    assert_receive {:DOWN, ^monitor, _, _, :killed}
    # The work that it left behind no longer holds the data.
    Process.sleep(100)
    before = Cache.stats(cache)
    Process.sleep(700)
    assert Cache.stats(cache) == before
  end
end
