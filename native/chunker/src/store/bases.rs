//! Finds the chunks of an object that is in the store which those of a new object may be deltas of.
//!
//! Both objects mostly are versions of one thing. A chunk of the new one is looked for where the old one has the
//! same bytes, as far as that is known: a file of a NAR where the file of the same path is, or of a path that
//! differs only in its numbers, or of the same name; and otherwise at the same distance from the last chunk that
//! both have.

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

/// The number of chunks of the old object that are in memory at once, of 48 bytes each.
const MOST_CHUNKS: usize = 65_536;

/// The number of files of the old object, and of known distances, that are in memory.
const MOST_FILES: usize = 500_000;
const MOST_SHIFTS: usize = 100_000;

/// After so many chunks in a row that were no deltas, only one in [`SAMPLE`] is tried until another chunk is one or
/// the store has it: the objects may have nothing in common.
const PATIENCE: u32 = 6;
const SAMPLE: u32 = 64;

/// What is known of the old object.
pub(super) struct BaseFinder {
    chunks: Mutex<Window>,
    /// The starts of the contents of files, by what [`keys`] returns for their paths.
    files: HashMap<u64, u64>,
    /// How much further in the old object the bytes are that are at some position in the new one or behind it.
    shifts: Mutex<BTreeMap<u64, i64>>,
    /// The number of chunks in a row that were no deltas, and of those that were not tried since.
    failures: AtomicU32,
    skipped: AtomicU32,
}

/// Some consecutive chunks of the old object.
struct Window {
    inner: Arc<Inner>,
    items: Vec<Item>,
    size: u64,
    chunks: Vec<StoredChunk>,
    /// Their positions, by the first bytes of their digests.
    positions: HashMap<u64, u64>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl BaseFinder {
    /// Opens an object of the store.
    ///
    /// Returns [`StoreError::NotFound`] if there is none.
    pub(super) fn open(inner: &Arc<Inner>, id: &Digest, is_cancelled: Cancel<'_>) -> Result<Self, Error> {
        let (manifest, items) = inner.manifest(id)?;
        let files = match files(inner, &manifest, is_cancelled) {
            // Without them, less is found.
            Err(Error::Store(_)) => HashMap::new(),
            files => files?,
        };
        let chunks = Vec::new();
        let mut window = Window {
            inner: Arc::clone(inner),
            items,
            size: manifest.size,
            chunks,
            positions: HashMap::new(),
        };
        match window.load(0) {
            // Likewise.
            Err(Error::Store(_)) | Ok(()) => {}
            Err(error) => return Err(error),
        }
        Ok(Self {
            chunks: Mutex::new(window),
            files,
            shifts: Mutex::default(),
            failures: AtomicU32::new(0),
            skipped: AtomicU32::new(0),
        })
    }

    /// Takes a file of the new object, which is a NAR.
    pub(super) fn add_file(&self, node: &Node<'_>) {
        if let Kind::Regular { offset, .. } = node.kind
            && let Some(&start) = keys(node.path).iter().find_map(|key| self.files.get(key))
        {
            self.add_shift(offset, start);
        }
    }

    /// Takes a chunk of the new object which the store has.
    pub(super) fn add_present(&self, digest: &Digest, offset: u64) {
        let position = lock(&self.chunks).positions.get(&key_of(digest)).copied();
        if let Some(position) = position {
            self.add_shift(offset, position);
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    fn add_shift(&self, offset: u64, position: u64) {
        let mut shifts = lock(&self.shifts);
        if shifts.len() >= MOST_SHIFTS {
            // Those that are long past.
            let place = *shifts.keys().nth(MOST_SHIFTS / 2).expect("there are more");
            *shifts = shifts.split_off(&place);
        }
        shifts.insert(offset, position.wrapping_sub(offset).cast_signed());
    }

    /// Returns the chunks that a chunk of the new object may be a delta of, in the order of the old one.
    pub(super) fn find(&self, offset: u64, length: u64) -> Result<Vec<Digest>, Error> {
        if self.failures.load(Ordering::Relaxed) >= PATIENCE
            && !self.skipped.fetch_add(1, Ordering::Relaxed).is_multiple_of(SAMPLE)
        {
            return Ok(Vec::new());
        }
        // A chunk of several files may have parts in two places.
        let shifts = [offset, offset + length - 1].map(|at| {
            let shifts = lock(&self.shifts);
            shifts.range(..=at).next_back().map_or(0, |(_, shift)| *shift)
        });
        let mut window = lock(&self.chunks);
        let mut found: Vec<(u64, StoredChunk)> = Vec::new();
        for shift in shifts {
            for (common, chunk) in window.overlapping(offset.saturating_add_signed(shift), length)? {
                match found.iter_mut().find(|(_, other)| other.digest == chunk.digest) {
                    Some((most, _)) => *most = common.max(*most),
                    None => found.push((common, chunk)),
                }
            }
        }
        found.sort_by_key(|(common, chunk)| (std::cmp::Reverse(*common), chunk.offset));
        found.truncate(MOST_BASES);
        found.sort_by_key(|(_, chunk)| chunk.offset);
        Ok(found.into_iter().map(|(_, chunk)| chunk.digest).collect())
    }

    /// Takes whether a chunk for which [`find`](Self::find) has returned some became a delta.
    pub(super) fn add_result(&self, is_delta: bool) {
        if is_delta {
            self.failures.store(0, Ordering::Relaxed);
        } else {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Window {
    /// Returns the chunks that have bytes in a range, which is moved back to the end of the object if it is
    /// behind it, and how many.
    fn overlapping(&mut self, start: u64, length: u64) -> Result<Vec<(u64, StoredChunk)>, Error> {
        let start = start.min(self.size.saturating_sub(length));
        let end = start + length;
        if !self.has(start) {
            self.load(start)?;
        }
        let first = self.chunks.partition_point(|chunk| chunk.offset + u64::from(chunk.length) <= start);
        let chunks = self.chunks[first..].iter().take_while(|chunk| chunk.offset < end);
        let common =
            |chunk: &StoredChunk| (chunk.offset + u64::from(chunk.length)).min(end) - chunk.offset.max(start);
        Ok(chunks.map(|chunk| (common(chunk), *chunk)).collect())
    }

    fn has(&self, position: u64) -> bool {
        let is_before = self.chunks.first().is_some_and(|first| first.offset <= position);
        let end = self.chunks.last().map_or(0, |last| last.offset + u64::from(last.length));
        is_before && position < end
    }

    /// Loads the chunks from a position on.
    fn load(&mut self, position: u64) -> Result<(), Error> {
        self.chunks.clear();
        self.positions.clear();
        let mut chunks = Chunks::new(Arc::clone(&self.inner), self.items.clone(), position);
        while self.chunks.len() < MOST_CHUNKS
            && let Some(chunk) = chunks.next_chunk()?
        {
            self.positions.insert(key_of(&chunk.digest), chunk.offset);
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
                Ok::<_, Error>(files.len() < MOST_FILES)
            };
            reader.feed(&piece, found).map_err(|error| match error {
                Error::Nar(_) => StoreError::corrupt("an outline", None, "outline").into(),
                error => error,
            })?;
        }
    }
    Ok(files)
}

/// Returns the keys by which a file is looked for, the surest first: for its path, for its path with all numbers
/// taken as equal, and for its name so.
fn keys(path: &[u8]) -> [u64; 3] {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let exact = hash_of(0, path.iter().copied());
    [exact, hash_of(1, without_numbers(path)), hash_of(2, without_numbers(name))]
}

/// Replaces each run of digits by one zero.
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
