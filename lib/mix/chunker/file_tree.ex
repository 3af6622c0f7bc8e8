defmodule Mix.Chunker.FileTree do
  @moduledoc false
  # The regular files below a directory, in the order of their names.
  #
  # Symbolic links are not followed, so that the walk ends and stays below the directory. FIFOs, sockets and devices are
  # passed over: reading one may never end. Memory holds the names in the directories that lead to the current file.

  alias Chunker.Error

  @doc "Returns a stream of `{path, :ok}` for each file and `{path, {:error, error}}` for what cannot be visited."
  @spec files(binary()) :: Enumerable.t()
  def files(directory) do
    Stream.resource(fn -> [{directory, [""]}] end, &next/1, fn _pending -> :ok end)
  end

  # Each level is a directory and the names in it that are left.
  defp next([]), do: {:halt, []}
  defp next([{_directory, []} | levels]), do: {[], levels}

  defp next([{directory, [name | names]} | levels]) do
    path = join(directory, name)
    levels = [{directory, names} | levels]

    case type(path, name) do
      {:ok, :regular} -> {[{path, :ok}], levels}
      {:ok, :directory} -> enter(path, levels)
      {:ok, _other} -> {[], levels}
      {:error, kind} -> {[failed(path, kind)], levels}
    end
  end

  # The directory that the walk begins with was named by the caller, perhaps by a link to it.
  defp type(_directory, ""), do: {:ok, :directory}

  defp type(path, _name) do
    with {:ok, info} <- File.lstat(path, time: :posix), do: {:ok, info.type}
  end

  defp enter(directory, levels) do
    case :file.list_dir_all(directory) do
      {:ok, names} -> {[], [{directory, names |> Enum.map(&bytes/1) |> Enum.sort()} | levels]}
      {:error, kind} -> {[failed(directory, kind)], levels}
    end
  end

  # The VM gives a name as text in the encoding that it takes names for, and as bytes if it is no such text.
  defp bytes(name) when is_binary(name), do: name
  defp bytes(name), do: :unicode.characters_to_binary(name, :unicode, :file.native_name_encoding())

  defp failed(path, kind), do: {path, {:error, Error.new(:io_error, %{kind: kind, path: path})}}

  defp join(directory, ""), do: directory

  defp join(directory, name) do
    if String.ends_with?(directory, "/"), do: directory <> name, else: directory <> "/" <> name
  end
end
