//! What is known of each chunk of a NAR beyond where it is: the entries that it touches, and the store hashes that were
//! taken out of it.
//!
//! Both are found in front of the scanner, in the order of the NAR, and wait in a queue until the chunk ends that has them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::parser::{Kind, Node};
use super::path::{EntryPath, Paths};
use super::references::{LENGTH, Normalizer, Reference, Replaced};
use crate::engine::Filter;

/// Which annotations are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AnnotationOptions {
    /// The entries that a chunk touches.
    pub entries: bool,
    /// Store hashes are taken out of the NAR before it is chunked, as [`references`](super::references) does it, and each
    /// chunk comes with those that were in it.
    pub references: bool,
}

/// The annotation of a chunk, shared so that work on the chunk can keep it. `None` if there is none to make.
pub type ChunkAnnotation = Option<Arc<Annotation>>;

/// What is known of a chunk; a field is `None` if it was not asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Annotation {
    /// The entries that it touches, in their order.
    pub entries: Option<Vec<EntryPart>>,
    /// What was taken out of it, in ascending order of positions.
    pub references: Option<Vec<Replaced>>,
}

/// The part of an entry that is in a chunk.
///
/// A chunk touches an entry if it holds some of its contents, or the end of its head: the byte before the contents of a file, and
/// the one by which it is known what a directory is or where a link leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryPart {
    /// That of the entry.
    pub path: EntryPath,
    /// Where this part begins, in bytes from the start of the file's contents. 0 for a directory or link.
    pub offset: u64,
    /// How many bytes of the contents it has; 0 if the chunk has none of them.
    pub length: usize,
    /// Where they are in the chunk, in bytes from its start.
    pub position: usize,
}

/// The entries that the parser has come to and that no chunk has had to its end.
#[derive(Debug, Clone, Default)]
pub(super) struct Entries {
    paths: Paths,
    /// In the order of the NAR.
    entries: VecDeque<EntrySpan>,
}

/// Where an entry is: the last byte of its head, and its contents.
#[derive(Debug, Clone)]
struct EntrySpan {
    path: EntryPath,
    /// Where the contents begin.
    start: u64,
    end: u64,
}

impl Entries {
    /// Adds the entry whose head ends at `offset`.
    pub(super) fn add(&mut self, node: &Node<'_>, offset: u64) {
        let path = self.paths.next(node);
        let size = if let Kind::Regular { size, .. } = node.kind { size } else { 0 };
        self.entries.push_back(EntrySpan { path, start: offset, end: offset + size });
    }

    /// Takes the parts in the next chunk, which is that at `start..end`.
    pub(super) fn take(&mut self, start: u64, end: u64) -> Vec<EntryPart> {
        let mut parts = Vec::new();
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
            let path = self.entries.pop_front().expect("it is the first").path;
            parts.push(EntryPart { path, offset, length, position });
        }
        parts
    }
}

/// Takes store hashes out of a NAR and sends them on. A hash is sent before its last bytes come out of the filter, so that it
/// is there when the chunk that has them ends.
struct ReferenceFilter {
    normalizer: Normalizer,
    sender: Sender<Vec<Reference>>,
}

/// The store hashes that were taken out of the NAR and that no chunk has had to its end.
pub(super) struct ReferenceTable {
    receiver: Receiver<Vec<Reference>>,
    /// In ascending order of positions.
    references: VecDeque<Reference>,
}

/// Makes a filter that takes store hashes out, and the table that it fills.
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
            // Without a receiver, the work has been cancelled.
            let _ = self.sender.send(references);
        }
    }

    fn finish(&mut self, output: &mut Vec<u8>) {
        self.normalizer.finish(|bytes| output.extend_from_slice(bytes));
    }
}

impl ReferenceTable {
    /// Takes what was in the next chunk, which is that at `start..end`.
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
