//! Checks a store, and repairs what can be repaired.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Inner;
use super::delta::NO_BASE;
use super::error::{StoreError, if_writable};
use super::gc;
use super::manifest::{Item, Manifest, read_node};
use super::pack::{self, Lengths, Listed, PACK_HEADER, PackId, Section};
use super::record::{ContentError, HEADER, Header, Kind, Scratch};
use super::refs;
use super::segment::Location;
use super::session::{Session, State};
use super::writer::Writer;
use crate::Cancel;
use crate::engine::batch::BatchOptions;
use crate::error::Error;
use crate::hash::Digest;

/// What a check has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The number of packs, and of their bytes.
    pub packs: u64,
    /// See `packs`.
    pub bytes: u64,
    /// The number of records that are whole.
    pub records: u64,
    /// The number of objects that tags, kept objects and sessions need.
    pub objects: u64,
    /// What is damaged.
    pub damage: Vec<Damage>,
    /// Objects that cannot be read as a whole, and the first chunks that they lack.
    pub incomplete: Vec<Incomplete>,
    /// Objects that a repair keeps from now on, as if they had been put without a name: whatever named them may
    /// have been damaged.
    pub kept: Vec<Digest>,
}

/// Gets what is damaged that names objects, and the error of reading it, which ends what is done if it is returned.
pub(super) type Unreadable<'a> = dyn FnMut(Damage, StoreError) -> Result<(), Error> + 'a;

/// Does nothing: a check reports the damage.
pub(super) fn ignores(_: Damage, _: StoreError) -> Result<(), Error> {
    Ok(())
}

/// Ends what is done.
pub(super) fn fails(_: Damage, error: StoreError) -> Result<(), Error> {
    Err(error.into())
}

/// A damaged place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Damage {
    /// The name of the object, relative to the store.
    pub object: String,
    /// The place, in bytes from the start of the object, if it is known.
    pub offset: Option<u64>,
    /// What is wrong.
    pub why: &'static str,
}

/// An object that cannot be read as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incomplete {
    /// The id of the object.
    pub id: Digest,
    /// The tags that name it.
    pub tags: Vec<String>,
    /// The digests of the first missing records, at most [`StoreError::MOST_DIGESTS`].
    pub missing: Vec<Digest>,
}

impl Report {
    /// Returns whether nothing was found.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.damage.is_empty() && self.incomplete.is_empty()
    }
}

/// What is damaged in a pack.
struct DamagedPack {
    /// The positions of the records that are not whole.
    records: Vec<u32>,
    damage: Vec<Damage>,
}

/// The number of packs that were checked, of their bytes, and of their whole records.
#[derive(Default)]
struct Counts {
    packs: AtomicU64,
    bytes: AtomicU64,
    records: AtomicU64,
}

/// A record in the bytes of a pack.
struct Found {
    offset: u32,
    /// `None` if neither its place nor the footer has it.
    header: Option<Header>,
    /// Whether the header is in its place. If not, it is from the footer.
    is_in_place: bool,
}

impl Found {
    /// Returns all records of a pack, in no order.
    fn all(bytes: &[u8], listed: Option<Vec<Listed>>) -> Vec<Self> {
        let mut expected: BTreeMap<u32, Option<Header>> =
            listed.into_iter().flatten().map(|(entry, header)| (entry.offset, header)).collect();
        let mut found = Vec::new();
        for (offset, header) in pack::scan(bytes) {
            expected.remove(&offset);
            found.push(Self { offset, header: Some(header), is_in_place: true });
        }
        found.extend(expected.into_iter().map(|(offset, header)| Self {
            offset,
            header,
            is_in_place: false,
        }));
        found
    }

    /// Returns the header and the payload, if both are there.
    fn parts<'a>(&self, bytes: &'a [u8]) -> Option<(Header, &'a [u8])> {
        let header = self.header?;
        let payload = bytes.get(self.offset as usize + HEADER..)?.get(..header.stored as usize)?;
        Some((header, payload))
    }
}

/// Finds what objects lack.
pub(super) struct Lists<'a> {
    inner: &'a Inner,
    lengths: Lengths,
    /// What nodes lack that were seen.
    nodes: HashMap<Digest, Vec<Digest>>,
}

impl Inner {
    /// Checks everything. Reads all packs.
    pub(super) fn check(
        self: &Arc<Self>,
        options: &BatchOptions<'_>,
        is_cancelled: Cancel<'_>,
    ) -> Result<Report, Error> {
        Ok(self.examine(options, is_cancelled)?.0)
    }

