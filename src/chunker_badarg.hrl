%% Mistakes of the caller, raised as the shell and the logger explain them.
%%
%% The exception is to name the function that was called, with its arguments. So it is raised in that function: by a macro,
%% or by functions that are inlined there.
-export([format_error/2]).
-compile({inline, [valid/3, checked/3, handle/3]}).
-compile({nowarn_unused_function, [valid/3, checked/3, handle/3]}).

-define(BADARG(Arguments, Position, Message),
    erlang:error(badarg, Arguments, [{error_info, #{cause => {Position, Message}}}])
).

%% The value that has passed a check.
valid({ok, Value}, _, _) -> Value;
valid({badarg, Message}, Arguments, Position) -> ?BADARG(Arguments, Position, Message).

%% The same, for what may have failed in other ways.
checked({badarg, Message}, Arguments, Position) -> ?BADARG(Arguments, Position, Message);
checked(Result, _, _) -> Result.

%% Calls the NIF with what should be a handle of it. All else has been checked, so that this is what it refuses.
handle(Call, Arguments, Message) ->
    try
        Call()
    catch
        error:badarg -> ?BADARG(Arguments, 1, Message)
    end.

%% @private
%% What the shell and the logger print of a `badarg' raised here.
format_error(badarg, [{_, _, _, Info} | _]) ->
    case proplists:get_value(error_info, Info) of
        %% A wrong configuration is the fault of no argument.
        #{cause := {_, {general, Message}}} -> #{general => Message};
        #{cause := {Position, Message}} -> #{Position => Message};
        _ -> #{}
    end.
