defmodule Chunker.ErrorsTest do
  # Every error reason, caused by calls of both languages: its name, its details, and its message.
  use ExUnit.Case, async: true

  alias Chunker.{Compressor, Decompressor, Error, Nar, NarInfo, Store}

  @moduletag :tmp_dir
  @codecs [:zstd, :lz4, :xz, :bzip2, :gzip, :brotli]

  # Returns the options of decompression that detect the codec if it has a magic, and otherwise give it.
  defp detected(codec), do: if(codec == :brotli, do: [codec: :brotli], else: [])

  # A function's two ways to fail in Elixir, and its way in Erlang.
  defp assert_fails(calls, reason, details, message) do
    for call <- calls[:elixir] do
      assert {:error, %Error{} = error} = call.()
      assert {error.reason, error.details, error.message} == {reason, details, message}
      assert Exception.message(error) == message
    end

    for call <- calls[:raising] || [] do
      error = assert_raise Error, message, call
      assert {error.reason, error.details} == {reason, details}
    end

    for call <- calls[:erlang], do: assert(call.() == {:error, {reason, details}})
  end

  # Returns the result of the only item of a batch.
  defp only(call), do: fn -> with({:ok, [result]} <- call.(), do: result) end

  defp invalid(option, value, allowed), do: %{option: option, value: value, allowed: allowed}

  test "each documented reason has a test here" do
    {:docs_v1, _, _, _, %{"en" => documentation}, _, _} = Code.fetch_docs(Error)
    documented = for [_, reason] <- Regex.scan(~r/^\| `:(\w+)`/m, documentation), do: reason
    # The message of a build without a codec is tested on such builds.
    tested = Regex.scan(~r/^  test ":(\w+)/m, File.read!(__ENV__.file), capture: :all_but_first)
    assert Enum.sort(documented) -- ["feature_disabled"] == Enum.sort(List.flatten(tested))
  end

  test ":bounds_check_failed", %{tmp_dir: folder} do
    path = Path.join(folder, "short")
    File.write!(path, "short")
    chunk = %Chunker.Chunk{offset: 3, length: 3, hash: <<0::256>>}

    assert_fails(
      [
        elixir: [fn -> Chunker.read_chunk(path, chunk) end],
        raising: [fn -> Chunker.read_chunk!(path, chunk) end],
        erlang: [fn -> :chunker.read_chunk(path, Map.from_struct(chunk)) end]
      ],
      :bounds_check_failed,
      %{offset: 3, length: 3, data_length: 5},
      "cannot read 3 bytes at offset 3: the data has 5 bytes"
    )
  end

  test ":buffer_limit_exceeded", %{tmp_dir: folder} do
    chunk = %Chunker.Chunk{offset: 0, length: 16_777_217, hash: <<0::256>>}

    assert_fails(
      [
        elixir: [fn -> Chunker.read_chunk(folder, chunk) end],
        raising: [fn -> Chunker.read_chunk!(folder, chunk) end],
        erlang: [fn -> :chunker.read_chunk(folder, Map.from_struct(chunk)) end]
      ],
      :buffer_limit_exceeded,
      %{attempted: 16_777_217, limit: 16_777_216},
      "requested 16777217 bytes, but the limit is 16777216 bytes"
    )
  end

  test ":invalid_options" do
    for {options, details, message} <- [
          {[min_size: 1], invalid(:min_size, 1, "64..1048576"),
           "option :min_size is 1, but must be 64..1048576"},
          {[max_size: 1], invalid(:max_size, 1, "1024..16777216"),
           "option :max_size is 1, but must be 1024..16777216"},
          {[normalization: 4], invalid(:normalization, 4, "0..3"),
           "option :normalization is 4, but must be 0..3"},
          {[seed: -1], invalid(:seed, -1, "0..18446744073709551615"),
           "option :seed is -1, but must be 0..18446744073709551615"},
          {[hash: :md5], invalid(:hash, :md5, "blake3, sha256"),
           "option :hash is :md5, but must be blake3, sha256"},
          {[threads: 0], invalid(:threads, 0, "1..1024"), "option :threads is 0, but must be 1..1024"},
          {[nar: :maybe], invalid(:nar, :maybe, "true, false, auto"),
           "option :nar is :maybe, but must be true, false, auto"},
          {[preset: :huge], invalid(:preset, :huge, "default, large_packages, small_packages"),
           "option :preset is :huge, but must be default, large_packages, small_packages"},
          {[nar: true, min_entry_size: 131_071],
           invalid(:min_entry_size, 131_071, "at least min_size, which is 131072"),
           "option :min_entry_size is 131071, but must be at least min_size, which is 131072"},
          {[nar: true, min_entry_size: -1], invalid(:min_entry_size, -1, "131072..18446744073709551615"),
           "option :min_entry_size is -1, but must be 131072..18446744073709551615"},
          {[nar: :auto, boundary_preference_distance: -1],
           invalid(:boundary_preference_distance, -1, "at most min_size, which is 131072"),
           "option :boundary_preference_distance is -1, but must be at most min_size, which is 131072"}
        ] do
      assert_fails(
        [
          elixir: [
            fn -> Chunker.chunk_data("", options) end,
            fn -> Chunker.chunk_file("/no/such/file", options) end,
            fn -> Chunker.chunk_files([], options) end
          ],
          raising: [
            fn -> Chunker.chunk_data!("", options) end,
            fn -> Chunker.chunk_file!("/no/such/file", options) end,
            fn -> Chunker.chunk_files!([], options) end,
            fn -> [] |> Chunker.stream(options) |> Stream.run() end,
            fn -> "/no/such/file" |> Chunker.stream(options) |> Stream.run() end
          ],
          erlang: [
            fn -> :chunker.chunk_data("", options) end,
            fn -> :chunker.chunk_file("/no/such/file", Map.new(options)) end,
            fn -> :chunker.chunk_files([], options) end,
            fn -> :chunker.stream([], options) end
          ]
        ],
        :invalid_options,
        details,
        message
      )
    end

    compression = [codec: :xz, level: 10]

    assert_fails(
      [
        elixir: [
          fn -> Chunker.compress("", compression) end,
          fn -> Chunker.compress_batch([], compression) end,
          fn -> Compressor.new(compression) end
        ],
        raising: [
          fn -> Chunker.compress!("", compression) end,
          fn -> Chunker.compress_batch!([], compression) end,
          fn -> [] |> Chunker.compress_stream(compression) |> Stream.run() end,
          fn -> [] |> Chunker.stream(compress: compression) |> Stream.run() end
        ],
        erlang: [
          fn -> :chunker.compress("", compression) end,
          fn -> :chunker.compress_batch([], Map.new(compression)) end,
          fn -> :chunker.compressor(compression) end,
          fn -> :chunker.stream([], compress: compression) end,
          fn -> :chunker.stream([], %{compress: Map.new(compression)}) end
        ]
      ],
      :invalid_options,
      invalid(:level, 10, "0..9"),
      "option :level is 10, but must be 0..9"
    )

    decompression = [max_output_size: -1]

    assert_fails(
      [
        elixir: [
          fn -> Chunker.decompress("", decompression) end,
          fn -> Chunker.decompress_batch([], decompression) end,
          fn -> Decompressor.new(decompression) end
        ],
        raising: [
          fn -> Chunker.decompress!("", decompression) end,
          fn -> Chunker.decompress_batch!([], decompression) end,
          fn -> [] |> Chunker.decompress_stream(decompression) |> Stream.run() end
        ],
        erlang: [
          fn -> :chunker.decompress("", decompression) end,
          fn -> :chunker.decompress_batch([], decompression) end,
          fn -> :chunker.decompressor(decompression) end
        ]
      ],
      :invalid_options,
      invalid(:max_output_size, -1, "0..18446744073709551615 or infinity"),
      "option :max_output_size is -1, but must be 0..18446744073709551615 or infinity"
    )

    assert_fails(
      [
        elixir: [
          fn -> Chunker.hash_batch([], parallel_threshold: -1) end,
          fn -> Chunker.chunk_files([], parallel_threshold: -1) end
        ],
        raising: [fn -> Chunker.hash_batch!([], parallel_threshold: -1) end],
        erlang: [
          fn -> :chunker.hash_batch([], parallel_threshold: -1) end,
          fn -> :chunker.chunk_files([], %{parallel_threshold: -1}) end
        ]
      ],
      :invalid_options,
      invalid(:parallel_threshold, -1, "0..18446744073709551615"),
      "option :parallel_threshold is -1, but must be 0..18446744073709551615"
    )

    assert_fails(
      [
        elixir: [fn -> Chunker.train_dictionary([], max_size: 1) end],
        raising: [fn -> Chunker.train_dictionary!([], max_size: 1) end],
        erlang: [fn -> :chunker.train_dictionary([], max_size: 1) end]
      ],
      :invalid_options,
      invalid(:max_size, 1, "256..104857600"),
      "option :max_size is 1, but must be 256..104857600"
    )
  end

  test ":io_error", %{tmp_dir: folder} do
    missing = Path.join(folder, "missing")
    loop = Path.join(folder, "loop")
    File.ln_s!(loop, loop)

    for {path, kind, text} <- [
          {missing, :enoent, "no such file or directory"},
          {folder, :eisdir, "illegal operation on a directory"},
          {Path.join(__ENV__.file, "below"), :enotdir, "not a directory"},
          {loop, :eloop, "too many levels of symbolic links"},
          {missing <> String.duplicate("a", 300), :enametoolong, "file name too long"}
        ] do
      assert_fails(
        [
          elixir: [
            fn -> Chunker.chunk_file(path) end,
            fn -> Chunker.hash_file(path, :blake3) end,
            only(fn -> Chunker.chunk_files([path]) end)
          ],
          raising: [
            fn -> Chunker.chunk_file!(path) end,
            fn -> Chunker.hash_file!(path, :blake3) end,
            fn -> Chunker.chunk_files!([path]) end,
            fn -> path |> Chunker.stream() |> Stream.run() end
          ],
          erlang: [
            fn -> :chunker.chunk_file(path) end,
            fn -> :chunker.hash_file(path, :blake3) end,
            only(fn -> :chunker.chunk_files([path]) end),
            fn -> :chunker.stream({:file, path}) end
          ]
        ],
        :io_error,
        %{kind: kind, path: path},
        "#{path}: #{text}"
      )
    end
  end

  test ":file_changed", %{tmp_dir: folder} do
    path = Path.join(folder, "file")

    fresh = fn ->
      File.write!(path, "")
      # Takes more than one read.
      {_, 0} = System.cmd("truncate", ["-s", "64M", path])
    end

    shrink = fn -> {_, 0} = System.cmd("truncate", ["-s", "1", path]) end

    assert_fails(
      [
        elixir: [],
        raising: [
          fn ->
            fresh.()

            path
            |> Chunker.stream()
            |> Stream.each(fn chunk -> chunk.offset == 0 && shrink.() end)
            |> Stream.run()
          end
        ],
        erlang: [
          fn ->
            fresh.()
            {:ok, iterator} = :chunker.stream({:file, path})
            {:ok, _, next} = :chunker.next(iterator)
            shrink.()
            last(next)
          end
        ]
      ],
      :file_changed,
      %{path: path},
      "#{path}: changed while it was read, or since it was chunked"
    )
  end

  defp last(iterator) do
    case :chunker.next(iterator) do
      {:ok, _, next} -> last(next)
      other -> other
    end
  end

  test ":compression_failed" do
    assert_fails(
      [
        elixir: [fn -> Chunker.train_dictionary([]) end, fn -> Chunker.train_dictionary(["a", ["b"]]) end],
        raising: [fn -> Chunker.train_dictionary!([]) end],
        erlang: [
          fn -> :chunker.train_dictionary([]) end,
          fn -> :chunker.train_dictionary(["a"], max_size: 256) end
        ]
      ],
      :compression_failed,
      %{codec: :zstd, why: :samples_unsuitable},
      "zstd failed to compress: samples unsuitable"
    )
  end

  test ":decompression_failed" do
    noise = :rand.bytes(1000)

    flip_last = fn binary ->
      head = binary_part(binary, 0, byte_size(binary) - 1)
      head <> <<Bitwise.bxor(:binary.last(binary), 1)>>
    end

    dictionary = Chunker.train_dictionary!(for(i <- 1..2000, do: "sample #{i} of #{i * i}"), max_size: 1024)
    other = Chunker.train_dictionary!(for(i <- 1..2000, do: "Another #{i} or #{i * i}"), max_size: 1024)
    with_dictionary = Chunker.compress!("sample 3 of 9", dictionary: dictionary)

    cases =
      for codec <- @codecs do
        whole = Chunker.compress!(noise, codec: codec)

        options = detected(codec)

        [
          {codec, binary_part(whole, 0, byte_size(whole) - 1), options, :truncated},
          {codec, "something else", [codec: codec], if(codec == :brotli, do: :corrupt, else: :bad_magic)},
          {codec, "", [codec: codec], :truncated},
          {codec, whole <> "and some garbage", options, {:trailing_data, byte_size(whole)}}
        ]
      end

    cases =
      List.flatten(cases) ++
        [
          {:zstd, flip_last.(Chunker.compress!(noise)), [], :checksum_mismatch},
          {:lz4, flip_last.(Chunker.compress!(noise, codec: :lz4)), [], :checksum_mismatch},
          {:zstd, with_dictionary, [], :dictionary_missing},
          {:zstd, with_dictionary, [dictionary: other], :dictionary_wrong},
          {:zstd, <<0x28, 0xB5, 0x2F, 0xFD, 0, 18 * 8, 1, 0, 0>>, [],
           {:memory_limit, 268_435_456, 134_217_728}},
          {:brotli, <<0x11, 28, 3>>, [codec: :brotli, max_memory: 1000], {:memory_limit, 268_435_456, 1000}}
        ]

    for {codec, data, options, why} <- cases do
      {details, text} =
        case why do
          {:trailing_data, offset} ->
            {%{why: :trailing_data, offset: offset}, "trailing data at byte #{offset}"}

          {:memory_limit, needed, limit} ->
            {%{why: :memory_limit, option: :max_memory, needed: needed, limit: limit},
             "it needs #{needed} bytes of memory, but the limit is #{limit} bytes (option :max_memory)"}

          why ->
            {%{why: why}, String.replace("#{why}", "_", " ")}
        end

      assert_fails(
        [
          elixir: [
            fn -> Chunker.decompress(data, options) end,
            only(fn -> Chunker.decompress_batch([data], options) end),
            fn ->
              {:ok, decompressor} = Decompressor.new(options)

              with {:ok, _} <- Decompressor.update(decompressor, data),
                   do: Decompressor.finish(decompressor)
            end
          ],
          raising: [
            fn -> Chunker.decompress!(data, options) end,
            fn -> Chunker.decompress_batch!([data], options) end,
            fn -> [data] |> Chunker.decompress_stream(options) |> Stream.run() end
          ],
          erlang: [
            fn -> :chunker.decompress(data, options) end,
            only(fn -> :chunker.decompress_batch([data], options) end),
            fn ->
              {:ok, decompressor} = :chunker.decompressor(options)

              with {:ok, _} <- :chunker.decompressor_update(decompressor, data),
                   do: :chunker.decompressor_finish(decompressor)
            end
          ]
        ],
        :decompression_failed,
        Map.put(details, :codec, codec),
        "#{codec} failed to decompress: #{text}"
      )
    end
  end

  test ":size_exceeded" do
    for codec <- @codecs do
      data = Chunker.compress!("content", codec: codec)
      options = [max_output_size: 6] ++ detected(codec)

      assert_fails(
        [
          elixir: [
            fn -> Chunker.decompress(data, options) end,
            only(fn -> Chunker.decompress_batch([data], options) end),
            fn ->
              {:ok, decompressor} = Decompressor.new(options)
              Decompressor.update(decompressor, data)
            end
          ],
          raising: [
            fn -> Chunker.decompress!(data, options) end,
            fn -> Chunker.decompress_batch!([data], options) end,
            fn -> [data] |> Chunker.decompress_stream(options) |> Stream.run() end
          ],
          erlang: [
            fn -> :chunker.decompress(data, options) end,
            only(fn -> :chunker.decompress_batch([data], options) end),
            fn ->
              {:ok, decompressor} = :chunker.decompressor(options)
              :chunker.decompressor_update(decompressor, data)
            end
          ]
        ],
        :size_exceeded,
        %{limit: 6},
        "the content exceeds the limit of 6 bytes (option :max_output_size)"
      )
    end
  end

  test ":unknown_format" do
    for {data, magic, shown} <- [
          {"nonsense", "nons", "<<0x6E, 0x6F, 0x6E, 0x73>>"},
          {<<0x1F, 0x9D, 8, 0, 0>>, <<0x1F, 0x9D, 8, 0>>, "<<0x1F, 0x9D, 0x8, 0x0>>"},
          {"BZ", "BZ", "<<0x42, 0x5A>>"},
          {"", "", "<<>>"}
        ] do
      assert_fails(
        [
          elixir: [
            fn -> Chunker.detect_format(data) end,
            fn -> Chunker.decompress(data) end,
            only(fn -> Chunker.decompress_batch([data]) end)
          ],
          raising: [
            fn -> Chunker.detect_format!(data) end,
            fn -> Chunker.decompress!(data) end,
            fn -> Chunker.decompress_batch!([data]) end,
            fn -> [data] |> Chunker.decompress_stream() |> Stream.run() end
          ],
          erlang: [
            fn -> :chunker.detect_format(data) end,
            fn -> :chunker.decompress(data) end,
            only(fn -> :chunker.decompress_batch([data]) end)
          ]
        ],
        :unknown_format,
        %{magic: magic},
        "unknown compression format; the data begins with #{shown}"
      )
    end
  end

  test ":invalid_nar", %{tmp_dir: folder} do
    source = Path.join(folder, "tree")
    File.mkdir!(source)
    for name <- ["a", "b"], do: File.write!(Path.join(source, name), "content")
    nar = source |> Nar.stream() |> Enum.join()
    # The name `b`, the second of its two.
    {name, _} = :binary.match(nar, <<1::little-64, "b">>)

    replace = fn at, bytes ->
      rest = at + byte_size(bytes)
      binary_part(nar, 0, at) <> bytes <> binary_part(nar, rest, byte_size(nar) - rest)
    end

    path = Path.join(folder, "nar")
    fresh = Path.join(folder, "fresh")

    for {bytes, offset, why} <- [
          {"something else", 0, :bad_magic},
          {"", 0, :truncated},
          {nar <> <<0>>, byte_size(nar), :trailing_data},
          {replace.(56, <<9::little-64, "directors">>), 72, :bad_token},
          {replace.(name, <<0::little-64>>), name, :name_empty},
          {replace.(name, <<256::little-64>>), name, :name_too_long},
          {replace.(name + 8, "/"), name + 8, :name_invalid},
          {replace.(name + 8, "a"), name + 8, :names_unsorted},
          {replace.(name + 9, <<1>>), name + 9, :padding_nonzero}
        ] do
      File.write!(path, bytes)
      pieces = Stream.map(0..(byte_size(bytes) - 1)//1, &binary_part(bytes, &1, 1))

      next = fn next, at ->
        if at < byte_size(bytes), do: {binary_part(bytes, at, 1), fn -> next.(next, at + 1) end}, else: :done
      end

      erlang = fn -> next.(next, 0) end
      details = %{offset: offset, why: why}
      message = "not a NAR: #{String.replace("#{why}", "_", " ")} at byte #{offset}"

      assert_fails(
        [
          elixir:
            for source <- [bytes, [bytes, []], pieces, {:file, path}],
                call <- [
                  &Nar.list/1,
                  &Nar.listing/1,
                  &Nar.hash/1,
                  &Nar.read_file(&1, "missing"),
                  &Nar.restore(&1, fresh)
                ] do
              fn -> call.(source) end
            end,
          raising:
            for call <- [
                  &Nar.list!/1,
                  &Nar.listing!/1,
                  &Nar.hash!/1,
                  &Nar.read_file!(&1, "missing"),
                  &Nar.restore!(&1, fresh)
                ] do
              fn -> call.(pieces) end
            end,
          erlang:
            for source <- [bytes, [bytes, []], erlang, {:file, path}],
                call <- [
                  &:chunker_nar.list/1,
                  &:chunker_nar.listing/1,
                  &:chunker_nar.hash/1,
                  &:chunker_nar.read_file(&1, "missing"),
                  &:chunker_nar.restore(&1, fresh)
                ] do
              fn -> call.(source) end
            end
        ],
        :invalid_nar,
        details,
        message
      )

      assert File.ls!(folder) |> Enum.sort() == ["nar", "tree"]
    end

    File.write!(path, "something else")

    assert_fails(
      [
        elixir: [
          fn -> Chunker.chunk_data("something else", nar: true) end,
          fn -> Chunker.chunk_file(path, nar: true) end,
          only(fn -> Chunker.chunk_files([path], nar: true) end)
        ],
        raising: [
          fn -> Chunker.chunk_data!("something else", nar: true) end,
          fn -> path |> Chunker.stream(nar: true) |> Stream.run() end,
          fn -> ["something", " else"] |> Chunker.stream(nar: true) |> Stream.run() end
        ],
        erlang: [
          fn -> :chunker.chunk_data("something else", nar: true) end,
          fn -> :chunker.chunk_file(path, %{nar: true}) end,
          only(fn -> :chunker.chunk_files([path], nar: true) end)
        ]
      ],
      :invalid_nar,
      %{offset: 0, why: :bad_magic},
      "not a NAR: bad magic at byte 0"
    )
  end

  test ":tree_too_deep", %{tmp_dir: folder} do
    deep = Path.join([folder, "deep" | List.duplicate("d", 64)])
    File.mkdir_p!(deep)
    into = Path.join(folder, "deep.nar")

    assert_fails(
      [
        elixir: [fn -> Nar.dump(Path.join(folder, "deep"), {:file, into}) end],
        raising: [
          fn -> Nar.dump!(Path.join(folder, "deep"), {:file, into}) end,
          fn -> folder |> Path.join("deep") |> Nar.stream() |> Stream.run() end
        ],
        erlang: [fn -> :chunker_nar.dump(Path.join(folder, "deep"), {:file, into}) end]
      ],
      :tree_too_deep,
      %{path: deep, limit: 63},
      "#{deep}: too deep for a NAR, whose paths have at most 63 names"
    )
  end

  test ":limit_exceeded", %{tmp_dir: folder} do
    path = Path.join(folder, "file")
    File.write!(path, "content")
    nar = path |> Nar.stream() |> Enum.join()
    limit = [max_memory: 255]

    assert_fails(
      [
        elixir: [
          fn -> Nar.list(nar, limit) end,
          fn -> Nar.chunk(nar, [entries: true] ++ limit) end,
          fn -> Chunker.chunk_data(nar, [nar: true, entries: true] ++ limit) end
        ],
        raising: [
          fn -> Nar.list!(nar, limit) end,
          fn -> [nar] |> Chunker.stream([nar: true, entries: true] ++ limit) |> Stream.run() end
        ],
        erlang: [fn -> :chunker_nar.list(nar, limit) end]
      ],
      :limit_exceeded,
      %{option: :max_memory, limit: 255},
      "the result exceeds the limit of 255 that option :max_memory sets"
    )
  end

  test ":invalid_references" do
    references = [{0, "6xg2"}, {3, "59"}]

    assert_fails(
      [
        elixir: [fn -> Nar.restore_references("eeeeeeee", references) end],
        raising: [fn -> Nar.restore_references!("eeeeeeee", references) end],
        erlang: [fn -> :chunker_nar.restore_references("eeeeeeee", references) end]
      ],
      :invalid_references,
      %{position: 3},
      "there is no reference at byte 3"
    )
  end

  test ":invalid_base32" do
    for {text, position} <- [{"0mdqe", 4}, {"e", 0}, {String.duplicate("0", 5000) <> "u", 5000}] do
      assert_fails(
        [
          elixir: [fn -> Chunker.from_nix_base32(text) end],
          raising: [fn -> Chunker.from_nix_base32!(text) end],
          erlang: [fn -> :chunker.from_nix_base32(text) end]
        ],
        :invalid_base32,
        %{position: position},
        "invalid Nix base-32 at character #{position}"
      )
    end
  end

  @narinfo %NarInfo{
    store_path: "/nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-a",
    url: "nar/a.nar",
    compression: "none",
    nar_hash: "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73",
    nar_size: 120
  }

  test ":invalid_narinfo" do
    for {text, details, message} <- [
          {"a", %{line: 1, why: :missing_newline}, "invalid narinfo: line 1: missing newline"},
          {"a: b\nb\n", %{line: 2, why: :missing_colon}, "invalid narinfo: line 2: missing colon"},
          {"FileSize: x\n", %{field: "FileSize", why: :not_a_number},
           "invalid narinfo: FileSize: not a number"}
        ] do
      assert_fails(
        [
          elixir: [fn -> NarInfo.parse(text) end],
          raising: [fn -> NarInfo.parse!(text) end],
          erlang: [fn -> :chunker_narinfo.parse(text) end]
        ],
        :invalid_narinfo,
        details,
        message
      )
    end

    secret = NarInfo.generate_key!("a").secret_key

    for {change, details, message} <- [
          {%{url: "a\nb"}, %{field: "URL", why: :line_break}, "invalid narinfo: URL: line break"},
          {%{extra: [{"\e:", ""}]}, %{field: "\e:", why: :name_character},
           ~S(invalid narinfo: "\e:": name character)}
        ] do
      narinfo = Map.merge(@narinfo, change)
      map = Map.from_struct(narinfo)

      assert_fails(
        [
          elixir: [
            fn -> NarInfo.to_string(narinfo) end,
            fn -> NarInfo.fingerprint(narinfo) end,
            fn -> NarInfo.sign(narinfo, secret) end,
            fn -> NarInfo.verify(narinfo, []) end
          ],
          raising: [
            fn -> NarInfo.to_string!(narinfo) end,
            fn -> to_string(narinfo) end,
            fn -> NarInfo.fingerprint!(narinfo) end,
            fn -> NarInfo.sign!(narinfo, secret) end,
            fn -> NarInfo.verify!(narinfo, []) end
          ],
          erlang: [
            fn -> :chunker_narinfo.to_string(map) end,
            fn -> :chunker_narinfo.fingerprint(map) end,
            fn -> :chunker_narinfo.sign(map, secret) end,
            fn -> :chunker_narinfo.verify(map, []) end
          ]
        ],
        :invalid_narinfo,
        details,
        message
      )
    end
  end

  test ":invalid_key" do
    assert_fails(
      [
        elixir: [fn -> NarInfo.generate_key("a b") end],
        raising: [fn -> NarInfo.generate_key!("a b") end],
        erlang: [fn -> :chunker_narinfo.generate_key("a b") end]
      ],
      :invalid_key,
      %{why: :bad_name},
      "invalid key: bad name"
    )

    map = Map.from_struct(@narinfo)

    assert_fails(
      [
        elixir: [
          fn -> NarInfo.sign(@narinfo, "a:AAAA") end,
          fn -> NarInfo.public_key("a:AAAA") end,
          fn -> NarInfo.verify(@narinfo, "a:AAAA") end
        ],
        raising: [
          fn -> NarInfo.sign!(@narinfo, "a:AAAA") end,
          fn -> NarInfo.public_key!("a:AAAA") end,
          fn -> NarInfo.verify!(@narinfo, "a:AAAA") end
        ],
        erlang: [
          fn -> :chunker_narinfo.sign(map, "a:AAAA") end,
          fn -> :chunker_narinfo.public_key("a:AAAA") end,
          fn -> :chunker_narinfo.verify(map, ["a:AAAA"]) end
        ]
      ],
      :invalid_key,
      %{why: :wrong_length},
      "invalid key: wrong length"
    )
  end

  test ":invalid_signature" do
    key = NarInfo.generate_key!("a").public_key
    forged = %{@narinfo | sigs: ["a:" <> Base.encode64(<<0::512>>)]}

    for {narinfo, why} <- [{@narinfo, :unsigned}, {forged, :mismatch}] do
      assert_fails(
        [
          elixir: [fn -> NarInfo.verify(narinfo, key) end],
          raising: [fn -> NarInfo.verify!(narinfo, [key]) end],
          erlang: [fn -> :chunker_narinfo.verify(Map.from_struct(narinfo), [key]) end]
        ],
        :invalid_signature,
        %{why: why},
        "no valid signature: #{why}"
      )
    end
  end

  test ":cancelled" do
    {:ok, compressor} = Compressor.new()
    :ok = Compressor.close(compressor)
    {:ok, decompressor} = Decompressor.new()
    :ok = Decompressor.close(decompressor)
    {:ok, iterator} = :chunker.stream(["data"])
    :ok = :chunker.close(iterator)

    assert_fails(
      [
        elixir: [
          fn -> Compressor.update(compressor, "data") end,
          fn -> Compressor.finish(compressor) end,
          fn -> Decompressor.update(decompressor, "data") end,
          fn -> Decompressor.finish(decompressor) end
        ],
        erlang: [
          fn -> :chunker.compressor_update(compressor.coder, "data") end,
          fn -> :chunker.compressor_finish(compressor.coder) end,
          fn -> :chunker.decompressor_update(decompressor.coder, "data") end,
          fn -> :chunker.decompressor_finish(decompressor.coder) end,
          fn -> :chunker.next(iterator) end
        ]
      ],
      :cancelled,
      %{},
      "the operation was cancelled, or its stream or store is closed"
    )
  end

  defp store(folder) do
    store = Store.open!(Path.join(folder, "store"), avg_size: 4096, durability: :relaxed)
    {store, store.store}
  end

  test ":not_found", %{tmp_dir: folder} do
    {store, handle} = store(folder)
    id = <<255, 0::248>>

    for {name, message} <- [
          {"a/b", "a/b is not there"},
          {id, "ff#{String.duplicate("00", 31)} is not there"}
        ] do
      name_of = if name == id, do: Base.encode16(id, case: :lower), else: name

      assert_fails(
        [
          elixir: [
            fn -> Store.read(store, name) end,
            fn -> Store.manifest(store, name) end,
            fn -> Store.restore(store, name, {:file, Path.join(folder, "to")}) end
          ],
          raising: [
            fn -> Store.read!(store, name) end,
            fn -> store |> Store.stream(name) |> Stream.run() end,
            fn -> store |> Store.chunks(name) |> Stream.run() end
          ],
          erlang: [
            fn -> :chunker_store.read(handle, name) end,
            fn -> :chunker_store.stream(handle, name) end,
            fn -> :chunker_store.chunks(handle, name) end
          ]
        ],
        :not_found,
        %{name: name_of},
        message
      )
    end
  end

  test ":already_exists", %{tmp_dir: folder} do
    {store, handle} = store(folder)
    %{id: id} = Store.put!(store, "content", name: "a")

    assert_fails(
      [
        elixir: [
          fn -> Store.tag(store, "a", id, if: :absent) end,
          fn -> Store.untag(store, "a", if: {:is, <<0::256>>}) end
        ],
        erlang: [
          fn -> :chunker_store.tag(handle, "a", id, if: :absent) end,
          fn -> :chunker_store.untag(handle, "a", %{if: {:is, <<0::256>>}}) end
        ]
      ],
      :already_exists,
      %{name: "a"},
      "tag a exists, or names another object"
    )
  end

  test ":chunk_missing", %{tmp_dir: folder} do
    {store, _} = store(folder)
    # Shorter than the shortest chunk.
    data = :rand.bytes(1000)
    Store.put!(store, data, name: "a")
    File.rm_rf!(Path.join(folder, "store/packs"))
    {store, handle} = store(folder)
    digest = Chunker.hash(data, :blake3)

    assert_fails(
      [
        elixir: [fn -> Store.read(store, "a") end],
        raising: [fn -> Store.read!(store, "a") end, fn -> store |> Store.stream("a") |> Stream.run() end],
        erlang: [fn -> :chunker_store.read(handle, "a") end, fn -> :chunker_store.stream(handle, "a") end]
      ],
      :chunk_missing,
      %{digests: [digest]},
      "chunks are missing, the first one of which is #{Base.encode16(digest, case: :lower)}; " <>
        "put the source again, or copy the object from another store (check lists what is incomplete)"
    )

    assert Error.new(:chunk_missing, %{digests: []}).message =~ ~r/^chunks are missing; put the source again/
  end

  test ":store_corrupt", %{tmp_dir: folder} do
    {store, handle} = store(folder)
    Store.put!(store, :rand.bytes(1000), name: "a")
    [pack] = Path.wildcard(Path.join(folder, "store/packs/*/*"))
    <<head::binary-size(1000), byte, rest::binary>> = File.read!(pack)
    File.write!(pack, [head, rem(byte + 1, 256), rest])
    name = Path.relative_to(pack, Path.join(folder, "store"))

    assert_fails(
      [
        elixir: [fn -> Store.read(store, "a") end],
        raising: [fn -> Store.read!(store, "a") end, fn -> store |> Store.stream("a") |> Stream.run() end],
        erlang: [fn -> :chunker_store.read(handle, "a") end]
      ],
      :store_corrupt,
      %{pack: name, offset: 32, why: :record_digest},
      "#{name} is damaged at byte 32: record digest; check the store, repair it, and put again what it has lost"
    )
  end

  test ":session_fenced", %{tmp_dir: folder} do
    {store, handle} = store(folder)
    data = :rand.bytes(3000)

    garbage = fn ->
      Store.forget(store, Store.put!(store, data).id)
      :ok
    end

    # The content is there, and deleted before the commit.
    assert_fails(
      [
        elixir: [
          fn ->
            garbage.()
            Store.session(store, fn session -> Store.put!(session, data) && Store.gc(store) end)
          end
        ],
        erlang: [
          fn ->
            garbage.()

            :chunker_store.session(handle, fn session ->
              {:ok, _} = :chunker_store.put(session, data)
              {:ok, _} = :chunker_store.gc(handle)
              :done
            end)
          end
        ]
      ],
      :session_fenced,
      %{},
      "a garbage collection has deleted what was to be put; put it again"
    )
  end

  test ":store_locked", %{tmp_dir: folder} do
    {store, handle} = store(folder)
    {:ok, _} = Store.gc(store)
    lock = Path.join(folder, "store/gc.lock")
    port = Port.open({:spawn_executable, System.find_executable("flock")}, args: [lock, "sleep", "60"])
    {:os_pid, pid} = Port.info(port, :os_pid)
    on_exit(fn -> System.cmd("pkill", ["-P", to_string(pid)]) end)
    assert Enum.any?(1..500, fn _ -> Process.sleep(10) && match?({:error, _}, Store.gc(store)) end)

    assert_fails(
      [
        elixir: [fn -> Store.gc(store) end, fn -> Store.repair(store) end],
        erlang: [fn -> :chunker_store.gc(handle) end, fn -> :chunker_store.repair(handle) end]
      ],
      :store_locked,
      %{},
      "a garbage collection or a repair runs, or a process was stopped that holds the lock of the store"
    )
  end

  test ":unsupported_format", %{tmp_dir: folder} do
    store(folder)
    folder = Path.join(folder, "store")
    path = Path.join(folder, "format")
    text = path |> File.read!() |> String.replace("uuid", "feature encryption\nuuid")
    [text, _] = String.split(text, "check ")
    check = text |> Chunker.hash(:blake3) |> Base.encode16(case: :lower) |> binary_part(0, 16)
    File.write!(path, "#{text}check #{check}\n")

    assert_fails(
      [
        elixir: [fn -> Store.open(folder) end],
        raising: [fn -> Store.open!(folder) end],
        erlang: [fn -> :chunker_store.open(folder) end]
      ],
      :unsupported_format,
      %{feature: "encryption"},
      "the store needs encryption, which this version of Chunker does not know"
    )
  end
end
