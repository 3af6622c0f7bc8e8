%% @doc Content-defined chunking for Erlang.
%%
%% Chunker splits files, binaries and streams into content-defined chunks (FastCDC) and names each chunk by its digest,
%% so that a program can store what it has not stored yet. These are the functions of the Elixir module `Chunker',
%% under the same names and with the same options and defaults.
%%
%% ```
%% {ok, Chunks} = chunker:chunk_file("/var/backups/db.tar", [{hash, sha256}]),
%% [io:format("~b ~b ~s~n", [O, L, chunker:to_hex(H)])
%%  || #{offset := O, length := L, hash := H} <- Chunks].
%% '''
%%
%% Options are a map or a list of pairs. An unknown option and a value of the wrong type raise `badarg'; a value that
%% is out of range gives `{error, {invalid_options, Details}}'.
%%
%% <ul>
%% <li>`min_size': bytes, 64 to 1,048,576; no chunk but the last is shorter. 262,144 by default.</li>
%% <li>`avg_size': bytes, 256 to 4,194,304; sizes gather around it. 1,048,576 by default.</li>
%% <li>`max_size': bytes, 1,024 to 16,777,216; no chunk is longer. 4,194,304 by default.</li>
%% <li>`normalization': 0 to 3; how strongly sizes gather around the average. 1 by default.</li>
%% <li>`seed': 64 bits; keys the cut points. 0 by default.</li>
%% <li>`hash': `blake3' (the default) or `sha256'.</li>
%% <li>`threads': 1 to 1,024; at most so many threads work on the call. By default as many as the application's
%%     environment says under `threads', else as many as there are dirty CPU schedulers online.</li>
%% </ul>
-module(chunker).

-export([chunk_file/1, chunk_file/2, chunk_data/1, chunk_data/2]).
-export([stream/1, stream/2, next/1, close/1]).
-export([hash/2, hash_file/2, info/0]).
-export([to_hex/1, to_nix_base32/1, from_nix_base32/1]).
-export([format_error/2]).
-export_type([algorithm/0, chunk/0, digest/0, error/0, iterator/0, options/0, source/0]).

%% Pieces are gathered up to the first of these sizes, since a call of the engine costs some microseconds, and cut down
%% to the second, so that the chunks of a long piece do not all come at once.
-define(GATHER, 65_536).
-define(SLICE, 4_194_304).

-type algorithm() :: blake3 | sha256.
-type digest() :: <<_:256>>.
-type chunk() :: #{offset := non_neg_integer(), length := pos_integer(), hash := digest(), data => binary()}.
-type options() :: chunker_options:options().
-type error() :: {Reason :: atom(), Details :: map()}.

%% What {@link stream/2} takes: a file by its name, or pieces of the input, as a list or one after the other from a
%% fun that gives `{Piece, NextFun}' or `done'.
-type source() :: {file, file:name_all()} | [iodata()] | pieces().
-type pieces() :: fun(() -> {iodata(), pieces()} | done).

-opaque iterator() ::
    {[chunker_engine:loaded()], file, chunker_engine:stream()}
    | {[chunker_engine:loaded()], {Gather :: pos_integer(), [iodata()] | pieces()}, chunker_engine:stream()}
    | {[chunker_engine:loaded()], done}.

%% @equiv chunk_file(Path, [])
-spec chunk_file(file:name_all()) -> {ok, [chunk()]} | {error, error()}.
chunk_file(Path) -> chunk_file(Path, []).

%% @doc The chunks of a file, without their bytes. Time is linear in the file; memory does not grow with it, but for
%% the list of chunks.
%%
%% A FIFO or a device is read until whoever feeds it closes it.
%%
%% Errors: `io_error' with `kind' (`enoent', `eacces', `eisdir' and so on) and `path'; `file_changed' with `path' when a
%% regular file shrinks or grows while it is read; `invalid_options'.
-spec chunk_file(file:name_all(), options()) -> {ok, [chunk()]} | {error, error()}.
chunk_file(Path, Options) ->
    Name = path(Path, [Path, Options]),
    case options(Options, [Path, Options]) of
        {ok, Checked} -> chunks(chunker_engine:chunk_file(Name, Checked));
        Error -> Error
    end.

%% @equiv chunk_data(Data, [])
-spec chunk_data(iodata()) -> {ok, [chunk()]} | {error, error()}.
chunk_data(Data) -> chunk_data(Data, []).

%% @doc The chunks of a binary or an iolist, with their bytes: parts of the binary, which is not copied. (An iolist is
%% made one binary first.)
-spec chunk_data(iodata(), options()) -> {ok, [chunk()]} | {error, error()}.
chunk_data(Data, Options) ->
    Binary = binary(Data, [Data, Options]),
    case options(Options, [Data, Options]) of
        {ok, Checked} ->
            case chunker_engine:chunk_data(Binary, Checked) of
                {ok, Chunks} ->
                    {ok, [(chunk(Chunk))#{data => part(Binary, Chunk)} || Chunk <- Chunks]};
                Error ->
                    Error
            end;
        Error ->
            Error
    end.

%% @equiv stream(Source, [])
-spec stream(source()) -> {ok, iterator()} | {error, error()}.
stream(Source) -> stream(Source, []).

%% @doc The chunks of a file or of pieces that come one after the other, each with its bytes, in bounded memory: less
%% than four times `max_size' and a few MiB for each thread, whatever the input is.
%%
%% ```
%% {ok, Chunks} = chunker:stream({file, "big.iso"}),
%% Store = fun Store(Iterator) ->
%%     case chunker:next(Iterator) of
%%         {ok, #{hash := Hash, data := Data}, Next} -> put(Hash, Data), Store(Next);
%%         done -> ok
%%     end
%% end,
%% Store(Chunks).
%% '''
%%
%% Pieces are gathered up to 64 KiB, or `avg_size' if that is less, before the engine sees them.
%%
%% An iterator is good for one {@link next/1}, which gives the one after it. What it holds is freed at the end, by
%% {@link close/1}, or when no process holds it any more.
-spec stream(source(), options()) -> {ok, iterator()} | {error, error()}.
stream(Source, Options) ->
    case options(Options, [Source, Options]) of
        {ok, Checked} -> open(Source, Checked, [Source, Options]);
        Error -> Error
    end.

open({file, Path}, Options, Arguments) ->
    case chunker_engine:open_file(path(Path, Arguments), Options) of
        {ok, Stream} -> {ok, {[], file, Stream}};
        Error -> Error
    end;
open(Pieces, Options, _) when is_list(Pieces); is_function(Pieces, 0) ->
    case chunker_engine:open_pieces(Options) of
        {ok, Stream} ->
            %% Chunks smaller than usual are for somebody who does not want to wait for much input.
            {{_, AvgSize, _, _, _}, _, _} = Options,
            {ok, {[], {min(AvgSize, ?GATHER), Pieces}, Stream}};
        Error -> Error
    end;
open(_, _, Arguments) ->
    badarg(Arguments, 1, <<"must be {file, Path}, a list of iodata, or a fun that gives {Piece, NextFun} or done">>).

%% @doc The next chunk of a stream, and the iterator after it; `done' after the last chunk.
%%
%% Errors are those of {@link chunk_file/2}. After an error the stream is closed.
-spec next(iterator()) -> {ok, chunk(), iterator()} | done | {error, error()}.
next(Iterator) ->
    case Iterator of
        {[{Offset, Length, Hash, Data} | Rest], done} ->
            {ok, #{offset => Offset, length => Length, hash => Hash, data => Data}, {Rest, done}};
        {[{Offset, Length, Hash, Data} | Rest], Source, Stream} ->
            {ok, #{offset => Offset, length => Length, hash => Hash, data => Data}, {Rest, Source, Stream}};
        {[], done} ->
            done;
        {[], file, Stream} ->
            case chunker_engine:next(Stream) of
                {ok, []} -> done;
                {ok, Chunks} -> next({Chunks, file, Stream});
                Error -> Error
            end;
        {[], Source, Stream} ->
            {Gather, Pieces} = Source,
            case gather(Pieces, Gather, [], 0, Iterator) of
                done ->
                    case chunker_engine:finish(Stream) of
                        {ok, Chunks} -> next({Chunks, done});
                        Error -> Error
                    end;
                {Piece, Rest} ->
                    case chunker_engine:push(Stream, Piece) of
                        {ok, Chunks} -> next({Chunks, {Gather, Rest}, Stream});
                        Error -> Error
                    end
            end
    end.

%% The next bytes for the engine, at least `Gather' of them if there are so many, and the source after them.
gather(Pieces, Gather, Gathered, Size, Iterator) ->
    case piece(Pieces, Iterator) of
        done when Size =:= 0 ->
            done;
        done ->
            {iolist_to_binary(Gathered), []};
        {Piece, Rest} ->
            case Size + size_of(Piece, Iterator) of
                NewSize when NewSize < Gather -> gather(Rest, Gather, [Gathered | Piece], NewSize, Iterator);
                _ when Size =:= 0 -> slice(iolist_to_binary(Piece), Rest);
                _ -> slice(iolist_to_binary([Gathered | Piece]), Rest)
            end
    end.

slice(<<Slice:?SLICE/binary, More/binary>>, Rest) when More =/= <<>> -> {Slice, fun() -> {More, Rest} end};
slice(Binary, Rest) -> {Binary, Rest}.

piece([], _) -> done;
piece([Piece | Rest], _) -> {Piece, Rest};
piece(Fun, Iterator) when is_function(Fun, 0) ->
    case Fun() of
        done -> done;
        {_, _} = Next -> Next;
        _ -> badarg([Iterator], 1, <<"its source must be a fun that gives {Piece, NextFun} or done">>)
    end;
piece(_, Iterator) ->
    badarg([Iterator], 1, <<"its source must go on with a list or a fun">>).

size_of(Piece, Iterator) ->
    try
        iolist_size(Piece)
    catch
        error:badarg -> badarg([Iterator], 1, <<"its source must give iodata">>)
    end.

%% @doc Frees what a stream holds, before its end.
-spec close(iterator()) -> ok.
close({_, done}) -> ok;
close({_, _, Stream}) -> chunker_engine:close(Stream).

%% @doc The digest of a binary or an iolist: 32 bytes.
-spec hash(iodata(), algorithm()) -> digest().
hash(Data, Algorithm) ->
    algorithm(Algorithm, [Data, Algorithm]),
    <<_:256>> = chunker_engine:hash(binary(Data, [Data, Algorithm]), Algorithm).

%% @doc The digest of a file, in 1 MiB of memory. Errors are those of {@link chunk_file/2}.
-spec hash_file(file:name_all(), algorithm()) -> {ok, digest()} | {error, error()}.
hash_file(Path, Algorithm) ->
    algorithm(Algorithm, [Path, Algorithm]),
    chunker_engine:hash_file(path(Path, [Path, Algorithm]), Algorithm).

%% @doc What this build of Chunker is, and what it uses of this machine.
-spec info() ->
    #{
        version := binary(),
        cpu_features := [binary()],
        kernels := #{scan := binary()},
        hashes := #{algorithm() => binary()},
        threads := pos_integer()
    }.
info() ->
    Info = maps:from_list('Elixir.Chunker.Native':info()),
    #{version := Version, cpu_features := Features, kernel := Kernel, hashes := Hashes} = Info,
    #{
        version => Version,
        cpu_features => Features,
        kernels => #{scan => Kernel},
        hashes => maps:from_list(Hashes),
        threads => chunker_options:threads()
    }.

%% @doc A digest, or any other binary, in lower-case hexadecimal digits.
-spec to_hex(binary()) -> binary().
to_hex(Bytes) when is_binary(Bytes) -> <<<<(digit(D))>> || <<D:4>> <= Bytes>>.

digit(D) when D < 10 -> $0 + D;
digit(D) -> $a + D - 10.

%% @doc A digest, or any other binary, in the base-32 notation of Nix.
-spec to_nix_base32(binary()) -> binary().
to_nix_base32(Bytes) when is_binary(Bytes) -> chunker_engine:to_nix_base32(Bytes).

%% @doc The bytes that a text in Nix's base-32 notation stands for. `invalid_base32' comes with the `position' of the
%% first character that cannot stand there.
-spec from_nix_base32(binary()) -> {ok, binary()} | {error, error()}.
from_nix_base32(Text) when is_binary(Text) -> chunker_engine:from_nix_base32(Text).

chunks({ok, Chunks}) -> {ok, [chunk(Chunk) || Chunk <- Chunks]};
chunks(Error) -> Error.

chunk({Offset, Length, Hash}) -> #{offset => Offset, length => Length, hash => Hash}.

part(Binary, {Offset, Length, _}) -> binary:part(Binary, Offset, Length).

options(Options, Arguments) ->
    case chunker_options:chunking(Options) of
        {badarg, Message} -> badarg(Arguments, 2, Message);
        Result -> Result
    end.

algorithm(Algorithm, Arguments) ->
    case chunker_options:algorithm(Algorithm) of
        ok -> ok;
        {badarg, Message} -> badarg(Arguments, 2, Message)
    end.

binary(Data, _) when is_binary(Data) -> Data;
binary(Data, Arguments) ->
    try
        iolist_to_binary(Data)
    catch
        error:badarg -> badarg(Arguments, 1, <<"must be iodata">>)
    end.

path(Path, _) when is_binary(Path) -> Path;
path(Path, Arguments) ->
    try
        %% Atoms and deep lists are names too, and what a name's characters are on disk depends on the system.
        case unicode:characters_to_binary(filename:flatten(Path), unicode, file:native_name_encoding()) of
            Name when is_binary(Name) -> Name
        end
    catch
        error:_ -> badarg(Arguments, 1, <<"must be the name of a file">>)
    end.

-spec badarg([term()], pos_integer(), binary()) -> no_return().
badarg(Arguments, Position, Message) ->
    erlang:error(badarg, Arguments, [{error_info, #{cause => {Position, Message}}}]).

%% @private
%% What the shell and the logger print of a `badarg' raised here.
format_error(badarg, [{_, _, _, Info} | _]) ->
    case proplists:get_value(error_info, Info) of
        #{cause := {Position, Message}} -> #{Position => Message};
        _ -> #{}
    end.
