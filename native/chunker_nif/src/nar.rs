//! Nix archives.
//!
//! What is to come of an archive is one term, `list`, `listing`, `hash`, `{read_file, Path}` or `{restore, Path}`, and each
//! function carries any of them out: on a binary, on a file, or on pieces. Unpacking takes a dirty I/O scheduler,
//! since it may wait for a disk; all else a CPU one.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use chunker::Error;
use chunker::engine::workers::Workers;
use chunker::hash::{Algorithm, Digest, nix_base32};
use chunker::io::file::Input;
use chunker::nar::{self, Entry, Hash, Kind, List, Listing, NarConsumer, ReadFile, Step};
use rustler::{Binary, Encoder, Env, NifResult, NifTaggedEnum, OwnedBinary, Resource, ResourceArc, Term};

use crate::atoms;
use crate::binary::BinaryBuffer;
use crate::call::{caller_died, guard};
use crate::chunking::{regular, to_path};
use crate::error::{NifError, text};
use crate::options::Threads;

/// What is to come of an archive.
#[derive(NifTaggedEnum)]
enum Wanted<'a> {
    List,
    Listing,
    Hash,
    ReadFile(Binary<'a>),
    Restore(Binary<'a>),
}

/// What has come of it.
enum Answer {
    Entries(Vec<Entry>),
    Json(Vec<u8>),
    Contents(BinaryBuffer),
    Hash(Digest),
    Done,
}

impl From<Vec<Entry>> for Answer {
    fn from(entries: Vec<Entry>) -> Self {
        Self::Entries(entries)
    }
}

impl From<Vec<u8>> for Answer {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Json(bytes)
    }
}

impl From<BinaryBuffer> for Answer {
    fn from(contents: BinaryBuffer) -> Self {
        Self::Contents(contents)
    }
}

impl From<Digest> for Answer {
    fn from(digest: Digest) -> Self {
        Self::Hash(digest)
    }
}

impl From<()> for Answer {
    fn from((): ()) -> Self {
        Self::Done
    }
}

/// Any [`NarConsumer`] with its answer, whichever that is.
trait Task: Send {
    fn feed(&mut self, piece: &[u8]) -> Result<(), Error>;
    fn skippable(&self) -> u64;
    fn skip(&mut self, count: u64);
    fn is_done(&self) -> bool;
    fn finish(self: Box<Self>) -> Result<Answer, Error>;
}

impl<R> Task for R
where
    R: NarConsumer + Send,
    Answer: From<R::Output>,
{
    fn feed(&mut self, piece: &[u8]) -> Result<(), Error> {
        NarConsumer::feed(self, piece)
    }

    fn skippable(&self) -> u64 {
        NarConsumer::skippable(self)
    }

    fn skip(&mut self, count: u64) {
        NarConsumer::skip(self, count);
    }

    fn is_done(&self) -> bool {
        NarConsumer::is_done(self)
    }

    fn finish(self: Box<Self>) -> Result<Answer, Error> {
        NarConsumer::finish(*self).map(Answer::from)
    }
}

struct Any(Box<dyn Task>);

impl NarConsumer for Any {
    type Output = Answer;

    fn feed(&mut self, piece: &[u8]) -> Result<(), Error> {
        self.0.feed(piece)
    }

    fn skippable(&self) -> u64 {
        self.0.skippable()
    }

    fn skip(&mut self, count: u64) {
        self.0.skip(count);
    }

    fn is_done(&self) -> bool {
        self.0.is_done()
    }

    fn finish(self) -> Result<Answer, Error> {
        self.0.finish()
    }
}

impl Wanted<'_> {
    fn task(&self) -> Result<Any, Error> {
        Ok(Any(match self {
            Wanted::List => Box::new(List::new()),
            Wanted::Listing => Box::new(Listing::new()),
            Wanted::Hash => Box::new(Hash::new(sha256()?)),
            Wanted::ReadFile(path) => Box::new(ReadFile::into_buffer(path, BinaryBuffer::new())),
            Wanted::Restore(target) => restore(&to_path(target))?,
        }))
    }
}

/// That of Nix, if it is built in.
pub(crate) fn sha256() -> Result<Algorithm, Error> {
    Algorithm::from_name("sha256")?.ok_or(Error::Disabled { name: "sha256" })
}

