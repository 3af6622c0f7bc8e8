//! A cache of digests, looked up by fingerprint instead of computed.
//!
//! A [`Cache`] maps a fingerprint of every byte of a content to its digest. A fingerprint takes a fraction of
//! the time of a digest. Each cache draws a random secret for its fingerprints. Two contents chosen without
//! knowledge of the secret have the same fingerprint with a proven probability of at most 2^-75 (at most
//! 2^-83 for the lengths of chunks), so even an attacker who chooses the contents cannot provoke a wrong
//! digest; `docs/cache.md` states the bounds and their consequences. With [`Verify::Content`] the cache also
//! stores the contents and compares them.
//!
//! The rest of the engine takes a [`Digester`]: an algorithm and an optional cache.

mod digester;
mod file;
mod fingerprint;
mod poly1305;
mod table;
#[cfg(test)]
mod tests;
#[cfg_attr(
    all(
        feature = "umash",
        any(target_arch = "x86_64", all(target_arch = "aarch64", target_endian = "little")),
        not(target_env = "msvc")
    ),
    path = "umash.rs"
)]
#[cfg_attr(
    not(all(
        feature = "umash",
        any(target_arch = "x86_64", all(target_arch = "aarch64", target_endian = "little")),
        not(target_env = "msvc")
    )),
    path = "no_umash.rs"
)]
mod umash;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Cancel;
use crate::error::{Error, OptionsError};
use crate::hash::{Algorithm, Digest};

pub use digester::Digester;
use fingerprint::Secret;
pub use fingerprint::implementation as fingerprint_implementation;
use table::{Entry, Key, Table};

/// The longest content that a cache accepts, in bytes. The bounds on collisions grow with the length.
pub const LONGEST: usize = 1 << 30;

/// The number of bytes of a content processed between two polls for cancellation.
const BYTES_PER_POLL: usize = 1 << 20;

/// The limits of a cache, and how it verifies a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The maximum number of digests. 1 to 1,000,000,000; 100,000 by default.
    pub max_entries: u64,
    /// The maximum memory of all entries, in bytes. 1 to 2^60; 256 MiB by default.
    pub max_memory: u64,
    /// How the cache verifies that two contents are equal.
    pub verify: Verify,
}

/// How a cache verifies that two contents are equal, in addition to algorithm and length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// By fingerprint.
    Fingerprint,
    /// By every byte. The cache stores the contents, within its memory limit.
    Content,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_entries: 100_000, max_memory: 256 << 20, verify: Verify::Fingerprint }
    }
}

impl Options {
    /// The largest allowed `max_entries`.
    pub const MOST_ENTRIES: u64 = 1_000_000_000;
    /// The largest allowed `max_memory`, in bytes.
    pub const MOST_MEMORY: u64 = 1 << 60;

    fn check(&self) -> Result<(), OptionsError> {
        within("max_entries", self.max_entries, Self::MOST_ENTRIES)?;
        within("max_memory", self.max_memory, Self::MOST_MEMORY)
    }
}

fn within(option: &'static str, value: u64, most: u64) -> Result<(), OptionsError> {
    if (1..=most).contains(&value) {
        return Ok(());
    }
    Err(OptionsError { option, value: value.into(), allowed: format!("1..{most}") })
}

/// Statistics of a cache.
///
/// `hits + misses` is the number of lookups, and `insertions - evictions` equals `entries`. While other
/// threads use the cache, an operation in progress may be in one of the numbers and not yet in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Lookups that found a digest.
    pub hits: u64,
    /// Lookups that found no digest.
    pub misses: u64,
    /// Digests inserted.
    pub insertions: u64,
    /// Digests removed, to make room or by [`Cache::clear`].
    pub evictions: u64,
    /// Detected collisions: contents with the fingerprint of another content.
    pub collisions: u64,
    /// Digests held.
    pub entries: u64,
    /// The memory of the entries, in bytes.
    pub bytes: u64,
}

impl Stats {
    /// Returns the share of lookups that found a digest, or 0 before the first lookup.
    #[must_use]
    pub fn hit_rate(&self) -> f64 {
        match self.hits + self.misses {
            0 => 0.0,
            lookups => self.hits as f64 / lookups as f64,
        }
    }
}

/// Maps fingerprints of contents to their digests. Any number of threads may share a cache.
pub struct Cache {
    secret: Secret,
    verify: Verify,
    table: Table,
    hits: AtomicU64,
    misses: AtomicU64,
    collisions: AtomicU64,
}

impl Cache {
    /// Creates an empty cache with a new random secret.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Options`] for an option out of range, and [`Error::Io`] if the operating system
    /// provides no random bytes.
    pub fn new(options: &Options) -> Result<Self, Error> {
        Self::with_secret(options, Secret::random()?)
    }

    fn with_secret(options: &Options, secret: Secret) -> Result<Self, Error> {
        options.check()?;
        Ok(Self {
            secret,
            verify: options.verify,
            table: Table::new(options),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            collisions: AtomicU64::new(0),
        })
    }

    /// Returns how this cache verifies that contents are equal.
    #[must_use]
    pub const fn verify(&self) -> Verify {
        self.verify
    }

    /// Looks up the digest of `data`. Contents of more than [`LONGEST`] bytes always miss.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Cancelled`] if `is_cancelled` returns `true`, and no other error.
    pub fn get(
        &self,
        algorithm: Algorithm,
        data: &[u8],
        is_cancelled: Cancel<'_>,
    ) -> Result<Option<Digest>, Error> {
        if data.len() > LONGEST {
            self.misses.fetch_add(1, Ordering::Relaxed);
            return Ok(None);
        }
        let key = self.key_cancellable(algorithm, data, is_cancelled)?;
        Ok(self.find(&key, &[data]))
    }

