//! Zstandard, using its library. Each content is one frame, with its size and checksum.
//!
//! The frame header is parsed here before the library reads it (RFC 8878, section 3.1.1.1). A window that is
//! too large, a content beyond the limit and a missing dictionary are therefore rejected with distinct
//! errors, which do not depend on how the input is split.

use std::fmt;

use zstd_safe::{
    CCtx, CParameter, DCtx, DParameter, ErrorCode, InBuffer, OutBuffer, ResetDirective, compress_bound,
    find_frame_compressed_size, is_error_kind, zstd_sys,
};
use zstd_sys::ZSTD_EndDirective::{self, ZSTD_e_continue, ZSTD_e_end, ZSTD_e_flush};
use zstd_sys::ZSTD_ErrorCode::{self, *};

use super::coder::{Decode, Encode};
use super::detect::{SKIPPABLE_HEADER, ZSTD_MAGIC, begins_frame, is_skippable, skippable_size};
use super::dictionary::Dictionary;
use super::error::{CodecFailure, CompressionError};
use super::format::Codec;
use super::options::DecompressOptions;
use super::output::{Flow, Output};
use crate::io::output_buffer::{OutOfMemory, OutputBuffer};

/// The largest context that is reused, in bytes. Levels above 19 use up to 1 GiB for a large content.
const MAX_REUSED_CONTEXT: usize = 64 << 20;

/// The most content of a block, and the fewest bytes of a block, both in bytes: a header of three bytes and
/// one byte to repeat.
const MAX_BLOCK: u64 = 128 << 10;
const MIN_BLOCK: u64 = 4;

/// The largest window that the library reads, as a power of two: ZSTD_WINDOWLOG_MAX.
pub(super) const MAX_WINDOW_LOG: u32 = if usize::BITS == 64 { 31 } else { 30 };

/// The longest frame header, in bytes.
const MAX_HEADER: usize = 18;

pub(super) fn compression_failed(why: CodecFailure) -> CompressionError {
    CompressionError::CompressionFailed { codec: Codec::Zstd, why }
}

pub(super) fn decompression_failed(why: CodecFailure) -> CompressionError {
    CompressionError::DecompressionFailed { codec: Codec::Zstd, why }
}

pub(super) fn failure(code: ErrorCode) -> CodecFailure {
    const REASONS: [(ZSTD_ErrorCode, CodecFailure); 15] = [
        (ZSTD_error_memory_allocation, CodecFailure::OutOfMemory),
        (ZSTD_error_checksum_wrong, CodecFailure::ChecksumMismatch),
        (ZSTD_error_dictionary_wrong, CodecFailure::DictionaryWrong),
        (ZSTD_error_dictionaryCreation_failed, CodecFailure::SamplesUnsuitable),
        (ZSTD_error_frameParameter_windowTooLarge, CodecFailure::Unsupported),
        (ZSTD_error_frameParameter_unsupported, CodecFailure::Unsupported),
        (ZSTD_error_version_unsupported, CodecFailure::Unsupported),
        (ZSTD_error_prefix_unknown, CodecFailure::BadMagic),
        (ZSTD_error_corruption_detected, CodecFailure::Corrupt),
        (ZSTD_error_literals_headerWrong, CodecFailure::Corrupt),
        (ZSTD_error_tableLog_tooLarge, CodecFailure::Corrupt),
        (ZSTD_error_maxSymbolValue_tooLarge, CodecFailure::Corrupt),
        (ZSTD_error_maxSymbolValue_tooSmall, CodecFailure::Corrupt),
        // The output has the size that the header declares, so a frame that needs more contradicts its
        // header.
        (ZSTD_error_dstSize_tooSmall, CodecFailure::Corrupt),
        (ZSTD_error_srcSize_wrong, CodecFailure::Corrupt),
    ];
    let reason = REASONS.into_iter().find(|(kind, _)| is_error_kind(code, *kind));
    reason.map_or(CodecFailure::Internal, |(_, why)| why)
}

/// The contexts that are reused between calls.
#[derive(Default)]
pub(super) struct Scratch {
    compressor: Option<Compressor>,
    decoder: Option<Decoder>,
}

