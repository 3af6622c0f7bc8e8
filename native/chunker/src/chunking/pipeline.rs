//! Chunking bytes that come in one after the other: the part that [`Pieces`](super::Pieces) and
//! [`Reader`](super::Reader) share.
//!
//! Bytes are put into blocks. The calling thread scans them as they come; a block that is full is shared between the
//! jobs that work on its chunks, and when the last of them is done it is filled anew. So a byte is copied nowhere
//! inside, memory is bounded by the number of blocks, and after the first round no page of memory is a fresh one, which
//! would cost more than the work on it. For the same reason some blocks are kept for the next input.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::GROUP;
use super::chunk::ChunkBytes;
use super::cuts::Cuts;
use crate::GiveUp;
use crate::error::Error;
use crate::nar::NarError;
use crate::workers::{Workers, polite};

/// The size of a block. Small enough that what was read is still in the cache when it is scanned, large enough that
/// calls and locks do not count.
const BLOCK: usize = 1 << 20;

/// How long the caller sleeps before it asks again whether to give up.
const NAP: Duration = Duration::from_millis(10);

/// How many blocks are kept while nothing is chunked: what one call with default options uses.
const MOST_SPARE: usize = 10;

static SPARE: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());

type Work<T> = Box<dyn Fn(&ChunkBytes<'_>) -> T + Send + Sync>;

/// What a helper does when there is no job: something that is not urgent. Tells whether there was anything to do.
pub(super) type SideWork = Box<dyn Fn(GiveUp<'_>) -> bool + Send + Sync>;

/// What the caller is to do next.
pub(super) enum Next<T> {
    /// Take these results. They follow those that came before.
    Results(Vec<T>),
    /// Put bytes in.
    Feed,
    /// Nothing: the input has ended and its results have all been given.
    End,
}

pub(super) struct Pipeline<T> {
    shared: Arc<Shared<T>>,
    workers: Workers,
    finder: Cuts,
    /// The block that is being filled, and how far.
    open: Option<(Box<[u8]>, usize)>,
    /// What is left of closed blocks: the beginning of the chunk that the scanner is in.
    rest: VecDeque<Part>,
    /// The lengths of the chunks that end in the open block.
    cuts: Vec<usize>,
    /// Where the next chunk to be handed out begins.
    offset: u64,
    ended: bool,
    blocks: usize,
    /// Those of them that were taken with `take_block` and not fed yet.
    lent: usize,
    most_blocks: usize,
    /// The bytes of chunks that may be handed out and not taken.
    most_untaken: usize,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    /// Notified when a job is done.
    done: Condvar,
    /// The pipeline is gone; nobody wants results any more.
    abandoned: AtomicBool,
    work: Work<T>,
    side_work: Option<SideWork>,
}

struct State<T> {
    queue: VecDeque<Job>,
    /// The helpers that are at work or about to be.
    helpers: usize,
    /// A slot a job, in the order of the input.
    slots: VecDeque<Slot<T>>,
    /// The number of the job that the first slot belongs to.
    first: usize,
    /// The bytes of all slots.
    untaken: usize,
    free: Vec<Box<[u8]>>,
    panic: Option<Box<dyn Any + Send>>,
}

struct Slot<T> {
    bytes: usize,
    results: Option<Vec<T>>,
}

/// A part of a block that jobs share.
struct Part {
    block: Arc<Box<[u8]>>,
    range: Range<usize>,
}

/// Chunks that follow each other.
struct Job {
    number: usize,
    offset: u64,
    lengths: Vec<usize>,
    parts: Vec<Part>,
}

impl<T: Send + 'static> Pipeline<T> {
    pub(super) fn new(cuts: Cuts, workers: Workers, work: Work<T>, side_work: Option<SideWork>) -> Self {
        let max_size = cuts.max_size();
        let state = State {
            queue: VecDeque::new(),
            helpers: 0,
            slots: VecDeque::new(),
            first: 0,
            untaken: 0,
            free: Vec::new(),
            panic: None,
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                done: Condvar::new(),
                abandoned: AtomicBool::new(false),
                work,
                side_work,
            }),
            workers,
            finder: cuts,
            open: None,
            rest: VecDeque::new(),
            cuts: Vec::new(),
            offset: 0,
            ended: false,
            blocks: 0,
            lent: 0,
            // The longest chunk, which may begin and end inside a block; beyond that, two blocks for each thread.
            most_blocks: max_size.div_ceil(BLOCK) + 1 + 2 * workers.threads(),
            most_untaken: 2 * max_size + (4 << 20),
        }
    }

    /// Works until the caller is needed. With `prompt`, results are given as soon as there are any; else input is
    /// asked for first, which keeps all threads busy. Input that does `wait` for its sender is asked for last.
    pub(super) fn next(
        &mut self,
        prompt: bool,
        input_waits: bool,
        give_up: GiveUp<'_>,
    ) -> Result<Next<T>, Error> {
        loop {
            if give_up() {
                return Err(Error::Cancelled);
            }
            let shared = Arc::clone(&self.shared);
            let mut state = shared.lock();
            if let Some(panic) = state.panic.take() {
                drop(state);
                resume_unwind(panic);
            }
            let ready = state.slots.front().is_some_and(|slot| slot.results.is_some());
            let feed = !self.ended && self.has_room(&state) && !state.comes_first(input_waits);
            if ready && (prompt || !feed) {
                return Ok(Next::Results(state.take_ready()));
            }
            if feed {
                return Ok(Next::Feed);
            }
            if self.ended && state.slots.is_empty() {
                return Ok(Next::End);
            }
            match state.queue.pop_front() {
                Some(job) => {
                    drop(state);
                    shared.run(job, give_up);
                }
                None => {
                    drop(shared.done.wait_timeout(state, NAP));
                }
            }
        }
    }

    /// Does a job, if there is one, while the caller waits for something else.
    pub(super) fn do_a_job(&self, give_up: GiveUp<'_>) -> bool {
        let job = self.shared.lock().queue.pop_front();
        job.map(|job| self.shared.run(job, give_up)).is_some()
    }

    fn has_room(&self, state: &State<T>) -> bool {
        state.untaken < self.most_untaken && (self.open.is_some() || self.lent > 0 || self.has_block(state))
    }

    fn has_block(&self, state: &State<T>) -> bool {
        self.blocks < self.most_blocks || !state.free.is_empty()
    }

    /// An empty block to be filled and fed later, unless memory would grow beyond its bounds.
    pub(super) fn take_block(&mut self) -> Option<Box<[u8]>> {
        let has_block = self.has_block(&self.shared.lock());
        has_block.then(|| {
            self.lent += 1;
            self.block()
        })
    }

    /// Takes in a block that was taken before, of which `count` bytes are filled.
    pub(super) fn feed_block(&mut self, block: Box<[u8]>, count: usize) -> Result<(), NarError> {
        self.lent -= 1;
        self.scan(block, 0, count)?;
        self.close();
        Ok(())
    }

    /// Lets `fill` put bytes into the open block; it tells how many. To be called when [`Next::Feed`] asks for it.
    /// With `prompt`, a block in which a chunk ends is closed at once.
    pub(super) fn feed<E: From<NarError>>(
        &mut self,
        prompt: bool,
        fill: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        let (mut block, filled) = self.open.take().unwrap_or_else(|| (self.block(), 0));
        let count = match fill(&mut block[filled..]) {
            Ok(count) => count,
            Err(error) => {
                self.open = Some((block, filled));
                return Err(error);
            }
        };
        let end = filled + count;
        self.scan(block, filled, end)?;
        if end == BLOCK || (prompt && !self.cuts.is_empty()) {
            self.close();
        }
        Ok(count)
    }

    /// Scans what is new in the block, which is then the open one.
    fn scan(&mut self, block: Box<[u8]>, mut from: usize, end: usize) -> Result<(), NarError> {
        let block = &self.open.insert((block, end)).0;
        while let Some(cut) = self.finder.feed(&block[from..end])? {
            from += cut.consumed;
            self.cuts.push(cut.length);
        }
        Ok(())
    }

    /// Ends the input.
    pub(super) fn end(&mut self) -> Result<(), NarError> {
        self.ended = true;
        self.cuts.extend(self.finder.finish()?);
        self.close();
        Ok(())
    }

    fn block(&mut self) -> Box<[u8]> {
        if let Some(block) = self.shared.lock().free.pop() {
            return block;
        }
        self.blocks += 1;
        let spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| vec![0; BLOCK].into_boxed_slice())
    }

    /// Closes the open block and hands out the chunks that end in it.
    fn close(&mut self) {
        if let Some((block, filled)) = self.open.take() {
            self.rest.push_back(Part { block: Arc::new(block), range: 0..filled });
        }
        let mut lengths = Vec::new();
        let mut bytes = 0;
        let cuts = std::mem::take(&mut self.cuts);
        let last = cuts.len();
        for (i, length) in cuts.into_iter().enumerate() {
            lengths.push(length);
            bytes += length;
            if bytes >= GROUP || i + 1 == last {
                self.hand_out(std::mem::take(&mut lengths), bytes);
                bytes = 0;
            }
        }
    }

    fn hand_out(&mut self, lengths: Vec<usize>, bytes: usize) {
        let parts = self.split_off(bytes);
        let offset = self.offset;
        self.offset += bytes as u64;
        let mut state = self.shared.lock();
        let number = state.first + state.slots.len();
        state.slots.push_back(Slot { bytes, results: None });
        state.untaken += bytes;
        state.queue.push_back(Job { number, offset, lengths, parts });
        if state.helpers < self.workers.most_helpers()
            && let Some(helper) = self.workers.recruit()
        {
            state.helpers += 1;
            drop(state);
            let shared = Arc::clone(&self.shared);
            helper.pool().spawn(move || {
                shared.help();
                drop(helper);
            });
        }
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
}

