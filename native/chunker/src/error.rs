//! The errors of the engine: one type per concern, with fields instead of messages to search.
//!
//! Each error has a `code()`: a stable snake_case name that callers may match on. [`Error`] gathers the concerns
//! for functions that can fail in several ways; gathering keeps the code and the fields.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::codec::CompressionError;
use crate::io::output_buffer::OutOfMemory;
use crate::nar::NarError;
use crate::nar::references::ReferencesError;
use crate::narinfo::{KeyError, NarInfoError, SignatureError};

/// An option that has the right type and a value outside its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{option} is {value}, but must be {allowed}")]
pub struct OptionsError {
    /// The name of the option, as in the public API.
    pub option: &'static str,
    /// The value that was refused.
    pub value: OptionValue,
    /// What would have been accepted, for people to read: `64..1048576`, for instance.
    pub allowed: String,
}

/// The value of an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptionValue {
    /// As most options have it.
    Number(u64),
    /// As an environment variable has it.
    Text(String),
}

impl From<u64> for OptionValue {
    fn from(value: u64) -> Self {
        Self::Number(value)
    }
}

impl From<String> for OptionValue {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<OptionValue> for Detail {
    fn from(value: OptionValue) -> Self {
        match value {
            OptionValue::Number(value) => Self::Number(value),
            OptionValue::Text(value) => Self::Text(value),
        }
    }
}

impl fmt::Display for OptionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(value) => write!(f, "{value}"),
            Self::Text(value) => write!(f, "{value:?}"),
        }
    }
}

impl OptionsError {
    /// The stable name of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "invalid_options"
    }
}

/// The operating system refused to open or to read a file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", .path.as_deref().map_or_else(|| "input".into(), |path| path.to_string_lossy()))]
pub struct IoError {
    /// The file, if there is one: a `Read` has no name.
    pub path: Option<PathBuf>,
    /// What the operating system said.
    pub source: io::Error,
}

impl IoError {
    /// The stable name of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "io_error"
    }

    /// The POSIX name of the failure in lower case: `enoent`, `eacces`, `eisdir` and so on; `unknown` for a number
    /// that has no name here and for errors that did not come from the operating system.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        posix::name(&self.source)
    }
}

/// A field of an error, for callers that pass errors on in a form of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detail {
    /// A name out of a small fixed set.
    Name(&'static str),
    /// A number.
    Number(u64),
    /// A number that may be negative.
    Signed(i64),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Text for people.
    Text(String),
    /// A path.
    Path(PathBuf),
}

