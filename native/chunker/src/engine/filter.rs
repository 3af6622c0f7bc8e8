//! Changes bytes before they are chunked.
//!
//! Filtering comes before everything else, because scanned blocks are shared by work items and immutable,
//! while the bytes that a filter holds back at the end of a piece would have to change later. A filter passes
//! what it knows about the chunks to the [`Boundaries`](super::Boundaries) that it was created with, which
//! find the chunks later.

use std::time::Duration;

use crate::Cancel;
use crate::error::Error;
use crate::io::source::Source;

/// The number of bytes that are filtered at once: as much as fits into the L1 and L2 caches of a core.
pub(super) const FILTER_SIZE: usize = 64 << 10;

/// Changes the bytes of an input, but not their number, before they are chunked.
pub trait Filter: Send {
    /// Consumes the next bytes and appends the bytes whose final values are known to `output`.
    fn feed(&mut self, piece: &[u8], output: &mut Vec<u8>);

    /// Ends the input and appends the remaining bytes.
    fn finish(&mut self, output: &mut Vec<u8>);
}

/// Filters an input in memory.
pub(super) fn filter_slice(
    mut filter: Box<dyn Filter>,
    data: &[u8],
    is_cancelled: Cancel<'_>,
) -> Result<Vec<u8>, Error> {
    let mut output = Vec::with_capacity(data.len());
    for piece in data.chunks(FILTER_SIZE) {
        if is_cancelled() {
            return Err(Error::Cancelled);
        }
        filter.feed(piece, &mut output);
    }
    filter.finish(&mut output);
    Ok(output)
}

/// Filters the bytes of a source as they are read.
pub(super) struct FilteredSource<S> {
    source: S,
    filter: Box<dyn Filter>,
    buffer: Box<[u8]>,
    /// The output of the filter, and the number of its bytes that have been read.
    filtered: Vec<u8>,
    read: usize,
    /// Whether the source has ended. It is not read again then.
    ended: bool,
}

impl<S> FilteredSource<S> {
    pub(super) fn new(source: S, filter: Box<dyn Filter>) -> Self {
        let buffer = vec![0; FILTER_SIZE].into();
        Self { source, filter, buffer, filtered: Vec::new(), read: 0, ended: false }
    }
}

impl<S: Source> Source for FilteredSource<S> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Error> {
        while self.read == self.filtered.len() {
            if self.ended {
                return Ok(Some(0));
            }
            self.read = 0;
            self.filtered.clear();
            match self.source.read(&mut self.buffer)? {
                None => return Ok(None),
                Some(0) => {
                    self.filter.finish(&mut self.filtered);
                    self.ended = true;
                }
                Some(count) => self.filter.feed(&self.buffer[..count], &mut self.filtered),
            }
        }
        let rest = &self.filtered[self.read..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.read += count;
        Ok(Some(count))
    }

    fn length(&self) -> Option<u64> {
        self.source.length()
    }

    fn wait(&self, timeout: Duration) -> bool {
        self.read < self.filtered.len() || self.source.wait(timeout)
    }
}
