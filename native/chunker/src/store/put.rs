//! Puts objects into a store: the pipeline of the engine, with the work to hash a chunk, to look it up, and
//! to write it if it is new.

use std::sync::Arc;

use super::bases::BaseFinder;
use super::manifest::{Description, Item, Manifest, ManifestBuilder, ObjectKind};
use super::record::Kind;
use super::tap::{Digests, Tap, TappedSource};
use super::writer::Writer;
use crate::Cancel;
use crate::aligned::Config;
use crate::cdc::{CdcParams, Options};
use crate::engine::workers::Workers;
use crate::engine::{ChunkBytes, Chunking, Pieces};
use crate::error::Error;
use crate::hash::{Algorithm, Digest};
use crate::io::source::Source;
use crate::nar::NarMethod;
use crate::nar::annotations::{AnnotationOptions, ChunkAnnotation};
use crate::nar::references::{PLACEHOLDER, Replaced};
use crate::tar::TarMethod;

/// As what an object is put, which decides where its chunks end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PutKind {
    /// Bytes of any kind.
    #[default]
    Bytes,
    /// A NAR, chunked along its files. Anything else fails with [`Error::Nar`].
    Nar {
        /// Whether store hashes are replaced before the NAR is chunked, as
        /// [`references`](crate::nar::references) does, and kept beside it. Reading restores them.
        references: bool,
    },
    /// A tar, chunked along its members. Accepts any bytes.
    Tar,
}

impl PutKind {
    /// Returns as what an object is put that is in a store already.
    pub(super) const fn again(manifest: &Manifest) -> Self {
        match manifest.kind {
            ObjectKind::Bytes => Self::Bytes,
            ObjectKind::Nar => Self::Nar { references: manifest.references.is_some() },
            ObjectKind::Tar => Self::Tar,
        }
    }

    const fn object_kind(self) -> ObjectKind {
        match self {
            Self::Bytes => ObjectKind::Bytes,
            Self::Nar { .. } => ObjectKind::Nar,
            Self::Tar => ObjectKind::Tar,
        }
    }
}

/// Under which name an object is put, and of which other one its chunks may be kept as deltas.
///
/// `None` and a name alone convert to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PutAs<'a> {
    /// The tag that is to name the object.
    pub name: Option<&'a str>,
    /// The id of an object that resembles it, for a store with deltas. By default the one that `name` names
    /// before.
    pub base: Option<Digest>,
}

impl<'a> From<Option<&'a str>> for PutAs<'a> {
    fn from(name: Option<&'a str>) -> Self {
        Self { name, base: None }
    }
}

/// What a put has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// The id of the object.
    pub id: Digest,
    /// What it is.
    pub kind: ObjectKind,
    /// The length of the object, in bytes.
    pub size: u64,
    /// The digest of the object.
    pub hash: Digest,
    /// Its SHA-256, if it is a NAR.
    pub nar_hash: Option<Digest>,
    /// The number of its chunks.
    pub chunk_count: u64,
    /// The number of those that were not in the store, and of their bytes.
    pub new_chunks: u64,
    /// See `new_chunks`.
    pub new_bytes: u64,
    /// The number of bytes that were added to the store, compressed.
    pub stored_bytes: u64,
}

/// The result of the work on a chunk.
#[derive(Debug)]
struct WrittenChunk {
    digest: Digest,
    length: u32,
    /// The bytes that it takes in a pack; 0 if it was in the store.
    stored: u64,
    annotation: ChunkAnnotation,
}

type Written = Result<WrittenChunk, Error>;

