//! Limits the output and the memory of a decoder, so that a small hostile input cannot exhaust memory.

use super::error::{CodecFailure, CompressionError};
use crate::io::output_buffer::{OutOfMemory, OutputBuffer};

/// The default of [`DecompressOptions::max_memory`](super::DecompressOptions::max_memory): 128 MiB.
///
/// This is the default limit of the `zstd` program (`--long=27` writes such files), and twice the window of
/// `xz -9`.
pub const DEFAULT_MAX_MEMORY: u64 = 128 << 20;

/// The default of [`DecompressOptions::limit`](super::DecompressOptions::limit): 1 GiB.
pub const DEFAULT_LIMIT: u64 = 1 << 30;

/// The smallest and the largest step, in bytes, by which the buffer grows for output of unknown size. The
/// step doubles with the output. A step above 128 KiB would evict the bytes that were just cleared from the
/// cache.
const STEP: std::ops::RangeInclusive<usize> = 512..=128 << 10;

/// The number of bytes that may still be produced.
#[derive(Debug, Clone)]
pub(super) struct OutputBudget {
    limit: u64,
    left: u64,
}

impl OutputBudget {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, left: limit }
    }

    pub(super) fn unlimited() -> Self {
        Self::new(u64::MAX)
    }

    pub(super) fn exceeded(&self) -> CompressionError {
        CompressionError::SizeExceeded { limit: self.limit }
    }

    fn spend(&mut self, bytes: usize) -> Result<(), CompressionError> {
        self.left = self.left.checked_sub(bytes as u64).ok_or_else(|| self.exceeded())?;
        Ok(())
    }
}

/// Tells whether a decoder has more output for the input it has consumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// All input is consumed, and all its output is written.
    Drained,
    /// The output is full; there may be more.
    Full,
    /// The rest of the input begins no stream or frame, nor does this number of bytes before it. Nothing of
    /// the output is pending.
    Trailing(usize),
}

/// Appends a codec's output to a caller's buffer, within the budget and the size that the caller allows.
///
/// The space that it lends reaches one byte beyond the budget, so a content of exactly the limit can end, and
/// a larger one is detected at its first surplus byte. The buffer beyond the content holds stale bytes, which
/// are overwritten: clearing them for each call would cost what reusing the buffer saves.
pub(super) struct Output<'a> {
    buffer: &'a mut dyn OutputBuffer,
    start: usize,
    filled: usize,
    stop: usize,
    budget: &'a mut OutputBudget,
}

impl<'a> Output<'a> {
    /// Replaces the content of `buffer`.
    pub(super) fn replace(buffer: &'a mut dyn OutputBuffer, budget: &'a mut OutputBudget) -> Self {
        Self { buffer, start: 0, filled: 0, stop: usize::MAX, budget }
    }

    /// Appends at most `most` bytes to `buffer`.
    pub(super) fn append(
        buffer: &'a mut dyn OutputBuffer,
        most: usize,
        budget: &'a mut OutputBudget,
    ) -> Self {
        let start = buffer.len();
        Self { buffer, start, filled: start, stop: start.saturating_add(most), budget }
    }

    /// Returns the number of bytes that may still be written: at most one more than the budget.
    pub(super) fn room(&self) -> usize {
        let budget = usize::try_from(self.budget.left.saturating_add(1)).unwrap_or(usize::MAX);
        budget.min(self.stop - self.filled)
    }

    /// Checks that `bytes` more bytes of content are within the limit.
    pub(super) fn allows(&self, bytes: u64) -> Result<(), CompressionError> {
        if bytes > self.budget.left { Err(self.budget.exceeded()) } else { Ok(()) }
    }

    /// Returns space for at least `wanted` bytes, or all the remaining space.
    pub(super) fn space(&mut self, wanted: usize) -> Result<&mut [u8], CodecFailure> {
        let room = self.room();
        let wanted = self.filled + wanted.min(room);
        if self.buffer.len() < wanted {
            self.buffer.grow(wanted).map_err(|OutOfMemory| CodecFailure::OutOfMemory)?;
        }
        let end = self.buffer.len().min(self.filled.saturating_add(room));
        Ok(&mut self.buffer.as_mut_slice()[self.filled..end])
    }

    /// Returns space for output of unknown size. It grows with the output.
    pub(super) fn step(&mut self) -> Result<&mut [u8], CodecFailure> {
        self.space((self.filled - self.start).clamp(*STEP.start(), *STEP.end()))
    }

    /// Counts the first `bytes` bytes of the last returned space as content.
    pub(super) fn advance(&mut self, bytes: usize) -> Result<(), CompressionError> {
        self.filled += bytes;
        debug_assert!(self.filled <= self.buffer.len());
        self.budget.spend(bytes)
    }

    /// Finishes the output and truncates the buffer to the content.
    ///
    /// After an error, truncates the buffer to the start of the output; it keeps its capacity.
    pub(super) fn finish<T>(self, result: Result<T, CompressionError>) -> Result<T, CompressionError> {
        self.buffer.truncate(if result.is_ok() { self.filled } else { self.start });
        result
    }
}
