//! Writes the records of a session: each chunk once, into packs that a thread of its own uploads.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::Inner;
use super::bases::BaseFinder;
use super::delta::{ANY, Base, DeltaHead, Depth, MOST_BASES, WHOLE};
use super::error::StoreError;
use super::gc::condemned;
use super::pack::{self, Lengths, Pack, PackBuilder, PackId, Section};
use super::record::{HEADER, Header, Kind, MOST, Scratch};
use super::segment::Location;
use super::session::{Session, State};
use crate::codec::CompressOptions;
use crate::error::{Error, IoError};
use crate::hash::Digest;

/// The number of records after which those that were uploaded are added to the index, so that their digests
/// need not be kept in memory.
const MOST_UNINDEXED: usize = 200_000;

/// The number of packs that wait for the uploading thread. One more is being filled, and one uploaded.
const WAITING: usize = 1;

/// Writes records. Several threads may use it at once.
pub(super) struct Writer {
    inner: Arc<Inner>,
    /// The id of the session.
    id: [u8; 16],
    session: Mutex<Session>,
    /// The packs that a garbage collection is about to delete, and which therefore count as absent.
    condemned: HashSet<PackId>,
    lengths: Mutex<Lengths>,
    /// The digests of the records that this session writes and that are not yet in the index.
    written: Mutex<HashMap<Digest, Written>>,
    /// The number of puts that have not ended, or not well, and of other failures. A digest in `written` may then
    /// have no record.
    unfinished: AtomicUsize,
    /// Whether the session was removed.
    has_ended: AtomicBool,
    filling: [Mutex<Option<PackBuilder>>; Section::COUNT],
    scratch: Mutex<Vec<Scratch>>,
    compression: Option<CompressOptions>,
    uploader: Mutex<Uploader>,
    uploaded: Arc<Mutex<Uploaded>>,
}

/// How far a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    /// A thread is about to write it.
    Claimed,
    Whole,
    Delta,
}

/// The thread that uploads.
#[derive(Default)]
struct Uploader {
    /// `None` once the thread is to end.
    sender: Option<SyncSender<Pack>>,
    thread: Option<JoinHandle<()>>,
}

/// What it has done.
#[derive(Default)]
struct Uploaded {
    packs: Vec<(PackId, Vec<pack::Entry>)>,
    records: usize,
    /// The number of all packs.
    count: u64,
    /// The buffers of packs, for the next ones: fresh memory costs as much as copying.
    buffers: Vec<Vec<u8>>,
    error: Option<Error>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Writer {
    pub(super) fn session(&self) -> MutexGuard<'_, Session> {
        lock(&self.session)
    }

    /// Opens a session, which continues others that were fenced.
    pub(super) fn open(inner: Arc<Inner>, continues: Vec<[u8; 16]>) -> Result<Self, Error> {
        let session = Session::create(&*inner.objects, continues)?;
        let objects = Arc::clone(&inner.objects);
        Self::of(inner, session.clone()).inspect_err(|_| drop(session.abandon(&*objects)))
    }

    fn of(inner: Arc<Inner>, session: Session) -> Result<Self, Error> {
        let id = session.id;
        // After the session exists: a collection that does not see it has published its list before.
        let condemned = condemned(&*inner.objects)?;
        inner.marks.refresh(&*inner.objects)?;
        inner.index.refresh()?;
        inner.index.settle_found()?;
        let (sender, receiver) = sync_channel(WAITING);
        let uploaded = Arc::new(Mutex::new(Uploaded::default()));
        let thread = {
            let (inner, uploaded) = (Arc::clone(&inner), Arc::clone(&uploaded));
            let thread = std::thread::Builder::new().name("chunker-upload".into());
            thread.spawn(move || upload(&inner, &receiver, &uploaded))
        };
        let thread = thread.map_err(|source| IoError { path: None, source })?;
        let compression = inner.format.compression();
        Ok(Self {
            inner,
            session: Mutex::new(session),
            id,
            condemned,
            lengths: Mutex::default(),
            written: Mutex::default(),
            unfinished: AtomicUsize::new(0),
            has_ended: AtomicBool::new(false),
            filling: Default::default(),
            scratch: Mutex::default(),
            compression,
            uploader: Mutex::new(Uploader { sender: Some(sender), thread: Some(thread) }),
            uploaded,
        })
    }

