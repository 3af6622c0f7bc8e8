//! Decompression of formats whose library decodes a single stream: streams in a row, what may stand between
//! them, and what follows the last one.

use super::coder::Decode;
use super::error::{CodecFailure, CompressionError};
use super::format::Codec;
use super::output::{Flow, Output};
use super::step::Step;

/// What distinguishes the formats outside of a stream.
pub(super) struct Format {
    pub(super) codec: Codec,
    /// The first bytes of each stream, which are compared one by one, because the library compares several at
    /// once and so cannot reject fewer. Empty if the library compares them, or there are none.
    pub(super) magic: &'static [u8],
    /// Whether several streams in a row are one content.
    pub(super) concatenated: bool,
    /// The unit of the zero bytes that may follow a stream, or 0 if there are none.
    pub(super) padding: usize,
}

/// A library's decoder of a single stream.
pub(super) trait StreamDecoder: Sized + Send {
    const FORMAT: Format;

    /// Creates a decoder that allocates at most `max_memory` bytes for the window.
    fn new(max_memory: u64) -> Result<Self, CodecFailure>;

    /// Takes some input and writes some output. The status tells whether the stream has ended.
    fn step(&mut self, input: &[u8], space: &mut [u8]) -> Step<bool>;
}

/// Decompresses a content, in pieces or at once.
pub(super) struct Streams<D> {
    max_memory: u64,
    /// The current stream, once its magic is complete. The library's state serves one stream only.
    stream: Option<D>,
    /// The number of bytes of the magic of the next stream read so far.
    magic: usize,
    /// The number of bytes of the current stream so far, without its magic.
    taken: usize,
    /// The number of zero bytes after the last complete unit of padding.
    padding: usize,
    /// The number of finished streams.
    ended: u64,
    /// Whether the library filled its last output space, and so may hold back output.
    full: bool,
}

fn failed<D: StreamDecoder>(why: CodecFailure) -> CompressionError {
    CompressionError::DecompressionFailed { codec: D::FORMAT.codec, why }
}

impl<D: StreamDecoder> Streams<D> {
    pub(super) fn new(max_memory: u64) -> Self {
        Self { max_memory, stream: None, magic: 0, taken: 0, padding: 0, ended: 0, full: false }
    }

    /// Returns the result for an input that begins no stream, nor do the `taken` bytes before it.
    fn no_stream(&self, taken: usize) -> Result<Flow, CompressionError> {
        if self.ended > 0 { Ok(Flow::Trailing(taken)) } else { Err(failed::<D>(CodecFailure::BadMagic)) }
    }

    /// Reads padding and the magic of a stream and starts it, unless the input ends before.
    fn start(&mut self, input: &mut &[u8]) -> Result<Flow, CompressionError> {
        let Format { magic, concatenated, padding, .. } = D::FORMAT;
        if self.ended > 0 && !concatenated {
            return self.no_stream(0);
        }
        if self.ended > 0 && padding > 0 && self.magic == 0 {
            while let [0, rest @ ..] = input {
                *input = rest;
                self.padding = (self.padding + 1) % padding;
            }
            if self.padding > 0 && !input.is_empty() {
                return self.no_stream(self.padding);
            }
        }
        while let (Some(wanted), Some((byte, rest))) = (magic.get(self.magic), input.split_first()) {
            if byte != wanted {
                return self.no_stream(self.magic);
            }
            *input = rest;
            self.magic += 1;
        }
        if self.magic == magic.len() {
            let mut stream = D::new(self.max_memory).map_err(failed::<D>)?;
            if !magic.is_empty() {
                // It has no content yet, but to some libraries a call without space is an error.
                stream.step(magic, &mut [0]).result.map_err(failed::<D>)?;
            }
            (self.stream, self.magic, self.taken) = (Some(stream), 0, 0);
        }
        Ok(Flow::Drained)
    }
}

impl<D: StreamDecoder> Decode for Streams<D> {
    fn decode(&mut self, input: &mut &[u8], out: &mut Output<'_>) -> Result<Flow, CompressionError> {
        while !input.is_empty() || self.full {
            let Some(stream) = &mut self.stream else {
                match self.start(input)? {
                    trailing @ Flow::Trailing(_) => return Ok(trailing),
                    _ => continue,
                }
            };
            let space = out.step().map_err(failed::<D>)?;
            if space.is_empty() {
                return Ok(Flow::Full);
            }
            let room = space.len();
            let Step { taken, written, result } = stream.step(input, space);
            *input = &input[taken..];
            self.taken = self.taken.saturating_add(taken);
            self.full = written == room;
            out.advance(written)?;
            match result {
                Ok(false) => {}
                Ok(true) => {
                    (self.stream, self.full) = (None, false);
                    self.ended += 1;
                }
                Err(CodecFailure::BadMagic) => return self.no_stream(self.taken),
                Err(why) => return Err(failed::<D>(why)),
            }
        }
        Ok(Flow::Drained)
    }

    fn finish(&mut self) -> Result<usize, CompressionError> {
        if self.stream.is_some() || self.magic > 0 || self.ended == 0 {
            Err(failed::<D>(CodecFailure::Truncated))
        } else {
            Ok(self.padding)
        }
    }
}
