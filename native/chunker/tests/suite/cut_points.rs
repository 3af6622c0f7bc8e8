//! Cut points equal those of crate `fastcdc`, release 5 and older ones, for every option in range.

use std::io::{Error, ErrorKind, Read, Result};

use chunker::NEVER;
use chunker::cdc::{CdcParams, Options, Scanner};
use chunker::engine::workers::Workers;
use chunker::engine::{Chunk, Chunking};
use chunker::hash::Algorithm;
use fastcdc::v2020::{FastCDC, Normalization};
use proptest::prelude::*;

use crate::inputs;

/// Used where the algorithm does not matter.
const ANY: Algorithm = Algorithm::ALL[0];

fn level(options: &Options) -> Normalization {
    match options.normalization {
        0 => Normalization::Level0,
        1 => Normalization::Level1,
        2 => Normalization::Level2,
        _ => Normalization::Level3,
    }
}

/// Returns chunk lengths by release 5 of the crate.
fn reference(data: &[u8], options: &Options) -> Vec<usize> {
    let [min, avg, max] = [options.min_size, options.avg_size, options.max_size].map(|size| size as usize);
    FastCDC::with_level_and_seed(data, min, avg, max, level(options), options.seed)
        .map(|chunk| chunk.length)
        .collect()
}

/// Returns chunk lengths by release 4.0.1.
fn reference_4(data: &[u8], options: &Options) -> Vec<usize> {
    use fastcdc_4::v2020::{FastCDC, Normalization};
    let [min, avg, max] = [options.min_size, options.avg_size, options.max_size].map(|size| size as _);
    let level = [Normalization::Level0, Normalization::Level1, Normalization::Level2, Normalization::Level3]
        [options.normalization as usize];
    FastCDC::with_level_and_seed(data, min, avg, max, level, options.seed).map(|chunk| chunk.length).collect()
}

/// Returns chunk lengths by release 3.2.1.
fn reference_3(data: &[u8], options: &Options) -> Vec<usize> {
    use fastcdc_3::v2020::{FastCDC, Normalization};
    let [min, avg, max] = [options.min_size, options.avg_size, options.max_size].map(|size| size as _);
    let level = [Normalization::Level0, Normalization::Level1, Normalization::Level2, Normalization::Level3]
        [options.normalization as usize];
    FastCDC::with_level_and_seed(data, min, avg, max, level, options.seed).map(|chunk| chunk.length).collect()
}

fn scan_in_pieces(data: &[u8], options: &Options, pieces: &[usize]) -> Vec<usize> {
    let mut scanner = Scanner::new(CdcParams::new(options).unwrap());
    let mut lengths = Vec::new();
    let mut rest = data;
    let mut sizes = pieces.iter().copied().cycle();
    while !rest.is_empty() {
        let (mut piece, after) = rest.split_at(sizes.next().unwrap_or(rest.len()).clamp(1, rest.len()));
        rest = after;
        while let Some(cut) = scanner.feed(piece) {
            piece = &piece[cut.consumed..];
            lengths.push(cut.length);
        }
    }
    lengths.extend(scanner.finish());
    lengths
}

/// Returns the chunks of the data for the given lengths, with their hashes.
fn expected(data: &[u8], lengths: &[usize], algorithm: Algorithm) -> Vec<Chunk> {
    let mut offset = 0;
    lengths
        .iter()
        .map(|&length| {
            let hash = algorithm.hash(&data[offset..offset + length]);
            offset += length;
            Chunk { offset: (offset - length) as u64, length, hash }
        })
        .collect()
}

