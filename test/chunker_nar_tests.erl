%% Drives the Erlang face of Nix archives, in a node that has no Elixir: `erlang_test.exs' compiles and runs it.
-module(chunker_nar_tests).

-include_lib("eunit/include/eunit.hrl").
-include_lib("kernel/include/file.hrl").

folder() ->
    Name = "chunker-eunit-nar-" ++ os:getpid() ++ integer_to_list(erlang:unique_integer([positive])),
    Folder = filename:join(os:getenv("TMPDIR", "/tmp"), Name),
    ok = file:make_dir(Folder),
    Folder.

%% A folder with an executable, a file, a folder and a link.
tree() ->
    Folder = filename:join(folder(), "tree"),
    ok = file:make_dir(Folder),
    ok = file:make_dir(filename:join(Folder, "d")),
    ok = file:write_file(filename:join(Folder, "a"), <<"content">>),
    ok = file:write_file(filename:join(Folder, "b"), <<"#!/bin/sh">>),
    ok = file:change_mode(filename:join(Folder, "b"), 8#755),
    ok = file:make_symlink("nowhere", filename:join(Folder, "c")),
    Folder.

nar(Tree) ->
    {ok, Iterator} = chunker_nar:stream(Tree),
    iolist_to_binary(all(Iterator)).

all(Iterator) ->
    case chunker_nar:next(Iterator) of
        {ok, Binary, Next} -> [Binary | all(Next)];
        done -> []
    end.

%% Byte by byte.
pieces(<<>>) -> done;
pieces(<<Byte, Rest/binary>>) -> {<<Byte>>, fun() -> pieces(Rest) end}.

sources(Nar) ->
    Path = filename:join(folder(), "nar"),
    ok = file:write_file(Path, Nar),
    [Nar, [[Nar]], {file, Path}, {file, list_to_binary(Path)}, fun() -> pieces(Nar) end, fun() -> {[], [Nar]} end].

a_tree_that_is_too_deep_test() ->
    Root = filename:join(folder(), "deep"),
    Deep = filename:join([Root | lists:duplicate(64, "d")]),
    ok = filelib:ensure_dir(filename:join(Deep, "x")),
    Path = list_to_binary(Deep),
    ?assertEqual(
        {error, {tree_too_deep, #{path => Path, limit => 63}}},
        chunker_nar:dump(Root, {file, Root ++ ".nar"})
    ).

no_elixir_test() ->
    ?assertEqual(non_existing, code:which('Elixir.Kernel')).

reading_test() ->
    Tree = tree(),
    Nar = nar(Tree),
    ?assert(chunker_nar:'nar?'(Nar)),
    ?assertNot(chunker_nar:'nar?'(<<"else">>)),
    Digest = chunker:to_nix_base32(crypto:hash(sha256, Nar)),
    lists:foreach(
        fun(Source) ->
            {ok, Entries} = chunker_nar:list(Source),
            ?assertMatch(
                [
                    #{path := <<>>, type := directory, executable := false},
                    #{path := <<"a">>, type := regular, executable := false, size := 7, offset := _},
                    #{path := <<"b">>, type := regular, executable := true, size := 9},
                    #{path := <<"c">>, type := symlink, target := <<"nowhere">>},
                    #{path := <<"d">>, type := directory}
                ],
                Entries
            ),
            [#{offset := Offset}] = [Entry || #{path := <<"a">>} = Entry <- Entries],
            ?assertEqual(<<"content">>, binary:part(Nar, Offset, 7)),
            ?assertEqual([executable, path, type], lists:sort(maps:keys(hd(Entries)))),
            ?assertEqual({ok, <<"sha256:", Digest/binary>>}, chunker_nar:hash(Source)),
            ?assertEqual({ok, <<"content">>}, chunker_nar:read_file(Source, "a")),
            ?assertEqual({ok, <<"content">>}, chunker_nar:read_file(Source, <<"/a">>)),
            ?assertEqual(
                {error, {io_error, #{kind => enoent, path => <<"x">>}}}, chunker_nar:read_file(Source, x)
            ),
            {ok, <<"{\"type\":\"directory\"", _/binary>> = Json} = chunker_nar:listing(Source),
            ?assertEqual(
                {ok, <<"{\"version\":1,\"root\":", Json/binary, "}">>}, chunker_nar:listing(Source, [{format, ls}])
            ),
            {ok, <<"{\"entries\":", _/binary>>} = chunker_nar:listing(Source, #{notation => newest}),
            ?assertEqual({ok, Entries}, chunker_nar:list(Source, [{max_entries, 5}, {max_memory, infinity}])),
            ?assertEqual(
                {error, {limit_exceeded, #{option => max_entries, limit => 4}}},
                chunker_nar:list(Source, [{max_entries, 4}])
            ),
            ?assertEqual(
                {error, {limit_exceeded, #{option => max_memory, limit => 100}}},
                chunker_nar:listing(Source, [{max_memory, 100}])
            ),
            ?assertError(badarg, chunker_nar:list(Source, [{max_entries, many}])),
            Target = filename:join(folder(), "target"),
            ?assertEqual(ok, chunker_nar:restore(Source, Target)),
            ?assertEqual(Nar, nar(Target)),
            ?assertMatch({error, {io_error, #{kind := eexist}}}, chunker_nar:restore(Source, Target))
        end,
        sources(Nar)
    ).

writing_test() ->
    Tree = tree(),
    Nar = nar(Tree),
    Into = filename:join(folder(), "into"),
    {ok, Hash} = chunker_nar:dump(Tree, {file, Into}),
    ?assertEqual({ok, Nar}, file:read_file(Into)),
    ?assertEqual({ok, Hash}, chunker_nar:hash(Nar)),
    ok = file:change_mode(Into, 8#600),
    {ok, Hash} = chunker_nar:dump(Tree, {file, Into}),
    {ok, #file_info{mode = Mode}} = file:read_file_info(Into),
    ?assertEqual(8#600, Mode band 8#7777),
    ?assertMatch({error, {io_error, #{kind := enoent}}}, chunker_nar:dump("/no/such", {file, Into})),
    {ok, Iterator} = chunker_nar:stream(Tree),
    ok = chunker_nar:close(Iterator),
    ?assertEqual({error, {cancelled, #{}}}, chunker_nar:next(Iterator)),
    {ok, Missing} = chunker_nar:stream("/no/such"),
    ?assertMatch({error, {io_error, #{kind := enoent}}}, chunker_nar:next(Missing)).

errors_test() ->
    Nar = nar(tree()),
    Half = binary:part(Nar, 0, 100),
    lists:foreach(
        fun(Source) ->
            Expected = {error, {invalid_nar, #{offset => 100, why => truncated}}},
            ?assertEqual(Expected, chunker_nar:list(Source)),
            ?assertEqual(Expected, chunker_nar:hash(Source)),
            Folder = folder(),
            ?assertEqual(Expected, chunker_nar:restore(Source, filename:join(Folder, "target"))),
            ?assertEqual({ok, []}, file:list_dir_all(Folder))
        end,
        sources(Half)
    ).

%% The text that the shell prints of a badarg, by argument.
explained(Fun) ->
    try Fun() of
        Value -> {returned, Value}
    catch
        error:badarg:Stack ->
            [{Module, Function, Arguments, _} | _] = Stack,
            true = erlang:function_exported(Module, Function, length(Arguments)),
            chunker_badarg:format_error(badarg, Stack)
    end.

mistakes_test() ->
    Not = <<"must be iodata">>,
    Name = <<"must be the name of a file">>,
    [?assertEqual({Function, Arguments, Expected},
                  {Function, Arguments, explained(fun() -> apply(chunker_nar, Function, Arguments) end)})
     || {Function, Arguments, Expected} <- [
        {list, [no_data], #{1 => Not}},
        {hash, [[[300]]], #{1 => Not}},
        {list, [{file, 1}], #{1 => Name}},
        {read_file, [<<>>, 1], #{2 => Name}},
        {restore, [<<>>, {1}], #{2 => Name}},
        {stream, [1], #{1 => Name}},
        {dump, [1, {file, "x"}], #{1 => Name}},
        {dump, ["x", {file, 1}], #{2 => Name}},
        {dump, ["x", "y"], #{2 => <<"must be {file, Path}">>}}
    ]],
    Iterator = <<"must be an iterator">>,
    [?assertEqual(#{1 => Iterator}, explained(fun() -> Call(Wrong) end))
     || Call <- [fun chunker_nar:next/1, fun chunker_nar:close/1], Wrong <- [make_ref(), iterator]],
    Gives = <<"its source must give iodata">>,
    ?assertEqual(#{1 => Gives}, explained(fun() -> chunker_nar:list(fun() -> {atom, []} end) end)),
    Fun = <<"its source must be a fun that gives {Piece, NextFun} or done">>,
    ?assertEqual(#{1 => Fun}, explained(fun() -> chunker_nar:list(fun() -> atom end) end)),
    More = <<"its source must go on with a list or a fun">>,
    ?assertEqual(#{1 => More}, explained(fun() -> chunker_nar:list(fun() -> {<<>>, atom} end) end)).

%% The annotations of the chunks of an archive.
notes_test() ->
    Tree = tree(),
    Hash = <<"6xg259477c90a229xwmb53pdfkn6ig3g">>,
    ok = file:write_file(filename:join(Tree, "e"), ["#!/nix/store/", Hash, "-bash/bin/sh"]),
    Nar = nar(Tree),
    NarHash = <<"sha256:", (chunker:to_nix_base32(crypto:hash(sha256, Nar)))/binary>>,
    Options = #{entries => true, references => true, min_size => 64, avg_size => 256, max_size => 1024},
    lists:foreach(
        fun(Source) ->
            {ok, #{chunks := Chunks, hash := NarHash, size := Size}} = chunker_nar:chunk(Source, Options),
            ?assertEqual(byte_size(Nar), Size),
            ?assertNot(lists:any(fun(Chunk) -> is_map_key(data, Chunk) end, Chunks)),
            {ok, Loaded} = chunker:chunk_data(Nar, Options#{nar => true}),
            ?assertEqual(Chunks, [maps:remove(data, Chunk) || Chunk <- Loaded]),
            ?assertEqual(
                [<<>>, <<"a">>, <<"b">>, <<"c">>, <<"d">>, <<"e">>],
                lists:usort([Path || #{entries := Entries} <- Chunks, #{path := Path} <- Entries])
            ),
            Content = [
                binary:part(Data, Position, Length)
             || #{entries := Entries, data := Data} <- Loaded,
                #{path := <<"a">>, position := Position, length := Length} <- Entries
            ],
            ?assertEqual(<<"content">>, iolist_to_binary(Content)),
            Restored = [
                element(2, {ok, _} = chunker_nar:restore_references(Data, References))
             || #{data := Data, references := References} <- Loaded
            ],
            ?assertEqual(Nar, iolist_to_binary(Restored)),
            ?assertEqual(Hash, iolist_to_binary([C || #{references := R} <- Chunks, {_, C} <- R]))
        end,
        sources(Nar)
    ),
    {ok, [First | _]} = chunker:chunk_data(Nar, [{nar, true}]),
    ?assertNot(is_map_key(entries, First) orelse is_map_key(references, First)),
    Path = filename:join(folder(), "nar"),
    ok = file:write_file(Path, Nar),
    {ok, [Chunk]} = chunker:chunk_file(Path, [{nar, true}, {references, true}]),
    {ok, Bytes} = chunker:read_chunk(Path, Chunk),
    ?assertEqual({ok, Nar}, chunker_nar:restore_references(Bytes, maps:get(references, Chunk))),
    ?assertMatch({error, {file_changed, _}}, chunker:read_chunk(Path, Chunk#{references := []})),
    ?assertEqual({ok, Nar}, chunker_nar:restore_references(Nar, nil)),
    ?assertMatch({ok, #{hash := NarHash}}, chunker_nar:chunk(Nar)),
    ?assertMatch({error, {invalid_nar, #{why := truncated}}}, chunker_nar:chunk({file, "/dev/null"})),
    ?assertMatch({error, {invalid_options, _}}, chunker_nar:chunk(Nar, [{avg_size, 1}])),
    ?assertError(badarg, chunker_nar:chunk(Nar, [{nar, true}])),
    ?assertError(badarg, chunker_nar:chunk(Nar, nothing)),
    ?assertError(badarg, chunker_nar:restore_references(Nar, nothing)),
    %% Not copied before they are checked.
    Long = lists:duplicate(1000, {0, binary:copy(<<"a">>, 5000000)}),
    ?assertEqual({error, {invalid_references, #{position => 0}}}, chunker_nar:restore_references(<<"x">>, Long)),
    ?assertError(badarg, chunker:read_chunk(Path, Chunk#{references := nothing})).
