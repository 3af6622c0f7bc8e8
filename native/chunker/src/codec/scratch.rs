//! What one call leaves for the next.

use std::sync::{Mutex, PoisonError};

/// Contexts and buffers that are kept between calls of [`compress_into`](super::compress_into) and
/// [`decompress_into`](super::decompress_into).
///
/// Once it has seen an input of the kind and size, and the output buffer is large enough, compressing or decompressing
/// with zstd or lz4 through it allocates nothing. The libraries of xz and bzip2 take no used state back, so these two
/// allocate what their coders need at each call; xz at least no more than the size of the input calls for.
///
/// One scratch serves one thread at a time. It holds what the codecs used so far need, at most about 64 MiB for each
/// direction of zstd and 8 MiB for lz4; contexts that grew beyond that are given back at the end of the call.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "zstd")] {
/// use chunker::codec::{Codec, CompressOptions, CompressionScratch, compress_into};
///
/// let options = CompressOptions::new(Codec::Zstd);
/// let (mut scratch, mut out) = (CompressionScratch::new(), Vec::new());
/// for chunk in [b"one".as_slice(), b"another"] {
///     compress_into(chunk, &options, &mut scratch, &mut out)?;
///     assert!(!out.is_empty());
/// }
/// # }
/// # Ok::<(), chunker::codec::CompressionError>(())
/// ```
#[derive(Debug, Default)]
pub struct CompressionScratch {
    #[cfg(feature = "zstd")]
    pub(super) zstd: super::zstd::Scratch,
    #[cfg(feature = "lz4")]
    pub(super) lz4: super::lz4::Scratch,
}

impl CompressionScratch {
    /// An empty scratch; nothing is allocated before it is used.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// Scratches for work that any thread may do, each with a buffer for what comes out: as many come to be as there are threads
/// that work at once.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "zstd")] {
/// use chunker::codec::{Codec, CompressOptions, ScratchPool, compress_into};
///
/// let options = CompressOptions::new(Codec::Zstd);
/// let scratches = ScratchPool::new();
/// std::thread::scope(|threads| {
///     for chunk in [b"one".as_slice(), b"another"] {
///         let (options, scratches) = (&options, &scratches);
///         threads.spawn(move || {
///             scratches.lend(|scratch, out| compress_into(chunk, options, scratch, out).map(|()| out.len()))
///         });
///     }
/// });
/// # }
/// ```
#[derive(Debug, Default)]
pub struct ScratchPool(Mutex<Vec<(CompressionScratch, Vec<u8>)>>);

impl ScratchPool {
    /// A pool without scratches; each is made when it is first needed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls `work` with a scratch and a buffer that nobody else uses meanwhile. If `work` panics, they are gone.
    pub fn lend<T>(&self, work: impl FnOnce(&mut CompressionScratch, &mut Vec<u8>) -> T) -> T {
        // The lock is held for moments only, and never while foreign code runs.
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut scratch, mut buffer) = lock().pop().unwrap_or_default();
        let result = work(&mut scratch, &mut buffer);
        lock().push((scratch, buffer));
        result
    }
}
