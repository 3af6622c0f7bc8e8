defmodule Chunker.NarInfo do
  @moduledoc """
  Reads, writes, signs and verifies narinfo files, the metadata of a store path in a binary cache of Nix.

      iex> text = \"""
      ...> StorePath: /nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-net-tools-1.60_p20170221182432
      ...> URL: nar/1094wph9z4nwlgvsd53abfz8i117ykiv5dwnq9nnhz846s7xqd7d.nar.xz
      ...> Compression: xz
      ...> FileHash: sha256:1094wph9z4nwlgvsd53abfz8i117ykiv5dwnq9nnhz846s7xqd7d
      ...> FileSize: 114980
      ...> NarHash: sha256:0lxjvvpr59c2mdram7ympy5ay741f180kv3349hvfc3f8nrmbqf6
      ...> NarSize: 464152
      ...> References: 7gx4kiv5m0i7d7qkixq2cwzbr10lvxwc-glibc-2.27
      ...> Deriver: 10dx1q4ivjb115y3h90mipaaz533nr0d-net-tools-1.60_p20170221182432.drv
      ...> Sig: cache.nixos.org-1:sn5s/RrqEI+YG6/PjwdbPjcAC7rcta7sJU4mFOawGvJBLsWkyLtBrT2EuFt/LJjWkTZ+ZWOI9NTtjo/woMdvAg==
      ...> \"""
      iex> {:ok, narinfo} = Chunker.NarInfo.parse(text)
      iex> {narinfo.compression, narinfo.nar_size, narinfo.references}
      {"xz", 464_152, ["7gx4kiv5m0i7d7qkixq2cwzbr10lvxwc-glibc-2.27"]}
      iex> Chunker.NarInfo.verify(narinfo, ["cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="])
      {:ok, "cache.nixos.org-1"}
      iex> to_string(narinfo) == text
      true

  Create a binary cache for `nix copy --from` and `substituters`:

      narinfo = %Chunker.NarInfo{
        store_path: "/nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-hello",
        url: "nar/hello.nar.xz",
        compression: "xz",
        nar_hash: "sha256:" <> (nar |> Chunker.hash(:sha256) |> Chunker.to_nix_base32()),
        nar_size: byte_size(nar)
      }

      narinfo = Chunker.NarInfo.sign!(narinfo, File.read!("/etc/nix/cache-key.sec"))
      File.write!("cache/nar/hello.nar.xz", Chunker.compress!(nar, codec: :xz))
      File.write!("cache/00bgd045z0d4icpbc2yyz4gx48ak44la.narinfo", to_string(narinfo))

  ## Fields

    * `:store_path` - the full path, with the folder of the store
    * `:url` - where the NAR is, relative to the cache or in full
    * `:compression` - of the NAR: `"none"`, `"xz"`, `"zstd"`, `"bzip2"` and so on
    * `:file_hash`, `:file_size` - the hash and the size in bytes of the compressed NAR, or `nil`
    * `:nar_hash`, `:nar_size` - the SHA-256 hash and the size in bytes of the NAR
    * `:references` - the store paths that this one refers to, without their folder
    * `:deriver` - the derivation that made it, without its folder, or `nil`
    * `:system` - the system that it was made for, or `nil`; older Nix writes it
    * `:ca` - the content address, if it has one, else `nil`
    * `:sigs` - the signatures, each `"name:base64"`
    * `:extra` - the names and values of all other fields, in their order

  Texts are binaries that need not be UTF-8. Functions take hashes in any notation that Nix reads (base 16, 32
  and 64, and SRI) and references in any order. `parse/1` and `sign/2` return them as Nix writes them: hashes
  in base 32, references sorted and without repetition.

  ## Rules

  The rules are those of Nix, including its tolerance for old files: without `Compression` it is bzip2;
  references may be missing, unsorted or repeated; `Deriver` may be `unknown-deriver`; of several `URL` lines
  the last one counts. Files that Nix refuses are refused, and so are lines without a colon or without a space
  after it, which Nix misreads. A narinfo of more than 8 MiB is refused.

  A violation returns `{:error, %Chunker.Error{reason: :invalid_narinfo}}` with `:field`, the name of the
  field in the file, and `:why`:

    * `:missing` - it must be there and not be empty; the size of a NAR must not be 0
    * `:repeated` - `References` and `CA` may be there once
    * `:line_break` - it must fit in a line
    * `:not_a_number` - it must be a whole number below 2^64
    * `:not_absolute` - it must be a full path
    * `:bad_hash_part`, `:name_empty`, `:name_too_long`, `:name_character`, `:name_dots` - a store path must
      be 32 characters of Nix's base 32, a dash, and a name of 1 to 211 ASCII letters, digits and `+-._?=`, up
      to the first dash not `.` or `..`
    * `:unknown_algorithm`, `:bad_hash`, `:not_sha256` - a hash must name its algorithm and have that one's
      length, and that of a NAR must be SHA-256
    * `:unknown_method` - a content address must begin with `text:`, `fixed:`, `fixed:r:` or `fixed:git:`
    * `:name_known`, `:name_character` - a name in `:extra` must not be that of another field, or have a colon
      or a line break

  or with `:line`, the number of a line of a text, and `:why`: `:missing_colon`, `:missing_space` or
  `:missing_newline`.

  A value of the wrong type raises `ArgumentError`.

  ## Keys

  Keys are texts as in Nix, `"name:base64"`: secret ones in the files that `nix-store
  --generate-binary-cache-key` and `nix key generate-secret` write, public ones in `trusted-public-keys` of
  `nix.conf`. The copies of a secret key that Chunker makes are wiped after use. The binary that holds the key
  belongs to the VM, which frees it without wiping it.

  The reason `:invalid_key` has one of these as `:why`: `:missing_colon`, `:bad_name`, `:bad_base64`,
  `:wrong_length`, `:halves_differ` (a secret key with the public half of another key), `:not_a_point`,
  `:small_order` (a public key for which signatures can be forged), and `:unknown_name` (no signature has the
  name of any of the keys).

  Keys and signatures need the feature `signing`, which is built in by default; without it they return
  `:feature_disabled`.
  """

  import Kernel, except: [to_string: 1]
  import Chunker.Result

  alias Chunker.Error

  @enforce_keys [:store_path, :url, :compression, :nar_hash, :nar_size]
  defstruct [
    :store_path,
    :url,
    :compression,
    :file_hash,
    :file_size,
    :nar_hash,
    :nar_size,
    :deriver,
    :system,
    :ca,
    references: [],
    sigs: [],
    extra: []
  ]

  @type t :: %__MODULE__{
          store_path: binary(),
          url: binary(),
          compression: binary(),
          file_hash: nil | binary(),
          file_size: nil | non_neg_integer(),
          nar_hash: binary(),
          nar_size: pos_integer(),
          references: [binary()],
          deriver: nil | binary(),
          system: nil | binary(),
          ca: nil | binary(),
          sigs: [binary()],
          extra: [{name :: binary(), value :: binary()}]
        }

  @typedoc "A key, as `name:base64`."
  @type key :: binary()

  @doc """
  Reads the text of a narinfo file.

  ## Errors

    * `:invalid_narinfo` - with `:why`, and `:field` or `:line`; see the module's documentation
    * `:buffer_limit_exceeded` - it has more than 8 MiB

  ## Examples

      iex> {:error, error} = Chunker.NarInfo.parse("StorePath: /nix/store/hello\\n")
      iex> error.details
      %{field: "StorePath", why: :bad_hash_part}
      iex> Exception.message(error)
      "invalid narinfo: StorePath: bad hash part"

  """
  @spec parse(iodata()) :: {:ok, t()} | {:error, Error.t()}
  def parse(text), do: narinfo(result(:chunker_narinfo.parse(text)))

  @doc """
  The same as `parse/1`, but returns the narinfo and raises `Chunker.Error`.
  """
  @spec parse!(iodata()) :: t()
  def parse!(text), do: bang!(parse(text))

  @doc """
  Returns the text of a narinfo file as Nix writes it: byte for byte the input of `parse/1`, if Nix wrote
  that.

  Fields that Nix does not know come at the end. `Kernel.to_string/1` and string interpolation give the same
  text, and raise `Chunker.Error`.

  ## Examples

      iex> narinfo = %Chunker.NarInfo{
      ...>   store_path: "/nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-empty",
      ...>   url: "nar/empty.nar",
      ...>   compression: "none",
      ...>   nar_hash: "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
      ...>   nar_size: 120
      ...> }
      iex> {:ok, text} = Chunker.NarInfo.to_string(narinfo)
      iex> text
      \"""
      StorePath: /nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-empty
      URL: nar/empty.nar
      Compression: none
      NarHash: sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73
      NarSize: 120
      References:\\s
      \"""

  """
  @spec to_string(t()) :: {:ok, binary()} | {:error, Error.t()}
  def to_string(%__MODULE__{} = narinfo), do: result(:chunker_narinfo.to_string(Map.from_struct(narinfo)))

  @doc """
  The same as `to_string/1`, but returns the text and raises `Chunker.Error`.
  """
  @spec to_string!(t()) :: binary()
  def to_string!(narinfo), do: bang!(to_string(narinfo))

  @doc """
  Returns the text that is signed: the store path, the hash and the size of the NAR, and the full paths of the
  references.

  Nothing else in a narinfo is signed; a server can change the rest.

  ## Examples

      iex> narinfo = %Chunker.NarInfo{
      ...>   store_path: "/nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-empty",
      ...>   url: "nar/empty.nar",
      ...>   compression: "none",
      ...>   nar_hash: "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
      ...>   nar_size: 120,
      ...>   references: ["7gx4kiv5m0i7d7qkixq2cwzbr10lvxwc-glibc-2.27"]
      ...> }
      iex> Chunker.NarInfo.fingerprint(narinfo)
      {:ok,
       "1;/nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-empty;" <>
         "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73;120;" <>
         "/nix/store/7gx4kiv5m0i7d7qkixq2cwzbr10lvxwc-glibc-2.27"}

  """
  @spec fingerprint(t()) :: {:ok, binary()} | {:error, Error.t()}
  def fingerprint(%__MODULE__{} = narinfo), do: result(:chunker_narinfo.fingerprint(Map.from_struct(narinfo)))

  @doc """
  The same as `fingerprint/1`, but returns the text and raises `Chunker.Error`.
  """
  @spec fingerprint!(t()) :: binary()
  def fingerprint!(narinfo), do: bang!(fingerprint(narinfo))

  @doc """
  Generates a pair of Ed25519 keys with that name, from the randomness of the operating system.

  Signatures refer to a key by its name, usually the name of the host and a number. It must not be empty and
  has no spaces, control characters or colons, else the error is `:invalid_key` with `:bad_name`.

  ## Examples

      iex> {:ok, keys} = Chunker.NarInfo.generate_key("cache.example.org-1")
      iex> {:ok, keys.public_key} == Chunker.NarInfo.public_key(keys.secret_key)
      true
      iex> [name, base64] = String.split(keys.public_key, ":")
      iex> {name, byte_size(Base.decode64!(base64))}
      {"cache.example.org-1", 32}

  """
  @spec generate_key(binary()) :: {:ok, %{secret_key: key(), public_key: key()}} | {:error, Error.t()}
  def generate_key(name), do: result(:chunker_narinfo.generate_key(name))

  @doc """
  The same as `generate_key/1`, but returns the keys and raises `Chunker.Error`.
  """
  @spec generate_key!(binary()) :: %{secret_key: key(), public_key: key()}
  def generate_key!(name), do: bang!(generate_key(name))

  @doc """
  Returns the public key of a secret key. Anything else is `:invalid_key`.
  """
  @spec public_key(key()) :: {:ok, key()} | {:error, Error.t()}
  def public_key(secret_key), do: result(:chunker_narinfo.public_key(secret_key))

  @doc """
  The same as `public_key/1`, but returns the key and raises `Chunker.Error`.
  """
  @spec public_key!(key()) :: key()
  def public_key!(secret_key), do: bang!(public_key(secret_key))

  @doc """
  Returns the narinfo with the signature of that key in its `:sigs`, at the place where Nix puts it.

  The signature is the one that Nix makes with that key, since Ed25519 is deterministic. Existing signatures
  are kept, even if they no longer verify.

  ## Errors

    * `:invalid_narinfo`, `:invalid_key` - see the module's documentation

  ## Examples

      iex> keys = Chunker.NarInfo.generate_key!("cache.example.org-1")
      iex> narinfo = %Chunker.NarInfo{
      ...>   store_path: "/nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-empty",
      ...>   url: "nar/empty.nar",
      ...>   compression: "none",
      ...>   nar_hash: "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73",
      ...>   nar_size: 120
      ...> }
      iex> {:ok, signed} = Chunker.NarInfo.sign(narinfo, keys.secret_key)
      iex> Chunker.NarInfo.verify(signed, [keys.public_key])
      {:ok, "cache.example.org-1"}
      iex> {:error, error} = Chunker.NarInfo.verify(%{signed | nar_size: 121}, [keys.public_key])
      iex> {error.reason, error.details}
      {:invalid_signature, %{why: :mismatch}}

  """
  @spec sign(t(), key()) :: {:ok, t()} | {:error, Error.t()}
  def sign(%__MODULE__{} = narinfo, secret_key) do
    narinfo(result(:chunker_narinfo.sign(Map.from_struct(narinfo), secret_key)))
  end

  @doc """
  The same as `sign/2`, but returns the narinfo and raises `Chunker.Error`.
  """
  @spec sign!(t(), key()) :: t()
  def sign!(narinfo, secret_key), do: bang!(sign(narinfo, secret_key))

  @doc """
  Returns the name of the first signature that one of the public keys verifies.

  It is as strict as Nix. A signature certifies the hash and the size of the NAR of the store path, not a NAR
  that you received: compare that NAR with `:nar_hash` and `:nar_size`.

  ## Errors

    * `:invalid_signature` - no trusted key signed this; `:why` is `:unsigned` if there is no signature, and
      for signatures with the name of a key `:mismatch`, or else `:bad_base64` or `:wrong_length`
    * `:invalid_key` - one of the keys is malformed, or, with `:unknown_name`, no signature has the name of
      any key
    * `:invalid_narinfo`

  """
  @spec verify(t(), key() | [key()]) :: {:ok, key_name :: binary()} | {:error, Error.t()}
  def verify(%__MODULE__{} = narinfo, public_keys) do
    result(:chunker_narinfo.verify(Map.from_struct(narinfo), public_keys))
  end

  @doc """
  The same as `verify/2`, but returns the name of the key and raises `Chunker.Error`.
  """
  @spec verify!(t(), key() | [key()]) :: binary()
  def verify!(narinfo, public_keys), do: bang!(verify(narinfo, public_keys))

  defp narinfo(result) do
    with {:ok, fields} <- result, do: {:ok, struct!(__MODULE__, fields)}
  end

  defimpl String.Chars do
    def to_string(narinfo), do: Chunker.NarInfo.to_string!(narinfo)
  end
end
