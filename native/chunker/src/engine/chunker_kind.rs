//! Chunking in one of two ways, by what an input is.

use super::chunking::Chunking;
use super::workers::Workers;
use crate::Cancel;
use crate::error::Error;
use crate::io::file::{Input, Kind};
use crate::io::source::Source;

/// How to chunk, if that may depend on the input.
///
/// ```
/// use chunker::cdc::CdcParams;
/// use chunker::engine::{Chunk, Chunking, ChunkerKind};
/// use chunker::hash::Algorithm;
/// use chunker::nar::{NarMethod, RECOGNIZER};
/// use chunker::nar::scanner::Config;
/// use chunker::engine::workers::Workers;
///
/// let Config { options, .. } = Config::DEFAULT;
/// let (workers, work) = (Workers::of_this_thread(), Chunk::hashed(Algorithm::ALL[0]));
/// let kind = ChunkerKind::ByContent {
///     recognizer: RECOGNIZER,
///     matching: Chunking::with_method(NarMethod::new(&Config::DEFAULT)?, workers, work.clone()),
///     other: Chunking::with_method(CdcParams::new(&options)?, workers, work),
/// };
/// let chunks = kind.for_slice(b"something", &|| false)?.slice(b"something", &|| false)?;
/// assert_eq!(chunks.len(), 1);
/// # Ok::<(), chunker::Error>(())
/// ```
#[derive(Debug)]
pub enum ChunkerKind<W, A = ()> {
    /// Chunks all inputs alike.
    Always(Chunking<W, A>),
    /// Chunks inputs of one format in one way, and all others in another. Only the last byte decides whether an input is of
    /// the format, so that this is for inputs that can be read twice: once to find out, once to chunk.
    ByContent {
        /// Decides.
        recognizer: Recognizer,
        /// For inputs that are of the format from their first byte to their last.
        matching: Chunking<W, A>,
        /// For all others.
        other: Chunking<W, A>,
    },
}

/// Decides whether an input is of a format.
#[derive(Debug, Clone, Copy)]
pub struct Recognizer {
    /// Decides for an input that is in memory.
    pub slice: fn(&[u8], Cancel<'_>) -> Result<bool, Error>,
    /// Decides for all that a source has to give.
    pub source: fn(&mut dyn Source, Cancel<'_>) -> Result<bool, Error>,
}

impl<W, A> ChunkerKind<W, A> {
    /// Returns how to chunk `data`.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`] if `is_cancelled` says so.
    pub fn for_slice(&self, data: &[u8], is_cancelled: Cancel<'_>) -> Result<&Chunking<W, A>, Error> {
        Ok(match self {
            Self::Always(chunking) => chunking,
            Self::ByContent { recognizer, matching, other } => {
                if (recognizer.slice)(data, is_cancelled)? {
                    matching
                } else {
                    other
                }
            }
        })
    }

    /// Returns how to chunk a file, which is then at its start. `None` for a file that can be read only once, if it depends
    /// on the content.
    ///
    /// # Errors
    ///
    /// What reading the file fails with, and [`Error::Cancelled`] if `is_cancelled` says so.
    pub fn for_input(
        &self,
        input: &mut Input,
        is_cancelled: Cancel<'_>,
    ) -> Result<Option<&Chunking<W, A>>, Error> {
        Ok(match self {
            Self::Always(chunking) => Some(chunking),
            Self::ByContent { .. } if input.kind() == Kind::Special => None,
            Self::ByContent { recognizer, matching, other } => {
                let matches = (recognizer.source)(input, is_cancelled)?;
                input.rewind()?;
                Some(if matches { matching } else { other })
            }
        })
    }

    /// Returns how to chunk what comes in pieces, unless it depends on the content.
    #[must_use]
    pub const fn for_pieces(&self) -> Option<&Chunking<W, A>> {
        match self {
            Self::Always(chunking) => Some(chunking),
            Self::ByContent { .. } => None,
        }
    }

    /// Returns the same on other threads.
    #[must_use]
    pub(super) fn with_workers(self, workers: Workers) -> Self {
        match self {
            Self::Always(chunking) => Self::Always(chunking.with_workers(workers)),
            Self::ByContent { recognizer, matching, other } => Self::ByContent {
                recognizer,
                matching: matching.with_workers(workers),
                other: other.with_workers(workers),
            },
        }
    }
}

impl<W: Clone, A> Clone for ChunkerKind<W, A> {
    fn clone(&self) -> Self {
        match self {
            Self::Always(chunking) => Self::Always(chunking.clone()),
            Self::ByContent { recognizer, matching, other } => {
                Self::ByContent { recognizer: *recognizer, matching: matching.clone(), other: other.clone() }
            }
        }
    }
}

impl<W, A> From<Chunking<W, A>> for ChunkerKind<W, A> {
    fn from(chunking: Chunking<W, A>) -> Self {
        Self::Always(chunking)
    }
}
