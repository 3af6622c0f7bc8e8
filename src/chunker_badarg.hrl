%% Raises mistakes of the caller as `badarg', with what the shell and the logger need to explain them.
%%
%% The exception names the function that was called, with its arguments. It is therefore raised in that
%% function: by a macro, or by functions that are inlined there.
-compile({inline, [valid/3, checked/3, handle/3]}).
-compile({nowarn_unused_function, [valid/3, checked/3, handle/3]}).

-define(BADARG(Arguments, Position, Message),
    erlang:error(badarg, Arguments, [{error_info, #{cause => {Position, Message}, module => chunker_badarg}}])
).

%% Returns the value that has passed a check.
valid({ok, Value}, _, _) -> Value;
valid({badarg, Message}, Arguments, Position) -> ?BADARG(Arguments, Position, Message).

%% The same, for checks that may fail in other ways.
checked({badarg, Message}, Arguments, Position) -> ?BADARG(Arguments, Position, Message);
checked(Result, _, _) -> Result.

%% Calls the NIF with its first argument as a handle. The other arguments have been checked, so that a
%% `badarg' is about the handle.
handle(Call, [Handle | _] = Arguments, What) ->
    try
        Call(Handle)
    catch
        error:badarg -> ?BADARG(Arguments, 1, {expected, What, Handle})
    end.
