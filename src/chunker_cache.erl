%% @doc A cache of digests, so that the digest of content that repeats is looked up instead of computed.
%%
%% ```
%% Cache = chunker_cache:new(),
%% {ok, Chunks} = chunker:chunk_file("monday.tar", [{cache, Cache}]),
%% {ok, Others} = chunker:chunk_file("tuesday.tar", [{cache, Cache}]),
%% #{hit_rate := Rate} = chunker_cache:stats(Cache).
%% '''
%%
%% A content is identified by a 128-bit fingerprint of all of its bytes, under a secret that is drawn for each
%% cache. Without the secret, two contents of up to 16 MiB, which all chunks are, have the same fingerprint
%% with a probability of at most 2^-83, even if an attacker chooses them. With `{verify, content}' the cache
%% keeps the contents and compares them. The document `docs/cache.md' derives these numbers, and has
%% measurements.
%%
%% Any number of processes can use a cache at once. It is freed when no process holds it any more. It lives in
%% its node: for one that came from another node, or out of `binary_to_term/1' when it was freed already,
%% functions raise `badarg'.
-module(chunker_cache).

-export([new/0, new/1, get/3, put/3, fetch/3, stats/1, clear/1]).
-export_type([cache/0, stats/0]).

-include("chunker_badarg.hrl").
-compile({inline, [out_of_range/2, digest/4]}).

-define(CACHE, <<"a cache of this node">>).

%% Opaque where it is made; a second time would make it another type to Dialyzer.
-type cache() :: chunker_dispatch:cache().

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

%% @doc Returns an empty cache. Options that are wrong or out of range raise `badarg'.
%%
%% <ul>
%% <li>`max_entries': how many digests are kept at most, 1 to 1,000,000,000; 100,000 by default.</li>
%% <li>`max_memory': the memory in bytes that all of them take at most, 1 to 2^60; 256 MiB by default. A
%%     digest takes 128 bytes.</li>
%% <li>`verify': `fingerprint' (the default), or `content' to keep the contents as well, within that memory,
%%     and to compare them.</li>
%% </ul>
-spec new(chunker:options()) -> cache().
new(Options) ->
    case chunker_options:cache(Options) of
        {ok, Checked} ->
            case chunker_dispatch:open_cache(Checked) of
                {ok, Cache} -> Cache;
                {error, {invalid_options, Details}} -> out_of_range(Details, [Options]);
                {error, Reason} -> error(Reason)
            end;
        {error, {invalid_options, Details}} ->
            out_of_range(Details, [Options]);
        {badarg, Message} ->
            ?BADARG([Options], 1, Message)
    end.

%% @doc Returns the digest of a content, or `nil' if the cache does not have it. Counts as a lookup, and as
%% use of the digest.
-spec get(cache(), iodata(), chunker:algorithm()) -> chunker:digest() | nil.
get(Cache, Data, Algorithm) -> digest(fun chunker_dispatch:cache_get/3, Cache, Data, Algorithm).

%% @doc Computes the digest of a content, stores it in the cache and returns it. A content of more than 1 GiB
%% is not stored.
-spec put(cache(), iodata(), chunker:algorithm()) -> chunker:digest().
put(Cache, Data, Algorithm) -> digest(fun chunker_dispatch:cache_put/3, Cache, Data, Algorithm).

%% @doc Returns the digest of a content. If the cache does not have it, computes and stores it. Counts as a
%% lookup, and as use of the digest. A content of more than 1 GiB is not stored.
-spec fetch(cache(), iodata(), chunker:algorithm()) -> chunker:digest().
fetch(Cache, Data, Algorithm) -> digest(fun chunker_dispatch:cache_fetch/3, Cache, Data, Algorithm).

digest(Fun, Cache, Data, Algorithm) ->
    Arguments = [Cache, Data, Algorithm],
    ok = checked(chunker_options:algorithm(Algorithm), Arguments, 3),
    Binary = valid(chunker_input:binary(Data), Arguments, 2),
    handle(fun(Handle) -> unwrap(Fun(Handle, Binary, Algorithm)) end, Arguments, ?CACHE).

%% @doc Returns counters of the cache and its present size. `hits' and `misses' are all lookups; `insertions'
%% less `evictions' is `entries', which take `bytes'.
-spec stats(cache()) -> stats().
stats(Cache) ->
    handle(fun chunker_dispatch:cache_stats/1, [Cache], ?CACHE).

%% @doc Removes all digests. The counters continue, and removed digests count as evicted. Contents that were
%% kept are freed; the memory for digests stays with the cache for later use.
-spec clear(cache()) -> ok.
clear(Cache) ->
    handle(fun chunker_dispatch:cache_clear/1, [Cache], ?CACHE).

unwrap({ok, Value}) -> Value;
unwrap({error, Reason}) -> error(Reason).

-spec out_of_range(map(), [term()]) -> no_return().
out_of_range(#{option := Option, value := Value, allowed := Allowed}, Arguments) ->
    ?BADARG(Arguments, 1, ["option ", {term, Option}, " is ", {term, Value}, ", but must be ", Allowed]).
