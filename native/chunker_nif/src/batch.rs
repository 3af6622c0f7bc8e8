//! Many items in one call.

use std::path::PathBuf;

use chunker::codec::{CompressionScratch, compress_or_give_up, decompress_or_give_up};
use chunker::engine::FileChunks;
use chunker::engine::batch::Batch;
use chunker::{Error, GiveUp};
use rustler::{Binary, Encoder, Env, LocalPid, NifResult, Reference, Term};

use crate::atoms;
use crate::binary::BinaryBuffer;
use crate::call::{caller_died, guard};
use crate::chunking::{list, to_path};
use crate::error::{Failure, text};
use crate::options::{BatchOptions, ChunkingOptions, Compression, Decompression, Digests, Progress};

/// Calls `run` with a batch that tells progress as `{chunker_progress, Ref, Done, Total}`.
fn with_batch<'a, T>(
    env: Env<'a>,
    options: &BatchOptions<'a>,
    run: impl FnOnce(&Batch<'_>, GiveUp<'_>) -> Result<T, Error>,
) -> Result<T, Failure<'a>> {
    let listener: Option<(LocalPid, Reference<'a>)> = match options.progress() {
        Progress::None => None,
        Progress::To(pid, reference) => Some((pid, reference)),
    };
    let tell = |done: usize, total: usize| {
        if let Some((pid, reference)) = &listener {
            // A listener that has died hears nothing, which is no error.
            let _ = env.send(pid, (atoms::chunker_progress(), Term::from(*reference), done, total));
        }
    };
    let batch = Batch {
        workers: options.workers()?,
        parallel_threshold: options.parallel_threshold()?,
        progress: listener.is_some().then_some(&tell),
    };
    Ok(run(&batch, &caller_died(env))?)
}

/// Calls `code` for each item. A term for each, `{ok, Binary}` or its own error.
fn code_batch<'a>(
    env: Env<'a>,
    items: &[Binary<'a>],
    options: &BatchOptions<'a>,
    code: impl Fn(&[u8], &mut CompressionScratch, &mut BinaryBuffer, GiveUp<'_>) -> Result<(), Error> + Sync,
) -> Result<Term<'a>, Failure<'a>> {
    let items: Vec<&[u8]> = items.iter().map(Binary::as_slice).collect();
    let work = |scratch: &mut CompressionScratch, item: &&[u8], give_up: GiveUp<'_>| {
        let mut out = BinaryBuffer::new();
        code(item, scratch, &mut out, give_up).map(|()| out.finish())
    };
    let results = with_batch(env, options, |batch, give_up| {
        batch.run(&items, |item| item.len(), CompressionScratch::new, work, give_up)
    })?;
    let terms: Vec<Term<'a>> = results
        .into_iter()
        .map(|item| match item {
            Ok(bytes) => (atoms::ok(), bytes.release(env)).encode(env),
            Err(error) => Failure::Engine(error).to_term(env),
        })
        .collect();
    Ok((atoms::ok(), terms).encode(env))
}

#[rustler::nif(schedule = "DirtyCpu")]
fn hash_batch<'a>(
    env: Env<'a>,
    items: Vec<Binary<'a>>,
    digests: Digests,
    options: BatchOptions<'a>,
) -> NifResult<Term<'a>> {
    guard(env, || {
        let items: Vec<&[u8]> = items.iter().map(Binary::as_slice).collect();
        let digester = digests.digester()?;
        let digests = with_batch(env, &options, |batch, give_up| {
            let work =
                |(): &mut (), item: &&[u8], give_up: GiveUp<'_>| digester.digest_or_give_up(item, give_up);
            let digests = batch.run(&items, |item| item.len(), || (), work, give_up)?;
            digests.into_iter().collect::<Result<Vec<_>, _>>()
        })?;
        let terms: Vec<_> = digests.iter().map(|digest| text(env, &digest.0)).collect();
        Ok((atoms::ok(), terms).encode(env))
    })
}

#[rustler::nif(schedule = "DirtyCpu")]
fn compress_batch<'a>(
    env: Env<'a>,
    items: Vec<Binary<'a>>,
    codec: Compression<'a>,
    options: BatchOptions<'a>,
) -> NifResult<Term<'a>> {
    guard(env, || {
        let codec = codec.checked()?;
        code_batch(env, &items, &options, |item, scratch, out, give_up| {
            compress_or_give_up(item, &codec, scratch, out, give_up)
        })
    })
}

#[rustler::nif(schedule = "DirtyCpu")]
fn decompress_batch<'a>(
    env: Env<'a>,
    items: Vec<Binary<'a>>,
    codec: Decompression<'a>,
    options: BatchOptions<'a>,
) -> NifResult<Term<'a>> {
    guard(env, || {
        let codec = codec.checked()?;
        code_batch(env, &items, &options, |item, scratch, out, give_up| {
            decompress_or_give_up(item, &codec, scratch, out, give_up)
        })
    })
}

/// A result for each path: `{ok, Chunks}`, its error, or `special` for a file that may keep its reader waiting.
#[rustler::nif(schedule = "DirtyCpu")]
fn chunk_files<'a>(
    env: Env<'a>,
    paths: Vec<Binary<'a>>,
    chunking: ChunkingOptions<'a>,
    options: BatchOptions<'a>,
) -> NifResult<Term<'a>> {
    guard(env, || {
        let paths: Vec<PathBuf> = paths.iter().map(|path| to_path(path)).collect();
        let chunking = chunking.hashing()?;
        let files = with_batch(env, &options, |batch, give_up| chunking.files(&paths, batch, give_up))?;
        let terms: Vec<Term<'a>> = files
            .into_iter()
            .map(|file| match file {
                Ok(FileChunks::Chunks(chunks)) => list(env, &chunks),
                Ok(FileChunks::Special) => Ok(atoms::special().encode(env)),
                Err(error) => Ok(Failure::Engine(error).to_term(env)),
            })
            .collect::<Result<_, _>>()?;
        Ok((atoms::ok(), terms).encode(env))
    })
}
