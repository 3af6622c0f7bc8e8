%% @doc Nix archives (NARs) for Erlang: the functions of the Elixir module `Chunker.Nar', under the same
%% names.
%%
%% ```
%% {ok, <<"sha256:", _/binary>>} = chunker_nar:dump("/usr/lib/git-core", {file, "git-core.nar"}),
%% {ok, Entries} = chunker_nar:list({file, "git-core.nar"}),
%% [io:format("~ts ~b~n", [P, S]) || #{path := P, type := regular, size := S} <- Entries],
%% {ok, Bytes} = chunker_nar:read_file({file, "git-core.nar"}, "git-merge-file"),
%% ok = chunker_nar:restore({file, "git-core.nar"}, "unpacked").
%% '''
%%
%% An archive is read from a file, from iodata, or from a fun that returns it piece by piece, as {@link
%% chunker:stream/2} takes one. It is read strictly: an archive that Nix would not have written, byte for
%% byte, is refused with `{error, {invalid_nar, #{offset => Offset, why => Why}}}'. The documentation of
%% `Chunker.Nar' lists the reasons.
-module(chunker_nar).

-export(['nar?'/1, list/1, list/2, listing/1, listing/2, hash/1, read_file/2, restore/2]).
-export([chunk/1, chunk/2, chunk/3, restore_references/2]).
-export([dump/2, dump/3, stream/1, stream/2, next/1, close/1]).
-export([entry/1]).
-export_type([source/0, entry/0, references/0, iterator/0]).

-include("chunker_badarg.hrl").

%% Pieces are gathered up to this size, in bytes.
-define(GATHER, 65_536).

%% Where an archive comes from.
-type source() :: {file, file:name_all()} | iodata() | pieces() | folded().
%% What Elixir makes of an enumerable: it calls a function with each piece and a state, as
%% `Enum.reduce_while/3' does.
-type folded() :: {fold, fun((fun((iodata(), State) -> {cont | halt, State}), State) -> State)}.
-type pieces() :: fun(() -> {iodata(), pieces() | [iodata()]} | done).

%% A file, directory or symbolic link. `size' and `offset' are those of a file's contents, in bytes, the
%% latter from the start of the archive. A field without a value is not in the map.
-type entry() :: #{
    path := binary(),
    type := regular | directory | symlink,
    executable := boolean(),
    size => non_neg_integer(),
    offset => non_neg_integer(),
    target => binary()
}.
%% The references that were taken out of a chunk: the position in the chunk, in bytes, and the characters, at
%% most 32.
-type references() :: [{Position :: non_neg_integer(), Characters :: binary()}].
-opaque iterator() :: chunker_dispatch:nar_dump().

%% @doc Returns whether a binary begins as every NAR does, by its first 56 bytes.
-spec 'nar?'(binary()) -> boolean().
'nar?'(<<13:64/little, "nix-archive-1", 0:24, 1:64/little, "(", 0:56, 4:64/little, "type", 0:32, _/binary>>) -> true;
'nar?'(Binary) when is_binary(Binary) -> false.

%% @equiv list(Source, [])
-spec list(source()) -> {ok, [entry()]} | {error, chunker:error()}.
list(Source) -> list(Source, []).

%% @doc Returns all entries in the order of the archive: the root first, whose path is empty. Contents are
%% skipped; those in a file are not read.
%%
%% Options are `max_entries' (1,000,000) and `max_memory' (512 MiB), each an integer or `infinity'. An archive
%% that exceeds one is `{error, {limit_exceeded, #{option => Option, limit => Limit}}}'. An entry counts 256
%% bytes of memory, and its path and target.
-spec list(source(), chunker:options()) -> {ok, [entry()]} | {error, chunker:error()}.
list(Source, Options) ->
    Arguments = [Source, Options],
    case checked(chunker_options:nar_list(Options), Arguments, 2) of
        {ok, Limits} ->
            case checked(read(Source, {list, Limits}), Arguments, 1) of
                {ok, Entries} -> {ok, [entry(Entry) || Entry <- Entries]};
                Error -> Error
            end;
        Error ->
            Error
    end.

%% @private
-spec entry(chunker_dispatch:nar_entry()) -> entry().
entry({Path, directory, nil, nil, Executable, nil}) ->
    #{path => Path, type => directory, executable => Executable};
entry({Path, regular, Size, Offset, Executable, nil}) ->
    #{path => Path, type => regular, executable => Executable, size => Size, offset => Offset};
entry({Path, symlink, nil, nil, Executable, Target}) ->
    #{path => Path, type => symlink, executable => Executable, target => Target}.

%% @equiv listing(Source, [])
-spec listing(source()) -> {ok, binary()} | {error, chunker:error()}.
listing(Source) -> listing(Source, []).

%% @doc Returns the entries as the JSON that Nix writes.
%%
%% Option `format' is `json' (default), what `nix nar ls --json --recursive' prints, or `ls', the `.ls' file
%% of a binary cache. Option `notation' is `nix_2_8' (default) or `newest', whose objects have sorted keys.
%% The limits are those of {@link list/2}; `max_memory' is that of the JSON.
-spec listing(source(), chunker:options()) -> {ok, binary()} | {error, chunker:error()}.
listing(Source, Options) ->
    Arguments = [Source, Options],
    case checked(chunker_options:nar_listing(Options), Arguments, 2) of
        {ok, Listing} -> checked(read(Source, {listing, Listing}), Arguments, 1);
        Error -> Error
    end.

%% @doc Returns the hash of an archive as Nix prints it: `sha256:' and 52 characters. The archive is validated
%% in the same pass.
-spec hash(source()) -> {ok, binary()} | {error, chunker:error()}.
hash(Source) -> checked(read(Source, hash), [Source], 1).

%% @doc Returns the contents of a regular file in an archive, which is not read beyond that file.
%%
%% Errors: `invalid_nar'; `io_error' with the path in the archive and the kind `enoent', `eisdir' or, for a
%% symbolic link, `eloop'.
-spec read_file(source(), file:name_all()) -> {ok, binary()} | {error, chunker:error()}.
read_file(Source, Path) ->
    Arguments = [Source, Path],
    checked(read(Source, {read_file, valid(chunker_input:path(Path), Arguments, 2)}), Arguments, 1).

%% @equiv chunk(Source, [])
-spec chunk(source()) ->
    {ok, #{chunks := [chunker:chunk()], hash := binary(), size := non_neg_integer()}} | {error, chunker:error()}.
chunk(Source) -> chunk(Source, []).

%% @doc Returns the chunks of an archive, as {@link chunker:chunk_file/2} with `nar' does, together with its
%% hash, as {@link hash/1} returns it, and its size in bytes. Options are those of {@link
%% chunker:chunk_file/2}, without `nar' and `tar'.
-spec chunk(source(), chunker:options()) ->
    {ok, #{chunks := [chunker:chunk()], hash := binary(), size := non_neg_integer()}} | {error, chunker:error()}.
chunk(Source, Options) -> chunk(Source, Options, map).

%% @private
-spec chunk(source(), chunker:options(), chunker_chunk:form()) ->
    {ok, #{chunks := [map()], hash := binary(), size := non_neg_integer()}} | {error, chunker:error()}.
chunk(Source, Options, Form) ->
    Arguments = [Source, Options],
    case checked(chunker_options:nar_chunking(Options), Arguments, 2) of
        {ok, Chunking} ->
            case checked(chunks(Source, Chunking), Arguments, 1) of
                {ok, Chunks, Hash} ->
                    Made = chunker_chunk:list(Form, Chunks),
                    {ok, #{chunks => Made, hash => Hash, size => lists:sum([Length || #{length := Length} <- Made])}};
                Error ->
                    Error
            end;
        Error ->
            Error
    end.

chunks(Source, Chunking) ->
    from(Source, #{
        file => fun(Path) -> chunker_dispatch:nar_chunk_file(Path, Chunking) end,
        data => fun(Data) -> chunker_dispatch:nar_chunk_data(Data, Chunking) end,
        open => fun() -> chunker_dispatch:nar_chunk_open(Chunking) end,
        push => fun(Stream, Piece, Chunks) ->
            case chunker_dispatch:nar_chunk_push(Stream, Piece) of
                {ok, More} -> {more, lists:reverse(More, Chunks)};
                Error -> Error
            end
        end,
        finish => fun(Stream, Chunks) ->
            case chunker_dispatch:nar_chunk_finish(Stream) of
                {ok, Last, Hash} -> {ok, lists:reverse(Chunks, Last), Hash};
                Error -> Error
            end
        end,
        close => fun chunker_dispatch:close/1
    }).

%% @doc Restores the references that were taken out of a chunk with `references', and returns its original
%% bytes. Positions ascend, and each reference has 1 to 32 characters.
%%
%% Errors: `invalid_references' with the `position' at which no reference was taken out.
-spec restore_references(iodata(), nil | references()) -> {ok, binary()} | {error, chunker:error()}.
restore_references(Data, References) ->
    Arguments = [Data, References],
    Binary = valid(chunker_input:binary(Data), Arguments, 1),
    chunker_dispatch:restore_references(Binary, valid(chunker_input:references(References), Arguments, 2)).

%% @doc Unpacks an archive to a path that must not exist. The tree appears there as a whole, or not at all.
-spec restore(source(), file:name_all()) -> ok | {error, chunker:error()}.
restore(Source, Target) ->
    Arguments = [Source, Target],
    case checked(read(Source, {restore, valid(chunker_input:path(Target), Arguments, 2)}), Arguments, 1) of
        {ok, done} -> ok;
        Error -> Error
    end.

%% @equiv dump(Path, File, [])
-spec dump(file:name_all(), {file, file:name_all()}) -> {ok, binary()} | {error, chunker:error()}.
dump(Path, File) -> dump(Path, File, []).

%% @doc Writes the archive of the tree at `Path' to a file, atomically, and returns its hash.
%%
%% With `on_change' as `snapshot' a file in the tree may grow while it is read: the archive has what was in it
%% when it was opened. `error' is the default.
%%
%% Errors: `io_error', with the kind `enotsup' for a socket, a FIFO or a device; `file_changed';
%% `tree_too_deep', with the `path' of the first entry that is too deep and the `limit' of names below the
%% root.
-spec dump(file:name_all(), {file, file:name_all()}, chunker:options()) ->
    {ok, binary()} | {error, chunker:error()}.
dump(Path, {file, Into} = File, Options) ->
    Arguments = [Path, File, Options],
    From = valid(chunker_input:path(Path), Arguments, 1),
    To = valid(chunker_input:path(Into), Arguments, 2),
    case checked(chunker_options:nar_dump(Options), Arguments, 3) of
        {ok, OnChange} ->
            {ok, Threads} = checked(chunker_options:threads(), Arguments, 1),
            chunker_dispatch:nar_dump_file(From, To, OnChange, Threads);
        Error ->
            Error
    end;
dump(Path, Into, Options) ->
    ?BADARG([Path, Into, Options], 2, {expected, <<"{file, Path}">>, Into}).

%% @equiv stream(Path, [])
-spec stream(file:name_all()) -> {ok, iterator()} | {error, chunker:error()}.
stream(Path) -> stream(Path, []).

%% @doc Opens a stream of the archive of the tree at `Path', for {@link next/1}. The option is that of {@link
%% dump/3}.
-spec stream(file:name_all(), chunker:options()) -> {ok, iterator()} | {error, chunker:error()}.
stream(Path, Options) ->
    Arguments = [Path, Options],
    Name = valid(chunker_input:path(Path), Arguments, 1),
    case checked(chunker_options:nar_dump(Options), Arguments, 2) of
        {ok, OnChange} -> chunker_dispatch:nar_dump_open(Name, OnChange);
        Error -> Error
    end.

%% @doc Returns the next bytes of an archive and the next iterator; `done' at the end.
-spec next(iterator()) -> {ok, binary(), iterator()} | done | {error, chunker:error()}.
next(Iterator) ->
    case handle(fun chunker_dispatch:nar_dump_next/1, [Iterator], <<"an iterator">>) of
        {ok, <<>>} -> done;
        {ok, Binary} -> {ok, Binary, Iterator};
        Error -> Error
    end.

%% @doc Closes a stream before its end.
-spec close(iterator()) -> ok.
close(Iterator) ->
    handle(fun chunker_dispatch:nar_dump_close/1, [Iterator], <<"an iterator">>).

read(Source, Wanted) ->
    from(Source, #{
        file => fun(Path) -> chunker_dispatch:nar_file(Path, Wanted) end,
        data => fun(Data) -> chunker_dispatch:nar_data(Data, Wanted) end,
        open => fun() -> chunker_dispatch:nar_open(Wanted) end,
        push => fun(Reader, Piece, _) ->
            case chunker_dispatch:nar_push(Reader, Piece) of
                {ok, more} -> {more, []};
                {ok, done} -> {done, []};
                Error -> Error
            end
        end,
        finish => fun(Reader, _) -> chunker_dispatch:nar_finish(Reader) end,
        close => fun chunker_dispatch:nar_close/1
    }).

%% Reads a source in one of three ways. Returns `{badarg, Message}' if it is no source.
from({file, Path}, #{file := Read}) ->
    case chunker_input:path(Path) of
        {ok, Name} -> Read(Name);
        Wrong -> Wrong
    end;
from(Pieces, Way) when is_function(Pieces, 0) ->
    from({fold, fun(Push, State) -> chunker_input:fold(Push, State, Pieces) end}, Way);
from({fold, Fold}, #{open := Open, finish := Finish, close := Close} = Way) ->
    case Open() of
        {ok, Reader} ->
            try Fold(fun(Piece, State) -> push(Reader, Piece, State, Way) end, {more, chunker_input:gathered(?GATHER), []}) of
                {more, Gathered, Found} ->
                    case push_all(Reader, chunker_input:rest(Gathered), Found, Way) of
                        {error, _} = Error -> Error;
                        {_, All} -> Finish(Reader, All)
                    end;
                {done, Found} ->
                    Finish(Reader, Found);
                Stop ->
                    Stop
            after
                Close(Reader)
            end;
        Error ->
            Error
    end;
from(Data, #{data := Read}) ->
    case chunker_input:binary(Data) of
        {ok, Binary} -> Read(Binary);
        Wrong -> Wrong
    end.

push(Reader, Piece, {more, Gathered, Found}, Way) ->
    case chunker_input:add(Piece, Gathered) of
        {badarg, _} = Wrong ->
            {halt, Wrong};
        {Binaries, Next} ->
            case push_all(Reader, Binaries, Found, Way) of
                {more, All} -> {cont, {more, Next, All}};
                Stop -> {halt, Stop}
            end
    end.

push_all(Reader, [Binary | Binaries], Found, #{push := Push} = Way) ->
    case Push(Reader, Binary, Found) of
        {more, Next} -> push_all(Reader, Binaries, Next, Way);
        Stop -> Stop
    end;
push_all(_, [], Found, _) ->
    {more, Found}.
