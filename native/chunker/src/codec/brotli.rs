//! Brotli, RFC 7932, in the safe Rust of its crate. Each content is one stream. The format has no magic, no
//! checksum, and no concatenation.

use ::brotli::enc::StandardAlloc;
use ::brotli::enc::encode::{BrotliEncoderOperation, BrotliEncoderStateStruct};
use ::brotli::{BrotliDecompressStream, BrotliResult, BrotliState};

use super::coder::Encode;
use super::error::{CodecFailure, CompressionError};
use super::format::Codec;
use super::output::Output;
use super::step::{Step, encode_step};
use super::streams::{Format, StreamDecoder, Streams};

/// The largest and the smallest window that the encoder asks for, as powers of two: the largest of RFC 7932,
/// 16 MiB, and the smallest of the `brotli` program.
const WINDOW_BITS: std::ops::RangeInclusive<i32> = 16..=24;

/// The size that the encoder assumes if it is unknown, in bytes: large enough for the tables of a large
/// content. Without it the encoder takes the size of the first piece, so that the output would depend on the
/// split.
const UNKNOWN_SIZE: usize = 1 << 20;

/// The highest of the levels that compress each piece by itself.
const PIECEWISE: i32 = 1;

/// The size of the pieces for those levels, in bytes. The library would start a block for each piece of the
/// caller, which makes the output of small ones larger than the content.
const PIECE: usize = 256 << 10;

/// The first byte of the extension to large windows. The next one has the size.
const EXTENSION: u8 = 0x11;

/// The lowest of the levels that compress about 1 MB/s. A call can be cancelled between two blocks, so these
/// get blocks of 64 KiB, as a power of two, and metablocks of 1 MiB. The library's own, up to 256 KiB and 16
/// MiB, would take a third of a second and several seconds; these make the output up to 0.6 % larger.
const SLOW: i32 = 10;
const SLOW_BLOCK_BITS: i32 = 16;
const SLOW_METABLOCK: usize = 1 << 20;

/// Compresses a content in pieces.
pub(super) struct Encoder {
    state: BrotliEncoderStateStruct<StandardAlloc>,
    /// The input that is not passed on yet; `None` if the library collects pieces itself.
    held: Option<Vec<u8>>,
    /// The number of bytes until the next flush; `None` if there is none.
    until_flush: Option<usize>,
}

impl Encoder {
    /// Creates an encoder. `level` must be in 0..=11. A known `size` limits the window: one larger than the
    /// content finds no more matches.
    pub(super) fn new(level: i32, size: Option<usize>) -> Self {
        let (least, most) = WINDOW_BITS.into_inner();
        let window = size.map_or(most, |size| {
            // The reach of a window is 16 bytes less than its size: RFC 7932, section 9.1.
            (least..most).find(|bits| size <= (1 << bits) - 16).unwrap_or(most)
        });
        let mut state = BrotliEncoderStateStruct::new(StandardAlloc::default());
        state.params.quality = level;
        state.params.lgwin = window;
        state.params.size_hint = size.unwrap_or(UNKNOWN_SIZE);
        let slow = level >= SLOW;
        if slow {
            state.params.lgblock = SLOW_BLOCK_BITS;
        }
        let held = (level <= PIECEWISE).then(Vec::new);
        Self { state, held, until_flush: slow.then_some(SLOW_METABLOCK) }
    }

    fn step(
        &mut self,
        input: &mut &[u8],
        operation: BrotliEncoderOperation,
        out: &mut Output<'_>,
    ) -> Result<(), CompressionError> {
        let run = |input: &[u8], space: &mut [u8]| {
            let (mut left, mut taken) = (input.len(), 0);
            let (mut room, mut written) = (space.len(), 0);
            let done = self.state.compress_stream(
                operation,
                &mut left,
                input,
                &mut taken,
                &mut room,
                space,
                &mut written,
                &mut None,
                &mut |_, _, _, _| (),
            );
            let result = if done { Ok(()) } else { Err(CodecFailure::Internal) };
            Step { taken, written, result }
        };
        encode_step(Codec::Brotli, input, out, run).map(|(status, _)| status)
    }

    /// Passes all of `input` on, and at the highest levels ends a metablock in time.
    fn pass(&mut self, mut input: &[u8], out: &mut Output<'_>) -> Result<(), CompressionError> {
        use BrotliEncoderOperation::BROTLI_OPERATION_PROCESS;
        while !input.is_empty() {
            let (mut piece, rest) = input.split_at(input.len().min(self.until_flush.unwrap_or(usize::MAX)));
            input = rest;
            self.until_flush = self.until_flush.map(|left| left - piece.len());
            while !piece.is_empty() {
                self.step(&mut piece, BROTLI_OPERATION_PROCESS, out)?;
            }
            if self.until_flush == Some(0) {
                self.end_metablock(out)?;
            }
        }
        Ok(())
    }

    fn end_metablock(&mut self, out: &mut Output<'_>) -> Result<(), CompressionError> {
        self.until_flush = self.until_flush.map(|_| SLOW_METABLOCK);
        loop {
            self.step(&mut [].as_slice(), BrotliEncoderOperation::BROTLI_OPERATION_FLUSH, out)?;
            if !self.state.has_more_output() {
                return Ok(());
            }
        }
    }
}

