//! The scan kernel for x86-64 with AVX-512 and VBMI, as server CPUs have it since Ice Lake and Zen 4.
//!
//! Sixteen strips of the input are scanned at once, each in a 32-bit lane of one register. A lane holds the low half of the
//! gear hash, which the last 32 bytes determine; so each strip but the first is warmed up with the 32 bytes before it.
//! Bytes are looked up in the gear table by permutations: four planes of it, one for each byte of the low half, are in
//! registers.
//!
//! What the low half of the mask lets pass is only a candidate: its whole hash is computed from the bytes before it. The
//! strips go forward in lockstep, so that what is found first need not come first in the input. So a block of the input is
//! scanned to its end, and then the first candidate in the order of the input that proves true is looked for.

use std::arch::x86_64::*;

use super::{GEAR_WINDOW, prefetch, scalar};

/// How many strips are scanned at once.
const STRIPS: usize = 16;

/// How many bytes of each strip are taken at once.
const STEP: usize = 16;

/// How many bytes determine the low half of a hash.
const WARM_UP: usize = 32;

/// What is scanned at once, in bytes: with more, too much is scanned in vain behind a cut point, and with less, warming up
/// takes too large a part.
const LONGEST_BLOCK: usize = 32 << 10;
const SHORTEST_BLOCK: usize = 2 << 10;

/// With as many bits in a mask, a chunk is so long that it does not matter how the scan of it begins.
const LONG_CHUNKS: u32 = 20;

/// With fewer bits in the low half of a mask there are more candidates than checking them is worth.
const FEWEST_BITS: u32 = 9;

/// Proof that the CPU has what this kernel is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cdc) struct Avx512(());

impl Avx512 {
    /// `None` where the CPU lacks a feature.
    pub(super) fn new() -> Option<Self> {
        (is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vbmi"))
        .then_some(Self(()))
    }

    /// The same as [`scalar::find`].
    pub(super) fn find(self, gear: &[u64; 256], mask: u64, hash: &mut u64, bytes: &[u8]) -> Option<usize> {
        if (mask as u32).count_ones() < FEWEST_BITS || bytes.len() < SHORTEST_BLOCK {
            return scalar::find(gear, mask, hash, bytes);
        }
        #[expect(unsafe_code, reason = "a scan kernel: a function compiled for features of the CPU")]
        // SAFETY: a value of this type is only made where the CPU has the features that the function is compiled for.
        unsafe {
            find(gear, mask, hash, bytes)
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
fn find(gear: &[u64; 256], mask: u64, hash: &mut u64, bytes: &[u8]) -> Option<usize> {
    let planes = Planes::new(gear);
    let longest = block_length(mask);
    // At the start of a chunk, where the hash is 0, a cut point may be near, whatever the mask says: a row of such chunks must
    // not cost a long block each. Where chunks are short, blocks are too, and to begin with shorter ones costs more than that.
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
            Found::Nothing => {
                *hash = Exact { mask: u64::MAX, ..exact }.at(block.len() - 1);
                done += block.len();
            }
            Found::At(position) => return Some(done + position),
            Found::TooMany => match scalar::find(gear, mask, hash, block) {
                None => done += block.len(),
                Some(position) => return Some(done + position),
            },
        }
    }
    scalar::find(gear, mask, hash, &bytes[done..]).map(|position| done + position)
}

/// How much is scanned at once. Half a block is scanned in vain behind each cut point, and each block costs as much as a
/// kilobyte of scanning, so the best length is about the root of two kilobytes by the distance of cut points.
fn block_length(mask: u64) -> usize {
    (1usize << ((11 + mask.count_ones()) / 2).min(20)).clamp(SHORTEST_BLOCK, LONGEST_BLOCK)
}

enum Found {
    Nothing,
    /// The first position in the block that passes.
    At(usize),
    /// Candidates that are none, so many that checking them takes longer than to scan byte after byte.
    TooMany,
}

/// What it takes to compute a hash at any position of a block.
struct Exact<'a> {
    gear: &'a [u64; 256],
    mask: u64,
    /// At the start of the block.
    hash: u64,
    bytes: &'a [u8],
}

impl Exact<'_> {
    /// The bits of the hash up to the highest of the mask, after the byte at `position`.
    #[inline]
    fn at(&self, position: usize) -> u64 {
        let reach = (u64::BITS - self.mask.leading_zeros()) as usize;
        let (hash, from) = match (position + 1).checked_sub(reach) {
            Some(from) => (0, from),
            None => (self.hash, 0),
        };
        let bytes = &self.bytes[from..=position];
        // Two chains, which the CPU computes at the same time.
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

    /// The hash after so many bytes, whatever came before: [`at`](Self::at), with the length known to the compiler.
    #[inline]
    fn of(&self, bytes: &[u8; GEAR_WINDOW]) -> u64 {
        let roll = |hash: u64, &byte: &u8| (hash << 1).wrapping_add(self.gear[usize::from(byte)]);
        let (left, right) = bytes.split_at(GEAR_WINDOW / 2);
        (left.iter().fold(0, roll) << right.len()).wrapping_add(right.iter().fold(0, roll))
    }

    /// Checks the candidates among the positions of `strip` bytes in each strip.
    fn check(&self, notes: &[Note], strip: usize) -> Found {
        let candidates: u32 = notes.iter().map(|note| note.passing.count_ones()).sum();
        if candidates as usize > 8 + self.bytes.len() / 128 {
            return Found::TooMany;
        }
        let mut first = usize::MAX;
        for note in notes {
            let mut passing = note.passing;
            while passing != 0 {
                let bit = passing.trailing_zeros() as usize;
                passing &= passing - 1;
                let position = bit % STRIPS * strip + note.at + bit / STRIPS;
                if position < first && self.passes(position) {
                    first = position;
                }
            }
        }
        if first == usize::MAX { Found::Nothing } else { Found::At(first) }
    }
}

/// What the low half lets pass: of the four positions from `at` on in each strip, strip by strip those after the first byte,
/// then those after the second, and so on.
#[derive(Clone, Copy)]
struct Note {
    at: usize,
    passing: u64,
}

/// The low half of a gear table: for each of its four bytes a table of 256, a quarter in each register.
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

