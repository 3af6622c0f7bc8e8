//! Puts archives and trees, and reads what is in a NAR.

use std::ops::{Range, RangeBounds};
use std::path::Path;
use std::sync::Arc;

use super::error::StoreError;
use super::manifest::ObjectKind;
use super::progress::reporting;
use super::put::{PutAs, PutKind, PutPieces, Stored};
use super::read::ObjectReader;
use super::{MOST_ATTEMPTS, Session, Store, range_of};
use crate::Cancel;
use crate::engine::progress::{Progress, ProgressReporter};
use crate::engine::workers::Workers;
use crate::error::{Error, OptionsError};
use crate::hash::Digest;
use crate::io::file::Input;
use crate::io::source::Source;
use crate::nar::{
    Dump, Entry, EntryLimits, EntryList, Kind, NarConsumer, Node, OutlineReader, Restore, unreadable_entry,
};

impl Store {
    /// Puts an object that a source has as an archive. See [`put`](Self::put).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Session::put_as`] and [`Session::commit`].
    pub fn put_as<'a>(
        &self,
        source: impl Source + Send + 'static,
        kind: PutKind,
        target: impl Into<PutAs<'a>>,
        workers: Workers,
        is_cancelled: Cancel<'_>,
    ) -> Result<Stored, Error> {
        let PutAs { name, base } = target.into();
        let mut session = self.session()?;
        session.set_base(name, base)?;
        let stored = session.put_as(source, kind, workers, is_cancelled)?;
        if let Some(name) = name {
            session.tag(name, stored.id, is_cancelled)?;
        }
        session.commit(is_cancelled)?;
        Ok(stored)
    }

    /// Puts a file as an archive. See [`put_file`](Self::put_file).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`put_as`](Self::put_as), and those of opening and reading the file.
    pub fn put_file_as<'a>(
        &self,
        path: &Path,
        kind: PutKind,
        target: impl Into<PutAs<'a>>,
        workers: Workers,
        progress: Progress<'_>,
        is_cancelled: Cancel<'_>,
    ) -> Result<Stored, Error> {
        let target = target.into();
        until_not_fenced(|| {
            reporting(Input::open(path)?, progress, is_cancelled, |source, is_cancelled| {
                self.put_as(source, kind, target, workers, is_cancelled)
            })
        })
    }

    /// Puts the tree at `path` as its NAR, which is not written anywhere else. If a garbage collection
    /// deletes a chunk in the meantime that was found in the store, the tree is read again. Progress is in bytes
    /// of the NAR, whose length is not known.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`put_as`](Self::put_as) and of [`Dump`].
    pub fn put_tree<'a>(
        &self,
        path: &Path,
        references: bool,
        target: impl Into<PutAs<'a>>,
        workers: Workers,
        progress: Progress<'_>,
        is_cancelled: Cancel<'_>,
    ) -> Result<Stored, Error> {
        let (kind, target) = (PutKind::Nar { references }, target.into());
        until_not_fenced(|| {
            reporting(Dump::new(path), progress, is_cancelled, |source, is_cancelled| {
                self.put_as(source, kind, target, workers, is_cancelled)
            })
        })
    }

    /// Opens the file at `path` in a NAR, or a range of its bytes, for reading. `path` has names with `/`
    /// between them, and optionally a leading `/`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`reader`](Self::reader); [`StoreError::NotFound`] with the path if there is
    /// nothing at it; [`Error::Io`] with `eisdir` for a directory, and with `eloop` for a symbolic link,
    /// which is not followed; and [`Error::Options`] if the object is no NAR.
    pub fn file_reader(
        &self,
        id: &Digest,
        path: &[u8],
        range: impl RangeBounds<u64>,
        workers: Workers,
        is_cancelled: Cancel<'_>,
    ) -> Result<ObjectReader, Error> {
        let file = self.find_file(id, path, workers, is_cancelled)?;
        let size = file.end - file.start;
        let range = range_of(&range, || Ok(size))?;
        if range.end > size || range.start > range.end {
            let length = range.end.saturating_sub(range.start);
            return Err(Error::Bounds { offset: range.start, length, data_length: size });
        }
        self.reader(id, file.start + range.start..file.start + range.end, workers, is_cancelled)
    }

    /// Writes the file at `path` in a NAR to another one, which is there as a whole or not at all, and
    /// replaces what was there.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`file_reader`](Self::file_reader), and [`Error::Io`] if the file cannot be
    /// written.
    pub fn extract_file(
        &self,
        id: &Digest,
        path: &[u8],
        to: &Path,
        workers: Workers,
        progress: Progress<'_>,
        is_cancelled: Cancel<'_>,
    ) -> Result<(), Error> {
        self.file_reader(id, path, .., workers, is_cancelled)?.write_to_file(to, progress, is_cancelled)
    }

    /// Returns the entries of the directory at `path` in a NAR, without the directory itself, in the order of
    /// the NAR. For a file or a symbolic link, returns that one.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError::NotFound`] with the path if there is nothing at it, [`Error::Limit`] for more
    /// entries than the limits allow, and [`Error::Options`] if the object is no NAR.
    pub fn entries(
        &self,
        id: &Digest,
        path: &[u8],
        is_recursive: bool,
        limits: EntryLimits,
        workers: Workers,
        is_cancelled: Cancel<'_>,
    ) -> Result<Vec<Entry>, Error> {
        let path = path.strip_prefix(b"/").unwrap_or(path);
        let mut list = EntryList::with_limits(limits);
        let mut is_found = false;
        // The depth of the directory.
        let mut within = None;
        let mut visit = |node: &Node<'_>| match within {
            None if node.path == path => {
                is_found = true;
                if node.kind == Kind::Directory {
                    within = Some(node.depth);
                    list.pass(node);
                    return Ok(true);
                }
                list.add(node)?;
                Ok(false)
            }
            Some(depth) if node.depth <= depth => Ok(false),
            Some(depth) if is_recursive || node.depth == depth + 1 => {
                list.add(node)?;
                Ok(true)
            }
            _ => {
                list.pass(node);
                Ok(true)
            }
        };
        self.read_outline(id, path, &mut visit, workers, is_cancelled)?;
        if is_found { Ok(list.finish()) } else { Err(not_found(path)) }
    }

    /// Unpacks a NAR to `target`, which must not exist. The tree is there as a whole or not at all.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`read`](Self::read) and of [`Restore`], and [`Error::Options`] if the object is
    /// no NAR.
    pub fn restore_tree(
        &self,
        id: &Digest,
        target: &Path,
        workers: Workers,
        progress: Progress<'_>,
        is_cancelled: Cancel<'_>,
    ) -> Result<(), Error> {
        let allowed = match self.manifest(id)?.kind {
            ObjectKind::Nar => None,
            ObjectKind::Tar => Some("a file: the object is a tar, which a program for tars unpacks"),
            ObjectKind::Bytes => Some("a file: the object is no NAR"),
        };
        if let Some(allowed) = allowed {
            let value = target.to_string_lossy().into_owned().into();
            return Err(OptionsError { option: "tree", value, allowed: allowed.into() }.into());
        }
        let mut reader = self.reader(id, .., workers, is_cancelled)?;
        let (reporter, mut done) = (ProgressReporter::start(progress, Some(reader.length())), 0);
        let mut restore = Restore::new(target)?;
        let take = |pieces: &[Vec<u8>]| {
            done += pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
            reporter.report_if_due(done);
            restore.feed_pieces(pieces, workers, is_cancelled)
        };
        reader.take_pieces(take, is_cancelled)?;
        restore.finish()?;
        reporter.finish(done);
        Ok(())
    }

    /// Returns the position of the contents of a file in a NAR.
    fn find_file(
        &self,
        id: &Digest,
        path: &[u8],
        workers: Workers,
        is_cancelled: Cancel<'_>,
    ) -> Result<Range<u64>, Error> {
        let path = path.strip_prefix(b"/").unwrap_or(path);
        let mut file = None;
        let mut visit = |node: &Node<'_>| {
            if node.path != path {
                return Ok(true);
            }
            match node.kind {
                Kind::Regular { offset, size, .. } => file = Some(offset..offset + size),
                kind => return Err(unreadable_entry(path, &kind)),
            }
            Ok(false)
        };
        self.read_outline(id, path, &mut visit, workers, is_cancelled)?;
        file.ok_or_else(|| not_found(path))
    }

    /// Calls `visit` with each entry of a NAR, until it returns false. `path` is for errors.
    fn read_outline(
        &self,
        id: &Digest,
        path: &[u8],
        visit: &mut dyn FnMut(&Node<'_>) -> Result<bool, Error>,
        workers: Workers,
        is_cancelled: Cancel<'_>,
    ) -> Result<(), Error> {
        let manifest = self.manifest(id)?;
        if manifest.kind != ObjectKind::Nar {
            let value = String::from_utf8_lossy(path).into_owned().into();
            let kind = manifest.kind.name();
            let allowed = format!("absent, since the object was not put as a NAR but as {kind}");
            return Err(OptionsError { option: "path", value, allowed }.into());
        }
        let damaged = || StoreError::corrupt(&format!("manifest {id:?}"), None, "outline");
        let outline = manifest.outline.ok_or_else(damaged)?;
        let range = 0..outline.bytes;
        let mut pieces = ObjectReader::of_items(&self.inner, vec![outline], range, workers, is_cancelled)?;
        let mut reader = OutlineReader::new();
        while !reader.is_done()
            && let Some(pieces) = pieces.next_pieces(Vec::new, is_cancelled)?
        {
            for piece in pieces {
                reader.feed(&piece, &mut *visit).map_err(|error| match error {
                    Error::Nar(_) => damaged().into(),
                    error => error,
                })?;
            }
        }
        Ok(reader.finish().map_err(|_| damaged())?)
    }
}

