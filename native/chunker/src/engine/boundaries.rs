//! Which cut points an input gets.

use crate::cdc::{CdcParams, Cut, Scanner, Window};
use crate::nar::NarError;
use crate::nar::scanner::NarScanner;

/// Finds the cut points of an input, by what the input is.
#[derive(Debug, Clone)]
pub(super) enum Boundaries {
    /// Any bytes.
    Plain(Scanner),
    /// A NAR, and nothing else.
    Nar(Box<NarScanner>),
}

impl Boundaries {
    pub(super) fn plain(cutter: CdcParams) -> Self {
        Self::Plain(Scanner::new(cutter))
    }

    /// See [`Scanner::feed`] and [`NarScanner::feed`]: a cut may lie before the last of the bytes that were consumed. Most
    /// of the piece need not be looked at if its marks are known.
    pub(super) fn feed(&mut self, piece: &[u8], ahead: Option<Window<'_>>) -> Result<Option<Cut>, NarError> {
        match self {
            Self::Plain(scanner) => Ok(scanner.feed_in_window(piece, ahead)),
            Self::Nar(scanner) => scanner.feed_in_window(piece, ahead),
        }
    }

    /// See [`Scanner::finish`] and [`NarScanner::finish`].
    pub(super) fn finish(&mut self) -> Result<Option<usize>, NarError> {
        match self {
            Self::Plain(scanner) => Ok(scanner.finish()),
            Self::Nar(scanner) => scanner.finish(),
        }
    }

    /// What marks the input.
    pub(super) fn cutter(&self) -> &CdcParams {
        match self {
            Self::Plain(scanner) => scanner.cutter(),
            Self::Nar(scanner) => scanner.cutter(),
        }
    }

    /// The longest chunk there can be, in bytes.
    pub(super) fn max_size(&self) -> usize {
        match self {
            Self::Plain(scanner) => scanner.max_size(),
            Self::Nar(scanner) => scanner.max_size(),
        }
    }
}
