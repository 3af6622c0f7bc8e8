//! The frame of all NIFs: panics become exceptions, the death of the caller cancels its call, and twins run
//! on two kinds of scheduler.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use chunker::engine::workers::yield_to_other_threads;
use rustler::types::atom::Atom;
use rustler::{Encoder, Env, NifResult, Term};

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

/// Returns whether the calling process has died, which cancels its call.
///
/// Each check also yields the core to other threads: see [`yield_to_other_threads`].
pub(crate) fn caller_died(env: Env<'_>) -> impl Fn() -> bool {
    let caller = env.pid();
    move || {
        yield_to_other_threads();
        !caller.is_alive(env)
    }
}

/// The kind of scheduler that a call runs on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheduler {
    /// One of those that run processes, which a call may hold for a millisecond.
    Plain,
    Dirty,
}

impl Scheduler {
    /// Returns whether the caller has died. A call on a plain scheduler is over before that matters.
    pub(crate) fn is_cancelled(self, env: Env<'_>) -> impl Fn() -> bool {
        let died = caller_died(env);
        move || self == Self::Dirty && died()
    }
}

/// Defines a NIF twice: the first name for short inputs on a plain scheduler, the second one for a dirty CPU
/// scheduler.
///
/// The parameter is called `env` because the code that rustler generates refers to it by that name, which
/// macro hygiene would hide if the caller of the macro chose it.
macro_rules! twins {
    ($(#[$doc:meta])* fn $plain:ident, $dirty:ident($env:ident, $scheduler:ident; $($arguments:tt)*) $body:block) => {
        $(#[$doc])*
        #[rustler::nif]
        fn $plain<'a>(env: rustler::Env<'a>, $($arguments)*) -> rustler::NifResult<rustler::Term<'a>> {
            let ($env, $scheduler) = (env, $crate::call::Scheduler::Plain);
            $crate::call::guard($env, || $body)
        }

        $(#[$doc])*
        #[rustler::nif(schedule = "DirtyCpu")]
        fn $dirty<'a>(env: rustler::Env<'a>, $($arguments)*) -> rustler::NifResult<rustler::Term<'a>> {
            let ($env, $scheduler) = (env, $crate::call::Scheduler::Dirty);
            $crate::call::guard($env, || $body)
        }
    };
}
pub(crate) use twins;

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
