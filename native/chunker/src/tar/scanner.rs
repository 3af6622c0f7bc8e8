//! Finds the cut points of a tar along the members in it.
//!
//! [`aligned`](crate::aligned) has the rules: a cut is forced where the contents of each large member begin and
//! where they end, and any other cut moves back to the end of a member that ended shortly before it.
//!
//! The headers are in the run before the contents and not in the contents' first chunk: the times, owner and name
//! in them change more often than the contents do.

use std::convert::Infallible;

use super::parser::{Event, Parser};
pub use crate::aligned::Config;
use crate::aligned::{AlignedScanner, Layout, Mark};
use crate::cdc::{CdcParams, Cut, Window};
use crate::error::OptionsError;

/// Finds the cut points of a tar that arrives in pieces of any size, as [`Scanner`](crate::cdc::Scanner) does for
/// other inputs. Scans each byte at most once, copies none, and finds the same cut points however the tar is split.
/// From the first block on that is not understood, cut points are those of FastCDC.
///
/// ```
/// use chunker::cdc::{CdcParams, Scanner};
/// use chunker::tar::scanner::{Config, TarScanner};
///
/// let mut scanner = TarScanner::new(&Config::DEFAULT)?;
/// let mut plain = Scanner::new(CdcParams::new(&Config::DEFAULT.options)?);
/// let not_a_tar = [7; 3_000_000];
/// assert_eq!(scanner.feed(&not_a_tar), plain.feed(&not_a_tar));
/// # Ok::<(), chunker::OptionsError>(())
/// ```
#[derive(Debug, Clone)]
pub struct TarScanner {
    parser: Parser,
    scanner: AlignedScanner,
}

impl TarScanner {
    /// Creates a scanner at the start of a tar.
    ///
    /// # Errors
    ///
    /// Returns the error for the first option that is out of range.
    pub fn new(config: &Config) -> Result<Self, OptionsError> {
        Ok(Self { parser: Parser::new(), scanner: AlignedScanner::new(config)? })
    }

    /// Scans `piece` up to the first cut point in it. Returns `None` if all of it was scanned and the chunk
    /// continues; otherwise the caller calls again with the bytes after those that were consumed.
    ///
    /// Takes time linear in `piece`, and in total linear in the tar, however it is split into pieces.
    #[must_use = "the bytes after a cut must be fed again"]
    pub fn feed(&mut self, piece: &[u8]) -> Option<Cut> {
        self.feed_in_window(piece, None)
    }

    /// Does the same as [`feed`](Self::feed), but scans less if `window` has the candidates in the piece.
    pub(super) fn feed_in_window(&mut self, piece: &[u8], window: Option<Window<'_>>) -> Option<Cut> {
        let Ok(cut) = self.scanner.feed(piece, window, &mut self.parser);
        cut
    }

    /// Ends the tar and returns the length of the last chunk, or `None` if there is none after the last cut.
    pub fn finish(&mut self) -> Option<usize> {
        self.scanner.finish()
    }

    /// Returns the number of chunks so far that are shorter than `min_size` because a forced cut ended them: at
    /// most two for each member of at least `min_entry_size`, its last chunk and the chunk before it.
    #[must_use]
    pub const fn short_chunks(&self) -> u64 {
        self.scanner.short_chunks()
    }

    pub(super) fn params(&self) -> &CdcParams {
        self.scanner.params()
    }
}

impl Layout for Parser {
    type Error = Infallible;

    fn next_mark(&mut self, piece: &mut &[u8]) -> Result<Option<Mark>, Infallible> {
        Ok(self.next(piece).map(|event| match event {
            Event::Member(member) => Mark::Contents(member.size),
            Event::End => Mark::End,
        }))
    }

    fn skip(&mut self, count: u64) {
        self.skip(count);
    }
}
