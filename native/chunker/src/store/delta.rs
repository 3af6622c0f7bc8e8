//! Deltas: chunks that are kept as what differs from other chunks, their bases.
//!
//! The payload of a delta is a head and a zstd frame, whose prefix are the contents of the bases, end to end:
//!
//! ```text
//! head        number of bases (1), zeros (3), the digest of each base (32), CRC-32C of the head so far (4)
//! frame       to the end of the payload
//! ```
//!
//! Writers take whole chunks as bases, so that a delta is read with two other records at most. A base that was lost and
//! put again may be a delta itself, of whole chunks; deltas that depend on more than that count as absent. A
//! [`Depth`] bounds all that follows bases, whatever records there are.

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

/// The maximum number of bases of a delta. A chunk of a new version often overlaps two of the version before.
pub(super) const MOST_BASES: usize = 2;

/// What is wrong with a delta of which a base is missing or damaged. The delta itself is not damaged.
pub(super) const NO_BASE: &str = "base_missing";

/// The size of the cache of bases, in bytes. Chunks that follow each other mostly have bases that follow each
/// other.
const CACHED_BASE_BYTES: u64 = 32 << 20;

/// The lengths of a head without digests and its check, of the check, and of the longest head, in bytes.
const HEAD_START: usize = 4;
const HEAD_CHECK: usize = 4;
const LONGEST_HEAD: usize = HEAD_START + 32 * MOST_BASES + HEAD_CHECK;

/// How many deltas in a row may lead to a whole chunk.
pub(super) type Depth = u8;

/// For chunks of objects.
pub(super) const ANY: Depth = 2;

/// For chunks that must be whole.
pub(super) const WHOLE: Depth = 0;

/// The part of a delta that names its bases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeltaHead {
    pub(super) bases: Vec<Digest>,
}

impl DeltaHead {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.bases.len() as u8, 0, 0, 0];
        bytes.extend(self.bases.iter().flat_map(|base| base.0));
        let check = crc32c::crc32c(&bytes);
        bytes.extend(check.to_le_bytes());
        bytes
    }

    /// Splits a payload into its head and its frame. Returns `None` if the head is damaged.
    pub(super) fn split(payload: &[u8]) -> Option<(Self, &[u8])> {
        let (&[count, 0, 0, 0], rest) = payload.split_first_chunk::<HEAD_START>()? else { return None };
        let count = usize::from(count);
        if !(1..=MOST_BASES).contains(&count) {
            return None;
        }
        let (digests, rest) = rest.split_at_checked(32 * count)?;
        let (check, frame) = rest.split_first_chunk::<HEAD_CHECK>()?;
        if crc32c::crc32c(&payload[..HEAD_START + digests.len()]) != u32::from_le_bytes(*check) {
            return None;
        }
        let bases = digests.chunks_exact(32).map(|digest| Digest(digest.try_into().expect("32 bytes")));
        Some((Self { bases: bases.collect() }, frame))
    }
}

/// The content of a chunk that others are deltas of.
pub(super) type Base = Arc<Vec<u8>>;

/// Weighs a base by its length.
#[derive(Debug, Clone)]
pub(super) struct BaseLength;

impl Weighter<Digest, Base> for BaseLength {
    fn weight(&self, _: &Digest, base: &Base) -> u64 {
        base.len() as u64
    }
}

/// The bases that were read last. Each was checked then.
pub(super) type Bases = Cache<Digest, Base, BaseLength>;

pub(super) fn bases() -> Bases {
    // In one shard, since a base must fit into its share.
    let options = OptionsBuilder::new()
        .shards(1)
        .estimated_items_capacity(64)
        .weight_capacity(CACHED_BASE_BYTES)
        .build()
        .expect("all required options are set");
    Cache::with_options(options, BaseLength, DefaultHashBuilder::default(), DefaultLifecycle::default())
}