    /// Returns whether a record is in a pack that exists, is long enough, and is not condemned. A delta needs its
    /// bases in such packs.
    pub(super) fn is_present(&self, digest: &Digest) -> Result<bool, Error> {
        self.is_present_as(digest, ANY)
    }

    fn is_present_as(&self, digest: &Digest, depth: Depth) -> Result<bool, Error> {
        let mut is_usable = |location: &Location| self.is_usable(location);
        let inner = &self.inner;
        Ok(inner.index.find(digest, |location| inner.counts(location, depth, &mut is_usable))?.is_some())
    }

    /// Returns whether a record is present, or was not, and is from now on taken to be written by this session.
    pub(super) fn is_present_or_written(&self, digest: &Digest) -> Result<bool, Error> {
        self.is_present_or_written_as(digest, ANY)
    }

    /// Does the same for a record that must perhaps be whole.
    pub(super) fn is_present_or_written_as(&self, digest: &Digest, depth: Depth) -> Result<bool, Error> {
        let is_new = match lock(&self.written).entry(*digest) {
            Entry::Occupied(written) if depth > WHOLE || *written.get() == Written::Whole => {
                return Ok(true);
            }
            Entry::Occupied(_) => false,
            Entry::Vacant(vacant) => {
                vacant.insert(Written::Claimed);
                true
            }
        };
        let is_present = self.is_present_as(digest, depth)?;
        if is_present && is_new {
            lock(&self.written).remove(digest);
        }
        Ok(is_present)
    }

    /// Returns whether a chunk is present whole, or was written whole by this session.
    fn has_whole(&self, digest: &Digest) -> Result<bool, Error> {
        let is_written = lock(&self.written).get(digest) == Some(&Written::Whole);
        Ok(is_written || self.is_present_as(digest, WHOLE)?)
    }

    /// Returns whether the store has a record, and makes sure that it stays: one in a pack that a garbage
    /// collection is about to delete is written anew, and so is a delta of one, as a whole chunk.
    pub(super) fn keep(&self, digest: &Digest) -> Result<bool, Error> {
        self.kept(digest).inspect_err(|_| self.fail())
    }

    fn kept(&self, digest: &Digest) -> Result<bool, Error> {
        if self.is_present_or_written(digest)? {
            return Ok(true);
        }
        let mut scratch = lock(&self.scratch).pop().unwrap_or_default();
        let mut content = Vec::new();
        let found = self.inner.record_as(digest, &mut |location, record| {
            let header = self.inner.decode(location, record, &mut scratch, &mut content)?;
            Ok((header, record[HEADER..].to_vec()))
        });
        lock(&self.scratch).push(scratch);
        match found {
            // Perhaps in a pack that the index had not, and that stays.
            Ok(Some((header, payload))) if !self.is_present(digest)? => {
                if header.kind == Kind::Delta {
                    self.append_delta(header, &payload, &content)?;
                } else {
                    self.append(header, &payload)?;
                }
                Ok(true)
            }
            found => {
                lock(&self.written).remove(digest);
                match found {
                    Err(Error::Store(StoreError::Corrupt { .. })) => Ok(false),
                    found => Ok(found?.is_some()),
                }
            }
        }
    }

    fn is_usable(&self, location: &Location) -> Result<bool, Error> {
        Ok(!self.condemned.contains(&location.pack)
            && !self.inner.marks.contains(location)
            && lock(&self.lengths).hold(&*self.inner.objects, location)?)
    }

