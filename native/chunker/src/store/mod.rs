//! Keeps files, binaries, streams and archives, each chunk once.
//!
//! A [`Store`] is a folder, which any number of processes write to, read from and collect the garbage of at
//! the same time. What a [`Session`] has committed survives a power cut, and is there as a whole or not at
//! all.
//!
//! ```
//! use chunker::NEVER;
//! use chunker::engine::workers::Workers;
//! use chunker::store::{Store, StoreOptions};
//!
//! let folder = tempfile::tempdir()?;
//! let store = Store::open(folder.path(), &StoreOptions::default())?;
//! let stored = store.put(&b"content"[..], Some("greetings/first"), Workers::of_this_thread(), NEVER)?;
//! assert_eq!(store.tag("greetings/first")?, Some(stored.id));
//! assert_eq!(store.read(&stored.id, .., Workers::of_this_thread(), NEVER)?, b"content");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! docs/store-format.md describes the files.

mod archive;
mod bases;
mod check;
mod copy;
mod delta;
mod disk;
mod error;
mod format;
mod gc;
mod index;
mod manifest;
mod marks;
mod objects;
mod pack;
mod progress;
mod put;
mod read;
mod record;
mod references;
mod refs;
mod segment;
mod session;
mod stats;
mod tap;
mod text;
mod unwritten;
mod walk;
mod writer;

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::ops::{Bound, Range, RangeBounds};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use check::{Damage, Incomplete, Report};
pub use copy::Copied;
pub use disk::{Disk, Folder};
pub use error::StoreError;
pub use format::{Format, FormatOptions};
pub use gc::Collected;
pub use manifest::{Manifest, ObjectKind, StoredChunk};
pub use objects::{LocalObjects, Objects};
pub use put::{PutAs, PutKind, PutPieces, Stored};
pub use read::{Chunks, ObjectReader};
pub use refs::If;
pub use stats::Stats;

use self::bases::{BaseFinder, BaseObject};
use self::check::Lists;
use self::delta::Bases;
use self::index::Index;
use self::manifest::Item;
use self::marks::Marks;
use self::pack::Lengths;
use self::put::PutOptions;
use self::record::Kind;
use self::session::{Commit, NewTag, State};
use self::walk::Order;
use self::writer::Writer;
use crate::Cancel;
use crate::cdc::CdcParams;
use crate::codec::{Codec, CompressionError};
use crate::engine::batch::BatchOptions;
use crate::engine::progress::Progress;
use crate::engine::workers::Workers;
use crate::error::{Error, IoError, OptionsError};
use crate::hash::Digest;
use crate::io::source::{FromRead, Source};

/// Holds the options of [`Store::open`].
#[derive(Debug, Clone, Copy)]
pub struct StoreOptions {
    /// Whether a store is created if there is none.
    pub create: bool,
    /// What a new store gets, and an existing one must have.
    pub format: FormatOptions,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { create: true, format: FormatOptions::default() }
    }
}

/// A store. Clones share what is open.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

/// What all parts of an open store share.
struct Inner {
    objects: Arc<dyn Objects>,
    format: Format,
    index: Index,
    marks: Marks,
    /// The sessions of this handle that were committed, and whose tags could not be set.
    unfinished: Mutex<Vec<[u8; 16]>>,
    bases: Bases,
    /// Buffers for reading, from call to call.
    buffers: Mutex<Vec<(record::Scratch, Vec<u8>)>>,
}

