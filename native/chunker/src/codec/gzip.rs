//! The gzip format, RFC 1952, using zlib-rs. Each content is one member, with its CRC32 and its length.

use flate2::{Compress, Compression, Decompress, DecompressError, FlushCompress, FlushDecompress, Status};

use super::coder::{Decode, Encode};
use super::detect::GZIP_MAGIC;
use super::error::{CodecFailure, CompressionError};
use super::format::Codec;
use super::output::{Flow, Output};

/// The window of 32 KiB, as a power of two. The format has no larger one.
const WINDOW_BITS: u8 = 15;

/// The position in the header and the value of the byte that names the operating system. zlib writes the one
/// it runs on; the output of this library is the same on all, so each writes Unix.
const OPERATING_SYSTEM: (usize, u8) = (9, 3);

fn compression_failed(why: CodecFailure) -> CompressionError {
    CompressionError::CompressionFailed { codec: Codec::Gzip, why }
}

fn decompression_failed(why: CodecFailure) -> CompressionError {
    CompressionError::DecompressionFailed { codec: Codec::Gzip, why }
}

/// Compresses a content in pieces.
pub(super) struct Encoder(Compress);

impl Encoder {
    /// Creates an encoder. `level` must be in 0..=9.
    ///
    /// The header holds neither a name nor a time, so the output depends on the input and its split only.
    pub(super) fn new(level: i32) -> Self {
        Self(Compress::new_gzip(Compression::new(level as u32), WINDOW_BITS))
    }

    /// Returns the status, and whether the library filled its output buffer, and so may hold back output.
    fn step(
        &mut self,
        input: &mut &[u8],
        flush: FlushCompress,
        out: &mut Output<'_>,
    ) -> Result<(Status, bool), CompressionError> {
        let space = out.step().map_err(compression_failed)?;
        let room = space.len();
        let (taken, before) = (self.0.total_in(), self.0.total_out());
        let status = self.0.compress(input, space, flush);
        // Both differences are lengths of slices, so the casts are lossless.
        let (taken, written) = ((self.0.total_in() - taken) as usize, (self.0.total_out() - before) as usize);
        // The first output holds the whole header: the smallest space is larger than it.
        let (at, unix) = OPERATING_SYSTEM;
        if before == 0 && written > at {
            space[at] = unix;
        }
        *input = &input[taken..];
        out.advance(written)?;
        let status = status.map_err(|_| compression_failed(CodecFailure::Internal))?;
        Ok((status, written == room))
    }
}

impl Encode for Encoder {
    fn update(&mut self, mut input: &[u8], out: &mut Output<'_>) -> Result<(), CompressionError> {
        while !input.is_empty() {
            self.step(&mut input, FlushCompress::None, out)?;
        }
        Ok(())
    }

    fn flush(&mut self, out: &mut Output<'_>) -> Result<(), CompressionError> {
        while self.step(&mut [].as_slice(), FlushCompress::Sync, out)?.1 {}
        Ok(())
    }

    fn finish(&mut self, out: &mut Output<'_>) -> Result<(), CompressionError> {
        while self.step(&mut [].as_slice(), FlushCompress::Finish, out)?.0 != Status::StreamEnd {}
        Ok(())
    }
}

/// Decompresses a content, in pieces or at once.
pub(super) struct Decoder {
    /// The current member, once its magic is complete. The library's state serves one member only.
    member: Option<Decompress>,
    /// The number of bytes of the magic of the next member read so far. The library compares two bytes at
    /// once, so it cannot reject trailing data that consists of a single byte.
    magic: usize,
    /// The number of finished members.
    ended: u64,
    /// Whether the library filled its last output buffer, and so may hold back output.
    full: bool,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self { member: None, magic: 0, ended: 0, full: false }
    }

    /// Reads the magic of a member and starts it, unless the input ends before.
    fn start(&mut self, input: &mut &[u8]) -> Result<(), CompressionError> {
        while let Some((byte, rest)) = input.split_first() {
            if *byte != GZIP_MAGIC[self.magic] {
                let why = if self.ended > 0 { CodecFailure::TrailingData } else { CodecFailure::BadMagic };
                return Err(decompression_failed(why));
            }
            *input = rest;
            self.magic += 1;
            if self.magic == GZIP_MAGIC.len() {
                let mut member = Decompress::new_gzip(WINDOW_BITS);
                // It has no content yet, but a call without space is an error.
                let status = member.decompress(&GZIP_MAGIC, &mut [0], FlushDecompress::None);
                status.map_err(|error| decompression_failed(failure(&error)))?;
                (self.member, self.magic) = (Some(member), 0);
                break;
            }
        }
        Ok(())
    }
}

/// Returns the reason for an error inside a member. The library distinguishes them by their texts only.
fn failure(error: &DecompressError) -> CodecFailure {
    match error.message() {
        Some("incorrect data check" | "header crc mismatch") => CodecFailure::ChecksumMismatch,
        Some("unknown header flags set") => CodecFailure::Unsupported,
        _ => CodecFailure::Corrupt,
    }
}

impl Decode for Decoder {
    fn decode(&mut self, input: &mut &[u8], out: &mut Output<'_>) -> Result<Flow, CompressionError> {
        while !input.is_empty() || self.full {
            let Some(member) = &mut self.member else {
                self.start(input)?;
                continue;
            };
            let space = out.step().map_err(decompression_failed)?;
            if space.is_empty() {
                return Ok(Flow::Full);
            }
            let room = space.len();
            let (taken, written) = (member.total_in(), member.total_out());
            let status = member.decompress(input, space, FlushDecompress::None);
            // Both differences are lengths of slices, so the casts are lossless.
            let taken = (member.total_in() - taken) as usize;
            let written = (member.total_out() - written) as usize;
            *input = &input[taken..];
            self.full = written == room;
            out.advance(written)?;
            match status.map_err(|error| decompression_failed(failure(&error)))? {
                Status::StreamEnd => {
                    (self.member, self.full) = (None, false);
                    self.ended += 1;
                }
                Status::Ok | Status::BufError => {}
            }
        }
        Ok(Flow::Drained)
    }

    fn finish(&mut self) -> Result<(), CompressionError> {
        if self.member.is_none() && self.magic == 0 && self.ended > 0 {
            Ok(())
        } else {
            Err(decompression_failed(CodecFailure::Truncated))
        }
    }
}
