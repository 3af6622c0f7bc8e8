# The main job, chunking and hashing a file in the page cache: compared with crate `fastcdc` and a hash
# function called in sequence, and with the limit set by the speeds of its parts.

Code.require_file("suite.exs", __DIR__)

path = Suite.data("random")
bytes = File.stat!(path).size

example = fn name, arguments ->
  {output, 0} =
    System.cmd(
      "cargo",
      ~w(run --quiet --release --locked --package chunker --example #{name} --) ++ arguments
    )

  output |> String.split("\n", trim: true) |> Enum.map(&String.split(&1, "\t"))
end

# The times that the examples print, of one round each, without starting the program and reading the file.
examples =
  for hash <- ["blake3", "sha256"],
      do:
        {"crate fastcdc, then #{hash}", hash,
         fn ->
           [[seconds]] = example.("bare_sequence", [path, hash, "1"])
           seconds
         end}

measured =
  for hash <- [:blake3, :sha256],
      {name, run} <- [
        {"chunk_file", fn -> Chunker.chunk_file!(path, hash: hash) end},
        {"stream", fn -> path |> Chunker.stream(hash: hash) |> Stream.run() end}
      ],
      do: %{
        table: "main_job",
        row: name,
        x: to_string(hash),
        bytes: bytes,
        run: run,
        command:
          if(name == "stream",
            do: "Chunker.stream(path, hash: :#{hash}) |> Stream.run()",
            else: "Chunker.chunk_file(path, hash: :#{hash})"
          )
      }

for contestant <- measured, do: contestant.run.()

turns =
  for _ <- 1..Suite.rounds(7) do
    rivals = for {name, hash, run} <- examples, do: {{name, hash}, String.to_float(run.())}
    ours = for row <- measured, do: {{row.row, row.x}, row.run |> :timer.tc() |> elem(0) |> Kernel./(1.0e6)}

    parts =
      for [part, seconds] <- example.("part_speeds", [path, "1"]),
          do: {{"part", part}, String.to_float(seconds)}

    rivals ++ ours ++ parts
  end

times = turns |> Enum.concat() |> Enum.group_by(&elem(&1, 0), &elem(&1, 1))

rivals =
  for {name, hash, _} <- examples do
    %{
      table: "main_job",
      row: name,
      x: hash,
      bytes: bytes,
      command: "cargo run --release -p chunker --example bare_sequence -- random #{hash} 1"
    }
    |> Map.merge(Suite.summary(times[{name, hash}]))
  end

ours = for row <- measured, do: Map.merge(row, Suite.summary(times[{row.row, row.x}]))

parts =
  for {{"part", part}, seconds} <- times do
    %{
      table: "parts",
      row: part,
      x: "",
      bytes: bytes,
      command: "cargo run --release -p chunker --example part_speeds -- random 1"
    }
    |> Map.merge(Suite.summary(seconds))
  end

Suite.keep("main_job", rivals ++ ours ++ parts)
