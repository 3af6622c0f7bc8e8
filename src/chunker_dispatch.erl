%% @private
%% Dispatches calls to the NIF: chooses where each runs, and repeats those that wait for a FIFO or a device.
%%
%% A call runs on the scheduler of its caller if it takes less than a millisecond, on a dirty scheduler if it
%% takes up to some ten milliseconds, and as a job in a thread of the library if it takes longer. The size of
%% its input decides, or the NIF, which knows the size of a file and the speed of a codec: it returns the kind
%% of the job, `short' or `long', instead of a result.
%%
%% Options are the tuples that `chunker_options' returns.
-module(chunker_dispatch).

-export([chunk_data/2, chunk_file/2, read_chunk/4, restore_references/2, hash/2, hash_cached/2, hash_file/3]).
-export([to_nix_base32/1, from_nix_base32/1]).
-export([chunk_files/3, hash_batch/3]).
-export([compress/3, decompress/2, decompress_prefix/2, compress_batch/3, decompress_batch/3, detect_format/1, train_dictionary/2]).
-export([open_compressor/1, compress_update/2, compress_flush/1, compress_finish/1, close_compressor/1]).
-export([open_decompressor/1, decompress_update/2, decompress_finish/1, decompress_ignored/1, close_decompressor/1]).
-export([parse_narinfo/1, narinfo_text/1, narinfo_fingerprint/1, sign_narinfo/2, verify_narinfo/2]).
-export([generate_key/1, public_key/1]).
-export([nar_data/2, nar_file/2, nar_open/1, nar_push/2, nar_finish/1, nar_close/1]).
-export([nar_chunk_data/2, nar_chunk_file/2, nar_chunk_open/1, nar_chunk_push/2, nar_chunk_finish/1]).
-export([nar_dump_file/4, nar_dump_open/2, nar_dump_next/1, nar_dump_close/1]).
-export([open_cache/1, is_cache/1, cache_get/3, cache_put/3, cache_fetch/3, cache_stats/1, cache_clear/1]).
-export([open_file/2, open_pieces/1, next/1, push/2, finish/1, close/1]).
-export([store_open/2, store_put_file/5, store_session/1, session_put_file/5, session_pieces/4, pieces_push/2]).
-export([pieces_finish/2, pieces_close/1, session_tag/3, session_commit/1, session_close/1]).
-export([store_reader/5, store_read/5, reader_next/1, reader_close/1, store_restore_file/5, store_restore_tree/4, store_entries/5]).
-export([store_manifest/2, store_chunks/2, chunks_next/1, chunks_close/1]).
-export([store_missing/2, store_tag/2, store_set_tag/4, store_remove_tag/3, store_forget/2, store_tags/2]).
-export([store_gc/2, store_check/3, store_stats/1, store_copy/4, store_close/1, is_store/1]).
-export_type([store/0, session/0, pieces/0, object_reader/0, object_chunks/0, put_form/0, put_target/0, stored/0]).
-export_type([chunk/0, loaded/0, noted/1, entries/0, references/0, failure/0, stream/0, compressor/0, decompressor/0, cache/0]).
-export_type([nar_wanted/0, nar_reader/0, nar_entry/0, nar_dump/0]).

-type chunk() :: {Offset :: non_neg_integer(), Length :: pos_integer(), Hash :: <<_:256>>}.
-type loaded() ::
    {Offset :: non_neg_integer(), Length :: pos_integer(), Hash :: <<_:256>>, Data :: binary(),
        Compressed :: nil | binary()}.
%% A chunk by itself, or with the annotations that were requested.
-type noted(Chunk) :: Chunk | {Chunk, nil | entries(), nil | references()}.
%% The paths of a chunk are all binaries, or if they are longer than the chunk all lists of names.
-type entries() :: [
    {Path :: binary() | chunker_paths:names(), Offset :: non_neg_integer(), Length :: non_neg_integer(),
        Position :: non_neg_integer()}
].
-type references() :: [{Position :: non_neg_integer(), Characters :: binary()}].
-type failure() :: {error, {Reason :: atom(), Details :: map()}}.
%% The result that a caller asks for of an archive, and that result.
-type nar_wanted() ::
    {list, chunker_options:limits()} | {listing, chunker_options:listing()} | hash | {read_file, binary()} | {restore, binary()}.
-type nar_entry() ::
    {Path :: binary(), Type :: regular | directory | symlink, Size :: nil | non_neg_integer(),
        Offset :: nil | non_neg_integer(), Executable :: boolean(), Target :: nil | binary()}.
-type nar_answer() :: {ok, [nar_entry()] | binary() | done} | failure().
-opaque nar_reader() :: {nar_wanted(), reference()}.
-opaque nar_dump() :: reference().
-opaque compressor() :: reference().
-opaque decompressor() :: reference().
-opaque cache() :: reference().
-opaque stream() :: {regular | special | pieces, dirty | job, reference()}.

-opaque store() :: reference().
-opaque session() :: reference().
-opaque pieces() :: reference().
-opaque object_reader() :: reference().
-opaque object_chunks() :: reference().
%% As what an object is put.
-type put_form() :: bytes | {nar, References :: boolean()} | tar | {tree, References :: boolean()}.
%% The tag of an object, and the id of one that it resembles.
-type put_target() :: {Name :: nil | binary(), Base :: nil | binary()}.
%% What an object is, and the hash of a NAR.
-type object_kind() :: {bytes | nar | tar, NarHash :: nil | binary()}.
-type stored() ::
    {Id :: binary(), object_kind(), Size :: non_neg_integer(), Hash :: binary(), ChunkCount :: non_neg_integer(),
        {NewChunks :: non_neg_integer(), NewBytes :: non_neg_integer(), StoredBytes :: non_neg_integer()}}.
-type store_format() ::
    {Uuid :: binary(), chunker:algorithm(),
        {pos_integer(), pos_integer(), pos_integer(), non_neg_integer(), non_neg_integer()}, chunker:codec() | none,
        Level :: nil | integer(), Durable :: boolean(), Deltas :: boolean()}.
-type report() ::
    {Packs :: non_neg_integer(), Bytes :: non_neg_integer(), Records :: non_neg_integer(), Objects :: non_neg_integer(),
        [{Object :: binary(), Offset :: nil | non_neg_integer(), Why :: atom()}],
        [{Id :: binary(), Tags :: [binary()], Missing :: [binary()]}], Kept :: [binary()]}.

%% What a job needs to answer.
-type ticket() :: {short | long, reference()}.

-define(NIF, chunker_nif).

%% Up to this size, in bytes, a call runs on the scheduler of its caller, which saves the 10 microseconds of a
%% switch to a dirty one and back. The slowest work on so many bytes (chunking with SHA-256 in software) takes
%% a third of the millisecond that a NIF may take.
-define(SMALL, 65_536).

%% Up to this size, in bytes, hashing, chunking and reading an archive take a few milliseconds.
-define(MEDIUM, 1_048_576).

%% Up to this size, in bytes, they take less than some hundred milliseconds: a job that does not wait for long
%% ones.
-define(LARGE, 33_554_432).

%% Runs a call on a dirty scheduler, or as a job of the kind that this call returns.
dirty(Call, Job) ->
    case Call() of
        Kind when Kind =:= short; Kind =:= long -> job(Kind, Job);
        Result -> Result
    end.

%% Runs a call on a file, and reads a FIFO, a terminal or a device to its end.
file(Call, Job, OpenSpecial) ->
    case dirty(Call, Job) of
        special -> special(OpenSpecial());
        Result -> Result
    end.

%% Reads such a file to its end. No scheduler waits for its input.
special({ok, File}) -> repeat(fun() -> ?NIF:special_next(File) end, 1);
special(Failure) -> Failure.

%% Runs a call as a job. Its caller waits as a process, and its arguments are decoded by the job: a term of
%% the wrong form raises `badarg' here as it does in any other place.
-spec job(short | long, fun((ticket()) -> ok | failure())) -> term().
job(Kind, Start) ->
    Reference = make_ref(),
    case Start({Kind, Reference}) of
        ok ->
            receive
                {Reference, returned, Result} -> Result;
                {Reference, raised, Reason} -> error(Reason)
            end;
        Failure ->
            Failure
    end.

