%% Drives the Erlang face, in a node that has no Elixir: `erlang_test.exs' compiles and runs it.
-module(chunker_tests).

-include_lib("eunit/include/eunit.hrl").

-define(SMALL, #{min_size => 64, avg_size => 256, max_size => 1024}).

%% OTP 27 and newer warn if a literal is updated.
small(More) -> maps:merge(?SMALL, More).

data(Size) ->
    _ = rand:seed(exsss, 7),
    rand:bytes(Size).

with_file(Content, Test) ->
    Path = filename:join(os:getenv("TMPDIR", "/tmp"), "chunker-eunit-" ++ os:getpid()),
    ok = file:write_file(Path, Content),
    try Test(Path)
    after ok = file:delete(Path)
    end.

chunks(Iterator) ->
    case chunker:next(Iterator) of
        {ok, Chunk, Next} -> [Chunk | chunks(Next)];
        done -> [];
        Error -> [Error]
    end.

stream(Source, Options) ->
    {ok, Iterator} = chunker:stream(Source, Options),
    chunks(Iterator).

%% The text that the shell prints of a badarg, by argument.
explained(Fun) ->
    try Fun() of
        Value -> {returned, Value}
    catch
        error:badarg:Stack ->
            [{Module, Function, Arguments, Info} | _] = Stack,
            #{cause := _} = proplists:get_value(error_info, Info),
            %% It is the function that was called.
            true = erlang:function_exported(Module, Function, length(Arguments)),
            chunker_badarg:format_error(badarg, Stack)
    end.

no_elixir_test() ->
    ?assertEqual(non_existing, code:which('Elixir.Kernel')),
    ?assertEqual(non_existing, code:which(elixir)).

chunk_data_test() ->
    ?assertEqual({ok, []}, chunker:chunk_data(<<>>)),
    ?assertEqual({ok, []}, chunker:chunk_data([[], <<>>], [])),
    Hash = chunker:hash(<<"hello">>, blake3),
    ?assertEqual(
        {ok, [#{offset => 0, length => 5, hash => Hash, data => <<"hello">>}]},
        chunker:chunk_data(["he", [$l | <<"lo">>]])
    ),
    Data = data(100_000),
    {ok, Chunks} = chunker:chunk_data(Data, small(#{hash => sha256})),
    ?assert(length(Chunks) > 100),
    ?assertEqual(Data, iolist_to_binary([D || #{data := D} <- Chunks])),
    lists:foldl(
        fun(#{offset := Offset, length := Length, hash := H, data := D} = Chunk, Expected) ->
            ?assertEqual([data, hash, length, offset], lists:sort(maps:keys(Chunk))),
            ?assertEqual(Expected, Offset),
            ?assertEqual(Length, byte_size(D)),
            ?assert(Length =< 1024),
            ?assertEqual(crypto:hash(sha256, D), H),
            %% A part of the input, not a copy; up to 64 bytes the VM itself prefers to copy.
            ?assert(Length =< 64 orelse binary:referenced_byte_size(D) =:= 100_000),
            Offset + Length
        end,
        0,
        Chunks
    ).

chunk_file_test() ->
    Data = data(100_000),
    {ok, InMemory} = chunker:chunk_data(Data, ?SMALL),
    Expected = [maps:remove(data, Chunk) || Chunk <- InMemory],
    with_file(Data, fun(Path) ->
        [?assertEqual({Name, {ok, Expected}}, {Name, chunker:chunk_file(Name, Options)})
         || {Name, Options} <- [
            {Path, ?SMALL},
            {list_to_binary(Path), maps:to_list(?SMALL)},
            {list_to_atom(Path), ?SMALL},
            {[filename:dirname(Path), $/, [filename:basename(Path)]], ?SMALL}
        ]],
        {ok, [#{offset := 0, length := 100_000}]} = chunker:chunk_file(Path)
    end).

names_of_files_test() ->
    Folder = filename:join(os:getenv("TMPDIR", "/tmp"), "chunker-eunit-names-" ++ os:getpid()),
    ok = file:make_dir(Folder),
    Names = [filename:join(Folder, [16#20AC, $\s, 228]), <<(list_to_binary(Folder))/binary, "/raw", 255>>],
    lists:foreach(
        fun(Name) ->
            ok = file:write_file(Name, <<"abc">>),
            ?assertEqual({ok, crypto:hash(sha256, <<"abc">>)}, chunker:hash_file(Name, sha256)),
            {ok, [_]} = chunker:chunk_file(Name),
            [_] = stream({file, Name}, []),
            ok = file:delete(Name)
        end,
        Names
    ),
    ok = file:del_dir(Folder).

stream_test() ->
    Data = data(300_000),
    {ok, Expected} = chunker:chunk_data(Data, ?SMALL),
    with_file(Data, fun(Path) ->
        [?assertEqual({Way, Expected}, {Way, stream(Source, Options)}) || {Way, Source, Options} <- [
            {whole, [Data], ?SMALL},
            {bytes, [[B] || <<B>> <= Data], ?SMALL},
            {nested, [<<>>, [], [[Data]], ""], maps:to_list(?SMALL)},
            {slices, slices(Data, 1000), ?SMALL},
            {function, fun() -> {Data, []} end, ?SMALL},
            {file, {file, Path}, ?SMALL},
            {binary_name, {file, list_to_binary(Path)}, ?SMALL}
        ]]
    end),
    ?assertEqual([], stream([], [])),
    ?assertEqual([], stream(fun() -> done end, [])),
    {ok, Iterator} = chunker:stream([<<"abc">>]),
    {ok, #{data := <<"abc">>}, Last} = chunker:next(Iterator),
    ?assertEqual(done, chunker:next(Last)),
    ?assertEqual(done, chunker:next(Last)).

slices(Data, Size) ->
    fun() ->
        case Data of
            <<>> -> done;
            <<Slice:Size/binary, Rest/binary>> -> {Slice, slices(Rest, Size)};
            Rest -> {Rest, slices(<<>>, Size)}
        end
    end.

%% Pieces longer than what the engine takes at a time are no other input.
long_pieces_test() ->
    Data = data(9_000_001),
    {ok, Expected} = chunker:chunk_data(Data),
    ?assertEqual(Expected, stream([Data], [])),
    ?assertEqual(Expected, stream([binary:part(Data, 0, 4_194_304), binary:part(Data, 4_194_304, 4_805_697)], [])),
    ?assertEqual(Expected, stream(slices(Data, 4_194_305), [])).

%% Pieces of 1,000 bytes.
stream_is_lazy_test() ->
    Alone = small(#{threads => 1}),
    {ok, Iterator} = chunker:stream(endless(), Alone),
    receive piece -> error(early) after 0 -> ok end,
    {ok, #{length := 1024}, Next} = chunker:next(Iterator),
    {ok, #{offset := 1024}, Other} = chunker:next(Next),
    ?assert(pieces() < 10),
    ok = chunker:close(Other),
    ok = chunker:close(Other),
    %% A chunk that was there already may still come.
    ?assertEqual({error, {cancelled, #{}}}, lists:last(chunks(Other))).

%% While another thread is at the first chunk, the engine takes in more, but no more than it may hold: four
%% times the largest chunk and a few MiB for each thread.
stream_works_ahead_within_bounds_test() ->
    pieces(),
    {ok, Iterator} = chunker:stream(endless(), small(#{threads => 2})),
    {ok, _, Next} = chunker:next(Iterator),
    ?assert(pieces() =< 16_000),
    ok = chunker:close(Next).

endless() ->
    Self = self(),
    fun Endless() -> Self ! piece, {<<0:8_000>>, Endless} end.

pieces() -> receive piece -> 1 + pieces() after 0 -> 0 end.

close_test() ->
    with_file(data(3_000_000), fun(Path) ->
        {ok, Iterator} = chunker:stream({file, Path}, ?SMALL),
        {ok, _, Next} = chunker:next(Iterator),
        ok = chunker:close(Next),
        %% The chunks that were there already may still come.
        ?assertEqual({error, {cancelled, #{}}}, lists:last(chunks(Next)))
    end),
    {ok, Ended} = chunker:stream([]),
    done = chunker:next(Ended),
    ?assertEqual(ok, chunker:close(Ended)).

hash_test() ->
    ?assertEqual(crypto:hash(sha256, <<"abc">>), chunker:hash(["a", $b, <<"c">>], sha256)),
    Long = data(200_000),
    ?assertEqual(crypto:hash(sha256, Long), chunker:hash(Long, sha256)),
    %% From the test vectors of BLAKE3.
    ?assertEqual(
        <<"af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262">>,
        chunker:to_hex(chunker:hash([], blake3))
    ),
    with_file(Long, fun(Path) ->
        ?assertEqual({ok, crypto:hash(sha256, Long)}, chunker:hash_file(Path, sha256)),
        ?assertEqual({ok, chunker:hash(Long, blake3)}, chunker:hash_file(list_to_binary(Path), blake3))
    end).

notation_test() ->
    ?assertEqual(<<"00abff">>, chunker:to_hex(<<0, 171, 255>>)),
    Empty = chunker:hash(<<>>, sha256),
    Text = <<"0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73">>,
    ?assertEqual(Text, chunker:to_nix_base32(Empty)),
    ?assertEqual({ok, Empty}, chunker:from_nix_base32(Text)),
    Long = data(100_000),
    ?assertEqual({ok, Long}, chunker:from_nix_base32(chunker:to_nix_base32(Long))),
    ?assertEqual({error, {invalid_base32, #{position => 4}}}, chunker:from_nix_base32(<<"0mdqe">>)),
    ?assertEqual({error, {invalid_base32, #{position => 99_999}}},
                 chunker:from_nix_base32(<<(binary:copy(<<"0">>, 99_999))/binary, "e">>)).

the_application_starts_without_elixir_test() ->
    ?assertEqual({error, bad_name}, code:lib_dir(elixir)),
    ?assertEqual({ok, [chunker]}, application:ensure_all_started(chunker)).

info_test() ->
    Info = chunker:info(),
    #{version := Version, cpu_features := Features, kernels := #{scan := Scan}, threads := Threads} = Info,
    #{hashes := #{blake3 := Blake3, sha256 := Sha256}} = Info,
    ?assert(lists:all(fun is_binary/1, [Version, Scan, Blake3, Sha256 | Features])),
    ?assertEqual(erlang:system_info(dirty_cpu_schedulers_online), Threads).

options_test() ->
    Data = data(50_000),
    Map = small(#{normalization => 3, seed => 16#FFFFFFFFFFFFFFFF, hash => sha256, threads => 2}),
    Result = {ok, _} = chunker:chunk_data(Data, Map),
    ?assertEqual(Result, chunker:chunk_data(Data, maps:to_list(Map))),
    ?assertNotEqual(Result, chunker:chunk_data(Data, Map#{seed := 0})).

errors_test() ->
    Path = <<"/no/such/file">>,
    Missing = {error, {io_error, #{kind => enoent, path => Path}}},
    ?assertEqual(Missing, chunker:chunk_file(Path)),
    ?assertEqual(Missing, chunker:chunk_file("/no/such/file", [])),
    ?assertEqual(Missing, chunker:hash_file(Path, blake3)),
    ?assertEqual(Missing, chunker:stream({file, Path})),
    ?assertEqual({error, {io_error, #{kind => eisdir, path => <<"/">>}}}, chunker:chunk_file("/")),
    ?assertEqual({error, {io_error, #{kind => einval, path => <<"a", 0>>}}}, chunker:chunk_file(<<"a", 0>>)),
    Range = {error, {invalid_options, #{option => min_size, value => 1, allowed => <<"64..1048576">>}}},
    [?assertEqual(Range, Call) || Call <- [
        chunker:chunk_file("/", [{min_size, 1}]),
        chunker:chunk_data(<<>>, #{min_size => 1}),
        chunker:stream([], #{min_size => 1}),
        chunker:stream({file, "/no/such/file"}, [{min_size, 1}])
    ]],
    Hash = {error, {invalid_options, #{option => hash, value => md5, allowed => <<"blake3, sha256">>}}},
    ?assertEqual(Hash, chunker:chunk_data(<<>>, [{hash, md5}])).

nar_test() ->
    [_, _] = Parts = [<<13:64/little, "nix-archive-1", 0:24>>, nar_of(data(50_000))],
    Nar = iolist_to_binary(Parts),
    Options = small(#{nar => true}),
    {ok, Expected} = chunker:chunk_data(Nar, Options),
    ?assertEqual(Nar, iolist_to_binary([D || #{data := D} <- Expected])),
    %% The contents of the file begin a chunk, at the offset that the archive tells.
    {ok, [#{offset := Offset}]} = chunker_nar:list(Nar),
    ?assert(lists:member(Offset, [O || #{offset := O} <- Expected])),
    {ok, Plain} = chunker:chunk_data(Nar, ?SMALL),
    ?assertNotEqual(Expected, Plain),
    Once = #{option => nar, value => auto, allowed => <<"true or false, since this input can be read only once">>},
    with_file(Nar, fun(Path) ->
        Bare = {ok, [maps:remove(data, Chunk) || Chunk <- Expected]},
        [
            begin
                ?assertEqual(Bare, chunker:chunk_file(Path, small(#{nar => Mode}))),
                ?assertEqual({ok, [Bare]}, chunker:chunk_files([Path], small(#{nar => Mode}))),
                ?assertEqual(Expected, stream({file, Path}, small(#{nar => Mode}))),
                ?assertEqual({ok, Expected}, chunker:chunk_data(Parts, small(#{nar => Mode})))
            end
         || Mode <- [true, auto]
        ],
        [?assertEqual(Expected, stream(slices(Nar, Size), Options)) || Size <- [7, 1000, 100_000]],
        ?assertEqual({error, {invalid_options, Once}}, chunker:stream([Nar], [{nar, auto}]))
    end),
    ?assertEqual({ok, [maps:put(offset, 0, hd(Plain))]},
                 chunker:chunk_data(maps:get(data, hd(Plain)), small(#{nar => auto}))),
    ?assertEqual(chunker:chunk_data(Nar, [{nar, true}, {preset, small_packages}]),
                 chunker:chunk_data(Nar, [{nar, true}, {min_size, 32768}, {avg_size, 131072}, {max_size, 524288}])),
    Truncated = {error, {invalid_nar, #{offset => 100, why => truncated}}},
    ?assertEqual(Truncated, chunker:chunk_data(binary:part(Nar, 0, 100), Options)),
    %% Chunks may come out before the end is known.
    ?assertEqual(Truncated, lists:last(stream([binary:part(Nar, 0, 100)], Options))),
    ?assertEqual(#{2 => <<"option min_entry_size needs option nar or tar">>},
                 explained(fun() -> chunker:chunk_data(Nar, [{min_entry_size, 1}]) end)).

tar_test() ->
    Content = rand:bytes(100000),
    Header = fun(Owner) ->
        Fields = ["file", binary:copy(<<0>>, 96), "0000644", 0, Owner, 0, "0000000", 0, "00000303240", 0, "00000000000", 0],
        Bytes = iolist_to_binary([Fields, "        0", binary:copy(<<0>>, 355)]),
        <<Before:148/binary, _:8/binary, After/binary>> = Bytes,
        [Before, io_lib:format("~6.8.0b", [lists:sum(binary_to_list(Bytes))]), 0, " ", After]
    end,
    [One, Two] = [iolist_to_binary([Header(Owner), Content, binary:copy(<<0>>, 352 + 1024)]) || Owner <- ["0000001", "0000002"]],
    Options = small(#{tar => true}),
    {ok, [#{length := 512} | Chunks]} = chunker:chunk_data(One, Options),
    {ok, [#{length := 512} | Others]} = chunker:chunk_data(Two, Options),
    {ok, Alone} = chunker:chunk_data(Content, small(#{})),
    Hashes = fun(List) -> [Hash || #{hash := Hash} <- List] end,
    ?assertEqual(Hashes(Chunks), Hashes(Others)),
    ?assertEqual([], Hashes(Alone) -- Hashes(Chunks)),
    ?assertEqual(chunker:chunk_data(Content, small(#{})), chunker:chunk_data(Content, Options)),
    ?assertEqual(#{2 => <<"options nar and tar exclude each other">>},
                 explained(fun() -> chunker:chunk_data(One, [{tar, true}, {nar, auto}]) end)),
    ?assertEqual(#{2 => <<"option entries needs option nar">>},
                 explained(fun() -> chunker:chunk_data(One, [{tar, true}, {entries, true}]) end)),
    ?assertEqual(#{2 => <<"option tar must be true or false, not auto">>},
                 explained(fun() -> chunker:chunk_data(One, [{tar, auto}]) end)).

nar_of(Content) ->
    [[<<(byte_size(S)):64/little>>, S, binary:copy(<<0>>, -byte_size(S) band 7)]
     || S <- [<<"(">>, <<"type">>, <<"regular">>, <<"contents">>, Content, <<")">>]].

badarg_test_() ->
    Options = <<"unknown option colour; there are: min_size, avg_size, max_size, normalization, seed, preset, nar, tar, "
                "min_entry_size, boundary_preference_distance, entries, references, max_entries, "
                "max_memory, hash, cache, on_change, threads">>,
    Sources = <<"must be {file, Path}, a list of iodata, or a fun that gives {Piece, NextFun} or done">>,
    {ok, Odd} = chunker:stream([<<"a">>, odd]),
    {ok, Improper} = chunker:stream([<<"a">> | <<"b">>]),
    {ok, Wrong} = chunker:stream(fun() -> <<"a">> end),
    {ok, End} = chunker:stream(fun() -> {<<"a">>, the_end} end),
    [
        ?_assertEqual(#{Position => Text}, explained(Fun))
     || {Position, Text, Fun} <- [
            {2, Options, fun() -> chunker:chunk_data(<<>>, [{colour, red}]) end},
            {2, Options, fun() -> chunker:chunk_file("/", #{colour => red}) end},
            {2, <<Options/binary, ", compress">>, fun() -> chunker:stream([], [{colour, red}]) end},
            {2, <<"option seed must be an integer, not \"1\"">>, fun() -> chunker:chunk_data(<<>>, [{seed, "1"}]) end},
            {2, <<"options must be a list of pairs or a map, not none">>, fun() -> chunker:chunk_data(<<>>, none) end},
            {2, <<"an option must be a pair of a name and a value, not seed">>,
             fun() -> chunker:chunk_data(<<>>, [seed]) end},
            {2, <<"the algorithm must be blake3 or sha256, not md5">>, fun() -> chunker:hash(<<>>, md5) end},
            {2, <<"the algorithm must be blake3 or sha256, not md5">>, fun() -> chunker:hash_file("/", md5) end},
            {1, <<"must be iodata">>, fun() -> chunker:chunk_data(atom) end},
            {1, <<"must be iodata">>, fun() -> chunker:chunk_data([<<1:1>>], []) end},
            {1, <<"must be iodata">>, fun() -> chunker:hash({}, sha256) end},
            {1, <<"must be the name of a file">>, fun() -> chunker:chunk_file(1) end},
            {1, <<"must be the name of a file">>, fun() -> chunker:chunk_file([-1]) end},
            {1, <<"must be the name of a file">>, fun() -> chunker:hash_file({file, "/"}, sha256) end},
            {1, <<"must be the name of a file">>, fun() -> chunker:stream({file, 1}) end},
            {1, Sources, fun() -> chunker:stream(<<"/no/such/file">>) end},
            {1, Sources, fun() -> chunker:stream(fun(_) -> done end) end},
            {1, <<"its source must give iodata">>, fun() -> chunker:next(Odd) end},
            {1, <<"its source must go on with a list or a fun">>, fun() -> chunks(Improper) end},
            {1, <<"its source must be a fun that gives {Piece, NextFun} or done">>, fun() -> chunks(Wrong) end},
            {1, <<"its source must go on with a list or a fun">>, fun() -> chunks(End) end},
            {1, <<"must be an iterator">>, fun() -> chunker:next({ok, Odd}) end},
            {1, <<"must be an iterator">>, fun() -> chunker:close(make_ref()) end}
        ]
    ].

codecs() -> [zstd, lz4, xz, bzip2, gzip, brotli].

%% Returns the options of decompression that detect the codec if it has a magic, and otherwise give it.
detected(brotli) -> [{codec, brotli}];
detected(_) -> [].

compression_test() ->
    Data = binary:copy(<<"some content, ">>, 20_000),
    lists:foreach(
        fun(Codec) ->
            {ok, Compressed} = chunker:compress(Data, [{codec, Codec}]),
            ?assert(byte_size(Compressed) < 100_000),
            ?assertEqual({ok, Compressed}, chunker:compress([[Data], []], #{codec => Codec})),
            ?assertEqual({ok, Compressed}, chunker:compress(Data, [{codec, Codec}, {fallback, true}])),
            case Codec of
                brotli -> ?assertMatch({error, {unknown_format, _}}, chunker:detect_format(Compressed));
                _ -> ?assertEqual({ok, Codec}, chunker:detect_format(Compressed))
            end,
            ?assertEqual({ok, Data}, chunker:decompress(Compressed, detected(Codec))),
            ?assertEqual({ok, Data}, chunker:decompress([Compressed], [{codec, Codec}, {max_output_size, byte_size(Data)}])),
            ?assertEqual({ok, Data}, chunker:decompress(Compressed, [{max_output_size, infinity} | detected(Codec)])),
            Less = byte_size(Data) - 1,
            ?assertEqual({error, {size_exceeded, #{limit => Less}}},
                         chunker:decompress(Compressed, [{max_output_size, Less} | detected(Codec)])),
            Cut = binary:part(Compressed, 0, byte_size(Compressed) - 1),
            ?assertEqual({error, {decompression_failed, #{codec => Codec, why => truncated}}},
                         chunker:decompress(Cut, detected(Codec)))
        end,
        codecs()
    ),
    {ok, Zipped} = chunker:compress(Data, [{codec, gzip}]),
    ?assertEqual(Data, zlib:gunzip(Zipped)),
    ?assertEqual({ok, Data}, chunker:decompress(zlib:gzip(Data))),
    Lzma = lzma(),
    ?assertEqual({ok, lzma}, chunker:detect_format(Lzma)),
    [?assertEqual({ok, <<"content">>}, chunker:decompress(Lzma, Options)) || Options <- [[], [{codec, lzma}]]],
    {ok, Default} = chunker:compress("content"),
    ?assertEqual({ok, Default}, chunker:compress("content", [{codec, undefined}, {level, undefined}, {strategy, nil}])),
    [
        begin
            {ok, Compressed} = chunker:compress(Data, [{strategy, Strategy}]),
            ?assertEqual({ok, Codec}, chunker:detect_format(Compressed))
        end
     || {Strategy, Codec} <- [{fastest, lz4}, {balanced, zstd}, {smallest, zstd}]
    ].

trailing_test() ->
    Data = binary:copy(<<"some content, ">>, 1000),
    lists:foreach(
        fun(Codec) ->
            {ok, Compressed} = chunker:compress(Data, [{codec, Codec}]),
            Input = <<Compressed/binary, "garbage">>,
            Options = [{trailing, ignore} | detected(Codec)],
            Offset = byte_size(Compressed),
            ?assertEqual({error, {decompression_failed, #{codec => Codec, why => trailing_data, offset => Offset}}},
                         chunker:decompress(Input, detected(Codec))),
            ?assertEqual({ok, Data}, chunker:decompress(Input, Options)),
            ?assertEqual({ok, [{ok, Data}]}, chunker:decompress_batch([Input], maps:from_list(Options))),
            ?assertEqual({ok, {Data, 7}}, chunker:decompress_prefix(Input, detected(Codec))),
            {ok, Decompressor} = chunker:decompressor(Options),
            {ok, One} = chunker:decompressor_update(Decompressor, Input),
            {ok, Two} = chunker:decompressor_finish(Decompressor),
            ?assertEqual(7, chunker:decompressor_ignored(Decompressor)),
            ?assertEqual(Data, iolist_to_binary([One, Two]))
        end,
        codecs()
    ),
    {ok, Whole} = chunker:compress(Data),
    ?assertEqual({ok, {Data, 0}}, chunker:decompress_prefix([Whole])),
    ?assertError(badarg, chunker:decompress_prefix(Whole, [{trailing, ignore}])),
    ?assertError(badarg, chunker:decompressor_ignored(none)).

legacy_lz4_test() ->
    %% The magic, the size of a block, and "content" as literals.
    Frame = <<16#184c2102:32/little, 8:32/little, 16#70, "content">>,
    ?assertEqual({ok, lz4}, chunker:detect_format(Frame)),
    ?assertEqual({ok, <<"content">>}, chunker:decompress(Frame)),
    ?assertEqual({ok, <<"contentcontent">>}, chunker:decompress([Frame, Frame])),
    Dictionary = binary:copy(<<"some content, ">>, 100),
    {ok, Small} = chunker:compress(Dictionary, [{codec, lz4}, {dictionary, Dictionary}]),
    {ok, Large} = chunker:compress(Dictionary, [{codec, lz4}]),
    ?assert(byte_size(Small) < byte_size(Large)),
    ?assertEqual({ok, Dictionary}, chunker:decompress(Small, [{dictionary, Dictionary}])).

max_memory_test() ->
    %% A zstd frame of one empty block, with a window of 256 MiB.
    Frame = <<16#28, 16#b5, 16#2f, 16#fd, 0, (18 * 8), 1, 0, 0>>,
    Refused = fun(Limit) ->
        {error, {decompression_failed, #{codec => zstd, why => memory_limit, option => max_memory,
                                         needed => 268_435_456, limit => Limit}}}
    end,
    ?assertEqual(Refused(134_217_728), chunker:decompress(Frame)),
    ?assertEqual(Refused(1000), chunker:decompress(Frame, [{max_memory, 1000}])),
    [?assertEqual({ok, <<>>}, chunker:decompress(Frame, #{max_memory => Limit})) || Limit <- [268_435_456, infinity]].

compressor_flush_test() ->
    lists:foreach(
        fun(Codec) ->
            {ok, Compressor} = chunker:compressor([{codec, Codec}]),
            {ok, One} = chunker:compressor_update(Compressor, "a message"),
            {ok, Two} = chunker:compressor_flush(Compressor),
            {ok, Decompressor} = chunker:decompressor([{codec, Codec}]),
            {ok, Output} = chunker:decompressor_update(Decompressor, [One, Two]),
            ?assertEqual(<<"a message">>, iolist_to_binary(Output)),
            ok = chunker:compressor_close(Compressor),
            ?assertEqual({error, {cancelled, #{}}}, chunker:compressor_flush(Compressor))
        end,
        codecs()
    ),
    ?assertError(badarg, chunker:compressor_flush(none)).

%% Returns what `printf content | xz --format=lzma' writes.
lzma() ->
    <<16#5d00008000:40, 16#ffffffffffffffff:64, 16#00319bca19dae9cad74cd15ffffd983000:136>>.

