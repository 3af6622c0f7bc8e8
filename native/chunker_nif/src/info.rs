//! Describes this build and its use of this machine.

use chunker::codec::Codec;
use chunker::hash::Algorithm;
use rustler::{Encoder, Env, NifResult, Term};

use crate::binary::text;
use crate::call::guard;
use crate::error::atom;

/// Returns pairs of names and values.
#[rustler::nif]
fn info<'a>(env: Env<'a>) -> NifResult<Term<'a>> {
    guard(env, || {
        let features: Vec<_> =
            chunker::cpu::features().into_iter().map(|name| text(env, name.as_bytes())).collect();
        let hashes: Vec<_> = Algorithm::ALL
            .iter()
            .map(|algorithm| (atom(env, algorithm.name()), text(env, algorithm.implementation().as_bytes())))
            .collect();
        let codecs: Vec<_> = Codec::ALL
            .into_iter()
            .filter(|codec| codec.is_enabled())
            .map(|codec| atom(env, codec.name()))
            .collect();
        Ok(vec![
            (atom(env, "version"), text(env, chunker::VERSION.as_bytes())),
            (atom(env, "cpu_features"), features.encode(env)),
            (atom(env, "kernel"), text(env, chunker::cdc::kernel()?.as_bytes())),
            (atom(env, "fingerprint"), text(env, chunker::cache::fingerprint_implementation().as_bytes())),
            (atom(env, "hashes"), hashes.encode(env)),
            (atom(env, "codecs"), codecs.encode(env)),
        ]
        .encode(env))
    })
}
