defmodule Chunker.Store.Manifest do
  @moduledoc """
  What a store knows of an object: the result of `Chunker.Store.put/3` and `Chunker.Store.manifest/2`.

    * `:id` - the id of the object, 32 bytes
    * `:kind` - `:bytes`, `:nar` or `:tar`. A tree is a `:nar`
    * `:size` - its length, in bytes
    * `:hash` - the digest of its bytes, by the hash function of the store
    * `:nar_hash` - that of a NAR, as `Chunker.Nar.hash/1` returns it, `"sha256:..."`; else `nil`
    * `:chunk_count` - the number of its chunks
    * `:new_chunks`, `:new_bytes` - what of it was not in the store before this put; `nil` from `manifest/2`
    * `:stored_bytes` - what this put has added to the store, compressed; `nil` from `manifest/2`
  """

  @enforce_keys [:id, :kind, :size, :hash, :chunk_count]
  defstruct [:id, :kind, :size, :hash, :nar_hash, :chunk_count, :new_chunks, :new_bytes, :stored_bytes]

  @type t :: %__MODULE__{
          id: Chunker.Store.id(),
          kind: :bytes | :nar | :tar,
          size: non_neg_integer(),
          hash: Chunker.digest(),
          nar_hash: nil | String.t(),
          chunk_count: non_neg_integer(),
          new_chunks: nil | non_neg_integer(),
          new_bytes: nil | non_neg_integer(),
          stored_bytes: nil | non_neg_integer()
        }

  defimpl Inspect do
    import Inspect.Algebra

    # Digests in hexadecimal.
    def inspect(%{id: id, hash: hash} = manifest, options) do
      fields =
        [
          id: Base.encode16(id, case: :lower),
          kind: manifest.kind,
          size: manifest.size,
          hash: Base.encode16(hash, case: :lower)
        ] ++
          for name <- [:nar_hash, :chunk_count, :new_chunks, :new_bytes, :stored_bytes],
              value = Map.fetch!(manifest, name),
              do: {name, value}

      container_doc("#Chunker.Store.Manifest<", fields, ">", options, fn {name, value}, options ->
        concat("#{name}: ", to_doc(value, options))
      end)
    end
  end
end
