//! The thread pool of the engine.
//!
//! The process has one pool, which the first call that needs it creates. The calling thread works too: it
//! queues tasks for the pool and does those that no other thread has taken, so `threads` includes it.
//!
//! A call gets a helper only if callers and helpers together are fewer than the threads of the pool.
//! Otherwise it continues alone, and asks again when it has more tasks; if later callers exceed that number,
//! helpers leave. So no call waits for a helper that is busy in another call, and threads do not compete for
//! a core and its cache.

use std::cell::Cell;
use std::error::Error as _;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use once_cell::sync::OnceCell;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, IoError, OptionsError};

/// The maximum number of threads; more than any current machine has cores, so that a larger number is a
/// mistake.
const MOST_THREADS: usize = 1024;

/// The longest wait of one thread for another between two checks for cancellation.
pub(super) const CANCEL_POLL: Duration = Duration::from_millis(10);

static POOL: OnceCell<Pool> = OnceCell::new();

static ON_START: OnceCell<fn()> = OnceCell::new();

/// Sets a function that each thread of the pool calls when it starts, to set its priority for example. Has an
/// effect once, before the pool is created.
pub fn on_thread_start(start: fn()) {
    // A second one would come too late for threads that run.
    let _ = ON_START.set(start);
}

#[derive(Debug)]
struct Pool {
    threads: ThreadPool,
    /// The number of threads at work for a call: callers and helpers.
    busy: AtomicUsize,
}

impl Pool {
    fn size(&self) -> usize {
        self.threads.current_num_threads()
    }
}

/// Holds the threads that one call may use.
#[derive(Debug, Clone, Copy)]
pub struct Workers {
    pool: Option<&'static Pool>,
    helpers: usize,
}

impl Workers {
    /// Uses only the calling thread.
    #[must_use]
    pub const fn of_this_thread() -> Self {
        Self { pool: None, helpers: 0 }
    }

    /// Checks that `threads` is in the accepted range, 1 to 1,024.
    ///
    /// # Errors
    ///
    /// Returns [`OptionsError`] if it is not.
    pub fn check(threads: usize) -> Result<(), OptionsError> {
        if (1..=MOST_THREADS).contains(&threads) {
            return Ok(());
        }
        let allowed = format!("1..{MOST_THREADS}");
        Err(OptionsError { option: "threads", value: (threads as u64).into(), allowed })
    }

    /// Uses the calling thread and helpers from the pool, `threads` in total. The first call that needs the
    /// pool creates it with `pool_size` threads; later calls do not resize it, and use no more helpers than
    /// it has threads.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Options`] unless `threads` is 1 to 1,024, and [`Error::Io`] if the operating system
    /// cannot create the threads.
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
                .start_handler(|_| ON_START.get().copied().unwrap_or(|| ())())
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

    /// Uses as many threads as the process may use cores. Otherwise the same as [`shared`](Self::shared).
    ///
    /// # Errors
    ///
    /// Returns [`Error::Io`] if the operating system cannot create the threads.
    pub fn all() -> Result<Self, Error> {
        Self::with_threads(cores())
    }

    /// Uses `threads` threads, including the calling one, of a pool with at least a thread for each core.
    /// Otherwise the same as [`shared`](Self::shared).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`shared`](Self::shared).
    pub fn with_threads(threads: usize) -> Result<Self, Error> {
        Self::shared(threads, threads.max(cores()))
    }

    /// Returns the number of threads that work on a call, including the calling thread.
    #[must_use]
    pub const fn threads(&self) -> usize {
        self.helpers + 1
    }

    /// Returns the same workers with one helper less, for a thread that is used otherwise.
    pub(crate) const fn with_one_helper_less(self) -> Self {
        if self.helpers > 1 { Self { helpers: self.helpers - 1, ..self } } else { Self::of_this_thread() }
    }

    /// Returns the maximum number of helpers.
    pub(crate) const fn most_helpers(&self) -> usize {
        self.helpers
    }

    /// Returns the pool, or `None` if no helpers may be used.
    pub(crate) fn pool(&self) -> Option<&'static ThreadPool> {
        self.pool.map(|pool| &pool.threads)
    }

    /// Counts the calling thread as busy until the permit is dropped. A call that may request helpers holds
    /// the permit while it works.
    pub(crate) fn enter(&self) -> Option<Permit> {
        let pool = self.pool?;
        pool.busy.fetch_add(1, Ordering::Relaxed);
        Some(Permit(pool))
    }

    /// Reserves a free thread of the pool, or returns `None` if there is none. A task that is then spawned on
    /// the pool starts at once.
    pub(crate) fn request_helper(&self) -> Option<Helper> {
        let pool = self.pool?;
        let one_more = |busy: usize| (busy < pool.size()).then_some(busy + 1);
        pool.busy.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Helper(Permit(pool)))
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(MOST_THREADS))
}

/// Counts a thread as busy until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit(&'static Pool);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Reserves a thread of the pool until it is dropped.
#[derive(Debug)]
pub(crate) struct Helper(Permit);

impl Helper {
    pub(crate) fn pool(&self) -> &'static ThreadPool {
        &self.0.0.threads
    }

    /// Returns whether callers that came later have made more threads busy than the pool has, so that this
    /// helper should leave its core to them.
    pub(crate) fn over_budget(&self) -> bool {
        let pool = self.0.0;
        pool.busy.load(Ordering::Relaxed) > pool.size()
    }
}

/// Yields the core to another thread, if one waits for it.
///
/// Long-running threads call this about 10,000 times a second. The VM's schedulers spin before they sleep,
/// and yield a hundred times while they spin. If a scheduler shares a core with a thread that does not yield,
/// each of its yields lasts one time slice of that thread, and a process wakes tens of milliseconds late. For
/// the same reason every call yields as long as a scheduler spins on the core: with one yield each 100
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
        // Another thread works on this core. This thread keeps its share; if both belong to this pool, the
        // pause lets the operating system see that one of them waits, and migrate it.
        away.max(4 * HOT)
    } else if in_vain > ENOUGH {
        SELDOM
    } else {
        return;
    };
    NEXT.set(Some(after + pause));
}

/// A lower bound on the time of a switch to another thread and back.
const SWITCH: Duration = Duration::from_micros(2);

/// An upper bound on the time for which a thread that only polls for work keeps the core.
const SPIN: Duration = Duration::from_micros(20);

/// The time for which Linux takes a waiting thread for cache-hot, and does not migrate it to a free core.
const HOT: Duration = Duration::from_micros(500);

/// The maximum number of yields in a row for which Linux may continue the yielding thread although another
/// one waits.
const ENOUGH: u32 = 8;

/// The time to the next yield if no other thread takes the core. A yield costs up to 1 microsecond.
const SELDOM: Duration = Duration::from_micros(100);
