//! Copies objects to another store: what is missing there, and nothing else.
//!
//! Records go over as they are, without being compressed again, once their content has its digest. A store
//! with another hash function has other digests for everything, so objects are put there anew.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::error::StoreError;
use super::manifest::Item;
use super::pack::Lengths;
use super::put::PutKind;
use super::read::AT_ONCE;
use super::record::{HEADER, Header, Kind, Scratch};
use super::segment::Location;
use super::walk::Order;
use super::writer::Writer;
use super::{Inner, MOST_ATTEMPTS, ObjectReader, Session, Store};
use crate::Cancel;
use crate::engine::progress::{Progress, ProgressReporter};
use crate::engine::workers::Workers;
use crate::error::Error;
use crate::hash::Digest;
use crate::io::source::Source;

/// What a copy has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copied {
    /// The ids in the other store, in the order of what was to be copied.
    pub ids: Vec<Digest>,
    /// The number of chunks that the other store did not have, and of their bytes.
    pub new_chunks: u64,
    /// See `new_chunks`.
    pub new_bytes: u64,
    /// The number of bytes that were added to the other store, compressed.
    pub stored_bytes: u64,
}

impl Store {
    /// Copies objects to another store in one session: each with the tag that is to name it there, or else it
    /// is kept without one. Only what the other store lacks is read and sent. If a garbage collection there
    /// deletes what was found present before the commit, begins again. Progress is in bytes of the objects.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError::NotFound`] for an object that is not in this store, [`StoreError::ChunkMissing`]
    /// for one that cannot be copied as a whole, [`StoreError::Corrupt`] for a record that is damaged here,
    /// and the errors of [`Session::commit`]. After an error nothing of it is visible in the other store.
    pub fn copy(
        &self,
        other: &Self,
        objects: &[(Digest, Option<&str>)],
        workers: Workers,
        progress: Progress<'_>,
        is_cancelled: Cancel<'_>,
    ) -> Result<Copied, Error> {
        let mut total = 0;
        let distinct: HashSet<Digest> = objects.iter().map(|(id, _)| *id).collect();
        for id in distinct {
            total += self.manifest(&id)?.size;
        }
        let mut attempts = 0;
        loop {
            attempts += 1;
            let reporter = ProgressReporter::start(progress, Some(total));
            match self.copy_once(other, objects, workers, &reporter, is_cancelled) {
                Err(Error::Store(StoreError::SessionFenced)) if attempts < MOST_ATTEMPTS => {}
                result => {
                    let copied = result?;
                    reporter.finish(total);
                    return Ok(copied);
                }
            }
        }
    }

    fn copy_once(
        &self,
        other: &Self,
        objects: &[(Digest, Option<&str>)],
        workers: Workers,
        reporter: &ProgressReporter<'_>,
        is_cancelled: Cancel<'_>,
    ) -> Result<Copied, Error> {
        let mut session = other.session()?;
        let mut copied = Copied::default();
        if self.inner.format.hash == other.inner.format.hash {
            let writer = Arc::clone(&session.writer);
            let mut copier = Copier {
                inner: &self.inner,
                writer: &writer,
                workers,
                seen: HashSet::new(),
                lengths: Lengths::default(),
                claimed: Vec::new(),
                claimed_done: 0,
                claimed_bytes: 0,
                done: 0,
                copied,
                reporter,
                is_cancelled,
            };
            for (id, _) in objects {
                copier.object(id)?;
                session.add_object(*id);
            }
            copier.send()?;
            copied = copier.copied;
            copied.ids = objects.iter().map(|(id, _)| *id).collect();
        } else {
            let (mut ids, mut done) = (HashMap::new(), 0);
            for (id, _) in objects {
                if let Some(known) = ids.get(id) {
                    copied.ids.push(*known);
                    continue;
                }
                let reports = |count| reporter.report_if_due(done + count);
                let size = self.put_anew(id, &mut session, &mut copied, workers, &reports, is_cancelled)?;
                done += size;
                ids.insert(*id, *copied.ids.last().expect("it was put"));
            }
        }
        for ((_, name), id) in objects.iter().zip(&copied.ids) {
            if let Some(name) = name {
                session.tag(name, *id, is_cancelled)?;
            }
        }
        session.commit(is_cancelled)?;
        Ok(copied)
    }

    /// Puts the bytes of an object into a session of another store. Returns their number.
    fn put_anew(
        &self,
        id: &Digest,
        session: &mut Session,
        copied: &mut Copied,
        workers: Workers,
        reports: &dyn Fn(u64),
        is_cancelled: Cancel<'_>,
    ) -> Result<u64, Error> {
        let reader = self.reader(id, .., Workers::of_this_thread(), is_cancelled)?;
        let (source, count) = super::progress::Counted::new(ObjectSource { reader, read: Vec::new(), at: 0 });
        let reports = || {
            reports(count());
            is_cancelled()
        };
        let kind = PutKind::again(&self.manifest(id)?);
        let stored = session.put_as(source, kind, workers, &reports)?;
        copied.ids.push(stored.id);
        copied.new_chunks += stored.new_chunks;
        copied.new_bytes += stored.new_bytes;
        copied.stored_bytes += stored.stored_bytes;
        Ok(stored.size)
    }
}

