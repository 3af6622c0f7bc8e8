//! Chunking whole inputs.

use std::path::{Path, PathBuf};

use chunker::chunking::Chunk;
use chunker::file::{self, Input, Kind};
use rustler::{Binary, Encoder, Env, NewBinary, NifResult, Term};

use crate::atoms;
use crate::failure::{Failure, text};
use crate::guard::{caller_died, guard};
use crate::options::{ChunkingOptions, Hash};

/// `{Offset, Length, Hash}`
pub(crate) fn encode<'a>(env: Env<'a>, chunk: &Chunk) -> Term<'a> {
    (chunk.offset, chunk.length, text(env, &chunk.hash.0)).encode(env)
}

pub(crate) fn list<'a>(env: Env<'a>, chunks: &[Chunk]) -> Term<'a> {
    let terms: Vec<_> = chunks.iter().map(|chunk| encode(env, chunk)).collect();
    (atoms::ok(), terms).encode(env)
}

/// For binaries so short that a plain scheduler is not held up.
#[rustler::nif]
fn chunk_small_data<'a>(env: Env<'a>, data: Binary<'a>, options: ChunkingOptions<'a>) -> NifResult<Term<'a>> {
    guard(env, || {
        let selection = options.hashing_alone()?;
        let chunking = selection.for_slice(&data, &|| false)?;
        Ok(list(env, &chunking.slice(&data, &|| false)?))
    })
}

#[rustler::nif(schedule = "DirtyCpu")]
fn chunk_data<'a>(env: Env<'a>, data: Binary<'a>, options: ChunkingOptions<'a>) -> NifResult<Term<'a>> {
    guard(env, || {
        let selection = options.hashing()?;
        let died = caller_died(env);
        let chunking = selection.for_slice(&data, &died)?;
        Ok(list(env, &chunking.slice(&data, &died)?))
    })
}

/// `special` for a file that may keep its reader waiting, which is chunked as a stream.
#[rustler::nif(schedule = "DirtyCpu")]
fn chunk_file<'a>(env: Env<'a>, path: Binary<'a>, options: ChunkingOptions<'a>) -> NifResult<Term<'a>> {
    guard(env, || {
        let selection = options.hashing()?;
        let Some(mut input) = regular(&path)? else { return Ok(atoms::special().encode(env)) };
        let died = caller_died(env);
        match selection.for_input(&mut input, &died)? {
            // The path leads to another file by now.
            None => Ok(atoms::special().encode(env)),
            Some(chunking) => Ok(list(env, &chunking.clone().source(input).all(&died)?)),
        }
    })
}

/// The bytes of a chunk, which must have the digest that it had when the file was chunked.
#[rustler::nif(schedule = "DirtyIo")]
fn read_chunk<'a>(
    env: Env<'a>,
    path: Binary<'a>,
    (offset, length): (u64, u64),
    hash: Binary<'a>,
    algorithm: Hash,
) -> NifResult<Term<'a>> {
    guard(env, || {
        let algorithm = algorithm.algorithm()?;
        if length > Chunk::LONGEST {
            return Err(chunker::Error::BufferLimit { attempted: length, limit: Chunk::LONGEST }.into());
        }
        let path = to_path(&path);
        let mut data = NewBinary::new(env, length as usize);
        file::read_range(&path, offset, data.as_mut_slice())?;
        if algorithm.hash(&data).0 != *hash {
            return Err(chunker::Error::FileChanged { path }.into());
        }
        Ok((atoms::ok(), Term::from(data)).encode(env))
    })
}

/// Opens a regular file; `None` if it is another.
pub(crate) fn regular<'a>(path: &[u8]) -> Result<Option<Input>, Failure<'a>> {
    let path = to_path(path);
    Ok(match file::kind(&path)? {
        Kind::Regular => Some(Input::open(&path)?),
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
