//! A disk in memory, whose power can be cut before any operation.
//!
//! After that it has what was synced, and of the rest whatever chance leaves: a file that was not synced has any
//! part of its content, or zeros or noise in place of the end, and of the changes in a folder that was not synced any
//! may be there or not. So it is worse than any real disk.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};

use chunker::store::Disk;

/// Random numbers that a seed determines.
#[derive(Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    /// Returns a number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    pub(super) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

/// The content of a file.
#[derive(Clone, Default)]
struct File {
    content: Vec<u8>,
    /// The content when it was last synced.
    synced: Option<Vec<u8>>,
}

/// An entry of a folder.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    File(usize),
    Folder,
}

#[derive(Clone, Default)]
struct State {
    files: Vec<File>,
    /// What programs see, by path.
    entries: BTreeMap<String, Entry>,
    /// What is on the disk.
    synced: BTreeMap<String, Entry>,
    /// Changes of entries that are not on the disk, in order: the path and what it is from then on.
    changes: Vec<(String, Option<Entry>)>,
    /// The number of operations so far that change something.
    operations: usize,
    /// The number of operations after which the power is cut.
    end: Option<usize>,
    /// The number of bytes that the files may have, if the disk can be full.
    room: Option<usize>,
    /// A power cut ends all processes, and with them these.
    locks: BTreeMap<String, Arc<()>>,
}

/// The disk. Clones are the same disk.
#[derive(Clone, Default)]
pub(super) struct SimulatedDisk(Arc<Mutex<State>>);

impl SimulatedDisk {
    /// Cuts the power after so many operations.
    pub(super) fn cut_after(&self, operations: usize) {
        self.state().end = Some(operations);
    }

    /// Returns the number of operations that changed something.
    pub(super) fn operations(&self) -> usize {
        self.state().operations
    }

    /// Fills the disk except for so many bytes.
    pub(super) fn leave_free(&self, bytes: usize) {
        let mut state = self.state();
        state.room = Some(state.used() + bytes);
    }

    /// Removes all files of a folder.
    pub(super) fn remove_all(&self, folder: &str) {
        self.state().entries.retain(|path, entry| {
            let is_below = path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
            !is_below || *entry == Entry::Folder
        });
    }

    /// Flips a bit of a byte of the first file in a folder or below it, as a bad disk does.
    pub(super) fn damage(&self, folder: &str, byte: usize) {
        let mut state = self.state();
        let below = |path: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        let numbers = state.entries.iter().filter_map(|(path, entry)| match entry {
            Entry::File(number) if below(path) => Some(*number),
            _ => None,
        });
        let Some(number) = numbers.min() else { return };
        let File { content, synced } = &mut state.files[number];
        for content in [Some(content), synced.as_mut()].into_iter().flatten() {
            content[byte] ^= 1;
        }
    }

    /// Returns the number of files in a folder and below it.
    pub(super) fn files(&self, folder: &str) -> usize {
        let state = self.state();
        let below = |path: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        state.entries.iter().filter(|(path, entry)| below(path) && **entry != Entry::Folder).count()
    }

    /// Returns what a power cut leaves, by chance; with `most` or `least` all or nothing of what was not synced.
    pub(super) fn after_power_cut(&self, random: &mut Random, chance: Chance) -> Self {
        let state = self.state();
        let keep = |random: &mut Random| match chance {
            Chance::Most => true,
            Chance::Least => false,
            Chance::Any => random.next().is_multiple_of(2),
        };
        let mut entries = state.synced.clone();
        for (path, entry) in &state.changes {
            if keep(random) {
                match entry {
                    Some(entry) => entries.insert(path.clone(), *entry),
                    None => entries.remove(path),
                };
            }
        }
        // Nothing is in a folder that is not there.
        let is_there = |path: &str| {
            path.match_indices('/').all(|(end, _)| entries.get(&path[..end]) == Some(&Entry::Folder))
        };
        let entries: BTreeMap<String, Entry> = entries
            .iter()
            .filter(|(path, _)| is_there(path))
            .map(|(path, entry)| (path.clone(), *entry))
            .collect();
        let files = state
            .files
            .iter()
            .map(|file| {
                let content = match (&file.synced, chance) {
                    (Some(synced), _) if *synced == file.content => synced.clone(),
                    (_, Chance::Most) => file.content.clone(),
                    (synced, Chance::Least) => synced.clone().unwrap_or_default(),
                    (synced, Chance::Any) => {
                        let kept = synced.as_ref().map_or(0, Vec::len);
                        let length = kept + random.below(file.content.len().saturating_sub(kept) + 1);
                        let torn = kept + random.below(length - kept + 1);
                        let mut content = file.content[..length].to_vec();
                        match random.below(3) {
                            0 => content[torn..].fill(0),
                            1 => content[torn..].copy_from_slice(&random.bytes(length - torn)),
                            _ => {}
                        }
                        content
                    }
                };
                File { synced: Some(content.clone()), content }
            })
            .collect();
        let state = State { files, synced: entries.clone(), entries, ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no operation panics")
    }

    /// Begins an operation that changes something.
    fn change(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        state.power()?;
        state.operations += 1;
        Ok(state)
    }

    fn reading(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state();
        state.power()?;
        Ok(state)
    }
}

/// What a power cut leaves of what was not synced.
#[derive(Clone, Copy, Debug)]
pub(super) enum Chance {
    Most,
    Least,
    Any,
}

impl State {
    fn power(&self) -> io::Result<()> {
        if self.end.is_some_and(|end| self.operations >= end) {
            return Err(io::Error::other("the power was cut"));
        }
        Ok(())
    }

