%% @private
%% Mistakes of the caller, which the Erlang face raises as `badarg' and the Elixir face as `ArgumentError'.
%%
%% A message is text with terms in it, which each language prints in its own notation.
-module(chunker_badarg).

-export([format_error/2]).
-export_type([message/0]).

-type message() ::
    {expected, What :: binary(), Got :: term()}
    %% A piece of a source, which is not iodata.
    | {piece, Got :: term()}
    | [iodata() | {term, term()} | {terms, [term()]}]
    %% The application's environment is wrong, and no argument of the call.
    | {general, message()}.

%% What the shell and the logger print of a `badarg' that `chunker_badarg.hrl' raises.
-spec format_error(term(), [tuple()]) -> #{general | pos_integer() => unicode:chardata()}.
format_error(badarg, [{_, _, _, Info} | _]) ->
    case proplists:get_value(error_info, Info) of
        #{cause := {_, {general, Message}}} -> #{general => text(Message)};
        #{cause := {Position, Message}} -> #{Position => text(Message)};
        _ -> #{}
    end.

%% The shell prints the arguments beside it.
text({expected, What, _}) -> <<"must be ", What/binary>>;
text({piece, _}) -> <<"its source must give iodata">>;
text(Parts) -> unicode:characters_to_binary([part(Part) || Part <- Parts]).

part({term, Term}) -> io_lib:format("~0tp", [Term]);
part({terms, Terms}) -> lists:join(", ", [part({term, Term}) || Term <- Terms]);
part(Text) -> Text.
