%% @private
%% Checks the options of both faces and puts them into the form that the NIF takes.
%%
%% An unknown option and a value of the wrong type are mistakes of the programmer: `{badarg, Message}', which each face
%% raises in its own way. Ranges are the engine's business.
-module(chunker_options).

-export([chunking/1, algorithm/1, threads/0]).
-export_type([options/0, chunking/0]).

-type options() :: [{atom(), term()}] | #{atom() => term()}.

-type chunking() :: {
    {MinSize :: integer(), AvgSize :: integer(), MaxSize :: integer(), Normalization :: integer(), Seed :: integer()},
    chunker:algorithm(),
    {Threads :: integer(), PoolSize :: pos_integer()}
}.

%% Each option with its default and the type of its value.
-define(CHUNKING, [
    {min_size, 262_144, integer},
    {avg_size, 1_048_576, integer},
    {max_size, 4_194_304, integer},
    {normalization, 1, integer},
    {seed, 0, integer},
    {hash, blake3, atom},
    {threads, configured, integer}
]).

-spec chunking(term()) -> {ok, chunking()} | {error, {invalid_options, map()}} | {badarg, binary()}.
chunking(Options) ->
    case values(Options, ?CHUNKING) of
        {ok, [Min, Avg, Max, Normalization, Seed, Hash, Threads]} ->
            case lists:member(Hash, algorithms()) of
                true ->
                    Pool = threads(),
                    Wanted = resolve(Threads, Pool),
                    {ok, {{Min, Avg, Max, Normalization, Seed}, Hash, {Wanted, Pool}}};
                false ->
                    Details = #{option => hash, value => Hash, allowed => <<"blake3, sha256">>},
                    {error, {invalid_options, Details}}
            end;
        {badarg, Message} ->
            {badarg, Message}
    end.

-spec algorithm(term()) -> ok | {badarg, binary()}.
algorithm(Algorithm) ->
    case lists:member(Algorithm, algorithms()) of
        true -> ok;
        false -> badarg("the algorithm must be blake3 or sha256, not ~tp", [Algorithm])
    end.

%% The number of threads that the application's environment asks for, by default that of dirty CPU schedulers online.
-spec threads() -> pos_integer().
threads() ->
    case application:get_env(chunker, threads) of
        undefined -> erlang:system_info(dirty_cpu_schedulers_online);
        {ok, Threads} when is_integer(Threads), Threads >= 1, Threads =< 1024 -> Threads;
        {ok, Other} -> error({bad_config, {chunker, threads, Other, <<"must be an integer from 1 to 1024">>}})
    end.

algorithms() -> [blake3, sha256].

resolve(configured, Threads) -> Threads;
resolve(Threads, _) -> Threads.

%% The values of the known options in their order.
values(Options, Known) when is_map(Options) ->
    values(maps:to_list(Options), Known);
values(Options, Known) when is_list(Options) ->
    case unknown(Options, Known) of
        none -> values(Known, Options, []);
        {badarg, Message} -> {badarg, Message}
    end;
values(Options, _) ->
    badarg("options must be a list of pairs or a map, not ~tp", [Options]).

unknown([{Name, _} | Rest], Known) when is_atom(Name) ->
    case lists:keymember(Name, 1, Known) of
        true ->
            unknown(Rest, Known);
        false ->
            Names = lists:join(", ", [atom_to_list(Option) || {Option, _, _} <- Known]),
            badarg("unknown option ~tp; there are: ~ts", [Name, Names])
    end;
unknown([], _) ->
    none;
unknown([Other | _], _) ->
    badarg("an option must be a pair of a name and a value, not ~tp", [Other]);
unknown(Tail, _) ->
    badarg("options must be a proper list, which does not end with ~tp", [Tail]).

values([{Name, Default, Type} | Known], Options, Values) ->
    case lists:keyfind(Name, 1, Options) of
        false ->
            values(Known, Options, [Default | Values]);
        {_, Value} ->
            case is(Type, Value) of
                true -> values(Known, Options, [Value | Values]);
                false -> badarg("option ~ts must be an ~ts, not ~tp", [Name, Type, Value])
            end
    end;
values([], _, Values) ->
    {ok, lists:reverse(Values)}.

is(integer, Value) -> is_integer(Value);
is(atom, Value) -> is_atom(Value).

badarg(Format, Arguments) ->
    {badarg, unicode:characters_to_binary(io_lib:format(Format, Arguments))}.
