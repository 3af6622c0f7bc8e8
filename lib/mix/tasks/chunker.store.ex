defmodule Mix.Tasks.Chunker.Store do
  @shortdoc "Keeps files in a store, each chunk once"

  @moduledoc """
  Keeps files and folders in a store, each chunk once.

      mix chunker.store SUBCOMMAND STORE [ARGUMENTS] [OPTIONS]

  STORE is a folder. `Chunker.Store` has the same as functions, and says what is promised.

      $ mix chunker.store init store
      $ mix chunker.store put --name db/monday store monday.tar
      $ mix chunker.store get store db/monday restored.tar

  | subcommand | |
  |---|---|
  | `init STORE` | creates a store |
  | `put STORE PATH...` | puts files and folders; `-` is standard input |
  | `get STORE NAME PATH` | writes an object to a file, or a tree to a folder |
  | `cat STORE NAME` | writes an object, or a part of it, to standard output |
  | `ls STORE [PREFIX]` | lists tags, or what is in a tree |
  | `tag STORE NAME OBJECT` | lets a tag name an object |
  | `untag STORE NAME...` | removes tags |
  | `rm STORE NAME...` | lets `gc` delete objects |
  | `gc STORE` | deletes what no object needs |
  | `check STORE` | reads and checks everything |
  | `repair STORE` | mends what can be mended |
  | `copy STORE OTHER NAME...` | copies to another store what is missing there |
  | `stats STORE` | counts what the store has |

  `mix chunker.store SUBCOMMAND --help` describes each with its options. `scripts/store` runs this task from any folder.

  NAME is a tag, or the id of an object: 64 hexadecimal digits.

  ## Options of all subcommands

    * `--json` - print one JSON object a line for each result, for programs; for what cannot be done,
      `{..., "error", "message"}`. Not with `cat`
    * `--progress`, `--no-progress` - whether long subcommands show progress, its rate and the time that is left on standard
      error. Default: if that is a terminal
    * `--help`, `-h` - print the description of the subcommand

  ## Exit status

    * 0 - everything was done
    * 1 - something was not: a mistake of the call, a file that cannot be read or written, a name that is not in the store.
      The other arguments were dealt with
    * 2 - the store is damaged: `check` or `repair` has found something, or an object cannot be read because of it
  """

  use Mix.Task

  alias Mix.Chunker.{ProgressLine, StandardStreams, Switches}
  alias Mix.Chunker.Store.{Names, Transfer, Upkeep}

  @requirements ["app.config"]

  @impl true
  def run(arguments), do: StandardStreams.run(fn -> subcommand(arguments) end)

  defp subcommand([help | _]) when help in ["--help", "-h"], do: IO.puts(@moduledoc)
  defp subcommand([]), do: Mix.raise("which subcommand? mix chunker.store --help lists them")

  defp subcommand([name | arguments]) do
    commands = Map.new(Transfer.commands() ++ Names.commands() ++ Upkeep.commands())

    case commands do
      %{^name => command} ->
        run(name, command, arguments)

      _ ->
        Mix.raise("there is no subcommand #{name}; mix chunker.store --help lists them")
    end
  end

  defp run(name, command, arguments) do
    strict = [help: :boolean] ++ command.switches
    {switches, arguments, invalid} = OptionParser.parse(arguments, strict: strict, aliases: [h: :help])
    help = "mix chunker.store #{name} --help"

    cond do
      switches[:help] ->
        IO.puts(["    mix chunker.store ", command.usage, " [OPTIONS]\n\n", command.help])

      invalid != [] ->
        Mix.raise("#{Switches.describe(invalid)}; #{help} lists the options")

      not fits?(length(arguments), command.arguments) ->
        Mix.raise("#{name} takes other arguments: mix chunker.store #{command.usage} [OPTIONS]")

      true ->
        status = command.run.(arguments, with_progress(switches, command))
        if status > 0, do: exit({:shutdown, status})
    end
  end

  defp fits?(count, {least, :any}), do: count >= least
  defp fits?(count, {least, most}), do: count in least..most

  defp with_progress(switches, command) do
    if Keyword.has_key?(command.switches, :progress),
      do: Keyword.put_new_lazy(switches, :progress, &ProgressLine.terminal?/0),
      else: [progress: false] ++ switches
  end
end