impl Store {
    /// Opens the store in a folder, or creates one there. A new one needs a folder that is empty, or that
    /// does not exist in a folder that does.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Io`] if the folder cannot be created or read, [`StoreError::NotFound`] if there is no
    /// store and `create` is false, [`StoreError::NoStore`] if there is something else,
    /// [`StoreError::UnsupportedFormat`] for a store of a newer version, and [`Error::Options`] for an option
    /// that is out of range or that the store does not have.
    pub fn open(folder: &Path, options: &StoreOptions) -> Result<Self, Error> {
        let failed = |source| IoError { path: Some(folder.into()), source };
        if options.create {
            match std::fs::create_dir(folder) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                result => result.map_err(failed)?,
            }
        }
        let disk = Folder::new(folder);
        Self::on_disk(disk, folder.into(), options)
    }

    /// Opens the store on a disk, whose path is for errors.
    ///
    /// # Errors
    ///
    /// See [`open`](Self::open).
    pub fn on_disk(disk: impl Disk + 'static, path: PathBuf, options: &StoreOptions) -> Result<Self, Error> {
        let shown = path.display().to_string();
        let entries = disk.list("").map_err(|source| IoError { path: Some(path.clone()), source })?;
        let mut objects = LocalObjects::new(disk, path.clone(), options.format.durable.unwrap_or(true));
        let format = match Format::open(&objects)? {
            Some(format) => options.format.check(format)?,
            None if !options.create => return Err(StoreError::NotFound { name: shown }.into()),
            // What a process was killed at that created one.
            None if entries.iter().any(|(name, _)| name != "lock" && name != "tmp") => {
                return Err(StoreError::NoStore { path: shown }.into());
            }
            None => {
                let format = options.format.format()?;
                check(&format)?;
                if format.durable {
                    // Before there is a store that others may write to.
                    objects.disk().sync_root().map_err(|source| IoError { path: Some(path), source })?;
                }
                options.format.check(format.create(&objects)?)?
            }
        };
        objects.set_durable(format.durable);
        let objects: Arc<dyn Objects> = Arc::new(objects);
        check(&format)?;
        let index = Index::open(Arc::clone(&objects))?;
        let inner = Arc::new(Inner {
            objects,
            format,
            index,
            marks: Marks::default(),
            unfinished: Mutex::default(),
            bases: delta::bases(),
            buffers: Mutex::default(),
        });
        inner.finish_sessions_if_writable()?;
        Ok(Self { inner })
    }

    /// Returns what is the same for all objects.
    #[must_use]
    pub fn format(&self) -> &Format {
        &self.inner.format
    }

    /// Opens a session.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Io`] if the store cannot be written to, as all methods do.
    pub fn session(&self) -> Result<Session, Error> {
        if !self.inner.unfinished().is_empty() {
            self.inner.finish_sessions()?;
        }
        let writer = Writer::open(Arc::clone(&self.inner), Vec::new())?;
        Ok(Session {
            inner: Arc::clone(&self.inner),
            writer: Arc::new(writer),
            commit: Commit::default(),
            objects: HashSet::new(),
            tags: HashMap::new(),
            base: None,
            base_object: None,
        })
    }

    /// Puts an object, and tags it if there is a name, in a session of its own.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Session::put`] and [`Session::commit`].
    pub fn put<'a>(
        &self,
        reader: impl Read + Send + 'static,
        target: impl Into<PutAs<'a>>,
        workers: Workers,
        is_cancelled: Cancel<'_>,
    ) -> Result<Stored, Error> {
        self.put_source(FromRead(reader), target, workers, is_cancelled)
    }

    /// Puts an object that a source has. See [`put`](Self::put).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`put`](Self::put).
    pub fn put_source<'a>(
        &self,
        source: impl Source + Send + 'static,
        target: impl Into<PutAs<'a>>,
        workers: Workers,
        is_cancelled: Cancel<'_>,
    ) -> Result<Stored, Error> {
        self.put_as(source, PutKind::Bytes, target, workers, is_cancelled)
    }

    /// Puts a file. If a garbage collection deletes a chunk in the meantime that was found in the store, the
    /// file is read again. Progress is in bytes of the file; how many there are is not known of a FIFO or a
    /// device.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`put`](Self::put), and those of opening and reading the file.
    pub fn put_file<'a>(
        &self,
        path: &Path,
        target: impl Into<PutAs<'a>>,
        workers: Workers,
        progress: Progress<'_>,
        is_cancelled: Cancel<'_>,
    ) -> Result<Stored, Error> {
        self.put_file_as(path, PutKind::Bytes, target, workers, progress, is_cancelled)
    }

    /// Writes an object to a file, which is there as a whole or not at all, and replaces what was there. It is
    /// not synced. Progress is in bytes.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`read`](Self::read), and [`Error::Io`] if the file cannot be written.
    pub fn restore_file(
        &self,
        id: &Digest,
        path: &Path,
        workers: Workers,
        progress: Progress<'_>,
        is_cancelled: Cancel<'_>,
    ) -> Result<(), Error> {
        self.reader(id, .., workers, is_cancelled)?.write_to_file(path, progress, is_cancelled)
    }

    /// Opens an object, or a range of its bytes, for reading.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError::NotFound`] if there is no such object, [`StoreError::ChunkMissing`] if it cannot
    /// be read as a whole, and [`Error::Bounds`] for a range that it does not have.
    pub fn reader(
        &self,
        id: &Digest,
        range: impl RangeBounds<u64>,
        workers: Workers,
        is_cancelled: Cancel<'_>,
    ) -> Result<ObjectReader, Error> {
        let range = range_of(&range, || Ok(self.manifest(id)?.size))?;
        ObjectReader::open(&self.inner, id, range, workers, is_cancelled)
    }

    /// Returns the bytes of an object, or of a range of it.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`reader`](Self::reader) and of [`ObjectReader::next_pieces`].
    pub fn read(
        &self,
        id: &Digest,
        range: impl RangeBounds<u64>,
        workers: Workers,
        is_cancelled: Cancel<'_>,
    ) -> Result<Vec<u8>, Error> {
        let mut reader = self.reader(id, range, workers, is_cancelled)?;
        let mut content = Vec::new();
        while let Some(pieces) = reader.next_pieces(Vec::new, is_cancelled)? {
            for piece in pieces {
                content.extend(piece);
            }
        }
        Ok(content)
    }

    /// Returns what the store knows of an object.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError::NotFound`] if there is no such object.
    pub fn manifest(&self, id: &Digest) -> Result<Manifest, Error> {
        Ok(self.inner.manifest(id)?.0)
    }

    /// Returns the chunks of an object.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError::NotFound`] if there is no such object.
    pub fn chunks(&self, id: &Digest) -> Result<Chunks, Error> {
        let (_, items) = self.inner.manifest(id)?;
        Ok(Chunks::new(Arc::clone(&self.inner), items, 0))
    }

    /// Returns those of some chunks that the store does not have, or has damaged, in their order. Takes one or
    /// two reads of 4 KiB for each.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Cancelled`] if `is_cancelled` returns true.
    pub fn missing(&self, digests: &[Digest], is_cancelled: Cancel<'_>) -> Result<Vec<Digest>, Error> {
        self.inner.missing(digests, is_cancelled)
    }

    /// Returns the id of the object that a tag names.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError::InvalidName`] for a name that no tag can have.
    pub fn tag(&self, name: &str) -> Result<Option<Digest>, Error> {
        refs::tag(&*self.inner.objects, name)
    }

    /// Lets a tag name an object, durably, if the tag is what `condition` says.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError::AlreadyExists`] if it is not, [`StoreError::NotFound`] if there is no such object, and
    /// [`Error::Cancelled`] if `is_cancelled` returns true.
    pub fn set_tag(
        &self,
        name: &str,
        id: &Digest,
        condition: If,
        is_cancelled: Cancel<'_>,
    ) -> Result<(), Error> {
        // So that none sets a tag later that it had set before it was killed, and that this replaces.
        self.inner.finish_sessions()?;
        let before = refs::before(&*self.inner.objects, name)?;
        let exists = || StoreError::AlreadyExists { name: name.into() };
        if !condition.holds(before.id) {
            return Err(exists().into());
        }
        // In a session, so that no garbage collection takes the object in the meantime.
        let mut session = self.session()?;
        session.tag(name, *id, is_cancelled)?;
        let others = session.commit_after(&|_| Ok(before.version), is_cancelled)?;
        if condition == If::Any || others.is_empty() { Ok(()) } else { Err(exists().into()) }
    }

    /// Removes a tag, durably. Returns whether there was one. The object stays until the next garbage
    /// collection.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError::AlreadyExists`] if the tag is not what `condition` says.
    pub fn remove_tag(&self, name: &str, condition: If) -> Result<bool, Error> {
        // As for a tag that is set, except that a full disk does not matter.
        self.inner.finish_sessions_if_writable()?;
        let objects = &*self.inner.objects;
        let was_there =
            self.inner.remove_name(|concerns| refs::remove(objects, name, condition, concerns))?;
        self.inner.objects.flush()?;
        Ok(was_there)
    }

    /// Lets the next garbage collection take an object that was put without a name. Returns whether it was
    /// kept.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Io`] if the store cannot be written to.
    pub fn forget(&self, id: &Digest) -> Result<bool, Error> {
        self.inner.finish_sessions_if_writable()?;
        self.inner.remove_name(|concerns| refs::forget(&*self.inner.objects, id, concerns))
    }

    /// Returns the tags whose names begin with `prefix`, in the order of their names.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError::Corrupt`] for a tag that is damaged.
    pub fn tags(&self, prefix: &str) -> Result<Vec<(String, Digest)>, Error> {
        refs::tags(&*self.inner.objects, prefix, &mut check::fails)
    }

    /// Counts packs, records, objects and so on. Takes two reads for each pack and for each object, and reads 48 bytes for
    /// each chunk. What cannot
    /// be read is left out, or counted as such.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Io`] if a folder cannot be read, and [`Error::Cancelled`] if `is_cancelled` returns
    /// true.
    pub fn stats(&self, is_cancelled: Cancel<'_>) -> Result<Stats, Error> {
        self.inner.stats(is_cancelled)
    }

    /// Deletes what no object needs, while others read and write. The workers check the records of packs that are
    /// written anew; everything else is done by this thread. Progress is in objects that are marked.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError::Locked`] if another collection runs, and [`Error::Cancelled`] if `is_cancelled`
    /// returns true.
    pub fn collect_garbage(
        &self,
        workers: Workers,
        progress: Progress<'_>,
        is_cancelled: Cancel<'_>,
    ) -> Result<Collected, Error> {
        self.inner.collect(workers, progress, is_cancelled)
    }
}

