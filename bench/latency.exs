# Measures how long other processes wait while Chunker works.
#
#     MIX_ENV=prod mix run bench/latency.exs [SECONDS]
#
# Four processes record, each for itself and for SECONDS, how late one wakes from a sleep of 1 ms, how long hashes of
# 100 KB and of 2 MB take, and how long the collection of a heap of 32 MB takes. They do so in an idle VM, while four
# processes repeatedly chunk a file of 1 GB in the page cache, and while eight processes repeatedly compress 20 MB
# with xz. Needs no Hex package.

Code.require_file("input.exs", __DIR__)
Code.require_file("waits.exs", __DIR__)

seconds =
  case System.argv() do
    [seconds] -> String.to_integer(seconds)
    [] -> 20
  end

path = Bench.Input.random_file("latency")
text = Base.encode64(:rand.bytes(15_000_000))

print = fn cells ->
  [13, 15, 7, 8, 8, 9, 8, 8]
  |> Enum.zip_with(cells, &String.pad_trailing(&2, &1))
  |> Enum.join(" ")
  |> String.trim_trailing()
  |> IO.puts()
end

report = fn work, measured ->
  for {name, taken} <- measured do
    count = length(taken)
    over = fn limit -> Enum.count(taken, &(&1 > limit)) |> to_string() end

    at = fn share ->
      taken |> Enum.at(min(count - 1, trunc(count * share))) |> Float.round(2) |> to_string()
    end

    print.([work, name, to_string(count), at.(0.5), at.(0.99), at.(1.0), over.(10), over.(100)])
  end
end

print.(["beside", "milliseconds of", "times", "median", "99%", "most", "> 10 ms", "> 100 ms"])
report.("nothing", Bench.Waits.measure(seconds))
{files, measured} = Bench.Waits.beside(4, fn -> Chunker.chunk_file!(path) end, seconds)
report.("chunk_file", measured)
{texts, measured} = Bench.Waits.beside(8, fn -> Chunker.compress!(text, codec: :xz) end, seconds)
report.("compress, xz", measured)
IO.puts("in #{seconds} s each: #{files} files of 1 GB chunked, #{texts} texts of 20 MB compressed")
File.rm!(path)
