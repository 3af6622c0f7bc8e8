//! Manifests: the list of the chunks of an object, and what is known of the whole.
//!
//! The id of an object is the digest of its manifest. A long list is cut into nodes where the digests of the
//! chunks decide, so that objects that have most chunks in common have most nodes in common, too; nodes of
//! nodes likewise.
//!
//! ```text
//! manifest    "CKM1", kind (1 byte), depth (1), number of attachments (1), zero (1), length of the object
//!             (8), number of chunks (8), digest of the object (32), sizes and normalization (4 each), seed (8),
//!             NAR hash (32, if it is a NAR), attachments, items
//! attachment  role (1), depth (1), zeros (2), a node of that depth
//! node        "CKN1", depth (1), zeros (3), items
//! item        depth 0: a chunk: digest (32), length (4)
//!             above: a node of the depth below: digest (32), number of bytes (8), number of chunks (8)
//! ```
//!
//! An attachment is bytes that belong to an object and are not part of it. They are chunked like an object,
//! so they may have any length, and all that walks over the items of a manifest walks over its attachments in
//! the same way.

use super::error::StoreError;
use crate::cdc::Options;
use crate::error::Error;
use crate::hash::Digest;

const MANIFEST: [u8; 4] = *b"CKM1";
const NODE: [u8; 4] = *b"CKN1";
/// The length of what comes before the NAR hash or the items of a manifest, and before those of a node.
const FIXED: usize = 80;
const NODE_FIXED: usize = 8;
const CHUNK: usize = 36;
const CHILD: usize = 48;
const ATTACHMENT: usize = 4 + CHILD;

/// All nodes except the last of a level have at least 512 items, so that no real list is deeper.
const MOST_DEPTH: u8 = 8;

/// A node has at least and at most so many items. In between it ends at an item whose digest says so, on
/// average after 2,048 more.
const LEAST_ITEMS: usize = 512;
const MOST_ITEMS: usize = 8192;
const END_MASK: u16 = 0x07ff;

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// Bytes of any kind.
    Bytes,
    /// A NAR, chunked along its files.
    Nar,
    /// A tar, or what was put as one, chunked along its members.
    Tar,
}

impl ObjectKind {
    /// Returns the name in the public API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Nar => "nar",
            Self::Tar => "tar",
        }
    }
}

/// What a store knows of an object, except the list of its chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manifest {
    /// The id: the digest of the manifest.
    pub id: Digest,
    /// What the object is.
    pub kind: ObjectKind,
    /// The length of the object, in bytes.
    pub size: u64,
    /// The number of its chunks.
    pub chunk_count: u64,
    /// The digest of the object.
    pub hash: Digest,
    /// Its SHA-256, if it is a NAR.
    pub nar_hash: Option<Digest>,
    /// How it was chunked.
    pub chunking: Options,
    /// The outline of a NAR.
    pub(super) outline: Option<Item>,
    /// The store hashes that were replaced in the chunks: for each its position (8 bytes) and its characters
    /// (32), in the order of the positions.
    pub(super) references: Option<Item>,
}

/// What an attachment is for, as in the manifest.
const OUTLINE: u8 = 1;
const REFERENCES: u8 = 2;

/// A chunk of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredChunk {
    /// The digest of its bytes.
    pub digest: Digest,
    /// Its start, in bytes from the start of the object.
    pub offset: u64,
    /// Its length, in bytes.
    pub length: u32,
}

/// A part of an object: a chunk, or a node with the list of some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) digest: Digest,
    /// 0 for a chunk, and one more than that of its items for a node.
    pub(super) height: u8,
    pub(super) bytes: u64,
    pub(super) chunks: u64,
}

/// Collects the chunks of an object.
#[derive(Debug, Default)]
pub(super) struct ManifestBuilder {
    /// The items that belong to no complete node yet, by the depth of their nodes.
    levels: Vec<Vec<Item>>,
    size: u64,
    chunk_count: u64,
}

impl ManifestBuilder {
    /// Appends a chunk, and passes each node that is complete to `store`, which returns its digest.
    pub(super) fn push(
        &mut self,
        digest: Digest,
        length: u32,
        store: &mut dyn FnMut(&[u8]) -> Result<Digest, Error>,
    ) -> Result<(), Error> {
        self.size += u64::from(length);
        self.chunk_count += 1;
        self.append(Item { digest, height: 0, bytes: length.into(), chunks: 1 }, store)
    }

