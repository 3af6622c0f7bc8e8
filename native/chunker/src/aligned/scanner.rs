//! Scans an archive for cut points while a parser of its format runs a little ahead.

use std::collections::VecDeque;

use super::config::Config;
use crate::cdc::{CdcParams, Cut, Options, Scanner, Window};
use crate::error::OptionsError;

/// Reports where the members of an archive are, as far as the scanner needs to know.
pub(crate) trait Layout {
    /// The error for an input that violates the format.
    type Error;

    /// Parses up to the next mark, removes the parsed bytes from the front of `piece`, and returns the mark, or
    /// `None` at the end of the piece.
    fn next_mark(&mut self, piece: &mut &[u8]) -> Result<Option<Mark>, Self::Error>;

    /// Continues as if the `count` bytes after a [`Mark::Contents`] had been parsed.
    fn skip(&mut self, count: u64);
}

/// A position between two bytes of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Contents of this many bytes begin.
    Contents(u64),
    /// A member ends, with everything that belongs to it.
    End,
}

/// Finds the cut points of an archive that arrives in pieces of any size, as [`Scanner`] does for other inputs.
/// Scans each byte at most once, copies none, and finds the same cut points however the input is split.
#[derive(Debug, Clone)]
pub(crate) struct AlignedScanner {
    scanner: Scanner,
    min_size: usize,
    min_entry_size: u64,
    boundary_preference_distance: usize,
    /// The start of the current chunk, in bytes from the start of the input.
    start: u64,
    /// The number of bytes of the current chunk that were fed.
    length: usize,
    /// The ends of members, in bytes from the start of the input: the last one that the scanner has passed, and
    /// those ahead of it.
    boundaries: VecDeque<u64>,
    /// The number of bytes that the parser is ahead of the scanner. It continues when the scanner has caught
    /// up.
    ahead: u64,
    /// What follows the bytes that the parser has read.
    next: Next,
    short_chunks: u64,
}

/// The maximum number of bytes that the parser reads ahead at once: many, because the scanner is fastest on
/// long stretches, but few enough that they stay in the cache of the core for the scanner.
const AHEAD: usize = 32 << 10;

/// What follows the bytes that the parser has read.
#[derive(Debug, Clone, Copy)]
enum Next {
    /// The same run.
    More,
    /// The contents of a large member, of this size.
    Contents(u64),
    /// A new run, after the contents of a large member.
    Run,
}

impl AlignedScanner {
    /// Creates a scanner at the start of an input. Returns the error for the first option that is out of range.
    pub(crate) fn new(config: &Config) -> Result<Self, OptionsError> {
        let params = CdcParams::new(&config.options)?;
        let Options { min_size, avg_size, .. } = config.options;
        let min_entry_size = config.min_entry_size.unwrap_or(2 * avg_size);
        if min_entry_size < min_size {
            let allowed = format!("at least min_size, which is {min_size}");
            return Err(OptionsError { option: "min_entry_size", value: min_entry_size.into(), allowed });
        }
        let distance = config.boundary_preference_distance.unwrap_or(min_size.min(avg_size / 4));
        if distance > min_size {
            let allowed = format!("at most min_size, which is {min_size}");
            return Err(OptionsError {
                option: "boundary_preference_distance",
                value: distance.into(),
                allowed,
            });
        }
        Ok(Self {
            min_size: min_size as usize,
            min_entry_size,
            boundary_preference_distance: (distance as usize).min(params.scan_start()),
            scanner: Scanner::new(params),
            start: 0,
            length: 0,
            boundaries: VecDeque::new(),
            ahead: 0,
            next: Next::More,
            short_chunks: 0,
        })
    }

