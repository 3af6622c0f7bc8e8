//! Processes many items in parallel; each item succeeds or fails on its own.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use super::progress::{Progress, ProgressReporter};
use super::workers::{CANCEL_POLL, Helper, Workers, yield_to_other_threads};
use crate::Cancel;
use crate::error::Error;

/// Holds the options for processing many items. By default all cores work, from four items on.
///
/// ```
/// use chunker::BatchOptions;
/// use chunker::engine::workers::Workers;
///
/// let report = |done: usize, total: usize| println!("{done} of {total}");
/// let options = BatchOptions {
///     workers: Some(Workers::with_threads(2)?),
///     progress: Some(&report),
///     ..BatchOptions::default()
/// };
/// # assert_eq!(options.parallel_threshold, 4);
/// # Ok::<(), chunker::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct BatchOptions<'a> {
    /// The threads to use. `None` uses a thread for each core.
    pub workers: Option<Workers>,
    /// The number of items below which the calling thread does all of them.
    pub parallel_threshold: usize,
    /// Receives the number of items done and the total: 0 at the start, the total at the end, and in between
    /// at most once in 100 milliseconds. Runs on the calling thread.
    pub progress: Option<&'a dyn Fn(usize, usize)>,
}

impl Default for BatchOptions<'_> {
    fn default() -> Self {
        Self { workers: None, parallel_threshold: 4, progress: None }
    }
}

impl std::fmt::Debug for BatchOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchOptions")
            .field("workers", &self.workers)
            .field("parallel_threshold", &self.parallel_threshold)
            .finish_non_exhaustive()
    }
}

impl BatchOptions<'_> {
    /// Calls `work` for each item and returns the results in the order of the items.
    ///
    /// Each thread takes the next item as soon as it is free, the largest `size` first, so that no thread
    /// starts a large item at the end. `prepare` creates the state that a thread reuses from item to item.
    /// Work on a long item must poll its last argument and return early if it is cancelled; that result is
    /// not used.
    ///
    /// Takes O(n log n) time for n items, in addition to the work on them.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Cancelled`] if `is_cancelled` returns true, and [`Error::Io`] if [`Self::workers`] is
    /// `None` and the operating system cannot create the threads.
    ///
    /// # Panics
    ///
    /// Panics with the same payload if the work on an item panics.
    pub fn run<I: Sync, T: Send, S>(
        &self,
        items: &[I],
        size: impl Fn(&I) -> usize,
        prepare: impl Fn() -> S + Sync,
        work: impl Fn(&mut S, &I, Cancel<'_>) -> T + Sync,
        is_cancelled: Cancel<'_>,
    ) -> Result<Vec<T>, Error> {
        let mut order: Vec<usize> = (0..items.len()).collect();
        order.sort_by_key(|&index| std::cmp::Reverse(size(&items[index])));
        let shared = Shared {
            items,
            order,
            next: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            state: Mutex::new(State { results: Vec::with_capacity(items.len()), helpers: 0, panic: None }),
            left: Condvar::new(),
        };
        let total = items.len();
        let report =
            self.progress.map(|progress| move |done: u64, _: Option<u64>| progress(done as usize, total));
        let progress: Progress<'_> = report.as_ref().map(|report| report as &dyn Fn(u64, Option<u64>));
        let reporter = ProgressReporter::start(progress, Some(total as u64));
        // Polled often, also in the middle of an item, so progress is reported here. A cancelled item counts
        // as done and is not reported.
        let is_cancelled = || {
            let stop = shared.stop.load(Ordering::Relaxed) || is_cancelled();
            shared.stop.store(stop, Ordering::Relaxed);
            if !stop {
                reporter.report_if_due(shared.done.load(Ordering::Relaxed) as u64);
            }
            stop
        };
        // Few items create no threads.
        let workers = match self.workers {
            _ if items.len() < self.parallel_threshold.max(2) => Workers::of_this_thread(),
            Some(workers) => workers,
            None => Workers::all()?,
        };
        match workers.pool() {
            None => shared.take_part(&prepare, &work, &is_cancelled, &mut || true),
            Some(pool) => pool.in_place_scope(|scope| {
                let _permit = workers.enter();
                shared.or_stop(|| {
                    shared.take_part(&prepare, &work, &is_cancelled, &mut || {
                        while let Some(helper) = shared.request_helper(workers) {
                            scope.spawn(|_| shared.help(helper, &prepare, &work));
                        }
                        true
                    });
                });
                shared.wait(&is_cancelled);
            }),
        }
        let stopped = shared.stop.into_inner();
        let state = shared.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(panic) = state.panic {
            resume_unwind(panic);
        }
        if stopped {
            return Err(Error::Cancelled);
        }
        reporter.finish(total as u64);
        let mut results = state.results;
        results.sort_unstable_by_key(|&(index, _)| index);
        Ok(results.into_iter().map(|(_, result)| result).collect())
    }
}

