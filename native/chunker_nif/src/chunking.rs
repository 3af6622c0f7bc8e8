//! Chunking whole inputs.

use std::path::{Path, PathBuf};

use chunker::cache::Digester;
use chunker::engine::{Chunk, ChunkBytes};
use chunker::hash::{Digest, HashingReader, hash_beside};
use chunker::io::file::{self, Input, Kind, OnChange};
use chunker::nar::EntryPath;
use chunker::nar::annotations::{Annotation, ChunkAnnotation, EntryPart};
use chunker::nar::references::{self, PLACEHOLDER, Replaced};
use rustler::{Binary, Encoder, Env, NewBinary, NifResult, Term};

use crate::atoms;
use crate::binary::text;
use crate::call::{Scheduler, caller_died, guard, ok, twins};
use crate::error::NifError;
use crate::list::List;
use crate::nar::{nar_hash, sha256};
use crate::options::{ChunkingOptions, Hash};

/// The bytes of a chunk with its annotation, which only chunks of NARs have.
pub(crate) type AnnotatedBytes<'a> = ChunkBytes<'a, ChunkAnnotation>;

/// A chunk and its annotation.
pub(crate) struct AnnotatedChunk {
    pub(crate) chunk: Chunk,
    pub(crate) annotation: ChunkAnnotation,
}

impl AnnotatedChunk {
    /// Returns the work that makes one.
    pub(crate) fn hashed(
        digester: Digester,
    ) -> impl Fn(&AnnotatedBytes<'_>) -> Self + Clone + Send + Sync + 'static {
        let hashed = Chunk::hashed(digester);
        move |bytes| Self { chunk: hashed(bytes), annotation: bytes.annotation.clone() }
    }
}

/// `{Offset, Length, Hash}`, with its annotation if there is one.
fn encode<'a>(
    env: Env<'a>,
    AnnotatedChunk { chunk, annotation }: &AnnotatedChunk,
    paths: &mut Paths<'a>,
) -> Term<'a> {
    let chunk = (chunk.offset, chunk.length, text(env, &chunk.hash.0)).encode(env);
    with_annotation(env, chunk, annotation.as_deref(), paths)
}

/// Returns the chunk by itself, or `{Chunk, nil | [{Names, Offset, Length, Position}], nil | [{Position,
/// Characters}]}`.
pub(crate) fn with_annotation<'a>(
    env: Env<'a>,
    chunk: Term<'a>,
    annotation: Option<&Annotation>,
    paths: &mut Paths<'a>,
) -> Term<'a> {
    let Some(Annotation { entries, references }) = annotation else { return chunk };
    let part = |part: &EntryPart| (paths.names(env, &part.path), part.offset, part.length, part.position);
    let entries = entries.as_ref().map(|entries| entries.iter().map(part).collect::<Vec<_>>());
    let replaced = |replaced: &Replaced| (replaced.position, text(env, &replaced.characters));
    let references =
        references.as_ref().map(|references| references.iter().map(replaced).collect::<Vec<_>>());
    (chunk, entries, references).encode(env)
}

/// Encodes paths of entries, in the order of their NAR, as lists of names, the last one first. The list of a
/// directory is the shared tail of the lists of its entries.
#[derive(Default)]
pub(crate) struct Paths<'a> {
    /// The last path that was encoded, preceded by those of its directories.
    made: Vec<(EntryPath, Term<'a>)>,
}

