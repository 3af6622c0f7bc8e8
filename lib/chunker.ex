defmodule Chunker do
  @moduledoc """
  Content-defined chunking: the ground of deduplicating storage.

  Chunker cuts files, binaries and streams into chunks whose boundaries depend on the content nearby (FastCDC), and names
  each chunk by its digest (BLAKE3 or SHA-256). Bytes that were inserted change the chunks around them and no others, so
  that a program which stores every chunk once stores what is new, and only that. The engine is written in Rust and
  works on all cores, beside the VM's schedulers and not on them.

      {:ok, chunks} = Chunker.chunk_file("/var/backups/db.tar")

      "/var/backups/db.tar"
      |> Chunker.stream()
      |> Stream.reject(&Store.has?(&1.hash))
      |> Enum.each(&Store.put(&1.hash, &1.data))

  ## Which function

    * `chunk_file/2` tells the chunks of a file, without their bytes: to compare, to index, to find out what is new.
    * `stream/2` gives chunks with their bytes, one after the other, in bounded memory: to store them.
    * `chunk_data/2` does it for bytes that are in memory, and copies none of them.
    * `hash/2` and `hash_file/2` are the digests alone.

  ## Cut points last

  Cut points are those of FastCDC as crate `fastcdc` defines them (its module `v2020`), for every option, on every CPU
  and on any number of threads. Chunks that were stored years ago are found again as long as the options are the same,
  `:seed` included.

  ## Options

  Functions that chunk take these, as a keyword list or a map:

    * `:min_size` - bytes, 64 to 1,048,576; no chunk but the last is shorter (by one byte, if it is odd). Default: 262,144.
    * `:avg_size` - bytes, 256 to 4,194,304; chunk sizes gather around it. Default: 1,048,576.
    * `:max_size` - bytes, 1,024 to 16,777,216; no chunk is longer. Default: 4,194,304.
      The three must be in this order.
    * `:normalization` - 0 to 3: how strongly sizes gather around the average. Default: 1.
    * `:seed` - a 64-bit number that keys the cut points, so that they tell nothing about the content to whoever
      does not know it. Default: 0, the published table.
    * `:hash` - `:blake3` or `:sha256`. Default: `:blake3`.
    * `:threads` - 1 to 1,024: at most so many threads work on the call, that of the caller included. Default: the
      application's `config :chunker, threads: n`, else the number of dirty CPU schedulers online. It is also the size
      of the pool of threads that all calls share, which the first call makes.

  An option that is unknown, or whose value has the wrong type, raises `ArgumentError`. A value that is out of range
  gives `{:error, %Chunker.Error{reason: :invalid_options}}`.

  ## From Erlang

  The module `chunker` offers the same functions to Erlang, and needs no Elixir at run time.
  """

  alias Chunker.{Chunk, Error}

  @typedoc "A digest: 32 bytes."
  @type digest :: <<_::256>>

  @typedoc "A hash function."
  @type algorithm :: :blake3 | :sha256

  @typedoc "An option of a function that chunks; see the module's documentation."
  @type option ::
          {:min_size, pos_integer()}
          | {:avg_size, pos_integer()}
          | {:max_size, pos_integer()}
          | {:normalization, 0..3}
          | {:seed, non_neg_integer()}
          | {:hash, algorithm()}
          | {:threads, pos_integer()}

  @type options :: [option()] | %{optional(atom()) => term()}

  # Pieces of a stream are gathered up to the first of these sizes, since a call of the engine costs some microseconds,
  # and cut down to the second, so that one large piece does not turn into a long list of chunks at once.
  @gather 65_536
  @slice 4_194_304

  @doc """
  The chunks of a file, in their order, without their bytes.

  Time is linear in the size of the file. Memory does not grow with it, except for the list of chunks: some 250 bytes
  for each. While one part of the file is read and scanned, the chunks before it are hashed on other threads.

  A FIFO, a terminal or a device is read until whoever feeds it closes it. Killing the calling process ends the work
  within 100 ms.

  ## Errors

    * `:io_error` - the file cannot be opened or read; `:kind` says why (`:enoent`, `:eacces`, `:eisdir`, ...)
    * `:file_changed` - a regular file shrank or grew while it was read
    * `:invalid_options` - an option is out of range

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
  def chunk_file(path, options \\ []) do
    path = path!(path)

    with {:ok, options} <- options(options),
         {:ok, chunks} <- result(:chunker_engine.chunk_file(path, options)) do
      {:ok, for({offset, length, hash} <- chunks, do: %Chunk{offset: offset, length: length, hash: hash})}
    end
  end

  @doc """
  The same as `chunk_file/2`, but returns the chunks and raises `Chunker.Error`.
  """
  @spec chunk_file!(Path.t(), options()) :: [Chunk.t()]
  def chunk_file!(path, options \\ []), do: bang!(chunk_file(path, options))

  @doc """
  The chunks of bytes that are in memory, with their bytes.

  The `:data` of each chunk is a part of the given binary and shares its memory: nothing is copied, and the binary lives
  as long as any chunk of it. Use `:binary.copy/1` to keep a few chunks of a large binary. A list is made one binary
  first.

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
  def chunk_data(data, options \\ []) do
    data = binary!(data)

    with {:ok, options} <- options(options),
         {:ok, chunks} <- result(:chunker_engine.chunk_data(data, options)) do
      {:ok,
       for {offset, length, hash} <- chunks do
         %Chunk{offset: offset, length: length, hash: hash, data: binary_part(data, offset, length)}
       end}
    end
  end

  @doc """
  The same as `chunk_data/2`, but returns the chunks and raises `Chunker.Error`.
  """
  @spec chunk_data!(iodata(), options()) :: [Chunk.t()]
  def chunk_data!(data, options \\ []), do: bang!(chunk_data(data, options))

  @doc """
  The chunks of a file or of any enumerable of iodata, with their bytes, lazily.

  A binary is the path of a file. Anything else is an enumerable whose elements, in their order, are the input, in
  pieces of any size: `File.stream!/3`, a list of binaries, a stream of the body of an HTTP request.

  Nothing is opened before the stream is enumerated. Memory stays below four times `:max_size` and a few MiB for each
  thread, plus what the consumer keeps. The engine works ahead within these bounds while the consumer works. When the
  consumer stops, or dies, the file is closed and the work ends.

  Pieces are gathered up to 64 KiB, or `:avg_size` if that is less, before the engine sees them; so that much of a slow
  source can wait until a chunk comes out.

  Raises `Chunker.Error` while it is enumerated, for the reasons of `chunk_file/2`, those of `:invalid_options`
  included.

  ## Examples

      iex> ["he", ["l", "lo"], ""] |> Chunker.stream() |> Enum.map(& &1.data)
      ["hello"]

      iex> Stream.repeatedly(fn -> :binary.copy(<<0>>, 1_000_000) end)
      ...> |> Chunker.stream()
      ...> |> Stream.map(& &1.length)
      ...> |> Enum.take(2)
      [4_194_304, 4_194_304]

  Store the chunks of a file that are not there yet:

      "/var/backups/db.tar"
      |> Chunker.stream(hash: :sha256)
      |> Stream.reject(&Store.has?(&1.hash))
      |> Enum.each(&Store.put(&1.hash, &1.data))

  """
  @spec stream(Path.t() | Enumerable.t(), options()) :: Enumerable.t()
  def stream(path_or_enumerable, options \\ [])

  def stream(path, options) when is_binary(path) do
    # Mistakes of the programmer show at once; what depends on the world, when the stream runs.
    options = options(options)

    Stream.resource(
      fn -> bang!(with {:ok, options} <- options, do: result(:chunker_engine.open_file(path, options))) end,
      fn stream ->
        case bang!(result(:chunker_engine.next(stream))) do
          [] -> {:halt, stream}
          chunks -> {shape(chunks), stream}
        end
      end,
      &:chunker_engine.close/1
    )
  end

  def stream(enumerable, options) do
    checked = options(options)
    gather = gather(options)

    enumerable
    |> pieces(gather)
    |> Stream.transform(
      fn -> bang!(with {:ok, options} <- checked, do: result(:chunker_engine.open_pieces(options))) end,
      fn piece, stream -> {shape(bang!(result(:chunker_engine.push(stream, piece)))), stream} end,
      fn stream -> {shape(bang!(result(:chunker_engine.finish(stream)))), stream} end,
      &:chunker_engine.close/1
    )
  end

  @doc """
  The digest of bytes in memory: 32 bytes.

  Up to 64 KiB are hashed on the scheduler of the caller, more on a dirty one.

  ## Examples

      iex> Chunker.hash("abc", :sha256) == :crypto.hash(:sha256, "abc")
      true
      iex> "abc" |> Chunker.hash(:blake3) |> Chunker.to_hex()
      "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"

  """
  @spec hash(iodata(), algorithm()) :: digest()
  def hash(data, algorithm) do
    algorithm!(algorithm)
    <<_::256>> = :chunker_engine.hash(binary!(data), algorithm)
  end

  @doc """
  The digest of a file, in 1 MiB of memory. Fails as `chunk_file/2` does.

  ## Examples

      iex> {:ok, digest} = Chunker.hash_file("/dev/null", :sha256)
      iex> Chunker.to_nix_base32(digest)
      "0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73"

  """
  @spec hash_file(Path.t(), algorithm()) :: {:ok, digest()} | {:error, Error.t()}
  def hash_file(path, algorithm) do
    algorithm!(algorithm)
    result(:chunker_engine.hash_file(path!(path), algorithm))
  end

  @doc """
  The same as `hash_file/2`, but returns the digest and raises `Chunker.Error`.
  """
  @spec hash_file!(Path.t(), algorithm()) :: digest()
  def hash_file!(path, algorithm), do: bang!(hash_file(path, algorithm))

  @doc """
  What this build of Chunker is, and what it uses of this machine.

    * `:version` - of the library that is loaded
    * `:cpu_features` - the instruction-set extensions of this CPU that matter here
    * `:kernels` - what is used of them: `:scan` finds cut points
    * `:hashes` - for each hash function the instructions it is computed with here
    * `:threads` - how many threads a call uses by default

  """
  @spec info() :: %{
          version: String.t(),
          cpu_features: [String.t()],
          kernels: %{scan: String.t()},
          hashes: %{algorithm() => String.t()},
          threads: pos_integer()
        }
  defdelegate info, to: :chunker

  @doc """
  A digest, or any other binary, in lower-case hexadecimal digits.

      iex> Chunker.to_hex(<<0, 171, 255>>)
      "00abff"
  """
  @spec to_hex(binary()) :: String.t()
  def to_hex(bytes) when is_binary(bytes), do: Base.encode16(bytes, case: :lower)

  @doc """
  A digest, or any other binary, in the base-32 notation of Nix: 52 characters for 32 bytes.

  It is not that of RFC 4648: the alphabet has no `e`, `o`, `u` and `t`, and the last byte comes first.

      iex> "" |> Chunker.hash(:sha256) |> Chunker.to_nix_base32()
      "0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73"
  """
  @spec to_nix_base32(binary()) :: String.t()
  def to_nix_base32(bytes) when is_binary(bytes), do: :chunker_engine.to_nix_base32(bytes)

  @doc """
  The bytes that a text in Nix's base-32 notation stands for.

      iex> Chunker.from_nix_base32("7z")
      {:ok, <<255>>}
      iex> {:error, error} = Chunker.from_nix_base32("0mdqe")
      iex> {error.reason, error.details}
      {:invalid_base32, %{position: 4}}
  """
  @spec from_nix_base32(String.t()) :: {:ok, binary()} | {:error, Error.t()}
  def from_nix_base32(text) when is_binary(text), do: result(:chunker_engine.from_nix_base32(text))

  @doc """
  The same as `from_nix_base32/1`, but returns the bytes and raises `Chunker.Error`.
  """
  @spec from_nix_base32!(String.t()) :: binary()
  def from_nix_base32!(text), do: bang!(from_nix_base32(text))

  defp shape(chunks) do
    for {offset, length, hash, data} <- chunks do
      %Chunk{offset: offset, length: length, hash: hash, data: data}
    end
  end

  # Binaries of at least `gather` bytes (but for the last one) and at most `@slice`.
  defp pieces(enumerable, gather) do
    Stream.transform(
      enumerable,
      fn -> {[], 0} end,
      fn element, {gathered, size} ->
        size = size + iodata_length!(element)

        if size < gather do
          {[], {[gathered | element], size}}
        else
          binary = if gathered == [], do: binary!(element), else: IO.iodata_to_binary([gathered | element])
          {slices(binary), {[], 0}}
        end
      end,
      fn {gathered, _size} = state -> {[IO.iodata_to_binary(gathered)], state} end,
      fn _state -> :ok end
    )
  end

  defp slices(binary) when byte_size(binary) <= @slice, do: [binary]

  defp slices(binary) do
    for offset <- 0..(byte_size(binary) - 1)//@slice do
      binary_part(binary, offset, min(@slice, byte_size(binary) - offset))
    end
  end

  # Chunks smaller than usual are for somebody who does not want to wait for much input.
  defp gather(options) do
    case options[:avg_size] do
      avg when is_integer(avg) and avg > 0 -> min(avg, @gather)
      _default_or_wrong -> @gather
    end
  end

  defp options(options) do
    case :chunker_options.chunking(options) do
      {:badarg, message} -> raise ArgumentError, message
      result -> result(result)
    end
  end

  defp algorithm!(algorithm) do
    with {:badarg, message} <- :chunker_options.algorithm(algorithm), do: raise(ArgumentError, message)
  end

  defp binary!(data) when is_binary(data), do: data

  defp binary!(data) do
    IO.iodata_to_binary(data)
  rescue
    ArgumentError -> not_iodata!(data)
  end

  defp iodata_length!(data) do
    IO.iodata_length(data)
  rescue
    ArgumentError -> not_iodata!(data)
  end

  @spec not_iodata!(term()) :: no_return()
  defp not_iodata!(data), do: raise(ArgumentError, "expected iodata, got: " <> inspect(data, limit: 5))

  defp path!(path) when is_binary(path), do: path
  defp path!(path), do: IO.chardata_to_string(path)

  defp result({:ok, value}), do: {:ok, value}
  defp result({:error, {reason, details}}), do: {:error, Error.new(reason, details)}

  defp bang!({:ok, value}), do: value
  defp bang!({:error, error}), do: raise(error)
end
