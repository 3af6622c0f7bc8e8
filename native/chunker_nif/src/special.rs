//! Non-seekable files: FIFOs, terminals, devices.
//!
//! No scheduler may wait for the producer of such a file. A call reads what is available, pushes it into the
//! same work as any other input, and returns `wait` until the producer has closed the file.
//! `chunker_dispatch` repeats the call.

use chunker::Error;
use chunker::engine::{Pieces, Pulled};
use chunker::hash::{Digest, Hasher, HashingReader};
use chunker::io::file::Input;
use chunker::io::source::Source;
use chunker::nar::annotations::ChunkAnnotation;
use chunker::nar::{self, NarConsumer, Step};
use rustler::{Binary, Encoder, Env, NifResult, Resource, ResourceArc, Term};

use crate::atoms;
use crate::binary::text;
use crate::call::{Scheduler, guard, ok};
use crate::chunking::{AnnotatedChunk, list, list_with_hash, to_path};
use crate::error::NifError;
use crate::nar::{Consumer, Wanted, answer, sha256};
use crate::options::{ChunkingOptions, Hash};
use crate::slot::{Slot, drop_elsewhere};

struct SpecialFile(Slot<(Box<dyn Source + Send>, Sink)>);

/// The work that takes the bytes.
enum Sink {
    Chunks(Chunks),
    Digest(Hasher),
    Nar(Consumer),
}

struct Chunks {
    pieces: Pieces<AnnotatedChunk, ChunkAnnotation>,
    chunks: Vec<AnnotatedChunk>,
    /// Returns the digest of the whole file, if it was requested.
    whole: Option<Box<dyn Fn() -> Option<Digest> + Send>>,
}

#[rustler::resource_impl]
impl Resource for SpecialFile {}

impl Drop for SpecialFile {
    fn drop(&mut self) {
        drop_elsewhere(self.0.take_remaining());
    }
}

impl Sink {
    /// Reads what is available. Returns whether the input has been read as far as needed.
    fn read(&mut self, source: &mut dyn Source, is_cancelled: chunker::Cancel<'_>) -> Result<bool, Error> {
        match self {
            Self::Chunks(Chunks { pieces, chunks, .. }) => loop {
                match pieces.pull(source, is_cancelled)? {
                    Pulled::Results(more) => chunks.extend(more),
                    Pulled::Waiting => return Ok(false),
                    Pulled::End(rest) => {
                        chunks.extend(rest);
                        return Ok(true);
                    }
                }
            },
            Self::Digest(hasher) => {
                let mut buffer = vec![0; 1 << 16];
                while let Some(count) = source.read(&mut buffer)? {
                    if count == 0 {
                        return Ok(true);
                    }
                    hasher.update(&buffer[..count]);
                    if is_cancelled() {
                        return Err(Error::Cancelled);
                    }
                }
                Ok(false)
            }
            Self::Nar(consumer) => Ok(nar::step(consumer, source, is_cancelled)? == Step::End),
        }
    }

    /// `{ok, Value}`, the result for a regular file.
    fn finish<'a>(self, env: Env<'a>) -> Result<Term<'a>, NifError<'a>> {
        match self {
            Self::Chunks(Chunks { chunks, whole: None, .. }) => list(env, &chunks),
            Self::Chunks(Chunks { chunks, whole: Some(whole), .. }) => {
                list_with_hash(env, &chunks, &whole().expect("all of it was read"))
            }
            Self::Digest(hasher) => ok(env, text(env, &hasher.finish().0)),
            Self::Nar(consumer) => answer(env, consumer.finish()?),
        }
    }
}

fn open<'a>(
    env: Env<'a>,
    source: impl Source + Send + 'static,
    sink: Sink,
) -> Result<Term<'a>, NifError<'a>> {
    ok(env, ResourceArc::new(SpecialFile(Slot::new((Box::new(source), sink)))))
}

/// `{ok, File}`, for the chunks, and with `whole` for the hash of the file as a NAR.
#[rustler::nif(schedule = "DirtyIo")]
fn special_chunks<'a>(
    env: Env<'a>,
    path: Binary<'a>,
    options: ChunkingOptions<'a>,
    whole: bool,
) -> NifResult<Term<'a>> {
    guard(env, || {
        let selection = options.hashing(Scheduler::Dirty)?;
        let input = Input::open(&to_path(&path))?.on_change(options.on_change());
        let Some(chunking) = selection.for_pieces() else { return Err(options.needs_two_reads(env)) };
        let (pieces, chunks) = (chunking.clone().pieces(), Vec::new());
        if whole {
            let (source, digest) = HashingReader::new(input, sha256()?);
            open(env, source, Sink::Chunks(Chunks { pieces, chunks, whole: Some(Box::new(digest)) }))
        } else {
            open(env, input, Sink::Chunks(Chunks { pieces, chunks, whole: None }))
        }
    })
}

/// `{ok, File}`, for the digest.
#[rustler::nif(schedule = "DirtyIo")]
fn special_digest<'a>(env: Env<'a>, path: Binary<'a>, algorithm: Hash) -> NifResult<Term<'a>> {
    guard(env, || {
        let hasher = Hasher::new(algorithm.algorithm()?);
        open(env, Input::open(&to_path(&path))?, Sink::Digest(hasher))
    })
}

/// `{ok, File}`, for a result of the NAR that it contains.
#[rustler::nif(schedule = "DirtyIo")]
fn special_nar<'a>(env: Env<'a>, path: Binary<'a>, wanted: Wanted<'a>) -> NifResult<Term<'a>> {
    guard(env, || {
        let input = Input::open(&to_path(&path))?;
        open(env, input, Sink::Nar(wanted.consumer()?))
    })
}

/// The result for a regular file once the producer has closed this one, and `wait` before.
#[rustler::nif(schedule = "DirtyIo")]
fn special_next<'a>(env: Env<'a>, file: ResourceArc<SpecialFile>) -> NifResult<Term<'a>> {
    guard(env, || {
        let (mut source, mut sink) = file.0.take()?;
        if sink.read(&mut *source, &file.0.is_cancelled(env))? {
            return sink.finish(env);
        }
        file.0.put((source, sink));
        Ok(atoms::wait().encode(env))
    })
}
