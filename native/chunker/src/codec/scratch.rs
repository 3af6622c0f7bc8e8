//! Contexts and buffers that are reused between calls.

use std::sync::{Mutex, PoisonError};

/// Contexts and buffers that are reused between calls of [`compress_into`](super::compress_into) and
/// [`decompress_into`](super::decompress_into).
///
/// With a scratch that has seen input of the same kind and size, and an output buffer that is large enough,
/// zstd and lz4 allocate nothing. The others allocate their coders at each call, because most of their
/// libraries cannot reset a used state; xz and brotli limit the allocation to the size of the input.
///
/// A scratch serves one thread at a time. It holds the contexts of the codecs used so far, at most about 64
/// MiB for each direction of zstd and 8 MiB for lz4. Larger contexts are freed at the end of the call.
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
    /// Creates an empty scratch. Nothing is allocated until it is used.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// A pool of scratches, each with an output buffer, for work that any thread may do. It holds as many as
/// there were concurrent calls.
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
    /// Creates an empty pool. Scratches are created lazily.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls `work` with a scratch and a buffer that no other call uses. If `work` panics, both are dropped.
    pub fn lend<T>(&self, work: impl FnOnce(&mut CompressionScratch, &mut Vec<u8>) -> T) -> T {
        // The lock is held only to push and pop, and never while `work` runs.
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut scratch, mut buffer) = lock().pop().unwrap_or_default();
        let result = work(&mut scratch, &mut buffer);
        lock().push((scratch, buffer));
        result
    }
}