struct Shared<'a, I, T> {
    items: &'a [I],
    /// The indices of the items in the order of processing.
    order: Vec<usize>,
    /// The position in `order` of the next item that no thread has taken.
    next: AtomicUsize,
    done: AtomicUsize,
    stop: AtomicBool,
    state: Mutex<State<T>>,
    /// Notified when a helper leaves.
    left: Condvar,
}

struct State<T> {
    results: Vec<(usize, T)>,
    /// The number of helpers that have not left.
    helpers: usize,
    panic: Option<Box<dyn std::any::Any + Send>>,
}

impl<I: Sync, T: Send> Shared<'_, I, T> {
    fn lock(&self) -> std::sync::MutexGuard<'_, State<T>> {
        // Foreign code never runs under the lock, so a panic leaves the state consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Processes items until none is left, `is_cancelled` returns true, or `goes_on`, called before each
    /// item, returns false.
    fn take_part<S>(
        &self,
        prepare: &impl Fn() -> S,
        work: &impl Fn(&mut S, &I, Cancel<'_>) -> T,
        is_cancelled: Cancel<'_>,
        goes_on: &mut dyn FnMut() -> bool,
    ) {
        let mut results = Vec::new();
        let mut scratch = None;
        while !is_cancelled() && goes_on() {
            let Some(&index) = self.order.get(self.next.fetch_add(1, Ordering::Relaxed)) else { break };
            results
                .push((index, work(scratch.get_or_insert_with(prepare), &self.items[index], is_cancelled)));
            self.done.fetch_add(1, Ordering::Relaxed);
        }
        self.lock().results.append(&mut results);
    }

    /// Requests a helper. Returns `None` if no thread is free, if fewer than two items are left, one for the
    /// caller and one for the helper, or if there are as many helpers as the items can keep busy.
    fn request_helper(&self, workers: Workers) -> Option<Helper> {
        if self.next.load(Ordering::Relaxed) + 1 >= self.order.len() {
            return None;
        }
        let mut state = self.lock();
        if state.helpers >= workers.most_helpers().min(self.items.len() - 1) {
            return None;
        }
        let helper = workers.request_helper()?;
        state.helpers += 1;
        Some(helper)
    }

    fn help<S>(&self, helper: Helper, prepare: &impl Fn() -> S, work: &impl Fn(&mut S, &I, Cancel<'_>) -> T) {
        let stop = || {
            yield_to_other_threads();
            self.stop.load(Ordering::Relaxed)
        };
        self.or_stop(|| self.take_part(prepare, work, &stop, &mut || !helper.over_budget()));
        drop(helper);
        self.lock().helpers -= 1;
        self.left.notify_all();
    }

    /// Stops all threads if `part` panics, and keeps the panic until no helper borrows from the caller any
    /// more.
    fn or_stop(&self, part: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(part)) {
            self.stop.store(true, Ordering::Relaxed);
            self.lock().panic = Some(panic);
        }
    }

    /// Waits for the helpers, each of which is at its last item.
    fn wait(&self, is_cancelled: Cancel<'_>) {
        while self.lock().helpers > 0 {
            // Cancelling stops the helpers. They are still waited for, because they borrow from the caller.
            is_cancelled();
            let state = self.lock();
            if state.helpers > 0 {
                drop(self.left.wait_timeout(state, CANCEL_POLL));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::time::{Duration, Instant};

    use super::super::progress::OFTEN;
    use super::*;
    use crate::{ErrorCode, NEVER};

    fn batch(threads: usize) -> BatchOptions<'static> {
        BatchOptions { workers: Some(Workers::shared(threads, 3).unwrap()), ..BatchOptions::default() }
    }

    fn double(batch: &BatchOptions<'_>, items: &[usize]) -> Result<Vec<usize>, Error> {
        batch.run(items, |&item| item, || (), |(), &item, _| item * 2, NEVER)
    }

    #[test]
    fn results_come_in_the_order_of_the_items() {
        for threads in 1..=4 {
            for count in [0, 1, 2, 3, 4, 5, 1000, 100_000] {
                let items: Vec<usize> = (0..count).map(|i| i * 7919 % 1013).collect();
                let expected: Vec<usize> = items.iter().map(|item| item * 2).collect();
                assert_eq!(double(&batch(threads), &items).unwrap(), expected);
            }
        }
    }

    #[test]
    fn progress_goes_from_nothing_to_all_and_is_no_flood() {
        for threads in [1, 3] {
            for count in [0, 1, 3, 1_000_000] {
                let reported = RefCell::new(Vec::new());
                let report = |done, total| reported.borrow_mut().push((done, total));
                let start = Instant::now();
                double(&BatchOptions { progress: Some(&report), ..batch(threads) }, &vec![1; count]).unwrap();
                let most = 2 + start.elapsed().as_millis() / OFTEN.as_millis();
                let reported = reported.into_inner();
                assert_eq!(reported.first(), Some(&(0, count)));
                assert_eq!(reported.last(), Some(&(count, count)));
                assert!(reported.is_sorted() && reported.len() as u128 <= most, "{reported:?}");
            }
        }
    }

    #[test]
    fn a_few_items_stay_on_the_calling_thread() {
        let here = std::thread::current().id();
        let seen =
            batch(3).run(&[1; 3], |_| 1, || (), |(), _, _| std::thread::current().id(), NEVER).unwrap();
        assert!(seen.iter().all(|id| *id == here));
    }

    #[test]
    fn all_threads_help_from_the_first_item_on() {
        let deadline = Instant::now() + Duration::from_secs(30);
        let together = || {
            let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let work = |(): &mut (), _: &usize, _: Cancel<'_>| {
                most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(100));
                now.fetch_sub(1, Ordering::Relaxed);
            };
            // As many items as threads, so that no thread takes a second one.
            let few = BatchOptions { parallel_threshold: 0, ..batch(3) };
            few.run(&[1; 3], |_| 1, || (), work, NEVER).unwrap();
            most.into_inner()
        };
        // Other tests use the threads of the pool too.
        while together() < 3 {
            assert!(Instant::now() < deadline);
        }
    }

    #[test]
    fn each_thread_prepares_once() {
        let prepared = AtomicUsize::new(0);
        let prepare = || prepared.fetch_add(1, Ordering::Relaxed);
        batch(3).run(&[1; 10_000], |_| 1, prepare, |_, _, _| (), NEVER).unwrap();
        assert!((1..=3).contains(&prepared.load(Ordering::Relaxed)));
    }

    #[test]
    fn a_panic_reaches_the_caller_and_leaves_the_pool_alive() {
        for threads in [1, 3] {
            let items: Vec<usize> = (0..1000).collect();
            let call = || batch(threads).run(&items, |_| 1, || (), |(), &i, _| assert_ne!(i, 777), NEVER);
            let panic = catch_unwind(AssertUnwindSafe(call)).map(drop).expect_err("item 777 panics");
            assert!(panic.downcast::<String>().unwrap().contains("777"));
            assert_eq!(double(&batch(threads), &items).unwrap()[999], 1998);
        }
    }

    #[test]
    fn a_cancelled_batch_returns_no_results() {
        for threads in [1, 3] {
            let asked = AtomicUsize::new(0);
            let is_cancelled = || asked.fetch_add(1, Ordering::Relaxed) > 5;
            let worked = AtomicUsize::new(0);
            let work = |(): &mut (), _: &usize, _: Cancel<'_>| {
                worked.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            };
            let error = batch(threads).run(&vec![1; 100_000], |_| 1, || (), work, &is_cancelled).unwrap_err();
            assert_eq!(error.code(), "cancelled");
            assert!(worked.load(Ordering::Relaxed) < 1000);
        }
    }
}
