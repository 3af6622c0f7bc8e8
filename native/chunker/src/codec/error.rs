//! Errors of compression and decompression.

use super::format::Codec;
use crate::error::{Detail, ErrorCode};

/// An error of a codec. Carries fields rather than a message to parse, and is never converted to an I/O
/// error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompressionError {
    /// The level is outside the codec's range. Checked before the library is called.
    #[error("{codec} level must be {min} to {max}, not {level}")]
    InvalidLevel {
        /// The requested codec.
        codec: Codec,
        /// The requested level.
        level: i32,
        /// The smallest allowed level.
        min: i32,
        /// The largest allowed level.
        max: i32,
    },
    /// The codec only decompresses.
    #[error("{codec} can be decompressed only")]
    EncodingUnsupported {
        /// The requested codec.
        codec: Codec,
    },
    /// The codec does not support dictionaries; only zstd and lz4 do.
    #[error("{codec} does not support dictionaries")]
    DictionaryUnsupported {
        /// The requested codec.
        codec: Codec,
    },
    /// The dictionary is empty, or a damaged trained dictionary.
    #[error("the dictionary is empty or damaged")]
    InvalidDictionary,
    /// The codec failed to compress.
    #[error("{codec} failed to compress: {why}")]
    CompressionFailed {
        /// The codec that failed.
        codec: Codec,
        /// The reason.
        why: CodecFailure,
    },
    /// The input violates the codec's format, or needs more memory than the decoder may use.
    #[error("{codec} failed to decompress: {why}")]
    DecompressionFailed {
        /// The codec that failed.
        codec: Codec,
        /// The reason.
        why: CodecFailure,
    },
    /// The content is larger than the caller's limit.
    #[error("the content exceeds the limit of {limit} bytes")]
    SizeExceeded {
        /// The limit of the caller, in bytes. A content of exactly this size is accepted.
        limit: u64,
    },
    /// The first bytes of the input match no known format.
    #[error("unknown compression format; the input begins with {magic:02x?}")]
    UnknownFormat {
        /// The first bytes of the input: four, or as many as there are.
        magic: Vec<u8>,
    },
    /// The codec is disabled in this build.
    #[error("{codec} is disabled in this build")]
    CodecDisabled {
        /// The requested codec.
        codec: Codec,
    },
}

impl ErrorCode for CompressionError {
    fn code(&self) -> &'static str {
        match self {
            Self::InvalidLevel { .. }
            | Self::EncodingUnsupported { .. }
            | Self::DictionaryUnsupported { .. }
            | Self::InvalidDictionary => "invalid_options",
            Self::CompressionFailed { .. } => "compression_failed",
            Self::DecompressionFailed { .. } => "decompression_failed",
            Self::SizeExceeded { .. } => "size_exceeded",
            Self::UnknownFormat { .. } => "unknown_format",
            Self::CodecDisabled { .. } => "feature_disabled",
        }
    }

    fn details(&self) -> Vec<(&'static str, Detail)> {
        let options = |option, value, allowed| {
            vec![("option", Detail::Name(option)), ("value", value), ("allowed", Detail::Text(allowed))]
        };
        match self {
            Self::InvalidLevel { codec: _, level, min, max } => {
                options("level", Detail::Signed(i64::from(*level)), format!("{min}..{max}"))
            }
            Self::EncodingUnsupported { codec } => {
                let allowed = Codec::ENCODABLE.map(Codec::name).join(", ");
                options("codec", Detail::Name(codec.name()), allowed)
            }
            Self::DictionaryUnsupported { codec } => {
                options("codec", Detail::Name(codec.name()), "zstd or lz4, if a dictionary is given".into())
            }
            Self::InvalidDictionary => {
                options("dictionary", Detail::Text("empty or damaged".into()), "a dictionary of zstd".into())
            }
            Self::CompressionFailed { codec, why } | Self::DecompressionFailed { codec, why } => {
                let mut details =
                    vec![("codec", Detail::Name(codec.name())), ("why", Detail::Name(why.as_str()))];
                match why {
                    CodecFailure::TrailingData { offset } => {
                        details.push(("offset", Detail::Number(*offset)));
                    }
                    CodecFailure::MemoryLimit { needed, limit } => details.extend([
                        ("option", Detail::Name("max_memory")),
                        ("needed", Detail::Number(*needed)),
                        ("limit", Detail::Number(*limit)),
                    ]),
                    _ => {}
                }
                details
            }
            Self::SizeExceeded { limit } => vec![("limit", Detail::Number(*limit))],
            Self::UnknownFormat { magic } => vec![("magic", Detail::Bytes(magic.clone()))],
            Self::CodecDisabled { codec } => vec![("feature", Detail::Name(codec.feature()))],
        }
    }
}

/// The reason for which a codec failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CodecFailure {
    /// The input does not begin with the format's magic. brotli has none and never reports this.
    BadMagic,
    /// The input ends before the content does.
    Truncated,
    /// The content is followed by data that is not another stream or frame.
    TrailingData {
        /// The offset of the first such byte in the input.
        offset: u64,
    },
    /// The input violates the format, or a size in it differs from the size of the content.
    ///
    /// xz and bzip2 also report a wrong checksum as this: their libraries do not distinguish the two. brotli
    /// and .lzma have no checksum, so damage that leaves a valid stream is not detected.
    Corrupt,
    /// The content does not match its checksum.
    ChecksumMismatch,
    /// The input uses a feature of the format that the decoder does not support.
    Unsupported,
    /// The input requires a larger window than [`DecompressOptions::max_memory`] allows.
    ///
    /// [`DecompressOptions::max_memory`]: super::DecompressOptions::max_memory
    MemoryLimit {
        /// The memory that the input requires, in bytes. It suffices as the limit.
        needed: u64,
        /// The limit of the caller, in bytes.
        limit: u64,
    },
    /// A memory allocation failed.
    OutOfMemory,
    /// The input was compressed with a dictionary, and none was given.
    DictionaryMissing,
    /// The input was compressed with a different dictionary.
    DictionaryWrong,
    /// A dictionary was given for any format, and the detected one has none.
    DictionaryInapplicable,
    /// No dictionary can be made of the samples: they are too few, too small, or too large.
    SamplesUnsuitable,
    /// The codec's library failed for an internal reason.
    Internal,
}

impl CodecFailure {
    /// Returns the stable snake_case name of the reason.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadMagic => "bad_magic",
            Self::Truncated => "truncated",
            Self::TrailingData { .. } => "trailing_data",
            Self::Corrupt => "corrupt",
            Self::ChecksumMismatch => "checksum_mismatch",
            Self::Unsupported => "unsupported",
            Self::MemoryLimit { .. } => "memory_limit",
            Self::OutOfMemory => "out_of_memory",
            Self::DictionaryMissing => "dictionary_missing",
            Self::DictionaryWrong => "dictionary_wrong",
            Self::DictionaryInapplicable => "dictionary_inapplicable",
            Self::SamplesUnsuitable => "samples_unsuitable",
            Self::Internal => "internal",
        }
    }
}

impl std::fmt::Display for CodecFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())?;
        match self {
            Self::TrailingData { offset } => write!(f, " at byte {offset}"),
            Self::MemoryLimit { needed, limit } => {
                write!(f, ": {needed} bytes are needed, and max_memory is {limit} bytes")
            }
            _ => Ok(()),
        }
    }
}
