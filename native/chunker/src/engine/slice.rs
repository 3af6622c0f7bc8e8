//! Chunks an input in memory, without copying it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rayon::ThreadPool;

use super::boundaries::{Boundaries, FoundChunk, SCAN_STRETCH};
use super::chunk::ChunkBytes;
use super::segments::Segments;
use super::work_item::WORK_ITEM_BYTES;
use super::workers::{CANCEL_POLL, Helper, Workers, yield_to_other_threads};
use crate::Cancel;
use crate::cdc::candidates::Candidates;
use crate::error::Error;

/// Chunks `data` and returns the results in order.
pub(super) fn chunk<T: Send, A: Send>(
    data: &[u8],
    boundaries: Box<dyn Boundaries<A>>,
    workers: Workers,
    work: &(impl Fn(&ChunkBytes<'_, A>) -> T + Sync),
    is_cancelled: Cancel<'_>,
) -> Result<Vec<T>, Error> {
    match workers.pool() {
        Some(pool) if data.len() > 2 * WORK_ITEM_BYTES => {
            on_threads(pool, workers, data, boundaries, work, is_cancelled)
        }
        _ => {
            let mut results = Vec::new();
            let mut scan = Scan::new(boundaries, data, None);
            while let Some((offset, chunk)) = scan.next()? {
                let end = offset + chunk.length;
                // Checking for cancellation is cheap compared with a chunk of usual size, but not with one of
                // 64 bytes.
                if offset / WORK_ITEM_BYTES != end / WORK_ITEM_BYTES && is_cancelled() {
                    return Err(Error::Cancelled);
                }
                results.push(run(data, offset, &chunk, work, is_cancelled));
            }
            Ok(results)
        }
    }
}

fn run<T, A>(
    data: &[u8],
    offset: usize,
    FoundChunk { length, annotation }: &FoundChunk<A>,
    work: &impl Fn(&ChunkBytes<'_, A>) -> T,
    is_cancelled: Cancel<'_>,
) -> T {
    let slices = &[&data[offset..offset + length]];
    work(&ChunkBytes { offset: offset as u64, length: *length, slices, is_cancelled, annotation })
}

/// Chunks `data` on several threads, which all do the same: if the scan is free and few groups are queued, a
/// thread scans the next group; otherwise it works on a group, or, if none is queued, looks for candidates in
/// the bytes that are scanned next.
fn on_threads<T: Send, A: Send>(
    pool: &ThreadPool,
    workers: Workers,
    data: &[u8],
    boundaries: Box<dyn Boundaries<A>>,
    work: &(impl Fn(&ChunkBytes<'_, A>) -> T + Sync),
    is_cancelled: Cancel<'_>,
) -> Result<Vec<T>, Error> {
    let params = boundaries.params().clone();
    let segments = Segments::new(data, &params);
    let board = Board {
        state: Mutex::new(BoardState {
            scan: Some(Scan::new(boundaries, data, Some(&segments))),
            queue: VecDeque::new(),
            helpers: 0,
            scanning: false,
            failure: None,
            results: Vec::new(),
        }),
        scanned: Condvar::new(),
        stopped: AtomicBool::new(false),
    };
    let run = |Group { number, mut offset, chunks }: Group<A>, is_cancelled: Cancel<'_>| {
        let mut results = Vec::with_capacity(chunks.len());
        for chunk in &chunks {
            results.push(run(data, offset, chunk, work, is_cancelled));
            offset += chunk.length;
        }
        board.lock().results[number] = results;
    };
    let help = |helper: &Helper| {
        let _stop = StopIfPanicking(&board.stopped);
        // Helpers must not call `is_cancelled`, which belongs to the calling thread.
        let stopped = || board.stopped.load(Ordering::Relaxed);
        loop {
            yield_to_other_threads();
            let mut state = board.lock();
            let rests = helper.over_budget() || stopped();
            match if rests { Turn::Rest } else { state.turn() } {
                Turn::Scan(scan) => board.scan(state, scan),
                Turn::Run(group) => {
                    drop(state);
                    run(group, &stopped);
                }
                Turn::Wait => board.look_ahead_or_wait(state, &segments),
                Turn::Rest => {
                    state.helpers -= 1;
                    return;
                }
            }
        }
    };
    pool.in_place_scope(|scope| {
        let _permit = workers.enter();
        let _stop = StopIfPanicking(&board.stopped);
        loop {
            // After the panic of a helper, which the scope resumes when all helpers have left, the result is
            // not used.
            if is_cancelled() || board.stopped.load(Ordering::Relaxed) {
                board.stopped.store(true, Ordering::Relaxed);
                return Err(Error::Cancelled);
            }
            let mut state = board.lock();
            if let Some(error) = state.failure.take() {
                board.stopped.store(true, Ordering::Relaxed);
                return Err(error);
            }
            if state.helpers < workers.most_helpers()
                && state.scan.is_some()
                && let Some(helper) = workers.request_helper()
            {
                state.helpers += 1;
                let help = &help;
                scope.spawn(move |_| help(&helper));
            }
            match state.turn() {
                Turn::Scan(scan) => board.scan(state, scan),
                Turn::Run(group) => {
                    drop(state);
                    run(group, is_cancelled);
                }
                Turn::Wait => board.look_ahead_or_wait(state, &segments),
                Turn::Rest => return Ok(()),
            }
        }
    })?;
    let state = board.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(state.results.into_iter().flatten().collect())
}

/// Holds consecutive chunks that are processed together.
struct Group<A> {
    /// The index of the results.
    number: usize,
    /// The start of the first chunk, in bytes.
    offset: usize,
    chunks: Vec<FoundChunk<A>>,
}

struct Board<'a, T, A> {
    state: Mutex<BoardState<'a, T, A>>,
    /// Notified when the scan is free again.
    scanned: Condvar,
    stopped: AtomicBool,
}

struct BoardState<'a, T, A> {
    /// `None` while a thread scans, and after the end.
    scan: Option<Scan<'a, A>>,
    queue: VecDeque<Group<A>>,
    /// The number of helpers that are at work or requested.
    helpers: usize,
    scanning: bool,
    failure: Option<Error>,
    /// The results of each group.
    results: Vec<Vec<T>>,
}

/// Stops all threads when one of them panics, because its task is never completed.
struct StopIfPanicking<'a>(&'a AtomicBool);

impl Drop for StopIfPanicking<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// The next step of a thread.
enum Turn<'a, A> {
    Scan(Scan<'a, A>),
    Run(Group<A>),
    /// Another thread scans the next group.
    Wait,
    Rest,
}

impl<'a, T, A> Board<'a, T, A> {
    fn lock(&self) -> MutexGuard<'_, BoardState<'a, T, A>> {
        // Foreign code never runs under the lock, so a panic leaves the state consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Scans the next group and queues it.
    fn scan(&self, state: MutexGuard<'_, BoardState<'a, T, A>>, mut scan: Scan<'a, A>) {
        drop(state);
        let offset = scan.offset;
        let mut chunks = Vec::new();
        let more = loop {
            match scan.next() {
                Ok(Some((_, chunk))) => chunks.push(chunk),
                Ok(None) => break Ok(false),
                Err(error) => break Err(error),
            }
            if scan.offset - offset >= WORK_ITEM_BYTES {
                break Ok(true);
            }
        };
        let mut state = self.lock();
        state.scanning = false;
        match more {
            Ok(more) => state.scan = more.then_some(scan),
            Err(error) => state.failure = Some(error),
        }
        if !chunks.is_empty() {
            let number = state.results.len();
            state.results.push(Vec::new());
            state.queue.push_back(Group { number, offset, chunks });
        }
        drop(state);
        self.scanned.notify_all();
    }

    /// Looks for candidates in the bytes that the scan reaches next. If all are known, waits until the scan
    /// is free, for at most [`CANCEL_POLL`].
    fn look_ahead_or_wait(&self, state: MutexGuard<'_, BoardState<'a, T, A>>, segments: &Segments<'_>) {
        drop(state);
        if !segments.look_ahead() {
            let state = self.lock();
            if state.scanning && state.queue.is_empty() {
                drop(self.scanned.wait_timeout(state, CANCEL_POLL));
            }
        }
    }
}

impl<'a, T, A> BoardState<'a, T, A> {
    fn turn(&mut self) -> Turn<'a, A> {
        // Without helpers, a group is processed while its bytes are in the cache. With helpers, two groups
        // for each of them are kept queued.
        if self.queue.len() < (2 * self.helpers).max(1)
            && let Some(scan) = self.scan.take()
        {
            self.scanning = true;
            return Turn::Scan(scan);
        }
        match self.queue.pop_front() {
            Some(group) => Turn::Run(group),
            None if self.scanning => Turn::Wait,
            None => Turn::Rest,
        }
    }
}

/// Iterates over the chunks of `data`.
struct Scan<'a, A> {
    boundaries: Box<dyn Boundaries<A>>,
    data: &'a [u8],
    /// The number of bytes scanned.
    scanned: usize,
    ended: bool,
    /// The chunks of the last stretch in reverse order.
    found: Vec<FoundChunk<A>>,
    /// The start of the next chunk, in bytes.
    offset: usize,
    segments: Option<&'a Segments<'a>>,
    /// The segment that was entered last, and its candidates if they are known.
    entered: Option<(usize, Option<Candidates>)>,
}

