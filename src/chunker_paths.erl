%% @private
%% The paths of the entries that chunks touch, where they are longer in sum than their chunk.
%%
%% The engine gives each as a list of names, the last one first, so that the list of a directory is there
%% once, as the tail of those of its entries. Whole paths, which can be a hundred times as long in sum as the
%% archive, are made of them chunk by chunk.
-module(chunker_paths).

-export([new/0, join/2]).
-export_type([names/0, joined/0]).

-type names() :: [binary()].
%% The last entry, its path, and that of the directory that it is in.
-opaque joined() :: {names(), binary(), binary()}.

-spec new() -> joined().
new() -> {[], <<>>, <<>>}.

%% Returns the path of an entry, and reuses the parts that it shares with the last one.
-spec join(names(), joined()) -> {binary(), joined()}.
join(Names, {Names, Path, _} = Joined) ->
    {Path, Joined};
join([Name | Directory] = Names, {[_ | Directory], _, DirectoryPath}) ->
    joined(Names, Name, DirectoryPath);
join([Name | Directory] = Names, {Directory, DirectoryPath, _}) ->
    joined(Names, Name, DirectoryPath);
join([Name | Directory] = Names, _) ->
    joined(Names, Name, iolist_to_binary(lists:join($/, lists:reverse(Directory))));
join([], _) ->
    {<<>>, new()}.

joined(Names, Name, <<>>) ->
    {Name, {Names, Name, <<>>}};
joined(Names, Name, Directory) ->
    %% A binary of exactly this size; appending would reserve room for more.
    Path = iolist_to_binary([Directory, $/ | Name]),
    {Path, {Names, Path, Directory}}.
