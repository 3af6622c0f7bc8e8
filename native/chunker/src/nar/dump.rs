//! Writes the NAR of a tree in the file system.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};
use rustix::io::Errno;

use super::error::{NarError, Rule};
use super::wire::{
    DIRECTORY, END, END_OF_ENTRY, ENTRY, EXECUTABLE, MAX_DEPTH, MAX_NAME, MAX_TARGET, NODE, REGULAR, START,
    SYMLINK, padding,
};
use crate::engine::workers::{Workers, yield_to_other_threads};
use crate::error::{Error, IoError};
use crate::hash::{Algorithm, Digest, Hasher};
use crate::io::aligned_buffer::Buffer;
use crate::io::file::OnChange;
use crate::io::source::Source;
use crate::io::staging::StagedPath;
use crate::{Cancel, NEVER};

/// Writes the NAR of a tree in the file system, as a [`Source`]. The output equals that of `nix-store --dump`
/// byte for byte.
///
/// Symbolic links are not followed, not even at the path itself. The only metadata of a file that a NAR
/// stores is whether its owner may execute it. Memory holds the names of the entries that are left in the
/// open directories. Contents are read directly into the caller's buffer.
///
/// # Errors
///
/// Reads return
///
/// * [`Error::Io`] with the error of the operating system and the path of the file, and with `enotsup` for a
///   socket, a FIFO or a device, which a NAR cannot represent;
/// * [`Error::FileChanged`] for a file that shrinks or changes its type while it is read, or that grows
///   unless [`OnChange::Snapshot`] allows it;
/// * [`Error::TreeTooDeep`] with the first entry that has more names below the root than a NAR may have;
/// * [`Error::Nar`] with the rules for names and targets if the file system allows what they forbid.
#[derive(Debug)]
pub struct Dump {
    root: PathBuf,
    on_change: OnChange,
    state: State,
    /// The directories that are open, each in the previous one.
    folders: Vec<Folder>,
    /// The bytes before the next contents, and the number of them that were read.
    tokens: Vec<u8>,
    read: usize,
    /// The length of the NAR up to the end of `tokens`.
    offset: u64,
    /// A file that is excluded, even if it is in the tree.
    except: Option<Except>,
}

/// Identifies the file that the NAR is written to.
#[derive(Debug)]
struct Except {
    name: CString,
    device_and_inode: (u64, u64),
}

impl Except {
    /// Returns whether the entry with this name in this directory is the file.
    fn is(&self, folder: &OwnedFd, name: &CStr) -> bool {
        *self.name == *name
            && statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|stat| device_and_inode(&stat) == self.device_and_inode)
    }
}

/// Returns the numbers of the device and the inode. Their types differ between systems.
#[allow(
    clippy::unnecessary_cast,
    clippy::useless_conversion,
    reason = "on some systems they have these types"
)]
fn device_and_inode(stat: &Stat) -> (u64, u64) {
    (stat.st_dev as u64, stat.st_ino as u64)
}

#[derive(Debug)]
enum State {
    Start,
    /// Between two nodes.
    Between,
    /// In the contents of a file, of which `left` bytes are left.
    Within {
        file: File,
        size: u64,
        left: u64,
    },
    End,
}

#[derive(Debug)]
struct Folder {
    fd: OwnedFd,
    /// The names that are left. A heap, because sorting millions of names at once would block for long.
    names: BinaryHeap<Reverse<CString>>,
    /// The name of the current entry.
    name: CString,
}

