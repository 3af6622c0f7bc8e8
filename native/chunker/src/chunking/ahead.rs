//! Reading ahead: whichever thread has nothing better to do reads the next block of an input.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::reader::PATIENCE;
use crate::GiveUp;
use crate::error::Error;
use crate::source::Source;

/// How many blocks are read ahead. With one, the reader would wait for the scanner now and then, and with more than two
/// what was read would leave the cache before it is scanned.
const MOST: usize = 2;

/// The part of an input that has been read and not been scanned.
pub(super) struct Ahead {
    state: Mutex<State>,
    /// Notified when a block was filled.
    filled: Condvar,
}

struct State {
    /// `None` while a thread reads it, and after its end.
    source: Option<Box<dyn Source + Send>>,
    reading: bool,
    empty: Vec<Box<[u8]>>,
    filled: VecDeque<Filled>,
}

/// A block of the input.
pub(super) struct Filled {
    pub(super) block: Box<[u8]>,
    /// How many bytes of the block are filled; all of them, except at the end.
    pub(super) count: usize,
    /// What comes after it.
    pub(super) after: After,
}

/// What comes after a block.
pub(super) enum After {
    More,
    End,
    Failure(Error),
    Panic(Box<dyn Any + Send>),
}

impl Ahead {
    pub(super) fn new(source: Box<dyn Source + Send>) -> Self {
        let state =
            State { source: Some(source), reading: false, empty: Vec::new(), filled: VecDeque::new() };
        Self { state: Mutex::new(state), filled: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The lock is never held while foreign code runs.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many more blocks there should be, empty or filled.
    pub(super) fn wants(&self) -> usize {
        let state = self.lock();
        let ended = state.source.is_none() && !state.reading;
        let there = state.empty.len() + state.filled.len() + usize::from(state.reading);
        if ended { 0 } else { MOST.saturating_sub(there) }
    }

    /// Adds an empty block.
    pub(super) fn add(&self, block: Box<[u8]>) {
        self.lock().empty.push(block);
    }

    /// The next block that was filled.
    pub(super) fn take(&self) -> Option<Filled> {
        self.lock().filled.pop_front()
    }

    /// Waits for a thread that reads a block, but no longer than `patience`.
    pub(super) fn wait(&self, patience: Duration) {
        let state = self.lock();
        if state.filled.is_empty() && state.reading {
            drop(self.filled.wait_timeout(state, patience));
        }
    }

    /// Reads a block, unless another thread is about to or there is no place for it. Tells whether it did.
    pub(super) fn fill(&self, give_up: GiveUp<'_>) -> bool {
        let mut state = self.lock();
        let Some(mut source) = state.source.take() else { return false };
        let Some(mut block) = state.empty.pop() else {
            state.source = Some(source);
            return false;
        };
        state.reading = true;
        drop(state);
        let mut count = 0;
        let read = AssertUnwindSafe(|| read_whole(&mut *source, &mut block, &mut count, give_up));
        let after = catch_unwind(read).unwrap_or_else(After::Panic);
        let mut state = self.lock();
        state.reading = false;
        state.source = matches!(after, After::More).then_some(source);
        state.filled.push_back(Filled { block, count, after });
        drop(state);
        self.filled.notify_all();
        true
    }
}

fn read_whole(source: &mut dyn Source, block: &mut [u8], count: &mut usize, give_up: GiveUp<'_>) -> After {
    while *count < block.len() {
        if give_up() {
            return After::Failure(Error::Cancelled);
        }
        match source.read(&mut block[*count..]) {
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

impl fmt::Debug for Ahead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ahead").finish_non_exhaustive()
    }
}
