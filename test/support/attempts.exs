defmodule Chunker.Attempts do
  @moduledoc false

  # What takes time is judged on a machine that may do other things meanwhile. They spoil an attempt now and then; a defect
  # spoils each.
  @attempts 5

  @doc "Whether what `fun` promises within some time holds in one of a few attempts."
  def once?(fun), do: Enum.any?(1..@attempts, fn _ -> fun.() end)
end
