//! Compression and decompression with zstd, lz4, xz and bzip2, in the formats of their official programs.
//!
//! - For one buffer: [`compress`] and [`decompress`], or a codec's own functions, such as [`compress_zstd`].
//! - For many buffers: [`compress_into`] and [`decompress_into`] with a [`CompressionScratch`], which reuses
//!   contexts (creating a zstd context for each chunk costs a fifth of the speed at level 3).
//! - For inputs larger than memory: [`Encoder`] and [`Decoder`], which take pieces of any size.
//!
//! Choose lz4 for speed, zstd for nearly everything, xz for size, and bzip2 only for data that is already in
//! it. [`Strategy`] names these choices.
//!
//! Every codec writes checksums and verifies them. A truncated or damaged input, or one with trailing data,
//! is an error, never a short result. Several streams or frames in a row are one content, as in the official
//! programs. The caller limits the output of a decoder, and [`MAX_WINDOW`] limits its memory.
//!
//! A codec whose Cargo feature is off is not built. Its [`Codec`] variant remains, and using it returns
//! [`CompressionError::CodecDisabled`].
//!
//! # Examples
//!
//! ```
//! # #[cfg(feature = "zstd")] {
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
mod detect;
mod dictionary;
mod error;
// Which parts are used depends on the codecs that are built in.
#[cfg_attr(not(all(feature = "zstd", feature = "lz4", feature = "xz", feature = "bzip2")), allow(dead_code))]
mod output;
mod scratch;
mod strategy;
mod stream;

#[cfg(feature = "bzip2")]
mod bzip2;
#[cfg(feature = "lz4")]
mod lz4;
#[cfg(feature = "xz")]
mod xz;
#[cfg(feature = "zstd")]
mod zstd;

use std::fmt;
use std::ops::RangeInclusive;

#[cfg(feature = "bzip2")]
pub use bzip2::{compress_bzip2, compress_bzip2_into, decompress_bzip2, decompress_bzip2_into};
pub use cancellable::{compress_cancellable, decompress_cancellable};
pub use detect::detect_format;
pub use dictionary::{Dictionary, train_dictionary, train_dictionary_cancellable};
pub use error::{CodecFailure, CompressionError};
#[cfg(feature = "lz4")]
pub use lz4::{compress_lz4, compress_lz4_into, decompress_lz4, decompress_lz4_into};
pub use output::{DEFAULT_LIMIT, MAX_WINDOW};
pub use scratch::{CompressionScratch, ScratchPool};
pub use strategy::Strategy;
pub use stream::{Decoder, Encoder, Progress};
#[cfg(feature = "xz")]
pub use xz::{compress_xz, compress_xz_into, decompress_xz, decompress_xz_into};
#[cfg(feature = "zstd")]
pub use zstd::{compress_zstd, compress_zstd_into, decompress_zstd, decompress_zstd_into};

use output::{Output, OutputBudget};
use stream::{Decode, Encode};

use crate::io::output_buffer::OutputBuffer;

/// A compression codec and its file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Zstandard frames, RFC 8878.
    Zstd,
    /// The LZ4 frame format.
    Lz4,
    /// The .xz format with LZMA2.
    Xz,
    /// bzip2 streams.
    Bzip2,
}

impl Codec {
    /// Every codec, built in or not.
    pub const ALL: [Self; 4] = [Self::Zstd, Self::Lz4, Self::Xz, Self::Bzip2];

