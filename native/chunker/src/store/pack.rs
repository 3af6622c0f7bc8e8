//! Packs: files of records.
//!
//! A pack begins with a header of 32 bytes, in which the random id of its session makes it another file than any
//! pack before it: a garbage collection may delete an older one of the same records at any time. After the
//! records comes a footer with an entry of 48 bytes for each, so that the records of a pack can be listed
//! without reading it. The name of a pack is the BLAKE3 of all of it.
//!
//! ```text
//! header      "CHUNKERP", version (4), zeros (4), id of the session (16)
//! records
//! footer      for each record: digest (32), offset of its header (4), length of its payload (4), of its content (4),
//!             kind (1), codec (1), zeros (2)
//! trailer     number of records (4), CRC-32C of the footer (4), "CHUNKERF"
//! ```

use std::collections::HashMap;

use super::error::StoreError;
use super::objects::Objects;
use super::record::{HEADER, Header, Kind, MOST};
use super::segment::Location;
use crate::error::Error;
use crate::hash::Digest;

/// The number of bytes from which on a pack is complete.
pub(super) const FULL: usize = 16 << 20;

const MAGIC: &[u8; 8] = b"CHUNKERP";
const VERSION: u32 = 1;
/// The length of the header of a pack, in bytes.
pub(super) const PACK_HEADER: usize = 32;
const FOOTER_MAGIC: &[u8; 8] = b"CHUNKERF";
/// The lengths of an entry of the footer and of what follows the entries, in bytes.
pub(super) const ENTRY: usize = 48;
const TRAILER: usize = 16;

/// The name of a pack: the BLAKE3 of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct PackId {
    pub(super) digest: [u8; 32],
    pub(super) section: Section,
}

/// What packs hold, by which they are in different folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Section {
    /// Chunks.
    Packs,
    /// Everything else. A garbage collection reads all of this.
    Meta,
    /// Chunks that are kept as deltas. A garbage collection reads which chunks these need.
    Deltas,
}

impl Section {
    pub(super) const ALL: [Self; Self::COUNT] = [Self::Packs, Self::Meta, Self::Deltas];
    pub(super) const COUNT: usize = 3;

    pub(super) const fn folder(self) -> &'static str {
        match self {
            Self::Packs => "packs",
            Self::Meta => "meta",
            Self::Deltas => "deltas",
        }
    }

    /// Returns where records of a kind belong.
    pub(super) const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Chunk => Self::Packs,
            Kind::Manifest | Kind::Node | Kind::Commit => Self::Meta,
            Kind::Delta => Self::Deltas,
        }
    }
}

impl PackId {
    /// Returns the name of the object.
    pub(super) fn name(&self) -> String {
        let hex = blake3::Hash::from_bytes(self.digest).to_hex();
        format!("{}/{}/{hex}", self.section.folder(), &hex[..2])
    }

    /// Returns the folder of the object.
    pub(super) fn folder(&self) -> String {
        format!("{}/{:02x}", self.section.folder(), self.digest[0])
    }

    /// Returns the pack of an object, or `None` if the name is another one.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        let (folder, hex) = (name.split('/').next()?, name.rsplit('/').next()?);
        let section = Section::ALL.into_iter().find(|section| section.folder() == folder)?;
        let digest = *blake3::Hash::from_hex(hex).ok()?.as_bytes();
        Some(Self { digest, section }).filter(|id| id.name() == name)
    }
}

/// Where a record is in a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) digest: Digest,
    /// The position of the header of the record, in bytes from the start of the pack.
    pub(super) offset: u32,
    /// The length of the payload, in bytes.
    pub(super) stored: u32,
    /// The length of the content, in bytes.
    pub(super) length: u32,
}

impl Entry {
    pub(super) fn new(offset: u32, Header { digest, stored, length, .. }: Header) -> Self {
        Self { digest, offset, stored, length }
    }
}

/// A pack that is being filled.
#[derive(Debug)]
pub(super) struct PackBuilder {
    section: Section,
    bytes: Vec<u8>,
    headers: Vec<(u32, Header)>,
}

/// A pack that is complete, but not yet an object.
#[derive(Debug)]
pub(super) struct Pack {
    pub(super) id: PackId,
    pub(super) bytes: Vec<u8>,
    pub(super) entries: Vec<Entry>,
}

impl PackBuilder {
    /// Begins a pack of the session with that id, in a buffer that is no longer needed.
    pub(super) fn new(section: Section, session: &[u8; 16], buffer: Vec<u8>) -> Self {
        let mut bytes = buffer;
        bytes.clear();
        bytes.reserve(FULL + (1 << 20));
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(session);
        Self { section, bytes, headers: Vec::new() }
    }

    /// Appends a record, and returns the number of bytes that it takes, with its entry in the footer.
    pub(super) fn push(&mut self, header: Header, payload: &[u8]) -> u64 {
        self.headers.push((self.bytes.len() as u32, header));
        self.bytes.extend(header.to_bytes());
        self.bytes.extend(payload);
        (HEADER + payload.len() + ENTRY) as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        self.headers.is_empty()
    }

    /// Returns whether the pack is long enough.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= FULL
    }

    /// Completes the pack.
    pub(super) fn finish(mut self) -> Pack {
        let start = self.bytes.len();
        for (offset, header) in &self.headers {
            self.bytes.extend(header.digest.0);
            for number in [*offset, header.stored, header.length] {
                self.bytes.extend(number.to_le_bytes());
            }
            self.bytes.extend([header.kind.to_number(), header.codec_number(), 0, 0]);
        }
        let check = crc32c::crc32c(&self.bytes[start..]);
        self.bytes.extend((self.headers.len() as u32).to_le_bytes());
        self.bytes.extend(check.to_le_bytes());
        self.bytes.extend(FOOTER_MAGIC);
        let digest = *blake3::hash(&self.bytes).as_bytes();
        let entries = self.headers.iter().map(|&(offset, header)| Entry::new(offset, header)).collect();
        Pack { id: PackId { digest, section: self.section }, bytes: self.bytes, entries }
    }
}

