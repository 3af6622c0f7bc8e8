//! Telling the formats apart by their first bytes.

use super::{Codec, CompressionError};

/// zstd frame magic, RFC 8878, section 3.1.1.
pub(super) const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// lz4 frame magic, "LZ4 Frame Format Description", General Structure.
pub(super) const LZ4_MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
/// "The .xz File Format", section 2.1.1.1.
const XZ_MAGIC: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0x00];
/// A bzip2 stream begins with `BZh`, a digit, and the magic of a block or, when it is empty, of its own end.
const BZIP2_MAGIC: [u8; 3] = *b"BZh";
const BZIP2_BLOCK: [u8; 6] = [0x31, 0x41, 0x59, 0x26, 0x53, 0x59];
const BZIP2_END: [u8; 6] = [0x17, 0x72, 0x45, 0x38, 0x50, 0x90];

/// The length of the magic and the size field of a skippable frame.
pub(super) const SKIPPABLE_HEADER: usize = 8;

/// What the first bytes of an input, or of what follows a skippable frame, say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sniff {
    /// The format is certain.
    Known(Codec),
    /// The format's magic is there, but more bytes could still contradict it.
    Likely(Codec),
    /// A skippable frame, which zstd and lz4 share; so many bytes with its header, and what comes behind decides.
    Skippable(u64),
    /// There are too few bytes to tell.
    TooShort,
    /// No format begins like this.
    Unknown,
}

/// Reads the first bytes. Ten of them always suffice for an answer other than `Likely` and `TooShort`.
pub(super) fn sniff(bytes: &[u8]) -> Sniff {
    if bytes.starts_with(&ZSTD_MAGIC) {
        return Sniff::Known(Codec::Zstd);
    }
    if bytes.starts_with(&LZ4_MAGIC) {
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
    if XZ_MAGIC.starts_with(bytes) || BZIP2_MAGIC.starts_with(bytes) || begins_frame(bytes, LZ4_MAGIC) {
        return Sniff::TooShort;
    }
    if begins_frame(bytes, ZSTD_MAGIC) { Sniff::TooShort } else { Sniff::Unknown }
}

/// Whether the bytes are a skippable frame's magic, `0x184d2a50` to `0x184d2a5f` in little endian, or begin with it.
pub(super) fn is_skippable(bytes: &[u8]) -> bool {
    matches!(bytes, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

/// The size that a skippable frame's header gives for what follows it.
pub(super) fn skippable_size(header: &[u8; SKIPPABLE_HEADER]) -> u64 {
    let [_, _, _, _, size @ ..] = *header;
    u32::from_le_bytes(size).into()
}

/// Whether fewer than four bytes, perhaps none, can be the beginning of `magic` or of a skippable frame.
pub(super) fn begins_frame(bytes: &[u8], magic: [u8; 4]) -> bool {
    let skippable = match bytes {
        [] => true,
        [first, rest @ ..] => (0x50..=0x5f).contains(first) && [0x2a, 0x4d, 0x18].starts_with(rest),
    };
    skippable || magic.starts_with(bytes)
}

/// Tells in which format `data` is by its first bytes.
///
/// Skippable frames, which zstd and lz4 share, say nothing: what comes behind them decides, and it has to be within
/// `data`. Formats that this library does not read, such as lz4's legacy frames and `.lzma`, are unknown. The codec
/// may be one that was left out of the build.
///
/// Takes constant time, and a constant more for each leading skippable frame.
///
/// # Errors
///
/// [`CompressionError::UnknownFormat`] with the first bytes of `data`, when they begin no format or are too few to tell.
///
/// # Examples
///
/// ```
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

/// The error for an input that begins with `data`.
pub(super) fn unknown_format(data: &[u8]) -> CompressionError {
    CompressionError::UnknownFormat { magic: data[..data.len().min(4)].to_vec() }
}
