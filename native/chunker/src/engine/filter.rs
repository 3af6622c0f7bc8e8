//! Bytes that are changed before they are chunked.
//!
//! A filter stands in front of everything else, because work items share blocks of memory that nothing may change any more
//! once they are scanned, and what a filter holds back at the end of a piece would have to change afterwards. What it has to
//! say about the chunks it hands to the [`Boundaries`](super::Boundaries) that it was made with, which find the chunks later.

use std::time::Duration;

use crate::Cancel;
use crate::error::Error;
use crate::io::source::Source;

/// How much is filtered at once, in bytes: as much as the first caches of a core hold.
pub(super) const FILTER_SIZE: usize = 64 << 10;

/// Changes the bytes of an input before they are chunked. Does not change how many there are.
pub trait Filter: Send {
    /// Takes in the next bytes and appends those to `output` whose final values are known.
    fn feed(&mut self, piece: &[u8], output: &mut Vec<u8>);

    /// Ends the input and appends the bytes that are left.
    fn finish(&mut self, output: &mut Vec<u8>);
}

/// Filters an input that is in memory.
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

/// A source whose bytes are filtered as they are read.
pub(super) struct FilteredSource<S> {
    source: S,
    filter: Box<dyn Filter>,
    buffer: Box<[u8]>,
    /// What the filter gave, and how much of it has been read.
    filtered: Vec<u8>,
    read: usize,
    /// The source is not read again after its end.
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

    fn is_live(&self) -> bool {
        self.source.is_live()
    }

    fn length(&self) -> Option<u64> {
        self.source.length()
    }

    fn wait(&self, timeout: Duration) -> bool {
        self.read < self.filtered.len() || self.source.wait(timeout)
    }
}
