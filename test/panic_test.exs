defmodule Chunker.PanicTest do
  use ExUnit.Case, async: true

  # Runs in a separate VM, because Rust also writes the panic message to standard error.
  defp run(code) do
    ebin = Path.join(Mix.Project.app_path(), "ebin")
    script = "(" <> code <> ") |> inspect(limit: :infinity) |> IO.puts()"
    {output, 0} = System.cmd("sh", ["-c", "exec elixir -pa #{ebin} -e \"$0\" 2>/dev/null", script])
    output |> Code.eval_string() |> elem(0)
  end

  test "a panic of the engine raises an exception in its caller, with its message" do
    for message <- ["boom", "", "größer\n{}"] do
      assert run("try do :chunker_nif.panic(#{inspect(message)}) rescue e in Chunker.PanicError -> e end") ==
               %Chunker.PanicError{message: message}
    end
  end

  test "a panic is an error with a message in Erlang" do
    ebin = Path.join(Mix.Project.app_path(), "ebin")

    code = ~S|try chunker_nif:panic(<<"boom">>) catch error:#{message := M} -> io:put_chars(M) end, halt().|

    script = "exec erl -noshell -noinput -pa #{ebin} -eval \"$0\" 2>/dev/null"
    assert System.cmd("sh", ["-c", script, code]) == {"boom", 0}
  end

  test "the VM and other calls continue after many concurrent panics" do
    code = """
    chunks = fn -> Chunker.chunk_file!(#{inspect(__ENV__.file)}, min_size: 64, avg_size: 256, max_size: 1024) end
    before = chunks.()

    messages =
      1..200
      |> Task.async_stream(fn i ->
        try do
          :chunker_nif.panic("panic \#{i}")
        rescue
          error -> {i, error.message, chunks.() == before}
        end
      end)
      |> Enum.map(&elem(&1, 1))

    {messages, length(before) > 1, chunks.() == before}
    """

    assert {messages, true, true} = run(code)
    assert messages == for(i <- 1..200, do: {i, "panic #{i}", true})
  end
end
