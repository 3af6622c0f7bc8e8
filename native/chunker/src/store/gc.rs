//! Garbage collection: deletes packs that no object needs, and rewrites those that are mostly garbage, while
//! others write.
//!
//! 1. Marks the records that tags, kept objects and committed sessions need.
//! 2. Publishes the list of the packs that are to go: the condemned ones. Sessions that are opened from now on
//!    count them as absent.
//! 3. Fences all sessions that are open: they cannot commit what they found in a condemned pack.
//! 4. Marks what was committed in the meantime, and spares the packs that it needs.
//! 5. Deletes the rest, first those packs that nothing is needed of, since the disk may be full. What is needed of
//!    the others is written into new packs before, some of them at a time.
//! 6. Removes the deleted packs from the index, and removes the list.
//!
//! No step depends on a clock. One collection runs at a time, for which it holds a lock that ends with its
//! process; what a killed one leaves is a list without a lock, which the next one replaces.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::sync::Arc;

use super::Inner;
use super::check::{fails, ignores};
use super::delta::{ANY, Depth, NO_BASE, WHOLE};
use super::error::{StoreError, if_writable, is_full};
use super::manifest::{Item, Manifest};
use super::objects::{Lock, Objects};
use super::pack::{self, FULL, PACK_HEADER, PackId, Section};
use super::record::{ContentError, HEADER, Kind, Scratch};
use super::refs;
use super::segment::Location;
use super::session::{Commit, NewTag, Session, State};
use super::text::{self, Lines};
use super::walk::Order;
use super::writer::Writer;
use crate::Cancel;
use crate::engine::batch::BatchOptions;
use crate::engine::progress::{Progress, ProgressReporter};
use crate::engine::workers::Workers;
use crate::error::Error;
use crate::hash::Digest;

/// The list of condemned packs.
pub(super) const CONDEMNED: &str = "condemned";

/// Returns the condemned packs.
pub(super) fn condemned(objects: &dyn Objects) -> Result<HashSet<PackId>, Error> {
    let Some(content) = objects.get(CONDEMNED)? else { return Ok(HashSet::new()) };
    match read_condemned(&content) {
        Some(packs) => Ok(packs),
        // A list that is damaged may have named any of those that are there.
        None => Ok(all_packs(objects)?.into_iter().collect()),
    }
}

fn read_condemned(content: &[u8]) -> Option<HashSet<PackId>> {
    Lines::read(CONDEMNED, content).ok()?.all("pack").map(PackId::from_name).collect()
}

/// Returns whether the list of condemned packs is damaged.
pub(super) fn is_list_damaged(objects: &dyn Objects) -> Result<bool, Error> {
    Ok(objects.get(CONDEMNED)?.is_some_and(|content| read_condemned(&content).is_none()))
}

/// Returns all packs that are there, in order.
fn all_packs(objects: &dyn Objects) -> Result<Vec<PackId>, Error> {
    let mut packs = Vec::new();
    for section in Section::ALL {
        packs.extend(objects.list(section.folder())?.iter().filter_map(|name| PackId::from_name(name)));
    }
    packs.sort_unstable();
    Ok(packs)
}

/// What a collection has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// The number of objects that are needed.
    pub objects: u64,
    /// The number of packs that were deleted, and of their bytes.
    pub deleted_packs: u64,
    /// See `deleted_packs`.
    pub deleted_bytes: u64,
    /// The number of bytes that were written anew, since they were in packs with more garbage than that, or in
    /// small packs.
    pub rewritten_bytes: u64,
    /// The number of packs that are left.
    pub packs: u64,
}

/// The lengths of slots, in bytes. The records of a pack that begin in the same slot live as long as any of them, so that
/// one bit is enough for each slot.
#[derive(Debug, Clone, Copy)]
struct Slot {
    /// For chunks of an average length.
    whole: u32,
}

/// The length of a slot of packs with deltas, most of which take some hundred bytes.
const DELTA_SLOT: u32 = 256;

impl Slot {
    fn new(average: u64) -> Self {
        Self { whole: (average / 16).clamp(1 << 10, 1 << 16) as u32 }
    }

