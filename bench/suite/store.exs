# A store in a folder, compared with backup programs: a file put, put again, restored and deleted, and the same for a
# tree of small files. And compression alone, compared with programs that only compress.

Code.require_file("suite.exs", __DIR__)

alias Chunker.Store

path = Suite.data("tar")
bytes = File.stat!(path).size
cores = System.schedulers_online()
folder = fn name -> Suite.data("store-#{name}") end
quoted = fn path -> "'#{path}'" end

# A tree of small files of text that hardly compresses.
tree = Suite.data("tree")
files = if Suite.mode() == :quick, do: 500, else: 10_000

if not File.dir?(tree) do
  for number <- 1..files do
    inner = Path.join(tree, "#{rem(number, 100)}")
    File.mkdir_p!(inner)
    File.write!(Path.join(inner, "file #{number}"), Base.encode64(:rand.bytes(3072)))
  end
end

tree_bytes = files * 4096
restored = Suite.data("restored")

# Each contestant has a folder of its own. What it has no command for it is left out of.
ours = fn options ->
  store = fn name -> Store.open!(folder.(name), options) end

  %{
    prepare: fn _ -> :ok end,
    put: fn name -> Store.put!(store.(name), {:file, path}, name: "tar") end,
    restore: fn name -> :ok = Store.restore(store.(name), "tar", {:file, restored}) end,
    delete: fn name ->
      store = store.(name)
      {:ok, true} = Store.untag(store, "tar")
      {:ok, _} = Store.gc(store)
    end,
    put_tree: fn name -> Store.put!(store.(name), {:tree, tree}, name: "tree") end,
    restore_tree: fn name -> :ok = Store.restore(store.(name), "tree", {:tree, restored}) end,
    shown: %{
      put: "Store.put(store, {:file, path}, name: \"tar\")",
      restore: "Store.restore(store, \"tar\", {:file, to})",
      delete: "Store.untag(store, \"tar\"); Store.gc(store)",
      put_tree: "Store.put(store, {:tree, path}, name: \"tree\")",
      restore_tree: "Store.restore(store, \"tree\", {:tree, to})"
    }
  }
end

program = fn commands ->
  filled = fn command, name ->
    for {pattern, text} <- [
          {"RESTORED", quoted.(restored)},
          {"CACHE", quoted.(folder.(name) <> "-base")},
          {"STORE", quoted.(folder.(name))},
          {"FILE", quoted.(path)},
          {"TREE", quoted.(tree)}
        ],
        reduce: command,
        do: (command -> String.replace(command, pattern, text))
  end

  runs = for {key, command} <- commands, into: %{}, do: {key, &Suite.program(filled.(command, &1), "").()}

  runs
  |> Map.put_new(:prepare, fn _ -> :ok end)
  |> Map.merge(%{shown: commands, commands: Map.new(commands, fn {key, c} -> {key, &filled.(c, &1)} end)})
end

restic = "RESTIC_PASSWORD=bench restic -q --no-cache -r STORE"
borg = "BORG_BASE_DIR=CACHE BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes borg"
into = "rm -rf RESTORED && mkdir RESTORED && cd RESTORED"

contestants =
  [
    {"Chunker, zstd 3, blake3", nil, ours.([])},
    {"Chunker, zstd 3, sha256", nil, ours.(hash: :sha256)},
    {"Chunker, lz4, blake3", nil, ours.(codec: :lz4)},
    {"restic, zstd", "restic",
     program.(%{
       prepare: "#{restic} init --repository-version 2",
       put: "#{restic} backup --compression auto FILE",
       restore: "#{restic} restore latest --target RESTORED",
       delete: "#{restic} forget --prune latest",
       put_tree: "#{restic} backup --compression auto TREE",
       restore_tree: "#{restic} restore latest --target RESTORED"
     })},
    {"borg, zstd 3", "borg",
     program.(%{
       prepare: "#{borg} init -e none STORE",
       put: "#{borg} create --compression zstd,3 STORE::tar-$(date +%s%N) FILE",
       restore: "#{into} && #{borg} extract STORE::$(#{borg} list --last 1 --short STORE)",
       delete: "#{borg} delete -a 'tar-*' STORE && #{borg} compact STORE",
       put_tree: "#{borg} create --compression zstd,3 STORE::tree-$(date +%s%N) TREE",
       restore_tree: "#{into} && #{borg} extract STORE::$(#{borg} list --last 1 --short STORE)"
     })},
    {"casync, zstd", "casync",
     program.(%{
       prepare: "mkdir STORE",
       put: "casync make --store=STORE STORE/tar.caibx FILE",
       restore: "casync extract --store=STORE STORE/tar.caibx RESTORED",
       put_tree: "casync make --store=STORE STORE/tree.caidx TREE",
       restore_tree: "casync extract --store=STORE STORE/tree.caidx RESTORED"
     })},
    {"zstd -3 -T#{cores}", "zstd",
     program.(%{
       prepare: "mkdir STORE",
       put: "zstd -3 -T#{cores} -q -f FILE -o STORE/tar.zst",
       restore: "zstd -d -q -f STORE/tar.zst -o RESTORED"
     })}
  ]
  |> Enum.filter(fn {_, program, _} -> program == nil or Suite.installed?(program) end)
  |> Enum.with_index(fn {name, _, runs}, place -> {name, place, runs} end)

