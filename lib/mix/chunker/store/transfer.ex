defmodule Mix.Chunker.Store.Transfer do
  @moduledoc false
  # Subcommands that bring objects into a store and out of it.

  import Mix.Chunker.Store.Command

  alias Chunker.Store
  alias Mix.Chunker.{StandardStreams, Switches, Text}
  alias Mix.Chunker.Store.Command

  @spec commands() :: [{String.t(), Command.t()}]
  def commands do
    [
      {"init",
       %Command{
         usage: "init STORE",
         arguments: {1, 1},
         switches:
           [
             min_size: :string,
             avg_size: :string,
             max_size: :string,
             preset: :string,
             normalization: :integer,
             seed: :integer,
             hash: :string,
             codec: :string,
             level: :integer,
             durability: :string,
             delta: :boolean
           ] ++ common([:json]),
         help: """
         Creates a store in a folder that is empty or does not exist. A store that is there already is an error only if it
         was made with other options than those that are given.

             $ mix chunker.store init /var/backups/store
             $ mix chunker.store init --avg-size 64K --codec zstd --level 9 small

         The store keeps these options for ever, except the codec:

           * `--avg-size SIZE`, `--min-size SIZE`, `--max-size SIZE` - sizes of chunks in bytes, or with a unit: `16K`, `4M`
             (powers of 1024). Defaults: `1M`, and a quarter and four times the average
           * `--preset NAME` - sizes for archives, at once: `default`, `large_packages`, `small_packages`
           * `--normalization N` - 0 to 3: how strongly sizes gather around the average. Default: 1
           * `--seed N` - changes the cut points; no secret key. Default: 0
           * `--hash NAME` - `blake3` (the default) or `sha256`
           * `--codec NAME` - `zstd` (the default), `lz4`, `xz`, `bzip2`, `gzip`, `brotli` or `none`
           * `--level N` - of the codec
           * `--durability NAME` - `full` (the default), or `relaxed` to leave it to the system when files are written to the disk
           * `--delta` - keep a chunk of a new version as what differs from chunks of the version before, if that is much
             shorter. A put and a restore take longer

         With `--json` it prints `{"store", "created"}`.
         """,
         run: &init/2
       }},
      {"put",
       %Command{
         usage: "put STORE PATH...",
         arguments: {2, :any},
         switches:
           [
             name: :string,
             base: :string,
             nar: :boolean,
             tar: :boolean,
             tree: :boolean,
             references: :boolean,
             codec: :string,
             level: :integer
           ] ++ common([:threads, :progress, :json]),
         help: """
         Puts files and folders, each in a commit of its own: what it has printed survives a power cut. The path `-` is standard
         input.

             $ mix chunker.store put --name db/monday store monday.dump
             $ pg_dump app | scripts/store put --name db/tuesday store -
             $ mix chunker.store put --tar store one.tar two.tar
             $ mix chunker.store put --name home store /home

         For each path it prints the id of the object, its bytes and chunks, and how much of it was new.

           * `--name NAME` - tags the object, and takes the tag from the one that had it. Only with one path. An object without
             a tag is kept until `rm`
           * `--base NAME` - in a store that was created with `--delta`: an object that these resemble. Default: the one that has
             the tag so far
           * `--tar`, `--nar` - the files are tars or Nix archives, which are chunked along their members
           * `--tree` - put what is at each path as a tree: its NAR, which has names, contents, symbolic links and whether a
             file may be executed, and no times, owners or other modes. A folder is put so without this switch
           * `--references` - with `--nar` or a tree: replace store hashes of Nix before chunking; reading restores them
           * `--codec NAME`, `--level N` - compress new chunks otherwise than the store does
           * `--threads N` - use at most so many threads

         With `--json` it prints `{"path", "id", "name", "bytes", "chunks", "new_chunks", "new_bytes", "stored_bytes", "hash",
         "seconds"}` for each file, where `stored_bytes` is what the store has grown by.
         """,
         run: &put/2
       }},
      {"get",
       %Command{
         usage: "get STORE NAME PATH",
         arguments: {3, 3},
         switches: [path: :string, nar: :boolean] ++ common([:threads, :progress, :json]),
         help: """
         Writes an object to a file, which is there as a whole or not at all, and replaces what was there. A tree or a NAR is
         unpacked at PATH, where nothing may be.

             $ mix chunker.store get store db/monday restored.dump
             $ mix chunker.store get store home /tmp/home
             $ mix chunker.store get --path mail/inbox store home inbox

         NAME is a tag or an id. Each chunk is checked. With `--json` it prints `{"name", "id", "path", "bytes", "seconds"}`,
         where `bytes` are those of the object.

           * `--path PATH` - only this file of a tree or a NAR
           * `--nar` - write a tree or a NAR to a file, as a NAR
           * `--threads N` - use at most so many threads
         """,
         run: &get/2
       }},
      {"cat",
       %Command{
         usage: "cat STORE NAME",
         arguments: {2, 2},
         switches: [path: :string, offset: :integer, length: :integer] ++ common([:threads]),
         help: """
         Writes an object to standard output. Fails before the first byte if a chunk is not in the store.

             $ mix chunker.store cat store backup.tar | tar t
             $ mix chunker.store cat --path mail/inbox store home
             $ mix chunker.store cat --offset 512 --length 100 store backup.tar

           * `--path PATH` - only this file of a tree or a NAR
           * `--offset N`, `--length N` - a part of it, in bytes
           * `--threads N` - use at most so many threads
         """,
         run: &cat/2
       }},
      {"copy",
       %Command{
         usage: "copy STORE OTHER NAME...",
         arguments: {2, :any},
         switches: [all: :boolean, prefix: :string, tags: :boolean] ++ common([:threads, :progress, :json]),
         help: """
         Copies objects to another store, in one commit: what is missing there, and nothing else.

             $ mix chunker.store copy store /mnt/usb/store db/monday db/tuesday
             $ mix chunker.store copy --prefix db/ store /mnt/usb/store
             $ mix chunker.store copy --all store /mnt/usb/store

         An object that is named by a tag gets it in the other store as well; one that is named by its id is kept there without
         one.

           * `--all` - copy all tags
           * `--prefix PREFIX` - copy the tags whose names begin so
           * `--no-tags` - keep the objects without tags
           * `--threads N` - use at most so many threads

         With `--json` it prints `{"store", "other", "ids", "new_chunks", "new_bytes", "stored_bytes", "seconds"}`.
         """,
         run: &copy/2
       }}
    ]
  end

  @codecs ~w(zstd lz4 xz bzip2 gzip brotli none)a

  defp compression(switches),
    do: Switches.one_of(switches, :codec, @codecs) ++ Keyword.take(switches, [:level])

  defp init([path], switches) do
    options =
      Switches.sizes(switches) ++
        Switches.one_of(switches, :preset, ~w(default large_packages small_packages)a) ++
        Switches.one_of(switches, :durability, ~w(full relaxed)a) ++
        Switches.hash(switches) ++
        Keyword.take(switches, [:normalization, :seed, :delta]) ++ compression(switches)

    existed = match?({:ok, _}, Store.open(path, create: false))

    case Store.open(path, options) do
      {:ok, _store} ->
        text = if existed, do: "#{Text.name(path)} is a store already", else: []
        result(switches, [store: path, created: not existed], text)

      {:error, error} ->
        refuse(error, path)
        failure(switches, [store: path], error)
    end
  end

  defp put([path | paths], switches) do
    exclusive(switches, [:nar, :tar, :tree])

    if switches[:references] && !switches[:nar] && !Enum.all?(paths, &tree?(&1, switches)),
      do: Mix.raise("option --references needs option --nar, or trees")

    if switches[:name] && length(paths) > 1,
      do: Mix.raise("option --name names one object, not #{length(paths)}")

    with_store(path, switches, compression(switches), fn store ->
      worst(Stream.map(paths, &put_path(store, &1, switches)))
    end)
  end

  defp put_path(store, path, switches) do
    {seconds, result} =
      timed(switches, Text.name(path), :bytes, fn options ->
        put_source(store, path, switches, Keyword.take(switches, [:name, :base, :references]) ++ options)
      end)

    case result do
      {:ok, object} ->
        pairs = [
          path: path,
          id: hex(object.id),
          name: switches[:name],
          bytes: object.size,
          chunks: object.chunk_count,
          new_chunks: object.new_chunks,
          new_bytes: object.new_bytes,
          stored_bytes: object.stored_bytes,
          hash: hex(object.hash),
          seconds: seconds
        ]

        result(switches, pairs, [
          [
            Text.name(path),
            "\n",
            hex(object.id),
            if(name = switches[:name], do: ["  ", Text.name(name)], else: []),
            "\n"
          ],
          "#{object.size} bytes in #{count(object.chunk_count, "chunk")}; ",
          "#{object.new_bytes} bytes in #{count(object.new_chunks, "chunk")} are new",
          [Text.share(object.new_bytes, object.size), ", stored in #{object.stored_bytes}\n"],
          [Text.throughput(object.size, seconds), "\n"]
        ])

      {:error, error} ->
        refuse(error, path)
        failure(switches, [path: path], error)
    end
  end

  defp put_source(store, path, switches, options) do
    tree? = tree?(path, switches)

    cond do
      StandardStreams.input?(path) and not tree? ->
        StandardStreams.with_input(
          path,
          &Store.put(store, source(switches, {:file, &1}), options),
          &Store.put(store, source(switches, &1), options)
        )

      tree? ->
        Store.put(store, {:tree, path}, options)

      true ->
        Store.put(store, source(switches, {:file, path}), options)
    end
  end

  defp tree?(path, switches) do
    switches[:tree] || (!switches[:nar] && !switches[:tar] && File.dir?(path))
  end

  defp source(switches, bytes) do
    cond do
      switches[:nar] -> {:nar, bytes}
      switches[:tar] -> {:tar, bytes}
      true -> bytes
    end
  end

  defp exclusive(switches, names) do
    case for name <- names, switches[name], do: Switches.name(name) do
      [one, other | _] -> Mix.raise("options #{one} and #{other} exclude each other")
      _ -> :ok
    end
  end

  defp get([path, name, to], switches) do
    exclusive(switches, [:path, :nar])

    with_store(path, switches, fn store ->
      {seconds, result} =
        timed(switches, Text.name(name), :bytes, fn options ->
          # The tag may be set anew in the meantime.
          with {:ok, object} <- Store.manifest(store, name),
               :ok <- restore(store, object, to, switches, options),
               do: {:ok, object}
        end)

      case result do
        {:ok, object} ->
          pairs = [name: name, id: hex(object.id), path: to, bytes: object.size, seconds: seconds]

          result(switches, pairs, [
            "#{Text.name(to)}\n#{object.size} bytes of #{Text.name(name)}, ",
            Text.throughput(object.size, seconds)
          ])

        {:error, error} ->
          refuse(error, path)
          failure(switches, [name: name], error)
      end
    end)
  end

  defp restore(store, object, to, switches, options) do
    cond do
      inner = switches[:path] -> Store.restore(store, object.id, {:file, to}, [path: inner] ++ options)
      object.kind == :nar and !switches[:nar] -> Store.restore(store, object.id, {:tree, to}, options)
      true -> Store.restore(store, object.id, {:file, to}, options)
    end
  end

  defp cat([path, name], switches) do
    with_store(path, switches, fn store ->
      options = Keyword.take(switches, [:path, :offset, :length, :threads])
      :ok = :io.setopts(:standard_io, encoding: :latin1)

      try do
        store |> Store.stream(name, options) |> Enum.each(&StandardStreams.write/1)
        0
      rescue
        error in Chunker.Error ->
          refuse(error, path)
          failure(switches, [name: name], error)
      after
        :io.setopts(:standard_io, encoding: :unicode)
      end
    end)
  end

  defp copy([path, other | names], switches) do
    prefix = if switches[:all], do: "", else: switches[:prefix]

    cond do
      prefix && names != [] ->
        Mix.raise("--all and --prefix copy tags; leave out the names, or these options")

      !prefix && names == [] ->
        Mix.raise("which objects? mix chunker.store copy STORE OTHER NAME...")

      true ->
        :ok
    end

    with_store(path, switches, fn store ->
      with_store(other, switches, fn to ->
        {seconds, result} =
          timed(switches, Text.name(other), :bytes, fn options ->
            with {:ok, names} <- names(store, names, prefix),
                 do: Store.copy(store, to, names, Keyword.take(switches, [:tags]) ++ options)
          end)

        case result do
          {:ok, copied} ->
            ids = Enum.map(copied.ids, &hex/1)
            counts = Map.take(copied, [:new_chunks, :new_bytes, :stored_bytes]) |> Enum.sort()
            pairs = [store: path, other: other, ids: ids] ++ counts ++ [seconds: seconds]

            result(switches, pairs, [
              "#{count(length(ids), "object")}; #{copied.new_bytes} bytes in #{count(copied.new_chunks, "chunk")} ",
              "are new, stored in #{copied.stored_bytes}"
            ])

          {:error, error} ->
            refuse(error, path)
            failure(switches, [store: path], error)
        end
      end)
    end)
  end

  defp names(_store, names, nil), do: {:ok, names}

  defp names(store, [], prefix) do
    with {:ok, tags} <- Store.tags(store, prefix), do: {:ok, for({name, _id} <- tags, do: name)}
  end
end
