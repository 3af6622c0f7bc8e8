//! Chunks bytes that come in one after the other: the part that [`Pieces`](super::Pieces) and
//! [`Reader`](super::Reader) share.
//!
//! All threads do the same, and there are three things to do: to read a block, to scan a block, which makes work items of
//! the chunks that end in it, and to run a work item. Scanning must follow the order of the input, so one thread at a time
//! does it, whichever is free, most of the time the one that has just read the block; and so must reading, unless the source
//! can be split. If there are so many threads that they would wait for the one that scans, they look for the candidates in
//! the blocks that it comes to next, so that it need not look at them. No thread waits for another as long as there is
//! anything to do. No byte is copied inside, and memory is bounded by the number of blocks.

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

/// How many blocks are read ahead for each thread. With one, threads would wait now and then.
const READ_AHEAD: usize = 2;

/// What the caller is to do next.
pub(super) enum Next<T> {
    /// Take these results. They follow those that came before.
    Results(Vec<T>),
    /// Put bytes in.
    Feed,
    /// Nothing: the input has ended and its results have all been given.
    End,
}

pub(super) struct Pipeline<T, A> {
    shared: Arc<Shared<T, A>>,
}

struct Shared<T, A> {
    state: Mutex<PipelineState<T, A>>,
    /// Notified when a block is read, when a work item is done, when there is a new one, and when the splitter is free again,
    /// if any thread waits.
    changed: Condvar,
    /// The pipeline has been dropped, and results are of no use any more.
    abandoned: AtomicBool,
    work: Work<T, A>,
    workers: Workers,
    /// What finds candidates.
    params: CdcParams,
}

struct PipelineState<T, A> {
    /// What any thread may read; without it, the caller feeds the splitter. `None` while a thread reads all that is left of it,
    /// and after the end.
    source: Option<Box<dyn Source + Send>>,
    /// Whether parts of the source are read at the same time, as long as it can be split.
    in_parts: bool,
    /// How many threads read, and how many look for candidates.
    reading: usize,
    looking_ahead: usize,
    /// The blocks that are read and not scanned, in the order of the input; `None` while a thread reads one or looks for
    /// candidates in it.
    read_blocks: VecDeque<Option<ReadBlock>>,
    /// The number of the first of these blocks.
    first_block: usize,
    /// How many of these blocks there may be.
    most_blocks: usize,
    /// `None` while a thread scans, and after the end of the input.
    splitter: Option<Splitter<A>>,
    scanning: bool,
    queue: VecDeque<WorkItem<A>>,
    /// How many work items threads are at.
    running: usize,
    /// The helpers that are at work or about to be.
    helpers: usize,
    /// The threads that wait for `changed`.
    waiting: usize,
    /// A slot for each work item, in the order of the input.
    slots: VecDeque<Slot<T>>,
    /// The number of the work item that the first slot belongs to.
    first: usize,
    /// The bytes of all slots.
    untaken: usize,
    /// The bytes of chunks that may be handed out and not taken.
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

/// What there is to do.
enum Task<A> {
    Read(ReadTask),
    Scan(Splitter<A>, ReadBlock),
    /// The number of a block, and it.
    LookAhead(usize, ReadBlock),
    /// The number of a work item, and it.
    Run(usize, WorkItem<A>),
}

/// A block to be filled.
struct ReadTask {
    number: usize,
    block: Block,
    source: Box<dyn Source + Send>,
    /// The source is a part of the pipeline's, which has stayed where it is.
    split: bool,
}

/// What a thread may do.
#[cfg_attr(
    target_pointer_width = "64",
    expect(clippy::large_enum_variant, reason = "it is made and taken apart at once, and kept nowhere")
)]
enum Turn<A> {
    Work(Task<A>),
    /// Others are about to make something to do.
    Wait,
    /// There is nothing to do until the caller takes results, or nothing at all any more.
    Rest,
}

impl<T: Send + 'static, A: Send + 'static> Pipeline<T, A> {
    /// Chunks what is in `source`, or, without one, what is fed.
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
            // The longest chunk, which may begin and end inside a block; beyond that, two MiB for each thread.
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

    /// Returns the next results of what is in the source; `None` after the last. Works until there is nothing to do but to
    /// take them.
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
                        // There is room again.
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

