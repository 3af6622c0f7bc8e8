//! Defines the error types of the engine: one type per concern, with typed fields rather than messages to
//! parse.
//!
//! Each error implements [`ErrorCode`]: a stable snake_case name that callers may match on, and the fields.
//! [`Error`] wraps all of them for functions that can fail in several ways, and preserves the code and the
//! fields of the wrapped error.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::codec::CompressionError;
use crate::hash::Digest;
use crate::io::output_buffer::OutOfMemory;
use crate::nar::NarError;
use crate::nar::references::ReferencesError;
use crate::narinfo::{KeyError, NarInfoError, SignatureError};

/// Gives an error a stable name and named fields, for callers that convert errors to a form of their own. The
/// name of each error is the atom that Elixir and Erlang get.
///
/// ```
/// use chunker::cdc::{CdcParams, Options};
/// use chunker::ErrorCode;
/// use chunker::error::Detail;
///
/// let error = CdcParams::new(&Options { avg_size: 1, ..Options::default() }).unwrap_err();
/// assert_eq!(error.code(), "invalid_options");
/// assert!(error.details().contains(&("option", Detail::Name("avg_size"))));
/// ```
pub trait ErrorCode: std::error::Error {
    /// Returns the name. Several errors may share one.
    fn code(&self) -> &'static str;

    /// Returns the fields, by their names in the public API.
    fn details(&self) -> Vec<(&'static str, Detail)>;
}

/// Reports an option that has the right type but a value outside its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{option} is {value}, but must be {allowed}")]
pub struct OptionsError {
    /// The name of the option, as in the public API.
    pub option: &'static str,
    /// The rejected value.
    pub value: OptionValue,
    /// A human-readable description of the accepted values, such as `64..1048576`.
    pub allowed: String,
}

/// Holds the value of an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptionValue {
    /// A number, the type of most options.
    Number(u64),
    /// Text, the type of environment variables.
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

impl ErrorCode for OptionsError {
    fn code(&self) -> &'static str {
        "invalid_options"
    }

    fn details(&self) -> Vec<(&'static str, Detail)> {
        vec![
            ("option", Detail::Name(self.option)),
            ("value", self.value.clone().into()),
            ("allowed", Detail::Text(self.allowed.clone())),
        ]
    }
}

/// Reports that the operating system failed to open or read a file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", .path.as_deref().map_or_else(|| "input".into(), |path| path.to_string_lossy()))]
pub struct IoError {
    /// The path of the file. `None` if the input is a `Read`, which has no path.
    pub path: Option<PathBuf>,
    /// The error of the operating system.
    pub source: io::Error,
}

impl ErrorCode for IoError {
    fn code(&self) -> &'static str {
        "io_error"
    }

    fn details(&self) -> Vec<(&'static str, Detail)> {
        std::iter::once(("kind", Detail::Name(self.kind())))
            .chain(self.path.clone().map(|path| ("path", Detail::Path(path))))
            .collect()
    }
}

impl IoError {
    /// Returns the POSIX name of the failure in lower case: `enoent`, `eacces`, `eisdir` and so on. Returns
    /// `unknown` for an error number that is not in the table, and for errors that did not come from the
    /// operating system.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        posix::name(&self.source)
    }
}

/// Holds a field of an error, for callers that convert errors to a form of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detail {
    /// A name out of a small fixed set.
    Name(&'static str),
    /// A number.
    Number(u64),
    /// A number that may be negative.
    Signed(i64),
    /// Bytes from the input.
    Bytes(Vec<u8>),
    /// Human-readable text.
    Text(String),
    /// A path.
    Path(PathBuf),
    /// Digests, of chunks for example.
    Digests(Vec<Digest>),
}

