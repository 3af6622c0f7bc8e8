//! Chunks an input that arrives in order, on several threads: the shared implementation of
//! [`Pieces`](super::Pieces) and [`Reader`](super::Reader).
//!
//! ```text
//! source --Read--> read_blocks --Scan--> splitter --> queue --Run--> slots --> caller
//!   ^                |    ^                 ^                 |
//!   |               LookAhead         feed (caller)           |
//!   |                                                         |
//! blocks <----- once a block's last work item is done --------+
//! ```
//!
//! Every thread, the caller's included, asks [`PipelineState::turn`] for its next task. No thread has a fixed
//! role, and none waits while there is a task for it. Without a source, the caller feeds the splitter as
//! [`Pipeline::next`] asks, and all threads run work items. No byte is copied inside the pipeline.
//!
//! # States
//!
//! A block is
//!
//! * free: in `blocks`, allocated or not;
//! * being read: in a [`ReadTask`], with `None` as its place in `read_blocks`;
//! * read: in `read_blocks`;
//! * being looked through for candidates: in a [`Task::LookAhead`], with `None` as its place again, then read
//!   as before;
//! * scanned: in the splitter, in work items, or shared by both; the last of these to release it makes it
//!   free. A block that is fed goes from free to the splitter directly.
//!
//! A work item is
//!
//! * queued: in `queue`, with a slot that has no results;
//! * running: in a [`Task::Run`], counted by `running`;
//! * done: its slot has results, and its blocks are released;
//! * taken: its slot is removed, and `first` has passed its number.
//!
//! A thread is at a [`Task`], waiting for `changed`, or resting. A helper that rests leaves the pipeline; the
//! caller takes results instead, or waits if there are none ([`Turn`]).
//!
//! # Invariants
//!
//! These hold whenever the lock is free, as long as no task has panicked and the pipeline has not been
//! dropped.
//!
//! * Blocks: no more exist than `blocks` was made with. `read_blocks` has at most `most_blocks` places, in
//!   the order of the input; place `i` belongs to block `first_block + i`. Exactly `reading + looking_ahead`
//!   places are `None`.
//! * Source: `None` while a thread reads it in order, so at most one thread does. Several threads read only
//!   parts that were split off from it. It stays `None` once that thread has met the end or an error, and if
//!   the input is fed.
//! * Splitter: at most one thread scans or feeds, because it takes the splitter out. `splitter` is `None`
//!   while `scanning`.
//! * Work items: slot `i` belongs to work item `first + i`. The items in `queue` are those of the last
//!   `queue.len()` slots, in the same order; of the slots before them, exactly `running` have no results.
//!   Slots are removed only from the front and only with results, so results are returned in the order of the
//!   input.
//! * Memory: `untaken` is the sum of the bytes of all slots. A block is scanned or fed only if `untaken <
//!   most_untaken`, so `untaken` exceeds the limit at most by the work items of one block.
//! * Helpers: `helpers` is at most [`Workers::most_helpers`].

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::block_reader::{self, Lookahead, ReadBlock, Tail};
use super::boundaries::Boundaries;
use super::chunk::ChunkBytes;
use super::splitter::Splitter;
use super::work_item::WorkItem;
use super::workers::{CANCEL_POLL, Helper, Workers, yield_to_other_threads};
use crate::Cancel;
use crate::cdc::CdcParams;
use crate::cdc::candidates::Candidates;
use crate::error::{Error, IoError};
use crate::io::buffer_pool::{BLOCK_SIZE, Block, Blocks};
use crate::io::source::Source;