impl<'a> Paths<'a> {
    fn names(&mut self, env: Env<'a>, path: &EntryPath) -> Term<'a> {
        let mut missing = Vec::new();
        let mut known = path;
        while let Some((name, directory)) = known.split_last() {
            if self.made.get(known.depth() - 1).is_some_and(|(made, _)| made.is(known)) {
                break;
            }
            missing.push((known, name));
            known = directory;
        }
        self.made.truncate(known.depth());
        let mut names = self.made.last().map_or_else(|| Term::list_new_empty(env), |(_, names)| *names);
        for (path, name) in missing.into_iter().rev() {
            names = names.list_prepend(text(env, name));
            self.made.push((path.clone(), names));
        }
        names
    }
}

/// How many chunks and parts of annotations are encoded between two checks whether the caller has died: some
/// milliseconds.
const AT_ONCE: usize = 4096;

fn each<'a>(env: Env<'a>, chunks: &[AnnotatedChunk]) -> Result<Vec<Term<'a>>, NifError<'a>> {
    let died = caller_died(env);
    let mut paths = Paths::default();
    let mut terms = Vec::with_capacity(chunks.len());
    let mut unasked = 0;
    for chunk in chunks {
        let parts = chunk.annotation.as_deref().map_or(0, |Annotation { entries, references }| {
            entries.as_ref().map_or(0, Vec::len) + references.as_ref().map_or(0, Vec::len)
        });
        unasked += 1 + parts;
        if unasked >= AT_ONCE {
            unasked = 0;
            if died() {
                return Err(chunker::Error::Cancelled.into());
            }
        }
        terms.push(encode(env, chunk, &mut paths));
    }
    Ok(terms)
}

/// `{ok, Chunks}`
pub(crate) fn list<'a>(env: Env<'a>, chunks: &[AnnotatedChunk]) -> Result<Term<'a>, NifError<'a>> {
    ok(env, each(env, chunks)?)
}

/// `{ok, Chunks, NarHash}`
pub(crate) fn list_with_hash<'a>(
    env: Env<'a>,
    chunks: &[AnnotatedChunk],
    digest: &Digest,
) -> Result<Term<'a>, NifError<'a>> {
    Ok((atoms::ok(), each(env, chunks)?, nar_hash(env, digest)).encode(env))
}

/// `{ok, Chunks}`, or `{ok, Chunks, Data}` if references were taken out of `data`.
fn list_of_data<'a>(
    env: Env<'a>,
    chunks: &[AnnotatedChunk],
    data: &[u8],
    options: &ChunkingOptions<'a>,
) -> Result<Term<'a>, NifError<'a>> {
    if !options.takes_references() {
        return list(env, chunks);
    }
    let mut normalized = NewBinary::new(env, data.len());
    let bytes = normalized.as_mut_slice();
    bytes.copy_from_slice(data);
    for AnnotatedChunk { chunk, annotation } in chunks {
        for replaced in annotation.iter().filter_map(|annotation| annotation.references.as_ref()).flatten() {
            let at = chunk.offset as usize + replaced.position;
            let count = replaced.characters.len();
            bytes[at..at + count].copy_from_slice(&PLACEHOLDER[..count]);
        }
    }
    Ok((atoms::ok(), each(env, chunks)?, Term::from(normalized)).encode(env))
}

twins! {
    /// `{ok, Chunks}`, or `{ok, Chunks, Data}` if references were taken out of `data`.
    fn chunk_data, chunk_data_dirty(env, scheduler; data: Binary<'a>, options: ChunkingOptions<'a>) {
        let selection = options.hashing(scheduler)?;
        let is_cancelled = scheduler.is_cancelled(env);
        let chunking = selection.for_slice(&data, &is_cancelled)?;
        list_of_data(env, &chunking.slice(&data, &is_cancelled)?, &data, &options)
    }
}

/// `{ok, Chunks}`, or `special` for a non-seekable file, for `special_chunks`.
#[rustler::nif(schedule = "DirtyCpu")]
fn chunk_file<'a>(env: Env<'a>, path: Binary<'a>, options: ChunkingOptions<'a>) -> NifResult<Term<'a>> {
    guard(env, || {
        let selection = options.hashing(Scheduler::Dirty)?;
        let Some(mut input) = regular(&path, options.on_change())? else {
            return Ok(atoms::special().encode(env));
        };
        let died = caller_died(env);
        match selection.for_input(&mut input, &died)? {
            // The path leads to another file by now.
            None => Ok(atoms::special().encode(env)),
            Some(chunking) => list(env, &chunking.clone().source(input).all(&died)?),
        }
    })
}