impl<'a, A> Scan<'a, A> {
    fn new(boundaries: Box<dyn Boundaries<A>>, data: &'a [u8], segments: Option<&'a Segments<'a>>) -> Self {
        Self {
            boundaries,
            data,
            scanned: 0,
            ended: false,
            found: Vec::new(),
            offset: 0,
            segments,
            entered: None,
        }
    }

    /// Returns the start of the next chunk and the chunk, or `None` after the last.
    fn next(&mut self) -> Result<Option<(usize, FoundChunk<A>)>, Error> {
        loop {
            if let Some(chunk) = self.found.pop() {
                let start = self.offset;
                self.offset += chunk.length;
                return Ok(Some((start, chunk)));
            }
            if self.ended {
                return Ok(None);
            }
            if self.scanned < self.data.len() {
                self.scan_stretch()?;
            } else {
                self.ended = true;
                self.boundaries.finish(&mut self.found)?;
            }
            self.found.reverse();
        }
    }

    fn scan_stretch(&mut self) -> Result<(), Error> {
        if self.scanned > 0 {
            yield_to_other_threads();
        }
        let segment = Segments::of(self.scanned);
        if let Some(segments) = self.segments
            && self.entered.as_ref().is_none_or(|&(entered, _)| entered != segment)
        {
            self.entered = Some((segment, segments.enter(segment)));
        }
        let candidates = self.entered.as_ref().and_then(|(_, candidates)| candidates.as_ref());
        let segment_end = Segments::start(segment + 1).min(self.data.len());
        // With candidates, scanning a whole segment takes less time than a stretch without.
        let end =
            if candidates.is_some() { segment_end } else { segment_end.min(self.scanned + SCAN_STRETCH) };
        let position = self.scanned - Segments::start(segment);
        let window = candidates.map(|candidates| candidates.window().behind(position));
        self.boundaries.feed(&self.data[self.scanned..end], window, &mut self.found)?;
        self.scanned = end;
        Ok(())
    }
}
