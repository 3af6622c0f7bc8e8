//! What threads hand to each other: chunks that follow each other, with the blocks that hold their bytes.

use std::ops::Range;
use std::sync::Arc;

use super::chunk::ChunkBytes;
use crate::Cancel;
use crate::io::buffer_pool::Block;

/// A part of a block that jobs share. When the last of them is done, the block is filled anew.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) block: Arc<Block>,
    pub(super) range: Range<usize>,
}

/// Chunks that follow each other.
#[derive(Debug)]
pub(super) struct WorkItem {
    /// Where the first one begins, in bytes from the start of the input.
    pub(super) offset: u64,
    pub(super) lengths: Vec<usize>,
    /// Their bytes: as many as the lengths in sum.
    pub(super) parts: Vec<Part>,
}

impl WorkItem {
    /// The bytes of all its chunks.
    pub(super) fn bytes(&self) -> usize {
        self.lengths.iter().sum()
    }

    /// Calls `work` for each chunk.
    pub(super) fn run<T>(&self, work: &dyn Fn(&ChunkBytes<'_>) -> T, is_cancelled: Cancel<'_>) -> Vec<T> {
        let mut bytes = self.parts.iter().map(|part| &part.block[part.range.clone()]);
        let mut current: &[u8] = &[];
        let mut slices = Vec::new();
        let mut offset = self.offset;
        let mut results = Vec::with_capacity(self.lengths.len());
        for &length in &self.lengths {
            slices.clear();
            let mut missing = length;
            while missing > 0 {
                if current.is_empty() {
                    current = bytes.next().expect("a job has the bytes of its chunks");
                }
                let (slice, rest) = current.split_at(current.len().min(missing));
                slices.push(slice);
                current = rest;
                missing -= slice.len();
            }
            results.push(work(&ChunkBytes { offset, length, slices: &slices, is_cancelled, note: None }));
            offset += length as u64;
        }
        results
    }

    /// Gives its share of the blocks up: those come out of which nobody else has one.
    pub(super) fn into_blocks(self) -> impl Iterator<Item = Block> {
        self.parts.into_iter().filter_map(|part| Arc::into_inner(part.block))
    }
}
