%% @doc A store of files, binaries, streams, archives and trees, which keeps each chunk once, in a folder.
%%
%% ```
%% {ok, Store} = chunker_store:open("backup"),
%% {ok, #{id := Id}} = chunker_store:put(Store, {file, "monday.tar"}, [{name, "db/monday"}]),
%% ok = chunker_store:restore(Store, "db/monday", {file, "restored.tar"}),
%%
%% {ok, _} = chunker_store:put(Store, {tree, "/usr/lib/git-core"}, [{name, "git"}]),
%% {ok, Bytes} = chunker_store:read(Store, "git", [{path, "git-merge-file"}]).
%% '''
%%
%% An object is named by its id, a binary of 32 bytes that follows from its content and the sizes of the store, or
%% by a tag. Functions that take either look for a tag first. An id may also be 64 hexadecimal digits.
%%
%% Any number of processes, in any number of nodes on a machine, use a store at the same time. What `put' or `session'
%% returned survives a power cut. A store is closed by {@link close/1}, or when no process holds it any more.
-module(chunker_store).

-export([open/1, open/2, put/2, put/3, session/2, session/3, tag/3, tag/4]).
-export([read/2, read/3, stream/2, stream/3, next/1, close/1, restore/3, restore/4, manifest/2, chunks/2, missing/2]).
-export([ls/2, ls/3, ls/4]).
-export([id/2, untag/2, untag/3, forget/2, tags/1, tags/2, gc/1, gc/2, check/1, check/2, repair/1, repair/2]).
-export([copy/3, copy/4, stats/1]).
-export_type([store/0, session/0, iterator/0, id/0, name/0, source/0, put/0, manifest/0, report/0, collected/0, copied/0]).
-export_type([stats/0]).

-include("chunker_badarg.hrl").
-compile({inline, [known/2]}).
-compile({no_auto_import, [put/2]}).

