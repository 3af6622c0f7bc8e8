Code.require_file("../bench/input.exs", __DIR__)

defmodule Bench.InputTest do
  # Not async: it captures this VM's standard output.
  use ExUnit.Case, async: false

  import ExUnit.CaptureIO

  @moduletag :tmp_dir

  setup %{tmp_dir: folder} do
    for {name, size} <- [{"a.so", 10}, {"b/c.so.1", 20}, {"b/d.txt", 30}, {"e.so", 40}, {"f.so", 50}] do
      path = Path.join(folder, name)
      File.mkdir_p!(Path.dirname(path))
      File.write!(path, :binary.copy("x", size))
    end

    # Links on which a pattern with ** would loop.
    File.ln_s!("..", Path.join(folder, "b/up"))
    File.ln_s!(folder, Path.join(folder, "b/round"))
    :ok
  end

  defp files(folder, bytes, wanted? \\ fn _ -> true end) do
    {files, said} = with_io(fn -> Bench.Input.files(folder, bytes, wanted?) end)
    {for({path, size} <- files, do: {Path.relative_to(path, folder), size}), said}
  end

  test "files make up the requested number of bytes, and are named in the output", %{tmp_dir: folder} do
    assert {[{"a.so", 10}, {"b/c.so.1", 20}, {"b/d.txt", 30}], said} = files(folder, 31)
    assert [looking, takes, ""] = String.split(said, "\n")
    assert looking == "Looking for 0.0 MB of files below #{folder} ..."

    assert takes ==
             "Takes 3 files of 0.0 MB together, from #{inspect(folder <> "/a.so")} to #{inspect(folder <> "/b/d.txt")}."
  end

  test "files are chosen by name, and fewer bytes are returned if there are no more", %{tmp_dir: folder} do
    assert {[{"a.so", 10}, {"b/c.so.1", 20}, {"e.so", 40}, {"f.so", 50}], _} =
             files(folder, 1000, &(&1 =~ ".so"))

    assert_raise RuntimeError, ~r/no file is there/, fn -> files(folder, 1000, &(&1 =~ ".dll")) end
  end

  test "a file of random bytes can be made" do
    {path, said} = with_io(fn -> Bench.Input.random_file("test", 20_000_000) end)
    on_exit(fn -> File.rm!(path) end)
    assert said == "Takes 20.0 MB of random bytes, which it writes to #{path} ...\n"
    assert File.stat!(path).size == 20_000_000
  end
end
