//! The table of a cache: entries by key, within limits.
//!
//! Crate `quick_cache` stores the entries in shards, each with a read-write lock of its own, and evicts
//! entries that have not been used for long (a variant of CLOCK-Pro: a lookup sets a mark on its entry, and
//! eviction spares marked entries; no operation walks the whole table).

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

/// Identifies a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    fingerprint: Fingerprint,
    length: u32,
    algorithm: Algorithm,
}

impl Key {
    pub(super) fn new(algorithm: Algorithm, length: usize, fingerprint: Fingerprint) -> Self {
        let length = u32::try_from(length).expect("a content is at most LONGEST bytes long");
        Self { fingerprint, length, algorithm }
    }

    pub(super) const fn length(&self) -> usize {
        self.length as usize
    }
}

#[derive(Clone)]
pub(super) struct Entry {
    pub(super) digest: Digest,
    /// Behind one pointer, so that the entries of a cache without contents are small.
    content: Option<Arc<Box<[u8]>>>,
}

impl Entry {
    pub(super) fn new(digest: Digest, content: Option<Vec<u8>>) -> Self {
        Self { digest, content: content.map(|bytes| Arc::new(bytes.into_boxed_slice())) }
    }

    /// Returns whether this is the entry of the content in `slices`. Always `true` if the entry stores no
    /// content.
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

/// The memory of an entry without content, in bytes: its slot (80), its share of the slots of ghost entries
/// (an eighth of all slots), of the index (6 to 26 a slot), and of the space that eviction leaves unused. A
/// content adds whole pages, because the allocator rounds it up, and a small header.
const ENTRY: u64 = 128;

fn memory(content: usize) -> u64 {
    match content {
        0 => ENTRY,
        _ => ENTRY + (content as u64 + 64).next_multiple_of(if content < PAGE { 64 } else { PAGE as u64 }),
    }
}

const PAGE: usize = 4096;

/// The number of evicted keys that are remembered, as a share of the entries, so that an entry that returns
/// is kept longer.
const GHOSTS: f64 = 0.125;

/// The share of a shard for entries that were used; the rest is for new ones. With less, the chunks of one
/// version are evicted before the next version is chunked; with more, those of old versions stay too long.
/// `docs/measurements/caching.md` lists the hit rates.
const HOT: f64 = 0.7;

/// The fewest entries of a shard. Shards fill unevenly: with this many, by 1.6 % (one standard deviation).
const MIN_SHARD_ENTRIES: u64 = 4096;

/// Half the most entries of a shard. Some insertions work on a whole shard under its lock, possibly on a
/// normal scheduler: one that grows the index, and one that clears all marks because every entry was used.
const LARGE_SHARD_ENTRIES: u64 = 16_384;

/// The fewest bytes of a shard with contents, so that it can hold a few of the longest chunks.
const MIN_SHARD_BYTES_WITH_CONTENTS: u64 = 4 * Chunk::LONGEST;

/// The fewest entries of a shard with contents, so that shards fill evenly, and a table of few but large
/// entries has one shard. (With fewer than 32 entries a shard, the crate creates fewer shards than
/// requested.)
const MIN_SHARD_ENTRIES_WITH_CONTENTS: u64 = 256;

/// The longest content that is stored, in bytes. Comparing or freeing a longer one would take too long.
const LONGEST_STORED: usize = 128 << 20;

/// The most shards, so that a limit which means "unlimited" costs little.
const MAX_SHARDS: u64 = 1 << 12;

/// The expected average length of the contents in a table that stores them, in bytes.
const EXPECTED_CONTENT: u64 = 64 << 10;

/// The most entries for which memory is reserved up front; the system provides it lazily. Shards beyond that
/// grow by doubling, which allocates more than is counted, but does not touch it.
const RESERVED: u64 = 1 << 22;

/// The size in bytes above which freeing takes milliseconds.
const SLOW_TO_FREE: u64 = 16 << 20;

/// A number of entries and their memory.
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

type Entries = quick_cache::sync::Cache<Key, Entry, Weight, RandomState, CollectEvicted>;

pub(super) struct Table {
    /// Always `Some` until `drop` takes it.
    entries: Option<Entries>,
    limits: Limits,
    inserted: Counter,
    evicted: Counter,
}

impl Table {
    pub(super) fn new(options: &Options) -> Self {
        let limits = Limits::new(options, thread::available_parallelism().map_or(1, usize::from));
        let built = OptionsBuilder::new()
            .shards(limits.shards as usize)
            .estimated_items_capacity(limits.expected as usize)
            .weight_capacity(limits.capacity)
            .hot_allocation(limits.hot)
            .ghost_allocation(GHOSTS)
            .build()
            .expect("the required options are set");
        // The index is keyed too (SipHash), so that the order of evictions reveals nothing about
        // fingerprints.
        let entries = Entries::with_options(built, Weight(limits.share), RandomState::new(), CollectEvicted);
        entries.reserve(limits.expected.min(RESERVED) as usize);
        Self { entries: Some(entries), limits, inserted: Counter::default(), evicted: Counter::default() }
    }

    fn entries(&self) -> &Entries {
        self.entries.as_ref().expect("the entries exist until the table is dropped")
    }

    /// Returns whether an entry with a content of this length fits, after evictions. The length is 0 if
    /// contents are not stored.
    pub(super) fn admits(&self, content: usize) -> bool {
        content <= LONGEST_STORED && self.limits.weight(memory(content)) <= self.limits.heaviest
    }

    /// Looks up an entry, which counts as a use of it.
    pub(super) fn get(&self, key: &Key) -> Option<Entry> {
        self.entries().get(key)
    }