impl Store {
    /// Reads and checks everything, and makes the index anew where it is damaged or incomplete. New objects
    /// that are put do not rely on chunks that were found damaged.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Io`] if something cannot be read at all, and [`Error::Cancelled`] if `is_cancelled`
    /// returns true. Damage is no error.
    pub fn check(&self, options: &BatchOptions<'_>, is_cancelled: Cancel<'_>) -> Result<Report, Error> {
        self.inner.check(options, is_cancelled)
    }

    /// Does the same, and replaces each damaged pack with one that has its whole records. What objects then
    /// lack is lost, until it is put again; their tags stay.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`check`](Self::check), and [`StoreError::Locked`] while a garbage collection
    /// runs.
    pub fn repair(&self, options: &BatchOptions<'_>, is_cancelled: Cancel<'_>) -> Result<Report, Error> {
        self.inner.repair(options, is_cancelled)
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("format", &self.inner.format).finish_non_exhaustive()
    }
}

/// Returns the bounds of a range of something that has a length.
fn range_of(
    range: &impl RangeBounds<u64>,
    length: impl FnOnce() -> Result<u64, Error>,
) -> Result<Range<u64>, Error> {
    let start = match range.start_bound() {
        Bound::Included(&start) => start,
        Bound::Excluded(&start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&end) => end.saturating_add(1),
        Bound::Excluded(&end) => end,
        Bound::Unbounded => length()?,
    };
    Ok(start..end)
}

