//! Segments of the index: sorted lists from digests to places in packs.
//!
//! Digests are uniformly distributed, and entries have one size, so a segment is an array of pages of 4 KiB. The
//! first eight bytes of the first digest of each page, 0.1 byte for each entry, are kept in memory: with them
//! any digest is found with one read.
//!
//! A segment is made from packs and can be made again, so nothing in it is trusted: each page has a check.
//!
//! ```text
//! pages       85 entries of 48 bytes, 12 zeros, CRC-32C of those 4,092 bytes; the last one is padded with zeros
//! packs       124 packs of 33 bytes (a byte for the folder, 32 for the name), CRC-32C; the last one is padded
//! fences      8 bytes for each page of entries, big-endian
//! trailer     number of entries (8 bytes), of packs (4), CRC-32C of the fences (4), version (4), CRC-32C of the
//!             trailer so far (4), "CHUNKERI"
//! ```

use std::io::Write;
use std::sync::Arc;

use quick_cache::sync::Cache;

use super::error::StoreError;
use super::objects::Objects;
use super::pack::{Entry, PackId, Section, read_entry};
use super::record::MOST;
use crate::error::{Error, IoError};
use crate::hash::Digest;

/// The length of a page, in bytes.
const PAGE: usize = 4096;
const ENTRY: usize = 48;
/// The number of entries of a page, and of packs.
const ENTRIES: usize = (PAGE - 4) / ENTRY;
const PACK: usize = 33;
const PACKS: usize = (PAGE - 4) / PACK;
const TRAILER: usize = 32;
const MAGIC: &[u8; 8] = b"CHUNKERI";
const VERSION: u32 = 1;

/// Where a chunk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) pack: PackId,
    pub(super) entry: Entry,
}

/// Pages that were read, by segment and position, for all segments of an index.
pub(super) type Pages = Cache<(u64, u64), Arc<[u8; PAGE]>>;

/// A segment.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) name: String,
    /// A number for the keys of [`Pages`].
    key: u64,
    fences: Vec<u64>,
    pub(super) entries: u64,
    packs: u32,
}

impl Segment {
    /// Opens a segment, or returns `None` if there is none of that name.
    pub(super) fn open(objects: &dyn Objects, name: &str) -> Result<Option<Self>, Error> {
        let corrupt = |why| Error::from(StoreError::corrupt(name, None, why));
        let Some(length) = objects.length(name)? else { return Ok(None) };
        let end = length.checked_sub(TRAILER as u64).ok_or_else(|| corrupt("too_short"))?;
        let mut trailer = [0; TRAILER];
        if !objects.get_range(name, end, &mut trailer)? {
            return Ok(None);
        }
        let number = |at: usize| u32::from_le_bytes(trailer[at..at + 4].try_into().expect("four bytes"));
        if trailer[24..] != *MAGIC || crc32c::crc32c(&trailer[..20]) != number(20) {
            return Err(corrupt("trailer"));
        }
        if number(16) != VERSION {
            let feature = format!("version {} of the index", number(16));
            return Err(StoreError::UnsupportedFormat { feature }.into());
        }
        let entries = u64::from_le_bytes(trailer[..8].try_into().expect("eight bytes"));
        let packs = number(8);
        let pages = entries.div_ceil(ENTRIES as u64);
        let tables = u64::from(packs).div_ceil(PACKS as u64);
        let fences = (pages + tables).checked_mul(PAGE as u64);
        let Some(at) = fences.filter(|at| at.checked_add(8 * pages) == Some(end)) else {
            return Err(corrupt("length"));
        };
        let mut bytes = vec![0; 8 * pages as usize];
        if !objects.get_range(name, at, &mut bytes)? {
            return Ok(None);
        }
        if crc32c::crc32c(&bytes) != number(12) {
            return Err(corrupt("fence_check"));
        }
        let fences =
            bytes.chunks_exact(8).map(|fence| u64::from_be_bytes(fence.try_into().expect("eight bytes")));
        let key = blake3::hash(name.as_bytes()).as_bytes()[..8].try_into().expect("eight bytes");
        Ok(Some(Self {
            name: name.into(),
            key: u64::from_le_bytes(key),
            fences: fences.collect(),
            entries,
            packs,
        }))
    }

