//! Chunking bytes that come in one after the other: the part that [`Pieces`](super::Pieces) and
//! [`Reader`](super::Reader) share.
//!
//! All threads do the same, and there are three things to do: to read a block, to scan a block, which makes jobs of the
//! chunks that end in it, and to do a job. Scanning must be done in the order of the input, so one thread at a time does it,
//! whichever is free, most of the time the one that has just read the block; and so must reading, unless the source can be
//! split. Where there are so many threads that they would wait for the one that scans, they mark the blocks that it comes to
//! next, so that it need not look at them. No thread waits for another as long as there is anything to do. A byte is copied
//! nowhere inside, and memory is bounded by the number of blocks.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::CANCEL_POLL;
use super::block_reader::{self, Marking, ReadBlock, Tail};
use super::boundaries::Boundaries;
use super::chunk::ChunkBytes;
use super::splitter::Splitter;
use super::work_item::WorkItem;
use crate::Cancel;
use crate::cdc::CdcParams;
use crate::engine::workers::{Helper, Workers, yield_to_other_threads};
use crate::error::{Error, IoError};
use crate::io::buffer_pool::{BLOCK_SIZE, Block, Blocks};
use crate::io::source::Source;
use crate::nar::NarError;

pub(super) type Work<T> = Box<dyn Fn(&ChunkBytes<'_>) -> T + Send + Sync>;

/// How many blocks are read ahead for each thread. With one, threads would wait now and then.
const MOST_FILLED: usize = 2;

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
}

struct Shared<T> {
    state: Mutex<State<T>>,
    /// Notified when a block is read, when a job is done, when there is a new one, and when the front is free again, if
    /// anybody waits.
    changed: Condvar,
    /// The pipeline is gone; nobody wants results any more.
    abandoned: AtomicBool,
    work: Work<T>,
    workers: Workers,
    /// What marks blocks.
    cutter: CdcParams,
}

struct State<T> {
    /// What any thread may read; without it, the caller feeds the front. `None` while a thread reads all that is left of it,
    /// and after the end.
    source: Option<Box<dyn Source + Send>>,
    /// Whether parts of the source are read at the same time, as long as it can be split.
    in_parts: bool,
    /// Threads that read or mark.
    reading: usize,
    marking: usize,
    /// A place a block that is read and not scanned, in the order of the input; empty while it is being read or marked.
    filled: VecDeque<Option<ReadBlock>>,
    /// The number of the block that the first place belongs to.
    first_filled: usize,
    /// How many places there may be.
    most_filled: usize,
    /// `None` while a thread scans, and after the end of the input.
    front: Option<Splitter>,
    scanning: bool,
    queue: VecDeque<WorkItem>,
    /// Jobs that threads are at.
    running: usize,
    /// The helpers that are at work or about to be.
    helpers: usize,
    /// The threads that wait for `changed`.
    waiting: usize,
    /// A slot a job, in the order of the input.
    slots: VecDeque<Slot<T>>,
    /// The number of the job that the first slot belongs to.
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
enum Task {
    Read(ReadTask),
    Scan(Splitter, ReadBlock),
    /// The number of a block, and it.
    Mark(usize, ReadBlock),
    /// The number of a job, and it.
    Run(usize, WorkItem),
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
enum Turn {
    Work(Task),
    /// Others are about to make something to do.
    Wait,
    /// There is nothing to do until the caller takes results, or nothing at all any more.
    Rest,
}

impl<T: Send + 'static> Pipeline<T> {
    /// For what is in `source`, or, without one, for what is fed.
    pub(super) fn new(
        cuts: Boundaries,
        workers: Workers,
        work: Work<T>,
        source: Option<Box<dyn Source + Send>>,
    ) -> Self {
        let max_size = cuts.max_size();
        let cutter = cuts.cutter().clone();
        let state = State {
            source,
            in_parts: workers.most_helpers() > 0,
            reading: 0,
            marking: 0,
            filled: VecDeque::new(),
            first_filled: 0,
            most_filled: MOST_FILLED * workers.threads(),
            front: Some(Splitter::new(cuts)),
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
            cutter,
        };
        Self { shared: Arc::new(shared) }
    }

