//! Presets that select a codec and level by purpose.

use super::format::Codec;
use super::options::CompressOptions;

/// A codec and level, selected by purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// lz4: compresses and decompresses faster than most disks and networks transfer data.
    Fastest,
    /// zstd 3: the best ratio that still costs little time.
    Balanced,
    /// The smallest output that zstd, gzip, xz and bzip2 make of a whole content, each at its best levels; xz
    /// 6 for a stream. See [`CompressOptions::smallest`].
    Smallest,
}

impl Strategy {
    /// Every strategy.
    pub const ALL: [Self; 3] = [Self::Fastest, Self::Balanced, Self::Smallest];

    /// Returns the options of the strategy.
    #[must_use]
    pub fn options(self) -> CompressOptions {
        match self {
            Self::Fastest => CompressOptions::new(Codec::Lz4),
            Self::Balanced => CompressOptions::new(Codec::Zstd).level(3),
            Self::Smallest => CompressOptions::smallest(),
        }
    }

    /// Returns the name of the strategy in lower case, as options spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fastest => "fastest",
            Self::Balanced => "balanced",
            Self::Smallest => "smallest",
        }
    }
}
