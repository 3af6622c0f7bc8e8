//! Chunking bytes that are in memory: nothing is copied.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::{Scope, ThreadPool};

use super::chunk::ChunkBytes;
use super::cuts::Cuts;
use super::{Chunking, GROUP};
use crate::GiveUp;
use crate::error::Error;
use crate::nar::NarError;
use crate::workers::{Workers, polite};

impl<T: Send, W: Fn(&ChunkBytes<'_>) -> T + Sync> Chunking<W> {
    /// Chunks `data` and gives the results in order. Time and memory are linear in `data` and in the number of chunks;
    /// `data` itself is not copied.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`] when `give_up` says so, and [`Error::Nar`] when this is to be a NAR and is none.
    ///
    /// # Panics
    ///
    /// When the work on a chunk panics, with its message.
    pub fn slice(&self, data: &[u8], give_up: GiveUp<'_>) -> Result<Vec<T>, Error> {
        let ranges = Ranges { cuts: self.cuts.clone(), data, scanned: 0, offset: 0 };
        match self.workers.pool() {
            Some(pool) if data.len() > 2 * GROUP => self.shared(pool, ranges, give_up),
            _ => {
                let mut results = Vec::new();
                for range in ranges {
                    let range = range?;
                    // Asking costs little beside a chunk of usual size, but not beside one of 64 bytes.
                    if range.start / GROUP != range.end / GROUP && give_up() {
                        return Err(Error::Cancelled);
                    }
                    results.push(self.run(data, range, give_up));
                }
                Ok(results)
            }
        }
    }

    fn run(&self, data: &[u8], range: Range<usize>, give_up: GiveUp<'_>) -> T {
        (self.work)(&ChunkBytes {
            offset: range.start as u64,
            length: range.len(),
            slices: &[&data[range]],
            give_up,
        })
    }

    /// The calling thread scans; chunks go to the helpers in groups, and to the caller when they fall behind.
    fn shared(
        &self,
        pool: &ThreadPool,
        mut ranges: Ranges<'_>,
        give_up: GiveUp<'_>,
    ) -> Result<Vec<T>, Error> {
        let data = ranges.data;
        let board = Mutex::new(Board { queue: VecDeque::new(), helpers: 0, results: Vec::new() });
        // What helpers ask, who may not ask the caller's own question.
        let stopped = AtomicBool::new(false);
        let run = |(place, group): Group, give_up: GiveUp<'_>| {
            let results = group.into_iter().map(|range| self.run(data, range, give_up)).collect();
            lock(&board).results[place] = results;
        };
        let help = |group| run(group, &|| stopped.load(Ordering::Relaxed));
        let stop = |error| {
            stopped.store(true, Ordering::Relaxed);
            lock(&board).queue.clear();
            Err(error)
        };
        pool.in_place_scope(|scope| {
            let mut group = Vec::new();
            loop {
                if give_up() {
                    return stop(Error::Cancelled);
                }
                let range = match ranges.next().transpose() {
                    Ok(range) => range,
                    Err(error) => return stop(error.into()),
                };
                let ended = range.is_none();
                group.extend(range);
                let bytes =
                    group.last().map_or(0, |last| last.end) - group.first().map_or(0, |first| first.start);
                if bytes >= GROUP || (ended && bytes > 0) {
                    let behind = hand_out(scope, &board, self.workers, std::mem::take(&mut group), &help);
                    if behind && let Some(group) = take_newest(&board) {
                        run(group, give_up);
                    }
                }
                if ended {
                    break;
                }
            }
            while let Some(group) = take_newest(&board) {
                if give_up() {
                    return stop(Error::Cancelled);
                }
                run(group, give_up);
            }
            Ok(())
        })?;
        let board = board.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(board.results.into_iter().flatten().collect())
    }
}

/// Chunks that are worked on together, and the place of their results.
type Group = (usize, Vec<Range<usize>>);

struct Board<T> {
    queue: VecDeque<Group>,
    /// The helpers that are at work or about to be.
    helpers: usize,
    results: Vec<Vec<T>>,
}

fn lock<T>(board: &Mutex<Board<T>>) -> std::sync::MutexGuard<'_, Board<T>> {
    // The lock is never held while foreign code runs, so that a panic leaves the board as it should be.
    board.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The group that was scanned last, whose bytes this thread's cache still holds.
fn take_newest<T>(board: &Mutex<Board<T>>) -> Option<Group> {
    lock(board).queue.pop_back()
}

/// Queues a group and sees to it that a helper comes for it. Tells whether the helpers have fallen behind.
fn hand_out<'scope, T: Send>(
    scope: &Scope<'scope>,
    board: &'scope Mutex<Board<T>>,
    workers: Workers,
    group: Vec<Range<usize>>,
    help: &'scope (impl Fn(Group) + Sync),
) -> bool {
    let mut state = lock(board);
    let place = state.results.len();
    state.results.push(Vec::new());
    state.queue.push_back((place, group));
    let helper = if state.helpers < workers.most_helpers() { workers.recruit() } else { None };
    state.helpers += usize::from(helper.is_some());
    let behind = state.queue.len() > 2 * state.helpers;
    drop(state);
    if let Some(helper) = helper {
        scope.spawn(move |_| {
            loop {
                polite();
                let mut state = lock(board);
                let Some(group) = state.queue.pop_front() else {
                    state.helpers -= 1;
                    drop(helper);
                    return;
                };
                drop(state);
                help(group);
            }
        });
    }
    behind
}

/// The chunks of `data`, one after the other.
struct Ranges<'a> {
    cuts: Cuts,
    data: &'a [u8],
    scanned: usize,
    /// The end of the last chunk, which may be before what was scanned.
    offset: usize,
}

impl Ranges<'_> {
    /// The length of the next chunk.
    fn length(&mut self) -> Result<Option<usize>, NarError> {
        match self.cuts.feed(&self.data[self.scanned..])? {
            Some(cut) => {
                self.scanned += cut.consumed;
                Ok(Some(cut.length))
            }
            None => {
                self.scanned = self.data.len();
                self.cuts.finish()
            }
        }
    }
}

impl Iterator for Ranges<'_> {
    type Item = Result<Range<usize>, NarError>;

    fn next(&mut self) -> Option<Result<Range<usize>, NarError>> {
        let start = self.offset;
        match self.length().transpose()? {
            Ok(length) => {
                self.offset += length;
                Some(Ok(start..self.offset))
            }
            Err(error) => Some(Err(error)),
        }
    }
}
