//! What can be told about each chunk of a NAR beside where it is: the entries that it touches, and the store hashes that were
//! taken out of it.
//!
//! Both are found in the bytes as they come in, on the way to the scanner and apart from it, and wait in a notebook until
//! a chunk is worked on: whatever is known of a chunk is there before its bytes are. So chunking is the same with and without
//! notes, and costs nothing without them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::parser::{Event, Kind, Parser};
use super::path::{EntryPath, Paths};
use super::references::{LENGTH, Normalizer, Reference, Replaced};
use crate::Cancel;
use crate::engine::ChunkBytes;
use crate::error::Error;
use crate::io::source::Source;

/// Which notes are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Notes {
    /// The entries that a chunk touches.
    pub entries: bool,
    /// Store hashes are taken out of the NAR before it is chunked, as [`references`](super::references) does it, and each
    /// chunk comes with those that were in it.
    pub references: bool,
}

impl Notes {
    /// Whether there are none to make.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        !self.entries && !self.references
    }
}

/// What is told about a chunk; `None` for what was not asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Note {
    /// The entries that it touches, in their order.
    pub entries: Option<Vec<Part>>,
    /// What was taken out of it, in ascending order of positions.
    pub references: Option<Vec<Replaced>>,
}

/// The part of an entry that is in a chunk.
///
/// A chunk touches an entry if it holds some of its contents, or the end of its head: the byte before the contents of a file, and
/// the one by which it is known what a directory is or where a link leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// That of the entry.
    pub path: EntryPath,
    /// Where this part begins, in bytes from the start of the file's contents. 0 for a directory or link.
    pub offset: u64,
    /// How many bytes of the contents it has; 0 if the chunk has none of them.
    pub length: usize,
    /// Where they are in the chunk, in bytes from its start.
    pub position: usize,
}

/// Something in the input, of which each byte goes to the chunk that has it.
#[derive(Debug)]
struct Stretch<T> {
    what: T,
    length: u64,
    /// How much of it no chunk has had yet. Chunks need not come in their order.
    left: u64,
}

/// Stretches that do not overlap, by where they begin.
#[derive(Debug)]
struct Stretches<T>(BTreeMap<u64, Stretch<T>>);

impl<T> Default for Stretches<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Stretches<T> {
    fn add(&mut self, start: u64, length: u64, what: T) {
        self.0.insert(start, Stretch { what, length, left: length });
    }

    /// Calls `found` for each stretch that lies in `start..end` in part, with the start and the end of that part, and forgets
    /// those of which all parts have been asked for.
    fn take(&mut self, start: u64, end: u64, mut found: impl FnMut(&T, u64, u64, u64)) {
        let before = self.0.range(..=start).next_back().map_or(start, |(&at, _)| at);
        let mut over = Vec::new();
        for (&at, stretch) in self.0.range_mut(before..end) {
            let (from, to) = (at.max(start), (at + stretch.length).min(end));
            if from < to {
                found(&stretch.what, at, from, to);
                stretch.left -= to - from;
                if stretch.left == 0 {
                    over.push(at);
                }
            }
        }
        for at in over {
            self.0.remove(&at);
        }
    }
}

/// What has been found in an input and not been told yet.
#[derive(Debug)]
pub(crate) struct Notebook {
    notes: Notes,
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
struct Found {
    /// The path of each entry. Its stretch is the last byte of its head and its contents.
    entries: Stretches<EntryPath>,
    references: Stretches<[u8; LENGTH]>,
}

impl Notebook {
    /// What there is to be told about the chunk. It is told once.
    pub(crate) fn take(&self, chunk: &ChunkBytes<'_>) -> Note {
        let (start, end) = (chunk.offset, chunk.offset + chunk.length as u64);
        let Notes { entries, references } = self.notes;
        let (mut parts, mut replaced) = (Vec::new(), Vec::new());
        let mut found = self.lock();
        if entries {
            found.entries.take(start, end, |path, head, from, to| {
                let contents = head + 1;
                let from = from.max(contents);
                let (length, position) = ((to - from) as usize, (from - start) as usize);
                parts.push(Part { path: path.clone(), offset: from - contents, length, position });
            });
        }
        if references {
            found.references.take(start, end, |hash, at, from, to| {
                let characters = hash[(from - at) as usize..(to - at) as usize].to_vec();
                replaced.push(Replaced { position: (from - start) as usize, characters });
            });
        }
        Note { entries: entries.then_some(parts), references: references.then_some(replaced) }
    }