    /// Inserts an entry, unless another thread has inserted one of another content under its key, which then
    /// stays.
    pub(super) fn insert(&self, key: Key, entry: Entry) {
        if let Some(first) = self.insert_or_existing(key, entry) {
            self.insert_or_existing(key, first);
        }
    }

    /// Inserts an entry and returns the previous entry of the key if that is of another content.
    fn insert_or_existing(&self, key: Key, entry: Entry) -> Option<Entry> {
        let (bytes, digest) = (entry.bytes(), entry.digest);
        let mut evicted = Vec::new();
        self.entries().insert_with_lifecycle(key, entry, &mut evicted);
        // An evicted entry with the same key is either the new entry, which was not admitted, or the one that
        // it replaced because another thread inserted it first.
        let (twins, others): (Vec<_>, Vec<_>) = evicted.into_iter().partition(|(other, _)| *other == key);
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

    /// Returns the current number of entries and their weight. Safe to call while other threads use the
    /// table.
    #[cfg(test)]
    pub(super) fn holds(&self) -> (u64, u64) {
        (self.entries().len() as u64, self.entries().weight())
    }

    /// Counts the entries and their memory by walking over all of them.
    #[cfg(test)]
    pub(super) fn count(&self) -> (u64, u64) {
        self.entries().iter().fold((0, 0), |(count, bytes), (_, entry)| (count + 1, bytes + entry.bytes()))
    }

    /// Returns the totals of insertions and evictions.
    pub(super) fn tallies(&self) -> (Tally, Tally) {
        // Read evictions first: an eviction is mostly counted after its insertion.
        let evicted = self.evicted.tally();
        (self.inserted.tally(), evicted)
    }
}

impl Drop for Table {
    /// Frees a large table on a thread of its own, because the last owner may be a scheduler of the VM, which
    /// must not block.
    fn drop(&mut self) {
        let (inserted, evicted) = self.tallies();
        let contents = inserted.bytes.saturating_sub(evicted.bytes);
        if self.entries().memory_used().total() as u64 + contents > SLOW_TO_FREE {
            let entries = self.entries.take();
            // If the thread cannot be created, the closure is dropped here, and the entries with it.
            drop(thread::Builder::new().name("chunker-free".into()).spawn(move || drop(entries)));
        }
    }
}

/// Combines the limits on entries and memory into one: the weight of an entry is its memory, but at least the
/// memory limit divided by the entry limit.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// The minimum weight of an entry.
    share: u64,
    /// The maximum weight of all entries.
    capacity: u64,
    /// The number of shards, a power of two.
    shards: u64,
    /// The share of a shard for entries that were used.
    hot: f64,
    /// The maximum weight of one entry that a shard admits.
    heaviest: u64,
    /// The expected number of entries.
    expected: u64,
}

impl Limits {
    fn new(options: &Options, threads: usize) -> Self {
        let share = (options.max_memory / options.max_entries).max(ENTRY);
        let capacity = options.max_memory.min(share * options.max_entries);
        let entries = capacity / share;
        let (expected, shards) = match options.verify {
            // Four shards per thread make contention on a lock rare.
            Verify::Fingerprint => (
                entries,
                (4 * threads as u64).clamp(entries / LARGE_SHARD_ENTRIES, entries / MIN_SHARD_ENTRIES),
            ),
            Verify::Content => {
                let expected = entries.min(capacity / EXPECTED_CONTENT);
                (
                    expected,
                    (capacity / MIN_SHARD_BYTES_WITH_CONTENTS)
                        .min(expected / MIN_SHARD_ENTRIES_WITH_CONTENTS),
                )
            }
        };
        let shards = 1 << shards.clamp(1, MAX_SHARDS).ilog2();
        // Round down, so that the shards together do not exceed the limit.
        let shard = capacity / shards;
        // A shard with a single entry uses all of it.
        let hot = if shard < 2 * share { 1.0 } else { HOT };
        let heaviest = (shard as f64 * hot) as u64;
        Self { share, capacity: shard * shards, shards, hot, heaviest, expected }
    }

    fn weight(&self, bytes: u64) -> u64 {
        bytes.max(self.share)
    }
}

/// Weighs entries. Holds the minimum weight.
#[derive(Debug, Clone, Copy)]
struct Weight(u64);

impl Weighter<Key, Entry> for Weight {
    fn weight(&self, _: &Key, entry: &Entry) -> u64 {
        entry.bytes().max(self.0)
    }
}

/// Collects evicted entries, so that they are counted, and freed after the lock is released.
#[derive(Debug, Clone, Copy)]
struct CollectEvicted;

impl Lifecycle<Key, Entry> for CollectEvicted {
    type RequestState = Vec<(Key, Entry)>;

    fn on_evict(&self, evicted: &mut Vec<(Key, Entry)>, key: Key, entry: Entry) {
        evicted.push((key, entry));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_bounded_in_size() {
        for max_entries in [1, 4095, 10_000, 100_000, 1_000_000, 100_000_000] {
            for threads in [1, 64] {
                let options = Options { max_entries, max_memory: max_entries << 14, ..Options::default() };
                let limits = Limits::new(&options, threads);
                assert!(
                    limits.capacity / limits.shards / limits.share < 2 * LARGE_SHARD_ENTRIES,
                    "{limits:?}"
                );
            }
        }
        let (max_entries, max_memory) = (Options::MOST_ENTRIES, Options::MOST_MEMORY);
        let most = Options { max_entries, max_memory, ..Options::default() };
        assert_eq!(Limits::new(&most, 64).shards, MAX_SHARDS);
    }

    /// Tests the case in which two threads insert contents with one fingerprint, and neither found an entry
    /// before.
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