/// How often a file is put before garbage collections that take its chunks are an error.
const MOST_ATTEMPTS: u32 = 20;

/// Checks that the sizes and the codec of a format are in range.
fn check(format: &Format) -> Result<(), Error> {
    CdcParams::new(&format.chunking)?;
    if format.deltas && !Codec::Zstd.is_enabled() {
        return Err(CompressionError::CodecDisabled { codec: Codec::Zstd }.into());
    }
    if let Some(options) = format.compression() {
        options.validate()?;
        if !record::is_storable(&options) {
            let allowed = "zstd, lz4, xz, bzip2, gzip, brotli, none".into();
            let value = options.codec().name().to_owned().into();
            return Err(OptionsError { option: "codec", value, allowed }.into());
        }
    }
    Ok(())
}

/// A session: puts and tags that a commit makes visible at once. Dropping it without a commit leaves what was
/// written as garbage.
pub struct Session {
    inner: Arc<Inner>,
    writer: Arc<Writer>,
    commit: Commit,
    /// The objects of the commit, and the places of its tags.
    objects: HashSet<Digest>,
    tags: HashMap<String, usize>,
    /// The object whose chunks those of the next ones may be deltas of, and once it is opened, what is known of it.
    base: Option<Digest>,
    base_object: Option<Option<Arc<BaseObject>>>,
}

