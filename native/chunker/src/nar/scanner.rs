//! Finds the cut points of a NAR along the files in it.
//!
//! [`aligned`](crate::aligned) has the rules: a cut is forced where the contents of each large file begin and
//! where they end, and any other cut moves back to the end of a file or directory that ended shortly before it.

use super::error::{NarError, Rule};
use super::parser::{Event, Kind, Node, Parser};
pub use crate::aligned::Config;
use crate::aligned::{AlignedScanner, Layout, Mark};
use crate::cdc::{CdcParams, Cut, Window};
use crate::error::OptionsError;

/// Finds the cut points of a NAR that arrives in pieces of any size, as [`Scanner`](crate::cdc::Scanner) does
/// for other inputs. Scans each byte at most once, copies none, and finds the same cut points however the NAR is
/// split.
///
/// ```
/// use chunker::nar::NarError;
/// use chunker::nar::scanner::{Config, NarScanner};
///
/// fn lengths<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<Vec<usize>, NarError> {
///     let mut scanner = NarScanner::new(&Config::DEFAULT).expect("a preset is in range");
///     let mut lengths = Vec::new();
///     for mut piece in pieces {
///         while let Some(cut) = scanner.feed(piece)? {
///             piece = &piece[cut.consumed..];
///             lengths.push(cut.length);
///         }
///     }
///     lengths.extend(scanner.finish()?);
///     Ok(lengths)
/// }
/// assert!(lengths([&b"something else"[..]].into_iter()).is_err());
/// ```
#[derive(Debug, Clone)]
pub struct NarScanner {
    parser: Parser,
    scanner: AlignedScanner,
}

impl NarScanner {
    /// Creates a scanner at the start of a NAR.
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
    /// Takes time linear in `piece`, and in total linear in the NAR, however it is split into pieces.
    ///
    /// # Errors
    ///
    /// Returns [`NarError`] if the input breaks a rule; the last cuts before the violation may be missing.
    /// Every further call fails the same way.
    pub fn feed(&mut self, piece: &[u8]) -> Result<Option<Cut>, NarError> {
        self.feed_in_window(piece, None, |_, _| {})
    }

    /// Does the same as [`feed`](Self::feed), but scans less if `window` has the candidates in the piece, and
    /// calls `found` for each entry with the end of its head, before the chunk with the last byte of the head
    /// ends.
    pub(super) fn feed_in_window(
        &mut self,
        piece: &[u8],
        window: Option<Window<'_>>,
        found: impl FnMut(&Node<'_>, u64),
    ) -> Result<Option<Cut>, NarError> {
        self.scanner.feed(piece, window, &mut NarLayout { parser: &mut self.parser, found })
    }

    /// Ends the NAR and returns the length of the last chunk, or `None` if there is none after the last cut.
    ///
    /// # Errors
    ///
    /// Returns [`NarError`] if the NAR is not complete, and the error of an earlier call.
    pub fn finish(&mut self) -> Result<Option<usize>, NarError> {
        // The parser skips the contents of a large file before they are scanned.
        let ahead = self.scanner.ahead();
        if ahead > 0 {
            return Err(NarError { offset: self.parser.offset() - ahead, rule: Rule::Truncated });
        }
        self.parser.finish()?;
        Ok(self.scanner.finish())
    }

    /// Returns the number of chunks so far that are shorter than `min_size` because a forced cut ended them:
    /// at most two for each file of at least `min_entry_size`, its last chunk and the chunk before it.
    #[must_use]
    pub const fn short_chunks(&self) -> u64 {
        self.scanner.short_chunks()
    }

    pub(super) fn params(&self) -> &CdcParams {
        self.scanner.params()
    }
}

/// Reports the files and directories of a NAR to the scanner, and each entry to `found`.
struct NarLayout<'a, F> {
    parser: &'a mut Parser,
    found: F,
}

impl<F: FnMut(&Node<'_>, u64)> Layout for NarLayout<'_, F> {
    type Error = NarError;

    fn next_mark(&mut self, piece: &mut &[u8]) -> Result<Option<Mark>, NarError> {
        let end = self.parser.offset() + piece.len() as u64;
        while let Some(event) = self.parser.next(piece)? {
            match event {
                Event::Node(node) => {
                    (self.found)(&node, end - piece.len() as u64);
                    if let Kind::Regular { size, .. } = node.kind {
                        return Ok(Some(Mark::Contents(size)));
                    }
                }
                Event::End => return Ok(Some(Mark::End)),
                Event::Contents(_) => {}
            }
        }
        Ok(None)
    }

    fn skip(&mut self, count: u64) {
        self.parser.skip(count);
    }
}
