//! Reads an input into blocks.

use super::workers::yield_to_other_threads;
use crate::Cancel;
use crate::cdc::candidates::Candidates;
use crate::error::Error;
use crate::io::buffer_pool::Block;
use crate::io::source::{SOURCE_WAIT, Source};

/// What is read at once, in bytes. Linux copies pieces that fit into the first caches of a core 1.5 times as fast as longer
/// ones, and other threads may have the core in between.
const READ_SIZE: usize = 64 << 10;

/// A block of the input.
pub(super) struct ReadBlock {
    pub(super) block: Block,
    /// How many bytes of the block are filled; all of them, except at the end.
    pub(super) count: usize,
    /// What comes after it.
    pub(super) after: Tail,
    pub(super) lookahead: Lookahead,
}

/// What is known of the candidates in a block before it is scanned.
pub(super) enum Lookahead {
    Unknown,
    /// They are too many to be worth it.
    Refused,
    Known(Candidates),
}

/// What comes after a block.
pub(super) enum Tail {
    More,
    End,
    Failure(Error),
}

/// Fills a block.
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