-type store() :: chunker_dispatch:store().
-opaque session() :: {session, chunker_dispatch:session(), store()}.
-opaque iterator() :: {objects, chunker_dispatch:object_reader()} | {chunks, chunker_dispatch:object_chunks()}.
-type id() :: <<_:256>>.
-type name() :: unicode:chardata().
-type error() :: chunker:error().
%% What is put: bytes, an archive, or the tree at a path.
-type source() :: bytes() | {nar, bytes()} | {tar, bytes()} | {tree, file:name_all()}.
-type bytes() :: chunker:source() | iodata().
%% What was put. `new_chunks' and `new_bytes' were not in the store before, and take `stored_bytes' there. `nar_hash' is
%% that of `chunker_nar:hash/1', or `nil' if the object is no NAR.
-type put() :: #{
    id := id(), kind := bytes | nar | tar, nar_hash := nil | binary(), size := non_neg_integer(), hash := chunker:digest(), chunk_count := non_neg_integer(),
    new_chunks := non_neg_integer(), new_bytes := non_neg_integer(), stored_bytes := non_neg_integer()
}.
-type manifest() :: #{
    id := id(), kind := bytes | nar | tar, nar_hash := nil | binary(), size := non_neg_integer(),
    hash := chunker:digest(), chunk_count := non_neg_integer()
}.
-type collected() :: #{
    objects := non_neg_integer(), packs := non_neg_integer(), deleted_packs := non_neg_integer(),
    deleted_bytes := non_neg_integer(), rewritten_bytes := non_neg_integer()
}.
%% What was copied. `ids' are those in the other store, in the order of the names.
-type copied() :: #{
    ids := [id()], new_chunks := non_neg_integer(), new_bytes := non_neg_integer(), stored_bytes := non_neg_integer()
}.
-type stats() :: #{
    packs := non_neg_integer(), pack_bytes := non_neg_integer(), delta_packs := non_neg_integer(),
    delta_bytes := non_neg_integer(), chunks := non_neg_integer(), chunk_bytes := non_neg_integer(),
    deltas := non_neg_integer(), delta_chunk_bytes := non_neg_integer(), meta_packs := non_neg_integer(),
    meta_bytes := non_neg_integer(), records := non_neg_integer(), index_segments := non_neg_integer(),
    index_bytes := non_neg_integer(), tags := non_neg_integer(), sessions := non_neg_integer(),
    objects := non_neg_integer(), unreadable_objects := non_neg_integer(), object_bytes := non_neg_integer()
}.
%% What a check has found: the `damage', objects that are `incomplete', and objects that a repair has `kept' since
%% what named them was damaged.
-type report() :: #{
    packs := non_neg_integer(), bytes := non_neg_integer(), records := non_neg_integer(),
    objects := non_neg_integer(),
    damage := [#{object := binary(), offset := nil | non_neg_integer(), why := atom()}],
    incomplete := [#{id := id(), tags := [binary()], missing := [chunker:digest()]}],
    kept := [id()]
}.

%% The bytes that are gathered from pieces before the engine sees them.
-define(GATHER, 1_048_576).
%% How often an object is put before garbage collections that delete what it had found are an error.
-define(ATTEMPTS, 20).

%% @equiv open(Folder, [])
-spec open(file:name_all()) -> {ok, store()} | {error, error()}.
open(Folder) -> open(Folder, []).

%% @doc Opens the store in a folder, or creates one there.
%%
%% <ul>
%% <li>`create': `false' if there must be a store. `true' by default.</li>
%% <li>`hash', `preset', `min_size', `avg_size', `max_size', `normalization', `seed': as {@link
%%     chunker:chunk_file/2} takes them. A new store keeps them, and an existing one must have those that are
%%     given.</li>
%% <li>`codec' (`zstd' by default, or `none') and `level': how new chunks are compressed. They are kept as well, and
%%     may differ each time.</li>
%% <li>`durability': `full' (the default), or `relaxed' to leave it to the system when files are written to the
%%     disk: after a power cut objects may be damaged. A new store keeps it, and an existing one must have it.</li>
%% <li>`delta': `true' to keep a chunk as what differs from similar chunks, if that is much shorter: see `base' of {@link
%%     put/3}. `false' by default. Kept, like `durability'. The error of such a store is `feature_disabled' in a build without zstd.</li>
%% </ul>
-spec open(file:name_all(), chunker:options()) -> {ok, store()} | {error, error()}.
open(Folder, Options) ->
    Arguments = [Folder, Options],
    Path = valid(chunker_input:path(Folder), Arguments, 1),
    case checked(chunker_options:store(Options), Arguments, 2) of
        {ok, Checked} ->
            case chunker_dispatch:store_open(Path, Checked) of
                {ok, {Store, _}} -> {ok, Store};
                Failure -> Failure
            end;
        Failure ->
            Failure
    end.

%% @equiv put(Store, Source, [])
-spec put(store() | session(), source()) -> {ok, put()} | {error, error()}.
put(Store, Source) -> put(Store, Source, []).

%% @doc Puts an object: a file (`{file, Path}'), iodata, or a fun that returns `{Piece, NextFun}' or `done'. Around one
%% of these, `{nar, Source}' and `{tar, Source}' chunk an archive along its members, and `{tree, Path}' puts the tree
%% at a path as its NAR.
%%
%% What is no NAR is `invalid_nar'; what is no tar is chunked as any bytes are. A NAR of a tree keeps names, contents,
%% symbolic links, and whether a file may be executed. It does not keep times, owners, modes and hard links; put a tar to
%% keep them.
%%
%% <ul>
%% <li>`references': with a NAR or a tree, `true' replaces the hashes of store paths before it is chunked, so that equal
%%     files in other store paths are the same chunks. What is read has them again.</li>
%% <li>`name': a tag for the object, set in the same commit. Without one, the object is kept until {@link
%%     forget/2}.</li>
%% <li>`base': in a store with deltas, the tag or the id of an object that this one resembles. By default it is the object
%%     that `name' names before. The error is `not_found' if the store does not have it, and `invalid_options' if the
%%     store has no deltas.</li>
%% <li>`threads': as {@link chunker:chunk_file/2}.</li>
%% <li>`progress': as {@link chunker:chunk_files/2}, in bytes of the source. How many there are is `nil' for a fun
%%     and for a file that is no regular one.</li>
%% </ul>
%%
%% In a session, the object is visible after the commit. Errors are those of the source, and `session_fenced' if
%% a garbage collection has deleted chunks that the source has in common with what was deleted: put it again. A file or
%% a tree is put again by itself.
-spec put(store() | session(), source(), chunker:options()) -> {ok, put()} | {error, error()}.
put(Store, Source, Options) ->
    Arguments = [Store, Source, Options],
    case checked(chunker_options:store_put(Options), Arguments, 3) of
        {ok, {Name, Base, References, Work}} ->
            Tag = case Name of nil -> nil; _ -> valid(name(Name), Arguments, 3) end,
            Resembled = case Base of nil -> nil; _ -> valid(name(Base), Arguments, 3) end,
            {Form, Bytes} = valid(form(Source, References), Arguments, 3),
            known(Store, Arguments),
            case base(Store, Resembled) of
                {ok, Id} -> checked(put(Store, Form, Bytes, {Tag, Id}, Work), Arguments, 2);
                Failure -> Failure
            end;
        Failure ->
            Failure
    end.

%% Returns the id of the object that another one resembles.
base(_, nil) ->
    {ok, nil};
base({session, _, Store}, Name) ->
    base(Store, Name);
base(Store, Name) ->
    with_id(Store, Name, fun(Id) ->
        case chunker_dispatch:store_manifest(Store, Id) of
            {ok, _} -> {ok, Id};
            Failure -> Failure
        end
    end).

%% Returns as what a source is put, and the source of its bytes.
form({nar, Source}, References) -> {ok, {{nar, References}, Source}};
form({tree, Path}, References) -> {ok, {{tree, References}, {file, Path}}};
form(_, true) -> {badarg, ["option ", {term, references}, " needs a NAR or a tree"]};
form({tar, Source}, _) -> {ok, {tar, Source}};
form(Source, _) -> {ok, {bytes, Source}}.

put({session, Session, _}, Form, Source, Target, Work) ->
    put_in(Session, Form, Source, Target, Work);
put(Store, Form, {file, File}, Target, Work) ->
    case chunker_input:path(File) of
        {ok, Path} -> stored(chunker_dispatch:store_put_file(Store, Path, Form, Target, Work));
        Wrong -> Wrong
    end;
put(Store, Form, Source, Target, Work) ->
    %% What a fun has returned is gone.
    Attempts = case is_function(Source) of true -> 1; false -> ?ATTEMPTS end,
    in_session(Store, Attempts, fun(Session) -> put_in(Session, Form, Source, Target, Work) end).

put_in(Session, Form, Source, {Tag, _} = Target, Work) ->
    case source(Session, Form, Source, Target, Work) of
        {ok, #{id := Id}} = Put when Tag =/= nil ->
            case chunker_dispatch:session_tag(Session, Tag, Id) of
                ok -> Put;
                Failure -> Failure
            end;
        Result ->
            Result
    end.

source(Session, Form, {file, File}, Target, Work) ->
    case chunker_input:path(File) of
        {ok, Path} -> stored(chunker_dispatch:session_put_file(Session, Path, Form, Target, Work));
        Wrong -> Wrong
    end;
source(Session, Form, Source, Target, Work) when is_function(Source, 0) ->
    pieces(Session, Form, Source, nil, Target, Work);
source(Session, Form, Source, Target, Work) ->
    case chunker_input:binary(Source) of
        {ok, Binary} -> pieces(Session, Form, [Binary], byte_size(Binary), Target, Work);
        Wrong -> Wrong
    end.

pieces(Session, Form, Pieces, Total, Target, {Threads, Progress}) ->
    case chunker_dispatch:session_pieces(Session, Form, Target, Threads) of
        {ok, Open} ->
            try
                chunker_progress:with(Progress, fun(To) ->
                    push(Session, Open, Pieces, 0, chunker_progress:start(To, Total))
                end)
            after
                chunker_dispatch:pieces_close(Open)
            end;
        Failure ->
            Failure
    end.

push(Session, Open, Pieces, Done, Reporting) ->
    case chunker_input:gather(Pieces, chunker_input:gathered(?GATHER)) of
        done ->
            Result = stored(chunker_dispatch:pieces_finish(Session, Open)),
            case Result of
                {ok, _} -> chunker_progress:finish(Done, Reporting);
                _ -> ok
            end,
            Result;
        {badarg, _} = Wrong ->
            Wrong;
        {Piece, Rest} ->
            case chunker_dispatch:pieces_push(Open, Piece) of
                ok ->
                    More = Done + byte_size(Piece),
                    push(Session, Open, Rest, More, chunker_progress:report(More, Reporting));
                Failure ->
                    Failure
            end
    end.

stored({ok, {Id, {Kind, NarHash}, Size, Hash, ChunkCount, {NewChunks, NewBytes, StoredBytes}}}) ->
    {ok, #{
        id => Id, kind => Kind, nar_hash => NarHash, size => Size, hash => Hash, chunk_count => ChunkCount,
        new_chunks => NewChunks, new_bytes => NewBytes, stored_bytes => StoredBytes
    }};
stored(Failure) ->
    Failure.

%% @equiv session(Store, [], Fun)
-spec session(store(), fun((session()) -> {error, Reason} | Result)) -> {ok, Result} | {error, Reason | error()}.
session(Store, Fun) -> session(Store, [], Fun).

%% @doc Calls a fun with a session, in which {@link put/3} and {@link tag/3} take part in one commit: all of it is
%% there afterwards, or nothing.
%%
%% Returns `{ok, Result}' with the result of the fun after the commit. If the fun returns `{error, Reason}' or raises,
%% nothing becomes visible.
%%
%% The option `attempts' (1 by default) says how often the fun is called at most if garbage collections delete what its
%% session had found in the store. After the last attempt the error is `session_fenced'.
-spec session(store(), chunker:options(), fun((session()) -> {error, Reason} | Result)) ->
    {ok, Result} | {error, Reason | error()}.
