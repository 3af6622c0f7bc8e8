//! The codecs, and what is known of each without its library.

use std::fmt;
use std::ops::RangeInclusive;

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
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
