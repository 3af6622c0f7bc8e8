//! Memory for the bytes of large chunks, which is reused on the OTP releases that allow it.
//!
//! A binary of more than 512 KiB has a memory segment of its own. The VM keeps ten of those for later and
//! unmaps the others, but the garbage collector frees more at once, so that about a quarter of the pages of a
//! stream of 1 MiB chunks are fresh ones. A fresh page costs more than the copy that fills it.
//!
//! Reuse needs a destructor, so the binary is one over a resource. The memory inside is a VM binary too, and
//! appears in `erlang:memory/0`. Up to OTP 26 a binary over a resource is charged to its process like any
//! other; since OTP 27.0 it is charged to no process, and this module hands out plain VM binaries there.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use chunker::io::output_buffer::OutOfMemory;
use rustler::{Env, OwnedBinary, Resource, ResourceArc, Term};

use crate::binary;

/// Binaries up to this size share segments, which the VM keeps.
const SHARED_SEGMENT: usize = 512 << 10;

/// The most bytes kept for later chunks: as many as a garbage collection frees at once.
const MAX_SPARE: usize = 32 << 20;

/// Whether the VM charges a binary over a resource to its process.
static CHARGED: AtomicBool = AtomicBool::new(false);

/// The pool of all open streams.
static POOL: Mutex<Weak<Pool>> = Mutex::new(Weak::new());

/// Sets the OTP release that runs.
pub(crate) fn set_release(release: u32) {
    CHARGED.store(release <= 26, Ordering::Relaxed);
}

/// Returns the pool that all open streams share, or `None` if memory cannot be reused. It is freed with the
/// last stream that holds it.
pub(crate) fn pool() -> Option<Arc<Pool>> {
    if !CHARGED.load(Ordering::Relaxed) {
        return None;
    }
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    Some(pool.upgrade().unwrap_or_else(|| {
        let new = Arc::new(Pool::default());
        *pool = Arc::downgrade(&new);
        new
    }))
}

/// Memory that no binary refers to any more.
#[derive(Default)]
pub(crate) struct Pool(Mutex<Vec<OwnedBinary>>);

impl Pool {
    /// Returns memory of at least `len` bytes, at most an eighth more than that, if there is any.
    fn take(&self, len: usize) -> Option<OwnedBinary> {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |memory: &OwnedBinary| (len..=len + len / 8).contains(&memory.len());
        let (place, _) = spare
            .iter()
            .enumerate()
            .filter(|(_, memory)| fits(memory))
            .min_by_key(|(_, memory)| memory.len())?;
        Some(spare.remove(place))
    }

    /// Keeps memory for a later chunk. The memory kept longest makes room for it, since chunks of other
    /// lengths may have come since.
    fn put(&self, memory: OwnedBinary) {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = memory.len();
        spare.push(memory);
        let kept = spare.iter().rev().skip(1).take_while(|memory| {
            bytes += memory.len();
            bytes <= MAX_SPARE
        });
        let superfluous = spare.len() - 1 - kept.count();
        let freed: Vec<_> = spare.drain(..superfluous).collect();
        drop(spare);
        drop(freed);
    }
}

/// The bytes of a chunk in memory of the VM.
pub(crate) enum ChunkData {
    Owned(OwnedBinary),
    Pooled(Pooled),
}

/// The first `len` bytes of memory that returns to its pool.
pub(crate) struct Pooled {
    memory: OwnedBinary,
    len: usize,
    pool: Weak<Pool>,
}

#[rustler::resource_impl]
impl Resource for Pooled {}

impl Pooled {
    fn as_slice(&self) -> &[u8] {
        &self.memory.as_slice()[..self.len]
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.put(mem::replace(&mut self.memory, OwnedBinary::new(0)));
        }
    }
}

impl ChunkData {
    /// Copies the slices, one behind the other.
    pub(crate) fn concat(slices: &[&[u8]], pool: Option<&Arc<Pool>>) -> Result<Self, OutOfMemory> {
        let len = slices.iter().map(|slice| slice.len()).sum();
        let Some(pool) = pool.filter(|_| len > SHARED_SEGMENT) else {
            return Ok(Self::Owned(binary::concat(slices)?));
        };
        let mut memory = match pool.take(len) {
            Some(memory) => memory,
            None => binary::allocate(len + len / 16)?,
        };
        binary::copy(slices, &mut memory);
        Ok(Self::Pooled(Pooled { memory, len, pool: Arc::downgrade(pool) }))
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Owned(memory) => memory.as_slice(),
            Self::Pooled(pooled) => pooled.as_slice(),
        }
    }

    /// Converts the bytes to a binary of the calling process, without a copy.
    pub(crate) fn into_term(self, env: Env<'_>) -> Term<'_> {
        match self {
            Self::Owned(memory) => memory.release(env).into(),
            Self::Pooled(pooled) => ResourceArc::new(pooled).make_binary(env, Pooled::as_slice).into(),
        }
    }
}
