%% @private
%% Checks inputs: bytes, names of files, and pieces that arrive one after the other.
%%
%% Anything else is a mistake of the programmer: `{badarg, Message}', which the caller raises.
-module(chunker_input).

-export([binary/1, path/1, list/2, references/1]).
-export([gathered/1, add/2, rest/1, gather/2, fold/3]).
-export_type([pieces/0, gathered/0]).

%% A longer piece is cut into slices of this size, which bounds the chunks or the output that one call
%% returns.
-define(SLICE, 4_194_304).

-type wrong() :: {badarg, chunker_badarg:message()}.

%% Iodata one after the other: a list, or a fun that gives `{Piece, NextFun}' or `done'.
-type pieces() :: [iodata()] | fun(() -> {iodata(), pieces()} | done).

-spec binary(term()) -> {ok, binary()} | wrong().
binary(Data) when is_binary(Data) -> {ok, Data};
binary(Data) ->
    try
        {ok, iolist_to_binary(Data)}
    catch
        error:badarg -> {badarg, {expected, <<"iodata">>, Data}}
    end.

-spec path(term()) -> {ok, binary()} | wrong().
path(Path) when is_binary(Path) -> {ok, Path};
path(Path) ->
    try
        %% Atoms and deep lists are names too, and what a name's characters are on disk depends on the system.
        case unicode:characters_to_binary(filename:flatten(Path), unicode, file:native_name_encoding()) of
            Name when is_binary(Name) -> {ok, Name}
        end
    catch
        error:_ -> {badarg, {expected, <<"the name of a file">>, Path}}
    end.

%% Each item of a list, as `Take' takes it.
-spec list(fun((term()) -> Taken), term()) -> {ok, [binary()]} | wrong() when
    Taken :: {ok, binary()} | wrong().
list(Take, Items) -> list(Take, Items, []).

list(Take, [Item | Items], Taken) ->
    case Take(Item) of
        {ok, Binary} -> list(Take, Items, [Binary | Taken]);
        Wrong -> Wrong
    end;
list(_, [], Taken) ->
    {ok, lists:reverse(Taken)};
list(_, Tail, _) ->
    {badarg, {expected, <<"a list">>, Tail}}.

%% The references that were taken out of a chunk, if that was requested.
-spec references(term()) -> {ok, chunker_dispatch:references()} | wrong().
references(nil) -> {ok, []};
references(References) ->
    Is = fun
        ({Position, Characters}) -> is_integer(Position) andalso Position >= 0 andalso is_binary(Characters);
        (_) -> false
    end,
    try lists:all(Is, References) of
        true -> {ok, References};
        false -> {badarg, {expected, <<"a list of pairs of a position and characters">>, References}}
    catch
        error:_ -> {badarg, {expected, <<"a list of pairs of a position and characters">>, References}}
    end.

%% Pieces that are gathered to binaries of at least `Gather' bytes, except for the last one: a call of the
%% engine costs some microseconds.
-opaque gathered() :: {Gather :: pos_integer(), iodata(), Size :: non_neg_integer()}.

-spec gathered(pos_integer()) -> gathered().
gathered(Gather) -> {Gather, [], 0}.

%% Adds a piece. Returns the binaries that are complete.
-spec add(iodata(), gathered()) -> {[binary()], gathered()} | wrong().
add(Piece, {Gather, Gathered, Size}) ->
    try iolist_size(Piece) of
        More when Size + More < Gather -> {[], {Gather, [Gathered | Piece], Size + More}};
        %% A binary is not copied.
        _ when Size =:= 0 -> {slices(iolist_to_binary(Piece)), gathered(Gather)};
        _ -> {slices(iolist_to_binary([Gathered | Piece])), gathered(Gather)}
    catch
        error:badarg -> {badarg, {piece, Piece}}
    end.

slices(<<Slice:?SLICE/binary, More/binary>>) when More =/= <<>> -> [Slice | slices(More)];
slices(Binary) -> [Binary].

%% Returns what is left at the end.
-spec rest(gathered()) -> [binary()].
rest({_, _, 0}) -> [];
rest({_, Gathered, _}) -> [iolist_to_binary(Gathered)].

%% Returns the next bytes, and the pieces after them.
-spec gather(pieces(), gathered()) -> {binary(), pieces()} | done | wrong().
gather(Pieces, Gathered) ->
    case next(Pieces) of
        done ->
            case rest(Gathered) of
                [] -> done;
                [Last] -> {Last, []}
            end;
        {badarg, _} = Wrong ->
            Wrong;
        {Piece, Next} ->
            case add(Piece, Gathered) of
                {[], More} -> gather(Next, More);
                {[Binary | Slices], _} -> {Binary, followed(Slices, Next)};
                Wrong -> Wrong
            end
    end.

followed([], Pieces) -> Pieces;
followed([Slice | Slices], Pieces) -> fun() -> {Slice, followed(Slices, Pieces)} end.

%% Calls a function with each piece and a state, as Elixir's `Enum.reduce_while/3' does.
-spec fold(fun((iodata(), State) -> {cont | halt, State}), State, pieces()) -> State | wrong().
fold(Fun, State, Pieces) ->
    case next(Pieces) of
        done ->
            State;
        {badarg, _} = Wrong ->
            Wrong;
        {Piece, Next} ->
            case Fun(Piece, State) of
                {cont, Further} -> fold(Fun, Further, Next);
                {halt, Last} -> Last
            end
    end.

next([]) -> done;
next([Piece | Rest]) -> {Piece, Rest};
next(Fun) when is_function(Fun, 0) ->
    case Fun() of
        done -> done;
        {badarg, _} -> {badarg, [<<"its source must give iodata">>]};
        {_, _} = Next -> Next;
        _ -> {badarg, [<<"its source must be a fun that gives {Piece, NextFun} or done">>]}
    end;
next(_) ->
    {badarg, [<<"its source must go on with a list or a fun">>]}.
