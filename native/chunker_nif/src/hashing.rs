//! Digests of whole inputs, and their notation.

use chunker::hash::{Hasher, nix_base32};
use chunker::io::file::Input;
use chunker::io::source::Source;
use rustler::{Binary, Encoder, Env, NifResult, Resource, ResourceArc, Term};

use crate::atoms;
use crate::binary::text;
use crate::call::{caller_died, guard, ok, twins};
use crate::chunking::{regular, to_path};
use crate::error::NifError;
use crate::options::Hash;
use crate::slot::Slot;

twins! {
    /// Returns the digest.
    fn hash, hash_dirty(env, scheduler; data: Binary<'a>, algorithm: Hash) {
        Ok(text(env, &algorithm.algorithm()?.hash_cancellable(&data, &scheduler.is_cancelled(env))?.0))
    }
}

/// `{ok, Digest}`, or `special` for a non-seekable file, which is hashed step by step.
#[rustler::nif(schedule = "DirtyCpu")]
fn hash_file<'a>(env: Env<'a>, path: Binary<'a>, algorithm: Hash) -> NifResult<Term<'a>> {
    guard(env, || match regular(&path)? {
        None => Ok(atoms::special().encode(env)),
        Some(input) => hash_input(env, input, algorithm),
    })
}

/// A special file, and the digest of what it has given so far.
type HashStream = Slot<(Input, Hasher)>;

#[rustler::resource_impl]
impl Resource for HashStream {}

/// `{ok, Stream}`
#[rustler::nif(schedule = "DirtyIo")]
fn hash_special_open<'a>(env: Env<'a>, path: Binary<'a>, algorithm: Hash) -> NifResult<Term<'a>> {
    guard(env, || {
        let hasher = Hasher::new(algorithm.algorithm()?);
        ok(env, ResourceArc::new(Slot::new((Input::open(&to_path(&path))?, hasher))))
    })
}

/// `{ok, Digest}` at the end of the file, or `wait` until more of it is sent.
#[rustler::nif(schedule = "DirtyIo")]
fn hash_special_next<'a>(env: Env<'a>, stream: ResourceArc<HashStream>) -> NifResult<Term<'a>> {
    guard(env, || {
        let (mut input, mut hasher) = stream.take()?;
        let is_cancelled = stream.is_cancelled(env);
        let mut buffer = vec![0; 1 << 16];
        while let Some(count) = input.read(&mut buffer)? {
            if count == 0 {
                return ok(env, text(env, &hasher.finish().0));
            }
            hasher.update(&buffer[..count]);
            if is_cancelled() {
                return Err(chunker::Error::Cancelled.into());
            }
        }
        stream.put((input, hasher));
        Ok(atoms::wait().encode(env))
    })
}

fn hash_input<'a>(env: Env<'a>, input: Input, algorithm: Hash) -> Result<Term<'a>, NifError<'a>> {
    let digest = algorithm.algorithm()?.hash_source(input, &caller_died(env))?;
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