/// The longest pack that is read, in bytes: more than a full one with the longest record and the footer.
pub(super) const LONGEST: u64 = 256 << 20;

/// The lengths of packs that were asked for; `None` for those that are absent.
#[derive(Debug, Default)]
pub(super) struct Lengths(HashMap<PackId, Option<u64>>);

impl Lengths {
    /// Returns whether a pack exists and is long enough for a record.
    pub(super) fn hold(&mut self, objects: &dyn Objects, location: &Location) -> Result<bool, Error> {
        let Location { pack, entry } = location;
        let length = match self.0.get(pack) {
            Some(length) => *length,
            None => {
                let length = objects.length(&pack.name())?;
                self.0.insert(*pack, length);
                length
            }
        };
        let end = u64::from(entry.offset) + HEADER as u64 + u64::from(entry.stored);
        Ok(length.is_some_and(|length| length >= end))
    }
}

/// Returns the bytes of a pack, or `None` if it does not exist. Of one that is too long, returns its start.
pub(super) fn read(objects: &dyn Objects, name: &str) -> Result<Option<Vec<u8>>, Error> {
    let Some(length) = objects.length(name)? else { return Ok(None) };
    let mut bytes = vec![0; length.min(LONGEST) as usize];
    Ok(objects.get_range(name, 0, &mut bytes)?.then_some(bytes))
}

/// Returns the entries of a pack, from its footer, or `None` if the pack does not exist. A footer that is
/// damaged is made anew from the records.
pub(super) fn entries(objects: &dyn Objects, id: PackId) -> Result<Option<Vec<Entry>>, Error> {
    let name = id.name();
    let Some(length) = objects.length(&name)? else { return Ok(None) };
    match footer(objects, &name, length)? {
        Some(records) => {
            // One that is longer than any record is in no index.
            let fits = |entry: &Entry| entry.stored as usize <= MOST && entry.length as usize <= MOST;
            Ok(Some(records.into_iter().map(|(entry, _)| entry).filter(fits).collect()))
        }
        None => {
            let Some(bytes) = read(objects, &name)? else { return Ok(None) };
            Ok(Some(scan(&bytes).map(|(offset, header)| Entry::new(offset, header)).collect()))
        }
    }
}

/// A record as a footer lists it. The header is missing if this library does not know its kind or codec.
pub(super) type Listed = (Entry, Option<Header>);

/// Returns the records of a footer, or `None` if it is damaged.
pub(super) fn footer(objects: &dyn Objects, name: &str, length: u64) -> Result<Option<Vec<Listed>>, Error> {
    let Some(end) = length.checked_sub(TRAILER as u64) else { return Ok(None) };
    let mut trailer = [0; TRAILER];
    if !objects.get_range(name, end, &mut trailer)? || trailer[8..] != *FOOTER_MAGIC {
        return Ok(None);
    }
    let number = |at: usize| u32::from_le_bytes(trailer[at..at + 4].try_into().expect("four bytes"));
    let size = u64::from(number(0)) * ENTRY as u64;
    let start = end.checked_sub(size).filter(|&start| start >= PACK_HEADER as u64);
    let Some(start) = start.filter(|_| length <= LONGEST) else { return Ok(None) };
    let mut table = vec![0; size as usize];
    if !objects.get_range(name, start, &mut table)? || crc32c::crc32c(&table) != number(4) {
        return Ok(None);
    }
    let records = table.chunks_exact(ENTRY).map(|bytes| {
        let entry = read_entry(bytes.try_into().expect("its length"));
        let Entry { digest, stored, length, .. } = entry;
        (entry, Header::from_numbers(bytes[44], bytes[45], stored, length, digest).ok())
    });
    Ok(Some(records.collect()))
}

/// Reads an entry of a footer or of a segment of the index.
pub(super) fn read_entry(bytes: &[u8; ENTRY]) -> Entry {
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let digest = Digest(bytes[..32].try_into().expect("32 bytes"));
    Entry { digest, offset: number(32), stored: number(36), length: number(40) }
}

/// Finds the records in the bytes of a pack by their headers, whatever is between them, with their positions.
pub(super) fn scan(bytes: &[u8]) -> impl Iterator<Item = (u32, Header)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while let Some(header) = bytes.get(at..).and_then(|rest| rest.first_chunk::<HEADER>()) {
            match Header::from_bytes(header) {
                Ok(header) if bytes.len() - at - HEADER >= header.stored as usize => {
                    let offset = at as u32;
                    at += HEADER + header.stored as usize;
                    return Some((offset, header));
                }
                _ => at += 1,
            }
        }
        None
    })
}

/// Checks the header of a pack, and returns the id of its session.
pub(super) fn read_header(name: &str, bytes: &[u8; PACK_HEADER]) -> Result<[u8; 16], StoreError> {
    if bytes[..8] != *MAGIC {
        return Err(StoreError::corrupt(name, 0, "no_pack"));
    }
    match u32::from_le_bytes(bytes[8..12].try_into().expect("four bytes")) {
        VERSION => Ok(bytes[16..].try_into().expect("16 bytes")),
        version => Err(StoreError::UnsupportedFormat { feature: format!("version {version} of packs") }),
    }
}
