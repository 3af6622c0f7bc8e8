//! The gzip format, RFC 1952, using zlib-rs. Each content is one member, with its CRC32 and its length.

use flate2::{Compress, Compression, Decompress, DecompressError, FlushCompress, FlushDecompress, Status};

use super::coder::Encode;
use super::detect::GZIP_MAGIC;
use super::error::{CodecFailure, CompressionError};
use super::format::Codec;
use super::output::Output;
use super::step::{Step, encode_step};
use super::streams::{Format, StreamDecoder, Streams};

/// The window of 32 KiB, as a power of two. The format has no larger one.
const WINDOW_BITS: u8 = 15;

/// The position in the header and the value of the byte that names the operating system. zlib writes the one
/// it runs on; the output of this library is the same on all, so each writes Unix.
const OPERATING_SYSTEM: (usize, u8) = (9, 3);

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
        let totals = |stream: &Compress| (stream.total_in(), stream.total_out());
        encode_step(Codec::Gzip, input, out, |input, space| {
            let begun = self.0.total_out() > 0;
            let step = Step::counted(&mut self.0, totals, |stream| {
                stream.compress(input, space, flush).map_err(|_| CodecFailure::Internal)
            });
            // The first output holds the whole header: the smallest space is larger than it.
            let (at, unix) = OPERATING_SYSTEM;
            if !begun && step.written > at {
                space[at] = unix;
            }
            step
        })
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
pub(super) type Decoder = Streams<Member>;

pub(super) struct Member(Decompress);

impl StreamDecoder for Member {
    const FORMAT: Format = Format { codec: Codec::Gzip, magic: &GZIP_MAGIC, concatenated: true, padding: 0 };

    fn new(_max_memory: u64) -> Result<Self, CodecFailure> {
        Ok(Self(Decompress::new_gzip(WINDOW_BITS)))
    }

    fn step(&mut self, input: &[u8], space: &mut [u8]) -> Step<bool> {
        let totals = |member: &Decompress| (member.total_in(), member.total_out());
        Step::counted(&mut self.0, totals, |member| {
            let status = member.decompress(input, space, FlushDecompress::None);
            status.map(|status| status == Status::StreamEnd).map_err(|error| failure(&error))
        })
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
