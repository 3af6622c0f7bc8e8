//! Each codec's own functions.

use super::error::CompressionError;
use super::format::Codec;
use super::options::{CompressOptions, DecompressOptions};
use super::scratch::CompressionScratch;
use super::whole::{compress, compress_into, decompress, decompress_into};

/// Compresses `data` into one zstd frame, at a level of -131072 to 22, by default 3.
///
/// # Errors
///
/// Returns [`CompressionError::InvalidLevel`], or [`CompressionError::CompressionFailed`] if memory runs out.
#[cfg(feature = "zstd")]
pub fn compress_zstd(data: &[u8], level: Option<i32>) -> Result<Vec<u8>, CompressionError> {
    compress_with(Codec::Zstd, data, level)
}

/// Compresses like [`compress_zstd`], but replaces the content of `out`, whose capacity is reused. `out` is
/// empty after an error.
///
/// [`compress_into`] reuses the context too.
#[cfg(feature = "zstd")]
pub fn compress_zstd_into(
    data: &[u8],
    level: Option<i32>,
    out: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    compress_into_with(Codec::Zstd, data, level, out)
}

/// Decompresses zstd frames with at most `limit` bytes of content in total. Ignores skippable frames.
///
/// # Errors
///
/// Returns [`CompressionError::SizeExceeded`] or [`CompressionError::DecompressionFailed`].
#[cfg(feature = "zstd")]
pub fn decompress_zstd(data: &[u8], limit: u64) -> Result<Vec<u8>, CompressionError> {
    decompress_with(Codec::Zstd, data, limit)
}

/// Decompresses like [`decompress_zstd`], but replaces the content of `out`, whose capacity is reused. `out`
/// is empty after an error.
///
/// [`decompress_into`] reuses the context too.
#[cfg(feature = "zstd")]
pub fn decompress_zstd_into(data: &[u8], limit: u64, out: &mut Vec<u8>) -> Result<(), CompressionError> {
    decompress_into_with(Codec::Zstd, data, limit, out)
}

/// Compresses `data` into one lz4 frame. The only level is 1.
///
/// # Errors
///
/// Returns [`CompressionError::InvalidLevel`], or [`CompressionError::CompressionFailed`] if memory runs out.
#[cfg(feature = "lz4")]
pub fn compress_lz4(data: &[u8], level: Option<i32>) -> Result<Vec<u8>, CompressionError> {
    compress_with(Codec::Lz4, data, level)
}

/// Compresses like [`compress_lz4`], but replaces the content of `out`, whose capacity is reused. `out` is
/// empty after an error.
///
/// [`compress_into`] reuses the hash tables too.
#[cfg(feature = "lz4")]
pub fn compress_lz4_into(data: &[u8], level: Option<i32>, out: &mut Vec<u8>) -> Result<(), CompressionError> {
    compress_into_with(Codec::Lz4, data, level, out)
}

/// Decompresses lz4 frames with at most `limit` bytes of content in total. Ignores skippable frames.
///
/// # Errors
///
/// Returns [`CompressionError::SizeExceeded`] or [`CompressionError::DecompressionFailed`].
#[cfg(feature = "lz4")]
pub fn decompress_lz4(data: &[u8], limit: u64) -> Result<Vec<u8>, CompressionError> {
    decompress_with(Codec::Lz4, data, limit)
}

/// Decompresses like [`decompress_lz4`], but replaces the content of `out`, whose capacity is reused. `out`
/// is empty after an error.
///
/// [`decompress_into`] reuses the internal buffers too.
#[cfg(feature = "lz4")]
pub fn decompress_lz4_into(data: &[u8], limit: u64, out: &mut Vec<u8>) -> Result<(), CompressionError> {
    decompress_into_with(Codec::Lz4, data, limit, out)
}

