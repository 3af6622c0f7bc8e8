//! The index: where each chunk is.
//!
//! It consists of segments, which writers add and merge. All of it is made from packs: a segment that is
//! damaged or missing is replaced by [`Index::rebuild`], which looks for packs that no segment has.
//!
//! A segment may name packs that a garbage collection has deleted since, so its entries are hints. A writer
//! checks that a pack exists before it relies on a chunk in it, and a reader checks each chunk.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use super::error::StoreError;
use super::objects::Objects;
use super::pack::{self, Entry, PackId, Section};
use super::segment::{self, Location, Pages, Segment};
use crate::Cancel;
use crate::error::Error;
use crate::hash::Digest;

/// The folder of the segments.
const FOLDER: &str = "index";

/// The number of pages that are kept in memory, of 4 KiB each.
const PAGES: usize = 2048;

/// Segments are merged with all smaller ones unless they have more than so many times their entries. So there
/// are few segments to look into, and each entry is rewritten few times.
const RATIO: u64 = 3;

/// The index of a store.
pub(super) struct Index {
    objects: Arc<dyn Objects>,
    segments: RwLock<Vec<Arc<Segment>>>,
    pages: Pages,
}

impl Index {
    /// Opens the index. Segments that are damaged are ignored; what they had is missing until the index is
    /// rebuilt.
    pub(super) fn open(objects: Arc<dyn Objects>) -> Result<Self, Error> {
        let index = Self { objects, segments: RwLock::default(), pages: Pages::new(PAGES) };
        index.refresh()?;
        Ok(index)
    }

    /// Looks for segments that others have added or removed. Ignores those that are damaged.
    pub(super) fn refresh(&self) -> Result<(), Error> {
        self.refreshed().map(drop)
    }

