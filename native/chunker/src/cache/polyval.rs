//! POLYVAL, which needs no instructions that a CPU may lack.
//!
//! RFC 8452, section 3: the blocks of 16 bytes are the coefficients of a polynomial over GF(2^128), whose value at a secret
//! point is the fingerprint. Contents of the same length that differ have different polynomials, of a degree that is their
//! number `n` of blocks, and whose difference has no more than `n` roots: they have the same fingerprint with a
//! probability of at most `n * 2^-128`. (The last block is filled with zeros, which is why lengths must be equal.)

use block_buffer::EagerBuffer;
use polyval::Polyval;
use polyval::universal_hash::UniversalHash;
use polyval::universal_hash::consts::U16;

use super::fingerprint::Fingerprint;

/// The secret point, with what is precomputed of it.
pub(super) struct Params(Polyval);

impl Params {
    pub(super) fn new(key: [u8; 16]) -> Self {
        Self(Polyval::new(&key.into()))
    }

    pub(super) fn start(&self) -> Fingerprinting {
        Fingerprinting { state: self.0.clone(), rest: EagerBuffer::default() }
    }
}

pub(super) struct Fingerprinting {
    state: Polyval,
    /// What has come of a block that is not full.
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
        let value = u128::from_le_bytes(self.state.finalize().into());
        Fingerprint([value as u64, (value >> 64) as u64])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Appendix A of RFC 8452.
    #[test]
    fn polyval_gives_the_vector_of_the_rfc_in_whatever_pieces() {
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
        };
        let params = Params::new(hex("25629347589242761d31f826ba4b757b").try_into().unwrap());
        let data = hex("4f4f95668c83dfb6401762bb2d01a262d1a24ddd2721d006bbe45f20d3c9f362");
        for cut in 0..=data.len() {
            let mut fingerprinting = params.start();
            fingerprinting.update(&data[..cut]);
            fingerprinting.update(&data[cut..]);
            let Fingerprint([low, high]) = fingerprinting.finish();
            let expected = hex("f7a3b47b846119fae5b7866cf5e5b77e");
            assert_eq!([low.to_le_bytes(), high.to_le_bytes()].concat(), expected);
        }
    }
}