    /// Returns the length for a pack.
    fn of(self, pack: &PackId) -> u32 {
        if pack.section == Section::Deltas { DELTA_SLOT } else { self.whole }
    }
}

/// What is needed of a pack.
#[derive(Default)]
struct Live {
    slots: Vec<u64>,
    /// The number of bytes of the first record of each slot.
    bytes: u64,
}

/// Returns the number of bytes that a record takes in a pack.
fn taken(stored: u32) -> u64 {
    (HEADER + pack::ENTRY) as u64 + u64::from(stored)
}

impl Live {
    fn mark(&mut self, offset: u32, stored: u32, slot: u32) {
        let (word, bit) = Self::place(offset, slot);
        if self.slots.len() <= word {
            self.slots.resize(word + 1, 0);
        }
        if self.slots[word] & bit == 0 {
            self.slots[word] |= bit;
            self.bytes += taken(stored);
        }
    }

    fn has(&self, offset: u32, slot: u32) -> bool {
        let (word, bit) = Self::place(offset, slot);
        self.slots.get(word).is_some_and(|slots| slots & bit != 0)
    }

    const fn place(offset: u32, slot: u32) -> (usize, u64) {
        let number = offset / slot;
        (number as usize / 64, 1 << (number % 64))
    }
}

/// Packs are rewritten if at least so many of a section are shorter than an eighth of a full one.
const MANY_SMALL: usize = 16;

/// The number of bytes of packs that are rewritten at once, before these are deleted: a disk that is nearly full
/// has room for them.
const REWRITTEN_AT_ONCE: u64 = 256 << 20;

/// The number of bytes of a disk that a collection needs besides its list before it deletes anything.
const ROOM: u64 = 256 << 10;

/// Finds what is needed.
struct Marker<'a> {
    inner: &'a Arc<Inner>,
    /// The packs that are there, in order: a pack takes half of what it would in a map.
    packs: &'a [PackId],
    /// What is needed of each.
    live: Vec<Live>,
    slot: Slot,
    /// The manifests and nodes that were seen.
    seen: HashSet<Digest>,
    objects: u64,
    /// What is left of tags that were removed, by the names of objects.
    removed: Vec<String>,
    /// Whether the index was completed in this pass.
    is_complete: bool,
}

