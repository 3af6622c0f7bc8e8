//! Reads files of any kind as a source of bytes.
//!
//! A regular file is read to its end, and it is an error if it shrinks or grows during the read;
//! [`OnChange::Snapshot`] reads a growing file up to the length that it had when it was opened. Any other
//! file (a FIFO, a terminal, a device) is read until its writer closes it. A read waits for its bytes for a
//! few milliseconds at most; [`Source::wait`] waits for as long as its caller allows. Files are never mapped
//! into memory: if another program truncates a mapped file, the whole process dies.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
#[cfg(unix)]
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::error::{Error, IoError};
use crate::io::source::Source;

/// The longest wait of a read for more bytes of a non-seekable file whose last read returned bytes. A pipe
/// holds 64 KiB, which are read before its writer runs again, and a caller that receives `None` sleeps for up
/// to 20 ms; without this wait the throughput would fall to 64 KiB in 20 ms, or 3 MB/s.
const FLOW_WAIT: Duration = Duration::from_millis(5);

/// Tells whether reading a path can block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file, including the files of `/proc` and `/sys`. A read returns at once, except from the
    /// system's logs in those folders.
    Regular,
    /// A non-seekable file that may block a reader: a FIFO, a socket, a device.
    Special,
}

/// Chooses what a change of a regular file during a read means. Other files have no length to compare with.
///
/// Both notice changes by the length of the file. Bytes that are overwritten in place cannot be distinguished
/// from those before, nor can a file that is truncated and grows back between two reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnChange {
    /// A file that shrinks or grows fails with [`Error::FileChanged`].
    #[default]
    Error,
    /// A file is read up to the length that it had when it was opened, so it may grow, as logs do. A file
    /// that is shorter than that when it has been read still fails.
    Snapshot,
}

/// Returns the kind of the file at `path` without opening it, because opening a FIFO unblocks its writer.
///
/// # Errors
///
/// Returns the error of the operating system, and `eisdir` for a directory.
pub fn kind(path: &Path) -> Result<Kind, IoError> {
    std::fs::metadata(path)
        .and_then(|metadata| kind_of(&metadata))
        .map_err(|source| IoError { path: Some(path.into()), source })
}

fn kind_of(metadata: &Metadata) -> io::Result<Kind> {
    if metadata.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    Ok(if metadata.is_file() { Kind::Regular } else { Kind::Special })
}

/// An open file.
#[derive(Debug)]
pub struct Input {
    file: Arc<File>,
    path: Arc<Path>,
    kind: Kind,
    on_change: OnChange,
    opened: FileState,
    /// The number of bytes read so far.
    read: u64,
    /// Whether the last read returned bytes.
    flows: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct FileState {
    size: u64,
    modified: Option<SystemTime>,
}

impl FileState {
    fn of(metadata: &Metadata) -> Self {
        Self { size: metadata.len(), modified: metadata.modified().ok() }
    }
}

impl Input {
    /// Opens `path` for reading. Never blocks, not even on a FIFO without a writer.
    ///
    /// # Errors
    ///
    /// Returns the error of the operating system, and `eisdir` for a directory.
    pub fn open(path: &Path) -> Result<Self, IoError> {
        let io_error = |source| IoError { path: Some(path.into()), source };
        let file = Arc::new(open_nonblocking(path).map_err(io_error)?);
        let metadata = file.metadata().map_err(io_error)?;
        let kind = kind_of(&metadata).map_err(io_error)?;
        Ok(Self {
            file,
            path: path.into(),
            kind,
            on_change: OnChange::Error,
            opened: FileState::of(&metadata),
            read: 0,
            flows: false,
        })
    }

    /// Chooses what a change of the file during the read means; [`OnChange::Error`] by default.
    #[must_use]
    pub fn on_change(mut self, on_change: OnChange) -> Self {
        self.on_change = on_change;
        self
    }

    /// Returns the kind of this file.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Seeks to the start of a regular file.
    pub(crate) fn rewind(&mut self) -> Result<(), Error> {
        (&*self.file).rewind().map_err(|source| self.io_error(source))?;
        self.read = 0;
        Ok(())
    }

    /// Checks at the end of a regular file that its size has not changed since it was opened, or with a
    /// snapshot that the file is not shorter, and that all of it was read.
    ///
    /// Files of `/proc` report a size of 0 and those of `/sys` a size of one page. They are distinguished
    /// from files that changed by their metadata, which stays the same. (If several threads read a file, this
    /// applies to the last part only.)
    fn check_end(&self) -> Result<(), Error> {
        if self.kind == Kind::Special {
            return Ok(());
        }
        let now = self.state()?;
        let whole = self.read == self.opened.size;
        let resized = match self.on_change {
            OnChange::Error => now.size != self.opened.size,
            OnChange::Snapshot => now.size < self.opened.size,
        };
        if resized || (!whole && now != self.opened) {
            return Err(self.changed());
        }
        Ok(())
    }

