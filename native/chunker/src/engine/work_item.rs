//! Defines the unit of work that threads pass to each other: consecutive chunks, with the blocks that hold
//! their bytes.

use std::ops::Range;
use std::sync::Arc;

use super::boundaries::FoundChunk;
use super::chunk::ChunkBytes;
use crate::Cancel;
use crate::io::buffer_pool::Block;

/// The minimum size of a work item, in bytes, except at the end of a block. Passing one on costs about 1
/// microsecond, and hashing this much about 100.
pub(super) const WORK_ITEM_BYTES: usize = 256 << 10;

/// A part of a block that several work items may share. The block is reused once the last of them is done.
#[derive(Debug)]
pub(super) struct BlockPart {
    pub(super) block: Arc<Block>,
    pub(super) range: Range<usize>,
}

/// Holds consecutive chunks and their bytes.
#[derive(Debug)]
pub(super) struct WorkItem<A> {
    /// The start of the first chunk, in bytes from the start of the input.
    pub(super) offset: u64,
    pub(super) chunks: Vec<FoundChunk<A>>,
    /// The bytes of all chunks, in order.
    pub(super) parts: Vec<BlockPart>,
}

impl<A> WorkItem<A> {
    /// Returns the number of bytes of all chunks.
    pub(super) fn bytes(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.length).sum()
    }

    /// Calls `work` for each chunk and returns the results in order.
    pub(super) fn run<T>(&self, work: &dyn Fn(&ChunkBytes<'_, A>) -> T, is_cancelled: Cancel<'_>) -> Vec<T> {
        let mut bytes = self.parts.iter().map(|part| &part.block[part.range.clone()]);
        let mut current: &[u8] = &[];
        let mut slices = Vec::new();
        let mut offset = self.offset;
        let mut results = Vec::with_capacity(self.chunks.len());
        for &FoundChunk { length, ref annotation } in &self.chunks {
            slices.clear();
            let mut missing = length;
            while missing > 0 {
                if current.is_empty() {
                    current = bytes.next().expect("a work item has the bytes of its chunks");
                }
                let (slice, rest) = current.split_at(current.len().min(missing));
                slices.push(slice);
                current = rest;
                missing -= slice.len();
            }
            results.push(work(&ChunkBytes { offset, length, slices: &slices, is_cancelled, annotation }));
            offset += length as u64;
        }
        results
    }

    /// Releases this item's references and returns the blocks that it held last.
    pub(super) fn into_blocks(self) -> impl Iterator<Item = Block> {
        self.parts.into_iter().filter_map(|part| Arc::into_inner(part.block))
    }
}