impl Marker<'_> {
    /// Marks all roots, and calls `marked` with the number of those that are done, and of all.
    fn roots(&mut self, marked: &dyn Fn(u64, u64), is_cancelled: Cancel<'_>) -> Result<(), Error> {
        let objects = &*self.inner.objects;
        self.seen.clear();
        self.objects = 0;
        self.is_complete = false;
        let mut roots = Vec::new();
        // Sessions first: one that ends in the meantime has set its tags before.
        for session in Session::all(objects, &mut fails)? {
            if let State::Committed(commit) = session.state {
                self.record(&commit)?;
                let (commit, parts) = self.inner.commit(&commit)?;
                parts.iter().try_for_each(|part| self.record(part))?;
                roots.extend(commit.objects);
            }
        }
        let (named, removed) = refs::roots(objects)?;
        roots.extend(named);
        self.removed = removed;
        for (done, id) in roots.iter().enumerate() {
            marked(done as u64, roots.len() as u64);
            self.object(id, is_cancelled)?;
        }
        Ok(())
    }

    fn object(&mut self, id: &Digest, is_cancelled: Cancel<'_>) -> Result<(), Error> {
        if !self.seen.insert(*id) {
            return Ok(());
        }
        self.objects += 1;
        self.record(id)?;
        let bytes = self.needed_record(id)?;
        let (manifest, items) = Manifest::read(*id, &bytes)?;
        let (inner, mut seen) = (self.inner, std::mem::take(&mut self.seen));
        let items = manifest.parts(items);
        let mut mark = |item: &Item, is_new_node: bool| {
            // The record of a node that was seen is marked.
            if item.height == 0 || is_new_node { self.record(&item.digest) } else { Ok(()) }
        };
        let marked = inner.walk(items, Order::Index, &mut seen, &mut mark, is_cancelled);
        self.seen = seen;
        marked
    }

    /// Returns a record. Without it nothing is known of what it needs, so that nothing can be deleted.
    fn needed_record(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let missing = || StoreError::ChunkMissing { digests: vec![*digest] };
        Ok(self.inner.record(digest)?.ok_or_else(missing)?)
    }

    /// Marks a record in all packs that have it, since one may be damaged.
    fn record(&mut self, digest: &Digest) -> Result<(), Error> {
        if !self.mark(digest, ANY)? && !self.is_complete {
            // It may be in a pack that the index does not have. Once all packs are in it, it is in none.
            self.inner.index.complete(crate::NEVER)?;
            self.is_complete = true;
            self.mark(digest, ANY)?;
        }
        Ok(())
    }

    /// Marks the records of a digest and their bases in all packs, and returns whether all are there. Those of a delta in
    /// a pack that was written since the collection began count, too: the pack stays, and needs them.
    fn mark(&mut self, digest: &Digest, depth: Depth) -> Result<bool, Error> {
        let (mut found, mut bases, mut damaged) = (false, Vec::new(), None);
        let (inner, packs, slot, live) = (self.inner, self.packs, self.slot, &mut self.live);
        inner.index.find(digest, |location @ Location { pack, entry }| {
            let place = packs.binary_search(pack);
            if pack.section == Section::Deltas {
                if depth == WHOLE {
                    return Ok(false);
                }
                match inner.delta_head(location) {
                    Ok(Some(head)) => bases.extend(head.bases),
                    Ok(None) => return Ok(false),
                    Err(Error::Store(error)) => {
                        damaged = Some(error);
                        // It stays, for a repair to say what is lost.
                        if let Ok(place) = place {
                            live[place].mark(entry.offset, entry.stored, slot.of(pack));
                        }
                        return Ok(false);
                    }
                    Err(error) => return Err(error),
                }
            }
            if let Ok(place) = place {
                live[place].mark(entry.offset, entry.stored, slot.of(pack));
                found = true;
            }
            Ok(false)
        })?;
        // Nothing is known of what it needs, so that nothing can be deleted.
        if let Some(error) = damaged.filter(|_| !found) {
            return Err(error.into());
        }
        for base in bases {
            found &= self.mark(&base, depth - 1)?;
        }
        Ok(found)
    }

    /// Returns what is needed of a pack, or `None` if nothing is.
    fn live(&self, pack: &PackId) -> Option<&Live> {
        let place = self.packs.binary_search(pack).ok()?;
        Some(&self.live[place]).filter(|live| live.bytes > 0)
    }

    /// Returns the packs that are to be rewritten: those with less in them that is needed than not, and small
    /// ones if there are many.
    fn wasteful(&self) -> Result<HashSet<PackId>, Error> {
        let objects = &*self.inner.objects;
        let mut wasteful = HashSet::new();
        let mut small: [Vec<PackId>; Section::COUNT] = Default::default();
        for (pack, live) in self.packs.iter().zip(&self.live).filter(|(_, live)| live.bytes > 0) {
            let name = pack.name();
            let length = objects.length(&name)?.unwrap_or(0);
            if length < FULL as u64 / 8 {
                small[pack.section as usize].push(*pack);
            }
            // Only then it is counted exactly.
            if 2 * live.bytes < length
                && let Some(records) = pack::footer(objects, &name, length)?
            {
                let needed = records.iter().filter(|(entry, _)| live.has(entry.offset, self.slot.of(pack)));
                if 2 * needed.map(|(entry, _)| taken(entry.stored)).sum::<u64>() < length {
                    wasteful.insert(*pack);
                }
            }
        }
        wasteful.extend(small.into_iter().filter(|packs| packs.len() >= MANY_SMALL).flatten());
        Ok(wasteful)
    }
}

