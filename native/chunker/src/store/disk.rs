//! The operations on files that a store in a folder needs, and no others.
//!
//! Everything that a store does to files goes through [`Disk`], so that a simulated disk can stop it at any
//! operation, and lose what was not synced.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quick_cache::sync::Cache;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// A folder of files. Paths are relative to it, and have `/` between their components.
///
/// What a file contains survives a power cut after [`sync`](Self::sync), and that it exists, has its name, or
/// was removed, after [`sync_folder`](Self::sync_folder) of its folder.
pub trait Disk: Send + Sync {
    /// Returns the whole content of a file.
    ///
    /// # Errors
    ///
    /// Returns the error of the operating system, as all methods do.
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;

    /// Fills `buffer` with the bytes of a file from `offset` on. A file that ends before that is an error of
    /// the kind `UnexpectedEof`.
    fn read_at(&self, path: &str, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Returns the length of a file, in bytes.
    fn length(&self, path: &str) -> io::Result<u64>;

    /// Writes a file that does not exist.
    fn write_new(&self, path: &str, parts: &[&[u8]]) -> io::Result<()>;

    /// Appends to a file.
    fn append(&self, path: &str, bytes: &[u8]) -> io::Result<()>;

    /// Waits until the content of a file is on the disk.
    fn sync(&self, path: &str) -> io::Result<()>;

    /// Waits until the entries of a folder are on the disk. The empty path is the folder itself.
    fn sync_folder(&self, path: &str) -> io::Result<()>;

    /// Waits until it is on the disk that the folder itself exists.
    fn sync_root(&self) -> io::Result<()>;

    /// Creates a folder, unless it exists.
    fn create_folder(&self, path: &str) -> io::Result<()>;

    /// Gives a file another name, and replaces what had it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Returns the entries of a folder, in any order, with whether each is a folder. None if it does not
    /// exist.
    fn list(&self, path: &str) -> io::Result<Vec<(String, bool)>>;

    /// Takes a lock, which one caller at a time has, of this process or another, until it drops what is
    /// returned or its process ends. Returns `None` if another caller has it. The file of a lock may be
    /// removed by the caller who has it.
    fn try_lock(&self, path: &str) -> io::Result<Option<Box<dyn Send>>>;
}

/// The number of files that are kept open for reading.
const OPEN_FILES: usize = 64;

/// A folder of the operating system.
pub struct Folder {
    root: PathBuf,
    open: Cache<String, Arc<File>>,
}

impl Folder {
    /// Uses the folder at `root`, which exists.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.into(), open: Cache::new(OPEN_FILES) }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn opened(&self, path: &str) -> io::Result<Arc<File>> {
        self.open.get_or_insert_with(path, || Ok(Arc::new(File::open(self.path(path))?)))
    }
}

impl Disk for Folder {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        File::open(self.path(path))?.read_to_end(&mut content)?;
        Ok(content)
    }

    fn read_at(&self, path: &str, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        match self.opened(path)?.read_exact_at(buffer, offset) {
            // Another process may have replaced a file that was cut.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.open.remove(path);
                self.opened(path)?.read_exact_at(buffer, offset)
            }
            read => read,
        }
    }

    fn length(&self, path: &str) -> io::Result<u64> {
        let found = fs::metadata(self.path(path))?;
        // It may have been replaced since it was opened, by another program or from a backup.
        if let Some(file) = self.open.peek(path)
            && !is_same(&file.metadata()?, &found)
        {
            self.open.remove(path);
        }
        Ok(found.len())
    }

    fn write_new(&self, path: &str, parts: &[&[u8]]) -> io::Result<()> {
        let mut file = File::create_new(self.path(path))?;
        parts.iter().try_for_each(|part| file.write_all(part))
    }

    fn append(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        File::options().append(true).open(self.path(path))?.write_all(bytes)
    }

    fn sync(&self, path: &str) -> io::Result<()> {
        File::open(self.path(path))?.sync_all()
    }

    fn sync_folder(&self, path: &str) -> io::Result<()> {
        File::open(self.path(path))?.sync_all()
    }

    fn sync_root(&self) -> io::Result<()> {
        match File::open(self.root.join("..")) {
            // A folder above that cannot be listed was not made here, or cannot be synced by anyone.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            above => above?.sync_all(),
        }
    }

    fn create_folder(&self, path: &str) -> io::Result<()> {
        match fs::create_dir(self.path(path)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            result => result,
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))?;
        self.open.remove(to);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.path(path))?;
        self.open.remove(path);
        Ok(())
    }

    fn list(&self, path: &str) -> io::Result<Vec<(String, bool)>> {
        let entries = match fs::read_dir(self.path(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            // No name of ours is anything else than ASCII.
            if let Ok(name) = entry.file_name().into_string() {
                names.push((name, entry.file_type()?.is_dir()));
            }
        }
        Ok(names)
    }

    fn try_lock(&self, path: &str) -> io::Result<Option<Box<dyn Send>>> {
        let path = self.path(path);
        loop {
            // Each caller opens the file, since the lock belongs to what was opened, not to the process.
            let file = open_lock(&path)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {
                    let held = Held(file);
                    // Unless the caller who had it has removed the file since it was opened here.
                    if is_at(&held.0, &path)? {
                        return Ok(Some(Box::new(held)));
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// A lock that is held. Closing the file does not end it as long as a process that was just forked has the file
/// as well.
struct Held(File);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

/// Opens the file of a lock. One that exists need not be writable, so that a store on a read-only file system
/// can be read.
fn open_lock(path: &Path) -> io::Result<File> {
    match File::options().create(true).append(true).open(path) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            File::open(path).map_err(|_| error)
        }
        opened => opened,
    }
}

/// Returns whether a path still leads to a file that was opened there.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let opened = file.metadata()?;
    match fs::metadata(path) {
        Ok(found) => Ok(is_same(&found, &opened)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns whether two are of the same file.
fn is_same(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}
