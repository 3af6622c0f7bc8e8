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
    /// Consumes bytes from the front of `input` until it is empty or `out` is full.
    fn decode(&mut self, input: &mut &[u8], out: &mut Output<'_>) -> Result<Flow, CompressionError>;

    /// Checks that the input so far is complete. Called after all output has been written.
    fn finish(&mut self) -> Result<(), CompressionError>;

    /// Decompresses a complete input into an output that only the limit bounds.
    fn decode_whole(&mut self, mut input: &[u8], out: &mut Output<'_>) -> Result<(), CompressionError> {
        while self.decode(&mut input, out)? == Flow::Full {}
        self.finish()
    }
}