pub(super) type Work<T, A> = Box<dyn Fn(&ChunkBytes<'_, A>) -> T + Send + Sync>;

/// The number of blocks that are read ahead, for each thread. With 1, threads sometimes wait for a block.
const READ_AHEAD: usize = 2;

/// The next step of the caller.
pub(super) enum Next<T> {
    /// Take these results, which follow the previous ones.
    Results(Vec<T>),
    /// Feed input.
    Feed,
    /// Stop: the input has ended and all its results have been returned.
    End,
}

pub(super) struct Pipeline<T, A> {
    shared: Arc<Shared<T, A>>,
}

struct Shared<T, A> {
    state: Mutex<PipelineState<T, A>>,
    /// Notified if a thread waits and a block has been read or looked through, a work item has been queued or
    /// done, the splitter has been put back, or a failure has been recorded.
    changed: Condvar,
    /// Set when the pipeline is dropped. Results are not used after that.
    abandoned: AtomicBool,
    work: Work<T, A>,
    workers: Workers,
    /// The parameters that candidates are found with.
    params: CdcParams,
}

struct PipelineState<T, A> {
    /// The source. `None` while a thread reads it in order, after its end, and if the caller feeds the
    /// splitter.
    source: Option<Box<dyn Source + Send>>,
    /// Whether parts of the source are split off and read in parallel. Stays false once the source cannot be
    /// split.
    in_parts: bool,
    /// The numbers of threads that read, and that look for candidates.
    reading: usize,
    looking_ahead: usize,
    /// The blocks that are read and not scanned, in the order of the input. `None` while a thread reads the
    /// block or looks for candidates in it.
    read_blocks: VecDeque<Option<ReadBlock>>,
    /// The number of the first of these blocks, counted from the start of the input.
    first_block: usize,
    /// The maximum length of `read_blocks`.
    most_blocks: usize,
    /// `None` while a thread scans or the caller feeds, and after the end of the input.
    splitter: Option<Splitter<A>>,
    scanning: bool,
    queue: VecDeque<WorkItem<A>>,
    /// The number of work items that threads are running.
    running: usize,
    /// The number of helpers that are at work or requested.
    helpers: usize,
    /// The number of threads that wait for `changed`.
    waiting: usize,
    /// One slot for each work item, in the order of the input.
    slots: VecDeque<Slot<T>>,
    /// The number of the work item that the first slot belongs to.
    first: usize,
    /// The sum of the bytes of all slots.
    untaken: usize,
    /// The limit for `untaken`, in bytes.
    most_untaken: usize,
    blocks: Blocks,
    failure: Option<PipelineFailure>,
}

struct Slot<T> {
    bytes: usize,
    results: Option<Vec<T>>,
}

enum PipelineFailure {
    Error(Error),
    Panic(Box<dyn Any + Send>),
}

/// A unit of work for a thread.
enum Task<A> {
    Read(ReadTask),
    Scan(Splitter<A>, ReadBlock),
    /// The number of a block, and the block.
    LookAhead(usize, ReadBlock),
    /// The number of a work item, and the work item.
    Run(usize, WorkItem<A>),
}

/// A block to be filled from `source`.
struct ReadTask {
    number: usize,
    block: Block,
    source: Box<dyn Source + Send>,
    /// Whether `source` is a part that was split off; the pipeline keeps its own source then.
    split: bool,
}

/// The decision of [`PipelineState::turn`].
#[cfg_attr(
    target_pointer_width = "64",
    expect(clippy::large_enum_variant, reason = "values are destructured at once and never stored")
)]
enum Turn<A> {
    Work(Task<A>),
    /// Wait for `changed`: other threads are about to make tasks.
    Wait,
    /// There are no tasks until the caller takes results, or none at all.
    Rest,
}