impl Scratch {
    pub(super) fn compress(
        &mut self,
        data: &[u8],
        level: i32,
        dictionary: Option<&Dictionary>,
        out: &mut dyn OutputBuffer,
    ) -> Result<(), CompressionError> {
        let mut compressor = self.compressor.take().map_or_else(Compressor::new, Ok)?;
        compressor.configure(level, dictionary)?;
        let bound = compress_bound(data.len());
        out.grow(bound).map_err(|OutOfMemory| compression_failed(CodecFailure::OutOfMemory))?;
        let space = &mut out.as_mut_slice()[..bound];
        let written =
            compressor.context.compress2(space, data).map_err(|code| compression_failed(failure(code)))?;
        out.truncate(written);
        if compressor.context.sizeof() <= MAX_REUSED_CONTEXT {
            self.compressor = Some(compressor);
        }
        Ok(())
    }

    pub(super) fn decompress(
        &mut self,
        data: &[u8],
        options: &DecompressOptions,
        out: &mut Output<'_>,
    ) -> Result<usize, CompressionError> {
        let mut decoder = match self.decoder.take() {
            Some(mut decoder) => {
                decoder.reset()?;
                decoder.configure(options)?;
                decoder
            }
            None => Decoder::new(options)?,
        };
        let result = decoder.decode_whole(data, out);
        if decoder.context.sizeof() <= MAX_REUSED_CONTEXT {
            self.decoder = Some(decoder);
        }
        result
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch")
            .field("compressor", &self.compressor.is_some())
            .field("decoder", &self.decoder.is_some())
            .finish()
    }
}

/// A context with its last dictionary, so that a dictionary is loaded once and not for each content.
struct Compressor {
    context: CCtx<'static>,
    dictionary: Option<(Dictionary, i32)>,
}

impl Compressor {
    fn new() -> Result<Self, CompressionError> {
        let context = CCtx::try_create().ok_or(compression_failed(CodecFailure::OutOfMemory))?;
        Ok(Self { context, dictionary: None })
    }

    fn configure(&mut self, level: i32, dictionary: Option<&Dictionary>) -> Result<(), CompressionError> {
        self.try_configure(level, dictionary).map_err(|code| compression_failed(failure(code)))
    }

    fn try_configure(&mut self, level: i32, dictionary: Option<&Dictionary>) -> Result<(), ErrorCode> {
        self.context.reset(ResetDirective::SessionOnly)?;
        self.context.set_parameter(CParameter::CompressionLevel(level))?;
        self.context.set_parameter(CParameter::ChecksumFlag(true))?;
        match (dictionary, &self.dictionary) {
            (None, None) => {}
            (None, Some(_)) => {
                self.context.disable_dictionary()?;
                self.dictionary = None;
            }
            (Some(new), Some((old, at))) if new.same(old) && *at == level => {}
            (Some(new), _) => {
                // The tables that the library builds from a dictionary are specific to a level.
                self.context.load_dictionary(new.as_bytes())?;
                self.dictionary = Some((new.clone(), level));
            }
        }
        Ok(())
    }
}

/// Compresses a content in pieces.
pub(super) struct Encoder(Compressor);

impl Encoder {
    pub(super) fn new(
        level: i32,
        dictionary: Option<&Dictionary>,
        size: Option<usize>,
    ) -> Result<Self, CompressionError> {
        let mut compressor = Compressor::new()?;
        compressor.configure(level, dictionary)?;
        let pledged = size.map(|size| size as u64);
        compressor.context.set_pledged_src_size(pledged).map_err(|code| compression_failed(failure(code)))?;
        Ok(Self(compressor))
    }

    /// Feeds the library until it has consumed all input and, with a directive that flushes, written all
    /// output.
    fn run(
        &mut self,
        input: &[u8],
        directive: ZSTD_EndDirective,
        out: &mut Output<'_>,
    ) -> Result<(), CompressionError> {
        let flushes = directive != ZSTD_e_continue;
        let mut input = InBuffer::around(input);
        loop {
            let mut space = OutBuffer::around(out.step().map_err(compression_failed)?);
            let left = self.0.context.compress_stream2(&mut space, &mut input, directive);
            let written = space.pos();
            out.advance(written)?;
            let left = left.map_err(|code| compression_failed(failure(code)))?;
            if input.pos() == input.src.len() && (!flushes || left == 0) {
                return Ok(());
            }
        }
    }
}

