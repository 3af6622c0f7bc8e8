//! Sources of bytes.

use std::io::{ErrorKind, Read};
use std::time::Duration;

use crate::error::{Error, IoError};

/// The longest wait for a source between two checks for cancellation: well below the 100 ms that the design allows.
pub(crate) const SOURCE_WAIT: Duration = Duration::from_millis(20);

/// A source of bytes whose reads do not block for long.
pub trait Source {
    /// Reads bytes into the front of `buffer` and returns their number: 0 only at the end of the input,
    /// `None` if no bytes are available yet. Blocks for a few milliseconds at most.
    ///
    /// # Errors
    ///
    /// Returns the error of the read. The source is not read again after an error.
    fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Error>;

    /// Skips at most `count` bytes without reading them and returns the number skipped: 0 if the source
    /// cannot skip.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`read`](Self::read).
    fn skip(&mut self, _count: u64) -> Result<u64, Error> {
        Ok(0)
    }

    /// Splits off the next `count` bytes as a source of their own, which another thread can read while this
    /// source continues after them. The new source yields exactly `count` bytes, or fails. Returns `None` if
    /// the source cannot be split, or may have fewer bytes left.
    fn split_off(&mut self, _count: u64) -> Option<Box<dyn Source + Send>> {
        None
    }

    /// Returns the length of the input in bytes, if it is known.
    fn length(&self) -> Option<u64> {
        None
    }

    /// Waits for at most `timeout` until a read would not block, and returns whether it would not.
    fn wait(&self, _timeout: Duration) -> bool {
        true
    }
}

/// Adapts a `Read` to [`Source`]. Retries interrupted reads.
#[derive(Debug)]
pub struct FromRead<R>(pub R);

impl<R: Read> Source for FromRead<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Error> {
        loop {
            match self.0.read(buffer) {
                Ok(count) => return Ok(Some(count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => return Err(IoError { path: None, source }.into()),
            }
        }
    }
}