impl Session {
    /// Puts an object as an archive. See [`put`](Self::put).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`put`](Self::put), and [`Error::Nar`] for bytes that are no NAR.
    ///
    /// # Panics
    ///
    /// Panics with the same payload if a thread of the engine panics.
    pub fn put_as(
        &mut self,
        source: impl Source + Send + 'static,
        kind: PutKind,
        workers: Workers,
        is_cancelled: Cancel<'_>,
    ) -> Result<Stored, Error> {
        let (options, writer) = (self.options(workers), Arc::clone(&self.writer));
        let bases = self.base_finder(is_cancelled)?;
        let stored = options.source(writer, source, kind, bases, is_cancelled)?;
        self.add(&stored);
        Ok(stored)
    }

    /// Puts a file as an archive. Progress is in bytes of it.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`put_as`](Self::put_as), and those of opening and reading the file.
    pub fn put_file_as(
        &mut self,
        path: &Path,
        kind: PutKind,
        workers: Workers,
        progress: Progress<'_>,
        is_cancelled: Cancel<'_>,
    ) -> Result<Stored, Error> {
        let put = |source, is_cancelled: Cancel<'_>| self.put_as(source, kind, workers, is_cancelled);
        reporting(Input::open(path)?, progress, is_cancelled, put)
    }