/// Anything that can go wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option is out of range.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The input could not be opened or read.
    #[error(transparent)]
    Io(#[from] IoError),
    /// A file shrank or grew while it was read, so that what was read is no state it ever had; or it does not hold any more
    /// what it held when it was chunked.
    #[error("{} changed while it was read, or since it was chunked", .path.display())]
    FileChanged {
        /// The file.
        path: PathBuf,
    },
    /// Bytes were asked for that are not there.
    #[error("{length} bytes from {offset} on are not within {data_length}")]
    Bounds {
        /// Where they were to begin.
        offset: u64,
        /// How many there were to be.
        length: u64,
        /// How many bytes there are in all.
        data_length: u64,
    },
    /// More bytes were asked for at once than anything sensible has.
    #[error("{attempted} bytes at once are more than {limit}")]
    BufferLimit {
        /// How many were asked for.
        attempted: u64,
        /// How many would have been given.
        limit: u64,
    },
    /// A codec failed.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// A text or fields that are no narinfo.
    #[error(transparent)]
    NarInfo(#[from] NarInfoError),
    /// A key to sign or verify with that is none.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No signature could be verified.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// What should be a NAR is none.
    #[error(transparent)]
    Nar(#[from] NarError),
    /// A table of references does not belong to the content.
    #[error(transparent)]
    References(#[from] ReferencesError),
    /// A hash function, or signing, was left out when the library was built.
    #[error("{name} was left out when the library was built")]
    Disabled {
        /// Its name.
        name: &'static str,
    },
    /// The caller gave the work up.
    #[error("the work was cancelled")]
    Cancelled,
}

impl From<OutOfMemory> for Error {
    fn from(OutOfMemory: OutOfMemory) -> Self {
        Self::Io(IoError { path: None, source: io::ErrorKind::OutOfMemory.into() })
    }
}

impl Error {
    /// The stable name of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Options(error) => error.code(),
            Self::Io(error) => error.code(),
            Self::FileChanged { .. } => "file_changed",
            Self::Bounds { .. } => "bounds_check_failed",
            Self::BufferLimit { .. } => "buffer_limit_exceeded",
            Self::Compression(error) => error.code(),
            Self::NarInfo(error) => error.code(),
            Self::Key(error) => error.code(),
            Self::Signature(error) => error.code(),
            Self::Nar(error) => error.code(),
            Self::References(error) => error.code(),
            Self::Disabled { .. } => "feature_disabled",
            Self::Cancelled => "cancelled",
        }
    }

    /// The fields of this error, by their names in the public API.
    #[must_use]
    pub fn details(&self) -> Vec<(&'static str, Detail)> {
        match self {
            Self::Options(error) => vec![
                ("option", Detail::Name(error.option)),
                ("value", error.value.clone().into()),
                ("allowed", Detail::Text(error.allowed.clone())),
            ],
            Self::Io(error) => std::iter::once(("kind", Detail::Name(error.kind())))
                .chain(error.path.clone().map(|path| ("path", Detail::Path(path))))
                .collect(),
            Self::FileChanged { path } => vec![("path", Detail::Path(path.clone()))],
            Self::Bounds { offset, length, data_length } => vec![
                ("offset", Detail::Number(*offset)),
                ("length", Detail::Number(*length)),
                ("data_length", Detail::Number(*data_length)),
            ],
            Self::BufferLimit { attempted, limit } => {
                vec![("attempted", Detail::Number(*attempted)), ("limit", Detail::Number(*limit))]
            }
            Self::Compression(error) => error.details(),
            Self::NarInfo(error) => error.details(),
            Self::Key(KeyError { why }) => vec![("why", Detail::Name(why.as_str()))],
            Self::Signature(SignatureError { why }) => vec![("why", Detail::Name(why.as_str()))],
            Self::Nar(error) => {
                vec![("offset", Detail::Number(error.offset)), ("why", Detail::Name(error.rule.name()))]
            }
            Self::References(ReferencesError { position }) => vec![("position", Detail::Number(*position))],
            Self::Disabled { name } => vec![("feature", Detail::Name(name))],
            Self::Cancelled => Vec::new(),
        }
    }
}

#[cfg(unix)]
mod posix {
    use rustix::io::Errno;
    use std::io;

    pub(super) fn name(error: &io::Error) -> &'static str {
        match Errno::from_io_error(error) {
            Some(Errno::ACCESS) => "eacces",
            Some(Errno::AGAIN) => "eagain",
            Some(Errno::BADF) => "ebadf",
            Some(Errno::BUSY) => "ebusy",
            Some(Errno::DQUOT) => "edquot",
            Some(Errno::EXIST) => "eexist",
            Some(Errno::FBIG) => "efbig",
            Some(Errno::INVAL) => "einval",
            Some(Errno::IO) => "eio",
            Some(Errno::ISDIR) => "eisdir",
            Some(Errno::LOOP) => "eloop",
            Some(Errno::MFILE) => "emfile",
            Some(Errno::MLINK) => "emlink",
            Some(Errno::NAMETOOLONG) => "enametoolong",
            Some(Errno::NFILE) => "enfile",
            Some(Errno::NODEV) => "enodev",
            Some(Errno::NOENT) => "enoent",
            Some(Errno::NOMEM) => "enomem",
            Some(Errno::NOSPC) => "enospc",
            Some(Errno::NOTDIR) => "enotdir",
            Some(Errno::NOTEMPTY) => "enotempty",
            Some(Errno::NOTSUP) => "enotsup",
            Some(Errno::NXIO) => "enxio",
            Some(Errno::OVERFLOW) => "eoverflow",
            Some(Errno::PERM) => "eperm",
            Some(Errno::PIPE) => "epipe",
            Some(Errno::ROFS) => "erofs",
            Some(Errno::SPIPE) => "espipe",
            Some(Errno::SRCH) => "esrch",
            Some(Errno::STALE) => "estale",
            Some(Errno::TIMEDOUT) => "etimedout",
            Some(Errno::TXTBSY) => "etxtbsy",
            Some(Errno::XDEV) => "exdev",
            // The standard library refuses a path with a NUL byte itself.
            None if error.kind() == io::ErrorKind::InvalidInput => "einval",
            None if error.kind() == io::ErrorKind::IsADirectory => "eisdir",
            None if error.kind() == io::ErrorKind::NotSeekable => "espipe",
            None if error.kind() == io::ErrorKind::NotFound => "enoent",
            None if error.kind() == io::ErrorKind::OutOfMemory => "enomem",
            _ => "unknown",
        }
    }
}

#[cfg(not(unix))]
mod posix {
    use std::io::{self, ErrorKind};

    pub(super) fn name(error: &io::Error) -> &'static str {
        match error.kind() {
            ErrorKind::NotFound => "enoent",
            ErrorKind::PermissionDenied => "eacces",
            ErrorKind::IsADirectory => "eisdir",
            ErrorKind::NotADirectory => "enotdir",
            ErrorKind::AlreadyExists => "eexist",
            ErrorKind::InvalidInput => "einval",
            ErrorKind::StorageFull => "enospc",
            ErrorKind::OutOfMemory => "enomem",
            ErrorKind::Unsupported => "enotsup",
            _ => "unknown",
        }
    }
}
