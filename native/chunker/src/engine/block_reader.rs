//! Reading an input into blocks.

use super::reader::PATIENCE;
use crate::GiveUp;
use crate::cdc::candidates::Marks;
use crate::engine::workers::polite;
use crate::error::Error;
use crate::io::buffer_pool::Block;
use crate::io::source::Source;

/// What is read at once, in bytes. Linux copies pieces that fit into the core's first caches half as fast again as longer
/// ones, and other threads may have the core in between.
const AT_ONCE: usize = 64 << 10;

/// A block of the input.
pub(super) struct Filled {
    pub(super) block: Block,
    /// How many bytes of the block are filled; all of them, except at the end.
    pub(super) count: usize,
    /// What comes after it.
    pub(super) after: After,
    pub(super) marking: Marking,
}

/// What is known of the marks in a block.
pub(super) enum Marking {
    Undone,
    /// Nobody need try again.
    InVain,
    Done(Marks),
}

/// What comes after a block.
pub(super) enum After {
    More,
    End,
    Failure(Error),
}

/// Fills a block.
pub(super) fn fill(source: &mut dyn Source, mut block: Block, give_up: GiveUp<'_>) -> Filled {
    let mut count = 0;
    let after = read_whole(source, &mut block, &mut count, give_up);
    Filled { block, count, after, marking: Marking::Undone }
}

fn read_whole(source: &mut dyn Source, block: &mut [u8], count: &mut usize, give_up: GiveUp<'_>) -> After {
    while *count < block.len() {
        if give_up() {
            return After::Failure(Error::Cancelled);
        }
        polite();
        let end = block.len().min(*count + AT_ONCE);
        match source.read(&mut block[*count..end]) {
            Ok(Some(0)) => return After::End,
            Ok(Some(read)) => *count += read,
            Ok(None) => {
                source.wait(PATIENCE);
            }
            Err(error) => return After::Failure(error),
        }
    }
    After::More
}
