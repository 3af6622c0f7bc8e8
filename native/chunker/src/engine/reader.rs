//! Chunks a file, or any other source of bytes.

use std::fmt;
use std::time::Duration;

use super::boundaries::Boundaries;
use super::pipeline::{Next, Pipeline, Work};
use super::work_item::WORK_ITEM_BYTES;
use super::workers::Workers;
use crate::Cancel;
use crate::error::Error;
use crate::io::source::{SOURCE_WAIT, Source};

/// Chunks an input while it is read. Created by [`Chunking::reader`](super::Chunking::reader) and
/// [`Chunking::source`](super::Chunking::source).
///
/// Reading and scanning run in parallel with the work on earlier chunks. Uses less memory than four times
/// `max_size` and a few MiB for each thread, and at most as much again for annotations. Dropping it cancels
/// the work.
pub struct Reader<T, A = ()> {
    /// The pipeline, with the source if that is live: it is then read on demand, and its bytes are processed
    /// at once. `None` after the end and after an error, because the bytes before an error must not look like
    /// a last chunk.
    running: Option<(Pipeline<T, A>, Option<Live>)>,
}

/// A source whose producer runs while it is read.
type Live = Box<dyn Source + Send>;

/// The result of [`Reader::step`].
#[derive(Debug)]
pub enum Step<T> {
    /// The next results, at least one.
    Results(Vec<T>),
    /// No results until the producer sends more input; [`Reader::wait`] waits for it.
    Waiting,
    /// All results have been returned.
    End,
}

impl<T: Send + 'static, A: Send + 'static> Reader<T, A> {
    pub(super) fn new(
        source: Box<dyn Source + Send>,
        boundaries: Box<dyn Boundaries<A>>,
        workers: Workers,
        work: Work<T, A>,
    ) -> Self {
        // Waking a thread takes longer than chunking so short an input.
        let short = source.length().is_some_and(|length| length <= WORK_ITEM_BYTES as u64);
        let workers = if short { Workers::of_this_thread() } else { workers };
        let running = if source.is_live() {
            (Pipeline::new(boundaries, workers, work, None), Some(source))
        } else {
            (Pipeline::new(boundaries, workers, work, Some(source)), None)
        };
        Self { running: Some(running) }
    }

    /// Returns the next results if they are available without waiting for the producer of the input.
    ///
    /// # Errors
    ///
    /// Returns the errors of the source and of the chunking method, and [`Error::Cancelled`] if
    /// `is_cancelled` returns true. Every call after an error returns [`Step::End`].
    ///
    /// # Panics
    ///
    /// Panics with the same payload if the work on a chunk panics.
    pub fn step(&mut self, is_cancelled: Cancel<'_>) -> Result<Step<T>, Error> {
        let Some((pipeline, mut live)) = self.running.take() else { return Ok(Step::End) };
        let step = match live.as_deref_mut() {
            Some(source) => step_live(&pipeline, source, is_cancelled)?,
            None => pipeline.results(is_cancelled)?.map_or(Step::End, Step::Results),
        };
        if !matches!(step, Step::End) {
            self.running = Some((pipeline, live));
        }
        Ok(step)
    }

    /// Waits until more input is available, for at most `patience`.
    pub fn wait(&self, patience: Duration) {
        if let Some((_, Some(source))) = &self.running {
            source.wait(patience);
        }
    }

    /// Returns the next results, at least one, or `None` after the last. Waits for the producer of the input.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`step`](Self::step). Every call after an error returns `None`.
    ///
    /// # Panics
    ///
    /// Panics with the same payload if the work on a chunk panics.
    pub fn next_results(&mut self, is_cancelled: Cancel<'_>) -> Result<Option<Vec<T>>, Error> {
        loop {
            match self.step(is_cancelled)? {
                Step::Results(results) => return Ok(Some(results)),
                Step::End => return Ok(None),
                Step::Waiting => self.wait(SOURCE_WAIT),
            }
        }
    }

    /// Returns all remaining results.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`step`](Self::step); the results before an error are dropped.
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

fn step_live<T: Send + 'static, A: Send + 'static>(
    pipeline: &Pipeline<T, A>,
    source: &mut dyn Source,
    is_cancelled: Cancel<'_>,
) -> Result<Step<T>, Error> {
    loop {
        match pipeline.next(true, !source.wait(Duration::ZERO), is_cancelled)? {
            Next::Results(results) => return Ok(Step::Results(results)),
            Next::End => return Ok(Step::End),
            Next::Feed => {
                let mut read = None;
                pipeline.feed(true, |room| {
                    read = source.read(room)?;
                    Ok::<_, Error>(read.unwrap_or(0))
                })?;
                match read {
                    Some(0) => pipeline.end()?,
                    Some(_) => {}
                    None => return Ok(Step::Waiting),
                }
            }
        }
    }
}

impl<T, A> fmt::Debug for Reader<T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("running", &self.running.is_some()).finish()
    }
}
