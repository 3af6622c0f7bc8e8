//! The .lzma format, which .xz succeeded, using liblzma. It is read, and not written. Each content is one
//! stream, without a checksum.

use liblzma::stream::{Action, Status, Stream};

use super::error::CodecFailure;
use super::format::Codec;
use super::step::Step;
use super::streams::{Format, StreamDecoder, Streams};
use super::xz::{MEMORY, failure, process};

/// Decompresses a content, in pieces or at once.
pub(super) type Decoder = Streams<Lzma>;

pub(super) struct Lzma(Stream);

impl StreamDecoder for Lzma {
    const FORMAT: Format = Format { codec: Codec::Lzma, magic: &[], concatenated: false, padding: 0 };

    fn new() -> Result<Self, CodecFailure> {
        Stream::new_lzma_decoder(MEMORY).map(Self).map_err(failure)
    }

    fn step(&mut self, input: &[u8], space: &mut [u8]) -> Step<bool> {
        process(&mut self.0, input, space, Action::Run).map(|status| status == Status::StreamEnd)
    }
}
