defmodule Chunker.Store.Session do
  @moduledoc """
  A session of a store, which `Chunker.Store.session/3` passes to its function.
  """

  @enforce_keys [:session]
  defstruct [:session]

  @opaque t :: %__MODULE__{session: :chunker_store.session()}

  defimpl Inspect do
    def inspect(_session, _options), do: "#Chunker.Store.Session<>"
  end
end