session(Store, Options, Fun) when is_function(Fun, 1) ->
    Arguments = [Store, Options, Fun],
    known(Store, Arguments),
    case checked(chunker_options:store_session(Options), Arguments, 2) of
        {ok, Attempts} ->
            case in_session(Store, Attempts, fun(Session) -> result(Fun({session, Session, Store})) end) of
                {ok, {result, Result}} -> {ok, Result};
                Failure -> Failure
            end;
        Failure ->
            Failure
    end;
session(Store, Options, Fun) ->
    ?BADARG([Store, Options, Fun], 3, {expected, <<"a fun with an argument">>, Fun}).

result({error, _} = Error) -> Error;
result(Result) -> {ok, {result, Result}}.

in_session(Store, Attempts, Fun) ->
    case in_session(Store, Fun) of
        {not_committed, {error, {session_fenced, _}}} when Attempts > 1 -> in_session(Store, Attempts - 1, Fun);
        {not_committed, Failure} -> Failure;
        Result -> Result
    end.

in_session(Store, Fun) ->
    case chunker_dispatch:store_session(Store) of
        {ok, Session} ->
            try Fun(Session) of
                {ok, _} = Result ->
                    case chunker_dispatch:session_commit(Session) of
                        ok -> Result;
                        Failure -> {not_committed, Failure}
                    end;
                Other ->
                    Other
            after
                chunker_dispatch:session_close(Session)
            end;
        Failure ->
            Failure
    end.

