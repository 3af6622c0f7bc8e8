//! Compression and decompression that can be given up in the middle.

use super::{
    Codec, CompressOptions, CompressionError, CompressionScratch, Decoder, DecompressOptions, Encoder,
    compress_into, decompress_into, detect_format,
};
use crate::Cancel;
use crate::error::Error;
use crate::io::output_buffer::OutputBuffer;

/// What is compressed at once by a fast codec. The slowest of them that count as fast takes 70 ms for it, which is zstd at
/// level 7; at levels 8 and 9 it takes up to half as long again.
const FAST: usize = 4 << 20;

/// What is compressed between two questions by a slow codec, which takes 50 ms for it at worst; zstd from level 16 on takes up to
/// four times as long for two of them, since it compresses 128 KiB at once.
const SLOW: usize = 64 << 10;

/// What is decompressed between two questions: 50 ms of the slowest decoder.
const OUTPUT: usize = 1 << 20;

/// [`compress_into`], which asks `is_cancelled` often enough to stop within 100 ms. Only zstd takes longer: from level 16 on up to a
/// quarter of a second, and above level 19 a second before it begins with a content of 64 MiB, in which its library makes
/// tables of hundreds of MiB.
///
/// # Errors
///
/// [`Error::Cancelled`] when `is_cancelled` says so, and those of [`compress_into`] as [`Error::Compression`]; then `out` is
/// empty and keeps its capacity.
pub fn compress_cancellable(
    data: &[u8],
    options: &CompressOptions,
    scratch: &mut CompressionScratch,
    out: &mut dyn OutputBuffer,
    is_cancelled: Cancel<'_>,
) -> Result<(), Error> {
    let at_once = match options.codec {
        Codec::Zstd => match options.level {
            Some(10..) => SLOW,
            Some(8..) => FAST / 2,
            _ => FAST,
        },
        Codec::Lz4 => FAST,
        Codec::Xz | Codec::Bzip2 => SLOW,
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

/// [`decompress_into`], which asks `is_cancelled` often enough to stop within 100 ms.
///
/// # Errors
///
/// [`Error::Cancelled`] when `is_cancelled` says so, and those of [`decompress_into`] as [`Error::Compression`]; then `out` is
/// empty and keeps its capacity.
pub fn decompress_cancellable(
    data: &[u8],
    options: &DecompressOptions,
    scratch: &mut CompressionScratch,
    out: &mut dyn OutputBuffer,
    is_cancelled: Cancel<'_>,
) -> Result<(), Error> {
    // Fast codecs give this much in no time, and keep their contexts only if they do it at once.
    let at_once = 8 * OUTPUT as u64;
    let codec = options.codec.map_or_else(|| detect_format(data), Ok);
    // A long row of small frames takes more time than its output tells.
    if matches!(codec, Ok(Codec::Zstd | Codec::Lz4)) && data.len() <= 2 * OUTPUT {
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
) -> Result<(), Error> {
    let mut decoder = Decoder::new(options)?;
    loop {
        if is_cancelled() {
            return Err(Error::Cancelled);
        }
        // Slow input may give little output, so that both are limited.
        let piece = &data[..data.len().min(OUTPUT)];
        let progress = decoder.update_some(piece, OUTPUT, out)?;
        data = &data[progress.consumed..];
        if data.is_empty() && !progress.pending {
            return Ok(decoder.finish(out)?);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{compress, decompress};

    /// Text-like bytes, more than any codec takes at once.
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
    fn in_pieces_comes_out_what_comes_out_at_once() {
        let data = data();
        for codec in Codec::ALL.into_iter().filter(|codec| codec.is_enabled()) {
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
            assert_eq!(decompress(&out, &DecompressOptions::new()).unwrap(), data, "{codec}");

            let mut content = Vec::new();
            let all = DecompressOptions::new();
            decompress_cancellable(&whole, &all, &mut scratch, &mut content, &|| false).unwrap();
            assert_eq!(content, data, "{codec}");
            let limit = |bytes| DecompressOptions::new().limit(bytes);
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

    #[test]
    fn a_long_row_of_empty_frames_can_be_given_up() {
        for codec in Codec::ALL.into_iter().filter(|codec| codec.is_enabled()) {
            let frame = compress(b"", &CompressOptions::new(codec)).unwrap();
            let data = frame.repeat(9_000_000 / frame.len());
            let (mut scratch, mut out) = (CompressionScratch::new(), Vec::new());
            let all = DecompressOptions::new();
            let error = decompress_cancellable(&data, &all, &mut scratch, &mut out, &|| true).unwrap_err();
            assert_eq!(error.code(), "cancelled", "{codec}");
            decompress_cancellable(&data, &all, &mut scratch, &mut out, &|| false).unwrap();
            assert!(out.is_empty(), "{codec}");
        }
    }

    #[test]
    fn whoever_gives_up_gets_nothing() {
        let data = data();
        for codec in Codec::ALL.into_iter().filter(|codec| codec.is_enabled()) {
            let options = CompressOptions::new(codec);
            let (mut scratch, mut out) = (CompressionScratch::new(), Vec::new());
            let error = compress_cancellable(&data, &options, &mut scratch, &mut out, &|| true).unwrap_err();
            assert_eq!((error.code(), out.len()), ("cancelled", 0), "{codec}");
            let whole = compress(&data, &options.clone().level((codec == Codec::Xz).then_some(0))).unwrap();
            let all = DecompressOptions::new();
            let error = decompress_cancellable(&whole, &all, &mut scratch, &mut out, &|| true).unwrap_err();
            assert_eq!((error.code(), out.len()), ("cancelled", 0), "{codec}");
        }
    }
}