    /// Returns the name of the codec in lower case, as options and errors spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
        }
    }

    /// Returns whether the codec is built in.
    #[must_use]
    pub fn is_enabled(self) -> bool {
        match self {
            Self::Zstd => cfg!(feature = "zstd"),
            Self::Lz4 => cfg!(feature = "lz4"),
            Self::Xz => cfg!(feature = "xz"),
            Self::Bzip2 => cfg!(feature = "bzip2"),
        }
    }

    /// Returns the levels of the codec, from the fastest to the one with the smallest output.
    ///
    /// - zstd: -131072 to 22, the range of its library; 0 selects its default, 3.
    /// - lz4: only 1, the default of the `lz4` program.
    /// - xz: 0 to 9, the presets of the `xz` program.
    /// - bzip2: 1 to 9, the block size in units of 100,000 bytes.
    #[must_use]
    pub fn levels(self) -> RangeInclusive<i32> {
        match self {
            // ZSTD_minCLevel() and ZSTD_maxCLevel(), which a test compares. They are constants because a
            // build without the library rejects the same levels.
            Self::Zstd => -131_072..=22,
            Self::Lz4 => 1..=1,
            Self::Xz => 0..=9,
            Self::Bzip2 => 1..=9,
        }
    }

    /// Returns the default level: zstd 3, lz4 1, xz 6, bzip2 6.
    #[must_use]
    pub fn default_level(self) -> i32 {
        match self {
            Self::Zstd => 3,
            Self::Lz4 => 1,
            Self::Xz | Self::Bzip2 => 6,
        }
    }

    fn check_level(self, level: Option<i32>) -> Result<i32, CompressionError> {
        let level = level.unwrap_or(self.default_level());
        let (min, max) = self.levels().into_inner();
        if (min..=max).contains(&level) {
            Ok(level)
        } else {
            Err(CompressionError::InvalidLevel { codec: self, level, min, max })
        }
    }
}

// The shared implementation of each codec's own functions.
#[cfg_attr(not(any(feature = "zstd", feature = "lz4", feature = "xz", feature = "bzip2")), allow(dead_code))]
impl Codec {
    fn compress(self, data: &[u8], level: Option<i32>) -> Result<Vec<u8>, CompressionError> {
        compress(data, &CompressOptions::new(self).level(level))
    }

    fn compress_into(
        self,
        data: &[u8],
        level: Option<i32>,
        out: &mut Vec<u8>,
    ) -> Result<(), CompressionError> {
        let options = CompressOptions::new(self).level(level);
        compress_into(data, &options, &mut CompressionScratch::new(), out)
    }

    fn decompress(self, data: &[u8], limit: u64) -> Result<Vec<u8>, CompressionError> {
        decompress(data, &DecompressOptions::new().codec(self).limit(limit))
    }

