//! Nix archives.
//!
//! The result that a caller asks for is one term: `{list, Limits}`, `{listing, {Format, Notation, Limits}}`,
//! `hash`, `{read_file, Path}` or `{restore, Path}`. Each function takes any of them and reads a binary, a
//! file, or pieces. Pieces to be restored are taken on a dirty I/O scheduler, since a disk may have to be
//! waited for.

use std::path::Path;

use chunker::Error;
use chunker::engine::workers::Workers;
use chunker::hash::{Algorithm, Digest, nix_base32};
use chunker::io::file::OnChange;
use chunker::nar::{
    self, Entry, EntryPath, Hash, Kind, List, Listing, ListingFormat, ListingNotation, ListingOptions,
    NarConsumer, ReadFile,
};
use rustler::types::atom::Atom;
use rustler::{
    Binary, Decoder, Encoder, Env, NewBinary, NifResult, NifTaggedEnum, NifTuple, NifUnitEnum, OwnedBinary,
    Resource, ResourceArc, Term,
};

use crate::atoms;
use crate::binary::{BinaryBuffer, text};
use crate::call::{Call, guard, nif, ok};
use crate::chunking::{Opened, regular, to_path};
use crate::error::NifError;
use crate::options::{Limits, OnChangeName, Threads};
use crate::slot::{Slot, drop_elsewhere};

/// The result that a caller asks for.
#[derive(NifTaggedEnum)]
#[rustler(decode)]
pub(crate) enum Wanted<'a> {
    List(Limits<'a>),
    Listing(Form<'a>),
    Hash,
    ReadFile(Binary<'a>),
    Restore(Binary<'a>),
}

/// `{json | ls, nix_2_8 | newest, Limits}`
#[derive(NifTuple)]
#[rustler(decode)]
pub(crate) struct Form<'a> {
    format: Format,
    notation: Notation,
    limits: Limits<'a>,
}

#[derive(NifUnitEnum)]
#[rustler(decode)]
enum Format {
    Json,
    Ls,
}

/// `nix_2_8` or `newest`. rustler would derive the name `nix28`.
struct Notation(ListingNotation);

impl<'a> Decoder<'a> for Notation {
    fn decode(term: Term<'a>) -> NifResult<Self> {
        let atom: Atom = term.decode()?;
        let names = [(atoms::nix_2_8(), ListingNotation::Nix2_8), (atoms::newest(), ListingNotation::Newest)];
        let found = names.into_iter().find(|(name, _)| *name == atom);
        found.map(|(_, notation)| Self(notation)).ok_or(rustler::Error::BadArg)
    }
}

impl<'a> Form<'a> {
    fn options(&self) -> Result<ListingOptions, NifError<'a>> {
        Ok(ListingOptions {
            format: match self.format {
                Format::Json => ListingFormat::Json,
                Format::Ls => ListingFormat::Ls,
            },
            notation: self.notation.0,
            limits: self.limits.checked()?,
        })
    }
}

/// The consumer of an archive that makes that result.
pub(crate) enum Consumer {
    List(List),
    Listing(Listing),
    Hash(Hash),
    ReadFile(ReadFile<BinaryBuffer>),
    #[cfg(unix)]
    Restore(Box<nar::Restore>),
}

/// Calls a method of the consumer, whichever it is.
macro_rules! each {
    ($consumer:expr, $name:ident => $call:expr) => {
        match $consumer {
            Consumer::List($name) => $call,
            Consumer::Listing($name) => $call,
            Consumer::Hash($name) => $call,
            Consumer::ReadFile($name) => $call,
            #[cfg(unix)]
            Consumer::Restore($name) => $call,
        }
    };
}

impl NarConsumer for Consumer {
    type Output = Answer;

    fn feed(&mut self, piece: &[u8]) -> Result<(), Error> {
        each!(self, consumer => consumer.feed(piece))
    }

    fn skippable(&self) -> u64 {
        each!(self, consumer => consumer.skippable())
    }

    fn skip(&mut self, count: u64) {
        each!(self, consumer => consumer.skip(count));
    }

    fn is_done(&self) -> bool {
        each!(self, consumer => consumer.is_done())
    }

    fn finish(self) -> Result<Answer, Error> {
        Ok(match self {
            Self::List(list) => Answer::Entries(list.finish()?),
            Self::Listing(listing) => Answer::Json(listing.finish()?),
            Self::Hash(hash) => Answer::Hash(hash.finish()?),
            Self::ReadFile(file) => Answer::Contents(file.finish()?),
            #[cfg(unix)]
            Self::Restore(restore) => restore.finish().map(|()| Answer::Done)?,
        })
    }
}

/// The result.
pub(crate) enum Answer {
    Entries(Vec<Entry>),
    Json(Vec<u8>),
    Contents(BinaryBuffer),
    Hash(Digest),
    Done,
}

impl<'a> Wanted<'a> {
    pub(crate) fn consumer(&self) -> Result<Consumer, NifError<'a>> {
        Ok(match self {
            Wanted::List(limits) => Consumer::List(List::with_limits(limits.checked()?)),
            Wanted::Listing(form) => Consumer::Listing(Listing::with_options(form.options()?)),
            Wanted::Hash => Consumer::Hash(Hash::new(sha256()?)),
            Wanted::ReadFile(path) => Consumer::ReadFile(ReadFile::into_buffer(path, BinaryBuffer::new())),
            Wanted::Restore(target) => restore(&to_path(target))?,
        })
    }
}

