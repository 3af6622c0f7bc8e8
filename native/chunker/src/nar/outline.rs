//! The outline of a NAR: its bytes without the contents of its files.
//!
//! An outline says all about a tree except what is in its files: names, kinds, sizes and positions. It has no
//! position of its own in it, so outlines of two trees that differ in one file have most bytes in common.

use super::error::NarError;
use super::parser::{Event, Node, Parser};

/// Makes the outline of a NAR that arrives in pieces of any size, and validates the NAR.
///
/// Takes time linear in the outline, and the number of pieces.
#[derive(Debug, Clone, Default)]
pub struct Outliner {
    parser: Parser,
}

impl Outliner {
    /// Creates an outliner at the start of a NAR.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Consumes the next bytes, and appends those of them that belong to the outline to `outline`.
    ///
    /// # Errors
    ///
    /// Returns [`NarError`] if the input breaks a rule.
    pub fn feed(&mut self, piece: &[u8], outline: &mut Vec<u8>) -> Result<(), NarError> {
        self.feed_with(piece, outline, |_| {})
    }

    /// Does the same, and calls `found` with each entry.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`feed`](Self::feed).
    pub fn feed_with(
        &mut self,
        mut piece: &[u8],
        outline: &mut Vec<u8>,
        mut found: impl FnMut(&Node<'_>),
    ) -> Result<(), NarError> {
        while !piece.is_empty() {
            let skipped = self.parser.skippable().min(piece.len() as u64);
            self.parser.skip(skipped);
            let before = &piece[skipped as usize..];
            piece = before;
            // Returns before contents, which are skipped above.
            if let Some(Event::Node(node)) = self.parser.next(&mut piece)? {
                found(&node);
            }
            outline.extend_from_slice(&before[..before.len() - piece.len()]);
        }
        Ok(())
    }

    /// Ends the NAR.
    ///
    /// # Errors
    ///
    /// Returns [`NarError`] if the NAR is not complete, and the error of an earlier call.
    pub fn finish(&self) -> Result<(), NarError> {
        self.parser.finish()
    }
}

/// Reads an outline that arrives in pieces of any size.
///
/// ```
/// use chunker::nar::{Kind, NarError, OutlineReader};
///
/// /// Returns the position and the size of each file in the NAR.
/// fn files<'a>(outline: impl Iterator<Item = &'a [u8]>) -> Result<Vec<(u64, u64)>, NarError> {
///     let mut reader = OutlineReader::new();
///     let mut files = Vec::new();
///     for piece in outline {
///         reader.feed(piece, |node| {
///             if let Kind::Regular { offset, size, .. } = node.kind {
///                 files.push((offset, size));
///             }
///             Ok::<_, NarError>(true)
///         })?;
///     }
///     reader.finish()?;
///     Ok(files)
/// }
/// assert!(files([&b"something else"[..]].into_iter()).is_err());
/// ```
#[derive(Debug, Clone, Default)]
pub struct OutlineReader {
    parser: Parser,
    is_done: bool,
}

impl OutlineReader {
    /// Creates a reader at the start of an outline.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Parses all of `piece` and calls `found` with each entry, whose positions are those in the NAR. Reads
    /// no further if `found` returns false.
    ///
    /// # Errors
    ///
    /// Returns [`NarError`] if the outline is not that of a NAR, and the errors of `found`.
    pub fn feed<E: From<NarError>>(
        &mut self,
        mut piece: &[u8],
        mut found: impl FnMut(&Node<'_>) -> Result<bool, E>,
    ) -> Result<(), E> {
        while !self.is_done {
            match self.parser.next(&mut piece)? {
                None => break,
                Some(Event::Node(node)) => self.is_done = !found(&node)?,
                Some(_) => {}
            }
            self.parser.skip(self.parser.skippable());
        }
        Ok(())
    }

    /// Returns whether the rest of the outline need not be fed.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.is_done
    }

    /// Ends the outline.
    ///
    /// # Errors
    ///
    /// Returns [`NarError`] if it is truncated.
    pub fn finish(&self) -> Result<(), NarError> {
        if self.is_done { Ok(()) } else { self.parser.finish() }
    }
}
