//! Deltas: chunks that are kept as what differs from other chunks, their bases.
//!
//! The payload of a delta is a head and a zstd frame, whose prefix are the contents of the bases, end to end:
//!
//! ```text
//! head        number of bases (1), zeros (3), the digest of each base (32)
//! frame       to the end of the payload
//! ```
//!
//! A base is a whole chunk. A chunk may be in one pack whole and in another as a delta; only the whole one
//! counts as a base, so that no delta depends on another one, whatever records there are.

use std::ops::Range;
use std::sync::Arc;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use super::Inner;
use super::error::StoreError;
use super::pack::{PackId, Section};
use super::read::Buffers;
use super::record::{ContentError, HEADER, Header, Kind, Scratch, copy_range};
use super::segment::Location;
use crate::error::Error;
use crate::hash::Digest;
use crate::io::output_buffer::OutputBuffer;

/// The maximum number of bases of a delta. A chunk of a new version often overlaps two of the version before.
pub(super) const MOST_BASES: usize = 2;

/// What is wrong with a delta of which a base is missing or damaged. The delta itself is not damaged.
pub(super) const NO_BASE: &str = "base_missing";

/// The size of the cache of bases, in bytes. Chunks that follow each other mostly have bases that follow each
/// other.
const CACHED_BASE_BYTES: u64 = 32 << 20;

/// The number of heads in the cache, of some 100 bytes each.
const CACHED_HEADS: usize = 16_384;

/// The lengths of a head without digests, and of the longest head, both in bytes.
const HEAD_START: usize = 4;
const LONGEST_HEAD: usize = HEAD_START + 32 * MOST_BASES;

/// Which records of a digest count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Whole ones, and deltas whose bases are there.
    Any,
    /// Whole ones.
    Whole,
}

/// The part of a delta that names its bases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeltaHead {
    pub(super) bases: Vec<Digest>,
}

impl DeltaHead {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.bases.len() as u8, 0, 0, 0];
        bytes.extend(self.bases.iter().flat_map(|base| base.0));
        bytes
    }

    /// Splits a payload into its head and its frame. Returns `None` if it has no head.
    pub(super) fn split(payload: &[u8]) -> Option<(Self, &[u8])> {
        let (&[count, 0, 0, 0], rest) = payload.split_first_chunk::<HEAD_START>()? else { return None };
        let count = usize::from(count);
        if !(1..=MOST_BASES).contains(&count) {
            return None;
        }
        let (digests, frame) = rest.split_at_checked(32 * count)?;
        let bases = digests.chunks_exact(32).map(|digest| Digest(digest.try_into().expect("32 bytes")));
        Some((Self { bases: bases.collect() }, frame))
    }
}

/// The content of a chunk that others are deltas of.
pub(super) type Base = Arc<Vec<u8>>;

/// Weighs a base by its length.
#[derive(Debug, Clone)]
struct BaseLength;

impl Weighter<Digest, Base> for BaseLength {
    fn weight(&self, _: &Digest, base: &Base) -> u64 {
        base.len() as u64
    }
}

/// Caches what deltas are read with.
pub(super) struct DeltaCache {
    /// Each was checked when it was read.
    bases: Cache<Digest, Base, BaseLength>,
    /// By pack and offset. Packs never change.
    heads: Cache<(PackId, u32), Arc<DeltaHead>>,
}

impl DeltaCache {
    pub(super) fn new() -> Self {
        // In one shard, since a base must fit into its share.
        let options = OptionsBuilder::new()
            .shards(1)
            .estimated_items_capacity(64)
            .weight_capacity(CACHED_BASE_BYTES)
            .build()
            .expect("all required options are set");
        let (hasher, lifecycle) = (DefaultHashBuilder::default(), DefaultLifecycle::default());
        let bases = Cache::with_options(options, BaseLength, hasher, lifecycle);
        Self { bases, heads: Cache::new(CACHED_HEADS) }
    }
}

