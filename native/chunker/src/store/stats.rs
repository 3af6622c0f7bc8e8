//! Counts what a store has.

use std::collections::HashSet;

use super::check::ignores;
use super::pack::{self, Section};
use super::session::{Session, State};
use super::{Inner, index, refs};
use crate::Cancel;
use crate::error::Error;

/// What a store has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// The number of packs with chunks, and of their bytes.
    pub packs: u64,
    /// See `packs`.
    pub pack_bytes: u64,
    /// The number of packs with chunks that are kept as deltas, and of their bytes.
    pub delta_packs: u64,
    /// See `delta_packs`.
    pub delta_bytes: u64,
    /// The number of chunks in both, and of their bytes before compression. One that is in two packs counts twice.
    pub chunks: u64,
    /// See `chunks`.
    pub chunk_bytes: u64,
    /// How many of them are deltas, and of their bytes before compression.
    pub deltas: u64,
    /// See `deltas`.
    pub delta_chunk_bytes: u64,
    /// The number of packs with lists of chunks, and of their bytes.
    pub meta_packs: u64,
    /// See `meta_packs`.
    pub meta_bytes: u64,
    /// The number of records of all packs. One that is in two packs counts twice.
    pub records: u64,
    /// The number of segments of the index, and of their bytes.
    pub index_segments: u64,
    /// See `index_segments`.
    pub index_bytes: u64,
    /// The number of tags.
    pub tags: u64,
    /// The number of sessions of writers.
    pub sessions: u64,
    /// The number of objects that tags name or that are kept without one.
    pub objects: u64,
    /// The number of those whose lists of chunks are missing or damaged.
    pub unreadable_objects: u64,
    /// The number of bytes of all other ones.
    pub object_bytes: u64,
}

impl Inner {
    /// Counts. Takes two reads for each pack and for each object.
    pub(super) fn stats(&self, is_cancelled: Cancel<'_>) -> Result<Stats, Error> {
        let objects = &*self.objects;
        let mut stats = Stats::default();
        for section in Section::ALL {
            for name in objects.list(section.folder())? {
                if is_cancelled() {
                    return Err(Error::Cancelled);
                }
                // A garbage collection may have deleted it.
                let Some(length) = objects.length(&name)? else { continue };
                // One that is damaged is for a check to report.
                let records = pack::footer(objects, &name, length)?.unwrap_or_default();
                let count = records.len() as u64;
                stats.records += count;
                if section != Section::Meta {
                    let content: u64 = records.iter().map(|(entry, _)| u64::from(entry.length)).sum();
                    stats.chunks += count;
                    stats.chunk_bytes += content;
                    if section == Section::Deltas {
                        stats.deltas += count;
                        stats.delta_chunk_bytes += content;
                    }
                }
                let (packs, bytes) = match section {
                    Section::Packs => (&mut stats.packs, &mut stats.pack_bytes),
                    Section::Deltas => (&mut stats.delta_packs, &mut stats.delta_bytes),
                    Section::Meta => (&mut stats.meta_packs, &mut stats.meta_bytes),
                };
                *packs += 1;
                *bytes += length;
            }
        }
        for name in objects.list_at_once(index::FOLDER)? {
            stats.index_segments += 1;
            stats.index_bytes += objects.length(&name)?.unwrap_or(0);
        }
        // What is damaged is for a check to report.
        let mut roots = HashSet::new();
        for session in Session::all(objects, &mut ignores)? {
            stats.sessions += 1;
            if let State::Committed(commit) = session.state
                && let Ok((commit, _)) = self.commit(&commit)
            {
                roots.extend(commit.objects);
            }
        }
        for (_, id) in refs::tags(objects, "", &mut ignores)? {
            stats.tags += 1;
            roots.insert(id);
        }
        roots.extend(refs::kept(objects, &mut ignores)?);
        stats.objects = roots.len() as u64;
        for id in roots {
            if is_cancelled() {
                return Err(Error::Cancelled);
            }
            match self.manifest(&id) {
                Ok((manifest, _)) => stats.object_bytes += manifest.size,
                Err(Error::Store(_)) => stats.unreadable_objects += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(stats)
    }
}
