//! Whether something is a NAR.

use super::consumer::{Reading, Step, read_slice, step};
use super::parser::Parser;
use crate::GiveUp;
use crate::engine::PATIENCE;
use crate::error::Error;
use crate::io::source::Source;

/// Whether `data` is a NAR, from its first byte to its last. No contents are looked at.
///
/// # Errors
///
/// [`Error::Cancelled`] when `give_up` says so.
pub fn is_nar(data: &[u8], give_up: GiveUp<'_>) -> Result<bool, Error> {
    verdict(read_slice(Check(Parser::new()), data, give_up))
}

/// Whether all that `source` has to give is a NAR. Where it can, it passes over contents without reading them.
///
/// # Errors
///
/// Those of the source, and [`Error::Cancelled`] when `give_up` says so.
pub fn is_nar_source(source: &mut impl Source, give_up: GiveUp<'_>) -> Result<bool, Error> {
    let mut check = Check(Parser::new());
    verdict(read(&mut check, source, give_up).and_then(|()| check.finish()))
}

fn read(check: &mut Check, source: &mut impl Source, give_up: GiveUp<'_>) -> Result<(), Error> {
    while step(check, source, give_up)? == Step::Waiting {
        source.wait(PATIENCE);
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

impl Reading for Check {
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
