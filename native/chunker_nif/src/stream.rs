//! Chunking an input bit by bit, with the bytes of each chunk.
//!
//! A stream is a resource: when no process holds it any more, its file is closed and its work stops.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use chunker::codec::{ScratchPool, compress_cancellable};
use chunker::engine::{Chunk, Pieces, Reader, Step};
use chunker::hash::{Digest, Hasher, HashingReader};
use chunker::io::file::{Input, Kind};
use chunker::nar::annotations::ChunkAnnotation;
use rustler::{Binary, Encoder, Env, NifResult, OwnedBinary, Resource, ResourceArc, Term};

use crate::atoms;
use crate::binary;
use crate::call::{caller_died, guard};
use crate::chunking::{AnnotatedBytes, Paths, to_path, with_annotation};
use crate::error::{NifError, text};
use crate::nar::{nar_hash, sha256};
use crate::options::{ChunkingOptions, Compression};

pub(crate) struct Stream {
    state: Mutex<State>,
    /// Set for good by whoever closes the stream, also while another process is inside a call.
    closed: AtomicBool,
    /// The SHA-256 of the input as a whole, if that was asked for, when it has ended.
    digest: OnceLock<Digest>,
}

enum State {
    /// With what tells the digest of the whole.
    File(Reader<Load, ChunkAnnotation>, Option<Tell>),
    Pieces(Pieces<Load, ChunkAnnotation>, Option<Hasher>),
    Closed,
}

type Tell = Box<dyn Fn() -> Option<Digest> + Send>;

/// A chunk with its bytes, in memory that the VM takes over as it is, and with them compressed if that was asked for.
struct Loaded {
    chunk: Chunk,
    data: OwnedBinary,
    compressed: Option<OwnedBinary>,
    annotation: ChunkAnnotation,
}

type Load = Result<Loaded, chunker::Error>;

#[rustler::resource_impl]
impl Resource for Stream {}

impl Stream {
    fn new(state: State) -> Self {
        Self { state: Mutex::new(state), closed: AtomicBool::new(false), digest: OnceLock::new() }
    }

    /// Whether the caller has died or the stream was closed.
    fn is_cancelled(&self, env: Env<'_>) -> impl Fn() -> bool {
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

    /// Keeps the digest of the whole.
    fn set_digest(&self, digest: Option<Digest>) {
        if let Some(digest) = digest {
            // There is one input, and it ends once.
            let _ = self.digest.set(digest);
        }
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

/// The work on a chunk: to copy, hash and perhaps compress it.
fn loading<'a>(
    options: &ChunkingOptions<'a>,
    compression: Option<Compression<'a>>,
) -> Result<impl Fn(&AnnotatedBytes<'_>) -> Load + Clone + Send + Sync + 'static, NifError<'a>> {
    let hashed = Chunk::hashed(options.digester()?);
    let compressor = match compression {
        None => None,
        Some(compression) => Some(Arc::new((compression.checked()?, ScratchPool::new()))),
    };
    Ok(move |bytes: &AnnotatedBytes<'_>| {
        let data = binary::concat(bytes.slices)?;
        let compressed = match compressor.as_deref() {
            None => None,
            Some((compression, scratches)) => Some(scratches.lend(|scratch, out| {
                compress_cancellable(&data, compression, scratch, out, bytes.is_cancelled)?;
                Ok::<_, chunker::Error>(binary::concat(&[out])?)
            })?),
        };
        let chunk = hashed(bytes);
        Ok(Loaded { chunk, data, compressed, annotation: bytes.annotation.clone() })
    })
}

/// `{Offset, Length, Hash, Data, Compressed | nil}`, with its annotation if there is one.
fn encode<'a>(
    env: Env<'a>,
    Loaded { chunk, data, compressed, annotation }: Loaded,
    paths: &mut Paths<'a>,
) -> Term<'a> {
    let compressed = compressed.map(|bytes| bytes.release(env));
    let chunk = (chunk.offset, chunk.length, text(env, &chunk.hash.0), data.release(env), compressed);
    with_annotation(env, chunk.encode(env), annotation.as_deref(), paths)
}

fn list<'a>(env: Env<'a>, chunks: Vec<Load>) -> Result<Term<'a>, NifError<'a>> {
    let mut paths = Paths::default();
    let terms = chunks
        .into_iter()
        .map(|chunk| Ok(encode(env, chunk?, &mut paths)))
        .collect::<Result<Vec<_>, chunker::Error>>()?;
    Ok((atoms::ok(), terms).encode(env))
}