    fn state(&self) -> Result<FileState, Error> {
        let metadata = self.file.metadata().map_err(|source| self.io_error(source))?;
        Ok(FileState::of(&metadata))
    }

    /// Returns how many bytes the next read may return. A snapshot ends at the size that the file had, unless
    /// that was 0, which files of `/proc` always report.
    fn room(&self, len: usize) -> usize {
        match (self.on_change, self.length()) {
            (OnChange::Snapshot, Some(length)) => {
                usize::try_from(length - self.read).map_or(len, |left| left.min(len))
            }
            _ => len,
        }
    }

    /// Counts bytes that were read. Returns `None` if they are beyond the size that the file had when it was
    /// opened: without a snapshot that is an error, because the file may grow faster than it is read, and
    /// then has no end.
    fn advance(&mut self, count: usize) -> Result<Option<usize>, Error> {
        let read = self.read + count as u64;
        if self.kind == Kind::Regular && read > self.opened.size {
            // Files of `/proc` always report a size of 0.
            let has_no_size = self.opened.size == 0 && self.state()?.size == 0;
            if !has_no_size {
                return match self.on_change {
                    OnChange::Error => Err(self.changed()),
                    OnChange::Snapshot => Ok(None),
                };
            }
        }
        self.read = read;
        Ok(Some(count))
    }

    fn changed(&self) -> Error {
        Error::FileChanged { path: self.path.to_path_buf() }
    }

    fn io_error(&self, source: io::Error) -> Error {
        IoError { path: Some(self.path.to_path_buf()), source }.into()
    }
}

/// Reads `target.len()` bytes of a regular file, starting at `offset`, into `target`.
///
/// # Errors
///
/// Returns [`Error::Bounds`] if the file is too short, [`Error::Io`] if the operating system fails (`espipe`
/// if the file is not a regular one), and [`Error::FileChanged`] if the file shrinks during the read.
pub fn read_range(path: &Path, offset: u64, target: &mut [u8]) -> Result<(), Error> {
    let io_error = |source| IoError { path: Some(path.into()), source };
    if kind(path)? == Kind::Special {
        return Err(io_error(ErrorKind::NotSeekable.into()).into());
    }
    let input = Input::open(path)?;
    let (length, data_length) = (target.len() as u64, input.opened.size);
    if offset.checked_add(length).is_none_or(|end| end > data_length) {
        return Err(Error::Bounds { offset, length, data_length });
    }
    (&*input.file).seek(SeekFrom::Start(offset)).map_err(io_error)?;
    (&*input.file).read_exact(target).map_err(|source| match source.kind() {
        ErrorKind::UnexpectedEof => input.changed(),
        _ => input.io_error(source),
    })
}

impl Source for Input {
    fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Error> {
        // A FIFO without a writer reads as end of file. Only poll() tells the two apart.
        if self.kind == Kind::Special {
            let timeout = if self.flows { FLOW_WAIT } else { Duration::ZERO };
            self.flows = self.wait(timeout);
            if !self.flows {
                return Ok(None);
            }
        }
        let room = self.room(buffer.len());
        loop {
            match (&*self.file).read(&mut buffer[..room]) {
                Ok(0) => {
                    self.check_end()?;
                    return Ok(Some(0));
                }
                Ok(count) => return Ok(Some(self.advance(count)?.unwrap_or(0))),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(source) => return Err(self.io_error(source)),
            }
        }
    }

    /// Skips at most to the size that the file had when it was opened.
    fn skip(&mut self, count: u64) -> Result<u64, Error> {
        let count = count.min(self.length().unwrap_or(0).saturating_sub(self.read));
        if count > 0 {
            self.read += count;
            (&*self.file).seek(SeekFrom::Start(self.read)).map_err(|source| self.io_error(source))?;
        }
        Ok(count)
    }

    #[cfg(unix)]
    fn split_off(&mut self, count: u64) -> Option<Box<dyn Source + Send>> {
        let start = self.read;
        let end = start.checked_add(count).filter(|&end| Some(end) <= self.length())?;
        (&*self.file).seek(SeekFrom::Start(end)).ok()?;
        self.read = end;
        Some(Box::new(FileRange { file: Arc::clone(&self.file), path: self.path.clone(), range: start..end }))
    }

    fn length(&self) -> Option<u64> {
        (self.kind == Kind::Regular && self.opened.size > 0).then_some(self.opened.size)
    }

