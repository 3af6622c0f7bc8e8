//! Checks a store, and repairs what can be repaired.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::Inner;
use super::error::StoreError;
use super::manifest::{Item, Manifest, read_node};
use super::pack::{self, Entry, PACK_HEADER, PackId, Section};
use super::record::{ContentError, HEADER, Header, Scratch};
use super::refs;
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

/// What was found in a pack.
struct CheckedPack {
    id: PackId,
    bytes: u64,
    whole: Vec<Entry>,
    damaged: Vec<Digest>,
    damage: Vec<Damage>,
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

    fn examine(
        self: &Arc<Self>,
        options: &BatchOptions<'_>,
        is_cancelled: Cancel<'_>,
    ) -> Result<(Report, Vec<CheckedPack>), Error> {
        let mut report = Report::default();
        self.check_index(&mut report, is_cancelled)?;
        let mut packs = Vec::new();
        for section in Section::ALL {
            for name in self.objects.list(section.folder())? {
                match PackId::from_name(&name) {
                    Some(id) => packs.push(id),
                    None => report.damage.push(Damage { object: name, offset: None, why: "pack_name" }),
                }
            }
        }
        let checked = options.run(
            &packs,
            |_| 1,
            Scratch::default,
            |scratch, &id, is_cancelled| self.check_pack(id, scratch, is_cancelled),
            is_cancelled,
        )?;
        let mut damaged_packs = Vec::new();
        let mut whole = HashSet::new();
        for pack in checked {
            let Some(pack) = pack? else { continue };
            report.packs += 1;
            report.bytes += pack.bytes;
            report.records += pack.whole.len() as u64;
            whole.extend(pack.whole.iter().map(|entry| entry.digest));
            report.damage.extend(pack.damage.iter().cloned());
            if !pack.damage.is_empty() {
                damaged_packs.push(pack);
            }
        }
        for pack in &damaged_packs {
            // New objects do not rely on them.
            for digest in pack.damaged.iter().filter(|digest| !whole.contains(digest)) {
                self.mark_damaged(*digest);
            }
        }
        self.check_objects(&whole, &mut report, is_cancelled)?;
        report.damage.sort();
        Ok((report, damaged_packs))
    }

    /// Checks the segments of the index, and makes the index anew where it is damaged or incomplete.
    fn check_index(&self, report: &mut Report, is_cancelled: Cancel<'_>) -> Result<(), Error> {
        for (object, why) in self.index.damage()? {
            report.damage.push(Damage { object, offset: None, why });
        }
        self.index.rebuild(is_cancelled).map(drop)
    }

    /// Checks a pack, or returns `None` if a garbage collection has deleted it.
    fn check_pack(
        &self,
        id: PackId,
        scratch: &mut Scratch,
        is_cancelled: Cancel<'_>,
    ) -> Result<Option<CheckedPack>, Error> {
        let name = id.name();
        let Some(bytes) = self.objects.get(&name)? else { return Ok(None) };
        let mut pack = CheckedPack {
            id,
            bytes: bytes.len() as u64,
            whole: Vec::new(),
            damaged: Vec::new(),
            damage: Vec::new(),
        };
        let mut damage = |offset: u64, why| {
            pack.damage.push(Damage { object: name.clone(), offset: Some(offset), why });
        };
        let is_named = *blake3::hash(&bytes).as_bytes() == id.digest;
        match bytes.first_chunk::<PACK_HEADER>().map(|header| pack::read_header(&name, header)) {
            Some(Ok(_)) => {}
            Some(Err(error @ StoreError::UnsupportedFormat { .. })) if is_named => return Err(error.into()),
            _ => damage(0, "pack_header"),
        }
        let mut expected: BTreeMap<u32, Digest> = BTreeMap::new();
        match pack::footer(&*self.objects, &name, bytes.len() as u64)? {
            Some(entries) => expected.extend(entries.iter().map(|entry| (entry.offset, entry.digest))),
            None => damage(bytes.len() as u64, "pack_footer"),
        }
        let mut content = Vec::new();
        for entry in pack::scan(&bytes) {
            if is_cancelled() {
                return Err(Error::Cancelled);
            }
            expected.remove(&entry.offset);
            let start = entry.offset as usize;
            let header =
                bytes[start..].first_chunk::<HEADER>().and_then(|bytes| Header::from_bytes(bytes).ok());
            let header = header.expect("a scan finds headers");
            let payload = &bytes[start + HEADER..][..entry.stored as usize];
            match scratch.content(&header, payload, self.format.hash, &mut content) {
                Ok(()) => pack.whole.push(entry),
                Err(ContentError::Wrong(why)) => {
                    damage(entry.offset.into(), why);
                    pack.damaged.push(entry.digest);
                }
                Err(ContentError::Other(error)) => return Err(error),
            }
        }
        for (offset, digest) in expected {
            damage(offset.into(), "record_header");
            pack.damaged.push(digest);
        }
        if !is_named && pack.damage.is_empty() {
            pack.damage.push(Damage { object: name, offset: None, why: "foreign_bytes" });
        }
        Ok(Some(pack))
    }

