//! Chunking many files.

use std::path::{Path, PathBuf};

use super::batch::Batch;
use super::chunk::ChunkBytes;
use super::chunker_kind::ChunkerKind;
use super::workers::Workers;
use crate::Cancel;
use crate::error::Error;
use crate::io::file::{self, Input, Kind};

/// What became of a file among many.
#[derive(Debug)]
pub enum FileChunks<T> {
    /// What came of its chunks.
    Chunks(Vec<T>),
    /// It is none that can be read at once, and was left alone: a FIFO would hold up the files after it.
    Special,
}

/// Chunks the files at `paths` and returns the results in their order; a file that cannot be chunked spoils no other.
///
/// Many files are each chunked by one thread, the largest first; each thread has one file open. Fewer files than the
/// batch's threshold are chunked one after the other, each by all threads.
///
/// Progress counts the files that are chunked here: of those that are special, none is done yet.
///
/// # Errors
///
/// [`Error::Cancelled`] if `is_cancelled` says so, and nothing else: the errors of the files are among the results.
///
/// # Panics
///
/// If the work on a chunk panics, with its message.
pub fn chunk_files<T, A, W>(
    kind: &ChunkerKind<W, A>,
    paths: &[PathBuf],
    batch: &Batch<'_>,
    is_cancelled: Cancel<'_>,
) -> Result<Vec<Result<FileChunks<T>, Error>>, Error>
where
    T: Send + 'static,
    A: Send + 'static,
    W: Fn(&ChunkBytes<'_, A>) -> T + Clone + Send + Sync + 'static,
{
    let few = paths.len() < batch.parallel_threshold;
    let kind = if few { kind.clone() } else { kind.clone().with_workers(Workers::of_this_thread()) };
    // Sizes are asked for by all threads too: on a network file system that takes longer than much else.
    let looks = Batch { progress: None, ..*batch };
    let looks = looks.run(paths, |_| 0, || (), |(), path, _| look(path), is_cancelled)?;
    let special = looks.iter().filter(|(special, _)| *special).count();
    let total = paths.len();
    // Those that are special are left to the end, so that what the batch counts is what is chunked, and then they.
    let report = |done: usize, _: usize| {
        if let Some(progress) = batch.progress
            && done <= total - special
        {
            progress(done, total);
        }
    };
    let batch = Batch { progress: batch.progress.is_some().then_some(&report), ..*batch };
    let files: Vec<_> = paths.iter().zip(looks).collect();
    let work = |(): &mut (), (path, (special, _)): &(&PathBuf, (bool, usize)), is_cancelled: Cancel<'_>| {
        if *special || file::kind(path)? == Kind::Special {
            return Ok(FileChunks::Special);
        }
        let mut input = Input::open(path)?;
        // The path may lead to another file by now.
        let Some(chunking) = kind.for_input(&mut input, is_cancelled)? else {
            return Ok(FileChunks::Special);
        };
        Ok(FileChunks::Chunks(chunking.clone().source(input).all(is_cancelled)?))
    };
    let size = |(_, (special, length)): &(&PathBuf, (bool, usize))| {
        if *special { 0 } else { length.saturating_add(1) }
    };
    batch.run(&files, size, || (), work, is_cancelled)
}

/// Whether a file is special, and what it says of its length; 0 if it says nothing, for it is only used to begin with the
/// largest.
fn look(path: &Path) -> (bool, usize) {
    let Ok(metadata) = std::fs::metadata(path) else { return (false, 0) };
    let special = !metadata.is_file() && !metadata.is_dir();
    (special, usize::try_from(metadata.len()).unwrap_or(usize::MAX))
}