/// Compresses `data` into one xz stream, at a level of 0 to 9, by default 6.
///
/// # Errors
///
/// Returns [`CompressionError::InvalidLevel`], or [`CompressionError::CompressionFailed`] if memory runs out:
/// level 9 uses up to 674 MiB.
#[cfg(feature = "xz")]
pub fn compress_xz(data: &[u8], level: Option<i32>) -> Result<Vec<u8>, CompressionError> {
    compress_with(Codec::Xz, data, level)
}

/// Compresses like [`compress_xz`], but replaces the content of `out`, whose capacity is reused. `out` is
/// empty after an error.
#[cfg(feature = "xz")]
pub fn compress_xz_into(data: &[u8], level: Option<i32>, out: &mut Vec<u8>) -> Result<(), CompressionError> {
    compress_into_with(Codec::Xz, data, level, out)
}

/// Decompresses xz streams, and the padding between and after them, with at most `limit` bytes of content in
/// total.
///
/// # Errors
///
/// Returns [`CompressionError::SizeExceeded`] or [`CompressionError::DecompressionFailed`].
#[cfg(feature = "xz")]
pub fn decompress_xz(data: &[u8], limit: u64) -> Result<Vec<u8>, CompressionError> {
    decompress_with(Codec::Xz, data, limit)
}

/// Decompresses like [`decompress_xz`], but replaces the content of `out`, whose capacity is reused. `out` is
/// empty after an error.
#[cfg(feature = "xz")]
pub fn decompress_xz_into(data: &[u8], limit: u64, out: &mut Vec<u8>) -> Result<(), CompressionError> {
    decompress_into_with(Codec::Xz, data, limit, out)
}

/// Compresses `data` into one bzip2 stream, at a level of 1 to 9, by default 6.
///
/// # Errors
///
/// Returns [`CompressionError::InvalidLevel`].
#[cfg(feature = "bzip2")]
pub fn compress_bzip2(data: &[u8], level: Option<i32>) -> Result<Vec<u8>, CompressionError> {
    compress_with(Codec::Bzip2, data, level)
}

/// Compresses like [`compress_bzip2`], but replaces the content of `out`, whose capacity is reused. `out` is
/// empty after an error.
#[cfg(feature = "bzip2")]
pub fn compress_bzip2_into(
    data: &[u8],
    level: Option<i32>,
    out: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    compress_into_with(Codec::Bzip2, data, level, out)
}

/// Decompresses bzip2 streams with at most `limit` bytes of content in total.
///
/// # Errors
///
/// Returns [`CompressionError::SizeExceeded`] or [`CompressionError::DecompressionFailed`].
#[cfg(feature = "bzip2")]
pub fn decompress_bzip2(data: &[u8], limit: u64) -> Result<Vec<u8>, CompressionError> {
    decompress_with(Codec::Bzip2, data, limit)
}

/// Decompresses like [`decompress_bzip2`], but replaces the content of `out`, whose capacity is reused. `out`
/// is empty after an error.
#[cfg(feature = "bzip2")]
pub fn decompress_bzip2_into(data: &[u8], limit: u64, out: &mut Vec<u8>) -> Result<(), CompressionError> {
    decompress_into_with(Codec::Bzip2, data, limit, out)
}

/// Compresses `data` into one gzip member, at a level of 0 to 9, by default 6.
///
/// # Errors
///
/// Returns [`CompressionError::InvalidLevel`].
#[cfg(feature = "gzip")]
pub fn compress_gzip(data: &[u8], level: Option<i32>) -> Result<Vec<u8>, CompressionError> {
    compress_with(Codec::Gzip, data, level)
}

/// Compresses like [`compress_gzip`], but replaces the content of `out`, whose capacity is reused. `out` is
/// empty after an error.
#[cfg(feature = "gzip")]
pub fn compress_gzip_into(
    data: &[u8],
    level: Option<i32>,
    out: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    compress_into_with(Codec::Gzip, data, level, out)
}

