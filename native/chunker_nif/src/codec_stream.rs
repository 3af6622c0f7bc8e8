//! Compression and decompression of inputs that arrive in pieces.
//!
//! A compressor or decompressor is a resource: its memory is freed when no process holds it any more.

use std::sync::atomic::{AtomicU64, Ordering};

use chunker::codec::{Decoder as Decompressor, Encoder as Compressor};
use rustler::{Binary, Encoder, Env, NifResult, Resource, ResourceArc, Term};

use crate::atoms;
use crate::binary::BinaryBuffer;
use crate::call::{Call, Place, guard, nif, ok};
use crate::options::{Compression, Decompression};
use crate::slot::{Slot, drop_elsewhere};

/// The most bytes that one call decompresses, since a piece may decompress to a thousand times its size.
const PIECE: usize = 1 << 20;

struct Coder<T: Send + 'static> {
    slot: Slot<T>,
    /// Whether a piece of input may take more than some ten milliseconds.
    is_slow: bool,
    /// The number of bytes that a decompressor ignored, which outlives it.
    ignored: AtomicU64,
}

impl<T: Send + 'static> Coder<T> {
    fn new(coder: T, is_slow: bool) -> ResourceArc<Self>
    where
        Self: Resource,
    {
        ResourceArc::new(Self { slot: Slot::new(coder), is_slow, ignored: AtomicU64::new(0) })
    }

    /// Returns whether a call takes too long for the dirty scheduler that it runs on.
    fn is_long(&self, call: Call<'_>) -> bool {
        self.is_slow && call.place == Place::Dirty
    }
}

#[rustler::resource_impl]
impl Resource for Coder<Compressor> {}

#[rustler::resource_impl]
impl Resource for Coder<Decompressor> {}

impl<T: Send + 'static> Drop for Coder<T> {
    fn drop(&mut self) {
        drop_elsewhere(self.slot.take_remaining());
    }
}

nif! {
    /// `{ok, Coder}`
    dirty compressor_new, job compressor_new_job => fn(call, options: Compression<'a>) {
        let options = options.checked()?;
        let compressor = Compressor::new(&options).map_err(chunker::Error::from)?;
        ok(call.env, Coder::new(compressor, options.is_slow()))
    }
}

nif! {
    /// `{ok, Output}`, which may be empty, or `short` if the codec is too slow for a dirty scheduler.
    dirty compressor_update, job compressor_update_job => fn(
        call,
        coder: ResourceArc<Coder<Compressor>>,
        piece: Binary<'a>,
    ) {
        if coder.is_long(call) {
            return Ok(atoms::short().encode(call.env));
        }
        let mut compressor = coder.slot.take()?;
        let mut out = BinaryBuffer::new();
        compressor.update(&piece, &mut out).map_err(chunker::Error::from)?;
        coder.slot.put(compressor);
        ok(call.env, out.into_term(call.env))
    }
}

nif! {
    /// `{ok, Output}`, with which all input so far can be decoded, or `short`.
    dirty compressor_flush, job compressor_flush_job => fn(
        call,
        coder: ResourceArc<Coder<Compressor>>,
    ) {
        if coder.is_long(call) {
            return Ok(atoms::short().encode(call.env));
        }
        let (mut compressor, mut out) = (coder.slot.take()?, BinaryBuffer::new());
        compressor.flush(&mut out).map_err(chunker::Error::from)?;
        coder.slot.put(compressor);
        ok(call.env, out.into_term(call.env))
    }
}

nif! {
    /// `{ok, Output}`
    dirty compressor_finish, job compressor_finish_job => fn(
        call,
        coder: ResourceArc<Coder<Compressor>>,
    ) {
        if coder.is_long(call) {
            return Ok(atoms::short().encode(call.env));
        }
        let (compressor, mut out) = (coder.slot.take()?, BinaryBuffer::new());
        compressor.finish(&mut out).map_err(chunker::Error::from)?;
        ok(call.env, out.into_term(call.env))
    }
}

nif! {
    /// `{ok, Coder}`
    dirty decompressor_new, job decompressor_new_job => fn(call, options: Decompression<'a>) {
        let decompressor = Decompressor::new(&options.checked()?).map_err(chunker::Error::from)?;
        // All codecs decompress fast.
        ok(call.env, Coder::new(decompressor, false))
    }
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
        let mut decompressor = coder.slot.take()?;
        let mut out = BinaryBuffer::new();
        let progress = decompressor.update_some(&piece, PIECE, &mut out).map_err(chunker::Error::from)?;
        coder.ignored.store(decompressor.ignored(), Ordering::Relaxed);
        coder.slot.put(decompressor);
        let state = if progress.pending { atoms::more() } else { atoms::done() };
        Ok((atoms::ok(), out.into_term(env), progress.consumed, state).encode(env))
    })
}

/// `{ok, Output}`
#[rustler::nif(schedule = "DirtyCpu")]
fn decompressor_finish<'a>(env: Env<'a>, coder: ResourceArc<Coder<Decompressor>>) -> NifResult<Term<'a>> {
    guard(env, || {
        let (decompressor, mut out) = (coder.slot.take()?, BinaryBuffer::new());
        let ignored = decompressor.finish(&mut out).map_err(chunker::Error::from)?;
        coder.ignored.store(ignored, Ordering::Relaxed);
        ok(env, out.into_term(env))
    })
}

/// The number of bytes after the content that were ignored so far, also of a closed decompressor.
#[rustler::nif]
fn decompressor_ignored(coder: ResourceArc<Coder<Decompressor>>) -> u64 {
    coder.ignored.load(Ordering::Relaxed)
}

/// Frees the memory of a compressor.
#[rustler::nif]
fn compressor_close<'a>(env: Env<'a>, coder: ResourceArc<Coder<Compressor>>) -> NifResult<Term<'a>> {
    guard(env, || {
        drop_elsewhere(coder.slot.close());
        Ok(atoms::ok().encode(env))
    })
}

/// Frees the memory of a decompressor.
#[rustler::nif]
fn decompressor_close<'a>(env: Env<'a>, coder: ResourceArc<Coder<Decompressor>>) -> NifResult<Term<'a>> {
    guard(env, || {
        drop_elsewhere(coder.slot.close());
        Ok(atoms::ok().encode(env))
    })
}
