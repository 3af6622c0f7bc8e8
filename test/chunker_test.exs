Code.require_file("support/reference.exs", __DIR__)

defmodule ChunkerTest do
  use ExUnit.Case, async: true
  doctest Chunker
  doctest Chunker.Chunk
  doctest Chunker.Error
  doctest Chunker.Compressor
  doctest Chunker.Decompressor

  import Bitwise
  import Chunker.Random
  alias Chunker.{Chunk, Error, Reference}

  @small [min_size: 64, avg_size: 256, max_size: 1024]

  defp spans(chunks), do: Enum.map(chunks, &{&1.offset, &1.length})
  defp digest(:sha256, data), do: :crypto.hash(:sha256, data)

  defp digest(:blake3, data) do
    path = Path.join(System.tmp_dir!(), "chunker-b3sum-#{System.unique_integer([:positive])}")
    File.write!(path, data)
    {output, 0} = System.cmd("b3sum", ["--no-names", path])
    File.rm!(path)
    output |> String.trim() |> Base.decode16!(case: :lower)
  end

  # Returns many digests from one call of the program.
  defp b3sums(binaries, folder) do
    paths =
      for {binary, i} <- Enum.with_index(binaries) do
        path = Path.join(folder, "piece-#{i}")
        File.write!(path, binary)
        path
      end

    {output, 0} = System.cmd("b3sum", ["--no-names" | paths])
    for line <- String.split(output), do: Base.decode16!(line, case: :lower)
  end

  describe "the reference implementation of cut points" do
    test "has the first entries of the published gear table" do
      <<first::64, _::64>> = :crypto.hash(:md5, :binary.copy(<<0>>, 64))
      <<last::64, _::64>> = :crypto.hash(:md5, :binary.copy(<<1>>, 64))
      assert {first, last} == {0x3B5D3C7D207E37DC, 0x784D68BA91123086}
    end

    test "cuts zeros at the maximum and keeps short input whole" do
      assert Reference.chunks(<<0::size(2500)-unit(8)>>, @small) == [{0, 1024}, {1024, 1024}, {2048, 452}]
      assert Reference.chunks(<<1, 2, 3>>, @small) == [{0, 3}]
      assert Reference.chunks("", @small) == []
    end
  end

  describe "cut points" do
    test "are those of FastCDC v2020 for random data and options, from memory, files and streams" do
      folder = Path.join(System.tmp_dir!(), "chunker-cuts-#{System.unique_integer([:positive])}")
      File.mkdir_p!(folder)
      on_exit(fn -> File.rm_rf!(folder) end)
      path = Path.join(folder, "input")

      check(150, fn _run ->
        options = options()
        data = data(pick([skewed(0, 200_000), skewed(0, 2000), options[:min_size], options[:max_size] + 1]))
        expected = Reference.chunks(data, options)

        chunks = Chunker.chunk_data!(data, options)
        assert spans(chunks) == expected, inspect(options)
        assert IO.iodata_to_binary(Enum.map(chunks, & &1.data)) == data

        File.write!(path, data)
        without_data = Enum.map(chunks, &%{&1 | data: nil})
        assert Chunker.chunk_file!(path, options) == without_data, inspect(options)
        assert path |> Chunker.stream(options) |> Enum.to_list() == chunks, inspect(options)

        pieces = pieces(data)
        assert pieces |> Chunker.stream(options) |> Enum.to_list() == chunks, inspect(options)
        assert Chunker.chunk_data!(pieces, options) == chunks
        assert pieces |> Stream.map(& &1) |> Chunker.stream(Map.new(options)) |> Enum.to_list() == chunks

        in_erlang = for chunk <- chunks, do: Map.take(chunk, [:offset, :length, :hash, :data])
        assert :chunker.chunk_data(data, options) == {:ok, in_erlang}
        assert :chunker.chunk_file(path, options) == {:ok, Enum.map(in_erlang, &Map.delete(&1, :data))}
        {:ok, iterator} = :chunker.stream(pieces, options)
        assert erlang_chunks(iterator) == in_erlang
        {:ok, iterator} = :chunker.stream({:file, path}, options)
        assert erlang_chunks(iterator) == in_erlang
      end)
    end

    test "are those of FastCDC v2020 around each limit" do
      check(4, fn _run ->
        for size <- [64, 65, 256, 257, 1023, 1024, 1025],
            {min, average, max} <- [{64, 256, 1024}, {65, 257, 1025}, {255, 257, 1023 + 2}],
            shift <- -2..2 do
          options = [min_size: min, avg_size: average, max_size: max, normalization: between(0, 3)]
          data = data(size + shift)
          assert spans(Chunker.chunk_data!(data, options)) == Reference.chunks(data, options)
          pieces = for <<byte <- data>>, do: <<byte>>
          assert pieces |> Chunker.stream(options) |> spans() == Reference.chunks(data, options)
        end
      end)
    end

    test "are those of FastCDC v2020 with the defaults" do
      :rand.seed(:exsss, 1)
      data = :rand.bytes(12_000_001)
      expected = Reference.chunks(data)
      assert length(expected) > 5
      assert spans(Chunker.chunk_data!(data)) == expected
      assert data |> cut_into(65_537) |> Chunker.stream() |> spans() == expected
    end

    test "do not depend on the number of threads" do
      :rand.seed(:exsss, 2)
      data = :rand.bytes(3_000_000)
      options = [min_size: 1000, avg_size: 5000, max_size: 30_000]
      [first | others] = for threads <- 1..4, do: Chunker.chunk_data!(data, [threads: threads] ++ options)
      assert Enum.all?(others, &(&1 == first))
    end
  end

  defp cut_into(data, size) when byte_size(data) <= size, do: [data]
  defp cut_into(<<piece::binary-size(65_537), rest::binary>>, size), do: [piece | cut_into(rest, size)]

  defp erlang_chunks(iterator) do
    case :chunker.next(iterator) do
      {:ok, chunk, next} -> [chunk | erlang_chunks(next)]
      :done -> []
    end
  end

  describe "hashes" do
    @tag :tmp_dir
    test "of chunks match those of other programs", %{tmp_dir: folder} do
      :rand.seed(:exsss, 3)
      data = :rand.bytes(300_000)
      options = [min_size: 1000, avg_size: 5000, max_size: 30_000]

      for chunk <- Chunker.chunk_data!(data, [hash: :sha256] ++ options) do
        assert chunk.hash == :crypto.hash(:sha256, chunk.data)
      end

      chunks = Chunker.chunk_data!(data, options)
      assert Enum.map(chunks, & &1.hash) == b3sums(Enum.map(chunks, & &1.data), folder)
    end

    @tag :tmp_dir
    test "of bytes and files match those of other programs", %{tmp_dir: folder} do
      sizes = [0, 1, 63, 64, 65, 1024, 65_535, 65_536, 65_537, 1_048_576, 1_048_577, 3_333_333]
      :rand.seed(:exsss, 4)
      binaries = Enum.map(sizes, &:rand.bytes/1)

      for {data, blake3} <- Enum.zip(binaries, b3sums(binaries, folder)) do
        assert Chunker.hash(data, :blake3) == blake3
        assert Chunker.hash(data, :sha256) == :crypto.hash(:sha256, data)
        path = Path.join(folder, "file")
        File.write!(path, data)
        assert Chunker.hash_file(path, :blake3) == {:ok, blake3}
        assert Chunker.hash_file!(path, :sha256) == :crypto.hash(:sha256, data)
      end
    end

    test "accept iodata: nested, improper and empty" do
      for iodata <- [[], "", [[], [[]], ""], ["a", ["b" | "c"]], [?a, [[?b], "c" | <<0>>]]],
          hash <- [:sha256, :blake3] do
        assert Chunker.hash(iodata, hash) == digest(hash, IO.iodata_to_binary(iodata))
      end
    end

    test "reject another algorithm and what is not iodata" do
      for wrong <- [:md5, "sha256", nil, 1, ~c"blake3"] do
        message = "the algorithm must be :blake3 or :sha256, not #{inspect(wrong)}"

        for {function, input} <- [hash: "", hash_file: "/dev/null", hash_file!: "/dev/null"] do
          assert_raise ArgumentError, message, fn -> apply(Chunker, function, [input, wrong]) end
        end
      end

      for wrong <- [:atom, 1, <<1::3>>, ["a", :b], [256], [-1], %{}, {"a"}, ["a" | 1], [<<1::1>>]] do
        assert_raise ArgumentError, "expected iodata, got: #{inspect(wrong)}", fn ->
          Chunker.hash(wrong, :sha256)
        end

        assert_raise ArgumentError, "expected iodata, got: #{inspect(wrong)}", fn ->
          Chunker.chunk_data(wrong)
        end
      end
    end
  end

  describe "chunk_data/2" do
    test "works on a part of a binary" do
      :rand.seed(:exsss, 5)
      whole = :rand.bytes(400_000)
      part = binary_part(whole, 12_345, 300_000)
      options = [min_size: 1000, avg_size: 5000, max_size: 30_000]
      assert Chunker.chunk_data(part, options) == Chunker.chunk_data(:binary.copy(part), options)
      <<_::1, unaligned::binary-size(300_000), _::bitstring>> = <<0::1, part::binary, 0::7>>
      assert Chunker.chunk_data(unaligned, options) == Chunker.chunk_data(part, options)
    end

    test "returns no chunk for empty data, and one for a byte" do
      assert Chunker.chunk_data([]) == {:ok, []}
      assert {:ok, [%Chunk{offset: 0, length: 1, data: "x", compressed: nil}]} = Chunker.chunk_data(["x"])
    end
  end

  # Chunks and parts are made in Erlang, which cannot read the definition of a struct.
  @tag :tmp_dir
  test "chunks and parts have the fields of their structs, from each function", %{tmp_dir: folder} do
    path = Path.join(folder, "nar")
    Chunker.Nar.dump!(__ENV__.file, {:file, path})
    nar = File.read!(path)
    fields = fn struct -> struct |> Map.keys() |> Enum.sort() end

    for options <- [[], [nar: true], [nar: true, entries: true], [nar: true, entries: true, references: true]],
        [chunk | _] <- [
          Chunker.chunk_file!(path, options),
          Chunker.chunk_data!(nar, options),
          hd(Chunker.chunk_files!([path], options)),
          Enum.to_list(Chunker.stream(path, options)),
          Enum.to_list(Chunker.stream([nar], options)),
          Chunker.Nar.chunk!(nar, Keyword.delete(options, :nar)).chunks
        ] do
      assert fields.(chunk) == fields.(%Chunk{offset: 0, length: 1, hash: ""})

      for part <- chunk.entries || [] do
        assert fields.(part) == fields.(%Chunker.Nar.Part{path: "", offset: 0, length: 0, position: 0})
      end
    end

    {:ok, [entry]} = Chunker.Nar.list({:file, path})
    assert fields.(entry) == fields.(%Chunker.Nar.Entry{path: "", type: :regular})
  end

  describe "options" do
    # All calls that take options, with valid input.
    defp calls(options) do
      [
        fn -> Chunker.chunk_data("abc", options) end,
        fn -> Chunker.chunk_data(:binary.copy("abc", 100_000), options) end,
        fn -> Chunker.chunk_file(__ENV__.file, options) end,
        fn -> Chunker.chunk_file("/dev/null", options) end,
        fn -> collect(fn -> Chunker.stream(["abc"], options) end) end,
        fn -> collect(fn -> Chunker.stream(__ENV__.file, options) end) end
      ]
    end

    defp collect(stream) do
      {:ok, Enum.to_list(stream.())}
    rescue
      error in Error -> {:error, error}
    end

    test "that are unknown or of a wrong type raise at once and list the valid ones" do
      for {options, message} <- [
            {[size: 1],
             ~r/^unknown option :size; there are: :min_size, :avg_size, :max_size, :normalization, :seed, :preset, :nar, :tar, :min_entry_size, :boundary_preference_distance, :entries, :references, :max_entries, :max_memory, :hash, :cache, :on_change, :threads/},
            {%{size: 1}, ~r/^unknown option :size; there are: :min_size/},
            {[{"seed", 1}], ~r/^an option must be a pair of a name and a value, not \{"seed", 1\}/},
            {%{"seed" => 1}, ~r/^an option must be a pair/},
            {[:seed], ~r/^an option must be a pair of a name and a value, not :seed/},
            {[{:seed, 1} | :rest], ~r/^options must be a proper list, which does not end with :rest/},
            {nil, ~r/^options must be a list of pairs or a map, not nil/},
            {:seed, ~r/^options must be a list/},
            {{:seed, 1}, ~r/^options must be a list/},
            {%Chunker.Cache{cache: nil}, ~r/^unknown option :__struct__;/},
            {[min_size: "64"], ~r/^option :min_size must be an integer, not "64"/},
            {[avg_size: 1024.0], ~r/^option :avg_size must be an integer, not 1024.0/},
            {[max_size: nil], ~r/^option :max_size must be an integer, not nil/},
            {[normalization: :level1], ~r/^option :normalization must be an integer/},
            {[seed: <<0::64>>], ~r/^option :seed must be an integer/},
            {[threads: 1.0], ~r/^option :threads must be an integer/},
            {[threads: :infinity], ~r/^option :threads must be an integer/},
            {[hash: "sha256"], ~r/^option :hash must be an atom/}
          ] do
        # Also without running the stream, and before the file is looked at.
        unrun = [
          fn -> Chunker.stream(["abc"], options) end,
          fn -> Chunker.stream("/no/such/file", options) end,
          fn -> Chunker.chunk_file("/no/such/file", options) end
        ]

        for call <- calls(options) ++ unrun, do: assert_raise(ArgumentError, message, call)
      end
    end

    test "at the ends of their ranges work" do
      for options <- [
            [min_size: 64],
            [min_size: 1_048_576],
            [min_size: 64, avg_size: 256],
            [min_size: 1_048_576, avg_size: 4_194_304],
            [min_size: 64, avg_size: 256, max_size: 1024],
            [min_size: 1024, avg_size: 1024, max_size: 1024],
            [max_size: 16_777_216],
            [max_size: 1_048_576],
            [normalization: 0],
            [normalization: 3],
            [seed: 0],
            [seed: 0xFFFF_FFFF_FFFF_FFFF],
            [threads: 1],
            [threads: 1024],
            [hash: :blake3],
            [hash: :sha256]
          ],
          call <- calls(options) do
        assert {:ok, _} = call.()
        assert {:ok, _} = Enum.find(calls(Map.new(options)), & &1).()
      end
    end

    test "beyond their ranges are rejected, with the option, its value and what is allowed" do
      big = 1 <<< 200

      for {options, option, value, allowed} <- [
            {[min_size: 63], :min_size, 63, "64..1048576"},
            {[min_size: 1_048_577], :min_size, 1_048_577, "64..1048576"},
            {[avg_size: 255], :avg_size, 255, "256..4194304"},
            {[avg_size: 4_194_305], :avg_size, 4_194_305, "256..4194304"},
            {[max_size: 1023], :max_size, 1023, "1024..16777216"},
            {[max_size: 16_777_217], :max_size, 16_777_217, "1024..16777216"},
            {[normalization: 4], :normalization, 4, "0..3"},
            {[seed: 1 <<< 64], :seed, 1 <<< 64, "0..18446744073709551615"},
            {[seed: -1], :seed, -1, "0..18446744073709551615"},
            {[threads: 0], :threads, 0, "1..1024"},
            {[threads: 1025], :threads, 1025, "1..1024"},
            {[hash: :md5], :hash, :md5, "blake3, sha256"},
            {[hash: nil], :hash, nil, "blake3, sha256"},
            {[min_size: 1_048_576, avg_size: 1_048_575], :min_size, 1_048_576,
             "at most avg_size, which is 1048575"},
            {[min_size: 64, avg_size: 262_145, max_size: 262_144], :max_size, 262_144,
             "at least avg_size, which is 262145"}
            | for option <- [:min_size, :avg_size, :max_size, :normalization, :threads],
                  value <- [-1, -big, big, 1 <<< 63, 1 <<< 64, (1 <<< 64) + 512, -(1 <<< 63)] do
                allowed = %{
                  min_size: "64..1048576",
                  avg_size: "256..4194304",
                  max_size: "1024..16777216",
                  normalization: "0..3",
                  threads: "1..1024"
                }

                {[{option, value}], option, value, allowed[option]}
              end
          ] do
        for call <- calls(options) do
          assert {:error, %Error{reason: :invalid_options} = error} = call.()
          assert error.details == %{option: option, value: value, allowed: allowed}

          assert Exception.message(error) ==
                   "option #{inspect(option)} is #{inspect(value)}, but must be #{allowed}"
        end

        in_erlang = {:error, {:invalid_options, %{option: option, value: value, allowed: allowed}}}
        assert :chunker.chunk_data("abc", options) == in_erlang
        assert :chunker.stream([], Map.new(options)) == in_erlang
      end
    end

    test "for sizes: minimum and maximum follow the average, unless they are given" do
      :rand.seed(:exsss, 11)
      data = :rand.bytes(3_000_000)

      for {given, all} <- [
            {[avg_size: 65_536], {16_384, 65_536, 262_144}},
            {[avg_size: 256], {64, 256, 1024}},
            {[avg_size: 1003], {250, 1003, 4012}},
            {[avg_size: 4_194_304], {1_048_576, 4_194_304, 16_777_216}},
            {[avg_size: 1_048_576], {262_144, 1_048_576, 4_194_304}},
            {[min_size: 1000, avg_size: 65_536], {1000, 65_536, 262_144}},
            {[avg_size: 65_536, max_size: 70_000], {16_384, 65_536, 70_000}},
            {[min_size: 60_000, avg_size: 65_536, max_size: 70_000], {60_000, 65_536, 70_000}},
            # The average does not depend on the other sizes.
            {[min_size: 300_000], {300_000, 1_048_576, 4_194_304}},
            {[max_size: 1_100_000], {262_144, 1_048_576, 1_100_000}},
            # A preset sets an average too.
            {[preset: :small_packages], {32_768, 131_072, 524_288}},
            {[preset: :small_packages, avg_size: 8192], {2048, 8192, 32_768}},
            {[preset: :small_packages, avg_size: 8192, max_size: 524_288], {2048, 8192, 524_288}},
            {[preset: :small_packages, min_size: 1000], {1000, 131_072, 524_288}},
            {[nar: :auto, avg_size: 8192], {2048, 8192, 32_768}}
          ] do
        {min, average, max} = all
        explicit = [min_size: min, avg_size: average, max_size: max]
        chunks = Reference.chunks(data, explicit)
        assert Enum.map(Chunker.chunk_data!(data, given), &{&1.offset, &1.length}) == chunks
        {:ok, maps} = :chunker.chunk_data(data, given)
        assert Enum.map(maps, &{&1.offset, &1.length}) == chunks
        assert Chunker.chunk_data(data, explicit) == Chunker.chunk_data(data, given)
      end

      for {given, message} <- [
            {[min_size: 65_537, avg_size: 65_536],
             "option :min_size is 65537, but must be at most avg_size, which is 65536"},
            {[avg_size: 65_536, max_size: 65_535],
             "option :max_size is 65535, but must be at least avg_size, which is 65536"}
          ] do
        assert_raise Error, message, fn -> Chunker.chunk_data!(data, given) end
      end
    end

    test "that occur twice in a list count once: the first one" do
      data = :binary.copy(<<0>>, 10_000)
      options = [max_size: 2048, max_size: 4096, min_size: 64, avg_size: 256]
      assert [%{length: 2048} | _] = Chunker.chunk_data!(data, options)
    end
  end

  describe "functions with !" do
    test "return what the others return in :ok" do
      assert Chunker.chunk_data!("abc") == elem(Chunker.chunk_data("abc"), 1)
      assert Chunker.chunk_file!(__ENV__.file) == elem(Chunker.chunk_file(__ENV__.file), 1)
      assert Chunker.hash_file!(__ENV__.file, :sha256) == elem(Chunker.hash_file(__ENV__.file, :sha256), 1)
      assert Chunker.from_nix_base32!("7z") == <<255>>
    end

    test "raise the error of the others" do
      missing = "/no/such/file: no such file or directory"
      out_of_range = "option :min_size is 1, but must be 64..1048576"

      for {message, call} <- [
            {missing, fn -> Chunker.chunk_file!("/no/such/file") end},
            {missing, fn -> Chunker.hash_file!("/no/such/file", :blake3) end},
            {missing, fn -> Enum.to_list(Chunker.stream("/no/such/file")) end},
            {out_of_range, fn -> Chunker.chunk_data!("", min_size: 1) end},
            {out_of_range, fn -> Enum.to_list(Chunker.stream([], min_size: 1)) end},
            {"invalid Nix base-32 at character 1", fn -> Chunker.from_nix_base32!("0e") end}
          ] do
        assert_raise Error, message, call
      end

      error = catch_error(Chunker.hash_file!("/no/such/file", :blake3))
      assert error == elem(Chunker.hash_file("/no/such/file", :blake3), 1)
    end
  end

  describe "Nix's base-32" do
    @tag :nix
    test "is what nix-hash writes and reads" do
      for size <- [20, 32, 64], _ <- 1..3 do
        type = %{20 => "sha1", 32 => "sha256", 64 => "sha512"}[size]
        digest = :rand.bytes(size)
        arguments = ["--to-base32", "--type", type, Chunker.to_hex(digest)]
        {output, 0} = System.cmd("nix-hash", arguments)
        assert Chunker.to_nix_base32(digest) == String.trim(output)
        assert Chunker.from_nix_base32(String.trim(output)) == {:ok, digest}
      end
    end

    test "round-trips bytes of every length" do
      check(300, fn run ->
        bytes = pick([:rand.bytes(rem(run, 70)), :binary.copy(<<255>>, rem(run, 70)), :rand.bytes(2000)])
        text = Chunker.to_nix_base32(bytes)
        assert byte_size(text) == div(byte_size(bytes) * 8 + 4, 5)
        assert Chunker.from_nix_base32(text) == {:ok, bytes}
      end)
    end

    test "is rejected if it is invalid" do
      whole = Chunker.to_nix_base32(:crypto.hash(:sha256, ""))

      for {text, position} <- [
            {"e", 0},
            {"0o", 1},
            {"0u", 1},
            {"0t", 1},
            {"0A", 1},
            {"0\0", 1},
            {"ü0", 0},
            {<<255>>, 0},
            {" 0", 0},
            {"0=", 1},
            # No number of bytes encodes to this number of characters.
            {"0", 1},
            {"000", 3},
            {"000000", 6},
            # The first character has more bits than are left of a byte.
            {"zz", 0},
            {"80", 0},
            {"z" <> binary_part(whole, 1, 51), 0},
            {whole <> "00", 54},
            {whole <> "\n", 52}
          ] do
        assert {:error, %Error{reason: :invalid_base32, details: details} = error} =
                 Chunker.from_nix_base32(text)

        assert {text, details} == {text, %{position: position}}
        assert Exception.message(error) == "invalid Nix base-32 at character #{position}"
        assert :chunker.from_nix_base32(text) == {:error, {:invalid_base32, %{position: position}}}
      end
    end
  end

  test "to_hex/1 writes two lower-case digits a byte" do
    bytes = for byte <- 0..255, into: "", do: <<byte>>
    assert Chunker.to_hex(bytes) == Base.encode16(bytes, case: :lower)
    assert Chunker.to_hex("") == ""
    assert :chunker.to_hex(bytes) == Chunker.to_hex(bytes)
  end

  describe "Chunk" do
    test "shows its digest as text, and only the size of its data" do
      chunk = %Chunk{offset: 5, length: 3, hash: <<0xAB, 0::248>>}
      hash = "ab" <> String.duplicate("0", 62)
      assert inspect(chunk) == ~s(#Chunker.Chunk<offset: 5, length: 3, hash: "#{hash}">)

      assert inspect([%{chunk | data: "abc", compressed: ""}]) ==
               ~s([#Chunker.Chunk<offset: 5, length: 3, hash: "#{hash}", data: 3 bytes, compressed: 0 bytes>])
    end

    test "that is incomplete can be inspected" do
      assert inspect(%Chunk{offset: nil, length: nil, hash: nil}) =~ "offset: nil"
    end

    test "must have an offset, a length and a hash" do
      assert_raise ArgumentError, ~r/:hash/, fn -> struct!(Chunk, offset: 0, length: 0) end
    end
  end

  describe "Error" do
    test "describes each reason" do
      for {reason, details, message} <- [
            {:io_error, %{kind: :eacces, path: "/x"}, "/x: permission denied"},
            {:io_error, %{kind: :eisdir, path: "/x"}, "/x: illegal operation on a directory"},
            # Newer versions of OTP name the atom too.
            {:io_error, %{kind: :unknown, path: "/x"}, "/x: #{:file.format_error(:unknown)}"},
            {:io_error, %{kind: :eio}, "input: I/O error"},
            {:io_error, %{kind: :enoent, path: <<"a", 255>>}, ~S("a\xFF": no such file or directory)},
            {:io_error, %{kind: :enoent, path: ""}, ~S("": no such file or directory)},
            {:io_error, %{kind: :enoent, path: "a\e[2J"}, ~S("a\e[2J": no such file or directory)},
            {:file_changed, %{path: "/x"}, "/x: changed while it was read, or since it was chunked"},
            {:invalid_base32, %{position: 3}, "invalid Nix base-32 at character 3"},
            {:cancelled, %{}, "the operation was cancelled, or its stream or store is closed"}
          ] do
        error = Error.new(reason, details)
        assert Exception.message(error) == message
        assert %Error{reason: ^reason, details: ^details} = error
        assert_raise Error, message, fn -> raise Error, reason: reason, details: details end
      end

      assert_raise KeyError, fn -> raise Error, details: %{} end
    end
  end
end
