//! Compression and decompression bit by bit.
//!
//! A coder is a resource: when no process holds it any more, its memory is freed.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use chunker::codec::{Decoder as Decompressor, Encoder as Compressor};
use rustler::{Binary, Encoder, Env, NifResult, Resource, ResourceArc, Term};

use crate::atoms;
use crate::binary::BinaryBuffer;
use crate::call::guard;
use crate::options::{Compression, Decompression};

/// The most that a decoder gives at a time, in bytes: what it is given may unpack to a thousand times as much.
const PIECE: usize = 1 << 20;

/// What compresses or decompresses, between two calls. Each is a kind of resource of its own, so that neither can be taken
/// for the other.
pub(crate) struct Coder<T> {
    state: Mutex<Option<T>>,
    /// Set for good by whoever closes the coder, also while another process is inside a call.
    closed: AtomicBool,
}

#[rustler::resource_impl]
impl Resource for Coder<Compressor> {}

#[rustler::resource_impl]
impl Resource for Coder<Decompressor> {}

impl<T> Coder<T> {
    fn new(state: T) -> Self {
        Self { state: Mutex::new(Some(state)), closed: AtomicBool::new(false) }
    }

    /// Takes the state out for the time of a call; an error or a panic in it leaves the coder closed. It is also closed
    /// for a second process that calls meanwhile.
    fn take(&self) -> Result<T, chunker::Error> {
        let state = self.state.try_lock().ok().and_then(|mut state| state.take());
        state.ok_or(chunker::Error::Cancelled)
    }

    fn put(&self, state: T) {
        if let Ok(mut place) = self.state.lock() {
            // Under the lock, so that a `close` meanwhile either shows here or finds the state in its place.
            if !self.closed.load(Ordering::Acquire) {
                *place = Some(state);
            }
        }
    }

    /// Frees the state; if a call has it, it is freed when that call ends.
    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        // The lock is held for moments only.
        let state = self.state.lock().map(|mut state| state.take());
        drop(state);
    }
}

/// `{ok, Coder}`
#[rustler::nif(schedule = "DirtyCpu")]
fn compressor_new<'a>(env: Env<'a>, options: Compression<'a>) -> NifResult<Term<'a>> {
    guard(env, || {
        let compressor = Compressor::new(&options.checked()?).map_err(chunker::Error::from)?;
        Ok((atoms::ok(), ResourceArc::new(Coder::new(compressor))).encode(env))
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
        let mut compressor = coder.take()?;
        let mut out = BinaryBuffer::new();
        compressor.update(&piece, &mut out).map_err(chunker::Error::from)?;
        coder.put(compressor);
        Ok((atoms::ok(), out.into_term(env)).encode(env))
    })
}

/// `{ok, Output}`
#[rustler::nif(schedule = "DirtyCpu")]
fn compressor_finish<'a>(env: Env<'a>, coder: ResourceArc<Coder<Compressor>>) -> NifResult<Term<'a>> {
    guard(env, || {
        let (compressor, mut out) = (coder.take()?, BinaryBuffer::new());
        compressor.finish(&mut out).map_err(chunker::Error::from)?;
        Ok((atoms::ok(), out.into_term(env)).encode(env))
    })
}

/// `{ok, Coder}`
#[rustler::nif(schedule = "DirtyCpu")]
fn decompressor_new<'a>(env: Env<'a>, options: Decompression<'a>) -> NifResult<Term<'a>> {
    guard(env, || {
        let decompressor = Decompressor::new(&options.checked()?).map_err(chunker::Error::from)?;
        Ok((atoms::ok(), ResourceArc::new(Coder::new(decompressor))).encode(env))
    })
}

/// `{ok, Output, Consumed, more | done}`. With `more`, there is output left that the bytes after `Consumed` lead to, be
/// there none.
#[rustler::nif(schedule = "DirtyCpu")]
fn decompressor_update<'a>(
    env: Env<'a>,
    coder: ResourceArc<Coder<Decompressor>>,
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
fn decompressor_finish<'a>(env: Env<'a>, coder: ResourceArc<Coder<Decompressor>>) -> NifResult<Term<'a>> {
    guard(env, || {
        let (decompressor, mut out) = (coder.take()?, BinaryBuffer::new());
        decompressor.finish(&mut out).map_err(chunker::Error::from)?;
        Ok((atoms::ok(), out.into_term(env)).encode(env))
    })
}

/// Frees what a compressor holds, at once.
#[rustler::nif]
fn compressor_close<'a>(env: Env<'a>, coder: ResourceArc<Coder<Compressor>>) -> NifResult<Term<'a>> {
    guard(env, || {
        coder.close();
        Ok(atoms::ok().encode(env))
    })
}

/// Frees what a decompressor holds, at once.
#[rustler::nif]
fn decompressor_close<'a>(env: Env<'a>, coder: ResourceArc<Coder<Decompressor>>) -> NifResult<Term<'a>> {
    guard(env, || {
        coder.close();
        Ok(atoms::ok().encode(env))
    })
}
