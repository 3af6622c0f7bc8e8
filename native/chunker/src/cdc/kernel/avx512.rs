//! The scan kernel for x86-64 with AVX-512 and VBMI, which server CPUs have since Ice Lake and Zen 4.
//!
//! Sixteen strips of the input are scanned at once, each in a 32-bit lane of one register. A lane holds the
//! low half of the gear hash, which the last 32 bytes determine; each strip except the first is therefore
//! warmed up with the 32 bytes before it. Gear table lookups are permutations: the table is split into four
//! planes, one for each byte of the low half, which stay in registers.
//!
//! A position that passes the low half of the mask is only a candidate: its whole hash is computed from the
//! bytes before it. The strips advance in lockstep, so the first candidate found need not be the first in the
//! input. A block is therefore scanned to its end before its candidates are checked, and the first true one
//! in input order wins.

use std::arch::x86_64::*;

use super::{prefetch, scalar};
use crate::cdc::gear::GEAR_WINDOW;

/// The number of strips scanned at once.
const STRIPS: usize = 16;

/// The number of bytes loaded from each strip at once.
const STEP: usize = 16;

/// The number of bytes that determine the low half of a hash.
const WARM_UP: usize = 32;

/// The most and the fewest bytes scanned at once. A longer block wastes more scanning after a cut point; in a
/// shorter block, the warm-up takes too large a share.
const LONGEST_BLOCK: usize = 32 << 10;
const SHORTEST_BLOCK: usize = 2 << 10;

/// The fewest mask bits for which chunks are so long that the block size at their start is insignificant.
const LONG_CHUNKS: u32 = 20;

/// The fewest bits in the low half of a mask for which this kernel is used. With fewer, there are too many
/// candidates to check.
const FEWEST_BITS: u32 = 9;

/// Proves that the CPU has the features that this kernel needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cdc) struct Avx512(());

