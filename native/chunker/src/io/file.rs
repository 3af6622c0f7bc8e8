//! Files of any kind as a source of bytes.
//!
//! A regular file is read to its end, and it is an error if it shrinks or grows meanwhile. Anything else (a FIFO, a
//! terminal, a device) is read until its writer closes it, and waited for no longer than [`MOMENT`] unless the caller asks for
//! it. No file is ever mapped into memory: a mapped file that another program truncates ends the whole process.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
#[cfg(unix)]
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::error::{Error, IoError};
use crate::io::source::Source;

/// How long a read waits for more of a special file if the read before gave bytes. A pipe holds 64 KiB, which are read before
/// its writer runs again, and a caller that gets `None` sleeps for up to 20 ms: 64 KiB in 20 ms are 3 MB/s.
const MOMENT: Duration = Duration::from_millis(5);

/// What a path leads to, as far as reading it is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file, those of `/proc` and `/sys` included: but for the system's logs among these, a read answers at once.
    Regular,
    /// Something that may keep a reader waiting: a FIFO, a socket, a device.
    Special,
}

/// Tells what `path` leads to, without opening it: opening a FIFO has effects on whoever writes to it.
///
/// # Errors
///
/// What the operating system says; `eisdir` for a directory.
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
    opened: State,
    /// The bytes read so far.
    read: u64,
    /// Whether the last attempt to read gave bytes.
    flows: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct State {
    size: u64,
    modified: Option<SystemTime>,
}

impl State {
    fn of(metadata: &Metadata) -> Self {
        Self { size: metadata.len(), modified: metadata.modified().ok() }
    }
}

impl Input {
    /// Opens `path` for reading. Never waits, not even for the writer of a FIFO.
    ///
    /// # Errors
    ///
    /// What the operating system says; `eisdir` for a directory.
    pub fn open(path: &Path) -> Result<Self, IoError> {
        let refused = |source| IoError { path: Some(path.into()), source };
        let file = Arc::new(open_without_waiting(path).map_err(refused)?);
        let metadata = file.metadata().map_err(refused)?;
        let kind = kind_of(&metadata).map_err(refused)?;
        Ok(Self { file, path: path.into(), kind, opened: State::of(&metadata), read: 0, flows: false })
    }

    /// What kind of file this is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Goes back to the start of a regular file.
    pub(crate) fn rewind(&mut self) -> Result<(), Error> {
        (&*self.file).rewind().map_err(|source| self.refused(source))?;
        self.read = 0;
        Ok(())
    }

    /// A regular file has the size now that it had when it was opened, and all of it was read.
    ///
    /// Files of `/proc` say that they are empty and those of `/sys` that they fill a page. They differ from a file that
    /// changed in that nothing of what they say about themselves has changed. (Where several threads read, that is allowed to
    /// the last part of a file only.)
    fn check_end(&self) -> Result<(), Error> {
        if self.kind == Kind::Special {
            return Ok(());
        }
        let metadata = self.file.metadata().map_err(|source| self.refused(source))?;
        let now = State::of(&metadata);
        let whole = self.read == self.opened.size;
        if now.size != self.opened.size || (!whole && now != self.opened) {
            return Err(self.changed());
        }
        Ok(())
    }

    /// A file that grows faster than it is read has no end to wait for.
    fn check_growth(&self) -> Result<(), Error> {
        if self.kind == Kind::Special || self.read <= self.opened.size {
            return Ok(());
        }
        // Files of `/proc` say all the time that they are empty.
        let metadata = self.file.metadata().map_err(|source| self.refused(source))?;
        if metadata.len() == self.opened.size && self.opened.size == 0 { Ok(()) } else { Err(self.changed()) }
    }

    fn changed(&self) -> Error {
        Error::FileChanged { path: self.path.to_path_buf() }
    }

    fn refused(&self, source: io::Error) -> Error {
        IoError { path: Some(self.path.to_path_buf()), source }.into()
    }
}

/// Reads the bytes of a regular file from `offset` on to `target`, as many as that takes.
///
/// # Errors
///
/// [`Error::Bounds`] when the file ends before, [`Error::Io`] with what the operating system says (`espipe` for a file that
/// is not a regular one), and [`Error::FileChanged`] when the file shrinks meanwhile.
pub fn read_range(path: &Path, offset: u64, target: &mut [u8]) -> Result<(), Error> {
    let refused = |source| IoError { path: Some(path.into()), source };
    if kind(path)? == Kind::Special {
        return Err(refused(ErrorKind::NotSeekable.into()).into());
    }
    let input = Input::open(path)?;
    let (length, data_length) = (target.len() as u64, input.opened.size);
    if offset.checked_add(length).is_none_or(|end| end > data_length) {
        return Err(Error::Bounds { offset, length, data_length });
    }
    (&*input.file).seek(SeekFrom::Start(offset)).map_err(refused)?;
    (&*input.file).read_exact(target).map_err(|source| match source.kind() {
        ErrorKind::UnexpectedEof => input.changed(),
        _ => input.refused(source),
    })
}