    /// The next results of what is in the source; `None` after the last. Works until there is nothing to do but to take
    /// them.
    pub(super) fn results(&self, is_cancelled: Cancel<'_>) -> Result<Option<Vec<T>>, Error> {
        let _present = self.shared.workers.enter();
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
        let _present = self.shared.workers.enter();
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
            match state.take_job() {
                Some((number, job)) => {
                    drop(state);
                    self.shared.run(number, job, is_cancelled);
                }
                None => self.shared.wait(state),
            }
        }
    }

    /// Lets `fill` put bytes into a block; it tells how many. To be called when [`Next::Feed`] asks for it. With
    /// `prompt`, a block in which a chunk ends is closed at once.
    pub(super) fn feed(
        &self,
        prompt: bool,
        fill: impl FnOnce(&mut [u8]) -> Result<usize, Error>,
    ) -> Result<usize, Error> {
        let mut state = self.shared.lock();
        let mut front = state.front.take().expect("input is asked for until it ends");
        if !front.is_open() {
            front.open(state.blocks.take().expect("input is asked for when there is a block"));
        }
        drop(state);
        let (jobs, count) = front.feed(prompt, fill)?;
        let mut state = self.shared.lock();
        state.front = Some(front);
        self.shared.queue(state, jobs);
        Ok(count)
    }

    /// Ends the input that was fed.
    pub(super) fn end(&self) -> Result<(), NarError> {
        let mut state = self.shared.lock();
        if let Some(mut front) = state.front.take() {
            let jobs = front.end()?;
            state.blocks.give_back(front.into_blocks());
            self.shared.queue(state, jobs);
        }
        Ok(())
    }
}

impl<T> Drop for Pipeline<T> {
    /// Helpers give up what they are at, if it lasts, and find nothing else.
    fn drop(&mut self) {
        self.shared.abandoned.store(true, Ordering::Relaxed);
        let mut state = self.shared.lock();
        let jobs = std::mem::take(&mut state.queue);
        state.blocks.give_back(jobs.into_iter().flat_map(WorkItem::into_blocks));
        let filled = std::mem::take(&mut state.filled);
        state.blocks.give_back(filled.into_iter().flatten().map(|filled| filled.block));
        if let Some(front) = state.front.take() {
            state.blocks.give_back(front.into_blocks());
        }
        // A file is closed now, unless a helper is reading, and not when the last one has left.
        let source = state.source.take();
        drop(state);
        drop(source);
    }
}