impl Drop for Session {
    fn drop(&mut self) {
        // Threads that work for it may have the writer for a moment longer.
        let _ = self.writer.abandon();
    }
}

impl Session {
    fn options(&self, workers: Workers) -> PutOptions {
        let format = &self.inner.format;
        PutOptions { algorithm: format.hash, chunking: format.chunking, workers }
    }

    /// Selects the object whose chunks those of the objects that are put from now on may be deltas of: `base`, or else
    /// the one that the tag `name` names, if there is one. Neither needs to exist: without it, chunks are whole.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Options`] for a `base` if the store has no deltas.
    pub fn set_base(&mut self, name: Option<&str>, base: Option<Digest>) -> Result<(), Error> {
        let has_deltas = self.inner.format.deltas;
        if let Some(base) = base.filter(|_| !has_deltas) {
            let (value, allowed) = (refs::hex(&base).into(), "absent, since the store has no deltas".into());
            return Err(OptionsError { option: "base", value, allowed }.into());
        }
        let named = || refs::tag(&*self.inner.objects, name?).ok().flatten();
        let base = base.or_else(|| if has_deltas { named() } else { None });
        if base != self.base {
            (self.base, self.base_object) = (base, None);
        }
        Ok(())
    }

    /// Returns what selects the bases of the next object. What is known of the base serves the later ones too.
    fn base_finder(&mut self, is_cancelled: Cancel<'_>) -> Result<Option<Arc<BaseFinder>>, Error> {
        let Some(base) = self.base else { return Ok(None) };
        let object = match &self.base_object {
            Some(object) => object,
            None => {
                let opened = BaseObject::open(&self.inner, &base, is_cancelled)?;
                self.base_object.insert(opened.map(Arc::new))
            }
        };
        Ok(object.as_ref().map(|object| Arc::new(BaseFinder::new(Arc::clone(object)))))
    }

    /// Puts an object.
    ///
    /// # Errors
    ///
    /// Returns the errors of the source and of the store, and [`Error::Cancelled`] if `is_cancelled` returns
    /// true. The session cannot be committed after an error.
    ///
    /// # Panics
    ///
    /// Panics with the same payload if a thread of the engine panics.
    pub fn put(
        &mut self,
        source: impl Source + Send + 'static,
        workers: Workers,
        is_cancelled: Cancel<'_>,
    ) -> Result<Stored, Error> {
        self.put_as(source, PutKind::Bytes, workers, is_cancelled)
    }

