//! Garbage collection: deletes packs that no object needs, while others write.
//!
//! 1. Marks the packs that tags, kept objects and committed sessions need.
//! 2. Publishes the list of those that it did not mark: the condemned ones. Sessions that are opened from now
//!    on count them as absent.
//! 3. Fences all sessions that are open: they cannot commit what they found in a condemned pack.
//! 4. Marks what was committed in the meantime, and spares what it needs.
//! 5. Removes the rest from the index, deletes it, and removes the list.
//!
//! No step depends on a clock. One collection runs at a time, for which it holds a lock that ends with its
//! process; what a killed one leaves is a list without a lock, which the next one replaces.

use std::collections::HashSet;
use std::sync::Arc;

use super::Inner;
use super::error::StoreError;
use super::manifest::{Item, Manifest, read_node};
use super::objects::Objects;
use super::pack::{self, PACK_HEADER, PackId, Section};
use super::refs;
use super::segment::Location;
use super::session::{Commit, NewTag, Session, State};
use super::text::{self, Lines};
use crate::Cancel;
use crate::error::Error;
use crate::hash::Digest;

/// The list of condemned packs.
const CONDEMNED: &str = "condemned";

/// Returns the condemned packs.
pub(super) fn condemned(objects: &dyn Objects) -> Result<HashSet<PackId>, Error> {
    let Some(content) = objects.get(CONDEMNED)? else { return Ok(HashSet::new()) };
    let lines = Lines::read(CONDEMNED, &content)?;
    let packs = lines.all("pack").map(PackId::from_name).collect::<Option<_>>();
    Ok(packs.ok_or_else(|| StoreError::corrupt(CONDEMNED, None, "pack_name"))?)
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
    /// The number of packs that are left.
    pub packs: u64,
}

/// Finds what is needed.
struct Marker<'a> {
    inner: &'a Arc<Inner>,
    /// The packs that are there.
    packs: &'a HashSet<PackId>,
    needed: HashSet<PackId>,
    /// The manifests and nodes that were seen.
    seen: HashSet<Digest>,
    objects: u64,
    /// Whether the index was made anew in this pass.
    rebuilt: bool,
}

impl Marker<'_> {
    /// Marks all roots.
    fn roots(&mut self, is_cancelled: Cancel<'_>) -> Result<(), Error> {
        let objects = &*self.inner.objects;
        // Sessions first: one that ends in the meantime has set its tags before.
        for session in Session::all(objects)? {
            if let State::Committed(commit) = session.state {
                self.record(&commit)?;
                for id in self.inner.commit(&commit)?.objects {
                    self.object(&id, is_cancelled)?;
                }
            }
        }
        for (_, id) in refs::tags(objects, "")? {
            self.object(&id, is_cancelled)?;
        }
        for id in refs::kept(objects)? {
            self.object(&id, is_cancelled)?;
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
        let (_, items) = Manifest::read(*id, &bytes)?;
        self.items(items, is_cancelled)
    }

    fn items(&mut self, items: Vec<Item>, is_cancelled: Cancel<'_>) -> Result<(), Error> {
        for item in items {
            if is_cancelled() {
                return Err(Error::Cancelled);
            }
            self.record(&item.digest)?;
            if item.height > 0 && self.seen.insert(item.digest) {
                let node = self.needed_record(&item.digest)?;
                self.items(read_node(&item, &node)?, is_cancelled)?;
            }
        }
        Ok(())
    }

    /// Returns a record. Without it nothing is known of what it needs, so that nothing can be deleted.
    fn needed_record(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let missing = || StoreError::ChunkMissing { digests: vec![*digest] };
        Ok(self.inner.record(digest)?.ok_or_else(missing)?)
    }

    /// Marks the packs of a record: all of them, since one may be damaged.
    fn record(&mut self, digest: &Digest) -> Result<(), Error> {
        let mut found = self.packs_of(digest)?;
        if found.is_empty() && !self.rebuilt {
            // It may be in a pack that the index does not have. Once all packs are in it, it is in none.
            self.inner.index.rebuild(crate::NEVER)?;
            self.rebuilt = true;
            found = self.packs_of(digest)?;
        }
        self.needed.extend(found);
        Ok(())
    }

    fn packs_of(&self, digest: &Digest) -> Result<Vec<PackId>, Error> {
        let mut found = Vec::new();
        self.inner.index.find(digest, |Location { pack, .. }| {
            if self.packs.contains(pack) {
                found.push(*pack);
            }
            Ok(false)
        })?;
        Ok(found)
    }
}

impl Inner {
    pub(super) fn commit(&self, digest: &Digest) -> Result<Commit, Error> {
        let missing = || StoreError::ChunkMissing { digests: vec![*digest] };
        Ok(Commit::read(&self.record(digest)?.ok_or_else(missing)?)?)
    }

