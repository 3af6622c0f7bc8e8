defmodule Chunker.ThreadsTest do
  # Each test asks a VM of its own, whose pool does nothing else.
  use ExUnit.Case, async: true

  @moduletag :tmp_dir

  # Evaluates `calls` and returns its value. It can call `pool_time`, which runs a function and returns the time in
  # nanoseconds for which threads of the pool were on a CPU meanwhile.
  defp pool_times(calls, path) do
    code = """
    pool = fn ->
      for comm <- Path.wildcard("/proc/self/task/*/comm"), String.starts_with?(File.read!(comm), "chunker-") do
        [time | _] = comm |> Path.dirname() |> Path.join("schedstat") |> File.read!() |> String.split()
        String.to_integer(time)
      end
    end

    # Waits until the threads of an earlier call sleep. On a busy machine the caller may be done before a thread of
    # the pool has begun, so that a call in which none worked is repeated.
    pool_time = fn call ->
      Enum.reduce_while(1..10, 0, fn _, 0 ->
        Process.sleep(50)
        before = Enum.sum(pool.())
        call.()
        time = Enum.sum(pool.()) - before
        if time > 0, do: {:halt, time}, else: {:cont, 0}
      end)
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

    for {name, threads, time} <- pool_times(calls, path) do
      if threads == 1, do: assert({name, time} == {name, 0}), else: assert({name, time} > {name, 0})
    end
  end

  test "fewer items than :parallel_threshold are left to one thread", %{path: path} do
    calls = """
    for {name, call} <- [hash_batch: &Chunker.hash_batch!/2, compress_batch: &Chunker.compress_batch!/2],
        threshold <- [0, 4, 5] do
      {name, threshold, pool_time.(fn -> call.(items, threads: 2, parallel_threshold: threshold) end)}
    end
    """

    for {name, threshold, time} <- pool_times(calls, path) do
      if threshold > 4, do: assert({name, time} == {name, 0}), else: assert({name, time} > {name, 0})
    end
  end
end
