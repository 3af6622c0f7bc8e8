//! Chunking an input step by step, with the bytes of each chunk.
//!
//! A stream is a resource: its file is closed and its work is cancelled when no process holds it any more.

use std::sync::{Arc, OnceLock};

use chunker::codec::{ScratchPool, compress_cancellable};
use chunker::engine::{Chunk, Pieces, Pulled, Reader};
use chunker::hash::{Digest, Hasher};
use chunker::io::file::{Input, Kind};
use chunker::nar::annotations::ChunkAnnotation;
use rustler::{Binary, Encoder, Env, NifResult, OwnedBinary, Resource, ResourceArc, Term};

use crate::atoms;
use crate::binary::{self, text};
use crate::call::{guard, nif, ok};
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
    Regular(Reader<Load, ChunkAnnotation>),
    /// `None` after the end.
    Special(Option<(Input, Pieces<Load, ChunkAnnotation>)>),
    Pieces(Pieces<Load, ChunkAnnotation>, Option<Hasher>),
}

/// A chunk with its bytes and its compressed bytes, if they were requested, in memory of the VM.
struct Loaded {
    chunk: Chunk,
    data: Option<ChunkData>,
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

/// Returns the work on a chunk: hash it, and optionally copy and compress it.
fn loading<'a>(
    options: &ChunkingOptions<'a>,
    copies: bool,
    compression: Option<Compression<'a>>,
) -> Result<impl Fn(&AnnotatedBytes<'_>) -> Load + Clone + Send + Sync + 'static, NifError<'a>> {
    let hashed = Chunk::hashed(options.digester()?);
    let compressor = match compression {
        None => None,
        Some(compression) => Some(Arc::new((compression.checked()?, ScratchPool::new()))),
    };
    let pool = chunk_memory::pool();
    Ok(move |bytes: &AnnotatedBytes<'_>| {
        let data = if copies { Some(ChunkData::concat(bytes.slices, pool.as_ref())?) } else { None };
        let compressed = match (&data, compressor.as_deref()) {
            (Some(data), Some((compression, scratches))) => Some(scratches.lend(|scratch, out| {
                compress_cancellable(data.as_slice(), compression, scratch, out, bytes.is_cancelled)?;
                Ok::<_, chunker::Error>(binary::concat(&[out])?)
            })?),
            _ => None,
        };
        let chunk = hashed(bytes);
        Ok(Loaded { chunk, data, compressed, annotation: bytes.annotation.clone() })
    })
}

/// `{Offset, Length, Hash, Data, Compressed | nil}`, or `{Offset, Length, Hash}` without its bytes, with its
/// annotation if there is one.
fn encode<'a>(
    env: Env<'a>,
    Loaded { chunk, data, compressed, annotation }: Loaded,
    paths: &mut Paths<'a>,
) -> Term<'a> {
    let (Chunk { offset, length, .. }, hash) = (chunk, text(env, &chunk.hash.0));
    let term = match data {
        None => (offset, length, hash).encode(env),
        Some(data) => {
            let compressed = compressed.map(|bytes| bytes.release(env));
            (offset, length, hash, data.into_term(env), compressed).encode(env)
        }
    };
    with_annotation(env, term, length, annotation.as_deref(), paths)
}

fn list<'a>(env: Env<'a>, chunks: Vec<Load>) -> Result<Term<'a>, NifError<'a>> {
    let mut paths = Paths::default();
    let terms = chunks
        .into_iter()
        .map(|chunk| Ok(encode(env, chunk?, &mut paths)))
        .collect::<Result<Vec<_>, chunker::Error>>()?;
    ok(env, terms)
}