    fn decompress_into(self, data: &[u8], limit: u64, out: &mut Vec<u8>) -> Result<(), CompressionError> {
        let options = DecompressOptions::new().codec(self).limit(limit);
        decompress_into(data, &options, &mut CompressionScratch::new(), out)
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Options for compression.
#[derive(Debug, Clone)]
pub struct CompressOptions {
    codec: Codec,
    level: Option<i32>,
    dictionary: Option<Dictionary>,
}

impl CompressOptions {
    /// Creates options for a codec at its default level, without a dictionary.
    #[must_use]
    pub fn new(codec: Codec) -> Self {
        Self { codec, level: None, dictionary: None }
    }

    /// Sets the level: a number, or `None` for the default. Checked when the options are used.
    #[must_use]
    pub fn level(mut self, level: impl Into<Option<i32>>) -> Self {
        self.level = level.into();
        self
    }

    /// Sets the dictionary. Only zstd accepts one.
    #[must_use]
    pub fn dictionary(mut self, dictionary: impl Into<Option<Dictionary>>) -> Self {
        self.dictionary = dictionary.into();
        self
    }

    /// Returns the codec.
    #[must_use]
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Validates the options without compressing.
    ///
    /// # Errors
    ///
    /// Returns [`CompressionError::CodecDisabled`], [`CompressionError::InvalidLevel`], or
    /// [`CompressionError::DictionaryUnsupported`].
    pub fn validate(&self) -> Result<(), CompressionError> {
        self.checked_level().map(|_| ())
    }

    fn checked_level(&self) -> Result<i32, CompressionError> {
        let codec = self.codec;
        if !codec.is_enabled() {
            return Err(CompressionError::CodecDisabled { codec });
        }
        if self.dictionary.is_some() && codec != Codec::Zstd {
            return Err(CompressionError::DictionaryUnsupported { codec });
        }
        codec.check_level(self.level)
    }
}

/// Options for decompression.
#[derive(Debug, Clone)]
pub struct DecompressOptions {
    codec: Option<Codec>,
    limit: u64,
    dictionary: Option<Dictionary>,
}

impl DecompressOptions {
    /// Creates options that detect the format by the first bytes of the input and allow [`DEFAULT_LIMIT`]
    /// bytes of content.
    #[must_use]
    pub fn new() -> Self {
        Self { codec: None, limit: DEFAULT_LIMIT, dictionary: None }
    }

    /// Sets the codec, or with `None` detects it by the first bytes of the input.
    #[must_use]
    pub fn codec(mut self, codec: impl Into<Option<Codec>>) -> Self {
        self.codec = codec.into();
        self
    }

    /// Sets the largest content that is accepted, in bytes. A content of exactly this size is accepted.
    #[must_use]
    pub fn limit(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }

    /// Sets the dictionary for zstd input. Input whose detected format is another one ignores it.
    #[must_use]
    pub fn dictionary(mut self, dictionary: impl Into<Option<Dictionary>>) -> Self {
        self.dictionary = dictionary.into();
        self
    }

    /// Validates the options without decompressing.
    ///
    /// # Errors
    ///
    /// Returns [`CompressionError::CodecDisabled`] or [`CompressionError::DictionaryUnsupported`].
    pub fn validate(&self) -> Result<(), CompressionError> {
        match self.codec {
            Some(codec) if !codec.is_enabled() => Err(CompressionError::CodecDisabled { codec }),
            Some(codec) if self.dictionary.is_some() && codec != Codec::Zstd => {
                Err(CompressionError::DictionaryUnsupported { codec })
            }
            _ => Ok(()),
        }
    }
}

impl Default for DecompressOptions {
    fn default() -> Self {
        Self::new()
    }
}

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
        #[cfg(feature = "zstd")]
        Codec::Zstd => scratch.zstd.compress(data, level, options.dictionary.as_ref(), out),
        #[cfg(feature = "lz4")]
        Codec::Lz4 => scratch.lz4.compress(data, out),
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

/// Decompresses `data` and replaces the content of `out`, whose capacity is reused.
///
/// # Errors
///
/// Returns the errors of [`decompress`]; `out` is then empty and keeps its capacity.
pub fn decompress_into(
    data: &[u8],
    options: &DecompressOptions,
    scratch: &mut CompressionScratch,
    out: &mut dyn OutputBuffer,
) -> Result<(), CompressionError> {
    let mut budget = OutputBudget::new(options.limit);
    let mut output = Output::replace(out, &mut budget);
    let result = options.validate().and_then(|()| {
        let codec = options.codec.map_or_else(|| detect_format(data), Ok)?;
        match codec {
            #[cfg(feature = "zstd")]
            Codec::Zstd => scratch.zstd.decompress(data, options.dictionary.as_ref(), &mut output),
            #[cfg(feature = "lz4")]
            Codec::Lz4 => scratch.lz4.decompress(data, &mut output),
            codec => {
                let _ = &scratch;
                decoder(codec, None)?.decode_whole(data, &mut output)
            }
        }
    });
    output.finish(result)
}

/// Creates an encoder. `size` is the size of the content, if it is known.
fn encoder(
    codec: Codec,
    level: i32,
    dictionary: Option<&Dictionary>,
    size: Option<usize>,
) -> Result<Box<dyn Encode>, CompressionError> {
    let _ = (level, dictionary, size);
    match codec {
        #[cfg(feature = "zstd")]
        Codec::Zstd => Ok(Box::new(zstd::Encoder::new(level, dictionary, size)?)),
        #[cfg(feature = "lz4")]
        Codec::Lz4 => Ok(Box::new(lz4::Encoder::new(size))),
        #[cfg(feature = "xz")]
        Codec::Xz => Ok(Box::new(xz::Encoder::new(level, size)?)),
        #[cfg(feature = "bzip2")]
        Codec::Bzip2 => Ok(Box::new(bzip2::Encoder::new(level))),
        #[allow(unreachable_patterns)]
        codec => Err(CompressionError::CodecDisabled { codec }),
    }
}

fn decoder(codec: Codec, dictionary: Option<&Dictionary>) -> Result<Box<dyn Decode>, CompressionError> {
    let _ = dictionary;
    match codec {
        #[cfg(feature = "zstd")]
        Codec::Zstd => Ok(Box::new(zstd::Decoder::new(dictionary)?)),
        #[cfg(feature = "lz4")]
        Codec::Lz4 => Ok(Box::new(lz4::Decoder::new())),
        #[cfg(feature = "xz")]
        Codec::Xz => Ok(Box::new(xz::Decoder::new()?)),
        #[cfg(feature = "bzip2")]
        Codec::Bzip2 => Ok(Box::new(bzip2::Decoder::new())),
        #[allow(unreachable_patterns)]
        codec => Err(CompressionError::CodecDisabled { codec }),
    }
}
