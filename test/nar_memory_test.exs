defmodule Chunker.NarMemoryTest do
  # Not beside others, whose memory would count too.
  use ExUnit.Case, async: false

  alias Chunker.Nar
  alias Chunker.Nar.Entry

  @moduletag :tmp_dir

  test "three gibibytes pass in little memory", %{tmp_dir: folder} do
    large = Path.join(folder, "large")
    {_, 0} = System.cmd("truncate", ["-s", "3G", large])
    before = :erlang.memory(:total)
    peak = :counters.new(1, [])

    {:ok, [entry]} =
      large
      |> Nar.stream()
      |> Stream.each(fn _ -> :counters.put(peak, 1, max(:counters.get(peak, 1), :erlang.memory(:total))) end)
      |> Nar.list()

    assert %Entry{type: :regular, size: 3_221_225_472, offset: 96} = entry
    assert :counters.get(peak, 1) - before < 64 * 1_048_576
  end
end