    /// Sets the tags of sessions that were killed after their commit, and ends them.
    pub(super) fn finish_sessions(&self) -> Result<(), Error> {
        let objects = &*self.objects;
        // One that is damaged is reported by a check, and must not keep a store from being opened for it.
        for session in Session::readable(objects, &mut |_| {})? {
            if let State::Committed(commit) = session.state
                && session.is_dead(objects)
            {
                match self.commit(&commit) {
                    Ok(commit) => drop(self.finish_session(&session, &commit)?),
                    Err(Error::Store(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Sets the tags of a committed session, and ends it. Returns the tags that were set by others after the
    /// commit.
    pub(super) fn finish_session(&self, session: &Session, commit: &Commit) -> Result<Vec<String>, Error> {
        let objects = &*self.objects;
        let tagged: HashSet<&Digest> = commit.tags.iter().map(|tag| &tag.id).collect();
        for id in commit.objects.iter().filter(|id| !tagged.contains(id)) {
            refs::keep(objects, id)?;
        }
        let mut others = Vec::new();
        for NewTag { name, id, before } in &commit.tags {
            let condition = before.map_or(refs::If::Absent, refs::If::Is);
            match refs::set(objects, name, Some(id), condition) {
                Err(Error::Store(StoreError::AlreadyExists { name })) => others.push(name),
                result => drop(result?),
            }
        }
        session.end(objects)?;
        Ok(others)
    }

    /// Collects garbage.
    pub(super) fn collect(self: &Arc<Self>, is_cancelled: Cancel<'_>) -> Result<Collected, Error> {
        let _lock = self.lock_collection()?;
        let objects = &*self.objects;
        self.finish_sessions()?;
        self.index.rebuild(is_cancelled)?;
        let mut packs = HashSet::new();
        for section in Section::ALL {
            packs.extend(objects.list(section.folder())?.iter().filter_map(|name| PackId::from_name(name)));
        }
        let mut marker = Marker {
            inner: self,
            packs: &packs,
            needed: HashSet::new(),
            seen: HashSet::new(),
            objects: 0,
            rebuilt: false,
        };
        marker.roots(is_cancelled)?;
        let mut dead: HashSet<PackId> = packs.difference(&marker.needed).copied().collect();
        self.spare_open_sessions(&mut dead)?;
        if dead.is_empty() {
            objects.compare_and_set(CONDEMNED, objects.get(CONDEMNED)?.as_deref(), None)?;
            let packs = packs.len() as u64;
            return Ok(Collected { objects: marker.objects, packs, ..Collected::default() });
        }
        let list = self.condemn(&dead)?;
        // What sessions committed before they were fenced.
        marker.seen.clear();
        marker.objects = 0;
        marker.rebuilt = false;
        self.index.refresh()?;
        marker.roots(is_cancelled)?;
        dead.retain(|pack| !marker.needed.contains(pack));
        let mut collected = Collected {
            objects: marker.objects,
            packs: (packs.len() - dead.len()) as u64,
            ..Collected::default()
        };
        collected.deleted_packs = dead.len() as u64;
        collected.deleted_bytes = self.delete(&dead, &list)?;
        Ok(collected)
    }

    /// Publishes a list of packs that are about to be deleted, so that no new session relies on them, and
    /// fences those that may. Returns the list.
    pub(super) fn condemn(&self, packs: &HashSet<PackId>) -> Result<Vec<u8>, Error> {
        let list = text::write(packs.iter().map(|pack| ("pack", pack.name())));
        let objects = &*self.objects;
        if !objects.compare_and_set(CONDEMNED, objects.get(CONDEMNED)?.as_deref(), Some(&list))? {
            return Err(StoreError::Locked.into());
        }
        self.fence()?;
        Ok(list)
    }

    /// Removes condemned packs from the index, deletes them, and removes the list. Returns the number of
    /// their bytes.
    pub(super) fn delete(&self, packs: &HashSet<PackId>, list: &[u8]) -> Result<u64, Error> {
        self.index.without(packs)?;
        let mut bytes = 0;
        for pack in packs {
            let name = pack.name();
            bytes += self.objects.length(&name)?.unwrap_or(0);
            self.objects.delete(&name)?;
        }
        self.objects.flush()?;
        self.objects.compare_and_set(CONDEMNED, Some(list), None)?;
        Ok(bytes)
    }

    pub(super) fn lock_collection(&self) -> Result<Box<dyn Send>, Error> {
        Ok(self.objects.try_lock("gc.lock")?.ok_or(StoreError::Locked)?)
    }

    /// Takes packs out of the list whose sessions, or those that continue them, are open.
    fn spare_open_sessions(&self, dead: &mut HashSet<PackId>) -> Result<(), Error> {
        let objects = &*self.objects;
        let mut open = HashSet::new();
        for session in Session::all(objects)? {
            if session.state == State::Open && !session.is_dead(objects) {
                open.insert(session.id);
                open.extend(session.continues);
            }
        }
        if open.is_empty() {
            return Ok(());
        }
        let mut spared = HashSet::new();
        for pack in dead.iter() {
            let (name, mut header) = (pack.name(), [0; PACK_HEADER]);
            if objects.get_range(&name, 0, &mut header)?
                && pack::read_header(&name, &header).is_ok_and(|session| open.contains(&session))
            {
                spared.insert(*pack);
            }
        }
        dead.retain(|pack| !spared.contains(pack));
        Ok(())
    }

    /// Fences all sessions that are open, and ends those whose writers have died.
    fn fence(&self) -> Result<(), Error> {
        let objects = &*self.objects;
        for mut session in Session::all(objects)? {
            if session.state == State::Open {
                session.set(objects, State::Fenced)?;
            }
            if session.state == State::Fenced && session.is_dead(objects) {
                session.end(objects)?;
            }
        }
        Ok(())
    }
}