impl Avx512 {
    /// Returns `None` if the CPU lacks a feature.
    pub(super) fn new() -> Option<Self> {
        (is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vbmi"))
        .then_some(Self(()))
    }

    /// Returns the same as [`scalar::find`].
    pub(super) fn find(self, gear: &[u64; 256], mask: u64, hash: &mut u64, bytes: &[u8]) -> Option<usize> {
        if (mask as u32).count_ones() < FEWEST_BITS || bytes.len() < SHORTEST_BLOCK {
            return scalar::find(gear, mask, hash, bytes);
        }
        #[expect(unsafe_code, reason = "a scan kernel: a function compiled for features of the CPU")]
        // SAFETY: `new` creates a value of this type only if the CPU has the features that the function is
        // compiled for.
        unsafe {
            find(gear, mask, hash, bytes)
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
fn find(gear: &[u64; 256], mask: u64, hash: &mut u64, bytes: &[u8]) -> Option<usize> {
    let planes = Planes::new(gear);
    let longest = block_length(mask);
    // At the start of a chunk, where the hash is 0, a cut point may be near even if the mask has many bits.
    // Start with short blocks, so that a run of short chunks does not cost a long block each. If the mask has
    // few bits, blocks are short anyway, and starting even shorter costs more than it saves.
    let begins = *hash == 0 && mask.count_ones() >= LONG_CHUNKS;
    let mut length = if begins { SHORTEST_BLOCK } else { longest };
    let mut done = 0;
    while bytes.len() - done >= SHORTEST_BLOCK {
        let block = &bytes[done..];
        let block = &block[..block.len().min(length)];
        length = (2 * length).min(longest);
        let strip = block.len() / (STRIPS * STEP) * STEP;
        let block = &block[..strip * STRIPS];
        let exact = Exact { gear, mask, hash: *hash, bytes: block };
        match scan(&planes, &exact, strip) {
            ScanResult::Nothing => {
                *hash = Exact { mask: u64::MAX, ..exact }.at(block.len() - 1);
                done += block.len();
            }
            ScanResult::At(position) => return Some(done + position),
            ScanResult::TooMany => match scalar::find(gear, mask, hash, block) {
                None => done += block.len(),
                Some(position) => return Some(done + position),
            },
        }
    }
    scalar::find(gear, mask, hash, &bytes[done..]).map(|position| done + position)
}

/// Returns the number of bytes to scan at once. Half a block is wasted after each cut point, and each block
/// has a fixed cost of about 1 KiB of scanning, so the best length is about the square root of 2 KiB times
/// the distance of cut points.
fn block_length(mask: u64) -> usize {
    (1usize << ((11 + mask.count_ones()) / 2).min(20)).clamp(SHORTEST_BLOCK, LONGEST_BLOCK)
}

enum ScanResult {
    Nothing,
    /// The first position in the block that passes.
    At(usize),
    /// So many false candidates that checking them takes longer than a byte-by-byte scan.
    TooMany,
}

/// Computes the whole hash at any position of a block.
struct Exact<'a> {
    gear: &'a [u64; 256],
    mask: u64,
    /// The hash at the start of the block.
    hash: u64,
    bytes: &'a [u8],
}

impl Exact<'_> {
    /// Returns the hash after the byte at `position`, up to the highest bit of the mask.
    #[inline]
    fn at(&self, position: usize) -> u64 {
        let reach = (u64::BITS - self.mask.leading_zeros()) as usize;
        let (hash, from) = match (position + 1).checked_sub(reach) {
            Some(from) => (0, from),
            None => (self.hash, 0),
        };
        let bytes = &self.bytes[from..=position];
        // Two independent dependency chains, which the CPU runs in parallel.
        let (left, right) = bytes.split_at(bytes.len() / 2);
        let roll = |hash: u64, &byte: &u8| (hash << 1).wrapping_add(self.gear[usize::from(byte)]);
        let left_hash = left.iter().fold(hash, roll);
        let right_hash = right.iter().fold(0, roll);
        (left_hash << right.len()).wrapping_add(right_hash)
    }

    fn passes(&self, position: usize) -> bool {
        let hash =
            match position.checked_sub(GEAR_WINDOW - 1).and_then(|from| self.bytes[from..].first_chunk()) {
                Some(bytes) if self.mask >> GEAR_WINDOW == 0 => self.of(bytes),
                _ => self.at(position),
            };
        hash & self.mask == 0
    }

    /// Returns the hash after [`GEAR_WINDOW`] bytes, like [`at`](Self::at) but with a length known at compile
    /// time.
    #[inline]
    fn of(&self, bytes: &[u8; GEAR_WINDOW]) -> u64 {
        let roll = |hash: u64, &byte: &u8| (hash << 1).wrapping_add(self.gear[usize::from(byte)]);
        let (left, right) = bytes.split_at(GEAR_WINDOW / 2);
        (left.iter().fold(0, roll) << right.len()).wrapping_add(right.iter().fold(0, roll))
    }

    /// Checks the candidates. `strip` is the length of a strip, in bytes.
    fn check(&self, groups: &[PassingGroup], strip: usize) -> ScanResult {
        let candidates: u32 = groups.iter().map(|group| group.passing.count_ones()).sum();
        if candidates as usize > 8 + self.bytes.len() / 128 {
            return ScanResult::TooMany;
        }
        let mut first = usize::MAX;
        for group in groups {
            let mut passing = group.passing;
            while passing != 0 {
                let bit = passing.trailing_zeros() as usize;
                passing &= passing - 1;
                let position = bit % STRIPS * strip + group.at + bit / STRIPS;
                if position < first && self.passes(position) {
                    first = position;
                }
            }
        }
        if first == usize::MAX { ScanResult::Nothing } else { ScanResult::At(first) }
    }
}

/// The candidates among the four positions of each strip from `at` on. The low 16 bits of `passing` are the
/// first position of each strip, the next 16 bits the second, and so on.
#[derive(Clone, Copy)]
struct PassingGroup {
    at: usize,
    passing: u64,
}

/// The low half of a gear table: a table of 256 bytes for each of its four bytes, split over four registers.
struct Planes([[__m512i; 4]; 4]);

impl Planes {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    fn new(gear: &[u64; 256]) -> Self {
        let mut bytes = [[0u8; 256]; 4];
        for (i, plane) in bytes.iter_mut().enumerate() {
            for (byte, entry) in plane.iter_mut().zip(gear) {
                *byte = (entry >> (8 * i)) as u8;
            }
        }
        Self(bytes.map(|plane| {
            let (quarters, _) = plane.as_chunks::<64>();
            [load(&quarters[0]), load(&quarters[1]), load(&quarters[2]), load(&quarters[3])]
        }))
    }

    /// Looks up each byte in each plane.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    fn look_up(&self, bytes: __m512i) -> [__m512i; 4] {
        let high = _mm512_movepi8_mask(bytes);
        // A permutation of two registers selects from 128 entries. The first one is masked to the bytes below
        // 128 and copies the others, which the second one then looks up.
        self.0.map(|[a, b, c, d]| {
            let low = _mm512_mask2_permutex2var_epi8(a, bytes, !high, b);
            _mm512_mask2_permutex2var_epi8(c, low, high, d)
        })
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(bytes: &[u8; 64]) -> __m512i {
    #[expect(unsafe_code, reason = "a scan kernel: the intrinsic takes a pointer")]
    // SAFETY: the reference is to 64 bytes, and the load is unaligned.
    unsafe {
        _mm512_loadu_si512(bytes.as_ptr().cast())
    }
}

/// Loads the next 16 bytes of every strip; those of strip `i` start at `first + i * strip`. Strip `4 * i + j`
/// goes into the `i`th 128-bit lane of register `j`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn gather(bytes: &[u8], first: usize, strip: usize) -> [__m512i; 4] {
    assert!(first + (STRIPS - 1) * strip + STEP <= bytes.len());
    let at = |i: usize| {
        #[expect(unsafe_code, reason = "a scan kernel: loads whose bounds are checked all at once")]
        // SAFETY: `i` is below `STRIPS`, so the 16 bytes lie within the slice, as asserted above. The load is
        // unaligned.
        unsafe {
            _mm_loadu_si128(bytes.as_ptr().add(first + i * strip).cast())
        }
    };
    [0, 1, 2, 3].map(|j| {
        let register = _mm512_castsi128_si512(at(j));
        let register = _mm512_inserti32x4::<1>(register, at(4 + j));
        let register = _mm512_inserti32x4::<2>(register, at(8 + j));
        _mm512_inserti32x4::<3>(register, at(12 + j))
    })
}

/// Transposes four registers within each 128-bit lane: the input holds 16 bytes of one strip per lane, the
/// output the first four bytes of the four strips, byte by byte, then the next four, and so on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn transpose([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
    let (ab_low, ab_high) = (_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b));
    let (cd_low, cd_high) = (_mm512_unpacklo_epi8(c, d), _mm512_unpackhi_epi8(c, d));
    [
        _mm512_unpacklo_epi16(ab_low, cd_low),
        _mm512_unpackhi_epi16(ab_low, cd_low),
        _mm512_unpacklo_epi16(ab_high, cd_high),
        _mm512_unpackhi_epi16(ab_high, cd_high),
    ]
}

