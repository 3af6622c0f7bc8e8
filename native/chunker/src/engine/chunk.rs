//! Defines a chunk: its position in the input, its bytes while they are in memory, and its digest.

use std::fmt;

use crate::Cancel;
use crate::cache::Digester;
use crate::hash::{Algorithm, Digest};

/// Holds the position of a chunk and its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Chunk {
    /// The start of the chunk, in bytes from the start of the input.
    pub offset: u64,
    /// The length of the chunk, in bytes.
    pub length: usize,
    /// The digest of its bytes.
    pub hash: Digest,
}

impl Chunk {
    /// The length of the longest chunk that any options allow, in bytes.
    pub const LONGEST: u64 = fastcdc::v2020::MAXIMUM_MAX as u64;

    /// Returns the usual work on a chunk, which hashes it: with an [`Algorithm`], or with a [`Digester`],
    /// which may look the digest up.
    pub fn hashed<A>(
        digester: impl Into<Digester>,
    ) -> impl Fn(&ChunkBytes<'_, A>) -> Self + Clone + Send + Sync + 'static {
        let digester = digester.into();
        move |chunk| Self { offset: chunk.offset, length: chunk.length, hash: digester.digest(chunk.slices) }
    }
}

/// Borrows the bytes of a chunk from the engine, in one or several consecutive slices.
pub struct ChunkBytes<'a, A = ()> {
    /// The start of the chunk, in bytes from the start of the input.
    pub offset: u64,
    /// The length of the chunk, in bytes.
    pub length: usize,
    /// The bytes of the chunk, `length` in total.
    pub slices: &'a [&'a [u8]],
    /// Returns whether the call is cancelled. Long work polls it and returns early; that result is not used.
    pub is_cancelled: Cancel<'a>,
    /// The annotation by the [`ChunkingMethod`](super::ChunkingMethod).
    pub annotation: &'a A,
}

impl<A> fmt::Debug for ChunkBytes<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkBytes")
            .field("offset", &self.offset)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl<A> ChunkBytes<'_, A> {
    /// Returns the digest of the bytes.
    #[must_use]
    pub fn hash(&self, algorithm: Algorithm) -> Digest {
        algorithm.hash_slices(self.slices)
    }

    /// Copies the bytes to `target`.
    ///
    /// # Panics
    ///
    /// Panics unless `target` is exactly `length` bytes long.
    pub fn copy_to(&self, mut target: &mut [u8]) {
        assert_eq!(target.len(), self.length, "the target must have the chunk's length");
        for slice in self.slices {
            let (head, rest) = target.split_at_mut(slice.len());
            head.copy_from_slice(slice);
            target = rest;
        }
    }
}