/// Decompresses gzip members with at most `limit` bytes of content in total.
///
/// # Errors
///
/// Returns [`CompressionError::SizeExceeded`] or [`CompressionError::DecompressionFailed`].
#[cfg(feature = "gzip")]
pub fn decompress_gzip(data: &[u8], limit: u64) -> Result<Vec<u8>, CompressionError> {
    decompress_with(Codec::Gzip, data, limit)
}

/// Decompresses like [`decompress_gzip`], but replaces the content of `out`, whose capacity is reused. `out`
/// is empty after an error.
#[cfg(feature = "gzip")]
pub fn decompress_gzip_into(data: &[u8], limit: u64, out: &mut Vec<u8>) -> Result<(), CompressionError> {
    decompress_into_with(Codec::Gzip, data, limit, out)
}

/// Compresses `data` into one brotli stream, at a level of 0 to 11, by default 6.
///
/// # Errors
///
/// Returns [`CompressionError::InvalidLevel`].
#[cfg(feature = "brotli")]
pub fn compress_brotli(data: &[u8], level: Option<i32>) -> Result<Vec<u8>, CompressionError> {
    compress_with(Codec::Brotli, data, level)
}

/// Compresses like [`compress_brotli`], but replaces the content of `out`, whose capacity is reused. `out` is
/// empty after an error.
#[cfg(feature = "brotli")]
pub fn compress_brotli_into(
    data: &[u8],
    level: Option<i32>,
    out: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    compress_into_with(Codec::Brotli, data, level, out)
}

/// Decompresses a brotli stream with at most `limit` bytes of content.
///
/// # Errors
///
/// Returns [`CompressionError::SizeExceeded`] or [`CompressionError::DecompressionFailed`].
#[cfg(feature = "brotli")]
pub fn decompress_brotli(data: &[u8], limit: u64) -> Result<Vec<u8>, CompressionError> {
    decompress_with(Codec::Brotli, data, limit)
}

/// Decompresses like [`decompress_brotli`], but replaces the content of `out`, whose capacity is reused.
/// `out` is empty after an error.
#[cfg(feature = "brotli")]
pub fn decompress_brotli_into(data: &[u8], limit: u64, out: &mut Vec<u8>) -> Result<(), CompressionError> {
    decompress_into_with(Codec::Brotli, data, limit, out)
}

/// Decompresses a .lzma stream with at most `limit` bytes of content.
///
/// # Errors
///
/// Returns [`CompressionError::SizeExceeded`] or [`CompressionError::DecompressionFailed`].
#[cfg(feature = "xz")]
pub fn decompress_lzma(data: &[u8], limit: u64) -> Result<Vec<u8>, CompressionError> {
    decompress_with(Codec::Lzma, data, limit)
}

/// Decompresses like [`decompress_lzma`], but replaces the content of `out`, whose capacity is reused. `out`
/// is empty after an error.
#[cfg(feature = "xz")]
pub fn decompress_lzma_into(data: &[u8], limit: u64, out: &mut Vec<u8>) -> Result<(), CompressionError> {
    decompress_into_with(Codec::Lzma, data, limit, out)
}

fn compress_with(codec: Codec, data: &[u8], level: Option<i32>) -> Result<Vec<u8>, CompressionError> {
    compress(data, &CompressOptions::new(codec).level(level))
}

fn compress_into_with(
    codec: Codec,
    data: &[u8],
    level: Option<i32>,
    out: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    let options = CompressOptions::new(codec).level(level);
    compress_into(data, &options, &mut CompressionScratch::new(), out)
}

fn decompress_with(codec: Codec, data: &[u8], limit: u64) -> Result<Vec<u8>, CompressionError> {
    decompress(data, &DecompressOptions::new().codec(codec).limit(limit))
}

fn decompress_into_with(
    codec: Codec,
    data: &[u8],
    limit: u64,
    out: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    let options = DecompressOptions::new().codec(codec).limit(limit);
    decompress_into(data, &options, &mut CompressionScratch::new(), out).map(|_| ())
}
