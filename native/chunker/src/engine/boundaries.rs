//! Defines the interface between the engine and the methods that split an input.
//!
//! A [`ChunkingMethod`] begins an input, [`Boundaries`] find its chunks, and an optional [`Filter`] changes
//! bytes before they are chunked. Plain FastCDC is one method; others may depend on the format of their
//! inputs.

use super::filter::Filter;
use crate::cdc::{CdcParams, Scanner, Window};
use crate::error::Error;

/// The number of bytes that are scanned between two yields, less than 10 microseconds' work.
pub(super) const SCAN_STRETCH: usize = 32 << 10;

/// Describes a chunk that [`Boundaries`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundChunk<A = ()> {
    /// The length of the chunk, in bytes. It begins at the end of the previous chunk.
    pub length: usize,
    /// The annotation, which the engine passes to the work on the chunk.
    pub annotation: A,
}

/// Finds the boundaries of one input that arrives in pieces.
///
/// The methods are called for each stretch of some KiB and not for each chunk, which amortizes the dynamic
/// dispatch.
pub trait Boundaries<A>: Send {
    /// Scans `piece`, the next bytes of the input, and appends the chunks that are complete to `chunks`. A
    /// chunk may end before `piece`, in earlier pieces. If `window` has the candidates in the piece, most of
    /// the piece need not be scanned.
    ///
    /// # Errors
    ///
    /// Returns an error if the input violates the format that the method requires. The chunks before the
    /// error may be missing.
    fn feed(
        &mut self,
        piece: &[u8],
        window: Option<Window<'_>>,
        chunks: &mut Vec<FoundChunk<A>>,
    ) -> Result<(), Error>;

    /// Ends the input and appends the last chunk, if there is one.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`feed`](Self::feed), and an error if the input is truncated.
    fn finish(&mut self, chunks: &mut Vec<FoundChunk<A>>) -> Result<(), Error>;

    /// Returns the parameters to find the candidates of a [`Window`] with.
    fn params(&self) -> &CdcParams;

    /// Returns the maximum length of a chunk, in bytes.
    fn max_size(&self) -> usize;
}

/// Defines how inputs are split into chunks.
pub trait ChunkingMethod<A>: Send + Sync {
    /// Begins an input: returns its boundaries, and the filter that changes its bytes first, if the method
    /// has one.
    fn begin(&self) -> (Box<dyn Boundaries<A>>, Option<Box<dyn Filter>>);
}

/// Finds the boundaries of plain FastCDC, without annotations.
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
