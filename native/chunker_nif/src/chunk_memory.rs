//! Memory for the bytes of large chunks, chosen so that it is used again.
//!
//! A binary of more than 512 KiB has a memory segment of its own. The VM keeps ten of those for later, for
//! binaries of nearly the same size, and unmaps the others. Chunks differ in size, and the garbage collector
//! frees more than ten at once, so that about a quarter of the pages of a stream of 1 MiB chunks are fresh
//! ones. A fresh page costs more than the copy that fills it.
//!
//! Up to OTP 26 the memory returns to a pool of our own. That needs a destructor, so the binary is one over a
//! resource; the memory inside is a VM binary too, and appears in `erlang:memory/0`. Since OTP 27.0 a binary
//! over a resource is charged to no process, so there the chunk is the front of a plain VM binary, whose size
//! is rounded up so that the segments that the VM keeps fit more often.

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

/// The bytes of a chunk: the first `len` bytes of a VM binary.
pub(crate) struct ChunkData {
    memory: OwnedBinary,
    len: usize,
    pool: Option<Weak<Pool>>,
}

/// A chunk whose memory returns to its pool.
struct Pooled {
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
        let pool = pool.filter(|_| len > SHARED_SEGMENT);
        let spare = pool.and_then(|pool| pool.take(len));
        let mut memory = match spare {
            Some(memory) => memory,
            None => binary::allocate(capacity(len, pool.is_some()))?,
        };
        binary::copy(slices, &mut memory);
        Ok(Self { memory, len, pool: pool.map(Arc::downgrade) })
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.memory.as_slice()[..self.len]
    }

    /// Converts the bytes to a binary of the calling process, without a copy.
    pub(crate) fn into_term(self, env: Env<'_>) -> Term<'_> {
        let Self { memory, len, pool } = self;
        if let Some(pool) = pool {
            return ResourceArc::new(Pooled { memory, len, pool }).make_binary(env, Pooled::as_slice).into();
        }
        let spare = memory.len() > len;
        let memory = memory.release(env);
        if !spare {
            return memory.into();
        }
        memory.make_subbinary(0, len).expect("the chunk is the front of its memory").into()
    }
}

/// Returns the size of the memory for a chunk of `len` bytes. Sizes with a segment of their own are rounded up
/// to four steps for each power of two, which adds a tenth on average and at most a quarter.
const fn capacity(len: usize, pooled: bool) -> usize {
    if len <= SHARED_SEGMENT {
        len
    } else if pooled {
        len + len / 16
    } else {
        len.next_multiple_of(len.next_power_of_two() / 8)
    }
}
