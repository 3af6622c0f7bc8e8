//! The objects that a store consists of.
//!
//! [`Objects`] asks for no more than an object store such as S3 gives. [`LocalObjects`] keeps objects as
//! files of a [`Disk`].

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::disk::Disk;
use super::error::{StoreError, is_unwritable};
use crate::error::{Error, IoError};

/// Objects by their names, which are paths with `/` between the components.
///
/// All but those that [`compare_and_set`](Self::compare_and_set) sets never change: an object has one content
/// for ever, or none.
///
/// An object store gives most of this with one request each: [`put`](Self::put), [`get`](Self::get),
/// [`get_range`](Self::get_range), [`length`](Self::length), [`list`](Self::list), [`delete`](Self::delete), and
/// [`exchange`](Self::exchange) as a write on condition that an object is absent or has a certain version. What it has
/// written survives a power cut, and it has no files that are half written, so that these methods are needed for a
/// folder only:
///
/// - [`flush`](Self::flush), [`settle`](Self::settle) and [`clean`](Self::clean) do nothing elsewhere, and
///   [`compare_and_set`](Self::compare_and_set) is [`exchange`](Self::exchange);
/// - [`list_at_once`](Self::list_at_once) is [`list`](Self::list) where a list has each object that is there all the
///   time. A list of the entries of a folder may lack one that is replaced while it is made;
/// - [`try_lock`](Self::try_lock), [`owner`](Self::owner) and [`claim`](Self::claim) are locks that end with a process.
///   Machines that share nothing but objects have none, and need another way to find out that one has ended.
///
/// [`exchange`](Self::exchange) also removes an object on a condition, which not every object store does.
pub trait Objects: Send + Sync {
    /// Creates an object, unless it exists. It survives a power cut after the next [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// Returns the error of the operating system or of the network, as all methods do.
    fn put(&self, name: &str, parts: &[&[u8]]) -> Result<(), Error>;

    /// Creates an object whose name is `folder` and the BLAKE3 of its content, which `write` writes, and
    /// returns the name. For objects that are too large for memory. Unless `is_durable`, a power cut may damage
    /// it.
    fn put_stream(
        &self,
        folder: &str,
        is_durable: bool,
        write: &mut dyn FnMut(&mut dyn io::Write) -> Result<(), Error>,
    ) -> Result<String, Error>;

    /// Waits until all objects that were put survive a power cut.
    fn flush(&self) -> Result<(), Error>;

    /// Waits until what others have put into a folder, replaced and deleted there survives a power cut.
    fn settle(&self, folder: &str) -> Result<(), Error>;

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

    /// Replaces an object if its content is `expected`, where `None` is no object. Returns whether it was. It
    /// survives a power cut after the next [`flush`](Self::flush), before which it may be the old one again.
    fn exchange(&self, name: &str, expected: Option<&[u8]>, new: Option<&[u8]>) -> Result<bool, Error>;

    /// Does an [`exchange`](Self::exchange) that survives a power cut from then on.
    fn compare_and_set(&self, name: &str, expected: Option<&[u8]>, new: Option<&[u8]>)
    -> Result<bool, Error>;

    /// Takes a lock that ends with this process, or returns `None` if another caller has it.
    fn try_lock(&self, name: &str) -> Result<Option<Lock>, Error>;

    /// Returns a text that names this user of the objects to others.
    fn owner(&self) -> Result<String, Error>;

    /// Returns a lock if a user that [`owner`](Self::owner) has named has ended. As long as it is held, others
    /// do not get it.
    fn claim(&self, owner: &str) -> Result<Option<Lock>, Error>;

    /// Removes what users have left that ended while they wrote.
    fn clean(&self) -> Result<(), Error>;

    /// Removes an object, if it exists. It may come back after a power cut until the next
    /// [`flush`](Self::flush).
    fn delete(&self, name: &str) -> Result<(), Error>;
}

/// A lock, until it is dropped.
pub(super) type Lock = Box<dyn Send>;

/// Objects as files. An object is written under a temporary name, synced, and renamed.
pub struct LocalObjects<D: Disk> {
    disk: D,
    /// The path of the folder, for errors.
    root: PathBuf,
    folders: Mutex<Folders>,
    /// The name of this user, once it writes, and the lock that shows others that it has not ended.
    owner: Mutex<Option<(String, Lock)>>,
    /// The number of temporary files so far.
    temporaries: AtomicU64,
    /// Whether anything is synced.
    durable: bool,
}

