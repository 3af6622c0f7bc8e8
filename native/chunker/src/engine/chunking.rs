//! Configures chunking: the entry point for chunking one input.

use std::fmt;
use std::io::Read;
use std::sync::Arc;

use super::boundaries::ChunkingMethod;
use super::chunk::ChunkBytes;
use super::filter::{FilteredSource, filter_slice};
use super::pieces::Pieces;
use super::reader::Reader;
use super::slice;
use super::workers::Workers;
use crate::Cancel;
use crate::cdc::CdcParams;
use crate::error::Error;
use crate::io::source::{FromRead, Source};

/// Holds how to chunk: the method that finds boundaries, the work on each chunk, and the threads to use.
///
/// `work` is called once for each chunk, on any of the threads. Its return value is the result for that
/// chunk, and results are returned in the order of the chunks. [`Chunk::hashed`](super::Chunk::hashed)
/// returns the usual work. `A` is the annotation that the [`ChunkingMethod`] attaches to each chunk.
///
/// ```
/// use chunker::NEVER;
/// use chunker::cdc::{CdcParams, Options};
/// use chunker::engine::{Chunk, Chunking};
/// use chunker::hash::Algorithm;
/// use chunker::engine::workers::Workers;
///
/// let params = CdcParams::new(&Options::default())?;
/// let chunking = Chunking::new(params, Workers::of_this_thread(), Chunk::hashed(Algorithm::ALL[0]));
/// let chunks = chunking.slice(b"hello", NEVER)?;
/// assert_eq!((chunks[0].offset, chunks[0].length), (0, 5));
/// # Ok::<(), chunker::Error>(())
/// ```
pub struct Chunking<W, A = ()> {
    method: Arc<dyn ChunkingMethod<A>>,
    workers: Workers,
    work: W,
}

impl<W> Chunking<W> {
    /// Chunks with plain FastCDC.
    #[must_use]
    pub fn new(params: CdcParams, workers: Workers, work: W) -> Self {
        Self::with_method(params, workers, work)
    }
}

impl<W, A> Chunking<W, A> {
    /// Chunks with `method`.
    pub fn with_method(method: impl ChunkingMethod<A> + 'static, workers: Workers, work: W) -> Self {
        Self { method: Arc::new(method), workers, work }
    }

    /// Returns the threads to use.
    #[must_use]
    pub const fn workers(&self) -> Workers {
        self.workers
    }

    /// Replaces the threads to use.
    #[must_use]
    pub fn with_workers(mut self, workers: Workers) -> Self {
        self.workers = workers;
        self
    }

    /// Chunks `data` and returns the results in order. Takes time and memory linear in the length of `data`
    /// and the number of chunks. Copies `data` only if the method changes bytes.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Cancelled`] if `is_cancelled` returns true, and the errors of the method.
    ///
    /// # Panics
    ///
    /// Panics with the same payload if the work on a chunk panics.
    pub fn slice<T>(&self, data: &[u8], is_cancelled: Cancel<'_>) -> Result<Vec<T>, Error>
    where
        T: Send,
        A: Send,
        W: Fn(&ChunkBytes<'_, A>) -> T + Sync,
    {
        match self.method.begin() {
            (boundaries, None) => slice::chunk(data, boundaries, self.workers, &self.work, is_cancelled),
            (boundaries, Some(filter)) => {
                let data = filter_slice(filter, data, is_cancelled)?;
                slice::chunk(&data, boundaries, self.workers, &self.work, is_cancelled)
            }
        }
    }

    /// Starts to chunk `source`.
    pub fn source<T, S>(self, source: S) -> Reader<T, A>
    where
        T: Send + 'static,
        A: Send + 'static,
        W: Fn(&ChunkBytes<'_, A>) -> T + Send + Sync + 'static,
        S: Source + Send + 'static,
    {
        let (boundaries, filter) = self.method.begin();
        let source: Box<dyn Source + Send> = match filter {
            None => Box::new(source),
            Some(filter) => Box::new(FilteredSource::new(source, filter)),
        };
        Reader::new(source, boundaries, self.workers, Box::new(self.work))
    }

    /// Starts to chunk `reader`. Retries interrupted reads.
    pub fn reader<T, R>(self, reader: R) -> Reader<T, A>
    where
        T: Send + 'static,
        A: Send + 'static,
        W: Fn(&ChunkBytes<'_, A>) -> T + Send + Sync + 'static,
        R: Read + Send + 'static,
    {
        self.source(FromRead(reader))
    }

    /// Starts to chunk an input that arrives in pieces.
    pub fn pieces<T>(self) -> Pieces<T, A>
    where
        T: Send + 'static,
        A: Send + 'static,
        W: Fn(&ChunkBytes<'_, A>) -> T + Send + Sync + 'static,
    {
        let (boundaries, filter) = self.method.begin();
        Pieces::new(boundaries, filter, self.workers, Box::new(self.work))
    }
}

impl<W: Clone, A> Clone for Chunking<W, A> {
    fn clone(&self) -> Self {
        Self { method: Arc::clone(&self.method), workers: self.workers, work: self.work.clone() }
    }
}

impl<W, A> fmt::Debug for Chunking<W, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunking").field("workers", &self.workers).finish_non_exhaustive()
    }
}