impl<T: Send + 'static, A: Send + 'static> Pipeline<T, A> {
    /// Creates a pipeline for `source`, or for input that the caller feeds if it is `None`.
    pub(super) fn new(
        boundaries: Box<dyn Boundaries<A>>,
        workers: Workers,
        work: Work<T, A>,
        source: Option<Box<dyn Source + Send>>,
    ) -> Self {
        let max_size = boundaries.max_size();
        let params = boundaries.params().clone();
        let state = PipelineState {
            source,
            in_parts: workers.most_helpers() > 0,
            reading: 0,
            looking_ahead: 0,
            read_blocks: VecDeque::new(),
            first_block: 0,
            most_blocks: READ_AHEAD * workers.threads(),
            splitter: Some(Splitter::new(boundaries)),
            scanning: false,
            queue: VecDeque::new(),
            running: 0,
            helpers: 0,
            waiting: 0,
            slots: VecDeque::new(),
            first: 0,
            untaken: 0,
            most_untaken: max_size + (4 << 20) + workers.threads() * (2 << 20),
            // The longest chunk, which may begin and end inside a block, and 2 MiB for each thread.
            blocks: Blocks::new(
                max_size.div_ceil(BLOCK_SIZE) + 1 + workers.threads() * (2 << 20) / BLOCK_SIZE,
            ),
            failure: None,
        };
        let shared = Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            abandoned: AtomicBool::new(false),
            work,
            workers,
            params,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Returns the next results of the source, or `None` after the last. Works on tasks until there are none,
    /// or until enough results are ready.
    pub(super) fn results(&self, is_cancelled: Cancel<'_>) -> Result<Option<Vec<T>>, Error> {
        let _permit = self.shared.workers.enter();
        loop {
            if is_cancelled() {
                return Err(Error::Cancelled);
            }
            let mut state = self.shared.lock_unless_failed()?;
            let turn = if state.should_be_taken() { Turn::Rest } else { state.turn() };
            match turn {
                Turn::Work(task) => {
                    drop(state);
                    self.shared.work_on(task, is_cancelled);
                }
                Turn::Wait | Turn::Rest => {
                    if state.is_ready() {
                        let results = state.take_ready();
                        // Taking results made room.
                        self.shared.request_helper(state);
                        return Ok(Some(results));
                    }
                    if state.is_at_end() {
                        return Ok(None);
                    }
                    self.shared.wait(state);
                }
            }
        }
    }

    /// Works on fed input until the caller has to act. With `prompt`, returns results as soon as there are
    /// any; otherwise asks for input first, which keeps all threads busy.
    pub(super) fn next(&self, prompt: bool, is_cancelled: Cancel<'_>) -> Result<Next<T>, Error> {
        let _permit = self.shared.workers.enter();
        loop {
            if is_cancelled() {
                return Err(Error::Cancelled);
            }
            let mut state = self.shared.lock_unless_failed()?;
            let ready = state.is_ready();
            let feed = state.can_be_fed() && !state.comes_first();
            if ready && (prompt || !feed) {
                return Ok(Next::Results(state.take_ready()));
            }
            if feed {
                return Ok(Next::Feed);
            }
            if state.is_at_end() {
                return Ok(Next::End);
            }
            match state.take_item() {
                Some((number, item)) => {
                    drop(state);
                    self.shared.run(number, item, is_cancelled);
                }
                None => self.shared.wait(state),
            }
        }
    }

    /// Calls `fill` to put bytes into a block, and returns the number of bytes that it reports. May be called
    /// only after [`Next::Feed`]. With `prompt`, closes the block as soon as a chunk ends in it.
    pub(super) fn feed(
        &self,
        prompt: bool,
        fill: impl FnOnce(&mut [u8]) -> Result<usize, Error>,
    ) -> Result<usize, Error> {
        let mut state = self.shared.lock();
        let mut splitter = state.splitter.take().expect("input is fed only before its end");
        if !splitter.is_open() {
            splitter.open(state.blocks.take().expect("Next::Feed is returned only if there is a block"));
        }
        drop(state);
        let (items, count) = splitter.feed(prompt, fill)?;
        let mut state = self.shared.lock();
        state.splitter = Some(splitter);
        self.shared.queue(state, items);
        Ok(count)
    }

    /// Ends the fed input.
    pub(super) fn end(&self) -> Result<(), Error> {
        let mut state = self.shared.lock();
        if let Some(mut splitter) = state.splitter.take() {
            let items = splitter.end()?;
            state.blocks.give_back(splitter.into_blocks());
            self.shared.queue(state, items);
        }
        Ok(())
    }
}

impl<T, A> Drop for Pipeline<T, A> {
    /// Cancels the tasks of helpers and removes the tasks that are left.
    fn drop(&mut self) {
        self.shared.abandoned.store(true, Ordering::Relaxed);
        let mut state = self.shared.lock();
        let items = std::mem::take(&mut state.queue);
        state.blocks.give_back(items.into_iter().flat_map(WorkItem::into_blocks));
        let read = std::mem::take(&mut state.read_blocks);
        state.blocks.give_back(read.into_iter().flatten().map(|read| read.block));
        if let Some(splitter) = state.splitter.take() {
            state.blocks.give_back(splitter.into_blocks());
        }
        // Closes a file now rather than when the last helper leaves, unless a helper is reading it.
        let source = state.source.take();
        drop(state);
        drop(source);
    }
}

impl<T: Send + 'static, A: Send + 'static> Shared<T, A> {
    /// Runs a helper. Passes a panic on to the caller, because it would end the pool's thread, and with it
    /// the process.
    fn help(self: Arc<Self>, helper: &Helper) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.take_turns(helper))) {
            let mut state = self.lock();
            state.helpers -= 1;
            state.failure.get_or_insert(PipelineFailure::Panic(panic));
            self.notify(&state);
        }
    }

    /// Works on tasks until there are none for a helper.
    fn take_turns(self: &Arc<Self>, helper: &Helper) {
        let is_cancelled = || self.abandoned.load(Ordering::Relaxed);
        loop {
            yield_to_other_threads();
            let mut state = self.lock();
            // After a failure, further results are not used.
            let rests = helper.over_budget() || is_cancelled() || state.failure.is_some();
            let turn = if rests { Turn::Rest } else { state.turn() };
            match turn {
                Turn::Work(task) => {
                    drop(state);
                    self.work_on(task, &is_cancelled);
                }
                Turn::Wait => self.wait(state),
                Turn::Rest => {
                    // Under the lock, so that a thread that queues a work item next does not count on this
                    // helper.
                    state.helpers -= 1;
                    return;
                }
            }
        }
    }

    fn work_on(self: &Arc<Self>, task: Task<A>, is_cancelled: Cancel<'_>) {
        match task {
            Task::Read(reading) => self.read(reading, is_cancelled),
            Task::Scan(splitter, read) => self.scan(splitter, read),
            Task::LookAhead(number, read) => self.look_ahead(number, read),
            Task::Run(number, item) => self.run(number, item, is_cancelled),
        }
    }

    fn read(self: &Arc<Self>, reading: ReadTask, is_cancelled: Cancel<'_>) {
        let ReadTask { number, block, mut source, split } = reading;
        let mut read = block_reader::fill(&mut *source, block, is_cancelled);
        if split && matches!(read.after, Tail::End) {
            let cut_short = io::Error::from(io::ErrorKind::UnexpectedEof);
            read.after = Tail::Failure(IoError { path: None, source: cut_short }.into());
        }
        let mut state = self.lock();
        state.reading -= 1;
        if !split && matches!(read.after, Tail::More) && !self.abandoned.load(Ordering::Relaxed) {
            state.source = Some(source);
        }
        self.put_read_block(state, number, read);
    }

    fn look_ahead(self: &Arc<Self>, number: usize, mut read: ReadBlock) {
        let candidates = Candidates::find(&self.params, &read.block[..read.count]);
        read.lookahead = candidates.map_or(Lookahead::Refused, Lookahead::Known);
        let mut state = self.lock();
        state.looking_ahead -= 1;
        self.put_read_block(state, number, read);
    }

    /// Puts a block back into its place in `read_blocks`, ready to be scanned.
    fn put_read_block(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, PipelineState<T, A>>,
        number: usize,
        read: ReadBlock,
    ) {
        let place = number - state.first_block;
        // The place is gone if the pipeline has been dropped.
        if let Some(place) = state.read_blocks.get_mut(place) {
            *place = Some(read);
        }
        self.notify(&state);
        self.request_helper(state);
    }

    fn scan(
        self: &Arc<Self>,
        mut splitter: Splitter<A>,
        ReadBlock { block, count, after, lookahead }: ReadBlock,
    ) {
        let ended = matches!(after, Tail::End);
        let candidates = if let Lookahead::Known(candidates) = &lookahead { Some(candidates) } else { None };
        let items = splitter.advance(block, count, candidates).and_then(|mut items| {
            if ended {
                items.extend(splitter.end()?);
            }
            Ok(items)
        });
        let mut state = self.lock();
        state.scanning = false;
        let failure = match (items, after) {
            (Err(error), _) | (Ok(_), Tail::Failure(error)) => PipelineFailure::Error(error),
            (Ok(items), Tail::More | Tail::End) => {
                if ended {
                    state.blocks.give_back(splitter.into_blocks());
                } else {
                    state.splitter = Some(splitter);
                }
                return self.queue(state, items);
            }
        };
        state.failure.get_or_insert(failure);
        self.notify(&state);
    }

    /// Queues the work items of a scanned block.
    fn queue(self: &Arc<Self>, mut state: MutexGuard<'_, PipelineState<T, A>>, items: Vec<WorkItem<A>>) {
        for item in items {
            let bytes = item.bytes();
            state.slots.push_back(Slot { bytes, results: None });
            state.untaken += bytes;
            state.queue.push_back(item);
        }
        self.notify(&state);
        self.request_helper(state);
    }

    /// Requests a helper if there is more to do than this thread does next.
    fn request_helper(self: &Arc<Self>, mut state: MutexGuard<'_, PipelineState<T, A>>) {
        let to_do = state.queue.len()
            + usize::from(state.splitter.is_some() && state.has_room())
            + usize::from(state.can_read() && state.has_room());
        if to_do > 1
            && state.helpers < self.workers.most_helpers()
            && let Some(helper) = self.workers.request_helper()
        {
            state.helpers += 1;
            drop(state);
            let shared = Arc::clone(self);
            helper.pool().spawn(move || {
                shared.help(&helper);
                drop(helper);
            });
        }
    }

    fn run(&self, number: usize, item: WorkItem<A>, is_cancelled: Cancel<'_>) {
        let results = item.run(&self.work, is_cancelled);
        let blocks: Vec<_> = item.into_blocks().collect();
        let mut state = self.lock();
        state.running -= 1;
        state.blocks.give_back(blocks);
        let place = number - state.first;
        state.slots[place].results = Some(results);
        self.notify(&state);
    }
}

