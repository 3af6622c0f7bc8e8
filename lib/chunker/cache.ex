defmodule Chunker.Cache do
  @moduledoc """
  A cache of digests, so that the digest of content that repeats is looked up instead of computed.

  When another version of a file is chunked, most of its chunks have been seen before. With a cache their
  digests are not computed again:

      cache = Chunker.Cache.new()
      {:ok, monday} = Chunker.chunk_file("monday.tar", hash: :sha256, cache: cache)
      {:ok, tuesday} = Chunker.chunk_file("tuesday.tar", hash: :sha256, cache: cache)
      Chunker.Cache.stats(cache).hit_rate

  `Chunker.chunk_file/2`, `Chunker.chunk_data/2`, `Chunker.chunk_files/2`, `Chunker.stream/2`, `Chunker.hash/3`,
  `Chunker.hash_file/3` and `Chunker.hash_batch/2` take the option `:cache`; `fetch/3`, `get/3` and `put/3` are for other uses. Any number of
  processes can use a cache at once. It is freed when no process holds it any more. It lives in its node: for
  one that came from another node, or out of `:erlang.binary_to_term/1` when it was freed already, functions
  raise `ArgumentError`.

  ## Whether an answer can be wrong

  A content is known again by algorithm, length, and a 128-bit fingerprint of all of its bytes, made with a
  secret that is drawn at random for each cache and never leaves it. That two different contents have the same
  fingerprint has a probability that is proven to be at most 2^-83 for contents of up to 16 MiB, which all
  chunks are, and at most 2^-75 up to 1 GiB; longer ones go past the cache. The bound also holds
  for contents chosen by an attacker, who does not know the secret. For a full cache of
  default size and 10^12 lookups that is one wrong digest with a probability below 1 in 90 million.

  With `verify: :content` the cache keeps the contents, within its memory, and compares them byte by byte:
  then no answer can be wrong. It holds few chunks then, and taking one in costs a copy.

  `docs/cache.md` derives these numbers, and says what a cache saves and costs.

  ## When it pays

  A lookup reads every byte of the content once, and costs about a fifth of BLAKE3 and a twelfth of SHA-256,
  on CPUs that can multiply polynomials (`PCLMULQDQ` on x86-64, `PMULL` on ARM), which all but the oldest and
  smallest can; `Chunker.info/0` says under `:kernels` whether this one has the fast `:fingerprint`,
  `"umash"`. On others it is `"poly1305"`, a tenth as fast, which pays for SHA-256 alone. Functions that take
  `:cache` hash contents of less than 2 KiB at once, since looking them up would cost as much: they are
  neither counted nor kept.
  """

  import Chunker.Result, only: [call: 1]

  @enforce_keys [:cache]
  defstruct [:cache]

  @opaque t :: %__MODULE__{cache: :chunker_cache.cache()}

  @typedoc "An option of `new/1`."
  @type option ::
          {:max_entries, pos_integer()}
          | {:max_memory, pos_integer()}
          | {:verify, :fingerprint | :content}

  @typedoc "Counters of a cache and its present size; see `stats/1`."
  @type stats :: %{
          hits: non_neg_integer(),
          misses: non_neg_integer(),
          insertions: non_neg_integer(),
          evictions: non_neg_integer(),
          collisions: non_neg_integer(),
          entries: non_neg_integer(),
          bytes: non_neg_integer(),
          hit_rate: float()
        }

  @doc """
  Returns an empty cache.

  ## Options

    * `:max_entries` - how many digests are kept at most, 1 to 1,000,000,000. Default: 100,000.
    * `:max_memory` - how much memory they take at most, in bytes, 1 to 2^60. Default: 268,435,456 (256 MiB).
      A digest takes 128 bytes, so that with the defaults the number is what counts; with `verify: :content`
      it takes what its content does besides.
    * `:verify` - `:fingerprint`, or `:content` to keep the contents and compare them. Default:
      `:fingerprint`. A content of more than 70 % of `:max_memory` (or of a part of a large cache, which has
      at least 64 MiB), and one of more than 128 MiB, is not kept.

  When a limit is reached, the digests that were least recently used are evicted. A large cache consists of
  several parts, which do not fill up at exactly the same time.

  Raises `ArgumentError` if an option is wrong or out of range.

  ## Examples

      iex> cache = Chunker.Cache.new(max_entries: 1_000_000, max_memory: 128_000_000)
      iex> Chunker.Cache.stats(cache).entries
      0
      iex> Chunker.Cache.new(max_entries: 0)
      ** (ArgumentError) option :max_entries is 0, but must be 1..1000000000

  """
  @spec new([option()] | map()) :: t()
  def new(options \\ []), do: %__MODULE__{cache: call(:chunker_cache.new(options))}

  @doc """
  Returns the digest of a content, or `nil` if the cache does not have it.

  The call counts as a hit or a miss, and as use of the digest that it finds. Raises `Chunker.Error` if the
  algorithm is not built in.

  ## Examples

      iex> cache = Chunker.Cache.new()
      iex> Chunker.Cache.get(cache, "content", :sha256)
      nil
      iex> digest = Chunker.Cache.put(cache, "content", :sha256)
      iex> Chunker.Cache.get(cache, ["con", "tent"], :sha256) == digest
      true
      iex> Chunker.Cache.get(cache, "content", :blake3)
      nil

  """
  @spec get(t(), iodata(), Chunker.algorithm()) :: Chunker.digest() | nil
  def get(%__MODULE__{cache: cache}, data, algorithm), do: call(:chunker_cache.get(cache, data, algorithm))

  @doc """
  Computes the digest of a content, stores it in the cache and returns it.

  A caller cannot store another digest than that of the content. A content of more than 1 GiB is not stored.

  ## Examples

      iex> cache = Chunker.Cache.new()
      iex> Chunker.Cache.put(cache, "abc", :sha256) == :crypto.hash(:sha256, "abc")
      true

  """
  @spec put(t(), iodata(), Chunker.algorithm()) :: Chunker.digest()
  def put(%__MODULE__{cache: cache}, data, algorithm), do: call(:chunker_cache.put(cache, data, algorithm))

  @doc """
  Returns the digest of a content. If the cache does not have it, computes and stores it.

  The call counts as a hit or a miss, and as use of the digest. Costs a fingerprint, and on a miss a digest. A
  content of more than 1 GiB is not stored.

  ## Examples

      iex> cache = Chunker.Cache.new()
      iex> digest = Chunker.Cache.fetch(cache, "content", :sha256)
      iex> digest == :crypto.hash(:sha256, "content")
      true
      iex> Chunker.Cache.fetch(cache, "content", :sha256) == digest
      true
      iex> Chunker.Cache.stats(cache).hits
      1

  """
  @spec fetch(t(), iodata(), Chunker.algorithm()) :: Chunker.digest()
  def fetch(%__MODULE__{cache: cache}, data, algorithm),
    do: call(:chunker_cache.fetch(cache, data, algorithm))

  @doc """
  Returns counters of the cache and its present size.

    * `:hits`, `:misses` - lookups that found a digest and those that did not, by `get/3`, `fetch/3` and functions
      with the option `:cache`; contents that went past the cache are in neither
    * `:insertions` - digests that were taken in
    * `:evictions` - digests that went, to make room or by `clear/1`
    * `:collisions` - contents that had the fingerprint of another one, as far as it was noticed: always with
      `verify: :content`, where each also counts as a miss, otherwise only by `put/3`
    * `:entries` - digests that are held: `:insertions` less `:evictions`
    * `:bytes` - the memory that they take
    * `:hit_rate` - the share of lookups that were hits, 0.0 before the first one

  The sums hold exactly whenever no other process is in the middle of a call.

  ## Examples

      iex> cache = Chunker.Cache.new()
      iex> data = :binary.copy("content ", 1000)
      iex> [one, two] = Chunker.hash_batch!([data, data], cache: cache, threads: 1)
      iex> one == two
      true
      iex> Chunker.Cache.stats(cache)
      %{hits: 1, misses: 1, insertions: 1, evictions: 0, collisions: 0, entries: 1, bytes: 128, hit_rate: 0.5}

  """
  @spec stats(t()) :: stats()
  def stats(%__MODULE__{cache: cache}), do: call(:chunker_cache.stats(cache))

  @doc """
  Removes all digests. The counters continue.

  Contents that were kept are freed. The memory for digests stays with the cache for later use.

  ## Examples

      iex> cache = Chunker.Cache.new()
      iex> Chunker.Cache.put(cache, "content", :blake3)
      iex> Chunker.Cache.clear(cache)
      :ok
      iex> Chunker.Cache.get(cache, "content", :blake3)
      nil

  """
  @spec clear(t()) :: :ok
  def clear(%__MODULE__{cache: cache}), do: call(:chunker_cache.clear(cache))

  defimpl Inspect do
    # Shows counters in place of a reference.
    def inspect(%{cache: handle}, _options) do
      if :chunker_dispatch.is_cache(handle) do
        %{entries: entries, bytes: bytes, hits: hits, misses: misses} = :chunker_cache.stats(handle)
        "#Chunker.Cache<entries: #{entries}, bytes: #{bytes}, hits: #{hits}, misses: #{misses}>"
      else
        "#Chunker.Cache<freed, or of another node>"
      end
    end
  end
end
