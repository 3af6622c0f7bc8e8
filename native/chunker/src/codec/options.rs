//! Options of compression and decompression.

use super::dictionary::Dictionary;
use super::error::{CodecFailure, CompressionError};
use super::format::Codec;
use super::output::{DEFAULT_LIMIT, DEFAULT_MAX_MEMORY};
use super::smallest::stream_codec;

/// Options for compression.
#[derive(Debug, Clone)]
pub struct CompressOptions {
    pub(super) codec: Codec,
    pub(super) level: Option<i32>,
    pub(super) dictionary: Option<Dictionary>,
    /// Whether several codecs are tried for a whole content.
    pub(super) smallest: bool,
    /// Whether xz spends more time than at its highest level.
    extreme: bool,
}

/// The flag in a level of xz for its extreme variant, `xz -e`.
pub(super) const EXTREME: i32 = 1 << 8;

impl CompressOptions {
    /// Creates options for a codec at its default level, without a dictionary.
    #[must_use]
    pub fn new(codec: Codec) -> Self {
        Self { codec, level: None, dictionary: None, smallest: false, extreme: false }
    }

    /// Creates options that compress a whole content with each codec and level that may give the smallest
    /// output, and keep the smallest: zstd, gzip, xz and bzip2, as far as they are built in. The output is
    /// detected as that of a single codec is.
    ///
    /// This takes the time of all of them, and the memory of the one that needs most, which depends on the
    /// size of the content; see [`Strategy::Smallest`](super::Strategy::Smallest). A candidate that gets no
    /// memory is left out. An [`Encoder`](super::Encoder) cannot try several: it uses
    /// [`codec`](Self::codec), which is xz if that is built in, at the level, which is its default. A whole
    /// content ignores the level, and a dictionary is an error.
    #[must_use]
    pub fn smallest() -> Self {
        let (codec, level) = stream_codec();
        Self { smallest: true, ..Self::new(codec).level(level) }
    }

    /// Creates options for a level, perhaps of the extreme variant of xz.
    pub(super) fn of_candidate(codec: Codec, level: i32, extreme: bool) -> Self {
        Self { extreme, ..Self::new(codec).level(level) }
    }

    /// Sets the level: a number, or `None` for the default. Checked when the options are used.
    #[must_use]
    pub fn level(mut self, level: impl Into<Option<i32>>) -> Self {
        self.level = level.into();
        self
    }

    /// Sets the dictionary. Only zstd and lz4 accept one.
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

    /// Returns whether compression may take more than some ten milliseconds for 128 KiB of input, or before
    /// the first of it, apart from a dictionary. Such a call belongs in a thread that others do not wait for.
    #[must_use]
    pub fn is_slow(&self) -> bool {
        match self.codec {
            _ if self.smallest => true,
            Codec::Lz4 => false,
            // Long searches: on text of two letters, gzip 9 takes 370 ms for 256 KiB, and zstd 12 takes 56.
            Codec::Gzip => self.level.is_some_and(|level| level > 6),
            Codec::Zstd => self.level.is_some_and(|level| level > 9),
            _ => true,
        }
    }

    /// Validates the options without compressing.
    ///
    /// # Errors
    ///
    /// Returns [`CompressionError::CodecDisabled`], [`CompressionError::EncodingUnsupported`],
    /// [`CompressionError::InvalidLevel`], or [`CompressionError::DictionaryUnsupported`].
    pub fn validate(&self) -> Result<(), CompressionError> {
        self.checked_level().map(|_| ())
    }

    pub(super) fn checked_level(&self) -> Result<i32, CompressionError> {
        let codec = self.codec;
        if !codec.is_enabled() {
            return Err(CompressionError::CodecDisabled { codec });
        }
        if !Codec::ENCODABLE.contains(&codec) {
            return Err(CompressionError::EncodingUnsupported { codec });
        }
        if self.dictionary.is_some() && (!codec.takes_dictionary() || self.smallest) {
            return Err(CompressionError::DictionaryUnsupported { codec });
        }
        let level = self.level.unwrap_or(codec.default_level());
        let (min, max) = codec.levels().into_inner();
        if (min..=max).contains(&level) {
            Ok(if self.extreme { level | EXTREME } else { level })
        } else {
            Err(CompressionError::InvalidLevel { codec, level, min, max })
        }
    }
}

/// The treatment of bytes after the last stream or frame that begin no other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Trailing {
    /// They are an error, [`CodecFailure::TrailingData`].
    #[default]
    Error,
    /// They are ignored and counted.
    Ignore,
}

impl Trailing {
    /// Returns the number of ignored bytes: all of the `trailing` ones, which begin at `offset`.
    pub(super) fn ignored(self, codec: Codec, trailing: u64, offset: u64) -> Result<u64, CompressionError> {
        if trailing == 0 || self == Self::Ignore {
            return Ok(trailing);
        }
        let why = CodecFailure::TrailingData { offset };
        Err(CompressionError::DecompressionFailed { codec, why })
    }
}

/// Options for decompression.
#[derive(Debug, Clone)]
pub struct DecompressOptions {
    pub(super) codec: Option<Codec>,
    pub(super) limit: u64,
    pub(super) max_memory: u64,
    pub(super) trailing: Trailing,
    pub(super) dictionary: Option<Dictionary>,
}

impl DecompressOptions {
    /// Creates options that detect the format by the first bytes of the input and allow [`DEFAULT_LIMIT`]
    /// bytes of content.
    #[must_use]
    pub fn new() -> Self {
        Self {
            codec: None,
            limit: DEFAULT_LIMIT,
            max_memory: DEFAULT_MAX_MEMORY,
            trailing: Trailing::Error,
            dictionary: None,
        }
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

    /// Sets the largest window that is allocated for an input, in bytes; by default [`DEFAULT_MAX_MEMORY`].
    ///
    /// zstd has windows of up to 2 GiB (`zstd --long=31`), xz and .lzma of up to 4 GiB, and brotli of up to 1
    /// GiB (`brotli --large_window=30`). An input that needs more than the limit is rejected with
    /// [`CodecFailure::MemoryLimit`] before the window is allocated. A decoder takes some MiB for its state
    /// besides. lz4, bzip2 and gzip have no such choice and ignore the limit: they never need more than 16
    /// MiB.
    #[must_use]
    pub fn max_memory(mut self, bytes: u64) -> Self {
        self.max_memory = bytes;
        self
    }

    /// Sets the treatment of bytes after the last stream or frame that begin no other one.
    ///
    /// Bytes that begin one and end before it does are truncated in any case. Zeros after an xz stream are
    /// part of the format in units of four, and only what is left of them trails.
    #[must_use]
    pub fn trailing(mut self, trailing: Trailing) -> Self {
        self.trailing = trailing;
        self
    }

    /// Sets the dictionary for zstd or lz4 input. Input whose detected format is another one is rejected with
    /// [`CodecFailure::DictionaryInapplicable`].
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
            Some(codec) if self.dictionary.is_some() && !codec.takes_dictionary() => {
                Err(CompressionError::DictionaryUnsupported { codec })
            }
            _ => Ok(()),
        }
    }

    /// Checks that the dictionary, if there is one, applies to a detected codec.
    pub(super) fn check_dictionary(&self, codec: Codec) -> Result<(), CompressionError> {
        if self.dictionary.is_none() || codec.takes_dictionary() || !codec.is_enabled() {
            return Ok(());
        }
        let why = CodecFailure::DictionaryInapplicable;
        Err(CompressionError::DecompressionFailed { codec, why })
    }
}

impl Default for DecompressOptions {
    fn default() -> Self {
        Self::new()
    }
}