#[derive(Default)]
struct Folders {
    /// Folders whose entries have changed since they were synced.
    changed: BTreeMap<String, Change>,
    changes: u64,
    /// Folders that are known to exist.
    existing: BTreeSet<String>,
}

/// The last change of a folder.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Change {
    number: u64,
    /// Whether there is anything to lose with the folder.
    has_entries: bool,
}

impl Folders {
    /// Notes that something was put into a folder.
    fn change(&mut self, folder: &str) {
        self.changes += 1;
        self.changed.insert(folder.into(), Change { number: self.changes, has_entries: true });
    }

    /// Notes that something was removed from a folder.
    fn lose(&mut self, folder: &str) {
        self.changes += 1;
        let has_entries = self.changed.get(folder).is_some_and(|change| change.has_entries);
        self.changed.insert(folder.into(), Change { number: self.changes, has_entries });
    }
}

/// The file whose lock is held while an object gets its name, or loses it. Nothing is written or synced in
/// between.
const LOCK: &str = "lock";

/// How long that lock is waited for, before its holder is taken to be stopped.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The folder of files that are being written, `OWNER-NUMBER`, and of the locks of those who write them.
const TEMPORARY: &str = "tmp";

fn owner_lock(owner: &str) -> String {
    format!("{TEMPORARY}/{owner}.lock")
}

impl<D: Disk> LocalObjects<D> {
    /// Keeps objects as files of `disk`, whose path is `root`. Unless `durable`, leaves it to the operating
    /// system when they are written to the disk.
    pub fn new(disk: D, root: PathBuf, durable: bool) -> Self {
        let (folders, owner, temporaries) = (Mutex::default(), Mutex::default(), AtomicU64::new(0));
        Self { disk, root, folders, owner, temporaries, durable }
    }

    /// Sets whether anything is synced.
    pub(super) fn set_durable(&mut self, durable: bool) {
        self.durable = durable;
    }

    /// Returns the disk.
    pub fn disk(&self) -> &D {
        &self.disk
    }

    fn failed(&self, name: &str) -> impl Fn(io::Error) -> Error {
        let path = self.root.join(name);
        move |source| IoError { path: Some(path.clone()), source }.into()
    }

    /// Waits for [`LOCK`].
    fn wait(&self) -> Result<Lock, Error> {
        let started = Instant::now();
        let mut pause = Duration::from_micros(20);
        loop {
            if let Some(lock) = self.disk.try_lock(LOCK).map_err(self.failed(LOCK))? {
                return Ok(lock);
            }
            if started.elapsed() > LONGEST_WAIT {
                return Err(StoreError::Locked.into());
            }
            std::thread::sleep(pause);
            pause = (2 * pause).min(Duration::from_millis(2));
        }
    }

    /// Creates the folder of an object and those above it.
    fn create_folders(&self, name: &str) -> io::Result<()> {
        for (end, _) in name.match_indices('/') {
            let folder = &name[..end];
            if self.folders().existing.contains(folder) {
                continue;
            }
            self.disk.create_folder(folder)?;
            let mut folders = self.folders();
            folders.change(parent(folder));
            folders.existing.insert(folder.into());
        }
        Ok(())
    }

