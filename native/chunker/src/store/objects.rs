//! The objects that a store consists of.
//!
//! [`Objects`] asks for no more than an object store such as S3 gives. [`LocalObjects`] keeps objects as
//! files of a [`Disk`].

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::disk::Disk;
use crate::error::{Error, IoError};

/// Objects by their names, which are paths with `/` between the components.
///
/// All but those that [`compare_and_set`](Self::compare_and_set) sets never change: an object has one content
/// for ever, or none.
pub trait Objects: Send + Sync {
    /// Creates an object, unless it exists. It survives a power cut after the next [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// Returns the error of the operating system or of the network, as all methods do.
    fn put(&self, name: &str, parts: &[&[u8]]) -> Result<(), Error>;

    /// Creates an object whose name is `folder` and the BLAKE3 of its content, which `write` writes, and
    /// returns the name. For objects that are too large for memory.
    fn put_stream(
        &self,
        folder: &str,
        write: &mut dyn FnMut(&mut dyn io::Write) -> Result<(), Error>,
    ) -> Result<String, Error>;

    /// Waits until all objects that were put survive a power cut.
    fn flush(&self) -> Result<(), Error>;

    /// Returns the content of an object, or `None` if there is none.
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, Error>;

    /// Fills `buffer` with the bytes of an object from `offset` on. Returns whether the object exists and is
    /// that long.
    fn get_range(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<bool, Error>;

    /// Returns the length of an object, in bytes, or `None` if there is none.
    fn length(&self, name: &str) -> Result<Option<u64>, Error>;

    /// Returns the names of all objects below a folder, in any order.
    fn list(&self, folder: &str) -> Result<Vec<String>, Error>;

    /// Returns the names of all objects below a folder, except of packs, as they are at one moment. What is
    /// put, replaced or deleted while [`list`](Self::list) runs may be there or not, in any combination.
    fn list_at_once(&self, folder: &str) -> Result<Vec<String>, Error>;

    /// Replaces an object if its content is `expected`, durably, where `None` is no object. Returns whether
    /// it was.
    fn compare_and_set(&self, name: &str, expected: Option<&[u8]>, new: Option<&[u8]>)
    -> Result<bool, Error>;

    /// Takes a lock that ends with this process, or returns `None` if another caller has it.
    fn try_lock(&self, name: &str) -> Result<Option<Box<dyn Send>>, Error>;

    /// Returns a line that names this process to others that use the objects.
    fn owner(&self) -> String;

    /// Returns whether a process that [`owner`](Self::owner) has named is known to have died.
    fn is_dead(&self, owner: &str) -> bool;

    /// Removes an object, if it exists. It may come back after a power cut.
    fn delete(&self, name: &str) -> Result<(), Error>;
}

/// Objects as files. An object is written under a temporary name, synced, and renamed.
pub struct LocalObjects<D> {
    disk: D,
    /// The path of the folder, for errors.
    root: PathBuf,
    /// Folders whose entries have changed since they were synced, and those that are known to exist.
    folders: Mutex<Folders>,
    /// Held while folders are synced, so that a flush waits for folders that another thread is syncing.
    syncing: Mutex<()>,
    /// Whether anything is synced.
    durable: bool,
}

#[derive(Default)]
struct Folders {
    changed: BTreeSet<String>,
    existing: BTreeSet<String>,
}

/// The file whose lock is held while an object is compared and set.
const LOCK: &str = "lock";

/// The folder of files that are being written.
const TEMPORARY: &str = "tmp";

impl<D: Disk> LocalObjects<D> {
    /// Keeps objects as files of `disk`, whose path is `root`. Unless `durable`, leaves it to the operating
    /// system when they are written to the disk.
    pub fn new(disk: D, root: PathBuf, durable: bool) -> Self {
        Self { disk, root, folders: Mutex::default(), syncing: Mutex::default(), durable }
    }

    /// Returns the disk.
    pub fn disk(&self) -> &D {
        &self.disk
    }

    fn failed(&self, name: &str) -> impl Fn(io::Error) -> Error {
        let path = self.root.join(name);
        move |source| IoError { path: Some(path.clone()), source }.into()
    }

