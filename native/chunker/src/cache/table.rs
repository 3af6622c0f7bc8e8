//! What a cache holds: entries by their keys, within limits.
//!
//! Crate `quick_cache` holds the entries in parts, each with a lock of its own that readers share, and evicts those that
//! were not used for long (a kind of CLOCK-Pro: a lookup sets a mark, and evicting spares entries with a mark; nothing
//! walks the whole table).

use std::hash::RandomState;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use quick_cache::{Lifecycle, OptionsBuilder, Weighter};

use super::fingerprint::Fingerprint;
use super::{Options, Verify};
use crate::Cancel;
use crate::engine::Chunk;
use crate::error::Error;
use crate::hash::{Algorithm, Digest};

/// What a content is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    fingerprint: Fingerprint,
    length: u32,
    algorithm: Algorithm,
}

impl Key {
    pub(super) fn new(algorithm: Algorithm, length: usize, fingerprint: Fingerprint) -> Self {
        let length = u32::try_from(length).expect("no longer content is looked up");
        Self { fingerprint, length, algorithm }
    }

    pub(super) const fn length(&self) -> usize {
        self.length as usize
    }
}

#[derive(Clone)]
pub(super) struct Entry {
    pub(super) digest: Digest,
    /// Behind one pointer, so that caches without contents need little memory.
    content: Option<Arc<Box<[u8]>>>,
}

impl Entry {
    pub(super) fn new(digest: Digest, content: Option<Vec<u8>>) -> Self {
        Self { digest, content: content.map(|bytes| Arc::new(bytes.into_boxed_slice())) }
    }

    /// Whether this is the entry of that content, as far as it can tell.
    pub(super) fn is_of(&self, slices: &[&[u8]]) -> bool {
        let Some(content) = &self.content else { return true };
        let mut rest = &content[..];
        slices.iter().all(|slice| match rest.split_at_checked(slice.len()) {
            Some((head, tail)) => {
                rest = tail;
                head == *slice
            }
            None => false,
        }) && rest.is_empty()
    }

    fn bytes(&self) -> u64 {
        memory(self.content.as_ref().map_or(0, |content| content.len()))
    }
}

/// The memory that an entry takes, in bytes, everything counted: its slot (80), its share of the slots of entries that
/// went lately (an eighth of the slots), of the index (6 to 26 a slot), and of what evicting leaves unused. A content
/// takes whole pages, as the allocator gives them to it, and some bytes around it.
const ENTRY: u64 = 128;

fn memory(content: usize) -> u64 {
    match content {
        0 => ENTRY,
        _ => ENTRY + (content as u64 + 64).next_multiple_of(if content < PAGE { 64 } else { PAGE as u64 }),
    }
}

const PAGE: usize = 4096;

/// So many entries that went are remembered, as a share of those that stay, so that one that comes again is kept longer.
const GHOSTS: f64 = 0.125;

/// The share of a part that entries are kept in which were used; the rest is for new ones. With less of it, chunks of one
/// version of something do not last until the next version; with more, those of an old version stay too long.
/// `docs/measurements/cache.md` has the hit rates.
const HOT: f64 = 0.7;

/// A part of a table is for no fewer entries than this, since parts fill up unevenly: of so many, by 1.6 % (a standard
/// deviation).
const PART: u64 = 4096;

/// A part of a table is for fewer than twice as many entries as this. Now and then one insertion has to do with a whole part
/// while it holds the lock, be it on an ordinary scheduler: when the index grows, and when all entries there were used, so
/// that evicting takes the marks off all of them.
const LARGE_PART: u64 = 16_384;

/// A part of a table with contents is for no fewer bytes than this, so that it can hold a few of the longest chunks.
const PART_WITH_CONTENTS: u64 = 4 * Chunk::LONGEST;

/// Nor is it for fewer entries than this, so that parts fill up evenly, and with few entries, which may be large, there is
/// one. (With fewer than 32, the crate would have fewer parts than it is told to.)
const ENTRIES_WITH_CONTENTS: u64 = 256;

/// A content that is longer than this is not kept: to compare it and to free it would take too long.
const LONGEST_KEPT: usize = 128 << 20;

/// There are no more parts than this, so that limits which mean "none" cost little.
const MOST_PARTS: u64 = 1 << 12;

/// In a table with contents, they are expected to be at least so long on average, in bytes.
const USUAL_CONTENT: u64 = 64 << 10;

