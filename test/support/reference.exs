defmodule Chunker.Reference do
  # A slow and simple implementation of FastCDC v2020, from the paper and the rules of crate `fastcdc` 5. It
  # shares no code and no table with the engine, so it is an independent reference.
  import Bitwise

  # The first eight bytes of the MD5 digest of 64 equal bytes. All masks are in the lowest 48 bits, and
  # additions and left shifts carry nothing downwards, so the bits above can be omitted.
  @low 0xFFFF_FFFF_FFFF
  @gear Enum.map(0..255, fn byte ->
          <<entry::64, _::64>> = :crypto.hash(:md5, :binary.copy(<<byte>>, 64))
          entry
        end)

  # Indexed by the binary logarithm of the average size, from 5 for 32 bytes to 25 for 32 MiB.
  @masks ~w(1804110 1803110 18035100 1800035300 19000353000 590003530000 D90003530000 D90103530000 D90303530000
            D90313530000 D90F03530000 D90303537000 D90703537000 D90707537000 D91707537000 D91747537000 D91767537000
            D93767537000 D93777537000 D93777577000 DB3777577000)
         |> Enum.map(&String.to_integer(&1, 16))
         |> Enum.zip(5..25)
         |> Map.new(fn {mask, bits} -> {bits, mask} end)

  @doc "Returns `{offset, length}` of each chunk."
  def chunks(data, options \\ []) do
    average = Keyword.get(options, :avg_size, 1_048_576)
    min = Keyword.get(options, :min_size, div(average, 4))
    max = Keyword.get(options, :max_size, 4 * average)
    level = Keyword.get(options, :normalization, 1)
    seed = Keyword.get(options, :seed, 0)

    bits = round(:math.log2(average))
    gear = @gear |> Enum.map(&(bxor(&1, seed) &&& @low)) |> List.to_tuple()
    rules = {min, average, max, @masks[bits + level], @masks[bits - level], gear}
    chunks(data, 0, rules, [])
  end

  defp chunks("", _offset, _rules, chunks), do: Enum.reverse(chunks)

  defp chunks(data, offset, rules, chunks) do
    length = cut(data, rules)
    {_, rest} = :erlang.split_binary(data, length)
    chunks(rest, offset + length, rules, [{offset, length} | chunks])
  end

  defp cut(data, {min, _, _, _, _, _}) when byte_size(data) <= min, do: byte_size(data)

  defp cut(data, {min, average, max, strict, loose, gear}) do
    window = min(byte_size(data), max)
    from = even(min)
    {_, scanned} = :erlang.split_binary(data, from)

    case find(scanned, from, min(even(average), even(window)), 0, strict, gear) do
      {:cut, at} ->
        at

      {:none, rest, at, hash} ->
        case find(rest, at, even(window), hash, loose, gear) do
          {:cut, at} -> at
          {:none, _, _, _} -> window
        end
    end
  end

  defp find(data, at, to, hash, _mask, _gear) when at >= to, do: {:none, data, at, hash}

  defp find(<<byte, rest::binary>>, at, to, hash, mask, gear) do
    hash = (hash <<< 1) + elem(gear, byte) &&& @low
    if (hash &&& mask) == 0, do: {:cut, at}, else: find(rest, at + 1, to, hash, mask, gear)
  end

  defp even(number), do: number - rem(number, 2)
end

defmodule Chunker.Random do
  # Random inputs for property tests. They depend on ExUnit's `--seed`, and a failure reports its run.
  def check(runs, property) do
    seed = ExUnit.configuration()[:seed]

    for run <- 1..runs do
      :rand.seed(:exsss, {seed, run, 0})

      try do
        property.(run)
      rescue
        error in ExUnit.AssertionError ->
          message = "in run #{run} of mix test --seed #{seed}: #{error.message}"
          reraise %{error | message: message}, __STACKTRACE__

        error ->
          message = "in run #{run} of mix test --seed #{seed}: #{Exception.message(error)}"
          reraise RuntimeError, [message: message], __STACKTRACE__
      end
    end
  end

  @doc "Returns a number from `low` to `high`, small ones as often as large ones."
  def skewed(low, high) do
    exponent = :rand.uniform() * :math.log(high - low + 1)
    min(high, low + trunc(:math.exp(exponent)) - 1)
  end

  def between(low, high), do: low + :rand.uniform(high - low + 1) - 1

  def pick(list), do: Enum.random(list)

  @doc "Returns bytes of one of several kinds: noise, few different bytes, a repeated pattern, noise with long runs of zeros."
  def data(size) do
    case between(1, 4) do
      1 -> :rand.bytes(size)
      2 -> for(<<byte <- :rand.bytes(size)>>, into: "", do: <<rem(byte, 3)>>)
      3 -> repeat(:rand.bytes(between(1, 64)), size)
      4 -> holes(size)
    end
  end

  defp repeat(pattern, size) do
    binary_part(:binary.copy(pattern, div(size, byte_size(pattern)) + 1), 0, size)
  end

  defp holes(0), do: ""

  defp holes(size) do
    noise = min(size, between(1, 5000))
    zeros = min(size - noise, between(0, 5000))
    :rand.bytes(noise) <> <<0::size(zeros)-unit(8)>> <> holes(size - noise - zeros)
  end

  @doc "Returns options for chunking with small chunks; sizes may be odd, and equal."
  def options do
    [min, average, max] =
      pick([
        fn -> [skewed(64, 2000), skewed(256, 4000), skewed(1024, 20_000)] end,
        fn -> [64, 256, 1024] end,
        fn -> List.duplicate(skewed(1024, 5000), 3) end
      ]).()

    average = max(min, average)

    [
      min_size: min,
      avg_size: average,
      max_size: max(average, max),
      normalization: between(0, 3),
      seed: pick([0, 1, between(0, 0xFFFF_FFFF_FFFF_FFFF), 0xFFFF_FFFF_FFFF_FFFF]),
      hash: pick([:blake3, :sha256]),
      threads: between(1, 4)
    ]
  end

  @doc "Returns `data` in pieces of random sizes, some of them empty, as binaries and nested lists."
  def pieces(""), do: pick([[], [""], [[], ""]])

  def pieces(data) do
    most = pick([1, 7, 1000, 100_000])
    data |> cut(if(byte_size(data) > 20_000, do: max(most, 1000), else: most)) |> Enum.map(&nest/1)
  end

  defp cut("", _most), do: []

  defp cut(data, most) do
    size = min(byte_size(data), between(0, most))
    {piece, rest} = :erlang.split_binary(data, size)
    [piece | cut(rest, most)]
  end

  defp nest(piece) do
    case between(1, 4) do
      1 -> [[], [piece], ""]
      2 when piece != "" -> [:binary.first(piece) | binary_part(piece, 1, byte_size(piece) - 1)]
      _ -> piece
    end
  end
end
