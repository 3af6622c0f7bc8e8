//! The codecs, and what is known of each without its library.

use std::fmt;
use std::ops::RangeInclusive;

/// A compression codec and its file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Zstandard frames, RFC 8878.
    Zstd,
    /// The LZ4 frame format, and its legacy frames, which are only read.
    Lz4,
    /// The .xz format with LZMA2.
    Xz,
    /// bzip2 streams.
    Bzip2,
    /// gzip members, RFC 1952.
    Gzip,
    /// A brotli stream, RFC 7932.
    Brotli,
    /// The .lzma format, which is only read.
    Lzma,
}

impl Codec {
    /// Every codec, built in or not.
    pub const ALL: [Self; 7] =
        [Self::Zstd, Self::Lz4, Self::Xz, Self::Bzip2, Self::Gzip, Self::Brotli, Self::Lzma];

    /// Every codec that compresses, built in or not: all except [`Lzma`](Self::Lzma).
    pub const ENCODABLE: [Self; 6] = [Self::Zstd, Self::Lz4, Self::Xz, Self::Bzip2, Self::Gzip, Self::Brotli];

    /// Returns the name of the codec in lower case, as options and errors spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
            Self::Gzip => "gzip",
            Self::Brotli => "brotli",
            Self::Lzma => "lzma",
        }
    }

    /// Returns the Cargo feature that builds the codec in: its name, and for .lzma that of xz, whose library
    /// reads both.
    #[must_use]
    pub fn feature(self) -> &'static str {
        if self == Self::Lzma { Self::Xz.name() } else { self.name() }
    }

    /// Returns whether the codec is built in.
    #[must_use]
    pub fn is_enabled(self) -> bool {
        match self {
            Self::Zstd => cfg!(feature = "zstd"),
            Self::Lz4 => cfg!(feature = "lz4"),
            Self::Xz | Self::Lzma => cfg!(feature = "xz"),
            Self::Bzip2 => cfg!(feature = "bzip2"),
            Self::Gzip => cfg!(feature = "gzip"),
            Self::Brotli => cfg!(feature = "brotli"),
        }
    }

    /// Returns whether the codec takes a [`Dictionary`](super::Dictionary): zstd and lz4 do.
    #[must_use]
    pub fn takes_dictionary(self) -> bool {
        matches!(self, Self::Zstd | Self::Lz4)
    }

    /// Returns the levels of the codec, from the fastest to the one with the smallest output.
    ///
    /// - zstd: -131072 to 22, the range of its library; 0 selects its default, 3.
    /// - lz4: only 1, the default of the `lz4` program.
    /// - xz: 0 to 9, the presets of the `xz` program.
    /// - bzip2: 1 to 9, the block size in units of 100,000 bytes.
    /// - gzip: 0 to 9, those of the `gzip` program and 0, which stores.
    /// - brotli: 0 to 11, the qualities of the `brotli` program.
    /// - lzma: those of xz, of no use: it is not written.
    #[must_use]
    pub fn levels(self) -> RangeInclusive<i32> {
        match self {
            // ZSTD_minCLevel() and ZSTD_maxCLevel(), which a test compares. They are constants because a
            // build without the library rejects the same levels.
            Self::Zstd => -131_072..=22,
            Self::Lz4 => 1..=1,
            Self::Xz | Self::Gzip | Self::Lzma => 0..=9,
            Self::Bzip2 => 1..=9,
            Self::Brotli => 0..=11,
        }
    }

    /// Returns the default level: zstd 3, lz4 1, and 6 for the others.
    ///
    /// The `brotli` program's default, 11, takes 50 times as long as 6.
    #[must_use]
    pub fn default_level(self) -> i32 {
        match self {
            Self::Zstd => 3,
            Self::Lz4 => 1,
            Self::Xz | Self::Bzip2 | Self::Gzip | Self::Brotli | Self::Lzma => 6,
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
