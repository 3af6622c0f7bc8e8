//! A folder of which a test sees each operation before it happens, and may let it fail or do something in
//! between.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chunker::store::{Disk, Folder, Store};

use super::small_chunks;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An operation and the path that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Read,
    ReadAt(u64),
    Length,
    Write,
    Sync,
    Rename,
    Remove,
    List,
    Lock,
    /// Only of a folder that does not exist.
    CreateFolder,
}

type Watch = Box<dyn FnMut(Operation, &str) -> io::Result<()> + Send>;

/// The folder. Clones have the same watch.
#[derive(Clone)]
pub(super) struct WatchedDisk {
    root: PathBuf,
    folder: Arc<Folder>,
    watch: Arc<Mutex<Option<Watch>>>,
    locks: Arc<Mutex<Vec<Held>>>,
}

/// A lock, until it or the process that has it ends.
#[derive(Clone)]
struct Held(Arc<Mutex<Option<Box<dyn Send>>>>);

impl Drop for Held {
    fn drop(&mut self) {
        // The other one is in the list.
        if Arc::strong_count(&self.0) <= 2 {
            lock(&self.0).take();
        }
    }
}

impl WatchedDisk {
    pub(super) fn new(path: &Path) -> Self {
        let root = path.to_owned();
        Self { root, folder: Arc::new(Folder::new(path)), watch: Arc::default(), locks: Arc::default() }
    }

    /// Opens the store in the folder.
    pub(super) fn store(&self) -> Store {
        Store::on_disk(self.clone(), "watched".into(), &small_chunks()).unwrap()
    }

    /// Calls `watch` before each operation from now on. It must use other stores, which it opens in the
    /// folder itself.
    pub(super) fn watch(&self, watch: impl FnMut(Operation, &str) -> io::Result<()> + Send + 'static) {
        *lock(&self.watch) = Some(Box::new(watch));
    }

    pub(super) fn unwatch(&self) {
        *lock(&self.watch) = None;
    }

    /// Ends the process that uses the disk: it can do nothing any more, and has no locks.
    pub(super) fn kill(&self) {
        self.watch(|_, _| Err(io::Error::other("killed")));
        for held in &*lock(&self.locks) {
            lock(&held.0).take();
        }
    }

    fn before(&self, operation: Operation, path: &str) -> io::Result<()> {
        lock(&self.watch).as_mut().map_or(Ok(()), |watch| watch(operation, path))
    }
}

impl Disk for WatchedDisk {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        self.before(Operation::Read, path)?;
        self.folder.read(path)
    }

    fn read_at(&self, path: &str, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.before(Operation::ReadAt(buffer.len() as u64), path)?;
        self.folder.read_at(path, offset, buffer)
    }

    fn length(&self, path: &str) -> io::Result<u64> {
        self.before(Operation::Length, path)?;
        self.folder.length(path)
    }

    fn write_new(&self, path: &str, parts: &[&[u8]]) -> io::Result<()> {
        self.before(Operation::Write, path)?;
        self.folder.write_new(path, parts)
    }

    fn append(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.before(Operation::Write, path)?;
        self.folder.append(path, bytes)
    }

    fn sync(&self, path: &str) -> io::Result<()> {
        self.before(Operation::Sync, path)?;
        self.folder.sync(path)
    }

    fn sync_folder(&self, path: &str) -> io::Result<()> {
        self.before(Operation::Sync, path)?;
        self.folder.sync_folder(path)
    }

    fn sync_root(&self) -> io::Result<()> {
        self.folder.sync_root()
    }

    fn create_folder(&self, path: &str) -> io::Result<()> {
        if !self.root.join(path).exists() {
            self.before(Operation::CreateFolder, path)?;
        }
        self.folder.create_folder(path)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.before(Operation::Rename, to)?;
        self.folder.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.before(Operation::Remove, path)?;
        self.folder.remove(path)
    }

    fn list(&self, path: &str) -> io::Result<Vec<(String, bool)>> {
        self.before(Operation::List, path)?;
        self.folder.list(path)
    }

    fn try_lock(&self, path: &str) -> io::Result<Option<Box<dyn Send>>> {
        self.before(Operation::Lock, path)?;
        let Some(taken) = self.folder.try_lock(path)? else { return Ok(None) };
        let held = Held(Arc::new(Mutex::new(Some(taken))));
        lock(&self.locks).push(held.clone());
        Ok(Some(Box::new(held)))
    }
}
