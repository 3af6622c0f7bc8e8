defmodule Bench.Input do
  @moduledoc """
  Default inputs of the benchmarks, used if no FILE is given. Each function prints what it uses or creates beforehand.
  """

  alias Mix.Chunker.FileTree

  # A folder with more files than this is not searched.
  @most 200_000

  @doc """
  Returns the paths and sizes of the first regular files below `folder`, in the order of their names and without
  following links, whose sizes add up to `bytes`, or of all files if they are smaller. `wanted?` filters their paths.
  """
  def files(folder, bytes, wanted? \\ fn _path -> true end) do
    IO.puts("Looking for #{megabytes(bytes)} of files below #{folder} ...")

    files =
      folder
      |> FileTree.files()
      |> Stream.take(@most)
      |> Stream.filter(fn {path, visited} -> visited == :ok and wanted?.(path) and readable?(path) end)
      |> Stream.map(fn {path, :ok} -> {path, File.stat!(path).size} end)
      |> Stream.transform(0, fn {_, size} = file, sum ->
        if sum < bytes, do: {[file], sum + size}, else: {:halt, sum}
      end)
      |> Enum.to_list()

    if files == [], do: raise("no file is there; give one as FILE")
    {{first, _}, {last, _}} = {hd(files), List.last(files)}
    sum = files |> Enum.map(&elem(&1, 1)) |> Enum.sum()

    IO.puts(
      "Takes #{length(files)} files of #{megabytes(sum)} together, from #{inspect(first)} to #{inspect(last)}."
    )

    files
  end

  defp readable?(path), do: match?({:ok, _}, File.open(path, [:read], fn _file -> :ok end))

  @doc "Creates a file of random bytes in the system's temporary folder. The caller must remove it."
  def random_file(name, bytes \\ 1_000_000_000) do
    path = temporary(name)
    IO.puts("Takes #{megabytes(bytes)} of random bytes, which it writes to #{path} ...")

    File.open!(path, [:write, :raw], fn file ->
      for _ <- 1..div(bytes, 10_000_000), do: :ok = :file.write(file, :crypto.strong_rand_bytes(10_000_000))
    end)

    path
  end

  @doc "Returns a path in the system's temporary folder."
  def temporary(name), do: Path.join(System.tmp_dir!(), "chunker-#{name}-#{System.pid()}")

  @doc "Prints which file is used."
  def given(path) do
    IO.puts("Takes #{path}, #{megabytes(File.stat!(path).size)}.")
    path
  end

  @doc "Exits if Benchee is not available, before any input is prepared."
  def needs_benchee! do
    Code.ensure_loaded?(Benchee) ||
      raise "this benchmark needs Benchee; bench/chunking.exs says how to get it"
  end

  defp megabytes(bytes), do: :erlang.float_to_binary(bytes / 1.0e6, decimals: 1) <> " MB"
end
