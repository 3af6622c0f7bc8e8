//! Whether something is a NAR.

use super::consumer::{NarConsumer, Step, read_slice, step};
use super::parser::Parser;
use crate::Cancel;
use crate::error::Error;
use crate::io::source::{SOURCE_WAIT, Source};

/// Whether `data` is a NAR, from its first byte to its last. No contents are looked at.
///
/// # Errors
///
/// [`Error::Cancelled`] when `is_cancelled` says so.
pub fn is_nar(data: &[u8], is_cancelled: Cancel<'_>) -> Result<bool, Error> {
    verdict(read_slice(Check(Parser::new()), data, is_cancelled))
}

/// Whether all that `source` has to give is a NAR. Where it can, it passes over contents without reading them.
///
/// # Errors
///
/// Those of the source, and [`Error::Cancelled`] when `is_cancelled` says so.
pub fn is_nar_source<S: Source + ?Sized>(source: &mut S, is_cancelled: Cancel<'_>) -> Result<bool, Error> {
    let mut check = Check(Parser::new());
    verdict(read(&mut check, source, is_cancelled).and_then(|()| check.finish()))
}

fn read<S: Source + ?Sized>(
    check: &mut Check,
    source: &mut S,
    is_cancelled: Cancel<'_>,
) -> Result<(), Error> {
    while step(check, source, is_cancelled)? == Step::Waiting {
        source.wait(SOURCE_WAIT);
    }
    Ok(())
}

fn verdict(result: Result<(), Error>) -> Result<bool, Error> {
    match result {
        Ok(()) => Ok(true),
        Err(Error::Nar(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads a NAR and is content with its being one.
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
