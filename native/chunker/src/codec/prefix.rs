//! zstd frames whose content continues a prefix, which the reader must have too.
//!
//! The prefix is what RFC 8878 calls a raw content dictionary; `zstd --patch-from` reads and writes such frames.
//! Long-distance matching finds what the prefix and the content have in common, wherever it is in either.

use zstd_safe::{CCtx, CParameter, DCtx, DParameter, ErrorCode, compress_bound};

use super::error::{CodecFailure, CompressionError};
use super::format::Codec;
use super::options::CompressOptions;
use super::zstd::{MAX_WINDOW_LOG, compression_failed, decompression_failed, failure};
use crate::io::output_buffer::{OutOfMemory, OutputBuffer};

/// The shortest window that the library has, as a power of two.
const MIN_WINDOW_LOG: u32 = 10;

/// Compresses `content` after `prefix`, at the level of `options` if they are for zstd, and otherwise at its
/// default.
///
/// A context lasts for one call, since it borrows the prefix.
pub(crate) fn compress_with_prefix(
    content: &[u8],
    prefix: &[u8],
    options: Option<&CompressOptions>,
    out: &mut dyn OutputBuffer,
) -> Result<(), CompressionError> {
    let level = match options.filter(|options| options.codec == Codec::Zstd) {
        Some(options) => options.checked_level()?,
        None => Codec::Zstd.default_level(),
    };
    let failed = |code: ErrorCode| compression_failed(failure(code));
    // All of the prefix is in reach from all of the content.
    let reach = (prefix.len() + content.len()).max(1).next_power_of_two().ilog2();
    let mut context = CCtx::try_create().ok_or(compression_failed(CodecFailure::OutOfMemory))?;
    for parameter in [
        CParameter::CompressionLevel(level),
        CParameter::EnableLongDistanceMatching(true),
        CParameter::WindowLog(reach.clamp(MIN_WINDOW_LOG, MAX_WINDOW_LOG)),
        CParameter::ChecksumFlag(true),
    ] {
        context.set_parameter(parameter).map_err(failed)?;
    }
    context.ref_prefix(prefix).map_err(failed)?;
    let bound = compress_bound(content.len());
    out.truncate(0);
    out.grow(bound).map_err(|OutOfMemory| compression_failed(CodecFailure::OutOfMemory))?;
    let written = context.compress2(&mut out.as_mut_slice()[..bound], content).map_err(failed)?;
    out.truncate(written);
    Ok(())
}

/// Decompresses a frame whose content has `length` bytes and continues `prefix`.
pub(crate) fn decompress_with_prefix(
    frame: &[u8],
    prefix: &[u8],
    length: usize,
    out: &mut dyn OutputBuffer,
) -> Result<(), CompressionError> {
    let failed = |code: ErrorCode| decompression_failed(failure(code));
    let mut context = DCtx::try_create().ok_or(decompression_failed(CodecFailure::OutOfMemory))?;
    context.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG)).map_err(failed)?;
    context.ref_prefix(prefix).map_err(failed)?;
    out.truncate(0);
    out.grow(length).map_err(|OutOfMemory| decompression_failed(CodecFailure::OutOfMemory))?;
    let written = context.decompress(&mut out.as_mut_slice()[..length], frame).map_err(failed)?;
    out.truncate(written);
    if written == length { Ok(()) } else { Err(decompression_failed(CodecFailure::Corrupt)) }
}