impl Inner {
    /// Returns a commit, and the digests of the records that it consists of besides the first one.
    pub(super) fn commit(&self, digest: &Digest) -> Result<(Commit, Vec<Digest>), Error> {
        let record = |digest: &Digest| {
            let missing = || Error::from(StoreError::ChunkMissing { digests: vec![*digest] });
            self.record(digest)?.ok_or_else(missing)
        };
        let (mut commit, mut parts) = (Commit::default(), Vec::new());
        commit.read(&record(digest)?, &mut parts)?;
        for part in &parts {
            // A part has none of its own.
            commit.read(&record(part)?, &mut Vec::new())?;
        }
        Ok((commit, parts))
    }

    /// Removes a name by `remove`, durably from the next flush on. On a full disk it makes the room that is needed if a
    /// session that names it cannot be finished.
    pub(super) fn remove_name(
        &self,
        remove: impl Fn(&refs::Concerns<'_>) -> Result<bool, Error>,
    ) -> Result<bool, Error> {
        let concerns = |commit: &Digest, name: &refs::Subject<'_>| match self.commit(commit) {
            Ok((commit, _)) => name.is_in(&commit),
            // It may name anything.
            Err(_) => true,
        };
        match remove(&concerns) {
            Err(error) if is_full(&error) => {
                if self.index.make_room(ROOM)? {
                    remove(&concerns)
                } else {
                    Err(error)
                }
            }
            removed => removed,
        }
    }