    fn folders(&self) -> MutexGuard<'_, Folders> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn my_name(&self) -> io::Result<String> {
        let mut owner = self.owner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((name, _)) = &*owner {
            return Ok(name.clone());
        }
        self.create_folders("tmp/")?;
        let (name, lock) = loop {
            let name = format!("{:016x}", getrandom::u64().map_err(io::Error::other)?);
            // Another process may take it for the lock of a process that has ended.
            if let Some(lock) = self.disk.try_lock(&owner_lock(&name))? {
                break (name, lock);
            }
        };
        *owner = Some((name.clone(), lock));
        Ok(name)
    }

    /// Writes a file under a temporary name and returns that.
    fn new_temporary(&self, parts: &[&[u8]]) -> io::Result<String> {
        let owner = self.my_name()?;
        let number = self.temporaries.fetch_add(1, Ordering::Relaxed);
        let temporary = format!("{TEMPORARY}/{owner}-{number}");
        let written = self.in_folder(&temporary, || self.disk.write_new(&temporary, parts));
        if written.is_err() {
            let _ = self.disk.remove(&temporary);
        }
        written.map(|()| temporary)
    }

    /// Creates the folder of an object and does something there. Does it again if the folder was removed in the
    /// meantime with all it had.
    fn in_folder(&self, name: &str, act: impl Fn() -> io::Result<()>) -> io::Result<()> {
        let attempt = || self.create_folders(name).and_then(|()| act());
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.folders().existing.clear();
                attempt()
            }
            result => result,
        }
    }

    /// Does the same, and waits until the content is on the disk.
    fn write_temporary(&self, parts: &[&[u8]]) -> io::Result<String> {
        let temporary = self.new_temporary(parts)?;
        let synced = if self.durable { self.disk.sync(&temporary) } else { Ok(()) };
        if synced.is_err() {
            let _ = self.disk.remove(&temporary);
        }
        synced.map(|()| temporary)
    }

    /// Gives a temporary file its name, which the next flush makes durable if it is to be.
    fn publish(&self, temporary: &str, name: &str, is_durable: bool) -> io::Result<()> {
        self.in_folder(name, || self.disk.rename(temporary, name))?;
        if is_durable {
            self.folders().change(parent(name));
        }
        Ok(())
    }

    /// Syncs the folders that have changed and for which `is_wanted` returns true.
    fn sync_folders(&self, is_wanted: impl Fn(&str) -> bool) -> io::Result<()> {
        let changed: Vec<(String, Change)> = {
            let folders = self.folders();
            let wanted = folders.changed.iter().filter(|(folder, _)| is_wanted(folder));
            wanted.map(|(folder, &change)| (folder.clone(), change)).collect()
        };
        for (folder, change) in changed {
            let synced = self.sync_folder(&folder);
            match &synced {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    // It is gone with all that was put there, which later calls must not be refused for.
                    self.folders().changed.remove(&folder);
                    if change.has_entries {
                        return synced;
                    }
                    continue;
                }
                Err(_) => return synced,
                Ok(()) => {}
            }
            // Only now, so that another thread that needs it does not take it for synced before it is.
            let mut folders = self.folders();
            if folders.changed.get(&folder) == Some(&change) {
                folders.changed.remove(&folder);
            }
        }
        Ok(())
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        if self.durable { self.disk.sync_folder(folder) } else { Ok(()) }
    }

    /// Removes what another user has left.
    fn clean_after(&self, owner: &str, files: &[String]) -> Result<(), Error> {
        // Only once it has ended.
        let Some(_lock) = self.claim(owner)? else { return Ok(()) };
        for file in files {
            found(self.disk.remove(file)).map_err(self.failed(file))?;
        }
        let lock = owner_lock(owner);
        found(self.disk.remove(&lock)).map_err(self.failed(&lock))?;
        Ok(())
    }
}

