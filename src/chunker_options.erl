%% @private
%% Checks options and makes the tuples that the NIF takes.
%%
%% An unknown option and a value of the wrong type are mistakes of the programmer: `{badarg, Message}', which
%% the caller raises. The engine checks ranges.
-module(chunker_options).

-export([chunking/1, nar_chunking/1, stream/1, files/1, hash/1, hash_batch/1, algorithm/1, threads/0]).
-export([compression/1, compressor/1, decompression/1, decompression_prefix/1, decompressor/1]).
-export([compression_batch/1, decompression_batch/1, dictionary/1]).
-export([store/1, store_put/1, store_read/1, store_restore/1, store_ls/1, store_tag/1, store_work/1, store_copy/1, store_session/1]).
-export([cache/1, nar_list/1, nar_listing/1, nar_dump/1, hash_data/1, hash_file/1]).
-export_type([options/0, chunking/0, digests/0, cache/0, batch/0, progress/0, compression/0, decompression/0]).
-export_type([store/0, work/0]).
-export_type([checked/1, threads_and_pool/0, limits/0, listing/0, on_change/0]).

-type options() :: chunker:options().

-type checked(Form) :: {ok, Form} | {error, {invalid_options, map()}} | {badarg, chunker_badarg:message()}.

-type chunking() :: {
    {
        Preset :: atom(), MinSize :: size(), AvgSize :: size(), MaxSize :: size(), Normalization :: integer(),
        Seed :: integer()
    },
    nil | nar() | tar(),
    digests(),
    threads_and_pool(),
    on_change()
}.

%% In bytes; `nil' for that of the preset.
-type size() :: nil | integer().

%% How to chunk NARs: whether other inputs are chunked as well, and the annotations of each chunk.
-type nar() :: {
    ByContent :: boolean(),
    MinEntrySize :: nil | integer(),
    BoundaryPreferenceDistance :: nil | integer(),
    Entries :: boolean(),
    References :: boolean(),
    limits()
}.

%% How to chunk tars.
-type tar() :: {MinEntrySize :: nil | integer(), BoundaryPreferenceDistance :: nil | integer()}.

%% The limits for the entries of a NAR.
-type limits() :: {MaxEntries :: integer() | infinity, MaxMemory :: integer() | infinity}.

-type listing() :: {Format :: json | ls, Notation :: nix_2_8 | newest, limits()}.

%% What a change of a file during the read means.
-type on_change() :: error | snapshot.

%% How digests are computed.
-type digests() :: {chunker:algorithm(), nil | chunker_dispatch:cache()}.

-type cache() :: {MaxEntries :: integer(), MaxMemory :: integer(), Verify :: fingerprint | content}.

%% `nil' is anything: what the store has, or a default for a new one.
-type store() :: {
    Create :: boolean(),
    nil | chunker:algorithm(),
    nil | {
        Preset :: atom(), MinSize :: size(), AvgSize :: size(), MaxSize :: size(), Normalization :: integer(),
        Seed :: integer()
    },
    nil | none | chunker:codec(),
    Level :: nil | integer(),
    Durable :: nil | boolean(),
    Deltas :: nil | boolean()
}.

-type threads_and_pool() :: {Threads :: integer(), PoolSize :: pos_integer()}.

%% The receiver of progress reports. The total is `nil' if it is not known.
-type progress() ::
    nil | pid() | {pid(), reference()}
    | fun((Done :: non_neg_integer(), Total :: nil | non_neg_integer()) -> term()).

%% How a store works on something large.
-type work() :: {threads_and_pool(), progress()}.

-type batch() :: {threads_and_pool(), ParallelThreshold :: integer(), progress()}.
-type compression() :: {chunker:codec() | smallest, Level :: nil | integer(), Dictionary :: nil | binary()}.
-type decompression() :: {
    chunker:readable_codec() | auto,
    MaxOutputSize :: integer() | infinity,
    MaxMemory :: integer() | infinity,
    IgnoreTrailing :: boolean(),
    Dictionary :: nil | binary()
}.