compression_errors_test() ->
    Invalid = fun(Option, Value, Allowed) ->
        {error, {invalid_options, #{option => Option, value => Value, allowed => Allowed}}}
    end,
    Codecs = <<"zstd, lz4, xz, bzip2, gzip, brotli">>,
    Limits = <<"0..18446744073709551615 or infinity">>,
    [?assertEqual(Expected, Call) || {Expected, Call} <- [
        {Invalid(codec, zip, Codecs), chunker:compress("", [{codec, zip}])},
        {Invalid(codec, lzma, Codecs), chunker:compress("", [{codec, lzma}])},
        {Invalid(codec, lzma, Codecs), chunker:compressor([{codec, lzma}])},
        {Invalid(codec, zip, <<"auto, ", Codecs/binary, ", lzma">>), chunker:decompress("", [{codec, zip}])},
        {Invalid(strategy, best, <<"fastest, balanced, smallest">>), chunker:compress("", [{strategy, best}])},
        {Invalid(level, 1 bsl 99, <<"0..9">>), chunker:compress("", [{codec, xz}, {level, 1 bsl 99}])},
        {Invalid(level, 23, <<"-131072..22">>), chunker:compress_batch([], [{level, 23}])},
        {Invalid(level, 23, <<"-131072..22">>), chunker:compressor([{level, 23}])},
        {Invalid(level, 23, <<"-131072..22">>), chunker:stream([], [{compress, [{level, 23}]}])},
        {Invalid(max_output_size, -1, Limits), chunker:decompress("", [{max_output_size, -1}])},
        {Invalid(max_output_size, -1, Limits), chunker:decompressor(#{max_output_size => -1})},
        {Invalid(max_memory, -1, Limits), chunker:decompress("", [{max_memory, -1}])},
        {Invalid(trailing, keep, <<"error, ignore">>), chunker:decompress("", [{trailing, keep}])},
        {Invalid(trailing, keep, <<"error, ignore">>), chunker:decompressor([{trailing, keep}])},
        {Invalid(threads, 0, <<"1..1024">>), chunker:hash_batch([], [{threads, 0}])},
        {Invalid(parallel_threshold, -1, <<"0..18446744073709551615">>), chunker:decompress_batch([], [{parallel_threshold, -1}])},
        {Invalid(codec, xz, <<"zstd or lz4, if a dictionary is given">>),
         chunker:compress("", [{codec, xz}, {dictionary, <<"d">>}])},
        {{error, {decompression_failed, #{codec => lz4, why => truncated}}},
         chunker:decompress(<<16#184d2204:32/little>>, [{dictionary, <<"d">>}])},
        {{error, {decompression_failed, #{codec => gzip, why => dictionary_inapplicable}}},
         chunker:decompress(zlib:gzip("a"), [{dictionary, <<"d">>}])},
        {Invalid(dictionary, <<>>, <<"a dictionary that is neither empty nor damaged">>),
         chunker:compress("", [{dictionary, <<>>}])},
        {{error, {unknown_format, #{magic => <<"nons">>}}}, chunker:decompress("nonsense")},
        {{error, {unknown_format, #{magic => <<>>}}}, chunker:detect_format([])},
        {{error, {compression_failed, #{codec => zstd, why => samples_unsuitable}}}, chunker:train_dictionary([])}
    ]].

dictionary_test() ->
    Samples = [io_lib:format("{\"id\": ~b, \"name\": \"user ~b\"}", [I, I * 7919 rem 997]) || I <- lists:seq(1, 2000)],
    {ok, Dictionary} = chunker:train_dictionary(Samples, [{max_size, 2048}]),
    ?assert(byte_size(Dictionary) =< 2048),
    Sample = iolist_to_binary(hd(Samples)),
    {ok, Compressed} = chunker:compress(Sample, #{dictionary => Dictionary}),
    ?assertEqual({ok, Sample}, chunker:decompress(Compressed, #{dictionary => Dictionary})),
    ?assertEqual({error, {decompression_failed, #{codec => zstd, why => dictionary_missing}}},
                 chunker:decompress(Compressed)).

batch_test() ->
    Items = [<<>>, "one", [<<"two">>, $!]] ++ [integer_to_binary(I) || I <- lists:seq(1, 1000)],
    Flat = [iolist_to_binary(Item) || Item <- Items],
    ?assertEqual({ok, [crypto:hash(sha256, Item) || Item <- Flat]}, chunker:hash_batch(Items, [{hash, sha256}])),
    ?assertEqual({ok, [chunker:hash(Item, blake3) || Item <- Flat]}, chunker:hash_batch(Items)),
    {ok, Results} = chunker:compress_batch(Items, #{codec => lz4, threads => 2}),
    Compressed = [Binary || {ok, Binary} <- Results],
    ?assertEqual({ok, [{ok, Item} || Item <- Flat]}, chunker:decompress_batch(Compressed)),
    ?assertEqual({ok, [{ok, <<>>}, {error, {unknown_format, #{magic => <<"?">>}}}]},
                 chunker:decompress_batch([hd(Compressed), "?"], [{parallel_threshold, 0}])),
    ?assertEqual({ok, [{ok, Binary} || Binary <- Compressed]}, chunker:compress_batch(Flat, [{codec, lz4}])),
    ?assertEqual([{ok, []}, {ok, []}, {ok, []}, {ok, []}],
                 [chunker:hash_batch([]), chunker:compress_batch([]), chunker:decompress_batch([]), chunker:chunk_files([])]).

chunk_files_test() ->
    Data = data(100_000),
    with_file(Data, fun(Path) ->
        One = chunker:chunk_file(Path, ?SMALL),
        {ok, [_ | _]} = One,
        Missing = {error, {io_error, #{kind => enoent, path => <<"/no/such/file">>}}},
        Folder = {error, {io_error, #{kind => eisdir, path => <<"/">>}}},
        ?assertEqual({ok, [One, Missing, Folder, {ok, []}, One]},
                     chunker:chunk_files([Path, "/no/such/file", "/", <<"/dev/null">>, list_to_atom(Path)], ?SMALL))
    end).

reported() ->
    receive {chunker_progress, Ref, Done, Total} -> [{Ref, Done, Total} | reported()]
    after 0 -> []
    end.

progress_test() ->
    Self = self(),
    %% The tests before leave some behind.
    Before = process_info(Self, messages),
    Ref = make_ref(),
    Items = ["a", "b", "c", "d", "e"],
    _ = chunker:hash_batch(Items, [{progress, {Self, Ref}}]),
    ?assertEqual([{Ref, 0, 5}, {Ref, 5, 5}], reported()),
    _ = chunker:compress_batch(Items, #{progress => Self}),
    [{Own, 0, 5}, {Own, 5, 5}] = reported(),
    ?assert(is_reference(Own)),
    _ = chunker:chunk_files([], [{progress, fun(Done, Total) -> Self ! {chunker_progress, self(), Done, Total} end}]),
    [{Reporter, 0, 0}] = reported(),
    ?assertNotEqual(Self, Reporter),
    ?assertError(boom, chunker:hash_batch(Items, [{progress, fun(_, _) -> error(boom) end}])),
    ?assertEqual(Before, process_info(Self, messages)).

coders_test() ->
    Data = data(300_000),
    lists:foreach(
        fun(Codec) ->
            {ok, Compressor} = chunker:compressor([{codec, Codec}]),
            {ok, A} = chunker:compressor_update(Compressor, [binary:part(Data, 0, 100_000)]),
            {ok, B} = chunker:compressor_update(Compressor, binary:part(Data, 100_000, 200_000)),
            {ok, C} = chunker:compressor_finish(Compressor),
            Compressed = iolist_to_binary([A, B, C]),
            ?assertEqual({ok, Data}, chunker:decompress(Compressed, detected(Codec))),
            {ok, Decompressor} = chunker:decompressor(detected(Codec)),
            Outputs = [
                begin
                    {ok, Output} = chunker:decompressor_update(Decompressor, Piece),
                    Output
                end
             || Piece <- pieces(Compressed, 1000)
            ],
            {ok, Last} = chunker:decompressor_finish(Decompressor),
            ?assertEqual(Data, iolist_to_binary([Outputs, Last])),
            Closed = {error, {cancelled, #{}}},
            [?assertEqual(Closed, Call) || Call <- [
                chunker:compressor_update(Compressor, "a"), chunker:compressor_finish(Compressor),
                chunker:decompressor_update(Decompressor, "a"), chunker:decompressor_finish(Decompressor)
            ]],
            [?assertEqual(ok, Call) || Call <- [
                chunker:compressor_close(Compressor), chunker:decompressor_close(Decompressor)
            ]]
        end,
        codecs()
    ),
    {ok, Open} = chunker:compressor(),
    %% Taken for a decompressor, it is refused and stays open.
    [?assertError(badarg, Call()) || Call <- [
        fun() -> chunker:decompressor_update(Open, "a") end,
        fun() -> chunker:decompressor_finish(Open) end,
        fun() -> chunker:decompressor_close(Open) end
    ]],
    {ok, _} = chunker:compressor_update(Open, "a"),
    ok = chunker:compressor_close(Open),
    ok = chunker:compressor_close(Open),
    ?assertEqual({error, {cancelled, #{}}}, chunker:compressor_update(Open, "a")).

pieces(<<>>, _) -> [];
pieces(Binary, Size) when byte_size(Binary) < Size -> [Binary];
pieces(Binary, Size) ->
    <<Piece:Size/binary, Rest/binary>> = Binary,
    [Piece | pieces(Rest, Size)].

stream_that_compresses_test() ->
    Data = data(50_000),
    [
        begin
            Chunks = stream(Source, small(#{compress => [{codec, Codec}]})),
            ?assertEqual(Data, iolist_to_binary([D || #{data := D} <- Chunks])),
            [?assertEqual({ok, D}, chunker:decompress(C, [{codec, Codec}])) || #{data := D, compressed := C} <- Chunks],
            Formats = lists:usort([chunker:detect_format(C) || #{compressed := C} <- Chunks]),
            ?assert(Codec =:= brotli orelse Formats =:= [{ok, Codec}])
        end
     || Codec <- codecs(), Source <- [[Data], slices(Data, 100)]
    ],
    ?assert(lists:all(fun(Chunk) -> not is_map_key(compressed, Chunk) end, stream([Data], small(#{compress => nil})))).

compression_badarg_test_() ->
    {ok, Compressor} = chunker:compressor(),
    Conflict = <<"option strategy stands for a codec and a level; give it or them">>,
    Unknown = <<"unknown option fallback; there are: codec, strategy, level, dictionary">>,
    [
        ?_assertEqual(#{1 => Text}, explained(fun() -> Call(Wrong) end))
     || {Text, Calls} <- [
            {<<"must be a compressor of this node">>, [
                fun(C) -> chunker:compressor_update(C, "a") end,
                fun chunker:compressor_finish/1,
                fun chunker:compressor_close/1
            ]},
            {<<"must be a decompressor of this node">>, [
                fun(C) -> chunker:decompressor_update(C, "a") end,
                fun chunker:decompressor_finish/1,
                fun chunker:decompressor_close/1
            ]}
        ],
        Call <- Calls,
        Wrong <- [{ok, Compressor}, make_ref(), undefined]
    ] ++ [
        ?_assertEqual(#{Position => Text}, explained(Fun))
     || {Position, Text, Fun} <- [
            {1, <<"must be iodata">>, fun() -> chunker:compress(a) end},
            {1, <<"must be iodata">>, fun() -> chunker:decompress(a) end},
            {1, <<"must be iodata">>, fun() -> chunker:detect_format(a) end},
            {1, <<"must be iodata">>, fun() -> chunker:compress_batch([<<>>, a]) end},
            {1, <<"must be iodata">>, fun() -> chunker:train_dictionary([a]) end},
            {1, <<"must be a list">>, fun() -> chunker:hash_batch(<<>>) end},
            {1, <<"must be a list">>, fun() -> chunker:decompress_batch([<<>> | <<>>]) end},
            {1, <<"must be the name of a file">>, fun() -> chunker:chunk_files(["a", 1]) end},
            {2, <<"must be iodata">>, fun() -> chunker:compressor_update(Compressor, a) end},
            {2, Conflict, fun() -> chunker:compress("", [{strategy, fastest}, {level, 1}]) end},
            {1, Unknown, fun() -> chunker:compressor([{fallback, true}]) end},
            {2, Unknown, fun() -> chunker:stream([], [{compress, [{fallback, true}]}]) end},
            {2, <<"option codec must be an atom, not \"xz\"">>, fun() -> chunker:compress("", #{codec => "xz"}) end},
            {2, <<"option compress must be a list of options or a map, not xz">>,
             fun() -> chunker:stream([], [{compress, xz}]) end},
            {2, <<"option progress must be a pid, a pid and a reference, or a function of two arguments, not me">>,
             fun() -> chunker:hash_batch([], [{progress, me}]) end}
        ]
    ].

%% What the shell prints, from the outermost formatter of OTP.
explanation_in_the_shell_test() ->
    try chunker:chunk_data(<<>>, [{colour, red}])
    catch
        error:badarg:Stack ->
            Text = unicode:characters_to_list(erl_error:format_exception(error, badarg, Stack)),
            ?assertNotEqual(nomatch, string:find(Text, "in function  chunker:chunk_data/2")),
            ?assertNotEqual(nomatch, string:find(Text, "*** argument 2: unknown option colour"))
    end.

wrong_types_of_notation_test() ->
    [?assertError(function_clause, Call()) || Call <- [
        fun() -> chunker:to_hex("abc") end,
        fun() -> chunker:to_nix_base32("abc") end,
        fun() -> chunker:from_nix_base32("abc") end
    ]].

panic_test() ->
    ?assertError(#{message := <<"boom">>}, chunker_nif:panic(<<"boom">>)),
    {ok, [_]} = chunker:chunk_data(<<"the node lives">>).

processes_test() ->
    Data = data(200_000),
    {ok, Expected} = chunker:chunk_data(Data, ?SMALL),
    Self = self(),
    Workers = [spawn_link(fun() -> Self ! {self(), stream([Data], ?SMALL)} end) || _ <- lists:seq(1, 10)],
    [receive {Worker, Chunks} -> ?assertEqual(Expected, Chunks) end || Worker <- Workers].
