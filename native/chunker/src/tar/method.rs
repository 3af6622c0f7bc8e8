//! Chunks tars on the threads of the engine.

use super::scanner::{Config, TarScanner};
use crate::cdc::{CdcParams, Window};
use crate::engine::{Boundaries, ChunkingMethod, Filter, FoundChunk};
use crate::error::{Error, OptionsError};

/// Chunks tars along their members, as [`TarScanner`] does, without annotations. Accepts any input; one that is
/// not a tar has the chunks of plain FastCDC.
///
/// ```
/// use chunker::NEVER;
/// use chunker::engine::workers::Workers;
/// use chunker::engine::{Chunk, Chunking};
/// use chunker::hash::Algorithm;
/// use chunker::tar::TarMethod;
/// use chunker::tar::scanner::Config;
///
/// let method = TarMethod::new(&Config::DEFAULT)?;
/// let work = Chunk::hashed(Algorithm::ALL[0]);
/// let chunking: Chunking<_, ()> = Chunking::with_method(method, Workers::of_this_thread(), work);
/// assert_eq!(chunking.slice(b"something else", NEVER)?.len(), 1);
/// # Ok::<(), chunker::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct TarMethod(
    /// A scanner at the start of a tar.
    TarScanner,
);

impl TarMethod {
    /// Creates a method.
    ///
    /// # Errors
    ///
    /// Returns the error for the first option that is out of range.
    pub fn new(config: &Config) -> Result<Self, OptionsError> {
        TarScanner::new(config).map(Self)
    }
}

impl<A: Default> ChunkingMethod<A> for TarMethod {
    fn begin(&self) -> (Box<dyn Boundaries<A>>, Option<Box<dyn Filter>>) {
        (Box::new(self.0.clone()), None)
    }
}

impl<A: Default> Boundaries<A> for TarScanner {
    fn feed(
        &mut self,
        piece: &[u8],
        window: Option<Window<'_>>,
        chunks: &mut Vec<FoundChunk<A>>,
    ) -> Result<(), Error> {
        let mut done = 0;
        while let Some(cut) = self.feed_in_window(&piece[done..], window.map(|window| window.behind(done))) {
            done += cut.consumed;
            chunks.push(FoundChunk { length: cut.length, annotation: A::default() });
        }
        Ok(())
    }

    fn finish(&mut self, chunks: &mut Vec<FoundChunk<A>>) -> Result<(), Error> {
        let last = Self::finish(self);
        chunks.extend(last.map(|length| FoundChunk { length, annotation: A::default() }));
        Ok(())
    }

    fn params(&self) -> &CdcParams {
        Self::params(self)
    }

    fn max_size(&self) -> usize {
        Self::params(self).max_size()
    }
}