    /// Begins to put an object that arrives in pieces. When it is finished, [`add`](Self::add) it.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Options`] if the sizes of the store are out of range.
    pub fn pieces(&mut self, workers: Workers) -> Result<PutPieces, Error> {
        self.pieces_as(PutKind::Bytes, workers, crate::NEVER)
    }

    /// Adds an object that arrived in pieces.
    pub fn add(&mut self, stored: &Stored) {
        self.add_object(stored.id);
    }

    fn add_object(&mut self, id: Digest) {
        if self.objects.insert(id) {
            self.commit.objects.push(id);
        }
    }

    /// Lets a tag name an object of this session or of the store, from the commit on.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError::InvalidName`] for a name that no tag can have, [`StoreError::NotFound`] if there is
    /// no such object, [`StoreError::ChunkMissing`] if it is not there as a whole, and [`Error::Cancelled`] if
    /// `is_cancelled` returns true.
    pub fn tag(&mut self, name: &str, id: Digest, is_cancelled: Cancel<'_>) -> Result<(), Error> {
        refs::check_name(name)?;
        if !self.objects.contains(&id) {
            // As a whole.
            self.inner.manifest(&id)?;
            if !self.inner.keep_object(&self.writer, &id, &mut HashSet::new(), is_cancelled)? {
                let digests = Lists::new(&self.inner).lacks(&id, is_cancelled)?;
                return Err(StoreError::ChunkMissing { digests }.into());
            }
            self.add_object(id);
        }
        let tag = NewTag { name: name.into(), id, before: None };
        match self.tags.get(name) {
            Some(&place) => self.commit.tags[place] = tag,
            None => {
                self.tags.insert(name.into(), self.commit.tags.len());
                self.commit.tags.push(tag);
            }
        }
        Ok(())
    }

    /// Commits: afterwards all objects and tags of the session survive a power cut.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError::SessionFenced`] if a garbage collection has deleted a chunk that the session had
    /// found in the store: put the objects again. Returns [`Error::Cancelled`] if a put of the session has
    /// failed or was not finished: other objects may rely on what it was to write. After an error nothing of
    /// the session is visible, except after one while tags are set, which is later than the commit: they are
    /// set with the next session of this handle, or when garbage is collected.
    pub fn commit(self, is_cancelled: Cancel<'_>) -> Result<(), Error> {
        let objects = Arc::clone(&self.inner.objects);
        self.commit_after(&|name| Ok(refs::before(&*objects, name)?.version), is_cancelled).map(drop)
    }

    /// Commits, and returns the tags that were changed by others after `before` returned their versions.
    fn commit_after(
        mut self,
        before: &dyn Fn(&str) -> Result<Option<Digest>, Error>,
        is_cancelled: Cancel<'_>,
    ) -> Result<Vec<String>, Error> {
        for tag in &mut self.commit.tags {
            tag.before = before(&tag.name)?;
        }
        let inner = Arc::clone(&self.inner);
        let commit = self.commit.clone();
        let mut writer = Arc::clone(&self.writer);
        let digest = commit.write(&mut |record| {
            let digest = inner.format.hash.hash(record);
            writer.write(Kind::Commit, digest, &[record])?;
            Ok(digest)
        })?;
        // Before the last pack is made, after which nothing is written.
        if writer.has_failed() {
            return Err(Error::Cancelled);
        }
        writer.finish()?;
        loop {
            let mut session = writer.session();
            if session.set(&*inner.objects, State::Committed(digest))? {
                let finished = inner.finish_session(&session, &commit);
                if finished.is_err() {
                    inner.unfinished().push(session.id);
                }
                return finished;
            }
            drop(session);
            writer = Arc::new(inner.again(&writer, &digest, is_cancelled)?);
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("commit", &self.commit).finish_non_exhaustive()
    }
}

impl Inner {
    fn unfinished(&self) -> MutexGuard<'_, Vec<[u8; 16]>> {
        self.unfinished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a session that continues one that was fenced, and looks again at all that it needs.
    fn again(
        self: &Arc<Self>,
        fenced: &Writer,
        commit: &Digest,
        is_cancelled: Cancel<'_>,
    ) -> Result<Writer, Error> {
        let fenced = fenced.session().clone();
        let mut continues = fenced.continues.clone();
        continues.push(fenced.id);
        let writer = Writer::open(Arc::clone(self), continues)?;
        fenced.end_fenced(&*self.objects)?;
        if !self.is_complete(&writer, commit, is_cancelled)? {
            return Err(StoreError::SessionFenced.into());
        }
        writer.finish()?;
        Ok(writer)
    }