    fn wait(&self, timeout: Duration) -> bool {
        poll_readable(&self.file, timeout)
    }
}

/// A range of a regular file, read with positioned reads.
#[cfg(unix)]
struct FileRange {
    file: Arc<File>,
    path: Arc<Path>,
    range: Range<u64>,
}

#[cfg(unix)]
impl Source for FileRange {
    fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Error> {
        use std::os::unix::fs::FileExt;

        let left = usize::try_from(self.range.end - self.range.start).unwrap_or(usize::MAX);
        let room = buffer.len().min(left);
        loop {
            match self.file.read_at(&mut buffer[..room], self.range.start) {
                Ok(0) if room > 0 => return Err(Error::FileChanged { path: self.path.to_path_buf() }),
                Ok(count) => {
                    self.range.start += count as u64;
                    return Ok(Some(count));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(source) => return Err(IoError { path: Some(self.path.to_path_buf()), source }.into()),
            }
        }
    }

    fn wait(&self, timeout: Duration) -> bool {
        poll_readable(&self.file, timeout)
    }
}

#[cfg(unix)]
fn open_nonblocking(path: &Path) -> io::Result<File> {
    use rustix::fs::OFlags;
    use std::os::unix::fs::OpenOptionsExt;

    // Without NONBLOCK, opening a FIFO blocks until a writer comes, and the open cannot be cancelled. With
    // NOCTTY, a terminal does not become the controlling one, whose hang-up would end the VM.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

/// Returns whether a read would not block. An error makes a file ready too; the read then returns it.
#[cfg(unix)]
fn poll_readable(file: &File, timeout: Duration) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::io::Errno;

    let timeout = Timespec::try_from(timeout).ok();
    !matches!(poll(&mut [PollFd::new(file, PollFlags::IN)], timeout.as_ref()), Ok(0) | Err(Errno::INTR))
}

#[cfg(not(unix))]
fn open_nonblocking(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).open(path)
}

#[cfg(not(unix))]
fn poll_readable(_file: &File, _timeout: Duration) -> bool {
    true
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use rustix::fs::{OFlags, fcntl_setfl};
    use std::io::Write;
    use std::os::fd::OwnedFd;
    use std::time::Instant;

    /// Imitates `/proc/kmsg`: its metadata are those of a regular file, but a read would block until the
    /// kernel logs a message.
    #[test]
    fn waiting_for_an_empty_file_blocks_until_bytes_arrive() {
        let (reader, mut writer) = io::pipe().unwrap();
        fcntl_setfl(&reader, OFlags::NONBLOCK).unwrap();
        let opened = FileState { size: 0, modified: None };
        let file = File::from(OwnedFd::from(reader));
        let mut input = Input {
            file: file.into(),
            path: Path::new("log").into(),
            kind: Kind::Regular,
            on_change: OnChange::Error,
            opened,
            read: 0,
            flows: false,
        };
        let mut buffer = [0; 10];
        assert_eq!(input.read(&mut buffer).unwrap(), None);
        let (before, timeout) = (Instant::now(), Duration::from_millis(20));
        assert!(!input.wait(timeout));
        assert!(before.elapsed() >= timeout);
        writer.write_all(b"message").unwrap();
        assert!(input.wait(Duration::from_secs(60)));
        assert_eq!(input.read(&mut buffer).unwrap(), Some(7));
    }

    #[test]
    fn a_read_waits_briefly_for_more_of_a_flowing_pipe() {
        let (reader, mut writer) = io::pipe().unwrap();
        fcntl_setfl(&reader, OFlags::NONBLOCK).unwrap();
        let opened = FileState { size: 0, modified: None };
        let file = File::from(OwnedFd::from(reader));
        let mut input = Input {
            file: file.into(),
            path: Path::new("pipe").into(),
            kind: Kind::Special,
            on_change: OnChange::Error,
            opened,
            read: 0,
            flows: false,
        };
        let mut buffer = [0; 10];
        let before = Instant::now();
        assert_eq!(input.read(&mut buffer).unwrap(), None);
        let mut shortest = before.elapsed();
        writer.write_all(b"bytes").unwrap();
        assert_eq!(input.read(&mut buffer).unwrap(), Some(5));
        let before = Instant::now();
        assert_eq!(input.read(&mut buffer).unwrap(), None);
        assert!(before.elapsed() >= FLOW_WAIT);
        // The pipe no longer flows, so these reads do not wait. Take the shortest, because other programs may
        // run in between.
        for _ in 0..100 {
            let before = Instant::now();
            assert_eq!(input.read(&mut buffer).unwrap(), None);
            shortest = shortest.min(before.elapsed());
        }
        assert!(shortest < FLOW_WAIT);
    }
}