%% @equiv tag(Store, Name, Id, [])
-spec tag(store() | session(), name(), id()) -> ok | {error, error()}.
tag(Store, Name, Id) -> tag(Store, Name, Id, []).

%% @doc Lets a tag name an object. With the option `if', a store sets it only if there is none (`absent') or if it
%% names a certain object (`{is, Id}'); otherwise the error is `already_exists'.
-spec tag(store() | session(), name(), id(), chunker:options()) -> ok | {error, error()}.
tag(Store, Name, Id, Options) ->
    Arguments = [Store, Name, Id, Options],
    Tag = valid(name(Name), Arguments, 2),
    Object = valid(id(Id), Arguments, 3),
    known(Store, Arguments),
    case {checked(condition(Options), Arguments, 4), Store} of
        {{ok, any}, {session, Session, _}} -> chunker_dispatch:session_tag(Session, Tag, Object);
        {{ok, _}, {session, _, _}} -> ?BADARG(Arguments, 4, ["a session takes no option ", {term, 'if'}]);
        {{ok, Condition}, _} -> chunker_dispatch:store_set_tag(Store, Tag, Object, Condition);
        {Failure, _} -> Failure
    end.

condition(Options) ->
    case chunker_options:store_tag(Options) of
        {ok, {is, Id}} -> id(Id);
        Condition -> Condition
    end.

%% @equiv untag(Store, Name, [])
-spec untag(store(), name()) -> {ok, boolean()} | {error, error()}.
untag(Store, Name) -> untag(Store, Name, []).

%% @doc Removes a tag, and returns whether there was one. The object stays until the next garbage collection. Takes the
%% option `if' of {@link tag/4}.
-spec untag(store(), name(), chunker:options()) -> {ok, boolean()} | {error, error()}.
untag(Store, Name, Options) ->
    Arguments = [Store, Name, Options],
    Tag = valid(name(Name), Arguments, 2),
    known(Store, Arguments),
    case checked(condition(Options), Arguments, 3) of
        {ok, Condition} -> chunker_dispatch:store_remove_tag(Store, Tag, Condition);
        Failure -> Failure
    end.

%% @doc Lets the next garbage collection take an object that was put without a name. Returns whether it was kept.
-spec forget(store(), id()) -> {ok, boolean()} | {error, error()}.
forget(Store, Id) ->
    Arguments = [Store, Id],
    Object = valid(id(Id), Arguments, 2),
    known(Store, Arguments),
    chunker_dispatch:store_forget(Store, Object).

%% @equiv tags(Store, "")
-spec tags(store()) -> {ok, [{binary(), id()}]} | {error, error()}.
tags(Store) -> tags(Store, <<>>).

%% @doc Returns the tags whose names begin with a prefix, in the order of their names.
-spec tags(store(), name()) -> {ok, [{binary(), id()}]} | {error, error()}.
tags(Store, Prefix) ->
    Arguments = [Store, Prefix],
    Text = valid(name(Prefix), Arguments, 2),
    known(Store, Arguments),
    chunker_dispatch:store_tags(Store, Text).

%% @doc Returns the id of the object that a tag or an id names, or `nil' for a name that is no tag.
-spec id(store(), name() | id()) -> {ok, id() | nil} | {error, error()}.
id(Store, Name) ->
    Arguments = [Store, Name],
    Text = valid(name(Name), Arguments, 2),
    known(Store, Arguments),
    resolve(Store, Text).

%% What a tag of that name names, if it can be a name.
tagged(Store, Name) ->
    case unicode:characters_to_binary(Name) of
        Name when Name =/= <<>> -> chunker_dispatch:store_tag(Store, Name);
        _ -> {ok, nil}
    end.

resolve(Store, Name) ->
    case tagged(Store, Name) of
        {ok, nil} -> {ok, as_id(Name)};
        {ok, Id} -> {ok, Id};
        %% No tag can have that name.
        {error, {invalid_options, _}} -> {ok, as_id(Name)};
        Failure -> Failure
    end.

as_id(<<_:256>> = Id) -> Id;
as_id(<<_:512>> = Text) ->
    case re:run(Text, "^[0-9A-Fa-f]*$", [dollar_endonly, {capture, none}]) of
        match -> <<(binary_to_integer(Text, 16)):256>>;
        nomatch -> nil
    end;
as_id(_) -> nil.

%% Calls a fun with the id of an object.
with_id(Store, Name, Fun) ->
    case found(Store, Name) of
        {ok, Id} -> Fun(Id);
        Failure -> Failure
    end.

found(Store, Name) ->
    case resolve(Store, Name) of
        {ok, nil} -> {error, {not_found, #{name => Name}}};
        Found -> Found
    end.

%% @equiv read(Store, Name, [])
-spec read(store(), name() | id()) -> {ok, binary()} | {error, error()}.
read(Store, Name) -> read(Store, Name, []).

%% @doc Returns the bytes of an object, or with `offset' and `length' those of a range. With `path', the object must be a
%% NAR, and the bytes are those of the file at that path in it; the rest is not read.
%%
%% Errors: `not_found' with the `name' or path that is not there; `io_error' with the kind `eisdir' or, for a symbolic
%% link, `eloop', if there is no file at the path; `chunk_missing' with `digests', `store_corrupt' with `pack', `offset' and `why', and
%% `bounds_check_failed'.
%%
%% After `store_corrupt', {@link check/2} lists all damage, and {@link repair/2} saves what is left. After `chunk_missing',
%% {@link put/3} of the source heals the object, and so does {@link copy/4} from another store.
-spec read(store(), name() | id(), chunker:options()) -> {ok, binary()} | {error, error()}.
read(Store, Name, Options) ->
    Arguments = [Store, Name, Options],
    Text = valid(name(Name), Arguments, 2),
    known(Store, Arguments),
    case checked(open_reader(Store, Text, Options, fun chunker_dispatch:store_read/5), Arguments, 3) of
        {ok, {[Piece], nil}} -> {ok, Piece};
        {ok, {Pieces, nil}} -> {ok, iolist_to_binary(Pieces)};
        {ok, {Pieces, Reader}} -> read_all(Reader, [Pieces]);
        Failure -> Failure
    end.

open_reader(Store, Name, Options, Open) ->
    case chunker_options:store_read(Options) of
        {ok, {Within, Range, Threads}} ->
            case within(Within) of
                {ok, Path} ->
                    with_id(Store, Name, fun(Id) -> Open(Store, Id, Path, Range, Threads) end);
                Wrong ->
                    Wrong
            end;
        Failure ->
            Failure
    end.

%% A path in a NAR, which need not be text.
within(nil) -> {ok, nil};
within(Path) -> chunker_input:path(Path).

read_all(Reader, Read) ->
    case chunker_dispatch:reader_next(Reader) of
        {ok, []} -> {ok, iolist_to_binary(lists:reverse(Read))};
        {ok, Pieces} -> read_all(Reader, [Pieces | Read]);
        Failure -> Failure
    end.

%% @equiv stream(Store, Name, [])
-spec stream(store(), name() | id()) -> {ok, iterator()} | {error, error()}.
stream(Store, Name) -> stream(Store, Name, []).

%% @doc Opens an object for {@link next/1}, which returns lists of binaries. Takes the options of {@link read/3}. Fails
%% before the first byte if a chunk is not in the store.
-spec stream(store(), name() | id(), chunker:options()) -> {ok, iterator()} | {error, error()}.
stream(Store, Name, Options) ->
    Arguments = [Store, Name, Options],
    Text = valid(name(Name), Arguments, 2),
    known(Store, Arguments),
    case checked(open_reader(Store, Text, Options, fun chunker_dispatch:store_reader/5), Arguments, 3) of
        {ok, Reader} -> {ok, {objects, Reader}};
        Failure -> Failure
    end.

%% @doc Opens the list of the chunks of an object for {@link next/1}, which returns lists of `{Digest, Offset, Length}'.
%% The chunks of a NAR that was put with `references' have placeholders in place of the hashes.
-spec chunks(store(), name() | id()) -> {ok, iterator()} | {error, error()}.
chunks(Store, Name) ->
    Arguments = [Store, Name],
    Text = valid(name(Name), Arguments, 2),
    known(Store, Arguments),
    case with_id(Store, Text, fun(Id) -> chunker_dispatch:store_chunks(Store, Id) end) of
        {ok, Chunks} -> {ok, {chunks, Chunks}};
        Failure -> Failure
    end.

%% @doc Returns what comes next, or `done'. After an error the iterator is closed.
-spec next(iterator()) -> {ok, [binary()] | [{chunker:digest(), non_neg_integer(), pos_integer()}]} | done | {error, error()}.
next(Iterator) ->
    Next =
        case Iterator of
            {objects, Reader} -> chunker_dispatch:reader_next(Reader);
            {chunks, Chunks} -> chunker_dispatch:chunks_next(Chunks);
            _ -> ?BADARG([Iterator], 1, {expected, <<"an iterator">>, Iterator})
        end,
    case Next of
        {ok, []} -> done;
        _ -> Next
    end.

%% @doc Closes a store, or an iterator before its end.
%%
%% A store that is closed refuses every further call with the error `cancelled', in all processes that hold it. Calls
%% that run, and sessions and iterators that were opened before, go on to their end; then its files are closed. A
%% store that no process holds any more is closed without this call.
-spec close(store() | iterator()) -> ok.
close({objects, Reader}) -> chunker_dispatch:reader_close(Reader);
close({chunks, Chunks}) -> chunker_dispatch:chunks_close(Chunks);
close(Store) ->
    case chunker_dispatch:is_store(Store) of
        true -> chunker_dispatch:store_close(Store);
        false -> ?BADARG([Store], 1, {expected, <<"a store or an iterator">>, Store})
    end.

%% @equiv restore(Store, Name, To, [])
-spec restore(store(), name() | id(), {file | tree, file:name_all()}) -> ok | {error, error()}.
restore(Store, Name, To) -> restore(Store, Name, To, []).

%% @doc Writes an object to a file, which is there as a whole or not at all, and replaces what was there. With `{tree,
%% Path}', unpacks a NAR to a path that must not exist; the tree is there as a whole or not at all. Nothing of it is
%% synced to the disk.
%%
%% Options are `threads', `progress' in bytes, and, for a file, `path': that of a file in a NAR, as {@link read/3} takes it.
-spec restore(store(), name() | id(), {file | tree, file:name_all()}, chunker:options()) ->
    ok | {error, error()}.
restore(Store, Name, {Kind, File} = To, Options) when Kind =:= file; Kind =:= tree ->
    Arguments = [Store, Name, To, Options],
    Text = valid(name(Name), Arguments, 2),
    Path = valid(chunker_input:path(File), Arguments, 3),
    known(Store, Arguments),
    case checked(chunker_options:store_restore(Options), Arguments, 4) of
        {ok, {Within, Work}} ->
            Inner = valid(within(Within), Arguments, 4),
            case Kind of
                file ->
                    with_id(Store, Text, fun(Id) ->
                        chunker_dispatch:store_restore_file(Store, Id, Inner, Path, Work)
                    end);
                tree when Inner =:= nil ->
                    with_id(Store, Text, fun(Id) -> chunker_dispatch:store_restore_tree(Store, Id, Path, Work) end);
                tree ->
                    ?BADARG(Arguments, 4, ["option ", {term, path}, " needs a file to write to, not a tree"])
            end;
        Failure ->
            Failure
    end;
restore(Store, Name, To, Options) ->
    ?BADARG([Store, Name, To, Options], 3, {expected, <<"{file, Path} or {tree, Path}">>, To}).

%% @equiv ls(Store, Name, "", [])
-spec ls(store(), name() | id()) -> {ok, [chunker_nar:entry()]} | {error, error()}.
ls(Store, Name) -> ls(Store, Name, <<>>).

%% @equiv ls(Store, Name, Path, [])
-spec ls(store(), name() | id(), file:name_all()) -> {ok, [chunker_nar:entry()]} | {error, error()}.
ls(Store, Name, Path) -> ls(Store, Name, Path, []).

%% @doc Returns the entries of the folder at a path in a NAR, as {@link chunker_nar:list/1} does, with their paths from the
%% root of the NAR. For a file or a symbolic link, returns that one. Reads nothing else of the NAR.
%%
%% With `recursive', returns all entries below the folder. Other options are `threads', and the limits of {@link
%% chunker_nar:list/2}.
-spec ls(store(), name() | id(), file:name_all(), chunker:options()) ->
    {ok, [chunker_nar:entry()]} | {error, error()}.
ls(Store, Name, Path, Options) ->
    Arguments = [Store, Name, Path, Options],
    Text = valid(name(Name), Arguments, 2),
    Within = valid(chunker_input:path(Path), Arguments, 3),
    known(Store, Arguments),
    case checked(chunker_options:store_ls(Options), Arguments, 4) of
        {ok, {Listing, Threads}} ->
            Listed = with_id(Store, Text, fun(Id) ->
                chunker_dispatch:store_entries(Store, Id, Within, Listing, Threads)
            end),
            case Listed of
                {ok, Entries} -> {ok, [chunker_nar:entry(Entry) || Entry <- Entries]};
                Failure -> Failure
            end;
        Failure ->
            Failure
    end.

%% @doc Returns what the store knows of an object.
-spec manifest(store(), name() | id()) -> {ok, manifest()} | {error, error()}.
manifest(Store, Name) ->
    Arguments = [Store, Name],
    Text = valid(name(Name), Arguments, 2),
    known(Store, Arguments),
    case with_id(Store, Text, fun(Id) -> chunker_dispatch:store_manifest(Store, Id) end) of
        {ok, {Id, {Kind, NarHash}, Size, Hash, ChunkCount}} ->
            {ok, #{
                id => Id, kind => Kind, nar_hash => NarHash, size => Size, hash => Hash, chunk_count => ChunkCount
            }};
        Failure ->
            Failure
    end.

%% @doc Returns those of some chunks, by their digests, that the store does not have: what a peer has to send.
-spec missing(store(), [chunker:digest()]) -> {ok, [chunker:digest()]} | {error, error()}.
missing(Store, Digests) ->
    Arguments = [Store, Digests],
    List = valid(chunker_input:list(fun id/1, Digests), Arguments, 2),
    known(Store, Arguments),
    chunker_dispatch:store_missing(Store, List).

%% @equiv copy(Store, Other, Names, [])
-spec copy(store(), store(), [name() | id()]) -> {ok, copied()} | {error, error()}.
copy(Store, Other, Names) -> copy(Store, Other, Names, []).

%% @doc Copies objects to another store, in one commit: what is missing there, and nothing else.
%%
%% An object that is named by a tag gets this tag there as well, whatever that named before; one that is named by its id
%% is kept without a tag. With `{tags, false}' all are.
%%
%% Chunks go over as they are, compressed, once they are checked. If the other store has another hash function, objects
%% are put there anew and get other ids.
%%
%% <ul>
%% <li>`tags': `false' to leave them out. `true' by default.</li>
%% <li>`threads', and `progress' in bytes of the objects.</li>
%% </ul>
%%
%% Errors: `not_found', `chunk_missing', `store_corrupt'; then nothing is visible in the other store.
-spec copy(store(), store(), [name() | id()], chunker:options()) -> {ok, copied()} | {error, error()}.
copy(Store, Other, Names, Options) ->
    Arguments = [Store, Other, Names, Options],
    List = valid(chunker_input:list(fun name/1, Names), Arguments, 3),
    known(Store, Arguments),
    case chunker_dispatch:is_store(Other) of
        true -> ok;
        false -> ?BADARG(Arguments, 2, {expected, <<"a store of this node">>, Other})
    end,
    case checked(chunker_options:store_copy(Options), Arguments, 4) of
        {ok, {Tags, Work}} ->
            case with_tags(Store, List, Tags, []) of
                {ok, Objects} -> copied(chunker_dispatch:store_copy(Store, Other, Objects, Work));
                Failure -> Failure
            end;
        Failure ->
            Failure
    end.

%% The objects, each with the tag that it was named by.
with_tags(Store, [Name | Names], Tags, Objects) ->
    case {Tags andalso tagged(Store, Name), found(Store, Name)} of
        {_, {error, _} = Failure} -> Failure;
        {{ok, Id}, {ok, _}} when Id =/= nil -> with_tags(Store, Names, Tags, [{Id, Name} | Objects]);
        {_, {ok, Id}} -> with_tags(Store, Names, Tags, [{Id, nil} | Objects])
    end;
with_tags(_, [], _, Objects) ->
    {ok, lists:reverse(Objects)}.

copied({ok, {Ids, NewChunks, NewBytes, StoredBytes}}) ->
    {ok, #{ids => Ids, new_chunks => NewChunks, new_bytes => NewBytes, stored_bytes => StoredBytes}};
copied(Failure) ->
    Failure.

%% @doc Counts what the store has.
%%
%% `packs' with whole chunks, `delta_packs' with chunks that are kept as deltas and `meta_packs' with lists of chunks, with
%% their bytes; `records' in all of them; `chunks', and how many of them are `deltas', with their bytes before
%% compression; `index_segments'; `tags', `sessions', and `objects' that tags name or that are kept without one. `object_bytes' is the length of all of
%% them together. Of `unreadable_objects' the list of chunks is damaged: they do not count, and a check says more. Takes
%% two reads for each pack and for each object, and reads 48 bytes for each chunk.
-spec stats(store()) -> {ok, stats()} | {error, error()}.
stats(Store) ->
    known(Store, [Store]),
    case chunker_dispatch:store_stats(Store) of
        {ok, {{Packs, PackBytes}, InDeltas, {Chunks, ChunkBytes}, {MetaPacks, MetaBytes}, Records, InIndex, Objects}} ->
            {DeltaPacks, DeltaBytes, Deltas, DeltaChunkBytes} = InDeltas,
            {Segments, IndexBytes} = InIndex,
            {Tags, Sessions, Number, Unreadable, Bytes} = Objects,
            {ok, #{
                packs => Packs, pack_bytes => PackBytes, delta_packs => DeltaPacks, delta_bytes => DeltaBytes,
                chunks => Chunks, chunk_bytes => ChunkBytes, deltas => Deltas, delta_chunk_bytes => DeltaChunkBytes,
                meta_packs => MetaPacks, meta_bytes => MetaBytes,
                records => Records, index_segments => Segments, index_bytes => IndexBytes, tags => Tags,
                sessions => Sessions, objects => Number, unreadable_objects => Unreadable, object_bytes => Bytes
            }};
        Failure ->
            Failure
    end.

%% @equiv gc(Store, [])
-spec gc(store()) -> {ok, collected()} | {error, error()}.
gc(Store) -> gc(Store, []).

%% @doc Deletes what no object needs, while others read and write. Packs that are mostly garbage, and small ones if there
%% are many, are written anew. The error is `store_locked' if another collection runs.
%%
%% Options are `threads', how many check what is written anew (all else is done by one), and `progress', whose unit are
%% names of objects, while it looks for what they need.
%%
%% On a disk that is full, it removes a part of the index first, which it makes anew at the end. The error is `io_error'
%% with the kind `enospc' if that does not suffice: nothing is lost; free 1 MiB, and collect again. The error is the same
%% if packs without anything that is needed were deleted, but there is no room to write anew what is left of the others:
%% what was freed stays freed.
-spec gc(store(), chunker:options()) -> {ok, collected()} | {error, error()}.
gc(Store, Options) ->
    known(Store, [Store, Options]),
    case checked(chunker_options:store_work(Options), [Store, Options], 2) of
        {ok, Work} -> collected(chunker_dispatch:store_gc(Store, Work));
        Failure -> Failure
    end.

collected(Result) ->
    case Result of
        {ok, {Objects, Packs, DeletedPacks, DeletedBytes, RewrittenBytes}} ->
            {ok, #{
                objects => Objects, packs => Packs, deleted_packs => DeletedPacks, deleted_bytes => DeletedBytes,
                rewritten_bytes => RewrittenBytes
            }};
        Failure ->
            Failure
    end.

%% @equiv check(Store, [])
-spec check(store()) -> {ok, report()} | {error, error()}.
check(Store) -> check(Store, []).

%% @doc Reads and checks everything. New objects do not rely on chunks that were found damaged. Takes the option
%% `threads', and `progress', whose unit are packs.
-spec check(store(), chunker:options()) -> {ok, report()} | {error, error()}.
check(Store, Options) ->
    known(Store, [Store, Options]),
    case checked(chunker_options:store_work(Options), [Store, Options], 2) of
        {ok, Work} -> report(chunker_dispatch:store_check(Store, false, Work));
        Failure -> Failure
    end.

%% @equiv repair(Store, [])
-spec repair(store()) -> {ok, report()} | {error, error()}.
repair(Store) -> repair(Store, []).

%% @doc Does the same, and replaces damaged packs with ones that have what is left of them. What objects then lack is
%% lost until it is put again. Tags that are damaged are removed, and all whole objects without a name are kept.
-spec repair(store(), chunker:options()) -> {ok, report()} | {error, error()}.
repair(Store, Options) ->
    known(Store, [Store, Options]),
    case checked(chunker_options:store_work(Options), [Store, Options], 2) of
        {ok, Work} -> report(chunker_dispatch:store_check(Store, true, Work));
        Failure -> Failure
    end.

report({ok, {Packs, Bytes, Records, Objects, Damage, Incomplete, Kept}}) ->
    {ok, #{
        packs => Packs, bytes => Bytes, records => Records, objects => Objects,
        damage => [#{object => Object, offset => Offset, why => Why} || {Object, Offset, Why} <- Damage],
        incomplete => [#{id => Id, tags => Tags, missing => Missing} || {Id, Tags, Missing} <- Incomplete],
        kept => Kept
    }};
report(Failure) ->
    Failure.

%% Checks that a term is a store of this node, or a session of one.
known({session, _, Store}, Arguments) ->
    known(Store, Arguments);
known(Store, Arguments) ->
    case chunker_dispatch:is_store(Store) of
        true -> ok;
        false -> ?BADARG(Arguments, 1, {expected, <<"a store of this node">>, hd(Arguments)})
    end.

%% The engine checks the form of names.
name(Name) ->
    try unicode:characters_to_binary(Name) of
        Text when is_binary(Text) -> {ok, Text};
        %% An id.
        _ when is_binary(Name) -> {ok, Name};
        _ -> {badarg, {expected, <<"a name">>, Name}}
    catch
        error:badarg -> {badarg, {expected, <<"a name">>, Name}}
    end.

id(<<_:256>> = Id) -> {ok, Id};
id(Other) -> {badarg, {expected, <<"an id of 32 bytes">>, Other}}.
