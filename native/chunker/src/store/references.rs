//! Restores the store hashes that were replaced in the chunks of a NAR.
//!
//! They are in an attachment, in the order of their positions: 8 bytes of the position, little-endian, and 32
//! characters. Since all are equally long, those of a range are found without reading the others.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::Inner;
use super::error::StoreError;
use super::manifest::{Item, StoredChunk};
use super::read::ObjectReader;
use crate::Cancel;
use crate::engine::workers::Workers;
use crate::error::Error;
use crate::hash::Digest;
use crate::io::output_buffer::OutputBuffer;
use crate::nar::references::{PLACEHOLDER, Reference};

/// The length of an entry, and of the hash in it.
const ENTRY: usize = 8 + LENGTH;
const LENGTH: usize = PLACEHOLDER.len();

/// A search among more entries than these reads one of them; fewer are read in order.
const IN_ORDER: u64 = 4096;

/// The references of a range of an object, in order.
#[derive(Debug)]
pub(super) struct References {
    object: Digest,
    reader: Box<ObjectReader>,
    /// Those that were read and do not end before the next chunk.
    next: VecDeque<Reference>,
    /// The first bytes of an entry.
    partial: Vec<u8>,
}

impl References {
    /// Opens the references of a range. Fails if a chunk of the table is not in the store.
    pub(super) fn open(
        inner: &Arc<Inner>,
        object: Digest,
        table: Item,
        range: &Range<u64>,
        workers: Workers,
        is_cancelled: Cancel<'_>,
    ) -> Result<Self, Error> {
        if !table.bytes.is_multiple_of(ENTRY as u64) {
            return Err(damaged(&object, "references_length"));
        }
        let open = |range| ObjectReader::of_items(inner, vec![table], range, workers, is_cancelled);
        let position = |entry: u64| {
            let mut bytes = Vec::with_capacity(ENTRY);
            let mut reader = open(entry * ENTRY as u64..(entry + 1) * ENTRY as u64)?;
            while let Some(pieces) = reader.next_pieces(Vec::new, is_cancelled)? {
                bytes.extend(pieces.concat());
            }
            read(&bytes).map(|reference| reference.position).ok_or_else(|| damaged(&object, "references"))
        };
        let entries = table.bytes / ENTRY as u64;
        // One that begins before the range may end in it.
        let (start, _) = search(entries, range.start.saturating_sub(LENGTH as u64 - 1), &position)?;
        let (_, end) = search(entries, range.end, &position)?;
        let reader = Box::new(open(start * ENTRY as u64..end * ENTRY as u64)?);
        Ok(Self { object, reader, next: VecDeque::new(), partial: Vec::new() })
    }

    /// Restores those in consecutive chunks, which begin where the previous ones ended.
    pub(super) fn restore<B: OutputBuffer>(
        &mut self,
        chunks: &[StoredChunk],
        pieces: &mut [B],
        is_cancelled: Cancel<'_>,
    ) -> Result<(), Error> {
        for (chunk, piece) in chunks.iter().zip(pieces) {
            let chunk = chunk.offset..chunk.offset + u64::from(chunk.length);
            while let Some(Reference { position, hash }) = self.first(is_cancelled)? {
                let end = position.checked_add(LENGTH as u64).ok_or_else(|| self.damaged("references"))?;
                if position >= chunk.end {
                    break;
                }
                let part = position.max(chunk.start)..end.min(chunk.end);
                if part.start < part.end {
                    let place = (part.start - chunk.start) as usize..(part.end - chunk.start) as usize;
                    let place = &mut piece.as_mut_slice()[place];
                    if *place != PLACEHOLDER[..place.len()] {
                        return Err(self.damaged("reference"));
                    }
                    let known = (part.start - position) as usize;
                    place.copy_from_slice(&hash[known..known + place.len()]);
                }
                if end > chunk.end {
                    break;
                }
                self.next.pop_front();
            }
        }
        Ok(())
    }

    /// Returns the first reference that was not popped.
    fn first(&mut self, is_cancelled: Cancel<'_>) -> Result<Option<Reference>, Error> {
        while self.next.is_empty() {
            let Some(pieces) = self.reader.next_pieces(Vec::new, is_cancelled)? else { break };
            for piece in pieces {
                self.partial.extend(piece);
                let entries = self.partial.chunks_exact(ENTRY);
                let rest = entries.remainder().to_vec();
                self.next.extend(entries.filter_map(read));
                self.partial = rest;
            }
        }
        Ok(self.next.front().copied())
    }

    fn damaged(&self, why: &'static str) -> Error {
        damaged(&self.object, why)
    }
}

fn damaged(object: &Digest, why: &'static str) -> Error {
    StoreError::corrupt(&format!("manifest {object:?}"), None, why).into()
}

/// Reads an entry.
fn read(entry: &[u8]) -> Option<Reference> {
    let (position, hash) = entry.split_first_chunk()?;
    Some(Reference { position: u64::from_le_bytes(*position), hash: hash.try_into().ok()? })
}

/// Searches for the first of some entries whose position is at least `wanted`. Returns a range that it is in,
/// or the end of.
fn search(
    entries: u64,
    wanted: u64,
    position: &dyn Fn(u64) -> Result<u64, Error>,
) -> Result<(u64, u64), Error> {
    let (mut low, mut high) = (0, entries);
    while high - low > IN_ORDER {
        let middle = low + (high - low) / 2;
        if position(middle)? < wanted {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok((low, high))
}
