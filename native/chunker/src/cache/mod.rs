//! Digests of contents that were seen before, looked up instead of computed.
//!
//! A [`Cache`] knows the digests of contents by a fingerprint of every byte of them, which takes a fraction of the time
//! that a digest takes. Fingerprints are made with a secret that is drawn for each cache, and two contents that were
//! chosen without it have the same one with a probability that is proven to be at most 2^-75 (at most 2^-83 for the
//! lengths that chunks have), so that a wrong answer is out of reach also for those who choose the contents; `docs/cache.md`
//! states the bounds and what follows from them. With [`Verify::Content`] the cache keeps the contents too and compares
//! them.
//!
//! A [`Digester`] is what the rest of the engine takes: an algorithm, and perhaps a cache.

mod digester;
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

/// The longest content that a cache takes, in bytes. The bounds on collisions grow with the length.
pub const LONGEST: usize = 1 << 30;

/// Who works on a content asks whether to give up after so many bytes of it.
const PIECE: usize = 1 << 20;

/// How much a cache may hold, and how sure it is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// At most so many digests are kept. 1 to 1,000,000,000; 100,000 by default.
    pub max_entries: u64,
    /// At most so many bytes of memory are held by all that is kept. 1 to 2^60; 256 MiB by default.
    pub max_memory: u64,
    /// What two contents must have in common to be taken for the same.
    pub verify: Verify,
}

/// What two contents must have in common to be taken for the same, besides algorithm and length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// Their fingerprint.
    Fingerprint,
    /// Every byte. The cache keeps the contents, within its memory.
    Content,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_entries: 100_000, max_memory: 256 << 20, verify: Verify::Fingerprint }
    }
}

impl Options {
    /// The greatest number of entries.
    pub const MOST_ENTRIES: u64 = 1_000_000_000;
    /// The greatest memory, in bytes.
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

/// What a cache has done and what it holds.
///
/// `hits` and `misses` are all lookups; `insertions` less `evictions` is `entries`. While other threads are at work,
/// what one of them is just doing may be in one of the numbers and not yet in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Lookups that found a digest.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
    /// Digests that were taken in.
    pub insertions: u64,
    /// Digests that went again: to make room, or because the cache was cleared.
    pub evictions: u64,
    /// Contents that had the fingerprint of another one, as far as that was noticed.
    pub collisions: u64,
    /// Digests that are held.
    pub entries: u64,
    /// The memory that they take, in bytes.
    pub bytes: u64,
}

impl Stats {
    /// The share of lookups that found a digest; 0 before the first one.
    #[must_use]
    pub fn hit_rate(&self) -> f64 {
        match self.hits + self.misses {
            0 => 0.0,
            lookups => self.hits as f64 / lookups as f64,
        }
    }
}

/// Digests by the fingerprints of their contents. To be shared by as many threads as there are.
pub struct Cache {
    secret: Secret,
    verify: Verify,
    table: Table,
    hits: AtomicU64,
    misses: AtomicU64,
    collisions: AtomicU64,
}

impl Cache {
    /// An empty cache with a new secret.
    ///
    /// # Errors
    ///
    /// [`Error::Options`] for an option out of range; [`Error::Io`] when the operating system gives no random bytes.
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

    /// How this cache knows contents again.
    #[must_use]
    pub const fn verify(&self) -> Verify {
        self.verify
    }

    /// The digest of `data`, if it is known. That of more than [`LONGEST`] bytes never is.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`] when `is_cancelled` says so, and nothing else.
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

    /// Computes the digest of `data` and remembers it, unless there are more than [`LONGEST`] bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`] when `is_cancelled` says so, and nothing else.
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

    /// What the cache has done and what it holds. Costs the same however much that is.
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
            // What one thread has put in another may have thrown out already, and be first to count it.
            entries: inserted.entries.saturating_sub(evicted.entries),
            bytes: inserted.bytes.saturating_sub(evicted.bytes),
        }
    }

    /// Forgets all digests that are there when it is called. The statistics go on: what is forgotten counts as evicted.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`] when `is_cancelled` says so; what is not forgotten yet stays.
    pub fn clear(&self, is_cancelled: Cancel<'_>) -> Result<(), Error> {
        self.table.clear(is_cancelled)
    }

    /// The key of a content in slices, of at most [`LONGEST`] bytes.
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
        for piece in data.chunks(PIECE) {
            if is_cancelled() {
                return Err(Error::Cancelled);
            }
            fingerprinting.update(piece);
        }
        Ok(Key::new(algorithm, data.len(), fingerprinting.finish()))
    }

    /// A lookup, which counts.
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

    /// Takes a digest in, unless the content would have to be copied for that and `is_cancelled` says so meanwhile. Tells whether
    /// that content's digest is known now or was not kept: what is known stays as it is, so that of two contents with the same
    /// fingerprint the first is kept.
    fn remember(&self, key: Key, slices: &[&[u8]], digest: Digest, is_cancelled: Cancel<'_>) -> bool {
        if let Some(entry) = self.table.get(&key) {
            return entry.digest == digest;
        }
        let keeps_content = self.verify == Verify::Content;
        // Nothing is copied that would not be kept.
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

/// The bytes of all slices. To copy into fresh memory takes several times as long as to hash.
fn copy_cancellable(slices: &[&[u8]], length: usize, is_cancelled: Cancel<'_>) -> Option<Vec<u8>> {
    let mut copy = Vec::with_capacity(length);
    for piece in slices.iter().flat_map(|slice| slice.chunks(PIECE)) {
        if is_cancelled() {
            return None;
        }
        copy.extend_from_slice(piece);
    }
    Some(copy)
}

impl fmt::Debug for Cache {
    /// Nothing of the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("verify", &self.verify)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