impl Dump {
    /// Creates a dump of `path`. Opens nothing before the first read.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            root: path.into(),
            on_change: OnChange::Error,
            state: State::Start,
            folders: Vec::new(),
            tokens: Vec::new(),
            read: 0,
            offset: 0,
            except: None,
        }
    }

    /// Chooses what a change of a file during its read means; [`OnChange::Error`] by default. A snapshot is
    /// of each file when it is opened, not of the tree at one moment.
    #[must_use]
    pub fn on_change(mut self, on_change: OnChange) -> Self {
        self.on_change = on_change;
        self
    }

    /// Returns the path of the current node.
    fn path(&self) -> PathBuf {
        let mut path = self.root.clone();
        path.extend(self.folders.iter().map(|folder| OsStr::from_bytes(folder.name.as_bytes())));
        path
    }

    fn refused(&self, errno: Errno) -> Error {
        IoError { path: Some(self.path()), source: errno.into() }.into()
    }

    fn changed(&self) -> Error {
        Error::FileChanged { path: self.path() }
    }

    fn broken(&self, rule: Rule) -> Error {
        NarError { offset: self.offset, rule }.into()
    }

    fn push(&mut self, bytes: &[u8]) {
        self.tokens.extend_from_slice(bytes);
        self.offset += bytes.len() as u64;
    }

    fn push_length(&mut self, length: u64) {
        self.push(&length.to_le_bytes());
    }

    fn push_padding(&mut self, length: u64) {
        self.push(&[0; 8][..padding(length) as usize]);
    }

    fn push_string(&mut self, string: &[u8]) {
        self.push_length(string.len() as u64);
        self.push(string);
        self.push_padding(string.len() as u64);
    }

    fn push_end(&mut self) {
        if self.folders.is_empty() { self.push(&END) } else { self.push(&END_OF_ENTRY) }
    }

    /// Continues up to the next contents or the end.
    fn advance(&mut self, is_cancelled: Cancel<'_>) -> Result<(), Error> {
        if is_cancelled() {
            return Err(Error::Cancelled);
        }
        match std::mem::replace(&mut self.state, State::Between) {
            State::Start => {
                self.push(&START);
                self.begin(is_cancelled)
            }
            State::Between => self.next_entry(is_cancelled),
            State::Within { file, size, .. } => {
                let metadata = fstat(&file).map_err(|errno| self.refused(errno))?;
                let now = metadata.st_size as u64;
                let changed = match self.on_change {
                    OnChange::Error => now != size,
                    OnChange::Snapshot => now < size,
                };
                if changed {
                    return Err(self.changed());
                }
                self.offset += size;
                self.push_padding(size);
                self.push_end();
                Ok(())
            }
            State::End => {
                self.state = State::End;
                Ok(())
            }
        }
    }

    fn next_entry(&mut self, is_cancelled: Cancel<'_>) -> Result<(), Error> {
        let depth = self.folders.len();
        let Some(folder) = self.folders.last_mut() else {
            self.state = State::End;
            return Ok(());
        };
        let Some(Reverse(name)) = folder.names.pop() else {
            self.folders.pop();
            self.push_end();
            return Ok(());
        };
        folder.name.clone_from(&name);
        if depth >= MAX_DEPTH {
            return Err(Error::TreeTooDeep { path: self.path(), limit: MAX_DEPTH as u64 - 1 });
        }
        self.push(&ENTRY);
        if name.count_bytes() > MAX_NAME {
            return Err(self.broken(Rule::NameTooLong));
        }
        self.push_string(name.as_bytes());
        self.push(&NODE);
        self.begin(is_cancelled)
    }

    /// Begins the node at the current path.
    fn begin(&mut self, is_cancelled: Cancel<'_>) -> Result<(), Error> {
        let metadata = self
            .at(|folder, name| statat(folder, name, AtFlags::SYMLINK_NOFOLLOW))
            .map_err(|e| self.refused(e))?;
        match FileType::from_raw_mode(metadata.st_mode) {
            FileType::RegularFile => self.begin_file(),
            FileType::Directory => self.begin_folder(is_cancelled),
            FileType::Symlink => {
                let target = self
                    .at(|folder, name| readlinkat(folder, name, Vec::new()))
                    .map_err(|e| self.refused(e))?;
                self.push(&SYMLINK);
                match target.count_bytes() {
                    0 => return Err(self.broken(Rule::TargetEmpty)),
                    1..=MAX_TARGET => self.push_string(target.as_bytes()),
                    _ => return Err(self.broken(Rule::TargetTooLong)),
                }
                self.push_end();
                Ok(())
            }
            _ => Err(self.refused(Errno::NOTSUP)),
        }
    }

    /// Calls `call` with the directory of the current node and its name there.
    fn at<T>(&self, call: impl FnOnce(BorrowedFd<'_>, &Path) -> Result<T, Errno>) -> Result<T, Errno> {
        match self.folders.last() {
            None => call(CWD, &self.root),
            Some(folder) => call(folder.fd.as_fd(), Path::new(OsStr::from_bytes(folder.name.as_bytes()))),
        }
    }

    /// Opens the current node. Fails if it no longer has the type `wanted`.
    fn open(&self, flags: OFlags, wanted: FileType) -> Result<OwnedFd, Error> {
        // If the node has become a FIFO or a terminal, opening it neither blocks nor makes it the controlling
        // terminal.
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd =
            self.at(|folder, name| openat(folder, name, flags, Mode::empty())).map_err(
                |errno| match errno {
                    Errno::LOOP | Errno::NOTDIR => self.changed(),
                    _ => self.refused(errno),
                },
            )?;
        let metadata = fstat(&fd).map_err(|errno| self.refused(errno))?;
        if FileType::from_raw_mode(metadata.st_mode) == wanted { Ok(fd) } else { Err(self.changed()) }
    }

    fn begin_file(&mut self) -> Result<(), Error> {
        let file = File::from(self.open(OFlags::RDONLY, FileType::RegularFile)?);
        let metadata = fstat(&file).map_err(|errno| self.refused(errno))?;
        let size = metadata.st_size as u64;
        let executable = Mode::from_raw_mode(metadata.st_mode).contains(Mode::XUSR);
        self.push(if executable { &EXECUTABLE } else { &REGULAR });
        self.push_length(size);
        self.state = State::Within { file, size, left: size };
        Ok(())
    }

    fn begin_folder(&mut self, is_cancelled: Cancel<'_>) -> Result<(), Error> {
        let fd = self.open(OFlags::RDONLY | OFlags::DIRECTORY, FileType::Directory)?;
        let mut names = Vec::new();
        for (i, entry) in Dir::read_from(&fd).map_err(|errno| self.refused(errno))?.enumerate() {
            if i % NAMES == NAMES - 1 && is_cancelled() {
                return Err(Error::Cancelled);
            }
            let entry = entry.map_err(|errno| self.refused(errno))?;
            let name = entry.file_name();
            let excepted = self.except.as_ref().is_some_and(|except| except.is(&fd, name));
            if !excepted && !matches!(name.to_bytes(), b"." | b"..") {
                names.push(Reverse(name.to_owned()));
            }
        }
        self.push(&DIRECTORY);
        self.folders.push(Folder { fd, names: names.into(), name: CString::default() });
        Ok(())
    }
}

