defmodule Mix.Chunker.Store.Names do
  @moduledoc false
  # Subcommands about the names of objects.

  import Mix.Chunker.Store.Command

  alias Chunker.Store
  alias Mix.Chunker.Store.Command
  alias Mix.Chunker.Text

  @spec commands() :: [{String.t(), Command.t()}]
  def commands do
    [
      {"ls",
       %Command{
         usage: "ls STORE [PREFIX] | ls --in NAME STORE [PATH]",
         arguments: {1, 2},
         switches: [in: :string, recursive: :boolean] ++ common([:json]),
         help: """
         Lists the tags whose names begin with PREFIX, in the order of their names: the bytes of the object, its id, and
         the name.

             $ mix chunker.store ls store db/

         With `--in`, lists the folder at PATH of a tree or a NAR: the bytes of each file, and its path, which ends with `/` for
         a folder and goes on with ` -> ` and the target for a symbolic link.

             $ mix chunker.store ls --in home store mail

           * `--in NAME` - the tag or the id of the tree
           * `--recursive` - list everything below the folder

         With `--json` it prints `{"name", "id", "bytes"}` for each tag, and `{"path", "type", "bytes", "executable", "target"}`
         for each entry of a tree.
         """,
         run: &ls/2
       }},
      {"tag",
       %Command{
         usage: "tag STORE NAME OBJECT",
         arguments: {3, 3},
         switches: [if_absent: :boolean, if: :string] ++ common([:json]),
         help: """
         Lets a tag name an object, which another tag or an id names.

             $ mix chunker.store tag store db/latest db/monday
             $ mix chunker.store tag --if db/monday store db/latest db/tuesday

           * `--if-absent` - only if there is no such tag
           * `--if OBJECT` - only if the tag names this object

         If it is not so, nothing is changed, and the status is 1. With `--json` it prints `{"name", "id"}`.
         """,
         run: &tag/2
       }},
      {"untag",
       %Command{
         usage: "untag STORE NAME...",
         arguments: {2, :any},
         switches: [if: :string] ++ common([:json]),
         help: """
         Removes tags. An object that nothing names any more is deleted by the next `gc`, unless it was also put without a name.

             $ mix chunker.store untag store db/monday
             $ mix chunker.store untag --if db/monday store db/latest

           * `--if OBJECT` - only tags that name this object, which another tag or an id names. The others stay, and the
             status is 1

         With `--json` it prints `{"name"}` for each.
         """,
         run: &untag/2
       }},
      {"rm",
       %Command{
         usage: "rm STORE NAME...",
         arguments: {2, :any},
         switches: common([:json]),
         help: """
         Lets the next `gc` delete objects. NAME is a tag, which is removed, or the id of an object that was put without one.
         What another tag names stays.

             $ mix chunker.store rm store db/monday

         With `--json` it prints `{"name", "id"}` for each.
         """,
         run: &rm/2
       }}
    ]
  end

  defp ls([path], switches), do: ls([path, ""], switches)

  defp ls([path, prefix], switches) do
    if switches[:recursive] && !switches[:in], do: Mix.raise("option --recursive needs option --in")

    with_store(path, switches, fn store ->
      if name = switches[:in],
        do: entries(store, path, name, prefix, switches),
        else: tags(store, path, prefix, switches)
    end)
  end

  defp entries(store, path, name, inner, switches) do
    case Store.ls(store, name, inner, Keyword.take(switches, [:recursive])) do
      {:ok, entries} ->
        worst(Stream.map(entries, &entry(&1, switches)))

      {:error, %{reason: :invalid_options, details: %{option: :path}}} ->
        fail(switches, [name: name], :invalid_options, "#{Text.name(name)} is no tree, and no NAR")

      {:error, error} ->
        refuse(error, path)
        failure(switches, [name: name], error)
    end
  end

  defp entry(entry, switches) do
    pairs = [
      path: entry.path,
      type: entry.type,
      bytes: entry.size,
      executable: entry.executable,
      target: entry.target
    ]

    end_of_path =
      case entry.type do
        :directory -> "/"
        :symlink -> " -> " <> Text.name(entry.target)
        :regular -> ""
      end

    size = String.pad_leading(if(entry.size, do: Integer.to_string(entry.size), else: "-"), 14)
    result(switches, pairs, [size, "  ", Text.name(entry.path), end_of_path])
  end

  defp tags(store, path, prefix, switches) do
    case Store.tags(store, prefix) do
      {:ok, tags} -> worst(Stream.map(tags, &tag_line(store, &1, switches)))
      {:error, error} -> failure(switches, [store: path], error)
    end
  end

  defp tag_line(store, {name, id}, switches) do
    case Store.manifest(store, id) do
      {:ok, object} ->
        size = String.pad_leading(Integer.to_string(object.size), 14)

        result(switches, [name: name, id: hex(id), bytes: object.size], [
          [size, "  ", hex(id), "  "],
          Text.name(name)
        ])

      # The tag is there, and what it names is not.
      {:error, %{reason: :not_found}} ->
        failure(switches, [name: name, id: hex(id)], Chunker.Error.new(:chunk_missing, %{digests: [id]}))

      {:error, error} ->
        failure(switches, [name: name, id: hex(id)], error)
    end
  end

  defp tag([path, name, object], switches) do
    if switches[:if] && switches[:if_absent], do: Mix.raise("options --if and --if-absent exclude each other")

    with_store(path, switches, fn store ->
      with {:ok, id} <- found(store, object),
           {:ok, condition} <- condition(store, switches),
           :ok <- Store.tag(store, name, id, if: condition) do
        result(switches, [name: name, id: hex(id)], [])
      else
        {:error, error} ->
          refuse(error, path)
          failure(switches, [name: name], error)
      end
    end)
  end

  defp condition(store, switches) do
    cond do
      switches[:if_absent] -> {:ok, :absent}
      object = switches[:if] -> with({:ok, id} <- found(store, object), do: {:ok, {:is, id}})
      true -> {:ok, :any}
    end
  end

  defp found(store, name) do
    case Store.id(store, name) do
      {:ok, nil} -> not_found(name)
      other -> other
    end
  end

  defp not_found(name), do: {:error, Chunker.Error.new(:not_found, %{name: name})}

  defp untag([path | names], switches) do
    with_store(path, switches, fn store ->
      # Before any is removed: it may be one of them that names the object.
      case condition(store, switches) do
        {:ok, condition} ->
          each(store, names, switches, &remove_tag(&1, &2, condition))

        {:error, error} ->
          failure(switches, [name: switches[:if]], error)
      end
    end)
  end

  defp remove_tag(store, name, condition) do
    case Store.untag(store, name, if: condition) do
      {:ok, true} -> {:ok, []}
      {:ok, false} -> not_found(name)
      {:error, error} -> {:error, error}
    end
  end

  defp rm([path | names], switches),
    do: with_store(path, switches, &each(&1, names, switches, fn store, name -> remove(store, name) end))

  defp remove(store, name) do
    with {:ok, id} <- found(store, name),
         {:ok, untagged} <- untag_if_tag(store, name),
         {:ok, forgotten} <- Store.forget(store, id) do
      if untagged or forgotten, do: {:ok, [id: hex(id)]}, else: not_found(name)
    end
  end

  # An id may have the form of a name.
  defp untag_if_tag(store, name) do
    case Store.untag(store, name) do
      {:error, %{reason: :invalid_options}} -> {:ok, false}
      other -> other
    end
  end

  defp each(store, names, switches, remove) do
    worst(
      Stream.map(names, fn name ->
        case remove.(store, name) do
          {:ok, pairs} ->
            result(switches, [name: name] ++ pairs, [])

          {:error, error} ->
            failure(switches, [name: name], error)
        end
      end)
    )
  end
end