    /// Works on what was fed until the caller is needed. With `prompt`, results are given as soon as there are any; else
    /// input is asked for first, which keeps all threads busy. Input that does `wait` for its sender is asked for last.
    pub(super) fn next(
        &self,
        prompt: bool,
        input_waits: bool,
        is_cancelled: Cancel<'_>,
    ) -> Result<Next<T>, Error> {
        let _permit = self.shared.workers.enter();
        loop {
            if is_cancelled() {
                return Err(Error::Cancelled);
            }
            let mut state = self.shared.lock_unless_failed()?;
            let ready = state.is_ready();
            let feed = state.can_be_fed() && !state.comes_first(input_waits);
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

    /// Lets `fill` put bytes into a block; it returns how many. To be called when [`Next::Feed`] asks for it. With
    /// `prompt`, a block in which a chunk ends is closed at once.
    pub(super) fn feed(
        &self,
        prompt: bool,
        fill: impl FnOnce(&mut [u8]) -> Result<usize, Error>,
    ) -> Result<usize, Error> {
        let mut state = self.shared.lock();
        let mut splitter = state.splitter.take().expect("input is asked for until it ends");
        if !splitter.is_open() {
            splitter.open(state.blocks.take().expect("input is asked for when there is a block"));
        }
        drop(state);
        let (items, count) = splitter.feed(prompt, fill)?;
        let mut state = self.shared.lock();
        state.splitter = Some(splitter);
        self.shared.queue(state, items);
        Ok(count)
    }

    /// Ends the input that was fed.
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
    /// Cancels what helpers are at, and leaves them nothing else.
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
        // A file is closed now, unless a helper is reading, and not when the last one has left.
        let source = state.source.take();
        drop(state);
        drop(source);
    }
}

impl<T: Send + 'static, A: Send + 'static> Shared<T, A> {
    /// Does what a helper does. A panic goes to the caller: it must not end the pool's thread, and the process with it.
    fn help(self: Arc<Self>, helper: &Helper) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.take_turns(helper))) {
            let mut state = self.lock();
            state.helpers -= 1;
            state.failure.get_or_insert(PipelineFailure::Panic(panic));
            self.notify(&state);
        }
    }

    /// Works until there is nothing to do for a helper.
    fn take_turns(self: &Arc<Self>, helper: &Helper) {
        let is_cancelled = || self.abandoned.load(Ordering::Relaxed);
        loop {
            yield_to_other_threads();
            let mut state = self.lock();
            // After a failure, the results of what else could be done are of no use.
            let rests = helper.over_budget() || is_cancelled() || state.failure.is_some();
            let turn = if rests { Turn::Rest } else { state.turn() };
            match turn {
                Turn::Work(task) => {
                    drop(state);
                    self.work_on(task, &is_cancelled);
                }
                Turn::Wait => self.wait(state),
                Turn::Rest => {
                    // Under the lock, so that a thread that queues a work item now sees that this one does not take it.
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

    /// Puts a block into its place, for the thread that scans it.
    fn put_read_block(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, PipelineState<T, A>>,
        number: usize,
        read: ReadBlock,
    ) {
        let place = number - state.first_block;
        // It is gone if the pipeline is.
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

    /// Queues the work items that came of scanning.
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

    /// Asks for another helper if there is more to do than this thread does next.
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
        // While foreign code runs, the lock is not held, or nothing is half done, so that a panic leaves the state as it
        // should be.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails if another thread did.
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

    /// Waits for a change, but no longer than [`CANCEL_POLL`].
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
    /// Decides what a thread that is free does next.
    fn turn(&mut self) -> Turn<A> {
        // Without helpers, work items come first, since their bytes are in this thread's cache now; else some are kept
        // at hand, so that no thread has to wait for the one that scans.
        if self.queue.len() < (2 * self.helpers).max(1) && self.has_room() {
            // Reading in order may take longest: it does if the source hashes what it gives.
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
        // Foreign code comes first, so that a panic leaves the rest as it should be.
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

    /// Takes the next block in which to look for candidates, if the thread that scans cannot keep up: if another one waits for
    /// it already. The first block is left to that thread, which will come to it before it could be looked through.
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

    /// Whether more may be handed out before the caller takes results.
    const fn has_room(&self) -> bool {
        self.untaken < self.most_untaken
    }

    /// Whether the caller can feed the splitter now.
    fn can_be_fed(&self) -> bool {
        let block =
            self.splitter.as_ref().is_some_and(|splitter| splitter.is_open() || !self.blocks.is_empty());
        block && self.has_room()
    }

    /// Whether the work items there are must be done before the caller is asked for input: because it would have to wait for
    /// that, or because no helper does them.
    fn comes_first(&self, input_waits: bool) -> bool {
        (input_waits && !self.slots.is_empty()) || (self.helpers == 0 && !self.queue.is_empty())
    }

    fn is_at_end(&self) -> bool {
        self.splitter.is_none() && !self.scanning && self.slots.is_empty()
    }

    fn is_ready(&self) -> bool {
        self.slots.front().is_some_and(|slot| slot.results.is_some())
    }

    /// Whether so many results are ready that the caller had better take them before there is no room: it would have to wait
    /// then for the first of the work items that are not done.
    fn should_be_taken(&self) -> bool {
        let ready = self.slots.iter().take_while(|slot| slot.results.is_some());
        ready.map(|slot| slot.bytes).sum::<usize>() >= self.most_untaken / 3
    }

    /// Takes the results before the first work item that is not done, but not more of them than it takes to make room: the
    /// caller may hold them while the next ones come.
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
