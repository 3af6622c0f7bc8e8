//! The .xz format, using liblzma: one stream of one block, LZMA2 with the presets of the `xz` program, and a
//! CRC64.

use liblzma::stream::{Action, Check, Error, Filters, LzmaOptions, Status, Stream, TELL_UNSUPPORTED_CHECK};

use super::coder::Encode;
use super::detect::XZ_MAGIC;
use super::error::{CodecFailure, CompressionError};
use super::format::Codec;
use super::options::EXTREME;
use super::output::Output;
use super::step::{Step, encode_step};
use super::streams::{Format, StreamDecoder, Streams};

/// The memory that a decoder may take besides the window, in bytes. Its state takes less.
const STATE: u64 = 1 << 20;

/// LZMA_PRESET_EXTREME of the library.
const PRESET_EXTREME: u32 = 1 << 31;

/// The smallest dictionary of LZMA2, in bytes.
const MIN_DICTIONARY: u32 = 4096;

fn compression_failed(why: CodecFailure) -> CompressionError {
    CompressionError::CompressionFailed { codec: Codec::Xz, why }
}

fn failure(error: Error) -> CodecFailure {
    match error {
        Error::Data => CodecFailure::Corrupt,
        Error::Format => CodecFailure::BadMagic,
        Error::Options | Error::NoCheck | Error::UnsupportedCheck => CodecFailure::Unsupported,
        Error::Mem => CodecFailure::OutOfMemory,
        Error::MemLimit | Error::Program => CodecFailure::Internal,
    }
}

/// Compresses a content in pieces.
pub(super) struct Encoder(Stream);

impl Encoder {
    /// Creates an encoder. `level` must be in 0..=9, perhaps with [`EXTREME`]. A known `size` limits the
    /// dictionary: one larger than the content finds no more matches, but its tables, 94 MiB at level 6, are
    /// allocated and cleared for each content.
    pub(super) fn new(level: i32, size: Option<usize>) -> Result<Self, CompressionError> {
        let most = size.map_or(u32::MAX, |size| u32::try_from(size).unwrap_or(u32::MAX).max(MIN_DICTIONARY));
        // The dictionary sizes of the presets 0 to 9, in bytes, as xz(1) lists them.
        const DICTIONARIES: [u32; 10] =
            [256 << 10, 1 << 20, 2 << 20, 4 << 20, 4 << 20, 8 << 20, 8 << 20, 16 << 20, 32 << 20, 64 << 20];
        // The level is in 0..=9, so the casts are lossless.
        let preset = (level & !EXTREME) as usize;
        let flags = if level & EXTREME == 0 { 0 } else { PRESET_EXTREME };
        let stream = LzmaOptions::new_preset(preset as u32 | flags).and_then(|mut options| {
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
        let run = |input: &[u8], space: &mut [u8]| {
            Step::counted(&mut self.0, totals, |stream| stream.process(input, space, action).map_err(failure))
        };
        encode_step(Codec::Xz, input, out, run).map(|(status, _)| status)
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
pub(super) type Decoder = Streams<Xz>;

pub(super) struct Xz(Limited);

impl StreamDecoder for Xz {
    const FORMAT: Format = Format { codec: Codec::Xz, magic: &XZ_MAGIC, concatenated: true, padding: 4 };

    fn new(max_memory: u64) -> Result<Self, CodecFailure> {
        let new = |limit| Stream::new_stream_decoder(limit, TELL_UNSUPPORTED_CHECK);
        Limited::new(max_memory, new).map(Self)
    }

    fn step(&mut self, input: &[u8], space: &mut [u8]) -> Step<bool> {
        self.0.step(input, space)
    }
}

/// A decoder of the library with a memory limit, which it checks before it allocates a window.
pub(super) struct Limited {
    stream: Stream,
    max_memory: u64,
}

impl Limited {
    pub(super) fn new(
        max_memory: u64,
        new: impl FnOnce(u64) -> Result<Stream, Error>,
    ) -> Result<Self, CodecFailure> {
        let stream = new(max_memory.saturating_add(STATE)).map_err(failure)?;
        Ok(Self { stream, max_memory })
    }

    pub(super) fn step(&mut self, input: &[u8], space: &mut [u8]) -> Step<bool> {
        let limit = self.max_memory;
        Step::counted(&mut self.stream, totals, |stream| match stream.process(input, space, Action::Run) {
            Ok(status) => Ok(status == Status::StreamEnd),
            Err(Error::MemLimit) => Err(CodecFailure::MemoryLimit { needed: needed(stream), limit }),
            Err(error) => Err(failure(error)),
        })
    }
}

fn totals(stream: &Stream) -> (u64, u64) {
    (stream.total_in(), stream.total_out())
}

/// Returns the memory that a stream over its limit needs: the smallest limit that the library accepts, which
/// has a function for it that the crate does not export.
fn needed(stream: &mut Stream) -> u64 {
    let (mut refused, mut accepted) = (stream.memlimit(), u64::MAX);
    while accepted - refused > 1 {
        let middle = refused + (accepted - refused) / 2;
        if stream.set_memlimit(middle).is_ok() {
            accepted = middle;
        } else {
            refused = middle;
        }
    }
    accepted
}
