//! Selects the chunks of an older object that the chunks of a new one may be deltas of.
//!
//! The two mostly are versions of one thing. A chunk of the new one is looked for where the older one has the same
//! bytes, as far as that is known: a file of a NAR where the file of the same path is, or of a path that differs only
//! in its numbers, or of the same name; and otherwise at the same distance from the last chunk that both have.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hasher};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Inner;
use super::delta::MOST_BASES;
use super::error::StoreError;
use super::manifest::{Item, Manifest, ObjectKind, StoredChunk};
use super::read::{Chunks, ObjectReader};
use crate::Cancel;
use crate::engine::workers::Workers;
use crate::error::Error;
use crate::hash::Digest;
use crate::nar::{Kind, Node, OutlineReader};

/// The number of chunks of the older object that are in memory at once, of some 80 bytes each.
const WINDOW_CHUNKS: usize = 65_536;

/// The number of chunks that are looked for before the window moves again. Moving it reads a list of so many chunks.
const LOOKUPS_BEFORE_MOVE: u32 = 1024;

/// The number of keys of files, and of shifts, that are in memory, of 16 bytes each and some more.
const MOST_KEYS: usize = 500_000;
const MOST_SHIFTS: usize = 100_000;

/// After so many chunks in a row that did not become deltas, one in [`SAMPLED`] is tried until another one does or is
/// in the store already: the objects may have nothing in common.
const FAILURES_BEFORE_SAMPLING: u32 = 6;
const SAMPLED: u32 = 64;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An older object, for any number of new ones.
pub(super) struct BaseObject {
    chunks: Mutex<Window>,
    /// The positions of the contents of files, by the [`keys`] of their paths.
    files: HashMap<u64, u64>,
}

/// Consecutive chunks of the older object.
struct Window {
    inner: Arc<Inner>,
    items: Vec<Item>,
    size: u64,
    chunks: Vec<StoredChunk>,
    /// Their positions, by the first bytes of their digests. `None` for a digest that several have.
    positions: HashMap<u64, Option<u64>>,
    /// The number of lookups since the window has moved.
    lookups: u32,
}

impl BaseObject {
    /// Opens an object. Returns `None` if it cannot be read: then chunks are whole.
    pub(super) fn open(
        inner: &Arc<Inner>,
        id: &Digest,
        is_cancelled: Cancel<'_>,
    ) -> Result<Option<Self>, Error> {
        match Self::open_whole(inner, id, is_cancelled) {
            Err(Error::Cancelled) => Err(Error::Cancelled),
            opened => Ok(opened.ok()),
        }
    }

    fn open_whole(inner: &Arc<Inner>, id: &Digest, is_cancelled: Cancel<'_>) -> Result<Self, Error> {
        let (manifest, items) = inner.manifest(id)?;
        let files = files(inner, &manifest, is_cancelled)?;
        let mut window = Window {
            inner: Arc::clone(inner),
            items,
            size: manifest.size,
            chunks: Vec::new(),
            positions: HashMap::new(),
            lookups: 0,
        };
        window.move_to(0)?;
        Ok(Self { chunks: Mutex::new(window), files })
    }
}

/// Selects bases for one new object.
pub(super) struct BaseFinder {
    object: Arc<BaseObject>,
    /// The distance from a position in the new object to the matching one in the older object, from that position on.
    shifts: Mutex<BTreeMap<u64, i64>>,
    /// The number of chunks in a row that did not become deltas, and of those that were not tried since.
    failures: AtomicU32,
    skipped: AtomicU32,
}

impl BaseFinder {
    pub(super) fn new(object: Arc<BaseObject>) -> Self {
        Self { object, shifts: Mutex::default(), failures: AtomicU32::new(0), skipped: AtomicU32::new(0) }
    }

    /// Takes a file of the new object, which is a NAR.
    pub(super) fn add_file(&self, node: &Node<'_>) {
        if let Kind::Regular { offset, .. } = node.kind
            && let Some(&position) = keys(node.path).iter().find_map(|key| self.object.files.get(key))
        {
            self.add_shift(offset, position);
        }
    }