    /// Returns the packs that are damaged as well.
    fn examine(
        self: &Arc<Self>,
        options: &BatchOptions<'_>,
        is_cancelled: Cancel<'_>,
    ) -> Result<(Report, HashSet<PackId>), Error> {
        let objects = &*self.objects;
        let mut report = Report::default();
        if gc::is_list_damaged(objects)? {
            report.damage.push(Damage { object: gc::CONDEMNED.into(), offset: None, why: "list" });
        }
        for (object, why) in self.index.check()? {
            report.damage.push(Damage { object, offset: None, why });
        }
        self.index.complete(is_cancelled)?;
        self.marks.refresh(objects)?;
        let mut packs = Vec::new();
        for section in Section::ALL {
            for name in objects.list(section.folder())? {
                match PackId::from_name(&name) {
                    Some(id) => packs.push(id),
                    None => report.damage.push(Damage { object: name, offset: None, why: "pack_name" }),
                }
            }
        }
        let counts = Counts::default();
        // Boxed, since there is a result for each pack, and nearly all are empty.
        let checked = options.run(
            &packs,
            |_| 1,
            Scratch::default,
            |scratch, &id, is_cancelled| {
                let checked = self.check_pack(id, scratch, &counts, is_cancelled);
                checked.map(|damaged| damaged.map(Box::new)).map_err(Box::new)
            },
            is_cancelled,
        )?;
        report.packs = counts.packs.into_inner();
        report.bytes = counts.bytes.into_inner();
        report.records = counts.records.into_inner();
        let mut damaged_packs = HashSet::new();
        for (id, damaged) in packs.into_iter().zip(checked) {
            let damaged = damaged.map_err(|error| *error)?;
            let marked = match &damaged {
                // It may have been replaced by hand since it was marked.
                None => self.marks.remove(objects, &id),
                Some(pack) if pack.records.is_empty() => Ok(()),
                // New objects do not rely on them.
                Some(pack) => self.marks.add(objects, id, &pack.records),
            };
            // For this process they are marked.
            if_writable(marked)?;
            if let Some(pack) = damaged {
                report.damage.extend(pack.damage);
                damaged_packs.insert(id);
            }
        }
        self.check_objects(&mut report, is_cancelled)?;
        report.damage.sort();
        Ok((report, damaged_packs))
    }

    /// Checks a pack. Returns `None` if it is whole, or if a garbage collection has deleted it.
    fn check_pack(
        &self,
        id: PackId,
        scratch: &mut Scratch,
        counts: &Counts,
        is_cancelled: Cancel<'_>,
    ) -> Result<Option<DamagedPack>, Error> {
        let name = id.name();
        let Some(length) = self.objects.length(&name)? else { return Ok(None) };
        let Some(bytes) = pack::read(&*self.objects, &name)? else { return Ok(None) };
        let (mut records, mut damaged, mut all_damage) = (0, Vec::new(), Vec::new());
        let mut damage = |offset: u64, why| {
            all_damage.push(Damage { object: name.clone(), offset: Some(offset), why });
        };
        let is_named = *blake3::hash(&bytes).as_bytes() == id.digest;
        match bytes.first_chunk::<PACK_HEADER>().map(|header| pack::read_header(&name, header)) {
            Some(Ok(_)) => {}
            Some(Err(error @ StoreError::UnsupportedFormat { .. })) if is_named => return Err(error.into()),
            _ => damage(0, "pack_header"),
        }
        let listed = pack::footer(&*self.objects, &name, length)?;
        if length > pack::LONGEST {
            damage(pack::LONGEST, "pack_length");
        } else if listed.is_none() {
            damage(length, "pack_footer");
        }
        let mut content = Vec::new();
        for found in Found::all(&bytes, listed) {
            if is_cancelled() {
                return Err(Error::Cancelled);
            }
            let result = match found.parts(&bytes) {
                Some((header, _)) if Section::of(header.kind) != id.section => {
                    Err(ContentError::Wrong("record_section"))
                }
                Some((header, payload)) if found.is_in_place => {
                    self.content(&header, payload, scratch, &mut content)
                }
                _ => Err(ContentError::Wrong("record_header")),
            };
            match result {
                Ok(()) => records += 1,
                // If an object needs the delta, the object is incomplete. Otherwise both are garbage, of which a
                // collection has taken the base.
                Err(ContentError::Wrong(NO_BASE)) => {}
                Err(ContentError::Wrong(why)) => {
                    damage(found.offset.into(), why);
                    damaged.push(found.offset);
                }
                Err(ContentError::Other(error)) => return Err(error),
            }
        }
        if !is_named && all_damage.is_empty() {
            all_damage.push(Damage { object: name, offset: None, why: "foreign_bytes" });
        }
        for (count, more) in [(&counts.packs, 1), (&counts.bytes, length), (&counts.records, records)] {
            count.fetch_add(more, Ordering::Relaxed);
        }
        Ok((!all_damage.is_empty()).then_some(DamagedPack { records: damaged, damage: all_damage }))
    }

