//! Reads objects: finds all chunks before the first byte, reads neighbours at once, and checks each chunk.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Inner;
use super::delta::{ANY, NO_BASE};
use super::error::StoreError;
use super::manifest::{Item, Manifest, StoredChunk, read_node};
use super::pack::{Lengths, PackId, Section};
use super::record::{ContentError, HEADER, Header, Scratch};
use super::references::References;
use super::segment::Location;
use crate::Cancel;
use crate::engine::batch::BatchOptions;
use crate::engine::progress::{Progress, ProgressReporter};
use crate::engine::workers::Workers;
use crate::error::{Error, IoError};
use crate::hash::Digest;
use crate::io::output_buffer::OutputBuffer;
use crate::io::staging::StagedPath;

/// The number of bytes of content that are read at a time for each thread, and that one read has at most.
pub(super) const AT_ONCE: u64 = 8 << 20;
const ONE_READ: u64 = 4 << 20;

/// The number of chunks that are looked up at a time, if their contents need not be kept, and of the bytes of their
/// contents for each thread.
const MOST_LOCATED: usize = 4096;
const MOST_LOCATED_BYTES: u64 = 16 * AT_ONCE;

/// How many sets of buffers are kept for the next reads: fresh memory costs as much as reading.
const MOST_KEPT: usize = 4;

/// Records with at most so many other bytes between them are read at once.
const GAP: u32 = 64 << 10;

/// Makes something of the bytes of a record.
type Take<'a, T> = dyn FnMut(&Location, &[u8]) -> Result<T, Error> + 'a;

impl Inner {
    /// Returns the content of a record, or `None` if the store does not have it.
    pub(super) fn record(&self, digest: &Digest) -> Result<Option<Vec<u8>>, Error> {
        let mut scratch = Scratch::default();
        self.record_as(digest, &mut |location, record| {
            let mut content = Vec::new();
            self.decode(location, record, &mut scratch, &mut content)?;
            Ok(content)
        })
    }

    /// Returns what `take` makes of a record, or `None` if the store does not have it. Tries all places where
    /// it is said to be until `take` does not find damage, and looks for packs that are not in the index if
    /// there is none.
    pub(super) fn record_as<T>(&self, digest: &Digest, take: &mut Take<'_, T>) -> Result<Option<T>, Error> {
        let (mut taken, mut damaged): (_, Vec<(Location, StoreError)>) = (None, Vec::new());
        let mut try_all = || {
            self.index.find(digest, |location| {
                let mut bytes = vec![0; HEADER + location.entry.stored as usize];
                let name = location.pack.name();
                if !self.objects.get_range(&name, location.entry.offset.into(), &mut bytes)? {
                    return Ok(false);
                }
                match take(location, &bytes) {
                    Ok(result) => {
                        taken = Some(result);
                        Ok(true)
                    }
                    Err(Error::Store(error @ StoreError::Corrupt { .. })) => {
                        if damaged.iter().all(|(known, _)| known != location) {
                            damaged.push((*location, error));
                        }
                        Ok(false)
                    }
                    Err(error) => Err(error),
                }
            })
        };
        let mut is_found = try_all()?.is_some();
        if !is_found {
            // Another process may have moved it since.
            self.index.refresh()?;
            is_found = try_all()?.is_some();
        }
        // A part of the index may be lost.
        if !is_found {
            self.index.complete_if_due()?;
            try_all()?;
        }
        if taken.is_some() {
            return Ok(taken);
        }
        let (mut first, mut no_base) = (None, None);
        for (location, error) in damaged {
            self.mark_damaged(&location, &error);
            if matches!(error, StoreError::Corrupt { why: NO_BASE, .. }) {
                no_base = Some(error);
            } else {
                first = first.or(Some(error));
            }
        }
        first.or(no_base).map_or(Ok(None), |error| Err(error.into()))
    }

    /// Checks a record, writes its content to `out`, and returns its header.
    pub(super) fn decode(
        &self,
        location: &Location,
        record: &[u8],
        scratch: &mut Scratch,
        out: &mut dyn OutputBuffer,
    ) -> Result<Header, Error> {
        self.decode_by(location, record, |header, payload| self.content(header, payload, scratch, out))
    }

