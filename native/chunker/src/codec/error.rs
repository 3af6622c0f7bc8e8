//! What can go wrong while compressing and decompressing.

use super::Codec;
use crate::error::Detail;

/// An error of a codec. It carries fields, not a message to be searched, and is never folded into an I/O error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompressionError {
    /// The level lies outside the codec's range. Checked before the library sees it.
    #[error("{codec} has the levels {min} to {max}, not {level}")]
    InvalidLevel {
        /// The codec that was asked for.
        codec: Codec,
        /// The level that was asked for.
        level: i32,
        /// The smallest level there is.
        min: i32,
        /// The greatest level there is.
        max: i32,
    },
    /// A dictionary was given to a codec that knows none; only zstd does.
    #[error("{codec} takes no dictionary")]
    DictionaryUnsupported {
        /// The codec that was asked for.
        codec: Codec,
    },
    /// The bytes given as a dictionary are none: there are none, or a trained dictionary is damaged.
    #[error("the dictionary is empty or damaged")]
    InvalidDictionary,
    /// The codec could not compress.
    #[error("{codec} could not compress: {why}")]
    CompressionFailed {
        /// The codec that failed.
        codec: Codec,
        /// The reason.
        why: CodecFailure,
    },
    /// The input is not what the codec's format allows, or needs more than the decoder may use.
    #[error("{codec} could not decompress: {why}")]
    DecompressionFailed {
        /// The codec that failed.
        codec: Codec,
        /// The reason.
        why: CodecFailure,
    },
    /// The content is larger than the caller allowed.
    #[error("the content is larger than {limit} bytes")]
    SizeExceeded {
        /// The limit that the caller set, in bytes: a content of exactly this size would have passed.
        limit: u64,
    },
    /// The input begins like none of the formats.
    #[error("the input is in no known format; it begins with {magic:02x?}")]
    UnknownFormat {
        /// The first bytes of the input: four, or as many as there are.
        magic: Vec<u8>,
    },
    /// The codec was left out when the library was built.
    #[error("{codec} was left out when the library was built")]
    CodecDisabled {
        /// The codec that was asked for.
        codec: Codec,
    },
}

impl CompressionError {
    /// The stable snake_case code of the error; several variants may share one.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::InvalidLevel { .. } | Self::DictionaryUnsupported { .. } | Self::InvalidDictionary => {
                "invalid_options"
            }
            Self::CompressionFailed { .. } => "compression_failed",
            Self::DecompressionFailed { .. } => "decompression_failed",
            Self::SizeExceeded { .. } => "size_exceeded",
            Self::UnknownFormat { .. } => "unknown_format",
            Self::CodecDisabled { .. } => "feature_disabled",
        }
    }

    /// The fields of the error, by their names in the public API.
    #[must_use]
    pub fn details(&self) -> Vec<(&'static str, Detail)> {
        let options = |option, value, allowed| {
            vec![("option", Detail::Name(option)), ("value", value), ("allowed", Detail::Text(allowed))]
        };
        match self {
            Self::InvalidLevel { codec: _, level, min, max } => {
                options("level", Detail::Signed(i64::from(*level)), format!("{min}..{max}"))
            }
            Self::DictionaryUnsupported { codec } => {
                options("codec", Detail::Name(codec.name()), "zstd, if a dictionary is given".into())
            }
            Self::InvalidDictionary => {
                options("dictionary", Detail::Text("empty or damaged".into()), "a dictionary of zstd".into())
            }
            Self::CompressionFailed { codec, why } | Self::DecompressionFailed { codec, why } => {
                vec![("codec", Detail::Name(codec.name())), ("why", Detail::Name(why.as_str()))]
            }
            Self::SizeExceeded { limit } => vec![("limit", Detail::Number(*limit))],
            Self::UnknownFormat { magic } => vec![("magic", Detail::Bytes(magic.clone()))],
            Self::CodecDisabled { codec } => vec![("feature", Detail::Name(codec.name()))],
        }
    }
}

/// Why a codec failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CodecFailure {
    /// The input does not begin with the format's magic.
    BadMagic,
    /// The input ends before the content does.
    Truncated,
    /// After the content comes something that is no further stream or frame.
    ///
    /// xz reports this as [`Corrupt`](Self::Corrupt): its library does not tell the two apart.
    TrailingData,
    /// The input breaks the rules of the format, or a size in it is not the size of the content.
    ///
    /// xz and bzip2 report a wrong checksum as this too: their libraries do not tell the two apart.
    Corrupt,
    /// The content does not have the checksum that the input promises.
    ChecksumMismatch,
    /// The input uses a part of the format that the decoder does not have.
    Unsupported,
    /// The input asks for a larger window than [`MAX_WINDOW`](super::MAX_WINDOW).
    MemoryLimit,
    /// The system gave no memory.
    OutOfMemory,
    /// The input was compressed with a dictionary, and none was given.
    DictionaryMissing,
    /// The input was compressed with another dictionary than the one given.
    DictionaryWrong,
    /// No dictionary can be made of these samples: they are too few, too small, or too large.
    SamplesUnsuitable,
    /// The codec's library refused for a reason of its own.
    Internal,
}

impl CodecFailure {
    /// The stable snake_case name of the reason.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadMagic => "bad_magic",
            Self::Truncated => "truncated",
            Self::TrailingData => "trailing_data",
            Self::Corrupt => "corrupt",
            Self::ChecksumMismatch => "checksum_mismatch",
            Self::Unsupported => "unsupported",
            Self::MemoryLimit => "memory_limit",
            Self::OutOfMemory => "out_of_memory",
            Self::DictionaryMissing => "dictionary_missing",
            Self::DictionaryWrong => "dictionary_wrong",
            Self::SamplesUnsuitable => "samples_unsuitable",
            Self::Internal => "internal",
        }
    }
}

impl std::fmt::Display for CodecFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
