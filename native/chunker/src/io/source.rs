//! Where bytes come from.

use std::io::{ErrorKind, Read};
use std::time::Duration;

use crate::error::{Error, IoError};

/// How long a call that was cancelled may go on waiting for a source: well below the 100 ms that the design allows.
pub(crate) const SOURCE_WAIT: Duration = Duration::from_millis(20);

/// Something to read bytes from.
pub trait Source {
    /// Reads bytes to the front of `buffer` and gives their number, 0 at the end of the input only; `None` if there are
    /// none yet. Waits for their sender for a few milliseconds at most.
    ///
    /// # Errors
    ///
    /// Whatever reading fails with. After an error the source is not read again.
    fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Error>;

    /// Passes over bytes without reading them, at most `count`, and tells how many: 0 where that is not possible.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    fn skip(&mut self, _count: u64) -> Result<u64, Error> {
        Ok(0)
    }

    /// Hands the next `count` bytes out as a source of their own, to be read on another thread while this one goes on behind
    /// them; `None` where that is not possible, or where there may be fewer. What is handed out gives exactly so many
    /// bytes, or fails.
    fn split_off(&mut self, _count: u64) -> Option<Box<dyn Source + Send>> {
        None
    }

    /// Whether bytes come when somebody else sends them, so that what there is should be passed on at once.
    fn is_live(&self) -> bool {
        false
    }

    /// How many bytes are to come, if that is known.
    fn length(&self) -> Option<u64> {
        None
    }

    /// Waits until there is something to read, but no longer than `patience`, and tells whether there is.
    fn wait(&self, _patience: Duration) -> bool {
        true
    }
}

/// Any `Read` as a [`Source`]. Interrupted reads are tried again.
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
