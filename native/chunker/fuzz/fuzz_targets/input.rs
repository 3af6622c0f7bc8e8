//! Interprets the fuzzer's bytes for several targets.
#![allow(dead_code, reason = "each target uses what it needs")]

use chunker::cdc::Options;
use libfuzzer_sys::arbitrary::{self, Arbitrary};

/// Chunking options, all of them in range. Small averages give many chunks of little data; only the masks of
/// larger ones have enough bits for the vector kernels.
#[derive(Debug, Arbitrary)]
pub struct Sizes {
    min: u16,
    scale: u8,
    more: u16,
    most: u16,
    normalization: u8,
    seed: u64,
    keyed: bool,
}

impl Sizes {
    pub fn options(&self) -> Options {
        let avg_size = (256 << (self.scale % 11)) + u64::from(self.more % 4096);
        let min_size = 64 + u64::from(self.min) % (avg_size - 63);
        let max_size = (avg_size + 4 * u64::from(self.most)).max(1024);
        let seed = if self.keyed { self.seed } else { 0 };
        Options { min_size, avg_size, max_size, normalization: u64::from(self.normalization % 4), seed }
    }
}

/// The sizes of the pieces of an input, in rotation.
#[derive(Debug, Arbitrary)]
pub struct Pieces(Vec<u16>);

impl Pieces {
    pub fn of<'a>(&self, mut data: &'a [u8]) -> Vec<&'a [u8]> {
        let mut pieces = Vec::new();
        let mut sizes = self.0.iter().map(|&size| usize::from(size)).cycle();
        while !data.is_empty() {
            // Empty pieces are included, but never two in a row, so that the loop ends.
            let size = sizes.next().unwrap_or(data.len());
            let size =
                if size == 0 && pieces.last().is_some_and(|last: &&[u8]| last.is_empty()) { 1 } else { size };
            let (piece, rest) = data.split_at(size.min(data.len()));
            pieces.push(piece);
            data = rest;
        }
        pieces
    }
}

/// A pseudorandom number generator seeded with the data, for targets whose inputs are files of a format:
/// these have no room for other parameters, and a run must be reproducible.
pub struct Chance(u64);

impl Chance {
    pub fn of(data: &[u8]) -> Self {
        // FNV-1a.
        Self(data.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        }))
    }

    /// Returns the next number (SplitMix64).
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns pieces of at most one byte, of a few, or of many.
    pub fn pieces(&mut self) -> Pieces {
        let most = [2, 9, 100, 5000][(self.number() % 4) as usize];
        Pieces((0..16).map(|_| (self.number() % most) as u16).collect())
    }
}

/// Repeats the data up to 1 MiB, with small differences unless it is to be periodic.
pub fn stretch(data: &[u8], repeats: u8) -> Vec<u8> {
    let times = usize::from(repeats).min((1 << 20) / data.len().max(1)).max(1);
    let periodic = repeats.is_multiple_of(2);
    let mut all = Vec::with_capacity(data.len() * times);
    for time in 0..times {
        let change = if periodic { 0 } else { (time as u8).wrapping_mul(37) };
        all.extend(data.iter().map(|byte| byte ^ change));
    }
    all
}
