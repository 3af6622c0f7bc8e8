//! The .xz format, using liblzma: one stream of one block, LZMA2 with the presets of the `xz` program, and a
//! CRC64.

use liblzma::stream::{
    Action, CONCATENATED, Check, Error, Filters, LzmaOptions, Status, Stream, TELL_UNSUPPORTED_CHECK,
};

use super::coder::{Decode, Encode};
use super::error::{CodecFailure, CompressionError};
use super::format::Codec;
use super::output::{Flow, MAX_WINDOW, Output};

/// The memory limit of the decoder, in bytes: the window, and 1 MiB for its own state, which takes less.
pub(super) const MEMORY: u64 = MAX_WINDOW + (1 << 20);

/// The smallest dictionary of LZMA2, in bytes.
const MIN_DICTIONARY: u32 = 4096;

fn compression_failed(why: CodecFailure) -> CompressionError {
    CompressionError::CompressionFailed { codec: Codec::Xz, why }
}

fn decompression_failed(why: CodecFailure) -> CompressionError {
    CompressionError::DecompressionFailed { codec: Codec::Xz, why }
}

pub(super) fn failure(error: Error) -> CodecFailure {
    match error {
        Error::Data => CodecFailure::Corrupt,
        Error::Format => CodecFailure::BadMagic,
        Error::Options | Error::NoCheck | Error::UnsupportedCheck => CodecFailure::Unsupported,
        Error::MemLimit => CodecFailure::MemoryLimit,
        Error::Mem => CodecFailure::OutOfMemory,
        Error::Program => CodecFailure::Internal,
    }
}

/// Compresses a content in pieces.
pub(super) struct Encoder(Stream);

impl Encoder {
    /// Creates an encoder. A known `size` limits the dictionary: one larger than the content finds no more
    /// matches, but its tables, 94 MiB at level 6, are allocated and cleared for each content.
    pub(super) fn new(level: i32, size: Option<usize>) -> Result<Self, CompressionError> {
        let most = size.map_or(u32::MAX, |size| u32::try_from(size).unwrap_or(u32::MAX).max(MIN_DICTIONARY));
        // The dictionary sizes of the presets 0 to 9, in bytes, as xz(1) lists them.
        const DICTIONARIES: [u32; 10] =
            [256 << 10, 1 << 20, 2 << 20, 4 << 20, 4 << 20, 8 << 20, 8 << 20, 16 << 20, 32 << 20, 64 << 20];
        // The level is in 0..=9, so the casts are lossless.
        let preset = level as usize;
        let stream = LzmaOptions::new_preset(preset as u32).and_then(|mut options| {
            options.dict_size(DICTIONARIES[preset].min(most));
            Stream::new_stream_encoder(Filters::new().lzma2(&options), Check::Crc64)
        });
        stream.map(Self).map_err(|error| compression_failed(failure(error)))
    }

    fn step(
        &mut self,
        input: &mut &[u8],
        action: Action,
        out: &mut Output<'_>,
    ) -> Result<Status, CompressionError> {
        let space = out.step().map_err(compression_failed)?;
        let (taken, written) = (self.0.total_in(), self.0.total_out());
        let status = self.0.process(input, space, action);
        // Both differences are lengths of slices, so the casts are lossless.
        let (taken, written) =
            ((self.0.total_in() - taken) as usize, (self.0.total_out() - written) as usize);
        *input = &input[taken..];
        out.advance(written)?;
        status.map_err(|error| compression_failed(failure(error)))
    }
}

impl Encode for Encoder {
    fn update(&mut self, mut input: &[u8], out: &mut Output<'_>) -> Result<(), CompressionError> {
        while !input.is_empty() {
            self.step(&mut input, Action::Run, out)?;
        }
        Ok(())
    }

    fn flush(&mut self, out: &mut Output<'_>) -> Result<(), CompressionError> {
        while self.step(&mut [].as_slice(), Action::SyncFlush, out)? != Status::StreamEnd {}
        Ok(())
    }

    fn finish(&mut self, out: &mut Output<'_>) -> Result<(), CompressionError> {
        while self.step(&mut [].as_slice(), Action::Finish, out)? != Status::StreamEnd {}
        Ok(())
    }
}

/// Decompresses a content, in pieces or at once.
pub(super) struct Decoder {
    stream: Stream,
    /// Whether the library filled its last output buffer, and so may hold back output.
    full: bool,
}

impl Decoder {
    pub(super) fn new() -> Result<Self, CompressionError> {
        let stream = Stream::new_stream_decoder(MEMORY, CONCATENATED | TELL_UNSUPPORTED_CHECK);
        let stream = stream.map_err(|error| decompression_failed(failure(error)))?;
        Ok(Self { stream, full: false })
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
            let (taken, written) = (self.stream.total_in(), self.stream.total_out());
            let status = self.stream.process(input, space, Action::Run);
            // Both differences are lengths of slices, so the casts are lossless.
            let taken = (self.stream.total_in() - taken) as usize;
            let written = (self.stream.total_out() - written) as usize;
            *input = &input[taken..];
            self.full = written == room;
            out.advance(written)?;
            status.map_err(|error| decompression_failed(failure(error)))?;
        }
        Ok(Flow::Drained)
    }

    fn finish(&mut self) -> Result<(), CompressionError> {
        // All output has been written, so the library needs no space to report whether the stream and its
        // padding are complete.
        match self.stream.process(&[], &mut [], Action::Finish) {
            Ok(Status::StreamEnd) => Ok(()),
            Ok(Status::Ok | Status::MemNeeded | Status::GetCheck) => {
                Err(decompression_failed(CodecFailure::Truncated))
            }
            Err(error) => Err(decompression_failed(failure(error))),
        }
    }
}
