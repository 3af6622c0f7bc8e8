//! The .lzma format, which .xz succeeded, using liblzma. It is read, and not written. Each content is one
//! stream, without a checksum.

use liblzma::stream::Stream;

use super::error::CodecFailure;
use super::format::Codec;
use super::step::Step;
use super::streams::{Format, StreamDecoder, Streams};
use super::xz::Limited;

/// Decompresses a content, in pieces or at once.
pub(super) type Decoder = Streams<Lzma>;

pub(super) struct Lzma(Limited);

impl StreamDecoder for Lzma {
    const FORMAT: Format = Format { codec: Codec::Lzma, magic: &[], concatenated: false, padding: 0 };

    fn new(max_memory: u64) -> Result<Self, CodecFailure> {
        Limited::new(max_memory, Stream::new_lzma_decoder).map(Self)
    }

    fn step(&mut self, input: &[u8], space: &mut [u8]) -> Step<bool> {
        self.0.step(input, space)
    }
}
