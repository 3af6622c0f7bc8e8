//! Cache-line-aligned memory for reading input.

use std::ops::{Deref, DerefMut};

/// The length of a cache line, in bytes, on nearly all CPUs. Where it is longer, only speed is lost.
const CACHE_LINE: usize = 64;

/// A zeroed buffer aligned to a cache line. Linux copies from the page cache nearly twice as fast into
/// aligned memory as into a large allocation, which starts 16 bytes after a page boundary.
#[derive(Debug)]
pub(crate) struct Buffer {
    memory: Box<[u8]>,
    start: usize,
    length: usize,
}

impl Buffer {
    pub(crate) fn new(length: usize) -> Self {
        let memory = vec![0; length + CACHE_LINE - 1].into_boxed_slice();
        // `align_offset` may return `usize::MAX` if it cannot compute an offset.
        let start = memory.as_ptr().align_offset(CACHE_LINE).min(CACHE_LINE - 1);
        Self { memory, start, length }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_aligned_and_has_the_requested_length() {
        for length in [0, 1, 63, 64, 65, 1000, 262_144] {
            let mut buffer = Buffer::new(length);
            assert_eq!(buffer.len(), length);
            assert_eq!(buffer.as_ptr().addr() % CACHE_LINE, 0);
            buffer.fill(1);
            assert!(buffer.iter().all(|&byte| byte == 1));
        }
    }
}
