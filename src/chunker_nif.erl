%% @private
%% The stubs of the NIF, and the loading of its library. The engine is called through `chunker_dispatch'.
-module(chunker_nif).

-on_load(load/0).

-export([info/0, panic/1]).
-export([chunk_data/2, chunk_data_dirty/2, chunk_data_job/3, chunk_file/2, chunk_file_job/3, read_chunk/4]).
-export([restore_references/2, restore_references_dirty/2, restore_references_job/3]).
-export([chunk_files_job/4, hash_batch/3, hash_batch_job/4, compress_batch_job/4, decompress_batch_job/4]).
-export([compress/2, compress_job/3, decompress/2, decompress_job/3, detect_codec/1, detect_codec_dirty/1]).
-export([detect_codec_job/2, train_dictionary_job/3]).
-export([compressor_new/1, compressor_new_job/2, compressor_update/2, compressor_update_job/3]).
-export([compressor_flush/1, compressor_flush_job/2, compressor_finish/1, compressor_finish_job/2]).
-export([compressor_close/1, decompressor_new/1, decompressor_new_job/2, decompressor_update/2]).
-export([decompressor_finish/1, decompressor_ignored/1, decompressor_close/1]).
-export([stream_file/3, stream_file_job/4, stream_pieces/3, stream_pieces_job/4, stream_next/1]).
-export([stream_next_job/2, stream_next_special/1, stream_next_special_job/2, stream_push/2]).
-export([stream_push_job/3, stream_finish/1, stream_finish_job/2, stream_digest/1, stream_close/1]).
-export([cache_new/1, is_cache/1, cache_get/3, cache_get_dirty/3, cache_get_job/4, cache_put/3]).
-export([cache_put_dirty/3, cache_put_job/4, cache_fetch/3, cache_fetch_dirty/3, cache_fetch_job/4]).
-export([cache_stats/1, cache_clear/1]).
-export([hash/2, hash_dirty/2, hash_job/3, hash_cached/2, hash_cached_dirty/2, hash_cached_job/3]).
-export([hash_file/3, hash_file_job/4, special_chunks/3, special_digest/2]).
-export([nar_data/2, nar_data_job/3, nar_file/2, nar_file_job/3, nar_open/1, nar_push/2, nar_push_io/2]).
-export([nar_push_job/3, nar_finish/1, special_nar/2, special_next/1, nar_close/1, nar_chunk_data/2]).
-export([nar_chunk_data_job/3, nar_chunk_file/2, nar_chunk_file_job/3, nar_dump_file_job/5, nar_dump_open/2]).
-export([nar_dump_next/1, nar_dump_close/1]).
-export([nix_base32_encode/1, nix_base32_encode_dirty/1, nix_base32_encode_job/2, nix_base32_decode/1]).
-export([nix_base32_decode_dirty/1, nix_base32_decode_job/2]).
-export([narinfo_parse/1, narinfo_parse_dirty/1, narinfo_to_text/1, narinfo_fingerprint/1, narinfo_sign/2]).
-export([narinfo_verify/2, narinfo_generate_key/1, narinfo_public_key/1]).
-export([store_open_job/3, store_put_file_job/6, store_session_job/2, session_put_file_job/6]).
-export([session_pieces_job/5, pieces_push_job/3, pieces_finish_job/3, pieces_close/1, session_tag_job/4]).
-export([session_commit_job/2, session_close/1]).
-export([store_reader_job/6, store_read_job/6, reader_next_job/2, reader_close/1, store_restore_file_job/6]).
-export([store_restore_tree_job/5, store_entries_job/6, store_manifest_job/3, store_chunks_job/3]).
-export([chunks_next_job/2, chunks_close/1, store_missing_job/3]).
-export([store_tag/2, store_set_tag_job/5, store_remove_tag_job/4, store_forget_job/3, store_tags_job/3]).
-export([store_gc_job/3, store_check_job/4, store_stats_job/2, store_copy_job/5, store_close/1, is_store/1]).

%% What rustler's feature `nif_version_2_15' asks for.
-define(NIF_VERSION, "2.15").

info() -> not_loaded().
panic(_Message) -> not_loaded().

chunk_data(_Data, _Options) -> not_loaded().
chunk_data_dirty(_Data, _Options) -> not_loaded().
chunk_data_job(_Ticket, _Data, _Options) -> not_loaded().
chunk_file(_Path, _Options) -> not_loaded().
chunk_file_job(_Ticket, _Path, _Options) -> not_loaded().
read_chunk(_Path, _Range, _Hash, _References) -> not_loaded().
restore_references(_Data, _References) -> not_loaded().
restore_references_dirty(_Data, _References) -> not_loaded().
restore_references_job(_Ticket, _Data, _References) -> not_loaded().

