//! Creates the encoder or decoder of a codec.

use super::coder::{Decode, Encode};
use super::dictionary::Dictionary;
use super::error::CompressionError;
use super::format::Codec;
use super::options::DecompressOptions;

/// Creates an encoder. `size` is the size of the content, if it is known.
pub(super) fn encoder(
    codec: Codec,
    level: i32,
    dictionary: Option<&Dictionary>,
    size: Option<usize>,
) -> Result<Box<dyn Encode>, CompressionError> {
    let _ = (level, dictionary, size);
    match codec {
        #[cfg(feature = "zstd")]
        Codec::Zstd => Ok(Box::new(super::zstd::Encoder::new(level, dictionary, size)?)),
        #[cfg(feature = "lz4")]
        Codec::Lz4 => Ok(Box::new(super::lz4::Encoder::new(dictionary, size))),
        #[cfg(feature = "xz")]
        Codec::Xz => Ok(Box::new(super::xz::Encoder::new(level, size)?)),
        #[cfg(feature = "bzip2")]
        Codec::Bzip2 => Ok(Box::new(super::bzip2::Encoder::new(level))),
        #[cfg(feature = "gzip")]
        Codec::Gzip => Ok(Box::new(super::gzip::Encoder::new(level))),
        #[cfg(feature = "brotli")]
        Codec::Brotli => Ok(Box::new(super::brotli::Encoder::new(level, size))),
        #[cfg(feature = "xz")]
        Codec::Lzma => Err(CompressionError::EncodingUnsupported { codec }),
        #[allow(unreachable_patterns)]
        codec => Err(CompressionError::CodecDisabled { codec }),
    }
}

/// Creates a decoder of `codec`, with the limit and the dictionary of the options.
pub(super) fn decoder(
    codec: Codec,
    options: &DecompressOptions,
) -> Result<Box<dyn Decode>, CompressionError> {
    let _ = options;
    match codec {
        #[cfg(feature = "zstd")]
        Codec::Zstd => Ok(Box::new(super::zstd::Decoder::new(options)?)),
        #[cfg(feature = "lz4")]
        Codec::Lz4 => Ok(Box::new(super::lz4::Decoder::new(options.dictionary.as_ref()))),
        #[cfg(feature = "xz")]
        Codec::Xz => Ok(Box::new(super::xz::Decoder::new(options.max_memory))),
        #[cfg(feature = "bzip2")]
        Codec::Bzip2 => Ok(Box::new(super::bzip2::Decoder::new(options.max_memory))),
        #[cfg(feature = "gzip")]
        Codec::Gzip => Ok(Box::new(super::gzip::Decoder::new(options.max_memory))),
        #[cfg(feature = "brotli")]
        Codec::Brotli => Ok(Box::new(super::brotli::Decoder::new(options.max_memory))),
        #[cfg(feature = "xz")]
        Codec::Lzma => Ok(Box::new(super::lzma::Decoder::new(options.max_memory))),
        #[allow(unreachable_patterns)]
        codec => Err(CompressionError::CodecDisabled { codec }),
    }
}
