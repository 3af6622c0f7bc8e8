defmodule Chunker.Nar.Part do
  @moduledoc """
  The part of an entry of a NAR that is in a chunk.

    * `:path` - that of the entry, as `Chunker.Nar.Entry` has it
    * `:offset` - where the part begins, in bytes from the start of the file's contents
    * `:length` - how many bytes of the contents it has; 0 if the chunk has none of them
    * `:position` - where they are in the chunk, in bytes from its start

  A chunk touches an entry if it holds some of its contents, or the byte by which it is known what the entry is: the one before
  the contents of a file, the last one of a directory's type, the last one of a link's target. So the changed mode of a file and
  the changed target of a link are in a chunk that touches it.

      iex> path = Path.join(System.tmp_dir!(), "chunker-doc-nar-part")
      iex> File.write!(path, "content")
      iex> nar = path |> Chunker.Nar.stream() |> Enum.join()
      iex> {:ok, [chunk]} = Chunker.chunk_data(nar, nar: true, entries: true)
      iex> [part] = chunk.entries
      iex> part
      %Chunker.Nar.Part{path: "", offset: 0, length: 7, position: 96}
      iex> binary_part(chunk.data, part.position, part.length)
      "content"
      iex> File.rm!(path)
      :ok
  """

  @enforce_keys [:path, :offset, :length, :position]
  defstruct [:path, :offset, :length, :position]

  @type t :: %__MODULE__{
          path: binary(),
          offset: non_neg_integer(),
          length: non_neg_integer(),
          position: non_neg_integer()
        }
end