#[cfg(unix)]
fn restore(target: &Path) -> Result<Box<dyn Task>, Error> {
    Ok(Box::new(nar::Restore::new(target)?))
}

#[cfg(unix)]
fn dump_file(path: &Path, into: &Path, workers: Workers, env: Env<'_>) -> Result<Digest, Error> {
    nar::dump_file(path, into, sha256()?, workers, &caller_died(env))
}

#[cfg(not(unix))]
fn unsupported(path: &Path) -> Error {
    chunker::IoError { path: Some(path.into()), source: std::io::ErrorKind::Unsupported.into() }.into()
}

#[cfg(not(unix))]
fn restore(target: &Path) -> Result<Box<dyn Task>, Error> {
    Err(unsupported(target))
}

#[cfg(not(unix))]
fn dump_file(path: &Path, _into: &Path, _workers: Workers, _env: Env<'_>) -> Result<Digest, Error> {
    Err(unsupported(path))
}

/// `sha256:` and the digest as Nix writes it.
pub(crate) fn nar_hash<'a>(env: Env<'a>, digest: &Digest) -> Term<'a> {
    text(env, format!("sha256:{}", nix_base32::encode(&digest.0)).as_bytes())
}

/// `{Path, Type, Size | nil, Offset | nil, Executable, Target | nil}`
fn encode_entry<'a>(env: Env<'a>, Entry { path, kind }: &Entry) -> Term<'a> {
    let nil = atoms::nil().encode(env);
    let path = text(env, &path.to_vec());
    match kind {
        Kind::Directory => (path, atoms::directory(), nil, nil, false, nil),
        Kind::Regular { executable, offset, size } => {
            (path, atoms::regular(), size.encode(env), offset.encode(env), *executable, nil)
        }
        Kind::Symlink { target } => (path, atoms::symlink(), nil, nil, false, text(env, target)),
    }
    .encode(env)
}

/// How many entries are made terms between two questions whether the caller has died: some milliseconds.
const ENTRIES: usize = 4096;

/// `{ok, Value}`
fn answer<'a>(env: Env<'a>, answer: Answer) -> Result<Term<'a>, NifError<'a>> {
    let value = match answer {
        Answer::Entries(entries) => {
            let died = caller_died(env);
            let mut terms = Vec::with_capacity(entries.len());
            for some in entries.chunks(ENTRIES) {
                if died() {
                    return Err(Error::Cancelled.into());
                }
                terms.extend(some.iter().map(|entry| encode_entry(env, entry)));
            }
            terms.encode(env)
        }
        Answer::Json(json) => text(env, &json),
        Answer::Contents(contents) => contents.into_term(env),
        Answer::Hash(digest) => nar_hash(env, &digest),
        Answer::Done => atoms::done().encode(env),
    };
    Ok((atoms::ok(), value).encode(env))
}

fn read_data<'a>(env: Env<'a>, data: &[u8], wanted: &Wanted<'a>) -> NifResult<Term<'a>> {
    guard(env, || answer(env, nar::read_slice(wanted.task()?, data, &caller_died(env))?))
}

#[rustler::nif(schedule = "DirtyCpu")]
fn nar_data<'a>(env: Env<'a>, data: Binary<'a>, wanted: Wanted<'a>) -> NifResult<Term<'a>> {
    read_data(env, &data, &wanted)
}

#[rustler::nif(schedule = "DirtyIo")]
fn nar_data_io<'a>(env: Env<'a>, data: Binary<'a>, wanted: Wanted<'a>) -> NifResult<Term<'a>> {
    read_data(env, &data, &wanted)
}

/// `special` for a file that may keep its reader waiting.
fn read_file<'a>(env: Env<'a>, path: &[u8], wanted: &Wanted<'a>) -> NifResult<Term<'a>> {
    guard(env, || match regular(path)? {
        None => Ok(atoms::special().encode(env)),
        Some(input) => answer(env, nar::read_source(wanted.task()?, input, &caller_died(env))?),
    })
}

#[rustler::nif(schedule = "DirtyCpu")]
fn nar_file<'a>(env: Env<'a>, path: Binary<'a>, wanted: Wanted<'a>) -> NifResult<Term<'a>> {
    read_file(env, &path, &wanted)
}

