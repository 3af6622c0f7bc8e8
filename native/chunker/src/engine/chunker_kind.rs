//! Chooses between two chunking methods by the content of an input.

use super::chunking::Chunking;
use super::workers::Workers;
use crate::Cancel;
use crate::error::Error;
use crate::io::file::{Input, Kind};
use crate::io::source::Source;

/// Holds how to chunk, which may depend on the content of the input.
#[derive(Debug)]
pub enum ChunkerKind<W, A = ()> {
    /// Chunks all inputs alike.
    Always(Chunking<W, A>),
    /// Chunks inputs of one format with one method and all others with another. The decision needs the whole
    /// input, so the input must be readable twice.
    ByContent {
        /// Decides which method is used.
        recognizer: Recognizer,
        /// For inputs that match the format from the first byte to the last.
        matching: Chunking<W, A>,
        /// For all other inputs.
        other: Chunking<W, A>,
    },
}

/// Decides whether an input has a format.
#[derive(Debug, Clone, Copy)]
pub struct Recognizer {
    /// Decides for an input in memory.
    pub slice: fn(&[u8], Cancel<'_>) -> Result<bool, Error>,
    /// Decides for the rest of a source, and reads as much of it as that takes.
    pub source: fn(&mut dyn Source, Cancel<'_>) -> Result<bool, Error>,
}

impl<W, A> ChunkerKind<W, A> {
    /// Returns how to chunk `data`.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Cancelled`] if `is_cancelled` returns true.
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

    /// Returns how to chunk a file, which it rewinds if it had to read it. Returns `None` if the choice
    /// depends on the content and the file is special, so that it can be read only once.
    ///
    /// # Errors
    ///
    /// Returns the errors of reading the file, and [`Error::Cancelled`] if `is_cancelled` returns true.
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

    /// Returns how to chunk input that arrives in pieces, or `None` if that depends on the content.
    #[must_use]
    pub const fn for_pieces(&self) -> Option<&Chunking<W, A>> {
        match self {
            Self::Always(chunking) => Some(chunking),
            Self::ByContent { .. } => None,
        }
    }

    /// Replaces the threads to use.
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
