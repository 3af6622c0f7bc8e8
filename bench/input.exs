defmodule Bench.Input do
  @moduledoc """
  What the benchmarks work on when they are given no FILE. Each function says what it takes or makes before it does so.
  """

  alias Mix.Chunker.FileTree

  # A folder with more files than this is not looked through.
  @most 200_000

  @doc """
  The first regular files below `folder`, in the order of their names and without following links, that come to `bytes` in
  sum: their paths and sizes. `wanted?` chooses among their paths. Fewer bytes are there if the walk ends before.
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

  @doc "A file of random bytes in the system's folder for temporary files, which the caller is to remove."
  def random_file(name, bytes \\ 1_000_000_000) do
    path = temporary(name)
    IO.puts("Takes #{megabytes(bytes)} of random bytes, which it writes to #{path} ...")

    File.open!(path, [:write, :raw], fn file ->
      for _ <- 1..div(bytes, 10_000_000), do: :ok = :file.write(file, :crypto.strong_rand_bytes(10_000_000))
    end)

    path
  end

  @doc "A path in the system's folder for temporary files."
  def temporary(name), do: Path.join(System.tmp_dir!(), "chunker-#{name}-#{System.pid()}")

  @doc "Says which file is taken."
  def given(path) do
    IO.puts("Takes #{path}, #{megabytes(File.stat!(path).size)}.")
    path
  end

  @doc "Stops here if Benchee is not at hand, before anything is prepared for it."
  def needs_benchee! do
    Code.ensure_loaded?(Benchee) ||
      raise "this benchmark needs Benchee; bench/chunking.exs says how to get it"
  end

  defp megabytes(bytes), do: :erlang.float_to_binary(bytes / 1.0e6, decimals: 1) <> " MB"
end
