//! Many items in one call.

use std::path::PathBuf;

use chunker::codec::{CompressionScratch, compress_cancellable, decompress_cancellable};
use chunker::engine::batch::Batch;
use chunker::engine::{FileChunks, chunk_files as chunk_each};
use chunker::{Cancel, Error};
use rustler::{Binary, Encoder, LocalPid, Reference, Term};

use crate::atoms;
use crate::binary::{BinaryBuffer, text};
use crate::call::{Call, nif, ok};
use crate::chunking::{list, to_path};
use crate::error::NifError;
use crate::list::List;
use crate::options::{BatchOptions, ChunkingOptions, Compression, Decompression, Digests, Progress};

/// Calls `run` with a batch that reports progress as `{chunker_progress, Ref, Done, Total}`.
fn with_batch<'a, T>(
    call: Call<'a>,
    options: &BatchOptions<'a>,
    run: impl FnOnce(&Batch<'_>, Cancel<'_>) -> Result<T, Error>,
) -> Result<T, NifError<'a>> {
    let listener: Option<(LocalPid, Reference<'a>)> = match options.progress() {
        Progress::None => None,
        Progress::To(pid, reference) => Some((pid, reference)),
    };
    let report = |done: usize, total: usize| {
        if let Some((pid, reference)) = &listener {
            // A message to a process that has died is dropped.
            let _ = call.env.send(pid, (atoms::chunker_progress(), Term::from(*reference), done, total));
        }
    };
    let batch = Batch {
        workers: options.workers()?,
        parallel_threshold: options.parallel_threshold()?,
        progress: listener.is_some().then_some(&report),
    };
    Ok(run(&batch, &call.is_cancelled())?)
}

/// Calls `code` for each item. Returns a term for each, `{ok, Binary}` or its own error.
fn code_batch<'a>(
    call: Call<'a>,
    items: &[Binary<'a>],
    options: &BatchOptions<'a>,
    code: impl Fn(&[u8], &mut CompressionScratch, &mut BinaryBuffer, Cancel<'_>) -> Result<(), Error> + Sync,
) -> Result<Term<'a>, NifError<'a>> {
    let items: Vec<&[u8]> = items.iter().map(Binary::as_slice).collect();
    let work = |scratch: &mut CompressionScratch, item: &&[u8], is_cancelled: Cancel<'_>| {
        let mut out = BinaryBuffer::new();
        code(item, scratch, &mut out, is_cancelled).map(|()| out.finish())
    };
    let results = with_batch(call, options, |batch, is_cancelled| {
        batch.run(&items, |item| item.len(), CompressionScratch::new, work, is_cancelled)
    })?;
    let terms: Vec<Term<'a>> = results
        .into_iter()
        .map(|item| match item {
            Ok(bytes) => (atoms::ok(), bytes.release(call.env)).encode(call.env),
            Err(error) => NifError::Engine(error).to_term(call.env),
        })
        .collect();
    ok(call.env, terms)
}

nif! {
    dirty hash_batch, job hash_batch_job => fn(
        call,
        items: List<Binary<'a>>,
        digests: Digests,
        options: BatchOptions<'a>,
    ) {
        let List(items) = items;
        let items: Vec<&[u8]> = items.iter().map(Binary::as_slice).collect();
        let digester = digests.digester()?;
        let digests = with_batch(call, &options, |batch, is_cancelled| {
            let work = |(): &mut (), item: &&[u8], is_cancelled: Cancel<'_>| {
                digester.digest_cancellable(item, is_cancelled)
            };
            let digests = batch.run(&items, |item| item.len(), || (), work, is_cancelled)?;
            digests.into_iter().collect::<Result<Vec<_>, _>>()
        })?;
        let terms: Vec<_> = digests.iter().map(|digest| text(call.env, &digest.0)).collect();
        ok(call.env, terms)
    }
}

nif! {
    job compress_batch_job => fn(
        call,
        items: List<Binary<'a>>,
        codec: Compression<'a>,
        options: BatchOptions<'a>,
    ) {
        let List(items) = items;
        let codec = codec.checked()?;
        code_batch(call, &items, &options, |item, scratch, out, is_cancelled| {
            compress_cancellable(item, &codec, scratch, out, is_cancelled)
        })
    }
}

nif! {
    job decompress_batch_job => fn(
        call,
        items: List<Binary<'a>>,
        codec: Decompression<'a>,
        options: BatchOptions<'a>,
    ) {
        let List(items) = items;
        let codec = codec.checked()?;
        code_batch(call, &items, &options, |item, scratch, out, is_cancelled| {
            decompress_cancellable(item, &codec, scratch, out, is_cancelled).map(|_| ())
        })
    }
}

nif! {
    /// Returns a result for each path: `{ok, Chunks}`, its error, or `special` for a non-seekable file.
    job chunk_files_job => fn(
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
            chunk_each(&chunking, &names, on_change, batch, is_cancelled)
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
