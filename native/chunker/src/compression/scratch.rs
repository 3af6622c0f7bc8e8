//! What one call leaves for the next.

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
/// use chunker::compression::{Codec, CompressOptions, CompressionScratch, compress_into};
///
/// let options = CompressOptions::new(Codec::Zstd);
/// let (mut scratch, mut out) = (CompressionScratch::new(), Vec::new());
/// for chunk in [b"one".as_slice(), b"another"] {
///     compress_into(chunk, &options, &mut scratch, &mut out)?;
///     assert!(!out.is_empty());
/// }
/// # }
/// # Ok::<(), chunker::compression::CompressionError>(())
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
