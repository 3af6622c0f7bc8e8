//! Reports how much of a source was read by a put.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::Cancel;
use crate::engine::progress::{Progress, ProgressReporter};
use crate::error::Error;
use crate::io::source::Source;

/// Calls `put` with a source that counts what is read from it, and with a cancel that reports that number: it
/// is asked often, and on the calling thread.
pub(super) fn reporting<S: Source, T>(
    source: S,
    progress: Progress<'_>,
    is_cancelled: Cancel<'_>,
    put: impl FnOnce(Counted<S>, Cancel<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let reporter = ProgressReporter::start(progress, source.length());
    let (source, count) = Counted::new(source);
    let reports = || {
        reporter.report_if_due(count());
        is_cancelled()
    };
    let result = put(source, &reports)?;
    reporter.finish(count());
    Ok(result)
}

/// Counts the bytes that are read from a source. It cannot be split, nor skip.
#[derive(Debug)]
pub(super) struct Counted<S> {
    source: S,
    count: Arc<AtomicU64>,
}

impl<S> Counted<S> {
    /// Wraps `source`. The returned function yields the number of bytes that were read so far.
    pub(super) fn new(source: S) -> (Self, impl Fn() -> u64) {
        let count = Arc::new(AtomicU64::new(0));
        let shared = Arc::clone(&count);
        (Self { source, count }, move || shared.load(Ordering::Relaxed))
    }
}

impl<S: Source> Source for Counted<S> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Error> {
        let read = self.source.read(buffer)?;
        self.count.fetch_add(read.unwrap_or(0) as u64, Ordering::Relaxed);
        Ok(read)
    }

    fn length(&self) -> Option<u64> {
        self.source.length()
    }

    fn wait(&self, timeout: Duration) -> bool {
        self.source.wait(timeout)
    }
}
