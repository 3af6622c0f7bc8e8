%% @doc Content-defined chunking for Erlang.
%%
%% Chunker splits files, binaries and streams into content-defined chunks (FastCDC) and identifies each chunk
%% by its digest, so that a program can store only new chunks. These are the functions of the Elixir module
%% `Chunker', with the same names, options and defaults.
%%
%% ```
%% {ok, Chunks} = chunker:chunk_file("/var/backups/db.tar", [{hash, sha256}]),
%% [io:format("~b ~b ~s~n", [O, L, chunker:to_hex(H)])
%%  || #{offset := O, length := L, hash := H} <- Chunks].
%% '''
%%
%% {@link chunker_nar} has those of `Chunker.Nar', and {@link chunker_narinfo} has those of `Chunker.NarInfo'.
%%
%% Options are a map or a list of pairs. An unknown option and a value of the wrong type raise `badarg'; a
%% value that is out of range returns `{error, {invalid_options, Details}}'.
%%
%% <ul>
%% <li>`avg_size': bytes, 256 to 4,194,304; sizes gather around it. By default that of the preset, else
%%     1,048,576.</li>
%% <li>`min_size': bytes, 64 to 1,048,576; no chunk except the last is shorter. By default a quarter of
%%     `avg_size', which is 262,144.</li>
%% <li>`max_size': bytes, 1,024 to 16,777,216; no chunk is longer. By default four times `avg_size', which is
%%     4,194,304.</li>
%% <li>`normalization': 0 to 3; how strongly sizes gather around the average. 1 by default.</li>
%% <li>`seed': 64 bits; changes the cut points: for stores that are not to share chunks, and for tests. It is
%%     no secret key and hides nothing from an attacker who sees the lengths of chunks: attacks on chunkers
%%     with a key are published (eprint 2025/532 and 2025/558). 0 by default.</li>
%% <li>`preset': the three sizes by name: `default' (128 KiB, 512 KiB, 2 MiB), `large_packages' (256 KiB, 1
%%     MiB, 4 MiB) or `small_packages' (32 KiB, 128 KiB, 512 KiB). A size that is given overrides that of the
%%     preset, and minimum and maximum follow an `avg_size' that is given. None by default, but `default' with
%%     `nar'.</li>
%% <li>`nar': `true' to chunk Nix archives along the files in them, and to refuse other inputs with
%%     `invalid_nar'; `auto' to do so if the whole input is a NAR, and to chunk other inputs as they are, with
%%     the same sizes. `auto' reads its input twice, so FIFOs, devices and pieces are refused with
%%     `invalid_options'. `false' by default.</li>
%% <li>`tar': `true' to chunk tars along the files in them, so that a large file has the same chunks in every
%%     tar. From the first block on that is not part of a tar, an input is chunked as without it. Excludes
%%     `nar'. `false' by default.</li>
%% <li>`min_entry_size', with `nar' or `tar': bytes, at least `min_size'; files in the archive of at least this
%%     size have chunks of their own. Twice `avg_size' by default.</li>
%% <li>`boundary_preference_distance', with `nar' or `tar': bytes, 0 to `min_size'; another cut moves back to
%%     the end of a file that is less than this before it. A quarter of `avg_size' by default, at most
%%     `min_size'.</li>
%% <li>`entries', with `nar': `true' to list in each chunk the entries of the archive that it touches. A path
%%     can have 16 KiB, and a stream makes the paths of one chunk at a time. `false' by default.</li>
%% <li>`max_entries' and `max_memory', with `entries': the limits for the entries of the whole archive, as in
%%     {@link chunker_nar:list/2}; 1,000,000 and 512 MiB by default, and `infinity' for {@link stream/2}.</li>
%% <li>`references', with `nar': `true' to take store hashes out of the archive before it is chunked; each
%%     chunk has those that were in it, and {@link chunker_nar:restore_references/2} puts them back. `false'
%%     by default.</li>
%% <li>`hash': `blake3' (the default) or `sha256'.</li>
%% <li>`cache': a cache of {@link chunker_cache:new/1}, in which digests are looked up before they are
%%     computed, and which keeps those that are computed. None by default.</li>
%% <li>`on_change': what a change of a regular file during the read means. `error' (the default): a file that
%%     shrinks or grows is `file_changed'. `snapshot': a file is read up to the length that it had when it was
%%     opened, so that it may grow, as logs do; one that is shorter in the end still is `file_changed'. Bytes
%%     that are overwritten in place are not noticed. Of no effect on other inputs.</li>
%% <li>`threads': 1 to 1,024; the maximum number of threads for the call. By default as many as the
%%     application's environment says under `threads', else (`nil' or `undefined') as many as there are dirty
%%     CPU schedulers online. The environment counts whether or not the application is loaded; any other value
%%     in it raises `badarg'.</li>
%% </ul>
%%
%% {@link stream/2} also takes `compress', a list or map of `codec', `strategy', `level' and `dictionary' as
%% {@link compress/2} takes them, and fills `compressed' in each chunk.
%%
%% Functions for many items also take `parallel_threshold', the number of items from which on several threads
%% work (4 by default), and `progress': a pid, or a pid and a reference of yours, that is sent
%% `{chunker_progress, Ref, Done, Total}', or a fun of `Done' and `Total' that is called in a process of its
%% own. The first report is 0, the last one the total, with at most ten a second in between. They return `{ok,
%% List}' or one error, as all other functions do.
-module(chunker).

-export([read_chunk/2, read_chunk/3]).
-export([chunk_file/1, chunk_file/2, chunk_data/1, chunk_data/2]).
-export([stream/1, stream/2, next/1, close/1]).
-export([chunk_files/1, chunk_files/2, hash/2, hash/3, hash_file/2, hash_file/3, hash_batch/1, hash_batch/2, info/0]).
-export([compress/1, compress/2, decompress/1, decompress/2, detect_format/1]).
-export([decompress_prefix/1, decompress_prefix/2]).
-export([compress_batch/1, compress_batch/2, decompress_batch/1, decompress_batch/2]).
-export([train_dictionary/1, train_dictionary/2]).
-export([compressor/0, compressor/1, compressor_update/2, compressor_flush/1, compressor_finish/1]).
-export([compressor_close/1]).
-export([decompressor/0, decompressor/1, decompressor_update/2, decompressor_finish/1]).
-export([decompressor_ignored/1, decompressor_close/1]).
-export([to_hex/1, to_nix_base32/1, from_nix_base32/1]).
%% Called by the Elixir face, for chunks as structs.
-export([chunk_file/3, chunk_data/3, chunk_files/3]).
-export_type([algorithm/0, chunk/0, part/0, codec/0, readable_codec/0, compressor/0, decompressor/0]).
-export_type([digest/0, error/0, iterator/0, options/0, source/0]).

-include("chunker_badarg.hrl").

%% What a call expects that gets a handle of another VM, or of one that was freed.
-define(COMPRESSOR, <<"a compressor of this node">>).
-define(DECOMPRESSOR, <<"a decompressor of this node">>).

%% Pieces are gathered up to this size, in bytes.
-define(GATHER, 65_536).

-type algorithm() :: blake3 | sha256.
-type codec() :: zstd | lz4 | xz | bzip2 | gzip | brotli.
-type readable_codec() :: codec() | lzma.
%% `lzma' is decompressed only.
-type digest() :: <<_:256>>.
-type chunk() :: #{
    offset := non_neg_integer(),
    length := pos_integer(),
    hash := digest(),
    data => binary(),
    compressed => binary(),
    entries => [part()],
    references => chunker_nar:references()
}.
%% The part of an entry of an archive that is in a chunk: `length' bytes of its contents, from `offset' on,
%% which are in the chunk from `position' on. No bytes, if the chunk has only the end of what stands before
%% them.
-type part() :: #{
    path := binary(), offset := non_neg_integer(), length := non_neg_integer(), position := non_neg_integer()
}.
-opaque compressor() :: chunker_dispatch:compressor().
-opaque decompressor() :: chunker_dispatch:decompressor().
-type options() :: [{atom(), term()}] | #{atom() => term()}.
-type error() :: {Reason :: atom(), Details :: map()}.

%% The input of {@link stream/2}: the name of a file, or pieces of the input, as a list or from a fun that
%% returns `{Piece, NextFun}' or `done'.
-type source() :: {file, file:name_all()} | [iodata()] | pieces().
-type pieces() :: fun(() -> {iodata(), pieces()} | done).

-opaque iterator() ::
    {[chunker_dispatch:noted(chunker_dispatch:loaded())], file, chunker_dispatch:stream()}
    | {[chunker_dispatch:noted(chunker_dispatch:loaded())], {Gather :: pos_integer(), [iodata()] | pieces()}, chunker_dispatch:stream()}
    | {[chunker_dispatch:noted(chunker_dispatch:loaded())], done}.

%% @equiv chunk_file(Path, [])
-spec chunk_file(file:name_all()) -> {ok, [chunk()]} | {error, error()}.
chunk_file(Path) -> chunk_file(Path, []).

%% @doc Returns the chunks of a file, without their bytes. Time is linear in the file; memory does not grow
%% with it, except for the list of chunks.
%%
%% A FIFO or a device is read until its writer closes it.
%%
%% Errors: `io_error' with `kind' (`enoent', `eacces', `eisdir' and so on) and `path'; `file_changed' with
%% `path' when a regular file shrinks or grows while it is read (see `on_change'); `invalid_nar' with `offset'
%% and `why'; `invalid_options'.
-spec chunk_file(file:name_all(), options()) -> {ok, [chunk()]} | {error, error()}.
chunk_file(Path, Options) -> chunk_file(Path, Options, map).

%% @private
-spec chunk_file(file:name_all(), options(), chunker_chunk:form()) -> {ok, [map()]} | {error, error()}.
chunk_file(Path, Options, Form) ->
    Name = valid(chunker_input:path(Path), [Path, Options], 1),
    case checked(chunker_options:chunking(Options), [Path, Options], 2) of
        {ok, Checked} -> chunks(Form, chunker_dispatch:chunk_file(Name, Checked));
        Error -> Error
    end.

%% @equiv read_chunk(Path, Chunk, [])
-spec read_chunk(file:name_all(), chunk()) -> {ok, binary()} | {error, error()}.
read_chunk(Path, Chunk) -> read_chunk(Path, Chunk, []).

%% @doc Reads the bytes of a chunk that {@link chunk_file/2} returned, and checks them against the chunk's
%% digest, with `hash' as the algorithm. References that were taken out of the chunk are taken out again.
%%
%% Errors: those of {@link chunk_file/2}; `bounds_check_failed' when the file ends before the chunk does;
%% `buffer_limit_exceeded' when the length exceeds that of any chunk; `file_changed' when the bytes differ
%% now.
-spec read_chunk(file:name_all(), chunk() | chunker_chunk:struct(), options()) -> {ok, binary()} | {error, error()}.
read_chunk(Path, Chunk, Options) ->
    Arguments = [Path, Chunk, Options],
    Name = valid(chunker_input:path(Path), Arguments, 1),
    case {checked(chunker_options:hash(Options), Arguments, 3), Chunk} of
        {{ok, Algorithm}, #{offset := Offset, length := Length, hash := <<_:256>> = Hash}} when
            is_integer(Offset), Offset >= 0, is_integer(Length), Length > 0
        ->
            References = valid(chunker_input:references(maps:get(references, Chunk, nil)), Arguments, 2),
            chunker_dispatch:read_chunk(Name, {Offset, Length, Hash}, References, Algorithm);
        {{ok, _}, _} ->
            ?BADARG(Arguments, 2, {expected, <<"a chunk">>, Chunk});
        {Error, _} ->
            Error
    end.

%% @equiv chunk_data(Data, [])
-spec chunk_data(iodata()) -> {ok, [chunk()]} | {error, error()}.
chunk_data(Data) -> chunk_data(Data, []).

%% @doc Returns the chunks of a binary or an iolist, with their bytes: parts of the binary, which is not
%% copied. An iolist is first joined to one binary.
-spec chunk_data(iodata(), options()) -> {ok, [chunk()]} | {error, error()}.
chunk_data(Data, Options) -> chunk_data(Data, Options, map).

%% @private
-spec chunk_data(iodata(), options(), chunker_chunk:form()) -> {ok, [map()]} | {error, error()}.
chunk_data(Data, Options, Form) ->
    Binary = valid(chunker_input:binary(Data), [Data, Options], 1),
    case checked(chunker_options:chunking(Options), [Data, Options], 2) of
        {ok, Checked} ->
            case chunker_dispatch:chunk_data(Binary, Checked) of
                {ok, Chunks, Bytes} -> {ok, chunker_chunk:list(Form, Chunks, Bytes)};
                Error -> Error
            end;
        Error ->
            Error
    end.

%% @equiv stream(Source, [])
-spec stream(source()) -> {ok, iterator()} | {error, error()}.
stream(Source) -> stream(Source, []).

%% @doc Opens a stream of the chunks of a file, or of pieces that arrive one after the other, each with its
%% bytes, in bounded memory: less than four times `max_size' and a few MiB for each thread, plus what the
%% caller keeps. The bytes are in memory of the VM: they are charged to the process that holds them, and
%% `erlang:memory(binary)' counts them.
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
%% Input is buffered up to 64 KiB, or up to `avg_size' if that is less.
%%
%% An iterator can be used for one {@link next/1}, which returns the next iterator. The stream is closed at
%% its end, by {@link close/1}, or when no process holds it any more.
-spec stream(source(), options()) -> {ok, iterator()} | {error, error()}.
stream(Source, Options) ->
    Arguments = [Source, Options],
    case checked(chunker_options:stream(Options), Arguments, 2) of
        {ok, Checked} -> checked(open(Source, Checked), Arguments, 1);
        Error -> Error
    end.

open({file, Path}, Options) ->
    case chunker_input:path(Path) of
        {ok, Name} ->
            case chunker_dispatch:open_file(Name, Options) of
                {ok, Stream} -> {ok, {[], file, Stream}};
                Error -> Error
            end;
        Wrong ->
            Wrong
    end;
open(Pieces, Options) when is_list(Pieces); is_function(Pieces, 0) ->
    case chunker_dispatch:open_pieces(Options) of
        {ok, Stream} ->
            %% Smaller chunks are wanted with less delay.
            {{{_, _, AvgSize, _, _, _}, _, _, _, _}, _} = Options,
            Gather = if AvgSize =:= nil -> ?GATHER; true -> min(AvgSize, ?GATHER) end,
            {ok, {[], {Gather, Pieces}, Stream}};
        Error ->
            Error
    end;
open(_, _) ->
    {badarg, [<<"must be {file, Path}, a list of iodata, or a fun that gives {Piece, NextFun} or done">>]}.

%% @doc Returns the next chunk of a stream, and the iterator after it; `done' after the last chunk.
%%
%% Errors are those of {@link chunk_file/2}. After an error the stream is closed.
-spec next(iterator()) -> {ok, chunk(), iterator()} | done | {error, error()}.
next(Iterator) ->
    case Iterator of
        {[Loaded | Rest], done} ->
            {ok, chunker_chunk:one(map, Loaded), {Rest, done}};
        {[Loaded | Rest], Source, Stream} ->
            {ok, chunker_chunk:one(map, Loaded), {Rest, Source, Stream}};
        {[], done} ->
            done;
        {[], file, Stream} ->
            case chunker_dispatch:next(Stream) of
                {ok, []} -> done;
                {ok, Chunks} -> next({Chunks, file, Stream});
                Error -> Error
            end;
        {[], Source, Stream} ->
            {Gather, Pieces} = Source,
            case chunker_input:gather(Pieces, chunker_input:gathered(Gather)) of
                {badarg, Message} ->
                    ?BADARG([Iterator], 1, Message);
                done ->
                    case chunker_dispatch:finish(Stream) of
                        {ok, Chunks} -> next({Chunks, done});
                        Error -> Error
                    end;
                {Piece, Rest} ->
                    case chunker_dispatch:push(Stream, Piece) of
                        {ok, Chunks} -> next({Chunks, {Gather, Rest}, Stream});
                        Error -> Error
                    end
            end;
        _ ->
            ?BADARG([Iterator], 1, {expected, <<"an iterator">>, Iterator})
    end.

%% @doc Closes a stream before its end.
-spec close(iterator()) -> ok.
close({_, done}) -> ok;
close({_, _, Stream}) -> chunker_dispatch:close(Stream);
close(Other) -> ?BADARG([Other], 1, {expected, <<"an iterator">>, Other}).

%% @equiv hash(Data, Algorithm, [])
-spec hash(iodata(), algorithm()) -> digest().
hash(Data, Algorithm) ->
    ok = checked(chunker_options:algorithm(Algorithm), [Data, Algorithm], 2),
    digest(chunker_dispatch:hash(valid(chunker_input:binary(Data), [Data, Algorithm], 1), Algorithm)).

%% @doc Returns the digest of a binary or an iolist: 32 bytes. Raises `{feature_disabled, Details}' if the
%% algorithm is not built in.
%%
%% The option is `cache': a cache of {@link chunker_cache:new/1} in which contents of 2 KiB to 1 GiB are
%% looked up.
-spec hash(iodata(), algorithm(), options()) -> digest().
hash(Data, Algorithm, []) ->
    hash(Data, Algorithm);
hash(Data, Algorithm, Options) ->
    Arguments = [Data, Algorithm, Options],
    ok = checked(chunker_options:algorithm(Algorithm), Arguments, 2),
    Binary = valid(chunker_input:binary(Data), Arguments, 1),
    {ok, Cache} = checked(chunker_options:hash_data(Options), Arguments, 3),
    digest(chunker_dispatch:hash_cached(Binary, {Algorithm, Cache})).

digest(Digest) when is_binary(Digest) -> Digest;
digest({error, Reason}) -> error(Reason).

%% @equiv hash_file(Path, Algorithm, [])
-spec hash_file(file:name_all(), algorithm()) -> {ok, digest()} | {error, error()}.
hash_file(Path, Algorithm) -> hash_file(Path, Algorithm, []).

%% @doc Returns the digest of a file, in 1 MiB of memory. Errors are those of {@link chunk_file/2}. Raises
%% `{feature_disabled, Details}' if the algorithm is not built in, as {@link hash/2} does.
%%
%% Options are `on_change', and `cache', in which files of 2 KiB to 1 GiB are looked up. A file is read to
%% find out whether its content is known; one of at least 1 MiB that is not known is read a second time.
%% Non-seekable files are not looked up, nor are files of at least 1 MiB in a cache that compares contents.
-spec hash_file(file:name_all(), algorithm(), options()) -> {ok, digest()} | {error, error()}.
hash_file(Path, Algorithm, Options) ->
    Arguments = [Path, Algorithm, Options],
    ok = checked(chunker_options:algorithm(Algorithm), Arguments, 2),
    Name = valid(chunker_input:path(Path), Arguments, 1),
    case checked(chunker_options:hash_file(Options), Arguments, 3) of
        {ok, {Cache, OnChange}} ->
            case chunker_dispatch:hash_file(Name, {Algorithm, Cache}, OnChange) of
                {error, {feature_disabled, _} = Reason} -> error(Reason);
                Result -> Result
            end;
        Error ->
            Error
    end.

%% @equiv chunk_files(Paths, [])
-spec chunk_files([file:name_all()]) -> {ok, [{ok, [chunk()]} | {error, error()}]} | {error, error()}.
chunk_files(Paths) -> chunk_files(Paths, []).

%% @doc Returns the chunks of many files: a result for each path, in their order, as {@link chunk_file/2}
%% returns it. A file that fails does not affect the others; an option that is out of range is an error of the
%% call.
-spec chunk_files([file:name_all()], options()) -> {ok, [{ok, [chunk()]} | {error, error()}]} | {error, error()}.
chunk_files(Paths, Options) -> chunk_files(Paths, Options, map).

%% @private
-spec chunk_files([file:name_all()], options(), chunker_chunk:form()) ->
    {ok, [{ok, [map()]} | {error, error()}]} | {error, error()}.
chunk_files(Paths, Options, Form) ->
    Arguments = [Paths, Options],
    Names = valid(chunker_input:list(fun chunker_input:path/1, Paths), Arguments, 1),
    case checked(chunker_options:files(Options), Arguments, 2) of
        {ok, {Chunking, Batch}} ->
            case chunker_dispatch:chunk_files(Names, Chunking, Batch) of
                {ok, Results} -> {ok, [chunks(Form, Result) || Result <- Results]};
                Error -> Error
            end;
        Error ->
            Error
    end.

%% @equiv hash_batch(Items, [])
-spec hash_batch([iodata()]) -> {ok, [digest()]} | {error, error()}.
hash_batch(Items) -> hash_batch(Items, []).

%% @doc Returns the digests of many items, in order, with `hash' as the algorithm and optionally a `cache'.
-spec hash_batch([iodata()], options()) -> {ok, [digest()]} | {error, error()}.
hash_batch(Items, Options) ->
    Arguments = [Items, Options],
    Binaries = valid(chunker_input:list(fun chunker_input:binary/1, Items), Arguments, 1),
    case checked(chunker_options:hash_batch(Options), Arguments, 2) of
        {ok, {Algorithm, Batch}} -> chunker_dispatch:hash_batch(Binaries, Algorithm, Batch);
        Error -> Error
    end.

%% @equiv compress(Data, [])
-spec compress(iodata()) -> {ok, binary()} | {error, error()}.
compress(Data) -> compress(Data, []).

%% @doc Compresses data into the format of its codec's official program.
%%
%% <ul>
%% <li>`codec': `zstd' (the default), `lz4', `xz', `bzip2', `gzip' or `brotli'.</li>
%% <li>`level': zstd -131072 to 22 (3 by default), xz and gzip 0 to 9 (6), bzip2 1 to 9 (6), brotli 0 to 11
%%     (6), lz4 only 1.</li>
%% <li>`strategy', in place of these: `fastest' (lz4), `balanced' (zstd 3), or `smallest', which tries zstd 22
%%     and 18, gzip 9, `xz -9', `xz -9e' and bzip2 9, as far as they are built in, one after the other, and
%%     keeps the smallest result: many times the time and the memory of the others, see `Chunker.compress/2'.
%%     A codec that gets no memory is left out. A compressor and a stream of pieces cannot try several, and use
%%     xz 6 for it, or zstd 19 if xz is not built in. A dictionary does not go with it.</li>
%% <li>`dictionary': of {@link train_dictionary/2}, or any data that resembles yours; zstd and lz4 only, of
%%     which lz4 uses its last 64 KiB, as `lz4 -D' does.</li>
%% <li>`fallback': `true' to compress with lz4 if the codec fails or is not built in. {@link detect_format/1}
%%     of the result returns the codec that was used, except `brotli', which it cannot detect. `false' by
%%     default.</li>
%% </ul>
-spec compress(iodata(), options()) -> {ok, binary()} | {error, error()}.
compress(Data, Options) ->
    Binary = valid(chunker_input:binary(Data), [Data, Options], 1),
    case checked(chunker_options:compression(Options), [Data, Options], 2) of
        {ok, {Compression, Fallback}} -> chunker_dispatch:compress(Binary, Compression, Fallback);
        Error -> Error
    end.

%% @equiv decompress(Data, [])
-spec decompress(iodata()) -> {ok, binary()} | {error, error()}.
decompress(Data) -> decompress(Data, []).

%% @doc Decompresses all of the data: several streams or frames are one content. Truncated and damaged data
%% are errors, and so are trailing bytes by default.
%%
%% <ul>
%% <li>`codec': `auto' (the default: by the first bytes), `zstd', `lz4' (legacy frames too), `xz', `bzip2',
%%     `gzip', `lzma' (.lzma files), or `brotli', whose streams have no magic and which `auto' therefore never
%%     finds.</li>
%% <li>`max_output_size': bytes, or `infinity'; one more is `size_exceeded'. 1 GiB by default.</li>
%% <li>`max_memory': bytes, or `infinity'; the largest window that is allocated. 128 MiB by default. zstd has
%%     windows of up to 2 GiB (`zstd --long=31'), xz and .lzma of up to 4 GiB and brotli of up to 1 GiB; lz4,
%%     bzip2 and gzip never need more than 32 MiB and ignore the limit. Beyond it, `decompression_failed' has
%%     `why' `memory_limit', the `option', the bytes that are `needed', and the `limit'.</li>
%% <li>`trailing': `error' (the default), or `ignore' to ignore bytes after the last stream or frame that
%%     begin no other one, as `bzip2 -d' does. {@link decompress_prefix/2} returns their number. As an error,
%%     `decompression_failed' has `why' `trailing_data' and the `offset' of the first one. The compressed part
%%     of a Linux kernel needs `ignore', since its length follows it.</li>
%% <li>`dictionary': the one that the data was compressed with; zstd and lz4 only. For data that `auto'
%%     detects as another format, `decompression_failed' has `why' `dictionary_inapplicable'.</li>
%% </ul>
-spec decompress(iodata(), options()) -> {ok, binary()} | {error, error()}.
decompress(Data, Options) ->
    Binary = valid(chunker_input:binary(Data), [Data, Options], 1),
    case checked(chunker_options:decompression(Options), [Data, Options], 2) of
        {ok, Decompression} -> chunker_dispatch:decompress(Binary, Decompression);
        Error -> Error
    end.

%% @equiv decompress_prefix(Data, [])
-spec decompress_prefix(iodata()) -> {ok, {Content :: binary(), Ignored :: non_neg_integer()}} | {error, error()}.
decompress_prefix(Data) -> decompress_prefix(Data, []).

%% @doc Decompresses like {@link decompress/2} with `{trailing, ignore}', and returns the number of bytes at the end of
%% the data that were ignored as well. Takes the other options of that function.
-spec decompress_prefix(iodata(), options()) ->
    {ok, {Content :: binary(), Ignored :: non_neg_integer()}} | {error, error()}.
decompress_prefix(Data, Options) ->
    Binary = valid(chunker_input:binary(Data), [Data, Options], 1),
    case checked(chunker_options:decompression_prefix(Options), [Data, Options], 2) of
        {ok, Decompression} -> chunker_dispatch:decompress_prefix(Binary, Decompression);
        Error -> Error
    end.

%% @doc Returns the codec whose format the data begins with, never `brotli', which has no magic. `unknown_format'
%% has the first bytes of the data.
-spec detect_format(iodata()) -> {ok, readable_codec()} | {error, error()}.
detect_format(Data) -> chunker_dispatch:detect_format(valid(chunker_input:binary(Data), [Data], 1)).

%% @equiv compress_batch(Items, [])
-spec compress_batch([iodata()]) -> {ok, [{ok, binary()} | {error, error()}]} | {error, error()}.
compress_batch(Items) -> compress_batch(Items, []).

%% @doc Compresses many items, with a result for each, in order. Options are those of {@link compress/2},
%% without `fallback', and those for many items.
-spec compress_batch([iodata()], options()) -> {ok, [{ok, binary()} | {error, error()}]} | {error, error()}.
compress_batch(Items, Options) ->
    Arguments = [Items, Options],
    Binaries = valid(chunker_input:list(fun chunker_input:binary/1, Items), Arguments, 1),
    case checked(chunker_options:compression_batch(Options), Arguments, 2) of
        {ok, {Compression, Batch}} -> chunker_dispatch:compress_batch(Binaries, Compression, Batch);
        Error -> Error
    end.

%% @equiv decompress_batch(Items, [])
-spec decompress_batch([iodata()]) -> {ok, [{ok, binary()} | {error, error()}]} | {error, error()}.
decompress_batch(Items) -> decompress_batch(Items, []).

%% @doc Decompresses many items, with a result for each, in order. Options are those of {@link decompress/2}
%% and those for many items; `max_output_size' applies to each item.
-spec decompress_batch([iodata()], options()) -> {ok, [{ok, binary()} | {error, error()}]} | {error, error()}.
decompress_batch(Items, Options) ->
    Arguments = [Items, Options],
    Binaries = valid(chunker_input:list(fun chunker_input:binary/1, Items), Arguments, 1),
    case checked(chunker_options:decompression_batch(Options), Arguments, 2) of
        {ok, {Decompression, Batch}} -> chunker_dispatch:decompress_batch(Binaries, Decompression, Batch);
        Error -> Error
    end.

%% @equiv train_dictionary(Samples, [])
-spec train_dictionary([iodata()]) -> {ok, binary()} | {error, error()}.
train_dictionary(Samples) -> train_dictionary(Samples, []).

%% @doc Trains a dictionary for zstd, which lz4 can use too, on samples of the data that will be compressed with it: many small ones, in
%% total a hundred times the dictionary. `max_size' is in bytes, 112,640 by default.
-spec train_dictionary([iodata()], options()) -> {ok, binary()} | {error, error()}.
train_dictionary(Samples, Options) ->
    Arguments = [Samples, Options],
    Binaries = valid(chunker_input:list(fun chunker_input:binary/1, Samples), Arguments, 1),
    case checked(chunker_options:dictionary(Options), Arguments, 2) of
        {ok, MaxSize} -> chunker_dispatch:train_dictionary(Binaries, MaxSize);
        Error -> Error
    end.

%% @equiv compressor([])
-spec compressor() -> {ok, compressor()} | {error, error()}.
compressor() -> compressor([]).

%% @doc Returns a compressor of data that arrives in pieces. Options are those of {@link compress/2} without
%% `fallback'.
%%
%% ```
%% {ok, C} = chunker:compressor([{codec, xz}]),
%% {ok, A} = chunker:compressor_update(C, <<"some ">>),
%% {ok, B} = chunker:compressor_update(C, <<"bytes">>),
%% {ok, D} = chunker:compressor_finish(C),
%% file:write_file("bytes.xz", [A, B, D]).
%% '''
-spec compressor(options()) -> {ok, compressor()} | {error, error()}.
compressor(Options) ->
    case checked(chunker_options:compressor(Options), [Options], 1) of
        {ok, Compression} -> chunker_dispatch:open_compressor(Compression);
        Error -> Error
    end.

%% @doc Compresses the next bytes and returns the output that is ready, which may be empty.
-spec compressor_update(compressor(), iodata()) -> {ok, iodata()} | {error, error()}.
compressor_update(Compressor, Data) ->
    Arguments = [Compressor, Data],
    Binary = valid(chunker_input:binary(Data), Arguments, 2),
    handle(fun(Handle) -> chunker_dispatch:compress_update(Handle, Binary) end, Arguments, ?COMPRESSOR).

%% @doc Returns so much output that all that went in so far can be decompressed, which a peer who waits for a
%% message needs. Each flush costs some bytes and makes the compression worse; bzip2 starts another stream.
-spec compressor_flush(compressor()) -> {ok, iodata()} | {error, error()}.
compressor_flush(Compressor) ->
    handle(fun chunker_dispatch:compress_flush/1, [Compressor], ?COMPRESSOR).

%% @doc Ends the content, returns the rest of the output and closes the compressor.
-spec compressor_finish(compressor()) -> {ok, iodata()} | {error, error()}.
compressor_finish(Compressor) ->
    handle(fun chunker_dispatch:compress_finish/1, [Compressor], ?COMPRESSOR).

%% @doc Frees the memory of a compressor before its end.
-spec compressor_close(compressor()) -> ok.
compressor_close(Compressor) ->
    handle(fun chunker_dispatch:close_compressor/1, [Compressor], ?COMPRESSOR).

%% @equiv decompressor([])
-spec decompressor() -> {ok, decompressor()} | {error, error()}.
decompressor() -> decompressor([]).

%% @doc Returns a decompressor of data that arrives in pieces. Options are those of {@link decompress/2}, but
%% `max_output_size' is `infinity' by default, because the content need not be held as a whole.
-spec decompressor(options()) -> {ok, decompressor()} | {error, error()}.
decompressor(Options) ->
    case checked(chunker_options:decompressor(Options), [Options], 1) of
        {ok, Decompression} -> chunker_dispatch:open_decompressor(Decompression);
        Error -> Error
    end.

%% @doc Decompresses the next bytes and returns the output, which may be empty, or a thousand times the size
%% of the input.
-spec decompressor_update(decompressor(), iodata()) -> {ok, iodata()} | {error, error()}.
decompressor_update(Decompressor, Data) ->
    Arguments = [Decompressor, Data],
    Binary = valid(chunker_input:binary(Data), Arguments, 2),
    handle(fun(Handle) -> decompress_all(Handle, Binary, []) end, Arguments, ?DECOMPRESSOR).

decompress_all(Decompressor, Input, Outputs) ->
    case chunker_dispatch:decompress_update(Decompressor, Input) of
        {ok, Output, {more, Rest}} -> decompress_all(Decompressor, Rest, [Output | Outputs]);
        {ok, Output, done} -> {ok, lists:reverse([Output | Outputs])};
        Error -> Error
    end.

%% @doc Ends the input, which must be complete, and closes the decompressor.
-spec decompressor_finish(decompressor()) -> {ok, iodata()} | {error, error()}.
decompressor_finish(Decompressor) ->
    handle(fun chunker_dispatch:decompress_finish/1, [Decompressor], ?DECOMPRESSOR).

%% @doc Returns the number of bytes after the last stream or frame that were ignored so far, which is 0 without
%% `{trailing, ignore}'. It is final after {@link decompressor_finish/1}, and also known of a closed
%% decompressor.
-spec decompressor_ignored(decompressor()) -> non_neg_integer().
decompressor_ignored(Decompressor) ->
    handle(fun chunker_dispatch:decompress_ignored/1, [Decompressor], ?DECOMPRESSOR).

%% @doc Frees the memory of a decompressor before its end.
-spec decompressor_close(decompressor()) -> ok.
decompressor_close(Decompressor) ->
    handle(fun chunker_dispatch:close_decompressor/1, [Decompressor], ?DECOMPRESSOR).

%% @doc Describes this build of Chunker and its use of this machine. Raises `{invalid_options, Details}' if
%% the environment variable `CHUNKER_KERNEL' asks for a scan kernel that this CPU cannot run.
-spec info() ->
    #{
        version := binary(),
        cpu_features := [binary()],
        kernels := #{scan := binary(), fingerprint := binary()},
        hashes := #{algorithm() => binary()},
        codecs := [readable_codec()],
        threads := pos_integer()
    }.
info() ->
    {ok, Threads} = checked(chunker_options:threads(), [], 1),
    Info =
        case chunker_nif:info() of
            {error, Reason} -> erlang:error(Reason);
            Pairs -> maps:from_list(Pairs)
        end,
    #{version := Version, cpu_features := Features, kernel := Kernel, hashes := Hashes, codecs := Codecs} = Info,
    #{fingerprint := Fingerprint} = Info,
    #{
        version => Version,
        cpu_features => Features,
        kernels => #{scan => Kernel, fingerprint => Fingerprint},
        hashes => maps:from_list(Hashes),
        codecs => Codecs,
        threads => Threads
    }.

%% @doc Returns a digest, or any other binary, as lower-case hexadecimal digits.
-spec to_hex(binary()) -> binary().
to_hex(Bytes) when is_binary(Bytes) -> <<<<(digit(D))>> || <<D:4>> <= Bytes>>.

digit(D) when D < 10 -> $0 + D;
digit(D) -> $a + D - 10.

%% @doc Returns a digest, or any other binary, in the base-32 notation of Nix.
-spec to_nix_base32(binary()) -> binary().
to_nix_base32(Bytes) when is_binary(Bytes) -> chunker_dispatch:to_nix_base32(Bytes).

%% @doc Returns the bytes of a text in Nix's base-32 notation. `invalid_base32' has the `position' of the
%% first invalid character.
-spec from_nix_base32(binary()) -> {ok, binary()} | {error, error()}.
from_nix_base32(Text) when is_binary(Text) -> chunker_dispatch:from_nix_base32(Text).

chunks(Form, {ok, Chunks}) -> {ok, chunker_chunk:list(Form, Chunks)};
chunks(_, Error) -> Error.
