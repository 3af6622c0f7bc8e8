defmodule Chunker.PanicError do
  @moduledoc """
  A bug in the engine: its Rust code panicked, with this message. The VM and other calls go on unharmed.

  Please report it.
  """

  defexception [:message]

  @type t :: %__MODULE__{message: String.t()}
end
