//! Chunking whole inputs.

use std::path::{Path, PathBuf};

use chunker::cache::Digester;
use chunker::engine::{Chunk, ChunkBytes};
use chunker::hash::{Digest, HashingReader, hash_beside};
use chunker::io::file::{self, Input, Kind, OnChange};
use chunker::io::source::Source;
use chunker::nar::EntryPath;
use chunker::nar::annotations::{Annotation, ChunkAnnotation, EntryPart};
use chunker::nar::references::{self, PLACEHOLDER, Replaced};
use rustler::types::atom::Atom;
use rustler::{Binary, Encoder, Env, NewBinary, NifResult, Term};

use crate::atoms;
use crate::binary::text;
use crate::call::{Call, Place, guard, nif, ok};
use crate::error::NifError;
use crate::list::List;
use crate::nar::{encode_path, nar_hash, sha256};
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
    let term = (chunk.offset, chunk.length, text(env, &chunk.hash.0)).encode(env);
    with_annotation(env, term, chunk.length, annotation.as_deref(), paths)
}

/// Returns the chunk, of `length` bytes, by itself, or `{Chunk, nil | [{Path, Offset, Length, Position}], nil |
/// [{Position, Characters}]}`. Each `Path` of a chunk is a binary, or each is a list of names.
pub(crate) fn with_annotation<'a>(
    env: Env<'a>,
    chunk: Term<'a>,
    length: usize,
    annotation: Option<&Annotation>,
    paths: &mut Paths<'a>,
) -> Term<'a> {
    let Some(Annotation { entries, references }) = annotation else { return chunk };
    let entries = entries.as_ref().map(|entries| {
        // Whole paths can be a hundred times as long in sum as the NAR. If those of a chunk are longer than the
        // chunk, Erlang joins them, where a stream takes one chunk at a time.
        let whole = entries.iter().map(|part| part.path.length()).sum::<usize>() <= length;
        let part = |part: &EntryPart| {
            let path = if whole { paths.whole(env, &part.path) } else { paths.names(env, &part.path) };
            // Encoded one by one: the VM allocates memory for many tuples at once, in which binaries between
            // them find room. A list of binaries would be one allocation for each.
            (path, part.offset, part.length, part.position).encode(env)
        };
        entries.iter().map(part).collect::<Vec<_>>()
    });
    let replaced = |replaced: &Replaced| (replaced.position, text(env, &replaced.characters));
    let references =
        references.as_ref().map(|references| references.iter().map(replaced).collect::<Vec<_>>());
    (chunk, entries, references).encode(env)
}

/// Encodes paths of entries, in the order of their NAR.
#[derive(Default)]
pub(crate) struct Paths<'a> {
    /// The last path that was encoded as names, preceded by those of its directories.
    names: Vec<(EntryPath, Term<'a>)>,
    /// The last path that was encoded as a binary.
    last: Option<(EntryPath, Term<'a>)>,
}

impl<'a> Paths<'a> {
    /// Returns the path as a binary. An entry that is in several chunks has the same binary in each.
    fn whole(&mut self, env: Env<'a>, path: &EntryPath) -> Term<'a> {
        if let Some((last, term)) = &self.last
            && last.is(path)
        {
            return *term;
        }
        let term = encode_path(env, path);
        self.last = Some((path.clone(), term));
        term
    }

    /// Returns the path as a list of names, the last one first. The list of a directory is the shared tail of
    /// the lists of its entries.
    fn names(&mut self, env: Env<'a>, path: &EntryPath) -> Term<'a> {
        let mut missing = Vec::new();
        let mut known = path;
        while let Some((name, directory)) = known.split_last() {
            if self.names.get(known.depth() - 1).is_some_and(|(made, _)| made.is(known)) {
                break;
            }
            missing.push((known, name));
            known = directory;
        }
        self.names.truncate(known.depth());
        let mut names = self.names.last().map_or_else(|| Term::list_new_empty(env), |(_, names)| *names);
        for (path, name) in missing.into_iter().rev() {
            names = names.list_prepend(text(env, name));
            self.names.push((path.clone(), names));
        }
        names
    }
}

/// How many chunks and parts of annotations are encoded between two checks whether the caller has died: some
/// milliseconds.
const AT_ONCE: usize = 4096;

fn each<'a>(call: Call<'a>, chunks: &[AnnotatedChunk]) -> Result<Vec<Term<'a>>, NifError<'a>> {
    let is_cancelled = call.is_cancelled();
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
            if is_cancelled() {
                return Err(chunker::Error::Cancelled.into());
            }
        }
        terms.push(encode(call.env, chunk, &mut paths));
    }
    Ok(terms)
}

/// `{ok, Chunks}`
pub(crate) fn list<'a>(call: Call<'a>, chunks: &[AnnotatedChunk]) -> Result<Term<'a>, NifError<'a>> {
    ok(call.env, each(call, chunks)?)
}

/// `{ok, Chunks, NarHash}`
pub(crate) fn list_with_hash<'a>(
    call: Call<'a>,
    chunks: &[AnnotatedChunk],
    digest: &Digest,
) -> Result<Term<'a>, NifError<'a>> {
    Ok((atoms::ok(), each(call, chunks)?, nar_hash(call.env, digest)).encode(call.env))
}

