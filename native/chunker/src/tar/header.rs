//! Reads the fields of a header block.

/// The length of a block, in bytes.
pub(super) const BLOCK: usize = 512;

pub(super) type Block = [u8; BLOCK];

const SIZE: std::ops::Range<usize> = 124..136;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const TYPE: usize = 156;
/// In a header of type `S`, whether a block with more of the map follows.
const HEADER_EXTENDED: usize = 482;
/// The same in such a block.
const MAP_EXTENDED: usize = 504;

/// The fields of a header block that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: u8,
    pub(super) size: u64,
    /// Whether a block with more of the map of a sparse file follows.
    pub(super) extended: bool,
}

impl Header {
    /// Reads a block, or returns `None` if it is not a header.
    pub(super) fn read(block: &Block) -> Option<Self> {
        let expected = octal(&block[CHECKSUM])?;
        let (unsigned, signed) = sums(block);
        if expected != unsigned && i64::try_from(expected) != Ok(signed) {
            return None;
        }
        let kind = block[TYPE];
        Some(Self {
            kind,
            size: number(&block[SIZE])?,
            extended: kind == b'S' && block[HEADER_EXTENDED] != 0,
        })
    }
}

/// Returns whether the map of a sparse file goes on in another block.
pub(super) const fn map_goes_on(block: &Block) -> bool {
    block[MAP_EXTENDED] != 0
}

/// Returns the sums of the bytes of a block as unsigned and as signed ones.
fn sums(block: &Block) -> (u64, i64) {
    let sum = |bytes: &[u8]| -> (u64, u64) {
        let total = bytes.iter().map(|&byte| u32::from(byte)).sum::<u32>();
        let negative = bytes.iter().map(|&byte| u32::from(byte >> 7)).sum::<u32>();
        (total.into(), negative.into())
    };
    let (total, negative) = sum(block);
    let (checksum, negative_checksum) = sum(&block[CHECKSUM]);
    let unsigned = total - checksum + CHECKSUM.len() as u64 * u64::from(b' ');
    (unsigned, unsigned as i64 - 256 * (negative - negative_checksum) as i64)
}

/// Reads a number in either notation.
fn number(field: &[u8]) -> Option<u64> {
    match field {
        [0x80, digits @ ..] => digits
            .iter()
            .try_fold(0u64, |value, &digit| value.checked_mul(256).map(|value| value + u64::from(digit))),
        _ => octal(field),
    }
}

/// Reads octal digits, with spaces before them and a space or NUL after them unless the field is full. No digits
/// are a zero.
fn octal(field: &[u8]) -> Option<u64> {
    let start = field.iter().position(|&byte| byte != b' ').unwrap_or(field.len());
    let digits = &field[start..];
    let end = digits.iter().position(|byte| matches!(byte, 0 | b' ')).unwrap_or(digits.len());
    digits[..end].iter().try_fold(0, |value, &digit| match digit {
        // A field of 12 digits holds 36 bits.
        b'0'..=b'7' => Some(value << 3 | u64::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_programs_write_them() {
        for (field, value) in [
            (&b"00000000144\0"[..], Some(100)),
            (b"        144 ", Some(100)),
            (b"144\0junk....", Some(100)),
            (b"777777777777", Some((1 << 36) - 1)),
            (b"\0\0\0\0\0\0\0\0\0\0\0\0", Some(0)),
            (b"            ", Some(0)),
            (b"\x80\0\0\0\0\0\0\x02\0\0\0\0", Some(8 << 30)),
            (b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", Some(u64::MAX)),
            (b"\x80\0\0\x01\0\0\0\0\0\0\0\0", None),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"00000000148\0", None),
            (b"-0000000144\0", None),
            (b"000000001\x0044", Some(1)),
        ] {
            assert_eq!(number(field), value, "{}", field.escape_ascii());
        }
    }

    #[test]
    fn both_sums_are_accepted_and_no_other() {
        let mut block = [0; BLOCK];
        block[..3].copy_from_slice("n\u{e9}".as_bytes());
        block[TYPE] = b'5';
        let unsigned = u64::from(b'n') + 0xc3 + 0xa9 + u64::from(b'5') + 8 * 32;
        for (sum, accepted) in
            [(unsigned, true), (unsigned - 512, true), (unsigned - 256, false), (unsigned + 1, false)]
        {
            block[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            assert_eq!(Header::read(&block).is_some(), accepted, "{sum}");
        }
    }
}
