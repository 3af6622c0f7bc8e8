//! The LZ4 frame format ("LZ4 Frame Format Description", version 1.6), around the blocks of `lz4_flex`.
//!
//! The frame reader and writer of that crate are not used: the reader accepts a truncated file, because it
//! treats the end of the input as the end of the frame; it is pulled rather than pushed; and neither can be
//! reused without allocating. This module implements the frame, and the crate compresses its blocks.
//!
//! Frames are written with independent blocks, a checksum of the content, and the size of the content if it
//! is known. With a dictionary, each block can refer to its last 64 KiB, as with `lz4 -D`, which writes no id
//! of it either. All features of the format are read, and legacy frames (`lz4 -l`, Linux kernels), which have
//! no checksum and no end mark: one that is cut between two blocks looks like a whole one.

use std::fmt;
use std::hash::Hasher;
use std::ops::Range;

use lz4_flex::block::{
    CompressTable, compress_into_with_dict, compress_into_with_table, decompress_into,
    decompress_into_with_dict, get_maximum_output_size,
};
use twox_hash::XxHash32;

use super::coder::{Decode, Encode};
use super::detect::{
    LZ4_LEGACY_MAGIC, LZ4_MAGIC, SKIPPABLE_HEADER, begins_frame, is_skippable, skippable_size,
};
use super::dictionary::Dictionary;
use super::error::{CodecFailure, CompressionError};
use super::format::Codec;
use super::output::{Flow, Output, OutputBudget};
use crate::io::output_buffer::OutputBuffer;

/// The content of a full block, in bytes: the smallest of the format's four sizes, and equal to [`WINDOW`].
///
/// On the libraries of a compiler toolchain, larger blocks compress 11 to 17% slower, because more of the
/// attempted matches are out of reach, and save 1.7 to 2.2% of the output. Linked blocks save as much, but
/// cost a third of the speed, because the table of each block must be filled from the previous one.
const LZ4_BLOCK_SIZE: usize = 64 << 10;

/// The code of [`LZ4_BLOCK_SIZE`] in a frame header.
const BLOCK_ID: u8 = 4;

/// The content of a full block of a legacy frame, in bytes.
const LEGACY_BLOCK_SIZE: usize = 8 << 20;

/// The longest block of a legacy frame, in bytes: LZ4_COMPRESSBOUND of its content.
const LEGACY_MAX_BLOCK: usize = LEGACY_BLOCK_SIZE + LEGACY_BLOCK_SIZE / 255 + 16;

/// The longest distance of a match, in bytes: a linked block needs this much of the preceding content.
const WINDOW: usize = 64 << 10;

/// The longest frame header, in bytes: magic, flags, block size, content size, dictionary id, checksum.
const MAX_HEADER: usize = 19;

/// The flag in the size of a block for a block that is stored uncompressed.
const STORED: u32 = 1 << 31;

const VERSION: u8 = 0b0100_0000;
const INDEPENDENT: u8 = 0b0010_0000;
const BLOCK_CHECKSUM: u8 = 0b0001_0000;
const CONTENT_SIZE: u8 = 0b0000_1000;
const CONTENT_CHECKSUM: u8 = 0b0000_0100;
const RESERVED: u8 = 0b0000_0010;
const DICTIONARY: u8 = 0b0000_0001;

fn compression_failed(why: CodecFailure) -> CompressionError {
    CompressionError::CompressionFailed { codec: Codec::Lz4, why }
}

fn decompression_failed(why: CodecFailure) -> CompressionError {
    CompressionError::DecompressionFailed { codec: Codec::Lz4, why }
}

/// The state that is reused between calls.
#[derive(Default)]
pub(super) struct Scratch {
    compressor: Option<Compressor>,
    decoder: Option<Decoder>,
}

