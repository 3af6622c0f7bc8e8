//! The pool of worker threads that all work of the engine shares.
//!
//! There is one pool a process, made when work first asks for it. A thread that calls the engine works too: it hands
//! out what others can take, and does what they have not taken, so that `threads` counts the caller.

use std::error::Error as _;
use std::io;

use once_cell::sync::OnceCell;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, IoError, OptionsError};

/// More threads than any machine of today has cores for; a larger number is a mistake.
const MOST_THREADS: usize = 1024;

static POOL: OnceCell<ThreadPool> = OnceCell::new();

/// The threads that one call may use.
#[derive(Debug, Clone, Copy)]
pub struct Workers {
    pool: Option<&'static ThreadPool>,
    helpers: usize,
}

impl Workers {
    /// Only the thread that calls.
    #[must_use]
    pub const fn of_this_thread() -> Self {
        Self { pool: None, helpers: 0 }
    }

    /// The thread that calls and as many of the pool's that there are `threads` in all. The first call that needs the
    /// pool makes it, with `pool_size` threads; it keeps that size.
    ///
    /// # Errors
    ///
    /// [`Error::Options`] unless `threads` is 1 to 1,024; [`Error::Io`] when the operating system refuses the threads.
    pub fn shared(threads: usize, pool_size: usize) -> Result<Self, Error> {
        if !(1..=MOST_THREADS).contains(&threads) {
            let allowed = format!("1..{MOST_THREADS}");
            return Err(OptionsError { option: "threads", value: threads as u64, allowed }.into());
        }
        let helpers = threads - 1;
        if helpers == 0 {
            return Ok(Self::of_this_thread());
        }
        let pool = POOL.get_or_try_init(|| {
            ThreadPoolBuilder::new()
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
                })
        })?;
        Ok(Self { pool: Some(pool), helpers: helpers.min(pool.current_num_threads()) })
    }

    /// How many threads work on a call, the calling one included.
    #[must_use]
    pub const fn threads(&self) -> usize {
        self.helpers + 1
    }

    /// The pool and how many of its threads may be used; `None` if none may.
    pub(crate) const fn helpers(&self) -> Option<(&'static ThreadPool, usize)> {
        match self.pool {
            Some(pool) if self.helpers > 0 => Some((pool, self.helpers)),
            _ => None,
        }
    }
}
