//! The .xz format, by liblzma: one stream of one block, LZMA2 as the `xz` program's presets set it, with a CRC64.

use liblzma::stream::{
    Action, CONCATENATED, Check, Error, Filters, LzmaOptions, Status, Stream, TELL_UNSUPPORTED_CHECK,
};

use super::output::{Flow, MAX_WINDOW, Output};
use super::stream::{Decode, Encode};
use super::{Codec, CodecFailure, CompressionError};

/// What the decoder may allocate: the window, and room for its own state, which takes less than 1 MiB.
const MEMORY: u64 = MAX_WINDOW + (1 << 20);

/// The smallest dictionary that LZMA2 has, in bytes.
const MIN_DICTIONARY: u32 = 4096;

/// Compresses `data` at a level of 0 to 9, by default 6, into one xz stream.
///
/// # Errors
///
/// [`CompressionError::InvalidLevel`]; [`CompressionError::CompressionFailed`] without memory, of which level 9 takes up
/// to 674 MiB.
pub fn compress_xz(data: &[u8], level: Option<i32>) -> Result<Vec<u8>, CompressionError> {
    Codec::Xz.compress(data, level)
}

/// Like [`compress_xz`], but replaces the content of `out`, whose capacity is reused. On an error `out` is empty.
pub fn compress_xz_into(data: &[u8], level: Option<i32>, out: &mut Vec<u8>) -> Result<(), CompressionError> {
    Codec::Xz.compress_into(data, level, out)
}

/// Decompresses xz streams, and the padding between and behind them, of at most `limit` bytes of content together.
///
/// # Errors
///
/// [`CompressionError::SizeExceeded`]; [`CompressionError::DecompressionFailed`].
pub fn decompress_xz(data: &[u8], limit: u64) -> Result<Vec<u8>, CompressionError> {
    Codec::Xz.decompress(data, limit)
}

/// Like [`decompress_xz`], but replaces the content of `out`, whose capacity is reused. On an error `out` is empty.
pub fn decompress_xz_into(data: &[u8], limit: u64, out: &mut Vec<u8>) -> Result<(), CompressionError> {
    Codec::Xz.decompress_into(data, limit, out)
}

fn compression_failed(why: CodecFailure) -> CompressionError {
    CompressionError::CompressionFailed { codec: Codec::Xz, why }
}

fn decompression_failed(why: CodecFailure) -> CompressionError {
    CompressionError::DecompressionFailed { codec: Codec::Xz, why }
}

fn failure(error: Error) -> CodecFailure {
    match error {
        Error::Data => CodecFailure::Corrupt,
        Error::Format => CodecFailure::BadMagic,
        Error::Options | Error::NoCheck | Error::UnsupportedCheck => CodecFailure::Unsupported,
        Error::MemLimit => CodecFailure::MemoryLimit,
        Error::Mem => CodecFailure::OutOfMemory,
        Error::Program => CodecFailure::Internal,
    }
}

/// Compresses in pieces.
pub(super) struct Encoder(Stream);

impl Encoder {
    /// A dictionary larger than the content finds nothing more, while the tables for it are made and cleared for each
    /// content: 94 MiB of them at level 6. So a known size limits it.
    pub(super) fn new(level: i32, size: Option<usize>) -> Result<Self, CompressionError> {
        let most = size.map_or(u32::MAX, |size| u32::try_from(size).unwrap_or(u32::MAX).max(MIN_DICTIONARY));
        // The dictionary sizes of the presets 0 to 9, in MiB but for the first, as xz(1) lists them.
        const DICTIONARIES: [u32; 10] =
            [256 << 10, 1 << 20, 2 << 20, 4 << 20, 4 << 20, 8 << 20, 8 << 20, 16 << 20, 32 << 20, 64 << 20];
        // The level is in 0..=9.
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
        // Both are lengths of slices.
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

    fn finish(&mut self, out: &mut Output<'_>) -> Result<(), CompressionError> {
        while self.step(&mut [].as_slice(), Action::Finish, out)? != Status::StreamEnd {}
        Ok(())
    }
}

/// Decompresses, in pieces or at once.
pub(super) struct Decoder {
    stream: Stream,
    /// Whether the library filled the room it last had, and so may hold back output.
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
            // Both are lengths of slices.
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
        // All output is taken, so the library needs no room to say whether a stream, and its padding, is complete.
        match self.stream.process(&[], &mut [], Action::Finish) {
            Ok(Status::StreamEnd) => Ok(()),
            Ok(Status::Ok | Status::MemNeeded | Status::GetCheck) => {
                Err(decompression_failed(CodecFailure::Truncated))
            }
            Err(error) => Err(decompression_failed(failure(error))),
        }
    }
}
