//! Puts objects into a store: the pipeline of the engine, with the work to hash a chunk, to look it up, and
//! to write it if it is new.

use std::sync::Arc;

use super::manifest::{ManifestBuilder, ObjectKind};
use super::record::Kind;
use super::writer::Writer;
use crate::Cancel;
use crate::cdc::{CdcParams, Options};
use crate::engine::workers::Workers;
use crate::engine::{ChunkBytes, Chunking, ChunkingMethod, Pieces};
use crate::error::Error;
use crate::hash::{Algorithm, Digest, Hasher, HashingReader};
use crate::io::source::Source;

/// What a put has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// The id of the object.
    pub id: Digest,
    /// The length of the object, in bytes.
    pub size: u64,
    /// The digest of the object.
    pub hash: Digest,
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
}

/// Returns the work on a chunk.
fn work<A>(
    writer: Arc<Writer>,
    algorithm: Algorithm,
) -> impl Fn(&ChunkBytes<'_, A>) -> Result<WrittenChunk, Error> + Clone + Send + Sync + 'static {
    move |chunk| {
        let digest = chunk.hash(algorithm);
        let stored = writer.write(Kind::Chunk, digest, chunk.slices)?;
        Ok(WrittenChunk { digest, length: chunk.length as u32, stored })
    }
}

/// Collects the chunks of an object that is put.
struct Collector {
    writer: Arc<Writer>,
    algorithm: Algorithm,
    manifest: ManifestBuilder,
    size: u64,
    chunk_count: u64,
    new_chunks: u64,
    new_bytes: u64,
    stored_bytes: u64,
}

impl Collector {
    fn new(writer: Arc<Writer>, algorithm: Algorithm) -> Self {
        Self {
            writer,
            algorithm,
            manifest: ManifestBuilder::default(),
            size: 0,
            chunk_count: 0,
            new_chunks: 0,
            new_bytes: 0,
            stored_bytes: 0,
        }
    }

    fn add(&mut self, chunks: Vec<Result<WrittenChunk, Error>>) -> Result<(), Error> {
        for chunk in chunks {
            let WrittenChunk { digest, length, stored } = chunk?;
            self.size += u64::from(length);
            self.chunk_count += 1;
            if stored > 0 {
                self.new_chunks += 1;
                self.new_bytes += u64::from(length);
                self.stored_bytes += stored;
            }
            let (writer, algorithm, meta) = (&self.writer, self.algorithm, &mut self.stored_bytes);
            self.manifest.push(digest, length, &mut |node| {
                let digest = algorithm.hash(node);
                *meta += writer.write(Kind::Node, digest, &[node])?;
                Ok(digest)
            })?;
        }
        Ok(())
    }

    fn finish(mut self, hash: Digest, chunking: &Options) -> Result<Stored, Error> {
        let (writer, algorithm, meta) = (&self.writer, self.algorithm, &mut self.stored_bytes);
        let manifest = self.manifest.finish(ObjectKind::Bytes, hash, None, chunking, &mut |node| {
            let digest = algorithm.hash(node);
            *meta += writer.write(Kind::Node, digest, &[node])?;
            Ok(digest)
        })?;
        let id = algorithm.hash(&manifest);
        self.stored_bytes += self.writer.write(Kind::Manifest, id, &[&manifest])?;
        Ok(Stored {
            id,
            size: self.size,
            hash,
            chunk_count: self.chunk_count,
            new_chunks: self.new_chunks,
            new_bytes: self.new_bytes,
            stored_bytes: self.stored_bytes,
        })
    }
}

/// A put that has not ended well. Dropping it keeps its session from being committed.
struct Unfinished(Option<Arc<Writer>>);

impl Unfinished {
    fn end(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(writer) = &self.0 {
            writer.fail();
        }
    }
}

/// How an object is put.
pub(super) struct PutOptions {
    pub(super) algorithm: Algorithm,
    pub(super) chunking: Options,
    pub(super) workers: Workers,
}

impl PutOptions {
    /// Puts a source that is read by the threads that work on it.
    pub(super) fn source(
        &self,
        writer: Arc<Writer>,
        source: impl Source + Send + 'static,
        is_cancelled: Cancel<'_>,
    ) -> Result<Stored, Error> {
        let params = CdcParams::new(&self.chunking)?;
        self.with_method::<()>(writer, params, source, is_cancelled)
    }

    fn with_method<A: Send + 'static>(
        &self,
        writer: Arc<Writer>,
        method: impl ChunkingMethod<A> + 'static,
        source: impl Source + Send + 'static,
        is_cancelled: Cancel<'_>,
    ) -> Result<Stored, Error> {
        let unfinished = Unfinished(Some(Arc::clone(&writer)));
        let (source, whole) = HashingReader::new(source, self.algorithm);
        let work = work(Arc::clone(&writer), self.algorithm);
        let mut reader = Chunking::with_method(method, self.workers, work).source(source);
        let mut collector = Collector::new(writer, self.algorithm);
        while let Some(chunks) = reader.next_results(is_cancelled)? {
            collector.add(chunks)?;
        }
        let stored = collector.finish(whole().ok_or(Error::Cancelled)?, &self.chunking)?;
        unfinished.end();
        Ok(stored)
    }

    /// Begins to put an object that arrives in pieces.
    pub(super) fn pieces(&self, writer: Arc<Writer>) -> Result<PutPieces, Error> {
        let params = CdcParams::new(&self.chunking)?;
        let work = work(Arc::clone(&writer), self.algorithm);
        Ok(PutPieces {
            unfinished: Unfinished(Some(Arc::clone(&writer))),
            pieces: Chunking::with_method(params, self.workers, work).pieces(),
            hasher: Hasher::new(self.algorithm),
            collector: Collector::new(writer, self.algorithm),
            chunking: self.chunking,
        })
    }
}

/// An object that arrives in pieces.
pub struct PutPieces {
    unfinished: Unfinished,
    pieces: Pieces<Result<WrittenChunk, Error>>,
    hasher: Hasher,
    collector: Collector,
    chunking: Options,
}

impl PutPieces {
    /// Takes the next bytes.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Cancelled`] if `is_cancelled` returns true, and the errors of the store. After an
    /// error the object cannot be finished.
    pub fn push(&mut self, piece: &[u8], is_cancelled: Cancel<'_>) -> Result<(), Error> {
        let chunks = self.pieces.push(piece, is_cancelled)?;
        self.hasher.update(piece);
        self.collector.add(chunks)
    }

    /// Ends the object.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`push`](Self::push).
    pub fn finish(mut self, is_cancelled: Cancel<'_>) -> Result<Stored, Error> {
        let chunks = self.pieces.finish(is_cancelled)?;
        self.collector.add(chunks)?;
        let stored = self.collector.finish(self.hasher.finish(), &self.chunking)?;
        self.unfinished.end();
        Ok(stored)
    }
}

impl std::fmt::Debug for PutPieces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PutPieces").field("chunking", &self.chunking).finish_non_exhaustive()
    }
}
