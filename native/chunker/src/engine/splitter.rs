//! The front of an input: where bytes are scanned, one after the other.
//!
//! It moves from thread to thread; whichever has it turns the next block into jobs.

use std::collections::VecDeque;
use std::sync::Arc;

use super::boundaries::Boundaries;
use super::work_item::{Part, WorkItem};
use super::{SCAN_STRETCH, WORK_ITEM_BYTES};
use crate::cdc::candidates::Candidates;
use crate::engine::workers::yield_to_other_threads;
use crate::error::Error;
use crate::io::buffer_pool::{BLOCK_SIZE, Block};
use crate::nar::NarError;

pub(super) struct Splitter {
    finder: Boundaries,
    /// The block that is being filled, and how far.
    open: Option<(Block, usize)>,
    /// What is left of closed blocks: the beginning of the chunk that the scanner is in.
    rest: VecDeque<Part>,
    /// The lengths of the chunks that end in the open block.
    cuts: Vec<usize>,
    /// Where the next chunk to be handed out begins.
    offset: u64,
}

impl Splitter {
    pub(super) fn new(finder: Boundaries) -> Self {
        Self { finder, open: None, rest: VecDeque::new(), cuts: Vec::new(), offset: 0 }
    }

    /// Whether a block is open, so that bytes can be put in without another one.
    pub(super) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Opens a block, which is empty.
    pub(super) fn open(&mut self, block: Block) {
        self.open = Some((block, 0));
    }

    /// Takes in a block of which `count` bytes are filled, with its marks if they are known.
    pub(super) fn advance(
        &mut self,
        block: Block,
        count: usize,
        marks: Option<&Candidates>,
    ) -> Result<Vec<WorkItem>, NarError> {
        self.scan(block, 0, count, marks)?;
        Ok(self.close())
    }

    /// Lets `fill` put bytes into the open block; it tells how many. With `prompt`, a block in which a chunk ends is
    /// closed at once.
    pub(super) fn feed(
        &mut self,
        prompt: bool,
        fill: impl FnOnce(&mut [u8]) -> Result<usize, Error>,
    ) -> Result<(Vec<WorkItem>, usize), Error> {
        let (mut block, filled) = self.open.take().expect("a block was opened");
        let count = fill(&mut block[filled..])?;
        let end = filled + count;
        self.scan(block, filled, end, None)?;
        let full = end == BLOCK_SIZE || (prompt && !self.cuts.is_empty());
        Ok((if full { self.close() } else { Vec::new() }, count))
    }

    /// Ends the input.
    pub(super) fn end(&mut self) -> Result<Vec<WorkItem>, NarError> {
        self.cuts.extend(self.finder.finish()?);
        Ok(self.close())
    }

    /// Scans what is new in the block, which is then the open one.
    fn scan(
        &mut self,
        block: Block,
        from: usize,
        end: usize,
        marks: Option<&Candidates>,
    ) -> Result<(), NarError> {
        // With marks, a whole block costs less than a stretch.
        let at_once = if marks.is_some() { BLOCK_SIZE } else { SCAN_STRETCH };
        let mut done = from;
        while done < end {
            let stretch_end = end.min(done + at_once);
            while let Some(cut) =
                self.finder.feed(&block[done..stretch_end], marks.map(|marks| marks.ahead().behind(done)))?
            {
                done += cut.consumed;
                self.cuts.push(cut.length);
            }
            done = stretch_end;
            if done < end {
                yield_to_other_threads();
            }
        }
        self.open = Some((block, end));
        Ok(())
    }

    /// Closes the open block and makes jobs of the chunks that end in it.
    fn close(&mut self) -> Vec<WorkItem> {
        if let Some((block, filled)) = self.open.take() {
            self.rest.push_back(Part { block: Arc::new(block), range: 0..filled });
        }
        let mut jobs = Vec::new();
        let mut lengths = Vec::new();
        let mut bytes = 0;
        let cuts = std::mem::take(&mut self.cuts);
        let last = cuts.len();
        for (i, length) in cuts.into_iter().enumerate() {
            lengths.push(length);
            bytes += length;
            if bytes >= WORK_ITEM_BYTES || i + 1 == last {
                let parts = self.split_off(bytes);
                jobs.push(WorkItem { offset: self.offset, lengths: std::mem::take(&mut lengths), parts });
                self.offset += bytes as u64;
                bytes = 0;
            }
        }
        jobs
    }

    /// The first `bytes` bytes of the rest.
    fn split_off(&mut self, mut bytes: usize) -> Vec<Part> {
        let mut parts = Vec::new();
        while bytes > 0 {
            let part = self.rest.front_mut().expect("no more is cut than was scanned");
            let length = part.range.len().min(bytes);
            bytes -= length;
            let end = part.range.start + length;
            if end < part.range.end {
                parts.push(Part { block: Arc::clone(&part.block), range: part.range.start..end });
                part.range.start = end;
            } else {
                parts.extend(self.rest.pop_front());
            }
        }
        parts
    }

    /// Gives the blocks up that nobody else uses.
    pub(super) fn into_blocks(self) -> impl Iterator<Item = Block> {
        let rest = self.rest.into_iter().filter_map(|part| Arc::into_inner(part.block));
        rest.chain(self.open.map(|(block, _)| block))
    }
}