/// Returns the work on a chunk.
fn work(
    writer: Arc<Writer>,
    algorithm: Algorithm,
    bases: Option<Arc<BaseFinder>>,
) -> impl Fn(&ChunkBytes<'_, ChunkAnnotation>) -> Written + Clone + Send + Sync + 'static {
    move |chunk| {
        let digest = chunk.hash(algorithm);
        let stored = match &bases {
            None => writer.write(Kind::Chunk, digest, chunk.slices)?,
            Some(bases) => writer.write_chunk(digest, chunk.slices, chunk.offset, bases)?,
        };
        Ok(WrittenChunk { digest, length: chunk.length as u32, stored, annotation: chunk.annotation.clone() })
    }
}

/// The length of a store hash, in characters.
const REFERENCE_LENGTH: usize = PLACEHOLDER.len();

/// Collects the chunks of an object that is put.
struct Collector {
    options: PutOptions,
    kind: ObjectKind,
    writer: Arc<Writer>,
    manifest: ManifestBuilder,
    size: u64,
    chunk_count: u64,
    new_chunks: u64,
    new_bytes: u64,
    stored_bytes: u64,
    outline: Attachment,
    references: Attachment,
    /// The number of characters of the last reference that were in the chunks so far, if not all were.
    characters: usize,
}

/// Bytes that belong to an object and are not part of it.
#[derive(Default)]
struct Attachment {
    /// `None` before the first bytes.
    pieces: Option<Pieces<Written, ChunkAnnotation>>,
    manifest: ManifestBuilder,
}

impl Attachment {
    /// Appends bytes, and adds what they take in the store to `stored_bytes`.
    fn push(
        &mut self,
        bytes: &[u8],
        options: &PutOptions,
        writer: &Arc<Writer>,
        stored_bytes: &mut u64,
        is_cancelled: Cancel<'_>,
    ) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        let pieces = match &mut self.pieces {
            Some(pieces) => pieces,
            none => {
                let options = PutOptions { workers: Workers::of_this_thread(), ..*options };
                none.insert(options.engine(writer, PutKind::Bytes, None)?.pieces())
            }
        };
        let chunks = pieces.push(bytes, is_cancelled)?;
        self.add(chunks, options, writer, stored_bytes)
    }

    fn add(
        &mut self,
        chunks: Vec<Written>,
        options: &PutOptions,
        writer: &Arc<Writer>,
        stored_bytes: &mut u64,
    ) -> Result<(), Error> {
        for chunk in chunks {
            let chunk = chunk?;
            *stored_bytes += chunk.stored;
            let mut write = |node: &[u8]| options.write_node(writer, node, stored_bytes);
            self.manifest.push(chunk.digest, chunk.length, &mut write)?;
        }
        Ok(())
    }

    /// Ends the attachment. Returns `None` if there were no bytes.
    fn finish(
        mut self,
        options: &PutOptions,
        writer: &Arc<Writer>,
        stored_bytes: &mut u64,
        is_cancelled: Cancel<'_>,
    ) -> Result<Option<Item>, Error> {
        let Some(mut pieces) = self.pieces.take() else { return Ok(None) };
        let chunks = pieces.finish(is_cancelled)?;
        self.add(chunks, options, writer, stored_bytes)?;
        self.manifest.finish_attachment(&mut |node| options.write_node(writer, node, stored_bytes))
    }
}

impl Collector {
    fn new(options: PutOptions, kind: ObjectKind, writer: Arc<Writer>) -> Self {
        Self {
            options,
            kind,
            writer,
            manifest: ManifestBuilder::default(),
            size: 0,
            chunk_count: 0,
            new_chunks: 0,
            new_bytes: 0,
            stored_bytes: 0,
            outline: Attachment::default(),
            references: Attachment::default(),
            characters: 0,
        }
    }

    /// Adds the next chunks, and the bytes of the outline that were found with them.
    fn add(&mut self, chunks: Vec<Written>, outline: &[u8], is_cancelled: Cancel<'_>) -> Result<(), Error> {
        let mut references = Vec::new();
        for chunk in chunks {
            let WrittenChunk { digest, length, stored, annotation } = chunk?;
            if let Some(replaced) = annotation.as_ref().and_then(|annotation| annotation.references.as_ref())
            {
                self.add_references(replaced, &mut references);
            }
            self.size += u64::from(length);
            self.chunk_count += 1;
            if stored > 0 {
                self.new_chunks += 1;
                self.new_bytes += u64::from(length);
                self.stored_bytes += stored;
            }
            let Self { options, writer, manifest, stored_bytes, .. } = self;
            manifest.push(digest, length, &mut |node| options.write_node(writer, node, stored_bytes))?;
        }
        let Self { options, writer, stored_bytes, .. } = self;
        self.outline.push(outline, options, writer, stored_bytes, is_cancelled)?;
        self.references.push(&references, options, writer, stored_bytes, is_cancelled)
    }

    /// Appends the references of the next chunk to the table. One that crosses chunks is in each with a part.
    fn add_references(&mut self, replaced: &[Replaced], table: &mut Vec<u8>) {
        for Replaced { position, characters } in replaced {
            if self.characters == 0 {
                table.extend((self.size + *position as u64).to_le_bytes());
            }
            table.extend(characters);
            self.characters = (self.characters + characters.len()) % REFERENCE_LENGTH;
        }
    }

    fn finish(mut self, digests: Digests, is_cancelled: Cancel<'_>) -> Result<Stored, Error> {
        let Digests { hash, nar_hash } = digests;
        let (options, writer, stored_bytes) = (&self.options, &self.writer, &mut self.stored_bytes);
        let outline = self.outline.finish(options, writer, stored_bytes, is_cancelled)?;
        let references = self.references.finish(options, writer, stored_bytes, is_cancelled)?;
        let chunking = &options.chunking;
        let description = Description { kind: self.kind, hash, nar_hash, chunking, outline, references };
        let mut write = |node: &[u8]| options.write_node(writer, node, stored_bytes);
        let manifest = self.manifest.finish(&description, &mut write)?;
        let id = options.algorithm.hash(&manifest);
        self.stored_bytes += self.writer.write(Kind::Manifest, id, &[&manifest])?;
        Ok(Stored {
            id,
            kind: self.kind,
            size: self.size,
            hash,
            nar_hash,
            chunk_count: self.chunk_count,
            new_chunks: self.new_chunks,
            new_bytes: self.new_bytes,
            stored_bytes: self.stored_bytes,
        })
    }
}

/// A put that has not ended well, which keeps its session from being committed.
struct Unfinished(Arc<Writer>);