impl<D: Disk> Drop for LocalObjects<D> {
    fn drop(&mut self) {
        let owner = self.owner.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some((name, _lock)) = owner.take() {
            let _ = self.disk.remove(&owner_lock(&name));
        }
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

/// Returns whether a folder is the one of an object, or above that.
fn is_above(folder: &str, name: &str) -> bool {
    folder.is_empty() || name.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
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
        if self.length(name)? == Some(length) {
            // Another process may have put it, and not yet flushed it.
            self.folders().change(parent(name));
            return Ok(());
        }
        let put = || {
            let temporary = self.write_temporary(parts)?;
            let moved = self.publish(&temporary, name, true);
            if moved.is_err() {
                let _ = self.disk.remove(&temporary);
            }
            moved
        };
        put().map_err(self.failed(name))
    }

    fn put_stream(
        &self,
        folder: &str,
        is_durable: bool,
        write: &mut dyn FnMut(&mut dyn io::Write) -> Result<(), Error>,
    ) -> Result<String, Error> {
        let failed = self.failed(folder);
        let temporary = self.new_temporary(&[]).map_err(&failed)?;
        let mut writer = HashingWriter {
            disk: &self.disk,
            path: &temporary,
            hasher: blake3::Hasher::new(),
            buffer: Vec::new(),
        };
        let written = write(&mut writer).and_then(|()| {
            io::Write::flush(&mut writer).map_err(&failed)?;
            if self.durable && is_durable {
                self.disk.sync(&temporary).map_err(&failed)?;
            }
            let name = format!("{folder}/{}", writer.hasher.finalize().to_hex());
            let _lock = self.wait()?;
            self.publish(&temporary, &name, is_durable).map_err(&failed)?;
            Ok(name)
        });
        if written.is_err() {
            let _ = self.disk.remove(&temporary);
        }
        written
    }

    fn flush(&self) -> Result<(), Error> {
        self.sync_folders(|_| true).map_err(self.failed(""))
    }

    fn settle(&self, folder: &str) -> Result<(), Error> {
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            let entries = self.disk.list(&folder).map_err(self.failed(&folder))?;
            let below = entries.into_iter().filter(|(_, is_folder)| *is_folder);
            folders.extend(below.map(|(name, _)| format!("{folder}/{name}")));
            found(self.sync_folder(&folder)).map_err(self.failed(&folder))?;
        }
        let above = folder.match_indices('/').map(|(end, _)| &folder[..end]).chain([""]);
        for folder in above {
            found(self.sync_folder(folder)).map_err(self.failed(folder))?;
        }
        Ok(())
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

    fn exchange(&self, name: &str, expected: Option<&[u8]>, new: Option<&[u8]>) -> Result<bool, Error> {
        let failed = self.failed(name);
        let temporary = new.map(|new| self.write_temporary(&[new])).transpose().map_err(&failed)?;
        let replace = || {
            let _lock = self.wait()?;
            if found(self.disk.read(name)).map_err(&failed)?.as_deref() != expected {
                return Ok(false);
            }
            match &temporary {
                Some(temporary) => self.publish(temporary, name, true).map_err(&failed)?,
                None if expected.is_some() => {
                    self.disk.remove(name).map_err(&failed)?;
                    self.folders().lose(parent(name));
                }
                None => {}
            }
            Ok(true)
        };
        let replaced = replace();
        if !matches!(replaced, Ok(true)) {
            temporary.iter().for_each(|temporary| drop(self.disk.remove(temporary)));
        }
        replaced
    }

    fn compare_and_set(
        &self,
        name: &str,
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool, Error> {
        let replaced = self.exchange(name, expected, new)?;
        if replaced {
            self.sync_folders(|folder| is_above(folder, name)).map_err(self.failed(name))?;
        }
        Ok(replaced)
    }

    fn list_at_once(&self, folder: &str) -> Result<Vec<String>, Error> {
        let _lock = match self.wait() {
            // Its file cannot be created, or not be opened. The list is then as good as that of a folder.
            Err(error) if is_unwritable(&error) => None,
            lock => Some(lock?),
        };
        self.list(folder)
    }

    fn try_lock(&self, name: &str) -> Result<Option<Lock>, Error> {
        self.disk.try_lock(name).map_err(self.failed(name))
    }

    fn owner(&self) -> Result<String, Error> {
        self.my_name().map_err(self.failed(TEMPORARY))
    }

    fn claim(&self, owner: &str) -> Result<Option<Lock>, Error> {
        // From an object that may be damaged.
        if owner.is_empty() || !owner.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let lock = owner_lock(owner);
        self.create_folders(&lock).and_then(|()| self.disk.try_lock(&lock)).map_err(self.failed(&lock))
    }

    fn clean(&self) -> Result<(), Error> {
        let mut owners: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, is_folder) in self.disk.list(TEMPORARY).map_err(self.failed(TEMPORARY))? {
            let Some((owner, rest)) = name.split_once(['-', '.']).filter(|_| !is_folder) else { continue };
            let files = owners.entry(owner.into()).or_default();
            if rest != "lock" {
                files.push(format!("{TEMPORARY}/{name}"));
            }
        }
        owners.iter().try_for_each(|(owner, files)| self.clean_after(owner, files))
    }

    fn delete(&self, name: &str) -> Result<(), Error> {
        let _lock = self.wait()?;
        if found(self.disk.remove(name)).map_err(self.failed(name))?.is_some() {
            self.folders().lose(parent(name));
        }
        Ok(())
    }
}
