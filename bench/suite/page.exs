# Writes the pages benchmarks.md and targets.md from the recorded results of the parts.
#
#     mix run bench/suite/page.exs FOLDER

Code.require_file("suite.exs", __DIR__)

defmodule Page do
  import Suite, only: [header: 1, kept: 1, lines: 1, show: 2]

  def write(folder) do
    sections = [
      machine(),
      kernels(),
      main_job(),
      sizes(),
      threads(),
      hashes(),
      codecs(),
      store(),
      small(),
      load(),
      distribution()
    ]

    File.mkdir_p!(folder)
    page(folder, "benchmarks.md", [introduction() | sections])
    page(folder, "targets.md", [targets_introduction(), targets(), obstacles()])
  end

  defp page(folder, name, sections) do
    path = Path.join(folder, name)
    text = sections |> Enum.reject(&is_nil/1) |> IO.iodata_to_binary() |> String.trim_trailing()
    File.write!(path, [text, "\n"])
    IO.puts("written: #{path}")
  end

  defp introduction do
    """
    # Benchmarks

    Chunker against crate `fastcdc`, hash and compression programs, and borg, restic and casync, on one machine.

    To reproduce, run `scripts/bench`. It installs programs that are missing, creates its data in a temporary folder, takes up to
    20 minutes, and writes this page from `bench/suite/page.exs`. `scripts/bench --quick` checks in two minutes that everything
    works; `scripts/bench --full` adds a file of 10 GB.

    Contestants take turns, so that all of them see the same state of the machine. Each figure is a median, followed by the slowest
    and the fastest round in parentheses. All input is in the page cache: `random` is #{megabytes("main_job")} of pseudorandom bytes (an AES
    key stream), `tar` is a #{megabytes("store")} archive of the folder `lib` of the Rust toolchain, and `piece` is #{megabytes("codecs")} of
    that archive. Compare ratios rather than absolute figures, and ratios within one table rather than between tables.

    """
  end

  defp megabytes(part) do
    case kept(part) do
      [] -> "some MB"
      [row | _] -> "#{round(row.bytes / 1.0e6)} MB"
    end
  end

  # The targets.

  defp targets_introduction do
    """
    # Targets

    What Chunker should reach on the machine of [benchmarks.md](benchmarks.md), and what it reached in the same run. `scripts/bench`
    writes this page too.

    """
  end

  defp targets do
    cores = System.schedulers_online()
    kernels = kept("kernels")
    [kernel] = for [name, value] <- lines("machine"), name == "scan kernel", do: value
    cut = fn place, average, row -> ratio(kernels, [table: place, x: "#{average}"], row, "fastcdc") end
    main = kept("main_job")
    whole = fn hash -> rate(find(main, table: "main_job", row: "chunk_file", x: hash)) end
    threads = kept("threads")
    store = kept("store")
    against = fn table, other -> ratio(store, [table: table], "Chunker, zstd 3, blake3", other) end

    two = fn hash ->
      quotient(
        rate(find(threads, row: "chunk_file, #{hash}", x: "2")),
        rate(find(threads, row: "chunk_file, #{hash}", x: "1"))
      )
    end

    rows = [
      {"cut points, 1 MiB on average, in cache, against crate `fastcdc`", cut.("cache", 1_048_576, kernel),
       2.5, "times"},
      {"the same from memory", cut.("memory", 1_048_576, kernel), 2.0, "times"},
      {"at 64 KiB on average, in cache", cut.("cache", 65_536, kernel), 1.6, "times"},
      {"at 8 KiB on average, in cache", cut.("cache", 8192, kernel), 1.4, "times"},
      {"the portable kernel alone, 1 MiB on average, in cache", cut.("cache", 1_048_576, "scalar"), 1.5,
       "times"},
      {"`chunk_file`, BLAKE3, `random`", whole.("blake3"), 3.4, "GB/s"},
      {"the same, of what its parts allow on #{cores} cores", quotient(whole.("blake3"), allowed("blake3")),
       0.9, "of it"},
      {"`chunk_file`, SHA-256, `random`", whole.("sha256"), 2.3, "GB/s"},
      {"the same, of what its parts allow on #{cores} cores", quotient(whole.("sha256"), allowed("sha256")),
       0.9, "of it"},
      {"`stream` with zstd 3, against `zstd -3 -T#{cores}`",
       ratio(store, [table: "compressed"], "Chunker, zstd 3, blake3", "zstd -3 -T#{cores}"), 1.0, "times"},
      {"`Store.put` of the tar, against restic", against.("store", "restic, zstd"), 3.0, "times"},
      {"the same, against borg with zstd 3", against.("store", "borg, zstd 3"), 2.5, "times"},
      {"the same, against `zstd -3 -T#{cores}`", against.("store", "zstd -3 -T#{cores}"), 1.0, "times"},
      {"`Store.put` of it again, against `chunk_file`", against.("again", "chunk_file"), 0.8, "times"},
      {"`Store.restore` of it, against restic", against.("restore", "restic, zstd"), 2.0, "times"},
      {"the same, against borg", against.("restore", "borg, zstd 3"), 1.5, "times"},
      {"the same, against `zstd -d`", against.("restore", "zstd -3 -T#{cores}"), 1.0, "times"},
      {"`Store.put` of a tree of small files, against restic", against.("put_tree", "restic, zstd"), 2.0,
       "times"},
      {"`Store.restore` of it, against restic", against.("restore_tree", "restic, zstd"), 2.0, "times"},
      {"`chunk_file` on two threads against one, BLAKE3", two.("blake3"), 1.85, "times"},
      {"`chunk_file` on two threads against one, SHA-256", two.("sha256"), 1.85, "times"}
    ]

    most = [
      {"cost of a byte by size, the highest over the lowest, BLAKE3", spread("blake3"), 1.1, "times"},
      {"cost of a byte by size, the highest over the lowest, SHA-256", spread("sha256"), 1.1, "times"},
      {"chunking 4 KiB from Elixir", microseconds("chunk_data of 4 KiB"), 20.0, "µs"},
      {"`Store.read` of 4 KiB anywhere in `random`", (row = find(store, table: "reads")) && row.median * 1000,
       1.0, "ms"}
    ]

    verdicts =
      for(row <- rows, do: verdict(row, "at least", &>=/2)) ++
        for row <- most, do: verdict(row, "at most", &<=/2)

    """
    | what | target | measured | |
    |---|---|---|---|
    #{Enum.join(verdicts, "\n")}

    """
  end

  # Explains missed targets with other figures of the same run.

  defp obstacles do
    sizes = kept("sizes")
    smallest = sizes |> Enum.map(&String.to_integer(&1.x)) |> Enum.min(fn -> nil end)
    alone = fn table, hash -> smallest && rate(find(sizes, table: table, row: hash, x: "#{smallest}")) end
    one = fn hash -> rate(find(kept("threads"), row: "chunk_file, #{hash}", x: "1")) end
    store = kept("store")
    speed = fn table, row -> megabytes_a_second(find(store, table: table, row: row)) end
    ours = "Chunker, zstd 3, blake3"
    part = fn name -> rate(find(kept("main_job"), table: "parts", row: name)) end

    if Enum.all?([smallest, one.("blake3"), speed.("store", ours), part.("read")]) do
      """
      ## What limits the rest

      Where the time goes for each target that is missed or only just met, by figures of the same run.

      * **Small files.** A file of #{div(smallest, 1_000_000)} MB is one or two chunks. One thread hashes a chunk, because SHA-256 is sequential, and it
        cannot start before the end of the chunk has been read and scanned. Such a file therefore runs at the speed of one thread:
        #{show(alone.("sizes", "blake3"), 2)} GB/s with BLAKE3 and #{show(alone.("sizes", "sha256"), 2)} with SHA-256, compared with #{show(one.("blake3"), 2)} and #{show(one.("sha256"), 2)} for one thread on a large file.
        Many of them in one call keep all threads busy: #{show(alone.("together", "blake3"), 2)} and #{show(alone.("together", "sha256"), 2)} GB/s. Splitting the
        hash of a chunk, which BLAKE3 would allow, would help only the first and the last chunk of a file, and is not implemented.
      * **A store, against borg and restic.** zstd takes most of the time: alone, without chunks, digests and files, it compresses
        #{speed.("compressed", "zstd 3 alone")} MB/s on all cores. Reading, chunking, hashing and copying the bytes reduces that to
        #{speed.("compressed", ours)}. Decompressing each chunk again, to compare it with what was compressed, and writing and syncing packs
        reduces that to #{speed.("store", ours)}. borg writes #{speed.("store", "borg, zstd 3")} and restic #{speed.("store", "restic, zstd")} MB/s.
      * **SHA-256.** One core hashes #{show(part.("sha256"), 2)} GB/s, copies #{show(part.("read"), 2)} from the page cache and scans #{show(part.("scan"), 2)}. The crate uses the CPU's
        SHA instructions; interleaving two chunks on one thread would use them better, and no crate does that.
      * **Two threads against one.** Two cores share memory bandwidth and the third-level cache; a single thread has both to itself.

      """
    end
  end

  defp megabytes_a_second(nil), do: nil
  defp megabytes_a_second(row), do: show(row.bytes / row.median / 1.0e6, 0)

  defp verdict({what, found, wanted, unit}, sense, compare) do
    word =
      cond do
        found == nil -> "not measured"
        compare.(found, wanted) -> "met"
        true -> "**missed**"
      end

    found = if found, do: "#{show(found, 2)} #{unit}", else: ""
    "| #{what} | #{sense} #{show(wanted, 2)} #{unit} | #{found} | #{word} |"
  end

  # Returns the rate of all cores if nothing were lost between the parts: each byte is read, scanned and
  # hashed once.
  defp allowed(hash) do
    parts = for row <- kept("main_job"), row.table == "parts", row.row in ["read", "scan", hash], do: row

    if length(parts) == 3 do
      System.schedulers_online() * hd(parts).bytes / 1.0e9 / Enum.sum(Enum.map(parts, & &1.median))
    end
  end

  defp spread(hash) do
    spread("sizes", hash)
  end

  defp spread(table, hash) do
    costs = for row <- kept("sizes"), row.table == table, row.row == hash, do: row.median / row.bytes
    if costs != [], do: Enum.max(costs) / Enum.min(costs)
  end

  defp microseconds(name) do
    row = find(kept("small"), row: name)
    row && row.median * 1.0e6
  end

  # The parts.

  defp machine do
    facts = for [name, value] <- lines("machine"), do: "| #{name} | #{value} |"

    """
    ## Machine and versions

    | | |
    |---|---|
    #{Enum.join(facts, "\n")}

    """
  end

  defp kernels do
    section("kernels", "Cut points", fn rows ->
      tables =
        for {place, title} <- [
              {"cache", "The first 16 MiB of `random`, repeatedly (in cache)"},
              {"memory", "All of `random` (from memory)"}
            ] do
          rows = Enum.filter(rows, &(&1.table == place))
          averages = rows |> Enum.map(& &1.x) |> Enum.uniq() |> Enum.sort_by(&String.to_integer/1)
          rivals = rows |> Enum.map(& &1.row) |> Enum.uniq() |> Enum.sort_by(&{&1 != "fastcdc", &1})

          lines =
            for rival <- rivals do
              cells =
                for average <- averages do
                  row = find(rows, row: rival, x: average)
                  times = ratio(rows, [x: average], rival, "fastcdc")
                  "#{show(rate(row), 2)} (#{range(row, 1.0e9)}), #{show(times, 2)} times"
                end

              "| #{kernel_name(rival)} | #{Enum.join(cells, " | ")} |"
            end

          """
          #{title}, in GB/s and relative to crate `fastcdc`, by average size:

          | | #{Enum.map_join(averages, " | ", &"#{div(String.to_integer(&1), 1024)} KiB")} |
          |---|#{String.duplicate("---|", length(averages))}
          #{Enum.join(lines, "\n")}
          """
        end

      """
      Finding cut points only, without reading or hashing, on one thread unless a row says otherwise. The minimum is a quarter of the
      average and the maximum four times the average. All contestants are checked to find the same cut points before they are timed.

      #{Enum.join(tables, "\n")}
      Command: `#{hd(rows).command}`

      ![Cut points by average size](plots/kernels.svg)
      """
    end)
  end

  defp kernel_name("fastcdc"), do: "crate `fastcdc`"
  defp kernel_name("engine, " <> threads), do: "`Chunking::slice`, #{count(threads)}"
  defp kernel_name(kernel), do: "kernel `#{kernel}`"

  defp count("1"), do: "1 thread"
  defp count(threads), do: "#{threads} threads"

  defp main_job do
    section("main_job", "Chunking and hashing a file", fn rows ->
      parts =
        for row <- Enum.filter(rows, &(&1.table == "parts")) |> Enum.sort_by(&rate/1, :desc) do
          "| #{row.row} | #{show(rate(row), 2)} (#{range(row, 1.0e9)}) |"
        end

      jobs =
        for hash <- ["blake3", "sha256"], row <- rows, row.table == "main_job" and row.x == hash do
          against = find(rows, table: "main_job", row: "crate fastcdc, then #{hash}")
          allowed = quotient(rate(row), allowed(hash))

          "| #{row.row}#{if row.row =~ hash, do: "", else: ", #{hash}"} | #{show(rate(row), 2)} (#{range(row, 1.0e9)}) | " <>
            "#{show(rate(row) / rate(against), 2)} | #{if allowed && row.row == "chunk_file", do: show(allowed, 2), else: ""} | `#{command(row)}` |"
        end

      """
      `random`, with the default sizes (256 KiB, 1 MiB, 4 MiB). The bare sequence finds cut points with crate `fastcdc` and hashes each
      chunk on one thread, of a file that is already in memory. `stream` also copies the bytes of each chunk to the calling process.

      | | GB/s | times the bare sequence | of what the parts allow | command |
      |---|---|---|---|---|
      #{Enum.join(jobs, "\n")}

      Each part alone, on one thread. "Of what the parts allow" compares with an ideal in which every byte costs only its reading,
      scanning and hashing, spread over all cores, with memory as fast for all cores as for one.

      | part | GB/s |
      |---|---|
      #{Enum.join(parts, "\n")}

      Command: `#{find(rows, table: "parts").command}`
      """
    end)
  end

  defp sizes do
    section("sizes", "By the size of the file", fn rows ->
      sizes = rows |> Enum.map(& &1.x) |> Enum.uniq()

      lines =
        for size <- sizes do
          cells =
            for hash <- ["blake3", "sha256"] do
              row = find(rows, table: "sizes", row: hash, x: size)
              together = rate(find(rows, table: "together", row: hash, x: size))

              "#{show(rate(row), 2)} (#{range(row, 1.0e9)}) | #{show(row.median / row.bytes * 1.0e9, 3)} | #{show(together, 2)}"
            end

          "| #{size |> String.to_integer() |> div(1_000_000)} | #{Enum.join(cells, " | ")} |"
        end

      """
      `#{hd(rows).command}` from Elixir, and the same with SHA-256. A round repeats small files many times. "Together" is one
      call, `Chunker.chunk_files(paths, hash: :blake3)`, with 256 MB of such files.

      | MB | BLAKE3, GB/s | ns per byte | together, GB/s | SHA-256, GB/s | ns per byte | together, GB/s |
      |---|---|---|---|---|---|---|
      #{Enum.join(lines, "\n")}

      ![chunk_file by size](plots/sizes.svg)
      """
    end)
  end

  defp threads do
    section("threads", "By threads", fn rows ->
      threads = rows |> Enum.map(& &1.x) |> Enum.uniq()

      lines =
        for name <- rows |> Enum.map(& &1.row) |> Enum.uniq() do
          one = find(rows, row: name, x: "1")

          cells =
            for count <- threads do
              row = find(rows, row: name, x: count)
              "#{show(rate(row), 2)} (#{range(row, 1.0e9)}) | #{show(one.median / row.median, 2)}"
            end

          "| `#{name}` | #{Enum.join(cells, " | ")} |"
        end

      """
      `random` with the option `threads:`, in GB/s, and the speedup over one thread.

      | | #{Enum.map_join(threads, " | ", &"#{count(&1)}, GB/s | speedup")} |
      |---|#{String.duplicate("---|", 2 * length(threads))}
      #{Enum.join(lines, "\n")}

      Command: `#{hd(rows).command}`

      ![By threads](plots/threads.svg)
      """
    end)
  end

  defp hashes do
    section("hashes", "Digests", fn rows ->
      lines =
        for row <- Enum.sort_by(rows, &rate/1, :desc),
            do: "| #{row.row} | #{show(rate(row), 2)} (#{range(row, 1.0e9)}) | `#{command(row)}` |"

      """
      Of the whole of `random`. Programs read the file, and their start-up is included.

      | | GB/s | command |
      |---|---|---|
      #{Enum.join(lines, "\n")}
      """
    end)
  end

  defp codecs do
    section("codecs", "Codecs", fn rows ->
      lines =
        for codec <- rows |> Enum.map(& &1.x) |> Enum.uniq() do
          [ours, theirs, back, theirs_back] =
            for {table, row} <- [
                  {"compress", "Chunker"},
                  {"compress", "program"},
                  {"decompress", "Chunker"},
                  {"decompress", "program"}
                ],
                do: find(rows, table: table, row: row, x: codec)

          speed = fn row ->
            if row, do: "#{show(row.bytes / row.median / 1.0e6, 1)} (#{range(row, 1.0e6)})"
          end

          size = if ours && theirs, do: show(ours.output / theirs.output, 4)

          "| #{codec} | #{speed.(ours)} | #{speed.(theirs)} | #{show(ours.bytes / ours.output, 2)} | #{size} | " <>
            "#{speed.(back)} | #{speed.(theirs_back)} | `#{theirs && theirs.command}` |"
        end

      """
      `piece` at default levels on one thread, in MB/s of uncompressed content: `Chunker.compress/2` and `decompress/2` of a binary
      against the official programs, whose start-up is included.

      | codec | compress | the program | ratio | size, of the program's | decompress | the program | the program's command |
      |---|---|---|---|---|---|---|---|
      #{Enum.join(lines, "\n")}

      ![Codecs](plots/codecs.svg)
      """
    end)
  end

  defp store do
    section("store", "A store", fn rows ->
      lines = fn table ->
        first = Enum.find(rows, &(&1.table == table))

        for row <- rows, row.table == table do
          "| #{row.row} | #{show(row.bytes / row.median / 1.0e6, 1)} (#{range(row, 1.0e6)}) | " <>
            "#{show(row.median / first.median, 2)} | #{row.output && trunc(row.output)} | `#{command(row)}` |"
        end
      end

      table = fn name ->
        """
        | | MB/s | time relative to the first row | bytes in the store | command |
        |---|---|---|---|---|
        #{Enum.join(lines.(name), "\n")}
        """
      end

      """
      `Chunker.Store`, durable, with its default sizes, against backup programs. borg runs without encryption; restic always encrypts.
      `zstd` only compresses, into one file. Programs include their start, and Chunker the opening of the store. In commands, capitals
      stand for paths.

      `tar` put into an empty store:

      #{table.("store")}
      Put again, unchanged:

      #{table.("again")}
      Restored to a file:

      #{table.("restore")}
      Deleted, with everything that nothing else needs:

      #{table.("delete")}
      A tree of #{tree_files(rows)} files of 4 KiB put into an empty store:

      #{table.("put_tree")}
      The tree restored:

      #{table.("restore_tree")}
      #{store_memory()}
      #{reads(rows)}

      Compression without writing:

      | | MB/s | time relative to the first row | bytes | command |
      |---|---|---|---|---|
      #{Enum.join(lines.("compressed"), "\n")}
      """
    end)
  end

  defp tree_files(rows) do
    case Enum.find(rows, &(&1.table == "put_tree")) do
      nil -> "some"
      row -> "#{div(trunc(row.bytes), 4096)}"
    end
  end

  defp reads(rows) do
    for row <- rows, row.table == "reads" do
      "A read of #{row.row}: #{show(row.median * 1000, 3)} ms (#{show(row.fastest * 1000, 3)} to #{show(row.slowest * 1000, 3)}), " <>
        "`#{command(row)}`."
    end
  end

  defp store_memory do
    case lines("store_memory") do
      [] ->
        nil

      rows ->
        mebibytes = fn bytes -> bytes |> String.to_integer() |> div(1_048_576) end

        """
        The most resident memory of a process, in MiB; for Chunker, that of a VM that does nothing else:

        | | put | restored |
        |---|---|---|
        #{Enum.map_join(rows, "\n", fn [name, put, restored] -> "| #{name} | #{mebibytes.(put)} | #{mebibytes.(restored)} |" end)}
        """
    end
  end

  defp small do
    section("small", "Small calls", fn rows ->
      lines =
        for row <- rows do
          "| #{row.row} | #{show(row.median * 1.0e6, 2)} (#{show(row.slowest * 1.0e6, 2)} to #{show(row.fastest * 1.0e6, 2)}) | `#{command(row)}` |"
        end

      """
      From Elixir, sequential calls.

      | | µs per call | command |
      |---|---|---|
      #{Enum.join(lines, "\n")}
      """
    end)
  end

  defp load do
    section("load", "Beside other work", fn rows ->
      lines =
        for row <- rows do
          "| #{row.x} | #{row.row} | #{show(row.median * 1000, 2)} | #{show(row.slowest * 1000, 1)} | #{round(row.rounds)} |"
        end

      """
      How long processes wait while others use Chunker: how late one wakes from a sleep of 1 ms, how long hashes of 100 KB and of 2 MB take, and how
      long the VM takes to collect a heap of 32 MB, which it does on a dirty CPU scheduler. Milliseconds.

      | beside | | median | most | times |
      |---|---|---|---|---|
      #{Enum.join(lines, "\n")}

      #{memory()}
      """
    end)
  end

  defp memory do
    case lines("load_memory") do
      [] ->
        nil

      rows ->
        [title] = for [title, "MiB"] <- header("load_memory"), do: title

        """
        Resident memory of the VM in MiB, for #{title}, each of them with all functions and inputs of 1 to 20 MB:
        #{Enum.map_join(rows, ", ", fn [name, mebibytes] -> "#{mebibytes} #{name}" end)}.
        """
    end
  end

  defp distribution do
    case lines("chunks") do
      [] ->
        nil

      rows ->
        lines = for row <- rows, do: "| #{Enum.join(row, " | ")} |"

        """
        ## Lengths of chunks

        In bytes. "Repeated" is the share of the input that lies in chunks which occurred earlier in the same input.

        | input | chunks | shortest | median | mean | longest | repeated, % |
        |---|---|---|---|---|---|---|
        #{Enum.join(lines, "\n")}

        ![Lengths of chunks](plots/distribution.svg)
        """
    end
  end

  # The building blocks of sections.

  defp section(part, title, text) do
    case kept(part) do
      [] -> nil
      rows -> "## #{title}\n\n#{text.(rows)}\n"
    end
  end

  defp find(rows, fields),
    do: Enum.find(rows, fn row -> Enum.all?(fields, fn {key, value} -> row[key] == value end) end)

  # A bar ends a cell even in code.
  defp command(row), do: String.replace(row.command, "|", "\\|")

  defp rate(nil), do: nil
  defp rate(row), do: row.bytes / row.median / 1.0e9

  defp range(row, unit),
    do: "#{decimals(row.bytes / row.slowest / unit)} to #{decimals(row.bytes / row.fastest / unit)}"

  defp decimals(rate), do: show(rate, if(rate < 100, do: 2, else: 1))

  defp ratio(rows, fields, row, against) do
    quotient(rate(find(rows, fields ++ [row: row])), rate(find(rows, fields ++ [row: against])))
  end

  defp quotient(a, b), do: a && b && a / b
end

[folder] = System.argv()
Page.write(folder)
