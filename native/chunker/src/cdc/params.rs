//! The options of content-defined chunking, and the validated form that the scanner uses.

use std::borrow::Cow;

use fastcdc::v2020::{
    AVERAGE_MAX, AVERAGE_MIN, MAXIMUM_MAX, MAXIMUM_MIN, MINIMUM_MAX, MINIMUM_MIN, Normalization,
    get_gear_with_seed, select_masks,
};

use super::kernel::Kernel;
use crate::error::OptionsError;

/// The sizes and the keys of content-defined chunking. Sizes are in bytes.
///
/// ```
/// use chunker::cdc::{CdcParams, Options};
///
/// let sizes = Options { min_size: 16 << 10, avg_size: 64 << 10, max_size: 256 << 10, ..Options::default() };
/// assert!(CdcParams::new(&sizes).is_ok());
/// assert_eq!(sizes, Options::with_average(64 << 10));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The minimum chunk size, which only the last chunk may undercut. An odd minimum allows one byte less,
    /// as in crate `fastcdc`. 64 to 1,048,576; 262,144 by default.
    pub min_size: u64,
    /// The size around which chunk sizes concentrate. 256 to 4,194,304; 1,048,576 by default.
    pub avg_size: u64,
    /// The maximum chunk size. 1,024 to 16,777,216; 4,194,304 by default.
    pub max_size: u64,
    /// How strongly sizes concentrate around the average: 0 (not at all) to 3; 1 by default. Section 3.4 of
    /// the paper.
    pub normalization: u64,
    /// Selects the gear table, and so the cut points: for stores that are not to share chunks, and for tests.
    /// 0 by default, which selects the published table.
    ///
    /// This is no secret key and hides nothing from an attacker who sees the lengths of chunks: attacks on
    /// content-defined chunkers with a key are published (eprint 2025/532 and 2025/558).
    pub seed: u64,
}

impl Options {
    /// Returns the options for an average size: a minimum of a quarter and a maximum of four times the
    /// average, each clamped to its range.
    #[must_use]
    pub const fn with_average(avg_size: u64) -> Self {
        let min_size = clamp(avg_size / 4, MINIMUM_MIN, MINIMUM_MAX);
        let max_size = clamp(avg_size.saturating_mul(4), MAXIMUM_MIN, MAXIMUM_MAX);
        Self { min_size, avg_size, max_size, normalization: 1, seed: 0 }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::with_average(1 << 20)
    }
}

// `Ord::clamp` is not const.
const fn clamp(value: u64, low: usize, high: usize) -> u64 {
    if value < low as u64 {
        low as u64
    } else if value > high as u64 {
        high as u64
    } else {
        value
    }
}

/// Validated [`Options`], with the masks and the gear table derived from them.
///
/// A value with seed 0 shares the published gear table; any other seed allocates a table of 2 KiB.
#[derive(Debug, Clone)]
pub struct CdcParams {
    /// The offset within a chunk at which the scan begins. Always even.
    pub(super) scan_start: usize,
    /// The offset from which the loose mask applies. Always even.
    pub(super) center: usize,
    /// The offset at which the scan ends. Always even.
    pub(super) scan_end: usize,
    /// The offset at which a chunk ends if the scan found no cut point; at most `scan_end + 1`.
    pub(super) max_size: usize,
    pub(super) strict: u64,
    pub(super) loose: u64,
    pub(super) gear: Cow<'static, [u64]>,
    pub(super) kernel: Kernel,
}

impl CdcParams {
    /// Validates the options.
    ///
    /// # Errors
    ///
    /// Returns an error for the first option outside its range, where `min_size <= avg_size <= max_size` must
    /// also hold, and otherwise the error of [`kernel`](super::kernel()).
    pub fn new(options: &Options) -> Result<Self, OptionsError> {
        let Options { min_size, avg_size, max_size, normalization, seed } = *options;
        let min_size = within("min_size", min_size, MINIMUM_MIN, MINIMUM_MAX)?;
        let avg_size = within("avg_size", avg_size, AVERAGE_MIN, AVERAGE_MAX)?;
        let max_size = within("max_size", max_size, MAXIMUM_MIN, MAXIMUM_MAX)?;
        if min_size > avg_size {
            let allowed = format!("at most avg_size, which is {avg_size}");
            return Err(OptionsError { option: "min_size", value: (min_size as u64).into(), allowed });
        }
        if max_size < avg_size {
            let allowed = format!("at least avg_size, which is {avg_size}");
            return Err(OptionsError { option: "max_size", value: (max_size as u64).into(), allowed });
        }
        let level = match normalization {
            0 => Normalization::Level0,
            1 => Normalization::Level1,
            2 => Normalization::Level2,
            3 => Normalization::Level3,
            value => {
                return Err(OptionsError {
                    option: "normalization",
                    value: value.into(),
                    allowed: "0..3".into(),
                });
            }
        };
        let (strict, loose) = select_masks(avg_size, level);
        // FastCDC v2020 tests positions in pairs, so an odd size is rounded down to an even one.
        Ok(Self {
            scan_start: min_size & !1,
            center: avg_size & !1,
            scan_end: max_size & !1,
            max_size,
            strict,
            loose,
            gear: get_gear_with_seed(seed).0,
            kernel: Kernel::selected()?,
        })
    }

