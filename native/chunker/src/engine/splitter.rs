//! Scans an input block by block and makes work items of its chunks.
//!
//! Scanning has to follow the order of the input, so a pipeline has one splitter, which moves between
//! threads.

use std::collections::VecDeque;
use std::sync::Arc;

use super::boundaries::{Boundaries, FoundChunk, SCAN_STRETCH};
use super::work_item::{BlockPart, WORK_ITEM_BYTES, WorkItem};
use super::workers::yield_to_other_threads;
use crate::cdc::candidates::Candidates;
use crate::error::Error;
use crate::io::buffer_pool::{BLOCK_SIZE, Block};

pub(super) struct Splitter<A> {
    boundaries: Box<dyn Boundaries<A>>,
    /// The block that is being filled, and the number of bytes that are.
    open: Option<(Block, usize)>,
    /// The parts of closed blocks that are in no work item: the beginning of the current chunk.
    rest: VecDeque<BlockPart>,
    /// The chunks found in the open block.
    chunks: Vec<FoundChunk<A>>,
    /// The start of the first chunk that is in no work item yet, in bytes from the start of the input.
    offset: u64,
}

impl<A> Splitter<A> {
    pub(super) fn new(boundaries: Box<dyn Boundaries<A>>) -> Self {
        Self { boundaries, open: None, rest: VecDeque::new(), chunks: Vec::new(), offset: 0 }
    }

    /// Returns whether a block is open, so that bytes can be fed without another block.
    pub(super) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Opens an empty block.
    pub(super) fn open(&mut self, block: Block) {
        self.open = Some((block, 0));
    }

    /// Scans a block of which `count` bytes are filled, and returns its work items. `candidates` are those in
    /// the block, if they are known.
    pub(super) fn advance(
        &mut self,
        block: Block,
        count: usize,
        candidates: Option<&Candidates>,
    ) -> Result<Vec<WorkItem<A>>, Error> {
        self.scan(block, 0, count, candidates)?;
        Ok(self.close())
    }

    /// Calls `fill` to put bytes into the open block, and returns the work items and the number of bytes.
    /// With `prompt`, closes the block as soon as a chunk ends in it.
    pub(super) fn feed(
        &mut self,
        prompt: bool,
        fill: impl FnOnce(&mut [u8]) -> Result<usize, Error>,
    ) -> Result<(Vec<WorkItem<A>>, usize), Error> {
        let (mut block, filled) = self.open.take().expect("the caller has opened a block");
        let count = fill(&mut block[filled..])?;
        let end = filled + count;
        self.scan(block, filled, end, None)?;
        let full = end == BLOCK_SIZE || (prompt && !self.chunks.is_empty());
        Ok((if full { self.close() } else { Vec::new() }, count))
    }

    /// Ends the input and returns the last work items.
    pub(super) fn end(&mut self) -> Result<Vec<WorkItem<A>>, Error> {
        self.boundaries.finish(&mut self.chunks)?;
        Ok(self.close())
    }

    /// Scans the new bytes of the block, and opens it.
    fn scan(
        &mut self,
        block: Block,
        from: usize,
        end: usize,
        candidates: Option<&Candidates>,
    ) -> Result<(), Error> {
        // With candidates, scanning a whole block takes less time than a stretch without.
        let stretch = if candidates.is_some() { BLOCK_SIZE } else { SCAN_STRETCH };
        let mut done = from;
        while done < end {
            let stretch_end = end.min(done + stretch);
            let window = candidates.map(|candidates| candidates.window().behind(done));
            self.boundaries.feed(&block[done..stretch_end], window, &mut self.chunks)?;
            done = stretch_end;
            if done < end {
                yield_to_other_threads();
            }
        }
        self.open = Some((block, end));
        Ok(())
    }

    /// Closes the open block and makes work items of the chunks found in it.
    fn close(&mut self) -> Vec<WorkItem<A>> {
        if let Some((block, filled)) = self.open.take() {
            self.rest.push_back(BlockPart { block: Arc::new(block), range: 0..filled });
        }
        let mut items = Vec::new();
        let mut chunks = Vec::new();
        let mut bytes = 0;
        let mut found = std::mem::take(&mut self.chunks).into_iter().peekable();
        while let Some(chunk) = found.next() {
            bytes += chunk.length;
            chunks.push(chunk);
            if bytes >= WORK_ITEM_BYTES || found.peek().is_none() {
                let parts = self.split_off(bytes);
                items.push(WorkItem { offset: self.offset, chunks: std::mem::take(&mut chunks), parts });
                self.offset += bytes as u64;
                bytes = 0;
            }
        }
        items
    }

    /// Removes the first `bytes` bytes from the rest.
    fn split_off(&mut self, mut bytes: usize) -> Vec<BlockPart> {
        let mut parts = Vec::new();
        while bytes > 0 {
            let part = self.rest.front_mut().expect("chunks end within the scanned bytes");
            let length = part.range.len().min(bytes);
            bytes -= length;
            let end = part.range.start + length;
            if end < part.range.end {
                parts.push(BlockPart { block: Arc::clone(&part.block), range: part.range.start..end });
                part.range.start = end;
            } else {
                parts.extend(self.rest.pop_front());
            }
        }
        parts
    }

    /// Releases the blocks and returns those that no work item uses.
    pub(super) fn into_blocks(self) -> impl Iterator<Item = Block> {
        let rest = self.rest.into_iter().filter_map(|part| Arc::into_inner(part.block));
        rest.chain(self.open.map(|(block, _)| block))
    }
}