    /// Does the same with a part of the content.
    fn decode_range(
        &self,
        location: &Location,
        record: &[u8],
        range: Range<usize>,
        scratch: &mut Scratch,
        out: &mut dyn OutputBuffer,
    ) -> Result<Header, Error> {
        self.decode_by(location, record, |header, payload| {
            self.content_range(header, payload, range, scratch, out)
        })
    }

    pub(super) fn decode_by(
        &self,
        location: &Location,
        record: &[u8],
        content: impl FnOnce(&Header, &[u8]) -> Result<(), ContentError>,
    ) -> Result<Header, Error> {
        let corrupt = |why| {
            Error::from(StoreError::corrupt(&location.pack.name(), u64::from(location.entry.offset), why))
        };
        let header = record.first_chunk::<HEADER>().ok_or_else(|| corrupt("too_short"))?;
        let header = Header::from_bytes(header).map_err(corrupt)?;
        if header.digest != location.entry.digest
            || header.stored as usize + HEADER != record.len()
            || Section::of(header.kind) != location.pack.section
        {
            return Err(corrupt("another_record"));
        }
        match content(&header, &record[HEADER..]) {
            Ok(()) => Ok(header),
            Err(ContentError::Wrong(why)) => Err(corrupt(why)),
            Err(ContentError::Other(error)) => Err(error),
        }
    }

    /// Returns a manifest and the items of the object.
    pub(super) fn manifest(&self, id: &Digest) -> Result<(Manifest, Vec<Item>), Error> {
        let not_found = || StoreError::NotFound { name: super::refs::hex(id) };
        let bytes = self.record(id)?.filter(|bytes| Manifest::is_one(bytes)).ok_or_else(not_found)?;
        Ok(Manifest::read(*id, &bytes)?)
    }

    /// Returns where a chunk is, in a pack that is there.
    fn locate(&self, digest: &Digest, lengths: &mut Lengths) -> Result<Option<Location>, Error> {
        let mut is_there = |location: &Location| lengths.hold(&*self.objects, location);
        self.index.find(digest, |location| self.counts(location, ANY, &mut is_there))
    }

    /// Returns whether a record is in a pack that is there, and is not known to be damaged, and so are its bases if
    /// it is a delta.
    pub(super) fn is_whole(&self, digest: &Digest, lengths: &mut Lengths) -> Result<bool, Error> {
        let mut is_whole = |location: &Location| self.is_unmarked(location, lengths);
        let found = self.index.find(digest, |location| self.counts(location, ANY, &mut is_whole))?;
        Ok(found.is_some())
    }

    /// Returns whether a record can be read, as far as is known: it is in a pack that is there, is not known to be
    /// damaged, and so are its bases.
    pub(super) fn is_intact(&self, location: &Location) -> Result<bool, Error> {
        let mut lengths = Lengths::default();
        self.counts(location, ANY, &mut |place| self.is_unmarked(place, &mut lengths))
    }

    /// Returns whether there is a record at a place that is not known to be damaged.
    pub(super) fn is_unmarked(&self, location: &Location, lengths: &mut Lengths) -> Result<bool, Error> {
        Ok(!self.marks.contains(location) && lengths.hold(&*self.objects, location)?)
    }
}

/// Goes through the chunks of an object, in order. Reads a node when it gets to it.
pub struct Chunks {
    inner: Arc<Inner>,
    /// Items that are left, of which the last is the next, by level.
    stack: Vec<Vec<Item>>,
    offset: u64,
    /// The first byte that is asked for: nodes that end before it are not read.
    from: u64,
}

impl Chunks {
    pub(super) fn new(inner: Arc<Inner>, mut items: Vec<Item>, from: u64) -> Self {
        items.reverse();
        Self { inner, stack: vec![items], offset: 0, from }
    }

