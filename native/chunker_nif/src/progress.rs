//! Reports progress to a process.

use rustler::{LocalPid, Reference, Term};

use crate::atoms;
use crate::call::Call;

/// Returns what sends `{chunker_progress, Ref, Done, Total | nil}` to the receiver `{Pid, Ref}`, or `None`
/// for any other term, which is `nil`.
pub(crate) fn reporter<'a>(call: Call<'a>, to: Term<'a>) -> Option<impl Fn(u64, Option<u64>) + 'a> {
    let (pid, reference): (LocalPid, Reference<'a>) = to.decode().ok()?;
    Some(move |done: u64, total: Option<u64>| {
        // A message to a process that has died is dropped.
        let _ = call.env.send(&pid, (atoms::chunker_progress(), Term::from(reference), done, total));
    })
}
