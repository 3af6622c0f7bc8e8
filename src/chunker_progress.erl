%% @private
%% Reports the progress of a call.
%%
%% The engine sends messages. A process of its own calls a function, since the caller is busy.
-module(chunker_progress).

-export([with/2, start/2, report/2, finish/2]).
-export_type([receiver/0, reporting/0]).

%% What the engine takes.
-type receiver() :: nil | {pid(), reference()}.

%% The progress of what Erlang does piece by piece.
-opaque reporting() :: {receiver(), Total :: nil | non_neg_integer(), Due :: integer()}.

-spec with(chunker_options:progress(), fun((receiver()) -> Result)) -> Result.
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

%% Reports as the engine does: nothing at the start, everything at the end, and in between at most ten times a second.
-spec start(receiver(), nil | non_neg_integer()) -> reporting().
start(To, Total) ->
    send(To, 0, Total),
    {To, Total, due()}.

-spec report(non_neg_integer(), reporting()) -> reporting().
report(_, {nil, _, _} = Reporting) ->
    Reporting;
report(Done, {To, Total, Due} = Reporting) ->
    %% Any number is less than the atom `nil'.
    case Done < Total andalso erlang:monotonic_time(millisecond) >= Due of
        true ->
            send(To, Done, Total),
            {To, Total, due()};
        false ->
            Reporting
    end.

-spec finish(non_neg_integer(), reporting()) -> ok.
finish(Total, {_, Total, _}) when Total =:= 0 -> ok;
finish(Done, {To, _, _}) -> send(To, Done, Done).

send(nil, _, _) ->
    ok;
send({Pid, Ref}, Done, Total) ->
    Pid ! {chunker_progress, Ref, Done, Total},
    ok.

due() -> erlang:monotonic_time(millisecond) + 100.
