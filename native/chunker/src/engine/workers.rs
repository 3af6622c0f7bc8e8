//! The pool of worker threads that all work of the engine shares.
//!
//! There is one pool a process, made when work first asks for it. A thread that calls the engine works too: it hands
//! out what others can take, and does what they have not taken, so that `threads` counts the caller.
//!
//! Callers and helpers together are no more than the pool has threads: a call that finds as many at work goes on alone,
//! and asks again when it has more to hand out. So no call waits for help that is held up in another, and no core has two
//! threads to share that each spoil the other's cache.

use std::cell::Cell;
use std::error::Error as _;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use once_cell::sync::OnceCell;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, IoError, OptionsError};

/// More threads than any machine of today has cores for; a larger number is a mistake.
const MOST_THREADS: usize = 1024;

/// How long a thread waits for another before it asks again whether it is cancelled.
pub(super) const CANCEL_POLL: Duration = Duration::from_millis(10);

static POOL: OnceCell<Pool> = OnceCell::new();

#[derive(Debug)]
struct Pool {
    threads: ThreadPool,
    /// The threads that work for a call: those that made it, and helpers.
    busy: AtomicUsize,
}

impl Pool {
    fn size(&self) -> usize {
        self.threads.current_num_threads()
    }
}

/// The threads that one call may use.
#[derive(Debug, Clone, Copy)]
pub struct Workers {
    pool: Option<&'static Pool>,
    helpers: usize,
}

impl Workers {
    /// Only the thread that calls.
    #[must_use]
    pub const fn of_this_thread() -> Self {
        Self { pool: None, helpers: 0 }
    }

    /// Whether `threads` is a number of threads that can be asked for: 1 to 1,024.
    ///
    /// # Errors
    ///
    /// [`OptionsError`] if not.
    pub fn check(threads: usize) -> Result<(), OptionsError> {
        if (1..=MOST_THREADS).contains(&threads) {
            return Ok(());
        }
        let allowed = format!("1..{MOST_THREADS}");
        Err(OptionsError { option: "threads", value: (threads as u64).into(), allowed })
    }

    /// The thread that calls and as many of the pool's that there are `threads` in all. The first call that needs the
    /// pool makes it, with `pool_size` threads; it keeps that size.
    ///
    /// # Errors
    ///
    /// [`Error::Options`] unless `threads` is 1 to 1,024; [`Error::Io`] when the operating system refuses the threads.
    pub fn shared(threads: usize, pool_size: usize) -> Result<Self, Error> {
        Self::check(threads)?;
        let helpers = threads - 1;
        if helpers == 0 {
            return Ok(Self::of_this_thread());
        }
        let pool = POOL.get_or_try_init(|| {
            let threads = ThreadPoolBuilder::new()
                .num_threads(pool_size.clamp(1, MOST_THREADS))
                .thread_name(|index| format!("chunker-{index}"))
                .build()
                .map_err(|error| {
                    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
                    let source = match cause.and_then(io::Error::raw_os_error) {
                        Some(number) => io::Error::from_raw_os_error(number),
                        None => io::Error::other(error),
                    };
                    IoError { path: None, source }
                })?;
            Ok::<_, IoError>(Pool { threads, busy: AtomicUsize::new(0) })
        })?;
        Ok(Self { pool: Some(pool), helpers: helpers.min(pool.size()) })
    }

    /// How many threads work on a call, the calling one included.
    #[must_use]
    pub const fn threads(&self) -> usize {
        self.helpers + 1
    }

    /// The same with one helper less, which does something else.
    pub(crate) const fn but_one(self) -> Self {
        if self.helpers > 1 { Self { helpers: self.helpers - 1, ..self } } else { Self::of_this_thread() }
    }

    /// How many threads of the pool may help.
    pub(crate) const fn most_helpers(&self) -> usize {
        self.helpers
    }

    /// The pool, if any of its threads may help.
    pub(crate) fn pool(&self) -> Option<&'static ThreadPool> {
        self.pool.map(|pool| &pool.threads)
    }

    /// Counts the calling thread among those at work until what this gives is dropped. To be held by a call that may ask
    /// for helpers, while it works.
    pub(crate) fn enter(&self) -> Option<Permit> {
        let pool = self.pool?;
        pool.busy.fetch_add(1, Ordering::Relaxed);
        Some(Permit(pool))
    }

    /// A thread of the pool that is free; `None` if there is none. What is then given to the pool begins at once.
    pub(crate) fn request_helper(&self) -> Option<Helper> {
        let pool = self.pool?;
        let one_more = |busy: usize| (busy < pool.size()).then_some(busy + 1);
        pool.busy.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Helper(Permit(pool)))
    }
}

/// A thread that is at work. To be dropped when it is done.
#[derive(Debug)]
pub(crate) struct Permit(&'static Pool);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A thread of the pool that is spoken for. To be dropped when it is done.
#[derive(Debug)]
pub(crate) struct Helper(Permit);

impl Helper {
    pub(crate) fn pool(&self) -> &'static ThreadPool {
        &self.0.0.threads
    }

    /// Whether more callers have come meanwhile, so that a core does not lack work and this helper is one too many.
    pub(crate) fn over_budget(&self) -> bool {
        let pool = self.0.0;
        pool.busy.load(Ordering::Relaxed) > pool.size()
    }
}

/// Yields the core to another thread, if one waits for it.
///
/// Threads that work for long call this some ten thousand times a second. The VM's schedulers spin before they
/// sleep, and yield a hundred times while they spin. If a scheduler shares a core with a thread that does not
/// yield, each of its yields lasts one time slice of that thread, and a process wakes tens of milliseconds late.
/// For the same reason every call yields as long as a scheduler spins on the core: with one yield each 100
/// microseconds, processes wake 10 milliseconds late.
pub fn yield_to_other_threads() {
    thread_local! {
        static NEXT: Cell<Option<Instant>> = const { Cell::new(None) };
        /// The number of yields in a row for which no other thread took the core.
        static IN_VAIN: Cell<u32> = const { Cell::new(0) };
    }
    let before = Instant::now();
    if NEXT.get().is_some_and(|next| before < next) {
        return;
    }
    std::thread::yield_now();
    let after = Instant::now();
    let away = after.duration_since(before);
    let in_vain = if away < SWITCH { IN_VAIN.get().saturating_add(1) } else { 0 };
    IN_VAIN.set(in_vain);
    let pause = if away > SPIN {
        // Another thread works on this core. This thread keeps its share; if both are of this pool, the pause lets
        // the operating system see that one of them waits, and move it.
        away.max(4 * HOT)
    } else if in_vain > ENOUGH {
        SELDOM
    } else {
        return;
    };
    NEXT.set(Some(after + pause));
}

/// To switch to another thread and back takes longer.
const SWITCH: Duration = Duration::from_micros(2);

/// Longer than a thread has the core that only looks whether there is something to do.
const SPIN: Duration = Duration::from_micros(20);

/// So long Linux takes a waiting thread for one that has just run, which it would not move to a core that is free.
const HOT: Duration = Duration::from_micros(500);

/// So often Linux may go on with the thread that yields although another one waits.
const ENOUGH: u32 = 8;

/// The time to the next yield if no other thread takes the core. A yield costs up to a microsecond.
const SELDOM: Duration = Duration::from_micros(100);