#[rustler::nif(schedule = "DirtyIo")]
fn nar_file_io<'a>(env: Env<'a>, path: Binary<'a>, wanted: Wanted<'a>) -> NifResult<Term<'a>> {
    read_file(env, &path, &wanted)
}

/// The reading of an archive that comes in pieces, or of a special file.
struct NarReader {
    state: Mutex<Option<State>>,
    /// Set for good by whoever closes the reader, also while another process is inside a call.
    closed: AtomicBool,
}

struct State {
    task: Any,
    /// A special file, unless the archive is pushed.
    input: Option<Input>,
}

#[rustler::resource_impl]
impl Resource for NarReader {}

impl NarReader {
    fn holding(state: State) -> ResourceArc<Self> {
        ResourceArc::new(Self { state: Mutex::new(Some(state)), closed: AtomicBool::new(false) })
    }

    /// Takes the state out for the time of a call; an error or a panic in it leaves the reader closed. It is also closed
    /// for a second process that calls meanwhile.
    fn take(&self) -> Result<State, Error> {
        let state = self.state.try_lock().ok().and_then(|mut state| state.take());
        state.ok_or(Error::Cancelled)
    }

    fn put(&self, state: State) {
        if let Ok(mut place) = self.state.lock() {
            // Under the lock, so that a `close` meanwhile either shows here or finds the state in its place.
            if !self.closed.load(Ordering::Acquire) {
                *place = Some(state);
            }
        }
    }

    /// Whether the caller has died or the reader was closed.
    fn is_cancelled(&self, env: Env<'_>) -> impl Fn() -> bool {
        let died = caller_died(env);
        move || self.closed.load(Ordering::Acquire) || died()
    }
}

impl Drop for NarReader {
    fn drop(&mut self) {
        // A half-unpacked tree may be large, and this may be an ordinary scheduler, which collects the garbage of a process
        // that died. Without a thread, it is removed here nevertheless.
        if let Some(state) = self.state.get_mut().ok().and_then(Option::take) {
            let _ = std::thread::Builder::new().name("chunker-close".into()).spawn(move || drop(state));
        }
    }
}

/// `{ok, Reader}`
#[rustler::nif(schedule = "DirtyIo")]
fn nar_open<'a>(env: Env<'a>, wanted: Wanted<'a>) -> NifResult<Term<'a>> {
    guard(env, || {
        let state = State { task: wanted.task()?, input: None };
        Ok((atoms::ok(), NarReader::holding(state)).encode(env))
    })
}

fn push<'a>(env: Env<'a>, reader: &NarReader, piece: &[u8]) -> NifResult<Term<'a>> {
    guard(env, || {
        let mut state = reader.take()?;
        nar::feed(&mut state.task, piece, &reader.is_cancelled(env))?;
        let after = if NarConsumer::is_done(&state.task) { atoms::done() } else { atoms::more() };
        reader.put(state);
        Ok((atoms::ok(), after).encode(env))
    })
}

/// `{ok, more}`, or `{ok, done}` if no more of the archive is needed.
#[rustler::nif(schedule = "DirtyCpu")]
fn nar_push<'a>(env: Env<'a>, reader: ResourceArc<NarReader>, piece: Binary<'a>) -> NifResult<Term<'a>> {
    push(env, &reader, &piece)
}

#[rustler::nif(schedule = "DirtyIo")]
fn nar_push_io<'a>(env: Env<'a>, reader: ResourceArc<NarReader>, piece: Binary<'a>) -> NifResult<Term<'a>> {
    push(env, &reader, &piece)
}

/// `{ok, Value}`
#[rustler::nif(schedule = "DirtyIo")]
fn nar_finish<'a>(env: Env<'a>, reader: ResourceArc<NarReader>) -> NifResult<Term<'a>> {
    guard(env, || answer(env, reader.take()?.task.finish()?))
}

/// `{ok, Reader}`
#[rustler::nif(schedule = "DirtyIo")]
fn nar_open_special<'a>(env: Env<'a>, path: Binary<'a>, wanted: Wanted<'a>) -> NifResult<Term<'a>> {
    guard(env, || {
        let input = Input::open(&to_path(&path))?;
        let state = State { task: wanted.task()?, input: Some(input) };
        Ok((atoms::ok(), NarReader::holding(state)).encode(env))
    })
}

