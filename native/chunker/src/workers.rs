//! The pool of worker threads that all work of the engine shares.
//!
//! There is one pool a process, made when work first asks for it. A thread that calls the engine works too: it hands
//! out what others can take, and does what they have not taken, so that `threads` counts the caller.
//!
//! A thread of the pool is asked for help only when it is free. So no call has to wait for help that is held up in
//! another, perhaps much longer call: it goes on alone, and asks again when it has more to hand out.

use std::error::Error as _;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use once_cell::sync::OnceCell;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, IoError, OptionsError};

/// More threads than any machine of today has cores for; a larger number is a mistake.
const MOST_THREADS: usize = 1024;

static POOL: OnceCell<Pool> = OnceCell::new();

#[derive(Debug)]
struct Pool {
    threads: ThreadPool,
    /// How many of them are free.
    free: AtomicUsize,
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
        Err(OptionsError { option: "threads", value: threads as u64, allowed })
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
            let free = AtomicUsize::new(threads.current_num_threads());
            Ok::<_, IoError>(Pool { threads, free })
        })?;
        Ok(Self { pool: Some(pool), helpers: helpers.min(pool.threads.current_num_threads()) })
    }

    /// How many threads work on a call, the calling one included.
    #[must_use]
    pub const fn threads(&self) -> usize {
        self.helpers + 1
    }

    /// How many threads of the pool may help.
    pub(crate) const fn most_helpers(&self) -> usize {
        self.helpers
    }

    /// The pool, if any of its threads may help.
    pub(crate) fn pool(&self) -> Option<&'static ThreadPool> {
        self.pool.map(|pool| &pool.threads)
    }

    /// A thread of the pool that is free; `None` if there is none. What is then given to the pool begins at once.
    pub(crate) fn recruit(&self) -> Option<Helper> {
        let pool = self.pool?;
        pool.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| free.checked_sub(1)).ok()?;
        Some(Helper(pool))
    }
}

/// A thread of the pool that is spoken for. To be dropped when it is done.
#[derive(Debug)]
pub(crate) struct Helper(&'static Pool);

impl Helper {
    pub(crate) fn pool(&self) -> &'static ThreadPool {
        &self.0.threads
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.0.free.fetch_add(1, Ordering::Relaxed);
    }
}

/// Lets another thread have the core, if one waits for it.
///
/// To be called about once a millisecond by threads that work for long. The VM's own schedulers spin for a while when they
/// have nothing to do, so that the system takes them for threads that work all the time too, and makes them wait for a
/// slice of time behind those that do: a process that should wake then wakes tens of milliseconds late. Costs less than a
/// microsecond if nobody waits.
pub fn polite() {
    std::thread::yield_now();
}
