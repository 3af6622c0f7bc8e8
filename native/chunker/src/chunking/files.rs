//! Chunking many files.

use std::path::{Path, PathBuf};

use super::Selection;
use super::chunk::{Chunk, ChunkBytes};
use crate::GiveUp;
use crate::batch::Batch;
use crate::error::Error;
use crate::file::{self, Input, Kind};
use crate::workers::Workers;

/// What became of a file among many.
#[derive(Debug)]
pub enum FileChunks {
    /// Its chunks.
    Chunks(Vec<Chunk>),
    /// It is none that can be read at once, and was left alone: a FIFO would hold up the files after it.
    Special,
}

impl<W: Fn(&ChunkBytes<'_>) -> Chunk + Clone + Send + Sync + 'static> Selection<W> {
    /// Chunks the files at `paths` and gives the results in their order; a file that cannot be chunked spoils no other.
    ///
    /// Many files are each chunked by one thread, the largest first; each thread has one file open. Few files, fewer than
    /// the batch's threshold, are chunked one after the other, each by all threads.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`] when `give_up` says so, and nothing else: the errors of the files are among the results.
    ///
    /// # Panics
    ///
    /// When the work on a chunk panics, with its message.
    pub fn files(
        &self,
        paths: &[PathBuf],
        batch: &Batch<'_>,
        give_up: GiveUp<'_>,
    ) -> Result<Vec<Result<FileChunks, Error>>, Error> {
        let few = paths.len() < batch.parallel_threshold;
        let selection = if few { self.clone() } else { self.clone().with_workers(Workers::of_this_thread()) };
        // Sizes are asked for by all threads too: on a network file system that takes longer than much else.
        let lengths = Batch { progress: None, ..*batch };
        let lengths = lengths.run(paths, |_| 0, || (), |(), path, _| length(path), give_up)?;
        let files: Vec<_> = paths.iter().zip(lengths).collect();
        let work = |(): &mut (), (path, _): &(&PathBuf, usize), give_up: GiveUp<'_>| match file::kind(path)? {
            Kind::Special => Ok(FileChunks::Special),
            Kind::Regular => {
                let mut input = Input::open(path)?;
                // The path may lead to another file by now.
                let Some(chunking) = selection.for_input(&mut input, give_up)? else {
                    return Ok(FileChunks::Special);
                };
                Ok(FileChunks::Chunks(chunking.clone().source(input).all(give_up)?))
            }
        };
        batch.run(&files, |(_, length)| *length, || (), work, give_up)
    }
}

/// What a file says of its length; 0 if it says nothing, for it is only used to begin with the largest.
fn length(path: &Path) -> usize {
    std::fs::metadata(path).map_or(0, |metadata| usize::try_from(metadata.len()).unwrap_or(usize::MAX))
}
