defmodule Chunker.Error do
  @moduledoc """
  An error: a stable `:reason` to match on, `:details` for programs, and a `:message` for people.

      iex> {:error, error} = Chunker.chunk_file("/no/such/file")
      iex> error.reason
      :io_error
      iex> error.details
      %{kind: :enoent, path: "/no/such/file"}
      iex> Exception.message(error)
      "/no/such/file: no such file or directory"

  | reason | details |
  |---|---|
  | `:invalid_options` | `:option`, `:value`, `:allowed` (text) |
  | `:io_error` | `:kind` (a POSIX atom: `:enoent`, `:eacces`, `:eisdir`, ...), `:path` |
  | `:file_changed` | `:path`: the file shrank or grew while it was read, or changed since it was chunked |
  | `:bounds_check_failed` | `:offset`, `:length`, `:data_length`, in bytes |
  | `:buffer_limit_exceeded` | `:attempted`, `:limit`, in bytes |
  | `:compression_failed` | `:codec`, `:why` (an atom such as `:out_of_memory`) |
  | `:decompression_failed` | `:codec`, `:why` (an atom such as `:truncated` or `:corrupt`); for `:trailing_data` its `:offset`; for `:memory_limit` the `:option` `:max_memory`, the bytes `:needed`, and the `:limit` |
  | `:size_exceeded` | `:limit`, in bytes |
  | `:unknown_format` | `:magic`: the first bytes of the input, at most 4 |
  | `:feature_disabled` | `:feature`: a codec, a hash function or `:signing` that is not built in |
  | `:invalid_nar` | `:offset`, in bytes, and `:why` (an atom such as `:names_unsorted`; see `Chunker.Nar`) |
  | `:limit_exceeded` | `:option`, the name of the limit, and `:limit`, its value |
  | `:tree_too_deep` | `:path` of the first entry that is too deep for a NAR, and `:limit`, in names below the root |
  | `:invalid_references` | `:position`: the place in the chunk where no reference was taken out, in bytes |
  | `:invalid_base32` | `:position`, counted from 0 |
  | `:invalid_narinfo` | `:why` (an atom such as `:missing`), and `:field` or `:line`; see `Chunker.NarInfo` |
  | `:invalid_key` | `:why` (an atom such as `:bad_base64`) |
  | `:invalid_signature` | `:why` (an atom such as `:mismatch`) |
  | `:store_corrupt` | `:pack`, the name of the damaged file in the store, `:why`, and `:offset`, in bytes, if it is known. `Chunker.Store.check/2` lists all damage, `repair/2` saves what is left, and what is put again heals |
  | `:chunk_missing` | `:digests`, of the first chunks that the store does not have. Put the source again, or copy the object from another store; `Chunker.Store.check/2` lists what is incomplete |
  | `:not_found` | `:name`: a tag, an id, a path in a NAR or a store that is not there |
  | `:already_exists` | `:name`: a tag that exists, or names another object than expected |
  | `:session_fenced` | none: a garbage collection has deleted what was to be put; put it again |
  | `:store_locked` | none: another garbage collection or repair runs, or another process has held the lock of the store for 30 seconds |
  | `:unsupported_format` | `:feature` of the store that this version does not know |
  | `:cancelled` | none: the stream or the store was closed before, or the stream by an earlier error |
  """

  @enforce_keys [:reason]
  defexception [:reason, details: %{}, message: nil]

  @type reason ::
          :invalid_options
          | :io_error
          | :file_changed
          | :bounds_check_failed
          | :buffer_limit_exceeded
          | :compression_failed
          | :decompression_failed
          | :size_exceeded
          | :unknown_format
          | :feature_disabled
          | :invalid_nar
          | :limit_exceeded
          | :tree_too_deep
          | :invalid_references
          | :invalid_base32
          | :invalid_narinfo
          | :invalid_key
          | :invalid_signature
          | :store_corrupt
          | :chunk_missing
          | :not_found
          | :already_exists
          | :session_fenced
          | :store_locked
          | :unsupported_format
          | :cancelled
  @type t :: %__MODULE__{reason: reason(), details: map(), message: String.t()}

  @doc """
  Returns an error with this reason and these details, and the message that follows from them.
  """
  @spec new(reason(), map()) :: t()
  def new(reason, details \\ %{}) do
    %__MODULE__{reason: reason, details: details, message: describe(reason, details)}
  end

  @impl true
  def exception(fields) when is_list(fields) do
    new(Keyword.fetch!(fields, :reason), Keyword.get(fields, :details, %{}))
  end

  defp describe(:invalid_options, %{option: option, value: value, allowed: allowed}),
    do: "option #{inspect(option)} is #{inspect(value)}, but must be #{allowed}"

  defp describe(:io_error, %{kind: kind} = details),
    do: "#{show_path(details)}: #{:file.format_error(kind)}"

  defp describe(:file_changed, details),
    do: "#{show_path(details)}: changed while it was read, or since it was chunked"

  defp describe(:bounds_check_failed, %{offset: offset, length: length, data_length: data_length}),
    do: "cannot read #{length} bytes at offset #{offset}: the data has #{data_length} bytes"

  defp describe(:buffer_limit_exceeded, %{attempted: attempted, limit: limit}),
    do: "requested #{attempted} bytes, but the limit is #{limit} bytes"

  defp describe(:compression_failed, %{codec: codec, why: why}),
    do: "#{codec} failed to compress: #{words(why)}"

  defp describe(:decompression_failed, %{why: :trailing_data, codec: codec, offset: offset}),
    do: "#{codec} failed to decompress: trailing data at byte #{offset}"

  defp describe(:decompression_failed, %{why: :dictionary_inapplicable, codec: codec}),
    do: "#{codec} failed to decompress: a dictionary was given, which does not apply to #{codec}"

  defp describe(:decompression_failed, %{why: :memory_limit, codec: codec, needed: needed, limit: limit}),
    do:
      "#{codec} failed to decompress: it needs #{needed} bytes of memory, " <>
        "but the limit is #{limit} bytes (option :max_memory)"

  defp describe(:decompression_failed, %{codec: codec, why: why}),
    do: "#{codec} failed to decompress: #{words(why)}"

  defp describe(:size_exceeded, %{limit: limit}),
    do: "the content exceeds the limit of #{limit} bytes (option :max_output_size)"

  defp describe(:unknown_format, %{magic: magic}),
    do: "unknown compression format; the data begins with #{inspect(magic, base: :hex)}"

  defp describe(:feature_disabled, %{feature: feature}), do: "#{feature} was left out when Chunker was built"
  defp describe(:invalid_nar, %{offset: offset, why: why}), do: "not a NAR: #{words(why)} at byte #{offset}"

  defp describe(:limit_exceeded, %{option: option, limit: limit}),
    do: "the result exceeds the limit of #{limit} that option #{inspect(option)} sets"

  defp describe(:tree_too_deep, %{path: path, limit: limit}),
    do: "#{show(path)}: too deep for a NAR, whose paths have at most #{limit} names"

  defp describe(:invalid_references, %{position: at}), do: "there is no reference at byte #{at}"
  defp describe(:invalid_base32, %{position: at}), do: "invalid Nix base-32 at character #{at}"

  defp describe(:invalid_narinfo, %{field: field, why: why}),
    do: "invalid narinfo: #{show(field)}: #{words(why)}"

  defp describe(:invalid_narinfo, %{line: line, why: why}),
    do: "invalid narinfo: line #{line}: #{words(why)}"

  defp describe(:invalid_key, %{why: why}), do: "invalid key: #{words(why)}"
  defp describe(:invalid_signature, %{why: why}), do: "no valid signature: #{words(why)}"

  defp describe(:store_corrupt, %{pack: pack, why: why} = details),
    do: "#{show(pack)} is damaged#{at(details)}: #{words(why)}; #{advice(pack)}"

  defp describe(:chunk_missing, %{digests: digests}) do
    first =
      case digests do
        [] -> ""
        [first | _] -> ", the first one of which is #{Base.encode16(first, case: :lower)}"
      end

    "chunks are missing#{first}; " <>
      "put the source again, or copy the object from another store (check lists what is incomplete)"
  end

  defp describe(:not_found, %{name: name}), do: "#{show_name(name)} is not there"
  defp describe(:already_exists, %{name: name}), do: "tag #{show(name)} exists, or names another object"

  defp describe(:session_fenced, _details),
    do: "a garbage collection has deleted what was to be put; put it again"

  defp describe(:store_locked, _details),
    do: "a garbage collection or a repair runs, or a process was stopped that holds the lock of the store"

  defp describe(:unsupported_format, %{feature: feature}),
    do: "the store needs #{feature}, which this version of Chunker does not know"

  defp describe(:cancelled, _details), do: "the operation was cancelled, or its stream or store is closed"

  # The names of functions and subcommands, which are the same in Elixir, Erlang and the shell.
  defp advice("format"), do: "write this file anew, as docs/store-format.md describes it"
  defp advice(_pack), do: "check the store, repair it, and put again what it has lost"

  defp words(why), do: why |> Atom.to_string() |> String.replace("_", " ")

  defp at(%{offset: offset}), do: " at byte #{offset}"
  defp at(_details), do: ""

  # An id is no text.
  defp show_name(<<_::256>> = id),
    do: if(String.printable?(id), do: show(id), else: Base.encode16(id, case: :lower))

  defp show_name(name), do: show(name)

  defp show_path(%{path: path}), do: show(path)
  defp show_path(_details), do: "input"

  # Longer than any path in a tree or an archive. A hostile name may have gigabytes.
  @longest 65_536

  # Names of files and fields need not be text, may hold what would move a terminal's cursor, and may be empty.
  defp show(<<head::binary-size(@longest), _, _::binary>>), do: show(head) <> "..."

  defp show(name) do
    if String.printable?(name) and not (name =~ ~r/[[:cntrl:]]/u) and name != "",
      do: name,
      else: inspect(name, binaries: :as_strings, printable_limit: :infinity)
  end
end