impl<T: Send + 'static> Shared<T> {
    /// What a helper does. A panic goes to the caller: it must not end the pool's thread, and the process with it.
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
            // Tail a failure nobody wants what else could be done.
            let rests = helper.over_budget() || is_cancelled() || state.failure.is_some();
            let turn = if rests { Turn::Rest } else { state.turn() };
            match turn {
                Turn::Work(task) => {
                    drop(state);
                    self.work_on(task, &is_cancelled);
                }
                Turn::Wait => self.wait(state),
                Turn::Rest => {
                    // Under the lock, so that a job which comes now is seen to have nobody.
                    state.helpers -= 1;
                    return;
                }
            }
        }
    }

    fn work_on(self: &Arc<Self>, task: Task, is_cancelled: Cancel<'_>) {
        match task {
            Task::Read(reading) => self.read(reading, is_cancelled),
            Task::Scan(front, filled) => self.scan(front, filled),
            Task::Mark(number, filled) => self.mark(number, filled),
            Task::Run(number, job) => self.run(number, job, is_cancelled),
        }
    }

    fn read(self: &Arc<Self>, reading: ReadTask, is_cancelled: Cancel<'_>) {
        let ReadTask { number, block, mut source, split } = reading;
        let mut filled = block_reader::fill(&mut *source, block, is_cancelled);
        if split && matches!(filled.after, Tail::End) {
            let cut_short = io::Error::from(io::ErrorKind::UnexpectedEof);
            filled.after = Tail::Failure(IoError { path: None, source: cut_short }.into());
        }
        let mut state = self.lock();
        state.reading -= 1;
        if !split && matches!(filled.after, Tail::More) && !self.abandoned.load(Ordering::Relaxed) {
            state.source = Some(source);
        }
        self.put_read_block(state, number, filled);
    }

    fn mark(self: &Arc<Self>, number: usize, mut filled: ReadBlock) {
        let marks = self.cutter.mark(&filled.block[..filled.count]);
        filled.marking = marks.map_or(Marking::InVain, Marking::Done);
        let mut state = self.lock();
        state.marking -= 1;
        self.put_read_block(state, number, filled);
    }

    /// Puts a block into its place, for whoever scans it.
    fn put_read_block(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, State<T>>,
        number: usize,
        filled: ReadBlock,
    ) {
        let place = number - state.first_filled;
        // It is gone when the pipeline is.
        if let Some(place) = state.filled.get_mut(place) {
            *place = Some(filled);
        }
        self.notify(&state);
        self.request_helper(state);
    }

    fn scan(self: &Arc<Self>, mut front: Splitter, ReadBlock { block, count, after, marking }: ReadBlock) {
        let ended = matches!(after, Tail::End);
        let marks = if let Marking::Done(marks) = &marking { Some(marks) } else { None };
        let jobs = front.advance(block, count, marks).and_then(|mut jobs| {
            if ended {
                jobs.extend(front.end()?);
            }
            Ok(jobs)
        });
        let mut state = self.lock();
        state.scanning = false;
        let failure = match (jobs, after) {
            (Err(error), _) => PipelineFailure::Error(error.into()),
            (Ok(_), Tail::Failure(error)) => PipelineFailure::Error(error),
            (Ok(jobs), Tail::More | Tail::End) => {
                if ended {
                    state.blocks.give_back(front.into_blocks());
                } else {
                    state.front = Some(front);
                }
                return self.queue(state, jobs);
            }
        };
        state.failure.get_or_insert(failure);
        self.notify(&state);
    }

    /// Queues the jobs that came of scanning.
    fn queue(self: &Arc<Self>, mut state: MutexGuard<'_, State<T>>, jobs: Vec<WorkItem>) {
        for job in jobs {
            let bytes = job.bytes();
            state.slots.push_back(Slot { bytes, results: None });
            state.untaken += bytes;
            state.queue.push_back(job);
        }
        self.notify(&state);
        self.request_helper(state);
    }

    /// Asks for another helper if there is more to do than this thread does next.
    fn request_helper(self: &Arc<Self>, mut state: MutexGuard<'_, State<T>>) {
        let to_do = state.queue.len()
            + usize::from(state.front.is_some() && state.has_room())
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

    fn run(&self, number: usize, job: WorkItem, is_cancelled: Cancel<'_>) {
        let results = job.run(&self.work, is_cancelled);
        let blocks: Vec<_> = job.into_blocks().collect();
        let mut state = self.lock();
        state.running -= 1;
        state.blocks.give_back(blocks);
        let place = number - state.first;
        state.slots[place].results = Some(results);
        self.notify(&state);
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // While foreign code runs, the lock is not held, or nothing is half done, so that a panic leaves the state as it
        // should be.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails if another thread did.
    fn lock_unless_failed(&self) -> Result<MutexGuard<'_, State<T>>, Error> {
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

    /// Waits for a change, but no longer than a nap.
    fn wait(&self, mut state: MutexGuard<'_, State<T>>) {
        state.waiting += 1;
        let (mut state, _) =
            self.changed.wait_timeout(state, CANCEL_POLL).unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
    }

    fn notify(&self, state: &State<T>) {
        if state.waiting > 0 {
            self.changed.notify_all();
        }
    }
}

impl<T> State<T> {
    /// What a thread that is free does next.
    fn turn(&mut self) -> Turn {
        // Jobs come first when nobody else does them, and their bytes are in this thread's cache now; else some are kept
        // at hand, so that no thread has to wait for the one that scans.
        if self.queue.len() < (2 * self.helpers).max(1) && self.has_room() {
            // What must be read in order may take longest, as where it is hashed meanwhile.
            let reads_first = self.helpers > 0 && !self.in_parts && self.can_read();
            if !reads_first
                && self.front.is_some()
                && let Some(filled) = self.take_read_block()
                && let Some(front) = self.front.take()
            {
                self.scanning = true;
                return Turn::Work(Task::Scan(front, filled));
            }
            if let Some(reading) = self.take_reading() {
                return Turn::Work(Task::Read(reading));
            }
        }
        if let Some((number, job)) = self.take_job() {
            return Turn::Work(Task::Run(number, job));
        }
        let more = self.reading > 0
            || self.marking > 0
            || self.scanning
            || (self.source.is_some() && self.running > 0);
        if !more || !self.has_room() {
            return Turn::Rest;
        }
        match self.take_unmarked() {
            Some((number, filled)) => Turn::Work(Task::Mark(number, filled)),
            None => Turn::Wait,
        }
    }

    fn can_read(&self) -> bool {
        self.source.is_some() && self.filled.len() < self.most_filled && !self.blocks.is_empty()
    }

    /// The next block to be read.
    fn take_reading(&mut self) -> Option<ReadTask> {
        if !self.can_read() {
            return None;
        }
        let mut source = self.source.take()?;
        // Foreign code comes first, so that a panic leaves the rest as it should be.
        let part = if self.in_parts { source.split_off(BLOCK_SIZE as u64) } else { None };
        self.in_parts = part.is_some();
        let block = self.blocks.take()?;
        let number = self.first_filled + self.filled.len();
        self.filled.push_back(None);
        self.reading += 1;
        match part {
            Some(part) => {
                self.source = Some(source);
                Some(ReadTask { number, block, source: part, split: true })
            }
            None => Some(ReadTask { number, block, source, split: false }),
        }
    }

    /// The next block to be scanned, if it has been read.
    fn take_read_block(&mut self) -> Option<ReadBlock> {
        let filled = self.filled.front_mut()?.take()?;
        self.filled.pop_front();
        self.first_filled += 1;
        Some(filled)
    }

    /// The next block to be marked, if the thread that scans cannot keep up: if another one waits for it already. The first
    /// block is left to that thread, which will come to it before it could be marked.
    fn take_unmarked(&mut self) -> Option<(usize, ReadBlock)> {
        if !self.scanning || self.waiting == 0 {
            return None;
        }
        let unmarked =
            |place: &mut Option<ReadBlock>| place.take_if(|filled| matches!(filled.marking, Marking::Undone));
        let (place, filled) =
            self.filled.iter_mut().enumerate().skip(1).find_map(|(i, place)| Some((i, unmarked(place)?)))?;
        self.marking += 1;
        Some((self.first_filled + place, filled))
    }

    fn take_job(&mut self) -> Option<(usize, WorkItem)> {
        let number = self.first + self.slots.len() - self.queue.len();
        let job = self.queue.pop_front()?;
        self.running += 1;
        Some((number, job))
    }

    /// Whether more may be handed out before the caller takes results.
    const fn has_room(&self) -> bool {
        self.untaken < self.most_untaken
    }

    /// Whether the caller can feed the front now.
    fn can_be_fed(&self) -> bool {
        let block = self.front.as_ref().is_some_and(|front| front.is_open() || !self.blocks.is_empty());
        block && self.has_room()
    }

    /// Whether the jobs there are must be done before the caller is asked for input: because it would have to wait for
    /// that, or because nobody but the caller does them.
    fn comes_first(&self, input_waits: bool) -> bool {
        (input_waits && !self.slots.is_empty()) || (self.helpers == 0 && !self.queue.is_empty())
    }

    fn is_at_end(&self) -> bool {
        self.front.is_none() && !self.scanning && self.slots.is_empty()
    }

    fn is_ready(&self) -> bool {
        self.slots.front().is_some_and(|slot| slot.results.is_some())
    }

    /// Whether so many results are ready that the caller had better take them before there is no room: it would have to wait
    /// then for the first of the jobs that are not done.
    fn should_be_taken(&self) -> bool {
        let ready = self.slots.iter().take_while(|slot| slot.results.is_some());
        ready.map(|slot| slot.bytes).sum::<usize>() >= self.most_untaken / 3
    }

    /// The results that can be given now: those before the first job that is not done. Not more of them than it takes to
    /// make room: whoever takes them may hold them while the next ones come.
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

impl<T> fmt::Debug for Pipeline<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").finish_non_exhaustive()
    }
}
