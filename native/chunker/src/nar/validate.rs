//! Decides whether an input is a NAR.

use super::consumer::{NarConsumer, Step, read_slice, step};
use super::parser::Parser;
use crate::Cancel;
use crate::error::Error;
use crate::io::source::{SOURCE_WAIT, Source};

/// Returns whether all of `data` is a valid NAR. Skips contents, so the time does not depend on them.
///
/// # Errors
///
/// Returns [`Error::Cancelled`] if `is_cancelled` returns true.
pub fn is_nar(data: &[u8], is_cancelled: Cancel<'_>) -> Result<bool, Error> {
    verdict(read_slice(Check(Parser::new()), data, is_cancelled))
}

/// Returns whether all the bytes of `source` are a valid NAR. Skips contents without reading them if the
/// source can.
///
/// # Errors
///
/// Returns the errors of the source, and [`Error::Cancelled`] if `is_cancelled` returns true.
pub fn is_nar_source<S: Source + ?Sized>(source: &mut S, is_cancelled: Cancel<'_>) -> Result<bool, Error> {
    let mut check = Check(Parser::new());
    verdict(read(&mut check, source, is_cancelled).and_then(|()| check.finish()))
}

fn read<S: Source + ?Sized>(
    check: &mut Check,
    source: &mut S,
    is_cancelled: Cancel<'_>,
) -> Result<(), Error> {
    loop {
        match step(check, source, is_cancelled)? {
            Step::Waiting => _ = source.wait(SOURCE_WAIT),
            Step::More => {}
            Step::End => return Ok(()),
        }
    }
}

fn verdict(result: Result<(), Error>) -> Result<bool, Error> {
    match result {
        Ok(()) => Ok(true),
        Err(Error::Nar(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Validates a NAR and discards its contents.
struct Check(Parser);

impl NarConsumer for Check {
    type Output = ();

    fn feed(&mut self, piece: &[u8]) -> Result<(), Error> {
        self.0.feed(piece, |_| Ok(()))
    }

    fn skippable(&self) -> u64 {
        self.0.skippable()
    }

    fn skip(&mut self, count: u64) {
        self.0.skip(count);
    }

    fn finish(self) -> Result<(), Error> {
        Ok(self.0.finish()?)
    }
}