/// Returns the hashes of all strips after each of the next four bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
fn roll(planes: &Planes, hashes: __m512i, bytes: __m512i) -> [__m512i; 4] {
    let [a, b, c, d] = planes.look_up(bytes);
    let (ab_low, ab_high) = (_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b));
    let (cd_low, cd_high) = (_mm512_unpacklo_epi8(c, d), _mm512_unpackhi_epi8(c, d));
    let step = |hashes: __m512i, gears: __m512i| _mm512_add_epi32(_mm512_add_epi32(hashes, hashes), gears);
    let first = step(hashes, _mm512_unpacklo_epi16(ab_low, cd_low));
    let second = step(first, _mm512_unpackhi_epi16(ab_low, cd_low));
    let third = step(second, _mm512_unpacklo_epi16(ab_high, cd_high));
    let fourth = step(third, _mm512_unpackhi_epi16(ab_high, cd_high));
    [first, second, third, fourth]
}

/// Scans a block of 16 strips. `strip` is a multiple of 16, at least 32 and at most a sixteenth of
/// [`LONGEST_BLOCK`].
///
/// Candidates are recorded without a branch, which the CPU would mispredict, and checked at the end.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
fn scan(planes: &Planes, exact: &Exact<'_>, strip: usize) -> ScanResult {
    let bytes = exact.bytes;
    let mask = _mm512_set1_epi32(exact.mask as i32);
    // Warms up the strips from the second on. The first strip starts with the hash at the start of the block,
    // which covers the bytes before it.
    let mut hashes = _mm512_setzero_si512();
    for from in (0..WARM_UP).step_by(STEP) {
        // Each lane hashes the end of its own strip; the alignr below moves the result to the next lane.
        let shifted = gather(bytes, strip - WARM_UP + from, strip);
        for four in transpose(shifted) {
            hashes = roll(planes, hashes, four)[3];
        }
    }
    hashes = _mm512_mask_set1_epi32(_mm512_alignr_epi32::<15>(hashes, hashes), 1, exact.hash as i32);

    let mut groups = [PassingGroup { at: 0, passing: 0 }; LONGEST_BLOCK / STRIPS / 4];
    let mut count = 0;
    for from in (0..strip).step_by(STEP) {
        for line in (0..STRIPS * STEP).step_by(64) {
            prefetch::line_behind(bytes, from * STRIPS + line);
        }
        for (i, four) in transpose(gather(bytes, from, strip)).into_iter().enumerate() {
            let rolled = roll(planes, hashes, four);
            hashes = rolled[3];
            let [a, b, c, d] = rolled.map(|hashes| _mm512_testn_epi32_mask(hashes, mask));
            let low = _mm512_kunpackw(u32::from(b), u32::from(a));
            let high = _mm512_kunpackw(u32::from(d), u32::from(c));
            let passing = _mm512_kunpackd(u64::from(high), u64::from(low));
            groups[count] = PassingGroup { at: from + 4 * i, passing };
            count += usize::from(passing != 0);
        }
    }
    exact.check(&groups[..count], strip)
}
