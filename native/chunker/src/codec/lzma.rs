//! The .lzma format, which .xz succeeded, using liblzma. It is read, and not written. Each content is one
//! stream, without a checksum.

use liblzma::stream::{Action, Status, Stream};

use super::coder::Decode;
use super::error::{CodecFailure, CompressionError};
use super::format::Codec;
use super::output::{Flow, Output};
use super::xz::{MEMORY, failure};

fn decompression_failed(why: CodecFailure) -> CompressionError {
    CompressionError::DecompressionFailed { codec: Codec::Lzma, why }
}

/// Decompresses a content, in pieces or at once.
pub(super) struct Decoder {
    stream: Stream,
    /// Whether the stream has ended.
    ended: bool,
    /// Whether the library filled its last output buffer, and so may hold back output.
    full: bool,
}

impl Decoder {
    pub(super) fn new() -> Result<Self, CompressionError> {
        let stream = Stream::new_lzma_decoder(MEMORY);
        let stream = stream.map_err(|error| decompression_failed(failure(error)))?;
        Ok(Self { stream, ended: false, full: false })
    }
}

impl Decode for Decoder {
    fn decode(&mut self, input: &mut &[u8], out: &mut Output<'_>) -> Result<Flow, CompressionError> {
        while !input.is_empty() || self.full {
            if self.ended {
                return Err(decompression_failed(CodecFailure::TrailingData));
            }
            let space = out.step().map_err(decompression_failed)?;
            if space.is_empty() {
                return Ok(Flow::Full);
            }
            let room = space.len();
            let (taken, written) = (self.stream.total_in(), self.stream.total_out());
            let status = self.stream.process(input, space, Action::Run);
            // Both differences are lengths of slices, so the casts are lossless.
            let taken = (self.stream.total_in() - taken) as usize;
            let written = (self.stream.total_out() - written) as usize;
            *input = &input[taken..];
            self.full = written == room;
            out.advance(written)?;
            if status.map_err(|error| decompression_failed(failure(error)))? == Status::StreamEnd {
                (self.ended, self.full) = (true, false);
            }
        }
        Ok(Flow::Drained)
    }

    fn finish(&mut self) -> Result<(), CompressionError> {
        if self.ended { Ok(()) } else { Err(decompression_failed(CodecFailure::Truncated)) }
    }
}