/// The number of names that are read from a directory between two checks for cancellation, less than 1
/// millisecond's work.
const NAMES: usize = 1024;

impl Dump {
    /// Fills the buffer, except at the end, and returns the number of bytes.
    ///
    /// # Errors
    ///
    /// Returns the errors of reading, and [`Error::Cancelled`] if `is_cancelled`, which is called for each
    /// entry, returns true.
    pub fn fill(&mut self, buffer: &mut [u8], is_cancelled: Cancel<'_>) -> Result<usize, Error> {
        let mut filled = 0;
        while filled < buffer.len() {
            let room = &mut buffer[filled..];
            if self.read < self.tokens.len() {
                let rest = &self.tokens[self.read..];
                let count = rest.len().min(room.len());
                room[..count].copy_from_slice(&rest[..count]);
                self.read += count;
                filled += count;
                continue;
            }
            self.tokens.clear();
            self.read = 0;
            match &mut self.state {
                State::Within { file, left, .. } if *left > 0 => {
                    let most = usize::try_from(*left).map_or(room.len(), |left| left.min(room.len()));
                    match file.read(&mut room[..most]) {
                        Ok(0) => return Err(self.changed()),
                        Ok(count) => {
                            *left -= count as u64;
                            filled += count;
                        }
                        Err(error) if error.kind() == ErrorKind::Interrupted => {}
                        Err(source) => return Err(IoError { path: Some(self.path()), source }.into()),
                    }
                }
                State::End => break,
                _ => self.advance(is_cancelled)?,
            }
        }
        Ok(filled)
    }
}

