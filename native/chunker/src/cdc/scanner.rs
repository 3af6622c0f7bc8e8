//! The state machine that finds cut points in input that comes in pieces.
//!
//! FastCDC v2020 (Wen Xia and others, "The Design of Fast Content-Defined Chunking for Data Deduplication Based
//! Storage Systems", IEEE TPDS 2020) as crate `fastcdc` 5 implements it in `v2020`. Counted from the start of a
//! chunk, these positions are judged, each with the gear hash of the bytes from the even `min_size` on:
//!
//! * from the even `min_size` below the even `avg_size`: by the strict mask;
//! * from there below the even `max_size`: by the loose mask;
//! * the byte at the position that passes opens the next chunk; at `max_size` a chunk ends in any case.
//!
//! Positions are judged in pairs, and the crate leaves out a pair that the input does not fill. So the verdict on an
//! even position counts only once the byte after it is known to exist; that is the one thing for which the scanner
//! has to look ahead.

use super::candidates::{Window, find};
use super::params::CdcParams;

/// A cut point in the piece given to [`Scanner::feed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The bytes of the piece that the scanner is done with; the next call gets those after them.
    pub consumed: usize,
    /// The length of the chunk that ends at the cut, in bytes.
    pub length: usize,
}

/// Finds cut points in input that comes in pieces of any size. It looks at each byte once and keeps none.
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
    /// The last byte fed is at an even position and passed: it is a cut point if another byte follows.
    pending: bool,
}

impl Scanner {
    /// A scanner at the start of an input.
    #[must_use]
    pub fn new(params: CdcParams) -> Self {
        Self { params, length: 0, hash: 0, pending: false }
    }

    /// Scans `piece`, up to the first cut point in it. `None` means that all of it was scanned and belongs to a chunk
    /// that goes on; `Some` that the caller is to come back with the bytes after the cut.
    ///
    /// O(`piece`), and in sum O(input), however the pieces fall.
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
            // The byte that passed came with an earlier piece and is the first one of the chunk that begins.
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
            self.length += (piece.len() - (self.length - before)).min(self.params.max_size - self.length);
        }
        if self.length < self.params.max_size {
            return None;
        }
        self.begin(0);
        Some(Cut { consumed: self.params.max_size - before, length: self.params.max_size })
    }

    /// Ends the input and gives the length of the last chunk, `None` if the input ended with the chunk before it. The
    /// scanner is then at the start of a new input.
    pub fn finish(&mut self) -> Option<usize> {
        let length = self.length;
        self.begin(0);
        (length > 0).then_some(length)
    }

    pub(crate) fn params(&self) -> &CdcParams {
        &self.params
    }

    /// Begins a chunk of which `length` bytes, at most `scan_start`, have been fed.
    pub(crate) fn begin(&mut self, length: usize) {
        self.length = length;
        self.hash = 0;
        self.pending = false;
    }
}
