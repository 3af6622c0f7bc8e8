//! Compression and decompression of inputs that arrive in pieces.
//!
//! A compressor or decompressor is a resource: its memory is freed when no process holds it any more.

use chunker::codec::{Decoder as Decompressor, Encoder as Compressor};
use rustler::{Binary, Encoder, Env, NifResult, Resource, ResourceArc, Term};

use crate::atoms;
use crate::binary::BinaryBuffer;
use crate::call::{guard, ok};
use crate::options::{Compression, Decompression};
use crate::slot::Slot;

/// The most bytes that one call decompresses, since a piece may decompress to a thousand times its size.
const PIECE: usize = 1 << 20;

#[rustler::resource_impl]
impl Resource for Slot<Compressor> {}

#[rustler::resource_impl]
impl Resource for Slot<Decompressor> {}

/// `{ok, Coder}`
#[rustler::nif(schedule = "DirtyCpu")]
fn compressor_new<'a>(env: Env<'a>, options: Compression<'a>) -> NifResult<Term<'a>> {
    guard(env, || {
        let compressor = Compressor::new(&options.checked()?).map_err(chunker::Error::from)?;
        ok(env, ResourceArc::new(Slot::new(compressor)))
    })
}

/// `{ok, Output}`, which may be empty.
#[rustler::nif(schedule = "DirtyCpu")]
fn compressor_update<'a>(
    env: Env<'a>,
    coder: ResourceArc<Slot<Compressor>>,
    piece: Binary<'a>,
) -> NifResult<Term<'a>> {
    guard(env, || {
        let mut compressor = coder.take()?;
        let mut out = BinaryBuffer::new();
        compressor.update(&piece, &mut out).map_err(chunker::Error::from)?;
        coder.put(compressor);
        ok(env, out.into_term(env))
    })
}

/// `{ok, Output}`
#[rustler::nif(schedule = "DirtyCpu")]
fn compressor_finish<'a>(env: Env<'a>, coder: ResourceArc<Slot<Compressor>>) -> NifResult<Term<'a>> {
    guard(env, || {
        let (compressor, mut out) = (coder.take()?, BinaryBuffer::new());
        compressor.finish(&mut out).map_err(chunker::Error::from)?;
        ok(env, out.into_term(env))
    })
}

/// `{ok, Coder}`
#[rustler::nif(schedule = "DirtyCpu")]
fn decompressor_new<'a>(env: Env<'a>, options: Decompression<'a>) -> NifResult<Term<'a>> {
    guard(env, || {
        let decompressor = Decompressor::new(&options.checked()?).map_err(chunker::Error::from)?;
        ok(env, ResourceArc::new(Slot::new(decompressor)))
    })
}

/// `{ok, Output, Consumed, more | done}`. With `more`, output is left even if no input follows the `Consumed`
/// bytes.
#[rustler::nif(schedule = "DirtyCpu")]
fn decompressor_update<'a>(
    env: Env<'a>,
    coder: ResourceArc<Slot<Decompressor>>,
    piece: Binary<'a>,
) -> NifResult<Term<'a>> {
    guard(env, || {
        let mut decompressor = coder.take()?;
        let mut out = BinaryBuffer::new();
        let progress = decompressor.update_some(&piece, PIECE, &mut out).map_err(chunker::Error::from)?;
        coder.put(decompressor);
        let state = if progress.pending { atoms::more() } else { atoms::done() };
        Ok((atoms::ok(), out.into_term(env), progress.consumed, state).encode(env))
    })
}

/// `{ok, Output}`
#[rustler::nif(schedule = "DirtyCpu")]
fn decompressor_finish<'a>(env: Env<'a>, coder: ResourceArc<Slot<Decompressor>>) -> NifResult<Term<'a>> {
    guard(env, || {
        let (decompressor, mut out) = (coder.take()?, BinaryBuffer::new());
        decompressor.finish(&mut out).map_err(chunker::Error::from)?;
        ok(env, out.into_term(env))
    })
}

/// Frees the memory of a compressor.
#[rustler::nif]
fn compressor_close<'a>(env: Env<'a>, coder: ResourceArc<Slot<Compressor>>) -> NifResult<Term<'a>> {
    guard(env, || {
        coder.close();
        Ok(atoms::ok().encode(env))
    })
}

/// Frees the memory of a decompressor.
#[rustler::nif]
fn decompressor_close<'a>(env: Env<'a>, coder: ResourceArc<Slot<Decompressor>>) -> NifResult<Term<'a>> {
    guard(env, || {
        coder.close();
        Ok(atoms::ok().encode(env))
    })
}
