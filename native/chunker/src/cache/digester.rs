//! Digests, computed or looked up.

use std::sync::Arc;

use super::{Cache, LONGEST};
use crate::Cancel;
use crate::error::Error;
use crate::hash::{Algorithm, Digest};

/// How to come by digests: an algorithm, and perhaps a cache that knows some of them.
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
    /// Computes every digest.
    fn from(algorithm: Algorithm) -> Self {
        Self::new(algorithm, None)
    }
}

impl Digester {
    /// Puts the parts together.
    #[must_use]
    pub const fn new(algorithm: Algorithm, cache: Option<Arc<Cache>>) -> Self {
        Self { algorithm, cache }
    }

    /// The digest of the bytes of all `slices` in their order. Contents shorter than [`Digester::SMALL`] bytes and those
    /// longer than [`LONGEST`] go past the cache.
    #[must_use]
    pub fn digest(&self, slices: &[&[u8]]) -> Digest {
        let length = slices.iter().map(|slice| slice.len()).sum();
        let Some(cache) = self.cache_for(length) else { return self.algorithm.hash_slices(slices) };
        let key = cache.key(self.algorithm, slices, length);
        cache.find(&key, slices).unwrap_or_else(|| {
            let digest = self.algorithm.hash_slices(slices);
            cache.remember(key, slices, digest, &|| false);
            digest
        })
    }

    /// The digest of `data`, as [`Digester::digest`] gives it, which can be given up meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`] when `is_cancelled` says so, and nothing else.
    pub fn digest_cancellable(&self, data: &[u8], is_cancelled: Cancel<'_>) -> Result<Digest, Error> {
        let Some(cache) = self.cache_for(data.len()) else {
            return self.algorithm.hash_cancellable(data, is_cancelled);
        };
        let key = cache.key_cancellable(self.algorithm, data, is_cancelled)?;
        if let Some(digest) = cache.find(&key, &[data]) {
            return Ok(digest);
        }
        let digest = self.algorithm.hash_cancellable(data, is_cancelled)?;
        cache.remember(key, &[data], digest, is_cancelled);
        Ok(digest)
    }

    /// Contents shorter than this many bytes are hashed rather than looked up.
    pub const SMALL: usize = 2048;

    fn cache_for(&self, length: usize) -> Option<&Cache> {
        self.cache.as_deref().filter(|_| (Self::SMALL..=LONGEST).contains(&length))
    }
}
