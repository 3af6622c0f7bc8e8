defmodule Chunker.Store do
  @moduledoc """
  A store of files, binaries, streams, archives and trees, which keeps each chunk once, in a folder.

      {:ok, store} = Chunker.Store.open("backup")
      {:ok, monday} = Chunker.Store.put(store, {:file, "monday.tar"}, name: "db/monday")
      {:ok, tuesday} = Chunker.Store.put(store, {:file, "tuesday.tar"}, name: "db/tuesday")
      IO.puts("\#{tuesday.stored_bytes} bytes for \#{tuesday.size}")

      :ok = Chunker.Store.restore(store, "db/monday", {:file, "restored.tar"})

      {:ok, _} = Chunker.Store.put(store, {:tree, "/usr/lib/git-core"}, name: "git")
      {:ok, bytes} = Chunker.Store.read(store, "git", path: "git-merge-file")
      :ok = Chunker.Store.restore(store, "git", {:tree, "restored"})

  ## Promises

    1. What `put/3` or `session/3` has returned survives a power cut.
    2. A kill at any point leaves the old state or the new one, and at most garbage that the next `gc/2` takes.
    3. `gc/2` deletes nothing that a commit refers to, whether it was made before, during or after, whatever clocks
       say and however long a writer slept.
    4. A read returns the right bytes or an error: each chunk is checked against its digest.
    5. Everything except tags and sessions can be made anew from the packs. [The format](store-format.html) describes
       them.
    6. Memory does not grow with the store, except for at most two bytes for each chunk and some hundred for each
       pack of 16 MiB, while garbage is collected or everything is checked.
    7. A put heals: a chunk that was found missing or damaged is written anew.
    8. Writers wait neither for each other nor for `gc/2`.

  Any number of processes, in any number of VMs on a machine, use a store at the same time. A store is closed by
  `close/1`, or when no process holds it any more.

  ## Progress

  Long calls take the option `:progress`: a function of two arguments, a pid or `{pid, reference}`, which receives how much
  is done, and of how much, as with `Chunker.chunk_files/2`: at the start, at the end, and in between at most ten times a
  second. The function is called in a process of its own, and a pid gets messages
  `{:chunker_progress, reference, done, total}`. The unit is a byte, except where a function says another. The total
  is `nil` if it is not known in advance, as of a stream or a FIFO.

  ## Names

  An object is named by its id, a binary of 32 bytes that follows from its content and the sizes of the store, or
  by a tag: text of components that `/` separates. Functions that take either look for a tag first. An id may also be
  64 hexadecimal digits.

  An object stays as long as a tag names it. One that was put without a name stays until `forget/2`. `gc/2` takes
  everything else.

  ## Archives and trees

  A NAR and a tar are chunked along their members, so that a file gives the same chunks in every archive that has it.
  What is put is what is read, byte for byte.

    * `{:nar, source}` puts a NAR (`Chunker.Nar`), and refuses anything else. A file in it is read by its `:path`, and
      `ls/4` lists it, without the rest. With `references: true`, equal files in other Nix store paths are the same
      chunks.
    * `{:tree, path}` puts a tree of the file system as its NAR, which has names, contents, symbolic links, and whether
      a file may be executed. A NAR has **no times, no owners, no other modes and no hard links** (each link to a file
      is a file), and no sockets, FIFOs or devices. Put a tar of the tree to keep them.
    * `{:tar, source}` puts a tar. What is none is chunked as any bytes are.

  ## From Erlang

  Module `chunker_store` has the same functions.
  """

  import Chunker.Input
  import Chunker.Result

  alias Chunker.Error
  alias Chunker.Nar.Entry
  alias Chunker.Store.{Manifest, Session}

  @enforce_keys [:store]
  defstruct [:store, :location]

  @opaque t :: %__MODULE__{store: :chunker_store.store(), location: String.t()}

  @typedoc "The id of an object."
  @type id :: <<_::256>>

  @typedoc "A tag or an id."
  @type name :: String.t() | id()

  @typedoc "Bytes: a file, iodata, or an enumerable of iodata."
  @type bytes :: {:file, Path.t()} | iodata() | Enumerable.t()

  @typedoc "What is put: bytes, an archive, or the tree at a path."
  @type source :: bytes() | {:nar, bytes()} | {:tar, bytes()} | {:tree, Path.t()}

  @typedoc "An option of `open/2`."
  @type option ::
          {:create, boolean()}
          | {:hash, Chunker.algorithm()}
          | {:preset, :default | :large_packages | :small_packages}
          | {:min_size | :avg_size | :max_size, pos_integer()}
          | {:normalization, 0..3}
          | {:seed, non_neg_integer()}
          | {:codec, Chunker.codec() | :none}
          | {:level, integer()}
          | {:durability, :full | :relaxed}
          | {:delta, boolean()}

  @typedoc "What receives progress; see above. The total is `nil` if it is not known."
  @type progress ::
          pid()
          | {pid(), reference()}
          | (done :: non_neg_integer(), total :: nil | non_neg_integer() -> term())

  @typedoc "An option of a long call."
  @type work_option :: {:threads, pos_integer()} | {:progress, progress()}

  @typedoc "What `stats/1` counts."
  @type stats :: %{
          packs: non_neg_integer(),
          pack_bytes: non_neg_integer(),
          delta_packs: non_neg_integer(),
          delta_bytes: non_neg_integer(),
          chunks: non_neg_integer(),
          chunk_bytes: non_neg_integer(),
          deltas: non_neg_integer(),
          delta_chunk_bytes: non_neg_integer(),
          meta_packs: non_neg_integer(),
          meta_bytes: non_neg_integer(),
          records: non_neg_integer(),
          index_segments: non_neg_integer(),
          index_bytes: non_neg_integer(),
          tags: non_neg_integer(),
          sessions: non_neg_integer(),
          objects: non_neg_integer(),
          unreadable_objects: non_neg_integer(),
          object_bytes: non_neg_integer()
        }

  @typedoc "What `check/2` and `repair/2` have found."
  @type report :: %{
          packs: non_neg_integer(),
          bytes: non_neg_integer(),
          records: non_neg_integer(),
          objects: non_neg_integer(),
          damage: [%{object: String.t(), offset: nil | non_neg_integer(), why: atom()}],
          incomplete: [%{id: id(), tags: [String.t()], missing: [Chunker.digest()]}],
          kept: [id()]
        }

  # What is gathered before the engine sees it.
  @gather 1_048_576

  @doc """
  Opens the store in a folder, or creates one there.

  A new store needs a folder that is empty or does not exist.

  ## Options

    * `:create` - `false` if there must be a store. Default: `true`
    * `:hash`, `:preset`, `:min_size`, `:avg_size`, `:max_size`, `:normalization`, `:seed` - as `Chunker.chunk_file/2` takes
      them. A new store keeps them, and an existing one must have those that are given
    * `:codec` - `:zstd` (the default), another one that `Chunker.compress/2` takes, or `:none`; and its `:level`. They are
      kept as well. If they are given for an existing store, they apply to what is put through this handle
    * `:durability` - `:full` (the default), or `:relaxed` to leave it to the system when files are written to the disk.
      After a power cut objects may then be damaged: for caches and tests. Kept, like the sizes
    * `:delta` - `true` to keep a chunk as what differs from similar chunks, if that is much shorter: see
      [deltas](store.md#deltas) and `:base` of `put/3`. Kept, like the sizes. Default: `false`

  ## Errors

    * `:not_found` - there is no store, and `create: false`
    * `:invalid_options` - an option is out of range, the store has another value, or the folder holds something else
    * `:unsupported_format` - `:feature`: the store was made by a newer version
    * `:feature_disabled` - the store has deltas, or is to have some, and this build has no zstd
    * `:store_corrupt`, `:io_error`

  ## Examples

      iex> folder = Path.join(System.tmp_dir!(), "chunker-doc-store")
      iex> {:ok, store} = Chunker.Store.open(folder, durability: :relaxed)
      iex> {:ok, object} = Chunker.Store.put(store, "content", name: "greetings/first")
      iex> Chunker.Store.read(store, "greetings/first")
      {:ok, "content"}
      iex> Chunker.Store.tags(store)
      {:ok, [{"greetings/first", object.id}]}
      iex> File.rm_rf!(folder)

  """
  @spec open(Path.t(), [option()] | map()) :: {:ok, t()} | {:error, Error.t()}
  def open(location, options \\ []) do
    location = path!(location)

    with {:ok, store} <- result(:chunker_store.open(location, options)),
         do: {:ok, %__MODULE__{store: store, location: location}}
  end

  @doc """
  The same as `open/2`, but returns the store and raises `Chunker.Error`.
  """
  @spec open!(Path.t(), [option()] | map()) :: t()
  def open!(location, options \\ []), do: bang!(open(location, options))

  @doc """
  Puts an object: a file, iodata, or an enumerable of iodata, in bounded memory; or an archive or a tree.

  Chunks are found, hashed and compressed on all threads. Only those that the store lacks are written. Killing the caller
  cancels the put, which leaves garbage at most.

  In a session, the object is visible after its commit.

  ## Options

    * `:name` - a tag for the object, set in the same commit. Without one the object stays until `forget/2`
    * `:base` - in a store with [deltas](store.md#deltas), the tag or the id of an object that this one resembles: chunks
      are kept as what differs from its chunks. Default: the object that `:name` names before
    * `:references` - with a NAR or a tree, `true` replaces the hashes of Nix store paths before it is chunked, as
      `Chunker.chunk_file/2` does. What is read has them again. Default: `false`
    * `:threads` - how many threads work on it at most
    * `:progress` - see [progress](#module-progress)

  ## Errors

    * `:session_fenced` - a garbage collection has deleted chunks that the source has in common with what was deleted:
      put it again. A file or a tree is put again by itself
    * `:io_error`, `:file_changed` - as with `Chunker.chunk_file/2`, and if the store cannot be written to
    * `:invalid_nar` - `{:nar, source}` is no NAR; see `Chunker.Nar`
    * `:not_found` - the store does not have `:base`; `:invalid_options` - it has no deltas
    * `:io_error`, `:file_changed`, `:tree_too_deep` - as with `Chunker.Nar.dump/3` for a tree, in which the store must
      not be

  ## Examples

      iex> folder = Path.join(System.tmp_dir!(), "chunker-doc-store-put")
      iex> store = Chunker.Store.open!(folder, durability: :relaxed)
      iex> data = :binary.copy("content ", 1000)
      iex> {:ok, first} = Chunker.Store.put(store, data)
      iex> {first.size, first.new_chunks}
      {8000, 1}
      iex> {:ok, again} = Chunker.Store.put(store, [data])
      iex> {again.id == first.id, again.new_chunks, again.stored_bytes}
      {true, 0, 0}
      iex> File.rm_rf!(folder)

  A tree, and a file in it:

      iex> folder = Path.join(System.tmp_dir!(), "chunker-doc-store-tree")
      iex> File.mkdir_p!(Path.join(folder, "tree/bin"))
      iex> File.write!(Path.join(folder, "tree/bin/git"), "#!/bin/sh")
      iex> store = Chunker.Store.open!(Path.join(folder, "store"), durability: :relaxed)
      iex> tree = Chunker.Store.put!(store, {:tree, Path.join(folder, "tree")}, name: "tree")
      iex> {tree.kind, tree.nar_hash}
      {:nar, "sha256:118r75rjx3wa80qnp7byfyn2apz48k1bmi44v096r5ni185a32fy"}
      iex> Chunker.Store.read(store, "tree", path: "bin/git")
      {:ok, "#!/bin/sh"}
      iex> File.rm_rf!(folder)

  """
  @spec put(t() | Session.t(), source(), keyword() | map()) :: {:ok, Manifest.t()} | {:error, Error.t()}
  def put(store, source, options \\ []) do
    put = fn source -> result(:chunker_store.put(handle(store), source, options)) end
    with {:ok, put} <- with_source(source, put), do: {:ok, struct!(Manifest, put)}
  end

  @doc """
  The same as `put/3`, but returns the manifest and raises `Chunker.Error`.
  """
  @spec put!(t() | Session.t(), source(), keyword() | map()) :: Manifest.t()
  def put!(store, source, options \\ []), do: bang!(put(store, source, options))

  defp with_source({kind, source}, put) when kind in [:nar, :tar], do: with_bytes(source, &put.({kind, &1}))
  defp with_source({:tree, path}, put), do: put.({:tree, path!(path)})
  defp with_source(source, put), do: with_bytes(source, put)

  defp with_bytes({:file, path}, put), do: put.({:file, path!(path)})
  defp with_bytes(data, put) when is_binary(data) or is_list(data), do: put.(data)

  # Erlang takes a fun in place of an enumerable. If the put fails, the enumerable ends where it is.
  defp with_bytes(enumerable, put) do
    suspended = {__MODULE__, make_ref()}
    reduce = &Enumerable.reduce(pieces(enumerable, @gather), &1, fn piece, _ -> {:suspend, piece} end)

    try do
      put.(fn -> next(reduce, suspended) end)
    after
      with reduce when reduce != nil <- Process.delete(suspended), do: reduce.({:halt, nil})
    end
  end

  defp next(reduce, suspended) do
    Process.delete(suspended)

    case reduce.({:cont, nil}) do
      {:suspended, piece, reduce} ->
        Process.put(suspended, reduce)
        {piece, fn -> next(reduce, suspended) end}

      {_, nil} ->
        :done

      {_, piece} ->
        {piece, fn -> :done end}
    end
  end

  @doc """
  Calls a function with a session, in which `put/3` and `tag/4` take part in one commit: all of it is there afterwards,
  or nothing.

  Returns `{:ok, result}` with the result of the function after the commit. If the function returns `{:error, reason}` or
  raises, nothing becomes visible.

  ## Options

    * `:attempts` - how often the function is called at most if garbage collections delete what its session had found in
      the store. After the last attempt the error is `:session_fenced`. Default: 1

  ## Examples

      iex> folder = Path.join(System.tmp_dir!(), "chunker-doc-store-session")
      iex> store = Chunker.Store.open!(folder, durability: :relaxed)
      iex> {:ok, 2} =
      ...>   Chunker.Store.session(store, fn session ->
      ...>     for name <- ["a", "b"], do: Chunker.Store.put!(session, "content of " <> name, name: name)
      ...>     2
      ...>   end)
      iex> {:ok, tags} = Chunker.Store.tags(store)
      iex> for {name, _id} <- tags, do: name
      ["a", "b"]
      iex> File.rm_rf!(folder)

  """
  @spec session(t(), [{:attempts, pos_integer()}] | map(), (Session.t() -> {:error, reason} | result)) ::
          {:ok, result} | {:error, reason | Error.t()}
        when result: var, reason: var
  def session(%__MODULE__{store: store}, options \\ [], fun) when is_function(fun, 1) do
    # What the function raises is not that of the Erlang face.
    wrapped = fn session ->
      try do
        {:returned, fun.(%Session{session: session})}
      catch
        kind, reason -> {:error, {:raised, kind, reason, __STACKTRACE__}}
      else
        {:returned, {:error, reason}} -> {:error, {:returned, reason}}
        {:returned, result} -> result
      end
    end

    case call(:chunker_store.session(store, options, wrapped)) do
      {:ok, result} -> {:ok, result}
      {:error, {:raised, kind, reason, stacktrace}} -> :erlang.raise(kind, reason, stacktrace)
      {:error, {:returned, reason}} -> {:error, reason}
      {:error, {reason, details}} -> {:error, Error.new(reason, details)}
    end
  end

  @doc """
  Returns a lazy stream of the bytes of an object, as nonempty binaries.

  Opens the object when it is enumerated, and fails before the first byte if a chunk is not in the store. Takes the
  options of `read/3`. Raises `Chunker.Error`.

  ## Examples

      iex> folder = Path.join(System.tmp_dir!(), "chunker-doc-store-stream")
      iex> store = Chunker.Store.open!(folder, durability: :relaxed)
      iex> Chunker.Store.put!(store, "some content", name: "a")
      iex> store |> Chunker.Store.stream("a", offset: 5) |> Enum.join()
      "content"
      iex> File.rm_rf!(folder)

  """
  @spec stream(t(), name(), keyword() | map()) :: Enumerable.t()
  def stream(%__MODULE__{store: store}, name, options \\ []),
    do: iterated(fn -> result(:chunker_store.stream(store, name, options)) end)

  @doc """
  Returns a lazy stream of the chunks of an object, as `{digest, offset, length}`.

  The chunks of a NAR that was put with `references: true` have placeholders in place of the hashes.
  """
  @spec chunks(t(), name()) :: Enumerable.t()
  def chunks(%__MODULE__{store: store}, name),
    do: iterated(fn -> result(:chunker_store.chunks(store, name)) end)

  defp iterated(open) do
    Stream.resource(
      fn -> bang!(open.()) end,
      fn iterator ->
        case :chunker_store.next(iterator) do
          :done -> {:halt, iterator}
          result -> {for(item <- bang!(to_result(result)), item != "", do: item), iterator}
        end
      end,
      &:chunker_store.close/1
    )
  end

  @doc """
  Returns the bytes of an object.

  ## Options

    * `:path` - that of a file in the object, which must be a NAR: its bytes are read, and nothing else. `"bin/git"`, as
      `ls/4` lists it. Symbolic links are not followed
    * `:offset`, `:length` - a range of the object or of the file, in bytes
    * `:threads` - how many threads read and decompress at most

  ## Errors

    * `:not_found` - `:name`, which is the path if that is not in the NAR
    * `:io_error` - `:path`, and `:kind`: `:eisdir` for a folder in the NAR, `:eloop` for a symbolic link
    * `:invalid_options` - a `:path` in what is no NAR
    * `:chunk_missing` - `:digests`, of the first chunks that the store does not have
    * `:store_corrupt` - `:pack`, `:offset` and `:why`
    * `:bounds_check_failed` - the object has no such range
  """
  @spec read(t(), name(), keyword() | map()) :: {:ok, binary()} | {:error, Error.t()}
  def read(%__MODULE__{store: store}, name, options \\ []),
    do: result(:chunker_store.read(store, name, options))

  @doc """
  The same as `read/3`, but returns the bytes and raises `Chunker.Error`.
  """
  @spec read!(t(), name(), keyword() | map()) :: binary()
  def read!(store, name, options \\ []), do: bang!(read(store, name, options))

  @doc """
  Writes an object to a file, which is there as a whole or not at all, and replaces what was there.

  With `{:tree, path}`, unpacks a NAR to a path that must not exist, as `Chunker.Nar.restore/2` does: the tree is there as
  a whole or not at all.

  A kill leaves what was there before, or all of it. What is restored is not synced: it survives a power cut once the
  system has written it to the disk, as with any other program that writes files.

  ## Options

    * `:path` - with a file, that of a file in the object, as `read/3` takes it
    * `:threads` - how many threads read and decompress at most
    * `:progress` - see [progress](#module-progress)

  ## Errors

    * those of `read/3`
    * `:io_error` - what could not be written; `:eexist` if there is something where a tree is to be
    * `:invalid_options` - an object that is no NAR is no tree. A tar is restored to a file, which `tar` unpacks

  ## Examples

      iex> folder = Path.join(System.tmp_dir!(), "chunker-doc-store-restore")
      iex> File.mkdir_p!(Path.join(folder, "tree"))
      iex> File.write!(Path.join(folder, "tree/file"), "content")
      iex> store = Chunker.Store.open!(Path.join(folder, "store"), durability: :relaxed)
      iex> Chunker.Store.put!(store, {:tree, Path.join(folder, "tree")}, name: "tree")
      iex> Chunker.Store.restore(store, "tree", {:tree, Path.join(folder, "restored")})
      :ok
      iex> File.read!(Path.join(folder, "restored/file"))
      "content"
      iex> File.rm_rf!(folder)

  """
  @spec restore(t(), name(), {:file | :tree, Path.t()}, keyword() | map()) :: :ok | {:error, Error.t()}
  def restore(%__MODULE__{store: store}, name, {kind, path}, options \\ []) when kind in [:file, :tree],
    do: done(call(:chunker_store.restore(store, name, {kind, path!(path)}, options)))

  @doc """
  Returns the entries of the folder at `path` in a NAR, as `Chunker.Nar.list/2` does, with their paths from the root of
  the NAR.

  Reads nothing else of the NAR. For a file or a symbolic link, returns that one.

  ## Options

    * `:recursive` - `true` for everything below the folder. Default: `false`
    * `:max_entries`, `:max_memory` - as with `Chunker.Nar.list/2`
    * `:threads` - how many threads read and decompress at most

  ## Errors

    * `:not_found` - `:name`, which is the path if that is not in the NAR
    * `:limit_exceeded` - `:option` and its `:limit`
    * `:invalid_options` - the object is no NAR

  ## Examples

      iex> folder = Path.join(System.tmp_dir!(), "chunker-doc-store-ls")
      iex> File.mkdir_p!(Path.join(folder, "tree/bin"))
      iex> File.write!(Path.join(folder, "tree/bin/git"), "#!/bin/sh")
      iex> store = Chunker.Store.open!(Path.join(folder, "store"), durability: :relaxed)
      iex> Chunker.Store.put!(store, {:tree, Path.join(folder, "tree")}, name: "tree")
      iex> {:ok, [bin]} = Chunker.Store.ls(store, "tree")
      iex> {bin.path, bin.type}
      {"bin", :directory}
      iex> {:ok, [git]} = Chunker.Store.ls(store, "tree", "bin")
      iex> {git.path, git.type, git.size}
      {"bin/git", :regular, 9}
      iex> File.rm_rf!(folder)

  """
  @spec ls(t(), name(), Path.t(), keyword() | map()) :: {:ok, [Entry.t()]} | {:error, Error.t()}
  def ls(%__MODULE__{store: store}, name, path \\ "", options \\ []) do
    with {:ok, entries} <- result(:chunker_store.ls(store, name, path!(path), options)),
         do: {:ok, for(entry <- entries, do: struct!(Entry, entry))}
  end

  @doc """
  The same as `ls/4`, but returns the entries and raises `Chunker.Error`.
  """
  @spec ls!(t(), name(), Path.t(), keyword() | map()) :: [Entry.t()]
  def ls!(store, name, path \\ "", options \\ []), do: bang!(ls(store, name, path, options))

  @doc """
  Returns what the store knows of an object.
  """
  @spec manifest(t(), name()) :: {:ok, Manifest.t()} | {:error, Error.t()}
  def manifest(%__MODULE__{store: store}, name) do
    with {:ok, manifest} <- result(:chunker_store.manifest(store, name)),
         do: {:ok, struct!(Manifest, manifest)}
  end

  @doc """
  Returns those of some chunks, by their digests, that the store does not have: what a peer has to send.
  """
  @spec missing(t(), [Chunker.digest()]) :: {:ok, [Chunker.digest()]} | {:error, Error.t()}
  def missing(%__MODULE__{store: store}, digests), do: result(:chunker_store.missing(store, digests))

  @doc """
  Copies objects to another store, in one commit: what is missing there, and nothing else.

  An object that is named by a tag gets this tag there as well, whatever that named before; one that is named by its id is
  kept without a tag. Chunks go over as they are, compressed, once they are checked. If the other store has another hash
  function, objects are put there anew and get other ids.

  Returns the `:ids` in the other store, in the order of the names, and the `:new_chunks`, `:new_bytes` and `:stored_bytes`
  of the other store as `put/3` does.

  ## Options

    * `:tags` - `false` to leave the tags out. Default: `true`
    * `:threads` - how many threads work on it at most
    * `:progress` - see [progress](#module-progress)

  ## Errors

  After an error nothing of it is visible in the other store.

    * `:not_found` - `:name`
    * `:chunk_missing`, `:store_corrupt` - what is to be copied cannot be read as a whole

  ## Examples

      iex> [here, there] =
      ...>   for name <- ["here", "there"] do
      ...>     Chunker.Store.open!(Path.join(System.tmp_dir!(), "chunker-doc-store-" <> name), durability: :relaxed)
      ...>   end
      iex> Chunker.Store.put!(here, "content", name: "a")
      iex> {:ok, copied} = Chunker.Store.copy(here, there, ["a"])
      iex> copied.new_bytes
      7
      iex> Chunker.Store.read(there, "a")
      {:ok, "content"}
      iex> for store <- [here, there], do: File.rm_rf!(store.location)

  """
  @spec copy(t(), t(), [name()], [{:tags, boolean()} | work_option()] | map()) ::
          {:ok,
           %{
             ids: [id()],
             new_chunks: non_neg_integer(),
             new_bytes: non_neg_integer(),
             stored_bytes: non_neg_integer()
           }}
          | {:error, Error.t()}
  def copy(%__MODULE__{store: store}, %__MODULE__{store: other}, names, options \\ []),
    do: result(:chunker_store.copy(store, other, names, options))

  @doc """
  Lets a tag name an object.

  With the option `:if`, a store sets it only if there is none (`:absent`), or if it names a certain object
  (`{:is, id}`). Otherwise the error is `:already_exists`. A session takes no `:if`.
  """
  @spec tag(t() | Session.t(), String.t(), id(), [{:if, :any | :absent | {:is, id()}}] | map()) ::
          :ok | {:error, Error.t()}
  def tag(store, name, id, options \\ []),
    do: done(call(:chunker_store.tag(handle(store), name, id, options)))

  @doc """
  Removes a tag, and returns whether there was one. The object stays until the next `gc/2`.

  Takes the option `:if` of `tag/4`.
  """
  @spec untag(t(), String.t(), [{:if, :any | :absent | {:is, id()}}] | map()) ::
          {:ok, boolean()} | {:error, Error.t()}
  def untag(%__MODULE__{store: store}, name, options \\ []),
    do: result(:chunker_store.untag(store, name, options))

  @doc """
  Lets the next `gc/2` take an object that was put without a name. Returns whether it was kept.
  """
  @spec forget(t(), id()) :: {:ok, boolean()} | {:error, Error.t()}
  def forget(%__MODULE__{store: store}, id), do: result(:chunker_store.forget(store, id))

  @doc """
  Returns the tags whose names begin with `prefix`, in the order of their names.
  """
  @spec tags(t(), String.t()) :: {:ok, [{String.t(), id()}]} | {:error, Error.t()}
  def tags(%__MODULE__{store: store}, prefix \\ ""), do: result(:chunker_store.tags(store, prefix))

  @doc """
  Returns the id of the object that a name stands for, or `nil` for a name that is no tag.
  """
  @spec id(t(), name()) :: {:ok, id() | nil} | {:error, Error.t()}
  def id(%__MODULE__{store: store}, name), do: result(:chunker_store.id(store, name))

  @doc """
  Counts what the store has.

    * `:packs`, `:pack_bytes` - files with whole chunks, and their bytes
    * `:delta_packs`, `:delta_bytes` - files with deltas, if the store has [deltas](store.md#deltas)
    * `:chunks`, `:chunk_bytes` - chunks in both, and their bytes before compression. `:object_bytes` less `:chunk_bytes` is
      what the store saves since it keeps each chunk once, if there is no garbage
    * `:deltas`, `:delta_chunk_bytes` - those of them that are deltas. `:delta_chunk_bytes` less `:delta_bytes` is what deltas and
      compression save of them
    * `:meta_packs`, `:meta_bytes` - files with lists of chunks
    * `:records` - chunks, lists and commits in all of them; one that is in two files counts twice
    * `:index_segments`, `:index_bytes` - files of the index
    * `:tags`, and `:sessions` of writers
    * `:objects` - those that tags name or that are kept without one
    * `:object_bytes` - the length of all objects together; divided by `:pack_bytes` and `:delta_bytes`, what the store saves
    * `:unreadable_objects` - those whose list of chunks is missing or damaged, which do not count; `check/2` says more

  Takes two reads for each file and for each object, and reads 48 bytes for each chunk.
  """
  @spec stats(t()) :: {:ok, stats()} | {:error, Error.t()}
  def stats(%__MODULE__{store: store}), do: result(:chunker_store.stats(store))

  @doc """
  Closes the store in all processes that hold it.

  Every further call is the error `:cancelled`. Calls that run, and sessions and streams that were opened before, go on to
  their end; then the files of the store are closed. What no process holds any more is closed without this.

  ## Examples

      iex> folder = Path.join(System.tmp_dir!(), "chunker-doc-store-close")
      iex> store = Chunker.Store.open!(folder)
      iex> Chunker.Store.close(store)
      :ok
      iex> {:error, error} = Chunker.Store.tags(store)
      iex> error.reason
      :cancelled
      iex> File.rm_rf!(folder)

  """
  @spec close(t()) :: :ok
  def close(%__MODULE__{store: store}), do: call(:chunker_store.close(store))

  @doc """
  Deletes what no object needs, while others read and write.

  Chunks are kept in packs of some 16 MiB. A pack that is mostly garbage is replaced by one of what is left, and so are
  small packs if there are many.

  Returns the number of `:objects` that stay, of `:packs` that stay, of `:deleted_packs`, of their bytes
  (`:deleted_bytes`), and of the bytes that were written anew (`:rewritten_bytes`). The error is `:store_locked` if
  another collection runs. Time is linear in the number of chunks of all objects.

  ## Options

    * `:threads` - how many threads check what is written anew at most. All else is done by one
    * `:progress` - see [progress](#module-progress). The unit is the name of an object, while it looks for what these
      need

  ## On a full disk

  It needs some room before it deletes anything. If there is none, it removes a part of the index, which it makes anew at
  the end. If that does not suffice, the error is `:io_error` with the kind `:enospc`; nothing is lost. Free 1 MiB, and
  collect again. The error is the same if packs without anything that is needed were deleted, but there is no room to
  write anew what is left of the others: what was freed stays freed.

  ## Examples

      iex> folder = Path.join(System.tmp_dir!(), "chunker-doc-store-gc")
      iex> store = Chunker.Store.open!(folder, durability: :relaxed)
      iex> Chunker.Store.put!(store, "content", name: "a")
      iex> Chunker.Store.untag(store, "a")
      {:ok, true}
      iex> {:ok, collected} = Chunker.Store.gc(store)
      iex> {collected.objects, collected.deleted_packs}
      {0, 2}
      iex> File.rm_rf!(folder)

  """
  @spec gc(t(), [work_option()] | map()) ::
          {:ok,
           %{
             objects: non_neg_integer(),
             packs: non_neg_integer(),
             deleted_packs: non_neg_integer(),
             deleted_bytes: non_neg_integer(),
             rewritten_bytes: non_neg_integer()
           }}
          | {:error, Error.t()}
  def gc(%__MODULE__{store: store}, options \\ []), do: result(:chunker_store.gc(store, options))

  @doc """
  Reads and checks everything: each pack, each record, the index, and that each object is there as a whole.

  Returns what was found; damage is no error. The index is made anew where it is damaged. What is put afterwards does
  not rely on chunks that were found damaged.

  Takes the options `:threads` and [`:progress`](#module-progress), whose unit is a pack.
  """
  @spec check(t(), [work_option()] | map()) :: {:ok, report()} | {:error, Error.t()}
  def check(%__MODULE__{store: store}, options \\ []), do: result(:chunker_store.check(store, options))

  @doc """
  Does the same as `check/2`, and replaces damaged packs with ones that have what is left of them.

  What objects then lack is lost until it is put again; `:incomplete` says what that is. Their tags stay.

  A tag that is damaged is removed. What it named is not known, so that all objects are kept that are whole and that
  nothing names, as if they had been put without a name. They are listed as `:kept`: tag or `forget/2` them.

  Takes the options of `check/2`.
  """
  @spec repair(t(), [work_option()] | map()) :: {:ok, report()} | {:error, Error.t()}
  def repair(%__MODULE__{store: store}, options \\ []), do: result(:chunker_store.repair(store, options))

  defp handle(%__MODULE__{store: store}), do: store
  defp handle(%Session{session: session}), do: session

  defp handle(other),
    do: raise(ArgumentError, "expected a store or a session, got: " <> inspect(other, limit: 5))

  defp done(:ok), do: :ok
  defp done({:error, {reason, details}}), do: {:error, Error.new(reason, details)}

  defimpl Inspect do
    def inspect(%{location: location}, options),
      do: Inspect.Algebra.concat(["#Chunker.Store<", Inspect.Algebra.to_doc(location, options), ">"])
  end
end