impl<T, A> Shared<T, A> {
    fn lock(&self) -> MutexGuard<'_, PipelineState<T, A>> {
        // Foreign code runs without the lock, or before anything is changed under it, so a panic leaves the
        // state consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the state. Returns the failure of another thread, or resumes its panic.
    fn lock_unless_failed(&self) -> Result<MutexGuard<'_, PipelineState<T, A>>, Error> {
        let mut state = self.lock();
        match state.failure.take() {
            None => Ok(state),
            Some(PipelineFailure::Error(error)) => Err(error),
            Some(PipelineFailure::Panic(panic)) => {
                drop(state);
                resume_unwind(panic)
            }
        }
    }

    /// Waits for a change for at most [`CANCEL_POLL`].
    fn wait(&self, mut state: MutexGuard<'_, PipelineState<T, A>>) {
        state.waiting += 1;
        let (mut state, _) =
            self.changed.wait_timeout(state, CANCEL_POLL).unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
    }

    fn notify(&self, state: &PipelineState<T, A>) {
        if state.waiting > 0 {
            self.changed.notify_all();
        }
    }
}

impl<T, A> PipelineState<T, A> {
    /// Chooses the next task of a free thread.
    fn turn(&mut self) -> Turn<A> {
        // Without helpers, work items come first, because their bytes are in this core's cache. With helpers,
        // up to two items for each of them are kept queued, so that no thread has to wait for the scan.
        if self.queue.len() < (2 * self.helpers).max(1) && self.has_room() {
            // Reading in order can be the bottleneck, for example if the source hashes what it reads.
            let reads_first = self.helpers > 0 && !self.in_parts && self.can_read();
            if !reads_first
                && self.splitter.is_some()
                && let Some(read) = self.take_read_block()
                && let Some(splitter) = self.splitter.take()
            {
                self.scanning = true;
                return Turn::Work(Task::Scan(splitter, read));
            }
            if let Some(reading) = self.take_reading() {
                return Turn::Work(Task::Read(reading));
            }
        }
        if let Some((number, item)) = self.take_item() {
            return Turn::Work(Task::Run(number, item));
        }
        let more = self.reading > 0
            || self.looking_ahead > 0
            || self.scanning
            || (self.source.is_some() && self.running > 0);
        if !more || !self.has_room() {
            return Turn::Rest;
        }
        match self.take_to_look_ahead() {
            Some((number, read)) => Turn::Work(Task::LookAhead(number, read)),
            None => Turn::Wait,
        }
    }

