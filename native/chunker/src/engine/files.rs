//! Chunking many files.

use std::path::{Path, PathBuf};

use super::ChunkerKind;
use super::chunk::ChunkBytes;
use crate::Cancel;
use crate::engine::batch::Batch;
use crate::engine::workers::Workers;
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

impl<T, W> ChunkerKind<W>
where
    T: Send + 'static,
    W: Fn(&ChunkBytes<'_>) -> T + Clone + Send + Sync + 'static,
{
    /// Chunks the files at `paths` and gives the results in their order; a file that cannot be chunked spoils no other.
    ///
    /// Many files are each chunked by one thread, the largest first; each thread has one file open. Few files, fewer than
    /// the batch's threshold, are chunked one after the other, each by all threads.
    ///
    /// Progress counts the files that are chunked here: of those that are special, none is done yet.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`] when `is_cancelled` says so, and nothing else: the errors of the files are among the results.
    ///
    /// # Panics
    ///
    /// When the work on a chunk panics, with its message.
    pub fn files(
        &self,
        paths: &[PathBuf],
        batch: &Batch<'_>,
        is_cancelled: Cancel<'_>,
    ) -> Result<Vec<Result<FileChunks<T>, Error>>, Error> {
        let few = paths.len() < batch.parallel_threshold;
        let selection = if few { self.clone() } else { self.clone().with_workers(Workers::of_this_thread()) };
        // Sizes are asked for by all threads too: on a network file system that takes longer than much else.
        let looks = Batch { progress: None, ..*batch };
        let looks = looks.run(paths, |_| 0, || (), |(), path, _| look(path), is_cancelled)?;
        let special = looks.iter().filter(|(special, _)| *special).count();
        let total = paths.len();
        // Those that are special are left to the end, so that what the batch counts is what is chunked, and then they.
        let tell = |done: usize, _: usize| {
            if let Some(progress) = batch.progress
                && done <= total - special
            {
                progress(done, total);
            }
        };
        let batch = Batch { progress: batch.progress.is_some().then_some(&tell), ..*batch };
        let files: Vec<_> = paths.iter().zip(looks).collect();
        let work =
            |(): &mut (), (path, (special, _)): &(&PathBuf, (bool, usize)), is_cancelled: Cancel<'_>| {
                if *special || file::kind(path)? == Kind::Special {
                    return Ok(FileChunks::Special);
                }
                let mut input = Input::open(path)?;
                // The path may lead to another file by now.
                let Some(chunking) = selection.for_input(&mut input, is_cancelled)? else {
                    return Ok(FileChunks::Special);
                };
                Ok(FileChunks::Chunks(chunking.clone().source(input).all(is_cancelled)?))
            };
        let size = |(_, (special, length)): &(&PathBuf, (bool, usize))| {
            if *special { 0 } else { length.saturating_add(1) }
        };
        batch.run(&files, size, || (), work, is_cancelled)
    }
}

/// Whether a file is special, and what it says of its length; 0 if it says nothing, for it is only used to begin with the
/// largest.
fn look(path: &Path) -> (bool, usize) {
    let Ok(metadata) = std::fs::metadata(path) else { return (false, 0) };
    let special = !metadata.is_file() && !metadata.is_dir();
    (special, usize::try_from(metadata.len()).unwrap_or(usize::MAX))
}
