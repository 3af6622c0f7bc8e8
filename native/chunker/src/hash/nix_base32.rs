//! Encodes and decodes the base-32 notation of Nix.
//!
//! It differs from RFC 4648 in its alphabet (digits and lower-case letters without `e`, `o`, `u` and `t`) and
//! in its order: the bytes form one little-endian number, whose most significant digit is written first. Nix
//! defines it in `src/libutil/hash.cc` (`printHash32`).

use crate::error::{Detail, ErrorCode};

/// The digits, from 0 to 31.
const ALPHABET: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";

/// Reports a text that is not valid Nix base 32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid Nix base-32 at character {position}")]
pub struct Base32Error {
    /// The index of the first invalid byte of the text, from 0; the length of the text if no number of bytes
    /// has that length.
    pub position: usize,
}

impl ErrorCode for Base32Error {
    fn code(&self) -> &'static str {
        "invalid_base32"
    }

    fn details(&self) -> Vec<(&'static str, Detail)> {
        vec![("position", Detail::Number(self.position as u64))]
    }
}

/// Returns whether a byte is one of the digits.
pub(crate) const fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'z') && !matches!(byte, b'e' | b'o' | b'u' | b't')
}

/// Encodes `bytes` in Nix's notation: 52 characters for 32 bytes. O(n).
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let length = (bytes.len() * 8).div_ceil(5);
    (0..length)
        .rev()
        .map(|digit| {
            let (byte, shift) = (digit * 5 / 8, digit * 5 % 8);
            let low = bytes[byte] >> shift;
            let high = if shift > 3 { bytes.get(byte + 1).map_or(0, |next| next << (8 - shift)) } else { 0 };
            char::from(ALPHABET[usize::from((low | high) & 31)])
        })
        .collect()
}

/// Decodes Nix's notation. O(n).
///
/// # Errors
///
/// Returns [`Base32Error`] for a character outside the alphabet, for a length that no number of bytes has,
/// and for unused bits in the first character that are not 0. Accepted texts are therefore canonical: each is
/// the output of [`encode`] for the decoded bytes.
pub fn decode(text: &[u8]) -> Result<Vec<u8>, Base32Error> {
    let length = text.len() * 5 / 8;
    let mut bytes = vec![0; length];
    let mut overflow = false;
    for (digit, &character) in text.iter().rev().enumerate() {
        let Some(value) = ALPHABET.iter().position(|&known| known == character) else {
            let position = text.iter().position(|c| !ALPHABET.contains(c)).unwrap_or(0);
            return Err(Base32Error { position });
        };
        let value = value as u16;
        let (byte, shift) = (digit * 5 / 8, digit * 5 % 8);
        let [low, high] = (value << shift).to_le_bytes();
        for (at, bits) in [(byte, low), (byte + 1, high)] {
            match bytes.get_mut(at) {
                Some(target) => *target |= bits,
                None => overflow |= bits != 0,
            }
        }
    }
    if (length * 8).div_ceil(5) != text.len() {
        return Err(Base32Error { position: text.len() });
    }
    if overflow {
        return Err(Base32Error { position: 0 });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[cfg(feature = "sha256")]
    #[test]
    fn sha256_of_nothing_is_encoded_as_nix_prints_it() {
        let digest = crate::hash::Algorithm::Sha256.hash(b"");
        assert_eq!(encode(&digest.0), "0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73");
    }

    /// Encodes by the definition: divides a number of any size by 32 and writes the remainders.
    fn by_division(bytes: &[u8]) -> String {
        let mut number = bytes.to_vec();
        let mut digits = Vec::new();
        for _ in 0..(bytes.len() * 8).div_ceil(5) {
            let mut remainder = 0u16;
            for byte in number.iter_mut().rev() {
                let value = remainder * 256 + u16::from(*byte);
                *byte = (value / 32) as u8;
                remainder = value % 32;
            }
            digits.push(ALPHABET[usize::from(remainder)]);
        }
        digits.reverse();
        String::from_utf8(digits).unwrap()
    }

    proptest! {
        #[test]
        fn encoding_is_long_division_by_32(bytes in proptest::collection::vec(any::<u8>(), 0..70)) {
            let text = encode(&bytes);
            prop_assert_eq!(&text, &by_division(&bytes));
            prop_assert_eq!(decode(text.as_bytes()), Ok(bytes));
        }

        #[test]
        fn accepted_text_is_canonical(text in "[0-9a-z]{0,60}") {
            if let Ok(bytes) = decode(text.as_bytes()) {
                prop_assert_eq!(encode(&bytes), text);
            }
        }
    }

    #[test]
    fn the_digits_are_the_alphabet() {
        for byte in 0..=255 {
            assert_eq!(is_digit(byte), ALPHABET.contains(&byte), "{byte}");
        }
    }

    #[test]
    fn invalid_text_is_rejected_with_its_position() {
        let position = |text: &str| decode(text.as_bytes()).unwrap_err().position;
        assert_eq!(position("0mdqa9w1e6cm"), 8);
        assert_eq!(position("0MDQ"), 1);
        assert_eq!(position("0"), 1);
        assert_eq!(position("000"), 3);
        // Two digits hold ten bits, and a byte uses eight of them.
        assert_eq!(decode(b"7z"), Ok(vec![255]));
        assert_eq!(position("8z"), 0);
    }
}
