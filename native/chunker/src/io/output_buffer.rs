//! Growable memory for output.

use std::fmt;

/// Growable memory for output of unknown length: a `Vec<u8>`, or memory of another allocator.
///
/// A caller that passes bytes to another runtime implements this trait for that runtime's buffers, so the
/// output is written in place and not copied at the end.
pub trait OutputBuffer {
    /// Returns the length in bytes.
    fn len(&self) -> usize;

    /// Returns whether the buffer is empty.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Grows the buffer to at least `len` bytes. The content of the new bytes is unspecified.
    ///
    /// The cost is amortized: any number of small steps copies each byte a constant number of times.
    ///
    /// # Errors
    ///
    /// Returns [`OutOfMemory`] and leaves the buffer unchanged if the allocator has no memory left.
    fn grow(&mut self, len: usize) -> Result<(), OutOfMemory>;

    /// Shortens the buffer to `len` bytes. Does nothing if the buffer is not longer than that.
    fn truncate(&mut self, len: usize);

    /// Gives spare memory back, as far as the allocator can: the content is complete.
    fn shrink(&mut self);

    /// Returns the whole content.
    fn as_mut_slice(&mut self) -> &mut [u8];
}

/// Reports that the allocator has no memory left.
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

    fn shrink(&mut self) {
        self.shrink_to_fit();
    }

    fn as_mut_slice(&mut self) -> &mut [u8] {
        self
    }
}
