//! Many items in one call.

use std::path::PathBuf;

use chunker::batch::{compress_batch_into, decompress_batch_into};
use chunker::engine::FileChunks;
use chunker::{Cancel, Error};
use rustler::{Binary, Encoder, Term};

use crate::atoms;
use crate::binary::{BinaryBuffer, text};
use crate::call::{Call, nif, ok};
use crate::chunking::{list, to_path};
use crate::error::NifError;
use crate::list::List;
use crate::options::{BatchOptions, ChunkingOptions, Compression, Decompression, Digests};
use crate::progress::reporter;

/// Calls `run` with a batch that reports progress as `{chunker_progress, Ref, Done, Total}`.
fn with_batch<'a, T>(
    call: Call<'a>,
    options: &BatchOptions<'a>,
    run: impl FnOnce(&chunker::BatchOptions<'_>, Cancel<'_>) -> Result<T, Error>,
) -> Result<T, NifError<'a>> {
    let report = reporter(call, options.progress)
        .map(|report| move |done: usize, total: usize| report(done as u64, Some(total as u64)));
    let batch = chunker::BatchOptions {
        workers: Some(options.workers()?),
        parallel_threshold: options.parallel_threshold()?,
        progress: report.as_ref().map(|report| report as &dyn Fn(usize, usize)),
    };
    Ok(run(&batch, &call.is_cancelled())?)
}

/// Returns the bytes of the items.
fn slices<'t>(items: &'t [Binary<'_>]) -> Vec<&'t [u8]> {
    items.iter().map(Binary::as_slice).collect()
}

/// Returns a term for each item, `{ok, Binary}` or its own error.
fn coded<'a>(call: Call<'a>, results: Vec<Result<BinaryBuffer, Error>>) -> Result<Term<'a>, NifError<'a>> {
    let terms: Vec<Term<'a>> = results
        .into_iter()
        .map(|item| match item {
            Ok(bytes) => (atoms::ok(), bytes.into_term(call.env)).encode(call.env),
            Err(error) => NifError::Engine(error).to_term(call.env),
        })
        .collect();
    ok(call.env, terms)
}

nif! {
    dirty hash_batch, list_job hash_batch_job => fn(
        call,
        items: List<Binary<'a>>,
        digests: Digests,
        options: BatchOptions<'a>,
    ) {
        let List(items) = items;
        let digester = digests.digester()?;
        let digests = with_batch(call, &options, |batch, is_cancelled| {
            chunker::hash_batch(&slices(&items), digester, batch, is_cancelled)
        })?;
        let terms: Vec<_> = digests.iter().map(|digest| text(call.env, &digest.0)).collect();
        ok(call.env, terms)
    }
}

nif! {
    list_job compress_batch_job => fn(
        call,
        items: List<Binary<'a>>,
        codec: Compression<'a>,
        options: BatchOptions<'a>,
    ) {
        let List(items) = items;
        let codec = codec.checked()?;
        let results = with_batch(call, &options, |batch, is_cancelled| {
            compress_batch_into(&slices(&items), &codec, BinaryBuffer::new, batch, is_cancelled)
        })?;
        coded(call, results)
    }
}

nif! {
    list_job decompress_batch_job => fn(
        call,
        items: List<Binary<'a>>,
        codec: Decompression<'a>,
        options: BatchOptions<'a>,
    ) {
        let List(items) = items;
        let codec = codec.checked()?;
        let results = with_batch(call, &options, |batch, is_cancelled| {
            decompress_batch_into(&slices(&items), &codec, BinaryBuffer::new, batch, is_cancelled)
        })?;
        coded(call, results)
    }
}

nif! {
    /// Returns a result for each path: `{ok, Chunks}`, its error, or `special` for a non-seekable file.
    list_job chunk_files_job => fn(
        call,
        paths: List<Binary<'a>>,
        chunking: ChunkingOptions<'a>,
        options: BatchOptions<'a>,
    ) {
        let List(paths) = paths;
        // An empty path stands for one that is too long, which is not copied.
        let names: Vec<PathBuf> =
            paths.iter().map(|path| if is_too_long(path) { PathBuf::new() } else { to_path(path) }).collect();
        let on_change = chunking.on_change();
        let chunking = chunking.hashing(call.place)?;
        let files = with_batch(call, &options, |batch, is_cancelled| {
            chunker::chunk_files(chunking, &names, on_change, batch, is_cancelled)
        })?;
        let terms: Vec<Term<'a>> = files
            .into_iter()
            .zip(&paths)
            .map(|(file, path)| match file {
                _ if is_too_long(path) => Ok(NifError::PathTooLong(path.to_term(call.env)).to_term(call.env)),
                Ok(FileChunks::Chunks(chunks)) => list(call, &chunks),
                Ok(FileChunks::Special) => Ok(atoms::special().encode(call.env)),
                Err(error) => Ok(NifError::Engine(error).to_term(call.env)),
            })
            .collect::<Result<_, _>>()?;
        ok(call.env, terms)
    }
}

/// The maximum length of a path, in bytes: that of Linux, and on Windows 32,767 UTF-16 units. No system opens
/// longer ones.
const MAX_PATH: usize = if cfg!(windows) { 3 * 32_767 } else { 4095 };

/// Returns whether a path is too long for the operating system, and for a list of them to be copied: one
/// binary may be in a list a million times.
fn is_too_long(path: &[u8]) -> bool {
    path.len() > MAX_PATH
}