    /// Returns the next chunk, or `None` after the last.
    ///
    /// # Errors
    ///
    /// Returns the errors of reading a node, [`StoreError::ChunkMissing`] if the store does not have it, and
    /// [`StoreError::Corrupt`] if it is damaged.
    pub fn next_chunk(&mut self) -> Result<Option<StoredChunk>, Error> {
        while let Some(items) = self.stack.last_mut() {
            let Some(item) = items.pop() else {
                self.stack.pop();
                continue;
            };
            if self.offset + item.bytes <= self.from && item.bytes > 0 {
                self.offset += item.bytes;
            } else if item.height == 0 {
                let offset = self.offset;
                self.offset += item.bytes;
                return Ok(Some(StoredChunk { digest: item.digest, offset, length: item.bytes as u32 }));
            } else {
                let missing = || StoreError::ChunkMissing { digests: vec![item.digest] };
                let node = self.inner.record(&item.digest)?.ok_or_else(missing)?;
                let mut items = read_node(&item, &node)?;
                items.reverse();
                self.stack.push(items);
            }
        }
        Ok(None)
    }
}

impl std::fmt::Debug for Chunks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chunks").field("offset", &self.offset).finish_non_exhaustive()
    }
}

/// Reads an object, or a range of it, in order.
#[derive(Debug)]
pub struct ObjectReader {
    chunks: Chunks,
    range: Range<u64>,
    /// Where the next chunk begins.
    position: u64,
    workers: Workers,
    lengths: Lengths,
    /// What was replaced in the chunks.
    references: Option<References>,
}

/// Records that are read at once, and their positions among all that were asked for.
struct Run {
    pack: PackId,
    /// Of the bytes in the pack.
    range: Range<u64>,
    /// The number of bytes of their contents.
    bytes: u64,
    records: Vec<(usize, Location)>,
}

impl ObjectReader {
    /// Opens a reader. Fails if a chunk of the range is not in the store.
    pub(super) fn open(
        inner: &Arc<Inner>,
        id: &Digest,
        range: Range<u64>,
        workers: Workers,
        is_cancelled: Cancel<'_>,
    ) -> Result<Self, Error> {
        let (manifest, items) = inner.manifest(id)?;
        if range.end > manifest.size || range.start > range.end {
            let length = range.end.saturating_sub(range.start);
            return Err(Error::Bounds { offset: range.start, length, data_length: manifest.size });
        }
        let references = match manifest.references {
            Some(table) => Some(References::open(inner, *id, table, &range, workers, is_cancelled)?),
            None => None,
        };
        Ok(Self { references, ..Self::of_items(inner, items, range, workers, is_cancelled)? })
    }

    /// Opens a reader of a list of chunks that has such a range.
    pub(super) fn of_items(
        inner: &Arc<Inner>,
        items: Vec<Item>,
        range: Range<u64>,
        workers: Workers,
        is_cancelled: Cancel<'_>,
    ) -> Result<Self, Error> {
        let mut reader = Self {
            chunks: Chunks::new(Arc::clone(inner), items.clone(), range.start),
            range: range.clone(),
            position: range.start,
            workers,
            lengths: Lengths::default(),
            references: None,
        };
        let missing = reader.missing(is_cancelled)?;
        if !missing.is_empty() {
            // They may be in packs that the index has not, or in others since.
            inner.index.complete(is_cancelled)?;
            reader.lengths = Lengths::default();
            reader.chunks = Chunks::new(Arc::clone(inner), items.clone(), range.start);
            let digests = reader.missing(is_cancelled)?;
            if !digests.is_empty() {
                return Err(StoreError::ChunkMissing { digests }.into());
            }
        }
        reader.chunks = Chunks::new(Arc::clone(inner), items, range.start);
        Ok(reader)
    }

    /// Returns the number of bytes that it was opened for.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Returns the first chunks that are not in the store.
    fn missing(&mut self, is_cancelled: Cancel<'_>) -> Result<Vec<Digest>, Error> {
        let mut missing = Vec::new();
        let inner = Arc::clone(&self.chunks.inner);
        while let Some(chunk) = self.chunks.next_chunk()? {
            if chunk.offset >= self.range.end || missing.len() == StoreError::MOST_DIGESTS {
                break;
            }
            if is_cancelled() {
                return Err(Error::Cancelled);
            }
            if inner.locate(&chunk.digest, &mut self.lengths)?.is_none() {
                missing.push(chunk.digest);
            }
        }
        Ok(missing)
    }

