//! Chunking an input bit by bit, with the bytes of each chunk.
//!
//! A stream is a resource: when no process holds it any more, its file is closed and its work stops.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use chunker::chunking::{Chunk, ChunkBytes, Chunking, Pieces, Reader};
use chunker::file::{Input, Kind};
use rustler::{Binary, Encoder, Env, NifResult, OwnedBinary, Resource, ResourceArc, Term};

use crate::atoms;
use crate::chunking::to_path;
use crate::failure::{Failure, text};
use crate::guard::{caller_died, guard};
use crate::options::ChunkingOptions;

pub(crate) struct Stream {
    state: Mutex<State>,
    /// Set for good by whoever closes the stream, also while another process is inside a call.
    closed: AtomicBool,
}

enum State {
    File(Reader<Loaded, Input>),
    Pieces(Pieces<Loaded>),
    Closed,
}

/// A chunk with its bytes, in a binary that the VM takes over as it is.
struct Loaded {
    chunk: Chunk,
    data: OwnedBinary,
}

#[rustler::resource_impl]
impl Resource for Stream {}

impl Stream {
    fn new(state: State) -> Self {
        Self { state: Mutex::new(state), closed: AtomicBool::new(false) }
    }

    /// Whether the caller has died or the stream was closed.
    fn given_up(&self, env: Env<'_>) -> impl Fn() -> bool {
        let died = caller_died(env);
        move || self.closed.load(Ordering::Acquire) || died()
    }

    /// Takes the state out for the time of a call, so that a panic in between leaves the stream closed. It is also
    /// closed for a second process that calls meanwhile.
    fn take(&self) -> State {
        match self.state.try_lock() {
            Ok(mut state) => std::mem::replace(&mut state, State::Closed),
            Err(_) => State::Closed,
        }
    }

    /// Frees the state; if a call has it, that call gives up.
    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        // The lock is held for moments only.
        let state = self.state.lock().map(|mut state| std::mem::replace(&mut *state, State::Closed));
        drop(state);
    }

    fn put(&self, state: State) {
        if let Ok(mut place) = self.state.lock() {
            // Under the lock, so that a `close` meanwhile either shows here or finds the state in its place.
            if !self.closed.load(Ordering::Acquire) {
                *place = state;
            }
        }
    }
}

fn loading(
    options: &ChunkingOptions<'_>,
) -> impl Fn(&ChunkBytes<'_>) -> Loaded + Clone + Send + Sync + 'static {
    let hashed = Chunk::hashed(options.algorithm());
    move |bytes| {
        let mut data = OwnedBinary::new(bytes.length);
        bytes.copy_to(data.as_mut_slice());
        Loaded { chunk: hashed(bytes), data }
    }
}

/// `{Offset, Length, Hash, Data}`
fn encode<'a>(env: Env<'a>, Loaded { chunk, data }: Loaded) -> Term<'a> {
    (chunk.offset, chunk.length, text(env, &chunk.hash.0), data.release(env)).encode(env)
}

fn list<'a>(env: Env<'a>, chunks: Vec<Loaded>) -> Term<'a> {
    let terms: Vec<_> = chunks.into_iter().map(|chunk| encode(env, chunk)).collect();
    (atoms::ok(), terms).encode(env)
}

/// `{ok, Stream, regular | special}`
#[rustler::nif(schedule = "DirtyIo")]
fn stream_file<'a>(env: Env<'a>, path: Binary<'a>, options: ChunkingOptions<'a>) -> NifResult<Term<'a>> {
    guard(env, || {
        let chunking = Chunking::new(options.cutter()?, options.workers()?, loading(&options));
        let input = Input::open(&to_path(&path))?;
        let kind = match input.kind() {
            Kind::Regular => atoms::regular(),
            Kind::Special => atoms::special(),
        };
        let stream = Stream::new(State::File(chunking.source(input)));
        Ok((atoms::ok(), ResourceArc::new(stream), kind).encode(env))
    })
}

/// `{ok, Stream}`
#[rustler::nif]
fn stream_pieces<'a>(env: Env<'a>, options: ChunkingOptions<'a>) -> NifResult<Term<'a>> {
    guard(env, || {
        let chunking = Chunking::new(options.cutter()?, options.workers()?, loading(&options));
        let stream = Stream::new(State::Pieces(chunking.pieces()));
        Ok((atoms::ok(), ResourceArc::new(stream)).encode(env))
    })
}

#[rustler::nif(schedule = "DirtyCpu")]
fn stream_next<'a>(env: Env<'a>, stream: ResourceArc<Stream>) -> NifResult<Term<'a>> {
    guard(env, || next(env, &stream))
}

#[rustler::nif(schedule = "DirtyIo")]
fn stream_next_special<'a>(env: Env<'a>, stream: ResourceArc<Stream>) -> NifResult<Term<'a>> {
    guard(env, || next(env, &stream))
}

/// `{ok, Chunks}`; no chunks at the end.
fn next<'a>(env: Env<'a>, stream: &Stream) -> Result<Term<'a>, Failure<'a>> {
    let State::File(mut reader) = stream.take() else { return Err(chunker::Error::Cancelled.into()) };
    let chunks = reader.next_results(&stream.given_up(env))?.unwrap_or_default();
    stream.put(State::File(reader));
    Ok(list(env, chunks))
}

/// `{ok, Chunks}`: those that have become known, be it none.
#[rustler::nif(schedule = "DirtyCpu")]
fn stream_push<'a>(env: Env<'a>, stream: ResourceArc<Stream>, piece: Binary<'a>) -> NifResult<Term<'a>> {
    guard(env, || {
        let State::Pieces(mut pieces) = stream.take() else { return Err(chunker::Error::Cancelled.into()) };
        let chunks = pieces.push(&piece, &stream.given_up(env))?;
        stream.put(State::Pieces(pieces));
        Ok(list(env, chunks))
    })
}

/// `{ok, Chunks}`: all that are left.
#[rustler::nif(schedule = "DirtyCpu")]
fn stream_finish<'a>(env: Env<'a>, stream: ResourceArc<Stream>) -> NifResult<Term<'a>> {
    guard(env, || {
        let State::Pieces(mut pieces) = stream.take() else { return Err(chunker::Error::Cancelled.into()) };
        Ok(list(env, pieces.finish(&stream.given_up(env))?))
    })
}

/// Frees what the stream holds, at once.
#[rustler::nif]
fn stream_close<'a>(env: Env<'a>, stream: ResourceArc<Stream>) -> NifResult<Term<'a>> {
    guard(env, || {
        stream.close();
        Ok(atoms::ok().encode(env))
    })
}
