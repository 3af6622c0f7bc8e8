//! Non-seekable files: FIFOs, terminals, devices.
//!
//! No scheduler may wait for the producer of such a file. A call reads what is available, pushes it into the
//! same work as any other input, and returns `wait` until the producer has closed the file.
//! `chunker_dispatch` repeats the call.

use std::time::{Duration, Instant};

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
use crate::call::{Call, Place, guard, ok};
use crate::chunking::{AnnotatedChunk, list, list_with_hash, to_path};
use crate::error::NifError;
use crate::nar::{Consumer, Wanted, answer, sha256};
use crate::options::{ChunkingOptions, Hash};
use crate::slot::{Slot, drop_elsewhere};

struct SpecialFile(Slot<(Box<dyn Source + Send>, Sink)>);

/// How long one call reads a file whose producer is as fast as the call, such as `/dev/zero`.
const AT_ONCE: Duration = Duration::from_millis(10);

/// How far a file has been read.
enum Progress {
    /// As far as needed.
    End,
    /// To what its producer has sent.
    Waiting,
    /// For as long as one call may.
    More,
}

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
    /// Reads what is available, for some milliseconds.
    fn read(
        &mut self,
        source: &mut dyn Source,
        is_cancelled: chunker::Cancel<'_>,
    ) -> Result<Progress, Error> {
        let start = Instant::now();
        match self {
            Self::Chunks(Chunks { pieces, chunks, .. }) => {
                while start.elapsed() < AT_ONCE {
                    match pieces.pull(source, is_cancelled)? {
                        Pulled::Results(more) => chunks.extend(more),
                        Pulled::Waiting => return Ok(Progress::Waiting),
                        Pulled::End(rest) => {
                            chunks.extend(rest);
                            return Ok(Progress::End);
                        }
                    }
                }
                Ok(Progress::More)
            }
            Self::Digest(hasher) => {
                let mut buffer = vec![0; 1 << 16];
                while start.elapsed() < AT_ONCE {
                    match source.read(&mut buffer)? {
                        None => return Ok(Progress::Waiting),
                        Some(0) => return Ok(Progress::End),
                        Some(count) => hasher.update(&buffer[..count]),
                    }
                    if is_cancelled() {
                        return Err(Error::Cancelled);
                    }
                }
                Ok(Progress::More)
            }
            Self::Nar(consumer) => Ok(match nar::step(consumer, source, is_cancelled)? {
                Step::End => Progress::End,
                Step::Waiting => Progress::Waiting,
                Step::More => Progress::More,
            }),
        }
    }

    /// `{ok, Value}`, the result for a regular file.
    fn finish(self, call: Call<'_>) -> Result<Term<'_>, NifError<'_>> {
        match self {
            Self::Chunks(Chunks { chunks, whole: None, .. }) => list(call, &chunks),
            Self::Chunks(Chunks { chunks, whole: Some(whole), .. }) => {
                list_with_hash(call, &chunks, &whole().expect("all of it was read"))
            }
            Self::Digest(hasher) => ok(call.env, text(call.env, &hasher.finish().0)),
            Self::Nar(consumer) => answer(call, consumer.finish()?),
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
        let selection = options.hashing(Place::Dirty)?;
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

/// The result for a regular file once the producer has closed this one. Before that `wait`, or `more` if
/// there is input already.
#[rustler::nif(schedule = "DirtyIo")]
fn special_next<'a>(env: Env<'a>, file: ResourceArc<SpecialFile>) -> NifResult<Term<'a>> {
    guard(env, || {
        let call = Call::dirty(env);
        let (mut source, mut sink) = file.0.take()?;
        let answer = match sink.read(&mut *source, &file.0.is_cancelled(call))? {
            Progress::End => return sink.finish(call),
            Progress::Waiting => atoms::wait(),
            Progress::More => atoms::more(),
        };
        file.0.put((source, sink));
        Ok(answer.encode(env))
    })
}