chunk_files_job(_Ticket, _Paths, _Options, _Batch) -> not_loaded().
hash_batch(_Items, _Digests, _Batch) -> not_loaded().
hash_batch_job(_Ticket, _Items, _Digests, _Batch) -> not_loaded().
compress_batch_job(_Ticket, _Items, _Options, _Batch) -> not_loaded().
decompress_batch_job(_Ticket, _Items, _Options, _Batch) -> not_loaded().

compress(_Data, _Options) -> not_loaded().
compress_job(_Ticket, _Data, _Options) -> not_loaded().
decompress(_Data, _Options) -> not_loaded().
decompress_job(_Ticket, _Data, _Options) -> not_loaded().
detect_codec(_Data) -> not_loaded().
detect_codec_dirty(_Data) -> not_loaded().
detect_codec_job(_Ticket, _Data) -> not_loaded().
train_dictionary_job(_Ticket, _Samples, _Size) -> not_loaded().

compressor_new(_Options) -> not_loaded().
compressor_new_job(_Ticket, _Options) -> not_loaded().
compressor_update(_Coder, _Piece) -> not_loaded().
compressor_update_job(_Ticket, _Coder, _Piece) -> not_loaded().
compressor_flush(_Coder) -> not_loaded().
compressor_flush_job(_Ticket, _Coder) -> not_loaded().
compressor_finish(_Coder) -> not_loaded().
compressor_finish_job(_Ticket, _Coder) -> not_loaded().
compressor_close(_Coder) -> not_loaded().
decompressor_new(_Options) -> not_loaded().
decompressor_new_job(_Ticket, _Options) -> not_loaded().
decompressor_update(_Coder, _Piece) -> not_loaded().
decompressor_finish(_Coder) -> not_loaded().
decompressor_ignored(_Coder) -> not_loaded().
decompressor_close(_Coder) -> not_loaded().

stream_file(_Path, _Options, _Compression) -> not_loaded().
stream_file_job(_Ticket, _Path, _Options, _Compression) -> not_loaded().
stream_pieces(_Options, _Compression, _Whole) -> not_loaded().
stream_pieces_job(_Ticket, _Options, _Compression, _Whole) -> not_loaded().
stream_next(_Stream) -> not_loaded().
stream_next_job(_Ticket, _Stream) -> not_loaded().
stream_next_special(_Stream) -> not_loaded().
stream_next_special_job(_Ticket, _Stream) -> not_loaded().
stream_push(_Stream, _Piece) -> not_loaded().
stream_push_job(_Ticket, _Stream, _Piece) -> not_loaded().
stream_finish(_Stream) -> not_loaded().
stream_finish_job(_Ticket, _Stream) -> not_loaded().
stream_digest(_Stream) -> not_loaded().
stream_close(_Stream) -> not_loaded().

cache_new(_Options) -> not_loaded().
is_cache(_Term) -> not_loaded().
cache_get(_Cache, _Data, _Algorithm) -> not_loaded().
cache_get_dirty(_Cache, _Data, _Algorithm) -> not_loaded().
cache_get_job(_Ticket, _Cache, _Data, _Algorithm) -> not_loaded().
cache_put(_Cache, _Data, _Algorithm) -> not_loaded().
cache_put_dirty(_Cache, _Data, _Algorithm) -> not_loaded().
cache_put_job(_Ticket, _Cache, _Data, _Algorithm) -> not_loaded().
cache_fetch(_Cache, _Data, _Algorithm) -> not_loaded().
cache_fetch_dirty(_Cache, _Data, _Algorithm) -> not_loaded().
cache_fetch_job(_Ticket, _Cache, _Data, _Algorithm) -> not_loaded().
cache_stats(_Cache) -> not_loaded().
cache_clear(_Cache) -> not_loaded().

hash(_Data, _Algorithm) -> not_loaded().
hash_dirty(_Data, _Algorithm) -> not_loaded().
hash_job(_Ticket, _Data, _Algorithm) -> not_loaded().
hash_cached(_Data, _Digests) -> not_loaded().
hash_cached_dirty(_Data, _Digests) -> not_loaded().
hash_cached_job(_Ticket, _Data, _Digests) -> not_loaded().
hash_file(_Path, _Digests, _OnChange) -> not_loaded().
hash_file_job(_Ticket, _Path, _Digests, _OnChange) -> not_loaded().
special_chunks(_Path, _Options, _Whole) -> not_loaded().
special_digest(_Path, _Algorithm) -> not_loaded().

