//! Every scan kernel, fed in pieces, finds the cut points of the definition and of crate `fastcdc`.
#![no_main]

mod input;

use chunker::cdc::{CdcParams, Options, Scanner, kernels};
use fastcdc::v2020::{FastCDC, Normalization, get_gear_with_seed, select_masks};
use input::{Pieces, Sizes, stretch};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Case {
    sizes: Sizes,
    pieces: Pieces,
    /// Short data is repeated, because the shortest chunk has 64 bytes.
    repeats: u8,
    data: Vec<u8>,
}

fuzz_target!(|case: Case| {
    let options = case.sizes.options();
    let data = stretch(&case.data, case.repeats);
    let expected = crate_lengths(&data, &options);
    assert_eq!(naive_lengths(&data, &options), expected, "the definition and the crate differ");
    let cutter = CdcParams::new(&options).expect("the options are in range");
    for name in kernels() {
        let cutter = cutter.clone().with_kernel(name).expect("the kernel is there");
        let mut scanner = Scanner::new(cutter);
        let mut lengths = Vec::new();
        for mut piece in case.pieces.of(&data) {
            while let Some(cut) = scanner.feed(piece) {
                piece = &piece[cut.consumed..];
                lengths.push(cut.length);
            }
        }
        lengths.extend(scanner.finish());
        assert_eq!(lengths, expected, "kernel {name} with {options:?}");
    }
});

const LEVELS: [Normalization; 4] =
    [Normalization::Level0, Normalization::Level1, Normalization::Level2, Normalization::Level3];

fn crate_lengths(data: &[u8], options: &Options) -> Vec<usize> {
    let [min, avg, max] = [options.min_size, options.avg_size, options.max_size].map(|size| size as usize);
    let level = LEVELS[options.normalization as usize];
    FastCDC::with_level_and_seed(data, min, avg, max, level, options.seed).map(|chunk| chunk.length).collect()
}

/// Implements the definition in the paper, with positions tested in pairs as in the crate.
fn naive_lengths(mut data: &[u8], options: &Options) -> Vec<usize> {
    let [min, avg, max] = [options.min_size, options.avg_size, options.max_size].map(|size| size as usize);
    let (strict, loose) = select_masks(avg, LEVELS[options.normalization as usize]);
    let gear = get_gear_with_seed(options.seed).0;
    let mut lengths = Vec::new();
    while !data.is_empty() {
        let longest = data.len().min(max);
        let mut length = longest;
        let mut hash = 0u64;
        // A chunk without a cut point has the maximum length. The last position of an odd stretch is not
        // tested.
        let end = if data.len() <= min { 0 } else { longest & !1 };
        for (position, &byte) in data[..end].iter().enumerate().skip(min & !1) {
            hash = (hash << 1).wrapping_add(gear[usize::from(byte)]);
            let mask = if position < (avg & !1) { strict } else { loose };
            if hash & mask == 0 {
                length = position;
                break;
            }
        }
        lengths.push(length);
        data = &data[length..];
    }
    lengths
}