/// `{ok, Chunks}`, or `{ok, Chunks, Data}` if references were taken out of `data`.
fn list_of_data<'a>(
    call: Call<'a>,
    chunks: &[AnnotatedChunk],
    data: &[u8],
    options: &ChunkingOptions<'a>,
) -> Result<Term<'a>, NifError<'a>> {
    if !options.takes_references() {
        return list(call, chunks);
    }
    let mut normalized = NewBinary::new(call.env, data.len());
    let bytes = normalized.as_mut_slice();
    bytes.copy_from_slice(data);
    for AnnotatedChunk { chunk, annotation } in chunks {
        for replaced in annotation.iter().filter_map(|annotation| annotation.references.as_ref()).flatten() {
            let at = chunk.offset as usize + replaced.position;
            let count = replaced.characters.len();
            bytes[at..at + count].copy_from_slice(&PLACEHOLDER[..count]);
        }
    }
    Ok((atoms::ok(), each(call, chunks)?, Term::from(normalized)).encode(call.env))
}

nif! {
    /// `{ok, Chunks}`, or `{ok, Chunks, Data}` if references were taken out of `data`.
    plain chunk_data, dirty chunk_data_dirty, job chunk_data_job => fn(
        call,
        data: Binary<'a>,
        options: ChunkingOptions<'a>,
    ) {
        let selection = options.hashing(call.place)?;
        let is_cancelled = call.is_cancelled();
        let chunking = selection.for_slice(&data, &is_cancelled)?;
        list_of_data(call, &chunking.slice(&data, &is_cancelled)?, &data, &options)
    }
}

nif! {
    /// `{ok, Chunks}`, or what [`Opened::Other`] says, for `special_chunks` or this again.
    io chunk_file, job chunk_file_job => fn(call, path: Binary<'a>, options: ChunkingOptions<'a>) {
        let selection = options.hashing(call.place)?;
        let mut input = match regular(call, &path, options.on_change())? {
            Opened::Regular(input) => input,
            Opened::Other(answer) => return Ok(answer.encode(call.env)),
        };
        let is_cancelled = call.is_cancelled();
        match selection.for_input(&mut input, &is_cancelled)? {
            // The path leads to another file by now.
            None => Ok(atoms::special().encode(call.env)),
            Some(chunking) => list(call, &chunking.clone().source(input).all(&is_cancelled)?),
        }
    }
}

nif! {
    /// `{ok, Chunks, NarHash}`, or what [`Opened::Other`] says, for `special_chunks` or this again.
    io nar_chunk_file, job nar_chunk_file_job => fn(
        call,
        path: Binary<'a>,
        options: ChunkingOptions<'a>,
    ) {
        let selection = options.hashing(call.place)?;
        let algorithm = sha256()?;
        let mut input = match regular(call, &path, options.on_change())? {
            Opened::Regular(input) => input,
            Opened::Other(answer) => return Ok(answer.encode(call.env)),
        };
        let is_cancelled = call.is_cancelled();
        let Some(chunking) = selection.for_input(&mut input, &is_cancelled)? else {
            return Ok(atoms::special().encode(call.env));
        };
        let (source, whole) = HashingReader::new(input, algorithm);
        let chunks = chunking.clone().source(source).all(&is_cancelled)?;
        let digest = whole().expect("all of it was read");
        list_with_hash(call, &chunks, &digest)
    }
}

nif! {
    /// `{ok, Chunks, NarHash}`
    dirty nar_chunk_data, job nar_chunk_data_job => fn(
        call,
        data: Binary<'a>,
        options: ChunkingOptions<'a>,
    ) {
        let selection = options.hashing(call.place)?;
        let is_cancelled = call.is_cancelled();
        let chunking = selection.for_slice(&data, &is_cancelled)?;
        let (chunks, digest) = hash_beside(sha256()?, &data, chunking.workers(), &is_cancelled, |left| {
            chunking.clone().with_workers(left).slice(&data, &is_cancelled)
        })?;
        list_with_hash(call, &chunks, &digest)
    }
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

nif! {
    /// `{ok, Data}`: the bytes of a chunk with `references` put back.
    plain restore_references, dirty restore_references_dirty, list_job restore_references_job => fn(
        call,
        data: Binary<'a>,
        references: List<(usize, Binary<'a>)>,
    ) {
        let mut restored = NewBinary::new(call.env, data.len());
        restored.as_mut_slice().copy_from_slice(&data);
        references::restore(restored.as_mut_slice(), &replaced(references))?;
        ok(call.env, Term::from(restored))
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

/// The longest file, in bytes, that is read on a dirty scheduler: a few milliseconds' work.
const SHORT_FILE: u64 = 1 << 20;

/// The longest file, in bytes, whose job is short.
const LARGE_FILE: u64 = 32 << 20;

/// What opening a file has led to.
pub(crate) enum Opened {
    Regular(Input),
    /// `special` for a non-seekable file, or the kind of the job that reads one that is too long for a dirty
    /// scheduler, `short` or `long`.
    Other(Atom),
}

/// Opens a regular file.
pub(crate) fn regular<'a>(call: Call<'a>, path: &[u8], on_change: OnChange) -> Result<Opened, NifError<'a>> {
    let path = to_path(path);
    if file::kind(&path)? == Kind::Special {
        return Ok(Opened::Other(atoms::special()));
    }
    let input = Input::open(&path)?.on_change(on_change);
    match input.length() {
        Some(length) if call.place == Place::Dirty && length > SHORT_FILE => {
            Ok(Opened::Other(if length > LARGE_FILE { atoms::long() } else { atoms::short() }))
        }
        _ => Ok(Opened::Regular(input)),
    }
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
