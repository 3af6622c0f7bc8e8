//! Digests of whole inputs, and their notation.

use chunker::hash::nix_base32;
use chunker::io::file::Input;
use rustler::{Binary, Encoder, Env, NifResult, Term};

use crate::atoms;
use crate::binary::text;
use crate::call::{caller_died, guard, ok, twins};
use crate::chunking::regular;
use crate::error::NifError;
use crate::options::{Digests, Hash, OnChangeName};

twins! {
    /// Returns the digest.
    fn hash, hash_dirty(env, scheduler; data: Binary<'a>, algorithm: Hash) {
        Ok(text(env, &algorithm.algorithm()?.hash_cancellable(&data, &scheduler.is_cancelled(env))?.0))
    }
}

twins! {
    /// Returns the digest, which may be looked up in a cache.
    fn hash_cached, hash_cached_dirty(env, scheduler; data: Binary<'a>, digests: Digests) {
        Ok(text(env, &digests.digester()?.digest_cancellable(&data, &scheduler.is_cancelled(env))?.0))
    }
}

/// `{ok, Digest}`, or `special` for a non-seekable file, for `special_digest`.
#[rustler::nif(schedule = "DirtyCpu")]
fn hash_file<'a>(
    env: Env<'a>,
    path: Binary<'a>,
    digests: Digests,
    on_change: OnChangeName,
) -> NifResult<Term<'a>> {
    guard(env, || match regular(&path, on_change.into())? {
        None => Ok(atoms::special().encode(env)),
        Some(input) => hash_input(env, input, &digests),
    })
}

fn hash_input<'a>(env: Env<'a>, input: Input, digests: &Digests) -> Result<Term<'a>, NifError<'a>> {
    let digest = digests.digester()?.digest_file(input, &caller_died(env))?;
    ok(env, text(env, &digest.0))
}

twins! {
    /// Returns the text.
    fn nix_base32_encode, nix_base32_encode_dirty(env, _scheduler; bytes: Binary<'a>) {
        Ok(text(env, nix_base32::encode(&bytes).as_bytes()))
    }
}

twins! {
    /// `{ok, Bytes}`
    fn nix_base32_decode, nix_base32_decode_dirty(env, _scheduler; characters: Binary<'a>) {
        ok(env, text(env, &nix_base32::decode(&characters).map_err(NifError::Base32)?))
    }
}
