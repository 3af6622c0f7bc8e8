//! Compression and decompression of inputs that arrive in pieces.
//!
//! A compressor or decompressor is a resource: its memory is freed when no process holds it any more.

use std::sync::atomic::{AtomicU64, Ordering};

use chunker::codec::{Decoder as Decompressor, Encoder as Compressor};
use rustler::{Binary, Encoder, Env, NifResult, Resource, ResourceArc, Term};

use crate::atoms;
use crate::binary::BinaryBuffer;
use crate::call::{guard, ok};
use crate::options::{Compression, Decompression};
use crate::slot::{Slot, drop_elsewhere};

/// The most bytes that one call decompresses, since a piece may decompress to a thousand times its size.
const PIECE: usize = 1 << 20;

/// With the number of bytes that a decompressor ignored, which outlives it.
struct Coder<T: Send + 'static>(Slot<T>, AtomicU64);

impl<T: Send + 'static> Coder<T> {
    fn new(coder: T) -> ResourceArc<Self>
    where
        Self: Resource,
    {
        ResourceArc::new(Self(Slot::new(coder), AtomicU64::new(0)))
    }
}

#[rustler::resource_impl]
impl Resource for Coder<Compressor> {}

#[rustler::resource_impl]
impl Resource for Coder<Decompressor> {}

impl<T: Send + 'static> Drop for Coder<T> {
    fn drop(&mut self) {
        drop_elsewhere(self.0.take_remaining());
    }
}

/// `{ok, Coder}`
#[rustler::nif(schedule = "DirtyCpu")]
fn compressor_new<'a>(env: Env<'a>, options: Compression<'a>) -> NifResult<Term<'a>> {
    guard(env, || {
        let compressor = Compressor::new(&options.checked()?).map_err(chunker::Error::from)?;
        ok(env, Coder::new(compressor))
    })
}

/// `{ok, Output}`, which may be empty.
#[rustler::nif(schedule = "DirtyCpu")]
fn compressor_update<'a>(
    env: Env<'a>,
    coder: ResourceArc<Coder<Compressor>>,
    piece: Binary<'a>,
) -> NifResult<Term<'a>> {
    guard(env, || {
        let mut compressor = coder.0.take()?;
        let mut out = BinaryBuffer::new();
        compressor.update(&piece, &mut out).map_err(chunker::Error::from)?;
        coder.0.put(compressor);
        ok(env, out.into_term(env))
    })
}

/// `{ok, Output}`, with which all input so far can be decoded.
#[rustler::nif(schedule = "DirtyCpu")]
fn compressor_flush<'a>(env: Env<'a>, coder: ResourceArc<Coder<Compressor>>) -> NifResult<Term<'a>> {
    guard(env, || {
        let (mut compressor, mut out) = (coder.0.take()?, BinaryBuffer::new());
        compressor.flush(&mut out).map_err(chunker::Error::from)?;
        coder.0.put(compressor);
        ok(env, out.into_term(env))
    })
}

/// `{ok, Output}`
#[rustler::nif(schedule = "DirtyCpu")]
fn compressor_finish<'a>(env: Env<'a>, coder: ResourceArc<Coder<Compressor>>) -> NifResult<Term<'a>> {
    guard(env, || {
        let (compressor, mut out) = (coder.0.take()?, BinaryBuffer::new());
        compressor.finish(&mut out).map_err(chunker::Error::from)?;
        ok(env, out.into_term(env))
    })
}

/// `{ok, Coder}`
#[rustler::nif(schedule = "DirtyCpu")]
fn decompressor_new<'a>(env: Env<'a>, options: Decompression<'a>) -> NifResult<Term<'a>> {
    guard(env, || {
        let decompressor = Decompressor::new(&options.checked()?).map_err(chunker::Error::from)?;
        ok(env, Coder::new(decompressor))
    })
}

/// `{ok, Output, Consumed, more | done}`. With `more`, output is left even if no input follows the `Consumed`
/// bytes.
#[rustler::nif(schedule = "DirtyCpu")]
fn decompressor_update<'a>(
    env: Env<'a>,
    coder: ResourceArc<Coder<Decompressor>>,
    piece: Binary<'a>,
) -> NifResult<Term<'a>> {
    guard(env, || {
        let mut decompressor = coder.0.take()?;
        let mut out = BinaryBuffer::new();
        let progress = decompressor.update_some(&piece, PIECE, &mut out).map_err(chunker::Error::from)?;
        coder.1.store(decompressor.ignored(), Ordering::Relaxed);
        coder.0.put(decompressor);
        let state = if progress.pending { atoms::more() } else { atoms::done() };
        Ok((atoms::ok(), out.into_term(env), progress.consumed, state).encode(env))
    })
}

/// `{ok, Output}`
#[rustler::nif(schedule = "DirtyCpu")]
fn decompressor_finish<'a>(env: Env<'a>, coder: ResourceArc<Coder<Decompressor>>) -> NifResult<Term<'a>> {
    guard(env, || {
        let (decompressor, mut out) = (coder.0.take()?, BinaryBuffer::new());
        let ignored = decompressor.finish(&mut out).map_err(chunker::Error::from)?;
        coder.1.store(ignored, Ordering::Relaxed);
        ok(env, out.into_term(env))
    })
}

/// The number of bytes after the content that were ignored so far, also of a closed decompressor.
#[rustler::nif]
fn decompressor_ignored(coder: ResourceArc<Coder<Decompressor>>) -> u64 {
    coder.1.load(Ordering::Relaxed)
}

/// Frees the memory of a compressor.
#[rustler::nif]
fn compressor_close<'a>(env: Env<'a>, coder: ResourceArc<Coder<Compressor>>) -> NifResult<Term<'a>> {
    guard(env, || {
        drop_elsewhere(coder.0.close());
        Ok(atoms::ok().encode(env))
    })
}

/// Frees the memory of a decompressor.
#[rustler::nif]
fn decompressor_close<'a>(env: Env<'a>, coder: ResourceArc<Coder<Decompressor>>) -> NifResult<Term<'a>> {
    guard(env, || {
        drop_elsewhere(coder.0.close());
        Ok(atoms::ok().encode(env))
    })
}