/// Checks each way to chunk `data`: in one slice, from a reader with reads of any size, and pushed in pieces.
fn check_all_ways(data: &[u8], options: &Options, pieces: &[usize], threads: usize, algorithm: Algorithm) {
    let lengths = reference(data, options);
    assert_eq!(lengths.iter().sum::<usize>(), data.len());
    assert_eq!(scan_in_pieces(data, options, &[usize::MAX]), lengths, "scanned whole, {options:?}");
    assert_eq!(scan_in_pieces(data, options, pieces), lengths, "scanned in pieces, {options:?}");

    let chunks = expected(data, &lengths, algorithm);
    let workers = Workers::shared(threads, crate::POOL).unwrap();
    let chunking = Chunking::new(CdcParams::new(options).unwrap(), workers, Chunk::hashed(algorithm));
    assert_eq!(chunking.slice(data, NEVER).unwrap(), chunks, "slice, {options:?}");

    let reader = ShortReads::new(data, pieces);
    assert_eq!(chunking.clone().reader(reader).all(NEVER).unwrap(), chunks, "reader, {options:?}");

    // Push, and copy the bytes of each chunk, so that their concatenation can be compared with the input.
    let cutter = CdcParams::new(options).unwrap();
    let with_bytes = Chunking::new(cutter, workers, move |chunk: &chunker::engine::ChunkBytes<'_>| {
        let mut bytes = vec![0; chunk.length];
        chunk.copy_to(&mut bytes);
        (Chunk::hashed(algorithm)(chunk), bytes)
    });
    let mut pushed = with_bytes.pieces();
    let mut results = Vec::new();
    let mut rest = data;
    for &size in pieces.iter().cycle() {
        let (piece, after) = rest.split_at(size.min(rest.len()));
        results.extend(pushed.push(piece, NEVER).unwrap());
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    results.extend(pushed.finish(NEVER).unwrap());
    let (got, bytes): (Vec<_>, Vec<_>) = results.into_iter().unzip();
    assert_eq!(got, chunks, "pushed, {options:?}");
    assert_eq!(bytes.concat(), data);
}

/// Generates up to `most` bytes: random, text-like (few values), of a short period, or all of these in
/// sequence.
fn any_bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![0..=200usize, 0..=most / 50, 0..=most];
    (length, any::<u64>(), 0..4u8, 1..65usize).prop_map(|(length, seed, kind, period)| {
        let noise = inputs::random(seed, length);
        let kind_of = |byte: u8| b"etaoin shrdlu"[usize::from(byte) % 13];
        match kind {
            0 => noise,
            1 => noise.into_iter().map(kind_of).collect(),
            2 => noise.iter().take(period).cycle().take(length).copied().collect(),
            _ => {
                let third = length / 3;
                let mut bytes = noise;
                bytes[..third].fill(0);
                bytes[third..2 * third].iter_mut().for_each(|byte| *byte = kind_of(*byte));
                bytes
            }
        }
    })
}

/// A reader that returns pieces of the given sizes in rotation, and is interrupted before each.
struct ShortReads {
    rest: std::io::Cursor<Vec<u8>>,
    sizes: Vec<usize>,
    calls: usize,
}

impl ShortReads {
    fn new(bytes: &[u8], sizes: &[usize]) -> Self {
        Self { rest: std::io::Cursor::new(bytes.to_vec()), sizes: sizes.to_vec(), calls: 0 }
    }
}

impl Read for ShortReads {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.calls += 1;
        if self.calls.is_multiple_of(2) {
            return Err(Error::from(ErrorKind::Interrupted));
        }
        let size = self.sizes[self.calls / 2 % self.sizes.len()].max(1);
        let count = size.min(buffer.len());
        self.rest.read(&mut buffer[..count])
    }
}

fn sizes_in_range() -> impl Strategy<Value = (u64, u64, u64)> {
    // Mostly small sizes, which give many chunks. The ends of the ranges are frequent.
    let min = prop_oneof![Just(64u64), Just(65), 64u64..2000, 64u64..=1_048_576];
    let avg = prop_oneof![Just(256u64), Just(257), 256u64..8000, 256u64..=4_194_304];
    let max = prop_oneof![Just(1024u64), Just(1025), 1024u64..20_000, 1024u64..=16_777_216];
    (min, avg, max).prop_map(|(min, avg, max)| {
        let avg = avg.max(min);
        (min, avg, max.max(avg))
    })
}

