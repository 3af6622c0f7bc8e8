%% @private
%% Makes chunks of the tuples that the NIF returns: maps for Erlang, structs for Elixir.
%%
%% Elixir's structs are made here as well: a map in between would add 15% to the time at an average of 256
%% bytes.
-module(chunker_chunk).

-export([list/2, list/3, one/2]).
-export_type([form/0, struct/0]).

-type form() :: map | struct.
-type struct() :: #{'__struct__' := 'Elixir.Chunker.Chunk', atom() => term()}.

%% Chunks that follow each other, which share the path of an entry that is in several of them.
-spec list(form(), [chunker_dispatch:noted(chunker_dispatch:chunk())]) -> [map()].
list(Form, Chunks) -> list(Form, Chunks, nil).

%% The same, with their bytes, which are parts of `Data'.
-spec list(form(), [chunker_dispatch:noted(chunker_dispatch:chunk())], nil | binary()) -> [map()].
list(Form, Chunks, Data) -> list(Form, Chunks, Data, chunker_paths:new()).

list(Form, [{Chunk, Entries, References} | Chunks], Data, Joined) when is_tuple(Chunk) ->
    {Parts, Next} = parts(Form, Entries, Joined),
    [chunk(Form, Chunk, Data, Parts, References) | list(Form, Chunks, Data, Next)];
list(Form, [Chunk | Chunks], Data, Joined) ->
    [chunk(Form, Chunk, Data, nil, nil) | list(Form, Chunks, Data, Joined)];
list(_, [], _, _) ->
    [].

%% A chunk by itself, so that the paths of no others are in memory.
-spec one(form(), chunker_dispatch:noted(chunker_dispatch:chunk() | chunker_dispatch:loaded())) -> map().
one(Form, Chunk) ->
    [Made] = list(Form, [Chunk]),
    Made.

chunk(Form, {Offset, Length, Hash}, nil, Entries, References) ->
    chunk(Form, Offset, Length, Hash, nil, nil, Entries, References);
chunk(Form, {Offset, Length, Hash}, Data, Entries, References) ->
    chunk(Form, Offset, Length, Hash, binary:part(Data, Offset, Length), nil, Entries, References);
chunk(Form, {Offset, Length, Hash, Data, Compressed}, nil, Entries, References) ->
    chunk(Form, Offset, Length, Hash, Data, Compressed, Entries, References).

chunk(struct, Offset, Length, Hash, Data, Compressed, Entries, References) ->
    #{
        '__struct__' => 'Elixir.Chunker.Chunk',
        offset => Offset,
        length => Length,
        hash => Hash,
        data => Data,
        compressed => Compressed,
        entries => Entries,
        references => References
    };
chunk(map, Offset, Length, Hash, Data, nil, nil, nil) ->
    case Data of
        nil -> #{offset => Offset, length => Length, hash => Hash};
        _ -> #{offset => Offset, length => Length, hash => Hash, data => Data}
    end;
chunk(map, Offset, Length, Hash, Data, Compressed, Entries, References) ->
    %% A field without a value is not in the map.
    Optional = [{data, Data}, {compressed, Compressed}, {entries, Entries}, {references, References}],
    maps:merge(
        #{offset => Offset, length => Length, hash => Hash},
        maps:from_list([Field || {_, Value} = Field <- Optional, Value =/= nil])
    ).

%% The NIF gives the paths of a chunk as binaries, or as lists of names if they are longer than the chunk.
parts(_, nil, Joined) ->
    {nil, Joined};
parts(Form, [{Path, _, _, _} | _] = Entries, Joined) when is_binary(Path) ->
    {whole(Form, Entries), Joined};
parts(Form, Entries, Joined) ->
    {Whole, Next} = lists:mapfoldl(fun join/2, Joined, Entries),
    {whole(Form, Whole), Next}.

join({Names, Offset, Length, Position}, Joined) ->
    {Path, Next} = chunker_paths:join(Names, Joined),
    {{Path, Offset, Length, Position}, Next}.

whole(map, Entries) ->
    [
        #{path => Path, offset => Offset, length => Length, position => Position}
     || {Path, Offset, Length, Position} <- Entries
    ];
whole(struct, Entries) ->
    [
        #{
            '__struct__' => 'Elixir.Chunker.Nar.Part',
            path => Path,
            offset => Offset,
            length => Length,
            position => Position
        }
     || {Path, Offset, Length, Position} <- Entries
    ].