nif! {
    /// `{ok, Stream, regular | special}`
    io stream_file, job stream_file_job => fn(
        call,
        path: Binary<'a>,
        options: ChunkingOptions<'a>,
        compression: Option<Compression<'a>>,
    ) {
        let selection = options.chunking(options.workers()?, loading(&options, true, compression)?)?;
        let mut input = Input::open(&to_path(&path))?.on_change(options.on_change());
        let Some(chunking) = selection.for_input(&mut input, &call.is_cancelled())? else {
            return Err(options.needs_two_reads(call.env));
        };
        let chunking = chunking.clone();
        let (kind, state) = match input.kind() {
            Kind::Regular => (atoms::regular(), State::Regular(chunking.source(input))),
            Kind::Special => (atoms::special(), State::Special(Some((input, chunking.pieces())))),
        };
        Ok((atoms::ok(), ResourceArc::new(Stream::new(state)), kind).encode(call.env))
    }
}

nif! {
    /// `{ok, Stream}`. With `whole`, chunks come without their bytes, and `stream_digest` returns the digest of
    /// the input at its end.
    dirty stream_pieces, job stream_pieces_job => fn(
        call,
        options: ChunkingOptions<'a>,
        compression: Option<Compression<'a>>,
        whole: bool,
    ) {
        let selection = options.chunking(options.workers()?, loading(&options, !whole, compression)?)?;
        let Some(chunking) = selection.for_pieces() else {
            return Err(options.needs_two_reads(call.env));
        };
        let hasher = if whole { Some(Hasher::new(sha256()?)) } else { None };
        let stream = Stream::new(State::Pieces(chunking.clone().pieces(), hasher));
        ok(call.env, ResourceArc::new(stream))
    }
}

nif! {
    /// `{ok, Chunks}`, with no chunks at the end.
    dirty stream_next, job stream_next_job => fn(call, stream: ResourceArc<Stream>) {
        let State::Regular(mut reader) = stream.slot.take()? else {
            return Err(chunker::Error::Cancelled.into());
        };
        let chunks = reader.next_results(&stream.slot.is_cancelled(call))?;
        stream.slot.put(State::Regular(reader));
        list(call.env, chunks.unwrap_or_default())
    }
}

nif! {
    /// The same for a non-seekable file, or `wait` until its producer sends more: a scheduler must not be
    /// blocked by it.
    io stream_next_special, job stream_next_special_job => fn(call, stream: ResourceArc<Stream>) {
        let State::Special(running) = stream.slot.take()? else {
            return Err(chunker::Error::Cancelled.into());
        };
        let Some((mut input, mut pieces)) = running else {
            stream.slot.put(State::Special(None));
            return list(call.env, Vec::new());
        };
        let pulled = pieces.pull(&mut input, &stream.slot.is_cancelled(call))?;
        let ended = matches!(pulled, Pulled::End(_));
        stream.slot.put(State::Special((!ended).then_some((input, pieces))));
        match pulled {
            Pulled::Results(chunks) | Pulled::End(chunks) => list(call.env, chunks),
            Pulled::Waiting => Ok(atoms::wait().encode(call.env)),
        }
    }
}

nif! {
    /// `{ok, Chunks}`: those that are complete now, which may be none.
    dirty stream_push, job stream_push_job => fn(
        call,
        stream: ResourceArc<Stream>,
        piece: Binary<'a>,
    ) {
        let State::Pieces(mut pieces, mut hasher) = stream.slot.take()? else {
            return Err(chunker::Error::Cancelled.into());
        };
        let chunks = pieces.push(&piece, &stream.slot.is_cancelled(call))?;
        // While others work on the chunks.
        if let Some(hasher) = &mut hasher {
            hasher.update(&piece);
        }
        stream.slot.put(State::Pieces(pieces, hasher));
        list(call.env, chunks)
    }
}

nif! {
    /// `{ok, Chunks}`: the rest of them.
    dirty stream_finish, job stream_finish_job => fn(call, stream: ResourceArc<Stream>) {
        let State::Pieces(mut pieces, hasher) = stream.slot.take()? else {
            return Err(chunker::Error::Cancelled.into());
        };
        let chunks = pieces.finish(&stream.slot.is_cancelled(call))?;
        stream.set_digest(hasher.map(Hasher::finish));
        list(call.env, chunks)
    }
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
        drop(stream.slot.close());
        Ok(atoms::ok().encode(env))
    })
}
