%% Drives the Erlang face of caches, in a node that has no Elixir: `erlang_test.exs' compiles and runs it.
-module(chunker_cache_tests).

-include_lib("eunit/include/eunit.hrl").

-define(SMALL, #{min_size => 1024, avg_size => 4096, max_size => 16384}).

%% OTP 27 and newer warn if a literal is updated.
small(More) -> maps:merge(?SMALL, More).

data(Size) ->
    _ = rand:seed(exsss, 7),
    rand:bytes(Size).

no_elixir_test() ->
    ?assertEqual(non_existing, code:which('Elixir.Kernel')).

get_and_put_test() ->
    Cache = chunker_cache:new(),
    ?assertEqual(nil, chunker_cache:get(Cache, <<"content">>, sha256)),
    Digest = crypto:hash(sha256, <<"content">>),
    ?assertEqual(Digest, chunker_cache:put(Cache, ["con", <<"tent">>], sha256)),
    ?assertEqual(Digest, chunker_cache:fetch(Cache, "content", sha256)),
    ?assertEqual(Digest, chunker_cache:get(Cache, ["c", "ontent"], sha256)),
    ?assertEqual(nil, chunker_cache:get(Cache, <<"content">>, blake3)),
    Stats = #{
        hits => 2, misses => 2, insertions => 1, evictions => 0, collisions => 0, entries => 1, bytes => 128,
        hit_rate => 1 / 2
    },
    ?assertEqual(Stats, chunker_cache:stats(Cache)),
    ?assertEqual(ok, chunker_cache:clear(Cache)),
    ?assertEqual(nil, chunker_cache:get(Cache, <<"content">>, sha256)),
    ?assertMatch(#{entries := 0, bytes := 0, evictions := 1}, chunker_cache:stats(Cache)).

every_function_takes_it_test() ->
    Path = filename:join(os:getenv("TMPDIR", "/tmp"), "chunker-cache-eunit-" ++ os:getpid()),
    Data = data(300_000),
    ok = file:write_file(Path, Data),
    {ok, Chunks} = chunker:chunk_data(Data, ?SMALL),
    Hashes = [Hash || #{hash := Hash} <- Chunks],
    Cache = chunker_cache:new([{max_entries, 1000}, {verify, content}]),
    Options = small(#{cache => Cache, threads => 1}),
    Stream = fun(Source) ->
        {ok, Iterator} = chunker:stream(Source, Options),
        hashes_of(Iterator)
    end,
    Of = fun({ok, Found}) -> [Hash || #{hash := Hash} <- Found] end,
    Ways = [
        Of(chunker:chunk_data(Data, Options)),
        Of(chunker:chunk_file(Path, Options)),
        Of(hd(element(2, chunker:chunk_files([Path], Options)))),
        Stream({file, Path}),
        Stream([Data]),
        element(2, chunker:hash_batch([D || #{data := D} <- Chunks], [{cache, Cache}, {threads, 1}]))
    ],
    ok = file:delete(Path),
    [?assertEqual(Hashes, Way) || Way <- Ways],
    Large = length([L || #{length := L} <- Chunks, L >= 2048]),
    Hits = 5 * Large,
    ?assertMatch(#{hits := Hits, misses := Large, entries := Large}, chunker_cache:stats(Cache)).

hashes_of(Iterator) ->
    case chunker:next(Iterator) of
        {ok, #{hash := Hash}, Next} -> [Hash | hashes_of(Next)];
        done -> []
    end.

limits_test() ->
    Cache = chunker_cache:new(#{max_entries => 50}),
    [chunker_cache:put(Cache, integer_to_binary(N), blake3) || N <- lists:seq(1, 500)],
    ?assertMatch(#{entries := 50, insertions := 500, evictions := 450}, chunker_cache:stats(Cache)).

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

mistakes_raise_badarg_test() ->
    Cache = chunker_cache:new(),
    ?assertEqual(
        #{1 => <<"option max_entries is 0, but must be 1..1000000000">>},
        explained(fun() -> chunker_cache:new([{max_entries, 0}]) end)
    ),
    [?assertMatch({Function, Arguments, #{Place := _}},
                  {Function, Arguments, explained(fun() -> apply(chunker_cache, Function, Arguments) end)})
     || {Function, Arguments, Place} <- [
        {new, [[{max_memory, 1 bsl 70}]], 1},
        {new, [[{verify, no}]], 1},
        {new, [[{size, 1}]], 1},
        {get, [make_ref(), <<>>, blake3], 1},
        {get, [Cache, oops, blake3], 2},
        {put, [Cache, <<>>, md5], 3},
        {stats, [nil], 1},
        {clear, [self()], 1}
    ]],
    ?assertError(badarg, chunker:chunk_data(<<"x">>, [{cache, make_ref()}])),
    ?assertError(badarg, chunker:hash_batch([<<"x">>], [{cache, cache}])).
