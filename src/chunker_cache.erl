%% @doc A cache of digests: those of contents that come again are looked up instead of computed.
%%
%% ```
%% Cache = chunker_cache:new(),
%% {ok, Chunks} = chunker:chunk_file("monday.tar", [{cache, Cache}]),
%% {ok, Others} = chunker:chunk_file("tuesday.tar", [{cache, Cache}]),
%% #{hit_rate := Rate} = chunker_cache:stats(Cache).
%% '''
%%
%% A content is known again by a 128-bit fingerprint of all of its bytes, made with a secret that is drawn for each cache.
%% Nobody who does not know it can choose two contents that are taken for the same: for contents of up to 16 MiB, which
%% all chunks are, the probability is at most 2^-83 for each pair. With `{verify, content}' the cache keeps the contents and
%% compares them. The document `docs/cache.md' says what follows from that, and what a cache saves and costs.
%%
%% Any number of processes can use a cache at once. It is freed when no process holds it any more. It lives in its node: for
%% one that came from another node, or out of `binary_to_term/1' when it was freed already, functions raise `badarg'.
-module(chunker_cache).

-export([new/0, new/1, get/3, put/3, stats/1, clear/1]).
-export_type([cache/0, stats/0]).

-include("chunker_mistakes.hrl").
-compile({inline, [valid_cache/2, out_of_range/2]}).

%% Opaque where it is made; a second time would make it another type to Dialyzer.
-type cache() :: chunker_engine:cache().

-type stats() :: #{
    hits := non_neg_integer(),
    misses := non_neg_integer(),
    insertions := non_neg_integer(),
    evictions := non_neg_integer(),
    collisions := non_neg_integer(),
    entries := non_neg_integer(),
    bytes := non_neg_integer(),
    hit_rate := float()
}.

%% @equiv new([])
-spec new() -> cache().
new() -> new([]).

%% @doc An empty cache. Options that are wrong or out of range raise `badarg'.
%%
%% <ul>
%% <li>`max_entries': how many digests are kept at most, 1 to 1,000,000,000; 100,000 by default.</li>
%% <li>`max_memory': the memory in bytes that all of them take at most, 1 to 2^60; 256 MiB by default. A digest takes
%%     128 bytes.</li>
%% <li>`verify': `fingerprint' (the default), or `content' to keep the contents as well, within that memory, and to
%%     compare them.</li>
%% </ul>
-spec new(chunker_options:options()) -> cache().
new(Options) ->
    case chunker_options:cache(Options) of
        {ok, Checked} ->
            case chunker_engine:open_cache(Checked) of
                {ok, Cache} -> Cache;
                {error, {invalid_options, Details}} -> out_of_range(Details, [Options]);
                {error, Reason} -> error(Reason)
            end;
        {error, {invalid_options, Details}} ->
            out_of_range(Details, [Options]);
        {badarg, Message} ->
            ?BADARG([Options], 1, Message)
    end.

%% @doc The digest of a content, if the cache has it, else `nil'. Counts as a lookup, and as use of what it finds.
-spec get(cache(), iodata(), chunker:algorithm()) -> chunker:digest() | nil.
get(Cache, Data, Algorithm) ->
    Arguments = [Cache, Data, Algorithm],
    ok = checked(chunker_options:algorithm(Algorithm), Arguments, 3),
    Binary = valid(chunker_input:binary(Data), Arguments, 2),
    unwrap(chunker_engine:cache_get(valid_cache(Cache, Arguments), Binary, Algorithm)).

%% @doc Computes the digest of a content and puts it into the cache. A content of more than 1 GiB is not put in.
-spec put(cache(), iodata(), chunker:algorithm()) -> chunker:digest().
put(Cache, Data, Algorithm) ->
    Arguments = [Cache, Data, Algorithm],
    ok = checked(chunker_options:algorithm(Algorithm), Arguments, 3),
    Binary = valid(chunker_input:binary(Data), Arguments, 2),
    unwrap(chunker_engine:cache_put(valid_cache(Cache, Arguments), Binary, Algorithm)).

%% @doc What the cache has done and what it holds. `hits' and `misses' are all lookups; `insertions' less `evictions' is
%% `entries', which take `bytes'.
-spec stats(cache()) -> stats().
stats(Cache) ->
    chunker_engine:cache_stats(valid_cache(Cache, [Cache])).

%% @doc Forgets all digests. The statistics go on; what is forgotten counts as evicted. Contents that were kept are freed; the
%% memory for digests stays with the cache, for those that come next.
-spec clear(cache()) -> ok.
clear(Cache) ->
    chunker_engine:cache_clear(valid_cache(Cache, [Cache])).

valid_cache(Cache, Arguments) ->
    case chunker_engine:is_cache(Cache) of
        true -> Cache;
        false -> ?BADARG(Arguments, 1, <<"must be a cache">>)
    end.

unwrap({ok, Value}) -> Value;
unwrap({error, Reason}) -> error(Reason).

-spec out_of_range(map(), [term()]) -> no_return().
out_of_range(#{option := Option, value := Value, allowed := Allowed}, Arguments) ->
    Message = io_lib:format("option ~ts is ~tp, but must be ~ts", [Option, Value, Allowed]),
    ?BADARG(Arguments, 1, unicode:characters_to_binary(Message)).