    /// Returns the objects that are needed, each with its tags, and reports what is damaged that names some.
    fn named(&self, report: &mut dyn FnMut(Damage)) -> Result<BTreeMap<Digest, Vec<String>>, Error> {
        let objects = &*self.objects;
        let mut unreadable = |damage, _| {
            report(damage);
            Ok(())
        };
        let mut roots: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
        // Sessions first: one that ends in the meantime has set its tags before.
        for session in Session::all(objects, &mut unreadable)? {
            if let State::Committed(commit) = session.state {
                match self.commit(&commit) {
                    Ok((commit, _)) => roots.extend(commit.objects.into_iter().map(|id| (id, Vec::new()))),
                    // It is a record that is missing, like a manifest.
                    Err(Error::Store(_)) => drop(roots.insert(commit, Vec::new())),
                    Err(error) => return Err(error),
                }
            }
        }
        for (name, id) in refs::tags(objects, "", &mut unreadable)? {
            roots.entry(id).or_default().push(name);
        }
        for id in refs::kept(objects, &mut unreadable)? {
            roots.entry(id).or_default();
        }
        Ok(roots)
    }

    /// Checks that all that objects need is in packs that are whole.
    fn check_objects(&self, report: &mut Report, is_cancelled: Cancel<'_>) -> Result<(), Error> {
        let damage = &mut report.damage;
        let roots = self.named(&mut |found| damage.push(found))?;
        report.objects = roots.len() as u64;
        let mut lists = Lists::new(self);
        let mut incomplete = Vec::new();
        for id in roots.keys() {
            if !lists.lacks(id, is_cancelled)?.is_empty() {
                incomplete.push(*id);
            }
        }
        if incomplete.is_empty() {
            return Ok(());
        }
        // What others have put or moved in the meantime is in the index by now, and what they have removed is
        // no longer named.
        self.index.complete(is_cancelled)?;
        let mut lists = Lists::new(self);
        let mut roots = self.named(&mut |_| {})?;
        for id in incomplete {
            let Some(tags) = roots.remove(&id) else { continue };
            let missing = lists.lacks(&id, is_cancelled)?;
            if !missing.is_empty() {
                report.incomplete.push(Incomplete { id, tags, missing });
            }
        }
        Ok(())
    }

    /// Replaces damaged packs with new ones that have their whole records, removes what is damaged that names
    /// objects, and returns what was found and what is lost.
    pub(super) fn repair(
        self: &Arc<Self>,
        options: &BatchOptions<'_>,
        is_cancelled: Cancel<'_>,
    ) -> Result<Report, Error> {
        let _lock = self.lock_collection()?;
        let (mut report, damaged) = self.examine(options, is_cancelled)?;
        if !damaged.is_empty() {
            let writer = Writer::open(Arc::clone(self), Vec::new())?;
            let saved = self.save_records(&writer, &damaged, is_cancelled);
            let finished = saved.and_then(|()| writer.finish());
            writer.abandon()?;
            finished?;
        }
        let list = self.condemn(&damaged)?;
        self.delete_packs(&damaged)?;
        self.forget_packs(&damaged, &[], list.as_deref())?;
        self.repair_names(&mut report, is_cancelled)?;
        // More may be whole than a check finds.
        let mut after = Report::default();
        self.check_objects(&mut after, is_cancelled)?;
        report.objects = after.objects;
        report.incomplete = after.incomplete;
        Ok(report)
    }

