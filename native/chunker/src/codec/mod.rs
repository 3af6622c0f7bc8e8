//! Compression and decompression with zstd, lz4, xz, bzip2, gzip and brotli, and decompression of .lzma, in
//! the formats of their official programs.
//!
//! - For one buffer: [`compress`] and [`decompress`], or a codec's own functions, such as [`compress_zstd`].
//! - For many buffers: [`compress_into`] and [`decompress_into`] with a [`CompressionScratch`], which reuses
//!   contexts (creating a zstd context for each chunk costs a fifth of the speed at level 3).
//! - For inputs larger than memory: [`Encoder`] and [`Decoder`], which take pieces of any size.
//!
//! Choose lz4 for speed, zstd for nearly everything, xz for size, gzip and brotli for HTTP and for programs
//! that read nothing else, and bzip2 only for data that is already in it. [`Strategy`] names the first three
//! choices.
//!
//! A truncated or damaged input, or one with trailing data unless that is ignored on request, is an error,
//! never a short result. Every codec
//! except brotli writes checksums and verifies them; brotli and .lzma have none, so damage can yield another
//! content. Several streams, frames or members in a row are one content, as in the official programs; only a
//! brotli or .lzma input is a single stream. The caller limits the output of a decoder and its memory.
//!
//! The first bytes of an input tell its format, except for brotli, whose codec must be given.
//!
//! A codec whose Cargo feature is off is not built. Its [`Codec`] variant remains, and using it returns
//! [`CompressionError::CodecDisabled`].
//!
//! # Examples
//!
//! ```
//! # #[cfg(feature = "zstd")] {
//! use chunker::ErrorCode;
//! use chunker::codec::{Codec, CompressOptions, DecompressOptions, compress, decompress};
//!
//! let compressed = compress(b"content", &CompressOptions::new(Codec::Zstd))?;
//! assert_eq!(decompress(&compressed, &DecompressOptions::new())?, b"content");
//!
//! let too_small = DecompressOptions::new().limit(6);
//! assert_eq!(decompress(&compressed, &too_small).unwrap_err().code(), "size_exceeded");
//! # }
//! # Ok::<(), chunker::codec::CompressionError>(())
//! ```

mod cancellable;
mod coder;
mod detect;
mod dictionary;
mod dispatch;
mod error;
mod format;
#[cfg(any(
    feature = "zstd",
    feature = "lz4",
    feature = "xz",
    feature = "bzip2",
    feature = "gzip",
    feature = "brotli"
))]
mod named;
mod options;
// Which parts are used depends on the codecs that are built in.
#[cfg_attr(not(all(feature = "zstd", feature = "lz4", feature = "xz", feature = "bzip2")), allow(dead_code))]
mod output;
mod scratch;
mod smallest;
#[cfg(any(feature = "xz", feature = "bzip2", feature = "gzip", feature = "brotli"))]
mod step;
mod strategy;
mod stream;
#[cfg(any(feature = "xz", feature = "bzip2", feature = "gzip", feature = "brotli"))]
mod streams;
mod whole;

#[cfg(feature = "brotli")]
mod brotli;
#[cfg(feature = "bzip2")]
mod bzip2;
#[cfg(feature = "gzip")]
mod gzip;
#[cfg(feature = "lz4")]
mod lz4;
#[cfg(feature = "xz")]
mod lzma;
#[cfg(feature = "xz")]
mod xz;
#[cfg(feature = "zstd")]
mod zstd;

#[cfg(all(feature = "store", not(feature = "zstd")))]
#[path = "no_prefix.rs"]
mod prefix;
#[cfg(all(feature = "store", feature = "zstd"))]
mod prefix;

pub use cancellable::{compress_cancellable, decompress_cancellable};
pub use detect::detect_format;
pub use dictionary::{Dictionary, train_dictionary, train_dictionary_cancellable};
pub use error::{CodecFailure, CompressionError};
pub use format::Codec;
#[cfg(feature = "brotli")]
pub use named::{compress_brotli, compress_brotli_into, decompress_brotli, decompress_brotli_into};
#[cfg(feature = "bzip2")]
pub use named::{compress_bzip2, compress_bzip2_into, decompress_bzip2, decompress_bzip2_into};
#[cfg(feature = "gzip")]
pub use named::{compress_gzip, compress_gzip_into, decompress_gzip, decompress_gzip_into};
#[cfg(feature = "lz4")]
pub use named::{compress_lz4, compress_lz4_into, decompress_lz4, decompress_lz4_into};
#[cfg(feature = "xz")]
pub use named::{
    compress_xz, compress_xz_into, decompress_lzma, decompress_lzma_into, decompress_xz, decompress_xz_into,
};
#[cfg(feature = "zstd")]
pub use named::{compress_zstd, compress_zstd_into, decompress_zstd, decompress_zstd_into};
pub use options::{CompressOptions, DecompressOptions, Trailing};
pub use output::{DEFAULT_LIMIT, DEFAULT_MAX_MEMORY};
#[cfg(feature = "store")]
pub(crate) use prefix::{compress_with_prefix, decompress_with_prefix};
pub use scratch::{CompressionScratch, ScratchPool};
pub use strategy::Strategy;
pub use stream::{Decoder, Encoder, Progress};
pub use whole::{compress, compress_into, decompress, decompress_into};