/// For so many entries at most, memory is reserved at once; the system gives it when it is used. What is beyond has parts
/// that grow by doubling, for which more is allocated than is counted, though it is not used.
const RESERVED: u64 = 1 << 22;

/// To free more than so many bytes takes milliseconds.
const LARGE: u64 = 16 << 20;

/// How many entries are counted, and their memory.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) entries: u64,
    pub(super) bytes: u64,
}

#[derive(Default)]
struct Counter {
    entries: AtomicU64,
    bytes: AtomicU64,
}

impl Counter {
    fn add(&self, bytes: u64) {
        self.entries.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn tally(&self) -> Tally {
        Tally { entries: self.entries.load(Ordering::Relaxed), bytes: self.bytes.load(Ordering::Relaxed) }
    }
}

type Entries = quick_cache::sync::Cache<Key, Entry, Weight, RandomState, Gone>;

pub(super) struct Table {
    /// Taken only by `drop`.
    entries: Option<Entries>,
    limits: Limits,
    inserted: Counter,
    evicted: Counter,
}

impl Table {
    pub(super) fn new(options: &Options) -> Self {
        let limits = Limits::new(options, thread::available_parallelism().map_or(1, usize::from));
        let built = OptionsBuilder::new()
            .shards(limits.parts as usize)
            .estimated_items_capacity(limits.expected as usize)
            .weight_capacity(limits.capacity)
            .hot_allocation(limits.hot)
            .ghost_allocation(GHOSTS)
            .build()
            .expect("all that is needed is given");
        // The index is keyed too (SipHash), so that not even the order of evictions tells anything of a fingerprint.
        let entries = Entries::with_options(built, Weight(limits.share), RandomState::new(), Gone);
        entries.reserve(limits.expected.min(RESERVED) as usize);
        Self { entries: Some(entries), limits, inserted: Counter::default(), evicted: Counter::default() }
    }

    fn entries(&self) -> &Entries {
        self.entries.as_ref().expect("they are there until the table is dropped")
    }

    /// Whether an entry with a content of that length fits in, after evictions. Without contents, the length is 0.
    pub(super) fn admits(&self, content: usize) -> bool {
        content <= LONGEST_KEPT && self.limits.weight(memory(content)) <= self.limits.heaviest
    }

    /// The entry of that key, which counts as use.
    pub(super) fn get(&self, key: &Key) -> Option<Entry> {
        self.entries().get(key)
    }

    /// Takes an entry in, unless one of another content was put under its key meanwhile: that stays.
    pub(super) fn insert(&self, key: Key, entry: Entry) {
        if let Some(first) = self.place(key, entry) {
            self.place(key, first);
        }
    }

    /// Puts an entry under a key, and gives the one that was there if it is of another content.
    fn place(&self, key: Key, entry: Entry) -> Option<Entry> {
        let (bytes, digest) = (entry.bytes(), entry.digest);
        let mut gone = Vec::new();
        self.entries().insert_with_lifecycle(key, entry, &mut gone);
        // What went under the same key is the entry itself, which was not admitted, or its twin, in whose place it is: some
        // other thread was faster.
        let (twins, others): (Vec<_>, Vec<_>) = gone.into_iter().partition(|(other, _)| *other == key);
        if twins.is_empty() {
            self.inserted.add(bytes);
        }
        (1..twins.len()).for_each(|_| self.evicted.add(bytes));
        others.iter().for_each(|(_, entry)| self.evicted.add(entry.bytes()));
        twins.into_iter().map(|(_, twin)| twin).find(|twin| twin.digest != digest)
    }

    pub(super) fn clear(&self, is_cancelled: Cancel<'_>) -> Result<(), Error> {
        for (count, (_, entry)) in self.entries().drain().enumerate() {
            self.evicted.add(entry.bytes());
            if count % 1024 == 0 && is_cancelled() {
                return Err(Error::Cancelled);
            }
        }
        Ok(())
    }

    /// How many entries there are and what they weigh at most, also while others are at work.
    #[cfg(test)]
    pub(super) fn holds(&self) -> (u64, u64) {
        (self.entries().len() as u64, self.entries().weight())
    }

    /// How many entries there are and what they take, by a walk over all of them.
    #[cfg(test)]
    pub(super) fn count(&self) -> (u64, u64) {
        self.entries().iter().fold((0, 0), |(count, bytes), (_, entry)| (count + 1, bytes + entry.bytes()))
    }

