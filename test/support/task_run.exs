defmodule Chunker.TaskRun do
  @moduledoc false
  # Runs a Mix task in this VM, to whose standard output and error it prints: not in tests that are async.

  import ExUnit.Assertions
  import ExUnit.CaptureIO

  @doc "Returns what a task prints to standard output and to standard error, and its exit status."
  def run(task, arguments) do
    parent = self()

    printed =
      capture_io(fn ->
        errors =
          capture_io(:stderr, fn ->
            status =
              try do
                task.run(arguments)
                0
              catch
                :exit, {:shutdown, status} -> status
              end

            send(parent, {:status, status})
          end)

        send(parent, {:errors, errors})
      end)

    assert_received {:status, status}
    assert_received {:errors, errors}
    {printed, errors, status}
  end

  @doc "Writes a file in a folder, and returns its path."
  def file(folder, name, content) do
    path = Path.join(folder, name)
    File.write!(path, content)
    path
  end
end
