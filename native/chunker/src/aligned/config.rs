//! The options of chunking along members.

use crate::cdc::Options;

/// Holds the options for chunking an archive along its members. Sizes are in bytes.
///
/// ```
/// use chunker::aligned::Config;
/// use chunker::nar::scanner::NarScanner;
///
/// let scanner = NarScanner::new(&Config { min_entry_size: Some(4 << 20), ..Config::LARGE_PACKAGES })?;
/// # Ok::<(), chunker::OptionsError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// The sizes and the keys of the chunks.
    pub options: Options,
    /// The size of the smallest members with forced cuts at both ends. At least `min_size`. If `None`, twice
    /// `avg_size`: forced cuts add chunks, and for smaller members they save less than a smaller average size
    /// does.
    pub min_entry_size: Option<u64>,
    /// Any other cut moves back to the end of the last member if that is less than this number of bytes before
    /// it, and at least `min_size` bytes after the previous cut. 0 to `min_size`, so that no byte is scanned
    /// twice; 0 disables it. If `None`, a quarter of `avg_size`, at most `min_size`.
    pub boundary_preference_distance: Option<u64>,
}

impl Config {
    /// The preset with a minimum of 128 KiB, an average of 512 KiB and a maximum of 2 MiB.
    pub const DEFAULT: Self = Self::with_average(512 << 10);
    /// The preset with 256 KiB, 1 MiB and 4 MiB, which gives half as many chunks.
    pub const LARGE_PACKAGES: Self = Self::with_average(1 << 20);
    /// The preset with 32 KiB, 128 KiB and 512 KiB, which deduplicates more of packages that change little.
    pub const SMALL_PACKAGES: Self = Self::with_average(128 << 10);

    /// All presets, with their names in the public API.
    pub const PRESETS: [(&str, Self); 3] = [
        ("default", Self::DEFAULT),
        ("large_packages", Self::LARGE_PACKAGES),
        ("small_packages", Self::SMALL_PACKAGES),
    ];

    /// Creates options for an average chunk size; the minimum is a quarter of it and the maximum four times
    /// it.
    #[must_use]
    pub const fn with_average(avg_size: u64) -> Self {
        let options = Options::with_average(avg_size);
        Self { options, min_entry_size: None, boundary_preference_distance: None }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::DEFAULT
    }
}
