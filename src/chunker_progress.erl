%% @private
%% Tells whoever wants to know how far a call is.
%%
%% The engine sends messages. A function is called by a process of its own, since the caller is busy.
-module(chunker_progress).

-export([with/2]).

-spec with(chunker_options:progress(), fun((nil | {pid(), reference()}) -> Result)) -> Result.
with(nil, Run) ->
    Run(nil);
with({Pid, Ref}, Run) when node(Pid) =:= node() ->
    Run({Pid, Ref});
%% The engine reaches the processes of its own node only.
with({Pid, Ref}, Run) ->
    with(fun(Done, Total) -> Pid ! {chunker_progress, Ref, Done, Total} end, Run);
with(Pid, Run) when is_pid(Pid) ->
    with({Pid, make_ref()}, Run);
with(Tell, Run) ->
    Ref = make_ref(),
    Caller = self(),
    {Teller, Monitor} = spawn_monitor(fun() -> tell(Tell, Ref, monitor(process, Caller)) end),
    try Run({Teller, Ref}) of
        Result -> stop(Teller, Monitor, Ref, Result)
    catch
        Class:Reason:Stack ->
            demonitor(Monitor, [flush]),
            Teller ! {Ref, stop},
            erlang:raise(Class, Reason, Stack)
    end.

stop(Teller, Monitor, Ref, Result) ->
    Teller ! {Ref, stop},
    receive
        {'DOWN', Monitor, process, Teller, normal} -> Result;
        %% The function's own failure is the caller's.
        {'DOWN', Monitor, process, Teller, {Ref, Class, Reason, Stack}} -> erlang:raise(Class, Reason, Stack);
        {'DOWN', Monitor, process, Teller, Reason} -> exit(Reason)
    end.

tell(Tell, Ref, Monitor) ->
    receive
        {chunker_progress, Ref, Done, Total} ->
            try
                Tell(Done, Total)
            catch
                Class:Reason:Stack -> exit({Ref, Class, Reason, Stack})
            end,
            tell(Tell, Ref, Monitor);
        {Ref, stop} ->
            ok;
        {'DOWN', Monitor, process, _, _} ->
            ok
    end.