impl Source for Dump {
    fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Error> {
        self.fill(buffer, NEVER).map(Some)
    }
}

/// The number of bytes that are written between two checks for cancellation.
const BLOCK: usize = 256 << 10;

/// The maximum number of blocks: one that is read and written, one that is hashed, and one queued.
const BLOCKS: usize = 3;

/// Writes the NAR of `path` to the file `into` and returns its digest, which a thread of the pool computes in
/// parallel if one is free.
///
/// The file is written under a temporary name and atomically renamed to `into` when it is complete. An
/// existing file is replaced then, and unchanged on an error. The new one has its mode, and its owner, group
/// and access list if this process may set them; otherwise its mode is narrowed. `into` may be a symbolic
/// link to a file. If `into` is in the tree, the NAR has the previous state of the tree.
///
/// # Errors
///
/// Returns the errors of [`Dump`]; [`Error::Io`] with the errors of writing, and with `eexist` if `into`
/// exists and is not a regular file; and [`Error::Cancelled`] if `is_cancelled` returns true.
pub fn dump_file(
    path: &Path,
    into: &Path,
    on_change: OnChange,
    algorithm: Algorithm,
    workers: Workers,
    is_cancelled: Cancel<'_>,
) -> Result<Digest, Error> {
    let mut dump = Dump::new(path).on_change(on_change);
    let mut place = StagedPath::for_file(into)?;
    let refused = |source| IoError { path: Some(into.into()), source };
    let mut file = File::from(place.create_file(false).map_err(|errno| refused(errno.into()))?);
    // Excludes the temporary file from the dump if it is in the tree.
    dump.except = Some(Except {
        name: CString::new(place.temporary().unwrap_or_default().as_bytes())
            .expect("temporary names have no NUL"),
        device_and_inode: device_and_inode(&fstat(&file).map_err(|errno| refused(errno.into()))?),
    });
    let mut hasher = Hasher::new(algorithm);
    // Passes each block to `hash`, and gets one to fill from it.
    let mut copy = |hash: &mut dyn FnMut(Buffer, usize) -> Result<Buffer, Error>| {
        let mut block = Buffer::new(BLOCK);
        loop {
            if is_cancelled() {
                return Err(Error::Cancelled);
            }
            let count = dump.fill(&mut block, is_cancelled)?;
            if count == 0 {
                return Ok(());
            }
            file.write_all(&block[..count]).map_err(refused)?;
            block = hash(block, count)?;
        }
    };
    let _present = workers.enter();
    let digest = match workers.request_helper() {
        None => {
            copy(&mut |block, count| {
                hasher.update(&block[..count]);
                Ok(block)
            })?;
            hasher.finish()
        }
        Some(helper) => helper.pool().in_place_scope(|scope| {
            let (filled, to_hash) = sync_channel::<(Buffer, usize)>(BLOCKS);
            let (hashed, free) = sync_channel(BLOCKS);
            let (finished, digest) = sync_channel(1);
            scope.spawn(move |_| {
                for (block, count) in to_hash {
                    hasher.update(&block[..count]);
                    yield_to_other_threads();
                    // The channel has room for all blocks. After an error there is no receiver.
                    let _ = hashed.send(block);
                }
                let _ = finished.send(hasher.finish());
                drop(helper);
            });
            let mut blocks = 1;
            // The channels are closed if the thread has panicked; the scope resumes the panic.
            copy(&mut |block, count| {
                filled.send((block, count)).map_err(|_| Error::Cancelled)?;
                if blocks < BLOCKS {
                    blocks += 1;
                    return Ok(Buffer::new(BLOCK));
                }
                free.recv().map_err(|_| Error::Cancelled)
            })?;
            drop(filled);
            digest.recv().map_err(|_| Error::Cancelled)
        })?,
    };
    drop(file);
    place.replace()?;
    Ok(digest)
}