    fn append(
        &mut self,
        item: Item,
        store: &mut dyn FnMut(&[u8]) -> Result<Digest, Error>,
    ) -> Result<(), Error> {
        let level = usize::from(item.height);
        if self.levels.len() == level {
            self.levels.push(Vec::new());
        }
        let items = &mut self.levels[level];
        items.push(item);
        let ends = u16::from_le_bytes([item.digest.0[0], item.digest.0[1]]) & END_MASK == 0;
        if items.len() >= MOST_ITEMS || (items.len() >= LEAST_ITEMS && ends) {
            let items = std::mem::take(items);
            return self.close(&items, store);
        }
        Ok(())
    }

    fn close(
        &mut self,
        items: &[Item],
        store: &mut dyn FnMut(&[u8]) -> Result<Digest, Error>,
    ) -> Result<(), Error> {
        let depth = items[0].height;
        let mut node = Vec::with_capacity(NODE_FIXED + items.len() * CHILD);
        node.extend(NODE);
        node.extend([depth, 0, 0, 0]);
        write_items(&mut node, items);
        let digest = store(&node)?;
        let (bytes, chunks) =
            items.iter().fold((0, 0), |(bytes, chunks), item| (bytes + item.bytes, chunks + item.chunks));
        self.append(Item { digest, height: depth + 1, bytes, chunks }, store)
    }

    /// Returns the bytes of the manifest, whose size and number of chunks are those that were pushed.
    pub(super) fn finish(
        mut self,
        description: &Description<'_>,
        store: &mut dyn FnMut(&[u8]) -> Result<Digest, Error>,
    ) -> Result<Vec<u8>, Error> {
        self.close_below(store)?;
        let level = self.levels.len().saturating_sub(1);
        let items = self.levels.pop().unwrap_or_default();
        let &Description { kind, hash, nar_hash, chunking, outline, references } = description;
        let attachments = [(OUTLINE, outline), (REFERENCES, references)];
        let attachments = attachments.into_iter().filter_map(|(role, item)| Some((role, item?)));
        let mut manifest = Vec::with_capacity(FIXED + 32 + 2 * ATTACHMENT + items.len() * CHILD);
        manifest.extend(MANIFEST);
        manifest.extend([kind as u8, level as u8, attachments.clone().count() as u8, 0]);
        manifest.extend(self.size.to_le_bytes());
        manifest.extend(self.chunk_count.to_le_bytes());
        manifest.extend(hash.0);
        let &Options { min_size, avg_size, max_size, normalization, seed } = chunking;
        for number in [min_size, avg_size, max_size, normalization] {
            manifest.extend((number as u32).to_le_bytes());
        }
        manifest.extend(seed.to_le_bytes());
        manifest.extend(nar_hash.into_iter().flat_map(|hash| hash.0));
        for (role, item) in attachments {
            manifest.extend([role, item.height - 1, 0, 0]);
            write_items(&mut manifest, &[item]);
        }
        write_items(&mut manifest, &items);
        Ok(manifest)
    }

    /// Returns the node above everything that was pushed, or `None` if that is nothing.
    pub(super) fn finish_attachment(
        mut self,
        store: &mut dyn FnMut(&[u8]) -> Result<Digest, Error>,
    ) -> Result<Option<Item>, Error> {
        loop {
            self.close_below(store)?;
            match self.levels.last_mut() {
                None => return Ok(None),
                Some(items) if items.len() == 1 && items[0].height > 0 => return Ok(items.pop()),
                Some(items) => {
                    let items = std::mem::take(items);
                    self.close(&items, store)?;
                }
            }
        }
    }

    /// Closes all levels except the highest.
    fn close_below(&mut self, store: &mut dyn FnMut(&[u8]) -> Result<Digest, Error>) -> Result<(), Error> {
        let mut level = 0;
        // Closing a node may complete one above.
        while level + 1 < self.levels.len() {
            let items = std::mem::take(&mut self.levels[level]);
            if !items.is_empty() {
                self.close(&items, store)?;
            }
            level += 1;
        }
        Ok(())
    }
}

/// What a manifest says of an object, except its chunks.
#[derive(Debug)]
pub(super) struct Description<'a> {
    pub(super) kind: ObjectKind,
    pub(super) hash: Digest,
    pub(super) nar_hash: Option<Digest>,
    pub(super) chunking: &'a Options,
    pub(super) outline: Option<Item>,
    pub(super) references: Option<Item>,
}

fn write_items(out: &mut Vec<u8>, items: &[Item]) {
    for item in items {
        out.extend(item.digest.0);
        if item.height == 0 {
            out.extend((item.bytes as u32).to_le_bytes());
        } else {
            out.extend(item.bytes.to_le_bytes());
            out.extend(item.chunks.to_le_bytes());
        }
    }
}

