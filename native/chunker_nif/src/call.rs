//! The frame of all NIFs: panics become exceptions, the death of the caller cancels its call, and a function
//! runs in one of several places.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use chunker::engine::workers::yield_to_other_threads;
use rustler::types::atom::Atom;
use rustler::{Encoder, Env, LocalPid, NifResult, Term};

use crate::atoms;
use crate::binary::text;
use crate::error::{NifError, atom};

/// Runs the body of a NIF. An error becomes `{error, {Reason, Details}}`, and a panic an exception in the
/// caller, with the message of the panic.
pub(crate) fn guard<'a>(
    env: Env<'a>,
    body: impl FnOnce() -> Result<Term<'a>, NifError<'a>>,
) -> NifResult<Term<'a>> {
    // No state outlives a panic: the body owns it, and a slot stays empty.
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(term)) => Ok(term),
        Ok(Err(failure)) => Ok(failure.to_term(env)),
        Err(panic) => Err(rustler::Error::RaiseTerm(Box::new(Panic(message(&*panic))))),
    }
}

/// Where a call runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// On a scheduler that runs processes, which a call may hold for a millisecond.
    Plain,
    /// On a dirty scheduler, which a call may hold for some ten milliseconds.
    Dirty,
    /// In a thread of [`jobs`](crate::jobs), for as long as it takes.
    Job,
}

/// A call: the environment of its terms, the process that waits for it, and where it runs.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) env: Env<'a>,
    caller: LocalPid,
    pub(crate) place: Place,
}

impl<'a> Call<'a> {
    pub(crate) const fn new(env: Env<'a>, caller: LocalPid, place: Place) -> Self {
        Self { env, caller, place }
    }

    /// Returns a call on the scheduler of its caller.
    pub(crate) fn plain(env: Env<'a>) -> Self {
        Self::new(env, env.pid(), Place::Plain)
    }

    /// Returns a call on a dirty scheduler.
    pub(crate) fn dirty(env: Env<'a>) -> Self {
        Self::new(env, env.pid(), Place::Dirty)
    }

    /// Returns whether the calling process has died, which cancels its call. A call on a plain scheduler is
    /// over before that matters.
    ///
    /// Each check also yields the core to other threads: see [`yield_to_other_threads`].
    pub(crate) fn is_cancelled(self) -> impl Fn() -> bool + 'a {
        move || {
            if self.place == Place::Plain {
                return false;
            }
            yield_to_other_threads();
            !self.caller.is_alive(self.env)
        }
    }
}

/// Defines a function under several names, one for each place where it can run:
///
/// * `plain` is for short inputs,
/// * `dirty` for those that take up to some ten milliseconds, and `io` for those that wait for a disk
///   instead,
/// * `job` for longer ones. It takes a ticket as its first argument: see [`jobs::start`](crate::jobs::start).
/// * `list_job` is a job too, and starts on a dirty scheduler, since copying a long list takes milliseconds.
///
/// `chunker_dispatch` chooses between them. The parameter is called `env` because the code that rustler
/// generates refers to it by that name, which macro hygiene would hide if the caller of the macro chose it.
macro_rules! nif {
    ($(#[$doc:meta])* $($place:ident $name:ident),+ => fn $arguments:tt $body:block) => {
        const _: () = {
            $crate::call::nif!(@body $(#[$doc])* $arguments $body);
            $($crate::call::nif!(@$place $name $arguments);)+
        };
    };
    (@body $(#[$doc:meta])* ($call:ident $(, $argument:ident: $type:ty)* $(,)?) $body:block) => {
        $(#[$doc])*
        fn body<'a>(
            $call: $crate::call::Call<'a>
            $(, $argument: $type)*
        ) -> Result<rustler::Term<'a>, $crate::error::NifError<'a>> $body

        fn decoded<'a>(
            $call: $crate::call::Call<'a>
            $(, $argument: rustler::Term<'a>)*
        ) -> rustler::NifResult<rustler::Term<'a>> {
            $(let $argument: $type = $argument.decode()?;)*
            $crate::call::guard($call.env, || body($call $(, $argument)*))
        }
    };
    (@plain $name:ident $arguments:tt) => {
        $crate::call::nif!(@call plain rustler::nif, $name $arguments);
    };
    (@dirty $name:ident $arguments:tt) => {
        $crate::call::nif!(@call dirty rustler::nif(schedule = "DirtyCpu"), $name $arguments);
    };
    (@io $name:ident $arguments:tt) => {
        $crate::call::nif!(@call dirty rustler::nif(schedule = "DirtyIo"), $name $arguments);
    };
    (@job $name:ident $arguments:tt) => {
        $crate::call::nif!(@start rustler::nif, $name $arguments);
    };
    (@list_job $name:ident $arguments:tt) => {
        $crate::call::nif!(@start rustler::nif(schedule = "DirtyCpu"), $name $arguments);
    };
    (@call $place:ident $attribute:meta, $name:ident ($call:ident $(, $argument:ident: $type:ty)* $(,)?)) => {
        #[$attribute]
        fn $name<'a>(
            env: rustler::Env<'a>
            $(, $argument: rustler::Term<'a>)*
        ) -> rustler::NifResult<rustler::Term<'a>> {
            decoded($crate::call::Call::$place(env) $(, $argument)*)
        }
    };
    (@start $attribute:meta, $name:ident ($call:ident $(, $argument:ident: $type:ty)* $(,)?)) => {
        #[$attribute]
        fn $name<'a>(
            env: rustler::Env<'a>,
            ticket: $crate::jobs::Ticket<'a>
            $(, $argument: rustler::Term<'a>)*
        ) -> rustler::NifResult<rustler::Term<'a>> {
            $crate::call::guard(env, || {
                $crate::jobs::start(env, ticket, vec![$($argument),*], |call, arguments| {
                    let mut arguments = arguments.into_iter();
                    $(let $argument = arguments.next().ok_or(rustler::Error::BadArg)?;)*
                    decoded(call $(, $argument)*)
                })
            })
        }
    };
}
pub(crate) use nif;

/// Returns `{ok, Value}`.
pub(crate) fn ok<'a>(env: Env<'a>, value: impl Encoder) -> Result<Term<'a>, NifError<'a>> {
    Ok((atoms::ok(), value).encode(env))
}

/// A `Chunker.PanicError`.
struct Panic(String);

impl Encoder for Panic {
    fn encode<'a>(&self, env: Env<'a>) -> Term<'a> {
        let fields = [
            ("__struct__", atom(env, "Elixir.Chunker.PanicError")),
            ("__exception__", Atom::from_bytes(env, b"true").expect("an atom").to_term(env)),
            ("message", text(env, self.0.as_bytes())),
        ];
        let fields: Vec<_> = fields.into_iter().map(|(name, value)| (atom(env, name), value)).collect();
        Term::map_from_pairs(env, &fields).expect("the names of the fields differ")
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}

/// Panics. No other function of a correct library can show that the VM survives a panic, so test builds have
/// this one.
#[cfg(feature = "panic")]
#[rustler::nif]
fn panic<'a>(env: Env<'a>, message: String) -> NifResult<Term<'a>> {
    guard(env, || panic!("{message}"))
}
