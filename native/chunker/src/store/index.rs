//! The index: where each chunk is.
//!
//! It consists of segments, which writers add and merge. All of it is made from packs: what a segment had that
//! is damaged or missing is found again by [`Index::complete`], which looks for packs that no segment has.
//!
//! A segment may name packs that a garbage collection has deleted since, so its entries are hints. A writer
//! checks that a pack exists before it relies on a chunk in it, and a reader checks each chunk.
//!
//! What cannot be written, since the store is read-only or its disk is full, is kept in memory.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::error::{StoreError, if_writable, is_read_only, is_unwritable};
use super::objects::Objects;
use super::pack::{self, Entry, PackId, Section};
use super::segment::{self, Location, Pages, Segment};
use super::unwritten::Unwritten;
use crate::error::Error;
use crate::hash::Digest;
use crate::{Cancel, NEVER};

/// The folder of the segments.
pub(super) const FOLDER: &str = "index";

/// The number of pages that are kept in memory, of 4 KiB each.
const PAGES: usize = 2048;

/// How often the segments are listed again because one has vanished since.
const MOST_ATTEMPTS: u32 = 100;

/// The number of entries that are gathered from packs before they become a segment.
const MOST_GATHERED: usize = 200_000;

/// Segments of at least so many entries are synced. What a power cut takes of smaller ones is soon found again.
const LEAST_SYNCED: u64 = 100_000;

/// Segments are merged with all smaller ones unless they have more than so many times their entries. So there
/// are few segments to look into, and each entry is rewritten few times.
const RATIO: u64 = 3;

/// The index of a store.
pub(super) struct Index {
    objects: Arc<dyn Objects>,
    segments: RwLock<Vec<Arc<Segment>>>,
    unwritten: RwLock<Arc<Unwritten>>,
    /// The folders of packs in `unwritten` that another process may not yet have flushed. They are here
    /// before the packs are there.
    unsettled: Mutex<HashSet<String>>,
    /// The names of damaged segments that could not be removed.
    ignored: Mutex<HashSet<String>>,
    pages: Pages,
    /// When [`complete_if_due`](Self::complete_if_due) last did something, and how long that took.
    completed: Mutex<Option<(Instant, Duration)>>,
    /// Is held by [`complete`](Self::complete), so that several threads do not find the same packs.
    completing: Mutex<()>,
}

impl Index {
    /// Opens the index. Segments that are damaged are ignored; what they had is missing until the index is
    /// rebuilt.
    pub(super) fn open(objects: Arc<dyn Objects>) -> Result<Self, Error> {
        let index = Self {
            objects,
            segments: RwLock::default(),
            unwritten: RwLock::default(),
            unsettled: Mutex::default(),
            ignored: Mutex::default(),
            pages: Pages::new(PAGES),
            completed: Mutex::default(),
            completing: Mutex::default(),
        };
        index.refresh()?;
        Ok(index)
    }

    /// Looks for segments that others have added or removed, and returns whether there were any. Ignores those
    /// that are damaged.
    pub(super) fn refresh(&self) -> Result<bool, Error> {
        let before = self.segments();
        self.refreshed()?;
        let now = self.segments();
        Ok(now.len() != before.len() || now.iter().zip(&before).any(|(now, then)| !Arc::ptr_eq(now, then)))
    }