    /// Returns the next pieces of the object, in order, or `None` at the end. `buffer` makes the buffers that
    /// they are returned in.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError::Corrupt`] or [`StoreError::ChunkMissing`] for a chunk that cannot be had any
    /// more, and [`Error::Cancelled`] if `is_cancelled` returns true.
    pub fn next_pieces<B: OutputBuffer + Send>(
        &mut self,
        buffer: impl Fn() -> B + Sync,
        is_cancelled: Cancel<'_>,
    ) -> Result<Option<Vec<B>>, Error> {
        let most = AT_ONCE * self.workers.threads() as u64;
        let chunks = self.next_chunks(|_, bytes| bytes < most)?;
        if chunks.is_empty() {
            return Ok(None);
        }
        let mut pieces = self.fetch(&chunks, &buffer, &|_, piece| Ok(piece), is_cancelled)?;
        if let Some(references) = &mut self.references {
            references.restore(&chunks, &mut pieces, is_cancelled)?;
            for (chunk, piece) in chunks.iter().zip(&mut pieces) {
                let Range { start, end } = self.wanted(chunk);
                if start > 0 {
                    piece.as_mut_slice().copy_within(start..end, 0);
                }
                piece.truncate(end - start);
            }
        }
        Ok(Some(pieces))
    }

    /// Returns the next chunks, as long as `more` returns true for the number of those before and of their bytes.
    fn next_chunks(&mut self, more: impl Fn(usize, u64) -> bool) -> Result<Vec<StoredChunk>, Error> {
        let mut chunks = Vec::new();
        let mut bytes = 0;
        while more(chunks.len(), bytes)
            && let Some(chunk) = self.chunks.next_chunk()?.filter(|chunk| chunk.offset < self.range.end)
        {
            bytes += u64::from(chunk.length);
            self.position = chunk.offset + u64::from(chunk.length);
            chunks.push(chunk);
        }
        Ok(chunks)
    }

    /// Returns which part of a chunk is in the range.
    fn wanted(&self, chunk: &StoredChunk) -> Range<usize> {
        let end = self.range.end.saturating_sub(chunk.offset).min(chunk.length.into()) as usize;
        self.range.start.saturating_sub(chunk.offset).min(end as u64) as usize..end
    }

    /// Returns whether all pieces were returned.
    #[must_use]
    pub const fn is_at_end(&self) -> bool {
        self.position >= self.range.end
    }

    /// Calls `take` with the next pieces until the end, and uses their memory again.
    pub(super) fn take_pieces(
        &mut self,
        mut take: impl FnMut(&[Vec<u8>]) -> Result<(), Error>,
        is_cancelled: Cancel<'_>,
    ) -> Result<(), Error> {
        let free = Free::default();
        while let Some(pieces) = self.next_pieces(|| free.take(), is_cancelled)? {
            take(&pieces)?;
            pieces.into_iter().for_each(|piece| free.give(piece));
        }
        Ok(())
    }