    pub(super) fn begin_put(&self) {
        self.unfinished.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn end_put(&self) {
        self.unfinished.fetch_sub(1, Ordering::AcqRel);
    }

    /// Notes a failure after which the session cannot be committed.
    fn fail(&self) {
        self.unfinished.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns whether anything has failed or has not ended.
    pub(super) fn has_failed(&self) -> bool {
        self.unfinished.load(Ordering::Acquire) > 0
    }

    /// Ends the session, unless it was committed.
    pub(super) fn abandon(&self) -> Result<(), Error> {
        let session = self.session();
        if matches!(session.state, State::Committed(_)) || self.has_ended.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        session.abandon(&*self.inner.objects)
    }

    /// Writes a record, unless the store or this session has it. Returns the number of bytes that it takes,
    /// and 0 if it was there.
    pub(super) fn write(&self, kind: Kind, digest: Digest, slices: &[&[u8]]) -> Result<u64, Error> {
        if self.is_present_or_written(&digest)? { Ok(0) } else { self.write_new(kind, digest, slices) }
    }

    /// Writes the chunk at a position of an object, unless the store or this session has it: as a delta if `bases`
    /// finds any that make it short. Returns the same as [`write`](Self::write).
    pub(super) fn write_chunk(
        &self,
        digest: Digest,
        slices: &[&[u8]],
        offset: u64,
        bases: &BaseFinder,
    ) -> Result<u64, Error> {
        let is_present = self.is_present_or_written(&digest)?;
        if self.was_whole(&digest)? {
            // Others may be deltas of it, and this heals them.
            let is_written = self.is_present_or_written_as(&digest, WHOLE)?;
            return if is_written { Ok(0) } else { self.write_new(Kind::Chunk, digest, slices) };
        }
        if is_present {
            bases.add_present(&digest, offset);
            return Ok(0);
        }
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        let (contents, head) = self.usable(bases.find(offset, length as u64))?;
        if contents.is_empty() {
            return self.write_new(Kind::Chunk, digest, slices);
        }
        let mut scratch = lock(&self.scratch).pop().unwrap_or_default();
        let compressed = scratch.compress_chunk(digest, slices, self.compression.as_ref(), &contents, &head);
        let (header, payload) = compressed?;
        bases.add_result(header.kind == Kind::Delta);
        let taken = self.append(header, payload)?;
        lock(&self.scratch).push(scratch);
        Ok(taken)
    }

    /// Returns whether the index knows a whole chunk which is damaged, or is gone or about to.
    fn was_whole(&self, digest: &Digest) -> Result<bool, Error> {
        let mut is_whole = false;
        self.inner
            .index
            .find(digest, |location| {
                is_whole |= location.pack.section != Section::Deltas;
                Ok(is_whole && self.is_usable(location)?)
            })
            .map(|usable| is_whole && usable.is_none())
    }

    /// Returns the contents of the chunks that this session may write a delta of, and the head of that delta. A chunk
    /// that is a delta itself stands for its bases.
    fn usable(&self, found: Vec<(Digest, u64)>) -> Result<(Vec<Base>, DeltaHead), Error> {
        let mut bases: Vec<(Digest, u64)> = Vec::new();
        for (digest, common) in found {
            let whole = match self.is_present_as(&digest, WHOLE)? {
                true => vec![digest],
                false => self.bases_of(&digest)?,
            };
            for base in whole {
                match bases.iter_mut().find(|(known, _)| *known == base) {
                    Some((_, sum)) => *sum += common,
                    None => bases.push((base, common)),
                }
            }
        }
        // Those that most of the chunk may match, in the order in which they were found.
        while bases.len() > MOST_BASES {
            let least = bases.iter().map(|(_, common)| *common).min();
            let place = bases.iter().rposition(|(_, common)| Some(*common) == least);
            bases.remove(place.expect("there is a least one"));
        }
        let (mut contents, mut head) = (Vec::new(), DeltaHead { bases: Vec::new() });
        for (base, _) in bases {
            // One that is damaged is found by a read or a check.
            if let Ok(Some(content)) = self.inner.base(&base, WHOLE) {
                contents.push(content);
                head.bases.push(base);
            }
        }
        Ok((contents, head))
    }

    /// Returns the bases of a chunk that is present as a delta only.
    fn bases_of(&self, digest: &Digest) -> Result<Vec<Digest>, Error> {
        let mut is_usable = |location: &Location| self.is_usable(location);
        let inner = &self.inner;
        let delta = inner.index.find(digest, |place| inner.counts(place, ANY, &mut is_usable))?;
        Ok(match delta.map(|place| inner.delta_head(&place)) {
            Some(Ok(Some(head))) => head.bases,
            _ => Vec::new(),
        })
    }

    /// Writes a chunk that the store may have only as a delta.
    pub(super) fn write_whole(&self, digest: Digest, content: &[u8]) -> Result<(), Error> {
        if !self.is_present_or_written_as(&digest, WHOLE)? {
            self.write_new(Kind::Chunk, digest, &[content])?;
        }
        Ok(())
    }

    fn write_new(&self, kind: Kind, digest: Digest, slices: &[&[u8]]) -> Result<u64, Error> {
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        if length > MOST {
            return Err(Error::BufferLimit { attempted: length as u64, limit: MOST as u64 });
        }
        let mut scratch = lock(&self.scratch).pop().unwrap_or_default();
        let (codec, payload) = scratch.compress(slices, self.compression.as_ref())?;
        let (stored, length) = (payload.len() as u32, length as u32);
        let taken = self.append(Header { kind, codec, stored, length, digest }, payload)?;
        lock(&self.scratch).push(scratch);
        Ok(taken)
    }

    /// Appends a delta that another store has, or the whole chunk if this store has no deltas or lacks a base.
    pub(super) fn append_delta(&self, header: Header, payload: &[u8], content: &[u8]) -> Result<u64, Error> {
        let head = DeltaHead::split(payload).filter(|_| self.inner.format.deltas);
        for base in head.iter().flat_map(|(head, _)| &head.bases) {
            if !self.has_whole(base)? {
                return self.write_new(Kind::Chunk, header.digest, &[content]);
            }
        }
        if head.is_some() {
            self.append(header, payload)
        } else {
            self.write_new(Kind::Chunk, header.digest, &[content])
        }
    }

    /// Appends a record to the pack that is being filled.
    pub(super) fn append(&self, header: Header, payload: &[u8]) -> Result<u64, Error> {
        let written = if header.kind == Kind::Delta { Written::Delta } else { Written::Whole };
        lock(&self.written).insert(header.digest, written);
        let section = Section::of(header.kind);
        let mut filling = lock(&self.filling[section as usize]);
        let builder = match &mut *filling {
            Some(builder) => builder,
            none => {
                let buffer = lock(&self.uploaded).buffers.pop().unwrap_or_default();
                none.insert(PackBuilder::new(section, &self.id, buffer))
            }
        };
        let taken = builder.push(header, payload);
        let full = builder.is_full().then(|| filling.take()).flatten();
        drop(filling);
        if let Some(builder) = full {
            self.upload(builder)?;
        }
        Ok(taken)
    }

    fn upload(&self, builder: PackBuilder) -> Result<(), Error> {
        let sender = lock(&self.uploader).sender.clone();
        if sender.is_none_or(|sender| sender.send(builder.finish()).is_err()) {
            return Err(self.upload_error());
        }
        // Their digests need not be kept in memory.
        self.index(MOST_UNINDEXED)
    }

    /// Returns the error because of which the thread has ended. Several threads may ask for it.
    fn upload_error(&self) -> Error {
        match &lock(&self.uploaded).error {
            Some(Error::Io(IoError { path, source })) => {
                let source = match source.raw_os_error() {
                    Some(number) => std::io::Error::from_raw_os_error(number),
                    None => std::io::Error::new(source.kind(), source.to_string()),
                };
                IoError { path: path.clone(), source }.into()
            }
            Some(Error::Store(error)) => error.clone().into(),
            _ => Error::Cancelled,
        }
    }

    /// Adds the packs that were uploaded to the index, if they have at least so many records.
    fn index(&self, least: usize) -> Result<(), Error> {
        let packs = {
            let mut done = lock(&self.uploaded);
            if done.records < least.max(1) {
                return Ok(());
            }
            done.records = 0;
            std::mem::take(&mut done.packs)
        };
        self.inner.objects.flush()?;
        self.inner.index.add(&packs)?;
        let mut written = lock(&self.written);
        for (_, entries) in packs {
            for entry in entries {
                written.remove(&entry.digest);
            }
        }
        Ok(())
    }

    /// Uploads what was written, waits until it is durable, and adds it to the index. Nothing can be written
    /// afterwards. Returns the number of packs of the session.
    pub(super) fn finish(&self) -> Result<u64, Error> {
        for section in Section::ALL {
            let builder = lock(&self.filling[section as usize]).take();
            if let Some(builder) = builder.filter(|builder| !builder.is_empty()) {
                self.upload(builder)?;
            }
        }
        let Uploader { sender, thread } = std::mem::take(&mut *lock(&self.uploader));
        drop(sender);
        if let Some(Err(panic)) = thread.map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
        if lock(&self.uploaded).error.is_some() {
            return Err(self.upload_error());
        }
        self.index(0)?;
        Ok(lock(&self.uploaded).count)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // If that fails, a garbage collection ends it once this process has ended.
        let _ = self.abandon();
    }
}

fn upload(inner: &Inner, packs: &Receiver<Pack>, done: &Mutex<Uploaded>) {
    for Pack { id, bytes, entries } in packs {
        match inner.objects.put(&id.name(), &[&bytes]) {
            Ok(()) => {
                let mut done = lock(done);
                done.records += entries.len();
                done.count += 1;
                done.packs.push((id, entries));
                done.buffers.push(bytes);
            }
            Err(error) => {
                lock(done).error = Some(error);
                return;
            }
        }
    }
}
