//! Chunking a file, or whatever else bytes can be read from.

use std::fmt;
use std::io::Read;
use std::time::Duration;

use super::chunk::ChunkBytes;
use super::pipeline::{Next, Pipeline, Work};
use super::{Chunking, WORK_ITEM_BYTES};
use crate::Cancel;
use crate::engine::workers::Workers;
use crate::error::Error;
use crate::io::source::{FromRead, Source};
use crate::nar::annotations::{Noted, Scribe, with_notes};

impl<W> Chunking<W> {
    /// Begins to chunk what `source` gives.
    pub fn source<T, S>(self, source: S) -> Reader<T>
    where
        T: Send + 'static,
        W: Fn(&ChunkBytes<'_>) -> T + Send + Sync + 'static,
        S: Source + Send + 'static,
    {
        // To wake a thread takes longer than to do so little work.
        let short = source.length().is_some_and(|length| length <= WORK_ITEM_BYTES as u64);
        let workers = if short { Workers::of_this_thread() } else { self.workers };
        let (source, work): (Box<dyn Source + Send>, Work<T>) = if self.notes.is_empty() {
            (Box::new(source), Box::new(self.work))
        } else {
            let scribe = Scribe::new(self.notes);
            let work = with_notes(scribe.notebook(), self.work);
            (Box::new(Noted::new(source, scribe)), Box::new(work))
        };
        let running = if source.is_live() {
            (Pipeline::new(self.cuts, workers, work, None), Some(source))
        } else {
            (Pipeline::new(self.cuts, workers, work, Some(source)), None)
        };
        Reader { running: Some(running) }
    }

    /// Begins to chunk what `reader` gives. Interrupted reads are tried again.
    pub fn reader<T, R>(self, reader: R) -> Reader<T>
    where
        T: Send + 'static,
        W: Fn(&ChunkBytes<'_>) -> T + Send + Sync + 'static,
        R: Read + Send + 'static,
    {
        self.source(FromRead(reader))
    }
}

/// How long a call that was given up may go on waiting for input: well below the 100 ms that the design allows.
pub(crate) const SOURCE_WAIT: Duration = Duration::from_millis(20);

/// An input that is read as it is chunked. Made by [`Chunking::reader`] and [`Chunking::source`].
///
/// While one part of the input is read and scanned, the chunks of those before are worked on. Memory stays below four
/// times `max_size` and a few MiB for each thread, and of notes below as much again. Dropping it stops the work.
pub struct Reader<T> {
    /// With the source, if somebody else sends what it gives: that is read when it is needed and passed on at once. `None`
    /// after the end and after an error: what was read before an error must not look like a last chunk.
    running: Option<(Pipeline<T>, Option<Live>)>,
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

impl<T: Send + 'static> Reader<T> {
    /// The next results, if they can be had without waiting for whoever sends the input.
    ///
    /// # Errors
    ///
    /// What the source fails with, [`Error::Nar`] when this is to be a NAR and is none, and [`Error::Cancelled`] when
    /// `is_cancelled` says so. After an error comes [`Step::End`].
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

fn step_live<T: Send + 'static>(
    pipeline: &Pipeline<T>,
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

impl<T> fmt::Debug for Reader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("running", &self.running.is_some()).finish()
    }
}
