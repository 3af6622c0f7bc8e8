//! Which cut points an input gets.

use crate::cdc::{Ahead, Cut, Cutter, Scanner};
use crate::nar::NarError;
use crate::nar::scanner::NarScanner;

/// Finds the cut points of an input, by what the input is.
#[derive(Debug, Clone)]
pub(super) enum Cuts {
    /// Any bytes.
    Plain(Scanner),
    /// A NAR, and nothing else.
    Nar(Box<NarScanner>),
}

impl Cuts {
    pub(super) fn plain(cutter: Cutter) -> Self {
        Self::Plain(Scanner::new(cutter))
    }

    /// See [`Scanner::feed`] and [`NarScanner::feed`]: a cut may lie before the last of the bytes that were consumed. Most
    /// of the piece need not be looked at if its marks are known.
    pub(super) fn feed(&mut self, piece: &[u8], ahead: Option<Ahead<'_>>) -> Result<Option<Cut>, NarError> {
        match self {
            Self::Plain(scanner) => Ok(scanner.feed_ahead(piece, ahead)),
            Self::Nar(scanner) => scanner.feed_ahead(piece, ahead),
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
    pub(super) fn cutter(&self) -> &Cutter {
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
