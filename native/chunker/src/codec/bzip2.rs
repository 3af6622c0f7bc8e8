//! bzip2, using its library. Each content is one stream, with a checksum for each block and one for the
//! whole. A flush ends a stream, because the blocks of a stream do not end at bytes: the last bits of a block
//! would wait for the next one.

use bzip2::{Action, Compress, Compression, Decompress, Error, Status};

use super::coder::{Decode, Encode};
use super::error::{CodecFailure, CompressionError};
use super::format::Codec;
use super::output::{Flow, Output};

/// The effort spent on sorting repetitive data before the library switches to its fallback, which is slow on
/// all data. 0 selects the default of 30, which the `bzip2` program also uses.
const WORK_FACTOR: u32 = 0;

fn compression_failed(why: CodecFailure) -> CompressionError {
    CompressionError::CompressionFailed { codec: Codec::Bzip2, why }
}

fn decompression_failed(why: CodecFailure) -> CompressionError {
    CompressionError::DecompressionFailed { codec: Codec::Bzip2, why }
}

fn new_stream(level: u32) -> Compress {
    Compress::new(Compression::new(level), WORK_FACTOR)
}

/// Compresses a content in pieces.
pub(super) struct Encoder {
    /// The current stream, or `None` after a flush.
    stream: Option<Compress>,
    level: u32,
    /// Whether the current stream has content.
    begun: bool,
}

impl Encoder {
    /// Creates an encoder. `level` must be in 1..=9; the library panics on any other.
    pub(super) fn new(level: i32) -> Self {
        let level = level as u32;
        Self { stream: Some(new_stream(level)), level, begun: false }
    }

    fn step(
        &mut self,
        input: &mut &[u8],
        action: Action,
        out: &mut Output<'_>,
    ) -> Result<Status, CompressionError> {
        let space = out.step().map_err(compression_failed)?;
        let stream = self.stream.get_or_insert_with(|| new_stream(self.level));
        let (taken, written) = (stream.total_in(), stream.total_out());
        let status = stream.compress(input, space, action);
        // Both differences are lengths of slices, so the casts are lossless.
        let (taken, written) =
            ((stream.total_in() - taken) as usize, (stream.total_out() - written) as usize);
        *input = &input[taken..];
        out.advance(written)?;
        status.map_err(|_| compression_failed(CodecFailure::Internal))
    }
}

impl Encode for Encoder {
    fn update(&mut self, mut input: &[u8], out: &mut Output<'_>) -> Result<(), CompressionError> {
        self.begun |= !input.is_empty();
        while !input.is_empty() {
            self.step(&mut input, Action::Run, out)?;
        }
        Ok(())
    }

    fn flush(&mut self, out: &mut Output<'_>) -> Result<(), CompressionError> {
        if self.begun {
            self.finish(out)?;
            (self.stream, self.begun) = (None, false);
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Output<'_>) -> Result<(), CompressionError> {
        // After a flush there need not be another stream.
        if self.stream.is_some() {
            while self.step(&mut [].as_slice(), Action::Finish, out)? != Status::StreamEnd {}
        }
        Ok(())
    }
}

/// Decompresses a content, in pieces or at once.
pub(super) struct Decoder {
    /// The current stream. The library's state serves one stream only.
    stream: Option<Decompress>,
    /// The number of finished streams.
    ended: u64,
    /// Whether the library filled its last output buffer, and so may hold back output.
    full: bool,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self { stream: None, ended: 0, full: false }
    }

    fn failure(&self, error: Error) -> CodecFailure {
        match error {
            Error::DataMagic if self.ended > 0 => CodecFailure::TrailingData,
            Error::DataMagic => CodecFailure::BadMagic,
            Error::Data => CodecFailure::Corrupt,
            Error::Sequence | Error::Param => CodecFailure::Internal,
        }
    }
}

impl Decode for Decoder {
    fn decode(&mut self, input: &mut &[u8], out: &mut Output<'_>) -> Result<Flow, CompressionError> {
        while !input.is_empty() || self.full {
            let space = out.step().map_err(decompression_failed)?;
            if space.is_empty() {
                return Ok(Flow::Full);
            }
            let room = space.len();
            let stream = self.stream.get_or_insert_with(|| Decompress::new(false));
            let (taken, written) = (stream.total_in(), stream.total_out());
            let status = stream.decompress(input, space);
            // Both differences are lengths of slices, so the casts are lossless.
            let taken = (stream.total_in() - taken) as usize;
            let written = (stream.total_out() - written) as usize;
            *input = &input[taken..];
            self.full = written == room;
            out.advance(written)?;
            match status.map_err(|error| decompression_failed(self.failure(error)))? {
                Status::StreamEnd => {
                    (self.stream, self.full) = (None, false);
                    self.ended += 1;
                }
                Status::MemNeeded => return Err(decompression_failed(CodecFailure::OutOfMemory)),
                Status::Ok | Status::FlushOk | Status::RunOk | Status::FinishOk => {}
            }
        }
        Ok(Flow::Drained)
    }

    fn finish(&mut self) -> Result<(), CompressionError> {
        if self.stream.is_none() && self.ended > 0 {
            Ok(())
        } else {
            Err(decompression_failed(CodecFailure::Truncated))
        }
    }
}