    /// Returns the names of those that are damaged as well.
    fn refreshed(&self) -> Result<Vec<String>, Error> {
        let known = self.segments();
        'all: loop {
            let (mut segments, mut damaged) = (Vec::new(), Vec::new());
            for name in self.objects.list_at_once(FOLDER)? {
                if let Some(segment) = known.iter().find(|segment| segment.name == name) {
                    segments.push(Arc::clone(segment));
                    continue;
                }
                match Segment::open(&*self.objects, &name) {
                    Ok(Some(segment)) => segments.push(Arc::new(segment)),
                    // Another process has merged and removed it since.
                    Ok(None) => continue 'all,
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

    /// Returns the first place of a digest for which `accept` returns true.
    pub(super) fn find(
        &self,
        digest: &Digest,
        mut accept: impl FnMut(&Location) -> Result<bool, Error>,
    ) -> Result<Option<Location>, Error> {
        loop {
            let (segments, mut lost) = (self.segments(), false);
            for segment in &segments {
                match segment.find(&*self.objects, &self.pages, digest, &mut accept) {
                    Ok(Some(location)) => return Ok(Some(location)),
                    Ok(None) => {}
                    Err(Error::Store(StoreError::Corrupt { .. })) => lost = true,
                    Err(error) => return Err(error),
                }
            }
            if !lost {
                return Ok(None);
            }
            // Another process has merged it, and the entry is in the new one; or it is damaged.
            self.refresh()?;
            let now = self.segments();
            if now.len() == segments.len()
                && now.iter().zip(&segments).all(|(now, then)| Arc::ptr_eq(now, then))
            {
                return Ok(None);
            }
        }
    }

    /// Adds the entries of packs, which must be durable, and merges small segments.
    pub(super) fn add(&self, packs: &[(PackId, Vec<Entry>)]) -> Result<(), Error> {
        if packs.is_empty() {
            return Ok(());
        }
        let mut entries: Vec<(Entry, u32)> = Vec::new();
        for (number, (_, pack)) in packs.iter().enumerate() {
            entries.extend(pack.iter().map(|&entry| (entry, number as u32)));
        }
        entries.sort_unstable_by_key(|(entry, _)| entry.digest.0);
        self.objects.put_stream(FOLDER, &mut |out| {
            let ids = packs.iter().map(|(id, _)| Ok(*id));
            segment::write(out, entries.iter().map(|&entry| Ok(entry)), ids)
        })?;
        self.objects.flush()?;
        self.refresh()?;
        self.merge()
    }

    /// Merges the smallest segments into one, unless there are few. Two that merge at once may make an entry
    /// stand twice.
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
        self.replace(&segments[..count], None)
    }

    /// Replaces segments with one of their entries, without those of `dropped` packs.
    fn replace(&self, segments: &[Arc<Segment>], dropped: Option<&HashSet<PackId>>) -> Result<(), Error> {
        let merged = match self.merged(segments, dropped) {
            // Another process has merged and removed one of them.
            Err(Error::Store(StoreError::Corrupt { .. })) if dropped.is_none() => return self.refresh(),
            merged => merged?,
        };
        self.objects.flush()?;
        // The same entries make a segment of the same name.
        for segment in segments.iter().filter(|segment| segment.name != merged) {
            self.objects.delete(&segment.name)?;
        }
        self.refresh()
    }

    fn merged(&self, segments: &[Arc<Segment>], dropped: Option<&HashSet<PackId>>) -> Result<String, Error> {
        // The new number of each pack, by segment and number.
        let mut numbers: Vec<Vec<Option<u32>>> = Vec::new();
        let mut packs = 0;
        for segment in segments {
            let mut of_segment = Vec::new();
            for pack in segment.packs(&*self.objects, &self.pages) {
                let kept =
                    !dropped.is_some_and(|dropped| pack.as_ref().is_ok_and(|pack| dropped.contains(pack)));
                pack?;
                of_segment.push(kept.then_some(packs));
                packs += u32::from(kept);
            }
            numbers.push(of_segment);
        }
        let ids = || {
            segments.iter().zip(&numbers).flat_map(|(segment, numbers)| {
                let packs = segment.packs(&*self.objects, &self.pages);
                packs.zip(numbers).filter_map(|(pack, number)| number.map(|_| pack))
            })
        };
        self.objects.put_stream(FOLDER, &mut |out| {
            let sources = segments.iter().map(|segment| segment.iter(&*self.objects, &self.pages)).collect();
            segment::write(out, Merge::new(sources, &numbers), ids())
        })
    }

    /// Replaces all segments with one that does not have some packs.
    pub(super) fn without(&self, packs: &HashSet<PackId>) -> Result<(), Error> {
        loop {
            self.refresh()?;
            match self.replace(&self.segments(), Some(packs)) {
                // A writer has merged and removed one of them.
                Err(Error::Store(StoreError::Corrupt { .. })) => {}
                result => return result,
            }
        }
    }

    /// Returns the segments that are damaged, and what is wrong with each.
    pub(super) fn damage(&self) -> Result<Vec<(String, &'static str)>, Error> {
        let mut damage: Vec<_> = self.refreshed()?.into_iter().map(|name| (name, "index_segment")).collect();
        for segment in self.segments() {
            let packs = segment.packs(&*self.objects, &self.pages).find_map(Result::err);
            let entries = segment.iter(&*self.objects, &self.pages).find_map(Result::err);
            match packs.or(entries) {
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
        Ok(damage)
    }

    /// Adds the packs that no segment has, from their footers, and returns how many there were. Segments that
    /// are damaged are removed. Takes a read for each such pack.
    pub(super) fn rebuild(&self, is_cancelled: Cancel<'_>) -> Result<u64, Error> {
        let mut damaged = self.refreshed()?;
        let mut known = HashSet::new();
        for segment in self.segments() {
            let packs = segment.packs(&*self.objects, &self.pages).collect::<Result<Vec<_>, _>>();
            let error = segment.iter(&*self.objects, &self.pages).find_map(Result::err);
            match (packs, error) {
                (Ok(packs), None) => known.extend(packs),
                // Unless another process has merged and removed it.
                (Err(Error::Store(StoreError::Corrupt { .. })), _)
                | (_, Some(Error::Store(StoreError::Corrupt { .. }))) => damaged.push(segment.name.clone()),
                (Err(error), _) | (_, Some(error)) => return Err(error),
            }
        }
        for name in damaged {
            self.objects.delete(&name)?;
        }
        self.refresh()?;
        let mut found = 0;
        let mut missing = Vec::new();
        for section in Section::ALL {
            for name in self.objects.list(section.folder())? {
                if is_cancelled() {
                    return Err(Error::Cancelled);
                }
                let Some(id) = PackId::from_name(&name).filter(|id| !known.contains(id)) else { continue };
                if let Some(entries) = pack::entries(&*self.objects, id)? {
                    missing.push((id, entries));
                    found += 1;
                }
                if missing.len() == 1024 {
                    self.add(&std::mem::take(&mut missing))?;
                }
            }
        }
        self.add(&missing)?;
        Ok(found)
    }
}

/// Merges sorted entries of several segments, of which only those whose packs have new numbers.
struct Merge<'a, I> {
    sources: Vec<I>,
    numbers: &'a [Vec<Option<u32>>],
    /// The next entry of each source, by digest and source.
    next: BTreeMap<([u8; 32], usize), (Entry, u32)>,
    started: bool,
}

impl<'a, I: Iterator<Item = Result<(Entry, u32), Error>>> Merge<'a, I> {
    fn new(sources: Vec<I>, numbers: &'a [Vec<Option<u32>>]) -> Self {
        Self { sources, numbers, next: BTreeMap::new(), started: false }
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
        let ((_, source), entry) = self.next.pop_first()?;
        match self.advance(source) {
            Ok(()) => Some(Ok(entry)),
            Err(error) => Some(Err(error)),
        }
    }
}
