%% Drives the narinfos' Erlang face, in a node that has no Elixir: `erlang_test.exs' compiles and runs it.
-module(chunker_narinfo_tests).

-include_lib("eunit/include/eunit.hrl").

text() ->
    <<
        "StorePath: /nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-net-tools-1.60_p20170221182432\n"
        "URL: nar/1094wph9z4nwlgvsd53abfz8i117ykiv5dwnq9nnhz846s7xqd7d.nar.xz\n"
        "Compression: xz\n"
        "FileHash: sha256:1094wph9z4nwlgvsd53abfz8i117ykiv5dwnq9nnhz846s7xqd7d\n"
        "FileSize: 114980\n"
        "NarHash: sha256:0lxjvvpr59c2mdram7ympy5ay741f180kv3349hvfc3f8nrmbqf6\n"
        "NarSize: 464152\n"
        "References: 7gx4kiv5m0i7d7qkixq2cwzbr10lvxwc-glibc-2.27\n"
        "Deriver: 10dx1q4ivjb115y3h90mipaaz533nr0d-net-tools-1.60_p20170221182432.drv\n"
        "Sig: cache.nixos.org-1:sn5s/RrqEI+YG6/PjwdbPjcAC7rcta7sJU4mFOawGvJBLsWkyLtBrT2EuFt/LJjWkTZ+ZWOI9NTtjo/woMdvAg==\n"
    >>.

least() ->
    #{
        store_path => <<"/nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-a">>,
        url => <<"nar/a.nar">>,
        compression => <<"none">>,
        nar_hash => <<"sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73">>,
        nar_size => 120
    }.

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

no_elixir_test() ->
    ?assertEqual(non_existing, code:which('Elixir.Kernel')).

parse_test() ->
    {ok, Narinfo} = chunker_narinfo:parse(text()),
    ?assertEqual({ok, Narinfo}, chunker_narinfo:parse([<<>>, [text()]])),
    ?assertMatch(
        #{
            store_path := <<"/nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-net-tools-1.60_p20170221182432">>,
            url := <<"nar/1094wph9z4nwlgvsd53abfz8i117ykiv5dwnq9nnhz846s7xqd7d.nar.xz">>,
            compression := <<"xz">>,
            file_hash := <<"sha256:1094wph9z4nwlgvsd53abfz8i117ykiv5dwnq9nnhz846s7xqd7d">>,
            file_size := 114980,
            nar_hash := <<"sha256:0lxjvvpr59c2mdram7ympy5ay741f180kv3349hvfc3f8nrmbqf6">>,
            nar_size := 464152,
            references := [<<"7gx4kiv5m0i7d7qkixq2cwzbr10lvxwc-glibc-2.27">>],
            deriver := <<"10dx1q4ivjb115y3h90mipaaz533nr0d-net-tools-1.60_p20170221182432.drv">>,
            system := nil,
            ca := nil,
            sigs := [<<"cache.nixos.org-1:", _/binary>>],
            extra := []
        },
        Narinfo
    ),
    ?assertEqual(13, map_size(Narinfo)),
    ?assertEqual({ok, text()}, chunker_narinfo:to_string(Narinfo)),
    Extra = <<"Not: known\n">>,
    {ok, WithExtra} = chunker_narinfo:parse([text(), Extra]),
    ?assertEqual(Narinfo#{extra => [{<<"Not">>, <<"known">>}]}, WithExtra),
    ?assertEqual({ok, <<(text())/binary, Extra/binary>>}, chunker_narinfo:to_string(WithExtra)).

fields_that_are_not_there_test() ->
    Text =
        <<
            "StorePath: /nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-a\n"
            "URL: nar/a.nar\n"
            "Compression: none\n"
            "NarHash: sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73\n"
            "NarSize: 120\n"
            "References: \n"
        >>,
    ?assertEqual({ok, Text}, chunker_narinfo:to_string(least())),
    [
        ?assertEqual(
            {ok, Text},
            chunker_narinfo:to_string((least())#{
                deriver => None, system => None, ca => None, file_hash => None, file_size => None
            })
        )
     || None <- [nil, undefined]
    ].