impl Encode for Encoder {
    fn update(&mut self, input: &[u8], out: &mut Output<'_>) -> Result<(), CompressionError> {
        self.run(input, ZSTD_e_continue, out)
    }

    fn flush(&mut self, out: &mut Output<'_>) -> Result<(), CompressionError> {
        self.run(&[], ZSTD_e_flush, out)
    }

    fn finish(&mut self, out: &mut Output<'_>) -> Result<(), CompressionError> {
        self.run(&[], ZSTD_e_end, out)
    }
}

/// Decompresses a content in pieces, or at once if a whole frame is available.
pub(super) struct Decoder {
    context: DCtx<'static>,
    max_memory: u64,
    dictionary: Option<Dictionary>,
    /// The beginning of a frame header that is not complete yet.
    header: [u8; MAX_HEADER],
    header_len: usize,
    phase: Phase,
    /// The number of frames so far, including skippable ones.
    frames: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Between frames, or within a frame header.
    Start,
    /// Within a skippable frame, with the number of bytes left in it.
    Skip(u64),
    /// Within a frame. `left` is the number of content bytes to come, if the header declares a size: the
    /// streaming API does not verify it in a frame that ends with an empty block. `full` tells whether the
    /// library filled its last output buffer, and so may hold back output.
    Frame { left: Option<u64>, full: bool },
}

