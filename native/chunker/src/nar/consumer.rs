//! Runs computations over a NAR from memory or from a source.

use crate::Cancel;
use crate::error::Error;
use crate::io::aligned_buffer::Buffer;
use crate::io::source::{SOURCE_WAIT, Source};

/// The number of bytes between two checks for cancellation, about 0.2 milliseconds of hashing.
const BLOCK: usize = 256 << 10;

/// Computes something from a NAR.
///
/// Implementations parse what they are fed, so the result always comes from a valid archive, as far as it was
/// read.
pub trait NarConsumer {
    /// The result.
    type Output;

    /// Consumes the next bytes.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Nar`] if the input breaks a rule, and the errors of the implementation. No method is
    /// called after an error.
    fn feed(&mut self, piece: &[u8]) -> Result<(), Error>;

    /// Returns the number of following bytes that may be skipped, because their values do not matter.
    fn skippable(&self) -> u64 {
        0
    }

    /// Continues as if `count` bytes had been fed.
    ///
    /// # Panics
    ///
    /// May panic if `count` exceeds [`skippable`](Self::skippable).
    fn skip(&mut self, count: u64) {
        assert_eq!(count, 0, "nothing can be skipped");
    }

    /// Returns whether the result is known, so that the rest of the input need not be fed.
    fn is_done(&self) -> bool {
        false
    }

    /// Ends the input and returns the result.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Nar`] if the archive is truncated, and the errors of the implementation.
    fn finish(self) -> Result<Self::Output, Error>;
}

/// Reads a NAR in memory.
///
/// # Errors
///
/// Returns the errors of the consumer, and [`Error::Cancelled`] if `is_cancelled` returns true.
pub fn read_slice<R: NarConsumer>(
    mut reading: R,
    data: &[u8],
    is_cancelled: Cancel<'_>,
) -> Result<R::Output, Error> {
    feed(&mut reading, data, is_cancelled)?;
    reading.finish()
}

/// Feeds a piece of any length.
///
/// # Errors
///
/// Returns the errors of the consumer, and [`Error::Cancelled`] if `is_cancelled` returns true.
pub fn feed(reading: &mut impl NarConsumer, mut piece: &[u8], is_cancelled: Cancel<'_>) -> Result<(), Error> {
    while !piece.is_empty() && !reading.is_done() {
        if is_cancelled() {
            return Err(Error::Cancelled);
        }
        let skipped = reading.skippable().min(piece.len() as u64);
        reading.skip(skipped);
        piece = &piece[skipped as usize..];
        let (block, rest) = piece.split_at(piece.len().min(BLOCK));
        reading.feed(block)?;
        piece = rest;
    }
    Ok(())
}

/// Reads a NAR from a source, and waits for the producer of its bytes. Uses 256 KiB in addition to the memory
/// of the consumer.
///
/// # Errors
///
/// Returns the errors of the consumer and of the source, and [`Error::Cancelled`] if `is_cancelled` returns
/// true.
pub fn read_source<R: NarConsumer>(
    mut reading: R,
    mut source: impl Source,
    is_cancelled: Cancel<'_>,
) -> Result<R::Output, Error> {
    loop {
        match step(&mut reading, &mut source, is_cancelled)? {
            Step::Waiting => _ = source.wait(SOURCE_WAIT),
            Step::More => {}
            Step::End => return reading.finish(),
        }
    }
}

/// The result of [`step`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// No bytes are available until the producer sends more.
    Waiting,
    /// As much as one step reads has been read, and more may be available.
    More,
    /// The input has been read as far as needed; call [`NarConsumer::finish`] next.
    End,
}

/// The most bytes that one step reads: some milliseconds' work.
const STEP: usize = 8 << 20;

/// Reads bytes that are available, at most 8 MiB, without waiting for their producer.
///
/// # Errors
///
/// Returns the errors of the consumer and of the source, and [`Error::Cancelled`] if `is_cancelled` returns
/// true.
pub fn step<S: Source + ?Sized>(
    reading: &mut impl NarConsumer,
    source: &mut S,
    is_cancelled: Cancel<'_>,
) -> Result<Step, Error> {
    let mut buffer = Buffer::new(BLOCK);
    let mut left = STEP;
    while !reading.is_done() {
        if is_cancelled() {
            return Err(Error::Cancelled);
        }
        if left == 0 {
            return Ok(Step::More);
        }
        let skippable = reading.skippable();
        // Skipping bytes that the next read covers anyway does not save a system call.
        if skippable > BLOCK as u64 {
            reading.skip(source.skip(skippable)?);
        }
        match source.read(&mut buffer)? {
            Some(0) => break,
            Some(count) => {
                reading.feed(&buffer[..count])?;
                left = left.saturating_sub(count);
            }
            None => return Ok(Step::Waiting),
        }
    }
    Ok(Step::End)
}