impl Scratch {
    pub(super) fn compress(
        &mut self,
        data: &[u8],
        dictionary: Option<&Dictionary>,
        out: &mut dyn OutputBuffer,
    ) -> Result<(), CompressionError> {
        let compressor = self.compressor.get_or_insert_default();
        let mut budget = OutputBudget::unlimited();
        let mut output = Output::replace(out, &mut budget);
        let mut whole = || {
            begin_frame(Some(data.len()), &mut output)?;
            for block in data.chunks(LZ4_BLOCK_SIZE) {
                compressor.block(block, dictionary, &mut output)?;
            }
            end_frame(XxHash32::oneshot(0, data), &mut output)
        };
        let result = whole();
        output.finish(result)
    }

    pub(super) fn decompress(
        &mut self,
        data: &[u8],
        dictionary: Option<&Dictionary>,
        out: &mut Output<'_>,
    ) -> Result<usize, CompressionError> {
        let decoder = self.decoder.get_or_insert_with(|| Decoder::new(None));
        decoder.reset(dictionary);
        decoder.decode_whole(data, out)
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

/// Writes a frame header.
fn begin_frame(content_size: Option<usize>, out: &mut Output<'_>) -> Result<(), CompressionError> {
    let size_flag = if content_size.is_some() { CONTENT_SIZE } else { 0 };
    let mut header = [0; MAX_HEADER];
    header[..4].copy_from_slice(&LZ4_MAGIC);
    header[4] = VERSION | INDEPENDENT | CONTENT_CHECKSUM | size_flag;
    header[5] = BLOCK_ID << 4;
    let mut len = 6;
    if let Some(size) = content_size {
        header[len..len + 8].copy_from_slice(&(size as u64).to_le_bytes());
        len += 8;
    }
    header[len] = header_checksum(&header[4..len]);
    write(&header[..=len], out)
}

fn end_frame(checksum: u32, out: &mut Output<'_>) -> Result<(), CompressionError> {
    write(&0u32.to_le_bytes(), out)?;
    write(&checksum.to_le_bytes(), out)
}

fn write(bytes: &[u8], out: &mut Output<'_>) -> Result<(), CompressionError> {
    out.space(bytes.len()).map_err(compression_failed)?[..bytes.len()].copy_from_slice(bytes);
    out.advance(bytes.len())
}

/// Returns the largest block size of a frame, in bytes, for the three bits of its header. `id` must be in
/// 4..=7.
fn block_size(id: u8) -> usize {
    (64 << 10) << (2 * (id - 4))
}

fn header_checksum(fields: &[u8]) -> u8 {
    let [_, second, ..] = XxHash32::oneshot(0, fields).to_le_bytes();
    second
}

/// The hash tables. The table for small blocks has half the size.
struct Compressor {
    small: CompressTable,
    large: CompressTable,
}

impl Default for Compressor {
    fn default() -> Self {
        Self { small: CompressTable::small(), large: CompressTable::large() }
    }
}

impl Compressor {
    /// Writes a block, compressed if that makes it smaller.
    fn block(
        &mut self,
        content: &[u8],
        dictionary: Option<&Dictionary>,
        out: &mut Output<'_>,
    ) -> Result<(), CompressionError> {
        let most = get_maximum_output_size(content.len());
        let space = out.space(4 + most).map_err(compression_failed)?;
        let (size, body) = space.split_at_mut(4);
        // The small table holds 16-bit positions, so a full block needs the large one.
        let table = if content.len() < usize::from(u16::MAX) { &mut self.small } else { &mut self.large };
        let len = match dictionary {
            None => compress_into_with_table(content, body, table),
            Some(dictionary) => compress_into_with_dict(content, body, within_reach(dictionary)),
        };
        let len = len.map_err(|_| compression_failed(CodecFailure::Internal))?;
        // The size of a block fits in 17 bits.
        let (len, flag) = if len < content.len() {
            (len, 0)
        } else {
            body[..content.len()].copy_from_slice(content);
            (content.len(), STORED)
        };
        size.copy_from_slice(&(len as u32 | flag).to_le_bytes());
        out.advance(4 + len)
    }
}

/// Compresses a content in pieces.
pub(super) struct Encoder {
    compressor: Compressor,
    dictionary: Option<Dictionary>,
    /// The beginning of a block that is not full yet.
    held: Vec<u8>,
    checksum: XxHash32,
    begun: bool,
    /// The size of the content, if it is known.
    size: Option<usize>,
}

impl Encoder {
    pub(super) fn new(dictionary: Option<&Dictionary>, size: Option<usize>) -> Self {
        Self {
            size,
            dictionary: dictionary.cloned(),
            compressor: Compressor::default(),
            held: Vec::new(),
            checksum: XxHash32::with_seed(0),
            begun: false,
        }
    }

    fn begin(&mut self, out: &mut Output<'_>) -> Result<(), CompressionError> {
        if !self.begun {
            begin_frame(self.size, out)?;
            self.begun = true;
        }
        Ok(())
    }
}

impl Encode for Encoder {
    fn update(&mut self, mut input: &[u8], out: &mut Output<'_>) -> Result<(), CompressionError> {
        self.begin(out)?;
        self.checksum.write(input);
        while !input.is_empty() {
            if self.held.is_empty()
                && let Some((block, rest)) = input.split_at_checked(LZ4_BLOCK_SIZE)
            {
                self.compressor.block(block, self.dictionary.as_ref(), out)?;
                input = rest;
                continue;
            }
            let (piece, rest) = input.split_at(input.len().min(LZ4_BLOCK_SIZE - self.held.len()));
            self.held.extend_from_slice(piece);
            input = rest;
            if self.held.len() == LZ4_BLOCK_SIZE {
                self.compressor.block(&self.held, self.dictionary.as_ref(), out)?;
                self.held.clear();
            }
        }
        Ok(())
    }

    fn flush(&mut self, out: &mut Output<'_>) -> Result<(), CompressionError> {
        self.begin(out)?;
        if !self.held.is_empty() {
            self.compressor.block(&self.held, self.dictionary.as_ref(), out)?;
            self.held.clear();
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Output<'_>) -> Result<(), CompressionError> {
        self.flush(out)?;
        end_frame(self.checksum.finish_32(), out)
    }
}

/// Decompresses a content, in pieces or at once.
pub(super) struct Decoder {
    /// The beginning of the item that the current phase needs as a whole.
    held: Vec<u8>,
    phase: Phase,
    frame: Frame,
    /// The bytes before a block that it can refer to, at most [`WINDOW`] of them: the end of the dictionary,
    /// and if blocks are linked that of the content.
    window: Vec<u8>,
    dictionary: Option<Dictionary>,
    /// A decompressed block that did not fit in the output, and the range of it that is still to be written.
    block: Vec<u8>,
    pending: Range<usize>,
    checksum: XxHash32,
    /// The number of frames so far, including skippable ones.
    frames: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Between frames, or within a frame header.
    Start,
    /// Within a skippable frame, with the number of bytes left in it.
    Skip(u64),
    /// Before the size of a block, or the end mark of the frame.
    BlockSize,
    /// Before the size of a block of a legacy frame, the magic of another frame, or the end of the input.
    LegacyBlockSize,
    /// Within a block of `len` bytes, not counting its checksum.
    Block { len: usize, stored: bool },
    /// Before the checksum of the content.
    Checksum,
}

/// The fields of a frame header, and the number of content bytes so far.
#[derive(Debug, Clone, Default)]
struct Frame {
    legacy: bool,
    flags: u8,
    block_size: usize,
    content_size: Option<u64>,
    content_len: u64,
}

impl Frame {
    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

impl Decoder {
    pub(super) fn new(dictionary: Option<&Dictionary>) -> Self {
        Self {
            dictionary: dictionary.cloned(),
            held: Vec::new(),
            phase: Phase::Start,
            frame: Frame::default(),
            window: Vec::new(),
            block: Vec::new(),
            pending: 0..0,
            checksum: XxHash32::with_seed(0),
            frames: 0,
        }
    }

    /// Resets a used decoder in any state. Keeps its buffers.
    fn reset(&mut self, dictionary: Option<&Dictionary>) {
        self.dictionary = dictionary.cloned();
        self.held.clear();
        self.phase = Phase::Start;
        self.pending = 0..0;
        self.frames = 0;
    }

    /// Returns the result for an input that begins no frame, nor do the bytes that are held.
    fn no_frame(&self) -> Result<usize, CompressionError> {
        if self.frames > 0 { Ok(self.held.len()) } else { Err(decompression_failed(CodecFailure::BadMagic)) }
    }

    /// Returns the number of bytes that the current phase needs, as far as the available bytes determine it,
    /// or `None` if they begin no frame.
    fn needed(&self, there: &[u8]) -> Option<usize> {
        Some(match self.phase {
            Phase::Start => match there.first_chunk::<4>() {
                None => 4,
                Some(magic) if is_skippable(magic) => SKIPPABLE_HEADER,
                Some(magic) if *magic == LZ4_LEGACY_MAGIC => 4,
                Some(magic) if *magic != LZ4_MAGIC => return None,
                Some(_) => match there.get(4) {
                    None => 5,
                    Some(flags) => {
                        7 + if flags & CONTENT_SIZE != 0 { 8 } else { 0 }
                            + if flags & DICTIONARY != 0 { 4 } else { 0 }
                    }
                },
            },
            Phase::Skip(_) => 0,
            Phase::BlockSize | Phase::Checksum => 4,
            Phase::LegacyBlockSize => match there.first_chunk::<4>() {
                Some(size) if !(1..=LEGACY_MAX_BLOCK).contains(&(number(size) as usize)) => return None,
                _ => 4,
            },
            Phase::Block { len, .. } => len + if self.frame.has(BLOCK_CHECKSUM) { 4 } else { 0 },
        })
    }

    /// Reads a complete frame header.
    fn begin_frame(&mut self, header: &[u8], out: &Output<'_>) -> Result<(), CompressionError> {
        self.frames += 1;
        if let Some(header) = header.first_chunk::<SKIPPABLE_HEADER>()
            && is_skippable(header)
        {
            self.phase = Phase::Skip(skippable_size(header));
            return Ok(());
        }
        if *header == LZ4_LEGACY_MAGIC {
            let (flags, block_size) = (INDEPENDENT, LEGACY_BLOCK_SIZE);
            self.frame = Frame { legacy: true, flags, block_size, content_size: None, content_len: 0 };
            self.window.clear();
            self.phase = Phase::LegacyBlockSize;
            return Ok(());
        }
        let [.., checksum] = *header else { return Err(decompression_failed(CodecFailure::Internal)) };
        let fields = &header[4..header.len() - 1];
        let (flags, block) = (fields[0], fields[1]);
        if flags & !(VERSION - 1) != VERSION || flags & RESERVED != 0 {
            return Err(decompression_failed(CodecFailure::Unsupported));
        }
        if header_checksum(fields) != checksum {
            return Err(decompression_failed(CodecFailure::ChecksumMismatch));
        }
        // Reserved bits, and the reserved block sizes 0 to 3.
        if block & 0b1000_1111 != 0 || block >> 4 < 4 {
            return Err(decompression_failed(CodecFailure::Unsupported));
        }
        if flags & DICTIONARY != 0 && self.dictionary.is_none() {
            return Err(decompression_failed(CodecFailure::DictionaryMissing));
        }
        let content_size = if flags & CONTENT_SIZE != 0 {
            fields[2..].first_chunk::<8>().map(|size| u64::from_le_bytes(*size))
        } else {
            None
        };
        if let Some(size) = content_size {
            out.allows(size)?;
        }
        let block_size = block_size(block >> 4);
        self.frame = Frame { legacy: false, flags, block_size, content_size, content_len: 0 };
        self.window.clear();
        if let Some(dictionary) = &self.dictionary {
            self.window.extend_from_slice(within_reach(dictionary));
        }
        self.checksum = XxHash32::with_seed(0);
        self.phase = Phase::BlockSize;
        Ok(())
    }

    fn begin_block(&mut self, size: u32) -> Result<(), CompressionError> {
        let len = (size & !STORED) as usize;
        self.phase = if size == 0 {
            if self.frame.content_size.is_some_and(|size| size != self.frame.content_len) {
                return Err(decompression_failed(CodecFailure::Corrupt));
            }
            if self.frame.has(CONTENT_CHECKSUM) { Phase::Checksum } else { Phase::Start }
        } else if len > self.frame.block_size {
            return Err(decompression_failed(CodecFailure::Corrupt));
        } else {
            Phase::Block { len, stored: size & STORED != 0 }
        };
        Ok(())
    }

    /// Ends a legacy frame if another frame begins in place of the size of a block. It has no end mark, and
    /// no block is as long as a magic.
    fn end_legacy_frame(&mut self, next: Option<&[u8; 4]>) {
        if self.phase == Phase::LegacyBlockSize
            && next.is_some_and(|next| *next == LZ4_MAGIC || *next == LZ4_LEGACY_MAGIC || is_skippable(next))
        {
            self.phase = Phase::Start;
        }
    }

    /// Decompresses a block, directly into the output if it has space for the largest possible content.
    fn decode_block(
        &mut self,
        stored: bool,
        block: &[u8],
        checksum: Option<u32>,
        out: &mut Output<'_>,
    ) -> Result<(), CompressionError> {
        if checksum.is_some_and(|checksum| XxHash32::oneshot(0, block) != checksum) {
            return Err(decompression_failed(CodecFailure::ChecksumMismatch));
        }
        // A byte of a block yields at most 255 bytes of content, so a small block of a frame with a large
        // block size needs little space. One byte more than the frame has left detects a block that is too
        // long.
        let left = self.frame.content_size.map_or(u64::MAX, |size| size - self.frame.content_len);
        let most = self.frame.block_size.min(block.len().saturating_mul(255));
        let most = most.min(usize::try_from(left.saturating_add(1)).unwrap_or(usize::MAX));
        let direct = most <= out.room();
        let space = if direct {
            &mut out.space(most).map_err(decompression_failed)?[..most]
        } else {
            if self.block.len() < most {
                let more = most - self.block.len();
                self.block
                    .try_reserve_exact(more)
                    .map_err(|_| decompression_failed(CodecFailure::OutOfMemory))?;
                self.block.resize(most, 0);
            }
            &mut self.block[..most]
        };
        let len = if stored {
            let space = space.get_mut(..block.len()).ok_or(decompression_failed(CodecFailure::Corrupt))?;
            space.copy_from_slice(block);
            block.len()
        } else if self.window.is_empty() {
            decompress_into(block, space).map_err(|_| decompression_failed(CodecFailure::Corrupt))?
        } else {
            decompress_into_with_dict(block, space, &self.window)
                .map_err(|_| decompression_failed(CodecFailure::Corrupt))?
        };
        let content = &space[..len];
        if len as u64 > left {
            return Err(decompression_failed(CodecFailure::Corrupt));
        }
        self.frame.content_len += len as u64;
        if self.frame.has(CONTENT_CHECKSUM) {
            self.checksum.write(content);
        }
        if !self.frame.has(INDEPENDENT) {
            keep_last(&mut self.window, content);
        }
        if direct {
            out.advance(len)?;
        } else {
            self.pending = 0..len;
        }
        Ok(())
    }

    /// Writes buffered content to the output. Fails if it exceeds the limit.
    fn deliver(&mut self, out: &mut Output<'_>) -> Result<Flow, CompressionError> {
        let pending = &self.block[self.pending.clone()];
        let len = pending.len().min(out.room());
        out.space(len).map_err(decompression_failed)?[..len].copy_from_slice(&pending[..len]);
        out.advance(len)?;
        self.pending.start += len;
        Ok(if self.pending.is_empty() { Flow::Drained } else { Flow::Full })
    }

    /// Processes a complete item of the current phase.
    fn step(&mut self, item: &[u8], out: &mut Output<'_>) -> Result<(), CompressionError> {
        match self.phase {
            Phase::Start => self.begin_frame(item, out),
            Phase::Skip(_) => Ok(()),
            Phase::BlockSize => self.begin_block(number(item)),
            Phase::LegacyBlockSize => {
                self.phase = Phase::Block { len: number(item) as usize, stored: false };
                Ok(())
            }
            Phase::Block { len, stored } => {
                self.phase = if self.frame.legacy { Phase::LegacyBlockSize } else { Phase::BlockSize };
                let (block, checksum) = item.split_at(len);
                let checksum = (!checksum.is_empty()).then(|| number(checksum));
                self.decode_block(stored, block, checksum, out)
            }
            Phase::Checksum => {
                self.phase = Phase::Start;
                if number(item) == self.checksum.finish_32() {
                    Ok(())
                } else {
                    Err(decompression_failed(CodecFailure::ChecksumMismatch))
                }
            }
        }
    }
}

impl Decode for Decoder {
    fn decode(&mut self, input: &mut &[u8], out: &mut Output<'_>) -> Result<Flow, CompressionError> {
        loop {
            if self.deliver(out)? == Flow::Full {
                return Ok(Flow::Full);
            }
            if let Phase::Skip(left) = self.phase {
                let skipped = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                *input = &input[skipped..];
                self.phase = match left - skipped as u64 {
                    0 => Phase::Start,
                    left => Phase::Skip(left),
                };
            }
            if input.is_empty() {
                return Ok(Flow::Drained);
            }
            // An item that is available as a whole is not copied.
            if self.held.is_empty() {
                self.end_legacy_frame(input.first_chunk());
                let Some(needed) = self.needed(input) else { return self.no_frame().map(Flow::Trailing) };
                if let Some((item, rest)) = input.split_at_checked(needed) {
                    *input = rest;
                    self.step(item, out)?;
                    continue;
                }
            }
            let Some(needed) = self.needed(&self.held) else { return self.no_frame().map(Flow::Trailing) };
            let (piece, rest) = input.split_at(input.len().min(needed - self.held.len()));
            self.held.extend_from_slice(piece);
            *input = rest;
            self.end_legacy_frame(self.held.first_chunk().copied().as_ref());
            // The length of a header is known only after its first bytes.
            let Some(needed) = self.needed(&self.held) else { return self.no_frame().map(Flow::Trailing) };
            if self.held.len() == needed {
                let held = std::mem::take(&mut self.held);
                let result = self.step(&held, out);
                self.held = held;
                self.held.clear();
                result?;
            }
        }
    }

    fn finish(&mut self) -> Result<usize, CompressionError> {
        match self.phase {
            Phase::Start | Phase::LegacyBlockSize if self.held.is_empty() && self.frames > 0 => Ok(0),
            Phase::Start
                if self.held.len() < 4
                    && !begins_frame(&self.held, LZ4_MAGIC)
                    && !LZ4_LEGACY_MAGIC.starts_with(&self.held) =>
            {
                self.no_frame()
            }
            _ => Err(decompression_failed(CodecFailure::Truncated)),
        }
    }
}

/// Returns the end of a dictionary, of which a block can refer to [`WINDOW`] bytes.
fn within_reach(dictionary: &Dictionary) -> &[u8] {
    let bytes = dictionary.as_bytes();
    &bytes[bytes.len().saturating_sub(WINDOW)..]
}

/// Reads a little-endian number of four bytes.
fn number(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | u32::from(byte))
}

/// Appends `content` to `window` and drops the bytes that are out of reach.
fn keep_last(window: &mut Vec<u8>, content: &[u8]) {
    let content = &content[content.len().saturating_sub(WINDOW)..];
    let surplus = (window.len() + content.len()).saturating_sub(WINDOW);
    window.drain(..surplus);
    window.extend_from_slice(content);
}
