defmodule Chunker do
  @moduledoc """
  Content-defined chunking, hashing and compression.

  Chunker splits files, binaries and streams into chunks whose boundaries depend on the nearby content
  (FastCDC), and identifies each chunk by its digest (BLAKE3 or SHA-256). An insertion changes the chunks
  around it and no others, so a program that stores each chunk once stores only what is new. The engine is
  written in Rust and uses all cores, on dirty schedulers and threads of its own: long calls hold no scheduler.

      {:ok, chunks} = Chunker.chunk_file("/var/backups/db.tar")

      "/var/backups/db.tar"
      |> Chunker.stream()
      |> Stream.reject(&Store.has?(&1.hash))
      |> Enum.each(&Store.put(&1.hash, &1.data))

  ## Which function

    * `chunk_file/2` returns the chunks of a file without their bytes: to compare, to index, to find what is
      new. `read_chunk/3` then reads the bytes of single chunks.
    * `stream/2` returns chunks with their bytes, lazily and in bounded memory: to store them.
    * `chunk_data/2` returns the chunks of a binary with their bytes, without a copy.
    * `chunk_files/2` chunks many files in one call.
    * `hash/3`, `hash_file/3` and `hash_batch/2` return digests alone. `Chunker.Cache` keeps digests that were
      computed before.
    * `compress/2` and `decompress/2` take one binary, `compress_batch/2` and `decompress_batch/2` many,
      `compress_stream/2` and `decompress_stream/2` inputs larger than memory. `stream/2` compresses chunks in
      the same pass with its option `:compress`. `Chunker.Compressor` and `Chunker.Decompressor` work step by
      step.
    * `Chunker.Nar` reads, verifies, writes and chunks Nix archives.
    * `Chunker.NarInfo` reads, writes, signs and verifies the narinfo files of Nix's binary caches.

  ## Cut points are stable

  Cut points are those of FastCDC as crate `fastcdc` defines them (its module `v2020`), for every option, on
  every CPU and on any number of threads. Chunks that were stored years ago are found again as long as the
  options are the same, including `:seed`.

  ## Options

  Functions that chunk take these options, as a keyword list or a map:

    * `:avg_size` - bytes, 256 to 4,194,304: the average chunk size. Default: that of the preset, else
      1,048,576.
    * `:min_size` - bytes, 64 to 1,048,576; no chunk except the last is shorter (by one byte, if it is odd).
      Default: a quarter of `:avg_size`, which is 262,144.
    * `:max_size` - bytes, 1,024 to 16,777,216; no chunk is longer. Default: four times `:avg_size`, which is
      4,194,304. A minimum above the average and a maximum below it are out of range.
    * `:normalization` - 0 to 3: how strongly sizes gather around the average. Default: 1.
    * `:seed` - a 64-bit number that changes the cut points: for stores that are not to share chunks, and for
      tests. It hides nothing from an attacker; see below. Default: 0, the published table.
    * `:preset` - the three sizes by name: `:default` (128 KiB, 512 KiB and 2 MiB), `:large_packages` (256
      KiB, 1 MiB and 4 MiB) or `:small_packages` (32 KiB, 128 KiB and 512 KiB). They suit archives. A size
      that is given overrides that of the preset, and minimum and maximum follow an `:avg_size` that is given.
      Default: none, but `:default` with `nar: true` and `nar: :auto`.
    * `:nar` - `true` to chunk Nix archives along the files in them, and to refuse other inputs with
      `:invalid_nar`; `:auto` to do so if the whole input is a NAR, and to chunk other inputs as they are,
      with the same sizes. See below. Default: `false`.
    * `:tar` - `true` to chunk tars along the files in them, and other inputs as they are. Excludes `:nar`. See
      below. Default: `false`.
    * `:min_entry_size` - bytes, at least `:min_size`; with `:nar` or `:tar`, files in the archive of at least
      this size have chunks of their own. Default: twice `:avg_size`.
    * `:boundary_preference_distance` - bytes, 0 to `:min_size`; with `:nar` or `:tar`, another cut moves back
      to the end of a file that is less than this before it. Default: a quarter of `:avg_size`, at most
      `:min_size`.
    * `:entries` - with `:nar`, `true` to list in each chunk the entries of the archive that it touches, in
      its field of that name. Default: `false`.
    * `:max_entries`, `:max_memory` - with `:entries`, the limits for the entries of the whole archive, as in
      `Chunker.Nar.list/2`; beyond them the call fails with `:limit_exceeded`. Defaults: 1,000,000 and 512 MiB,
      and `:infinity` for a stream, which holds the entries of a few chunks at a time.
    * `:references` - with `:nar`, `true` to take store hashes out of the archive before it is chunked, so
      that rebuilt packages share chunks; each chunk lists what was taken out of it, in its field of that
      name. See below. Default: `false`.
    * `:hash` - `:blake3` or `:sha256`. Default: `:blake3`.
    * `:cache` - a `Chunker.Cache`, in which digests are looked up before they are computed, and which keeps
      those that are computed. Default: none.
    * `:on_change` - what a change of a regular file during the read means. `:error`: a file that shrinks or
      grows fails with `:file_changed`. `:snapshot`: a file is read up to the length that it had when it was
      opened, so it may grow, as logs do; one that is shorter in the end still fails. Bytes that are overwritten
      in place are noticed by neither; `docs/changing-files.md` says when to use which. Has no effect on
      inputs that are not files. Default: `:error`.
    * `:threads` - 1 to 1,024: the maximum number of threads for the call, including that of the caller.
      Default: the application's `config :chunker, threads: n`, else (`nil`) the number of dirty CPU
      schedulers online. That is also the size of the thread pool that all calls share, which the first call
      creates. The configuration applies whether or not the application is started, also in `bin/app eval` of
      a release. Any other value in it raises `ArgumentError` in every call that could use threads.

  Functions for many items also take these:

    * `:parallel_threshold` - with fewer items than this, one thread does all the work. Default: 4.
    * `:progress` - receives the number of items that are done. A pid, or a pid and a reference of yours,
      receives `{:chunker_progress, reference, done, total}`; a function of `done` and `total` is called in a
      process of its own, and if it raises, the call raises at the end. The first report is 0, the last one
      the total, with at most ten a second in between.

  An unknown option, and a value of the wrong type, raise `ArgumentError`. A value that is out of range
  returns `{:error, %Chunker.Error{reason: :invalid_options}}`.

  ## What a seed is not

  A seed selects another table for the rolling hash, and so other cut points. Two stores with different seeds
  share no chunks, and a test can show that its result does not depend on particular cut points.

  It is no secret key. Encryption does not hide the lengths of chunks, and an attacker who sees them can recognize
  content and learn the parameters that were to be secret. Attacks on content-defined chunkers with a key are
  published ([eprint 2025/532](https://eprint.iacr.org/2025/532), [eprint 2025/558](https://eprint.iacr.org/2025/558)). Where
  lengths must reveal nothing, use chunks of one size, or pad them.

  ## Nix archives

  With `nar: true` a large file in a NAR yields the same chunks in every NAR, whatever surrounds it:

      iex> path = Path.join(System.tmp_dir!(), "chunker-doc-nar")
      iex> content = :rand.bytes(2_000_000)
      iex> File.write!(path, content)
      iex> nar = path |> Chunker.Nar.stream() |> Enum.join()
      iex> {:ok, [_header | chunks]} = Chunker.chunk_data(nar, nar: true)
      iex> {:ok, alone} = Chunker.chunk_data(content, preset: :default)
      iex> Enum.map(alone, & &1.hash) -- Enum.map(chunks, & &1.hash)
      []
      iex> {:error, error} = Chunker.chunk_file(path, nar: true)
      iex> {error.reason, error.details}
      {:invalid_nar, %{offset: 0, why: :bad_magic}}
      iex> Chunker.chunk_file(path, nar: :auto) == Chunker.chunk_file(path, preset: :default)
      true
      iex> File.rm!(path)
      :ok

  Only its last byte shows whether an input is a NAR. With `nar: :auto` the input is therefore read twice, the
  first time without the contents of the files in it. An input that can be read only once (a FIFO, a device,
  an enumerable) is refused with `:invalid_options`: write it to a file first, or use `true` or `false`. With
  `nar: true` a stream returns chunks before the rest is known to be valid.

  With `entries: true` each chunk lists the files that it has parts of, and where: a binary cache can then
  serve a single file and find what is new in a version. A result has a whole path for each entry, shared by
  consecutive chunks that touch it. A stream makes the paths of one chunk at a time: usually some KiB, but the
  longest possible path has 16 KiB and the smallest entry 168 bytes, so a hostile NAR takes up to a hundred
  times `:max_size` for each chunk that is not yet collected. `:max_entries` and `:max_memory` bound the
  entries of the whole archive; give them to a stream of NARs from untrusted sources.

  With `references: true` the 32 characters after each `/nix/store/` are replaced by `e`, which no hash
  contains, before the archive is chunked and hashed. Each chunk has what was replaced, a list of `{position,
  characters}`. Keep it with the chunk's place in the archive, not with its bytes;
  `Chunker.Nar.restore_references/2` puts it back:

      iex> path = Path.join(System.tmp_dir!(), "chunker-doc-references")
      iex> [one, two] =
      ...>   for hash <- ["6xg259477c90a229xwmb53pdfkn6ig3g", "aw2fw9ag10wr9pf0qk4nk5sxi0q0bn56"] do
      ...>     File.write!(path, ["#!/nix/store/", hash, "-bash-5.2/bin/sh"])
      ...>     nar = path |> Chunker.Nar.stream() |> Enum.join()
      ...>     {:ok, [chunk]} = Chunker.chunk_data(nar, nar: true, references: true)
      ...>     {:ok, ^nar} = Chunker.Nar.restore_references(chunk.data, chunk.references)
      ...>     chunk
      ...>   end
      iex> one.hash == two.hash
      true
      iex> two.references
      [{109, "aw2fw9ag10wr9pf0qk4nk5sxi0q0bn56"}]
      iex> File.rm!(path)
      :ok

  `docs/nar-chunking.md` describes how NARs are cut, and the effect. `Chunker.Nar.chunk/2` returns the hash of
  the archive in the same pass.

  ## Tars

  With `tar: true` a large file in a tar yields the same chunks in every tar, whatever surrounds it and whatever
  its header says, and the same as by itself:

      iex> path = Path.join(System.tmp_dir!(), "chunker-doc-tar")
      iex> content = :rand.bytes(4_000_000)
      iex> :ok = :erl_tar.create(String.to_charlist(path), [{~c"a file", content}])
      iex> {:ok, [_header | chunks]} = Chunker.chunk_file(path, tar: true)
      iex> {:ok, alone} = Chunker.chunk_data(content)
      iex> Enum.map(alone, & &1.hash) -- Enum.map(chunks, & &1.hash)
      []
      iex> File.rm!(path)
      :ok

  It never fails and needs the input only once: from the first block on that is not part of a tar, the input is
  chunked as without it. A tar must not be compressed. `docs/tar-chunking.md` has the formats, the rules and the
  effect.

  ## From Erlang

  Module `chunker` has the same functions for Erlang, and needs no Elixir at run time. `h :chunker` shows its
  documentation.
  """

  import Chunker.Input
  import Chunker.Result

  alias Chunker.{Chunk, Error}

  @typedoc "A digest: 32 bytes."
  @type digest :: <<_::256>>

  @typedoc "A hash function."
  @type algorithm :: :blake3 | :sha256

  @typedoc "A compression codec."
  @type codec :: :zstd | :lz4 | :xz | :bzip2 | :gzip | :brotli

  @typedoc "A codec that decompresses. `:lzma` does nothing else."
  @type readable_codec :: codec() | :lzma

  @typedoc "The receiver of progress reports; see the module's documentation."
  @type progress ::
          pid() | {pid(), reference()} | (done :: non_neg_integer(), total :: non_neg_integer() -> term())

  @typedoc "An option of a function for many items; see the module's documentation."
  @type batch_option ::
          {:threads, pos_integer()}
          | {:parallel_threshold, non_neg_integer()}
          | {:progress, nil | progress()}

  @typedoc "An option of `compress/2`."
  @type compression_option ::
          {:codec, codec()}
          | {:strategy, :fastest | :balanced | :smallest}
          | {:level, integer()}
          | {:dictionary, nil | binary()}

  @typedoc "An option of `decompress/2`."
  @type decompression_option ::
          {:codec, :auto | readable_codec()}
          | {:max_output_size, non_neg_integer() | :infinity}
          | {:max_memory, non_neg_integer() | :infinity}
          | {:trailing, :error | :ignore}
          | {:dictionary, nil | binary()}

  @typedoc "What a change of a file during the read means; see the module's documentation."
  @type on_change :: :error | :snapshot

  @typedoc "An option of `hash_file/3`."
  @type hash_file_option :: {:on_change, on_change()} | {:cache, nil | Chunker.Cache.t()}

  @typedoc "An option of a function that chunks; see the module's documentation."
  @type option ::
          {:min_size, pos_integer()}
          | {:avg_size, pos_integer()}
          | {:max_size, pos_integer()}
          | {:normalization, 0..3}
          | {:seed, non_neg_integer()}
          | {:preset, nil | :default | :large_packages | :small_packages}
          | {:nar, boolean() | :auto}
          | {:tar, boolean()}
          | {:min_entry_size, nil | non_neg_integer()}
          | {:boundary_preference_distance, nil | non_neg_integer()}
          | {:entries, boolean()}
          | {:references, boolean()}
          | {:max_entries | :max_memory, non_neg_integer() | :infinity}
          | {:hash, algorithm()}
          | {:cache, nil | Chunker.Cache.t()}
          | {:on_change, on_change()}
          | {:threads, pos_integer()}

  @type options :: [option()] | %{optional(atom()) => term()}

  # Pieces of a stream are gathered up to this size, in bytes: a call of the engine costs some microseconds.
  @gather 65_536

  @doc """
  Returns the chunks of a file, in order, without their bytes.

  Time is linear in the size of the file. Memory does not grow with it, except for the list of chunks: some
  250 bytes for each. All threads read, scan and hash parts of the file.

  A FIFO, a terminal or a device is read until its writer closes it. Killing the calling process cancels the
  work within 100 ms.

  ## Errors

    * `:io_error` - the file cannot be opened or read: `:kind` (`:enoent`, `:eacces`, `:eisdir`, ...)
    * `:file_changed` - a regular file shrank or grew while it was read; with `on_change: :snapshot` only if it
      shrank
    * `:invalid_nar` - with `nar: true`, the file is not a NAR: `:offset`, `:why`; with `nar: :auto` only if
      it changed between the two reads
    * `:invalid_options` - an option is out of range, or `nar: :auto` and the file can be read only once

  ## Examples

      iex> path = Path.join(System.tmp_dir!(), "chunker-doc-chunk-file")
      iex> File.write!(path, String.duplicate("content ", 100_000))
      iex> {:ok, chunks} = Chunker.chunk_file(path, min_size: 65_536, avg_size: 131_072, max_size: 262_144)
      iex> Enum.map(chunks, &{&1.offset, &1.length})
      [{0, 262_144}, {262_144, 262_144}, {524_288, 262_144}, {786_432, 13_568}]
      iex> File.rm!(path)
      iex> {:error, error} = Chunker.chunk_file(path)
      iex> {error.reason, error.details.kind}
      {:io_error, :enoent}

  """
  @spec chunk_file(Path.t(), options()) :: {:ok, [Chunk.t()]} | {:error, Error.t()}
  def chunk_file(path, options \\ []), do: result(:chunker.chunk_file(path!(path), options, :struct))

  @doc """
  The same as `chunk_file/2`, but returns the chunks and raises `Chunker.Error`.
  """
  @spec chunk_file!(Path.t(), options()) :: [Chunk.t()]
  def chunk_file!(path, options \\ []), do: bang!(chunk_file(path, options))

  @doc """
  Reads the bytes of a chunk that `chunk_file/2` returned, and checks them against the chunk's digest.

  `chunk_file/2` is the fastest way to find the chunks of a file that are new; this reads only those. The
  option `:hash` must be the algorithm that the file was chunked with. The references that were taken out of
  the chunk with `references: true` are taken out again.

  ## Errors

    * `:io_error` - as with `chunk_file/2`
    * `:file_changed` - the bytes at this place differ from those that were chunked
    * `:bounds_check_failed` - the file ends before the chunk does: `:offset`, `:length`, `:data_length`
    * `:buffer_limit_exceeded` - the length exceeds that of any chunk: `:attempted`, `:limit`

  ## Examples

      iex> path = Path.join(System.tmp_dir!(), "chunker-doc-read-chunk")
      iex> File.write!(path, "content")
      iex> [chunk] = Chunker.chunk_file!(path)
      iex> Chunker.read_chunk(path, chunk)
      {:ok, "content"}
      iex> File.write!(path, "CONTENT")
      iex> {:error, error} = Chunker.read_chunk(path, chunk)
      iex> error.reason
      :file_changed
      iex> File.rm!(path)
      :ok

  """
  @spec read_chunk(Path.t(), Chunk.t(), [{:hash, algorithm()}] | map()) ::
          {:ok, binary()} | {:error, Error.t()}
  def read_chunk(path, %Chunk{} = chunk, options \\ []),
    do: result(:chunker.read_chunk(path!(path), chunk, options))

  @doc """
  The same as `read_chunk/3`, but returns the bytes and raises `Chunker.Error`.
  """
  @spec read_chunk!(Path.t(), Chunk.t(), [{:hash, algorithm()}] | map()) :: binary()
  def read_chunk!(path, chunk, options \\ []), do: bang!(read_chunk(path, chunk, options))

  @doc """
  Returns the chunks of many files: a result for each path, in the order of the paths, as `chunk_file/2`
  returns it.

  A file that fails does not affect the others. If there are at least `:parallel_threshold` files, each is
  chunked by one thread, the largest first, with no more files open than threads; fewer files are chunked one
  after the other by all threads. FIFOs and devices come last, one after the other.

  An option that is out of range is an error of the call.

  ## Examples

      iex> path = Path.join(System.tmp_dir!(), "chunker-doc-chunk-files")
      iex> File.write!(path, "content")
      iex> {:ok, [{:ok, [chunk]}, {:error, error}]} = Chunker.chunk_files([path, "/no/such/file"])
      iex> {chunk.length, error.details.kind}
      {7, :enoent}
      iex> File.rm!(path)
      :ok

  """
  @spec chunk_files([Path.t()], [option() | batch_option()] | map()) ::
          {:ok, [{:ok, [Chunk.t()]} | {:error, Error.t()}]} | {:error, Error.t()}
  def chunk_files(paths, options \\ []) when is_list(paths),
    do: items(result(:chunker.chunk_files(Enum.map(paths, &path!/1), options, :struct)))

  @doc """
  The same as `chunk_files/2`, but returns the chunks of each file and raises the first `Chunker.Error`.
  """
  @spec chunk_files!([Path.t()], [option() | batch_option()] | map()) :: [[Chunk.t()]]
  def chunk_files!(paths, options \\ []), do: all!(chunk_files(paths, options))

  @doc """
  Returns the chunks of a binary or an iolist, with their bytes.

  The `:data` of each chunk is a sub-binary of the input: nothing is copied, and the input stays in memory as
  long as any chunk of it. Use `:binary.copy/1` to keep a few chunks of a large binary. A list is first joined
  to one binary.

  ## Examples

      iex> data = :binary.copy(<<0>>, 10_000)
      iex> {:ok, chunks} = Chunker.chunk_data(data, min_size: 1024, avg_size: 2048, max_size: 4096)
      iex> Enum.map(chunks, & &1.length)
      [4096, 4096, 1808]
      iex> IO.iodata_to_binary(Enum.map(chunks, & &1.data)) == data
      true
      iex> Chunker.chunk_data("")
      {:ok, []}
      iex> {:error, error} = Chunker.chunk_data("hello", avg_size: 1)
      iex> Exception.message(error)
      "option :avg_size is 1, but must be 256..4194304"

  """
  @spec chunk_data(iodata(), options()) :: {:ok, [Chunk.t()]} | {:error, Error.t()}
  def chunk_data(data, options \\ []), do: result(:chunker.chunk_data(data, options, :struct))

  @doc """
  The same as `chunk_data/2`, but returns the chunks and raises `Chunker.Error`.
  """
  @spec chunk_data!(iodata(), options()) :: [Chunk.t()]
  def chunk_data!(data, options \\ []), do: bang!(chunk_data(data, options))

  @doc """
  Returns the chunks of a file or of any enumerable of iodata, with their bytes, lazily.

  A binary is the path of a file. Anything else is an enumerable whose elements are the input, in order and in
  pieces of any size: `IO.binstream/2`, a list of binaries, the streamed body of an HTTP request.

  Nothing is opened before the stream is enumerated. Memory stays below four times `:max_size` and a few MiB
  for each thread, twice that with `:entries`, plus what the consumer keeps. The engine works ahead within
  these bounds while the consumer works. When the consumer stops, or dies, the file is closed and the work
  ends.

  The bytes are the VM's: they are charged to the process that holds them, which has its garbage collected as
  they add up, and `:erlang.memory(:binary)` counts them.

  With `compress: options`, a keyword list of `:codec`, `:strategy`, `:level` and `:dictionary` as
  `compress/2` takes them, each chunk has its `:compressed` filled, by the threads that hash it.

  Input is buffered up to 64 KiB, or up to `:avg_size` if that is less, which adds that much latency for slow
  producers.

  Raises `Chunker.Error` while it is enumerated, for the reasons of `chunk_file/2`, including
  `:invalid_options`.

  ## Examples

      iex> ["he", ["l", "lo"], ""] |> Chunker.stream() |> Enum.map(& &1.data)
      ["hello"]

      iex> Stream.repeatedly(fn -> :binary.copy(<<0>>, 1_000_000) end)
      ...> |> Chunker.stream()
      ...> |> Stream.map(& &1.length)
      ...> |> Enum.take(2)
      [4_194_304, 4_194_304]

      iex> [chunk] = ["hello"] |> Chunker.stream(compress: [codec: :zstd]) |> Enum.to_list()
      iex> Chunker.decompress(chunk.compressed)
      {:ok, "hello"}

  Store the chunks of a file that are not there yet:

      "/var/backups/db.tar"
      |> Chunker.stream(hash: :sha256, compress: [level: 3])
      |> Stream.reject(&Store.has?(&1.hash))
      |> Enum.each(&Store.put(&1.hash, &1.compressed))

  """
  @spec stream(Path.t() | Enumerable.t(), [option() | {:compress, nil | [compression_option()]}] | map()) ::
          Enumerable.t()
  def stream(path_or_enumerable, options \\ [])

  def stream(path, options) when is_binary(path) do
    # Mistakes of the programmer are raised at once; errors of the system when the stream runs.
    options = checked(:chunker_options.stream(options))

    Stream.resource(
      fn ->
        bang!(with {:ok, options} <- options, do: to_result(:chunker_dispatch.open_file(path, options)))
      end,
      fn stream ->
        case bang!(to_result(:chunker_dispatch.next(stream))) do
          [] -> {:halt, stream}
          chunks -> {chunks, stream}
        end
      end,
      &:chunker_dispatch.close/1
    )
    |> Stream.map(&:chunker_chunk.one(:struct, &1))
  end

  def stream(enumerable, options) do
    checked = checked(:chunker_options.stream(options))
    gather = gather(options)

    enumerable
    |> pieces(gather)
    |> Stream.transform(
      fn -> bang!(with {:ok, options} <- checked, do: to_result(:chunker_dispatch.open_pieces(options))) end,
      fn piece, stream -> {bang!(to_result(:chunker_dispatch.push(stream, piece))), stream} end,
      fn stream -> {bang!(to_result(:chunker_dispatch.finish(stream))), stream} end,
      &:chunker_dispatch.close/1
    )
    |> Stream.map(&:chunker_chunk.one(:struct, &1))
  end

  @doc """
  Returns the digest of a binary or an iolist: 32 bytes.

  Up to 64 KiB are hashed on the scheduler of the caller, up to 1 MiB on a dirty one, and more in a thread of the
  library. Time is linear in the length of the data. Raises `Chunker.Error` with `:feature_disabled` if the
  algorithm is not built in.

  The option `:cache` is a `Chunker.Cache` in which contents of 2 KiB to 1 GiB are looked up, as with
  `hash_batch/2`: a content that is known costs a fingerprint instead of a digest, which is a fifth of the time
  with BLAKE3 and a twelfth with SHA-256, and one that is not known costs both. Shorter and longer ones are hashed,
  and are neither counted nor kept.

  ## Examples

      iex> Chunker.hash("abc", :sha256) == :crypto.hash(:sha256, "abc")
      true
      iex> "abc" |> Chunker.hash(:blake3) |> Chunker.to_hex()
      "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"

  """
  @spec hash(iodata(), algorithm(), [{:cache, nil | Chunker.Cache.t()}] | map()) :: digest()
  def hash(data, algorithm, options \\ []), do: call(:chunker.hash(data, algorithm, options))

  @doc """
  Returns the digest of a file, in 1 MiB of memory. Fails as `chunk_file/2` does.

  Raises `Chunker.Error` with `:feature_disabled` if the algorithm is not built in, as `hash/3` does.

  ## Options

    * `:on_change` - as in `chunk_file/2`
    * `:cache` - a `Chunker.Cache` in which the content of the file is looked up, if it has 2 KiB to 1 GiB. It is
      read to find out whether it is known, so a lookup saves the digest but no reading; and a file of at least
      1 MiB that is not known is read a second time, with a fingerprint and a digest. It pays for SHA-256 and
      files that are mostly known and in the page cache. The digest that is stored is always that of the bytes
      that were fingerprinted in the same read. Non-seekable files, and in a cache with `verify: :content` files of at
      least 1 MiB, are hashed without a lookup. Default: none

  ## Examples

      iex> {:ok, digest} = Chunker.hash_file("/dev/null", :sha256)
      iex> Chunker.to_nix_base32(digest)
      "0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73"

  """
  @spec hash_file(Path.t(), algorithm(), [hash_file_option()] | map()) ::
          {:ok, digest()} | {:error, Error.t()}
  def hash_file(path, algorithm, options \\ []),
    do: result(:chunker.hash_file(path!(path), algorithm, options))

  @doc """
  The same as `hash_file/3`, but returns the digest and raises `Chunker.Error`.
  """
  @spec hash_file!(Path.t(), algorithm(), [hash_file_option()] | map()) :: digest()
  def hash_file!(path, algorithm, options \\ []), do: bang!(hash_file(path, algorithm, options))

  @doc """
  Returns the digests of many items, in order, computed on several threads.

  `:hash` is the algorithm, and `:cache` may be a `Chunker.Cache` that has some of the digests. The call fails
  if an option is out of range.

  ## Examples

      iex> {:ok, digests} = Chunker.hash_batch(["a", ["b", "c"]], hash: :sha256)
      iex> digests == Enum.map(["a", "bc"], &:crypto.hash(:sha256, &1))
      true

  """
  @spec hash_batch(
          [iodata()],
          [{:hash, algorithm()} | {:cache, nil | Chunker.Cache.t()} | batch_option()] | map()
        ) ::
          {:ok, [digest()]} | {:error, Error.t()}
  def hash_batch(items, options \\ []) when is_list(items), do: result(:chunker.hash_batch(items, options))

  @doc """
  The same as `hash_batch/2`, but returns the digests and raises `Chunker.Error`.
  """
  @spec hash_batch!(
          [iodata()],
          [{:hash, algorithm()} | {:cache, nil | Chunker.Cache.t()} | batch_option()] | map()
        ) :: [digest()]
  def hash_batch!(items, options \\ []), do: bang!(hash_batch(items, options))

  @doc """
  Compresses data into the format of its codec's official program.

  ## Options

    * `:codec` - `:zstd` (the default), `:lz4`, `:xz`, `:bzip2`, `:gzip` or `:brotli`
    * `:level` - for zstd -131,072 to 22 (default 3), for xz and gzip 0 to 9 (default 6), for bzip2 1 to 9
      (default 6), for brotli 0 to 11 (default 6; 11, the default of the `brotli` program, is many times
      slower); lz4 has the level 1 alone
    * `:strategy` - in place of these: `:fastest` (lz4), `:balanced` (zstd 3), or `:smallest`, which tries several
      codecs and keeps the smallest result; see below
    * `:dictionary` - one of `train_dictionary/2`, or any data that resembles yours; zstd and lz4 only, of which lz4
      uses its last 64 KiB, as `lz4 -D` does
    * `:fallback` - `true` to compress with lz4 if the codec fails or is not built in. `detect_format/1` of
      the result returns the codec that was used, except brotli, which it cannot detect. Default: `false`

  Every codec except brotli writes checksums. The header of gzip holds neither a name nor a time. Killing the
  calling process cancels the work within 100 ms; with brotli 10 and 11 within half a second; with zstd from
  level 16 on within a quarter of a second, and above 19 within a second if the content has many MiB, since
  its library cannot be cancelled while it builds its tables.

  ## The smallest result

  With `strategy: :smallest` the data is compressed with zstd 22 and 18, gzip 9, `xz -9`, `xz -9e` and bzip2 9, as
  far as they are built in, one after the other, and the smallest result is kept. brotli is not tried, since
  `:auto` does not find its streams on decompression.

  That takes two to four seconds of a core for each MiB, where `:balanced` takes some milliseconds, and the
  memory of the codec that needs most: some 20 times the data up to 16 MiB, and for more data up to one GiB.
  `mix run bench/smallest.exs FILE` measures both. The chunks of `stream/2` and the items of `compress_batch/2` are
  compressed like that too, as many at a time as there are threads. `compress_stream/2` and `Chunker.Compressor`
  do not have the data as a whole and use xz 6, or zstd 19 if xz is not built in. A codec that gets no memory is left
  out, and a dictionary is an error.

  ## Errors

    * `:invalid_options` - a level that the codec does not have, or a dictionary for a codec or a strategy that takes
      none
    * `:feature_disabled` - the codec is not built in; `:feature`
    * `:compression_failed` - in practice, no memory; `:codec`, `:why`

  ## Examples

      iex> {:ok, compressed} = Chunker.compress("content")
      iex> Chunker.decompress(compressed)
      {:ok, "content"}
      iex> {:ok, compressed} = Chunker.compress("content", codec: :xz, fallback: true)
      iex> Chunker.detect_format(compressed)
      {:ok, :xz}
      iex> {:error, error} = Chunker.compress("content", codec: :xz, level: 10)
      iex> Exception.message(error)
      "option :level is 10, but must be 0..9"

  """
  @spec compress(iodata(), [compression_option() | {:fallback, boolean()}] | map()) ::
          {:ok, binary()} | {:error, Error.t()}
  def compress(data, options \\ []), do: result(:chunker.compress(data, options))

  @doc """
  The same as `compress/2`, but returns what was compressed and raises `Chunker.Error`.
  """
  @spec compress!(iodata(), [compression_option() | {:fallback, boolean()}] | map()) :: binary()
  def compress!(data, options \\ []), do: bang!(compress(data, options))

  @doc """
  Decompresses all of the data: several streams, frames or gzip members, one after the other, are one content.
  Data of brotli and `.lzma` is a single stream, and without a checksum: damage can pass unnoticed. Legacy
  frames of lz4 (`lz4 -l`, Linux kernels) have no checksum either, and no mark of their end.

  ## Options

    * `:codec` - `:auto` (the default: detected by the first bytes), `:zstd`, `:lz4`, `:xz`, `:bzip2`, `:gzip`,
      `:lzma` (`.lzma` files), or `:brotli`, whose streams have no magic and which `:auto` therefore never finds
    * `:max_output_size` - in bytes, or `:infinity`: exactly so many pass, one more is `:size_exceeded`. Default:
      1 GiB. Memory stays within it too, whatever a header promises
    * `:max_memory` - in bytes, or `:infinity`: the largest window that is allocated. Default: 128 MiB. zstd has
      windows of up to 2 GiB (`zstd --long=31`), xz and `.lzma` of up to 4 GiB, and brotli of up to 1 GiB
      (`brotli --large_window=30`). lz4, bzip2 and gzip never need more than 32 MiB and ignore the limit
    * `:trailing` - `:error` (the default), or `:ignore` to ignore bytes after the last stream or frame that
      begin no other one, as `bzip2 -d` does; `decompress_prefix/2` returns their number. Bytes that begin
      another stream and end too early are `:truncated` in any case. Zeros after an xz stream are part of the
      format in units of four. The compressed part of a Linux kernel needs `:ignore`, since its length follows it
    * `:dictionary` - the one that the data was compressed with; zstd and lz4 only. To data that `:auto` detects as
      another format it does not apply, which is an error. A frame of lz4 does not say that it needs one; without
      it, it is `:corrupt`

  ## Errors

    * `:decompression_failed` - `:codec`, and `:why`: `:truncated`, `:corrupt`, `:checksum_mismatch`,
      `:trailing_data` (with `:offset`, that of the first byte), `:bad_magic`, `:memory_limit` (with `:option`,
      which is `:max_memory`, the bytes `:needed`, and the `:limit`), `:dictionary_missing`, `:dictionary_wrong`,
      `:dictionary_inapplicable`, ...
    * `:size_exceeded` - `:limit`
    * `:unknown_format` - `:magic`, the first bytes there are
    * `:feature_disabled`, `:invalid_options`

  ## Examples

      iex> "content" |> Chunker.compress!(codec: :bzip2) |> Chunker.decompress()
      {:ok, "content"}
      iex> {:error, error} = Chunker.decompress("what is this?")
      iex> {error.reason, error.details}
      {:unknown_format, %{magic: "what"}}
      iex> {:error, error} = "content" |> Chunker.compress!() |> Chunker.decompress(max_output_size: 6)
      iex> {error.reason, error.details}
      {:size_exceeded, %{limit: 6}}

  """
  @spec decompress(iodata(), [decompression_option()] | map()) :: {:ok, binary()} | {:error, Error.t()}
  def decompress(data, options \\ []), do: result(:chunker.decompress(data, options))

  @doc """
  The same as `decompress/2`, but returns the content and raises `Chunker.Error`.
  """
  @spec decompress!(iodata(), [decompression_option()] | map()) :: binary()
  def decompress!(data, options \\ []), do: bang!(decompress(data, options))

  @doc """
  Decompresses the streams or frames at the front of the data, and returns their content and the number of bytes
  after them, which are ignored.

  This is `decompress/2` with `trailing: :ignore`, and takes the other options of that function.

  ## Examples

      iex> Chunker.decompress_prefix(Chunker.compress!("content") <> <<0, 0, 0>>)
      {:ok, {"content", 3}}

  """
  @spec decompress_prefix(iodata(), [decompression_option()] | map()) ::
          {:ok, {content :: binary(), ignored :: non_neg_integer()}} | {:error, Error.t()}
  def decompress_prefix(data, options \\ []), do: result(:chunker.decompress_prefix(data, options))

  @doc """
  The same as `decompress_prefix/2`, but returns the pair and raises `Chunker.Error`.
  """
  @spec decompress_prefix!(iodata(), [decompression_option()] | map()) ::
          {content :: binary(), ignored :: non_neg_integer()}
  def decompress_prefix!(data, options \\ []), do: bang!(decompress_prefix(data, options))

  @doc """
  Compresses many items in one call, on several threads, and returns a result for each, in order.

  Takes the options of `compress/2`, except `:fallback`, and those for many items. An option that is out of
  range is an error of the call.

  ## Examples

      iex> {:ok, [{:ok, one}, {:ok, _two}]} = Chunker.compress_batch(["one", "two"], codec: :lz4)
      iex> Chunker.detect_format(one)
      {:ok, :lz4}

  """
  @spec compress_batch([iodata()], [compression_option() | batch_option()] | map()) ::
          {:ok, [{:ok, binary()} | {:error, Error.t()}]} | {:error, Error.t()}
  def compress_batch(items, options \\ []) when is_list(items),
    do: items(result(:chunker.compress_batch(items, options)))

  @doc """
  The same as `compress_batch/2`, but returns what was compressed and raises the first `Chunker.Error`.
  """
  @spec compress_batch!([iodata()], [compression_option() | batch_option()] | map()) :: [binary()]
  def compress_batch!(items, options \\ []), do: all!(compress_batch(items, options))

  @doc """
  Decompresses many items in one call, on several threads, and returns a result for each, in order.

  Takes the options of `decompress/2`, of which `:max_output_size` applies to each item, and those for many
  items. An option that is out of range is an error of the call. A batch does not return how many bytes
  `trailing: :ignore` has ignored; `decompress_prefix/2` does.

  ## Examples

      iex> {:ok, [good, bad]} = Chunker.decompress_batch([Chunker.compress!("content"), "nonsense"])
      iex> good
      {:ok, "content"}
      iex> {:error, error} = bad
      iex> error.reason
      :unknown_format

  """
  @spec decompress_batch([iodata()], [decompression_option() | batch_option()] | map()) ::
          {:ok, [{:ok, binary()} | {:error, Error.t()}]} | {:error, Error.t()}
  def decompress_batch(items, options \\ []) when is_list(items),
    do: items(result(:chunker.decompress_batch(items, options)))

  @doc """
  The same as `decompress_batch/2`, but returns the contents and raises the first `Chunker.Error`.
  """
  @spec decompress_batch!([iodata()], [decompression_option() | batch_option()] | map()) :: [binary()]
  def decompress_batch!(items, options \\ []), do: all!(decompress_batch(items, options))

  @doc """
  Compresses an enumerable of iodata, lazily and in bounded memory, into a stream of nonempty binaries.

  Takes the options of `compress/2`, except `:fallback`. Raises `Chunker.Error` while it is enumerated. The
  codec's memory is freed when the consumer stops.

  ## Examples

      iex> ["some ", ["con", "tent"]] |> Chunker.compress_stream() |> Enum.join() |> Chunker.decompress()
      {:ok, "some content"}

  Compress a file into another:

      File.open!("db.tar", fn file ->
        file
        |> IO.binstream(65_536)
        |> Chunker.compress_stream(codec: :xz)
        |> Stream.into(File.stream!("db.tar.xz"))
        |> Stream.run()
      end)

  """
  @spec compress_stream(Enumerable.t(), [compression_option()] | map()) :: Enumerable.t()
  def compress_stream(enumerable, options \\ []) do
    compression = checked(:chunker_options.compressor(options))

    enumerable
    |> pieces(@gather)
    |> Stream.transform(
      fn ->
        bang!(
          with {:ok, compression} <- compression,
               do: to_result(:chunker_dispatch.open_compressor(compression))
        )
      end,
      fn piece, coder ->
        {filled(bang!(to_result(:chunker_dispatch.compress_update(coder, piece)))), coder}
      end,
      fn coder -> {filled([bang!(to_result(:chunker_dispatch.compress_finish(coder)))]), coder} end,
      &:chunker_dispatch.close_compressor/1
    )
  end

  @doc """
  Decompresses an enumerable of iodata, lazily and in bounded memory, into a stream of nonempty binaries of at
  most 1 MiB.

  Takes the options of `decompress/2`. `:max_output_size` applies to the whole content and is `:infinity` by
  default; give it for content that comes from others and is kept. Raises `Chunker.Error` while it is
  enumerated, at the end if the input is truncated. The codec's memory is freed when the consumer stops.

  A stream does not return how many bytes `trailing: :ignore` has ignored; `Chunker.Decompressor.ignored/1` does.

  ## Examples

      iex> compressed = Chunker.compress!("some content", codec: :lz4)
      iex> for(<<byte <- compressed>>, do: <<byte>>) |> Chunker.decompress_stream() |> Enum.join()
      "some content"

  """
  @spec decompress_stream(Enumerable.t(), [decompression_option()] | map()) :: Enumerable.t()
  def decompress_stream(enumerable, options \\ []) do
    decompression = checked(:chunker_options.decompressor(options))

    enumerable
    |> pieces(@gather)
    |> Stream.transform(
      fn ->
        bang!(
          with {:ok, decompression} <- decompression,
               do: to_result(:chunker_dispatch.open_decompressor(decompression))
        )
      end,
      fn piece, coder -> {outputs(coder, piece), coder} end,
      fn coder -> {filled([bang!(to_result(:chunker_dispatch.decompress_finish(coder)))]), coder} end,
      &:chunker_dispatch.close_decompressor/1
    )
  end

  # A small piece may decompress to many MiB, so its output is a stream as well.
  defp outputs(coder, piece) do
    {:more, piece}
    |> Stream.unfold(fn
      :done ->
        nil

      {:more, input} ->
        case :chunker_dispatch.decompress_update(coder, input) do
          {:ok, output, next} -> {output, next}
          failure -> bang!(to_result(failure))
        end
    end)
    |> Stream.reject(&(&1 == ""))
  end

  defp filled(outputs), do: Enum.reject(outputs, &(&1 == ""))

  @doc """
  Returns the codec whose format the data begins with.

  brotli has no magic and is never detected. `:lzma` is, if the file has the usual properties, which take
  14 bytes to tell.

  ## Examples

      iex> "content" |> Chunker.compress!(codec: :xz) |> Chunker.detect_format()
      {:ok, :xz}
      iex> {:error, error} = Chunker.detect_format("")
      iex> {error.reason, error.details}
      {:unknown_format, %{magic: ""}}

  """
  @spec detect_format(iodata()) :: {:ok, readable_codec()} | {:error, Error.t()}
  def detect_format(data), do: result(:chunker.detect_format(data))

  @doc """
  The same as `detect_format/1`, but returns the codec and raises `Chunker.Error`.
  """
  @spec detect_format!(iodata()) :: readable_codec()
  def detect_format!(data), do: bang!(detect_format(data))

  @doc """
  Trains a dictionary for zstd, which lz4 can use too, on samples of the data that will be compressed with it.

  A dictionary helps where many small items resemble each other. Give many small samples, in total a hundred
  times the size of the dictionary. `:max_size` is the size of the dictionary in bytes, 256 to 104,857,600, by
  default 112,640.

  Takes seconds for ten megabytes of samples, on a thread of its own. Killing the calling process does not stop that
  thread; there are never more of them than cores.

  Returns `:compression_failed` with `:samples_unsuitable` as `:why` if no dictionary can be made of the
  samples.

  ## Examples

      iex> samples = for i <- 1..2000, do: ~s({"id": \#{i}, "name": "user \#{rem(i * 7919, 1000)}", "active": true})
      iex> {:ok, dictionary} = Chunker.train_dictionary(samples, max_size: 4096)
      iex> {:ok, small} = Chunker.compress(hd(samples), dictionary: dictionary)
      iex> byte_size(small) < byte_size(Chunker.compress!(hd(samples)))
      true
      iex> Chunker.decompress!(small, dictionary: dictionary) == hd(samples)
      true
      iex> {:error, error} = Chunker.decompress(small)
      iex> error.details
      %{codec: :zstd, why: :dictionary_missing}

  """
  @spec train_dictionary([iodata()], [{:max_size, pos_integer()}] | map()) ::
          {:ok, binary()} | {:error, Error.t()}
  def train_dictionary(samples, options \\ []) when is_list(samples),
    do: result(:chunker.train_dictionary(samples, options))

  @doc """
  The same as `train_dictionary/2`, but returns the dictionary and raises `Chunker.Error`.
  """
  @spec train_dictionary!([iodata()], [{:max_size, pos_integer()}] | map()) :: binary()
  def train_dictionary!(samples, options \\ []), do: bang!(train_dictionary(samples, options))

  @doc """
  Describes this build of Chunker and its use of this machine.

    * `:version` - the version of the library that is loaded
    * `:cpu_features` - the instruction-set extensions of this CPU that Chunker has code for
    * `:kernels` - the code that is used: `:scan` finds cut points and is the fastest kernel that this CPU can
      run, `"avx512"` or `"scalar"`, unless the environment variable `CHUNKER_KERNEL` names one when the VM
      starts (a kernel that this CPU cannot run makes calls fail with `:invalid_options`); `:fingerprint`
      identifies contents in a `Chunker.Cache`
    * `:hashes` - for each hash function the instructions that compute it here
    * `:codecs` - the codecs that are built in
    * `:threads` - the default number of threads of a call

  """
  @spec info() :: %{
          version: String.t(),
          cpu_features: [String.t()],
          kernels: %{scan: String.t(), fingerprint: String.t()},
          hashes: %{algorithm() => String.t()},
          codecs: [readable_codec()],
          threads: pos_integer()
        }
  def info, do: call(:chunker.info())

  @doc """
  Returns a digest, or any other binary, as lower-case hexadecimal digits.

      iex> Chunker.to_hex(<<0, 171, 255>>)
      "00abff"
  """
  @spec to_hex(binary()) :: String.t()
  def to_hex(bytes) when is_binary(bytes), do: :chunker.to_hex(bytes)

  @doc """
  Returns a digest, or any other binary, in the base-32 notation of Nix: 52 characters for 32 bytes.

  It is not that of RFC 4648: the alphabet has no `e`, `o`, `u` and `t`, and the last byte comes first.

      iex> "" |> Chunker.hash(:sha256) |> Chunker.to_nix_base32()
      "0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73"
  """
  @spec to_nix_base32(binary()) :: String.t()
  def to_nix_base32(bytes) when is_binary(bytes), do: :chunker.to_nix_base32(bytes)

  @doc """
  Returns the bytes of a text in Nix's base-32 notation.

      iex> Chunker.from_nix_base32("7z")
      {:ok, <<255>>}
      iex> {:error, error} = Chunker.from_nix_base32("0mdqe")
      iex> {error.reason, error.details}
      {:invalid_base32, %{position: 4}}
  """
  @spec from_nix_base32(String.t()) :: {:ok, binary()} | {:error, Error.t()}
  def from_nix_base32(text) when is_binary(text), do: result(:chunker.from_nix_base32(text))

  @doc """
  The same as `from_nix_base32/1`, but returns the bytes and raises `Chunker.Error`.
  """
  @spec from_nix_base32!(String.t()) :: binary()
  def from_nix_base32!(text), do: bang!(from_nix_base32(text))

  # Smaller chunks are wanted with less delay.
  defp gather(options) do
    case options[:avg_size] do
      avg when is_integer(avg) and avg > 0 -> min(avg, @gather)
      _default_or_wrong -> @gather
    end
  end

  # The results of a batch, each of which is `{:ok, value}` or an error of its own.
  defp items(result), do: with({:ok, results} <- result, do: {:ok, Enum.map(results, &to_result/1)})

  defp all!(result), do: result |> bang!() |> Enum.map(&bang!/1)
end
