//! Marks of records that were found damaged. For new objects they count as absent, so that a put heals.
//!
//! A mark is kept in the store, for other processes, until the pack of the record is deleted. Without it, the
//! damage is found again by the next check or read.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use super::objects::Objects;
use super::pack::PackId;
use super::segment::Location;
use super::text::{self, Lines};
use crate::error::Error;

/// The folder of the marks, an object for each pack.
const FOLDER: &str = "damaged";

/// The records that are known to be damaged, by their packs and their positions there.
#[derive(Default)]
pub(super) struct Marks {
    /// Each with whether its mark is in the store.
    records: RwLock<HashMap<(PackId, u32), bool>>,
}

fn object(pack: &PackId) -> String {
    pack.name().replacen(pack.section.folder(), &format!("{FOLDER}/{}", pack.section.folder()), 1)
}

/// Returns the pack of an object, and the marked records of its content.
fn read(object: &str, content: &[u8]) -> Option<(PackId, Vec<u32>)> {
    let pack = PackId::from_name(object.strip_prefix(FOLDER)?.strip_prefix('/')?)?;
    let lines = Lines::read(object, content).ok()?;
    Some((pack, lines.all("record").map(|offset| offset.parse().ok()).collect::<Option<_>>()?))
}

impl Marks {
    pub(super) fn contains(&self, location: &Location) -> bool {
        let records = self.records.read().unwrap_or_else(PoisonError::into_inner);
        !records.is_empty() && records.contains_key(&(location.pack, location.entry.offset))
    }

    /// Looks for marks that others have set.
    pub(super) fn refresh(&self, objects: &dyn Objects) -> Result<(), Error> {
        let mut found = HashMap::new();
        for object in objects.list_at_once(FOLDER)? {
            // One that is damaged is made anew when its records are found again.
            let content = objects.get(&object)?;
            if let Some((pack, offsets)) = content.and_then(|content| read(&object, &content)) {
                found.extend(offsets.into_iter().map(|offset| ((pack, offset), true)));
            }
        }
        self.records.write().unwrap_or_else(PoisonError::into_inner).extend(found);
        Ok(())
    }

    /// Marks records of a pack: for this process at once, also if the marks cannot be written.
    pub(super) fn add(&self, objects: &dyn Objects, pack: PackId, offsets: &[u32]) -> Result<(), Error> {
        let is_written = {
            let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
            // Each of them is added.
            offsets.iter().filter(|&&offset| !*records.entry((pack, offset)).or_default()).count() == 0
        };
        if is_written {
            return Ok(());
        }
        let object = object(&pack);
        loop {
            let before = objects.get(&object)?;
            let known =
                before.as_ref().and_then(|content| read(&object, content)).map(|(_, offsets)| offsets);
            let mut all = known.unwrap_or_default();
            all.extend(offsets);
            all.sort_unstable();
            all.dedup();
            let content = text::write(all.iter().map(|offset| ("record", offset.to_string())));
            if objects.compare_and_set(&object, before.as_deref(), Some(&content))? {
                let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
                records.extend(offsets.iter().map(|&offset| ((pack, offset), true)));
                return Ok(());
            }
        }
    }

    /// Removes the marks of a pack that is deleted or whole: for this process also if they cannot be removed from the
    /// store.
    pub(super) fn remove(&self, objects: &dyn Objects, pack: &PackId) -> Result<(), Error> {
        self.records.write().unwrap_or_else(PoisonError::into_inner).retain(|(marked, _), _| marked != pack);
        let object = object(pack);
        if objects.length(&object)?.is_some() {
            objects.delete(&object)?;
        }
        Ok(())
    }

    /// Removes the marks of packs that are gone, which a process has left that was killed after it deleted them.
    pub(super) fn clean(&self, objects: &dyn Objects) -> Result<(), Error> {
        for object in objects.list_at_once(FOLDER)? {
            let pack =
                object.strip_prefix(FOLDER).and_then(|name| PackId::from_name(name.strip_prefix('/')?));
            match pack {
                Some(pack) if objects.length(&pack.name())?.is_none() => self.remove(objects, &pack)?,
                Some(_) => {}
                None => objects.delete(&object)?,
            }
        }
        Ok(())
    }
}
