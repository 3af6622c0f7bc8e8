//! Digests of whole inputs, and their notation.

use std::sync::Mutex;

use chunker::hash::{Hasher, nix_base32};
use chunker::io::file::Input;
use chunker::io::source::Source;
use rustler::{Binary, Encoder, Env, NifResult, Resource, ResourceArc, Term};

use crate::atoms;
use crate::call::{caller_died, guard};
use crate::chunking::{regular, to_path};
use crate::error::{NifError, text};
use crate::options::Hash;

/// For binaries so short that a plain scheduler is not held up.
#[rustler::nif]
fn hash_small<'a>(env: Env<'a>, data: Binary<'a>, algorithm: Hash) -> NifResult<Term<'a>> {
    guard(env, || Ok(text(env, &algorithm.algorithm()?.hash(&data).0)))
}

#[rustler::nif(schedule = "DirtyCpu")]
fn hash<'a>(env: Env<'a>, data: Binary<'a>, algorithm: Hash) -> NifResult<Term<'a>> {
    guard(env, || Ok(text(env, &algorithm.algorithm()?.hash_cancellable(&data, &caller_died(env))?.0)))
}

/// `special` for a file that may keep its reader waiting, which is hashed bit by bit.
#[rustler::nif(schedule = "DirtyCpu")]
fn hash_file<'a>(env: Env<'a>, path: Binary<'a>, algorithm: Hash) -> NifResult<Term<'a>> {
    guard(env, || match regular(&path)? {
        None => Ok(atoms::special().encode(env)),
        Some(input) => hash_input(env, input, algorithm),
    })
}

/// A special file, and the digest of what it gave so far.
struct HashStream(Mutex<Option<(Input, Hasher)>>);

#[rustler::resource_impl]
impl Resource for HashStream {}

/// `{ok, Stream}`
#[rustler::nif(schedule = "DirtyIo")]
fn hash_special_open<'a>(env: Env<'a>, path: Binary<'a>, algorithm: Hash) -> NifResult<Term<'a>> {
    guard(env, || {
        let hasher = Hasher::new(algorithm.algorithm()?);
        let stream = HashStream(Mutex::new(Some((Input::open(&to_path(&path))?, hasher))));
        Ok((atoms::ok(), ResourceArc::new(stream)).encode(env))
    })
}

/// `{ok, Digest}` at the end of the file, or `wait` if somebody has to send more of it.
#[rustler::nif(schedule = "DirtyIo")]
fn hash_special_next<'a>(env: Env<'a>, stream: ResourceArc<HashStream>) -> NifResult<Term<'a>> {
    guard(env, || {
        let taken = stream.0.lock().ok().and_then(|mut state| state.take());
        let Some((mut input, mut hasher)) = taken else { return Err(chunker::Error::Cancelled.into()) };
        let died = caller_died(env);
        let mut buffer = vec![0; 1 << 16];
        while let Some(count) = input.read(&mut buffer)? {
            if count == 0 {
                return Ok((atoms::ok(), text(env, &hasher.finish().0)).encode(env));
            }
            hasher.update(&buffer[..count]);
            if died() {
                return Err(chunker::Error::Cancelled.into());
            }
        }
        if let Ok(mut state) = stream.0.lock() {
            *state = Some((input, hasher));
        }
        Ok(atoms::wait().encode(env))
    })
}

fn hash_input<'a>(env: Env<'a>, input: Input, algorithm: Hash) -> Result<Term<'a>, NifError<'a>> {
    let digest = algorithm.algorithm()?.hash_source(input, &caller_died(env))?;
    Ok((atoms::ok(), text(env, &digest.0)).encode(env))
}

/// For digests, and what else is so short that a plain scheduler is not held up.
#[rustler::nif]
fn nix_base32_encode_small<'a>(env: Env<'a>, bytes: Binary<'a>) -> NifResult<Term<'a>> {
    guard(env, || Ok(encode_nix_base32(env, &bytes)))
}

#[rustler::nif(schedule = "DirtyCpu")]
fn nix_base32_encode<'a>(env: Env<'a>, bytes: Binary<'a>) -> NifResult<Term<'a>> {
    guard(env, || Ok(encode_nix_base32(env, &bytes)))
}

fn encode_nix_base32<'a>(env: Env<'a>, bytes: &[u8]) -> Term<'a> {
    text(env, nix_base32::encode(bytes).as_bytes())
}

/// For digests, and what else is so short that a plain scheduler is not held up.
#[rustler::nif]
fn nix_base32_decode_small<'a>(env: Env<'a>, characters: Binary<'a>) -> NifResult<Term<'a>> {
    guard(env, || decode_nix_base32(env, &characters))
}

#[rustler::nif(schedule = "DirtyCpu")]
fn nix_base32_decode<'a>(env: Env<'a>, characters: Binary<'a>) -> NifResult<Term<'a>> {
    guard(env, || decode_nix_base32(env, &characters))
}

fn decode_nix_base32<'a>(env: Env<'a>, characters: &[u8]) -> Result<Term<'a>, NifError<'a>> {
    let bytes = nix_base32::decode(characters).map_err(NifError::Base32)?;
    Ok((atoms::ok(), text(env, &bytes)).encode(env))
}