    /// Puts the tree at `path` as its NAR. Progress is in bytes of that.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`put`](Self::put) and of [`Dump`].
    pub fn put_tree(
        &mut self,
        path: &Path,
        references: bool,
        workers: Workers,
        progress: Progress<'_>,
        is_cancelled: Cancel<'_>,
    ) -> Result<Stored, Error> {
        let kind = PutKind::Nar { references };
        let put = |source, is_cancelled: Cancel<'_>| self.put_as(source, kind, workers, is_cancelled);
        reporting(Dump::new(path), progress, is_cancelled, put)
    }

    /// Begins to put an archive that arrives in pieces. See [`pieces`](Self::pieces).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`pieces`](Self::pieces), [`Error::Disabled`] for a NAR in a build without SHA-256, and
    /// [`Error::Cancelled`] if `is_cancelled` returns true while the base is read.
    pub fn pieces_as(
        &mut self,
        kind: PutKind,
        workers: Workers,
        is_cancelled: Cancel<'_>,
    ) -> Result<PutPieces, Error> {
        let bases = self.base_finder(is_cancelled)?;
        self.options(workers).pieces(Arc::clone(&self.writer), kind, bases)
    }
}

/// Puts again what a garbage collection has fenced.
fn until_not_fenced(mut put: impl FnMut() -> Result<Stored, Error>) -> Result<Stored, Error> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        match put() {
            Err(Error::Store(StoreError::SessionFenced)) if attempts < MOST_ATTEMPTS => {}
            result => return result,
        }
    }
}

fn not_found(path: &[u8]) -> Error {
    StoreError::NotFound { name: String::from_utf8_lossy(path).into_owned() }.into()
}
