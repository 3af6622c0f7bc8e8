//! Annotates each chunk of a NAR with the entries in it and the store hashes that were removed from it.
//!
//! Both are found before the chunk is complete, in the order of the NAR, and are queued until it is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::limits::{EntryBudget, EntryLimits};
use super::parser::{Kind, Node};
use super::path::{EntryPath, Paths};
use super::references::{LENGTH, Normalizer, Reference, Replaced};
use crate::engine::Filter;
use crate::error::Error;
use crate::io::output_buffer::OutOfMemory;

/// Selects the annotations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AnnotationOptions {
    /// Whether to list the entries in each chunk.
    pub entries: bool,
    /// Whether to replace store hashes in the NAR before it is chunked, as [`references`](super::references)
    /// does, and to list those of each chunk.
    pub references: bool,
    /// The limits for the entries of the whole NAR, if they are listed.
    pub limits: EntryLimits,
}

/// The annotation of a chunk, shared so that the work on the chunk can keep it. `None` if no annotation is
/// selected.
pub type ChunkAnnotation = Option<Arc<Annotation>>;

/// Holds the annotations of a chunk. A field is `None` if it is not selected.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Annotation {
    /// The entries in the chunk, in the order of the NAR.
    pub entries: Option<Vec<EntryPart>>,
    /// The replaced hashes of the chunk, in ascending order of positions.
    pub references: Option<Vec<Replaced>>,
}

/// Describes the part of an entry in a chunk.
///
/// An entry is in a chunk if some of its contents are, or the last byte of its head: the byte before the
/// contents of a file, or the byte that completes a directory's type or a link's target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryPart {
    /// The path of the entry.
    pub path: EntryPath,
    /// The start of this part, in bytes from the start of the file's contents. 0 for a directory or link.
    pub offset: u64,
    /// The number of bytes of the contents in the chunk. 0 if it has only the head.
    pub length: usize,
    /// The start of these bytes in the chunk, in bytes.
    pub position: usize,
}

/// Holds the entries that the parser has found and that no chunk has reached the end of.
#[derive(Debug, Clone, Default)]
pub(super) struct Entries {
    budget: EntryBudget,
    paths: Paths,
    /// In the order of the NAR.
    entries: VecDeque<EntrySpan>,
}

/// The position of an entry: the end of its head, and the end of its contents.
#[derive(Debug, Clone)]
struct EntrySpan {
    path: EntryPath,
    /// The start of the contents.
    start: u64,
    end: u64,
}

impl Entries {
    pub(super) fn new(limits: EntryLimits) -> Self {
        Self { budget: EntryBudget::new(limits), ..Self::default() }
    }

    /// Adds the entry whose head ends at `offset`.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Limit`] for more entries than the limits allow, and does not add it.
    pub(super) fn add(&mut self, node: &Node<'_>, offset: u64) -> Result<(), Error> {
        self.budget.take(node)?;
        self.entries.try_reserve(1).map_err(|_| OutOfMemory)?;
        let path = self.paths.next(node);
        let size = if let Kind::Regular { size, .. } = node.kind { size } else { 0 };
        self.entries.push_back(EntrySpan { path, start: offset, end: offset + size });
        Ok(())
    }

    /// Takes the parts in the next chunk, which is at `start..end`.
    pub(super) fn take(&mut self, start: u64, end: u64) -> Vec<EntryPart> {
        let count = self.entries.iter().take_while(|entry| entry.start <= end).count();
        let mut parts = Vec::with_capacity(count);
        while let Some(entry) = self.entries.front()
            // The last byte of the head is in the chunk, or before it.
            && entry.start <= end
        {
            let (from, to) = (entry.start.max(start), entry.end.min(end));
            let (offset, length) = (from - entry.start, (to - from) as usize);
            let position = (from - start) as usize;
            if entry.end > end {
                parts.push(EntryPart { path: entry.path.clone(), offset, length, position });
                break;
            }
            let path = self.entries.pop_front().expect("front() has returned it").path;
            parts.push(EntryPart { path, offset, length, position });
        }
        parts
    }
}

/// Replaces store hashes in a NAR and sends them to the [`ReferenceTable`]. Sends each hash before it emits
/// the hash's last bytes, so that the table has it when a chunk with these bytes ends.
struct ReferenceFilter {
    normalizer: Normalizer,
    sender: Sender<Vec<Reference>>,
}

/// Holds the replaced store hashes that no chunk has reached the end of.
pub(super) struct ReferenceTable {
    receiver: Receiver<Vec<Reference>>,
    /// In ascending order of positions.
    references: VecDeque<Reference>,
}

/// Creates a filter that replaces store hashes, and the table that it fills.
pub(super) fn reference_filter() -> (Box<dyn Filter>, ReferenceTable) {
    let (sender, receiver) = channel();
    let filter = ReferenceFilter { normalizer: Normalizer::new(), sender };
    (Box::new(filter), ReferenceTable { receiver, references: VecDeque::new() })
}

impl Filter for ReferenceFilter {
    fn feed(&mut self, piece: &[u8], output: &mut Vec<u8>) {
        self.normalizer.feed(piece, |bytes| output.extend_from_slice(bytes));
        let references = self.normalizer.take_references();
        if !references.is_empty() {
            // There is no receiver if the work has been cancelled.
            let _ = self.sender.send(references);
        }
    }

    fn finish(&mut self, output: &mut Vec<u8>) {
        self.normalizer.finish(|bytes| output.extend_from_slice(bytes));
    }
}

impl ReferenceTable {
    /// Takes the hashes in the next chunk, which is at `start..end`.
    pub(super) fn take(&mut self, start: u64, end: u64) -> Vec<Replaced> {
        self.references.extend(self.receiver.try_iter().flatten());
        let mut replaced = Vec::new();
        while let Some(&Reference { position, hash }) = self.references.front()
            && position < end
        {
            let hash_end = position + LENGTH as u64;
            let (from, to) = (position.max(start), hash_end.min(end));
            let characters = hash[(from - position) as usize..(to - position) as usize].to_vec();
            replaced.push(Replaced { position: (from - start) as usize, characters });
            if hash_end > end {
                break;
            }
            self.references.pop_front();
        }
        replaced
    }
}
