//! Poly1305, the fallback that needs no special CPU instructions.
//!
//! RFC 8439, section 2.5: the blocks of 16 bytes are the coefficients of a polynomial over the integers
//! modulo 2^130 - 5. The fingerprint is the lower 128 bits of its value at a secret point. Two contents of
//! the same length of `n` blocks have the same fingerprint with a probability of at most `8 * n * 2^-106` (D.
//! J. Bernstein, "The Poly1305-AES message-authentication code", 2005, theorem 3.3). The last block is padded
//! with zeros, so the bound holds only for equal lengths.

use block_buffer::EagerBuffer;
use poly1305::Poly1305;
use poly1305::universal_hash::consts::U16;
use poly1305::universal_hash::{KeyInit, UniversalHash};

use super::fingerprint::Fingerprint;

/// The secret point and the secret summand, with values precomputed from them.
pub(super) struct Params(Box<Poly1305>);

impl Params {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self(Box::new(Poly1305::new(key.into())))
    }

    pub(super) fn start(&self) -> Fingerprinting {
        Fingerprinting { state: self.0.clone(), rest: EagerBuffer::default() }
    }
}

pub(super) struct Fingerprinting {
    state: Box<Poly1305>,
    /// The beginning of an incomplete block.
    rest: EagerBuffer<U16>,
}

impl Fingerprinting {
    pub(super) fn update(&mut self, data: &[u8]) {
        self.rest.digest_blocks(data, |blocks| self.state.update(blocks));
    }

    pub(super) fn finish(mut self) -> Fingerprint {
        if self.rest.get_pos() > 0 {
            self.state.update(&[self.rest.pad_with_zeros()]);
        }
        let value = u128::from_le_bytes((*self.state).finalize().into());
        Fingerprint([value as u64, (value >> 64) as u64])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the vectors of RFC 8439, appendix A.3, that consist of whole blocks: the hard cases of the
    /// modulus.
    #[test]
    fn poly1305_matches_the_vectors_of_the_rfc_in_any_pieces() {
        let with = |first: u8, rest: u8| [vec![first], vec![rest; 15]].concat();
        let cases = [
            ((2, 0), vec![vec![0xff; 16]], with(3, 0)),
            ((2, 0xff), vec![with(2, 0)], with(3, 0)),
            ((1, 0), vec![vec![0xff; 16], with(0xf0, 0xff), with(0x11, 0)], with(5, 0)),
            ((1, 0), vec![vec![0xff; 16], with(0xfb, 0xfe), vec![1; 16]], vec![0; 16]),
            ((2, 0), vec![with(0xfd, 0xff)], with(0xfa, 0xff)),
        ];
        for ((point, added), blocks, expected) in cases {
            let mut key = [added; 32];
            key[..16].copy_from_slice(&with(point, 0));
            let params = Params::new(&key);
            let data = blocks.concat();
            for cut in 0..=data.len() {
                let mut fingerprinting = params.start();
                fingerprinting.update(&data[..cut]);
                fingerprinting.update(&data[cut..]);
                let Fingerprint([low, high]) = fingerprinting.finish();
                assert_eq!([low.to_le_bytes(), high.to_le_bytes()].concat(), expected);
            }
        }
    }
}