    /// Checks that all that objects need is in packs that are whole.
    fn check_objects(
        &self,
        whole: &HashSet<Digest>,
        report: &mut Report,
        is_cancelled: Cancel<'_>,
    ) -> Result<(), Error> {
        let objects = &*self.objects;
        let mut roots: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
        for (name, id) in refs::readable_tags(objects, &mut |damage| report.damage.push(damage))? {
            roots.entry(id).or_default().push(name);
        }
        for id in refs::readable_kept(objects, &mut |damage| report.damage.push(damage))? {
            roots.entry(id).or_default();
        }
        for session in Session::readable(objects, &mut |damage| report.damage.push(damage))? {
            if let State::Committed(commit) = session.state {
                match self.commit(&commit) {
                    Ok(commit) => {
                        for id in commit.objects {
                            roots.entry(id).or_default();
                        }
                    }
                    Err(Error::Store(_)) => {
                        report.incomplete.push(Incomplete {
                            id: commit,
                            tags: Vec::new(),
                            missing: vec![commit],
                        });
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        let mut nodes: HashMap<Digest, Vec<Digest>> = HashMap::new();
        for (id, tags) in roots {
            report.objects += 1;
            let missing = self.lacks(&id, whole, &mut nodes, is_cancelled)?;
            if !missing.is_empty() {
                report.incomplete.push(Incomplete { id, tags, missing });
            }
        }
        Ok(())
    }

    /// Returns the first records that an object lacks.
    fn lacks(
        &self,
        id: &Digest,
        whole: &HashSet<Digest>,
        nodes: &mut HashMap<Digest, Vec<Digest>>,
        is_cancelled: Cancel<'_>,
    ) -> Result<Vec<Digest>, Error> {
        if !whole.contains(id) {
            return Ok(vec![*id]);
        }
        let Some(bytes) = self.record(id)? else { return Ok(vec![*id]) };
        let Ok((_, items)) = Manifest::read(*id, &bytes) else { return Ok(vec![*id]) };
        self.items_lack(items, whole, nodes, is_cancelled)
    }

    fn items_lack(
        &self,
        items: Vec<Item>,
        whole: &HashSet<Digest>,
        nodes: &mut HashMap<Digest, Vec<Digest>>,
        is_cancelled: Cancel<'_>,
    ) -> Result<Vec<Digest>, Error> {
        let mut missing = Vec::new();
        for item in items {
            if is_cancelled() {
                return Err(Error::Cancelled);
            }
            if missing.len() >= StoreError::MOST_DIGESTS {
                break;
            }
            if !whole.contains(&item.digest) {
                missing.push(item.digest);
            } else if item.height > 0 {
                let lacking = match nodes.get(&item.digest) {
                    Some(lacking) => lacking.clone(),
                    None => {
                        let node = self.record(&item.digest)?;
                        let items = node.and_then(|node| read_node(&item, &node).ok());
                        let lacking = match items {
                            Some(items) => self.items_lack(items, whole, nodes, is_cancelled)?,
                            None => vec![item.digest],
                        };
                        nodes.insert(item.digest, lacking.clone());
                        lacking
                    }
                };
                missing.extend(lacking);
            }
        }
        missing.truncate(StoreError::MOST_DIGESTS);
        Ok(missing)
    }

    /// Replaces damaged packs with new ones that have their whole records, and returns what was found and
    /// what is lost.
    pub(super) fn repair(
        self: &Arc<Self>,
        options: &BatchOptions<'_>,
        is_cancelled: Cancel<'_>,
    ) -> Result<Report, Error> {
        let _lock = self.lock_collection()?;
        let (report, damaged) = self.examine(options, is_cancelled)?;
        if damaged.is_empty() {
            return Ok(report);
        }
        let writer = Writer::open(Arc::clone(self), Vec::new())?;
        for pack in &damaged {
            let Some(bytes) = self.objects.get(&pack.id.name())? else { continue };
            for entry in &pack.whole {
                if is_cancelled() {
                    return Err(Error::Cancelled);
                }
                let start = entry.offset as usize;
                let header =
                    bytes[start..].first_chunk::<HEADER>().and_then(|bytes| Header::from_bytes(bytes).ok());
                let header = header.expect("it was checked");
                writer.append(header, &bytes[start + HEADER..][..entry.stored as usize])?;
            }
        }
        writer.finish()?;
        writer.session().end(&*self.objects)?;
        let packs = damaged.iter().map(|pack| pack.id).collect();
        let list = self.condemn(&packs)?;
        self.delete(&packs, &list)?;
        Ok(report)
    }
}
