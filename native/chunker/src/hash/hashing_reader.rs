//! Hashes a whole input while it is read for another purpose.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Algorithm, Digest, Hasher};
use crate::error::Error;
use crate::io::source::Source;

/// Hashes the bytes of a source as they are read. The reading thread hashes, while other threads process the
/// bytes.
///
/// ```
/// use chunker::NEVER;
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
/// let chunks = chunking.source(source).all(NEVER)?;
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

    fn length(&self) -> Option<u64> {
        self.source.length()
    }

    fn wait(&self, timeout: Duration) -> bool {
        self.source.wait(timeout)
    }
}