impl Unfinished {
    fn begin(writer: &Arc<Writer>) -> Self {
        writer.begin_put();
        Self(Arc::clone(writer))
    }

    fn end(self) {
        self.0.end_put();
    }
}

/// How an object is put.
#[derive(Debug, Clone, Copy)]
pub(super) struct PutOptions {
    pub(super) algorithm: Algorithm,
    pub(super) chunking: Options,
    pub(super) workers: Workers,
}

impl PutOptions {
    /// Returns how to chunk an object and write its chunks.
    fn engine(
        &self,
        writer: &Arc<Writer>,
        kind: PutKind,
        bases: Option<Arc<BaseFinder>>,
    ) -> Result<
        Chunking<
            impl Fn(&ChunkBytes<'_, ChunkAnnotation>) -> Written + Clone + Send + Sync + 'static,
            ChunkAnnotation,
        >,
        Error,
    > {
        let work = work(Arc::clone(writer), self.algorithm, bases);
        let config =
            Config { options: self.chunking, min_entry_size: None, boundary_preference_distance: None };
        Ok(match kind {
            PutKind::Bytes => Chunking::with_method(CdcParams::new(&self.chunking)?, self.workers, work),
            PutKind::Nar { references } => {
                let annotations = AnnotationOptions { references, ..AnnotationOptions::default() };
                let method = NarMethod::new(&config)?.with_annotations(annotations);
                Chunking::with_method(method, self.workers, work)
            }
            PutKind::Tar => Chunking::with_method(TarMethod::new(&config)?, self.workers, work),
        })
    }

    /// Writes a node and returns its digest.
    fn write_node(&self, writer: &Writer, node: &[u8], stored_bytes: &mut u64) -> Result<Digest, Error> {
        let digest = self.algorithm.hash(node);
        *stored_bytes += writer.write(Kind::Node, digest, &[node])?;
        Ok(digest)
    }

    fn tap(&self, kind: PutKind, bases: Option<Arc<BaseFinder>>) -> Result<Tap, Error> {
        Tap::new(self.algorithm, kind.object_kind() == ObjectKind::Nar, bases)
    }

    /// Puts a source that is read by the threads that work on it.
    pub(super) fn source(
        &self,
        writer: Arc<Writer>,
        source: impl Source + Send + 'static,
        kind: PutKind,
        bases: Option<Arc<BaseFinder>>,
        is_cancelled: Cancel<'_>,
    ) -> Result<Stored, Error> {
        let unfinished = Unfinished::begin(&writer);
        let (source, seen) = TappedSource::new(source, self.tap(kind, bases.clone())?);
        let mut reader = self.engine(&writer, kind, bases)?.source(source);
        let mut collector = Collector::new(*self, kind.object_kind(), writer);
        while let Some(chunks) = reader.next_results(is_cancelled)? {
            collector.add(chunks, &seen.take_outline(), is_cancelled)?;
        }
        collector.add(Vec::new(), &seen.take_outline(), is_cancelled)?;
        let stored = collector.finish(seen.digests().ok_or(Error::Cancelled)?, is_cancelled)?;
        unfinished.end();
        Ok(stored)
    }

    /// Begins to put an object that arrives in pieces.
    pub(super) fn pieces(
        &self,
        writer: Arc<Writer>,
        kind: PutKind,
        bases: Option<Arc<BaseFinder>>,
    ) -> Result<PutPieces, Error> {
        Ok(PutPieces {
            unfinished: Unfinished::begin(&writer),
            pieces: self.engine(&writer, kind, bases.clone())?.pieces(),
            tap: self.tap(kind, bases)?,
            collector: Collector::new(*self, kind.object_kind(), writer),
        })
    }
}

/// An object that arrives in pieces.
pub struct PutPieces {
    unfinished: Unfinished,
    pieces: Pieces<Written, ChunkAnnotation>,
    tap: Tap,
    collector: Collector,
}

impl PutPieces {
    /// Takes the next bytes.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Cancelled`] if `is_cancelled` returns true, [`Error::Nar`] for bytes that are no NAR,
    /// and the errors of the store. After an error the object cannot be finished.
    pub fn push(&mut self, piece: &[u8], is_cancelled: Cancel<'_>) -> Result<(), Error> {
        self.tap.feed(piece)?;
        let chunks = self.pieces.push(piece, is_cancelled)?;
        self.collector.add(chunks, &self.tap.take_outline(), is_cancelled)
    }

    /// Ends the object.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`push`](Self::push).
    pub fn finish(mut self, is_cancelled: Cancel<'_>) -> Result<Stored, Error> {
        let outline = self.tap.take_outline();
        let digests = self.tap.finish()?;
        let chunks = self.pieces.finish(is_cancelled)?;
        self.collector.add(chunks, &outline, is_cancelled)?;
        let stored = self.collector.finish(digests, is_cancelled)?;
        self.unfinished.end();
        Ok(stored)
    }
}

impl std::fmt::Debug for PutPieces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PutPieces").field("kind", &self.collector.kind).finish_non_exhaustive()
    }
}
