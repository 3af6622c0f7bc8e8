//! What threads hand to each other: consecutive chunks, with the blocks that hold their bytes.

use std::ops::Range;
use std::sync::Arc;

use super::boundaries::FoundChunk;
use super::chunk::ChunkBytes;
use crate::Cancel;
use crate::io::buffer_pool::Block;

/// The least that is handed to a thread at once, in bytes: handing over costs about a microsecond, and so many bytes are
/// hashed in a hundred.
pub(super) const WORK_ITEM_BYTES: usize = 256 << 10;

/// A part of a block that work items share. When the last of them is done, the block is filled again.
#[derive(Debug)]
pub(super) struct BlockPart {
    pub(super) block: Arc<Block>,
    pub(super) range: Range<usize>,
}

/// Consecutive chunks.
#[derive(Debug)]
pub(super) struct WorkItem<A> {
    /// Where the first one begins, in bytes from the start of the input.
    pub(super) offset: u64,
    pub(super) chunks: Vec<FoundChunk<A>>,
    /// Their bytes: as many as the lengths in sum.
    pub(super) parts: Vec<BlockPart>,
}

impl<A> WorkItem<A> {
    /// Returns how many bytes all its chunks have.
    pub(super) fn bytes(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.length).sum()
    }

    /// Calls `work` for each chunk.
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