    fn can_read(&self) -> bool {
        self.source.is_some() && self.read_blocks.len() < self.most_blocks && !self.blocks.is_empty()
    }

    /// Takes the next block to be read.
    fn take_reading(&mut self) -> Option<ReadTask> {
        if !self.can_read() {
            return None;
        }
        let mut source = self.source.take()?;
        // Foreign code runs first, so a panic leaves the state consistent.
        let part = if self.in_parts { source.split_off(BLOCK_SIZE as u64) } else { None };
        self.in_parts = part.is_some();
        let block = self.blocks.take()?;
        let number = self.first_block + self.read_blocks.len();
        self.read_blocks.push_back(None);
        self.reading += 1;
        match part {
            Some(part) => {
                self.source = Some(source);
                Some(ReadTask { number, block, source: part, split: true })
            }
            None => Some(ReadTask { number, block, source, split: false }),
        }
    }

    /// Takes the next block to be scanned, if it has been read.
    fn take_read_block(&mut self) -> Option<ReadBlock> {
        let read = self.read_blocks.front_mut()?.take()?;
        self.read_blocks.pop_front();
        self.first_block += 1;
        Some(read)
    }

    /// Takes the next block to be looked through for candidates, if the scan is the bottleneck: if another
    /// thread is already waiting. Leaves the first block to the scan, which reaches it sooner.
    fn take_to_look_ahead(&mut self) -> Option<(usize, ReadBlock)> {
        if !self.scanning || self.waiting == 0 {
            return None;
        }
        let unknown = |place: &mut Option<ReadBlock>| {
            place.take_if(|read| matches!(read.lookahead, Lookahead::Unknown))
        };
        let (place, read) = self
            .read_blocks
            .iter_mut()
            .enumerate()
            .skip(1)
            .find_map(|(i, place)| Some((i, unknown(place)?)))?;
        self.looking_ahead += 1;
        Some((self.first_block + place, read))
    }

