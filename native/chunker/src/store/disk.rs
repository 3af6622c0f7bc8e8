//! The operations on files that a store in a folder needs, and no others.
//!
//! Everything that a store does to files goes through [`Disk`], so that a simulated disk can stop it at any
//! operation, and lose what was not synced.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quick_cache::sync::Cache;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use rustix::system::uname;

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
    /// returned or its process ends. Waits for it if `wait`, and else returns `None` if another caller has
    /// it.
    fn lock(&self, path: &str, wait: bool) -> io::Result<Option<Box<dyn Send>>>;

    /// Returns a line that names this process to others.
    fn owner(&self) -> String;

    /// Returns whether a process that [`owner`](Self::owner) has named is known to have died. A wrong answer
    /// costs time, and does no harm.
    fn is_dead(&self, owner: &str) -> bool;
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
        self.opened(path)?.read_exact_at(buffer, offset)
    }

    fn length(&self, path: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.path(path))?.len())
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

    fn create_folder(&self, path: &str) -> io::Result<()> {
        match fs::create_dir(self.path(path)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            result => result,
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
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

    fn lock(&self, path: &str, wait: bool) -> io::Result<Option<Box<dyn Send>>> {
        // Each caller opens the file, since the lock belongs to what was opened, not to the process.
        let file = File::options().create(true).append(true).open(self.path(path))?;
        let file = OwnedFd::from(file);
        let operation =
            if wait { FlockOperation::LockExclusive } else { FlockOperation::NonBlockingLockExclusive };
        loop {
            match flock(&file, operation) {
                Ok(()) => return Ok(Some(Box::new(file))),
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) if !wait => return Ok(None),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn owner(&self) -> String {
        format!("{} {} {}", host(), boot(), std::process::id())
    }

    fn is_dead(&self, owner: &str) -> bool {
        let mut parts = owner.rsplitn(3, ' ');
        let process = parts.next().and_then(|process| Pid::from_raw(process.parse().ok()?));
        let (was, on) = (parts.next(), parts.next());
        // Of a process of another machine nothing is known.
        on == Some(&host())
            && (was != Some(&boot())
                || process.is_none_or(|process| test_kill_process(process) == Err(Errno::SRCH)))
    }
}

fn host() -> String {
    uname().nodename().to_string_lossy().into_owned()
}

/// Returns the id of the boot, where it is known, since the same number after a restart is another process.
fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    if id.is_empty() { "unknown".into() } else { id.trim().into() }
}