/// `{ok, Stream, regular | special}`. With `whole` the digest of the input is there at its end.
#[rustler::nif(schedule = "DirtyIo")]
fn stream_file<'a>(
    env: Env<'a>,
    path: Binary<'a>,
    options: ChunkingOptions<'a>,
    compression: Option<Compression<'a>>,
    whole: bool,
) -> NifResult<Term<'a>> {
    guard(env, || {
        let selection = options.chunking(options.workers()?, loading(&options, compression)?)?;
        let mut input = Input::open(&to_path(&path))?;
        let Some(chunking) = selection.for_input(&mut input, &caller_died(env))? else {
            return Err(options.needs_two_reads(env));
        };
        let kind = match input.kind() {
            Kind::Regular => atoms::regular(),
            Kind::Special => atoms::special(),
        };
        let state = if whole {
            let (source, tell) = HashingReader::new(input, sha256()?);
            State::File(chunking.clone().source(source), Some(Box::new(tell)))
        } else {
            State::File(chunking.clone().source(input), None)
        };
        let stream = Stream::new(state);
        Ok((atoms::ok(), ResourceArc::new(stream), kind).encode(env))
    })
}

/// `{ok, Stream}`. With `whole` the digest of the input is there at its end.
#[rustler::nif(schedule = "DirtyCpu")]
fn stream_pieces<'a>(
    env: Env<'a>,
    options: ChunkingOptions<'a>,
    compression: Option<Compression<'a>>,
    whole: bool,
) -> NifResult<Term<'a>> {
    guard(env, || {
        let selection = options.chunking(options.workers()?, loading(&options, compression)?)?;
        let Some(chunking) = selection.for_pieces() else { return Err(options.needs_two_reads(env)) };
        let hasher = if whole { Some(Hasher::new(sha256()?)) } else { None };
        let stream = Stream::new(State::Pieces(chunking.clone().pieces(), hasher));
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

/// `{ok, Chunks}`, with no chunks at the end, or `wait` if somebody has to send more before there can be any: a scheduler
/// that waited for a FIFO would be missing to all others.
fn next<'a>(env: Env<'a>, stream: &Stream) -> Result<Term<'a>, NifError<'a>> {
    let State::File(mut reader, tell) = stream.take() else { return Err(chunker::Error::Cancelled.into()) };
    let step = reader.step(&stream.is_cancelled(env))?;
    stream.set_digest(tell.as_ref().and_then(|tell| tell()));
    stream.put(State::File(reader, tell));
    match step {
        Step::Results(chunks) => list(env, chunks),
        Step::End => list(env, Vec::new()),
        Step::Waiting => Ok(atoms::wait().encode(env)),
    }
}

/// `{ok, Chunks}`: those that have become known, be it none.
#[rustler::nif(schedule = "DirtyCpu")]
fn stream_push<'a>(env: Env<'a>, stream: ResourceArc<Stream>, piece: Binary<'a>) -> NifResult<Term<'a>> {
    guard(env, || {
        let State::Pieces(mut pieces, mut hasher) = stream.take() else {
            return Err(chunker::Error::Cancelled.into());
        };
        let chunks = pieces.push(&piece, &stream.is_cancelled(env))?;
        // While others work on the chunks.
        if let Some(hasher) = &mut hasher {
            hasher.update(&piece);
        }
        stream.put(State::Pieces(pieces, hasher));
        list(env, chunks)
    })
}

/// `{ok, Chunks}`: all that are left.
#[rustler::nif(schedule = "DirtyCpu")]
fn stream_finish<'a>(env: Env<'a>, stream: ResourceArc<Stream>) -> NifResult<Term<'a>> {
    guard(env, || {
        let State::Pieces(mut pieces, hasher) = stream.take() else {
            return Err(chunker::Error::Cancelled.into());
        };
        let chunks = pieces.finish(&stream.is_cancelled(env))?;
        stream.set_digest(hasher.map(Hasher::finish));
        list(env, chunks)
    })
}

/// `{ok, NarHash}`, after the end.
#[rustler::nif]
fn stream_digest<'a>(env: Env<'a>, stream: ResourceArc<Stream>) -> NifResult<Term<'a>> {
    guard(env, || {
        let digest = stream.digest.get().ok_or(chunker::Error::Cancelled)?;
        Ok((atoms::ok(), nar_hash(env, digest)).encode(env))
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
