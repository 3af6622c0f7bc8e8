%% @private
%% What callers hand over: bytes, names of files, and pieces that come one after the other.
%%
%% What is none of these is a mistake of the programmer: `{badarg, Message}', which each caller raises in its own way.
-module(chunker_input).

-export([binary/1, path/1, list/2, references/1, gather/2]).
-export_type([pieces/0]).

%% A long piece is cut down to this size, so that what comes of it does not come all at once.
-define(SLICE, 4_194_304).

%% Iodata one after the other: a list, or a fun that gives `{Piece, NextFun}' or `done'.
-type pieces() :: [iodata()] | fun(() -> {iodata(), pieces()} | done).

-spec binary(term()) -> {ok, binary()} | {badarg, binary()}.
binary(Data) when is_binary(Data) -> {ok, Data};
binary(Data) ->
    try
        {ok, iolist_to_binary(Data)}
    catch
        error:badarg -> {badarg, <<"must be iodata">>}
    end.

-spec path(term()) -> {ok, binary()} | {badarg, binary()}.
path(Path) when is_binary(Path) -> {ok, Path};
path(Path) ->
    try
        %% Atoms and deep lists are names too, and what a name's characters are on disk depends on the system.
        case unicode:characters_to_binary(filename:flatten(Path), unicode, file:native_name_encoding()) of
            Name when is_binary(Name) -> {ok, Name}
        end
    catch
        error:_ -> {badarg, <<"must be the name of a file">>}
    end.

%% Each item of a list, as `Take' takes it.
-spec list(fun((term()) -> Taken), term()) -> {ok, [binary()]} | {badarg, binary()} when
    Taken :: {ok, binary()} | {badarg, binary()}.
list(Take, Items) -> list(Take, Items, []).

list(Take, [Item | Items], Taken) ->
    case Take(Item) of
        {ok, Binary} -> list(Take, Items, [Binary | Taken]);
        Wrong -> Wrong
    end;
list(_, [], Taken) ->
    {ok, lists:reverse(Taken)};
list(_, _, _) ->
    {badarg, <<"must be a list">>}.

%% What was taken out of a chunk, if anything was looked for.
-spec references(term()) -> {ok, chunker_dispatch:references()} | {badarg, binary()}.
references(nil) -> {ok, []};
references(References) ->
    Is = fun
        ({Position, Characters}) -> is_integer(Position) andalso Position >= 0 andalso is_binary(Characters);
        (_) -> false
    end,
    try lists:all(Is, References) of
        true -> {ok, References};
        false -> {badarg, <<"must be a list of pairs of a position and characters">>}
    catch
        error:_ -> {badarg, <<"must be a list of pairs of a position and characters">>}
    end.

%% The next bytes, at least `Gather' of them if there are so many, and the pieces after them.
-spec gather(pieces(), pos_integer()) -> {binary(), pieces()} | done | {badarg, binary()}.
gather(Pieces, Gather) -> gather(Pieces, Gather, [], 0).

gather(Pieces, Gather, Gathered, Size) ->
    case piece(Pieces) of
        done when Size =:= 0 ->
            done;
        done ->
            {iolist_to_binary(Gathered), []};
        {badarg, _} = Wrong ->
            Wrong;
        {Piece, Rest} ->
            case size_of(Piece) of
                {badarg, _} = Wrong -> Wrong;
                More when Size + More < Gather -> gather(Rest, Gather, [Gathered | Piece], Size + More);
                _ when Size =:= 0 -> slice(iolist_to_binary(Piece), Rest);
                _ -> slice(iolist_to_binary([Gathered | Piece]), Rest)
            end
    end.

slice(<<Slice:?SLICE/binary, More/binary>>, Rest) when More =/= <<>> -> {Slice, fun() -> {More, Rest} end};
slice(Binary, Rest) -> {Binary, Rest}.

piece([]) -> done;
piece([Piece | Rest]) -> {Piece, Rest};
piece(Fun) when is_function(Fun, 0) ->
    case Fun() of
        done -> done;
        {badarg, _} -> {badarg, <<"its source must give iodata">>};
        {_, _} = Next -> Next;
        _ -> {badarg, <<"its source must be a fun that gives {Piece, NextFun} or done">>}
    end;
piece(_) ->
    {badarg, <<"its source must go on with a list or a fun">>}.

size_of(Piece) ->
    try
        iolist_size(Piece)
    catch
        error:badarg -> {badarg, <<"its source must give iodata">>}
    end.