    /// Computes the digest of `data` and inserts it, unless `data` is longer than [`LONGEST`] bytes.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Cancelled`] if `is_cancelled` returns `true`, and no other error.
    pub fn put(&self, algorithm: Algorithm, data: &[u8], is_cancelled: Cancel<'_>) -> Result<Digest, Error> {
        let digest = algorithm.hash_cancellable(data, is_cancelled)?;
        if data.len() <= LONGEST {
            let key = self.key_cancellable(algorithm, data, is_cancelled)?;
            if !self.remember(key, &[data], digest, is_cancelled) {
                self.collisions.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(digest)
    }

    /// Looks up the digest of `data`, and if it is not there, computes and inserts it. The fingerprint is
    /// computed once. Contents of more than [`LONGEST`] bytes always miss and are not inserted.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Cancelled`] if `is_cancelled` returns `true`, and no other error.
    pub fn fetch(
        &self,
        algorithm: Algorithm,
        data: &[u8],
        is_cancelled: Cancel<'_>,
    ) -> Result<Digest, Error> {
        if data.len() > LONGEST {
            self.misses.fetch_add(1, Ordering::Relaxed);
            return algorithm.hash_cancellable(data, is_cancelled);
        }
        let key = self.key_cancellable(algorithm, data, is_cancelled)?;
        if let Some(digest) = self.find(&key, &[data]) {
            return Ok(digest);
        }
        let digest = algorithm.hash_cancellable(data, is_cancelled)?;
        self.remember(key, &[data], digest, is_cancelled);
        Ok(digest)
    }

    /// Returns the statistics of the cache, in constant time.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let hits = self.hits.load(Ordering::Relaxed);
        let misses = self.misses.load(Ordering::Relaxed);
        let collisions = self.collisions.load(Ordering::Relaxed);
        let (inserted, evicted) = self.table.tallies();
        Stats {
            hits,
            misses,
            insertions: inserted.entries,
            evictions: evicted.entries,
            collisions,
            // Another thread may evict an entry and count the eviction before this thread counts the
            // insertion.
            entries: inserted.entries.saturating_sub(evicted.entries),
            bytes: inserted.bytes.saturating_sub(evicted.bytes),
        }
    }

    /// Removes all digests that are in the cache at the time of the call. Removed digests count as evicted.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Cancelled`] if `is_cancelled` returns `true`; the remaining digests stay.
    pub fn clear(&self, is_cancelled: Cancel<'_>) -> Result<(), Error> {
        self.table.clear(is_cancelled)
    }

    /// Returns the key of a content of at most [`LONGEST`] bytes.
    fn key(&self, algorithm: Algorithm, slices: &[&[u8]], length: usize) -> Key {
        let mut fingerprinting = self.secret.start();
        slices.iter().for_each(|slice| fingerprinting.update(slice));
        Key::new(algorithm, length, fingerprinting.finish())
    }

    fn key_cancellable(
        &self,
        algorithm: Algorithm,
        data: &[u8],
        is_cancelled: Cancel<'_>,
    ) -> Result<Key, Error> {
        let mut fingerprinting = self.secret.start();
        for piece in data.chunks(BYTES_PER_POLL) {
            if is_cancelled() {
                return Err(Error::Cancelled);
            }
            fingerprinting.update(piece);
        }
        Ok(Key::new(algorithm, data.len(), fingerprinting.finish()))
    }

    /// Looks up a digest and counts the hit or miss.
    fn find(&self, key: &Key, slices: &[&[u8]]) -> Option<Digest> {
        let digest = self.table.get(key).and_then(|entry| {
            let same = entry.is_of(slices);
            if !same {
                self.collisions.fetch_add(1, Ordering::Relaxed);
            }
            same.then_some(entry.digest)
        });
        let counter = if digest.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        digest
    }

    /// Inserts a digest, unless the content must be copied for that and `is_cancelled` returns `true`. An
    /// existing entry is never replaced, so of two contents with one fingerprint the first is kept. Returns
    /// `false` only if the existing entry is of another content.
    fn remember(&self, key: Key, slices: &[&[u8]], digest: Digest, is_cancelled: Cancel<'_>) -> bool {
        if let Some(entry) = self.table.get(&key) {
            return entry.digest == digest;
        }
        let keeps_content = self.verify == Verify::Content;
        // Check before copying the content.
        if !self.table.admits(if keeps_content { key.length() } else { 0 }) {
            return true;
        }
        let content = if keeps_content {
            let Some(copy) = copy_cancellable(slices, key.length(), is_cancelled) else { return true };
            Some(copy)
        } else {
            None
        };
        self.table.insert(key, Entry::new(digest, content));
        true
    }
}

/// Concatenates all slices. Cancellable, because copying into fresh memory takes several times as long as
/// hashing.
fn copy_cancellable(slices: &[&[u8]], length: usize, is_cancelled: Cancel<'_>) -> Option<Vec<u8>> {
    let mut copy = Vec::with_capacity(length);
    for piece in slices.iter().flat_map(|slice| slice.chunks(BYTES_PER_POLL)) {
        if is_cancelled() {
            return None;
        }
        copy.extend_from_slice(piece);
    }
    Some(copy)
}

impl fmt::Debug for Cache {
    /// Omits the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("verify", &self.verify)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
