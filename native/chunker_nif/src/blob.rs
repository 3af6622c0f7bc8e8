//! Bytes that the engine made, as binaries.

use rustler::{Env, Resource, ResourceArc, Term};

use crate::failure::text;

/// Up to here bytes are copied: that costs less than a resource.
const SMALL: usize = 8 << 10;

/// Bytes that live in the engine's memory and are freed when no process holds a binary of them any more.
struct Blob(Vec<u8>);

#[rustler::resource_impl]
impl Resource for Blob {}

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
