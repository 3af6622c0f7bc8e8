defmodule Chunker.Native do
  @moduledoc false
  # The only module with NIF stubs. It calls nothing of Elixir's standard library, so that it loads and runs in
  # a plain Erlang node that has only Chunker's `ebin` on its code path.

  @on_load :load

  def load, do: :erlang.load_nif(:filename.join(:code.priv_dir(:chunker), ~c"chunker_nif"), 0)

  def info, do: :erlang.nif_error(:nif_not_loaded)
end