kind(Size) when Size =< ?LARGE -> short;
kind(_) -> long.

%% Returns the data that the chunks are parts of as well: the input, unless references were taken out of it.
-spec chunk_data(binary(), chunker_options:chunking()) -> {ok, [noted(chunk())], binary()} | failure().
chunk_data(Data, {_, Archive, _, _, _} = Options) ->
    %% Some hundred entries fit in that size, and take longer.
    Entries =
        case Archive of
            {_, _, _, Wanted, _, _} -> Wanted;
            _ -> false
        end,
    Result =
        if
            byte_size(Data) =< ?SMALL, not Entries -> ?NIF:chunk_data(Data, Options);
            byte_size(Data) =< ?MEDIUM -> ?NIF:chunk_data_dirty(Data, Options);
            true -> job(kind(byte_size(Data)), fun(Ticket) -> ?NIF:chunk_data_job(Ticket, Data, Options) end)
        end,
    case Result of
        {ok, Chunks} -> {ok, Chunks, Data};
        _ -> Result
    end.

-spec chunk_file(binary(), chunker_options:chunking()) -> {ok, [noted(chunk())]} | failure().
chunk_file(Path, Options) ->
    file(
        fun() -> ?NIF:chunk_file(Path, Options) end,
        fun(Ticket) -> ?NIF:chunk_file_job(Ticket, Path, Options) end,
        fun() -> ?NIF:special_chunks(Path, Options, false) end
    ).

