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
//!             kind (1), zeros (3)
//! trailer     number of records (4), CRC-32C of the footer (4), "CHUNKERF"
//! ```

use super::error::StoreError;
use super::objects::Objects;
use super::record::{HEADER, Header, Kind};
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
const ENTRY: usize = 48;
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
    /// Everything else. A garbage collection reads only this.
    Meta,
}

impl Section {
    pub(super) const ALL: [Self; 2] = [Self::Packs, Self::Meta];

    pub(super) const fn folder(self) -> &'static str {
        match self {
            Self::Packs => "packs",
            Self::Meta => "meta",
        }
    }

    /// Returns where records of a kind belong.
    pub(super) const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Chunk => Self::Packs,
            Kind::Manifest | Kind::Node | Kind::Commit => Self::Meta,
        }
    }
}

impl PackId {
    /// Returns the name of the object.
    pub(super) fn name(&self) -> String {
        let hex = blake3::Hash::from_bytes(self.digest).to_hex();
        format!("{}/{}/{hex}", self.section.folder(), &hex[..2])
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

/// A pack that is being filled.
#[derive(Debug)]
pub(super) struct PackBuilder {
    section: Section,
    bytes: Vec<u8>,
    entries: Vec<(Entry, Kind)>,
}

/// A pack that is complete, but not yet an object.
#[derive(Debug)]
pub(super) struct Pack {
    pub(super) id: PackId,
    pub(super) bytes: Vec<u8>,
    pub(super) entries: Vec<Entry>,
}

impl PackBuilder {
    /// Begins a pack of the session with that id.
    pub(super) fn new(section: Section, session: &[u8; 16]) -> Self {
        let mut bytes = Vec::with_capacity(FULL + (1 << 20));
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(session);
        Self { section, bytes, entries: Vec::new() }
    }

    /// Appends a record, and returns the number of bytes that it takes, with its entry in the footer.
    pub(super) fn push(&mut self, header: Header, payload: &[u8]) -> u64 {
        let Header { kind, stored, length, digest, .. } = header;
        let offset = self.bytes.len() as u32;
        self.entries.push((Entry { digest, offset, stored, length }, kind));
        self.bytes.extend(header.to_bytes());
        self.bytes.extend(payload);
        (HEADER + payload.len() + ENTRY) as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns whether the pack is long enough.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= FULL
    }

    /// Completes the pack.
    pub(super) fn finish(mut self) -> Pack {
        let start = self.bytes.len();
        for (Entry { digest, offset, stored, length }, kind) in &self.entries {
            self.bytes.extend(digest.0);
            for number in [*offset, *stored, *length, u32::from(kind.to_number())] {
                self.bytes.extend(number.to_le_bytes());
            }
        }
        let check = crc32c::crc32c(&self.bytes[start..]);
        self.bytes.extend((self.entries.len() as u32).to_le_bytes());
        self.bytes.extend(check.to_le_bytes());
        self.bytes.extend(FOOTER_MAGIC);
        let digest = *blake3::hash(&self.bytes).as_bytes();
        let entries = self.entries.into_iter().map(|(entry, _)| entry).collect();
        Pack { id: PackId { digest, section: self.section }, bytes: self.bytes, entries }
    }
}

/// Returns the entries of a pack, from its footer, or `None` if the pack does not exist. A footer that is
/// damaged is made anew from the records.
pub(super) fn entries(objects: &dyn Objects, id: PackId) -> Result<Option<Vec<Entry>>, Error> {
    let name = id.name();
    let Some(length) = objects.length(&name)? else { return Ok(None) };
    match footer(objects, &name, length)? {
        Some(entries) => Ok(Some(entries)),
        None => {
            let Some(bytes) = objects.get(&name)? else { return Ok(None) };
            Ok(Some(scan(&bytes).collect()))
        }
    }
}

/// Returns the entries of a footer, or `None` if it is damaged.
pub(super) fn footer(objects: &dyn Objects, name: &str, length: u64) -> Result<Option<Vec<Entry>>, Error> {
    let Some(end) = length.checked_sub(TRAILER as u64) else { return Ok(None) };
    let mut trailer = [0; TRAILER];
    if !objects.get_range(name, end, &mut trailer)? || trailer[8..] != *FOOTER_MAGIC {
        return Ok(None);
    }
    let number = |at: usize| u32::from_le_bytes(trailer[at..at + 4].try_into().expect("four bytes"));
    let size = u64::from(number(0)) * ENTRY as u64;
    let Some(start) = end.checked_sub(size).filter(|&start| start >= PACK_HEADER as u64) else {
        return Ok(None);
    };
    let mut table = vec![0; size as usize];
    if !objects.get_range(name, start, &mut table)? || crc32c::crc32c(&table) != number(4) {
        return Ok(None);
    }
    Ok(Some(
        table.chunks_exact(ENTRY).map(|entry| read_entry(entry.try_into().expect("its length"))).collect(),
    ))
}

/// Reads an entry of a footer or of a segment of the index.
pub(super) fn read_entry(bytes: &[u8; ENTRY]) -> Entry {
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let digest = Digest(bytes[..32].try_into().expect("32 bytes"));
    Entry { digest, offset: number(32), stored: number(36), length: number(40) }
}

/// Finds the records in the bytes of a pack by their headers, whatever is between them.
pub(super) fn scan(bytes: &[u8]) -> impl Iterator<Item = Entry> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while let Some(header) = bytes.get(at..).and_then(|rest| rest.first_chunk::<HEADER>()) {
            match Header::from_bytes(header) {
                Ok(Header { stored, length, digest, .. }) if bytes.len() - at - HEADER >= stored as usize => {
                    let offset = at as u32;
                    at += HEADER + stored as usize;
                    return Some(Entry { digest, offset, stored, length });
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
