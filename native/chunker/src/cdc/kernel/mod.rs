//! Selects the scan kernel.
//!
//! All kernels return the same results as [`scalar::find`].

#[cfg(target_arch = "x86_64")]
mod avx512;
mod prefetch;
mod scalar;

use std::sync::OnceLock;

use crate::error::OptionsError;
#[cfg(target_arch = "x86_64")]
use avx512::Avx512;

/// The environment variable that selects a kernel by name, for tests and benchmarks.
const VARIABLE: &str = "CHUNKER_KERNEL";

/// A scan kernel that this CPU supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kernel {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
}

impl Kernel {
    /// Returns all kernels that this CPU supports, the fastest first.
    pub(super) fn available() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        let vectors = Avx512::new().map(Self::Avx512);
        #[cfg(not(target_arch = "x86_64"))]
        let vectors = None;
        vectors.into_iter().chain([Self::Scalar]).collect()
    }

    /// Returns the kernel that the environment selects, or else the fastest one. Looked up once.
    pub(super) fn selected() -> Result<Self, OptionsError> {
        static SELECTED: OnceLock<Result<Kernel, OptionsError>> = OnceLock::new();
        SELECTED.get_or_init(|| Self::select(std::env::var_os(VARIABLE).as_deref())).clone()
    }

    fn select(wanted: Option<&std::ffi::OsStr>) -> Result<Self, OptionsError> {
        let kernels = Self::available();
        let found = kernels.iter().find(|kernel| wanted.is_none_or(|name| name == kernel.name()));
        found.copied().ok_or_else(|| {
            let names: Vec<_> = kernels.iter().map(Self::name).collect();
            let value = wanted.unwrap_or_default().to_string_lossy().into_owned();
            OptionsError { option: VARIABLE, value: value.into(), allowed: names.join(", ") }
        })
    }

    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => "avx512",
        }
    }

    /// Rolls `hash` over `bytes` and returns the position of the first byte after which all bits of `mask`
    /// are 0 in it.
    ///
    /// Returns `None` if there is no such byte; `hash` is then the state to continue with. Otherwise `hash`
    /// is unspecified.
    pub(super) fn find(self, gear: &[u64; 256], mask: u64, hash: &mut u64, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Scalar => scalar::find(gear, mask, hash, bytes),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(kernel) => kernel.find(gear, mask, hash, bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use fastcdc::v2020::{MASKS, get_gear_with_seed};
    use proptest::prelude::*;

    use super::*;
    use crate::ErrorCode;

    /// Implements the definition: returns the first position at which the hash passes, and the hash at the
    /// end.
    fn naive(gear: &[u64; 256], mask: u64, mut hash: u64, bytes: &[u8]) -> (Option<usize>, u64) {
        for (i, &byte) in bytes.iter().enumerate() {
            hash = hash.wrapping_mul(2).wrapping_add(gear[usize::from(byte)]);
            if hash & mask == 0 {
                return (Some(i), hash);
            }
        }
        (None, hash)
    }

    /// Checks every position that each kernel finds in `bytes`, split into pieces, against the definition.
    fn check_kernels(seed: u64, mask: u64, bytes: &[u8], pieces: &[usize]) {
        let gear = get_gear_with_seed(seed).0;
        let gear: &[u64; 256] = gear.as_ref().try_into().unwrap();
        for kernel in Kernel::available() {
            let mut hash = 0;
            let mut rest = bytes;
            let mut sizes = pieces.iter().copied().cycle();
            while !rest.is_empty() {
                let size = sizes.next().unwrap_or(rest.len()).clamp(1, rest.len());
                let (found, after) = naive(gear, mask, hash, &rest[..size]);
                assert_eq!(
                    kernel.find(gear, mask, &mut hash, &rest[..size]),
                    found,
                    "{} finds something else with mask {mask:#x}",
                    kernel.name()
                );
                match found {
                    None => {
                        assert_eq!(hash, after, "{} goes on with another hash", kernel.name());
                        rest = &rest[size..];
                    }
                    // A chunk ends; the next one starts with a hash of 0.
                    Some(at) => {
                        hash = 0;
                        rest = &rest[at + 1..];
                    }
                }
            }
        }
    }

    /// Generates random bytes, words of text, or a short period; some inputs contain a run of zeros.
    fn inputs() -> impl Strategy<Value = Vec<u8>> {
        let random = prop::collection::vec(any::<u8>(), 0..40_000);
        let text =
            prop::collection::vec("[a-z]{1,9} ", 1..4_000).prop_map(|words| words.concat().into_bytes());
        let period = (prop::collection::vec(any::<u8>(), 1..=64), 0..80_000usize)
            .prop_map(|(period, length)| period.into_iter().cycle().take(length).collect());
        let zeros =
            (prop::collection::vec(any::<u8>(), 0..10_000), 0..40_000usize).prop_map(|(mut bytes, zeros)| {
                let end = bytes.split_off(bytes.len() / 2);
                bytes.resize(bytes.len() + zeros, 0);
                bytes.extend(end);
                bytes
            });
        prop_oneof![random, text, period, zeros]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn every_kernel_matches_the_definition(
            bytes in inputs(),
            seed in prop_oneof![Just(0), any::<u64>()],
            mask in prop_oneof![
                8 => prop::sample::select(MASKS[5..].to_vec()),
                1 => any::<u64>(),
                // Few mask bits in total, and many false candidates.
                2 => (any::<u32>(), any::<u32>()).prop_map(|(a, b)| u64::from(a & b) | 0xffff << 32),
            ],
            skip in 0..64usize,
            pieces in prop::collection::vec(prop_oneof![1..200usize, 1_000..70_000usize], 0..5),
        ) {
            check_kernels(seed, mask, &bytes[skip.min(bytes.len())..], &pieces);
        }
    }

    #[test]
    fn every_kernel_matches_the_definition_on_short_periods() {
        for period in 1..=64u8 {
            let bytes: Vec<_> =
                (0..period).map(|i| i.wrapping_mul(37) ^ period).cycle().take(70_000).collect();
            for mask in &MASKS[15..] {
                check_kernels(0, *mask, &bytes, &[]);
                check_kernels(0, *mask, &bytes, &[1, 32 << 10]);
            }
        }
    }

    /// Tests two gear tables: an entry of 0 makes every hash 0 after 64 bytes, and an entry of 1 << 32 passes
    /// a filter on the low half at every position but no whole hash.
    #[test]
    fn every_kernel_handles_candidates_at_every_position() {
        let mut gear = [0u64; 256];
        gear[1] = 1 << 32;
        for byte in [0, 1] {
            let bytes = vec![byte; 40_000];
            for kernel in Kernel::available() {
                for mask in [0x0000_d917_4753_7000, 0xffff_ffff_ffff_ffff] {
                    let mut hash = 3;
                    let (found, after) = naive(&gear, mask, 3, &bytes);
                    assert_eq!(kernel.find(&gear, mask, &mut hash, &bytes), found, "{}", kernel.name());
                    assert!(found.is_some() || hash == after);
                }
            }
        }
    }

    /// Plants a hit at each of two positions; the earlier one must win.
    #[test]
    fn the_first_hit_in_input_order_wins() {
        // The byte 0 only doubles the hash; after any other byte the hash is far from passing.
        let mut gear = [u64::MAX >> 3; 256];
        gear[0] = 0;
        let mask = 0x0000_d917_4753_7000;
        let length = 32 << 10;
        for first in [0usize, 46, 47, 63, 64, 2_031, 2_032, 2_047, 2_048, 9_999, 20_000, 32_600] {
            for second in [47usize, 64, 1_000, 2_050, 4_100, 16_383, 30_001, 32_704] {
                let mut bytes = vec![7; length];
                for start in [first, second] {
                    bytes[start.min(length - 64)..][..64].fill(0);
                }
                let gear_of = &gear;
                for kernel in Kernel::available() {
                    let mut hash = 0x0123_4567_89ab_cdef;
                    let (found, _) = naive(gear_of, mask, hash, &bytes);
                    assert!(found.is_some());
                    assert_eq!(kernel.find(gear_of, mask, &mut hash, &bytes), found, "{}", kernel.name());
                }
            }
        }
    }

    #[test]
    fn a_kernel_is_selected_by_its_exact_name() {
        for kernel in Kernel::available() {
            assert_eq!(Kernel::select(Some(kernel.name().as_ref())), Ok(kernel));
        }
        assert_eq!(Kernel::select(None), Ok(Kernel::available()[0]));
        let error = Kernel::select(Some("abacus".as_ref())).unwrap_err();
        assert_eq!(error.code(), "invalid_options");
        assert_eq!((error.option, error.value), (VARIABLE, "abacus".to_string().into()));
        assert!(error.allowed.contains("scalar"));
    }
}
