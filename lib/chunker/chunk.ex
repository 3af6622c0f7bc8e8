defmodule Chunker.Chunk do
  @moduledoc """
  A chunk of an input: its place, its digest, and its bytes if they were requested.

    * `:offset` - where the chunk begins, in bytes from the start of the input
    * `:length` - its length in bytes, at least 1
    * `:hash` - the digest of its bytes, a binary of 32 bytes; `Chunker.to_hex/1` and
      `Chunker.to_nix_base32/1` show it
    * `:data` - its bytes; `nil` from functions that keep none, such as `Chunker.chunk_file/2`
    * `:compressed` - its bytes in compressed form, if that was requested, else `nil`
    * `:entries` - of a chunk of a NAR the entries that it touches, as `Chunker.Nar.Part`, in the order of the
      NAR, if `entries: true` asked for them, else `nil`
    * `:references` - of a chunk of a NAR the store hashes that were taken out of it, as `{position,
      characters}`, if `references: true` asked for that, else `nil`. `:hash`, `:data` and `:compressed` are
      then those of what is left; `Chunker.Nar.restore_references/2` puts them back

  The chunks of an input follow each other without gaps, so that their bytes, one after the other, are the
  input.

      iex> {:ok, [chunk]} = Chunker.chunk_data("hello")
      iex> chunk
      #Chunker.Chunk<offset: 0, length: 5, hash: "ea8f163db38682925e4491c5e58d4bb3506ef8c14eb78a86e908c5624a67200f", data: 5 bytes>
      iex> chunk.data
      "hello"
  """

  @enforce_keys [:offset, :length, :hash]
  defstruct [:offset, :length, :hash, :data, :compressed, :entries, :references]

  @type t :: %__MODULE__{
          offset: non_neg_integer(),
          length: pos_integer(),
          hash: Chunker.digest(),
          data: nil | binary(),
          compressed: nil | binary(),
          entries: nil | [Chunker.Nar.Part.t()],
          references: nil | Chunker.Nar.references()
        }

  defimpl Inspect do
    # Shows the digest as text, and of bytes and entries only their number.
    def inspect(chunk, _options) do
      payloads =
        for key <- [:data, :compressed], bytes = Map.fetch!(chunk, key) do
          ", #{key}: #{byte_size(bytes)} bytes"
        end

      notes =
        for key <- [:entries, :references], notes = Map.fetch!(chunk, key) do
          ", #{key}: #{length(notes)}"
        end

      hash = if is_binary(chunk.hash), do: Chunker.to_hex(chunk.hash), else: chunk.hash

      "#Chunker.Chunk<offset: #{inspect(chunk.offset)}, length: #{inspect(chunk.length)}, " <>
        "hash: #{inspect(hash)}#{payloads}#{notes}>"
    end
  end
end