    /// Sets the tags of sessions that were killed after their commit, or could not set them, and ends them.
    pub(super) fn finish_sessions(&self) -> Result<(), Error> {
        let objects = &*self.objects;
        // One that is damaged is reported by a check, and must not keep a store from being opened for it.
        for session in Session::all(objects, &mut ignores)? {
            if !matches!(session.state, State::Committed(_)) {
                continue;
            }
            let is_mine = {
                let mut unfinished = self.unfinished();
                let place = unfinished.iter().position(|id| *id == session.id);
                place.map(|place| unfinished.swap_remove(place)).is_some()
            };
            // Otherwise its writer sets the tags itself, or another process that has claimed it.
            let claim = if is_mine { None } else { session.claim(objects)? };
            if !is_mine && claim.is_none() {
                continue;
            }
            // It may have been finished since.
            let finished = match session.again(objects) {
                Ok(Some(Session { state: State::Committed(commit), .. })) => self
                    .commit(&commit)
                    .and_then(|(commit, _)| self.finish_session(&session, &commit).map(drop)),
                _ => Ok(()),
            };
            if finished.is_err() && is_mine {
                self.unfinished().push(session.id);
            }
            match finished {
                Err(Error::Store(_)) | Ok(()) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Does that, unless the store is read-only or its disk is full. What needs no writing can then be done still,
    /// and nothing is lost: the sessions stay.
    pub(super) fn finish_sessions_if_writable(&self) -> Result<(), Error> {
        if_writable(self.finish_sessions())
    }

    /// Sets the tags of a committed session, and ends it. Returns the tags that were changed by others after the
    /// commit.
    pub(super) fn finish_session(&self, session: &Session, commit: &Commit) -> Result<Vec<String>, Error> {
        let objects = &*self.objects;
        let tagged: HashSet<&Digest> = commit.tags.iter().map(|tag| &tag.id).collect();
        for id in commit.objects.iter().filter(|id| !tagged.contains(id)) {
            refs::keep(objects, Some(&session.id), id)?;
        }
        let mut others = Vec::new();
        for NewTag { name, id, before } in &commit.tags {
            if !refs::set(objects, &session.id, name, id, *before)? {
                others.push(name.clone());
            }
        }
        // Until then, the session has all of them.
        objects.flush()?;
        session.end(objects)?;
        Ok(others)
    }

    /// Collects garbage. The unit of progress are the names of objects, while they are marked for the first
    /// time.
    pub(super) fn collect(
        self: &Arc<Self>,
        workers: Workers,
        progress: Progress<'_>,
        is_cancelled: Cancel<'_>,
    ) -> Result<Collected, Error> {
        let _lock = self.lock_collection()?;
        let objects = &*self.objects;
        if_writable(objects.clean())?;
        self.marks.clean(objects)?;
        self.finish_sessions_if_writable()?;
        self.index.complete(is_cancelled)?;
        let packs = all_packs(objects)?;
        let mut marker = Marker {
            inner: self,
            packs: &packs,
            live: packs.iter().map(|_| Live::default()).collect(),
            slot: Slot::new(self.format.chunking.avg_size),
            seen: HashSet::new(),
            objects: 0,
            removed: Vec::new(),
            is_complete: false,
        };
        let reporter = OnceCell::new();
        let marked = |done, all| {
            let (reporter, _) = reporter.get_or_init(|| (ProgressReporter::start(progress, Some(all)), all));
            reporter.report_if_due(done);
        };
        marker.roots(&marked, is_cancelled)?;
        // Tags that others have removed do not come back after a power cut when what they named is deleted.
        for folder in refs::FOLDERS.into_iter().chain([super::session::FOLDER]) {
            objects.settle(folder)?;
        }
        refs::clean(objects, &marker.removed)?;
        let mut dead: HashSet<PackId> =
            packs.iter().filter(|pack| marker.live(pack).is_none()).copied().collect();
        let mut wasteful = marker.wasteful()?;
        self.spare_open_sessions([&mut dead, &mut wasteful])?;
        let list = self.condemn_on_full_disk(&dead, &wasteful)?;
        if list.is_some() {
            // What sessions committed before they were fenced.
            self.index.refresh()?;
            marker.roots(&|_, _| {}, is_cancelled)?;
        }
        dead.retain(|pack| marker.live(pack).is_none());
        let mut deleted_bytes = self.delete_packs(&dead)?;
        let (mut new_packs, mut rewritten_bytes, mut failed) = (0, 0, None);
        for mut batch in self.batches(wasteful)? {
            match self.rewrite(&mut batch, &marker, workers, is_cancelled) {
                Ok((packs, bytes)) => {
                    new_packs += packs;
                    rewritten_bytes += bytes;
                    deleted_bytes += self.delete_packs(&batch)?;
                    dead.extend(batch);
                }
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        self.forget_packs(&dead, &packs, list.as_deref())?;
        if let Some(error) = failed {
            return Err(error);
        }
        let deleted_packs = dead.len() as u64;
        let (reporter, all) =
            reporter.into_inner().unwrap_or_else(|| (ProgressReporter::start(progress, Some(0)), 0));
        reporter.finish(all);
        Ok(Collected {
            objects: marker.objects,
            deleted_packs,
            deleted_bytes,
            rewritten_bytes,
            packs: packs.len() as u64 + new_packs - deleted_packs,
        })
    }

    /// Divides packs that are to be rewritten into those that are at once.
    fn batches(&self, packs: HashSet<PackId>) -> Result<Vec<HashSet<PackId>>, Error> {
        let mut sorted: Vec<PackId> = packs.into_iter().collect();
        sorted.sort_unstable();
        let (mut batches, mut bytes) = (Vec::new(), REWRITTEN_AT_ONCE);
        for pack in sorted {
            if bytes >= REWRITTEN_AT_ONCE {
                batches.push(HashSet::new());
                bytes = 0;
            }
            bytes += self.objects.length(&pack.name())?.unwrap_or(0);
            batches.last_mut().expect("there is one").insert(pack);
        }
        Ok(batches)
    }

    /// Writes the needed records of packs into new ones, unless they are in others too. Takes a pack with a
    /// damaged record out of the list. Returns the number of new packs, and of the bytes written.
    fn rewrite(
        self: &Arc<Self>,
        packs: &mut HashSet<PackId>,
        marker: &Marker<'_>,
        workers: Workers,
        is_cancelled: Cancel<'_>,
    ) -> Result<(u64, u64), Error> {
        let writer = Writer::open(Arc::clone(self), Vec::new())?;
        let written = self.rewrite_with(&writer, packs, marker, workers, is_cancelled);
        let finished = written.and_then(|bytes| Ok((writer.finish()?, bytes)));
        writer.abandon()?;
        finished
    }

    fn rewrite_with(
        &self,
        writer: &Writer,
        packs: &mut HashSet<PackId>,
        marker: &Marker<'_>,
        workers: Workers,
        is_cancelled: Cancel<'_>,
    ) -> Result<u64, Error> {
        let options = BatchOptions { workers: Some(workers), ..BatchOptions::default() };
        let mut written = 0;
        let mut without_bases = Vec::new();
        let mut sorted: Vec<PackId> = packs.iter().copied().collect();
        // Whole chunks before deltas, so that a chunk that is in both does not become a delta.
        sorted.sort_unstable_by_key(|pack| (pack.section, pack.digest));
        for pack in sorted {
            if is_cancelled() {
                return Err(Error::Cancelled);
            }
            let (name, live) = (pack.name(), marker.live(&pack));
            let is_live = |offset| live.is_some_and(|live| live.has(offset, marker.slot.of(&pack)));
            let Some(bytes) = pack::read(&*self.objects, &name)? else { continue };
            let records: Vec<_> = pack::scan(&bytes)
                .filter(|(offset, header)| is_live(*offset) && Section::of(header.kind) == pack.section)
                .map(|(offset, header)| {
                    (offset, header, &bytes[offset as usize + HEADER..][..header.stored as usize])
                })
                .collect();
            let is_named = *blake3::hash(&bytes).as_bytes() == pack.digest;
            let listed = pack::footer(&*self.objects, &name, bytes.len() as u64)?;
            let is_whole = listed.is_some_and(|listed| {
                let mut live = listed.iter().filter(|(entry, _)| is_live(entry.offset));
                live.all(|(entry, _)| {
                    records.binary_search_by_key(&entry.offset, |(offset, ..)| *offset).is_ok()
                })
            });
            let checked = options.run(
                &records,
                |(_, header, _)| header.length as usize,
                <(Scratch, Vec<u8>)>::default,
                |(scratch, content), (_, header, payload), _| match self
                    .content(header, payload, scratch, content)
                {
                    Ok(()) => true,
                    // It may be garbage in the slot of one that is needed.
                    Err(ContentError::Wrong(NO_BASE)) => is_named,
                    Err(_) => false,
                },
                is_cancelled,
            )?;
            if !is_whole || checked.contains(&false) {
                // For a repair, which says what is lost.
                packs.remove(&pack);
                continue;
            }
            for (offset, header, payload) in records {
                let is_delta = header.kind == Kind::Delta;
                let location = Location { pack, entry: pack::Entry::new(offset, header) };
                if is_delta && !self.is_intact(&location)? {
                    without_bases.push((header, payload.to_vec()));
                    continue;
                }
                // A whole chunk stays whole, since others may be deltas of it.
                let depth = if is_delta { ANY } else { WHOLE };
                if !writer.is_present_or_written_as(&header.digest, depth)? {
                    written += writer.append(header, payload)?;
                }
            }
        }
        // They can be read again once their bases are put again, unless another record can be read already.
        for (header, payload) in without_bases {
            let is_readable = self.index.find(&header.digest, |location| self.is_intact(location))?.is_some();
            if !is_readable && !writer.is_present_or_written(&header.digest)? {
                written += writer.append(header, &payload)?;
            }
        }
        Ok(written)
    }

    /// Condemns packs, also on a disk that is full: the list, and the sessions that are fenced, take some room, which
    /// is made by removing segments of the index.
    fn condemn_on_full_disk(
        &self,
        dead: &HashSet<PackId>,
        wasteful: &HashSet<PackId>,
    ) -> Result<Option<Vec<u8>>, Error> {
        let condemned = || dead.union(wasteful);
        match self.condemn(condemned()) {
            Err(error) if is_full(&error) && condemned().next().is_some() => {
                // A line of the list for each, and the temporary files of a few sessions.
                let needed = 128 * condemned().count() as u64 + ROOM;
                if self.index.make_room(needed)? { self.condemn(condemned()) } else { Err(error) }
            }
            list => list,
        }
    }

    /// Publishes a list of packs that are about to be deleted, so that no new session relies on them, and
    /// fences those that may. Returns the list.
    pub(super) fn condemn<'a>(
        &self,
        packs: impl IntoIterator<Item = &'a PackId>,
    ) -> Result<Option<Vec<u8>>, Error> {
        let mut names: Vec<String> = packs.into_iter().map(PackId::name).collect();
        names.sort_unstable();
        let list = (!names.is_empty()).then(|| text::write(names.into_iter().map(|name| ("pack", name))));
        let objects = &*self.objects;
        if !objects.compare_and_set(CONDEMNED, objects.get(CONDEMNED)?.as_deref(), list.as_deref())? {
            return Err(StoreError::Locked.into());
        }
        self.fence(list.is_some())?;
        Ok(list)
    }

    /// Deletes condemned packs, and returns the number of their bytes.
    pub(super) fn delete_packs(&self, packs: &HashSet<PackId>) -> Result<u64, Error> {
        let objects = &*self.objects;
        let mut bytes = 0;
        for pack in packs {
            let name = pack.name();
            bytes += objects.length(&name)?.unwrap_or(0);
            objects.delete(&name)?;
        }
        objects.flush()?;
        // Only now do damaged records not come back.
        packs.iter().try_for_each(|pack| self.marks.remove(objects, pack))?;
        Ok(bytes)
    }

    /// Removes packs that were deleted from the index, and the list of condemned ones. `known` are packs that
    /// are there, in order.
    pub(super) fn forget_packs(
        &self,
        packs: &HashSet<PackId>,
        known: &[PackId],
        list: Option<&[u8]>,
    ) -> Result<(), Error> {
        let objects = &*self.objects;
        let is_kept = |pack: &PackId| {
            let stays = !packs.contains(pack);
            Ok(stays && (known.binary_search(pack).is_ok() || objects.length(&pack.name())?.is_some()))
        };
        if !packs.is_empty() {
            // Entries of packs that are gone do no harm.
            if_writable(self.index.write_unwritten().and_then(|()| self.index.retain(&is_kept)))?;
        }
        if list.is_some() {
            objects.compare_and_set(CONDEMNED, list, None)?;
        }
        Ok(())
    }

    pub(super) fn lock_collection(&self) -> Result<Lock, Error> {
        Ok(self.objects.try_lock("gc.lock")?.ok_or(StoreError::Locked)?)
    }

    /// Takes packs out of lists whose sessions, or those that continue them, have a writer that lives. It may not
    /// yet know that an earlier collection has fenced its session.
    fn spare_open_sessions(&self, lists: [&mut HashSet<PackId>; 2]) -> Result<(), Error> {
        let objects = &*self.objects;
        let mut open = HashSet::new();
        for session in Session::all(objects, &mut fails)? {
            if !matches!(session.state, State::Committed(_)) && session.claim(objects)?.is_none() {
                open.insert(session.id);
                open.extend(session.continues);
            }
        }
        if open.is_empty() {
            return Ok(());
        }
        for list in lists {
            let mut spared = HashSet::new();
            for pack in list.iter() {
                let (name, mut header) = (pack.name(), [0; PACK_HEADER]);
                if objects.get_range(&name, 0, &mut header)?
                    && pack::read_header(&name, &header).is_ok_and(|session| open.contains(&session))
                {
                    spared.insert(*pack);
                }
            }
            list.retain(|pack| !spared.contains(pack));
        }
        Ok(())
    }

    /// Ends sessions whose writers have died, and fences all others that are open if packs are condemned.
    fn fence(&self, is_needed: bool) -> Result<(), Error> {
        let objects = &*self.objects;
        // The writer of one that is damaged cannot commit.
        for mut session in Session::all(objects, &mut ignores)? {
            let is_open = session.state == State::Open;
            if is_open && (is_needed || session.claim(objects)?.is_some()) {
                session.set(objects, State::Fenced)?;
            }
            if session.state == State::Fenced && session.claim(objects)?.is_some() {
                session.end(objects)?;
            }
        }
        Ok(())
    }
}
