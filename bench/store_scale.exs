# Measures a store with many chunks: opening it, the memory that it takes, looking for chunks that it lacks, and the
# collection of garbage.
#
#     MIX_ENV=prod mix run bench/store_scale.exs FOLDER [CHUNKS] [OBJECTS]
#
# Makes a store of CHUNKS chunks (10,000,000) of some 256 bytes of noise in FOLDER, and another one of OBJECTS objects
# (100,000) of ten chunks each, half of which are then untagged. Needs 600 bytes of disk for each chunk. Resident memory
# is that of VMs of their own, before and after.
#
# On two cores of an AMD EPYC, OTP 29, with 8,247,240 chunks, beside other work (commit 4daea2b): opened in 9 ms;
# resident memory 67 MiB, of which the VM has 65; 912,362 digests, half of them there, looked for in 1.5 s; a
# collection takes 31 s and 81 MiB at most. 50,000 of 100,000 objects collected in 5.2 s with 85 MiB at most. On OTP
# 25 (commit 2df653d): 50 MiB, of which the VM has 48, and 62 MiB for the collection.

Code.require_file("input.exs", __DIR__)

alias Chunker.Store

{folder, chunks, objects} =
  case System.argv() do
    [folder] -> {folder, 10_000_000, 100_000}
    [folder, chunks] -> {folder, String.to_integer(chunks), 100_000}
    [folder, chunks, objects] -> {folder, String.to_integer(chunks), String.to_integer(objects)}
    _ -> raise "usage: mix run bench/store_scale.exs FOLDER [CHUNKS] [OBJECTS]"
  end

options = [min_size: 64, avg_size: 256, max_size: 1024, codec: :none, durability: :relaxed]
large = Path.join(folder, "chunks")
many = Path.join(folder, "objects")

timed = fn what, fun ->
  {microseconds, result} = :timer.tc(fun)
  IO.puts("#{what}: #{Float.round(microseconds / 1.0e6, 3)} s")
  result
end

noise = fn pieces -> Stream.map(1..pieces, fn _ -> :rand.bytes(256 * 1000) end) end

if not File.exists?(Path.join(large, "format")) do
  File.mkdir_p!(folder)
  store = Store.open!(large, options)
  put = timed.("put of #{chunks} chunks", fn -> Store.put!(store, noise.(div(chunks, 1000)), name: "all") end)
  IO.inspect(put)
end

# A VM that runs an expression and prints what it takes.
vm = fn title, expression ->
  program = """
  memory = fn key ->
    [_, kibibytes] = Regex.run(~r/\#{key}:\\s+(\\d+) kB/, File.read!("/proc/self/status"))
    div(String.to_integer(kibibytes), 1024)
  end
  time = fn what, fun ->
    {microseconds, result} = :timer.tc(fun)
    IO.puts("  \#{what}: \#{microseconds / 1000} ms")
    result
  end
  alias Chunker.Store
  Chunker.info()
  before = memory.("VmRSS")
  #{expression}
  IO.puts("  resident memory: \#{before} MiB before, \#{memory.("VmRSS")} now, \#{memory.("VmHWM")} at most")
  """

  IO.puts(title)
  ebin = Path.join(Mix.Project.build_path(), "lib/chunker/ebin")
  {output, 0} = System.cmd("elixir", ["-pa", ebin, "-e", program])
  IO.write(output)
end

path = inspect(large)
vm.("open", "store = time.(\"open\", fn -> Store.open!(#{path}) end)\n_ = store")

vm.("missing", """
store = time.("open", fn -> Store.open!(#{path}) end)
there = store |> Store.chunks("all") |> Stream.take_every(20) |> Stream.take(500_000) |> Enum.map(&elem(&1, 0))
absent = for _ <- 1..500_000, do: :rand.bytes(32)
digests = Enum.shuffle(there ++ absent)
IO.puts("  resident memory with the digests: \#{memory.("VmRSS")} MiB")
{:ok, missing} = time.("missing of \#{length(digests)} digests", fn -> Store.missing(store, digests) end)
500_000 = length(missing)
""")

vm.("collection beside all of them", """
store = Store.open!(#{path})
IO.inspect(time.("gc", fn -> Store.gc(store) end))
""")

if not File.exists?(Path.join(many, "format")) do
  store = Store.open!(many, options)

  timed.("put of #{objects} objects", fn ->
    {:ok, _} =
      Store.session(store, fn session ->
        for number <- 1..objects,
            do: Store.put!(session, :rand.bytes(2560), name: "#{rem(number, 2)}/#{number}")
      end)
  end)

  timed.("untag half of them", fn ->
    {:ok, tags} = Store.tags(store, "0/")
    for {name, _} <- tags, do: {:ok, true} = Store.untag(store, name)
  end)
end

vm.("collection of half of the objects", """
store = Store.open!(#{inspect(many)})
IO.inspect(time.("gc", fn -> Store.gc(store) end))
""")
