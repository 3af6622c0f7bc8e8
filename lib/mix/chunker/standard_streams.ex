defmodule Mix.Chunker.StandardStreams do
  @moduledoc false
  # Standard input and output of a command, which belong to the VM.

  # Its other names lead to what the VM has left of it.
  @input ~w(- /dev/stdin /dev/fd/0 /proc/self/fd/0)

  # Where the scripts leave the standard input that they keep from the VM.
  @handed_over "CHUNKER_STANDARD_INPUT"

  @doc "Whether a path stands for standard input."
  @spec input?(binary()) :: boolean()
  def input?(path), do: path in @input

  @doc """
  Calls one of two functions with standard input: the first with the path of a descriptor that a script has handed over,
  the other one with a stream of what the VM reads. Errors name what the caller named.
  """
  @spec with_input(binary(), (binary() -> result), (Enumerable.t() -> result)) ::
          result | {:error, Chunker.Error.t()}
        when result: term()
  def with_input(path, file, stream) do
    case System.get_env(@handed_over) do
      nil ->
        with_stream(stream)

      descriptor ->
        with {:error, %{details: %{path: ^descriptor} = details} = error} <- file.(descriptor),
             do: {:error, Chunker.Error.new(error.reason, %{details | path: path})}
    end
  end

  # The VM has read ahead, and gives bytes as they are in this encoding only.
  defp with_stream(stream) do
    :ok = :io.setopts(:standard_io, encoding: :latin1)
    stream.(IO.binstream(:stdio, 65_536))
  rescue
    error in Chunker.Error -> {:error, error}
  after
    :ok = :io.setopts(:standard_io, encoding: :unicode)
  end

  @doc "Writes bytes to standard output."
  @spec write(iodata()) :: :ok
  def write(bytes) do
    with {:error, reason} <- :file.write(:standard_io, bytes), do: :erlang.error(reason)
  end

  @doc """
  Runs a command whose output another program may close when it has read enough (`mix chunker.chunk big.tar | head`).
  """
  @spec run(fun()) :: term()
  def run(command) do
    # It stays, since the VM may notice a closed output only after the last line is written.
    user = if System.otp_release() < "26", do: Process.whereis(:user)
    :logger.add_primary_filter(:chunker_closed_output, {&drop_closed_output/2, user})
    command.()
  rescue
    # The reader of the output has seen enough.
    error in ErlangError ->
      if error.original != :terminated, do: reraise(error, __STACKTRACE__)
      unless read_by_another?(), do: IO.puts(:stderr, "the output cannot be written")
      exit({:shutdown, 1})
  end

  # Whether the output goes to another program, which may close it when it has read enough.
  defp read_by_another?, do: match?({:ok, %{type: :other}}, File.stat("/dev/stdout"))

  # OTP 26 and newer log it as an error of theirs if the reader of the output closes it. A full disk stays an error.
  defp drop_closed_output(%{msg: {_format, [:epipe]}, meta: %{mfa: {:user_drv, _, _}}}, _user), do: :stop

  # In OTP 25 the process `user` crashes, which it logs itself, and then its supervisors do. Without that process Logger
  # cannot print: it would crash too, and say so on standard error if the VM still runs by then.
  defp drop_closed_output(%{meta: meta}, user) when is_pid(user),
    do: if(meta[:pid] == user or not Process.alive?(user), do: :stop, else: :ignore)

  defp drop_closed_output(_event, _user), do: :ignore
end