    fn lock(&self) -> MutexGuard<'_, Found> {
        // Nothing panics while it is held.
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Work on a chunk that is told what there is to be told about it.
pub(crate) fn with_notes<T>(
    notebook: Arc<Notebook>,
    work: impl Fn(&ChunkBytes<'_>) -> T,
) -> impl Fn(&ChunkBytes<'_>) -> T {
    move |chunk| work(&ChunkBytes { note: Some(&notebook.take(chunk)), ..*chunk })
}

/// Sees an input before it is chunked, and makes notes.
pub(crate) struct Scribe {
    notebook: Arc<Notebook>,
    parser: Option<Parser>,
    paths: Paths,
    normalizer: Option<Normalizer>,
}

impl Scribe {
    pub(crate) fn new(notes: Notes) -> Self {
        Self {
            notebook: Arc::new(Notebook { notes, found: Mutex::default() }),
            parser: notes.entries.then(Parser::new),
            paths: Paths::default(),
            normalizer: notes.references.then(Normalizer::new),
        }
    }

    pub(crate) fn notebook(&self) -> Arc<Notebook> {
        Arc::clone(&self.notebook)
    }

    /// Takes in the next bytes and gives those that are to be chunked. They may come later, but are as many in sum.
    pub(crate) fn feed<'a>(&mut self, piece: &'a [u8]) -> Cow<'a, [u8]> {
        self.read(piece);
        let Some(normalizer) = &mut self.normalizer else { return Cow::Borrowed(piece) };
        let mut normalized = Vec::with_capacity(piece.len() + LENGTH);
        normalizer.feed(piece, |bytes| normalized.extend_from_slice(bytes));
        let mut found = self.notebook.lock();
        for Reference { position, hash } in normalizer.take_references() {
            found.references.add(position, LENGTH as u64, hash);
        }
        Cow::Owned(normalized)
    }

    /// Ends the input and gives the last of the bytes that are to be chunked.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        if let Some(normalizer) = &mut self.normalizer {
            normalizer.finish(|bytes| rest.extend_from_slice(bytes));
        }
        rest
    }

    /// All of an input that is in memory.
    pub(crate) fn whole<'a>(
        &mut self,
        data: &'a [u8],
        is_cancelled: Cancel<'_>,
    ) -> Result<Cow<'a, [u8]>, Error> {
        let mut normalized = Vec::with_capacity(if self.normalizer.is_some() { data.len() } else { 0 });
        for piece in data.chunks(AT_ONCE) {
            if is_cancelled() {
                return Err(Error::Cancelled);
            }
            if let Cow::Owned(bytes) = self.feed(piece) {
                normalized.extend_from_slice(&bytes);
            }
        }
        if self.normalizer.is_none() {
            return Ok(Cow::Borrowed(data));
        }
        normalized.extend(self.finish());
        Ok(Cow::Owned(normalized))
    }

    /// Looks for entries.
    fn read(&mut self, mut piece: &[u8]) {
        let Some(parser) = &mut self.parser else { return };
        let mut entries = Vec::new();
        let mut broken = false;
        loop {
            let node = match parser.next(&mut piece) {
                Ok(Some(Event::Node(node))) => node,
                Ok(Some(Event::Contents(_) | Event::End)) => continue,
                Ok(None) => break,
                Err(_) => {
                    broken = true;
                    break;
                }
            };
            let path = self.paths.next(&node);
            let size = if let Kind::Regular { size, .. } = node.kind { size } else { 0 };
            entries.push((parser.offset() - 1, 1 + size, path));
        }
        let mut found = self.notebook.lock();
        for (end_of_head, length, path) in entries {
            found.entries.add(end_of_head, length, path);
        }
        drop(found);
        if broken {
            // The scanner comes upon it too, and says so.
            self.parser = None;
        }
    }
}

/// What is read or looked at in one go: as much as the first caches of a core hold.
const AT_ONCE: usize = 64 << 10;

/// A source whose bytes a [`Scribe`] sees first.
pub(crate) struct Noted<S> {
    source: S,
    scribe: Scribe,
    /// What the scribe has given, if it changes anything, and how much of that was read.
    given: Vec<u8>,
    read: usize,
    buffer: Vec<u8>,
    /// The source is not asked again after its end.
    ended: bool,
}

impl<S> Noted<S> {
    pub(crate) fn new(source: S, scribe: Scribe) -> Self {
        let buffer = vec![0; if scribe.normalizer.is_some() { AT_ONCE } else { 0 }];
        Self { source, scribe, given: Vec::new(), read: 0, buffer, ended: false }
    }
}

impl<S: Source> Source for Noted<S> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Error> {
        if self.buffer.is_empty() {
            let count = self.source.read(buffer)?;
            self.scribe.feed(&buffer[..count.unwrap_or(0)]);
            return Ok(count);
        }
        while self.read == self.given.len() {
            if self.ended {
                return Ok(Some(0));
            }
            self.read = 0;
            match self.source.read(&mut self.buffer)? {
                None => {
                    self.given.clear();
                    return Ok(None);
                }
                Some(0) => {
                    self.given = self.scribe.finish();
                    self.ended = true;
                }
                Some(count) => self.given = self.scribe.feed(&self.buffer[..count]).into_owned(),
            }
        }
        let rest = &self.given[self.read..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.read += count;
        Ok(Some(count))
    }

    fn is_live(&self) -> bool {
        self.source.is_live()
    }

    fn length(&self) -> Option<u64> {
        self.source.length()
    }

    fn wait(&self, patience: Duration) -> bool {
        self.read < self.given.len() || self.source.wait(patience)
    }
}

impl fmt::Debug for Scribe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scribe").finish_non_exhaustive()
    }
}
