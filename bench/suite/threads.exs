# One input on one thread and on several.

Code.require_file("suite.exs", __DIR__)

path = Suite.data("random")
size = File.stat!(path).size

# A persistent term, because a process that holds much memory collects its garbage less often, including
# chunks of streams.
Task.await(Task.async(fn -> :persistent_term.put(:data, File.read!(path)) end), :infinity)
cores = System.schedulers_online()
threads = [1, 2, 4, 8, 16, 32, cores] |> Enum.filter(&(&1 <= cores)) |> Enum.uniq() |> Enum.sort()

contestants =
  for threads <- threads,
      hash <- [:blake3, :sha256],
      {name, run} <- [
        {"chunk_file", &Chunker.chunk_file!(path, &1)},
        {"chunk_data", &Chunker.chunk_data!(:persistent_term.get(:data), &1)},
        {"stream", &(path |> Chunker.stream(&1) |> Stream.run())}
      ] do
    %{
      table: "threads",
      row: "#{name}, #{hash}",
      x: threads,
      bytes: size,
      run: fn -> run.(hash: hash, threads: threads) end,
      command: "Chunker.#{name}(input, hash: :#{hash}, threads: #{threads})"
    }
  end

Suite.keep("threads", Suite.race(contestants, Suite.rounds(5)))
