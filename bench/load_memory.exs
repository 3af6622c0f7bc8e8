# Measures the resident memory of the VM before, while and after many processes call Chunker at once.
#
#     MIX_ENV=prod mix run bench/load_memory.exs [PROCESSES] [SECONDS]
#
# PROCESSES (default 500) each call functions of every kind with inputs of 1 to 20 MB. The memory is read again SECONDS
# (default 15) after all of them have ended. Linux only. Needs no Hex package.

Code.require_file("load.exs", __DIR__)

{processes, seconds} =
  case Enum.map(System.argv(), &String.to_integer/1) do
    [] -> {500, 15}
    [processes] -> {processes, 15}
    [processes, seconds] -> {processes, seconds}
  end

%{calls: calls, milliseconds: milliseconds, memory: memory} = Bench.Load.run(processes, seconds)
IO.puts("#{calls} calls of #{processes} processes took #{milliseconds} ms")
for {name, mebibytes} <- memory, do: IO.puts("#{String.pad_trailing(name, 14)} #{mebibytes} MiB resident")
