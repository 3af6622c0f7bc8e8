//! Reports how much of a call is done.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// The minimum interval between two reports, except the first and the last.
pub(super) const OFTEN: Duration = Duration::from_millis(100);

/// Receives how much is done, and of how much, if that is known: 0 at the start, everything at the end, and
/// in between at most once in 100 milliseconds. Runs on the calling thread.
pub type Progress<'a> = Option<&'a dyn Fn(u64, Option<u64>)>;

/// Reports progress, at most so often.
pub(crate) struct ProgressReporter<'a> {
    progress: Progress<'a>,
    total: Option<u64>,
    /// When something was reported, and what.
    last: Cell<Option<(Instant, u64)>>,
}

impl<'a> ProgressReporter<'a> {
    /// Reports that nothing of `total` is done.
    pub(crate) fn start(progress: Progress<'a>, total: Option<u64>) -> Self {
        let reporter = Self { progress, total, last: Cell::new(None) };
        reporter.report(0, total);
        reporter
    }

    /// Reports what is done, unless something was reported just now or it is everything: the end is reported
    /// once the results are complete.
    pub(crate) fn report_if_due(&self, done: u64) {
        let due =
            || self.last.get().is_none_or(|(when, reported)| when.elapsed() >= OFTEN && done > reported);
        if self.progress.is_some() && self.total.is_none_or(|total| done < total) && due() {
            self.report(done, self.total);
        }
    }

    /// Reports the end.
    pub(crate) fn finish(&self, done: u64) {
        self.report(done, Some(done));
    }

    fn report(&self, done: u64, total: Option<u64>) {
        // If there is nothing to do, the start is the end.
        let is_news = self.last.get().is_none_or(|(_, reported)| reported != done) || total != self.total;
        if let Some(progress) = self.progress
            && is_news
        {
            progress(done, total);
            self.last.set(Some((Instant::now(), done)));
        }
    }
}
