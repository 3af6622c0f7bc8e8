//! The smallest output for a whole content, of those of several codecs.

use super::error::{CodecFailure, CompressionError};
use super::format::Codec;
use super::options::CompressOptions;
use crate::io::output_buffer::{OutOfMemory, OutputBuffer};

/// The codecs and levels that are tried, from the fastest decoder to the slowest: of two outputs of the same
/// size the first one is taken. The flag is for the extreme variant of xz.
///
/// A higher level is smaller on most contents, not on all: on regular JSON zstd 22 is up to 7 % larger than
/// 18, the highest level of its other strategy, and on machine code the extreme variant up to 1 % larger.
///
/// brotli is not among them, because its output is not detected and has no checksum, and lz4 is never
/// smaller.
const CANDIDATES: [(Codec, i32, bool); 6] = [
    (Codec::Zstd, 22, false),
    (Codec::Zstd, 18, false),
    (Codec::Gzip, 9, false),
    (Codec::Xz, 9, false),
    (Codec::Xz, 9, true),
    (Codec::Bzip2, 9, false),
];

/// Returns the codec of a stream, of which only one can be tried: xz, or the first one that is built in.
pub(super) fn stream_codec() -> Codec {
    let mut candidates = [Codec::Xz].into_iter().chain(CANDIDATES.map(|(codec, ..)| codec));
    candidates.find(|codec| codec.is_enabled()).unwrap_or(Codec::Xz)
}

/// Compresses a content with each candidate in turn, and replaces the content of `out` with the smallest
/// output. `compress` is the function that does so with given options.
pub(super) fn compress_smallest<E: From<CompressionError>>(
    out: &mut dyn OutputBuffer,
    mut compress: impl FnMut(&CompressOptions, &mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    out.truncate(0);
    let mut trial = Vec::new();
    for (codec, level, extreme) in CANDIDATES.into_iter().filter(|(codec, ..)| codec.is_enabled()) {
        let result = compress(&CompressOptions::of_candidate(codec, level, extreme), &mut trial);
        let result = result.and_then(|()| keep_smaller(codec, &trial, out).map_err(E::from));
        if result.is_err() {
            out.truncate(0);
            return result;
        }
    }
    Ok(())
}

/// Replaces the content of `out` with `trial` if there is none yet or it is larger. No format has empty
/// output.
fn keep_smaller(codec: Codec, trial: &[u8], out: &mut dyn OutputBuffer) -> Result<(), CompressionError> {
    if out.is_empty() || trial.len() < out.len() {
        let why = CodecFailure::OutOfMemory;
        out.grow(trial.len()).map_err(|OutOfMemory| CompressionError::CompressionFailed { codec, why })?;
        out.as_mut_slice()[..trial.len()].copy_from_slice(trial);
        out.truncate(trial.len());
    }
    Ok(())
}
