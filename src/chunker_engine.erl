%% @private
%% What both faces call: chooses the scheduler on which the engine runs, and nothing else.
%%
%% It is written in Erlang so that Erlang programs need no Elixir at run time. Options are those that
%% `chunker_options' gives.
-module(chunker_engine).

-export([chunk_data/2, chunk_file/2, hash/2, hash_file/2]).
-export([to_nix_base32/1, from_nix_base32/1]).
-export([open_file/2, open_pieces/1, next/1, push/2, finish/1, close/1]).
-export_type([chunk/0, loaded/0, failure/0, stream/0]).

-type chunk() :: {Offset :: non_neg_integer(), Length :: pos_integer(), Hash :: <<_:256>>}.
-type loaded() :: {Offset :: non_neg_integer(), Length :: pos_integer(), Hash :: <<_:256>>, Data :: binary()}.
-type failure() :: {error, {Reason :: atom(), Details :: map()}}.
-opaque stream() :: {regular | special | pieces, reference()}.

-define(NIF, 'Elixir.Chunker.Native').

%% Up to here a call stays on the scheduler that it is made on, which saves the ten microseconds or so that the way to
%% a dirty one and back takes. The slowest work on so many bytes (chunking with SHA-256 and no instructions for it)
%% takes a third of the millisecond that a NIF may take.
-define(SMALL, 65_536).

-spec chunk_data(binary(), chunker_options:chunking()) -> {ok, [chunk()]} | failure().
chunk_data(Data, Options) when byte_size(Data) =< ?SMALL -> ?NIF:chunk_small_data(Data, Options);
chunk_data(Data, Options) -> ?NIF:chunk_data(Data, Options).

-spec chunk_file(binary(), chunker_options:chunking()) -> {ok, [chunk()]} | failure().
chunk_file(Path, Options) ->
    case ?NIF:chunk_file(Path, Options) of
        special -> ?NIF:chunk_special_file(Path, Options);
        Result -> Result
    end.

-spec hash(binary(), chunker:algorithm()) -> <<_:256>> | failure().
hash(Data, Algorithm) when byte_size(Data) =< ?SMALL -> ?NIF:hash_small(Data, Algorithm);
hash(Data, Algorithm) -> ?NIF:hash(Data, Algorithm).

-spec hash_file(binary(), chunker:algorithm()) -> {ok, <<_:256>>} | failure().
hash_file(Path, Algorithm) ->
    case ?NIF:hash_file(Path, Algorithm) of
        special -> ?NIF:hash_special_file(Path, Algorithm);
        Result -> Result
    end.

%% Text takes the engine longer than a hash does: up to here it is a tenth of a millisecond.
-define(SMALL_TEXT, 4096).

-spec to_nix_base32(binary()) -> binary().
to_nix_base32(Bytes) when byte_size(Bytes) =< ?SMALL_TEXT -> ?NIF:nix_base32_encode_small(Bytes);
to_nix_base32(Bytes) -> ?NIF:nix_base32_encode(Bytes).

-spec from_nix_base32(binary()) -> {ok, binary()} | failure().
from_nix_base32(Text) when byte_size(Text) =< ?SMALL_TEXT -> ?NIF:nix_base32_decode_small(Text);
from_nix_base32(Text) -> ?NIF:nix_base32_decode(Text).

%% A stream of a file. To be pulled with `next/1'.
-spec open_file(binary(), chunker_options:chunking()) -> {ok, stream()} | failure().
open_file(Path, Options) ->
    case ?NIF:stream_file(Path, Options) of
        {ok, Stream, Kind} -> {ok, {Kind, Stream}};
        Failure -> Failure
    end.

%% A stream of what is pushed with `push/2', until `finish/1'.
-spec open_pieces(chunker_options:chunking()) -> {ok, stream()} | failure().
open_pieces(Options) ->
    case ?NIF:stream_pieces(Options) of
        {ok, Stream} -> {ok, {pieces, Stream}};
        Failure -> Failure
    end.

%% The next chunks; none at the end.
-spec next(stream()) -> {ok, [loaded()]} | failure().
next({regular, Stream}) -> ?NIF:stream_next(Stream);
next({special, Stream}) -> ?NIF:stream_next_special(Stream).

%% The chunks that have become known, be it none.
-spec push(stream(), binary()) -> {ok, [loaded()]} | failure().
push({pieces, Stream}, Piece) -> ?NIF:stream_push(Stream, Piece).

%% The chunks that are left.
-spec finish(stream()) -> {ok, [loaded()]} | failure().
finish({pieces, Stream}) -> ?NIF:stream_finish(Stream).

%% Frees what the stream holds. It is also freed when no process holds the stream any more.
-spec close(stream()) -> ok.
close({_, Stream}) -> ?NIF:stream_close(Stream).
