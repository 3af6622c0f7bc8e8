//! A buffer pool for reading input: blocks of one size that are reused.
//!
//! A fresh page costs more than the work on its content, so an input refills its blocks, and some blocks are
//! kept for the next input: a file of as many blocks as are kept is read at 12.1 GiB/s into these, and at 1.4
//! GiB/s into new ones (`cargo bench -p chunker --bench chunking -- blocks`, commit 8d7a283).

use std::sync::{Mutex, PoisonError};

use crate::io::aligned_buffer::Buffer;

/// The size of a block, in bytes: small enough that a block is still in the core's own cache when it is
/// scanned, large enough to amortize system calls and locks.
pub(crate) const BLOCK_SIZE: usize = 256 << 10;

/// The most blocks kept while no input is open: as many as one call with default options uses.
const MAX_SPARE: usize = (10 << 20) / BLOCK_SIZE;

static SPARE: Mutex<Vec<Block>> = Mutex::new(Vec::new());

pub(crate) type Block = Buffer;

/// Holds the empty blocks of one input, and the number that may still be allocated.
#[derive(Debug)]
pub(crate) struct Blocks {
    free: Vec<Block>,
    unallocated: usize,
}

impl Blocks {
    /// Creates a pool of at most `most` blocks.
    pub(crate) const fn new(most: usize) -> Self {
        Self { free: Vec::new(), unallocated: most }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.free.is_empty() && self.unallocated == 0
    }

    /// Returns an empty block, or `None` if all are in use.
    pub(crate) fn take(&mut self) -> Option<Block> {
        if let Some(block) = self.free.pop() {
            return Some(block);
        }
        self.unallocated = self.unallocated.checked_sub(1)?;
        let spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Some(spare.unwrap_or_else(|| Buffer::new(BLOCK_SIZE)))
    }

    /// Returns processed blocks to the pool.
    pub(crate) fn give_back(&mut self, blocks: impl IntoIterator<Item = Block>) {
        self.free.extend(blocks);
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MAX_SPARE.saturating_sub(spare.len());
        spare.extend(self.free.drain(..).take(room));
    }
}
