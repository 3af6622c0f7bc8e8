defmodule Chunker.Nar do
  @moduledoc """
  Nix archives (NARs): the form in which Nix packs, hashes and transports file system trees.

      {:ok, "sha256:" <> _} = Chunker.Nar.dump("/usr/lib/git-core", {:file, "git-core.nar"})

      {:ok, entries} = Chunker.Nar.list({:file, "git-core.nar"})
      for %{type: :regular} = entry <- entries, do: IO.puts([entry.path, " ", to_string(entry.size)])

      {:ok, bytes} = Chunker.Nar.read_file({:file, "git-core.nar"}, "git-merge-file")
      :ok = Chunker.Nar.restore({:file, "git-core.nar"}, "unpacked")

  ## Where a NAR comes from

  Functions that read a NAR take a `t:source/0`:

    * `{:file, path}`. Contents that are not needed are not read: listing a NAR of gigabytes takes
      milliseconds. A FIFO or a device is read until its writer closes it.
    * iodata: a binary or a list
    * any other enumerable of iodata, pieces of any size, such as `IO.binstream/2` or
      `Chunker.decompress_stream/2`:

          File.open!("git-core.nar.xz", fn file ->
            file |> IO.binstream(65_536) |> Chunker.decompress_stream() |> Chunker.Nar.restore("unpacked")
          end)

  Memory does not grow with the NAR, whatever its headers promise, except for the result. Killing the calling
  process cancels the work within 100 ms.

  ## One archive for a tree

  A tree has exactly one NAR, so that its hash identifies it. A NAR that Nix itself would not have written is
  refused with

      {:error, %Chunker.Error{reason: :invalid_nar, details: %{offset: offset, why: why}}}

  where `offset` is the first byte that cannot stand there, and `why` is one of

    * `:bad_magic` - it does not begin with the string `nix-archive-1`
    * `:bad_token` - a parenthesis or a word of the format does not stand where it must
    * `:name_empty`, `:name_too_long` - names have 1 to 255 bytes
    * `:name_invalid` - a name has no `/` and no NUL, and is neither `.` nor `..`
    * `:names_unsorted` - the names in a directory ascend strictly, compared as bytes
    * `:target_empty`, `:target_too_long` - targets of symbolic links have 1 to 4095 bytes
    * `:target_invalid` - a target has no NUL
    * `:contents_too_long` - contents end within the first 2^63 bytes
    * `:padding_nonzero` - the bytes that fill a string up to 8 are zero
    * `:too_deep` - a path has at most 63 names
    * `:trailing_data` - nothing follows the end
    * `:truncated` - the input ends too early; `offset` is its length

  Neither depends on how the input is split. A length that is out of range is where `offset` is the start of
  its 8 bytes, and a name that has no place there is where it is the start of the name.

  ## From Erlang

  Module `chunker_nar` has the same functions.
  """

  import Chunker.Input
  import Chunker.Result

  alias Chunker.{Chunk, Error}
  alias Chunker.Nar.Entry

  @typedoc "Where a NAR comes from: a file, iodata, or an enumerable of iodata."
  @type source :: {:file, Path.t()} | iodata() | Enumerable.t()

  @typedoc "A limit for the entries of a NAR; see `list/2`."
  @type limit :: {:max_entries | :max_memory, non_neg_integer() | :infinity}

  @typedoc """
  The references that were taken out of a chunk: the position in the chunk, in bytes, and the characters, at
  most 32.

  A hash that crosses the boundary of two chunks is in the table of each with its part.
  """
  @type references :: [{position :: non_neg_integer(), characters :: binary()}]

  @doc """
  Returns whether a binary begins as every NAR does, by its first 56 bytes.

  ## Examples

      iex> path = Path.join(System.tmp_dir!(), "chunker-doc-nar")
      iex> File.write!(path, "content")
      iex> path |> Chunker.Nar.stream() |> Enum.join() |> Chunker.Nar.nar?()
      true
      iex> File.rm!(path)
      iex> Chunker.Nar.nar?("nix-archive-1\\n")
      false

  """
  @spec nar?(binary()) :: boolean()
  defdelegate nar?(binary), to: :chunker_nar

  @doc """
  Returns all entries, in the order of the NAR: the root first, whose path is `""`.

  Time is linear in the size of the NAR, or in the number of its entries if it is a file. The list takes some
  200 bytes for each entry and its path.

  ## Options

    * `:max_entries` (`1_000_000`) - the maximum number of entries, or `:infinity`
    * `:max_memory` (`536_870_912`) - the maximum size of the list in bytes, or `:infinity`. An entry counts 256
      bytes, and its path and target

  A hostile NAR of 100 KB, compressed, has millions of entries. The limits are checked before an entry is stored.

  ## Errors

    * `:limit_exceeded` - `:option` and its `:limit`

    * `:invalid_nar` - `:offset`, `:why`; see the module's documentation
    * `:io_error`, `:file_changed` - as with `Chunker.chunk_file/2`

  ## Examples

      iex> folder = Path.join(System.tmp_dir!(), "chunker-doc-nar-list")
      iex> File.mkdir_p!(folder)
      iex> File.write!(Path.join(folder, "file"), "content")
      iex> {:ok, [root, file]} = folder |> Chunker.Nar.stream() |> Chunker.Nar.list()
      iex> {root.path, root.type}
      {"", :directory}
      iex> file
      %Chunker.Nar.Entry{path: "file", type: :regular, size: 7, offset: 232, executable: false, target: nil}
      iex> File.rm_rf!(folder)
      iex> {:error, error} = Chunker.Nar.list("something else")
      iex> {error.reason, error.details}
      {:invalid_nar, %{offset: 0, why: :bad_magic}}

  """
  @spec list(source(), [limit()]) :: {:ok, [Entry.t()]} | {:error, Error.t()}
  def list(source, options \\ []) do
    with {:ok, entries} <- result(:chunker_nar.list(source(source), options)) do
      {:ok, Enum.map(entries, &Map.merge(%Entry{path: nil, type: nil}, &1))}
    end
  end

  @doc """
  The same as `list/2`, but returns the entries and raises `Chunker.Error`.
  """
  @spec list!(source(), [limit()]) :: [Entry.t()]
  def list!(source, options \\ []), do: bang!(list(source, options))

  @doc """
  Returns the entries of a NAR as the JSON that Nix writes, byte for byte, without a line break at the end.

  ## Options

    * `:format` - `:json` (default) is what `nix nar ls --json --recursive` prints, and `:ls` is the `.ls` file of a
      binary cache, `{"version":1,"root":{...}}`
    * `:notation` - `:nix_2_8` (default) is that of Nix 2.8. `:newest` is that of newer versions, which sort the
      keys of each object: it is compared with Nix 2.26 and 2.34. Both mean the same
    * `:max_entries` and `:max_memory` - as with `list/2`; `:max_memory` is the size of the JSON

  Names and targets that are not UTF-8 are copied unchanged, although JSON cannot represent them. Nix 2.8 does
  the same, and newer versions refuse such a NAR; `list/2` returns them without that doubt.

  Fails as `list/2` does.

  ## Examples

      iex> folder = Path.join(System.tmp_dir!(), "chunker-doc-nar-listing")
      iex> File.mkdir_p!(folder)
      iex> File.write!(Path.join(folder, "file"), "content")
      iex> folder |> Chunker.Nar.stream() |> Chunker.Nar.listing!()
      ~s({"type":"directory","entries":{"file":{"type":"regular","size":7,"narOffset":232}}})
      iex> folder |> Chunker.Nar.stream() |> Chunker.Nar.listing!(format: :ls, notation: :newest)
      ~s({"root":{"entries":{"file":{"narOffset":232,"size":7,"type":"regular"}},"type":"directory"},"version":1})
      iex> File.rm_rf!(folder)
      iex> Chunker.Nar.nar?("")
      false

  """
  @spec listing(source(), [{:format, :json | :ls} | {:notation, :nix_2_8 | :newest} | limit()]) ::
          {:ok, binary()} | {:error, Error.t()}
  def listing(source, options \\ []), do: result(:chunker_nar.listing(source(source), options))

  @doc """
  The same as `listing/2`, but returns the JSON and raises `Chunker.Error`.
  """
  @spec listing!(source(), keyword()) :: binary()
  def listing!(source, options \\ []), do: bang!(listing(source, options))

  @doc """
  Returns the hash of a NAR as Nix prints it: `sha256:` and 52 characters. The NAR is validated in the same
  pass.

  Fails as `list/2` does, and with `:feature_disabled` if SHA-256 is not built in.

  ## Examples

      iex> path = Path.join(System.tmp_dir!(), "chunker-doc-nar-hash")
      iex> File.write!(path, "")
      iex> path |> Chunker.Nar.stream() |> Chunker.Nar.hash()
      {:ok, "sha256:0ip26j2h11n1kgkz36rl4akv694yz65hr72q4kv4b3lxcbi65b3p"}
      iex> File.rm!(path)
      :ok

  """
  @spec hash(source()) :: {:ok, String.t()} | {:error, Error.t()}
  def hash(source), do: result(:chunker_nar.hash(source(source)))

  @doc """
  The same as `hash/1`, but returns the hash and raises `Chunker.Error`.
  """
  @spec hash!(source()) :: String.t()
  def hash!(source), do: bang!(hash(source))

  @doc """
  Returns the contents of a regular file in a NAR.

  `path` is that of an entry, with or without a leading `/`. The NAR is validated up to the end of the file,
  and not read further; an enumerable is not enumerated further. The contents of other files are skipped, and
  not read if the NAR is a file.

  ## Errors

    * `:invalid_nar` - as with `list/2`
    * `:io_error` - `:path` is the path in the NAR and `:kind` is `:enoent` if it does not exist, `:eisdir`
      for a directory, and `:eloop` for a symbolic link, which is not followed; else as with `list/2`

  ## Examples

      iex> folder = Path.join(System.tmp_dir!(), "chunker-doc-nar-read-file")
      iex> File.mkdir_p!(folder)
      iex> File.write!(Path.join(folder, "file"), "content")
      iex> nar = folder |> Chunker.Nar.stream() |> Enum.join()
      iex> Chunker.Nar.read_file(nar, "file")
      {:ok, "content"}
      iex> {:error, error} = Chunker.Nar.read_file(nar, "another")
      iex> {error.reason, error.details}
      {:io_error, %{kind: :enoent, path: "another"}}
      iex> File.rm_rf!(folder)
      iex> Chunker.Nar.nar?(nar)
      true

  """
  @spec read_file(source(), Path.t()) :: {:ok, binary()} | {:error, Error.t()}
  def read_file(source, path), do: result(:chunker_nar.read_file(source(source), path!(path)))

  @doc """
  The same as `read_file/2`, but returns the contents and raises `Chunker.Error`.
  """
  @spec read_file!(source(), Path.t()) :: binary()
  def read_file!(source, path), do: bang!(read_file(source, path))

  @doc """
  Returns the chunks of a NAR, as `Chunker.chunk_file/2` with `nar: true` does, together with its hash, as
  `hash/1` returns it, and its size in bytes: the data that a binary cache needs for a package.

  The source is read once. One thread computes the hash of the whole while others find and hash the chunks.
  Chunks have no bytes, whatever the source.

  Takes the options of `Chunker.chunk_file/2`, without `:nar` and `:tar`. With `references: true` the hash is still that
  of the NAR as it is.

  ## Errors

    * `:invalid_nar` - as with `list/2`
    * `:invalid_options` - an option is out of range
    * `:io_error`, `:file_changed` - as with `Chunker.chunk_file/2`
    * `:feature_disabled` - as with `hash/1`

  ## Examples

      iex> path = Path.join(System.tmp_dir!(), "chunker-doc-nar-chunk")
      iex> File.write!(path, "")
      iex> hash = Chunker.Nar.dump!(path, {:file, path <> ".nar"})
      iex> {:ok, nar} = Chunker.Nar.chunk({:file, path <> ".nar"}, preset: :small_packages)
      iex> {nar.hash == hash, nar.size}
      {true, 112}
      iex> nar.chunks == Chunker.chunk_file!(path <> ".nar", nar: true)
      true
      iex> Enum.each([path, path <> ".nar"], &File.rm!/1)
      :ok

  """
  @spec chunk(source(), Chunker.options()) ::
          {:ok, %{chunks: [Chunk.t()], hash: String.t(), size: non_neg_integer()}} | {:error, Error.t()}
  def chunk(source, options \\ []), do: result(:chunker_nar.chunk(source(source), options, :struct))

  @doc """
  The same as `chunk/2`, but returns the map and raises `Chunker.Error`.
  """
  @spec chunk!(source(), Chunker.options()) :: %{
          chunks: [Chunk.t()],
          hash: String.t(),
          size: non_neg_integer()
        }
  def chunk!(source, options \\ []), do: bang!(chunk(source, options))

  @doc """
  Restores the references that were taken out of a chunk with `references: true`, and returns its original
  bytes.

  `references` is the chunk's field of that name; `nil` changes nothing. Positions ascend, and each reference
  has 1 to 32 characters. The table is checked before anything is copied.

  ## Errors

    * `:invalid_references` - the table does not belong to this chunk: no reference of this length was taken
      out at `:position`, or a reference before it covers the position

  ## Examples

      iex> Chunker.Nar.restore_references("bin: eeee", [{5, "6xg2"}])
      {:ok, "bin: 6xg2"}
      iex> {:error, error} = Chunker.Nar.restore_references("bin: eeee", [{4, "6xg2"}])
      iex> {error.reason, error.details}
      {:invalid_references, %{position: 4}}

  """
  @spec restore_references(iodata(), nil | references()) :: {:ok, binary()} | {:error, Error.t()}
  def restore_references(data, references),
    do: result(:chunker_nar.restore_references(data, references))

  @doc """
  The same as `restore_references/2`, but returns the bytes and raises `Chunker.Error`.
  """
  @spec restore_references!(iodata(), nil | references()) :: binary()
  def restore_references!(data, references), do: bang!(restore_references(data, references))

  @doc """
  Unpacks a NAR, as `nix-store --restore` does: the same files, executable bits and symbolic links.

  `dest` must not exist, and its parent directory must. The tree is written to a temporary sibling whose name
  begins with `.chunker-`, which is atomically renamed onto `dest` on success. After an error, or when the
  calling process is killed, the temporary tree is removed, also if descriptors are scarce or the parent directory
  was moved; only the end of the whole VM leaves it behind. On Linux the next `restore` or `dump` to the same path
  removes it, unless the machine was restarted or the file system has no locks. What is left after that
  is named `.chunker-`, 16 hexadecimal digits and perhaps a small number, and may be deleted when no VM writes there.

  Nothing is written anywhere else, whatever the NAR contains and whatever other programs do in the folder.
  Names that differ only in case are an error on a file system that ignores case.

  ## Errors

    * `:invalid_nar` - as with `list/2`
    * `:io_error` - `:kind` and `:path`, as it would be below `dest`: `:eexist` if something is at `dest`,
      `:enoent` if its directory is missing, `:enospc`, `:eacces`, ...; else as with `list/2`

  ## Examples

      iex> folder = Path.join(System.tmp_dir!(), "chunker-doc-nar-restore")
      iex> File.mkdir_p!(folder)
      iex> File.write!(Path.join(folder, "file"), "content")
      iex> folder |> Chunker.Nar.stream() |> Chunker.Nar.restore(folder <> "/unpacked")
      :ok
      iex> File.read(folder <> "/unpacked/file")
      {:ok, "content"}
      iex> {:error, error} = folder |> Chunker.Nar.stream() |> Chunker.Nar.restore(folder <> "/unpacked")
      iex> error.details.kind
      :eexist
      iex> match?([_ | _], File.rm_rf!(folder))
      true

  """
  @spec restore(source(), Path.t()) :: :ok | {:error, Error.t()}
  def restore(source, dest) do
    with {:error, {reason, details}} <- call(:chunker_nar.restore(source(source), path!(dest))),
         do: {:error, Error.new(reason, details)}
  end

  @doc """
  The same as `restore/2`, but raises `Chunker.Error`.
  """
  @spec restore!(source(), Path.t()) :: :ok
  def restore!(source, dest) do
    with {:error, error} <- restore(source, dest), do: raise(error)
  end

  @doc """
  Writes the tree at `path` as a NAR to a file, byte for byte as `nix-store --dump` does, and returns its hash
  as `hash/1` does, computed in the same pass.

  Symbolic links are not followed, including `path` itself. The NAR is written to a temporary sibling that is
  atomically renamed onto `into` on success; until then, and after an error, an existing file is unchanged. The new
  file keeps the mode of the old one, and its owner, group and access list if the process may set them; if it may
  not, group and others get only the permissions that both had. If `into` is inside the tree, the NAR holds the
  tree as it was before.

  With the option `on_change: :snapshot`, files in the tree may grow while they are read, as logs do: the NAR
  holds of each file what was in it when it was opened, which is not the whole tree at one moment. See
  `docs/changing-files.md`. By default a file that changes its length is an error.

  ## Errors

    * `:io_error` - `:kind` and `:path`: `:enotsup` for a socket, a FIFO or a device in the tree, which no NAR
      can hold; `:eexist` if `into` leads to something else than a regular file; whatever else reading and
      writing fail with
    * `:file_changed` - a file shrank or grew while it was read; with `on_change: :snapshot` only if it shrank;
      `:path`
    * `:tree_too_deep` - the tree is deeper than a NAR may be; `:path` is the first entry that is too deep, and
      `:limit` the maximum number of names from the root of the tree, 63
    * `:feature_disabled` - as with `hash/1`

  ## Examples

      iex> path = Path.join(System.tmp_dir!(), "chunker-doc-nar-dump")
      iex> File.write!(path, "")
      iex> Chunker.Nar.dump(path, {:file, path <> ".nar"})
      {:ok, "sha256:0ip26j2h11n1kgkz36rl4akv694yz65hr72q4kv4b3lxcbi65b3p"}
      iex> Chunker.Nar.hash({:file, path <> ".nar"})
      {:ok, "sha256:0ip26j2h11n1kgkz36rl4akv694yz65hr72q4kv4b3lxcbi65b3p"}
      iex> Enum.each([path, path <> ".nar"], &File.rm!/1)
      :ok

  """
  @spec dump(Path.t(), {:file, Path.t()}, [{:on_change, Chunker.on_change()}] | map()) ::
          {:ok, String.t()} | {:error, Error.t()}
  def dump(path, {:file, into}, options \\ []),
    do: result(:chunker_nar.dump(path!(path), {:file, path!(into)}, options))

  @doc """
  The same as `dump/3`, but returns the hash and raises `Chunker.Error`.
  """
  @spec dump!(Path.t(), {:file, Path.t()}, [{:on_change, Chunker.on_change()}] | map()) :: String.t()
  def dump!(path, into, options \\ []), do: bang!(dump(path, into, options))

  @doc """
  Returns the NAR of the tree at `path`, lazily, as binaries of up to 256 KiB.

  Nothing is opened before the stream is enumerated, and all files are closed when the consumer stops. Raises
  `Chunker.Error` while it is enumerated, for the reasons of `dump/3`, whose option it takes.

  ## Examples

  Chunk a tree, and store it compressed:

      "/usr/lib/git-core" |> Chunker.Nar.stream() |> Chunker.stream(compress: [codec: :zstd])

  """
  @spec stream(Path.t(), [{:on_change, Chunker.on_change()}] | map()) :: Enumerable.t()
  def stream(path, options \\ []) do
    path = path!(path)
    options = checked(:chunker_options.nar_dump(options))

    Stream.resource(
      fn ->
        bang!(
          with {:ok, on_change} <- options,
               do: to_result(:chunker_dispatch.nar_dump_open(path, on_change))
        )
      end,
      fn dump ->
        case :chunker_nar.next(dump) do
          {:ok, binary, dump} -> {[binary], dump}
          :done -> {:halt, dump}
          failure -> bang!(to_result(failure))
        end
      end,
      &:chunker_nar.close/1
    )
  end

  # As the Erlang face takes it.
  defp source({:file, path}), do: {:file, path!(path)}
  defp source(data) when is_binary(data) or is_list(data), do: data
  defp source(enumerable), do: {:fold, fn push, state -> Enum.reduce_while(enumerable, state, push) end}
end
