//! Detects the format of an input by its first bytes.

use super::error::CompressionError;
use super::format::Codec;

/// The magic of a zstd frame, RFC 8878, section 3.1.1.
pub(super) const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The magic of an lz4 frame, "LZ4 Frame Format Description", General Structure.
pub(super) const LZ4_MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
/// The magic of an lz4 legacy frame, "LZ4 Frame Format Description", Legacy frame.
pub(super) const LZ4_LEGACY_MAGIC: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];
/// The magic of an xz stream, "The .xz File Format", section 2.1.1.1.
pub(super) const XZ_MAGIC: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0x00];
/// A bzip2 stream begins with `BZh`, a digit, and the magic of a block or, if it is empty, of the end of the
/// stream.
const BZIP2_MAGIC: [u8; 3] = *b"BZh";
const BZIP2_BLOCK: [u8; 6] = [0x31, 0x41, 0x59, 0x26, 0x53, 0x59];
const BZIP2_END: [u8; 6] = [0x17, 0x72, 0x45, 0x38, 0x50, 0x90];
/// The magic of a gzip member and its only compression method, RFC 1952, section 2.3.1.
pub(super) const GZIP_MAGIC: [u8; 3] = [0x1f, 0x8b, 0x08];
/// The length of the header of a .lzma stream and the first byte after it, which is zero.
const LZMA_HEADER: usize = 14;

/// The length of the magic and the size field of a skippable frame, in bytes.
pub(super) const SKIPPABLE_HEADER: usize = 8;

/// The result of inspecting the first bytes of an input, or the first bytes after a skippable frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sniff {
    /// The format is certain.
    Known(Codec),
    /// The magic is there, but more bytes could still contradict it.
    Likely(Codec),
    /// A skippable frame, which zstd and lz4 share, with its length in bytes, header included. The bytes
    /// after it determine the format.
    Skippable(u64),
    /// There are too few bytes.
    TooShort,
    /// No format begins with these bytes.
    Unknown,
}

/// Inspects the first bytes. [`LZMA_HEADER`] bytes always suffice for a result other than `Likely` and
/// `TooShort`.
pub(super) fn sniff(bytes: &[u8]) -> Sniff {
    if bytes.starts_with(&ZSTD_MAGIC) {
        return Sniff::Known(Codec::Zstd);
    }
    if bytes.starts_with(&LZ4_MAGIC) || bytes.starts_with(&LZ4_LEGACY_MAGIC) {
        return Sniff::Known(Codec::Lz4);
    }
    if bytes.starts_with(&XZ_MAGIC) {
        return Sniff::Known(Codec::Xz);
    }
    if is_skippable(bytes) {
        return match bytes.first_chunk::<SKIPPABLE_HEADER>() {
            Some(header) => Sniff::Skippable(SKIPPABLE_HEADER as u64 + skippable_size(header)),
            None => Sniff::TooShort,
        };
    }
    if let Some([b'1'..=b'9', block @ ..]) = bytes.strip_prefix(&BZIP2_MAGIC) {
        if block.starts_with(&BZIP2_BLOCK) || block.starts_with(&BZIP2_END) {
            return Sniff::Known(Codec::Bzip2);
        }
        if BZIP2_BLOCK.starts_with(block) || BZIP2_END.starts_with(block) {
            return Sniff::Likely(Codec::Bzip2);
        }
        return Sniff::Unknown;
    }
    if bytes.starts_with(&GZIP_MAGIC) {
        return Sniff::Known(Codec::Gzip);
    }
    if GZIP_MAGIC.starts_with(bytes) {
        return Sniff::TooShort;
    }
    if begins_lzma(bytes) {
        return if bytes.len() < LZMA_HEADER { Sniff::TooShort } else { Sniff::Known(Codec::Lzma) };
    }
    let begins = |magic: &[u8]| magic.starts_with(bytes);
    if begins(&XZ_MAGIC) || begins(&BZIP2_MAGIC) || begins(&LZ4_LEGACY_MAGIC) {
        return Sniff::TooShort;
    }
    if begins_frame(bytes, LZ4_MAGIC) || begins_frame(bytes, ZSTD_MAGIC) {
        Sniff::TooShort
    } else {
        Sniff::Unknown
    }
}