%% Each option with its default and the type of its value.
-define(THREADS, [{threads, configured, integer}]).
-define(HASH, [{hash, blake3, atom}]).
-define(CACHE, [{cache, nil, cache}]).
-define(DIGESTS, ?HASH ++ ?CACHE).
-define(LIMITS, [{max_entries, 1_000_000, limit}, {max_memory, 536_870_912, limit}]).
-define(ON_CHANGE, [{on_change, error, atom}]).
-define(CHUNKING, [
    {min_size, preset, integer},
    {avg_size, preset, integer},
    {max_size, preset, integer},
    {normalization, 1, integer},
    {seed, 0, integer},
    {preset, nil, atom},
    {nar, false, atom},
    {tar, false, boolean},
    {min_entry_size, nil, integer},
    {boundary_preference_distance, nil, integer},
    {entries, false, boolean},
    {references, false, boolean}
] ++ ?LIMITS ++ ?DIGESTS ++ ?ON_CHANGE).
-define(BATCH, [{parallel_threshold, 4, integer}, {progress, nil, progress}] ++ ?THREADS).
-define(WORK, [{progress, nil, progress} | ?THREADS]).
-define(COMPRESSION, [
    {codec, nil, atom},
    {strategy, nil, atom},
    {level, nil, integer},
    {dictionary, nil, binary}
]).
-define(DECOMPRESSION, [
    {codec, auto, atom},
    {max_output_size, 1_073_741_824, limit},
    {max_memory, 134_217_728, limit},
    {trailing, error, atom},
    {dictionary, nil, binary}
]).

-spec chunking(term()) -> checked(chunking()).
chunking(Options) ->
    with(Options, ?CHUNKING ++ ?THREADS, [fun chunking_form/1]).

