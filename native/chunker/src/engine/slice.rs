//! Chunking bytes that are in memory: nothing is copied.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rayon::ThreadPool;

use super::boundaries::Boundaries;
use super::chunk::ChunkBytes;
use super::segments::Segments;
use super::{CANCEL_POLL, Chunking, SCAN_STRETCH, WORK_ITEM_BYTES};
use crate::Cancel;
use crate::cdc::candidates::Candidates;
use crate::engine::workers::{Helper, yield_to_other_threads};
use crate::error::Error;
use crate::nar::NarError;
use crate::nar::annotations::{Notes, Scribe, with_notes};

impl<T: Send, W: Fn(&ChunkBytes<'_>) -> T + Sync> Chunking<W> {
    /// Chunks `data` and gives the results in order. Time and memory are linear in `data` and in the number of chunks;
    /// `data` itself is not copied, unless store hashes are taken out of it.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`] when `is_cancelled` says so, and [`Error::Nar`] when this is to be a NAR and is none.
    ///
    /// # Panics
    ///
    /// When the work on a chunk panics, with its message.
    pub fn slice(&self, data: &[u8], is_cancelled: Cancel<'_>) -> Result<Vec<T>, Error> {
        if self.notes.is_empty() {
            return self.bare_slice(data, is_cancelled);
        }
        let mut scribe = Scribe::new(self.notes);
        let data = scribe.whole(data, is_cancelled)?;
        let work = with_notes(scribe.notebook(), &self.work);
        let chunking =
            Chunking { cuts: self.cuts.clone(), workers: self.workers, work, notes: Notes::default() };
        chunking.bare_slice(&data, is_cancelled)
    }

    fn bare_slice(&self, data: &[u8], is_cancelled: Cancel<'_>) -> Result<Vec<T>, Error> {
        match self.workers.pool() {
            Some(pool) if data.len() > 2 * WORK_ITEM_BYTES => self.shared(pool, data, is_cancelled),
            _ => {
                let mut results = Vec::new();
                for range in Ranges::new(self.cuts.clone(), data, None) {
                    let range = range?;
                    // Asking costs little beside a chunk of usual size, but not beside one of 64 bytes.
                    if range.start / WORK_ITEM_BYTES != range.end / WORK_ITEM_BYTES && is_cancelled() {
                        return Err(Error::Cancelled);
                    }
                    results.push(self.run(data, range, is_cancelled));
                }
                Ok(results)
            }
        }
    }

    fn run(&self, data: &[u8], range: Range<usize>, is_cancelled: Cancel<'_>) -> T {
        (self.work)(&ChunkBytes {
            offset: range.start as u64,
            length: range.len(),
            slices: &[&data[range]],
            is_cancelled,
            note: None,
        })
    }

    /// All threads do the same: whoever finds the scanner free, and few groups of chunks waiting to be worked on, scans
    /// the next group; everybody else works on one, or, if there is none, marks what will be scanned next.
    fn shared(&self, pool: &ThreadPool, data: &[u8], is_cancelled: Cancel<'_>) -> Result<Vec<T>, Error> {
        let segments = Segments::new(data, self.cuts.cutter());
        let ranges = Ranges::new(self.cuts.clone(), data, Some(&segments));
        let board = Board {
            state: Mutex::new(State {
                ranges: Some(ranges),
                queue: VecDeque::new(),
                helpers: 0,
                scanning: false,
                failure: None,
                results: Vec::new(),
            }),
            scanned: Condvar::new(),
            stopped: AtomicBool::new(false),
        };
        let run = |(place, group): Group, is_cancelled: Cancel<'_>| {
            let results = group.into_iter().map(|range| self.run(data, range, is_cancelled)).collect();
            board.lock().results[place] = results;
        };
        let help = |helper: &Helper| {
            let _stop = StopIfPanicking(&board.stopped);
            // The caller's own question is not for other threads.
            let stopped = || board.stopped.load(Ordering::Relaxed);
            loop {
                yield_to_other_threads();
                let mut state = board.lock();
                let rests = helper.over_budget() || stopped();
                match if rests { Turn::Rest } else { state.turn() } {
                    Turn::Scan(ranges) => board.scan(state, ranges),
                    Turn::Run(group) => {
                        drop(state);
                        run(group, &stopped);
                    }
                    Turn::Wait => board.mark_or_wait(state, &segments),
                    Turn::Rest => {
                        state.helpers -= 1;
                        return;
                    }
                }
            }
        };
        pool.in_place_scope(|scope| {
            let _present = self.workers.enter();
            let _stop = StopIfPanicking(&board.stopped);
            loop {
                // After a helper's panic, which the scope passes on when all have left, the result does not matter.
                if is_cancelled() || board.stopped.load(Ordering::Relaxed) {
                    board.stopped.store(true, Ordering::Relaxed);
                    return Err(Error::Cancelled);
                }
                let mut state = board.lock();
                if let Some(error) = state.failure.take() {
                    board.stopped.store(true, Ordering::Relaxed);
                    return Err(error.into());
                }
                if state.helpers < self.workers.most_helpers()
                    && state.ranges.is_some()
                    && let Some(helper) = self.workers.request_helper()
                {
                    state.helpers += 1;
                    let help = &help;
                    scope.spawn(move |_| help(&helper));
                }
                match state.turn() {
                    Turn::Scan(ranges) => board.scan(state, ranges),
                    Turn::Run(group) => {
                        drop(state);
                        run(group, is_cancelled);
                    }
                    Turn::Wait => board.mark_or_wait(state, &segments),
                    Turn::Rest => return Ok(()),
                }
            }
        })?;
        let state = board.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(state.results.into_iter().flatten().collect())
    }
}