/// `{ok, Chunks, NarHash}`, or `special` for a non-seekable file, for `special_chunks`.
#[rustler::nif(schedule = "DirtyCpu")]
fn nar_chunk_file<'a>(env: Env<'a>, path: Binary<'a>, options: ChunkingOptions<'a>) -> NifResult<Term<'a>> {
    guard(env, || {
        let selection = options.hashing(Scheduler::Dirty)?;
        let algorithm = sha256()?;
        let Some(mut input) = regular(&path, options.on_change())? else {
            return Ok(atoms::special().encode(env));
        };
        let died = caller_died(env);
        let Some(chunking) = selection.for_input(&mut input, &died)? else {
            return Ok(atoms::special().encode(env));
        };
        let (source, whole) = HashingReader::new(input, algorithm);
        let chunks = chunking.clone().source(source).all(&died)?;
        let digest = whole().expect("all of it was read");
        list_with_hash(env, &chunks, &digest)
    })
}

/// `{ok, Chunks, NarHash}`
#[rustler::nif(schedule = "DirtyCpu")]
fn nar_chunk_data<'a>(env: Env<'a>, data: Binary<'a>, options: ChunkingOptions<'a>) -> NifResult<Term<'a>> {
    guard(env, || {
        let selection = options.hashing(Scheduler::Dirty)?;
        let died = caller_died(env);
        let chunking = selection.for_slice(&data, &died)?;
        let (chunks, digest) = hash_beside(sha256()?, &data, chunking.workers(), &died, |left| {
            chunking.clone().with_workers(left).slice(&data, &died)
        })?;
        list_with_hash(env, &chunks, &digest)
    })
}

/// Returns the references that were taken out of a chunk, `[{Position, Characters}]`. The characters are not
/// copied: their caller chooses their length, and one binary may be in the list a million times.
fn replaced<'a>(List(references): List<(usize, Binary<'a>)>) -> Vec<Replaced<&'a [u8]>> {
    let replaced = |(position, characters): (usize, Binary<'a>)| Replaced {
        position,
        characters: characters.as_slice(),
    };
    references.into_iter().map(replaced).collect()
}

twins! {
    /// `{ok, Data}`: the bytes of a chunk with `references` put back.
    fn restore_references, restore_references_dirty(
        env, _scheduler;
        data: Binary<'a>, references: List<(usize, Binary<'a>)>
    ) {
        let mut restored = NewBinary::new(env, data.len());
        restored.as_mut_slice().copy_from_slice(&data);
        references::restore(restored.as_mut_slice(), &replaced(references))?;
        ok(env, Term::from(restored))
    }
}

/// `{ok, Data}`: the bytes of a chunk, with references taken out again, if they have the digest of the chunk.
#[rustler::nif(schedule = "DirtyIo")]
fn read_chunk<'a>(
    env: Env<'a>,
    path: Binary<'a>,
    (offset, length): (u64, u64),
    (hash, algorithm): (Binary<'a>, Hash),
    references: List<(usize, Binary<'a>)>,
) -> NifResult<Term<'a>> {
    guard(env, || {
        let algorithm = algorithm.algorithm()?;
        if length > Chunk::LONGEST {
            return Err(chunker::Error::BufferLimit { attempted: length, limit: Chunk::LONGEST }.into());
        }
        let path = to_path(&path);
        let mut data = NewBinary::new(env, length as usize);
        file::read_range(&path, offset, data.as_mut_slice())?;
        let replaced = references::replace(data.as_mut_slice(), &replaced(references));
        if replaced.is_err() || algorithm.hash(&data).0 != *hash {
            return Err(chunker::Error::FileChanged { path }.into());
        }
        ok(env, Term::from(data))
    })
}

/// Opens a regular file. Returns `None` for a non-seekable one.
pub(crate) fn regular<'a>(path: &[u8], on_change: OnChange) -> Result<Option<Input>, NifError<'a>> {
    let path = to_path(path);
    Ok(match file::kind(&path)? {
        Kind::Regular => Some(Input::open(&path)?.on_change(on_change)),
        Kind::Special => None,
    })
}

#[cfg(unix)]
pub(crate) fn to_path(bytes: &[u8]) -> PathBuf {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    Path::new(OsStr::from_bytes(bytes)).into()
}

#[cfg(not(unix))]
pub(crate) fn to_path(bytes: &[u8]) -> PathBuf {
    Path::new(String::from_utf8_lossy(bytes).as_ref()).into()
}
