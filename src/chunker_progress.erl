%% @private
%% Reports the progress of a call.
%%
%% The engine sends messages. A process of its own calls a function, since the caller is busy.
-module(chunker_progress).

-export([with/2]).

-spec with(chunker_options:progress(), fun((nil | {pid(), reference()}) -> Result)) -> Result.
with(nil, Run) ->
    Run(nil);
with({Pid, Ref}, Run) when node(Pid) =:= node() ->
    Run({Pid, Ref});
%% The engine sends messages to processes of its own node only.
with({Pid, Ref}, Run) ->
    with(fun(Done, Total) -> Pid ! {chunker_progress, Ref, Done, Total} end, Run);
with(Pid, Run) when is_pid(Pid) ->
    with({Pid, make_ref()}, Run);
with(Report, Run) ->
    Ref = make_ref(),
    Caller = self(),
    {Reporter, Monitor} = spawn_monitor(fun() -> report(Report, Ref, monitor(process, Caller)) end),
    try Run({Reporter, Ref}) of
        Result -> stop(Reporter, Monitor, Ref, Result)
    catch
        Class:Reason:Stack ->
            demonitor(Monitor, [flush]),
            Reporter ! {Ref, stop},
            erlang:raise(Class, Reason, Stack)
    end.

stop(Reporter, Monitor, Ref, Result) ->
    Reporter ! {Ref, stop},
    receive
        {'DOWN', Monitor, process, Reporter, normal} -> Result;
        %% An exception of the function is raised in the caller.
        {'DOWN', Monitor, process, Reporter, {Ref, Class, Reason, Stack}} -> erlang:raise(Class, Reason, Stack);
        {'DOWN', Monitor, process, Reporter, Reason} -> exit(Reason)
    end.

report(Report, Ref, Monitor) ->
    receive
        {chunker_progress, Ref, Done, Total} ->
            try
                Report(Done, Total)
            catch
                Class:Reason:Stack -> exit({Ref, Class, Reason, Stack})
            end,
            report(Report, Ref, Monitor);
        {Ref, stop} ->
            ok;
        {'DOWN', Monitor, process, _, _} ->
            ok
    end.
