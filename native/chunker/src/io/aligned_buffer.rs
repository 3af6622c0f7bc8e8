//! Memory that input is read into.

use std::ops::{Deref, DerefMut};

/// How long a line of a CPU's cache is, nearly everywhere. Where it is longer, nothing is lost but speed.
const LINE: usize = 64;

/// Zeros that begin with a line of the cache. Linux copies from its page cache nearly twice as fast to such memory as to what
/// an allocator gives for large sizes, which begins 16 bytes behind a page.
#[derive(Debug)]
pub(crate) struct Buffer {
    memory: Box<[u8]>,
    start: usize,
    length: usize,
}

impl Buffer {
    pub(crate) fn new(length: usize) -> Self {
        let memory = vec![0; length + LINE - 1].into_boxed_slice();
        // An offset that cannot be told must do no harm.
        let start = memory.as_ptr().align_offset(LINE).min(LINE - 1);
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
    fn a_buffer_begins_with_a_line_and_is_as_long_as_was_asked() {
        for length in [0, 1, 63, 64, 65, 1000, 262_144] {
            let mut buffer = Buffer::new(length);
            assert_eq!(buffer.len(), length);
            assert_eq!(buffer.as_ptr().addr() % LINE, 0);
            buffer.fill(1);
            assert!(buffer.iter().all(|&byte| byte == 1));
        }
    }
}