    /// What has come in and what has gone.
    pub(super) fn tallies(&self) -> (Tally, Tally) {
        // In this order, what has gone by now has been counted before among what came in, mostly.
        let evicted = self.evicted.tally();
        (self.inserted.tally(), evicted)
    }
}

impl Drop for Table {
    /// Frees what is large in a thread of its own: whoever holds a cache last may be in a hurry, as schedulers of the VM are.
    fn drop(&mut self) {
        let (inserted, evicted) = self.tallies();
        let contents = inserted.bytes.saturating_sub(evicted.bytes);
        if self.entries().memory_used().total() as u64 + contents > LARGE {
            let entries = self.entries.take();
            // Where there can be no thread, it is freed here after all.
            drop(thread::Builder::new().name("chunker-free".into()).spawn(move || drop(entries)));
        }
    }
}

/// Both limits, the number of entries and their memory, in one: an entry weighs as much as its memory, but no less than
/// its share of it.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// The least weight.
    share: u64,
    /// What all entries may weigh.
    capacity: u64,
    /// How many parts the table has, a power of two.
    parts: u64,
    /// The share of a part for entries that were used.
    hot: f64,
    /// What one entry may weigh, so that a part admits it.
    heaviest: u64,
    /// How many entries there will be.
    expected: u64,
}

impl Limits {
    fn new(options: &Options, threads: usize) -> Self {
        let share = (options.max_memory / options.max_entries).max(ENTRY);
        let capacity = options.max_memory.min(share * options.max_entries);
        let entries = capacity / share;
        let (expected, parts) = match options.verify {
            // Four locks a thread are enough that they seldom want the same one.
            Verify::Fingerprint => {
                (entries, (4 * threads as u64).clamp(entries / LARGE_PART, entries / PART))
            }
            Verify::Content => {
                let expected = entries.min(capacity / USUAL_CONTENT);
                (expected, (capacity / PART_WITH_CONTENTS).min(expected / ENTRIES_WITH_CONTENTS))
            }
        };
        let parts = 1 << parts.clamp(1, MOST_PARTS).ilog2();
        // So that the parts' capacities are no more than the whole.
        let part = capacity / parts;
        // Of a single entry, all of it.
        let hot = if part < 2 * share { 1.0 } else { HOT };
        let heaviest = (part as f64 * hot) as u64;
        Self { share, capacity: part * parts, parts, hot, heaviest, expected }
    }

    fn weight(&self, bytes: u64) -> u64 {
        bytes.max(self.share)
    }
}

/// Weighs entries; holds the least weight.
#[derive(Debug, Clone, Copy)]
struct Weight(u64);

impl Weighter<Key, Entry> for Weight {
    fn weight(&self, _: &Key, entry: &Entry) -> u64 {
        entry.bytes().max(self.0)
    }
}

/// Collects what goes, so that it is counted, and freed outside of the lock.
#[derive(Debug, Clone, Copy)]
struct Gone;

impl Lifecycle<Key, Entry> for Gone {
    type RequestState = Vec<(Key, Entry)>;

    fn on_evict(&self, gone: &mut Vec<(Key, Entry)>, key: Key, entry: Entry) {
        gone.push((key, entry));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_is_so_large_that_what_concerns_all_of_it_takes_long() {
        for max_entries in [1, 4095, 10_000, 100_000, 1_000_000, 100_000_000] {
            for threads in [1, 64] {
                let options = Options { max_entries, max_memory: max_entries << 14, ..Options::default() };
                let limits = Limits::new(&options, threads);
                assert!(limits.capacity / limits.parts / limits.share < 2 * LARGE_PART, "{limits:?}");
            }
        }
        let (max_entries, max_memory) = (Options::MOST_ENTRIES, Options::MOST_MEMORY);
        let most = Options { max_entries, max_memory, ..Options::default() };
        assert_eq!(Limits::new(&most, 64).parts, MOST_PARTS);
    }

    /// What happens when two threads take in contents with one fingerprint, neither of which was there when they looked.
    #[test]
    fn an_entry_is_not_replaced_by_one_of_another_content() {
        let table = Table::new(&Options::default());
        let key = Key::new(Algorithm::ALL[0], 3, Fingerprint([1, 2]));
        let entry = |byte| Entry::new(Digest([byte; 32]), Some(vec![byte; 3]));
        table.insert(key, entry(1));
        table.insert(key, entry(2));
        let kept = table.get(&key).unwrap();
        assert!(kept.is_of(&[&[1; 3]]) && kept.digest == Digest([1; 32]));
        let (inserted, evicted) = table.tallies();
        assert_eq!((inserted.entries, evicted.entries, table.count().0), (1, 0, 1));
    }
}
