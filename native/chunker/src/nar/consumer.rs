//! Finding something out about a NAR, wherever it comes from.

use crate::Cancel;
use crate::error::Error;
use crate::io::aligned_buffer::Buffer;
use crate::io::source::{SOURCE_WAIT, Source};

/// How much is read between two questions whether to give up: a fifth of a millisecond of hashing.
const BLOCK: usize = 256 << 10;

/// Something that comes of reading a NAR.
///
/// Each reading parses what it is fed, so that the answer is always one about a valid archive, up to where it has read.
pub trait NarConsumer {
    /// What comes of it.
    type Output;

    /// Takes in the next bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Nar`] where the input breaks a rule, and what else the reading fails with. It is then over.
    fn feed(&mut self, piece: &[u8]) -> Result<(), Error>;

    /// How many bytes come next that it need not see.
    fn skippable(&self) -> u64 {
        0
    }

    /// Goes on as if `count` bytes had been fed, which must not be more than are [`skippable`](Self::skippable).
    fn skip(&mut self, count: u64) {
        assert_eq!(count, 0, "nothing can be skipped");
    }

    /// Whether it needs to see no more of the input.
    fn is_done(&self) -> bool {
        false
    }

    /// Ends the input and gives what has come of it.
    ///
    /// # Errors
    ///
    /// [`Error::Nar`] for an input that is not whole, and what else the reading fails with.
    fn finish(self) -> Result<Self::Output, Error>;
}

/// Reads a NAR in memory.
///
/// # Errors
///
/// Those of the reading, and [`Error::Cancelled`] when `is_cancelled` says so.
pub fn read_slice<R: NarConsumer>(
    mut reading: R,
    data: &[u8],
    is_cancelled: Cancel<'_>,
) -> Result<R::Output, Error> {
    feed(&mut reading, data, is_cancelled)?;
    reading.finish()
}

/// Feeds a piece, however long it is.
///
/// # Errors
///
/// Those of the reading, and [`Error::Cancelled`] when `is_cancelled` says so.
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

/// Reads a NAR from where bytes come from, and waits for whoever sends them. Memory is that of the reading and 256 KiB.
///
/// # Errors
///
/// Those of the reading and of the source, and [`Error::Cancelled`] when `is_cancelled` says so.
pub fn read_source<R: NarConsumer>(
    mut reading: R,
    mut source: impl Source,
    is_cancelled: Cancel<'_>,
) -> Result<R::Output, Error> {
    while step(&mut reading, &mut source, is_cancelled)? == Step::Waiting {
        source.wait(SOURCE_WAIT);
    }
    reading.finish()
}

/// What [`step`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There is nothing to do until somebody sends more of the input.
    Waiting,
    /// The reading is to be finished.
    End,
}

/// Reads what can be had without waiting for whoever sends it.
///
/// # Errors
///
/// Those of the reading and of the source, and [`Error::Cancelled`] when `is_cancelled` says so.
pub fn step<S: Source + ?Sized>(
    reading: &mut impl NarConsumer,
    source: &mut S,
    is_cancelled: Cancel<'_>,
) -> Result<Step, Error> {
    let mut buffer = Buffer::new(BLOCK);
    while !reading.is_done() {
        if is_cancelled() {
            return Err(Error::Cancelled);
        }
        let skippable = reading.skippable();
        // What comes with the next block anyway is not worth a call of the operating system.
        if skippable > BLOCK as u64 {
            reading.skip(source.skip(skippable)?);
        }
        match source.read(&mut buffer)? {
            Some(0) => break,
            Some(count) => reading.feed(&buffer[..count])?,
            None => return Ok(Step::Waiting),
        }
    }
    Ok(Step::End)
}
