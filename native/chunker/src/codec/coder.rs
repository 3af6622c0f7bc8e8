//! What each codec implements.

use super::error::CompressionError;
use super::output::{Flow, Output};

/// Compresses a content in pieces; implemented by each codec.
pub(super) trait Encode: Send {
    /// Consumes all of `input`.
    fn update(&mut self, input: &[u8], out: &mut Output<'_>) -> Result<(), CompressionError>;

    /// Writes so much that all input so far can be decoded.
    fn flush(&mut self, out: &mut Output<'_>) -> Result<(), CompressionError>;

    /// Ends the stream. No method is called after it.
    fn finish(&mut self, out: &mut Output<'_>) -> Result<(), CompressionError>;
}

/// Decompresses a content in pieces; implemented by each codec.
pub(super) trait Decode: Send {
    /// Consumes bytes from the front of `input` until it is empty, `out` is full, or the input has ended,
    /// after which no method is called.
    fn decode(&mut self, input: &mut &[u8], out: &mut Output<'_>) -> Result<Flow, CompressionError>;

    /// Checks that the input so far is complete. Returns the number of bytes at its end that are no part of
    /// it. Called after all output has been written.
    fn finish(&mut self) -> Result<usize, CompressionError>;

    /// Decompresses a complete input into an output that only the limit bounds. Returns the number of bytes
    /// at the end of the input that are no part of it.
    fn decode_whole(&mut self, mut input: &[u8], out: &mut Output<'_>) -> Result<usize, CompressionError> {
        loop {
            match self.decode(&mut input, out)? {
                Flow::Full => {}
                Flow::Drained => return self.finish(),
                Flow::Trailing(taken) => return Ok(taken + input.len()),
            }
        }
    }
}