    fn take_item(&mut self) -> Option<(usize, WorkItem<A>)> {
        let number = self.first + self.slots.len() - self.queue.len();
        let item = self.queue.pop_front()?;
        self.running += 1;
        Some((number, item))
    }

    /// Returns whether the limit allows another block to be scanned or fed.
    const fn has_room(&self) -> bool {
        self.untaken < self.most_untaken
    }

    /// Returns whether the caller can feed the splitter now.
    fn can_be_fed(&self) -> bool {
        let block =
            self.splitter.as_ref().is_some_and(|splitter| splitter.is_open() || !self.blocks.is_empty());
        block && self.has_room()
    }

    /// Returns whether the existing work items have to be done before the caller is asked for input, because
    /// no helper does them.
    fn comes_first(&self) -> bool {
        self.helpers == 0 && !self.queue.is_empty()
    }

    fn is_at_end(&self) -> bool {
        self.splitter.is_none() && !self.scanning && self.slots.is_empty()
    }

    fn is_ready(&self) -> bool {
        self.slots.front().is_some_and(|slot| slot.results.is_some())
    }

    /// Returns whether so many results are ready that the caller should take them now. If they used up the
    /// limit, the caller would have to wait for the first work item that is not done.
    fn should_be_taken(&self) -> bool {
        let ready = self.slots.iter().take_while(|slot| slot.results.is_some());
        ready.map(|slot| slot.bytes).sum::<usize>() >= self.most_untaken / 3
    }

    /// Takes the results before the first work item that is not done. Stops once half of `most_untaken` is
    /// taken, because the caller may hold these results while the next ones are made.
    fn take_ready(&mut self) -> Vec<T> {
        let mut ready = Vec::new();
        let enough = self.untaken.saturating_sub(self.most_untaken / 2);
        while let Some(slot) = self.slots.front_mut() {
            if !ready.is_empty() && self.untaken <= enough {
                break;
            }
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

impl<T, A> fmt::Debug for Pipeline<T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").finish_non_exhaustive()
    }
}