    /// Replaces the scan kernel, for comparisons between kernels. Returns `None` if this CPU supports no
    /// kernel of that name. [`kernels`](super::kernels()) returns the names.
    #[must_use]
    pub fn with_kernel(self, name: &str) -> Option<Self> {
        let kernel = Kernel::available().into_iter().find(|kernel| kernel.name() == name)?;
        Some(Self { kernel, ..self })
    }

    /// Returns the longest chunk that these options allow, in bytes.
    #[must_use]
    pub fn max_size(&self) -> usize {
        self.max_size
    }

    /// Returns the number of bytes at the start of each chunk that are not scanned.
    pub(crate) fn scan_start(&self) -> usize {
        self.scan_start
    }

    pub(super) fn gear(&self) -> &[u64; 256] {
        self.gear.as_ref().try_into().expect("a gear table has an entry for each byte value")
    }
}

fn within(option: &'static str, value: u64, low: usize, high: usize) -> Result<usize, OptionsError> {
    match usize::try_from(value) {
        Ok(size) if (low..=high).contains(&size) => Ok(size),
        _ => Err(OptionsError { option, value: value.into(), allowed: format!("{low}..{high}") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorCode;
    use crate::error::OptionValue;

    fn refused(options: Options) -> (&'static str, OptionValue) {
        let error = CdcParams::new(&options).expect_err("these options are out of range");
        assert_eq!(error.code(), "invalid_options");
        (error.option, error.value)
    }

    #[test]
    fn options_are_accepted_up_to_the_ends_of_their_ranges() {
        let base = Options { min_size: 64, avg_size: 4_194_304, max_size: 16_777_216, ..Options::default() };
        assert!(CdcParams::new(&base).is_ok());
        assert_eq!(refused(Options { min_size: 63, ..base }), ("min_size", OptionValue::Number(63)));
        assert!(CdcParams::new(&Options { min_size: 1_048_576, ..base }).is_ok());
        assert_eq!(
            refused(Options { min_size: 1_048_577, ..base }),
            ("min_size", OptionValue::Number(1_048_577))
        );
        assert_eq!(
            refused(Options { avg_size: 4_194_305, ..base }),
            ("avg_size", OptionValue::Number(4_194_305))
        );
        assert_eq!(
            refused(Options { max_size: 16_777_217, ..base }),
            ("max_size", OptionValue::Number(16_777_217))
        );
        let small = Options { min_size: 64, avg_size: 256, max_size: 1024, ..base };
        assert!(CdcParams::new(&small).is_ok());
        assert_eq!(refused(Options { avg_size: 255, ..small }), ("avg_size", OptionValue::Number(255)));
        assert_eq!(refused(Options { max_size: 1023, ..small }), ("max_size", OptionValue::Number(1023)));
        for normalization in 0..=3 {
            assert!(CdcParams::new(&Options { normalization, ..base }).is_ok());
        }
        assert_eq!(refused(Options { normalization: 4, ..base }), ("normalization", OptionValue::Number(4)));
        assert_eq!(
            refused(Options { min_size: u64::MAX, ..base }),
            ("min_size", OptionValue::Number(u64::MAX))
        );
    }

    #[test]
    fn the_other_sizes_follow_the_average_within_their_ranges() {
        let sizes = |average| {
            let options = Options::with_average(average);
            (options.min_size, options.avg_size, options.max_size)
        };
        assert_eq!(sizes(256), (64, 256, 1024));
        assert_eq!(sizes(1 << 20), (256 << 10, 1 << 20, 4 << 20));
        assert_eq!(Options::with_average(1 << 20), Options::default());
        assert_eq!(sizes(4 << 20), (1 << 20, 4 << 20, 16 << 20));
        assert_eq!(sizes(1003), (250, 1003, 4012));
        // The error names the average, and not a size derived from it.
        for (wrong, min_size, max_size) in [(0, 64, 1024), (255, 64, 1024), (u64::MAX, 1 << 20, 16 << 20)] {
            assert_eq!(sizes(wrong), (min_size, wrong, max_size));
            assert_eq!(refused(Options::with_average(wrong)), ("avg_size", OptionValue::Number(wrong)));
        }
        for average in 256..=4096 {
            assert!(CdcParams::new(&Options::with_average(average)).is_ok());
        }
    }

    #[test]
    fn a_kernel_is_taken_by_its_name_and_by_no_other() {
        let params = CdcParams::new(&Options::default()).unwrap();
        for name in super::super::kernels() {
            assert_eq!(params.clone().with_kernel(name).unwrap().kernel.name(), name);
        }
        assert!(params.clone().with_kernel("abacus").is_none());
        assert_eq!(super::super::kernels().last(), Some(&"scalar"));
        assert_eq!(super::super::kernel(), Ok(params.kernel.name()));
    }

    #[test]
    fn sizes_must_be_in_order() {
        let base = Options { min_size: 1024, avg_size: 1024, max_size: 1024, ..Options::default() };
        assert!(CdcParams::new(&base).is_ok());
        assert_eq!(refused(Options { min_size: 1025, ..base }), ("min_size", OptionValue::Number(1025)));
        assert_eq!(refused(Options { avg_size: 1025, ..base }), ("max_size", OptionValue::Number(1024)));
    }
}
