defmodule Chunker.ThreadsTest do
  # Each test asks a VM of its own, whose pool does nothing else.
  use ExUnit.Case, async: true

  @moduletag :tmp_dir

  # Evaluates `calls` and returns its value. It can call `pool_time`, which runs a function five times and returns the
  # times in nanoseconds for which threads of the pool were on a CPU during the call.
  defp pool_times(calls, path) do
    code = """
    pool = fn ->
      for comm <- Path.wildcard("/proc/self/task/*/comm"), {:ok, name} <- [File.read(comm)], name =~ ~r/^chunker-[0-9]+$/m do
        [time | _] = comm |> Path.dirname() |> Path.join("schedstat") |> File.read!() |> String.split()
        String.to_integer(time)
      end
    end

    # Several attempts, since on a busy machine the caller may be done before a thread of the pool has begun, and a
    # thread that worked for an earlier call may still run.
    pool_time = fn call ->
      for _ <- 1..5 do
        Process.sleep(50)
        before = Enum.sum(pool.())
        call.()
        Enum.sum(pool.()) - before
      end
    end

    path = #{inspect(path)}
    data = File.read!(path)
    items = for i <- 0..3, do: binary_part(data, i * 8_000_000, 8_000_000)
    # Starts the pool.
    Chunker.chunk_data!(data, threads: 2)
    IO.inspect(#{calls})
    """

    ebin = Path.join(Mix.Project.app_path(), "ebin")
    {output, 0} = System.cmd("elixir", ["-pa", ebin, "-e", code], env: [{"ELIXIR_ERL_OPTIONS", "+SDcpu 4:4"}])
    {times, _} = Code.eval_string(output)
    times
  end

  setup %{tmp_dir: folder} do
    path = Path.join(folder, "random")
    File.write!(path, :crypto.strong_rand_bytes(32_000_000))
    %{path: path}
  end

  test "the option :threads decides whether the pool works", %{path: path} do
    calls = """
    for {name, call} <- [
          chunk_data: &Chunker.chunk_data!(data, &1),
          chunk_file: &Chunker.chunk_file!(path, &1),
          chunk_files: &Chunker.chunk_files!([path, path, path, path], &1),
          stream: &Stream.run(Chunker.stream(path, &1)),
          pieces: &Stream.run(Chunker.stream(items, &1)),
          hash_batch: &Chunker.hash_batch!(items, &1),
          compress_batch: &Chunker.compress_batch!(items, &1)
        ],
        threads <- [1, 2] do
      {name, threads, pool_time.(fn -> call.([threads: threads]) end)}
    end
    """

    for {name, threads, times} <- pool_times(calls, path) do
      assert if(threads == 1, do: 0 in times, else: Enum.sum(times) > 0), inspect({name, threads, times})
    end
  end

  test "fewer items than :parallel_threshold are left to one thread", %{path: path} do
    calls = """
    for {name, call} <- [hash_batch: &Chunker.hash_batch!/2, compress_batch: &Chunker.compress_batch!/2],
        threshold <- [0, 4, 5] do
      {name, threshold, pool_time.(fn -> call.(items, threads: 2, parallel_threshold: threshold) end)}
    end
    """

    for {name, threshold, times} <- pool_times(calls, path) do
      assert if(threshold > 4, do: 0 in times, else: Enum.sum(times) > 0), inspect({name, threshold, times})
    end
  end
end