/// Returns the algorithm of Nix, if it is built in.
pub(crate) fn sha256() -> Result<Algorithm, Error> {
    Algorithm::from_name("sha256")?.ok_or(Error::Disabled { name: "sha256" })
}

#[cfg(unix)]
fn restore(target: &Path) -> Result<Consumer, Error> {
    Ok(Consumer::Restore(Box::new(nar::Restore::new(target)?)))
}

#[cfg(unix)]
fn dump_file(
    path: &Path,
    into: &Path,
    on_change: OnChange,
    workers: Workers,
    call: Call<'_>,
) -> Result<Digest, Error> {
    nar::dump_file(path, into, on_change, sha256()?, workers, &call.is_cancelled())
}

#[cfg(not(unix))]
fn unsupported(path: &Path) -> Error {
    chunker::IoError { path: Some(path.into()), source: std::io::ErrorKind::Unsupported.into() }.into()
}

#[cfg(not(unix))]
fn restore(target: &Path) -> Result<Consumer, Error> {
    Err(unsupported(target))
}

#[cfg(not(unix))]
fn dump_file(
    path: &Path,
    _into: &Path,
    _on_change: OnChange,
    _workers: Workers,
    _call: Call<'_>,
) -> Result<Digest, Error> {
    Err(unsupported(path))
}

/// Returns `sha256:` and the digest as Nix writes it.
pub(crate) fn nar_hash<'a>(env: Env<'a>, digest: &Digest) -> Term<'a> {
    text(env, format!("sha256:{}", nix_base32::encode(&digest.0)).as_bytes())
}

/// Returns a path as a binary.
pub(crate) fn encode_path<'a>(env: Env<'a>, path: &EntryPath) -> Term<'a> {
    let mut binary = NewBinary::new(env, path.length());
    path.copy_to(binary.as_mut_slice());
    binary.into()
}

/// `{Path, Type, Size | nil, Offset | nil, Executable, Target | nil}`
fn encode_entry<'a>(env: Env<'a>, Entry { path, kind }: &Entry) -> Term<'a> {
    let nil = atoms::nil().encode(env);
    let path = encode_path(env, path);
    match kind {
        Kind::Directory => (path, atoms::directory(), nil, nil, false, nil),
        Kind::Regular { executable, offset, size } => {
            (path, atoms::regular(), size.encode(env), offset.encode(env), *executable, nil)
        }
        Kind::Symlink { target } => (path, atoms::symlink(), nil, nil, false, text(env, target)),
    }
    .encode(env)
}

/// How many entries are encoded between two checks whether the caller has died: some milliseconds.
const ENTRIES: usize = 4096;

/// Returns the list of the entries.
pub(crate) fn encode_entries<'a>(call: Call<'a>, entries: &[Entry]) -> Result<Term<'a>, NifError<'a>> {
    let is_cancelled = call.is_cancelled();
    let mut terms = Vec::with_capacity(entries.len());
    for some in entries.chunks(ENTRIES) {
        if is_cancelled() {
            return Err(Error::Cancelled.into());
        }
        terms.extend(some.iter().map(|entry| encode_entry(call.env, entry)));
    }
    Ok(terms.encode(call.env))
}

/// `{ok, Value}`
pub(crate) fn answer<'a>(call: Call<'a>, answer: Answer) -> Result<Term<'a>, NifError<'a>> {
    let env = call.env;
    let value = match answer {
        Answer::Entries(entries) => encode_entries(call, &entries)?,
        Answer::Json(json) => text(env, &json),
        Answer::Contents(contents) => contents.into_term(env),
        Answer::Hash(digest) => nar_hash(env, &digest),
        Answer::Done => atoms::done().encode(env),
    };
    ok(env, value)
}

nif! {
    /// `{ok, Value}`
    dirty nar_data, job nar_data_job => fn(call, data: Binary<'a>, wanted: Wanted<'a>) {
        answer(call, nar::read_slice(wanted.consumer()?, &data, &call.is_cancelled())?)
    }
}

nif! {
    /// `{ok, Value}`, or what [`Opened::Other`] says, for `special_nar` or this again.
    io nar_file, job nar_file_job => fn(call, path: Binary<'a>, wanted: Wanted<'a>) {
        match regular(call, &path, OnChange::Error)? {
            Opened::Other(other) => Ok(other.encode(call.env)),
            Opened::Regular(input) => {
                answer(call, nar::read_source(wanted.consumer()?, input, &call.is_cancelled())?)
            }
        }
    }
}

