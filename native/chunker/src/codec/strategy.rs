//! What a caller wants rather than how to get it.

use super::{Codec, CompressOptions};

/// A choice of codec and level by its purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// lz4: compresses and decompresses faster than most disks and networks move bytes.
    Fastest,
    /// zstd 3: the best size that still costs little time.
    Balanced,
    /// xz 6: the smallest output, slow to make. Others are smaller now and then: bzip2 on a short plain text, and each
    /// of them on a few hundred bytes, of which xz adds 60.
    Smallest,
}

impl Strategy {
    /// Every strategy.
    pub const ALL: [Self; 3] = [Self::Fastest, Self::Balanced, Self::Smallest];

    /// The options that the strategy stands for.
    #[must_use]
    pub fn options(self) -> CompressOptions {
        match self {
            Self::Fastest => CompressOptions::new(Codec::Lz4),
            Self::Balanced => CompressOptions::new(Codec::Zstd).level(3),
            Self::Smallest => CompressOptions::new(Codec::Xz).level(6),
        }
    }

    /// The name of the strategy in lower case, as options spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fastest => "fastest",
            Self::Balanced => "balanced",
            Self::Smallest => "smallest",
        }
    }
}
