//! Chunking input that arrives in pieces.

use super::chunk::ChunkBytes;
use super::pipeline::{Next, Pipeline, Work};
use super::{Chunking, WORK_ITEM_BYTES};
use crate::Cancel;
use crate::error::Error;
use crate::nar::annotations::{Scribe, with_notes};

impl<W> Chunking<W> {
    /// Begins an input that arrives in pieces.
    pub fn pieces<T>(self) -> Pieces<T>
    where
        T: Send + 'static,
        W: Fn(&ChunkBytes<'_>) -> T + Send + Sync + 'static,
    {
        let scribe = (!self.notes.is_empty()).then(|| Box::new(Scribe::new(self.notes)));
        let work: Work<T> = match &scribe {
            None => Box::new(self.work),
            Some(scribe) => Box::new(with_notes(scribe.notebook(), self.work)),
        };
        Pieces { pipeline: Some(Pipeline::new(self.cuts, self.workers, work, None)), scribe }
    }
}

/// An input that arrives in pieces of any size. Made by [`Chunking::pieces`].
///
/// Memory stays below four times `max_size` and a few MiB for each thread. Dropping it stops the work.
#[derive(Debug)]
pub struct Pieces<T> {
    /// `None` after the end and after an error.
    pipeline: Option<Pipeline<T>>,
    scribe: Option<Box<Scribe>>,
}

impl<T: Send + 'static> Pieces<T> {
    /// Takes in the next bytes and gives the results that have become known, those of earlier pieces first. Works on
    /// in the background when it returns.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`] when `is_cancelled` says so, and [`Error::Nar`] when this is to be a NAR and is none; after that, and
    /// after the end, nothing comes out any more.
    ///
    /// # Panics
    ///
    /// When the work on a chunk panics, with its message.
    pub fn push(&mut self, piece: &[u8], is_cancelled: Cancel<'_>) -> Result<Vec<T>, Error> {
        if self.scribe.is_none() {
            return self.take_in(piece, is_cancelled);
        }
        let mut results = Vec::new();
        for piece in piece.chunks(WORK_ITEM_BYTES) {
            if self.pipeline.is_none() {
                return Err(Error::Cancelled);
            }
            let piece = match &mut self.scribe {
                Some(scribe) => scribe.feed(piece),
                None => piece.into(),
            };
            results.extend(self.take_in(&piece, is_cancelled)?);
        }
        Ok(results)
    }

    fn take_in(&mut self, mut piece: &[u8], is_cancelled: Cancel<'_>) -> Result<Vec<T>, Error> {
        let pipeline = self.pipeline.take().ok_or(Error::Cancelled)?;
        let mut results = Vec::new();
        loop {
            match pipeline.next(true, false, is_cancelled)? {
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
        self.pipeline = Some(pipeline);
        Ok(results)
    }

    /// Ends the input and gives the results that are left.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`] when `is_cancelled` says so, or when the input was ended or given up before; [`Error::Nar`] when this
    /// is to be a NAR and is not a whole one.
    ///
    /// # Panics
    ///
    /// When the work on a chunk panics, with its message.
    pub fn finish(&mut self, is_cancelled: Cancel<'_>) -> Result<Vec<T>, Error> {
        let mut results = match self.scribe.as_mut().map(|scribe| scribe.finish()) {
            Some(rest) if !rest.is_empty() => self.take_in(&rest, is_cancelled)?,
            _ => Vec::new(),
        };
        let pipeline = self.pipeline.take().ok_or(Error::Cancelled)?;
        pipeline.end()?;
        loop {
            match pipeline.next(false, false, is_cancelled)? {
                Next::Results(more) => results.extend(more),
                Next::End => return Ok(results),
                Next::Feed => unreachable!("the input has been ended"),
            }
        }
    }
}
