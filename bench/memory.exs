# Measures by how many MiB peak resident memory grows while 4 GB go through a call, in processes with a small
# heap, with a map of 100,000 entries, and with a list of a million integers. Prints a Markdown table.
#
#     MIX_ENV=prod mix run bench/memory.exs [BYTES]
#
# Each figure comes from a separate VM (test/support/memory_probe.exs). Takes ten minutes. Needs Linux.

bytes =
  case System.argv() do
    [bytes] -> bytes
    [] -> "4000000000"
  end

ebin = Path.join(Mix.Project.app_path(), "ebin")
probe = Path.expand("../test/support/memory_probe.exs", __DIR__)
run = fn arguments -> "elixir" |> System.cmd(["-pa", ebin, probe | arguments]) |> elem(0) |> String.trim() end
folder = Path.join(System.tmp_dir!(), "chunker-memory-#{System.pid()}")
File.mkdir_p!(folder)

IO.puts("OTP #{System.otp_release()}, Elixir #{System.version()}, #{bytes} bytes, MiB\n")
IO.puts("| call | small heap | map | list |\n|---|---|---|---|")

for operation <- String.split(run.([])) do
  IO.write("| `#{operation}` |")
  for heap <- ~w(small map list), do: IO.write(" #{run.([operation, heap, bytes, folder])} |")
  IO.puts("")
end

File.rm_rf!(folder)
