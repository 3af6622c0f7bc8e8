//! Replaces stores in a build without them.

use rustler::Term;

use crate::call::nif;

nif! {
    /// An error: without this function, no other can be called, since none has a store.
    job store_open_job => fn(_call, _path: Term<'a>, _options: Term<'a>) {
        Err(chunker::Error::Disabled { name: "store" }.into())
    }
}

/// Returns that a term is no store.
#[rustler::nif]
fn is_store(_term: Term<'_>) -> bool {
    false
}