    /// Writes the whole records of packs anew.
    fn save_records(
        &self,
        writer: &Writer,
        packs: &HashSet<PackId>,
        is_cancelled: Cancel<'_>,
    ) -> Result<(), Error> {
        let (mut scratch, mut content) = (Scratch::default(), Vec::new());
        for pack in packs {
            let name = pack.name();
            let Some(length) = self.objects.length(&name)? else { continue };
            let Some(bytes) = pack::read(&*self.objects, &name)? else { continue };
            let listed = pack::footer(&*self.objects, &name, length)?;
            for found in Found::all(&bytes, listed) {
                if is_cancelled() {
                    return Err(Error::Cancelled);
                }
                let Some((header, payload)) = found.parts(&bytes) else { continue };
                if Section::of(header.kind) != pack.section {
                    continue;
                }
                let location = Location { pack: *pack, entry: pack::Entry::new(found.offset, header) };
                match self.content(&header, payload, &mut scratch, &mut content) {
                    // Its bases are in memory only.
                    Ok(()) if header.kind == Kind::Delta && !self.is_intact(&location)? => {
                        writer.write_whole(header.digest, &content)?;
                    }
                    // A delta whose bases are gone can be read again once they are put again.
                    Ok(()) | Err(ContentError::Wrong(NO_BASE)) => drop(writer.append(header, payload)?),
                    // Others may be deltas of it, and need it whole.
                    Err(ContentError::Wrong(_)) if header.kind == Kind::Chunk && self.format.deltas => {
                        if let Ok(Some(content)) = self.record(&header.digest) {
                            writer.write_whole(header.digest, &content)?;
                        }
                    }
                    Err(ContentError::Wrong(_)) => {}
                    Err(ContentError::Other(error)) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Removes tags and the like that are damaged. What they named is not known, so that all objects are kept
    /// that are whole and that nothing names.
    fn repair_names(&self, report: &mut Report, is_cancelled: Cancel<'_>) -> Result<(), Error> {
        let objects = &*self.objects;
        let mut lost = Vec::new();
        let roots = self.named(&mut |damage| lost.push(damage.object))?;
        if lost.is_empty() {
            return Ok(());
        }
        let mut lists = Lists::new(self);
        for name in objects.list(Section::Meta.folder())? {
            let Some(pack) = PackId::from_name(&name) else { continue };
            for entry in pack::entries(objects, pack)?.unwrap_or_default() {
                if is_cancelled() {
                    return Err(Error::Cancelled);
                }
                let id = entry.digest;
                let is_object =
                    || Ok::<_, Error>(self.record(&id)?.is_some_and(|b| Manifest::read(id, &b).is_ok()));
                if !roots.contains_key(&id) && is_object()? && lists.lacks(&id, is_cancelled)?.is_empty() {
                    refs::keep(objects, None, &id)?;
                    report.kept.push(id);
                }
            }
        }
        report.kept.sort_unstable();
        report.kept.dedup();
        objects.flush()?;
        // Not those that have been set again.
        lost.clear();
        self.named(&mut |damage| lost.push(damage.object))?;
        lost.iter().try_for_each(|object| objects.delete(object))?;
        objects.flush()
    }
}

impl<'a> Lists<'a> {
    pub(super) fn new(inner: &'a Inner) -> Self {
        Self { inner, lengths: Lengths::default(), nodes: HashMap::new() }
    }

    /// Returns the first records that an object lacks.
    pub(super) fn lacks(&mut self, id: &Digest, is_cancelled: Cancel<'_>) -> Result<Vec<Digest>, Error> {
        match self.inner.manifest(id) {
            Ok((manifest, items)) => self.items_lack(manifest.parts(items), is_cancelled),
            Err(Error::Store(_)) => Ok(vec![*id]),
            Err(error) => Err(error),
        }
    }

    fn items_lack(&mut self, items: Vec<Item>, is_cancelled: Cancel<'_>) -> Result<Vec<Digest>, Error> {
        let mut missing = Vec::new();
        for item in items {
            if is_cancelled() {
                return Err(Error::Cancelled);
            }
            if missing.len() >= StoreError::MOST_DIGESTS {
                break;
            }
            if item.height == 0 {
                if !self.inner.is_whole(&item.digest, &mut self.lengths)? {
                    missing.push(item.digest);
                }
                continue;
            }
            if !self.nodes.contains_key(&item.digest) {
                let lacking = self.node_lacks(&item, is_cancelled)?;
                self.nodes.insert(item.digest, lacking);
            }
            missing.extend(&self.nodes[&item.digest]);
        }
        missing.truncate(StoreError::MOST_DIGESTS);
        Ok(missing)
    }

    fn node_lacks(&mut self, item: &Item, is_cancelled: Cancel<'_>) -> Result<Vec<Digest>, Error> {
        let node = match self.inner.record(&item.digest) {
            Err(Error::Store(_)) => None,
            node => node?,
        };
        match node.and_then(|node| read_node(item, &node).ok()) {
            Some(items) => self.items_lack(items, is_cancelled),
            None => Ok(vec![item.digest]),
        }
    }
}
