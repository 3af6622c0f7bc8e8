%% @doc Narinfos of Nix's binary caches, for Erlang: read, written, signed and verified.
%%
%% These are the functions of the Elixir module `Chunker.NarInfo', under the same names.
%%
%% ```
%% {ok, Text} = file:read_file("cache/00bgd045z0d4icpbc2yyz4gx48ak44la.narinfo"),
%% {ok, Narinfo} = chunker_narinfo:parse(Text),
%% {ok, <<"cache.example.org-1">>} =
%%     chunker_narinfo:verify(Narinfo, [<<"cache.example.org-1:A9eVOWv5dbsROCEn/EO3jceQPzYrEiOyRF/+HDVS9pk=">>]).
%% '''
%%
%% A narinfo is a map. A field that is not there is `nil' in what is read; `undefined' will do too in what is
%% given, and so will leaving it out. A value of the wrong type raises `badarg'. Errors are `{error,
%% {invalid_narinfo, #{field => <<"NarHash">>, why => bad_hash}}}' and so on.
-module(chunker_narinfo).

-export([parse/1, to_string/1, fingerprint/1]).
-export([generate_key/1, public_key/1, sign/2, verify/2]).
-export_type([narinfo/0, key_pair/0]).

-include("chunker_badarg.hrl").

-type narinfo() :: #{
    store_path := binary(),
    url := binary(),
    compression := binary(),
    nar_hash := binary(),
    nar_size := pos_integer(),
    file_hash => nil | undefined | binary(),
    file_size => nil | undefined | non_neg_integer(),
    references => [binary()],
    deriver => nil | undefined | binary(),
    system => nil | undefined | binary(),
    ca => nil | undefined | binary(),
    sigs => [binary()],
    extra => [{Name :: binary(), Value :: binary()}]
}.
-type key_pair() :: #{secret_key := binary(), public_key := binary()}.

%% @doc Reads the text of a narinfo file.
%%
%% Errors: `invalid_narinfo' with `why', and `line' or `field'; `buffer_limit_exceeded' for more than 8 MiB.
-spec parse(iodata()) -> {ok, narinfo()} | {error, chunker:error()}.
parse(Text) ->
    shape(chunker_dispatch:parse_narinfo(valid(chunker_input:binary(Text), [Text], 1))).

%% @doc The text of a narinfo file, as Nix writes it.
-spec to_string(narinfo()) -> {ok, binary()} | {error, chunker:error()}.
to_string(Narinfo) ->
    chunker_dispatch:narinfo_text(valid(chunker_narinfo_form:to_form(Narinfo), [Narinfo], 1)).

%% @doc The text that is signed: the store path, the hash and size of the NAR, and the references.
-spec fingerprint(narinfo()) -> {ok, binary()} | {error, chunker:error()}.
fingerprint(Narinfo) ->
    chunker_dispatch:narinfo_fingerprint(valid(chunker_narinfo_form:to_form(Narinfo), [Narinfo], 1)).

%% @doc A new pair of keys of that name. The name must not be empty or have spaces, control characters or
%% colons in it, else `invalid_key'.
-spec generate_key(binary()) -> {ok, key_pair()} | {error, chunker:error()}.
generate_key(Name) when is_binary(Name) ->
    case chunker_dispatch:generate_key(Name) of
        {ok, {Secret, Public}} -> {ok, #{secret_key => Secret, public_key => Public}};
        Error -> Error
    end;
generate_key(Name) ->
    ?BADARG([Name], 1, {expected, <<"a binary">>, Name}).

%% @doc The public key of a secret one.
-spec public_key(binary()) -> {ok, binary()} | {error, chunker:error()}.
public_key(SecretKey) when is_binary(SecretKey) -> chunker_dispatch:public_key(SecretKey);
%% An exception may be logged, so it does not hold the secret.
public_key(_) -> ?BADARG([secret], 1, ["the key must be a binary"]).

%% @doc The narinfo with the signature of that key. Errors: `invalid_key' and `invalid_narinfo'.
-spec sign(narinfo(), SecretKey :: binary()) -> {ok, narinfo()} | {error, chunker:error()}.
sign(Narinfo, SecretKey) when is_binary(SecretKey) ->
    shape(chunker_dispatch:sign_narinfo(valid(chunker_narinfo_form:to_form(Narinfo), [Narinfo, secret], 1), SecretKey));
sign(Narinfo, _) ->
    ?BADARG([Narinfo, secret], 2, ["the key must be a binary"]).

%% @doc The name of the first signature that one of the public keys verifies.
%%
%% Errors: `invalid_signature' with `why' (`unsigned', `mismatch', `bad_base64', `wrong_length');
%% `invalid_key', for a key that is none and, with `unknown_name', if no signature has the name of any;
%% `invalid_narinfo'.
-spec verify(narinfo(), PublicKeys :: binary() | [binary()]) -> {ok, KeyName :: binary()} | {error, chunker:error()}.
verify(Narinfo, PublicKeys) ->
    Arguments = [Narinfo, PublicKeys],
    Form = valid(chunker_narinfo_form:to_form(Narinfo), Arguments, 1),
    chunker_dispatch:verify_narinfo(Form, valid(chunker_narinfo_form:keys(PublicKeys), Arguments, 2)).

shape({ok, Form}) -> {ok, chunker_narinfo_form:from_form(Form)};
shape(Error) -> Error.
