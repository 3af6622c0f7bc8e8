//! Chunks input that arrives in pieces.

use std::fmt;

use super::boundaries::Boundaries;
use super::filter::{FILTER_SIZE, Filter};
use super::pipeline::{Next, Pipeline, Work};
use super::workers::Workers;
use crate::Cancel;
use crate::error::Error;
use crate::io::source::Source;

/// The number of bytes that one read pulls: what a pipe holds on Linux.
const PULL_SIZE: usize = 64 << 10;

/// The result of [`Pieces::pull`].
#[derive(Debug)]
pub enum Pulled<T> {
    /// At least one result. More input may be available.
    Results(Vec<T>),
    /// There is neither a result nor input until the producer sends more: wait for the source, and pull again.
    Waiting,
    /// The input has ended, with these results.
    End(Vec<T>),
}

/// Chunks an input that arrives in pieces of any size. Created by
/// [`Chunking::pieces`](super::Chunking::pieces).
///
/// Uses less memory than four times `max_size` and a few MiB for each thread. Dropping it cancels the work.
pub struct Pieces<T, A = ()> {
    /// `None` after the end and after an error.
    pipeline: Option<Pipeline<T, A>>,
    filter: Option<Box<dyn Filter>>,
    /// What [`pull`](Self::pull) reads into. Empty before the first one.
    buffer: Vec<u8>,
}

impl<T: Send + 'static, A: Send + 'static> Pieces<T, A> {
    pub(super) fn new(
        boundaries: Box<dyn Boundaries<A>>,
        filter: Option<Box<dyn Filter>>,
        workers: Workers,
        work: Work<T, A>,
    ) -> Self {
        let pipeline = Some(Pipeline::new(boundaries, workers, work, None));
        Self { pipeline, filter, buffer: Vec::new() }
    }

    /// Consumes the next bytes and returns the results that are available, in the order of the input; they
    /// may belong to earlier pieces. Helpers continue in the background after the call.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Cancelled`] if `is_cancelled` returns true, and the errors of the chunking method.
    /// Calls after an error or after the end fail with [`Error::Cancelled`].
    ///
    /// # Panics
    ///
    /// Panics with the same payload if the work on a chunk panics.
    pub fn push(&mut self, piece: &[u8], is_cancelled: Cancel<'_>) -> Result<Vec<T>, Error> {
        let Some(filter) = &mut self.filter else { return push(&mut self.pipeline, piece, is_cancelled) };
        let mut results = push(&mut self.pipeline, &[], is_cancelled)?;
        let mut filtered = Vec::new();
        for piece in piece.chunks(FILTER_SIZE) {
            filtered.clear();
            filter.feed(piece, &mut filtered);
            results.extend(push(&mut self.pipeline, &filtered, is_cancelled)?);
        }
        Ok(results)
    }

    /// Pushes what can be read from `source` without waiting for its producer, until there are results. At the
    /// end of the source, ends the input.
    ///
    /// # Errors
    ///
    /// Returns the errors of the source and of [`push`](Self::push). Calls after an error fail.
    ///
    /// # Panics
    ///
    /// Panics with the same payload if the work on a chunk panics.
    pub fn pull(&mut self, source: &mut dyn Source, is_cancelled: Cancel<'_>) -> Result<Pulled<T>, Error> {
        // Taken out for the call, so that it can be borrowed beside the rest.
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(PULL_SIZE, 0);
        let pulled = self.pull_into(source, &mut buffer, is_cancelled);
        self.buffer = buffer;
        pulled
    }

    fn pull_into(
        &mut self,
        source: &mut dyn Source,
        buffer: &mut [u8],
        is_cancelled: Cancel<'_>,
    ) -> Result<Pulled<T>, Error> {
        loop {
            // Bytes read before an error must not form a last chunk.
            let read = source.read(buffer).inspect_err(|_| self.pipeline = None)?;
            let results = match read {
                Some(0) => return Ok(Pulled::End(self.finish(is_cancelled)?)),
                Some(count) => self.push(&buffer[..count], is_cancelled)?,
                None => self.push(&[], is_cancelled)?,
            };
            if !results.is_empty() {
                return Ok(Pulled::Results(results));
            }
            if read.is_none() {
                return Ok(Pulled::Waiting);
            }
        }
    }

    /// Ends the input and returns the remaining results.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Cancelled`] if `is_cancelled` returns true or if the input has ended or failed
    /// before, and the errors of the chunking method.
    ///
    /// # Panics
    ///
    /// Panics with the same payload if the work on a chunk panics.
    pub fn finish(&mut self, is_cancelled: Cancel<'_>) -> Result<Vec<T>, Error> {
        let mut results = Vec::new();
        if let Some(filter) = &mut self.filter {
            let mut rest = Vec::new();
            filter.finish(&mut rest);
            results = push(&mut self.pipeline, &rest, is_cancelled)?;
        }
        let pipeline = self.pipeline.take().ok_or(Error::Cancelled)?;
        pipeline.end()?;
        loop {
            match pipeline.next(false, is_cancelled)? {
                Next::Results(more) => results.extend(more),
                Next::End => return Ok(results),
                Next::Feed => unreachable!("the input has been ended"),
            }
        }
    }
}

impl<T, A> fmt::Debug for Pieces<T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pieces").field("running", &self.pipeline.is_some()).finish()
    }
}

/// Feeds bytes to the pipeline and returns the results that are available. Drops the pipeline on an error.
fn push<T: Send + 'static, A: Send + 'static>(
    running: &mut Option<Pipeline<T, A>>,
    mut piece: &[u8],
    is_cancelled: Cancel<'_>,
) -> Result<Vec<T>, Error> {
    let pipeline = running.take().ok_or(Error::Cancelled)?;
    let mut results = Vec::new();
    loop {
        match pipeline.next(true, is_cancelled)? {
            Next::Results(more) => results.extend(more),
            Next::Feed if piece.is_empty() => break,
            Next::Feed => {
                let taken = pipeline.feed(true, |room| {
                    let count = room.len().min(piece.len());
                    room[..count].copy_from_slice(&piece[..count]);
                    Ok::<_, Error>(count)
                })?;
                piece = &piece[taken..];
            }
            Next::End => unreachable!("the input has not been ended"),
        }
    }
    *running = Some(pipeline);
    Ok(results)
}