nar_data(_Data, _Wanted) -> not_loaded().
nar_data_job(_Ticket, _Data, _Wanted) -> not_loaded().
nar_file(_Path, _Wanted) -> not_loaded().
nar_file_job(_Ticket, _Path, _Wanted) -> not_loaded().
nar_open(_Wanted) -> not_loaded().
nar_push(_Reader, _Piece) -> not_loaded().
nar_push_io(_Reader, _Piece) -> not_loaded().
nar_push_job(_Ticket, _Reader, _Piece) -> not_loaded().
nar_finish(_Reader) -> not_loaded().
special_nar(_Path, _Wanted) -> not_loaded().
special_next(_File) -> not_loaded().
nar_close(_Reader) -> not_loaded().
nar_chunk_data(_Data, _Options) -> not_loaded().
nar_chunk_data_job(_Ticket, _Data, _Options) -> not_loaded().
nar_chunk_file(_Path, _Options) -> not_loaded().
nar_chunk_file_job(_Ticket, _Path, _Options) -> not_loaded().
nar_dump_file_job(_Ticket, _Path, _Into, _OnChange, _Threads) -> not_loaded().
nar_dump_open(_Path, _OnChange) -> not_loaded().
nar_dump_next(_Dump) -> not_loaded().
nar_dump_close(_Dump) -> not_loaded().

nix_base32_encode(_Bytes) -> not_loaded().
nix_base32_encode_dirty(_Bytes) -> not_loaded().
nix_base32_encode_job(_Ticket, _Bytes) -> not_loaded().
nix_base32_decode(_Text) -> not_loaded().
nix_base32_decode_dirty(_Text) -> not_loaded().
nix_base32_decode_job(_Ticket, _Text) -> not_loaded().

narinfo_parse(_Text) -> not_loaded().
narinfo_parse_dirty(_Text) -> not_loaded().
narinfo_to_text(_Narinfo) -> not_loaded().
narinfo_fingerprint(_Narinfo) -> not_loaded().
narinfo_sign(_Narinfo, _SecretKey) -> not_loaded().
narinfo_verify(_Narinfo, _PublicKeys) -> not_loaded().
narinfo_generate_key(_Name) -> not_loaded().
narinfo_public_key(_SecretKey) -> not_loaded().

store_open_job(_Ticket, _Path, _Options) -> not_loaded().
store_put_file_job(_Ticket, _Store, _Path, _Form, _Target, _Work) -> not_loaded().
store_session_job(_Ticket, _Store) -> not_loaded().
session_put_file_job(_Ticket, _Session, _Path, _Form, _Target, _Work) -> not_loaded().
session_pieces_job(_Ticket, _Session, _Form, _Target, _Threads) -> not_loaded().
pieces_push_job(_Ticket, _Pieces, _Piece) -> not_loaded().
pieces_finish_job(_Ticket, _Session, _Pieces) -> not_loaded().
pieces_close(_Pieces) -> not_loaded().
session_tag_job(_Ticket, _Session, _Name, _Id) -> not_loaded().
session_commit_job(_Ticket, _Session) -> not_loaded().
session_close(_Session) -> not_loaded().

store_reader_job(_Ticket, _Store, _Id, _Within, _Range, _Threads) -> not_loaded().
store_read_job(_Ticket, _Store, _Id, _Within, _Range, _Threads) -> not_loaded().
reader_next_job(_Ticket, _Reader) -> not_loaded().
reader_close(_Reader) -> not_loaded().
store_restore_file_job(_Ticket, _Store, _Id, _Within, _Path, _Work) -> not_loaded().
store_restore_tree_job(_Ticket, _Store, _Id, _Path, _Work) -> not_loaded().
store_entries_job(_Ticket, _Store, _Id, _Path, _Listing, _Threads) -> not_loaded().
store_manifest_job(_Ticket, _Store, _Id) -> not_loaded().
store_chunks_job(_Ticket, _Store, _Id) -> not_loaded().
chunks_next_job(_Ticket, _Chunks) -> not_loaded().
chunks_close(_Chunks) -> not_loaded().
store_missing_job(_Ticket, _Store, _Digests) -> not_loaded().

store_tag(_Store, _Name) -> not_loaded().
store_set_tag_job(_Ticket, _Store, _Name, _Id, _Condition) -> not_loaded().
store_remove_tag_job(_Ticket, _Store, _Name, _Condition) -> not_loaded().
store_forget_job(_Ticket, _Store, _Id) -> not_loaded().
store_tags_job(_Ticket, _Store, _Prefix) -> not_loaded().
store_gc_job(_Ticket, _Store, _Progress) -> not_loaded().
store_check_job(_Ticket, _Store, _Repairs, _Work) -> not_loaded().
store_stats_job(_Ticket, _Store) -> not_loaded().
store_copy_job(_Ticket, _Store, _Other, _Objects, _Work) -> not_loaded().
store_close(_Store) -> not_loaded().
is_store(_Term) -> not_loaded().

