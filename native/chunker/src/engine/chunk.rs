//! A chunk: where it is in the input, its bytes while they are there, and its digest.

use std::fmt;

use crate::Cancel;
use crate::cache::Digester;
use crate::hash::{Algorithm, Digest};

/// A chunk of an input and its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Chunk {
    /// Where the chunk begins, in bytes from the start of the input.
    pub offset: u64,
    /// How long it is, in bytes.
    pub length: usize,
    /// The digest of its bytes.
    pub hash: Digest,
}

impl Chunk {
    /// The length of the longest chunk that any options give, in bytes.
    pub const LONGEST: u64 = fastcdc::v2020::MAXIMUM_MAX as u64;

    /// Returns the usual work on a chunk: to hash it, with an [`Algorithm`] or with a [`Digester`], which
    /// may look the digest up.
    pub fn hashed<A>(
        digester: impl Into<Digester>,
    ) -> impl Fn(&ChunkBytes<'_, A>) -> Self + Clone + Send + Sync + 'static {
        let digester = digester.into();
        move |chunk| Self { offset: chunk.offset, length: chunk.length, hash: digester.digest(chunk.slices) }
    }
}

/// The bytes of a chunk, as the engine holds them: in one slice or in several that follow each other.
pub struct ChunkBytes<'a, A = ()> {
    /// Where the chunk begins, in bytes from the start of the input.
    pub offset: u64,
    /// How long it is, in bytes.
    pub length: usize,
    /// Its bytes. The slices have `length` bytes in sum.
    pub slices: &'a [&'a [u8]],
    /// For work that may take long: whether it is cancelled. The result does not matter then.
    pub is_cancelled: Cancel<'a>,
    /// What the [`ChunkingMethod`](super::ChunkingMethod) says about the chunk.
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
    /// When `target` is not exactly `length` bytes long.
    pub fn copy_to(&self, mut target: &mut [u8]) {
        assert_eq!(target.len(), self.length, "the target must have the chunk's length");
        for slice in self.slices {
            let (head, rest) = target.split_at_mut(slice.len());
            head.copy_from_slice(slice);
            target = rest;
        }
    }
}