impl Source for Input {
    fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Error> {
        // The end of a FIFO that nobody has opened to write is none.
        if self.kind == Kind::Special {
            let moment = if self.flows { MOMENT } else { Duration::ZERO };
            self.flows = self.wait(moment);
            if !self.flows {
                return Ok(None);
            }
        }
        loop {
            match (&*self.file).read(buffer) {
                Ok(0) => {
                    self.check_end()?;
                    return Ok(Some(0));
                }
                Ok(count) => {
                    self.read += count as u64;
                    self.check_growth()?;
                    return Ok(Some(count));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(source) => return Err(self.refused(source)),
            }
        }
    }

    /// As far as the file was long when it was opened.
    fn skip(&mut self, count: u64) -> Result<u64, Error> {
        let count = count.min(self.length().unwrap_or(0).saturating_sub(self.read));
        if count > 0 {
            self.read += count;
            (&*self.file).seek(SeekFrom::Start(self.read)).map_err(|source| self.refused(source))?;
        }
        Ok(count)
    }

    #[cfg(unix)]
    fn split_off(&mut self, count: u64) -> Option<Box<dyn Source + Send>> {
        let start = self.read;
        let end = start.checked_add(count).filter(|&end| Some(end) <= self.length())?;
        (&*self.file).seek(SeekFrom::Start(end)).ok()?;
        self.read = end;
        Some(Box::new(Part { file: Arc::clone(&self.file), path: self.path.clone(), range: start..end }))
    }

    fn is_live(&self) -> bool {
        self.kind == Kind::Special
    }

    fn length(&self) -> Option<u64> {
        (self.kind == Kind::Regular && self.opened.size > 0).then_some(self.opened.size)
    }

    fn wait(&self, patience: Duration) -> bool {
        has_bytes(&self.file, patience)
    }
}

/// Bytes of a regular file that has them.
#[cfg(unix)]
struct Part {
    file: Arc<File>,
    path: Arc<Path>,
    range: Range<u64>,
}

#[cfg(unix)]
impl Source for Part {
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

    fn wait(&self, patience: Duration) -> bool {
        has_bytes(&self.file, patience)
    }
}

#[cfg(unix)]
fn open_without_waiting(path: &Path) -> io::Result<File> {
    use rustix::fs::OFlags;
    use std::os::unix::fs::OpenOptionsExt;

    // Without this flag, opening a FIFO waits for a writer, and nothing could call that off. NOCTTY: a terminal that
    // is only read must not become the one whose hang-up ends the VM.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

/// An error makes a file ready too: reading it tells which.
#[cfg(unix)]
fn has_bytes(file: &File, patience: Duration) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::io::Errno;

    let patience = Timespec::try_from(patience).ok();
    !matches!(poll(&mut [PollFd::new(file, PollFlags::IN)], patience.as_ref()), Ok(0) | Err(Errno::INTR))
}

#[cfg(not(unix))]
fn open_without_waiting(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).open(path)
}

#[cfg(not(unix))]
fn has_bytes(_file: &File, _patience: Duration) -> bool {
    true
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use rustix::fs::{OFlags, fcntl_setfl};
    use std::io::Write;
    use std::os::fd::OwnedFd;
    use std::time::Instant;

    /// What `/proc/kmsg` is: a regular file by its looks, which has nothing to read until something happens.
    #[test]
    fn whatever_has_nothing_to_read_is_waited_for_without_spinning() {
        let (reader, mut writer) = io::pipe().unwrap();
        fcntl_setfl(&reader, OFlags::NONBLOCK).unwrap();
        let opened = State { size: 0, modified: None };
        let file = File::from(OwnedFd::from(reader));
        let mut input = Input {
            file: file.into(),
            path: Path::new("log").into(),
            kind: Kind::Regular,
            opened,
            read: 0,
            flows: false,
        };
        let mut buffer = [0; 10];
        assert_eq!(input.read(&mut buffer).unwrap(), None);
        let (before, patience) = (Instant::now(), Duration::from_millis(20));
        assert!(!input.wait(patience));
        assert!(before.elapsed() >= patience);
        writer.write_all(b"message").unwrap();
        assert!(input.wait(Duration::from_secs(60)));
        assert_eq!(input.read(&mut buffer).unwrap(), Some(7));
    }

    #[test]
    fn more_of_a_pipe_that_flows_is_waited_for_a_moment() {
        let (reader, mut writer) = io::pipe().unwrap();
        fcntl_setfl(&reader, OFlags::NONBLOCK).unwrap();
        let opened = State { size: 0, modified: None };
        let file = File::from(OwnedFd::from(reader));
        let mut input = Input {
            file: file.into(),
            path: Path::new("pipe").into(),
            kind: Kind::Special,
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
        assert!(before.elapsed() >= MOMENT);
        // It flows no more: none of these waits, though other programs may take the processor in between.
        for _ in 0..100 {
            let before = Instant::now();
            assert_eq!(input.read(&mut buffer).unwrap(), None);
            shortest = shortest.min(before.elapsed());
        }
        assert!(shortest < MOMENT);
    }
}
