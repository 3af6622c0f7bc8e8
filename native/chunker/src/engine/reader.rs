//! Chunks a source of bytes, such as a file.

use std::fmt;

use super::boundaries::Boundaries;
use super::pipeline::{Pipeline, Work};
use super::work_item::WORK_ITEM_BYTES;
use super::workers::Workers;
use crate::Cancel;
use crate::error::Error;
use crate::io::source::Source;

/// Chunks an input that is read by the threads that chunk it. Created by
/// [`Chunking::reader`](super::Chunking::reader) and [`Chunking::source`](super::Chunking::source).
///
/// Reading, scanning and the work on chunks run at the same time. Memory stays below four times `max_size`
/// and a few MiB for each thread, plus at most as much again for annotations. Input is read in blocks of 256
/// KiB; for a source whose producer is slow, [`Pieces::pull`](super::Pieces::pull) gives the chunks sooner.
/// Dropping the reader cancels the work.
pub struct Reader<T, A = ()> {
    /// `None` after the end and after an error: bytes read before an error must not form a last chunk.
    pipeline: Option<Pipeline<T, A>>,
}

impl<T: Send + 'static, A: Send + 'static> Reader<T, A> {
    pub(super) fn new(
        source: Box<dyn Source + Send>,
        boundaries: Box<dyn Boundaries<A>>,
        workers: Workers,
        work: Work<T, A>,
    ) -> Self {
        // Waking a thread takes longer than so little work.
        let short = source.length().is_some_and(|length| length <= WORK_ITEM_BYTES as u64);
        let workers = if short { Workers::of_this_thread() } else { workers };
        Self { pipeline: Some(Pipeline::new(boundaries, workers, work, Some(source))) }
    }

    /// Returns the next results, at least one, or `None` after the last.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Cancelled`] if `is_cancelled` returns true, and the errors of the source and of the
    /// chunking method. After an error, returns `None`.
    ///
    /// # Panics
    ///
    /// Panics with the same payload if the work on a chunk panics.
    pub fn next_results(&mut self, is_cancelled: Cancel<'_>) -> Result<Option<Vec<T>>, Error> {
        let Some(pipeline) = self.pipeline.take() else { return Ok(None) };
        let results = pipeline.results(is_cancelled)?;
        if results.is_some() {
            self.pipeline = Some(pipeline);
        }
        Ok(results)
    }

    /// Returns all remaining results.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`next_results`](Self::next_results), and drops the results before the error.
    ///
    /// # Panics
    ///
    /// Panics with the same payload if the work on a chunk panics.
    pub fn all(mut self, is_cancelled: Cancel<'_>) -> Result<Vec<T>, Error> {
        let mut all = Vec::new();
        while let Some(results) = self.next_results(is_cancelled)? {
            all.extend(results);
        }
        Ok(all)
    }
}

impl<T, A> fmt::Debug for Reader<T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("running", &self.pipeline.is_some()).finish()
    }
}