    /// Each byte's entry in each plane.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    fn look_up(&self, bytes: __m512i) -> [__m512i; 4] {
        let high = _mm512_movepi8_mask(bytes);
        // A permutation of two registers reaches 128 entries. Where the first one is masked out it leaves the byte itself,
        // for the second one to look up.
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
    // SAFETY: the reference is to 64 bytes, and the load needs no alignment.
    unsafe {
        _mm512_loadu_si512(bytes.as_ptr().cast())
    }
}

/// The next bytes of all strips: 16 each, where strip `i` has them at `first + i * strip`. Strip `4 * i + j` is in the `i`th
/// 128 bits of register `j`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn gather(bytes: &[u8], first: usize, strip: usize) -> [__m512i; 4] {
    assert!(first + (STRIPS - 1) * strip + STEP <= bytes.len());
    let at = |i: usize| {
        #[expect(unsafe_code, reason = "a scan kernel: loads whose bounds are checked all at once")]
        // SAFETY: `i` is below `STRIPS`, so that the 16 bytes lie within the slice, as was asserted. The load needs no
        // alignment.
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

/// Within each 128 bits, of four registers with 16 bytes of a strip each: the first four bytes of the four strips, byte by
/// byte, then the next four, and so on.
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

/// The hashes of all strips after each of four more bytes.
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

/// Scans a block of 16 strips; `strip` is a multiple of 16, at least 32 and at most a sixteenth of [`LONGEST_BLOCK`].
///
/// Candidates are noted without a branch, which the CPU would guess wrong each time, and checked at the end.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
fn scan(planes: &Planes, exact: &Exact<'_>, strip: usize) -> Found {
    let bytes = exact.bytes;
    let mask = _mm512_set1_epi32(exact.mask as i32);
    // The strips from the second on are warmed up. The bytes before the first one are in the hash that it begins with.
    let mut hashes = _mm512_setzero_si512();
    for from in (0..WARM_UP).step_by(STEP) {
        // Each lane gets the end of its own strip, for the next lane to go on with.
        let shifted = gather(bytes, strip - WARM_UP + from, strip);
        for four in transpose(shifted) {
            hashes = roll(planes, hashes, four)[3];
        }
    }
    hashes = _mm512_mask_set1_epi32(_mm512_alignr_epi32::<15>(hashes, hashes), 1, exact.hash as i32);

    let mut notes = [Note { at: 0, passing: 0 }; LONGEST_BLOCK / STRIPS / 4];
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
            notes[count] = Note { at: from + 4 * i, passing };
            count += usize::from(passing != 0);
        }
    }
    exact.check(&notes[..count], strip)
}