    /// Returns the number of bytes of all files, each in blocks.
    fn used(&self) -> usize {
        let length = |entry: &Entry| match entry {
            Entry::File(number) => self.files[*number].content.len().next_multiple_of(256),
            Entry::Folder => 0,
        };
        self.entries.values().map(length).sum()
    }

    fn take(&self, bytes: usize) -> io::Result<()> {
        match self.room {
            Some(room) if self.used() + bytes > room => Err(ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    fn set(&mut self, path: &str, entry: Option<Entry>) {
        match entry {
            Some(entry) => self.entries.insert(path.into(), entry),
            None => self.entries.remove(path),
        };
        self.changes.push((path.into(), entry));
    }

    fn file(&mut self, path: &str) -> io::Result<&mut File> {
        match self.entries.get(path) {
            Some(Entry::File(number)) => Ok(&mut self.files[*number]),
            Some(Entry::Folder) => Err(ErrorKind::IsADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn folder(&self, path: &str) -> io::Result<()> {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        match self.entries.get(folder) {
            _ if folder.is_empty() => Ok(()),
            Some(Entry::Folder) => Ok(()),
            _ => Err(ErrorKind::NotFound.into()),
        }
    }
}

impl Disk for SimulatedDisk {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        self.reading()?.file(path).map(|file| file.content.clone())
    }

    fn read_at(&self, path: &str, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut state = self.reading()?;
        let content = &state.file(path)?.content;
        let range = content.get(offset as usize..).and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(range.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn length(&self, path: &str) -> io::Result<u64> {
        self.reading()?.file(path).map(|file| file.content.len() as u64)
    }

    fn write_new(&self, path: &str, parts: &[&[u8]]) -> io::Result<()> {
        let mut state = self.change()?;
        state.folder(path)?;
        if state.entries.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        state.take(parts.iter().map(|part| part.len()).sum())?;
        state.files.push(File { content: parts.concat(), synced: None });
        let number = state.files.len() - 1;
        state.set(path, Some(Entry::File(number)));
        Ok(())
    }

    fn append(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.change()?;
        state.take(bytes.len())?;
        state.file(path)?.content.extend(bytes);
        Ok(())
    }

    fn sync(&self, path: &str) -> io::Result<()> {
        let mut state = self.change()?;
        let file = state.file(path)?;
        file.synced = Some(file.content.clone());
        Ok(())
    }

    fn sync_folder(&self, path: &str) -> io::Result<()> {
        let mut state = self.change()?;
        let in_folder = |entry: &str| entry.rsplit_once('/').map_or("", |(folder, _)| folder) == path;
        let (synced, left) = std::mem::take(&mut state.changes)
            .into_iter()
            .partition::<Vec<_>, _>(|(entry, _)| in_folder(entry));
        state.changes = left;
        for (path, entry) in synced {
            match entry {
                Some(entry) => state.synced.insert(path, entry),
                None => state.synced.remove(&path),
            };
        }
        Ok(())
    }

    fn create_folder(&self, path: &str) -> io::Result<()> {
        let mut state = self.change()?;
        state.folder(path)?;
        match state.entries.get(path) {
            Some(Entry::Folder) => {}
            Some(Entry::File(_)) => return Err(ErrorKind::AlreadyExists.into()),
            None => state.set(path, Some(Entry::Folder)),
        }
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.change()?;
        state.folder(to)?;
        let entry = *state.entries.get(from).ok_or(ErrorKind::NotFound)?;
        state.set(to, Some(entry));
        state.set(from, None);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = self.change()?;
        state.file(path)?;
        state.set(path, None);
        Ok(())
    }

    fn list(&self, path: &str) -> io::Result<Vec<(String, bool)>> {
        let state = self.reading()?;
        let name = |entry: &str| match path {
            "" => (!entry.contains('/')).then(|| entry.to_owned()),
            path => {
                let name = entry.strip_prefix(path)?.strip_prefix('/')?;
                (!name.contains('/')).then(|| name.to_owned())
            }
        };
        let entries = state.entries.iter();
        Ok(entries.filter_map(|(path, entry)| Some((name(path)?, *entry == Entry::Folder))).collect())
    }

    fn sync_root(&self) -> io::Result<()> {
        self.change().map(drop)
    }

    fn try_lock(&self, path: &str) -> io::Result<Option<Box<dyn Send>>> {
        let mut state = self.reading()?;
        let lock = state.locks.entry(path.into()).or_default();
        // The other reference is that of the caller who has it.
        Ok((Arc::strong_count(lock) == 1).then(|| Box::new(Arc::clone(lock)) as Box<dyn Send>))
    }
}