impl Inner {
    /// Returns the head of the delta at a place, or `None` if its pack is not there.
    ///
    /// Returns [`StoreError::Corrupt`] if it is damaged.
    pub(super) fn delta_head(&self, location: &Location) -> Result<Option<DeltaHead>, Error> {
        let (name, offset) = (location.pack.name(), u64::from(location.entry.offset));
        let length = LONGEST_HEAD.min(location.entry.stored as usize);
        let mut record = vec![0; HEADER + length];
        if !self.objects.get_range(&name, offset, &mut record)? {
            return Ok(None);
        }
        let corrupt = |why| Error::from(StoreError::corrupt(&name, offset, why));
        let header = Header::from_bytes(record.first_chunk().expect("it has a header")).map_err(corrupt)?;
        if header.kind != Kind::Delta || header.digest != location.entry.digest {
            return Err(corrupt("another_record"));
        }
        let (head, _) = DeltaHead::split(&record[HEADER..]).ok_or_else(|| corrupt("delta_head"))?;
        Ok(Some(head))
    }

    /// Returns whether the record at a place counts: whether it is there, and if it is a delta, whether its bases
    /// are.
    pub(super) fn counts(
        &self,
        location: &Location,
        depth: Depth,
        is_there: &mut dyn FnMut(&Location) -> Result<bool, Error>,
    ) -> Result<bool, Error> {
        let is_delta = location.pack.section == Section::Deltas;
        if is_delta && depth == WHOLE || !is_there(location)? {
            return Ok(false);
        }
        if !is_delta {
            return Ok(true);
        }
        let head = match self.delta_head(location) {
            Err(Error::Store(_)) | Ok(None) => return Ok(false),
            Ok(Some(head)) => head,
            Err(error) => return Err(error),
        };
        for base in &head.bases {
            let is_base = |place: &Location| self.counts(place, depth - 1, is_there);
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
        self.content_at(header, payload, ANY, scratch, out)
    }

    fn content_at(
        &self,
        header: &Header,
        payload: &[u8],
        depth: Depth,
        scratch: &mut Scratch,
        out: &mut dyn OutputBuffer,
    ) -> Result<(), ContentError> {
        if header.kind != Kind::Delta {
            return scratch.content(header, payload, self.format.hash, out);
        }
        let (head, frame) = DeltaHead::split(payload).ok_or(ContentError::Wrong("delta_head"))?;
        let mut bases = Vec::with_capacity(head.bases.len());
        for base in &head.bases {
            let base = if depth == WHOLE { Ok(None) } else { self.base(base, depth - 1) };
            bases.push(base.map_err(ContentError::Other)?.ok_or(ContentError::Wrong(NO_BASE))?);
        }
        scratch.delta_content(header, frame, &bases, self.format.hash, out)
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

    /// Returns the content of a chunk that others are deltas of, or `None` if the store does not have it, as far as the
    /// index knows.
    pub(super) fn base(&self, digest: &Digest, depth: Depth) -> Result<Option<Base>, Error> {
        if let Some(base) = self.bases.get(digest) {
            return Ok(Some(base));
        }
        let mut buffers = Buffers::take(self);
        let mut content = Vec::new();
        for is_delta in [false, true] {
            if is_delta && depth == WHOLE {
                break;
            }
            let found = self.index.find(digest, |location| {
                let is_wanted = (location.pack.section == Section::Deltas) == is_delta;
                let mut record = vec![0; HEADER + location.entry.stored as usize];
                let name = location.pack.name();
                if !is_wanted || !self.objects.get_range(&name, location.entry.offset.into(), &mut record)? {
                    return Ok(false);
                }
                let decoded = self.decode_by(location, &record, |header, payload| {
                    self.content_at(header, payload, depth, &mut buffers.scratch, &mut content)
                });
                match decoded {
                    Ok(_) => Ok(true),
                    Err(Error::Store(error @ StoreError::Corrupt { .. })) => {
                        self.mark_damaged(location, &error);
                        Ok(false)
                    }
                    Err(error) => Err(error),
                }
            })?;
            if found.is_some() {
                let base = Arc::new(content);
                self.bases.insert(*digest, Arc::clone(&base));
                return Ok(Some(base));
            }
        }
        Ok(None)
    }

    /// Marks a record that was found damaged. A mark is of use to later puts, and not needed for the error.
    pub(super) fn mark_damaged(&self, location: &Location, error: &StoreError) {
        if !matches!(error, StoreError::Corrupt { why: NO_BASE, .. }) {
            let _ = self.marks.add(&*self.objects, location.pack, &[location.entry.offset]);
        }
    }
}