/// `{ok, Value}` at the end of the file, or `wait` if somebody has to send more of it.
#[rustler::nif(schedule = "DirtyIo")]
fn nar_next_special<'a>(env: Env<'a>, reader: ResourceArc<NarReader>) -> NifResult<Term<'a>> {
    guard(env, || {
        let State { mut task, input } = reader.take()?;
        let mut input = input.ok_or(Error::Cancelled)?;
        match nar::step(&mut task, &mut input, &reader.is_cancelled(env))? {
            Step::End => answer(env, task.finish()?),
            Step::Waiting => {
                reader.put(State { task, input: Some(input) });
                Ok(atoms::wait().encode(env))
            }
        }
    })
}

/// Frees what the reader holds, and removes what it has unpacked without coming to an end.
#[rustler::nif(schedule = "DirtyIo")]
fn nar_close<'a>(env: Env<'a>, reader: ResourceArc<NarReader>) -> NifResult<Term<'a>> {
    guard(env, || {
        reader.closed.store(true, Ordering::Release);
        // The lock is held for moments only.
        let state = reader.state.lock().map(|mut state| state.take());
        drop(state);
        Ok(atoms::ok().encode(env))
    })
}

/// `{ok, Hash}`: writes the archive of what is at `path` to the file `into`.
#[rustler::nif(schedule = "DirtyIo")]
fn nar_dump_file<'a>(
    env: Env<'a>,
    path: Binary<'a>,
    into: Binary<'a>,
    threads: Threads<'a>,
) -> NifResult<Term<'a>> {
    guard(env, || {
        let digest = dump_file(&to_path(&path), &to_path(&into), threads.workers()?, env)?;
        Ok((atoms::ok(), nar_hash(env, &digest)).encode(env))
    })
}

#[cfg(unix)]
use chunker::nar::Dump;

/// Where there is no such thing.
#[cfg(not(unix))]
struct Dump(std::path::PathBuf);

#[cfg(not(unix))]
impl Dump {
    fn new(path: &Path) -> Self {
        Self(path.into())
    }

    fn fill(&mut self, _buffer: &mut [u8], _give_up: chunker::Cancel<'_>) -> Result<usize, Error> {
        Err(unsupported(&self.0))
    }
}

/// The archive of a tree, which is written as it is pulled. `None` while a call has it, and after its end.
struct NarDump(Mutex<Option<Dump>>);

#[rustler::resource_impl]
impl Resource for NarDump {}

/// The most that is pulled at a time, in bytes.
const PIECE: usize = 256 << 10;

/// `{ok, Dump}`. Opens nothing yet.
#[rustler::nif]
fn nar_dump_open<'a>(env: Env<'a>, path: Binary<'a>) -> NifResult<Term<'a>> {
    guard(env, || {
        let dump = NarDump(Mutex::new(Some(Dump::new(&to_path(&path)))));
        Ok((atoms::ok(), ResourceArc::new(dump)).encode(env))
    })
}

/// `{ok, Binary}`, which is empty at the end.
#[rustler::nif(schedule = "DirtyIo")]
fn nar_dump_next<'a>(env: Env<'a>, dump: ResourceArc<NarDump>) -> NifResult<Term<'a>> {
    guard(env, || {
        let taken = dump.0.try_lock().ok().and_then(|mut state| state.take());
        let mut source = taken.ok_or(Error::Cancelled)?;
        // Memory of the VM, which it keeps at hand: that of the system would be fresh each time, at five times the cost.
        let mut piece = OwnedBinary::new(PIECE);
        let count = source.fill(piece.as_mut_slice(), &caller_died(env))?;
        if count < PIECE {
            piece = OwnedBinary::from_slice(&piece[..count]);
        }
        if count > 0
            && let Ok(mut state) = dump.0.lock()
        {
            *state = Some(source);
        }
        Ok((atoms::ok(), piece.release(env)).encode(env))
    })
}

/// Closes the files that are open.
#[rustler::nif]
fn nar_dump_close<'a>(env: Env<'a>, dump: ResourceArc<NarDump>) -> NifResult<Term<'a>> {
    guard(env, || {
        let state = dump.0.lock().map(|mut state| state.take());
        drop(state);
        Ok(atoms::ok().encode(env))
    })
}
