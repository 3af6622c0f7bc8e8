%% @private
%% Checks the types in narinfos, and converts them to the tuple that the NIF takes, and back.
%%
%% A value of the wrong type is a mistake of the programmer: `{badarg, Message}', which the caller raises. The
%% engine checks what a field holds.
-module(chunker_narinfo_form).

-export([to_form/1, from_form/1, keys/1]).
-export_type([form/0]).

-type form() :: tuple().

%% The fields in the order of the form, with their defaults, `required' for those without, and types.
-define(FIELDS, [
    {store_path, required, text},
    {url, required, text},
    {compression, required, text},
    {file_hash, nil, text},
    {file_size, nil, integer},
    {nar_hash, required, text},
    {nar_size, required, integer},
    {references, [], texts},
    {deriver, nil, text},
    {system, nil, text},
    {ca, nil, text},
    {sigs, [], texts},
    {extra, [], pairs}
]).

-spec to_form(term()) -> {ok, form()} | {badarg, chunker_badarg:message()}.
to_form(Narinfo) when is_map(Narinfo) ->
    case maps:keys(maps:without([Name || {Name, _, _} <- ?FIELDS], Narinfo)) of
        [] -> values(?FIELDS, Narinfo, []);
        [Unknown | _] -> {badarg, ["unknown field ", {term, Unknown}, "; those that Nix does not know belong into ", {term, extra}]}
    end;
to_form(_) ->
    {badarg, ["a narinfo must be a map"]}.

values([{Name, Default, Type} | Fields], Narinfo, Values) ->
    case maps:get(Name, Narinfo, Default) of
        required ->
            {badarg, ["field ", {term, Name}, " is missing"]};
        None when Default =:= nil, None =:= nil orelse None =:= undefined ->
            values(Fields, Narinfo, [nil | Values]);
        Value ->
            case is(Type, Value) of
                true -> values(Fields, Narinfo, [Value | Values]);
                false -> {badarg, ["field ", {term, Name}, " must be ", a(Type), ", not ", {term, Value}]}
            end
    end;
values([], _, Values) ->
    {ok, list_to_tuple(lists:reverse(Values))}.

-spec from_form(form()) -> #{atom() => term()}.
from_form(Form) -> maps:from_list(lists:zip([Name || {Name, _, _} <- ?FIELDS], tuple_to_list(Form))).

%% Public keys, of which one may stand for a list of one.
-spec keys(term()) -> {ok, [binary()]} | {badarg, chunker_badarg:message()}.
keys(Key) when is_binary(Key) -> {ok, [Key]};
keys(Keys) ->
    case is(texts, Keys) of
        true -> {ok, Keys};
        false -> {badarg, ["public keys must be ", a(texts), ", not ", {term, Keys}]}
    end.

is(text, Value) -> is_binary(Value);
is(integer, Value) -> is_integer(Value);
is(texts, Value) -> is_list_of(fun is_binary/1, Value);
is(pairs, Value) -> is_list_of(fun is_pair/1, Value).

is_pair({Name, Value}) -> is_binary(Name) andalso is_binary(Value);
is_pair(_) -> false.

is_list_of(Is, [Item | Rest]) -> Is(Item) andalso is_list_of(Is, Rest);
is_list_of(_, Tail) -> Tail =:= [].

a(text) -> "a binary";
a(integer) -> "an integer";
a(texts) -> "a list of binaries";
a(pairs) -> "a list of pairs of binaries".