    /// Writes the rest to a file, which is there as a whole or not at all, and replaces what was there. It is not
    /// synced, as no file is that this library writes outside of stores.
    pub(super) fn write_to_file(
        mut self,
        path: &Path,
        progress: Progress<'_>,
        is_cancelled: Cancel<'_>,
    ) -> Result<(), Error> {
        let reporter = ProgressReporter::start(progress, Some(self.length()));
        let failed = |source| Error::from(IoError { path: Some(path.into()), source });
        let mut staged = StagedPath::for_file(path)?;
        let file = staged.create_file(false).map_err(|errno| failed(errno.into()))?;
        let file = File::from(file);
        let start = self.range.start;
        let free = Free::default();
        let done = AtomicU64::new(0);
        let write = |offset: u64, piece: &[u8]| {
            file.write_all_at(piece, offset).map_err(failed)?;
            done.fetch_add(piece.len() as u64, Ordering::Relaxed);
            Ok::<_, Error>(())
        };
        let reports = || {
            reporter.report_if_due(done.load(Ordering::Relaxed));
            is_cancelled()
        };
        if self.references.is_some() {
            // They are restored in the order of the object.
            let mut offset = 0;
            let take = |pieces: &[Vec<u8>]| {
                pieces.iter().try_for_each(|piece| {
                    write(offset, piece)?;
                    offset += piece.len() as u64;
                    Ok(())
                })
            };
            self.take_pieces(take, &reports)?;
        } else {
            let most = MOST_LOCATED_BYTES * self.workers.threads() as u64;
            loop {
                let chunks = self.next_chunks(|chunks, bytes| chunks < MOST_LOCATED && bytes < most)?;
                if chunks.is_empty() {
                    break;
                }
                let write = |place: usize, piece: Vec<u8>| {
                    let chunk: &StoredChunk = &chunks[place];
                    write(chunk.offset.max(start) - start, &piece)?;
                    free.give(piece);
                    Ok(())
                };
                self.fetch(&chunks, &|| free.take(), &write, &reports)?;
            }
        }
        staged.replace()?;
        reporter.finish(done.into_inner());
        Ok(())
    }

    /// Reads chunks: what is wanted of each, or all if references are to be restored. Returns what `take` makes
    /// of each, by its place among them, in any order and on any thread.
    fn fetch<B: OutputBuffer + Send, T: Send>(
        &mut self,
        chunks: &[StoredChunk],
        buffer: &(impl Fn() -> B + Sync),
        take: &(impl Fn(usize, B) -> Result<T, Error> + Sync),
        is_cancelled: Cancel<'_>,
    ) -> Result<Vec<T>, Error> {
        let inner = Arc::clone(&self.chunks.inner);
        let digests: Vec<Digest> = chunks.iter().map(|chunk| chunk.digest).collect();
        // `None` for a chunk of which all is wanted, or needed for its references.
        let parts: Vec<Option<Range<usize>>> = chunks
            .iter()
            .map(|chunk| Some(self.wanted(chunk)).filter(|part| part.len() < chunk.length as usize))
            .map(|part| part.filter(|_| self.references.is_none()))
            .collect();
        let read = |place: usize, location: &Location, record: &[u8], scratch: &mut Scratch| {
            // Before memory is taken for what a damaged list does not expect.
            if location.entry.length != chunks[place].length {
                return Ok(None);
            }
            let mut piece = buffer();
            let header = match parts[place].clone() {
                None => inner.decode(location, record, scratch, &mut piece)?,
                Some(part) => inner.decode_range(location, record, part, scratch, &mut piece)?,
            };
            (header.length == chunks[place].length).then(|| take(place, piece)).transpose()
        };
        let results = inner.records_as(&digests, &mut self.lengths, self.workers, &read, is_cancelled)?;
        let mut taken = Vec::with_capacity(chunks.len());
        for (chunk, result) in chunks.iter().zip(results) {
            let missing = || StoreError::ChunkMissing { digests: vec![chunk.digest] };
            let result = result.ok_or_else(missing)?.ok_or_else(|| {
                let object = format!("the list with chunk {:?}", chunk.digest);
                StoreError::corrupt(&object, None, "chunk_length")
            })?;
            taken.push(result);
        }
        Ok(taken)
    }
}

/// Buffers that are used again.
#[derive(Default)]
struct Free(Mutex<Vec<Vec<u8>>>);

