//! Reads an input into blocks.

use super::workers::yield_to_other_threads;
use crate::Cancel;
use crate::cdc::candidates::Candidates;
use crate::error::Error;
use crate::io::buffer_pool::Block;
use crate::io::source::{SOURCE_WAIT, Source};

/// The size of one read, in bytes. Linux copies pieces that fit into the L1 and L2 caches of a core 1.5 times
/// as fast as longer ones. Between two reads, the thread yields.
const READ_SIZE: usize = 64 << 10;

/// Holds a block of the input.
pub(super) struct ReadBlock {
    pub(super) block: Block,
    /// The number of bytes that are filled: all, except at the end of the input and on a failure.
    pub(super) count: usize,
    /// What follows the block.
    pub(super) after: Tail,
    pub(super) lookahead: Lookahead,
}

/// The candidates in a block that is not scanned yet.
pub(super) enum Lookahead {
    Unknown,
    /// There are too many to speed up the scan.
    Refused,
    Known(Candidates),
}

/// What follows a block.
pub(super) enum Tail {
    More,
    End,
    Failure(Error),
}

/// Fills a block. Less than a full block is read only at the end of the input and on a failure.
pub(super) fn fill(source: &mut dyn Source, mut block: Block, is_cancelled: Cancel<'_>) -> ReadBlock {
    let mut count = 0;
    let after = read_whole(source, &mut block, &mut count, is_cancelled);
    ReadBlock { block, count, after, lookahead: Lookahead::Unknown }
}

fn read_whole(
    source: &mut dyn Source,
    block: &mut [u8],
    count: &mut usize,
    is_cancelled: Cancel<'_>,
) -> Tail {
    while *count < block.len() {
        if is_cancelled() {
            return Tail::Failure(Error::Cancelled);
        }
        yield_to_other_threads();
        let end = block.len().min(*count + READ_SIZE);
        match source.read(&mut block[*count..end]) {
            Ok(Some(0)) => return Tail::End,
            Ok(Some(read)) => *count += read,
            Ok(None) => {
                source.wait(SOURCE_WAIT);
            }
            Err(error) => return Tail::Failure(error),
        }
    }
    Tail::More
}