%% The NIF takes numbers of 64 bits. No file is larger.
-spec read_chunk(binary(), chunk(), references(), chunker:algorithm()) -> {ok, binary()} | failure().
read_chunk(Path, {Offset, Length, Hash}, References, Algorithm) when Offset < 1 bsl 63, Length < 1 bsl 63 ->
    case there(References) of
        {error, _} -> {error, {file_changed, #{path => Path}}};
        ok -> ?NIF:read_chunk(Path, {Offset, Length}, {Hash, Algorithm}, References)
    end;
read_chunk(_, {_, Length, _}, _, _) ->
    {error, {buffer_limit_exceeded, #{attempted => Length, limit => 16_777_216}}}.

%% Decoding this many references takes a tenth of a millisecond, and a hundred times as many take ten.
-define(FEW, 1000).

-spec restore_references(binary(), references()) -> {ok, binary()} | failure().
restore_references(Data, []) ->
    {ok, Data};
restore_references(Data, References) ->
    case there(References) of
        {error, _} = Failure -> Failure;
        ok when byte_size(Data) =< ?SMALL, length(References) =< ?FEW ->
            ?NIF:restore_references(Data, References);
        ok when byte_size(Data) =< ?MEDIUM, length(References) =< 100 * ?FEW ->
            ?NIF:restore_references_dirty(Data, References);
        ok ->
            job(kind(byte_size(Data)), fun(Ticket) -> ?NIF:restore_references_job(Ticket, Data, References) end)
    end.

%% Checks that all positions are numbers that the NIF can take, which the positions in a chunk are.
there(References) ->
    case [Position || {Position, _} <- References, Position >= 1 bsl 63] of
        [] -> ok;
        [Position | _] -> {error, {invalid_references, #{position => Position}}}
    end.

%% Returns a result for each path. Non-seekable files come after the others, one after the other.
-spec chunk_files([binary()], chunker_options:chunking(), chunker_options:batch()) ->
    {ok, [{ok, [noted(chunk())]} | failure()]} | failure().
chunk_files(Paths, Chunking, Batch) ->
    batch(Batch, fun({_, _, Progress} = Native) ->
        case job(long, fun(Ticket) -> ?NIF:chunk_files_job(Ticket, Paths, Chunking, Native) end) of
            {ok, Results} ->
                Left = length([special || special <- Results]),
                {ok, special_files(Paths, Results, Chunking, {Progress, Left, length(Results), next_report()})};
            Failure ->
                Failure
        end
    end).

special_files([Path | Paths], [special | Results], Chunking, Reporting) ->
    Result = special(?NIF:special_chunks(Path, Chunking, false)),
    [Result | special_files(Paths, Results, Chunking, report(Reporting))];
special_files([_ | Paths], [Result | Results], Chunking, Reporting) ->
    [Result | special_files(Paths, Results, Chunking, Reporting)];
special_files([], [], _, _) ->
    [].

%% Reports progress as the engine does: at most ten times a second, and at the end.
report({Progress, Left, Total, Due}) ->
    Now = erlang:monotonic_time(millisecond),
    case Progress of
        {Pid, Ref} when Left =:= 1; Now >= Due ->
            Pid ! {chunker_progress, Ref, Total - Left + 1, Total},
            {Progress, Left - 1, Total, next_report()};
        _ ->
            {Progress, Left - 1, Total, Due}
    end.

next_report() -> erlang:monotonic_time(millisecond) + 100.

%% Runs a call with the options of a batch as the NIF takes them.
batch({Threads, Threshold, Progress}, Run) ->
    chunker_progress:with(Progress, fun(To) -> Run({Threads, Threshold, To}) end).

-spec hash_batch([binary()], chunker_options:digests(), chunker_options:batch()) -> {ok, [<<_:256>>]} | failure().
hash_batch(Items, Digests, Batch) ->
    batch(Batch, fun(Native) ->
        Size = batch_size(Items),
        case Size =< ?MEDIUM of
            true -> ?NIF:hash_batch(Items, Digests, Native);
            false -> job(kind(Size), fun(Ticket) -> ?NIF:hash_batch_job(Ticket, Items, Digests, Native) end)
        end
    end).

%% The size of a batch, in bytes, of which each item takes some itself.
batch_size(Items) -> iolist_size(Items) + 64 * length(Items).

%% Codecs take up to a second for as much.
batch_kind(Items) ->
    case batch_size(Items) =< ?MEDIUM of
        true -> short;
        false -> long
    end.

-spec open_cache(chunker_options:cache()) -> {ok, cache()} | failure().
open_cache(Options) -> ?NIF:cache_new(Options).

-spec is_cache(term()) -> boolean().
is_cache(Term) -> ?NIF:is_cache(Term).

-spec cache_get(cache(), binary(), chunker:algorithm()) -> {ok, <<_:256>> | nil} | failure().
cache_get(Cache, Data, Algorithm) when byte_size(Data) =< ?SMALL -> ?NIF:cache_get(Cache, Data, Algorithm);
cache_get(Cache, Data, Algorithm) when byte_size(Data) =< ?MEDIUM -> ?NIF:cache_get_dirty(Cache, Data, Algorithm);
cache_get(Cache, Data, Algorithm) -> job(kind(byte_size(Data)), fun(Ticket) -> ?NIF:cache_get_job(Ticket, Cache, Data, Algorithm) end).

-spec cache_put(cache(), binary(), chunker:algorithm()) -> {ok, <<_:256>>} | failure().
cache_put(Cache, Data, Algorithm) when byte_size(Data) =< ?SMALL -> ?NIF:cache_put(Cache, Data, Algorithm);
cache_put(Cache, Data, Algorithm) when byte_size(Data) =< ?MEDIUM -> ?NIF:cache_put_dirty(Cache, Data, Algorithm);
cache_put(Cache, Data, Algorithm) -> job(kind(byte_size(Data)), fun(Ticket) -> ?NIF:cache_put_job(Ticket, Cache, Data, Algorithm) end).

-spec cache_fetch(cache(), binary(), chunker:algorithm()) -> {ok, <<_:256>>} | failure().
cache_fetch(Cache, Data, Algorithm) when byte_size(Data) =< ?SMALL -> ?NIF:cache_fetch(Cache, Data, Algorithm);
cache_fetch(Cache, Data, Algorithm) when byte_size(Data) =< ?MEDIUM -> ?NIF:cache_fetch_dirty(Cache, Data, Algorithm);
cache_fetch(Cache, Data, Algorithm) -> job(kind(byte_size(Data)), fun(Ticket) -> ?NIF:cache_fetch_job(Ticket, Cache, Data, Algorithm) end).

-spec cache_stats(cache()) -> map().
cache_stats(Cache) -> ?NIF:cache_stats(Cache).

-spec cache_clear(cache()) -> ok.
cache_clear(Cache) -> ?NIF:cache_clear(Cache).

-spec compress(binary(), chunker_options:compression(), Fallback :: boolean()) -> {ok, binary()} | failure().
compress(Data, Options, false) ->
    compress(Data, Options);
compress(Data, Options, true) ->
    case compress(Data, Options) of
        {error, {Reason, _}} = Failure when Reason =:= compression_failed; Reason =:= feature_disabled ->
            case compress(Data, {lz4, nil, nil}) of
                {ok, Compressed} -> {ok, Compressed};
                {error, _} -> Failure
            end;
        Result ->
            Result
    end.

%% Up to this size, in bytes, the fast codecs take some ten milliseconds.
-define(SHORT_CODING, 131_072).

%% A dictionary is digested first, and takes as long as some data of its size.
-define(IS_SMALL_DICTIONARY(Dictionary), (Dictionary =:= nil orelse byte_size(Dictionary) =< ?MEDIUM)).

compress(Data, {_, _, Dictionary} = Options) when byte_size(Data) =< ?SHORT_CODING, ?IS_SMALL_DICTIONARY(Dictionary) ->
    dirty(fun() -> ?NIF:compress(Data, Options) end, fun(Ticket) -> ?NIF:compress_job(Ticket, Data, Options) end);
compress(Data, Options) ->
    job(compress_kind(Options, byte_size(Data)), fun(Ticket) -> ?NIF:compress_job(Ticket, Data, Options) end).

%% The slow codecs take a second for a megabyte.
compress_kind({lz4, _, Dictionary}, Size) -> kind(Size + dictionary_size(Dictionary));
compress_kind({zstd, nil, Dictionary}, Size) -> kind(4 * Size + dictionary_size(Dictionary));
compress_kind(_, _) -> long.

dictionary_size(nil) -> 0;
dictionary_size(Dictionary) -> byte_size(Dictionary).

-spec decompress(binary(), chunker_options:decompression()) -> {ok, binary()} | failure().
decompress(Data, Options) ->
    case decompress_prefix(Data, Options) of
        {ok, {Content, _}} -> {ok, Content};
        Failure -> Failure
    end.

%% Returns the number of bytes that were ignored as well.
-spec decompress_prefix(binary(), chunker_options:decompression()) ->
    {ok, {Content :: binary(), Ignored :: non_neg_integer()}} | failure().
decompress_prefix(Data, {_, _, _, _, Dictionary} = Options) when byte_size(Data) =< ?SMALL, ?IS_SMALL_DICTIONARY(Dictionary) ->
    %% It may have long contents.
    dirty(
        fun() -> ?NIF:decompress(Data, Options) end,
        fun(Ticket) -> ?NIF:decompress_job(Ticket, Data, Options) end
    );
decompress_prefix(Data, Options) ->
    Size = byte_size(Data) * 8 + dictionary_size(element(5, Options)),
    job(kind(Size), fun(Ticket) -> ?NIF:decompress_job(Ticket, Data, Options) end).

-spec compress_batch([binary()], chunker_options:compression(), chunker_options:batch()) ->
    {ok, [{ok, binary()} | failure()]} | failure().
compress_batch(Items, Options, Batch) ->
    batch(Batch, fun(Native) ->
        job(batch_kind(Items), fun(Ticket) -> ?NIF:compress_batch_job(Ticket, Items, Options, Native) end)
    end).

-spec decompress_batch([binary()], chunker_options:decompression(), chunker_options:batch()) ->
    {ok, [{ok, binary()} | failure()]} | failure().
decompress_batch(Items, Options, Batch) ->
    batch(Batch, fun(Native) ->
        job(batch_kind(Items), fun(Ticket) -> ?NIF:decompress_batch_job(Ticket, Items, Options, Native) end)
    end).

-spec detect_format(binary()) -> {ok, chunker:readable_codec()} | failure().
detect_format(Data) when byte_size(Data) =< ?SMALL -> ?NIF:detect_codec(Data);
detect_format(Data) when byte_size(Data) =< ?MEDIUM -> ?NIF:detect_codec_dirty(Data);
detect_format(Data) -> job(kind(byte_size(Data)), fun(Ticket) -> ?NIF:detect_codec_job(Ticket, Data) end).

-spec train_dictionary([binary()], MaxSize :: integer()) -> {ok, binary()} | failure().
train_dictionary(Samples, MaxSize) ->
    job(long, fun(Ticket) -> ?NIF:train_dictionary_job(Ticket, Samples, MaxSize) end).

-spec open_compressor(chunker_options:compression()) -> {ok, compressor()} | failure().
open_compressor({_, _, Dictionary} = Options) when ?IS_SMALL_DICTIONARY(Dictionary) -> ?NIF:compressor_new(Options);
open_compressor({_, _, Dictionary} = Options) -> job(kind(byte_size(Dictionary)), fun(Ticket) -> ?NIF:compressor_new_job(Ticket, Options) end).

%% The bytes that a coder takes at a time. Coders take at most 100 ms for them, within which the death of the
%% caller is noticed; only brotli 10 and 11 take up to half a second at the end of a metablock.
-define(CODER_PIECE, 131_072).

-spec compress_update(compressor(), binary()) -> {ok, [binary()]} | failure().
compress_update(Compressor, <<Piece:?CODER_PIECE/binary, Rest/binary>>) when Rest =/= <<>> ->
    case compress_piece(Compressor, Piece) of
        {ok, Output} ->
            case compress_update(Compressor, Rest) of
                {ok, More} -> {ok, [Output | More]};
                Failure -> Failure
            end;
        Failure ->
            Failure
    end;
compress_update(Compressor, Piece) ->
    case compress_piece(Compressor, Piece) of
        {ok, Output} -> {ok, [Output]};
        Failure -> Failure
    end.

compress_piece(Compressor, Piece) ->
    dirty(
        fun() -> ?NIF:compressor_update(Compressor, Piece) end,
        fun(Ticket) -> ?NIF:compressor_update_job(Ticket, Compressor, Piece) end
    ).

-spec compress_flush(compressor()) -> {ok, binary()} | failure().
compress_flush(Compressor) ->
    dirty(
        fun() -> ?NIF:compressor_flush(Compressor) end,
        fun(Ticket) -> ?NIF:compressor_flush_job(Ticket, Compressor) end
    ).

-spec compress_finish(compressor()) -> {ok, binary()} | failure().
compress_finish(Compressor) ->
    dirty(
        fun() -> ?NIF:compressor_finish(Compressor) end,
        fun(Ticket) -> ?NIF:compressor_finish_job(Ticket, Compressor) end
    ).

%% Frees the memory of a compressor, which is also freed when no process holds it any more.
-spec close_compressor(compressor()) -> ok.
close_compressor(Compressor) -> ?NIF:compressor_close(Compressor).

-spec open_decompressor(chunker_options:decompression()) -> {ok, decompressor()} | failure().
open_decompressor({_, _, _, _, Dictionary} = Options) when ?IS_SMALL_DICTIONARY(Dictionary) -> ?NIF:decompressor_new(Options);
open_decompressor({_, _, _, _, Dictionary} = Options) -> job(kind(byte_size(Dictionary)), fun(Ticket) -> ?NIF:decompressor_new_job(Ticket, Options) end).

%% Returns at most 1 MiB of output, and the input for the next call, or `done' if all of it was taken.
-spec decompress_update(decompressor(), binary()) -> {ok, binary(), {more, binary()} | done} | failure().
decompress_update(Decompressor, Input) ->
    Piece = binary:part(Input, 0, min(byte_size(Input), ?CODER_PIECE)),
    case ?NIF:decompressor_update(Decompressor, Piece) of
        {ok, Output, Consumed, State} ->
            <<_:Consumed/binary, Rest/binary>> = Input,
            case {Rest, State} of
                {<<>>, done} -> {ok, Output, done};
                _ -> {ok, Output, {more, Rest}}
            end;
        Failure ->
            Failure
    end.

-spec decompress_finish(decompressor()) -> {ok, binary()} | failure().
decompress_finish(Decompressor) -> ?NIF:decompressor_finish(Decompressor).

%% Returns the number of bytes that were ignored so far, also after the end.
-spec decompress_ignored(decompressor()) -> non_neg_integer().
decompress_ignored(Decompressor) -> ?NIF:decompressor_ignored(Decompressor).

%% As {@link close_compressor/1}.
-spec close_decompressor(decompressor()) -> ok.
close_decompressor(Decompressor) -> ?NIF:decompressor_close(Decompressor).

-spec hash(binary(), chunker:algorithm()) -> <<_:256>> | failure().
hash(Data, Algorithm) when byte_size(Data) =< ?SMALL -> ?NIF:hash(Data, Algorithm);
hash(Data, Algorithm) when byte_size(Data) =< ?MEDIUM -> ?NIF:hash_dirty(Data, Algorithm);
hash(Data, Algorithm) -> job(kind(byte_size(Data)), fun(Ticket) -> ?NIF:hash_job(Ticket, Data, Algorithm) end).

-spec hash_cached(binary(), chunker_options:digests()) -> <<_:256>> | failure().
hash_cached(Data, Digests) when byte_size(Data) =< ?SMALL -> ?NIF:hash_cached(Data, Digests);
hash_cached(Data, Digests) when byte_size(Data) =< ?MEDIUM -> ?NIF:hash_cached_dirty(Data, Digests);
hash_cached(Data, Digests) -> job(kind(byte_size(Data)), fun(Ticket) -> ?NIF:hash_cached_job(Ticket, Data, Digests) end).

%% A non-seekable file is read once, so that its digest is not looked up.
-spec hash_file(binary(), chunker_options:digests(), chunker_options:on_change()) -> {ok, <<_:256>>} | failure().
hash_file(Path, {Algorithm, _} = Digests, OnChange) ->
    file(
        fun() -> ?NIF:hash_file(Path, Digests, OnChange) end,
        fun(Ticket) -> ?NIF:hash_file_job(Ticket, Path, Digests, OnChange) end,
        fun() -> ?NIF:special_digest(Path, Algorithm) end
    ).

%% Repeats a call until it returns something else than `wait'. The pauses, in milliseconds, grow up to 20.
%% After `more' there is none: the input has not ended, and the call has only given its scheduler back.
repeat(Call, Pause) ->
    case Call() of
        more -> repeat(Call, 1);
        wait ->
            receive
            after Pause -> repeat(Call, min(2 * Pause, 20))
            end;
        Result ->
            Result
    end.

%% Up to this size, in bytes, the engine takes a tenth of a millisecond for a text.
-define(SMALL_TEXT, 4096).

-spec to_nix_base32(binary()) -> binary().
to_nix_base32(Bytes) when byte_size(Bytes) =< ?SMALL_TEXT -> ?NIF:nix_base32_encode(Bytes);
to_nix_base32(Bytes) when byte_size(Bytes) =< ?SMALL -> ?NIF:nix_base32_encode_dirty(Bytes);
to_nix_base32(Bytes) ->
    case job(kind(byte_size(Bytes)), fun(Ticket) -> ?NIF:nix_base32_encode_job(Ticket, Bytes) end) of
        Text when is_binary(Text) -> Text;
        {error, Reason} -> error(Reason)
    end.

-spec from_nix_base32(binary()) -> {ok, binary()} | failure().
from_nix_base32(Text) when byte_size(Text) =< ?SMALL_TEXT -> ?NIF:nix_base32_decode(Text);
from_nix_base32(Text) when byte_size(Text) =< ?SMALL -> ?NIF:nix_base32_decode_dirty(Text);
from_nix_base32(Text) -> job(kind(byte_size(Text)), fun(Ticket) -> ?NIF:nix_base32_decode_job(Ticket, Text) end).

%% Opens a stream of a file, for `next/1'.
-spec open_file(binary(), {chunker_options:chunking(), nil | chunker_options:compression()}) ->
    {ok, stream()} | failure().
open_file(Path, {Chunking, Compression}) ->
    Result =
        case Compression of
            {_, _, Dictionary} when not ?IS_SMALL_DICTIONARY(Dictionary) ->
                job(kind(byte_size(Dictionary)), fun(Ticket) -> ?NIF:stream_file_job(Ticket, Path, Chunking, Compression) end);
            _ ->
                ?NIF:stream_file(Path, Chunking, Compression)
        end,
    case Result of
        {ok, Stream, Kind} -> {ok, {Kind, stream_place(Compression), Stream}};
        Failure -> Failure
    end.

%% Where a stream does its work: one that compresses takes long.
stream_place(nil) -> dirty;
stream_place(_) -> job.

%% Opens a stream for `push/2' and `finish/1'.
-spec open_pieces({chunker_options:chunking(), nil | chunker_options:compression()}) -> {ok, stream()} | failure().
open_pieces(Options) -> open_pieces(Options, false).

open_pieces({Chunking, Compression}, Whole) ->
    Result =
        case Compression of
            {_, _, Dictionary} when not ?IS_SMALL_DICTIONARY(Dictionary) ->
                job(kind(byte_size(Dictionary)), fun(Ticket) -> ?NIF:stream_pieces_job(Ticket, Chunking, Compression, Whole) end);
            _ ->
                ?NIF:stream_pieces(Chunking, Compression, Whole)
        end,
    case Result of
        {ok, Stream} -> {ok, {pieces, stream_place(Compression), Stream}};
        Failure -> Failure
    end.

%% Returns the next chunks, and none at the end.
-spec next(stream()) -> {ok, [noted(loaded())]} | failure().
next({regular, dirty, Stream}) ->
    ?NIF:stream_next(Stream);
next({regular, job, Stream}) ->
    job(short, fun(Ticket) -> ?NIF:stream_next_job(Ticket, Stream) end);
next({special, dirty, Stream}) ->
    repeat(fun() -> ?NIF:stream_next_special(Stream) end, 1);
next({special, job, Stream}) ->
    repeat(fun() -> job(short, fun(Ticket) -> ?NIF:stream_next_special_job(Ticket, Stream) end) end, 1).

%% Returns the chunks that are complete, which may be none.
-spec push(stream(), binary()) -> {ok, [noted(chunk() | loaded())]} | failure().
push({pieces, dirty, Stream}, Piece) when byte_size(Piece) =< ?MEDIUM -> ?NIF:stream_push(Stream, Piece);
push({pieces, _, Stream}, Piece) -> job(short, fun(Ticket) -> ?NIF:stream_push_job(Ticket, Stream, Piece) end).

%% Returns the rest of the chunks.
-spec finish(stream()) -> {ok, [noted(chunk() | loaded())]} | failure().
finish({pieces, dirty, Stream}) -> ?NIF:stream_finish(Stream);
finish({pieces, job, Stream}) -> job(short, fun(Ticket) -> ?NIF:stream_finish_job(Ticket, Stream) end).

%% Closes a stream, which is also closed when no process holds it any more.
-spec close(stream()) -> ok.
close({_, _, Stream}) -> ?NIF:stream_close(Stream).

-spec parse_narinfo(binary()) -> {ok, chunker_narinfo_form:form()} | failure().
parse_narinfo(Text) when byte_size(Text) =< ?SMALL_TEXT -> ?NIF:narinfo_parse(Text);
parse_narinfo(Text) -> ?NIF:narinfo_parse_dirty(Text).

-spec narinfo_text(chunker_narinfo_form:form()) -> {ok, binary()} | failure().
narinfo_text(Narinfo) -> ?NIF:narinfo_to_text(Narinfo).

-spec narinfo_fingerprint(chunker_narinfo_form:form()) -> {ok, binary()} | failure().
narinfo_fingerprint(Narinfo) -> ?NIF:narinfo_fingerprint(Narinfo).

-spec sign_narinfo(chunker_narinfo_form:form(), SecretKey :: binary()) ->
    {ok, chunker_narinfo_form:form()} | failure().
sign_narinfo(Narinfo, SecretKey) -> ?NIF:narinfo_sign(Narinfo, SecretKey).

-spec verify_narinfo(chunker_narinfo_form:form(), PublicKeys :: [binary()]) -> {ok, KeyName :: binary()} | failure().
verify_narinfo(Narinfo, PublicKeys) -> ?NIF:narinfo_verify(Narinfo, PublicKeys).

-spec generate_key(binary()) -> {ok, {Secret :: binary(), Public :: binary()}} | failure().
generate_key(Name) -> ?NIF:narinfo_generate_key(Name).

-spec public_key(binary()) -> {ok, binary()} | failure().
public_key(SecretKey) -> ?NIF:narinfo_public_key(SecretKey).

-spec nar_data(binary(), nar_wanted()) -> nar_answer().
nar_data(Data, Wanted) ->
    case Wanted of
        {restore, _} -> nar_data_job(Data, Wanted);
        _ when byte_size(Data) =< ?MEDIUM -> ?NIF:nar_data(Data, Wanted);
        _ -> nar_data_job(Data, Wanted)
    end.

nar_data_job(Data, Wanted) -> job(kind(byte_size(Data)), fun(Ticket) -> ?NIF:nar_data_job(Ticket, Data, Wanted) end).

-spec nar_file(binary(), nar_wanted()) -> nar_answer().
nar_file(Path, Wanted) ->
    file(
        fun() ->
            case Wanted of
                {restore, _} -> long;
                _ -> ?NIF:nar_file(Path, Wanted)
            end
        end,
        fun(Ticket) -> ?NIF:nar_file_job(Ticket, Path, Wanted) end,
        fun() -> ?NIF:special_nar(Path, Wanted) end
    ).

%% Opens a reader of an archive that is pushed.
-spec nar_open(nar_wanted()) -> {ok, nar_reader()} | failure().
nar_open(Wanted) ->
    case ?NIF:nar_open(Wanted) of
        {ok, Reader} -> {ok, {Wanted, Reader}};
        Failure -> Failure
    end.

%% `done' if no more of the archive is needed.
-spec nar_push(nar_reader(), binary()) -> {ok, more | done} | failure().
nar_push({{restore, _}, Reader}, Piece) when byte_size(Piece) =< ?MEDIUM -> ?NIF:nar_push_io(Reader, Piece);
nar_push({_, Reader}, Piece) when byte_size(Piece) =< ?MEDIUM -> ?NIF:nar_push(Reader, Piece);
nar_push({_, Reader}, Piece) -> job(short, fun(Ticket) -> ?NIF:nar_push_job(Ticket, Reader, Piece) end).

-spec nar_finish(nar_reader()) -> nar_answer().
nar_finish({_, Reader}) -> ?NIF:nar_finish(Reader).

%% Closes a reader, and removes a tree that is half unpacked.
-spec nar_close(nar_reader()) -> ok.
nar_close({_, Reader}) -> ?NIF:nar_close(Reader).

%% Returns the chunks of an archive, and its hash, from one read.
-spec nar_chunk_data(binary(), chunker_options:chunking()) -> {ok, [noted(chunk())], NarHash :: binary()} | failure().
nar_chunk_data(Data, Options) when byte_size(Data) =< ?MEDIUM -> ?NIF:nar_chunk_data(Data, Options);
nar_chunk_data(Data, Options) -> job(kind(byte_size(Data)), fun(Ticket) -> ?NIF:nar_chunk_data_job(Ticket, Data, Options) end).

-spec nar_chunk_file(binary(), chunker_options:chunking()) -> {ok, [noted(chunk())], NarHash :: binary()} | failure().
nar_chunk_file(Path, Options) ->
    file(
        fun() -> ?NIF:nar_chunk_file(Path, Options) end,
        fun(Ticket) -> ?NIF:nar_chunk_file_job(Ticket, Path, Options) end,
        fun() -> ?NIF:special_chunks(Path, Options, true) end
    ).

%% Opens a stream of chunks without their bytes, which returns the hash of the archive at its end. `close/1'
%% closes it.
-spec nar_chunk_open(chunker_options:chunking()) -> {ok, stream()} | failure().
nar_chunk_open(Options) -> open_pieces({Options, nil}, true).

-spec nar_chunk_push(stream(), binary()) -> {ok, [noted(chunk())]} | failure().
nar_chunk_push(Stream, Piece) -> push(Stream, Piece).

-spec nar_chunk_finish(stream()) -> {ok, [noted(chunk())], NarHash :: binary()} | failure().
nar_chunk_finish(Stream) -> with_digest(finish(Stream), Stream).

with_digest({ok, Chunks}, {_, _, Stream}) ->
    case ?NIF:stream_digest(Stream) of
        {ok, Hash} -> {ok, Chunks, Hash};
        Failure -> Failure
    end;
with_digest(Failure, _) ->
    Failure.

-spec nar_dump_file(binary(), binary(), chunker_options:on_change(), Threads :: pos_integer()) ->
    {ok, binary()} | failure().
nar_dump_file(Path, Into, OnChange, Threads) ->
    job(long, fun(Ticket) -> ?NIF:nar_dump_file_job(Ticket, Path, Into, OnChange, {Threads, Threads}) end).

-spec nar_dump_open(binary(), chunker_options:on_change()) -> {ok, nar_dump()} | failure().
nar_dump_open(Path, OnChange) -> ?NIF:nar_dump_open(Path, OnChange).

%% Returns the next bytes, and none at the end.
-spec nar_dump_next(nar_dump()) -> {ok, binary()} | failure().
nar_dump_next(Dump) -> ?NIF:nar_dump_next(Dump).

-spec nar_dump_close(nar_dump()) -> ok.
nar_dump_close(Dump) -> ?NIF:nar_dump_close(Dump).

%% Opening reads the index. Whatever reads or writes the bytes of objects takes long; what reads and writes some
%% small files waits for the disk on an I/O scheduler.
-spec store_open(binary(), chunker_options:store()) -> {ok, {store(), store_format()}} | failure().
store_open(Path, Options) -> job(short, fun(Ticket) -> ?NIF:store_open_job(Ticket, Path, Options) end).

-spec is_store(term()) -> boolean().
is_store(Term) -> ?NIF:is_store(Term).

%% Puts a file or a tree.
-spec store_put_file(store(), binary(), put_form(), put_target(), chunker_options:work()) -> {ok, stored()} | failure().
store_put_file(Store, Path, Form, Target, Work) ->
    work(Work, fun(Ticket, Native) -> ?NIF:store_put_file_job(Ticket, Store, Path, Form, Target, Native) end).

%% Runs a long job with its options as the NIF takes them.
work({Threads, Progress}, Start) ->
    chunker_progress:with(Progress, fun(To) -> job(long, fun(Ticket) -> Start(Ticket, {Threads, To}) end) end).

-spec store_session(store()) -> {ok, session()} | failure().
store_session(Store) -> job(short, fun(Ticket) -> ?NIF:store_session_job(Ticket, Store) end).

-spec session_put_file(session(), binary(), put_form(), put_target(), chunker_options:work()) -> {ok, stored()} | failure().
session_put_file(Session, Path, Form, Target, Work) ->
    work(Work, fun(Ticket, Native) -> ?NIF:session_put_file_job(Ticket, Session, Path, Form, Target, Native) end).

%% Begins an object that is pushed, which is no tree.
-spec session_pieces(session(), put_form(), put_target(), chunker_options:threads_and_pool()) -> {ok, pieces()} | failure().
session_pieces(Session, Form, Target, Threads) ->
    job(long, fun(Ticket) -> ?NIF:session_pieces_job(Ticket, Session, Form, Target, Threads) end).

-spec pieces_push(pieces(), binary()) -> ok | failure().
pieces_push(Pieces, Piece) -> job(short, fun(Ticket) -> ?NIF:pieces_push_job(Ticket, Pieces, Piece) end).

-spec pieces_finish(session(), pieces()) -> {ok, stored()} | failure().
pieces_finish(Session, Pieces) -> job(short, fun(Ticket) -> ?NIF:pieces_finish_job(Ticket, Session, Pieces) end).

-spec pieces_close(pieces()) -> ok.
pieces_close(Pieces) -> ?NIF:pieces_close(Pieces).

-spec session_tag(session(), binary(), Id :: binary()) -> ok | failure().
session_tag(Session, Name, Id) -> job(short, fun(Ticket) -> ?NIF:session_tag_job(Ticket, Session, Name, Id) end).

-spec session_commit(session()) -> ok | failure().
session_commit(Session) -> job(short, fun(Ticket) -> ?NIF:session_commit_job(Ticket, Session) end).

%% Ends a session, which a commit has ended already, or nothing of it becomes visible.
-spec session_close(session()) -> ok.
session_close(Session) -> ?NIF:session_close(Session).

%% Opens an object, or the file at the path `Within' in a NAR.
-spec store_reader(
    store(),
    Id :: binary(),
    Within :: nil | binary(),
    {Offset :: non_neg_integer(), Length :: nil | non_neg_integer()},
    chunker_options:threads_and_pool()
) -> {ok, object_reader()} | failure().
store_reader(Store, Id, Within, Range, Threads) ->
    job(short, fun(Ticket) -> ?NIF:store_reader_job(Ticket, Store, Id, Within, Range, Threads) end).

%% Returns the first bytes, and what has the others, if there are any.
-spec store_read(
    store(),
    Id :: binary(),
    Within :: nil | binary(),
    {Offset :: non_neg_integer(), Length :: nil | non_neg_integer()},
    chunker_options:threads_and_pool()
) -> {ok, {[binary()], nil | object_reader()}} | failure().
store_read(Store, Id, Within, Range, Threads) ->
    job(short, fun(Ticket) -> ?NIF:store_read_job(Ticket, Store, Id, Within, Range, Threads) end).

%% Returns the next bytes, and none at the end.
-spec reader_next(object_reader()) -> {ok, [binary()]} | failure().
reader_next(Reader) -> job(short, fun(Ticket) -> ?NIF:reader_next_job(Ticket, Reader) end).

-spec reader_close(object_reader()) -> ok.
reader_close(Reader) -> ?NIF:reader_close(Reader).

-spec store_restore_file(store(), Id :: binary(), Within :: nil | binary(), binary(), chunker_options:work()) -> ok | failure().
store_restore_file(Store, Id, Within, Path, Work) ->
    work(Work, fun(Ticket, Native) -> ?NIF:store_restore_file_job(Ticket, Store, Id, Within, Path, Native) end).

-spec store_restore_tree(store(), Id :: binary(), binary(), chunker_options:work()) -> ok | failure().
store_restore_tree(Store, Id, Path, Work) ->
    work(Work, fun(Ticket, Native) -> ?NIF:store_restore_tree_job(Ticket, Store, Id, Path, Native) end).

%% Lists what is at a path in a NAR.
-spec store_entries(
    store(),
    Id :: binary(),
    binary(),
    {Recursive :: boolean(), chunker_options:limits()},
    chunker_options:threads_and_pool()
) -> {ok, [nar_entry()]} | failure().
store_entries(Store, Id, Path, Listing, Threads) ->
    job(short, fun(Ticket) -> ?NIF:store_entries_job(Ticket, Store, Id, Path, Listing, Threads) end).

-spec store_manifest(store(), Id :: binary()) ->
    {ok, {Id :: binary(), object_kind(), Size :: non_neg_integer(), Hash :: binary(), ChunkCount :: non_neg_integer()}}
    | failure().
store_manifest(Store, Id) -> job(short, fun(Ticket) -> ?NIF:store_manifest_job(Ticket, Store, Id) end).

-spec store_chunks(store(), Id :: binary()) -> {ok, object_chunks()} | failure().
store_chunks(Store, Id) -> job(short, fun(Ticket) -> ?NIF:store_chunks_job(Ticket, Store, Id) end).

%% Returns the next chunks, and none at the end.
-spec chunks_next(object_chunks()) ->
    {ok, [{Digest :: binary(), Offset :: non_neg_integer(), Length :: pos_integer()}]} | failure().
chunks_next(Chunks) -> job(short, fun(Ticket) -> ?NIF:chunks_next_job(Ticket, Chunks) end).

-spec chunks_close(object_chunks()) -> ok.
chunks_close(Chunks) -> ?NIF:chunks_close(Chunks).

-spec store_missing(store(), [binary()]) -> {ok, [binary()]} | failure().
store_missing(Store, Digests) -> job(long, fun(Ticket) -> ?NIF:store_missing_job(Ticket, Store, Digests) end).

-spec store_tag(store(), binary()) -> {ok, nil | binary()} | failure().
store_tag(Store, Name) -> ?NIF:store_tag(Store, Name).

-spec store_set_tag(store(), binary(), Id :: binary(), any | absent | binary()) -> ok | failure().
store_set_tag(Store, Name, Id, Condition) -> job(short, fun(Ticket) -> ?NIF:store_set_tag_job(Ticket, Store, Name, Id, Condition) end).

-spec store_remove_tag(store(), binary(), any | absent | binary()) -> {ok, boolean()} | failure().
store_remove_tag(Store, Name, Condition) -> job(short, fun(Ticket) -> ?NIF:store_remove_tag_job(Ticket, Store, Name, Condition) end).

-spec store_forget(store(), Id :: binary()) -> {ok, boolean()} | failure().
store_forget(Store, Id) -> job(short, fun(Ticket) -> ?NIF:store_forget_job(Ticket, Store, Id) end).

-spec store_tags(store(), Prefix :: binary()) -> {ok, [{binary(), Id :: binary()}]} | failure().
store_tags(Store, Prefix) -> job(short, fun(Ticket) -> ?NIF:store_tags_job(Ticket, Store, Prefix) end).

-spec store_gc(store(), chunker_options:work()) ->
    {ok, {Objects :: non_neg_integer(), Packs :: non_neg_integer(), DeletedPacks :: non_neg_integer(),
        DeletedBytes :: non_neg_integer(), RewrittenBytes :: non_neg_integer()}} | failure().
store_gc(Store, Work) ->
    work(Work, fun(Ticket, Native) -> ?NIF:store_gc_job(Ticket, Store, Native) end).

-spec store_check(store(), Repairs :: boolean(), chunker_options:work()) -> {ok, report()} | failure().
store_check(Store, Repairs, Work) ->
    work(Work, fun(Ticket, Native) -> ?NIF:store_check_job(Ticket, Store, Repairs, Native) end).

-type counted() :: {Number :: non_neg_integer(), Bytes :: non_neg_integer()}.

-spec store_stats(store()) ->
    {ok, {Packs :: counted(),
        {DeltaPacks :: non_neg_integer(), DeltaBytes :: non_neg_integer(), Deltas :: non_neg_integer(),
            DeltaChunkBytes :: non_neg_integer()},
        Chunks :: counted(), MetaPacks :: counted(), Records :: non_neg_integer(), IndexSegments :: counted(),
        {Tags :: non_neg_integer(), Sessions :: non_neg_integer(), Objects :: non_neg_integer(),
            Unreadable :: non_neg_integer(), Bytes :: non_neg_integer()}}} | failure().
store_stats(Store) -> job(long, fun(Ticket) -> ?NIF:store_stats_job(Ticket, Store) end).

%% Copies objects to another store, each with the name that it is to have there.
-spec store_copy(store(), store(), [{Id :: binary(), nil | binary()}], chunker_options:work()) ->
    {ok, {Ids :: [binary()], NewChunks :: non_neg_integer(), NewBytes :: non_neg_integer(),
        StoredBytes :: non_neg_integer()}} | failure().
store_copy(Store, Other, Objects, Work) ->
    work(Work, fun(Ticket, Native) -> ?NIF:store_copy_job(Ticket, Store, Other, Objects, Native) end).

-spec store_close(store()) -> ok.
store_close(Store) -> ?NIF:store_close(Store).
