//! The memory that input is read into: blocks of one size that are filled again and again.
//!
//! After the first round no page of memory is a fresh one, which would cost more than the work on it. For the same reason
//! some blocks are kept for the next input.

use std::sync::{Mutex, PoisonError};

use crate::io::aligned_buffer::Buffer;

/// The size of a block. Small enough that what was read is still in the core's own cache when it is scanned, large enough
/// that calls and locks do not count.
pub(crate) const BLOCK_SIZE: usize = 256 << 10;

/// How many blocks are kept while nothing is chunked: what one call with default options uses.
const MOST_SPARE: usize = (10 << 20) / BLOCK_SIZE;

static SPARE: Mutex<Vec<Block>> = Mutex::new(Vec::new());

pub(crate) type Block = Buffer;

/// The blocks of one input that are empty, and those that may yet be made.
#[derive(Debug)]
pub(crate) struct Blocks {
    free: Vec<Block>,
    unmade: usize,
}

impl Blocks {
    /// At most `most` blocks.
    pub(crate) const fn new(most: usize) -> Self {
        Self { free: Vec::new(), unmade: most }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.free.is_empty() && self.unmade == 0
    }

    /// An empty block, unless all are in use.
    pub(crate) fn take(&mut self) -> Option<Block> {
        if let Some(block) = self.free.pop() {
            return Some(block);
        }
        self.unmade = self.unmade.checked_sub(1)?;
        let spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Some(spare.unwrap_or_else(|| Buffer::new(BLOCK_SIZE)))
    }

    /// Takes blocks back whose content has been worked on.
    pub(crate) fn give_back(&mut self, blocks: impl IntoIterator<Item = Block>) {
        self.free.extend(blocks);
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MOST_SPARE.saturating_sub(spare.len());
        spare.extend(self.free.drain(..).take(room));
    }
}
