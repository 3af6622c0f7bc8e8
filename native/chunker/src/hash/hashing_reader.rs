//! The digest of an input as a whole, on the way to something else that is done with it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Algorithm, Digest, Hasher};
use crate::Cancel;
use crate::engine::workers::Workers;
use crate::error::Error;
use crate::io::source::{SOURCE_WAIT, Source};

/// A source whose bytes are hashed as they are read: by the thread that reads, while others do what else is to be done with
/// them.
///
/// ```
/// use chunker::cdc::{CdcParams, Options};
/// use chunker::engine::{Chunk, Chunking};
/// use chunker::hash::{Algorithm, HashingReader};
/// use chunker::io::source::FromRead;
/// use chunker::engine::workers::Workers;
///
/// let algorithm = Algorithm::ALL[0];
/// let cutter = CdcParams::new(&Options::default())?;
/// let chunking = Chunking::new(cutter, Workers::of_this_thread(), Chunk::hashed(algorithm));
/// let (source, whole) = HashingReader::new(FromRead(&b"hello"[..]), algorithm);
/// let chunks = chunking.source(source).all(&|| false)?;
/// // There is one chunk, and it is all of the input.
/// assert_eq!(whole(), Some(chunks[0].hash));
/// # Ok::<(), chunker::Error>(())
/// ```
#[derive(Debug)]
pub struct HashingReader<S> {
    source: S,
    /// `None` after the end.
    hasher: Option<Hasher>,
    digest: Arc<Mutex<Option<Digest>>>,
}

impl<S> HashingReader<S> {
    /// The source, and what gives the digest when all of it was read, `None` before.
    pub fn new(
        source: S,
        algorithm: Algorithm,
    ) -> (Self, impl Fn() -> Option<Digest> + Send + Sync + 'static) {
        let digest = Arc::new(Mutex::new(None));
        let told = Arc::clone(&digest);
        let tell = move || *told.lock().unwrap_or_else(PoisonError::into_inner);
        (Self { source, hasher: Some(Hasher::new(algorithm)), digest }, tell)
    }
}

impl<S: Source> Source for HashingReader<S> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Error> {
        let count = self.source.read(buffer)?;
        match (count, &mut self.hasher) {
            (Some(0), hasher) => {
                if let Some(hasher) = hasher.take() {
                    *self.digest.lock().unwrap_or_else(PoisonError::into_inner) = Some(hasher.finish());
                }
            }
            (Some(count), Some(hasher)) => hasher.update(&buffer[..count]),
            _ => {}
        }
        Ok(count)
    }

    fn is_live(&self) -> bool {
        self.source.is_live()
    }

    fn length(&self) -> Option<u64> {
        self.source.length()
    }

    fn wait(&self, patience: Duration) -> bool {
        self.source.wait(patience)
    }
}

impl Algorithm {
    /// The digest of `data`, with what `work` gives: on a thread of the pool while `work` is done on this one and on those that
    /// it is told are left, or after it if none is free.
    ///
    /// # Errors
    ///
    /// What `work` fails with, and [`Error::Cancelled`] when `is_cancelled` says so.
    pub fn hash_beside<T>(
        self,
        data: &[u8],
        workers: Workers,
        is_cancelled: Cancel<'_>,
        work: impl FnOnce(Workers) -> Result<T, Error>,
    ) -> Result<(T, Digest), Error> {
        let Some(helper) = workers.request_helper() else {
            return Ok((work(workers)?, self.hash_cancellable(data, is_cancelled)?));
        };
        let stopped = AtomicBool::new(false);
        let (sender, receiver) = sync_channel(1);
        helper.pool().in_place_scope(|scope| {
            let stopped = &stopped;
            scope.spawn(move |_| {
                // Nobody waits for it any more if this cannot be sent.
                let _ = sender.send(self.hash_cancellable(data, &|| stopped.load(Ordering::Relaxed)));
                drop(helper);
            });
            // Whatever becomes of the work, the scope waits for the thread.
            let _stop = Stop(stopped);
            let result = work(workers.but_one())?;
            loop {
                if is_cancelled() {
                    return Err(Error::Cancelled);
                }
                match receiver.recv_timeout(SOURCE_WAIT) {
                    Ok(digest) => return Ok((result, digest?)),
                    Err(RecvTimeoutError::Timeout) => {}
                    // The thread panicked, which the scope passes on.
                    Err(RecvTimeoutError::Disconnected) => return Err(Error::Cancelled),
                }
            }
        })
    }
}

/// Stops a thread when this one goes on.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
