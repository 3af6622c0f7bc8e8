# Measures what later versions of packages, archives and images take in a store, with deltas and without, beside
# other programs.
#
#     MIX_ENV=prod mix run bench/deltas.exs FOLDER [SERIES...]
#
# FOLDER has a folder for each series, with a file for each version, whose names sort in the order of the versions:
# what scripts/nar-series and scripts/delta-series create. NARs (.nar) and tars (.tar) are put as such, other files as
# bytes. Each version is put under the name of the series, by each program that is installed: restic, borg, casync, and
# zstd --patch-from, which needs the whole version before and reads nothing alone. "64 KiB" is a store with that average
# and plain chunks, as attic makes them. Bytes are those by which stores grow from version 2 on. Needs no Hex package.

alias Chunker.Store

{folder, wanted} =
  case System.argv() do
    [folder | wanted] -> {folder, wanted}
    _ -> raise "usage: mix run bench/deltas.exs FOLDER [SERIES...]"
  end

defmodule Bench.Deltas do
  alias Chunker.Store

  def source(path) do
    case Path.extname(path) do
      ".nar" -> {:nar, {:file, path}}
      ".tar" -> {:tar, {:file, path}}
      _ -> {:file, path}
    end
  end

  def chunker(options, source, restored \\ true) do
    fn paths, folder ->
      store = Store.open!(Path.join(folder, "store"), options)
      [first | next] = Enum.map(paths, &source.(&1))
      Store.put!(store, first, name: "series")
      before = size(folder)
      {seconds, puts} = timed(fn -> for source <- next, do: Store.put!(store, source, name: "series").id end)
      bytes = size(folder) - before

      {reading, _} =
        timed(fn ->
          for id <- if(restored, do: puts, else: []) do
            :ok = Store.restore(store, id, {:file, Path.join(folder, "restored")})
            File.rm!(Path.join(folder, "restored"))
          end
        end)

      {bytes, seconds, reading}
    end
  end

  # `STORE`, `FILE` and `BEFORE` in commands are the store, a version, and the one before.
  def program(prepare, put, put_first \\ nil) do
    fn [first | next] = paths, folder ->
      run(prepare, folder, first, first)
      run(put_first || put, folder, first, first)
      before = size(folder)

      {seconds, _} =
        timed(fn -> for {path, last} <- Enum.zip(next, paths), do: run(put, folder, path, last) end)

      {size(folder) - before, seconds, nil}
    end
  end

  defp run(command, folder, path, before) do
    command =
      command
      |> String.replace("STORE", Path.join(folder, "store"))
      |> String.replace("CACHE", Path.join(folder, "cache"))
      |> String.replace("FILE", path)
      |> String.replace("BEFORE", before)

    {output, status} = System.cmd("sh", ["-c", command], stderr_to_stdout: true)
    if status != 0, do: raise("#{command}: #{output}")
  end

  defp timed(fun) do
    {microseconds, result} = :timer.tc(fun)
    {microseconds / 1.0e6, result}
  end

  def size(folder) do
    for path <- Path.wildcard(Path.join(folder, "store/**"), match_dot: true),
        File.regular?(path),
        reduce: 0 do
      bytes -> bytes + File.stat!(path).size
    end
  end
end

durable = [durability: :relaxed]
bytes = &{:file, &1}
chunker = &Bench.Deltas.chunker(&1 ++ durable, &2)
restic = "RESTIC_PASSWORD=bench restic -q --no-cache -r STORE"
borg = "BORG_BASE_DIR=CACHE BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes borg"

methods =
  [
    {"deltas", nil, chunker.([preset: :default, delta: true], &Bench.Deltas.source/1)},
    {"no deltas", nil, chunker.([preset: :default], &Bench.Deltas.source/1)},
    {"64 KiB", nil, chunker.([avg_size: 65_536], bytes)},
    {"restic", "restic",
     Bench.Deltas.program("#{restic} init --repository-version 2", "#{restic} backup --compression auto FILE")},
    {"borg", "borg",
     Bench.Deltas.program(
       "#{borg} init -e none STORE",
       "#{borg} create --compression zstd,3 STORE::v$(date +%s%N) FILE"
     )},
    {"casync", "casync",
     Bench.Deltas.program(
       "mkdir STORE",
       "casync make --compression=zstd --store=STORE/s.castr STORE/$(date +%s%N).caibx FILE"
     )},
    {"patch-from", "zstd",
     Bench.Deltas.program(
       "mkdir STORE",
       "zstd -3 -q --long=31 --patch-from=BEFORE FILE -o STORE/$(date +%s%N)",
       "true"
     )}
  ]
  |> Enum.filter(fn {_, program, _} -> program == nil or System.find_executable(program) end)

series = folder |> File.ls!() |> Enum.sort() |> Enum.filter(&(wanted == [] or &1 in wanted))
names = for {name, _, _} <- methods, do: name
mega = &:erlang.float_to_binary(&1 / 1.0e6, decimals: 2)
fixed = &:erlang.float_to_binary(&1 / 1, decimals: 2)
row = fn cells -> IO.puts("| " <> Enum.join(cells, " | ") <> " |") end

IO.puts(
  "MB that versions 2 to n take; seconds for putting them; and seconds for restoring them from a store.\n"
)

row.(
  ["series", "n", "MB"] ++ names ++ for(name <- names, do: "s, " <> name) ++ ["restored, deltas", "no deltas"]
)

row.(List.duplicate("---", 5 + 2 * length(names)))

results =
  for name <- series do
    paths = folder |> Path.join(name) |> File.ls!() |> Enum.sort() |> Enum.map(&Path.join([folder, name, &1]))
    total = paths |> tl() |> Enum.map(&File.stat!(&1).size) |> Enum.sum()

    measured =
      for {_, _, measure} <- methods do
        work = Path.join(System.tmp_dir!(), "deltas-#{System.unique_integer([:positive])}")
        File.mkdir_p!(work)

        try do
          measure.(paths, work)
        after
          File.rm_rf!(work)
        end
      end

    row.(
      [name, length(paths), mega.(total)] ++
        for({bytes, _, _} <- measured, do: mega.(bytes)) ++
        for({_, seconds, _} <- measured, do: fixed.(seconds)) ++
        for({_, _, seconds} <- Enum.take(measured, 2), do: fixed.(seconds))
    )

    {total, measured}
  end

sums = fn place ->
  for method <- 0..(length(methods) - 1),
      do: results |> Enum.map(&(&1 |> elem(1) |> Enum.at(method) |> elem(place) || 0)) |> Enum.sum()
end

total = results |> Enum.map(&elem(&1, 0)) |> Enum.sum()

row.(
  ["all", "", mega.(total)] ++
    Enum.map(sums.(0), mega) ++ Enum.map(sums.(1), fixed) ++ Enum.map(Enum.take(sums.(2), 2), fixed)
)
