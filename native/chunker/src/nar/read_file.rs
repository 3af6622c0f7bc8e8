//! Reads one file from a NAR.

use std::io::{Error as OsError, ErrorKind};
use std::path::PathBuf;

use super::consumer::NarConsumer;
use super::parser::{Event, Kind, Parser};
use crate::error::{Error, IoError};
use crate::io::output_buffer::{OutOfMemory, OutputBuffer};

/// Reads the contents of a regular file in a NAR.
///
/// Parses what precedes the file, skips the contents of other files, and does not read what follows the file.
/// Memory is proportional to the bytes received, not to the declared size.
#[derive(Debug)]
pub struct ReadFile<B = Vec<u8>> {
    parser: Parser,
    path: Vec<u8>,
    contents: B,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Before,
    Within,
    After,
}

impl ReadFile {
    /// Starts to read the file at `path`: names with `/` between them, and optionally a leading `/`, which
    /// Nix accepts too.
    #[must_use]
    pub fn new(path: &[u8]) -> Self {
        Self::into_buffer(path, Vec::new())
    }
}

impl<B: OutputBuffer> ReadFile<B> {
    /// Appends the contents of the file at `path`, as for [`ReadFile::new`], to `buffer`.
    #[must_use]
    pub fn into_buffer(path: &[u8], buffer: B) -> Self {
        let path = path.strip_prefix(b"/").unwrap_or(path).to_vec();
        Self { parser: Parser::new(), path, contents: buffer, state: State::Before }
    }
}

/// Returns the error for reading an entry that is not a regular file: that of Unix for opening one to read it without
/// following symbolic links.
pub(crate) fn unreadable_entry<T>(path: &[u8], kind: &Kind<T>) -> Error {
    refused(
        path,
        if matches!(kind, Kind::Symlink { .. }) { symbolic_link() } else { ErrorKind::IsADirectory.into() },
    )
}

/// Returns an error with the path in the NAR.
fn refused(path: &[u8], source: OsError) -> Error {
    // A path in a NAR is bytes, which only a path of Unix can represent.
    #[cfg(unix)]
    let path = PathBuf::from(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(path));
    #[cfg(not(unix))]
    let path = PathBuf::from(String::from_utf8_lossy(path).as_ref());
    IoError { path: Some(path), source }.into()
}

impl<B: OutputBuffer> NarConsumer for ReadFile<B> {
    type Output = B;

    /// # Errors
    ///
    /// Returns [`Error::Nar`], and [`Error::Io`] if the path does not lead to a file: with `eisdir` for a
    /// directory, with `eloop` for a symbolic link, which is not followed.
    fn feed(&mut self, mut piece: &[u8]) -> Result<(), Error> {
        while self.state != State::After {
            match self.parser.next(&mut piece)? {
                None => break,
                Some(Event::Node(node)) if node.path == self.path => match node.kind {
                    Kind::Regular { .. } => self.state = State::Within,
                    kind => return Err(unreadable_entry(&self.path, &kind)),
                },
                Some(Event::Contents(bytes)) if self.state == State::Within => {
                    let start = self.contents.len();
                    if let Err(OutOfMemory) = self.contents.grow(start + bytes.len()) {
                        return Err(refused(&self.path, ErrorKind::OutOfMemory.into()));
                    }
                    self.contents.as_mut_slice()[start..].copy_from_slice(bytes);
                }
                Some(Event::End) if self.state == State::Within => self.state = State::After,
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn skippable(&self) -> u64 {
        if self.state == State::Within { 0 } else { self.parser.skippable() }
    }

    fn skip(&mut self, count: u64) {
        self.parser.skip(count);
    }

    fn is_done(&self) -> bool {
        self.state == State::After
    }

    /// # Errors
    ///
    /// Returns [`Error::Nar`], and [`Error::Io`] with `enoent` if there is no entry at the path.
    fn finish(self) -> Result<B, Error> {
        match self.state {
            State::After => Ok(self.contents),
            State::Before | State::Within => {
                self.parser.finish()?;
                Err(refused(&self.path, ErrorKind::NotFound.into()))
            }
        }
    }
}

/// Returns the error of Unix for opening a symbolic link without following it.
fn symbolic_link() -> OsError {
    #[cfg(unix)]
    return rustix::io::Errno::LOOP.into();
    #[cfg(not(unix))]
    ErrorKind::InvalidInput.into()
}