impl Decoder {
    pub(super) fn new(options: &DecompressOptions) -> Result<Self, CompressionError> {
        let mut context = DCtx::try_create().ok_or(decompression_failed(CodecFailure::OutOfMemory))?;
        // The limit is checked here, so the library has none.
        context
            .set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG))
            .map_err(|code| decompression_failed(failure(code)))?;
        let mut decoder = Self {
            context,
            max_memory: 0,
            dictionary: None,
            header: [0; MAX_HEADER],
            header_len: 0,
            phase: Phase::Start,
            frames: 0,
        };
        decoder.configure(options)?;
        Ok(decoder)
    }

    /// Resets a used decoder in any state.
    fn reset(&mut self) -> Result<(), CompressionError> {
        (self.header_len, self.phase, self.frames) = (0, Phase::Start, 0);
        let reset = self.context.reset(ResetDirective::SessionOnly);
        reset.map(|_| ()).map_err(|code| decompression_failed(failure(code)))
    }

    fn configure(&mut self, options: &DecompressOptions) -> Result<(), CompressionError> {
        self.max_memory = options.max_memory;
        let dictionary = options.dictionary.as_ref();
        let result = match (dictionary, &self.dictionary) {
            (None, None) => return Ok(()),
            (Some(new), Some(old)) if new.same(old) => return Ok(()),
            (None, Some(_)) => self.context.disable_dictionary(),
            (Some(new), _) => self.context.load_dictionary(new.as_bytes()),
        };
        self.dictionary = dictionary.cloned();
        result.map(|_| ()).map_err(|code| decompression_failed(failure(code)))
    }

    /// Checks a frame header against the limits and the dictionary.
    fn check(&self, frame: &FrameHeader, out: &Output<'_>) -> Result<(), CompressionError> {
        let (needed, limit) = (frame.window, self.max_memory);
        if needed > limit {
            return Err(decompression_failed(CodecFailure::MemoryLimit { needed, limit }));
        }
        if needed > 1 << MAX_WINDOW_LOG {
            return Err(decompression_failed(CodecFailure::Unsupported));
        }
        if let Some(size) = frame.content_size {
            out.allows(size)?;
        }
        match (frame.dictionary, &self.dictionary) {
            (Some(_), None) => Err(decompression_failed(CodecFailure::DictionaryMissing)),
            (Some(id), Some(dictionary)) if dictionary.id() != Some(id) => {
                Err(decompression_failed(CodecFailure::DictionaryWrong))
            }
            _ => Ok(()),
        }
    }

    /// Decompresses the frame at the front of `input` directly into the output, if it is complete and
    /// declares its size. Otherwise, and if it is damaged, consumes nothing and returns `false`.
    fn decode_at_once(
        &mut self,
        frame: &FrameHeader,
        input: &mut &[u8],
        out: &mut Output<'_>,
    ) -> Result<bool, CompressionError> {
        let Some(content_size) = frame.content_size.and_then(|size| usize::try_from(size).ok()) else {
            return Ok(false);
        };
        let Ok(frame_size) = find_frame_compressed_size(input) else { return Ok(false) };
        // The declared size is untrusted: reserve no more than the blocks of the frame can hold.
        if content_size > out.room() || content_size as u64 / MAX_BLOCK > frame_size as u64 / MIN_BLOCK {
            return Ok(false);
        }
        let space = out.space(content_size).map_err(decompression_failed)?;
        let (frame, rest) = input.split_at(frame_size);
        match self.context.decompress(&mut space[..content_size], frame) {
            Ok(written) => {
                out.advance(written)?;
                *input = rest;
                Ok(true)
            }
            // The one-shot API is stricter than streaming, for example on empty blocks. Acceptance must not
            // depend on how the input is split, so fall back to streaming.
            Err(_) => {
                let reset = self.context.reset(ResetDirective::SessionOnly);
                reset.map(|_| false).map_err(|code| decompression_failed(failure(code)))
            }
        }
    }

    /// Returns the result for an input that begins no frame, nor do the bytes of the header so far.
    fn no_frame(&self) -> Result<usize, CompressionError> {
        if self.frames > 0 { Ok(self.header_len) } else { Err(decompression_failed(CodecFailure::BadMagic)) }
    }

    /// Reads the available part of a frame header, and begins the frame if the header is complete.
    fn begin(&mut self, input: &mut &[u8], out: &mut Output<'_>) -> Result<Flow, CompressionError> {
        if self.header_len == 0 {
            match FrameStart::read(input) {
                FrameStart::Frame(frame) => {
                    self.check(&frame, out)?;
                    if self.decode_at_once(&frame, input, out)? {
                        self.frames += 1;
                        return Ok(Flow::Drained);
                    }
                }
                FrameStart::None => return self.no_frame().map(Flow::Trailing),
                FrameStart::TooShort | FrameStart::Skippable(_) => {}
            }
        }
        while let Some((&byte, rest)) = input.split_first() {
            *input = rest;
            self.header[self.header_len] = byte;
            self.header_len += 1;
            let header = &self.header[..self.header_len];
            match FrameStart::read(header) {
                FrameStart::None => return self.no_frame().map(Flow::Trailing),
                FrameStart::TooShort => continue,
                FrameStart::Skippable(size) => self.phase = Phase::Skip(size),
                FrameStart::Frame(frame) => {
                    self.check(&frame, out)?;
                    // The library only stores the header, which yields no output.
                    let mut header = InBuffer::around(header);
                    let mut nothing = [];
                    self.context
                        .decompress_stream(&mut OutBuffer::around(&mut nothing[..]), &mut header)
                        .map_err(|code| decompression_failed(failure(code)))?;
                    debug_assert_eq!(header.pos(), self.header_len);
                    self.phase = Phase::Frame { left: frame.content_size, full: false };
                }
            }
            self.header_len = 0;
            self.frames += 1;
            return Ok(Flow::Drained);
        }
        Ok(Flow::Drained)
    }
}

