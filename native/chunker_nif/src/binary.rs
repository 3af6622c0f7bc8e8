//! Bytes on their way into the VM, in memory that the VM allocates, counts and frees.
//!
//! Only such memory is charged to the process that holds it: the VM collects a process's garbage once the binaries that
//! it refers to outgrow its virtual binary heap. A binary over a resource would be no dearer to make, but since OTP 27.0
//! it is charged to no process, so that one with a large heap keeps gigabytes of dead ones; and `erlang:memory/0` shows
//! it on no OTP.

use chunker::io::output_buffer::{OutOfMemory, OutputBuffer};
use rustler::{Env, NewBinary, OwnedBinary, Term};

/// Smaller allocations do not ask whether they can fail, which costs a second call of the allocator: where a page more
/// cannot be had, the VM itself stops.
const FALLIBLE: usize = 64 << 10;

/// Returns a binary of this many bytes, which are not initialized. Any thread may call this.
fn allocate(len: usize) -> Result<OwnedBinary, OutOfMemory> {
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
    let mut rest = memory.as_mut_slice();
    for slice in slices {
        let (front, behind) = rest.split_at_mut(slice.len());
        front.copy_from_slice(slice);
        rest = behind;
    }
    Ok(memory)
}

/// Memory that output grows in and that becomes a binary without a copy.
pub(crate) struct BinaryBuffer {
    /// The first `len` bytes are the buffer's, the others spare.
    memory: OwnedBinary,
    len: usize,
}

impl BinaryBuffer {
    /// Returns an empty buffer.
    pub(crate) fn new() -> Self {
        Self { memory: OwnedBinary::new(0), len: 0 }
    }

    /// Returns the binary, without spare memory. It is charged to a process once it becomes a term.
    pub(crate) fn finish(mut self) -> OwnedBinary {
        if self.memory.len() > self.len {
            self.memory.realloc_or_copy(self.len);
        }
        self.memory
    }

    /// Makes the buffer a binary of the calling process.
    pub(crate) fn into_term(self, env: Env<'_>) -> Term<'_> {
        self.finish().release(env).into()
    }
}

impl OutputBuffer for BinaryBuffer {
    fn len(&self) -> usize {
        self.len
    }

    fn grow(&mut self, len: usize) -> Result<(), OutOfMemory> {
        if len > self.memory.len() {
            // Doubled, so that the cost is amortized; what is spare at the end is given back. The first step is exact, since
            // a codec that knows how much will come asks for that.
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

    fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.memory.as_mut_slice()[..self.len]
    }
}
