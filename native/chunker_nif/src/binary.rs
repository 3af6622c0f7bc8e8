//! Binaries in memory that the VM allocates, counts and frees.
//!
//! Only such memory is charged to the process that holds it: the VM collects the garbage of a process once
//! its binaries outgrow its virtual binary heap. A binary over a resource would cost the same to create, but
//! since OTP 27.0 it is charged to no process, so that a process with a large heap keeps gigabytes of dead
//! binaries. `erlang:memory/0` shows it on no OTP version.

use chunker::io::output_buffer::{OutOfMemory, OutputBuffer};
use rustler::{Env, NewBinary, OwnedBinary, Term};

/// Smaller allocations are infallible. A fallible one costs a second call of the allocator, and without that
/// much memory the VM itself aborts.
const FALLIBLE: usize = 64 << 10;

/// Returns a binary of this many bytes, which are not initialized. Any thread may call this.
pub(crate) fn allocate(len: usize) -> Result<OwnedBinary, OutOfMemory> {
    if len < FALLIBLE {
        return Ok(OwnedBinary::new(len));
    }
    let mut memory = OwnedBinary::new(0);
    if memory.realloc(len) { Ok(memory) } else { Err(OutOfMemory) }
}

/// Copies bytes into a binary of the calling process.
pub(crate) fn text<'a>(env: Env<'a>, bytes: &[u8]) -> Term<'a> {
    NewBinary::from_slice(env, bytes).into()
}

/// Copies the slices, one behind the other, into a binary. Any thread may call this.
pub(crate) fn concat(slices: &[&[u8]]) -> Result<OwnedBinary, OutOfMemory> {
    let mut memory = allocate(slices.iter().map(|slice| slice.len()).sum())?;
    copy(slices, &mut memory);
    Ok(memory)
}

/// Copies the slices, one behind the other, to the start of `memory`, which must have room for them.
pub(crate) fn copy(slices: &[&[u8]], memory: &mut [u8]) {
    let mut rest = memory;
    for slice in slices {
        let (front, behind) = rest.split_at_mut(slice.len());
        front.copy_from_slice(slice);
        rest = behind;
    }
}

/// A growing output buffer that becomes a binary without a copy.
pub(crate) struct BinaryBuffer {
    /// The first `len` bytes are the contents, the others are spare.
    memory: OwnedBinary,
    len: usize,
}

impl BinaryBuffer {
    /// Returns an empty buffer.
    pub(crate) fn new() -> Self {
        Self { memory: OwnedBinary::new(0), len: 0 }
    }

    /// Converts the buffer to a binary of the calling process, without spare memory.
    pub(crate) fn into_term(mut self, env: Env<'_>) -> Term<'_> {
        self.shrink();
        self.memory.release(env).into()
    }
}

impl OutputBuffer for BinaryBuffer {
    fn len(&self) -> usize {
        self.len
    }

    fn grow(&mut self, len: usize) -> Result<(), OutOfMemory> {
        if len > self.memory.len() {
            // Doubled, so that the cost is amortized; what is spare at the end is given back. The first step
            // is exact, since a codec that knows how much will come asks for that.
            let wanted = len.max(self.memory.len().saturating_mul(2));
            if !self.memory.realloc(wanted) && !self.memory.realloc(len) {
                return Err(OutOfMemory);
            }
        }
        self.len = self.len.max(len);
        Ok(())
    }

    fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    fn shrink(&mut self) {
        // rustler's `realloc_or_copy` panics if it has to copy into a shorter binary.
        if self.memory.len() > self.len && !self.memory.realloc(self.len) {
            self.memory = OwnedBinary::from_slice(self.as_mut_slice());
        }
    }

    fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.memory.as_mut_slice()[..self.len]
    }
}
