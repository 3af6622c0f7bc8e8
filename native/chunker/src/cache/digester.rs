//! Computes digests, or looks them up.

use std::sync::Arc;

use super::{Cache, LONGEST};
use crate::error::Error;
use crate::hash::{Algorithm, Digest};
use crate::io::file::Input;
use crate::io::source::Source;
use crate::{Cancel, NEVER};

/// Computes digests with an algorithm, and looks up known ones in an optional cache.
///
/// ```
/// use std::sync::Arc;
/// use chunker::cache::{Cache, Digester, Options};
/// use chunker::hash::Algorithm;
///
/// let cache = Arc::new(Cache::new(&Options::default())?);
/// let digester = Digester::new(Algorithm::ALL[0], Some(Arc::clone(&cache)));
/// let content = vec![7; 100_000];
/// assert_eq!(digester.digest(&[&content]), digester.digest(&[&content[..1], &content[1..]]));
/// assert_eq!((cache.stats().hits, cache.stats().misses), (1, 1));
/// # Ok::<(), chunker::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Digester {
    algorithm: Algorithm,
    cache: Option<Arc<Cache>>,
}

impl From<Algorithm> for Digester {
    /// Creates a digester without a cache.
    fn from(algorithm: Algorithm) -> Self {
        Self::new(algorithm, None)
    }
}

impl Digester {
    /// Creates a digester of an algorithm and an optional cache.
    #[must_use]
    pub const fn new(algorithm: Algorithm, cache: Option<Arc<Cache>>) -> Self {
        Self { algorithm, cache }
    }

    /// Returns the digest of the concatenation of `slices`. Contents shorter than [`Digester::SMALL`] bytes
    /// or longer than [`LONGEST`] bytes bypass the cache.
    #[must_use]
    pub fn digest(&self, slices: &[&[u8]]) -> Digest {
        let length = slices.iter().map(|slice| slice.len()).sum();
        let Some(cache) = self.cache_for(length) else { return self.algorithm.hash_slices(slices) };
        let key = cache.key(self.algorithm, slices, length);
        cache.find(&key, slices).unwrap_or_else(|| {
            let digest = self.algorithm.hash_slices(slices);
            cache.remember(key, slices, digest, NEVER);
            digest
        })
    }

    /// Returns the digest of `data` like [`Digester::digest`].
    ///
    /// # Errors
    ///
    /// Returns [`Error::Cancelled`] if `is_cancelled` returns `true`, and no other error.
    pub fn digest_cancellable(&self, data: &[u8], is_cancelled: Cancel<'_>) -> Result<Digest, Error> {
        let Some(cache) = self.cache_for(data.len()) else {
            return self.algorithm.hash_cancellable(data, is_cancelled);
        };
        cache.fetch(self.algorithm, data, is_cancelled)
    }

    /// Returns the digest of a file, in 1 MiB of memory.
    ///
    /// With a cache, a file of at least 1 MiB is read for its fingerprint, and a second time if the cache
    /// does not have the digest. These bypass the cache: files of a length that [`Digester::digest`] does not
    /// look up either, non-seekable files, files of `/proc`, and with
    /// [`Verify::Content`](super::Verify::Content) files of at least 1 MiB, which would have to be in memory
    /// to be compared.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Cancelled`] if `is_cancelled` returns `true`, and the errors of reading the file.
    pub fn digest_file(&self, input: Input, is_cancelled: Cancel<'_>) -> Result<Digest, Error> {
        let length = input.length().and_then(|length| usize::try_from(length).ok());
        let cache = length.and_then(|length| self.cache_for(length).filter(|cache| cache.takes_file(length)));
        match cache {
            Some(cache) => cache.fetch_file(self.algorithm, input, is_cancelled),
            None => self.algorithm.hash_source(input, is_cancelled),
        }
    }

    /// The shortest content that is looked up, in bytes. Shorter ones are always hashed.
    pub const SMALL: usize = 2048;

    fn cache_for(&self, length: usize) -> Option<&Cache> {
        self.cache.as_deref().filter(|_| (Self::SMALL..=LONGEST).contains(&length))
    }
}