    /// Returns the names of those that are damaged as well.
    fn refreshed(&self) -> Result<Vec<String>, Error> {
        let known = self.segments();
        let mut attempts = 0;
        'all: loop {
            attempts += 1;
            let (mut segments, mut damaged) = (Vec::new(), Vec::new());
            for name in self.objects.list_at_once(FOLDER)? {
                if self.ignored().contains(&name) {
                    continue;
                }
                if let Some(segment) = known.iter().find(|segment| segment.name == name) {
                    segments.push(Arc::clone(segment));
                    continue;
                }
                match Segment::open(&*self.objects, &name) {
                    Ok(Some(segment)) => segments.push(Arc::new(segment)),
                    // Another process has merged and removed it since, unless it is no file at all.
                    Ok(None) if attempts < MOST_ATTEMPTS => continue 'all,
                    Ok(None) => damaged.push(name),
                    Err(Error::Store(StoreError::Corrupt { .. })) => damaged.push(name),
                    Err(error) => return Err(error),
                }
            }
            // New chunks are asked for most often in large segments.
            segments.sort_by_key(|segment| std::cmp::Reverse(segment.entries));
            *self.segments.write().unwrap_or_else(PoisonError::into_inner) = segments;
            return Ok(damaged);
        }
    }

    fn segments(&self) -> Vec<Arc<Segment>> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn unwritten(&self) -> Arc<Unwritten> {
        Arc::clone(&self.unwritten.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn ignored(&self) -> MutexGuard<'_, HashSet<String>> {
        self.ignored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes a damaged segment, or ignores it if that is not possible.
    fn discard(&self, name: &str) -> Result<(), Error> {
        match self.objects.delete(name) {
            Err(error) if is_unwritable(&error) => {
                self.ignored().insert(name.into());
                Ok(())
            }
            deleted => deleted,
        }
    }

    /// Returns the first place of a digest for which `accept` returns true.
    pub(super) fn find(
        &self,
        digest: &Digest,
        mut accept: impl FnMut(&Location) -> Result<bool, Error>,
    ) -> Result<Option<Location>, Error> {
        loop {
            let mut lost = None;
            for segment in self.segments() {
                match segment.find(&*self.objects, &self.pages, digest, &mut accept) {
                    Ok(Some(location)) => return Ok(Some(location)),
                    Ok(None) => {}
                    Err(Error::Store(StoreError::Corrupt { .. })) => lost = Some(segment),
                    Err(error) => return Err(error),
                }
            }
            let Some(lost) = lost else { return self.unwritten().find(digest, &mut accept) };
            self.replace_lost(&lost)?;
        }
    }

    /// Finds the entries of a segment again that could not be read.
    fn replace_lost(&self, lost: &Arc<Segment>) -> Result<(), Error> {
        self.refresh()?;
        // If another process has merged it, its entries are in the new one.
        if self.segments().iter().any(|segment| Arc::ptr_eq(segment, lost)) {
            self.discard(&lost.name)?;
            self.complete(NEVER)?;
        }
        Ok(())
    }

    /// Adds the entries of packs, which must be durable, and merges small segments. Keeps them in memory if they cannot
    /// be written.
    pub(super) fn add(&self, packs: &[(PackId, Vec<Entry>)]) -> Result<(), Error> {
        match self.add_segment(packs) {
            Err(error) if is_unwritable(&error) => {
                self.keep_in_memory(packs);
                Ok(())
            }
            added => added,
        }
    }

    fn keep_in_memory(&self, packs: &[(PackId, Vec<Entry>)]) {
        Arc::make_mut(&mut self.unwritten.write().unwrap_or_else(PoisonError::into_inner)).add(packs);
    }

    fn add_segment(&self, packs: &[(PackId, Vec<Entry>)]) -> Result<(), Error> {
        if packs.is_empty() {
            return Ok(());
        }
        let mut entries: Vec<(Entry, u32)> = Vec::new();
        for (number, (_, pack)) in packs.iter().enumerate() {
            entries.extend(pack.iter().map(|&entry| (entry, number as u32)));
        }
        entries.sort_unstable_by_key(|(entry, _)| entry.digest.0);
        self.write(entries.len() as u64, &mut |out| {
            let ids = packs.iter().map(|(id, _)| Ok(*id));
            segment::write(out, entries.iter().map(|&entry| Ok(entry)), ids)
        })?;
        self.refresh()?;
        // It needs as much space again.
        if_writable(self.merge())
    }

    /// Writes a segment of at most so many entries, and returns its name.
    fn write(
        &self,
        entries: u64,
        write: &mut dyn FnMut(&mut dyn Write) -> Result<(), Error>,
    ) -> Result<String, Error> {
        let is_durable = entries >= LEAST_SYNCED;
        let name = self.objects.put_stream(FOLDER, is_durable, write)?;
        if is_durable {
            self.objects.flush()?;
        }
        Ok(name)
    }

    /// Merges the smallest segments into one, unless there are few. Two processes that merge at once may make
    /// an entry stand in two segments, until those are merged.
    fn merge(&self) -> Result<(), Error> {
        let mut segments = self.segments();
        segments.reverse();
        let (mut count, mut sum) = (0, 0);
        for (place, segment) in segments.iter().enumerate() {
            if place == 0 || segment.entries <= RATIO * sum {
                count = place + 1;
            } else if count > 1 {
                break;
            }
            sum += segment.entries;
        }
        if count < 2 {
            return Ok(());
        }
        match self.replace(&segments[..count], &|_| Ok(true)) {
            // Another process has merged and removed one of them.
            Err(Error::Store(StoreError::Corrupt { .. })) => self.refresh().map(drop),
            merged => merged,
        }
    }

    /// Replaces segments with one of their entries in packs that are kept.
    fn replace(&self, segments: &[Arc<Segment>], is_kept: &IsKept<'_>) -> Result<(), Error> {
        let merged = self.merged(segments, is_kept)?;
        // The same entries make a segment of the same name.
        for segment in segments.iter().filter(|segment| segment.name != merged) {
            self.objects.delete(&segment.name)?;
        }
        self.refresh().map(drop)
    }

    fn merged(&self, segments: &[Arc<Segment>], is_kept: &IsKept<'_>) -> Result<String, Error> {
        // The new number of each pack, by segment and number.
        let mut numbers: Vec<Vec<Option<u32>>> = Vec::new();
        let mut packs: Vec<PackId> = Vec::new();
        let mut known: HashMap<PackId, Option<u32>> = HashMap::new();
        for segment in segments {
            let mut of_segment = Vec::new();
            for pack in segment.packs(&*self.objects, &self.pages) {
                let pack = pack?;
                let number = match known.get(&pack) {
                    Some(number) => *number,
                    None => {
                        let number = is_kept(&pack)?.then_some(packs.len() as u32);
                        known.insert(pack, number);
                        packs.extend(number.map(|_| pack));
                        number
                    }
                };
                of_segment.push(number);
            }
            numbers.push(of_segment);
        }
        drop(known);
        self.write(segments.iter().map(|segment| segment.entries).sum(), &mut |out| {
            let sources = segments.iter().map(|segment| segment.iter(&*self.objects, &self.pages)).collect();
            segment::write(out, Merge::new(sources, &numbers), packs.iter().map(|pack| Ok(*pack)))
        })
    }

    /// Replaces all segments with one that does not have the packs that are not kept.
    pub(super) fn retain(&self, is_kept: &IsKept<'_>) -> Result<(), Error> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            self.refresh()?;
            match self.replace(&self.segments(), is_kept) {
                // A writer has merged and removed one of them, or one is damaged.
                Err(Error::Store(StoreError::Corrupt { .. })) if attempts < MOST_ATTEMPTS => {
                    self.check()?;
                }
                result => return result,
            }
        }
    }

    /// Reads all segments, removes those that are damaged, and returns them with what is wrong with each.
    /// [`complete`](Self::complete) finds again what they had.
    pub(super) fn check(&self) -> Result<Vec<(String, &'static str)>, Error> {
        self.ignored().clear();
        let mut damage: Vec<_> = self.refreshed()?.into_iter().map(|name| (name, "index_segment")).collect();
        for segment in self.segments() {
            let packs = segment.packs(&*self.objects, &self.pages).find_map(Result::err);
            let entries = || segment.iter(&*self.objects, &self.pages).find_map(Result::err);
            match packs.or_else(entries) {
                // Unless another process has merged and removed it.
                Some(Error::Store(StoreError::Corrupt { why, .. }))
                    if self.objects.length(&segment.name)?.is_some() =>
                {
                    damage.push((segment.name.clone(), why));
                }
                None | Some(Error::Store(StoreError::Corrupt { .. })) => {}
                Some(error) => return Err(error),
            }
        }
        for (name, _) in &damage {
            self.discard(name)?;
        }
        self.refresh()?;
        Ok(damage)
    }

    /// Returns the packs that the index has, in order.
    fn packs(&self) -> Result<Vec<PackId>, Error> {
        'all: loop {
            let mut known = self.unwritten().packs.clone();
            for segment in self.segments() {
                for pack in segment.packs(&*self.objects, &self.pages) {
                    match pack {
                        Ok(pack) => known.push(pack),
                        Err(Error::Store(StoreError::Corrupt { .. })) => {
                            self.refresh()?;
                            if self.segments().iter().any(|now| Arc::ptr_eq(now, &segment)) {
                                self.discard(&segment.name)?;
                                self.refresh()?;
                            }
                            continue 'all;
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
            known.sort_unstable();
            known.dedup();
            return Ok(known);
        }
    }

    /// Adds the packs that no segment has, from their footers, and returns how many there were. Takes a read
    /// for each such pack.
    pub(super) fn complete(&self, is_cancelled: Cancel<'_>) -> Result<u64, Error> {
        let _completing = self.completing.lock().unwrap_or_else(PoisonError::into_inner);
        self.write_unwritten()?;
        self.refresh()?;
        let known = self.packs()?;
        let (mut found, mut gathered) = (0, 0);
        let mut missing = Vec::new();
        for section in Section::ALL {
            for name in self.objects.list(section.folder())? {
                if is_cancelled() {
                    return Err(Error::Cancelled);
                }
                let Some(id) = PackId::from_name(&name).filter(|id| known.binary_search(id).is_err()) else {
                    continue;
                };
                if let Some(entries) = pack::entries(&*self.objects, id)? {
                    gathered += entries.len();
                    missing.push((id, entries));
                    found += 1;
                }
                if gathered >= MOST_GATHERED {
                    self.add_settled(&std::mem::take(&mut missing))?;
                    gathered = 0;
                }
            }
        }
        self.add_settled(&missing)?;
        Ok(found)
    }

    /// Does that unless it was done just now, in relation to the time that it takes: when many records are missing,
    /// it is not done for each.
    pub(super) fn complete_if_due(&self) -> Result<(), Error> {
        let mut last = self.completed.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|(when, took)| when.elapsed() < 10 * took) {
            return Ok(());
        }
        let started = Instant::now();
        self.complete(NEVER)?;
        *last = Some((Instant::now(), started.elapsed()));
        Ok(())
    }

    /// Adds packs that other processes may not yet have flushed.
    fn add_settled(&self, packs: &[(PackId, Vec<Entry>)]) -> Result<(), Error> {
        if packs.is_empty() {
            return Ok(());
        }
        let folders: HashSet<String> = packs.iter().map(|(pack, _)| pack.folder()).collect();
        if self.objects.owner().is_err_and(|error| is_read_only(&error)) {
            // Nothing that relies on them can be committed, and some read-only file systems sync no folders.
            self.unsettled().extend(folders);
            self.keep_in_memory(packs);
            return Ok(());
        }
        folders.iter().try_for_each(|folder| self.objects.settle(folder))?;
        self.add(packs)
    }

    fn unsettled(&self) -> MutexGuard<'_, HashSet<String>> {
        self.unsettled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all packs are durable that were found while the store could not be written to, before a writer
    /// relies on them.
    pub(super) fn settle_found(&self) -> Result<(), Error> {
        let mut unsettled = self.unsettled();
        unsettled.iter().try_for_each(|folder| self.objects.settle(folder))?;
        unsettled.clear();
        Ok(())
    }

    /// Removes the smallest segments, so that at least so many bytes of the disk become free, or all. What they have
    /// is kept in memory until it can be written again; others find it in the packs. Returns whether there were
    /// any.
    pub(super) fn make_room(&self, bytes: u64) -> Result<bool, Error> {
        let mut freed = 0;
        for segment in self.segments().iter().rev() {
            if freed >= bytes {
                break;
            }
            let length = self.objects.length(&segment.name)?.unwrap_or(0);
            let Ok(packs) = self.entries_of(segment) else { continue };
            // First, so that they are not in two places if it fails.
            self.objects.delete(&segment.name)?;
            self.keep_in_memory(&packs);
            freed += length;
        }
        self.refresh()?;
        Ok(freed > 0)
    }

    /// Returns all packs of a segment with their entries.
    fn entries_of(&self, segment: &Segment) -> Result<Vec<(PackId, Vec<Entry>)>, Error> {
        let packs = segment.packs(&*self.objects, &self.pages).map(|id| Ok((id?, Vec::new())));
        let mut packs = packs.collect::<Result<Vec<(PackId, Vec<Entry>)>, Error>>()?;
        for entry in segment.iter(&*self.objects, &self.pages) {
            let (entry, number) = entry?;
            let pack = packs.get_mut(number as usize);
            pack.ok_or_else(|| StoreError::corrupt(&segment.name, None, "pack_number"))?.1.push(entry);
        }
        Ok(packs)
    }

    /// Writes what could not be written before, if that is possible by now.
    pub(super) fn write_unwritten(&self) -> Result<(), Error> {
        let unwritten = self.unwritten();
        if unwritten.packs.is_empty() || self.objects.owner().is_err() {
            return Ok(());
        }
        let packs = unwritten.packs();
        self.settle_found()?;
        match self.add_segment(&packs) {
            Err(error) if is_unwritable(&error) => return Ok(()),
            added => added?,
        }
        let mut current = self.unwritten.write().unwrap_or_else(PoisonError::into_inner);
        // Unless another thread has added some.
        if Arc::ptr_eq(&current, &unwritten) {
            *current = Arc::default();
        }
        Ok(())
    }
}

/// Returns whether the entries of a pack are kept.
pub(super) type IsKept<'a> = dyn Fn(&PackId) -> Result<bool, Error> + 'a;

/// Merges sorted entries of several segments, of which only those whose packs have new numbers, and each once.
struct Merge<'a, I> {
    sources: Vec<I>,
    numbers: &'a [Vec<Option<u32>>],
    /// The next entry of each source, by digest and source.
    next: BTreeMap<([u8; 32], usize), (Entry, u32)>,
    /// The entries of the last digest.
    last: Vec<(Entry, u32)>,
    started: bool,
}

impl<'a, I: Iterator<Item = Result<(Entry, u32), Error>>> Merge<'a, I> {
    fn new(sources: Vec<I>, numbers: &'a [Vec<Option<u32>>]) -> Self {
        Self { sources, numbers, next: BTreeMap::new(), last: Vec::new(), started: false }
    }

    /// Reads the next entry of a source.
    fn advance(&mut self, source: usize) -> Result<(), Error> {
        for entry in &mut self.sources[source] {
            let (entry, number) = entry?;
            let number = self.numbers[source].get(number as usize).copied();
            let number = number.ok_or_else(|| StoreError::corrupt(FOLDER, None, "pack_number"))?;
            if let Some(number) = number {
                self.next.insert((entry.digest.0, source), (entry, number));
                break;
            }
        }
        Ok(())
    }
}

impl<I: Iterator<Item = Result<(Entry, u32), Error>>> Iterator for Merge<'_, I> {
    type Item = Result<(Entry, u32), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if !std::mem::replace(&mut self.started, true) {
            for source in 0..self.sources.len() {
                if let Err(error) = self.advance(source) {
                    return Some(Err(error));
                }
            }
        }
        loop {
            let ((_, source), entry) = self.next.pop_first()?;
            if let Err(error) = self.advance(source) {
                return Some(Err(error));
            }
            self.last.retain(|(last, _)| last.digest == entry.0.digest);
            if !self.last.contains(&entry) {
                self.last.push(entry);
                return Some(Ok(entry));
            }
        }
    }
}