    /// Returns a page.
    fn page(&self, objects: &dyn Objects, pages: &Pages, page: u64) -> Result<Arc<[u8; PAGE]>, Error> {
        pages.get_or_insert_with(&(self.key, page), || {
            let mut bytes = [0; PAGE];
            let there = objects.get_range(&self.name, page * PAGE as u64, &mut bytes)?;
            let check = u32::from_le_bytes(bytes[PAGE - 4..].try_into().expect("four bytes"));
            if !there || crc32c::crc32c(&bytes[..PAGE - 4]) != check {
                return Err(StoreError::corrupt(&self.name, page * PAGE as u64, "page_check").into());
            }
            Ok(Arc::new(bytes))
        })
    }

    /// Returns the number of entries of a page.
    fn length(&self, page: u64) -> usize {
        (self.entries - page * ENTRIES as u64).min(ENTRIES as u64) as usize
    }

    /// Returns the first place of a digest for which `accept` returns true. A digest may have several, in several
    /// packs. Takes one or two reads.
    pub(super) fn find(
        &self,
        objects: &dyn Objects,
        pages: &Pages,
        digest: &Digest,
        accept: &mut dyn FnMut(&Location) -> Result<bool, Error>,
    ) -> Result<Option<Location>, Error> {
        let fence = fence(digest);
        // Entries with the same first bytes may span the border of pages: the search begins at the last page
        // that begins before.
        let first = self.fences.partition_point(|&first| first < fence).saturating_sub(1);
        for page in first..self.fences.len() {
            if self.fences[page] > fence {
                break;
            }
            let bytes = self.page(objects, pages, page as u64)?;
            let entry = |at: usize| &bytes[at * ENTRY..][..ENTRY];
            let length = self.length(page as u64);
            let (mut low, mut high) = (0, length);
            while low < high {
                let middle = (low + high) / 2;
                if entry(middle)[..32] < digest.0[..] { low = middle + 1 } else { high = middle }
            }
            for at in (low..length).take_while(|&at| entry(at)[..32] == digest.0[..]) {
                let location = self.location(objects, pages, entry(at))?;
                if accept(&location)? {
                    return Ok(Some(location));
                }
            }
        }
        Ok(None)
    }

    fn location(&self, objects: &dyn Objects, pages: &Pages, bytes: &[u8]) -> Result<Location, Error> {
        let (entry, pack) = split(bytes.try_into().expect("its length"));
        if entry.stored as usize > MOST || entry.length as usize > MOST {
            return Err(StoreError::corrupt(&self.name, None, "record_length").into());
        }
        Ok(Location { pack: self.pack(objects, pages, pack)?, entry })
    }

    /// Returns a pack by its number.
    fn pack(&self, objects: &dyn Objects, pages: &Pages, number: u32) -> Result<PackId, Error> {
        let table = self.fences.len() as u64 + u64::from(number) / PACKS as u64;
        let corrupt = || StoreError::corrupt(&self.name, table * PAGE as u64, "pack_number");
        if number >= self.packs {
            return Err(corrupt().into());
        }
        let bytes = self.page(objects, pages, table)?;
        let bytes = &bytes[number as usize % PACKS * PACK..][..PACK];
        let section = *Section::ALL.get(usize::from(bytes[0])).ok_or_else(corrupt)?;
        Ok(PackId { digest: bytes[1..].try_into().expect("32 bytes"), section })
    }