/// Reads an archive that arrives in pieces.
struct NarReader(Slot<Consumer>);

#[rustler::resource_impl]
impl Resource for NarReader {}

impl Drop for NarReader {
    fn drop(&mut self) {
        drop_elsewhere(self.0.take_remaining());
    }
}

/// `{ok, Reader}`
#[rustler::nif(schedule = "DirtyIo")]
fn nar_open<'a>(env: Env<'a>, wanted: Wanted<'a>) -> NifResult<Term<'a>> {
    guard(env, || ok(env, ResourceArc::new(NarReader(Slot::new(wanted.consumer()?)))))
}

nif! {
    /// `{ok, more}`, or `{ok, done}` if no more of the archive is needed.
    dirty nar_push, io nar_push_io, job nar_push_job => fn(
        call,
        reader: ResourceArc<NarReader>,
        piece: Binary<'a>,
    ) {
        let slot = &reader.0;
        let mut consumer = slot.take()?;
        nar::feed(&mut consumer, &piece, &slot.is_cancelled(call))?;
        let after = if consumer.is_done() { atoms::done() } else { atoms::more() };
        slot.put(consumer);
        ok(call.env, after)
    }
}

/// `{ok, Value}`
#[rustler::nif(schedule = "DirtyIo")]
fn nar_finish<'a>(env: Env<'a>, reader: ResourceArc<NarReader>) -> NifResult<Term<'a>> {
    guard(env, || answer(Call::dirty(env), reader.0.take()?.finish()?))
}

/// Frees what the reader holds, and removes a tree that is half unpacked.
#[rustler::nif(schedule = "DirtyIo")]
fn nar_close<'a>(env: Env<'a>, reader: ResourceArc<NarReader>) -> NifResult<Term<'a>> {
    guard(env, || {
        drop(reader.0.close());
        Ok(atoms::ok().encode(env))
    })
}

nif! {
    /// `{ok, Hash}`: writes the archive of what is at `path` to the file `into`.
    job nar_dump_file_job => fn(
        call,
        path: Binary<'a>,
        into: Binary<'a>,
        on_change: OnChangeName,
        threads: Threads<'a>,
    ) {
        let (path, into) = (to_path(&path), to_path(&into));
        let digest = dump_file(&path, &into, on_change.into(), threads.workers()?, call)?;
        ok(call.env, nar_hash(call.env, &digest))
    }
}

#[cfg(unix)]
use chunker::nar::Dump;

/// A stand-in on systems without Unix files.
#[cfg(not(unix))]
struct Dump(std::path::PathBuf);

#[cfg(not(unix))]
impl Dump {
    fn new(path: &Path) -> Self {
        Self(path.into())
    }

    fn on_change(self, _on_change: OnChange) -> Self {
        self
    }

    fn fill(&mut self, _buffer: &mut [u8], _give_up: chunker::Cancel<'_>) -> Result<usize, Error> {
        Err(unsupported(&self.0))
    }
}

/// Writes the archive of a tree as it is pulled.
type NarDump = Slot<Dump>;

#[rustler::resource_impl]
impl Resource for NarDump {}

/// The most bytes that one call returns.
const PIECE: usize = 256 << 10;

/// `{ok, Dump}`. Opens nothing yet.
#[rustler::nif]
fn nar_dump_open<'a>(env: Env<'a>, path: Binary<'a>, on_change: OnChangeName) -> NifResult<Term<'a>> {
    guard(env, || {
        let dump = Dump::new(&to_path(&path)).on_change(on_change.into());
        ok(env, ResourceArc::new(Slot::new(dump)))
    })
}

/// `{ok, Binary}`, which is empty at the end.
#[rustler::nif(schedule = "DirtyIo")]
fn nar_dump_next<'a>(env: Env<'a>, dump: ResourceArc<NarDump>) -> NifResult<Term<'a>> {
    guard(env, || {
        let mut source = dump.take()?;
        // Memory of the VM, which it keeps at hand: that of the system would be fresh each time, at five
        // times the cost.
        let mut piece = OwnedBinary::new(PIECE);
        let count = source.fill(piece.as_mut_slice(), &dump.is_cancelled(Call::dirty(env)))?;
        if count < PIECE {
            piece = OwnedBinary::from_slice(&piece[..count]);
        }
        if count > 0 {
            dump.put(source);
        }
        ok(env, piece.release(env))
    })
}

/// Closes the files that are open.
#[rustler::nif]
fn nar_dump_close<'a>(env: Env<'a>, dump: ResourceArc<NarDump>) -> NifResult<Term<'a>> {
    guard(env, || {
        drop(dump.close());
        Ok(atoms::ok().encode(env))
    })
}
