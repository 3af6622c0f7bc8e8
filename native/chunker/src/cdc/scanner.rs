//! The state machine that finds cut points in input that comes in pieces.
//!
//! It implements FastCDC v2020 (Wen Xia and others, "The Design of Fast Content-Defined Chunking for Data
//! Deduplication Based Storage Systems", IEEE TPDS 2020) as the module `v2020` of crate `fastcdc` 5 does.
//! Sizes are rounded down to even ones. Positions count from the start of a chunk, and each is tested with
//! the gear hash of the bytes from `min_size` on:
//!
//! * positions from `min_size` to below `avg_size`, with the strict mask;
//! * positions from `avg_size` to below `max_size`, with the loose mask;
//! * the byte at the position that passes is the first byte of the next chunk; a chunk always ends at
//!   `max_size`.
//!
//! Positions are tested in pairs, and the crate skips a pair that the input does not fill. A passing even
//! position is therefore a cut point only if another byte follows. This is the only lookahead of the scanner.

use super::candidates::{Window, find};
use super::params::CdcParams;

/// A cut point in a piece of input that was passed to [`Scanner::feed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The number of bytes of the piece that were consumed. The next call takes the bytes after them.
    pub consumed: usize,
    /// The length of the chunk that ends at the cut, in bytes.
    pub length: usize,
}

/// Finds cut points in input that comes in pieces of any size. Reads each byte once and stores none.
///
/// ```
/// use chunker::cdc::{CdcParams, Options, Scanner};
///
/// let mut scanner = Scanner::new(CdcParams::new(&Options::default())?);
/// let mut lengths = Vec::new();
/// for mut piece in [&[7u8; 3_000_000][..], &[8u8; 3_000_000][..]] {
///     while let Some(cut) = scanner.feed(piece) {
///         piece = &piece[cut.consumed..];
///         lengths.push(cut.length);
///     }
/// }
/// lengths.extend(scanner.finish());
/// assert_eq!(lengths.iter().sum::<usize>(), 6_000_000);
/// # Ok::<(), chunker::OptionsError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Scanner {
    params: CdcParams,
    /// The bytes of the current chunk that have been fed.
    length: usize,
    hash: u64,
    /// Whether the last byte fed is at an even position and passed. It is a cut point if another byte
    /// follows.
    pending: bool,
}

impl Scanner {
    /// Creates a scanner at the start of an input.
    #[must_use]
    pub fn new(params: CdcParams) -> Self {
        Self { params, length: 0, hash: 0, pending: false }
    }

    /// Scans `piece` up to the first cut point in it. Returns `None` if the whole piece was scanned and
    /// belongs to an unfinished chunk; after `Some`, the caller must call again with the bytes after the cut.
    ///
    /// O(`piece`), and O(input) over all calls, regardless of how the input is split.
    #[must_use = "the bytes after a cut must be fed again"]
    pub fn feed(&mut self, piece: &[u8]) -> Option<Cut> {
        self.feed_in_window(piece, None)
    }

    /// [`feed`](Self::feed), which need not look at all of the piece if the candidates in it are known already.
    pub(crate) fn feed_in_window(&mut self, piece: &[u8], window: Option<Window<'_>>) -> Option<Cut> {
        if piece.is_empty() {
            return None;
        }
        if self.pending {
            // The byte that passed came with an earlier piece and is the first byte of the next chunk.
            let length = self.length - 1;
            self.begin(1);
            return Some(Cut { consumed: 0, length });
        }
        let before = self.length;
        self.length += piece.len().min(self.params.scan_start.saturating_sub(before));
        for (end, mask) in
            [(self.params.center, self.params.strict), (self.params.scan_end, self.params.loose)]
        {
            let from = self.length - before;
            let to = piece.len().min(end.saturating_sub(before));
            if from >= to {
                continue;
            }
            let window = window.map(|window| window.behind(from));
            match find(&self.params, mask, &mut self.hash, &piece[from..to], window) {
                None => self.length = before + to,
                Some(at) => {
                    let length = self.length + at;
                    let consumed = from + at;
                    if consumed + 1 == piece.len() && length.is_multiple_of(2) {
                        self.length = length + 1;
                        self.pending = true;
                        return None;
                    }
                    self.begin(0);
                    return Some(Cut { consumed, length });
                }
            }
        }
        if self.length >= self.params.scan_end {
            self.length = (before + piece.len()).min(self.params.max_size);
        }
        if self.length < self.params.max_size {
            return None;
        }
        self.begin(0);
        Some(Cut { consumed: self.params.max_size - before, length: self.params.max_size })
    }

    /// Ends the input and returns the length of the last chunk, or `None` if the input ended with the
    /// previous chunk. Resets the scanner to the start of a new input.
    pub fn finish(&mut self) -> Option<usize> {
        let length = self.length;
        self.begin(0);
        (length > 0).then_some(length)
    }

    pub(crate) fn params(&self) -> &CdcParams {
        &self.params
    }

    /// Starts a chunk of which `length` bytes, at most `scan_start`, have been fed.
    pub(crate) fn begin(&mut self, length: usize) {
        self.length = length;
        self.hash = 0;
        self.pending = false;
    }
}
