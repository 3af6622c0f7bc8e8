//! Entries of the index that are kept in memory, since they cannot be written: the store is read-only for this
//! process, or its disk is full.

use std::collections::HashSet;

use super::pack::{Entry, PackId};
use super::segment::Location;
use crate::error::Error;
use crate::hash::Digest;

/// The entries, each with the number of its pack, in the order of their digests. Takes 48 bytes for each.
#[derive(Clone, Default)]
pub(super) struct Unwritten {
    pub(super) packs: Vec<PackId>,
    entries: Vec<(Entry, u32)>,
}

impl Unwritten {
    /// Adds packs, unless they are there.
    pub(super) fn add(&mut self, packs: &[(PackId, Vec<Entry>)]) {
        let mut known: HashSet<PackId> = self.packs.iter().copied().collect();
        for (id, entries) in packs.iter().filter(|(id, _)| known.insert(*id)) {
            let number = self.packs.len() as u32;
            self.packs.push(*id);
            self.entries.extend(entries.iter().map(|&entry| (entry, number)));
        }
        // Most are in order already, which this sort makes use of.
        self.entries.sort_by_key(|(entry, _)| entry.digest);
    }

    /// Returns the packs with their entries.
    pub(super) fn packs(&self) -> Vec<(PackId, Vec<Entry>)> {
        let mut packs: Vec<_> = self.packs.iter().map(|&id| (id, Vec::new())).collect();
        for (entry, number) in &self.entries {
            packs[*number as usize].1.push(*entry);
        }
        packs
    }

    /// Returns the first place of a digest for which `accept` returns true.
    pub(super) fn find(
        &self,
        digest: &Digest,
        accept: &mut dyn FnMut(&Location) -> Result<bool, Error>,
    ) -> Result<Option<Location>, Error> {
        let first = self.entries.partition_point(|(entry, _)| entry.digest < *digest);
        for &(entry, number) in self.entries[first..].iter().take_while(|(entry, _)| entry.digest == *digest)
        {
            let location = Location { pack: self.packs[number as usize], entry };
            if accept(&location)? {
                return Ok(Some(location));
            }
        }
        Ok(None)
    }
}
