//! Chunking a file, or whatever else bytes can be read from.

use std::fmt;
use std::time::Duration;

use super::boundaries::Boundaries;
use super::pipeline::{Next, Pipeline, Work};
use super::work_item::WORK_ITEM_BYTES;
use super::workers::Workers;
use crate::Cancel;
use crate::error::Error;
use crate::io::source::{SOURCE_WAIT, Source};

/// An input that is read as it is chunked. Made by [`Chunking::reader`](super::Chunking::reader) and
/// [`Chunking::source`](super::Chunking::source).
///
/// While one part of the input is read and scanned, the chunks of those before are worked on. Memory stays below four
/// times `max_size` and a few MiB for each thread, and that of annotations below as much again. Dropping it stops the work.
pub struct Reader<T, A = ()> {
    /// With the source, if somebody else sends what it gives: that is read when it is needed and passed on at once. `None`
    /// after the end and after an error: what was read before an error must not look like a last chunk.
    running: Option<(Pipeline<T, A>, Option<Live>)>,
}

/// A source that somebody feeds while it is read.
type Live = Box<dyn Source + Send>;

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

impl<T: Send + 'static, A: Send + 'static> Reader<T, A> {
    pub(super) fn new(
        source: Box<dyn Source + Send>,
        boundaries: Box<dyn Boundaries<A>>,
        workers: Workers,
        work: Work<T, A>,
    ) -> Self {
        // To wake a thread takes longer than to do so little work.
        let short = source.length().is_some_and(|length| length <= WORK_ITEM_BYTES as u64);
        let workers = if short { Workers::of_this_thread() } else { workers };
        let running = if source.is_live() {
            (Pipeline::new(boundaries, workers, work, None), Some(source))
        } else {
            (Pipeline::new(boundaries, workers, work, Some(source)), None)
        };
        Self { running: Some(running) }
    }

    /// The next results, if they can be had without waiting for whoever sends the input.
    ///
    /// # Errors
    ///
    /// What the source fails with, what the method of chunking refuses, and [`Error::Cancelled`] if `is_cancelled` says
    /// so. After an error comes [`Step::End`].
    ///
    /// # Panics
    ///
    /// When the work on a chunk panics, with its message.
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

    /// Waits until there is more of the input, but no longer than `patience`.
    pub fn wait(&self, patience: Duration) {
        if let Some((_, Some(source))) = &self.running {
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
    pub fn next_results(&mut self, is_cancelled: Cancel<'_>) -> Result<Option<Vec<T>>, Error> {
        loop {
            match self.step(is_cancelled)? {
                Step::Results(results) => return Ok(Some(results)),
                Step::End => return Ok(None),
                Step::Waiting => self.wait(SOURCE_WAIT),
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
