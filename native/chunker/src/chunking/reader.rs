//! Chunking a file, or whatever else bytes can be read from.

use std::fmt;
use std::io::Read;
use std::time::Duration;

use super::chunk::ChunkBytes;
use super::pipeline::{Next, Pipeline};
use super::{Chunking, GROUP};
use crate::GiveUp;
use crate::error::Error;
use crate::source::{FromRead, Source};
use crate::workers::Workers;

impl<W> Chunking<W> {
    /// Begins to chunk what `source` gives.
    pub fn source<T, S>(self, source: S) -> Reader<T, S>
    where
        T: Send + 'static,
        W: Fn(&ChunkBytes<'_>) -> T + Send + Sync + 'static,
        S: Source,
    {
        // To wake a thread takes longer than to do so little work.
        let short = source.length().is_some_and(|length| length <= GROUP as u64);
        let workers = if short { Workers::of_this_thread() } else { self.workers };
        let pipeline = Pipeline::new(self.cutter, workers, Box::new(self.work));
        Reader { running: Some((pipeline, source)) }
    }

    /// Begins to chunk what `reader` gives. Interrupted reads are tried again.
    pub fn reader<T, R>(self, reader: R) -> Reader<T, FromRead<R>>
    where
        T: Send + 'static,
        W: Fn(&ChunkBytes<'_>) -> T + Send + Sync + 'static,
        R: Read,
    {
        self.source(FromRead(reader))
    }
}

/// How long a call that was given up may go on waiting for input: well below the 100 ms that the design allows.
pub(crate) const PATIENCE: Duration = Duration::from_millis(20);

/// An input that is read as it is chunked. Made by [`Chunking::reader`] and [`Chunking::source`].
///
/// While one part of the input is read and scanned, the chunks of those before are worked on. Memory stays below four
/// times `max_size` and a few MiB for each thread. Dropping it stops the work.
pub struct Reader<T, S> {
    /// `None` after the end and after an error: what was read before an error must not look like a last chunk.
    running: Option<(Pipeline<T>, S)>,
}

/// What [`Reader::step`] came to.
#[derive(Debug)]
pub enum Step<T> {
    /// The next results, at least one.
    Results(Vec<T>),
    /// There is nothing to do until somebody sends more of the input; [`Reader::wait`] waits for that.
    Waiting,
    /// All results have been given.
    End,
}

impl<T: Send + 'static, S: Source> Reader<T, S> {
    /// The next results, if they can be had without waiting for whoever sends the input.
    ///
    /// # Errors
    ///
    /// What the source fails with, and [`Error::Cancelled`] when `give_up` says so. After an error comes
    /// [`Step::End`].
    ///
    /// # Panics
    ///
    /// When the work on a chunk panics, with its message.
    pub fn step(&mut self, give_up: GiveUp<'_>) -> Result<Step<T>, Error> {
        let Some((mut pipeline, mut source)) = self.running.take() else { return Ok(Step::End) };
        let live = source.is_live();
        loop {
            match pipeline.next(live, live && !source.wait(Duration::ZERO), give_up)? {
                Next::Results(results) => {
                    self.running = Some((pipeline, source));
                    return Ok(Step::Results(results));
                }
                Next::End => return Ok(Step::End),
                Next::Feed => {
                    let mut read = None;
                    pipeline.feed(live, |room| {
                        read = source.read(room)?;
                        Ok::<_, Error>(read.unwrap_or(0))
                    })?;
                    match read {
                        Some(0) => pipeline.end(),
                        Some(_) => {}
                        None => {
                            self.running = Some((pipeline, source));
                            return Ok(Step::Waiting);
                        }
                    }
                }
            }
        }
    }

    /// Waits until there is more of the input, but no longer than `patience`.
    pub fn wait(&self, patience: Duration) {
        if let Some((_, source)) = &self.running {
            source.wait(patience);
        }
    }

    /// The next results, at least one; `None` after the last. Waits for whoever sends the input.
    ///
    /// # Errors
    ///
    /// As [`Reader::step`]; after an error comes `None`.
    ///
    /// # Panics
    ///
    /// When the work on a chunk panics, with its message.
    pub fn next_results(&mut self, give_up: GiveUp<'_>) -> Result<Option<Vec<T>>, Error> {
        loop {
            match self.step(give_up)? {
                Step::Results(results) => return Ok(Some(results)),
                Step::End => return Ok(None),
                Step::Waiting => self.wait(PATIENCE),
            }
        }
    }

    /// All results that are left.
    ///
    /// # Errors
    ///
    /// As [`Reader::next_results`]; the results before the error are dropped.
    ///
    /// # Panics
    ///
    /// When the work on a chunk panics, with its message.
    pub fn all(mut self, give_up: GiveUp<'_>) -> Result<Vec<T>, Error> {
        let mut all = Vec::new();
        while let Some(results) = self.next_results(give_up)? {
            all.extend(results);
        }
        Ok(all)
    }
}

impl<T, S> fmt::Debug for Reader<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("running", &self.running.is_some()).finish()
    }
}
