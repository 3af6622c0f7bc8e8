//! Bytes that the engine made, as binaries.

use chunker::recycling::Recycled;
use rustler::{Env, Resource, ResourceArc, Term};

use crate::failure::text;

/// Up to here bytes are copied: that costs less than a resource.
const SMALL: usize = 8 << 10;

/// Bytes that live in the engine's memory and are freed when no process holds a binary of them any more.
struct Blob(Vec<u8>);

#[rustler::resource_impl]
impl Resource for Blob {}

/// The same in memory that is used again then.
struct Loan(Recycled);

#[rustler::resource_impl]
impl Resource for Loan {}

/// A binary of `bytes`, which are not copied if there are many.
pub(crate) fn recycled<'a>(env: Env<'a>, bytes: Recycled) -> Term<'a> {
    if bytes.len() <= SMALL {
        return text(env, &bytes);
    }
    ResourceArc::new(Loan(bytes)).make_binary(env, |loan| &loan.0).into()
}

/// A binary of `bytes`, which are not copied if there are many.
pub(crate) fn binary<'a>(env: Env<'a>, mut bytes: Vec<u8>) -> Term<'a> {
    if bytes.len() <= SMALL {
        return text(env, &bytes);
    }
    // The unused end of a large buffer is given back in place.
    if bytes.capacity() - bytes.len() > bytes.len() / 8 {
        bytes.shrink_to_fit();
    }
    ResourceArc::new(Blob(bytes)).make_binary(env, |blob| &blob.0).into()
}