clear = fn place ->
  File.rm_rf!(folder.(place))
  File.rm_rf!(folder.(place) <> "-base")
end

# A store that is no longer used removes its lock when it is closed, at any time.
weigh = fn place ->
  sizes =
    for {path, :ok} <- Mix.Chunker.FileTree.files(folder.(place)),
        {:ok, %{size: size}} <- [File.lstat(path)],
        do: size

  Enum.sum(sizes)
end

sizes = :ets.new(:sizes, [:public])

# The row of a contestant in a table, unless it has no such command.
row = fn table, key, {name, place, runs}, bytes, before ->
  for run <- List.wrap(runs[key]) do
    %{
      table: table,
      row: name,
      x: "",
      bytes: bytes,
      before: fn -> before.(place, runs) end,
      run: fn -> run.(place) end,
      after: fn _ -> :ets.insert(sizes, {{table, name}, weigh.(place)}) end,
      output: fn _ -> :ets.lookup_element(sizes, {table, name}, 2) end,
      command: runs.shown[key]
    }
  end
end

measure = fn table, key, bytes, before ->
  rows = Enum.flat_map(contestants, &row.(table, key, &1, bytes, before))
  Suite.race(rows, Suite.rounds(3), warm: false)
end

new = fn place, runs ->
  clear.(place)
  runs.prepare.(place)
end

same = fn _, _ -> :ok end
nothing_restored = fn _, _ -> File.rm_rf!(restored) end

# Trees are removed at the end: ext4 without a journal does not use the inode of a deleted file again for a minute, and
# looks through all such inodes for each new file.
no_tree_restored = fn _, _ ->
  if File.exists?(restored), do: File.rename!(restored, "#{restored}-#{System.unique_integer([:positive])}")
end

put_before = fn place, runs ->
  new.(place, runs)
  runs.put.(place)
end

# The file is read once beforehand, so that it is in the page cache for all contestants.
Chunker.hash_file!(path, :blake3)

stores =
  measure.("store", :put, bytes, new) ++
    measure.("again", :put, bytes, same) ++
    Suite.race(
      [
        %{
          table: "again",
          row: "chunk_file",
          x: "",
          bytes: bytes,
          run: fn -> Chunker.chunk_file!(path) end,
          command: "Chunker.chunk_file(path)"
        }
      ],
      Suite.rounds(3)
    ) ++
    measure.("restore", :restore, bytes, nothing_restored) ++
    measure.("delete", :delete, bytes, put_before) ++
    measure.("put_tree", :put_tree, tree_bytes, new) ++
    measure.("restore_tree", :restore_tree, tree_bytes, no_tree_restored)

Enum.each(Path.wildcard("#{restored}-*"), &File.rm_rf!/1)

# The most memory that a process of the command has at once.
python =
  "import resource, subprocess, sys; subprocess.run(['sh', '-c', sys.argv[1]], check=True, stdout=2); " <>
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"

elixir = fn expression ->
  "elixir -pa #{quoted.(Path.join(Mix.Project.build_path(), "lib/chunker/ebin"))} -e '#{expression}'"
end

memory = fn command ->
  {output, 0} = System.cmd("python3", ["-c", python, command])
  1024 * (output |> String.trim() |> String.to_integer())
end

our_commands = %{
  put: &~s|Chunker.Store.put!(Chunker.Store.open!("#{folder.(&1)}"), {:file, "#{path}"}, name: "tar")|,
  restore:
    &~s|:ok = Chunker.Store.restore(Chunker.Store.open!("#{folder.(&1)}"), "tar", {:file, "#{restored}"})|
}

if Suite.installed?("python3") do
  lines =
    for {name, place, runs} <- contestants do
      [put, restore] =
        for key <- [:put, :restore] do
          if key == :put, do: new.(place, runs), else: File.rm_rf!(restored)

          memory.(
            case runs[:commands] do
              nil -> elixir.(our_commands[key].(place))
              commands -> commands[key].(place)
            end
          )
        end

      "#{name}\t#{put}\t#{restore}"
    end

  Suite.write("store_memory", ["contestant\tput\trestore" | lines])
  Enum.each(lines, &IO.puts/1)
end

# A read of 4 KiB anywhere in a large object.
large = Suite.data("random")
length = File.stat!(large).size
{_, place, _} = hd(contestants)
clear.(place)
store = Store.open!(folder.(place))
Store.put!(store, {:file, large}, name: "large")

reads = [
  %{
    table: "reads",
    row: "4 KiB anywhere in #{round(length / 1.0e6)} MB",
    x: "",
    bytes: 4096,
    repeats: 500,
    run: fn -> Store.read!(store, "large", offset: :rand.uniform(length - 4096), length: 4096) end,
    command: "Store.read(store, \"large\", offset: offset, length: 4096)"
  }
]

reads = Suite.race(reads, Suite.rounds(5))
for {_, place, _} <- contestants, do: clear.(place)
File.rm_rf!(restored)

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

Suite.keep("store", stores ++ reads ++ Suite.race(compressed, Suite.rounds(3), warm: false))