%% For an input that must be a NAR.
-spec nar_chunking(term()) -> checked(chunking()).
nar_chunking(Options) ->
    Known = [Option || {Name, _, _} = Option <- ?CHUNKING, Name =/= nar, Name =/= tar],
    with(Options, Known ++ ?THREADS, [fun(Values) -> chunking_form(Values#{nar => true, tar => false}) end]).

%% For a stream, which may compress in the same pass. It holds the entries of a few chunks at a time, so their
%% number has no limit by default.
-spec stream(term()) -> checked({chunking(), nil | compression()}).
stream(Options) ->
    Unlimited = fun
        ({Name, _, limit}) -> {Name, infinity, limit};
        (Option) -> Option
    end,
    Known = lists:map(Unlimited, ?CHUNKING) ++ ?THREADS ++ [{compress, nil, options}],
    with(Options, Known, [fun chunking_form/1, fun compress_form/1]).

%% For many files.
-spec files(term()) -> checked({chunking(), batch()}).
files(Options) ->
    with(Options, ?CHUNKING ++ ?BATCH, [fun chunking_form/1, fun batch_form/1]).

-spec hash(term()) -> checked(chunker:algorithm()).
hash(Options) ->
    with(Options, ?HASH, [fun hash_form/1]).

%% For the digest of a binary, whose algorithm is no option.
-spec hash_data(term()) -> checked(nil | chunker_dispatch:cache()).
hash_data(Options) ->
    with(Options, ?CACHE, [fun cache_handle/1]).

%% For the digest of a file.
-spec hash_file(term()) -> checked({nil | chunker_dispatch:cache(), on_change()}).
hash_file(Options) ->
    with(Options, ?CACHE ++ ?ON_CHANGE, [fun cache_handle/1, fun on_change_form/1]).

-spec hash_batch(term()) -> checked({digests(), batch()}).
hash_batch(Options) ->
    with(Options, ?DIGESTS ++ ?BATCH, [fun digests_form/1, fun batch_form/1]).

%% For a cache of digests.
-spec cache(term()) -> checked(cache()).
cache(Options) ->
    Known = [{max_entries, 100_000, integer}, {max_memory, 268_435_456, integer}, {verify, fingerprint, atom}],
    with(Options, Known, [fun cache_form/1]).

%% Includes whether to fall back on lz4.
-spec compression(term()) -> checked({compression(), Fallback :: boolean()}).
compression(Options) ->
    with(Options, ?COMPRESSION ++ [{fallback, false, boolean}], [fun compression_form/1, fun fallback_form/1]).

-spec compressor(term()) -> checked(compression()).
compressor(Options) ->
    with(Options, ?COMPRESSION, [fun compression_form/1]).

-spec decompression(term()) -> checked(decompression()).
decompression(Options) ->
    with(Options, ?DECOMPRESSION, [fun decompression_form/1]).

%% For an input of which what follows the content is ignored.
-spec decompression_prefix(term()) -> checked(decompression()).
decompression_prefix(Options) ->
    Known = lists:keydelete(trailing, 1, ?DECOMPRESSION),
    with(Options, Known, [fun(Values) -> decompression_form(Values#{trailing => ignore}) end]).

%% For an input that arrives in pieces, whose output need not be held as a whole: without a limit by default.
-spec decompressor(term()) -> checked(decompression()).
decompressor(Options) ->
    Known = lists:keyreplace(max_output_size, 1, ?DECOMPRESSION, {max_output_size, infinity, limit}),
    with(Options, Known, [fun decompression_form/1]).

-spec compression_batch(term()) -> checked({compression(), batch()}).
compression_batch(Options) ->
    with(Options, ?COMPRESSION ++ ?BATCH, [fun compression_form/1, fun batch_form/1]).

-spec decompression_batch(term()) -> checked({decompression(), batch()}).
decompression_batch(Options) ->
    with(Options, ?DECOMPRESSION ++ ?BATCH, [fun decompression_form/1, fun batch_form/1]).

%% For the list of the entries of a NAR.
-spec nar_list(term()) -> checked(limits()).
nar_list(Options) ->
    with(Options, ?LIMITS, [fun(Values) -> {ok, limits_form(Values)} end]).

%% For that list as JSON.
-spec nar_listing(term()) -> checked(listing()).
nar_listing(Options) ->
    with(Options, [{format, json, atom}, {notation, nix_2_8, atom} | ?LIMITS], [fun listing_form/1]).

%% For the archive of a tree.
-spec nar_dump(term()) -> checked(on_change()).
nar_dump(Options) ->
    with(Options, ?ON_CHANGE, [fun on_change_form/1]).

%% For a store that is opened.
-spec store(term()) -> checked(store()).
store(Options) ->
    Known = [
        {create, true, boolean},
        {hash, nil, atom},
        {preset, nil, atom},
        {min_size, preset, integer},
        {avg_size, preset, integer},
        {max_size, preset, integer},
        {normalization, nil, integer},
        {seed, nil, integer},
        {codec, nil, atom},
        {level, nil, integer},
        {durability, nil, atom},
        {delta, nil, boolean}
    ],
    with(Options, Known, [fun store_form/1]).

%% For an object that is put.
-spec store_put(term()) -> checked({Name :: nil | term(), Base :: nil | term(), References :: boolean(), work()}).
store_put(Options) ->
    Form = fun(#{name := Name, base := Base, references := References}) -> {ok, {Name, Base, References}} end,
    Known = [{name, nil, any}, {base, nil, any}, {references, false, boolean} | ?WORK],
    case with(Options, Known, [Form, fun work_form/1]) of
        {ok, {{Name, Base, References}, Work}} -> {ok, {Name, Base, References, Work}};
        Error -> Error
    end.

%% For an object that is read, and a file in it.
-spec store_read(term()) ->
    checked({Within :: nil | term(), {Offset :: integer(), Length :: nil | integer()}, threads_and_pool()}).
store_read(Options) ->
    Form = fun(#{path := Path, offset := Offset, length := Length}) ->
        case {Offset >= 0 andalso Offset < 1 bsl 64, Length =:= nil orelse (Length >= 0 andalso Length < 1 bsl 64)} of
            {true, true} -> {ok, {Path, {Offset, Length}}};
            {false, _} -> out_of_range(offset, Offset);
            {_, false} -> out_of_range(length, Length)
        end
    end,
    Known = [{path, nil, any}, {offset, 0, integer}, {length, nil, integer} | ?THREADS],
    case with(Options, Known, [Form, fun threads_form/1]) of
        {ok, {{Path, Range}, Threads}} -> {ok, {Path, Range, Threads}};
        Error -> Error
    end.

%% For an object that is restored, and a file in it.
-spec store_restore(term()) -> checked({Within :: nil | term(), work()}).
store_restore(Options) ->
    with(Options, [{path, nil, any} | ?WORK], [fun(#{path := Path}) -> {ok, Path} end, fun work_form/1]).

%% For the list of the entries of a NAR in a store.
-spec store_ls(term()) -> checked({{Recursive :: boolean(), limits()}, threads_and_pool()}).
store_ls(Options) ->
    Form = fun(#{recursive := Recursive} = Values) -> {ok, {Recursive, limits_form(Values)}} end,
    with(Options, [{recursive, false, boolean} | ?LIMITS ++ ?THREADS], [Form, fun threads_form/1]).

out_of_range(Option, Value) ->
    {error, {invalid_options, #{option => Option, value => Value, allowed => <<"0..18446744073709551615">>}}}.

%% For a tag that is set or removed, under the name `if'.
-spec store_tag(term()) -> checked(any | absent | {is, term()}).
store_tag(Options) ->
    with(Options, [{'if', any, any}], [
        fun
            (#{'if' := Condition}) when Condition =:= any; Condition =:= absent -> {ok, Condition};
            (#{'if' := {is, Id}}) -> {ok, {is, Id}};
            (#{'if' := Other}) -> {badarg, ["option ", {term, 'if'}, " must be ", {term, any}, ", ", {term, absent}, " or ", {term, {is, id}}, ", not ", {term, Other}]}
        end
    ]).

%% For an object that is restored, and for a check, a repair or a collection.
-spec store_work(term()) -> checked(work()).
store_work(Options) -> with(Options, ?WORK, [fun work_form/1]).

%% For a session.
-spec store_session(term()) -> checked(Attempts :: pos_integer()).
store_session(Options) ->
    with(Options, [{attempts, 1, integer}], [
        fun
            (#{attempts := Attempts}) when Attempts >= 1 -> {ok, Attempts};
            (#{attempts := Attempts}) ->
                {error, {invalid_options, #{option => attempts, value => Attempts, allowed => <<"1..">>}}}
        end
    ]).

%% For objects that are copied to another store.
-spec store_copy(term()) -> checked({Tags :: boolean(), work()}).
store_copy(Options) ->
    with(Options, [{tags, true, boolean} | ?WORK], [fun(#{tags := Tags}) -> {ok, Tags} end, fun work_form/1]).

store_form(#{create := Create, hash := Hash, codec := Codec, level := Level, durability := Durability} = Values) ->
    #{delta := Deltas} = Values,
    Checks = [
        one_of(durability, Durability, [nil, full, relaxed]),
        one_of(hash, Hash, [nil | algorithms()]),
        one_of(codec, Codec, [nil, none | codecs()]),
        one_of(preset, maps:get(preset, Values), [nil | presets()])
    ],
    case [Error || {error, _} = Error <- Checks] of
        [] ->
            Durable = case Durability of nil -> nil; _ -> Durability =:= full end,
            {ok, {Create, Hash, store_sizes(Values), Codec, Level, Durable, Deltas}};
        [Error | _] -> Error
    end.

store_sizes(#{preset := nil, min_size := preset, avg_size := preset, max_size := preset, normalization := nil, seed := nil}) ->
    nil;
store_sizes(#{preset := Preset, normalization := Normalization, seed := Seed} = Values) ->
    Or = fun
        (nil, Default) -> Default;
        (Value, _) -> Value
    end,
    {Preset, size(min_size, Values), size(avg_size, Values), size(max_size, Values), Or(Normalization, 1), Or(Seed, 0)}.

%% For the training of a dictionary. 110 KiB is what the `zstd' program makes.
-spec dictionary(term()) -> checked(MaxSize :: integer()).
dictionary(Options) ->
    with(Options, [{max_size, 112_640, integer}], [fun(#{max_size := Size}) -> {ok, Size} end]).

-spec algorithm(term()) -> ok | {badarg, chunker_badarg:message()}.
algorithm(blake3) -> ok;
algorithm(sha256) -> ok;
algorithm(Other) ->
    {badarg, ["the algorithm must be ", {term, blake3}, " or ", {term, sha256}, ", not ", {term, Other}]}.

%% Returns the number of threads that the application's environment asks for, by default that of dirty CPU
%% schedulers online.
-spec threads() -> {ok, pos_integer()} | {badarg, {general, chunker_badarg:message()}}.
threads() ->
    case configured(threads) of
        None when None =:= nil; None =:= undefined ->
            {ok, erlang:system_info(dirty_cpu_schedulers_online)};
        Threads when is_integer(Threads), Threads >= 1, Threads =< 1024 ->
            {ok, Threads};
        Other ->
            {badarg, {general, [
                "the configuration of application chunker has threads: ",
                {term, Other},
                ", which must be an integer from 1 to 1024, or nil"
            ]}}
    end.

%% Returns the value of a key in the application's environment.
configured(Key) ->
    case application:get_env(chunker, Key) of
        {ok, Value} ->
            Value;
        undefined ->
            %% Configuration files count from the moment that the application is loaded, which `bin/app eval'
            %% of a release and a plain Erlang node do not do.
            case application:get_key(chunker, vsn) of
                {ok, _} ->
                    undefined;
                undefined ->
                    _ = application:load(chunker),
                    application:get_env(chunker, Key, undefined)
            end
    end.

algorithms() -> [blake3, sha256].
codecs() -> [zstd, lz4, xz, bzip2, gzip, brotli].

%% A format that is read, but not written.
readable_codecs() -> codecs() ++ [lzma].

%% The codec and the level of each strategy. The engine chooses the codec with the smallest output itself.
strategies() -> [{fastest, {lz4, nil}}, {balanced, {zstd, 3}}, {smallest, {smallest, nil}}].

%% The engine knows their sizes.
presets() -> [default, large_packages, small_packages].

chunking_form(Values) ->
    forms([fun sizes_form/1, fun archive_form/1, fun digests_form/1, fun threads_form/1, fun on_change_form/1], Values, []).

sizes_form(#{normalization := Normalization, seed := Seed} = Values) ->
    form(preset_form(Values), fun(Preset) ->
        {Preset, size(min_size, Values), size(avg_size, Values), size(max_size, Values), Normalization, Seed}
    end).

%% A size that was not given is that of the preset.
size(Name, Values) ->
    case Values of
        #{Name := preset} -> nil;
        #{Name := Size} -> Size
    end.

preset_form(#{preset := nil, nar := false}) -> {ok, nil};
preset_form(#{preset := nil}) -> {ok, default};
preset_form(#{preset := Preset}) -> one_of(preset, Preset, presets()).

%% The format whose members chunks follow, and how.
archive_form(#{nar := false, tar := Tar} = Values) ->
    Annotations = [{entries, false}, {references, false} | [{Name, Default} || {Name, Default, _} <- ?LIMITS]],
    Distances = [{min_entry_size, nil}, {boundary_preference_distance, nil}],
    case {given(Distances, Values), given(Annotations, Values)} of
        {[Name | _], _} when not Tar ->
            {badarg, ["option ", {term, Name}, " needs option ", {term, nar}, " or ", {term, tar}]};
        {_, [Name | _]} ->
            {badarg, ["option ", {term, Name}, " needs option ", {term, nar}]};
        _ when Tar ->
            #{min_entry_size := MinEntrySize, boundary_preference_distance := Distance} = Values,
            {ok, {MinEntrySize, Distance}};
        _ ->
            {ok, nil}
    end;
archive_form(#{tar := true}) ->
    {badarg, ["options ", {term, nar}, " and ", {term, tar}, " exclude each other"]};
archive_form(#{nar := Nar, min_entry_size := MinEntrySize, boundary_preference_distance := Distance} = Values) ->
    #{entries := Entries, references := References} = Values,
    form(one_of(nar, Nar, [true, false, auto]), fun(_) ->
        {Nar =:= auto, MinEntrySize, Distance, Entries, References, limits_form(Values)}
    end).

%% Returns the names of the options that have another value than their default. Streams have other limits by default.
given(Options, Values) ->
    [
        Name
     || {Name, Default} <- Options,
        maps:get(Name, Values) =/= Default andalso maps:get(Name, Values) =/= infinity
    ].

limits_form(#{max_entries := Entries, max_memory := Memory}) -> {Entries, Memory}.

listing_form(#{format := Format, notation := Notation} = Values) ->
    case one_of(format, Format, [json, ls]) of
        {ok, _} ->
            form(one_of(notation, Notation, [nix_2_8, newest]), fun(_) -> {Format, Notation, limits_form(Values)} end);
        Error ->
            Error
    end.

digests_form(#{cache := Cache} = Values) ->
    form(hash_form(Values), fun(Hash) -> {Hash, handle(Cache)} end).

cache_handle(#{cache := Cache}) -> {ok, handle(Cache)}.

%% Returns the handle of a cache, which Elixir keeps in a struct.
handle(#{'__struct__' := 'Elixir.Chunker.Cache', cache := Cache}) -> Cache;
handle(Cache) -> Cache.

cache_form(#{max_entries := Entries, max_memory := Memory, verify := Verify}) ->
    form(one_of(verify, Verify, [fingerprint, content]), fun(_) -> {Entries, Memory, Verify} end).

on_change_form(#{on_change := OnChange}) -> one_of(on_change, OnChange, [error, snapshot]).

hash_form(#{hash := Hash}) -> one_of(hash, Hash, algorithms()).

batch_form(#{parallel_threshold := Threshold, progress := Progress} = Values) ->
    form(threads_form(Values), fun(Threads) -> {Threads, Threshold, Progress} end).

work_form(#{progress := Progress} = Values) ->
    form(threads_form(Values), fun(Threads) -> {Threads, Progress} end).

threads_form(#{threads := Wanted}) ->
    form(threads(), fun
        (PoolSize) when Wanted =:= configured -> {PoolSize, PoolSize};
        (PoolSize) -> {Wanted, PoolSize}
    end).

compression_form(#{strategy := nil, codec := Codec, level := Level, dictionary := Dictionary}) ->
    case Codec of
        nil -> {ok, {zstd, Level, Dictionary}};
        _ -> form(one_of(codec, Codec, codecs()), fun(_) -> {Codec, Level, Dictionary} end)
    end;
compression_form(#{strategy := Strategy, codec := nil, level := nil, dictionary := Dictionary}) ->
    Names = [Name || {Name, _} <- strategies()],
    form(one_of(strategy, Strategy, Names), fun(_) ->
        {_, {Codec, Level}} = lists:keyfind(Strategy, 1, strategies()),
        {Codec, Level, Dictionary}
    end);
compression_form(_) ->
    {badarg, ["option ", {term, strategy}, " stands for a codec and a level; give it or them"]}.

compress_form(#{compress := nil}) -> {ok, nil};
compress_form(#{compress := Options}) -> compressor(Options).

fallback_form(#{fallback := Fallback}) -> {ok, Fallback}.

decompression_form(#{codec := Codec, trailing := Trailing, dictionary := Dictionary} = Values) ->
    #{max_output_size := Most, max_memory := Memory} = Values,
    case one_of(codec, Codec, [auto | readable_codecs()]) of
        {ok, _} ->
            form(one_of(trailing, Trailing, [error, ignore]), fun(_) ->
                {Codec, Most, Memory, Trailing =:= ignore, Dictionary}
            end);
        Error ->
            Error
    end.

form({ok, Value}, Fun) -> {ok, Fun(Value)};
form(Error, _) -> Error.

one_of(Option, Value, Allowed) ->
    case lists:member(Value, Allowed) of
        true ->
            {ok, Value};
        false ->
            Names = iolist_to_binary(lists:join(", ", [atom_to_list(Name) || Name <- Allowed])),
            {error, {invalid_options, #{option => Option, value => Value, allowed => Names}}}
    end.

%% Checks options against the known ones, and returns the forms that are made of them: one by itself, several
%% as a tuple.
with(Options, Known, Forms) ->
    case values(Options, Known) of
        {ok, Values} -> forms(Forms, Values, []);
        {badarg, Message} -> {badarg, Message}
    end.

forms([], _, [Form]) ->
    {ok, Form};
forms([], _, Forms) ->
    {ok, list_to_tuple(lists:reverse(Forms))};
forms([Fun | Rest], Values, Forms) ->
    case Fun(Values) of
        {ok, Form} -> forms(Rest, Values, [Form | Forms]);
        Error -> Error
    end.

values(Options, Known) when is_map(Options) ->
    values(maps:to_list(Options), Known);
values(Options, Known) when is_list(Options) ->
    case unknown(Options, Known) of
        none -> values(Known, Options, #{});
        {badarg, Message} -> {badarg, Message}
    end;
values(Options, _) ->
    {badarg, ["options must be a list of pairs or a map, not ", {term, Options}]}.

unknown([{Name, _} | Rest], Known) when is_atom(Name) ->
    case lists:keymember(Name, 1, Known) of
        true ->
            unknown(Rest, Known);
        false ->
            Names = [Option || {Option, _, _} <- Known],
            {badarg, ["unknown option ", {term, Name}, "; there are: ", {terms, Names}]}
    end;
unknown([], _) ->
    none;
unknown([Other | _], _) ->
    {badarg, ["an option must be a pair of a name and a value, not ", {term, Other}]};
unknown(Tail, _) ->
    {badarg, ["options must be a proper list, which does not end with ", {term, Tail}]}.

values([{Name, Default, Type} | Known], Options, Values) ->
    case lists:keyfind(Name, 1, Options) of
        false ->
            values(Known, Options, Values#{Name => Default});
        {_, None} when Default =:= nil, None =:= nil orelse None =:= undefined ->
            values(Known, Options, Values#{Name => nil});
        {_, Value} ->
            case is(Type, Value) of
                true -> values(Known, Options, Values#{Name => Value});
                false -> {badarg, ["option ", {term, Name}, " must be "] ++ a(Type) ++ [", not ", {term, Value}]}
            end
    end;
values([], _, Values) ->
    {ok, Values}.

is(any, _) -> true;
is(integer, Value) -> is_integer(Value);
is(limit, Value) -> is_integer(Value) orelse Value =:= infinity;
is(atom, Value) -> is_atom(Value);
is(boolean, Value) -> is_boolean(Value);
is(binary, Value) -> is_binary(Value);
is(options, Value) -> is_list(Value) orelse is_map(Value);
is(cache, #{'__struct__' := 'Elixir.Chunker.Cache'} = Value) -> chunker_dispatch:is_cache(handle(Value));
is(cache, Value) -> chunker_dispatch:is_cache(Value);
is(progress, {Pid, Ref}) -> is_pid(Pid) andalso is_reference(Ref);
is(progress, Value) -> is_pid(Value) orelse is_function(Value, 2).

a(integer) -> ["an integer"];
a(limit) -> ["an integer or ", {term, infinity}];
a(atom) -> ["an atom"];
a(boolean) -> ["true or false"];
a(binary) -> ["a binary"];
a(options) -> ["a list of options or a map"];
a(cache) -> ["a cache of this node"];
a(progress) -> ["a pid, a pid and a reference, or a function of two arguments"].
