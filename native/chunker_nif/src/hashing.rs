//! Digests of whole inputs, and their notation.

use chunker::file::Input;
use chunker::hashing::nix_base32;
use rustler::{Binary, Encoder, Env, NifResult, Term};

use crate::atoms;
use crate::chunking::{regular, to_path};
use crate::failure::{Failure, text};
use crate::guard::{caller_died, guard};
use crate::options::Hash;

/// For binaries so short that a plain scheduler is not held up.
#[rustler::nif]
fn hash_small<'a>(env: Env<'a>, data: Binary<'a>, algorithm: Hash) -> NifResult<Term<'a>> {
    guard(env, || Ok(text(env, &algorithm.algorithm()?.hash(&data).0)))
}

#[rustler::nif(schedule = "DirtyCpu")]
fn hash<'a>(env: Env<'a>, data: Binary<'a>, algorithm: Hash) -> NifResult<Term<'a>> {
    guard(env, || Ok(text(env, &algorithm.algorithm()?.hash_or_give_up(&data, &caller_died(env))?.0)))
}

/// `special` for a file that may keep its reader waiting: it belongs on another scheduler.
#[rustler::nif(schedule = "DirtyCpu")]
fn hash_file<'a>(env: Env<'a>, path: Binary<'a>, algorithm: Hash) -> NifResult<Term<'a>> {
    guard(env, || match regular(&path)? {
        None => Ok(atoms::special().encode(env)),
        Some(input) => hash_input(env, input, algorithm),
    })
}

#[rustler::nif(schedule = "DirtyIo")]
fn hash_special_file<'a>(env: Env<'a>, path: Binary<'a>, algorithm: Hash) -> NifResult<Term<'a>> {
    guard(env, || hash_input(env, Input::open(&to_path(&path))?, algorithm))
}

fn hash_input<'a>(env: Env<'a>, input: Input, algorithm: Hash) -> Result<Term<'a>, Failure<'a>> {
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

fn decode_nix_base32<'a>(env: Env<'a>, characters: &[u8]) -> Result<Term<'a>, Failure<'a>> {
    let bytes = nix_base32::decode(characters).map_err(Failure::Base32)?;
    Ok((atoms::ok(), text(env, &bytes)).encode(env))
}
