//! Finds the cut points of a NAR along the files in it.
//!
//! With plain FastCDC, most chunks begin in one file and end in another, so a change in either makes them
//! new. Here a cut is forced where the contents of each large file begin and where they end, and FastCDC
//! restarts at each of these cuts. So a large file gives the same chunks in every NAR that contains it.
//!
//! Everything between two forced cuts (headers, padding, small files, links) is one run, which FastCDC cuts
//! like any input, with one exception: if a file or directory ended shortly before a cut, the cut moves back
//! to that end. That changes where chunks end, and hardly changes their number.
//!
//! docs/measurements/nar-chunking.md has the measurements behind these rules, and the variants that were
//! compared.

use std::collections::VecDeque;

use super::error::{NarError, Rule};
use super::parser::{Event, Kind, Node, Parser};
use crate::cdc::{CdcParams, Cut, Options, Scanner, Window};
use crate::error::OptionsError;

/// Holds the options for chunking a NAR. Sizes are in bytes.
///
/// ```
/// use chunker::nar::scanner::{Config, NarScanner};
///
/// let scanner = NarScanner::new(&Config { min_entry_size: Some(4 << 20), ..Config::LARGE_PACKAGES })?;
/// # Ok::<(), chunker::OptionsError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// The sizes and the keys of the chunks.
    pub options: Options,
    /// The size of the smallest files with forced cuts at both ends. At least `min_size`. If `None`, twice
    /// `avg_size`: forced cuts add chunks, and for smaller files they save less than a smaller average size
    /// does.
    pub min_entry_size: Option<u64>,
    /// Any other cut moves back to the end of the last file or directory if that is less than this number of
    /// bytes before it, and at least `min_size` bytes after the previous cut. 0 to `min_size`, so that no
    /// byte is scanned twice; 0 disables it. If `None`, a quarter of `avg_size`, at most `min_size`.
    pub boundary_preference_distance: Option<u64>,
}

impl Config {
    /// The preset with a minimum of 128 KiB, an average of 512 KiB and a maximum of 2 MiB.
    pub const DEFAULT: Self = Self::with_average(512 << 10);
    /// The preset with 256 KiB, 1 MiB and 4 MiB, which gives half as many chunks.
    pub const LARGE_PACKAGES: Self = Self::with_average(1 << 20);
    /// The preset with 32 KiB, 128 KiB and 512 KiB, which deduplicates more of packages that change little.
    pub const SMALL_PACKAGES: Self = Self::with_average(128 << 10);

    /// All presets, with their names in the public API.
    pub const PRESETS: [(&str, Self); 3] = [
        ("default", Self::DEFAULT),
        ("large_packages", Self::LARGE_PACKAGES),
        ("small_packages", Self::SMALL_PACKAGES),
    ];

    /// Creates options for an average chunk size; the minimum is a quarter of it and the maximum four times
    /// it.
    #[must_use]
    pub const fn with_average(avg_size: u64) -> Self {
        let options = Options::with_average(avg_size);
        Self { options, min_entry_size: None, boundary_preference_distance: None }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Finds the cut points of a NAR that arrives in pieces of any size, as [`Scanner`] does for other inputs.
/// Scans each byte at most once, copies none, and finds the same cut points however the NAR is split.
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
    scanner: Scanner,
    min_size: usize,
    min_entry_size: u64,
    boundary_preference_distance: usize,
    /// The start of the current chunk, in bytes from the start of the NAR.
    start: u64,
    /// The number of bytes of the current chunk that were fed.
    length: usize,
    /// The ends of files and directories, in bytes from the start of the NAR: the last one that the scanner
    /// has passed, and those ahead of it.
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
    /// The contents of a large file of this size.
    File(u64),
    /// A new run, after the contents of a large file.
    Run,
}

impl NarScanner {
    /// Creates a scanner at the start of a NAR.
    ///
    /// # Errors
    ///
    /// Returns the error for the first option that is out of range.
    pub fn new(config: &Config) -> Result<Self, OptionsError> {
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
            parser: Parser::new(),
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
        mut found: impl FnMut(&Node<'_>, u64),
    ) -> Result<Option<Cut>, NarError> {
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
                self.look_ahead(&rest[..rest.len().min(AHEAD)], &mut found)?;
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

    /// Ends the NAR and returns the length of the last chunk, or `None` if there is none after the last cut.
    ///
    /// # Errors
    ///
    /// Returns [`NarError`] if the NAR is not complete, and the error of an earlier call.
    pub fn finish(&mut self) -> Result<Option<usize>, NarError> {
        // The parser skips the contents of a large file before they are scanned.
        if self.ahead > 0 {
            return Err(NarError { offset: self.parser.offset() - self.ahead, rule: Rule::Truncated });
        }
        self.parser.finish()?;
        Ok(self.scanner.finish())
    }

    /// Returns the number of chunks so far that are shorter than `min_size` because a forced cut ended them:
    /// at most two for each file of at least `min_entry_size`, its last chunk and the chunk before it.
    #[must_use]
    pub const fn short_chunks(&self) -> u64 {
        self.short_chunks
    }

    pub(super) fn params(&self) -> &CdcParams {
        self.scanner.params()
    }

    /// Continues after the bytes that the parser has read. Returns the length of the chunk that ends there,
    /// if there is a forced cut.
    fn arrive(&mut self) -> Option<usize> {
        match std::mem::replace(&mut self.next, Next::More) {
            Next::More => return None,
            Next::File(size) => {
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

    /// Advances the parser in `piece`, up to the contents of a large file.
    fn look_ahead(&mut self, piece: &[u8], found: &mut impl FnMut(&Node<'_>, u64)) -> Result<(), NarError> {
        let mut rest = piece;
        let start = self.parser.offset();
        while let Some(event) = self.parser.next(&mut rest)? {
            match event {
                Event::Node(node) => {
                    found(&node, start + (piece.len() - rest.len()) as u64);
                    if let Kind::Regular { size, .. } = node.kind
                        && size >= self.min_entry_size
                    {
                        self.parser.skip(size);
                        self.next = Next::File(size);
                        break;
                    }
                }
                Event::End => self.boundaries.push_back(self.parser.offset()),
                _ => {}
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