impl Inner {
    /// Returns the head of the delta at a place, or `None` if it cannot be read.
    pub(super) fn delta_head(&self, location: &Location) -> Result<Option<Arc<DeltaHead>>, Error> {
        let key = (location.pack, location.entry.offset);
        if let Some(head) = self.deltas.heads.get(&key) {
            return Ok(Some(head));
        }
        let length = LONGEST_HEAD.min(location.entry.stored as usize);
        let mut record = vec![0; HEADER + length];
        if !self.objects.get_range(&location.pack.name(), location.entry.offset.into(), &mut record)? {
            return Ok(None);
        }
        let Ok(header) = Header::from_bytes(record.first_chunk().expect("it has a header")) else {
            return Ok(None);
        };
        let is_right = header.kind == Kind::Delta && header.digest == location.entry.digest;
        let head = DeltaHead::split(&record[HEADER..]).filter(|_| is_right).map(|(head, _)| Arc::new(head));
        if let Some(head) = &head {
            self.deltas.heads.insert(key, Arc::clone(head));
        }
        Ok(head)
    }

    /// Returns whether the record at a place counts: whether it is there, and if it is a delta, whether its
    /// bases are.
    pub(super) fn counts(
        &self,
        location: &Location,
        wanted: Wanted,
        is_there: &mut dyn FnMut(&Location) -> Result<bool, Error>,
    ) -> Result<bool, Error> {
        let is_delta = location.pack.section == Section::Deltas;
        if is_delta && wanted == Wanted::Whole || !is_there(location)? {
            return Ok(false);
        }
        if !is_delta {
            return Ok(true);
        }
        let Some(head) = self.delta_head(location)? else { return Ok(false) };
        for base in &head.bases {
            let is_base = |place: &Location| self.counts(place, Wanted::Whole, is_there);
            if self.index.find(base, is_base)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Checks a record and writes its content to `out`.
    pub(super) fn content(
        &self,
        header: &Header,
        payload: &[u8],
        scratch: &mut Scratch,
        out: &mut dyn OutputBuffer,
    ) -> Result<(), ContentError> {
        match header.kind {
            Kind::Delta => {
                let (head, frame) = DeltaHead::split(payload).ok_or(ContentError::Wrong("delta_head"))?;
                let bases = self.bases_of(&head)?;
                scratch.delta_content(header, frame, &bases, self.format.hash, out)
            }
            _ => scratch.content(header, payload, self.format.hash, out),
        }
    }

    /// Checks a record and writes a range of its content to `out`. The range is cut off at the end of the content.
    pub(super) fn content_range(
        &self,
        header: &Header,
        payload: &[u8],
        range: Range<usize>,
        scratch: &mut Scratch,
        out: &mut dyn OutputBuffer,
    ) -> Result<(), ContentError> {
        if header.kind != Kind::Delta {
            return scratch.content_range(header, payload, self.format.hash, range, out);
        }
        let mut content = Vec::new();
        self.content(header, payload, scratch, &mut content)?;
        copy_range(&content, range, out)
    }

    /// Returns the bases of a delta.
    fn bases_of(&self, head: &DeltaHead) -> Result<Vec<Base>, ContentError> {
        let no_base = || ContentError::Wrong(NO_BASE);
        head.bases
            .iter()
            .map(|base| match self.base(base) {
                Ok(base) => base.ok_or_else(no_base),
                Err(Error::Store(_)) => Err(no_base()),
                Err(error) => Err(ContentError::Other(error)),
            })
            .collect()
    }

    /// Returns a chunk that the store has whole, or `None` if it does not.
    pub(super) fn base(&self, digest: &Digest) -> Result<Option<Base>, Error> {
        if let Some(base) = self.deltas.bases.get(digest) {
            return Ok(Some(base));
        }
        let mut buffers = Buffers::take(self);
        let base = self.record_as(digest, &mut |location, record| {
            if location.pack.section == Section::Deltas {
                let offset = u64::from(location.entry.offset);
                return Err(StoreError::corrupt(&location.pack.name(), offset, NO_BASE).into());
            }
            let mut content = Vec::new();
            self.decode(location, record, &mut buffers.scratch, &mut content)?;
            Ok(Arc::new(content))
        })?;
        if let Some(base) = &base {
            self.deltas.bases.insert(*digest, Arc::clone(base));
        }
        Ok(base)
    }
}