fingerprint_test() ->
    Reference = <<"7gx4kiv5m0i7d7qkixq2cwzbr10lvxwc-glibc-2.27">>,
    ?assertEqual(
        {ok, <<
            "1;/nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-a;"
            "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73;120;/nix/store/",
            Reference/binary
        >>},
        chunker_narinfo:fingerprint((least())#{references => [Reference]})
    ).

signatures_test() ->
    {ok, Narinfo} = chunker_narinfo:parse(text()),
    Nixos = <<"cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=">>,
    ?assertEqual({ok, <<"cache.nixos.org-1">>}, chunker_narinfo:verify(Narinfo, [Nixos])),
    ?assertEqual({ok, <<"cache.nixos.org-1">>}, chunker_narinfo:verify(Narinfo, Nixos)),
    {ok, #{secret_key := Secret, public_key := Public} = Pair} = chunker_narinfo:generate_key(<<"ours">>),
    ?assertEqual(2, map_size(Pair)),
    ?assertEqual({ok, Public}, chunker_narinfo:public_key(Secret)),
    {ok, Signed} = chunker_narinfo:sign(Narinfo, Secret),
    ?assertMatch(#{sigs := [<<"cache.nixos.org-1:", _/binary>>, <<"ours:", _/binary>>]}, Signed),
    ?assertEqual({ok, <<"ours">>}, chunker_narinfo:verify(Signed, [Public])),
    ?assertEqual(
        {error, {invalid_signature, #{why => mismatch}}}, chunker_narinfo:verify(Signed#{nar_size := 1}, [Public])
    ),
    ?assertEqual({error, {invalid_signature, #{why => unsigned}}}, chunker_narinfo:verify(least(), [Public])),
    ?assertEqual({error, {invalid_key, #{why => unknown_name}}}, chunker_narinfo:verify(Narinfo, [Public])).

errors_test() ->
    ?assertEqual(
        {error, {invalid_narinfo, #{field => <<"NarHash">>, why => bad_hash}}},
        chunker_narinfo:to_string((least())#{nar_hash => <<"sha256:">>})
    ),
    ?assertEqual({error, {invalid_narinfo, #{line => 1, why => missing_colon}}}, chunker_narinfo:parse("x\n")),
    ?assertEqual({error, {invalid_key, #{why => bad_name}}}, chunker_narinfo:generate_key(<<>>)),
    ?assertEqual({error, {invalid_key, #{why => missing_colon}}}, chunker_narinfo:public_key(<<"x">>)),
    ?assertEqual({error, {invalid_key, #{why => bad_base64}}}, chunker_narinfo:sign(least(), <<"a:*">>)),
    Large = binary:copy(<<"x">>, 8 bsl 20),
    ?assertMatch({error, {buffer_limit_exceeded, #{limit := 8_388_608}}}, chunker_narinfo:parse(["a", Large])).

badarg_test() ->
    Least = least(),
    ?assertEqual(#{1 => <<"must be iodata">>}, explained(fun() -> chunker_narinfo:parse(text) end)),
    ?assertEqual(#{1 => <<"a narinfo must be a map">>}, explained(fun() -> chunker_narinfo:to_string([]) end)),
    ?assertEqual(
        #{1 => <<"field url is missing">>},
        explained(fun() -> chunker_narinfo:fingerprint(maps:remove(url, Least)) end)
    ),
    ?assertEqual(
        #{1 => <<"field references must be a list of binaries, not [\"a\"]">>},
        explained(fun() -> chunker_narinfo:to_string(Least#{references => ["a"]}) end)
    ),
    ?assertEqual(
        #{1 => <<"unknown field refs; those that Nix does not know belong into extra">>},
        explained(fun() -> chunker_narinfo:to_string(Least#{refs => []}) end)
    ),
    ?assertEqual(
        #{2 => <<"public keys must be a list of binaries, not key">>},
        explained(fun() -> chunker_narinfo:verify(Least, key) end)
    ),
    [
        ?assertEqual(#{Position => Text}, explained(Call))
     || {Position, Text, Call} <- [
            {1, <<"must be a binary">>, fun() -> chunker_narinfo:generate_key("name") end},
            {1, <<"the key must be a binary">>, fun() -> chunker_narinfo:public_key("secret") end},
            {2, <<"the key must be a binary">>, fun() -> chunker_narinfo:sign(Least, "secret") end}
        ]
    ],
    %% What is logged of the call does not hold the key.
    try
        chunker_narinfo:sign(Least, "secret")
    catch
        error:badarg:Stack -> ?assertMatch([{_, _, [Least, secret], _} | _], Stack)
    end.
