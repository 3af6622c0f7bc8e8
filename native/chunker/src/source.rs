//! Where bytes come from.

use std::io::{ErrorKind, Read};

use crate::GiveUp;
use crate::error::{Error, IoError};

/// Something to read bytes from, which can be told to give up.
pub trait Source {
    /// Reads bytes to the front of `buffer` and gives their number, 0 at the end of the input only.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`] when `give_up` says so while nothing comes, and whatever reading fails with. After an error
    /// the source is not read again.
    fn read(&mut self, buffer: &mut [u8], give_up: GiveUp<'_>) -> Result<usize, Error>;

    /// Whether bytes come when somebody else sends them, so that what there is should be passed on at once.
    fn is_live(&self) -> bool {
        false
    }

    /// How many bytes are to come, if that is known.
    fn length(&self) -> Option<u64> {
        None
    }

    /// Whether a read would answer at once.
    fn is_ready(&self) -> bool {
        true
    }
}

/// Any `Read` as a [`Source`]. Interrupted reads are tried again.
#[derive(Debug)]
pub struct FromRead<R>(pub R);

impl<R: Read> Source for FromRead<R> {
    fn read(&mut self, buffer: &mut [u8], _give_up: GiveUp<'_>) -> Result<usize, Error> {
        loop {
            match self.0.read(buffer) {
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => return Err(IoError { path: None, source }.into()),
            }
        }
    }
}