fn options() -> impl Strategy<Value = Options> {
    let seed = prop_oneof![Just(0), any::<u64>()];
    (sizes_in_range(), 0u64..=3, seed).prop_map(|((min_size, avg_size, max_size), normalization, seed)| {
        Options { min_size, avg_size, max_size, normalization, seed }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_way_cuts_where_the_crate_cuts(
        input in any_bytes(3 << 20),
        options in options(),
        pieces in proptest::collection::vec(prop_oneof![1usize..100, 1usize..300_000, Just(1 << 20)], 1..8),
        threads in 1usize..=4,
        sha in any::<bool>(),
    ) {
        let algorithm = Algorithm::ALL[usize::from(sha) % Algorithm::ALL.len()];
        // Tiny pieces of a large input slow the test without testing more.
        let least = input.len() / 5000;
        let pieces: Vec<usize> = pieces.into_iter().map(|size| size.max(least)).collect();
        check_all_ways(&input, &options, &pieces, threads, algorithm);
    }

    #[test]
    fn older_releases_of_the_crate_agree(input in any_bytes(1 << 20), options in options()) {
        let lengths = scan_in_pieces(&input, &options, &[usize::MAX]);
        prop_assert_eq!(&reference_3(&input, &options), &lengths);
        prop_assert_eq!(&reference_4(&input, &options), &lengths);
    }

    #[test]
    fn single_bytes_give_the_same_cut_points(input in any_bytes(30_000), options in options()) {
        prop_assert_eq!(scan_in_pieces(&input, &options, &[1]), reference(&input, &options));
    }
}

#[test]
fn lengths_around_the_size_options_match_the_crate() {
    for (min, avg, max) in [(64, 256, 1024), (65, 257, 1025), (1000, 2001, 4003), (1024, 1024, 1024)] {
        let options = Options { min_size: min, avg_size: avg, max_size: max, ..Options::default() };
        let data = inputs::random(1, 2 * max as usize + 2);
        for size in [min, avg, max, min + avg, 2 * max] {
            for length in size.saturating_sub(1)..=size + 1 {
                check_all_ways(&data[..length as usize], &options, &[1, 7], 2, ANY);
            }
        }
        for length in [0, 1, 2, 3, 63] {
            check_all_ways(&data[..length], &options, &[1, 7], 2, ANY);
        }
    }
}

#[test]
fn zeros_and_short_periods_match_the_crate() {
    let options = Options { min_size: 1000, avg_size: 4000, max_size: 16_001, ..Options::default() };
    check_all_ways(&[0; 100_000], &options, &[777], 3, ANY);
    for period in 1..=64 {
        let pattern = inputs::random(period as u64, period);
        let data: Vec<u8> = pattern.into_iter().cycle().take(60_000).collect();
        check_all_ways(&data, &options, &[4096, 1], 2, ANY);
    }
}

#[test]
fn a_cut_in_the_first_48_bytes_after_the_minimum_matches_the_crate() {
    // Random inputs under random seeds, until each of the first 48 positions has been a cut point.
    let mut missing: std::collections::BTreeSet<usize> = (512..560).collect();
    let spread = |seed: u64| seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut seed = 1;
    while !missing.is_empty() {
        assert!(seed < 2_000_000, "no input cuts at {missing:?}");
        let options = Options {
            min_size: 512,
            avg_size: 1024,
            max_size: 4096,
            seed: spread(seed),
            ..Options::default()
        };
        let data = inputs::random(seed, 640);
        let first = reference(&data, &options)[0];
        if missing.remove(&first) {
            check_all_ways(&data, &options, &[1, 511, 64], 2, ANY);
        }
        seed += 1;
    }
}

#[test]
fn default_options_on_a_large_input_match_the_crate() {
    let data = inputs::random(7, 48 << 20);
    for threads in [1, 2, 4] {
        check_all_ways(&data, &Options::default(), &[1 << 20, 3_000_001], threads, ANY);
    }
    let largest =
        Options { min_size: 1_048_576, avg_size: 4_194_304, max_size: 16_777_216, ..Options::default() };
    check_all_ways(&data, &largest, &[65_536], 2, ANY);
    check_all_ways(&vec![0; 40 << 20], &largest, &[5_000_000], 2, ANY);
}