%% A first load succeeds even if the library cannot be loaded. A failing `on_load' would leave callers with an
%% `undef' that does not name the cause, and would keep a release in embedded mode from booting. Instead every
%% stub raises the explanation.
%%
%% A reload fails unless the library can be loaded, so that the code that runs is kept, with its streams and
%% caches. The VM refuses to load a library over a running one: rustler registers no `upgrade' callback.
load() ->
    Path = path(),
    case load_nif(Path) of
        ok ->
            _ = persistent_term:erase(?MODULE),
            ok;
        {error, {Reason, Text}} ->
            case is_running() of
                true -> {error, {Reason, unicode:characters_to_binary(Text)}};
                false -> persistent_term:put(?MODULE, explanation(Path, Reason, Text))
            end
    end.

%% Deleted code that is not yet purged counts as a running library. It is purged, unless a process is inside
%% of it.
load_nif(Path) ->
    Release = list_to_integer(erlang:system_info(otp_release)),
    case erlang:load_nif(Path, Release) of
        {error, {upgrade, _}} = Error ->
            case erlang:module_loaded(?MODULE) orelse not code:soft_purge(?MODULE) of
                true -> Error;
                false -> erlang:load_nif(Path, Release)
            end;
        Result ->
            Result
    end.

%% Whether this module is loaded already, with its library.
is_running() -> erlang:module_loaded(?MODULE) andalso persistent_term:get(?MODULE, none) =:= none.

%% Returns the path of the library without its extension, which `load_nif' adds. From an archive, such as an
%% escript, no library can be loaded: there it is the one that CHUNKER_NIF_PATH names, or the one beside the
%% archive.
path() ->
    case archive() of
        none ->
            filename:join(priv(), "chunker_nif");
        Archive ->
            case os:getenv("CHUNKER_NIF_PATH", "") of
                "" -> beside(Archive);
                Library -> filename:rootname(filename:absname(Library), extension())
            end
    end.

%% Returns the path of the library beside an archive, or beside the file that the archive is a link to.
beside(Archive) ->
    Folder = filename:dirname(Archive),
    Library = filename:join(Folder, "chunker_nif"),
    case filelib:is_regular(Library ++ extension()) orelse file:read_link_all(Archive) of
        {ok, Target} -> beside(filename:absname(Target, Folder));
        _ -> Library
    end.

%% Returns the archive that this module comes from: the regular file among the parents of its path.
archive() ->
    case code:which(?MODULE) of
        Beam when is_list(Beam) -> archive(filename:dirname(filename:absname(Beam)));
        _ -> none
    end.

archive(Path) ->
    case {filelib:is_regular(Path), filename:dirname(Path)} of
        {true, _} -> Path;
        {false, Path} -> none;
        {false, Parent} -> archive(Parent)
    end.

priv() ->
    case code:priv_dir(chunker) of
        {error, bad_name} ->
            %% The `ebin' is on the code path under a folder not named `chunker'.
            Beam = filename:absname(code:which(?MODULE)),
            filename:join(filename:dirname(filename:dirname(Beam)), "priv");
        Found ->
            Found
    end.

extension() ->
    case os:type() of
        {win32, _} -> ".dll";
        _ -> ".so"
    end.

explanation(Path, Reason, Text) ->
    Library = Path ++ extension(),
    unicode:characters_to_binary([
        "The native library of Chunker could not be loaded.\n",
        ["  library: ", Library, " (", found(Library), ")\n"],
        ["  here:    ", erlang:system_info(system_architecture)],
        [", Erlang/OTP ", erlang:system_info(otp_release)],
        [", NIF version ", erlang:system_info(nif_version)],
        [" (the library needs ", ?NIF_VERSION, " or a newer 2.x)\n"],
        ["  reason:  ", atom_to_list(Reason), ": ", Text, $\n],
        case archive() of
            none ->
                [
                    "The library is built by `mix compile` or `rebar3 compile`, on and for the machine that runs it; ",
                    "`mix deps.compile chunker --force` builds it anew where Chunker is a dependency."
                ];
            Archive ->
                [
                    Archive, " is an archive, from which no library can be loaded. Put a copy of priv/chunker_nif",
                    extension(), " beside it, or set CHUNKER_NIF_PATH to the path of one."
                ]
        end
    ]).

%% Of a library for processors of another kind, Linux's loader says that there is no such file.
found(Library) ->
    case erl_prim_loader:read_file_info(Library) of
        {ok, Information} -> [integer_to_list(element(2, Information)), " bytes"];
        error -> "missing"
    end.

%% A literal struct: Elixir prints the message with its line breaks, and Erlang sees a map with a `message'.
not_loaded() ->
    erlang:nif_error(#{
        '__struct__' => 'Elixir.RuntimeError',
        '__exception__' => true,
        message => persistent_term:get(
            ?MODULE,
            <<"The native library of Chunker lacks this function: it was built from another version of Chunker.">>
        )
    }).
