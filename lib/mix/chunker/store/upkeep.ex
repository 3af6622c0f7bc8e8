defmodule Mix.Chunker.Store.Upkeep do
  @moduledoc false
  # Subcommands about a store as a whole.

  import Mix.Chunker.Store.Command

  alias Chunker.Store
  alias Mix.Chunker.Store.Command
  alias Mix.Chunker.Text

  @spec commands() :: [{String.t(), Command.t()}]
  def commands do
    [
      {"gc",
       %Command{
         usage: "gc STORE",
         arguments: {1, 1},
         switches: common([:threads, :progress, :json]),
         help: """
         Deletes what no object needs, while others read and write. If another `gc` or `repair` runs, the status is 1.

             $ mix chunker.store gc store

           * `--threads N` - check what is written anew with at most so many threads

         On a disk without any room it may end with status 1 and delete nothing: free 1 MiB, and run it again.

         With `--json` it prints `{"store", "deleted_bytes", "deleted_packs", "objects", "packs", "rewritten_bytes",
         "seconds"}`, where `objects` and `packs` are what stays.
         """,
         run: &gc/2
       }},
      {"check",
       %Command{
         usage: "check STORE",
         arguments: {1, 1},
         switches: common([:threads, :progress, :json]),
         help: """
         Reads and checks everything. Prints each damaged place, and each object that cannot be read as a whole, with its tags
         and the first chunks that it lacks. The status is 2 if there is any.

             $ mix chunker.store check store

         Afterwards `put` heals: it does not rely on chunks that are damaged.

           * `--threads N` - use at most so many threads

         With `--json` it prints `{"store", "packs", "bytes", "records", "objects", "damage": [{"object", "offset", "why"}],
         "incomplete": [{"id", "tags", "missing"}], "kept", "seconds"}`.
         """,
         run: &check/2
       }},
      {"repair",
       %Command{
         usage: "repair STORE",
         arguments: {1, 1},
         switches: common([:threads, :progress, :json]),
         help: """
         Does what `check` does, and replaces damaged files with ones that have what is left of them. The status is 2 if an
         object has lost something: put its source again. If a tag was damaged, it is removed, and objects without a name are
         kept; they are listed.

             $ mix chunker.store repair store

         Options (`--threads`, `--json`) and output are those of `check`.
         """,
         run: &repair/2
       }},
      {"stats",
       %Command{
         usage: "stats STORE",
         arguments: {1, 1},
         switches: common([:json]),
         help: """
         Counts what the store has. Sizes are in bytes.

             $ mix chunker.store stats store

         With `--json` it prints `{"store", "objects", "object_bytes", "unreadable_objects", "tags", "packs", "pack_bytes",
         "delta_packs", "delta_bytes", "chunks", "chunk_bytes", "deltas", "delta_chunk_bytes", "meta_packs", "meta_bytes", "records", "index_segments", "index_bytes", "sessions"}`; see `Chunker.Store.stats/1`.
         """,
         run: &stats/2
       }}
    ]
  end

  defp gc([path], switches) do
    with_store(path, switches, fn store ->
      {seconds, result} = timed(switches, "gc", :objects, &Store.gc(store, &1))

      case result do
        {:ok, collected} ->
          result(switches, [store: path] ++ Enum.sort(collected) ++ [seconds: seconds], [
            "deleted #{count(collected.deleted_packs, "pack")} of #{collected.deleted_bytes} bytes; ",
            "#{count(collected.packs, "pack")} with #{count(collected.objects, "object")} stay",
            if(collected.rewritten_bytes > 0,
              do: ", #{collected.rewritten_bytes} bytes of them written anew",
              else: []
            )
          ])

        {:error, error} ->
          refuse(error, path)
          failure(switches, [store: path], error)
      end
    end)
  end

  defp check([path], switches), do: examine(path, switches, &Store.check/2, &(&1.damage ++ &1.incomplete))
  defp repair([path], switches), do: examine(path, switches, &Store.repair/2, &(&1.incomplete ++ &1.kept))

  # `bad` returns what makes the store count as damaged.
  defp examine(path, switches, examine, bad) do
    with_store(path, switches, fn store ->
      {seconds, result} = timed(switches, Text.name(path), :packs, &examine.(store, &1))

      case result do
        {:ok, report} ->
          result(switches, [store: path] ++ pairs(report) ++ [seconds: seconds], text(report))
          if bad.(report) == [], do: 0, else: 2

        {:error, error} ->
          refuse(error, path)
          failure(switches, [store: path], error)
      end
    end)
  end

  defp pairs(report) do
    damage =
      for place <- report.damage, do: {:object, object: place.object, offset: place.offset, why: place.why}

    incomplete =
      for object <- report.incomplete,
          do: {:object, id: hex(object.id), tags: object.tags, missing: Enum.map(object.missing, &hex/1)}

    counts = for key <- [:packs, :bytes, :records, :objects], do: {key, Map.fetch!(report, key)}
    counts ++ [damage: damage, incomplete: incomplete, kept: Enum.map(report.kept, &hex/1)]
  end

  defp text(report) do
    damage =
      for %{object: object, offset: offset, why: why} <- report.damage do
        at = if offset, do: " at byte #{offset}", else: ""
        "#{object} is damaged#{at}: #{why |> Atom.to_string() |> String.replace("_", " ")}\n"
      end

    incomplete =
      for %{id: id, tags: tags, missing: [first | _] = missing} <- report.incomplete do
        tags = if tags == [], do: "", else: " (#{Enum.map_join(tags, ", ", &Text.name/1)})"
        # Not all of them are listed.
        more = if length(missing) > 1, do: " and at least #{length(missing) - 1} more", else: ""
        "object #{hex(id)}#{tags} lacks #{hex(first)}#{more}\n"
      end

    kept = for id <- report.kept, do: "object #{hex(id)} may have lost its name, and is kept\n"

    [
      damage,
      incomplete,
      kept,
      "#{count(report.packs, "pack")} of #{report.bytes} bytes, with #{count(report.records, "record")} ",
      "of #{count(report.objects, "object")}: ",
      if(damage == [] and incomplete == [],
        do: "all is well",
        else:
          "#{count(length(damage), "damaged place")}, #{count(length(incomplete), "object")} that cannot be read as a whole"
      )
    ]
  end

  @counts [
    objects: "objects",
    object_bytes: "bytes of all objects",
    unreadable_objects: "objects whose lists of chunks are damaged",
    tags: "tags",
    packs: "packs with chunks",
    pack_bytes: "bytes of these packs",
    delta_packs: "packs with chunks that are kept as deltas",
    delta_bytes: "bytes of these packs",
    chunks: "chunks in both",
    chunk_bytes: "bytes of these chunks before compression",
    deltas: "deltas",
    delta_chunk_bytes: "bytes of these chunks before compression",
    meta_packs: "packs with lists of chunks",
    meta_bytes: "bytes of these packs",
    records: "records in all packs",
    index_segments: "segments of the index",
    index_bytes: "bytes of the index",
    sessions: "sessions of writers"
  ]

  defp stats([path], switches) do
    with_store(path, switches, fn store ->
      case Store.stats(store) do
        {:ok, stats} ->
          pairs = for {key, _text} <- @counts, do: {key, Map.fetch!(stats, key)}

          lines =
            for {key, text} <- @counts,
                do: [stats |> Map.fetch!(key) |> Integer.to_string() |> String.pad_leading(14), "  ", text]

          result(switches, [store: path] ++ pairs, Enum.intersperse(lines, "\n"))

        {:error, error} ->
          failure(switches, [store: path], error)
      end
    end)
  end
end
