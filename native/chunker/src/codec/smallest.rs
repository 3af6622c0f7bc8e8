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

/// Returns the codec and the level of a stream, of which only one can be tried: xz at its default level, or
/// the first one that is built in. A stream needs its whole window from the start, so zstd is at the last
/// level that the program gives without `--ultra`.
pub(super) fn stream_codec() -> (Codec, i32) {
    let mut candidates = [(Codec::Xz, Codec::Xz.default_level()), (Codec::Zstd, 19)]
        .into_iter()
        .chain(CANDIDATES.map(|(codec, level, _)| (codec, level)));
    candidates.find(|(codec, _)| codec.is_enabled()).unwrap_or((Codec::Xz, Codec::Xz.default_level()))
}

/// Compresses a content with each candidate in turn, and replaces the content of `out` with the smallest
/// output. `compress` is the function that does so with given options; its outer error ends all of it. A
/// candidate for which there is too little memory is left out, unless that is all of them. After an error
/// `out` may have any content.
pub(super) fn compress_smallest<E: From<CompressionError>>(
    out: &mut dyn OutputBuffer,
    mut compress: impl FnMut(&CompressOptions, &mut Vec<u8>) -> Result<Result<(), CompressionError>, E>,
) -> Result<(), E> {
    out.truncate(0);
    let mut trial = Vec::new();
    let mut out_of_memory = None;
    for (codec, level, extreme) in CANDIDATES.into_iter().filter(|(codec, ..)| codec.is_enabled()) {
        let result = compress(&CompressOptions::of_candidate(codec, level, extreme), &mut trial)?;
        match result.and_then(|()| keep_smaller(codec, &trial, out)) {
            Ok(()) => {}
            Err(error @ CompressionError::CompressionFailed { why: CodecFailure::OutOfMemory, .. }) => {
                out_of_memory = Some(error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    match out_of_memory {
        Some(error) if out.is_empty() => Err(error.into()),
        _ => Ok(()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Compresses by `outcomes`, in turn: to that many bytes, or with that failure.
    fn smallest(outcomes: &[Result<usize, CodecFailure>]) -> Result<usize, CompressionError> {
        let (mut out, mut outcomes) = (b"from before".to_vec(), outcomes.iter().cycle());
        compress_smallest(&mut out, |options, trial| {
            Ok::<_, CompressionError>(match *outcomes.next().expect("they repeat") {
                Ok(length) => {
                    trial.resize(length, 0);
                    Ok(())
                }
                Err(why) => Err(CompressionError::CompressionFailed { codec: options.codec(), why }),
            })
        })
        .map(|()| out.len())
    }

    #[test]
    fn a_stream_has_the_level_of_the_codec_that_is_built_in() {
        let expected = [(Codec::Xz, 6), (Codec::Zstd, 19), (Codec::Gzip, 9), (Codec::Bzip2, 9)];
        if let Some((codec, level)) = expected.into_iter().find(|(codec, _)| codec.is_enabled()) {
            let options = CompressOptions::smallest();
            assert_eq!((options.codec(), options.checked_level()), (codec, Ok(level)));
        }
    }

    #[test]
    fn candidates_without_memory_are_left_out() {
        if CANDIDATES.iter().filter(|(codec, ..)| codec.is_enabled()).count() < 2 {
            return;
        }
        let no_memory = Err(CodecFailure::OutOfMemory);
        assert_eq!(smallest(&[no_memory, Ok(9)]), Ok(9));
        assert_eq!(smallest(&[Ok(20), no_memory]), Ok(20));
        assert!(matches!(
            smallest(&[no_memory]),
            Err(CompressionError::CompressionFailed { why: CodecFailure::OutOfMemory, .. })
        ));
        assert!(smallest(&[Ok(20), Err(CodecFailure::Internal)]).is_err());
    }
}
