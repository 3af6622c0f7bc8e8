//! Where to cut a NAR: along the files in it.
//!
//! A plain chunk that begins in one file ends in the next, so that a change in either makes it new. Here a cut is forced
//! where the contents of each large file begin and where they end, and FastCDC starts afresh at each of these. So a large
//! file gives the same chunks in every NAR, whatever stands around it.
//!
//! All between two forced cuts (what surrounds contents, small files, links) is one run, which FastCDC cuts as it would cut
//! a file, but for one thing: where a file or a directory ended shortly before a cut, the cut moves back there, so that it
//! goes through no file without need. That changes where chunks end, and hardly how many there are.
//!
//! docs/nar-chunking.md tells by which measurements this was chosen, and what was not.

use std::collections::VecDeque;

use super::error::{NarError, Rule};
use super::parser::{Event, Kind, Node, Parser};
use crate::cdc::{CdcParams, Cut, Options, Scanner, Window};
use crate::error::OptionsError;

/// How to chunk a NAR. Sizes are in bytes.
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
    /// Boundaries are forced at both ends of files of at least this size. At least `min_size`; twice `avg_size` if `None`: a forced
    /// cut makes a chunk more, and around smaller files it saves less than a smaller average would.
    pub min_entry_size: Option<u64>,
    /// Any other cut moves back to where the last file or directory ended if that is less than this many bytes before it, and
    /// at least `min_size` bytes behind the cut before. At most `min_size`, so that nothing is scanned twice; 0 for never. If `None`, a
    /// quarter of `avg_size`, but no more than `min_size`.
    pub boundary_preference_distance: Option<u64>,
}

impl Config {
    /// 128 KiB, 512 KiB and 2 MiB.
    pub const DEFAULT: Self = Self::with_average(512 << 10);
    /// 256 KiB, 1 MiB and 4 MiB: half as many chunks to keep account of.
    pub const LARGE_PACKAGES: Self = Self::with_average(1 << 20);
    /// 32 KiB, 128 KiB and 512 KiB: less is new of packages that change little.
    pub const SMALL_PACKAGES: Self = Self::with_average(128 << 10);

    /// Each preset by its name in the public API.
    pub const PRESETS: [(&str, Self); 3] = [
        ("default", Self::DEFAULT),
        ("large_packages", Self::LARGE_PACKAGES),
        ("small_packages", Self::SMALL_PACKAGES),
    ];

    /// Chunks of an average size, at least a quarter and at most four times of it.
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

/// Finds the cut points of a NAR that comes in pieces of any size: what [`Scanner`] is for other inputs. It scans each byte
/// at most once and keeps none, and its cut points depend on the NAR alone.
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
    /// Where the current chunk begins, in bytes from the start of the NAR.
    start: u64,
    /// How many bytes of it have been fed.
    length: usize,
    /// Where files and directories end, in bytes from the start of the NAR: the last place that the scanner has passed, and
    /// those ahead of it.
    boundaries: VecDeque<u64>,
    /// How many bytes the parser is ahead of the scanner. It goes on when the scanner is there too.
    ahead: u64,
    /// What is there.
    next: Next,
    short_chunks: u64,
}

/// How far the parser goes ahead in one go, in bytes: the scanner is fastest on as much as it can have, and what both look at
/// stays in the first caches of a core.
const AHEAD: usize = 32 << 10;

/// What is behind the bytes that the parser has read.
#[derive(Debug, Clone, Copy)]
enum Next {
    /// More of the same run.
    More,
    /// The contents of a large file, of this size.
    File(u64),
    /// A run, after the contents of a large file.
    Run,
}

impl NarScanner {
    /// A scanner at the start of a NAR.
    ///
    /// # Errors
    ///
    /// The first option that is outside its range.
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

    /// Scans `piece`, up to the first cut point in it. `None` means that all of it was scanned and belongs to a chunk that
    /// goes on; `Some` that the caller is to come back with the bytes after those that were consumed.
    ///
    /// O(`piece`), and in sum O(NAR), however the pieces fall.
    ///
    /// # Errors
    ///
    /// [`NarError`] where the input breaks a rule, perhaps before the last cuts in front of that place have been given. All
    /// later calls give that error too.
    pub fn feed(&mut self, piece: &[u8]) -> Result<Option<Cut>, NarError> {
        self.feed_in_window(piece, None, |_, _| {})
    }

    /// Does what [`feed`](Self::feed) does, without scanning all of the piece if the candidates in it are known already, and
    /// calls `found` for each entry, with where its head ends: before the chunk ends that has the last byte of the head.
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
            // The byte before the next one may still turn out to be where a chunk ended.
            let passed = self.start + self.length as u64;
            while self.boundaries.get(1).is_some_and(|&boundary| boundary < passed) {
                self.boundaries.pop_front();
            }
        }
    }

    /// Ends the NAR and gives the length of the last chunk, `None` if the NAR ended with the chunk before it.
    ///
    /// # Errors
    ///
    /// [`NarError`] when the NAR is not complete, and the error there was before.
    pub fn finish(&mut self) -> Result<Option<usize>, NarError> {
        // The parser takes the contents of a large file for read as soon as it knows of them.
        if self.ahead > 0 {
            return Err(NarError { offset: self.parser.offset() - self.ahead, rule: Rule::Truncated });
        }
        self.parser.finish()?;
        Ok(self.scanner.finish())
    }

    /// How many chunks so far are shorter than `min_size` because a forced cut ended them: at most two for each file of at
    /// least `min_entry_size`, the end of it and what is before it.
    #[must_use]
    pub const fn short_chunks(&self) -> u64 {
        self.short_chunks
    }

    pub(super) fn params(&self) -> &CdcParams {
        self.scanner.params()
    }

    /// Goes on with what is behind the bytes that the parser has read. Gives the length of the chunk that ends there, if that
    /// is a forced cut.
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

    /// Lets the parser go on in `piece`, up to the contents of a large file.
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

    /// The length that a chunk of that length gets instead: up to the last boundary, if that is close by.
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

    /// The current chunk has that length, and the bytes that were fed beyond it begin the next one. They are so few that none
    /// of them is hashed.
    fn end_chunk(&mut self, length: usize) {
        self.start += length as u64;
        self.length -= length;
        self.scanner.begin(self.length);
    }
}
