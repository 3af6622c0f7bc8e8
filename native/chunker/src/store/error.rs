//! Errors of a store.

use std::io::ErrorKind;

use crate::error::{Detail, Error, ErrorCode, IoError};
use crate::hash::Digest;

/// An error of a store that is neither one of the operating system nor of an option.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// An object is damaged. A check lists all damage, a repair saves what is left, and what is put again heals.
    #[error(
        "{object} is damaged{}: {why}; check and repair the store",
        .offset.map(|at| format!(" at byte {at}")).unwrap_or_default()
    )]
    Corrupt {
        /// The name of the object, relative to the store.
        object: String,
        /// The position of the damage in the object, in bytes, if it is known.
        offset: Option<u64>,
        /// What is wrong.
        why: &'static str,
    },
    /// Chunks that an object consists of are not in the store. What is put again, or copied from another store, heals
    /// the object.
    #[error("{} chunks of the object are missing; put its source again", .digests.len())]
    ChunkMissing {
        /// The digests of the first of them, at most [`Self::MOST_DIGESTS`].
        digests: Vec<Digest>,
    },
    /// There is no object of that id or name.
    #[error("{name} is not in the store")]
    NotFound {
        /// What was asked for.
        name: String,
    },
    /// A tag has another value than the caller requires.
    #[error("tag {name} exists, or names another object than expected")]
    AlreadyExists {
        /// The name of the tag.
        name: String,
    },
    /// A garbage collection has fenced the session, and its chunks could not be found again.
    #[error("a garbage collection has ended the session")]
    SessionFenced,
    /// Another process holds the lock of the store for too long.
    #[error("another process holds the lock of the store")]
    Locked,
    /// The store was made by a newer version, or has a feature that this one does not know.
    #[error("the store needs {feature}, which this version does not know")]
    UnsupportedFormat {
        /// The version or the feature.
        feature: String,
    },
    /// The folder holds something else than a store.
    #[error("{path} is not empty, and is no store")]
    NoStore {
        /// The folder.
        path: String,
    },
    /// A name has a form that tags do not take.
    #[error("{name:?} is no name for a tag: {why}")]
    InvalidName {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl StoreError {
    /// The number of digests that [`Self::ChunkMissing`] holds at most.
    pub const MOST_DIGESTS: usize = 100;

    /// Reports damage of an object.
    pub(crate) fn corrupt(object: &str, offset: impl Into<Option<u64>>, why: &'static str) -> Self {
        Self::Corrupt { object: object.to_owned(), offset: offset.into(), why }
    }
}

impl ErrorCode for StoreError {
    fn code(&self) -> &'static str {
        match self {
            Self::Corrupt { .. } => "store_corrupt",
            Self::ChunkMissing { .. } => "chunk_missing",
            Self::NotFound { .. } => "not_found",
            Self::AlreadyExists { .. } => "already_exists",
            Self::SessionFenced => "session_fenced",
            Self::Locked => "store_locked",
            Self::UnsupportedFormat { .. } => "unsupported_format",
            Self::NoStore { .. } | Self::InvalidName { .. } => "invalid_options",
        }
    }

    fn details(&self) -> Vec<(&'static str, Detail)> {
        match self {
            Self::Corrupt { object, offset, why } => {
                let mut details = vec![("pack", Detail::Text(object.clone())), ("why", Detail::Name(why))];
                details.extend(offset.map(|offset| ("offset", Detail::Number(offset))));
                details
            }
            Self::ChunkMissing { digests } => {
                vec![("digests", Detail::Digests(digests.clone()))]
            }
            Self::NotFound { name } | Self::AlreadyExists { name } => {
                vec![("name", Detail::Text(name.clone()))]
            }
            Self::SessionFenced | Self::Locked => Vec::new(),
            Self::UnsupportedFormat { feature } => vec![("feature", Detail::Text(feature.clone()))],
            Self::NoStore { path } => vec![
                ("option", Detail::Name("location")),
                ("value", Detail::Text(path.clone())),
                ("allowed", Detail::Text("an empty folder, or a store".into())),
            ],
            Self::InvalidName { name, why } => vec![
                ("option", Detail::Name("name")),
                ("value", Detail::Text(name.clone())),
                ("allowed", Detail::Text((*why).into())),
            ],
        }
    }
}

/// Returns the result of what need not be done, as done if the store could not be written to.
pub(super) fn if_writable(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error) if is_unwritable(&error) => Ok(()),
        result => result,
    }
}

/// Returns whether a store could not be written to, and can perhaps be read.
pub(super) fn is_unwritable(error: &Error) -> bool {
    is_read_only(error) || is_full(error)
}

/// Returns whether this process is not allowed to write to a store.
pub(super) fn is_read_only(error: &Error) -> bool {
    has_kind(error, [ErrorKind::PermissionDenied, ErrorKind::ReadOnlyFilesystem])
}

/// Returns whether a disk has no room, for this user or at all.
pub(super) fn is_full(error: &Error) -> bool {
    has_kind(error, [ErrorKind::StorageFull, ErrorKind::QuotaExceeded])
}

fn has_kind(error: &Error, kinds: [ErrorKind; 2]) -> bool {
    matches!(error, Error::Io(IoError { source, .. }) if kinds.contains(&source.kind()))
}