    /// Returns whether the store has all that a commit needs, and makes sure that it stays.
    fn is_complete(&self, writer: &Writer, commit: &Digest, is_cancelled: Cancel<'_>) -> Result<bool, Error> {
        if !writer.keep(commit)? {
            return Ok(false);
        }
        let (commit, parts) = self.commit(commit)?;
        for part in parts {
            if !writer.keep(&part)? {
                return Ok(false);
            }
        }
        let mut seen = HashSet::new();
        for id in commit.objects {
            if seen.insert(id) && !self.keep_object(writer, &id, &mut seen, is_cancelled)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns whether the store has all that an object needs, and makes sure that it stays. Nodes that were
    /// seen are not looked at again.
    fn keep_object(
        &self,
        writer: &Writer,
        id: &Digest,
        seen: &mut HashSet<Digest>,
        is_cancelled: Cancel<'_>,
    ) -> Result<bool, Error> {
        if !writer.keep(id)? {
            return Ok(false);
        }
        let (manifest, items) = self.manifest(id)?;
        let mut keep = |item: &Item, _: bool| {
            let missing = || StoreError::ChunkMissing { digests: vec![item.digest] };
            if writer.keep(&item.digest)? { Ok(()) } else { Err(missing().into()) }
        };
        match self.walk(manifest.parts(items), Order::Object, seen, &mut keep, is_cancelled) {
            Err(Error::Store(StoreError::ChunkMissing { .. })) => Ok(false),
            kept => kept.map(|()| true),
        }
    }

    /// Returns those of some chunks that are not in the store.
    fn missing(&self, digests: &[Digest], is_cancelled: Cancel<'_>) -> Result<Vec<Digest>, Error> {
        self.marks.refresh(&*self.objects)?;
        self.index.refresh()?;
        // In the order of the index, so that each page is read once; by their first bytes, since the digests
        // are anywhere in memory.
        let first = |digest: &Digest| u64::from_be_bytes(*digest.0.first_chunk().expect("it has 32 bytes"));
        let mut sorted: Vec<(u64, usize)> =
            digests.iter().enumerate().map(|(place, digest)| (first(digest), place)).collect();
        sorted.sort_unstable();
        let mut missing: Vec<usize> = sorted.into_iter().map(|(_, place)| place).collect();
        loop {
            let mut lengths = Lengths::default();
            let mut left = Vec::new();
            for (count, place) in missing.into_iter().enumerate() {
                if count % 1024 == 0 && is_cancelled() {
                    return Err(Error::Cancelled);
                }
                if !self.is_whole(&digests[place], &mut lengths)? {
                    left.push(place);
                }
            }
            missing = left;
            // A garbage collection may have moved some in the meantime.
            // A part of the index may be lost.
            if missing.is_empty() || !(self.index.refresh()? || self.index.complete(is_cancelled)? > 0) {
                break;
            }
        }
        missing.sort_unstable();
        Ok(missing.into_iter().map(|place| digests[place]).collect())
    }
}
