defmodule Chunker.Result do
  @moduledoc false
  # What the engine answers, as callers get it.

  alias Chunker.Error

  @spec result({:ok, value} | {:error, {atom(), map()}}) :: {:ok, value} | {:error, Error.t()} when value: var
  def result({:ok, value}), do: {:ok, value}
  def result({:error, {reason, details}}), do: {:error, Error.new(reason, details)}

  @spec bang!({:ok, value} | {:error, Error.t()}) :: value when value: var
  def bang!({:ok, value}), do: value
  def bang!({:error, error}), do: raise(error)
end