impl Free {
    fn take(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn give(&self, buffer: Vec<u8>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

/// What a thread needs to read records, which it takes from those of the store and gives back.
pub(super) struct Buffers<'a> {
    inner: &'a Inner,
    pub(super) scratch: Scratch,
    bytes: Vec<u8>,
}

impl<'a> Buffers<'a> {
    pub(super) fn take(inner: &'a Inner) -> Self {
        let kept = inner.buffers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let (scratch, bytes) = kept.unwrap_or_default();
        Self { inner, scratch, bytes }
    }
}

impl Drop for Buffers<'_> {
    fn drop(&mut self) {
        let mut kept = self.inner.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MOST_KEPT {
            kept.push((std::mem::take(&mut self.scratch), std::mem::take(&mut self.bytes)));
        }
    }
}

impl Inner {
    /// Returns what `take` makes of each of some records, by its place among them, in order, or `None` for one
    /// that the store does not have. Reads neighbours at once, on several threads.
    pub(super) fn records_as<T: Send>(
        &self,
        digests: &[Digest],
        lengths: &mut Lengths,
        workers: Workers,
        take: &(impl Fn(usize, &Location, &[u8], &mut Scratch) -> Result<T, Error> + Sync),
        is_cancelled: Cancel<'_>,
    ) -> Result<Vec<Option<T>>, Error> {
        let mut located = Vec::with_capacity(digests.len());
        // Those that are in another place than `lengths` and the index say are looked for one by one.
        let mut alone = Vec::new();
        for (place, digest) in digests.iter().enumerate() {
            match self.locate(digest, lengths)? {
                Some(location) => located.push((place, location)),
                None => alone.push(place),
            }
        }
        let runs = runs(located);
        let options = BatchOptions { workers: Some(workers), parallel_threshold: 2, progress: None };
        let read = options.run(
            &runs,
            |run| run.bytes as usize,
            || Buffers::take(self),
            |buffers, run, is_cancelled| self.read_run(run, buffers, take, is_cancelled),
            is_cancelled,
        )?;
        let mut taken: Vec<Option<T>> = digests.iter().map(|_| None).collect();
        for result in read {
            for (place, record) in result? {
                match record {
                    Some(record) => taken[place] = Some(record),
                    None => alone.push(place),
                }
            }
        }
        let mut scratch = Scratch::default();
        for place in alone {
            if is_cancelled() {
                return Err(Error::Cancelled);
            }
            taken[place] = self.record_as(&digests[place], &mut |location, record| {
                take(place, location, record, &mut scratch)
            })?;
        }
        Ok(taken)
    }

    /// Reads the records of a run; `None` for one that is not there, or is damaged there.
    fn read_run<T>(
        &self,
        run: &Run,
        Buffers { scratch, bytes, .. }: &mut Buffers<'_>,
        take: &impl Fn(usize, &Location, &[u8], &mut Scratch) -> Result<T, Error>,
        is_cancelled: Cancel<'_>,
    ) -> Result<Vec<(usize, Option<T>)>, Error> {
        bytes.resize((run.range.end - run.range.start) as usize, 0);
        let there = self.objects.get_range(&run.pack.name(), run.range.start, bytes)?;
        let mut taken = Vec::with_capacity(run.records.len());
        for (place, location) in &run.records {
            if is_cancelled() {
                return Err(Error::Cancelled);
            }
            let start = (u64::from(location.entry.offset) - run.range.start) as usize;
            let record = &bytes[start..][..HEADER + location.entry.stored as usize];
            match there.then(|| take(*place, location, record, scratch)).transpose() {
                Ok(record) => taken.push((*place, record)),
                Err(Error::Store(StoreError::Corrupt { .. })) => taken.push((*place, None)),
                Err(error) => return Err(error),
            }
        }
        Ok(taken)
    }
}

/// Joins records that are neighbours in a pack, as long as neither they nor their contents are too much for one
/// thread: the same record may be asked for many times.
fn runs(mut located: Vec<(usize, Location)>) -> Vec<Run> {
    located.sort_by_key(|(place, location)| (location.pack, location.entry.offset, *place));
    let mut runs: Vec<Run> = Vec::new();
    for (place, location) in located {
        let start = u64::from(location.entry.offset);
        let end = start + HEADER as u64 + u64::from(location.entry.stored);
        let bytes = u64::from(location.entry.length);
        match runs.last_mut() {
            Some(run)
                if run.pack == location.pack
                    && start <= run.range.end + u64::from(GAP)
                    && end - run.range.start <= ONE_READ
                    && run.bytes + bytes <= AT_ONCE =>
            {
                run.range.end = run.range.end.max(end);
                run.bytes += bytes;
                run.records.push((place, location));
            }
            _ => runs.push(Run {
                pack: location.pack,
                range: start..end,
                bytes,
                records: vec![(place, location)],
            }),
        }
    }
    runs
}