/// The length that a node is taken to have before it is read.
const NODE: u64 = 128 << 10;

/// Sends records.
struct Copier<'a> {
    inner: &'a Arc<Inner>,
    writer: &'a Writer,
    workers: Workers,
    /// The manifests and nodes that were looked through.
    seen: HashSet<Digest>,
    /// The lengths of the packs that were asked for.
    lengths: Lengths,
    /// Records that the other store lacks, the number of bytes of objects among them, and of all.
    claimed: Vec<Digest>,
    claimed_done: u64,
    claimed_bytes: u64,
    /// The number of bytes of objects that are in the other store.
    done: u64,
    copied: Copied,
    reporter: &'a ProgressReporter<'a>,
    is_cancelled: Cancel<'a>,
}

impl Copier<'_> {
    /// Sends what the other store lacks of an object.
    fn object(&mut self, id: &Digest) -> Result<(), Error> {
        if !self.seen.insert(*id) {
            return Ok(());
        }
        let (manifest, items) = self.inner.manifest(id)?;
        let items = manifest.parts(items);
        let length = (items.len() * size_of::<Item>()) as u64;
        let (inner, is_cancelled) = (self.inner, self.is_cancelled);
        let mut seen = std::mem::take(&mut self.seen);
        // A node that is there says nothing of its chunks, so all are looked for.
        let mut claim = |item: &Item, is_new_node: bool| match item.height {
            0 => self.claim(item.digest, item.bytes, item.bytes),
            _ if is_new_node => self.claim(item.digest, NODE, 0),
            _ => {
                self.done += item.bytes;
                Ok(())
            }
        };
        let claimed = inner.walk(items, Order::Object, &mut seen, &mut claim, is_cancelled);
        self.seen = seen;
        claimed?;
        self.claim(*id, length, 0)
    }

    /// Sends a record of some length, of which so many bytes are an object's, unless the other store has it.
    fn claim(&mut self, digest: Digest, length: u64, bytes: u64) -> Result<(), Error> {
        self.reporter.report_if_due(self.done);
        if (self.is_cancelled)() {
            return Err(Error::Cancelled);
        }
        if self.writer.is_present_or_written(&digest)? {
            self.done += bytes;
            return Ok(());
        }
        self.claimed.push(digest);
        self.claimed_done += bytes;
        self.claimed_bytes += length;
        if self.claimed_bytes >= AT_ONCE * self.workers.threads() as u64 { self.send() } else { Ok(()) }
    }

    /// Sends the claimed records.
    fn send(&mut self) -> Result<(), Error> {
        let claimed = std::mem::take(&mut self.claimed);
        let inner = Arc::clone(self.inner);
        let checked = |_: usize, location: &Location, record: &[u8], scratch: &mut Scratch| {
            let mut content = Vec::new();
            let header = inner.decode(location, record, scratch, &mut content)?;
            let content = if header.kind == Kind::Delta { content } else { Vec::new() };
            Ok((header, record[HEADER..].to_vec(), content))
        };
        let records =
            inner.records_as(&claimed, &mut self.lengths, self.workers, &checked, self.is_cancelled)?;
        let missing = claimed.iter().zip(&records).filter(|(_, record)| record.is_none());
        let digests: Vec<_> = missing.map(|(digest, _)| *digest).take(StoreError::MOST_DIGESTS).collect();
        if !digests.is_empty() {
            return Err(StoreError::ChunkMissing { digests }.into());
        }
        let mut records: Vec<_> = records.into_iter().flatten().collect();
        // Bases before their deltas.
        records.sort_by_key(|(header, ..)| header.kind == Kind::Delta);
        for (header, payload, content) in records {
            self.append(header, &payload, &content)?;
        }
        self.done += std::mem::take(&mut self.claimed_done);
        self.claimed_bytes = 0;
        Ok(())
    }

    /// Appends a record. A delta goes over as it is if the other store has its bases, and otherwise as a whole chunk.
    fn append(&mut self, header: Header, payload: &[u8], content: &[u8]) -> Result<(), Error> {
        self.copied.stored_bytes += if header.kind == Kind::Delta {
            self.writer.append_delta(header, payload, content)?
        } else {
            self.writer.append(header, payload)?
        };
        if matches!(header.kind, Kind::Chunk | Kind::Delta) {
            self.copied.new_chunks += 1;
            self.copied.new_bytes += u64::from(header.length);
        }
        Ok(())
    }
}

/// The bytes of an object as a source. They are decompressed on the thread that reads.
struct ObjectSource {
    reader: ObjectReader,
    /// What was read and is left, from `at` on, in reverse order of the pieces.
    read: Vec<Vec<u8>>,
    at: usize,
}

impl Source for ObjectSource {
    fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Error> {
        loop {
            let Some(piece) = self.read.last() else {
                match self.reader.next_pieces(Vec::new, crate::NEVER)? {
                    Some(pieces) => self.read.extend(pieces.into_iter().rev()),
                    None => return Ok(Some(0)),
                }
                continue;
            };
            let left = &piece[self.at..];
            if left.is_empty() {
                self.read.pop();
                self.at = 0;
                continue;
            }
            let count = left.len().min(buffer.len());
            buffer[..count].copy_from_slice(&left[..count]);
            self.at += count;
            return Ok(Some(count));
        }
    }
}