impl Encode for Encoder {
    fn update(&mut self, mut input: &[u8], out: &mut Output<'_>) -> Result<(), CompressionError> {
        let Some(mut held) = self.held.take() else { return self.pass(input, out) };
        while !input.is_empty() {
            // A full piece waits for the next byte, since the last one must be passed on as the last.
            if held.len() == PIECE {
                self.pass(&held, out)?;
                held.clear();
            }
            let (piece, rest) = input.split_at(input.len().min(PIECE - held.len()));
            held.extend_from_slice(piece);
            input = rest;
        }
        self.held = Some(held);
        Ok(())
    }

    fn flush(&mut self, out: &mut Output<'_>) -> Result<(), CompressionError> {
        if let Some(mut held) = self.held.take() {
            self.pass(&held, out)?;
            held.clear();
            self.held = Some(held);
        }
        self.end_metablock(out)
    }

    fn finish(&mut self, out: &mut Output<'_>) -> Result<(), CompressionError> {
        let held = self.held.take().unwrap_or_default();
        let mut rest = held.as_slice();
        while !self.state.is_finished() {
            self.step(&mut rest, BrotliEncoderOperation::BROTLI_OPERATION_FINISH, out)?;
        }
        Ok(())
    }
}

/// Decompresses a content, in pieces or at once.
pub(super) type Decoder = Streams<Brotli>;

pub(super) struct Brotli {
    state: Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>,
    max_memory: u64,
    header: Header,
}

/// The part of the header that is read so far. It is checked here, because the library has no limit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Header {
    Nothing,
    /// The first byte, which announces the extension to large windows.
    Extension,
    Complete,
}

impl Header {
    /// Reads the window size, as a power of two, if the input has it: RFC 7932, section 9.1, and for the
    /// extension the six bits after its code.
    fn read(&mut self, input: &[u8]) -> Option<u32> {
        let (first, second) = match (*self, input) {
            (Self::Nothing, [first, rest @ ..]) => (*first, rest.first()),
            (Self::Extension, [second, ..]) => (EXTENSION, Some(second)),
            (Self::Complete, _) | (_, []) => return None,
        };
        let bits = match (first & 1, first >> 1 & 7, first >> 4 & 7) {
            _ if first == EXTENSION => second.map(|second| u32::from(*second & 63)),
            (0, ..) => Some(16),
            (_, 0, 0) => Some(17),
            (_, 0, bits) => Some(8 + u32::from(bits)),
            (_, bits, _) => Some(17 + u32::from(bits)),
        };
        *self = if bits.is_some() { Self::Complete } else { Self::Extension };
        bits
    }
}

impl StreamDecoder for Brotli {
    const FORMAT: Format = Format { codec: Codec::Brotli, magic: &[], concatenated: false, padding: 0 };

    /// Creates a decoder that also reads the extension to windows above 16 MiB, the largest of RFC 7932.
    fn new(max_memory: u64) -> Result<Self, CodecFailure> {
        let alloc = StandardAlloc::default;
        let state = Box::new(BrotliState::new(alloc(), alloc(), alloc()));
        Ok(Self { state, max_memory, header: Header::Nothing })
    }

    fn step(&mut self, input: &[u8], space: &mut [u8]) -> Step<bool> {
        if let Some(needed) = self.header.read(input).and_then(|bits| 1u64.checked_shl(bits))
            && needed > self.max_memory
        {
            let result = Err(CodecFailure::MemoryLimit { needed, limit: self.max_memory });
            return Step { taken: 0, written: 0, result };
        }
        let (mut left, mut taken) = (input.len(), 0);
        let (mut room, mut written) = (space.len(), 0);
        let result = BrotliDecompressStream(
            &mut left,
            &mut taken,
            input,
            &mut room,
            &mut written,
            space,
            &mut 0,
            &mut self.state,
        );
        let result = match result {
            BrotliResult::ResultSuccess => Ok(true),
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => Ok(false),
            BrotliResult::ResultFailure => Err(failure(self.state.error_code as i32)),
        };
        Step { taken, written, result }
    }
}

/// Returns the reason for a failure. The crate does not export the names of the codes, which are those of the
/// C library.
fn failure(code: i32) -> CodecFailure {
    match code {
        // BROTLI_DECODER_ERROR_FORMAT_WINDOW_BITS
        -13 => CodecFailure::Unsupported,
        // BROTLI_DECODER_ERROR_FORMAT_EXUBERANT_NIBBLE to BROTLI_DECODER_ERROR_FORMAT_BLOCK_SWITCH
        -17..=-1 => CodecFailure::Corrupt,
        // BROTLI_DECODER_ERROR_ALLOC_CONTEXT_MODES to BROTLI_DECODER_ERROR_ALLOC_BLOCK_TYPE_TREES
        -30..=-21 => CodecFailure::OutOfMemory,
        _ => CodecFailure::Internal,
    }
}
