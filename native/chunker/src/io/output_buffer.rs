//! Memory that output grows in.

use std::fmt;

/// Growable memory for output of unknown length: a `Vec<u8>`, or memory of another allocator.
///
/// Whoever hands bytes to another runtime implements it for that runtime's buffers, so that output is written where it
/// stays and is not copied at the end.
pub trait OutputBuffer {
    /// Returns how many bytes there are.
    fn len(&self) -> usize;

    /// Returns whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes the buffer at least `len` bytes long. What the new bytes hold is unspecified.
    ///
    /// The cost is amortized: many small steps copy each byte a constant number of times.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`]; then the buffer is as it was.
    fn grow(&mut self, len: usize) -> Result<(), OutOfMemory>;

    /// Shortens the buffer to `len` bytes, and does nothing if it is no longer than that.
    fn truncate(&mut self, len: usize);

    /// Returns all bytes.
    fn as_mut_slice(&mut self) -> &mut [u8];
}

/// The allocator has no memory left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfMemory;

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of memory")
    }
}

impl std::error::Error for OutOfMemory {}

impl OutputBuffer for Vec<u8> {
    fn len(&self) -> usize {
        self.len()
    }

    fn grow(&mut self, len: usize) -> Result<(), OutOfMemory> {
        if let Some(more) = len.checked_sub(self.len()) {
            self.try_reserve(more).map_err(|_| OutOfMemory)?;
            self.resize(len, 0);
        }
        Ok(())
    }

    fn truncate(&mut self, len: usize) {
        self.truncate(len);
    }

    fn as_mut_slice(&mut self) -> &mut [u8] {
        self
    }
}
