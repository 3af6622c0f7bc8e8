//! Chunking an input step by step, with the bytes of each chunk.
//!
//! A stream is a resource: its file is closed and its work is cancelled when no process holds it any more.

use std::sync::{Arc, OnceLock};

use chunker::codec::{ScratchPool, compress_cancellable};
use chunker::engine::{Chunk, Pieces, Reader, Step};
use chunker::hash::{Digest, Hasher, HashingReader};
use chunker::io::file::{Input, Kind};
use chunker::nar::annotations::ChunkAnnotation;
use rustler::{Binary, Encoder, Env, NifResult, OwnedBinary, Resource, ResourceArc, Term};

use crate::atoms;
use crate::binary::{self, text};
use crate::call::{caller_died, guard, ok};
use crate::chunk_memory::{self, ChunkData};
use crate::chunking::{AnnotatedBytes, Paths, to_path, with_annotation};
use crate::error::NifError;
use crate::nar::{nar_hash, sha256};
use crate::options::{ChunkingOptions, Compression};
use crate::slot::Slot;

struct Stream {
    slot: Slot<State>,
    /// The SHA-256 of the whole input, if it was requested, once the input has ended.
    digest: OnceLock<Digest>,
}

enum State {
    /// A file, and what returns the digest of the whole.
    File(Reader<Load, ChunkAnnotation>, Option<WholeDigest>),
    Pieces(Pieces<Load, ChunkAnnotation>, Option<Hasher>),
}

type WholeDigest = Box<dyn Fn() -> Option<Digest> + Send>;

/// A chunk with its bytes, and with its compressed bytes if they were requested, in memory of the VM.
struct Loaded {
    chunk: Chunk,
    data: ChunkData,
    compressed: Option<OwnedBinary>,
    annotation: ChunkAnnotation,
}

type Load = Result<Loaded, chunker::Error>;

#[rustler::resource_impl]
impl Resource for Stream {}

impl Stream {
    fn new(state: State) -> Self {
        Self { slot: Slot::new(state), digest: OnceLock::new() }
    }

    /// Stores the digest of the whole.
    fn set_digest(&self, digest: Option<Digest>) {
        if let Some(digest) = digest {
            // There is one input, and it ends once.
            let _ = self.digest.set(digest);
        }
    }
}

/// Returns the work on a chunk: copy, hash and optionally compress it.
fn loading<'a>(
    options: &ChunkingOptions<'a>,
    compression: Option<Compression<'a>>,
) -> Result<impl Fn(&AnnotatedBytes<'_>) -> Load + Clone + Send + Sync + 'static, NifError<'a>> {
    let hashed = Chunk::hashed(options.digester()?);
    let compressor = match compression {
        None => None,
        Some(compression) => Some(Arc::new((compression.checked()?, ScratchPool::new()))),
    };
    let pool = chunk_memory::pool();
    Ok(move |bytes: &AnnotatedBytes<'_>| {
        let data = ChunkData::concat(bytes.slices, pool.as_ref())?;
        let compressed = match compressor.as_deref() {
            None => None,
            Some((compression, scratches)) => Some(scratches.lend(|scratch, out| {
                compress_cancellable(data.as_slice(), compression, scratch, out, bytes.is_cancelled)?;
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
    let chunk = (chunk.offset, chunk.length, text(env, &chunk.hash.0), data.into_term(env), compressed);
    with_annotation(env, chunk.encode(env), annotation.as_deref(), paths)
}

fn list<'a>(env: Env<'a>, chunks: Vec<Load>) -> Result<Term<'a>, NifError<'a>> {
    let mut paths = Paths::default();
    let terms = chunks
        .into_iter()
        .map(|chunk| Ok(encode(env, chunk?, &mut paths)))
        .collect::<Result<Vec<_>, chunker::Error>>()?;
    ok(env, terms)
}

/// `{ok, Stream, regular | special}`. With `whole`, `stream_digest` returns the digest of the input at its
/// end.
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
            let (source, digest) = HashingReader::new(input, sha256()?);
            State::File(chunking.clone().source(source), Some(Box::new(digest)))
        } else {
            State::File(chunking.clone().source(input), None)
        };
        let stream = Stream::new(state);
        Ok((atoms::ok(), ResourceArc::new(stream), kind).encode(env))
    })
}

/// `{ok, Stream}`. With `whole`, `stream_digest` returns the digest of the input at its end.
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
        ok(env, ResourceArc::new(stream))
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

/// `{ok, Chunks}`, with no chunks at the end, or `wait` if a FIFO or a device has no input at the moment: a
/// dirty scheduler must not be blocked by it.
fn next<'a>(env: Env<'a>, stream: &Stream) -> Result<Term<'a>, NifError<'a>> {
    let State::File(mut reader, digest) = stream.slot.take()? else {
        return Err(chunker::Error::Cancelled.into());
    };
    let step = reader.step(&stream.slot.is_cancelled(env))?;
    stream.set_digest(digest.as_ref().and_then(|digest| digest()));
    stream.slot.put(State::File(reader, digest));
    match step {
        Step::Results(chunks) => list(env, chunks),
        Step::End => list(env, Vec::new()),
        Step::Waiting => Ok(atoms::wait().encode(env)),
    }
}

/// `{ok, Chunks}`: those that are complete now, which may be none.
#[rustler::nif(schedule = "DirtyCpu")]
fn stream_push<'a>(env: Env<'a>, stream: ResourceArc<Stream>, piece: Binary<'a>) -> NifResult<Term<'a>> {
    guard(env, || {
        let State::Pieces(mut pieces, mut hasher) = stream.slot.take()? else {
            return Err(chunker::Error::Cancelled.into());
        };
        let chunks = pieces.push(&piece, &stream.slot.is_cancelled(env))?;
        // While others work on the chunks.
        if let Some(hasher) = &mut hasher {
            hasher.update(&piece);
        }
        stream.slot.put(State::Pieces(pieces, hasher));
        list(env, chunks)
    })
}

/// `{ok, Chunks}`: the rest of them.
#[rustler::nif(schedule = "DirtyCpu")]
fn stream_finish<'a>(env: Env<'a>, stream: ResourceArc<Stream>) -> NifResult<Term<'a>> {
    guard(env, || {
        let State::Pieces(mut pieces, hasher) = stream.slot.take()? else {
            return Err(chunker::Error::Cancelled.into());
        };
        let chunks = pieces.finish(&stream.slot.is_cancelled(env))?;
        stream.set_digest(hasher.map(Hasher::finish));
        list(env, chunks)
    })
}

/// `{ok, NarHash}`, after the end.
#[rustler::nif]
fn stream_digest<'a>(env: Env<'a>, stream: ResourceArc<Stream>) -> NifResult<Term<'a>> {
    guard(env, || {
        let digest = stream.digest.get().ok_or(chunker::Error::Cancelled)?;
        ok(env, nar_hash(env, digest))
    })
}

/// Closes the stream.
#[rustler::nif]
fn stream_close<'a>(env: Env<'a>, stream: ResourceArc<Stream>) -> NifResult<Term<'a>> {
    guard(env, || {
        stream.slot.close();
        Ok(atoms::ok().encode(env))
    })
}
