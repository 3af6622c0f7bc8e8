//! Compression and decompression of a whole content at once.

use super::detect::detect_format;
use super::dispatch::{decoder, encoder};
use super::error::CompressionError;
#[cfg(any(feature = "zstd", feature = "lz4"))]
use super::format::Codec;
use super::options::{CompressOptions, DecompressOptions};
use super::output::{Output, OutputBudget};
use super::scratch::CompressionScratch;
use super::smallest::compress_smallest;
use crate::io::output_buffer::OutputBuffer;

/// Compresses `data`.
///
/// # Errors
///
/// Returns the errors of [`CompressOptions::validate`], and [`CompressionError::CompressionFailed`], in
/// practice only if memory runs out.
pub fn compress(data: &[u8], options: &CompressOptions) -> Result<Vec<u8>, CompressionError> {
    let mut out = Vec::new();
    compress_into(data, options, &mut CompressionScratch::new(), &mut out)?;
    out.shrink_to_fit();
    Ok(out)
}

/// Compresses `data` and replaces the content of `out`, whose capacity is reused.
///
/// # Errors
///
/// Returns the errors of [`compress`]; `out` is then empty and keeps its capacity.
pub fn compress_into(
    data: &[u8],
    options: &CompressOptions,
    scratch: &mut CompressionScratch,
    out: &mut dyn OutputBuffer,
) -> Result<(), CompressionError> {
    let result = options.checked_level().and_then(|level| match options.codec {
        _ if options.smallest => {
            compress_smallest(out, |options, trial| Ok(compress_into(data, options, scratch, trial)))
        }
        #[cfg(feature = "zstd")]
        Codec::Zstd => scratch.zstd.compress(data, level, options.dictionary.as_ref(), out),
        #[cfg(feature = "lz4")]
        Codec::Lz4 => scratch.lz4.compress(data, options.dictionary.as_ref(), out),
        codec => {
            let _ = &scratch;
            let mut encoder = encoder(codec, level, None, Some(data.len()))?;
            let mut budget = OutputBudget::unlimited();
            let mut output = Output::replace(out, &mut budget);
            let result = encoder.update(data, &mut output).and_then(|()| encoder.finish(&mut output));
            output.finish(result)
        }
    });
    if result.is_err() {
        out.truncate(0);
    }
    result
}

/// Decompresses all of `data`. The contents of several streams or frames are concatenated.
///
/// # Errors
///
/// Returns the errors of [`DecompressOptions::validate`], [`CompressionError::UnknownFormat`] if the format
/// cannot be detected, [`CompressionError::SizeExceeded`], and [`CompressionError::DecompressionFailed`].
pub fn decompress(data: &[u8], options: &DecompressOptions) -> Result<Vec<u8>, CompressionError> {
    let mut out = Vec::new();
    decompress_into(data, options, &mut CompressionScratch::new(), &mut out)?;
    out.shrink_to_fit();
    Ok(out)
}

/// Decompresses `data` and replaces the content of `out`, whose capacity is reused. Returns the number of
/// bytes at the end of `data` that were ignored, of which there are none without [`Trailing::Ignore`].
///
/// [`Trailing::Ignore`]: super::Trailing::Ignore
///
/// # Errors
///
/// Returns the errors of [`decompress`]; `out` is then empty and keeps its capacity.
pub fn decompress_into(
    data: &[u8],
    options: &DecompressOptions,
    scratch: &mut CompressionScratch,
    out: &mut dyn OutputBuffer,
) -> Result<u64, CompressionError> {
    let mut budget = OutputBudget::new(options.limit);
    let mut output = Output::replace(out, &mut budget);
    let result = options.validate().and_then(|()| {
        let codec = options.codec.map_or_else(|| detect_format(data), Ok)?;
        options.check_dictionary(codec)?;
        let trailing = match codec {
            #[cfg(feature = "zstd")]
            Codec::Zstd => scratch.zstd.decompress(data, options, &mut output)?,
            #[cfg(feature = "lz4")]
            Codec::Lz4 => scratch.lz4.decompress(data, options.dictionary.as_ref(), &mut output)?,
            codec => {
                let _ = &scratch;
                decoder(codec, options)?.decode_whole(data, &mut output)?
            }
        };
        options.trailing.ignored(codec, trailing as u64, (data.len() - trailing) as u64)
    });
    output.finish(result)
}
