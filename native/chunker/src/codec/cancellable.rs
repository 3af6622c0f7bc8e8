//! Compression and decompression that can be cancelled.

use super::detect::detect_format;
use super::error::CompressionError;
use super::format::Codec;
use super::options::{CompressOptions, DecompressOptions};
use super::scratch::CompressionScratch;
use super::smallest::compress_smallest;
use super::stream::{Decoder, Encoder};
use super::whole::{compress_into, decompress_into};
use crate::Cancel;
use crate::error::Error;
use crate::io::output_buffer::OutputBuffer;

/// The number of bytes compressed between two polls by a fast codec: 70 ms of zstd level 7, the slowest codec
/// that is treated as fast. Levels 8 and 9 of zstd take up to half as long again, and compress
/// half as much.
const FAST_INPUT: usize = 4 << 20;

/// The number of bytes compressed between two polls by a slow codec: at most 50 ms. From level 16 on zstd
/// compresses blocks of 128 KiB and takes up to four times as long for two pieces.
const SLOW_INPUT: usize = 64 << 10;

/// The number of bytes decompressed between two polls: 50 ms of the slowest decoder.
const OUTPUT_PER_POLL: usize = 1 << 20;

/// Compresses like [`compress_into`], and polls `is_cancelled` often enough to stop within 100 ms. Only zstd
/// and brotli take longer: zstd up to 250 ms from level 16 on, and above level 19 one second at the start of
/// a content of 64 MiB, for which its library allocates tables of hundreds of MiB; brotli up to half a second
/// at levels 10 and 11, for each MiB of which it computes the codes at once.
///
/// # Errors
///
/// Returns [`Error::Cancelled`] if `is_cancelled` returns `true`, and the errors of [`compress_into`] as
/// [`Error::Compression`]; `out` is then empty and keeps its capacity.
pub fn compress_cancellable(
    data: &[u8],
    options: &CompressOptions,
    scratch: &mut CompressionScratch,
    out: &mut dyn OutputBuffer,
    is_cancelled: Cancel<'_>,
) -> Result<(), Error> {
    if options.smallest {
        options.validate()?;
        let result = compress_smallest(out, |options, trial| {
            match compress_cancellable(data, options, scratch, trial, is_cancelled) {
                Err(Error::Compression(error)) => Ok(Err(error)),
                result => result.map(Ok),
            }
        });
        if result.is_err() {
            out.truncate(0);
        }
        return result;
    }
    let at_once = match options.codec {
        Codec::Zstd => match options.level {
            Some(10..) => SLOW_INPUT,
            Some(8..) => FAST_INPUT / 2,
            _ => FAST_INPUT,
        },
        Codec::Lz4 => FAST_INPUT,
        Codec::Xz | Codec::Bzip2 | Codec::Gzip | Codec::Brotli | Codec::Lzma => SLOW_INPUT,
    };
    if data.len() <= at_once {
        return Ok(compress_into(data, options, scratch, out)?);
    }
    out.truncate(0);
    let mut encoder = Encoder::sized(options, data.len())?;
    let result = data.chunks(at_once).try_for_each(|piece| {
        if is_cancelled() { Err(Error::Cancelled) } else { Ok(encoder.update(piece, out)?) }
    });
    let result = result.and_then(|()| Ok(encoder.finish(out)?));
    if result.is_err() {
        out.truncate(0);
    }
    result
}

/// Decompresses and returns like [`decompress_into`], and polls `is_cancelled` often enough to stop within
/// 100 ms.
///
/// # Errors
///
/// Returns [`Error::Cancelled`] if `is_cancelled` returns `true`, and the errors of [`decompress_into`] as
/// [`Error::Compression`]; `out` is then empty and keeps its capacity.
pub fn decompress_cancellable(
    data: &[u8],
    options: &DecompressOptions,
    scratch: &mut CompressionScratch,
    out: &mut dyn OutputBuffer,
    is_cancelled: Cancel<'_>,
) -> Result<u64, Error> {
    // Fast codecs decompress this much without a poll, because only the one-shot path reuses their contexts.
    let at_once = 8 * OUTPUT_PER_POLL as u64;
    let codec = options.codec.map_or_else(|| detect_format(data), Ok);
    // The input is limited too: many small frames take longer than their output suggests.
    if matches!(codec, Ok(Codec::Zstd | Codec::Lz4)) && data.len() <= 2 * OUTPUT_PER_POLL {
        let least = options.clone().limit(options.limit.min(at_once));
        match decompress_into(data, &least, scratch, out) {
            Err(CompressionError::SizeExceeded { .. }) if options.limit > at_once => {}
            result => return Ok(result?),
        }
    }
    out.truncate(0);
    let result = decompress_in_pieces(data, options, out, is_cancelled);
    if result.is_err() {
        out.truncate(0);
    }
    result
}

