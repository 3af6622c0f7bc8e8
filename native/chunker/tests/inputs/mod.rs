//! Inputs for tests: bytes of several kinds, and a reader that gives them in an awkward way.

use std::io::{Error, ErrorKind, Read, Result};

use proptest::prelude::*;

/// `length` bytes that look random and depend on `seed` only (SplitMix64).
pub(crate) fn random(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend((mixed ^ (mixed >> 31)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Up to `most` bytes: random, text-like (few values), of a short period, or all this after each other.
pub(crate) fn any_bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![0..=200usize, 0..=most / 50, 0..=most];
    (length, any::<u64>(), 0..4u8, 1..65usize).prop_map(|(length, seed, kind, period)| {
        let noise = random(seed, length);
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

/// Gives what it has in pieces of the given sizes, again and again, and is interrupted before each.
pub(crate) struct Stingy<'a> {
    rest: &'a [u8],
    sizes: Vec<usize>,
    calls: usize,
}

impl<'a> Stingy<'a> {
    pub(crate) fn new(bytes: &'a [u8], sizes: &[usize]) -> Self {
        Self { rest: bytes, sizes: sizes.to_vec(), calls: 0 }
    }
}

impl Read for Stingy<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.calls += 1;
        if self.calls.is_multiple_of(2) {
            return Err(Error::from(ErrorKind::Interrupted));
        }
        let size = self.sizes[self.calls / 2 % self.sizes.len()].max(1);
        let count = size.min(buffer.len()).min(self.rest.len());
        buffer[..count].copy_from_slice(&self.rest[..count]);
        self.rest = &self.rest[count..];
        Ok(count)
    }
}
