Code.require_file("support/attempts.exs", __DIR__)

defmodule Chunker.HostileTermsTest do
  # Terms that a caller chooses to do harm: lists in which one large binary stands many times, and terms of the
  # wrong form that are passed to the NIF and to the dispatch module directly.
  use ExUnit.Case, async: true

  alias Chunker.{Attempts, Error, Nar, NarInfo}

  @moduletag :tmp_dir

  describe "a list that holds one large binary many times is rejected before anything is copied:" do
    # Copied, this is 5 GB, which takes seconds; a rejection takes less than a millisecond. Only the list is in
    # memory.
    @times 1000
    @limit 150

    defp large, do: :binary.copy("a", 5_000_000)

    defp at_once?(call) do
      Attempts.once?(fn ->
        {time, _} = :timer.tc(call)
        time < 1000 * @limit
      end)
    end

    test "references of a chunk" do
      references = List.duplicate({0, large()}, @times)

      for restore <- [&Nar.restore_references/2, &:chunker_nar.restore_references/2] do
        assert {:error, _} = restore.("x", references)
        assert at_once?(fn -> restore.("x", references) end)
      end

      assert {:error, %Error{reason: :invalid_references, details: %{position: 0}}} =
               Nar.restore_references("x", references)

      # The position of the first wrong one, wherever it is.
      assert {:error, %Error{details: %{position: 32}}} =
               Nar.restore_references(String.duplicate("e", 64), [
                 {0, String.duplicate("x", 32)} | List.duplicate({32, large()}, @times)
               ])
    end

    test "references of a chunk that is read again", %{tmp_dir: folder} do
      path = Path.join(folder, "file")
      File.write!(path, "x")
      [chunk] = Chunker.chunk_file!(path)
      chunk = %{chunk | references: List.duplicate({0, large()}, @times)}
      assert {:error, %Error{reason: :file_changed}} = Chunker.read_chunk(path, chunk)
      assert at_once?(fn -> Chunker.read_chunk(path, chunk) end)
    end

    test "paths" do
      large = large()
      paths = List.duplicate(large, @times)
      assert {:ok, [{:error, {:io_error, details}} | _]} = :chunker.chunk_files(paths)
      assert details.kind == :enametoolong and details.path == large

      assert at_once?(fn -> :chunker.chunk_files(paths) end)
      assert {:ok, results} = Chunker.chunk_files([large, __ENV__.file, large])
      assert [{:error, error}, {:ok, [_]}, {:error, %Error{reason: :io_error}}] = results
      assert error.details.kind == :enametoolong and error.details.path == large
      assert error.message == String.duplicate("a", 65_536) <> "...: file name too long"
      # The longest path that the system takes, and the next one.
      for length <- [4095, 4096] do
        path = String.duplicate("./", 2040) <> String.pad_trailing("", length - 4080, "/")
        single = Chunker.chunk_file(path)
        assert {:ok, [^single]} = Chunker.chunk_files([path])
      end
    end

    test "the texts of a narinfo" do
      narinfo = %NarInfo{
        store_path: "/nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-net-tools-1.60",
        url: "nar/x.nar",
        compression: "none",
        nar_hash: "sha256:" <> String.duplicate("0", 52),
        nar_size: 1
      }

      assert {:ok, _} = NarInfo.to_string(narinfo)

      for change <- [
            %{references: List.duplicate(large(), @times)},
            %{sigs: List.duplicate(large(), @times)},
            %{extra: List.duplicate({"X", large()}, @times)}
          ],
          call <- [&NarInfo.to_string/1, &NarInfo.fingerprint/1] do
        large = Map.merge(narinfo, change)
        assert {:error, %Error{reason: :buffer_limit_exceeded}} = call.(large)
        assert at_once?(fn -> call.(large) end)
      end
    end
  end

  describe "a wrong term raises or is an error, and never a panic, in" do
    # Improper lists, and one term of each type.
    @wrong [
      nil,
      :日本,
      -1,
      0,
      18_446_744_073_709_551_616,
      1.5,
      "",
      "missing/x",
      <<1::3>>,
      [],
      ["x"],
      ["x" | "x"],
      [{0, "e"} | :tail],
      [{"X", "x"} | "x"],
      [[]],
      {},
      {"x"},
      %{}
    ]

    # The term with each of its parts, and itself, replaced by each wrong term, and with each list made improper.
    defp variants(term), do: [self(), make_ref(), (&is_atom/1) | @wrong] ++ inner(term)

    defp inner(term) when is_tuple(term) do
      for i <- 0..(tuple_size(term) - 1)//1,
          variant <- variants(elem(term, i)),
          do: put_elem(term, i, variant)
    end

    defp inner([head | tail] = list) do
      [
        :lists.append(list, :tail),
        :lists.append(list, "x") | for(variant <- variants(head), do: [variant | tail])
      ]
    end

    defp inner(_), do: []

    @chunking {{nil, 64, 256, 1024, 1, 0}, {false, nil, nil, true, true, {100, :infinity}}, {:blake3, nil},
               {1, 1}, :snapshot}
    @tar_chunking put_elem(@chunking, 1, {nil, 0})
    @batch {{1, 1}, 4, nil}
    @work {{1, 1}, nil}
    @compression {:zstd, nil, nil}
    @decompression {:auto, 1000, 1_000_000, false, nil}
    @narinfo {"/nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-net-tools-1.60", "url", "xz", nil, nil,
              "sha256:" <> String.duplicate("0", 52), 1, ["00bgd045z0d4icpbc2yyz4gx48ak44la-a"], nil, nil,
              nil, ["name:sig"], [{"X", "x"}]}
    @key "name:" <> Base.encode64(String.duplicate("k", 64))

    # Arguments that the functions of the NIF take. A job takes those of the function of its name, after a
    # ticket.
    defp arguments(folder) do
      [path, nar] = for name <- ["file", "nar"], do: Path.join(folder, name)
      File.write!(path, "content")
      {:ok, _} = Nar.dump(path, {:file, nar})
      archive = File.read!(nar)
      made = fn {:ok, resource} -> resource end
      cache = made.(:chunker_nif.cache_new({10, 100_000, :fingerprint}))
      coder = fn -> made.(:chunker_nif.compressor_new(@compression)) end
      decoder = fn -> made.(:chunker_nif.decompressor_new(@decompression)) end
      stream = fn -> made.(:chunker_nif.stream_pieces(@chunking, @compression, true)) end
      reader = fn -> made.(:chunker_nif.nar_open({:list, {100, :infinity}})) end
      dump = fn -> made.(:chunker_nif.nar_dump_open(path, :error)) end
      file = fn -> :chunker_nif.stream_file(nar, @chunking, @compression) |> elem(1) end
      special = fn -> made.(:chunker_nif.special_digest(path, :sha256)) end
      {:ok, store} = :chunker_store.open(Path.join(folder, "store"), avg_size: 256, durability: :relaxed)
      {:ok, %{id: id}} = :chunker_store.put(store, "content")
      {:ok, %{id: nar_id}} = :chunker_store.put(store, {:nar, archive})

      [other, closed] =
        for name <- ["other", "closed"],
            do: made.(:chunker_store.open(Path.join(folder, name), avg_size: 256, durability: :relaxed))

      session = fn -> made.(:chunker_dispatch.store_session(store)) end
      pieces = fn -> made.(:chunker_dispatch.session_pieces(session.(), :bytes, {nil, nil}, {1, 1})) end
      chunks = fn -> made.(:chunker_dispatch.store_chunks(store, id)) end
      object = fn -> made.(:chunker_dispatch.store_reader(store, id, nil, {0, nil}, {1, 1})) end

      [
        chunk_data: [archive, @chunking],
        chunk_data_dirty: [archive, @chunking],
        chunk_file: [nar, @chunking],
        read_chunk: [path, {0, 7}, {Chunker.hash("content", :blake3), :blake3}, [{0, "x"}]],
        restore_references: ["eee", [{0, "x"}, {1, "yz"}]],
        restore_references_dirty: ["eee", [{0, "x"}, {1, "yz"}]],
        chunk_files: [[nar, path], @chunking, @batch],
        hash_batch: [["a", "b"], {:blake3, cache}, @batch],
        compress_batch: [["a", "b"], @compression, @batch],
        decompress_batch: [["a", "b"], @decompression, @batch],
        compress: ["a", @compression],
        decompress: [Chunker.compress!("a"), @decompression],
        detect_codec: [Chunker.compress!("a")],
        detect_codec_dirty: [Chunker.compress!("a")],
        train_dictionary: [["a", "b"], 1000],
        compressor_new: [@compression],
        compressor_update: [coder.(), "a"],
        compressor_flush: [coder.()],
        compressor_finish: [coder.()],
        compressor_close: [coder.()],
        decompressor_new: [@decompression],
        decompressor_update: [decoder.(), Chunker.compress!("a")],
        decompressor_finish: [decoder.()],
        decompressor_ignored: [decoder.()],
        decompressor_close: [decoder.()],
        stream_file: [nar, @chunking, @compression],
        stream_pieces: [@chunking, @compression, true],
        stream_next: [file.()],
        stream_next_special: [file.()],
        stream_push: [stream.(), archive],
        stream_finish: [stream.()],
        stream_digest: [stream.()],
        stream_close: [stream.()],
        cache_new: [{10, 100_000, :content}],
        is_cache: [cache],
        cache_get: [cache, "a", :sha256],
        cache_get_dirty: [cache, "a", :sha256],
        cache_put: [cache, "a", :sha256],
        cache_put_dirty: [cache, "a", :sha256],
        cache_fetch: [cache, "a", :sha256],
        cache_fetch_dirty: [cache, "a", :sha256],
        cache_stats: [cache],
        cache_clear: [cache],
        hash: ["a", :sha256],
        hash_dirty: ["a", :sha256],
        hash_cached: ["a", {:sha256, cache}],
        hash_cached_dirty: ["a", {:sha256, cache}],
        hash_file: [path, {:sha256, cache}, :snapshot],
        special_chunks: [nar, @chunking, true],
        special_digest: [path, :sha256],
        special_nar: [nar, {:read_file, ""}],
        special_next: [special.()],
        nar_data: [archive, {:read_file, ""}],
        nar_file: [nar, {:read_file, ""}],
        nar_open: [{:listing, {:ls, :newest, {100, 100_000}}}],
        nar_push: [reader.(), archive],
        nar_push_io: [reader.(), archive],
        nar_finish: [reader.()],
        nar_close: [reader.()],
        nar_chunk_data: [archive, @chunking],
        nar_chunk_file: [nar, @chunking],
        nar_dump_file: [path, nar <> ".again", :snapshot, {1, 1}],
        nar_dump_open: [path, :snapshot],
        nar_dump_next: [dump.()],
        nar_dump_close: [dump.()],
        nix_base32_encode: ["a"],
        nix_base32_encode_dirty: ["a"],
        nix_base32_decode: [Chunker.to_nix_base32("a")],
        nix_base32_decode_dirty: [Chunker.to_nix_base32("a")],
        narinfo_parse: ["StorePath: x\n"],
        narinfo_parse_dirty: ["StorePath: x\n"],
        narinfo_to_text: [@narinfo],
        narinfo_fingerprint: [@narinfo],
        narinfo_sign: [@narinfo, @key],
        narinfo_verify: [@narinfo, [@key]],
        narinfo_generate_key: ["name"],
        narinfo_public_key: [@key],
        store_open: [
          Path.join(folder, "store"),
          {true, :blake3, {nil, 64, 256, 1024, 1, 0}, :zstd, 3, false, true}
        ],
        store_put_file: [store, path, {:tree, true}, {"name", nil}, @work],
        store_session: [store],
        session_put_file: [session.(), nar, {:nar, true}, {nil, nil}, @work],
        session_pieces: [session.(), {:nar, true}, {"name", nil}, {1, 1}],
        pieces_push: [pieces.(), "a"],
        pieces_finish: [session.(), pieces.()],
        pieces_close: [pieces.()],
        session_tag: [session.(), "name", id],
        session_commit: [session.()],
        session_close: [session.()],
        store_reader: [store, nar_id, "", {0, 1}, {1, 1}],
        store_read: [store, nar_id, "", {0, 1}, {1, 1}],
        reader_next: [object.()],
        reader_close: [object.()],
        store_restore_file: [store, nar_id, "", path <> ".restored", @work],
        store_restore_tree: [store, nar_id, path <> ".tree", @work],
        store_entries: [store, nar_id, "", {true, {100, :infinity}}, {1, 1}],
        store_manifest: [store, id],
        store_chunks: [store, id],
        chunks_next: [chunks.()],
        chunks_close: [chunks.()],
        store_missing: [store, [id]],
        store_tag: [store, "name"],
        store_set_tag: [store, "name", id, :any],
        store_remove_tag: [store, "name", id],
        store_forget: [store, id],
        store_tags: [store, ""],
        store_gc: [store, @work],
        store_check: [store, true, @work],
        store_stats: [store],
        store_copy: [store, other, [{id, "name"}, {id, nil}], @work],
        store_close: [closed],
        is_store: [store]
      ]
    end

    # The function of a job, or nil for a name that is not one of a job.
    defp of_job(name) do
      with [_, function] <- Regex.run(~r/(.*)_job$/, Atom.to_string(name)), do: String.to_atom(function)
    end

    # Returns how a call ends: with a value, with an exception of the VM, or with a panic.
    defp outcome(module, function, arguments) do
      if apply(module, function, arguments) == :ok and module == :chunker_nif and of_job(function) do
        {_, reference} = hd(arguments)

        receive do
          {^reference, :returned, _} -> :ok
          {^reference, :raised, reason} -> :erlang.error(reason)
        end
      end

      :value
    catch
      :error, %Chunker.PanicError{message: message} -> {:panic, function, arguments, message}
      # The name that rustler gives a panic while it decodes arguments.
      :error, :nif_panicked -> {:panic, function, arguments, :nif_panicked}
      :error, _ -> :exception
    end

    defp assert_no_panic(module, calls) do
      for {function, arguments} <- calls do
        assert outcome(module, function, arguments) == :value, "#{function} does not take its arguments"

        outcomes =
          for i <- 0..(length(arguments) - 1), variant <- variants(Enum.at(arguments, i)) do
            outcome(module, function, List.replace_at(arguments, i, variant))
          end

        assert Enum.uniq(for {:panic, _, _, _} = panic <- outcomes, do: panic) == []
        assert :exception in outcomes or function in [:is_cache, :is_store]
      end
    end

    test "each function of the NIF", %{tmp_dir: folder} do
      arguments = arguments(folder)
      exported = for {name, _} <- :chunker_nif.module_info(:exports), do: name

      calls =
        for name <- exported -- [:info, :panic, :module_info, :module_info] do
          case of_job(name) do
            nil -> {name, Keyword.fetch!(arguments, name)}
            function -> {name, [{:long, make_ref()} | Keyword.fetch!(arguments, function)]}
          end
        end

      assert Enum.sort(Keyword.keys(arguments)) ==
               calls |> Enum.map(fn {name, _} -> of_job(name) || name end) |> Enum.uniq() |> Enum.sort()

      assert_no_panic(:chunker_nif, [{:chunk_data, [File.read!(__ENV__.file), @tar_chunking]} | calls])
    end

    test "each function of the dispatch module", %{tmp_dir: folder} do
      nif = arguments(folder)
      [path, nar] = for name <- ["file", "nar"], do: Path.join(folder, name)
      {:ok, reader} = :chunker_dispatch.nar_open({:list, {100, :infinity}})
      {:ok, pieces} = :chunker_dispatch.open_pieces({@chunking, @compression})
      {:ok, chunks} = :chunker_dispatch.nar_chunk_open(@chunking)
      {:ok, stream} = :chunker_dispatch.open_file(nar, {@chunking, @compression})
      {:ok, compressor} = :chunker_dispatch.open_compressor(@compression)
      {:ok, decompressor} = :chunker_dispatch.open_decompressor(@decompression)

      same =
        ~w(chunk_data chunk_file restore_references chunk_files hash_batch compress_batch decompress_batch
           decompress train_dictionary is_cache cache_get cache_put cache_fetch cache_stats cache_clear hash hash_cached hash_file
           nar_data nar_file nar_open nar_chunk_data nar_chunk_file nar_dump_open nar_dump_next nar_dump_close
           store_open store_put_file store_session session_put_file session_pieces pieces_push pieces_finish pieces_close
           session_tag session_commit session_close store_reader store_read reader_next reader_close store_restore_file
           store_restore_tree store_entries store_manifest store_chunks chunks_next chunks_close store_missing store_tag store_set_tag store_remove_tag store_forget
           store_tags store_gc store_check store_stats store_copy store_close is_store)a

      calls =
        Keyword.take(nif, same) ++
          [
            read_chunk: [path, {0, 7, Chunker.hash("content", :blake3)}, [{0, "x"}], :blake3],
            to_nix_base32: ["a"],
            from_nix_base32: [Chunker.to_nix_base32("a")],
            compress: ["a", @compression, true],
            detect_format: [Chunker.compress!("a")],
            open_compressor: [@compression],
            compress_update: [compressor, "a"],
            compress_flush: [compressor],
            compress_finish: [compressor],
            close_compressor: [compressor],
            open_decompressor: [@decompression],
            decompress_update: [decompressor, Chunker.compress!("a")],
            decompress_finish: [decompressor],
            decompress_prefix: [Chunker.compress!("a"), @decompression],
            decompress_ignored: [decompressor],
            close_decompressor: [decompressor],
            parse_narinfo: ["StorePath: x\n"],
            narinfo_text: [@narinfo],
            narinfo_fingerprint: [@narinfo],
            sign_narinfo: [@narinfo, @key],
            verify_narinfo: [@narinfo, [@key]],
            generate_key: ["name"],
            public_key: [@key],
            nar_push: [reader, "x"],
            nar_finish: [reader],
            nar_close: [reader],
            nar_chunk_open: [@chunking],
            nar_chunk_push: [chunks, "x"],
            nar_chunk_finish: [chunks],
            nar_dump_file: [path, nar <> ".again", :snapshot, 1],
            open_cache: [{10, 100_000, :content}],
            open_file: [nar, {@chunking, @compression}],
            open_pieces: [{@chunking, @compression}],
            next: [stream],
            push: [pieces, "x"],
            finish: [pieces],
            close: [pieces]
          ]

      exported = for {name, _} <- :chunker_dispatch.module_info(:exports), do: name
      assert Enum.sort(exported -- [:module_info, :module_info]) == Enum.sort(Keyword.keys(calls))
      assert_no_panic(:chunker_dispatch, calls)
    end
  end
end