    /// Scans `piece` up to the first cut point in it. Returns `None` if all of it was scanned and the chunk
    /// continues; otherwise the caller calls again with the bytes after those that were consumed. Scans less if
    /// `window` has the candidates in the piece. All calls take the same `layout`.
    ///
    /// Returns the errors of `layout`; the last cuts before an error may be missing.
    pub(crate) fn feed<L: Layout>(
        &mut self,
        piece: &[u8],
        window: Option<Window<'_>>,
        layout: &mut L,
    ) -> Result<Option<Cut>, L::Error> {
        let mut consumed = 0;
        loop {
            if self.ahead == 0
                && let Some(length) = self.arrive()
            {
                return Ok(Some(Cut { consumed, length }));
            }
            let rest = &piece[consumed..];
            if rest.is_empty() {
                return Ok(None);
            }
            if self.ahead == 0 {
                self.look_ahead(&rest[..rest.len().min(AHEAD)], layout)?;
            }
            let count = usize::try_from(self.ahead).map_or(rest.len(), |ahead| ahead.min(rest.len()));
            let window = window.map(|window| window.behind(consumed));
            let cut = self.scanner.feed_in_window(&rest[..count], window);
            let scanned = cut.map_or(count, |cut| cut.consumed);
            self.ahead -= scanned as u64;
            self.length += scanned;
            consumed += scanned;
            if let Some(Cut { length, .. }) = cut {
                let length = self.prefer_boundary(length);
                self.end_chunk(length);
                return Ok(Some(Cut { consumed, length }));
            }
            // The chunk may still turn out to end one byte before the scan position, so a boundary at the
            // position does not replace the one before it yet.
            let passed = self.start + self.length as u64;
            while self.boundaries.get(1).is_some_and(|&boundary| boundary < passed) {
                self.boundaries.pop_front();
            }
        }
    }

    /// Ends the input and returns the length of the last chunk, or `None` if there is none after the last cut.
    pub(crate) fn finish(&mut self) -> Option<usize> {
        self.scanner.finish()
    }

    /// Returns the number of bytes that the parser is ahead of the scanner. At the end of the input it is
    /// nonzero if the contents of a large member, which the parser skips, are truncated.
    pub(crate) const fn ahead(&self) -> u64 {
        self.ahead
    }

    /// Returns the number of chunks so far that are shorter than `min_size` because a forced cut ended them.
    pub(crate) const fn short_chunks(&self) -> u64 {
        self.short_chunks
    }

    pub(crate) fn params(&self) -> &CdcParams {
        self.scanner.params()
    }

    /// Continues after the bytes that the parser has read. Returns the length of the chunk that ends there,
    /// if there is a forced cut.
    fn arrive(&mut self) -> Option<usize> {
        match std::mem::replace(&mut self.next, Next::More) {
            Next::More => return None,
            Next::Contents(size) => {
                self.ahead = size;
                self.next = Next::Run;
            }
            Next::Run => {}
        }
        self.boundaries.clear();
        let length = self.scanner.finish()?;
        self.short_chunks += u64::from(length < self.min_size);
        self.end_chunk(length);
        Some(length)
    }

    /// Advances the parser in `piece`, up to the contents of a large member.
    fn look_ahead<L: Layout>(&mut self, piece: &[u8], layout: &mut L) -> Result<(), L::Error> {
        let mut rest = piece;
        let start = self.start + self.length as u64;
        while let Some(mark) = layout.next_mark(&mut rest)? {
            match mark {
                Mark::Contents(size) if size >= self.min_entry_size => {
                    layout.skip(size);
                    self.next = Next::Contents(size);
                    break;
                }
                Mark::Contents(_) => {}
                Mark::End => self.boundaries.push_back(start + (piece.len() - rest.len()) as u64),
            }
        }
        self.ahead = (piece.len() - rest.len()) as u64;
        Ok(())
    }

    /// Returns the final length of a chunk: up to the last boundary, if that is close to its end.
    fn prefer_boundary(&mut self, length: usize) -> usize {
        let cut = self.start + length as u64;
        let mut last = None;
        while let Some(boundary) = self.boundaries.front().filter(|&&boundary| boundary <= cut) {
            last = Some((boundary - self.start) as usize);
            self.boundaries.pop_front();
        }
        last.filter(|&boundary| boundary >= self.min_size)
            .filter(|&boundary| length - boundary < self.boundary_preference_distance)
            .unwrap_or(length)
    }

    /// Ends the current chunk at `length`. The bytes that were fed after that begin the next chunk; they are
    /// too few to be hashed.
    fn end_chunk(&mut self, length: usize) {
        self.start += length as u64;
        self.length -= length;
        self.scanner.begin(self.length);
    }
}
