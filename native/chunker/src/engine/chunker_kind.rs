//! Chunking by what an input is.

use super::Chunking;
use crate::Cancel;
use crate::engine::workers::Workers;
use crate::error::Error;
use crate::io::file::{Input, Kind};
use crate::nar::{is_nar, is_nar_source};

/// How to chunk, where that may depend on the input.
///
/// ```
/// use chunker::cdc::CdcParams;
/// use chunker::engine::{Chunk, Chunking, ChunkerKind};
/// use chunker::hash::Algorithm;
/// use chunker::nar::scanner::{Config, NarScanner};
/// use chunker::engine::workers::Workers;
///
/// let Config { options, .. } = Config::DEFAULT;
/// let (workers, work) = (Workers::of_this_thread(), Chunk::hashed(Algorithm::ALL[0]));
/// let selection = ChunkerKind::ByContent {
///     nar: Chunking::nar(NarScanner::new(&Config::DEFAULT)?, workers, work.clone()),
///     plain: Chunking::new(CdcParams::new(&options)?, workers, work),
/// };
/// let chunks = selection.for_slice(b"no NAR", &|| false)?.slice(b"no NAR", &|| false)?;
/// assert_eq!(chunks.len(), 1);
/// # Ok::<(), chunker::Error>(())
/// ```
#[derive(Debug, Clone)]
pub enum ChunkerKind<W> {
    /// All inputs alike.
    Always(Chunking<W>),
    /// NARs in one way, and all else in another. What is a NAR as far as it goes may turn out to be none with its last byte,
    /// so that this is for inputs that can be read twice: once to find out, once to chunk.
    ByContent {
        /// For inputs that are NARs from their first byte to their last.
        nar: Chunking<W>,
        /// For all others.
        plain: Chunking<W>,
    },
}

impl<W> ChunkerKind<W> {
    /// How to chunk `data`.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`] when `is_cancelled` says so.
    pub fn for_slice(&self, data: &[u8], is_cancelled: Cancel<'_>) -> Result<&Chunking<W>, Error> {
        Ok(match self {
            Self::Always(chunking) => chunking,
            Self::ByContent { nar, plain } => {
                if is_nar(data, is_cancelled)? {
                    nar
                } else {
                    plain
                }
            }
        })
    }

    /// How to chunk a file, which is then at its start. `None` for one that can be read only once, if it depends on that.
    ///
    /// # Errors
    ///
    /// Whatever reading the file fails with, and [`Error::Cancelled`] when `is_cancelled` says so.
    pub fn for_input(
        &self,
        input: &mut Input,
        is_cancelled: Cancel<'_>,
    ) -> Result<Option<&Chunking<W>>, Error> {
        Ok(match self {
            Self::Always(chunking) => Some(chunking),
            Self::ByContent { .. } if input.kind() == Kind::Special => None,
            Self::ByContent { nar, plain } => {
                let is_nar = is_nar_source(input, is_cancelled)?;
                input.rewind()?;
                Some(if is_nar { nar } else { plain })
            }
        })
    }

    /// How to chunk what comes in pieces, unless it depends on what it is.
    #[must_use]
    pub const fn for_pieces(&self) -> Option<&Chunking<W>> {
        match self {
            Self::Always(chunking) => Some(chunking),
            Self::ByContent { .. } => None,
        }
    }

    /// The same, by other workers.
    #[must_use]
    pub(super) fn with_workers(mut self, workers: Workers) -> Self {
        match &mut self {
            Self::Always(chunking) => chunking.workers = workers,
            Self::ByContent { nar, plain } => (nar.workers, plain.workers) = (workers, workers),
        }
        self
    }
}

impl<W> From<Chunking<W>> for ChunkerKind<W> {
    fn from(chunking: Chunking<W>) -> Self {
        Self::Always(chunking)
    }
}