/// Chunks that are worked on together, and the place of their results.
type Group = (usize, Vec<Range<usize>>);

struct Board<'a, T> {
    state: Mutex<State<'a, T>>,
    /// Notified when the scanner is free again.
    scanned: Condvar,
    stopped: AtomicBool,
}

struct State<'a, T> {
    /// `None` while a thread scans, and after the end.
    ranges: Option<Ranges<'a>>,
    queue: VecDeque<Group>,
    /// The helpers that are at work or about to be.
    helpers: usize,
    scanning: bool,
    failure: Option<NarError>,
    results: Vec<Vec<T>>,
}

/// Stops all threads when one of them panics: what it was at will never be done.
struct StopIfPanicking<'a>(&'a AtomicBool);

impl Drop for StopIfPanicking<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// What a thread does next.
enum Turn<'a> {
    Scan(Ranges<'a>),
    Run(Group),
    /// Another thread scans what is to be worked on next.
    Wait,
    Rest,
}

impl<'a, T> Board<'a, T> {
    fn lock(&self) -> MutexGuard<'_, State<'a, T>> {
        // The lock is never held while foreign code runs, so that a panic leaves the board as it should be.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Scans the next group and queues it.
    fn scan(&self, state: MutexGuard<'_, State<'a, T>>, mut ranges: Ranges<'a>) {
        drop(state);
        let mut group = Vec::new();
        let mut bytes = 0;
        let more = loop {
            let range = match ranges.next().transpose() {
                Ok(Some(range)) => range,
                Ok(None) => break Ok(false),
                Err(error) => break Err(error),
            };
            bytes += range.len();
            group.push(range);
            if bytes >= WORK_ITEM_BYTES {
                break Ok(true);
            }
        };
        let mut state = self.lock();
        state.scanning = false;
        match more {
            Ok(more) => state.ranges = more.then_some(ranges),
            Err(error) => state.failure = Some(error),
        }
        if !group.is_empty() {
            let place = state.results.len();
            state.results.push(Vec::new());
            state.queue.push_back((place, group));
        }
        drop(state);
        self.scanned.notify_all();
    }

    /// Candidates what the thread that scans will come to; if all is marked, waits for it, but no longer than a nap.
    fn mark_or_wait(&self, state: MutexGuard<'_, State<'a, T>>, segments: &Segments<'_>) {
        drop(state);
        if !segments.mark() {
            let state = self.lock();
            if state.scanning && state.queue.is_empty() {
                drop(self.scanned.wait_timeout(state, CANCEL_POLL));
            }
        }
    }
}

impl<'a, T> State<'a, T> {
    fn turn(&mut self) -> Turn<'a> {
        // Without helpers, a group is worked on while its bytes are in the cache; else some are kept at hand.
        if self.queue.len() < (2 * self.helpers).max(1)
            && let Some(ranges) = self.ranges.take()
        {
            self.scanning = true;
            return Turn::Scan(ranges);
        }
        match self.queue.pop_front() {
            Some(group) => Turn::Run(group),
            None if self.scanning => Turn::Wait,
            None => Turn::Rest,
        }
    }
}

/// The chunks of `data`, one after the other.
struct Ranges<'a> {
    cuts: Boundaries,
    data: &'a [u8],
    /// How far the scanner is, which may be further than the last cut.
    scanned: usize,
    /// Where the next chunk begins.
    offset: usize,
    segments: Option<&'a Segments<'a>>,
    /// The segment that was entered last, and its marks if they are known.
    marks: Option<(usize, Option<Candidates>)>,
}

impl Iterator for Ranges<'_> {
    type Item = Result<Range<usize>, NarError>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.offset;
        let length = self.scan().transpose()?;
        Some(length.map(|length| {
            self.offset += length;
            start..self.offset
        }))
    }
}

impl<'a> Ranges<'a> {
    const fn new(cuts: Boundaries, data: &'a [u8], segments: Option<&'a Segments<'a>>) -> Self {
        Self { cuts, data, scanned: 0, offset: 0, segments, marks: None }
    }

    /// The length of the next chunk.
    fn scan(&mut self) -> Result<Option<usize>, NarError> {
        loop {
            let (end, start) = self.stretch();
            let ahead = self.marks.as_ref().and_then(|(_, marks)| marks.as_ref()).map(Candidates::ahead);
            let ahead = ahead.map(|ahead| ahead.behind(self.scanned - start));
            if let Some(cut) = self.cuts.feed(&self.data[self.scanned..end], ahead)? {
                self.scanned += cut.consumed;
                return Ok(Some(cut.length));
            }
            self.scanned = end;
            if end == self.data.len() {
                return self.cuts.finish();
            }
            yield_to_other_threads();
        }
    }

    /// Where the stretch ends that is scanned next, and where its segment begins.
    fn stretch(&mut self) -> (usize, usize) {
        let segment = Segments::of(self.scanned);
        if let Some(segments) = self.segments
            && self.marks.as_ref().is_none_or(|&(entered, _)| entered != segment)
        {
            self.marks = Some((segment, segments.enter(segment)));
        }
        let marked = self.marks.as_ref().is_some_and(|(_, marks)| marks.is_some());
        let end = Segments::start(segment + 1);
        // With marks, a whole segment costs less than a stretch.
        let end = if marked { end } else { end.min(self.scanned + SCAN_STRETCH) };
        (end.min(self.data.len()), Segments::start(segment))
    }
}