impl Decode for Decoder {
    fn decode(&mut self, input: &mut &[u8], out: &mut Output<'_>) -> Result<Flow, CompressionError> {
        loop {
            match self.phase {
                Phase::Start if input.is_empty() => return Ok(Flow::Drained),
                Phase::Start => {
                    if let trailing @ Flow::Trailing(_) = self.begin(input, out)? {
                        return Ok(trailing);
                    }
                }
                Phase::Skip(left) => {
                    let skipped = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                    *input = &input[skipped..];
                    match left - skipped as u64 {
                        0 => self.phase = Phase::Start,
                        left => {
                            self.phase = Phase::Skip(left);
                            return Ok(Flow::Drained);
                        }
                    }
                }
                Phase::Frame { full: false, .. } if input.is_empty() => return Ok(Flow::Drained),
                Phase::Frame { left, .. } => {
                    let space = out.step().map_err(decompression_failed)?;
                    if space.is_empty() {
                        return Ok(Flow::Full);
                    }
                    let room = space.len();
                    let mut space = OutBuffer::around(space);
                    let mut source = InBuffer::around(input);
                    let hint = self.context.decompress_stream(&mut space, &mut source);
                    let (written, taken) = (space.pos(), source.pos());
                    out.advance(written)?;
                    *input = &input[taken..];
                    let hint = hint.map_err(|code| decompression_failed(failure(code)))?;
                    let corrupt = decompression_failed(CodecFailure::Corrupt);
                    let left = match left {
                        Some(left) => Some(left.checked_sub(written as u64).ok_or(corrupt.clone())?),
                        None => None,
                    };
                    self.phase = match (hint, left) {
                        (0, None | Some(0)) => Phase::Start,
                        (0, Some(_)) => return Err(corrupt),
                        _ => Phase::Frame { left, full: written == room },
                    };
                }
            }
        }
    }

    fn finish(&mut self) -> Result<usize, CompressionError> {
        let header = &self.header[..self.header_len];
        match self.phase {
            Phase::Start if header.is_empty() && self.frames > 0 => Ok(0),
            Phase::Start if header.len() < 4 && !begins_frame(header, ZSTD_MAGIC) => self.no_frame(),
            _ => Err(decompression_failed(CodecFailure::Truncated)),
        }
    }
}

/// The result of reading the first bytes of a frame.
enum FrameStart {
    /// No frame begins with the bytes.
    None,
    TooShort,
    /// A skippable frame, with the number of bytes after its header.
    Skippable(u64),
    Frame(FrameHeader),
}

struct FrameHeader {
    /// The memory that the decoder must keep, in bytes.
    window: u64,
    content_size: Option<u64>,
    dictionary: Option<u32>,
}

impl FrameStart {
    /// Reads a header as in RFC 8878, section 3.1.1.1.
    fn read(bytes: &[u8]) -> Self {
        let Some((magic, rest)) = bytes.split_first_chunk::<4>() else { return Self::TooShort };
        if is_skippable(magic) {
            return match bytes.first_chunk::<SKIPPABLE_HEADER>() {
                Some(header) => Self::Skippable(skippable_size(header)),
                None => Self::TooShort,
            };
        }
        if *magic != ZSTD_MAGIC {
            return Self::None;
        }
        let Some((&descriptor, mut rest)) = rest.split_first() else { return Self::TooShort };
        let single_segment = descriptor & 0b10_0000 != 0;
        let dictionary_len = [0, 1, 2, 4][usize::from(descriptor & 0b11)];
        let size_len = match descriptor >> 6 {
            0 => usize::from(single_segment),
            flag => 1 << flag,
        };
        if rest.len() < usize::from(!single_segment) + dictionary_len + size_len {
            return Self::TooShort;
        }
        let mut number = |len: usize| {
            let (field, behind) = rest.split_at(len);
            rest = behind;
            field.iter().rev().fold(0u64, |number, &byte| number << 8 | u64::from(byte))
        };
        let window = (!single_segment).then(|| {
            let (exponent, mantissa) = {
                let byte = number(1);
                (byte >> 3, byte & 7)
            };
            let base = 1 << (10 + exponent);
            base + base / 8 * mantissa
        });
        let dictionary = match number(dictionary_len) {
            0 => None,
            // At most four bytes were read, so the cast is lossless.
            id => Some(id as u32),
        };
        let content_size = match size_len {
            0 => None,
            2 => Some(number(2) + 256),
            len => Some(number(len)),
        };
        // A single segment keeps its whole content, and its header always declares the size.
        let window = window.or(content_size).unwrap_or(u64::MAX);
        Self::Frame(FrameHeader { window, content_size, dictionary })
    }
}