/// Returns whether the bytes, perhaps fewer than [`LZMA_HEADER`], begin a .lzma stream as its programs write
/// it.
///
/// The format has no magic. The header holds the properties 0x5d, which are the default of every program, a
/// dictionary of 2^n or 2^n + 2^(n-1) bytes, and the size of the content, which is unknown or below 256 GiB.
/// liblzma has the same rules, but also accepts other properties. Of random inputs, one in 2^60 fits.
fn begins_lzma(bytes: &[u8]) -> bool {
    let [0x5d, rest @ ..] = bytes else { return false };
    let (dictionary, rest) = rest.split_at(rest.len().min(4));
    let Ok(dictionary) = dictionary.try_into().map(u32::from_le_bytes) else {
        // The lower bytes of a dictionary size are zero, because it is 4096 at least.
        return dictionary.first().is_none_or(|byte| *byte == 0);
    };
    let is_power = |size: u32| size.is_power_of_two();
    let half = dictionary & dictionary.wrapping_sub(1);
    if dictionary < 4096 || !(is_power(dictionary) || is_power(half) && dictionary - half == half / 2) {
        return false;
    }
    let (size, rest) = rest.split_at(rest.len().min(8));
    let known = size.get(4).is_none_or(|byte| *byte < 64) && size.iter().skip(5).all(|byte| *byte == 0);
    let unknown = size.iter().all(|byte| *byte == 0xff);
    (known || unknown) && rest.first().is_none_or(|byte| *byte == 0)
}

/// Returns whether the bytes begin with the magic of a skippable frame, `0x184d2a50` to `0x184d2a5f` in
/// little endian.
pub(super) fn is_skippable(bytes: &[u8]) -> bool {
    matches!(bytes, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

/// Returns the size of the data after the header of a skippable frame.
pub(super) fn skippable_size(header: &[u8; SKIPPABLE_HEADER]) -> u64 {
    let [_, _, _, _, size @ ..] = *header;
    u32::from_le_bytes(size).into()
}

/// Returns whether `bytes`, fewer than four and perhaps none, can be the beginning of `magic` or of a
/// skippable frame.
pub(super) fn begins_frame(bytes: &[u8], magic: [u8; 4]) -> bool {
    let skippable = match bytes {
        [] => true,
        [first, rest @ ..] => (0x50..=0x5f).contains(first) && [0x2a, 0x4d, 0x18].starts_with(rest),
    };
    skippable || magic.starts_with(bytes)
}

/// Detects the format of `data` by its first bytes.
///
/// Skippable frames, which zstd and lz4 share, do not determine the format; the bytes after them do, and must
/// lie within `data`. brotli has no magic and is never detected, nor is .lzma with unusual properties: give
/// their codecs. The detected codec may be disabled in this build.
///
/// Takes constant time, plus a constant for each leading skippable frame.
///
/// # Errors
///
/// Returns [`CompressionError::UnknownFormat`] with the first bytes of `data` if no format begins with them
/// or they are too few.
///
/// # Examples
///
/// ```
/// use chunker::ErrorCode;
/// use chunker::codec::{Codec, detect_format};
///
/// assert_eq!(detect_format(b"\x28\xb5\x2f\xfd"), Ok(Codec::Zstd));
/// assert_eq!(detect_format(b"BZh").unwrap_err().code(), "unknown_format");
/// ```
pub fn detect_format(data: &[u8]) -> Result<Codec, CompressionError> {
    let mut rest = data;
    loop {
        match sniff(rest) {
            Sniff::Known(codec) | Sniff::Likely(codec) => return Ok(codec),
            Sniff::Skippable(size) => match usize::try_from(size).ok().and_then(|size| rest.get(size..)) {
                Some(behind) => rest = behind,
                None => return Err(unknown_format(data)),
            },
            Sniff::TooShort | Sniff::Unknown => return Err(unknown_format(data)),
        }
    }
}

/// Returns the error for an input that begins with `data`.
pub(super) fn unknown_format(data: &[u8]) -> CompressionError {
    CompressionError::UnknownFormat { magic: data[..data.len().min(4)].to_vec() }
}
