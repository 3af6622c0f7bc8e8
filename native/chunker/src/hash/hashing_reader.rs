//! Hashes a whole input while it is read for another purpose.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Algorithm, Digest, Hasher};
use crate::Cancel;
use crate::engine::workers::Workers;
use crate::error::Error;
use crate::io::source::{SOURCE_WAIT, Source};

/// Hashes the bytes of a source as they are read. The reading thread hashes, while other threads process the
/// bytes.
///
/// ```
/// use chunker::cdc::{CdcParams, Options};
/// use chunker::engine::{Chunk, Chunking};
/// use chunker::hash::{Algorithm, HashingReader};
/// use chunker::io::source::FromRead;
/// use chunker::engine::workers::Workers;
///
/// let algorithm = Algorithm::ALL[0];
/// let params = CdcParams::new(&Options::default())?;
/// let chunking = Chunking::new(params, Workers::of_this_thread(), Chunk::hashed(algorithm));
/// let (source, whole) = HashingReader::new(FromRead(&b"hello"[..]), algorithm);
/// let chunks = chunking.source(source).all(&|| false)?;
/// // There is one chunk, and it is the whole input.
/// assert_eq!(whole(), Some(chunks[0].hash));
/// # Ok::<(), chunker::Error>(())
/// ```
#[derive(Debug)]
pub struct HashingReader<S> {
    source: S,
    /// `None` after the end of the input.
    hasher: Option<Hasher>,
    digest: Arc<Mutex<Option<Digest>>>,
}

impl<S> HashingReader<S> {
    /// Wraps `source`. The returned function yields the digest once the source has been read to its end, and
    /// `None` before.
    pub fn new(
        source: S,
        algorithm: Algorithm,
    ) -> (Self, impl Fn() -> Option<Digest> + Send + Sync + 'static) {
        let digest = Arc::new(Mutex::new(None));
        let shared = Arc::clone(&digest);
        let read_digest = move || *shared.lock().unwrap_or_else(PoisonError::into_inner);
        (Self { source, hasher: Some(Hasher::new(algorithm)), digest }, read_digest)
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

    fn wait(&self, timeout: Duration) -> bool {
        self.source.wait(timeout)
    }
}

impl Algorithm {
    /// Returns the digest of `data` and the result of `work`. Hashes on a thread of the pool while `work`
    /// runs on this thread and the remaining workers, which it receives. If no pool thread is free, hashes on
    /// this thread after `work`.
    ///
    /// # Errors
    ///
    /// Returns the error of `work`, and [`Error::Cancelled`] if `is_cancelled` returns `true`.
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
                // The send fails if the receiver is gone after an error or a cancellation; the digest is then
                // unused.
                let _ = sender.send(self.hash_cancellable(data, &|| stopped.load(Ordering::Relaxed)));
                drop(helper);
            });
            // The scope joins the thread even if `work` fails or panics.
            let _stop = StopOnDrop(stopped);
            let result = work(workers.but_one())?;
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
}

/// Stops the hashing thread when it is dropped.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