fn read_items(bytes: &[u8], depth: u8) -> Option<Vec<Item>> {
    if depth > MOST_DEPTH {
        return None;
    }
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    let size = if depth == 0 { CHUNK } else { CHILD };
    let items = bytes.chunks_exact(size);
    if !items.remainder().is_empty() {
        return None;
    }
    let items = items.map(|item| {
        // One of no bytes could stand in any number without being noticed.
        let digest = Digest(item[..32].try_into().expect("32 bytes"));
        let (bytes, chunks) = if depth == 0 {
            (u32::from_le_bytes(item[32..].try_into().expect("four bytes")).into(), 1)
        } else {
            (number(&item[32..40]), number(&item[40..]))
        };
        (bytes > 0 && chunks > 0).then_some(Item { digest, height: depth, bytes, chunks })
    });
    items.collect()
}

impl Manifest {
    /// Returns whether a record is a manifest, and not a chunk or anything else.
    pub(super) fn is_one(bytes: &[u8]) -> bool {
        bytes.starts_with(&MANIFEST)
    }

    /// Reads a manifest, whose digest is `id`, and its items.
    pub(super) fn read(id: Digest, bytes: &[u8]) -> Result<(Self, Vec<Item>), StoreError> {
        Self::parse(id, bytes)
            .ok_or_else(|| StoreError::corrupt(&format!("manifest {id:?}"), None, "no_manifest"))
    }

    /// Returns what the object and its attachments consist of.
    pub(super) fn parts(&self, mut items: Vec<Item>) -> Vec<Item> {
        items.extend(self.outline.into_iter().chain(self.references));
        items
    }

    fn parse(id: Digest, bytes: &[u8]) -> Option<(Self, Vec<Item>)> {
        let (fixed, rest) = bytes.split_at_checked(FIXED)?;
        let number = |at: usize| u64::from_le_bytes(fixed[at..at + 8].try_into().expect("eight bytes"));
        let short =
            |at: usize| u64::from(u32::from_le_bytes(fixed[at..at + 4].try_into().expect("four bytes")));
        if fixed[..4] != MANIFEST {
            return None;
        }
        let (kind, nar_hash, mut rest) = match fixed[4] {
            0 => (ObjectKind::Bytes, None, rest),
            1 => {
                let (nar_hash, rest) = rest.split_first_chunk()?;
                (ObjectKind::Nar, Some(Digest(*nar_hash)), rest)
            }
            2 => (ObjectKind::Tar, None, rest),
            _ => return None,
        };
        let (mut outline, mut references) = (None, None);
        for _ in 0..fixed[6] {
            let (attachment, after) = rest.split_at_checked(ATTACHMENT)?;
            let place = match attachment[0] {
                OUTLINE => &mut outline,
                REFERENCES => &mut references,
                _ => return None,
            };
            let height = attachment[1].checked_add(1)?;
            *place = Some(*read_items(&attachment[4..], height)?.first()?);
            rest = after;
        }
        let chunking = Options {
            min_size: short(56),
            avg_size: short(60),
            max_size: short(64),
            normalization: short(68),
            seed: number(72),
        };
        let hash = Digest(fixed[24..56].try_into().expect("32 bytes"));
        let (size, chunk_count) = (number(8), number(16));
        let manifest = Self { id, kind, size, chunk_count, hash, nar_hash, chunking, outline, references };
        let items = read_items(rest, fixed[5])?;
        let (bytes, chunks) = sums(&items)?;
        (bytes == manifest.size && chunks == manifest.chunk_count).then_some((manifest, items))
    }
}

/// Reads the node that an item of a height above 0 refers to.
pub(super) fn read_node(item: &Item, bytes: &[u8]) -> Result<Vec<Item>, StoreError> {
    let depth = item.height - 1;
    let items = bytes.strip_prefix(&NODE).and_then(|rest| {
        let (fixed, rest) = rest.split_at_checked(NODE_FIXED - 4)?;
        let items = if fixed[0] == depth { read_items(rest, depth)? } else { return None };
        (sums(&items)? == (item.bytes, item.chunks)).then_some(items)
    });
    items.ok_or_else(|| StoreError::corrupt(&format!("node {:?}", item.digest), None, "no_node"))
}

fn sums(items: &[Item]) -> Option<(u64, u64)> {
    items.iter().try_fold((0u64, 0u64), |(bytes, chunks), item| {
        Some((bytes.checked_add(item.bytes)?, chunks.checked_add(item.chunks)?))
    })
}
