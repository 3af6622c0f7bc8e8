//! Deltas: chunks that are kept as what differs from other chunks, their bases.
//!
//! The payload of a delta is a head and a zstd frame, whose prefix are the contents of the bases, end to end:
//!
//! ```text
//! head        number of bases (1), depth (1), zeros (2), the digest of each base (32)
//! frame       to the end of the payload
//! ```
//!
//! A chunk that is no delta has depth 0, and a delta a greater depth than each of its bases. A base is looked
//! for among the records of its digest with a lesser depth than the delta, so that two chunks of which each is
//! kept as a delta of the other, in different packs, never depend on each other alone.

use std::ops::Range;
use std::sync::Arc;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use super::Inner;
use super::error::StoreError;
use super::pack::Section;
use super::read::Buffers;
use super::record::{ContentError, HEADER, Header, Kind, Scratch, copy_range};
use super::segment::Location;
use crate::error::Error;
use crate::hash::Digest;
use crate::io::output_buffer::OutputBuffer;

/// The number of bases that a delta has at most: a chunk that lies across the border of two.
pub(super) const MOST_BASES: usize = 2;

/// The greatest depth, which bounds how many chunks are decompressed for one.
pub(super) const MOST_DEPTH: u8 = 3;

/// Is above the depth of all deltas.
pub(super) const ANY_DEPTH: u8 = u8::MAX;

/// Is taken as the depth of a record that is to be written, until it is.
pub(super) const UNKNOWN_DEPTH: u8 = ANY_DEPTH - 1;

/// What is wrong with a delta of which a base is missing or damaged. The delta itself is not damaged.
pub(super) const NO_BASE: &str = "base_missing";

/// The number of bytes of bases that are kept in memory. The chunks of an object mostly have the bases of
/// their neighbours.
const KEPT: u64 = 32 << 20;

/// The length of a head without digests, and the greatest length, both in bytes.
const FIXED: usize = 4;
const LONGEST_HEAD: usize = FIXED + 32 * MOST_BASES;

/// The part of a delta that says of which chunks it is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeltaHead {
    pub(super) depth: u8,
    pub(super) bases: Vec<Digest>,
}

impl DeltaHead {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.bases.len() as u8, self.depth, 0, 0];
        bytes.extend(self.bases.iter().flat_map(|base| base.0));
        bytes
    }

    /// Returns the head of a payload and what comes after it, or `None` if there is none.
    pub(super) fn split(payload: &[u8]) -> Option<(Self, &[u8])> {
        let (&[count, depth, 0, 0], rest) = payload.split_first_chunk::<FIXED>()? else { return None };
        let count = usize::from(count);
        if !(1..=MOST_BASES).contains(&count) || depth == 0 {
            return None;
        }
        let (digests, frame) = rest.split_at_checked(32 * count)?;
        let bases = digests.chunks_exact(32).map(|digest| Digest(digest.try_into().expect("32 bytes")));
        Some((Self { depth, bases: bases.collect() }, frame))
    }
}

/// Returns the depth of a record.
pub(super) fn depth(header: &Header, payload: &[u8]) -> u8 {
    match header.kind {
        Kind::Delta => DeltaHead::split(payload).map_or(0, |(head, _)| head.depth),
        _ => 0,
    }
}

/// A chunk that others are deltas of.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) content: Vec<u8>,
    depth: u8,
}

/// The length of a base.
#[derive(Debug, Clone)]
pub(super) struct BaseLength;

impl Weighter<Digest, Arc<Base>> for BaseLength {
    fn weight(&self, _: &Digest, base: &Arc<Base>) -> u64 {
        base.content.len() as u64
    }
}

/// The bases that were needed last. Each was checked when it was read.
pub(super) type Bases = Cache<Digest, Arc<Base>, BaseLength>;

pub(super) fn bases() -> Bases {
    // In one shard, since a base must fit into its share.
    let options = OptionsBuilder::new()
        .shards(1)
        .estimated_items_capacity(64)
        .weight_capacity(KEPT)
        .build()
        .expect("all is given");
    Cache::with_options(options, BaseLength, DefaultHashBuilder::default(), DefaultLifecycle::default())
}

impl Inner {
    /// Returns the head of the delta at a place, or `None` if it cannot be read.
    pub(super) fn delta_head(&self, location: &Location) -> Result<Option<DeltaHead>, Error> {
        let length = LONGEST_HEAD.min(location.entry.stored as usize);
        let mut record = vec![0; HEADER + length];
        if !self.objects.get_range(&location.pack.name(), location.entry.offset.into(), &mut record)? {
            return Ok(None);
        }
        let Ok(header) = Header::from_bytes(record.first_chunk().expect("it has a header")) else {
            return Ok(None);
        };
        let is_right = header.kind == Kind::Delta && header.digest == location.entry.digest;
        Ok(DeltaHead::split(&record[HEADER..]).filter(|_| is_right).map(|(head, _)| head))
    }

    /// Returns whether there is a record at a place, and for a delta, whether its depth is below `below` and all
    /// that it needs is in places that are there, too.
    pub(super) fn is_there_with_bases(
        &self,
        location: &Location,
        below: u8,
        is_there: &mut dyn FnMut(&Location) -> Result<bool, Error>,
    ) -> Result<bool, Error> {
        if !is_there(location)? {
            return Ok(false);
        }
        if location.pack.section != Section::Deltas {
            return Ok(true);
        }
        let Some(head) = self.delta_head(location)?.filter(|head| head.depth < below) else {
            return Ok(false);
        };
        for base in &head.bases {
            let usable = |place: &Location| self.is_there_with_bases(place, head.depth, &mut *is_there);
            if self.index.find(base, usable)?.is_none() {
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

    /// Does so with a part of the content, which is cut off at its end.
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
    fn bases_of(&self, head: &DeltaHead) -> Result<Vec<Arc<Base>>, ContentError> {
        let no_base = || ContentError::Wrong(NO_BASE);
        head.bases
            .iter()
            .map(|base| match self.base(base, head.depth) {
                Ok(base) => base.ok_or_else(no_base),
                Err(Error::Store(_)) => Err(no_base()),
                Err(error) => Err(ContentError::Other(error)),
            })
            .collect()
    }

    /// Returns a chunk that is kept with a depth below `below`, or `None` if the store does not have it so.
    pub(super) fn base(&self, digest: &Digest, below: u8) -> Result<Option<Arc<Base>>, Error> {
        if let Some(base) = self.bases.get(digest).filter(|base| base.depth < below) {
            return Ok(Some(base));
        }
        let mut buffers = Buffers::take(self);
        let base = self.record_as(digest, &mut |location, record| {
            let depth = match DeltaHead::split(record.get(HEADER..).unwrap_or_default()) {
                Some((head, _)) if location.pack.section == Section::Deltas => head.depth,
                _ => 0,
            };
            if depth >= below {
                let offset = u64::from(location.entry.offset);
                return Err(StoreError::corrupt(&location.pack.name(), offset, NO_BASE).into());
            }
            let mut content = Vec::new();
            self.decode(location, record, &mut buffers.scratch, &mut content)?;
            Ok(Arc::new(Base { content, depth }))
        })?;
        if let Some(base) = &base {
            self.bases.insert(*digest, Arc::clone(base));
        }
        Ok(base)
    }
}