    /// Creates the folder of an object and those above it.
    fn create_folders(&self, name: &str) -> io::Result<()> {
        for (end, _) in name.match_indices('/') {
            let folder = &name[..end];
            if self.lock().existing.contains(folder) {
                continue;
            }
            self.disk.create_folder(folder)?;
            let mut folders = self.lock();
            folders.changed.insert(parent(folder).into());
            folders.existing.insert(folder.into());
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Folders> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a file under a temporary name and returns that.
    fn write_temporary(&self, parts: &[&[u8]]) -> io::Result<String> {
        self.create_folders("tmp/")?;
        let temporary = format!("{TEMPORARY}/{:016x}", getrandom::u64().map_err(io::Error::other)?);
        let written = self
            .disk
            .write_new(&temporary, parts)
            .and_then(|()| if self.durable { self.disk.sync(&temporary) } else { Ok(()) });
        if written.is_err() {
            let _ = self.disk.remove(&temporary);
        }
        written.map(|()| temporary)
    }

    fn write(&self, name: &str, parts: &[&[u8]]) -> io::Result<()> {
        let temporary = self.write_temporary(parts)?;
        let moved = self.create_folders(name).and_then(|()| self.disk.rename(&temporary, name));
        if moved.is_err() {
            let _ = self.disk.remove(&temporary);
            // A folder that was known may have been removed with all it had.
            self.lock().existing.clear();
        }
        self.lock().changed.insert(parent(name).into());
        moved
    }

    fn sync_folders(&self) -> io::Result<()> {
        let _syncing = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = std::mem::take(&mut self.lock().changed);
        if !self.durable {
            return Ok(());
        }
        for folder in &changed {
            if let Err(error) = self.disk.sync_folder(folder) {
                self.lock().changed.extend(changed);
                return Err(error);
            }
        }
        Ok(())
    }
}

/// Writes a file in pieces of some size, and hashes it.
struct HashingWriter<'a> {
    disk: &'a dyn Disk,
    path: &'a str,
    hasher: blake3::Hasher,
    buffer: Vec<u8>,
}

/// The length of those pieces, in bytes.
const PIECE: usize = 1 << 20;

impl io::Write for HashingWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend(bytes);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hasher.update(&self.buffer);
        self.disk.append(self.path, &self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

/// Returns the folder of an object, which is empty for one at the top.
fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Returns `None` instead of the error that there is no such file.
fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        result => result.map(Some),
    }
}

impl<D: Disk> Objects for LocalObjects<D> {
    fn put(&self, name: &str, parts: &[&[u8]]) -> Result<(), Error> {
        // The content of a name never changes, but a file may have been cut.
        let length = parts.iter().map(|part| part.len() as u64).sum();
        match self.length(name)? {
            Some(existing) if existing == length => {
                // Another process may have put it, and not yet flushed it.
                self.lock().changed.insert(parent(name).into());
                Ok(())
            }
            _ => self.write(name, parts).map_err(self.failed(name)),
        }
    }

    fn put_stream(
        &self,
        folder: &str,
        write: &mut dyn FnMut(&mut dyn io::Write) -> Result<(), Error>,
    ) -> Result<String, Error> {
        let failed = self.failed(folder);
        let temporary = self.write_temporary(&[]).map_err(&failed)?;
        let mut writer = HashingWriter {
            disk: &self.disk,
            path: &temporary,
            hasher: blake3::Hasher::new(),
            buffer: Vec::new(),
        };
        let written = write(&mut writer).and_then(|()| {
            io::Write::flush(&mut writer).map_err(&failed)?;
            if self.durable {
                self.disk.sync(&temporary).map_err(&failed)?;
            }
            let name = format!("{folder}/{}", writer.hasher.finalize().to_hex());
            self.create_folders(&name).map_err(&failed)?;
            let _lock = self.disk.lock(LOCK, true).map_err(&failed)?;
            self.disk.rename(&temporary, &name).map_err(&failed)?;
            self.lock().changed.insert(folder.into());
            Ok(name)
        });
        if written.is_err() {
            let _ = self.disk.remove(&temporary);
        }
        written
    }

    fn flush(&self) -> Result<(), Error> {
        self.sync_folders().map_err(self.failed(""))
    }

    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        found(self.disk.read(name)).map_err(self.failed(name))
    }

    fn get_range(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<bool, Error> {
        match found(self.disk.read_at(name, offset, buffer)) {
            Ok(read) => Ok(read.is_some()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(self.failed(name)(error)),
        }
    }

    fn length(&self, name: &str) -> Result<Option<u64>, Error> {
        found(self.disk.length(name)).map_err(self.failed(name))
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for (name, is_folder) in self.disk.list(&folder).map_err(self.failed(&folder))? {
                let name = format!("{folder}/{name}");
                if is_folder { &mut folders } else { &mut names }.push(name);
            }
        }
        Ok(names)
    }

    fn compare_and_set(
        &self,
        name: &str,
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool, Error> {
        let set = || {
            let _lock = self.disk.lock(LOCK, true)?;
            if found(self.disk.read(name))?.as_deref() != expected {
                return Ok(false);
            }
            match new {
                Some(new) => self.write(name, &[new])?,
                None if expected.is_some() => self.disk.remove(name)?,
                None => {}
            }
            self.lock().changed.insert(parent(name).into());
            self.sync_folders()?;
            Ok(true)
        };
        set().map_err(self.failed(name))
    }

    fn list_at_once(&self, folder: &str) -> Result<Vec<String>, Error> {
        let _lock = self.disk.lock(LOCK, true).map_err(self.failed(LOCK))?;
        self.list(folder)
    }

    fn try_lock(&self, name: &str) -> Result<Option<Box<dyn Send>>, Error> {
        self.disk.lock(name, false).map_err(self.failed(name))
    }

    fn owner(&self) -> String {
        self.disk.owner()
    }

    fn is_dead(&self, owner: &str) -> bool {
        self.disk.is_dead(owner)
    }

    fn delete(&self, name: &str) -> Result<(), Error> {
        let _lock = self.disk.lock(LOCK, true).map_err(self.failed(LOCK))?;
        found(self.disk.remove(name)).map(drop).map_err(self.failed(name))
    }
}