    /// Returns the packs, in the order of their numbers.
    pub(super) fn packs<'a>(
        &'a self,
        objects: &'a dyn Objects,
        pages: &'a Pages,
    ) -> impl Iterator<Item = Result<PackId, Error>> + 'a {
        (0..self.packs).map(move |number| self.pack(objects, pages, number))
    }

    /// Returns the entries with the numbers of their packs, in the order of the digests.
    pub(super) fn iter<'a>(
        &'a self,
        objects: &'a dyn Objects,
        pages: &'a Pages,
    ) -> impl Iterator<Item = Result<(Entry, u32), Error>> + 'a {
        (0..self.fences.len() as u64).flat_map(move |page| {
            let (bytes, error) = match self.page(objects, pages, page) {
                Ok(bytes) => (Some(bytes), None),
                Err(error) => (None, Some(Err(error))),
            };
            let length = if bytes.is_some() { self.length(page) } else { 0 };
            let entries = (0..length).map(move |at| {
                let bytes = bytes.as_ref().expect("there are entries only of a page that was read");
                Ok(split(bytes[at * ENTRY..][..ENTRY].try_into().expect("its length")))
            });
            entries.chain(error)
        })
    }
}

fn fence(digest: &Digest) -> u64 {
    u64::from_be_bytes(digest.0[..8].try_into().expect("eight bytes"))
}

/// Splits an entry of a page.
fn split(bytes: &[u8; ENTRY]) -> (Entry, u32) {
    (read_entry(bytes), u32::from_le_bytes(bytes[44..].try_into().expect("four bytes")))
}

/// Writes a segment of entries that are in the order of their digests, each with the number of its pack.
pub(super) fn write(
    out: &mut dyn Write,
    entries: impl Iterator<Item = Result<(Entry, u32), Error>>,
    packs: impl Iterator<Item = Result<PackId, Error>>,
) -> Result<(), Error> {
    let mut out = PageWriter { out, page: [0; PAGE], used: 0 };
    let mut fences: Vec<u8> = Vec::new();
    let mut count = 0u64;
    for entry in entries {
        let (Entry { digest, offset, stored, length }, pack) = entry?;
        if out.used == 0 {
            fences.extend(fence(&digest).to_be_bytes());
        }
        let mut bytes = [0; ENTRY];
        bytes[..32].copy_from_slice(&digest.0);
        for (place, number) in bytes[32..].chunks_exact_mut(4).zip([offset, stored, length, pack]) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        out.push(&bytes)?;
        count += 1;
    }
    out.end_page()?;
    let mut pack_count = 0u32;
    for pack in packs {
        let pack = pack?;
        let mut bytes = [0; PACK];
        bytes[0] = pack.section as u8;
        bytes[1..].copy_from_slice(&pack.digest);
        out.push(&bytes)?;
        pack_count += 1;
    }
    out.end_page()?;
    let mut trailer = Vec::with_capacity(TRAILER);
    trailer.extend(count.to_le_bytes());
    for number in [pack_count, crc32c::crc32c(&fences), VERSION] {
        trailer.extend(number.to_le_bytes());
    }
    let check = crc32c::crc32c(&trailer);
    trailer.extend(check.to_le_bytes());
    trailer.extend(MAGIC);
    out.write(&fences)?;
    out.write(&trailer)
}

/// Writes pages.
struct PageWriter<'a> {
    out: &'a mut dyn Write,
    page: [u8; PAGE],
    used: usize,
}

impl PageWriter<'_> {
    /// Appends an item, on a new page if this one has no room for it.
    fn push(&mut self, item: &[u8]) -> Result<(), Error> {
        self.page[self.used..][..item.len()].copy_from_slice(item);
        self.used += item.len();
        if self.used + item.len() > PAGE - 4 { self.end_page() } else { Ok(()) }
    }

    fn end_page(&mut self) -> Result<(), Error> {
        if self.used == 0 {
            return Ok(());
        }
        let check = crc32c::crc32c(&self.page[..PAGE - 4]);
        self.page[PAGE - 4..].copy_from_slice(&check.to_le_bytes());
        let page = std::mem::replace(&mut self.page, [0; PAGE]);
        self.used = 0;
        self.write(&page)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        Ok(self.out.write_all(bytes).map_err(|source| IoError { path: None, source })?)
    }
}
