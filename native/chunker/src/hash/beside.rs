//! Hashes bytes in memory while they are processed for another purpose.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};

use super::{Algorithm, Digest};
use crate::Cancel;
use crate::engine::workers::Workers;
use crate::error::Error;
use crate::io::source::SOURCE_WAIT;

/// Returns the digest of `data` and the result of `work`. Hashes on a thread of the pool while `work`
/// runs on this thread and the remaining workers, which it receives. If no pool thread is free, hashes on
/// this thread after `work`.
///
/// # Errors
///
/// Returns the error of `work`, and [`Error::Cancelled`] if `is_cancelled` returns `true`.
pub fn hash_beside<T>(
    algorithm: Algorithm,
    data: &[u8],
    workers: Workers,
    is_cancelled: Cancel<'_>,
    work: impl FnOnce(Workers) -> Result<T, Error>,
) -> Result<(T, Digest), Error> {
    let Some(helper) = workers.request_helper() else {
        return Ok((work(workers)?, algorithm.hash_cancellable(data, is_cancelled)?));
    };
    let stopped = AtomicBool::new(false);
    let (sender, receiver) = sync_channel(1);
    helper.pool().in_place_scope(|scope| {
        let stopped = &stopped;
        scope.spawn(move |_| {
            // The send fails if the receiver is gone after an error or a cancellation; the digest is then
            // unused.
            let _ = sender.send(algorithm.hash_cancellable(data, &|| stopped.load(Ordering::Relaxed)));
            drop(helper);
        });
        // The scope joins the thread even if `work` fails or panics.
        let _stop = StopOnDrop(stopped);
        let result = work(workers.with_one_helper_less())?;
        loop {
            if is_cancelled() {
                return Err(Error::Cancelled);
            }
            match receiver.recv_timeout(SOURCE_WAIT) {
                Ok(digest) => return Ok((result, digest?)),
                Err(RecvTimeoutError::Timeout) => {}
                // The thread panicked; the scope resumes the panic.
                Err(RecvTimeoutError::Disconnected) => return Err(Error::Cancelled),
            }
        }
    })
}

/// Stops the hashing thread when it is dropped.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