/// Combines all errors of the engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option is out of range.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The input could not be opened or read.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The file shrank or grew while it was read, so the bytes that were read match no state the file ever
    /// had; or the file no longer holds the content that was chunked.
    #[error("{} changed while it was read, or since it was chunked", .path.display())]
    FileChanged {
        /// The file.
        path: PathBuf,
    },
    /// The requested range lies outside the data.
    #[error("cannot read {length} bytes at offset {offset}: the data has {data_length} bytes")]
    Bounds {
        /// The start of the requested range, in bytes.
        offset: u64,
        /// The length of the requested range, in bytes.
        length: u64,
        /// The length of the data, in bytes.
        data_length: u64,
    },
    /// The request is for more bytes than one call may return.
    #[error("requested {attempted} bytes, but the limit is {limit} bytes")]
    BufferLimit {
        /// The requested size, in bytes.
        attempted: u64,
        /// The largest allowed size, in bytes.
        limit: u64,
    },
    /// A codec failed.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// A store is damaged, or does not have what is asked for.
    #[cfg(all(unix, feature = "store"))]
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// A text or a set of fields is not a valid narinfo.
    #[error(transparent)]
    NarInfo(#[from] NarInfoError),
    /// A signing or verification key is invalid.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No signature could be verified.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The input is not a valid NAR.
    #[error(transparent)]
    Nar(#[from] NarError),
    /// The result exceeds a limit, which is an option of the call.
    #[error("the result exceeds the limit of {limit} that {option} sets")]
    Limit {
        /// The name of the option, as in the public API.
        option: &'static str,
        /// Its value.
        limit: u64,
    },
    /// A tree in the file system is deeper than a NAR may be.
    #[error("{} is too deep for a NAR: at most {limit} names below the root", .path.display())]
    TreeTooDeep {
        /// The first entry that is too deep.
        path: PathBuf,
        /// The maximum number of names of a path, counted from the root of the tree.
        limit: u64,
    },
    /// A reference table does not match the content.
    #[error(transparent)]
    References(#[from] ReferencesError),
    /// A hash function, or signing, is disabled in this build.
    #[error("{name} is disabled in this build")]
    Disabled {
        /// The name of the disabled feature.
        name: &'static str,
    },
    /// The caller cancelled the operation.
    #[error("the operation was cancelled")]
    Cancelled,
}

impl From<OutOfMemory> for Error {
    fn from(OutOfMemory: OutOfMemory) -> Self {
        Self::Io(IoError { path: None, source: io::ErrorKind::OutOfMemory.into() })
    }
}

impl ErrorCode for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Options(error) => error.code(),
            Self::Io(error) => error.code(),
            Self::FileChanged { .. } => "file_changed",
            Self::Bounds { .. } => "bounds_check_failed",
            Self::BufferLimit { .. } => "buffer_limit_exceeded",
            Self::Compression(error) => error.code(),
            #[cfg(all(unix, feature = "store"))]
            Self::Store(error) => error.code(),
            Self::NarInfo(error) => error.code(),
            Self::Key(error) => error.code(),
            Self::Signature(error) => error.code(),
            Self::Nar(error) => error.code(),
            Self::Limit { .. } => "limit_exceeded",
            Self::TreeTooDeep { .. } => "tree_too_deep",
            Self::References(error) => error.code(),
            Self::Disabled { .. } => "feature_disabled",
            Self::Cancelled => "cancelled",
        }
    }

    fn details(&self) -> Vec<(&'static str, Detail)> {
        match self {
            Self::Options(error) => error.details(),
            Self::Io(error) => error.details(),
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
            #[cfg(all(unix, feature = "store"))]
            Self::Store(error) => error.details(),
            Self::NarInfo(error) => error.details(),
            Self::Key(error) => error.details(),
            Self::Signature(error) => error.details(),
            Self::Nar(error) => error.details(),
            Self::Limit { option, limit } => {
                vec![("option", Detail::Name(option)), ("limit", Detail::Number(*limit))]
            }
            Self::TreeTooDeep { path, limit } => {
                vec![("path", Detail::Path(path.clone())), ("limit", Detail::Number(*limit))]
            }
            Self::References(error) => error.details(),
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
            // The standard library rejects a path with a NUL byte itself, without an error number.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Codec;
    use crate::nar::Rule;
    use crate::narinfo::{KeyFault, SignatureFault};

    /// Checks that `Error` has the code and the fields of the error that it wraps.
    fn check<E: ErrorCode + Into<Error>>(error: E, code: &'static str, fields: &[(&'static str, Detail)]) {
        assert_eq!((error.code(), &error.details()[..]), (code, fields));
        let (details, text) = (error.details(), error.to_string());
        let wrapped: Error = error.into();
        assert_eq!((wrapped.code(), wrapped.details(), wrapped.to_string()), (code, details, text));
    }

    #[test]
    fn a_wrapped_error_keeps_its_code_and_its_fields() {
        let options = OptionsError { option: "threads", value: 0.into(), allowed: "1..1024".into() };
        let fields = [
            ("option", Detail::Name("threads")),
            ("value", Detail::Number(0)),
            ("allowed", Detail::Text("1..1024".into())),
        ];
        check(options, "invalid_options", &fields);
        let source = io::ErrorKind::NotFound.into();
        let fields = [("kind", Detail::Name("enoent")), ("path", Detail::Path("/x".into()))];
        check(IoError { path: Some("/x".into()), source }, "io_error", &fields);
        let nar = NarError { offset: 24, rule: Rule::Truncated };
        let fields = [("offset", Detail::Number(24)), ("why", Detail::Name("truncated"))];
        check(nar, "invalid_nar", &fields);
        let fields = [("position", Detail::Number(5))];
        check(ReferencesError { position: 5 }, "invalid_references", &fields);
        let fields = [("why", Detail::Name("bad_name"))];
        check(KeyError { why: KeyFault::BadName }, "invalid_key", &fields);
        let fields = [("why", Detail::Name("unsigned"))];
        check(SignatureError { why: SignatureFault::Unsigned }, "invalid_signature", &fields);
        let disabled = CompressionError::CodecDisabled { codec: Codec::Xz };
        check(disabled, "feature_disabled", &[("feature", Detail::Name("xz"))]);
        let base32 = crate::hash::nix_base32::decode(b"!").unwrap_err();
        assert_eq!(base32.code(), "invalid_base32");
        assert_eq!(base32.details(), [("position", Detail::Number(0))]);
    }
}
