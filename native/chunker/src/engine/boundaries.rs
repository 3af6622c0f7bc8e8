//! What finds the boundaries of chunks: the engine knows nothing else of how an input is split.
//!
//! A [`ChunkingMethod`] begins an input, [`Boundaries`] find the chunks in it, and a [`Filter`], which few methods have, changes
//! bytes before they are chunked. Plain FastCDC is a method; others may know the format of their inputs.

use super::filter::Filter;
use crate::cdc::{CdcParams, Scanner, Window};
use crate::error::Error;

/// What is scanned at once, in bytes, before other threads may have the core: less than ten microseconds' work.
pub(super) const SCAN_STRETCH: usize = 32 << 10;

/// A chunk that ends in the bytes that were fed last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundChunk<A = ()> {
    /// Its length in bytes. It begins where the chunk before it ends.
    pub length: usize,
    /// What is known of it beyond its bytes. The engine passes it on to the work on the chunk.
    pub annotation: A,
}

/// Finds the boundaries of one input that comes in pieces.
///
/// The calls are made once for each stretch of some KiB and not once for each chunk, so that implementations are
/// called through a pointer without being slower for it.
pub trait Boundaries<A>: Send {
    /// Scans `piece`, the next bytes of the input, and appends the chunks that end in it to `chunks`. A chunk may turn out
    /// to have ended before the last bytes of earlier pieces. If `window` has the candidates in the piece, most of it
    /// need not be looked at.
    ///
    /// # Errors
    ///
    /// What the input breaks, if it must keep to a format. The chunks in front of that place may be missing then.
    fn feed(
        &mut self,
        piece: &[u8],
        window: Option<Window<'_>>,
        chunks: &mut Vec<FoundChunk<A>>,
    ) -> Result<(), Error>;

    /// Ends the input and appends the chunk that is left, if there is one.
    ///
    /// # Errors
    ///
    /// As [`feed`](Self::feed), for an input that ends too early among others.
    fn finish(&mut self, chunks: &mut Vec<FoundChunk<A>>) -> Result<(), Error>;

    /// Returns what finds the candidates that a [`Window`] holds.
    fn params(&self) -> &CdcParams;

    /// Returns the length of the longest chunk that there can be, in bytes.
    fn max_size(&self) -> usize;
}

/// How inputs are split into chunks: begins one input after the other.
pub trait ChunkingMethod<A>: Send + Sync {
    /// Begins an input: returns what finds its boundaries, and what changes its bytes before, if anything does.
    fn begin(&self) -> (Box<dyn Boundaries<A>>, Option<Box<dyn Filter>>);
}

/// Plain FastCDC, which annotates nothing.
impl<A: Default> Boundaries<A> for Scanner {
    fn feed(
        &mut self,
        piece: &[u8],
        window: Option<Window<'_>>,
        chunks: &mut Vec<FoundChunk<A>>,
    ) -> Result<(), Error> {
        let mut done = 0;
        while let Some(cut) = self.feed_in_window(&piece[done..], window.map(|window| window.behind(done))) {
            done += cut.consumed;
            chunks.push(FoundChunk { length: cut.length, annotation: A::default() });
        }
        Ok(())
    }

    fn finish(&mut self, chunks: &mut Vec<FoundChunk<A>>) -> Result<(), Error> {
        let last = Self::finish(self);
        chunks.extend(last.map(|length| FoundChunk { length, annotation: A::default() }));
        Ok(())
    }

    fn params(&self) -> &CdcParams {
        Self::params(self)
    }

    fn max_size(&self) -> usize {
        Self::params(self).max_size()
    }
}

impl<A: Default> ChunkingMethod<A> for CdcParams {
    fn begin(&self) -> (Box<dyn Boundaries<A>>, Option<Box<dyn Filter>>) {
        (Box::new(Scanner::new(self.clone())), None)
    }
}