impl<T> Drop for Pipeline<T> {
    /// Helpers give up the job that they are at, if it lasts, and find no other.
    fn drop(&mut self) {
        self.shared.abandoned.store(true, Ordering::Relaxed);
        let mut state = self.shared.lock();
        let jobs = std::mem::take(&mut state.queue);
        let parts = jobs.into_iter().flat_map(|job| job.parts).chain(self.rest.drain(..));
        state.free.extend(parts.filter_map(|part| Arc::into_inner(part.block)));
        state.free.extend(self.open.take().map(|(block, _)| block));
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MOST_SPARE.saturating_sub(spare.len());
        spare.extend(state.free.drain(..).take(room));
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // The lock is never held while foreign code runs, so that a panic leaves the state as it should be.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a helper does: job after job, and side work in between, until there is neither.
    fn help(&self) {
        let give_up = || self.abandoned.load(Ordering::Relaxed);
        loop {
            polite();
            let job = self.lock().queue.pop_front();
            if let Some(job) = job {
                self.run(job, &give_up);
            } else if !self.side_work.as_ref().is_some_and(|side_work| side_work(&give_up)) {
                let mut state = self.lock();
                // A job may have come in the meantime, and nobody for it.
                if state.queue.is_empty() {
                    state.helpers -= 1;
                    return;
                }
            }
        }
    }

    fn run(&self, job: Job, give_up: GiveUp<'_>) {
        let Job { number, offset, lengths, parts } = job;
        // A panic must not end the pool's thread; it goes to the caller.
        let results = catch_unwind(AssertUnwindSafe(|| self.work_on(offset, &lengths, &parts, give_up)));
        let blocks: Vec<_> = parts.into_iter().filter_map(|part| Arc::into_inner(part.block)).collect();
        let mut state = self.lock();
        state.free.extend(blocks);
        match results {
            Ok(results) => {
                let place = number - state.first;
                state.slots[place].results = Some(results);
            }
            Err(panic) => state.panic = Some(panic),
        }
        drop(state);
        self.done.notify_all();
    }

    fn work_on(&self, mut offset: u64, lengths: &[usize], parts: &[Part], give_up: GiveUp<'_>) -> Vec<T> {
        let mut bytes = parts.iter().map(|part| &part.block[part.range.clone()]);
        let mut current: &[u8] = &[];
        let mut slices = Vec::new();
        let mut results = Vec::with_capacity(lengths.len());
        for &length in lengths {
            slices.clear();
            let mut missing = length;
            while missing > 0 {
                if current.is_empty() {
                    current = bytes.next().expect("a job has the bytes of its chunks");
                }
                let (slice, rest) = current.split_at(current.len().min(missing));
                slices.push(slice);
                current = rest;
                missing -= slice.len();
            }
            results.push((self.work)(&ChunkBytes { offset, length, slices: &slices, give_up }));
            offset += length as u64;
        }
        results
    }
}

impl<T> State<T> {
    /// Whether the jobs there are must be done before more input is asked for: because it would have to be waited for,
    /// or because nobody but the caller does them, and their bytes are in its cache now.
    fn comes_first(&self, input_waits: bool) -> bool {
        (input_waits && !self.slots.is_empty()) || (self.helpers == 0 && !self.queue.is_empty())
    }

    /// The results that can be given now: those before the first job that is not done.
    fn take_ready(&mut self) -> Vec<T> {
        let mut ready = Vec::new();
        while let Some(slot) = self.slots.front_mut() {
            let Some(mut results) = slot.results.take() else { break };
            if ready.is_empty() {
                ready = results;
            } else {
                ready.append(&mut results);
            }
            self.untaken -= slot.bytes;
            self.slots.pop_front();
            self.first += 1;
        }
        ready
    }
}

impl<T> fmt::Debug for Pipeline<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline")
            .field("offset", &self.offset)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