    /// Takes a chunk of the new object which the store has.
    pub(super) fn add_present(&self, digest: &Digest, offset: u64) {
        let position = lock(&self.object.chunks).positions.get(&key_of(digest)).copied().flatten();
        if let Some(position) = position {
            self.add_shift(offset, position);
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    fn add_shift(&self, offset: u64, position: u64) {
        let mut shifts = lock(&self.shifts);
        if shifts.len() >= MOST_SHIFTS {
            // Drops those that are long past.
            let place = *shifts.keys().nth(MOST_SHIFTS / 2).expect("there are more");
            *shifts = shifts.split_off(&place);
        }
        shifts.insert(offset, position.wrapping_sub(offset).cast_signed());
    }

    /// Returns the chunks that a chunk of the new object may be a delta of, in the order of the older object, each with
    /// the number of bytes where they match by position.
    pub(super) fn find(&self, offset: u64, length: u64) -> Vec<(Digest, u64)> {
        if self.failures.load(Ordering::Relaxed) >= FAILURES_BEFORE_SAMPLING
            && !self.skipped.fetch_add(1, Ordering::Relaxed).is_multiple_of(SAMPLED)
        {
            return Vec::new();
        }
        // A chunk of several files may match in two places.
        let shifts = [offset, offset + length.saturating_sub(1)].map(|at| {
            let shifts = lock(&self.shifts);
            shifts.range(..=at).next_back().map_or(0, |(_, shift)| *shift)
        });
        let mut window = lock(&self.object.chunks);
        let mut found: Vec<(u64, StoredChunk)> = Vec::new();
        for shift in shifts {
            for (common, chunk) in window.overlapping(offset.saturating_add_signed(shift), length) {
                match found.iter_mut().find(|(_, other)| other.digest == chunk.digest) {
                    Some((most, _)) => *most = common.max(*most),
                    None => found.push((common, chunk)),
                }
            }
        }
        found.sort_by_key(|(common, chunk)| (Reverse(*common), chunk.offset));
        found.truncate(MOST_BASES);
        found.sort_by_key(|(_, chunk)| chunk.offset);
        found.into_iter().map(|(common, chunk)| (chunk.digest, common)).collect()
    }

    /// Takes whether a chunk for which [`find`](Self::find) has returned bases became a delta.
    pub(super) fn add_result(&self, is_delta: bool) {
        if is_delta {
            self.failures.store(0, Ordering::Relaxed);
        } else {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Window {
    /// Returns the chunks that have bytes in a range, and how many. A range behind the end of the object stands for its
    /// end. Returns none if the window has moved lately and does not have them.
    fn overlapping(&mut self, start: u64, length: u64) -> Vec<(u64, StoredChunk)> {
        let start = start.min(self.size.saturating_sub(length));
        let end = start + length;
        self.lookups += 1;
        if !self.has(start) && self.lookups >= LOOKUPS_BEFORE_MOVE {
            // A list that is damaged, or that a garbage collection has deleted since, has nothing.
            let _ = self.move_to(start);
        }
        let first = self.chunks.partition_point(|chunk| chunk.offset + u64::from(chunk.length) <= start);
        let chunks = self.chunks[first..].iter().take_while(|chunk| chunk.offset < end);
        let common =
            |chunk: &StoredChunk| (chunk.offset + u64::from(chunk.length)).min(end) - chunk.offset.max(start);
        chunks.map(|chunk| (common(chunk), *chunk)).collect()
    }

    fn has(&self, position: u64) -> bool {
        let is_before = self.chunks.first().is_some_and(|first| first.offset <= position);
        let end = self.chunks.last().map_or(0, |last| last.offset + u64::from(last.length));
        is_before && position < end
    }

    /// Reads the chunks from a position on.
    fn move_to(&mut self, position: u64) -> Result<(), Error> {
        self.chunks.clear();
        self.positions.clear();
        self.lookups = 0;
        let mut chunks = Chunks::new(Arc::clone(&self.inner), self.items.clone(), position);
        while self.chunks.len() < WINDOW_CHUNKS
            && let Some(chunk) = chunks.next_chunk()?
        {
            self.positions
                .entry(key_of(&chunk.digest))
                .and_modify(|position| *position = None)
                .or_insert(Some(chunk.offset));
            self.chunks.push(chunk);
        }
        Ok(())
    }
}

fn key_of(digest: &Digest) -> u64 {
    u64::from_le_bytes(*digest.0.first_chunk().expect("it has 32 bytes"))
}

/// Returns the files of a NAR, by the keys of their paths. Those that come first are kept if several have a key.
fn files(
    inner: &Arc<Inner>,
    manifest: &Manifest,
    is_cancelled: Cancel<'_>,
) -> Result<HashMap<u64, u64>, Error> {
    let mut files = HashMap::new();
    let Some(outline) = manifest.outline.filter(|_| manifest.kind == ObjectKind::Nar) else {
        return Ok(files);
    };
    let workers = Workers::of_this_thread();
    let mut pieces = ObjectReader::of_items(inner, vec![outline], 0..outline.bytes, workers, is_cancelled)?;
    let mut reader = OutlineReader::new();
    while !reader.is_done()
        && let Some(pieces) = pieces.next_pieces(Vec::new, is_cancelled)?
    {
        for piece in pieces {
            let found = |node: &Node<'_>| {
                if let Kind::Regular { offset, .. } = node.kind {
                    for key in keys(node.path) {
                        files.entry(key).or_insert(offset);
                    }
                }
                Ok::<_, Error>(files.len() < MOST_KEYS)
            };
            reader.feed(&piece, found).map_err(|error| match error {
                Error::Nar(_) => StoreError::corrupt("an outline", None, "outline").into(),
                error => error,
            })?;
        }
    }
    Ok(files)
}

/// Returns the keys by which a file is looked for, the most specific first: that of its path, of its path without the
/// values of numbers, and of its name without them.
fn keys(path: &[u8]) -> [u64; 3] {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let exact = hash_of(0, path.iter().copied());
    [exact, hash_of(1, without_numbers(path)), hash_of(2, without_numbers(name))]
}

/// Replaces each run of digits by one zero, so that names of libraries match whose versions differ.
fn without_numbers(path: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let mut was_digit = false;
    path.iter().filter_map(move |&byte| {
        let is_digit = byte.is_ascii_digit();
        let is_repeated = is_digit && std::mem::replace(&mut was_digit, is_digit);
        was_digit = is_digit;
        match (is_digit, is_repeated) {
            (true, true) => None,
            (true, false) => Some(b'0'),
            _ => Some(byte),
        }
    })
}

fn hash_of(kind: u8, bytes: impl Iterator<Item = u8>) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u8(kind);
    bytes.for_each(|byte| hasher.write_u8(byte));
    hasher.finish()
}