fn decompress_in_pieces(
    mut data: &[u8],
    options: &DecompressOptions,
    out: &mut dyn OutputBuffer,
    is_cancelled: Cancel<'_>,
) -> Result<u64, Error> {
    let mut decoder = Decoder::new(options)?;
    loop {
        if is_cancelled() {
            return Err(Error::Cancelled);
        }
        // The input is limited too: slow input may yield little output.
        let piece = &data[..data.len().min(OUTPUT_PER_POLL)];
        let progress = decoder.update_some(piece, OUTPUT_PER_POLL, out)?;
        data = &data[progress.consumed..];
        if data.is_empty() && !progress.pending {
            return Ok(decoder.finish(out)?);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorCode;
    use crate::codec::{compress, decompress};

    /// brotli is the one format that cannot be detected.
    fn reading(codec: Codec) -> DecompressOptions {
        DecompressOptions::new().codec((codec == Codec::Brotli).then_some(codec))
    }

    /// Returns text-like bytes, more than any codec compresses between two polls.
    fn data() -> Vec<u8> {
        let mut state = 1u32;
        (0..9_000_000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                b"etaoin shrdlu "[(state >> 28) as usize % 14]
            })
            .collect()
    }

    #[test]
    fn cancellable_output_matches_one_shot_output() {
        let data = data();
        for codec in Codec::ENCODABLE.into_iter().filter(|codec| codec.is_enabled()) {
            let options = CompressOptions::new(codec).level((codec == Codec::Xz).then_some(0));
            let (mut scratch, mut out) = (CompressionScratch::new(), Vec::new());
            compress_cancellable(&data, &options, &mut scratch, &mut out, &|| false).unwrap();
            let whole = compress(&data, &options).unwrap();
            assert!(
                out.len().abs_diff(whole.len()) <= whole.len() / 200,
                "{codec}: {} {}",
                out.len(),
                whole.len()
            );
            assert_eq!(decompress(&out, &reading(codec)).unwrap(), data, "{codec}");

            let mut content = Vec::new();
            let all = reading(codec);
            decompress_cancellable(&whole, &all, &mut scratch, &mut content, &|| false).unwrap();
            assert_eq!(content, data, "{codec}");
            let limit = |bytes| reading(codec).limit(bytes);
            let exact = limit(data.len() as u64);
            decompress_cancellable(&whole, &exact, &mut scratch, &mut content, &|| false).unwrap();
            for less in [data.len() as u64 - 1, 1000] {
                let error =
                    decompress_cancellable(&whole, &limit(less), &mut scratch, &mut content, &|| false);
                assert_eq!(error.unwrap_err().code(), "size_exceeded", "{codec}");
                assert!(content.is_empty());
            }
        }
    }

    /// The slower the level, the more often.
    #[test]
    fn compression_is_polled_at_each_piece() {
        let data = &data()[..5 << 20];
        for (codec, level, polls) in [
            (Codec::Zstd, None, 2),
            (Codec::Zstd, Some(7), 2),
            (Codec::Zstd, Some(8), 3),
            (Codec::Zstd, Some(10), 80),
            (Codec::Lz4, None, 2),
            (Codec::Gzip, Some(1), 80),
        ] {
            if !codec.is_enabled() {
                continue;
            }
            let polled = std::cell::Cell::new(0);
            let counting = || {
                polled.set(polled.get() + 1);
                false
            };
            let options = CompressOptions::new(codec).level(level);
            let (mut scratch, mut out) = (CompressionScratch::new(), Vec::new());
            compress_cancellable(data, &options, &mut scratch, &mut out, &counting).unwrap();
            assert_eq!(polled.get(), polls, "{codec} {level:?}");
            // A content that fits in one piece is not polled for.
            polled.set(0);
            let piece = &data[..data.len() / polls];
            compress_cancellable(piece, &options, &mut scratch, &mut out, &counting).unwrap();
            assert_eq!(polled.get(), 0, "{codec} {level:?}");
        }
    }

    #[test]
    fn a_long_row_of_empty_frames_can_be_cancelled() {
        // A brotli content is a single stream.
        let rows = Codec::ENCODABLE.into_iter().filter(|codec| *codec != Codec::Brotli);
        for codec in rows.filter(|codec| codec.is_enabled()) {
            let frame = compress(b"", &CompressOptions::new(codec)).unwrap();
            let data = frame.repeat(9_000_000 / frame.len());
            let (mut scratch, mut out) = (CompressionScratch::new(), Vec::new());
            let all = reading(codec);
            let error = decompress_cancellable(&data, &all, &mut scratch, &mut out, &|| true).unwrap_err();
            assert_eq!(error.code(), "cancelled", "{codec}");
            decompress_cancellable(&data, &all, &mut scratch, &mut out, &|| false).unwrap();
            assert!(out.is_empty(), "{codec}");
        }
    }

    #[test]
    fn cancelled_calls_leave_no_output() {
        let data = data();
        for codec in Codec::ENCODABLE.into_iter().filter(|codec| codec.is_enabled()) {
            let options = CompressOptions::new(codec);
            let (mut scratch, mut out) = (CompressionScratch::new(), Vec::new());
            let error = compress_cancellable(&data, &options, &mut scratch, &mut out, &|| true).unwrap_err();
            assert_eq!((error.code(), out.len()), ("cancelled", 0), "{codec}");
            let whole = compress(&data, &options.clone().level((codec == Codec::Xz).then_some(0))).unwrap();
            let all = reading(codec);
            let error = decompress_cancellable(&whole, &all, &mut scratch, &mut out, &|| true).unwrap_err();
            assert_eq!((error.code(), out.len()), ("cancelled", 0), "{codec}");
        }
    }
}
