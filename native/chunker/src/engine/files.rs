//! Chunks many files.

use std::path::{Path, PathBuf};

use super::batch::Batch;
use super::chunk::ChunkBytes;
use super::chunker_kind::ChunkerKind;
use super::workers::Workers;
use crate::Cancel;
use crate::error::Error;
use crate::io::file::{self, Input, Kind, OnChange};

/// The result for one of many files.
#[derive(Debug)]
pub enum FileChunks<T> {
    /// The results of its chunks.
    Chunks(Vec<T>),
    /// The file is special, for example a FIFO, and was skipped: waiting for its producer would delay the
    /// files after it.
    Special,
}

/// Chunks the files at `paths` and returns the results in their order. A file that cannot be chunked does not
/// affect the others.
///
/// Many files are each chunked by one thread, the largest first, and each thread has one file open. Fewer
/// files than the batch's threshold are chunked one after the other, each by all threads.
///
/// Progress counts the files that are chunked; special files are not counted as done.
///
/// # Errors
///
/// Returns [`Error::Cancelled`] if `is_cancelled` returns true, and no other error: the errors of the files
/// are among the results.
///
/// # Panics
///
/// Panics with the same payload if the work on a chunk panics.
pub fn chunk_files<T, A, W>(
    kind: &ChunkerKind<W, A>,
    paths: &[PathBuf],
    on_change: OnChange,
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
    // All threads read the sizes, which takes long on a network file system.
    let looks = Batch { progress: None, ..*batch };
    let looks = looks.run(paths, |_| 0, || (), |(), path, _| look(path), is_cancelled)?;
    let special = looks.iter().filter(|(special, _)| *special).count();
    let total = paths.len();
    // Special files come last, so that the batch counts the files that are chunked first.
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
        let mut input = Input::open(path)?.on_change(on_change);
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

/// Returns whether a file is special, and its length in bytes, or 0 if it is unknown. The length only
/// determines the order.
fn look(path: &Path) -> (bool, usize) {
    let Ok(metadata) = std::fs::metadata(path) else { return (false, 0) };
    let special = !metadata.is_file() && !metadata.is_dir();
    (special, usize::try_from(metadata.len()).unwrap_or(usize::MAX))
}
