//! What stands around each call: panics become exceptions, and a caller that died stops its work.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use chunker::engine::workers::yield_to_other_threads;
use rustler::types::atom::Atom;
use rustler::{Encoder, Env, NifResult, Term};

use crate::error::{NifError, atom, text};

/// Runs the body of a NIF. A failure becomes `{error, {Reason, Details}}`, and a panic an exception in the caller, with
/// the panic's message: the VM lives on.
pub(crate) fn guard<'a>(
    env: Env<'a>,
    body: impl FnOnce() -> Result<Term<'a>, NifError<'a>>,
) -> NifResult<Term<'a>> {
    // What the body leaves half done is its own and goes with it; streams close themselves on a panic.
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(term)) => Ok(term),
        Ok(Err(failure)) => Ok(failure.to_term(env)),
        Err(panic) => Err(rustler::Error::RaiseTerm(Box::new(Panic(message(&*panic))))),
    }
}

/// Whether the calling process has died; its work is then to be given up.
///
/// Who asks also lets others have the core: see [`yield_to_other_threads`].
pub(crate) fn caller_died(env: Env<'_>) -> impl Fn() -> bool {
    let caller = env.pid();
    move || {
        yield_to_other_threads();
        !caller.is_alive(env)
    }
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

/// Panics. There is no other way to show that a panic is survived.
#[rustler::nif]
fn panic<'a>(env: Env<'a>, message: String) -> NifResult<Term<'a>> {
    guard(env, || panic!("{message}"))
}
