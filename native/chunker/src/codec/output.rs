//! How much a decoder may produce and keep: the limits that stand between a small hostile input and the memory.

use super::{CodecFailure, CompressionError};
use crate::io::output_buffer::{OutOfMemory, OutputBuffer};

/// The largest window, in bytes, that a decoder keeps for an input: 128 MiB.
///
/// It is what the `zstd` program accepts unless told otherwise (`--long=27` makes such files), and twice what `xz -9`
/// needs. An input that asks for more is refused with [`CodecFailure::MemoryLimit`] before anything is allocated for it. lz4
/// and bzip2 need no limit: their formats never ask for more than 8 MiB.
pub const MAX_WINDOW: u64 = 128 << 20;

/// The default of [`DecompressOptions::limit`](super::DecompressOptions::limit): 1 GiB.
pub const DEFAULT_LIMIT: u64 = 1 << 30;

/// The first and the largest step, in bytes, by which room is made for output of unknown size. A step doubles with
/// what has been produced; beyond 128 KiB it would only push the bytes just cleared out of the cache.
const STEP: std::ops::RangeInclusive<usize> = 512..=128 << 10;

/// How many bytes may still be produced.
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

/// Whether a decoder has more to give for the input it has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// All input is taken, and all that it gives is in the output.
    Drained,
    /// The output is full; there may be more.
    Full,
}

/// Appends a codec's output to a caller's buffer, as far as budget and caller allow.
///
/// The room that it hands out reaches one byte beyond the budget, so that a content that fits exactly can end, and one
/// that does not is noticed at its first surplus byte. Bytes of the buffer behind the content are stale and are
/// overwritten: clearing them again for each call would cost what reusing the buffer saves.
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

    /// Appends to `buffer`, at most `most` bytes.
    pub(super) fn append(
        buffer: &'a mut dyn OutputBuffer,
        most: usize,
        budget: &'a mut OutputBudget,
    ) -> Self {
        let start = buffer.len();
        Self { buffer, start, filled: start, stop: start.saturating_add(most), budget }
    }

    /// How many bytes may come, of which the last may be one too many.
    pub(super) fn room(&self) -> usize {
        let budget = usize::try_from(self.budget.left.saturating_add(1)).unwrap_or(usize::MAX);
        budget.min(self.stop - self.filled)
    }

    /// Whether a content of so many more bytes is within the limit.
    pub(super) fn allows(&self, bytes: u64) -> Result<(), CompressionError> {
        if bytes > self.budget.left { Err(self.budget.exceeded()) } else { Ok(()) }
    }

    /// Room for at least `wanted` bytes, or all the room there is.
    pub(super) fn space(&mut self, wanted: usize) -> Result<&mut [u8], CodecFailure> {
        let room = self.room();
        let wanted = self.filled + wanted.min(room);
        if self.buffer.len() < wanted {
            self.buffer.grow(wanted).map_err(|OutOfMemory| CodecFailure::OutOfMemory)?;
        }
        let end = self.buffer.len().min(self.filled.saturating_add(room));
        Ok(&mut self.buffer.as_mut_slice()[self.filled..end])
    }

    /// Room for output of unknown size; it grows with what has been produced.
    pub(super) fn step(&mut self) -> Result<&mut [u8], CodecFailure> {
        self.space((self.filled - self.start).clamp(*STEP.start(), *STEP.end()))
    }

    /// Counts the first `bytes` of the space handed out last as content.
    pub(super) fn advance(&mut self, bytes: usize) -> Result<(), CompressionError> {
        self.filled += bytes;
        debug_assert!(self.filled <= self.buffer.len());
        self.budget.spend(bytes)
    }

    /// Ends the output: the vector holds the content and nothing behind it.
    ///
    /// After an error it holds what it held before, and keeps its capacity.
    pub(super) fn finish<T>(self, result: Result<T, CompressionError>) -> Result<T, CompressionError> {
        self.buffer.truncate(if result.is_ok() { self.filled } else { self.start });
        result
    }
}
