//! Stores.
//!
//! What reads or writes many bytes, syncs files or waits for a lock is a job. What reads a small file runs on an
//! I/O scheduler.

use std::ops::Bound;
use std::path::Path;
use std::sync::{PoisonError, RwLock};

use chunker::cdc::Options;
use chunker::codec::Codec;
use chunker::engine::progress::Progress;
use chunker::engine::workers::Workers;
use chunker::hash::{Algorithm, Digest};
use chunker::store::{
    Chunks, Collected, Copied, FormatOptions, If, Manifest, ObjectReader, PutAs, PutKind, PutPieces, Report,
    Session, Stats, Store, StoreOptions, Stored,
};
use chunker::{Cancel, Error};
use rustler::{Binary, Encoder, Env, NifTaggedEnum, NifTuple, Resource, ResourceArc, Term};

use crate::atoms;
use crate::binary::{BinaryBuffer, text};
use crate::call::{Call, nif, ok};
use crate::chunking::to_path;
use crate::error::{NifError, atom};
use crate::list::List;
use crate::nar::{encode_entries, nar_hash};
use crate::options::{Hash, Limits, Sizes, Threads};
use crate::progress::reporter;
use crate::slot::{Slot, drop_elsewhere};

/// A store, until it is closed.
struct SharedStore(RwLock<Option<Store>>);

impl SharedStore {
    /// Returns the store. What is made of it, and calls that run, keep it open when the handle is closed.
    fn get(&self) -> Result<Store, chunker::Error> {
        let store = self.0.read().unwrap_or_else(PoisonError::into_inner);
        store.clone().ok_or(chunker::Error::Cancelled)
    }
}

/// A state that one call at a time uses.
struct Held<T: Send + 'static>(Slot<T>);

impl<T: Send + 'static> Held<T> {
    fn new(state: T) -> ResourceArc<Self>
    where
        Self: Resource,
    {
        ResourceArc::new(Self(Slot::new(state)))
    }
}

impl<T: Send + 'static> Drop for Held<T> {
    fn drop(&mut self) {
        drop_elsewhere(self.0.take_remaining());
    }
}

#[rustler::resource_impl]
impl Resource for SharedStore {}
#[rustler::resource_impl]
impl Resource for Held<Session> {}
#[rustler::resource_impl]
impl Resource for Held<PutPieces> {}
#[rustler::resource_impl]
impl Resource for Held<ObjectReader> {}
#[rustler::resource_impl]
impl Resource for Held<Chunks> {}

/// `{Create, Hash | nil, Sizes | nil, Codec | none | nil, Level | nil, Durable | nil, Deltas | nil}`
#[derive(NifTuple)]
#[rustler(decode)]
struct OpenOptions<'a> {
    create: bool,
    hash: Option<Hash>,
    sizes: Option<Sizes<'a>>,
    codec: Term<'a>,
    level: Term<'a>,
    durable: Option<bool>,
    deltas: Option<bool>,
}

impl<'a> OpenOptions<'a> {
    fn checked(&self) -> Result<StoreOptions, NifError<'a>> {
        let name = self.codec.atom_to_string().unwrap_or_default();
        let codec = match name.as_str() {
            "nil" | "" => None,
            "none" => Some(None),
            name => Codec::ALL.into_iter().find(|codec| codec.name() == name).map(Some),
        };
        let level: Option<i32> = match self.level.decode() {
            Ok(level) => level,
            Err(_) => {
                let levels = codec.flatten().unwrap_or(Codec::Zstd).levels();
                let allowed = format!("{}..{}", levels.start(), levels.end());
                return Err(NifError::OutOfRange { option: "level", value: self.level, allowed });
            }
        };
        let chunking: Option<Options> = self.sizes.as_ref().map(Sizes::options).transpose()?;
        let hash: Option<Algorithm> = self.hash.map(Hash::algorithm).transpose()?;
        let (durable, deltas) = (self.durable, self.deltas);
        let format = FormatOptions { hash, chunking, codec, level, durable, deltas };
        Ok(StoreOptions { create: self.create, format })
    }
}

/// A digest as a binary of 32 bytes.
struct Id(Digest);

impl<'a> rustler::Decoder<'a> for Id {
    fn decode(term: Term<'a>) -> rustler::NifResult<Self> {
        let bytes: Binary<'a> = term.decode()?;
        bytes.as_slice().try_into().map(|bytes| Self(Digest(bytes))).map_err(|_| rustler::Error::BadArg)
    }
}

/// `{Threads, nil | {Pid, Ref}}`
#[derive(NifTuple)]
#[rustler(decode)]
struct ReportedWork<'a> {
    threads: Threads<'a>,
    progress: Term<'a>,
}

impl<'a> ReportedWork<'a> {
    /// Calls `run` with the threads, and with what receives the progress.
    fn run<T>(
        &self,
        call: Call<'a>,
        run: impl FnOnce(Workers, Progress<'_>) -> Result<T, chunker::Error>,
    ) -> Result<T, NifError<'a>> {
        let workers = self.threads.workers()?;
        let reporter = reporter(call, self.progress);
        let progress = reporter.as_ref().map(|reporter| reporter as &dyn Fn(u64, Option<u64>));
        Ok(run(workers, progress)?)
    }
}

fn digest<'a>(env: Env<'a>, digest: &Digest) -> Term<'a> {
    text(env, &digest.0)
}

/// As what an object is put: `bytes`, `{nar, References}`, `tar` or `{tree, References}`.
#[derive(Clone, Copy, NifTaggedEnum)]
#[rustler(decode)]
enum Form {
    Bytes,
    Nar(bool),
    Tar,
    Tree(bool),
}

impl Form {
    /// Returns the kind of an object whose bytes are there, or `None` for a tree.
    const fn kind(self) -> Option<PutKind> {
        match self {
            Self::Bytes => Some(PutKind::Bytes),
            Self::Nar(references) => Some(PutKind::Nar { references }),
            Self::Tar => Some(PutKind::Tar),
            Self::Tree(_) => None,
        }
    }
}

/// `{Name | nil, Base | nil}`: the tag of an object, and the id of one that it resembles.
#[derive(NifTuple)]
#[rustler(decode)]
struct Target<'a> {
    name: Option<&'a str>,
    base: Option<Id>,
}

impl<'a> Target<'a> {
    fn put_as(&self) -> PutAs<'a> {
        PutAs { name: self.name, base: self.base.as_ref().map(|base| base.0) }
    }
}

fn put_in(
    session: &mut Session,
    path: &Path,
    form: Form,
    PutAs { name, base }: PutAs<'_>,
    workers: Workers,
    progress: Progress<'_>,
    is_cancelled: Cancel<'_>,
) -> Result<Stored, Error> {
    session.set_base(name, base)?;
    match form {
        Form::Tree(references) => session.put_tree(path, references, workers, progress, is_cancelled),
        form => {
            let kind = form.kind().unwrap_or_default();
            session.put_file_as(path, kind, workers, progress, is_cancelled)
        }
    }
}

/// What an object that arrives in pieces is put as, which is no tree.
struct PiecesForm(PutKind);

impl<'a> rustler::Decoder<'a> for PiecesForm {
    fn decode(term: Term<'a>) -> rustler::NifResult<Self> {
        term.decode::<Form>()?.kind().map(Self).ok_or(rustler::Error::BadArg)
    }
}

/// `{Kind, NarHash | nil}`
fn kind_and_hash<'a>(env: Env<'a>, kind: &'static str, hash: Option<Digest>) -> (Term<'a>, Term<'a>) {
    let hash = hash.map_or_else(|| atoms::nil().encode(env), |hash| nar_hash(env, &hash));
    (atom(env, kind), hash)
}

/// `{Id, {Kind, NarHash | nil}, Size, Hash, ChunkCount, {NewChunks, NewBytes, StoredBytes}}`
fn stored<'a>(env: Env<'a>, stored: &Stored) -> Term<'a> {
    let &Stored { id, kind, size, hash, nar_hash, chunk_count, new_chunks, new_bytes, stored_bytes } = stored;
    let kind = kind_and_hash(env, kind.name(), nar_hash);
    let new = (new_chunks, new_bytes, stored_bytes);
    (digest(env, &id), kind, size, digest(env, &hash), chunk_count, new).encode(env)
}

nif! {
    /// `{ok, {Store, {Uuid, Hash, {Min, Avg, Max, Normalization, Seed}, Codec | none, Level | nil, Durable, Deltas}}}`
    job store_open_job => fn(call, path: Binary<'a>, options: OpenOptions<'a>) {
        let env = call.env;
        let store = Store::open(&to_path(&path), &options.checked()?)?;
        let format = *store.format();
        let Options { min_size, avg_size, max_size, normalization, seed } = format.chunking;
        let sizes = (min_size, avg_size, max_size, normalization, seed);
        let codec = atom(env, format.codec.map_or("none", Codec::name));
        let uuid = text(env, &format.uuid.to_be_bytes());
        let level = format.level.map_or_else(|| atoms::nil().encode(env), |level| level.encode(env));
        let format = (uuid, atom(env, format.hash.name()), sizes, codec, level, format.durable, format.deltas);
        ok(env, (ResourceArc::new(SharedStore(RwLock::new(Some(store)))), format))
    }
}

nif! {
    /// `{ok, Stored}`
    job store_put_file_job => fn(
        call,
        store: ResourceArc<SharedStore>,
        path: Binary<'a>,
        form: Form,
        target: Target<'a>,
        work: ReportedWork<'a>,
    ) {
        let target = target.put_as();
        let (store, path, is_cancelled) = (store.get()?, to_path(&path), call.is_cancelled());
        let put = work.run(call, |workers, progress| match form {
            Form::Tree(references) => store.put_tree(&path, references, target, workers, progress, &is_cancelled),
            form => {
                let kind = form.kind().unwrap_or_default();
                store.put_file_as(&path, kind, target, workers, progress, &is_cancelled)
            }
        })?;
        ok(call.env, stored(call.env, &put))
    }
}

nif! {
    /// `{ok, Session}`
    job store_session_job => fn(call, store: ResourceArc<SharedStore>) {
        ok(call.env, Held::new(store.get()?.session()?))
    }
}

nif! {
    /// `{ok, Stored}`
    job session_put_file_job => fn(
        call,
        session: ResourceArc<Held<Session>>,
        path: Binary<'a>,
        form: Form,
        target: Target<'a>,
        work: ReportedWork<'a>,
    ) {
        let mut open = session.0.take()?;
        let (path, is_cancelled) = (to_path(&path), session.0.is_cancelled(call));
        let put = work.run(call, |workers, progress| {
            put_in(&mut open, &path, form, target.put_as(), workers, progress, &is_cancelled)
        });
        session.0.put(open);
        ok(call.env, stored(call.env, &put?))
    }
}

nif! {
    /// `{ok, Pieces}`
    job session_pieces_job => fn(
        call,
        session: ResourceArc<Held<Session>>,
        form: PiecesForm,
        target: Target<'a>,
        threads: Threads<'a>,
    ) {
        let workers = threads.workers()?;
        let mut open = session.0.take()?;
        let PutAs { name, base } = target.put_as();
        let is_cancelled = session.0.is_cancelled(call);
        let pieces = open.set_base(name, base).and_then(|()| open.pieces_as(form.0, workers, &is_cancelled));
        session.0.put(open);
        ok(call.env, Held::new(pieces?))
    }
}

nif! {
    job pieces_push_job => fn(call, pieces: ResourceArc<Held<PutPieces>>, piece: Binary<'a>) {
        let mut open = pieces.0.take()?;
        open.push(&piece, &pieces.0.is_cancelled(call))?;
        pieces.0.put(open);
        Ok(atoms::ok().encode(call.env))
    }
}

nif! {
    /// `{ok, Stored}`
    job pieces_finish_job => fn(
        call,
        session: ResourceArc<Held<Session>>,
        pieces: ResourceArc<Held<PutPieces>>,
    ) {
        let put = pieces.0.take()?.finish(&pieces.0.is_cancelled(call))?;
        let mut open = session.0.take()?;
        open.add(&put);
        session.0.put(open);
        ok(call.env, stored(call.env, &put))
    }
}

nif! {
    job session_tag_job => fn(call, session: ResourceArc<Held<Session>>, name: &'a str, id: Id) {
        let mut open = session.0.take()?;
        let tagged = open.tag(name, id.0, &session.0.is_cancelled(call));
        session.0.put(open);
        tagged?;
        Ok(atoms::ok().encode(call.env))
    }
}

nif! {
    job session_commit_job => fn(call, session: ResourceArc<Held<Session>>) {
        session.0.take()?.commit(&call.is_cancelled())?;
        Ok(atoms::ok().encode(call.env))
    }
}

/// Ends a session without a commit.
#[rustler::nif]
fn session_close<'a>(env: Env<'a>, session: ResourceArc<Held<Session>>) -> Term<'a> {
    drop_elsewhere(session.0.close());
    atoms::ok().encode(env)
}

/// Ends an object without a result.
#[rustler::nif]
fn pieces_close<'a>(env: Env<'a>, pieces: ResourceArc<Held<PutPieces>>) -> Term<'a> {
    drop_elsewhere(pieces.0.close());
    atoms::ok().encode(env)
}

fn open_reader<'a>(
    call: Call<'a>,
    store: &SharedStore,
    id: &Digest,
    within: Option<Binary<'a>>,
    (offset, length): (u64, Option<u64>),
    workers: Workers,
) -> Result<ObjectReader, NifError<'a>> {
    let (store, is_cancelled) = (store.get()?, call.is_cancelled());
    let end = length.map_or(Bound::Unbounded, |length| Bound::Excluded(offset.saturating_add(length)));
    let range = (Bound::Included(offset), end);
    Ok(match within {
        None => store.reader(id, range, workers, &is_cancelled)?,
        Some(path) => store.file_reader(id, &path, range, workers, &is_cancelled)?,
    })
}

nif! {
    /// `{ok, Reader}`
    job store_reader_job => fn(
        call,
        store: ResourceArc<SharedStore>,
        id: Id,
        within: Option<Binary<'a>>,
        range: (u64, Option<u64>),
        threads: Threads<'a>,
    ) {
        let reader = open_reader(call, &store, &id.0, within, range, threads.workers()?)?;
        ok(call.env, Held::new(reader))
    }
}

nif! {
    /// `{ok, {Pieces, Reader}}`, where `Reader` is `nil` if these are all pieces.
    job store_read_job => fn(
        call,
        store: ResourceArc<SharedStore>,
        id: Id,
        within: Option<Binary<'a>>,
        range: (u64, Option<u64>),
        threads: Threads<'a>,
    ) {
        let mut reader = open_reader(call, &store, &id.0, within, range, threads.workers()?)?;
        let pieces = reader.next_pieces(BinaryBuffer::new, &call.is_cancelled())?;
        let rest = (!reader.is_at_end()).then(|| Held::new(reader));
        ok(call.env, (terms(call.env, pieces), rest))
    }
}

fn terms<'a>(env: Env<'a>, pieces: Option<Vec<BinaryBuffer>>) -> Vec<Term<'a>> {
    pieces.into_iter().flatten().map(|piece| piece.into_term(env)).collect()
}

nif! {
    /// `{ok, Pieces}`, which are none at the end.
    job reader_next_job => fn(call, reader: ResourceArc<Held<ObjectReader>>) {
        let mut open = reader.0.take()?;
        let pieces = open.next_pieces(BinaryBuffer::new, &reader.0.is_cancelled(call))?;
        reader.0.put(open);
        ok(call.env, terms(call.env, pieces))
    }
}

#[rustler::nif]
fn reader_close<'a>(env: Env<'a>, reader: ResourceArc<Held<ObjectReader>>) -> Term<'a> {
    drop_elsewhere(reader.0.close());
    atoms::ok().encode(env)
}

nif! {
    job store_restore_file_job => fn(
        call,
        store: ResourceArc<SharedStore>,
        id: Id,
        within: Option<Binary<'a>>,
        path: Binary<'a>,
        work: ReportedWork<'a>,
    ) {
        let (store, path, is_cancelled) = (store.get()?, to_path(&path), call.is_cancelled());
        work.run(call, |workers, progress| match within {
            None => store.restore_file(&id.0, &path, workers, progress, &is_cancelled),
            Some(within) => store.extract_file(&id.0, &within, &path, workers, progress, &is_cancelled),
        })?;
        Ok(atoms::ok().encode(call.env))
    }
}

nif! {
    job store_restore_tree_job => fn(
        call,
        store: ResourceArc<SharedStore>,
        id: Id,
        path: Binary<'a>,
        work: ReportedWork<'a>,
    ) {
        let (store, path, is_cancelled) = (store.get()?, to_path(&path), call.is_cancelled());
        work.run(call, |workers, progress| {
            store.restore_tree(&id.0, &path, workers, progress, &is_cancelled)
        })?;
        Ok(atoms::ok().encode(call.env))
    }
}

nif! {
    /// `{ok, Entries}`, as `nar_data` returns them.
    job store_entries_job => fn(
        call,
        store: ResourceArc<SharedStore>,
        id: Id,
        path: Binary<'a>,
        listing: (bool, Limits<'a>),
        threads: Threads<'a>,
    ) {
        let (recursive, limits) = listing;
        let (limits, workers) = (limits.checked()?, threads.workers()?);
        let entries =
            store.get()?.entries(&id.0, &path, recursive, limits, workers, &call.is_cancelled())?;
        ok(call.env, encode_entries(call, &entries)?)
    }
}

nif! {
    /// `{ok, {Id, {Kind, NarHash | nil}, Size, Hash, ChunkCount}}`
    job store_manifest_job => fn(call, store: ResourceArc<SharedStore>, id: Id) {
        let env = call.env;
        let Manifest { id, kind, size, hash, nar_hash, chunk_count, .. } = store.get()?.manifest(&id.0)?;
        let kind = kind_and_hash(env, kind.name(), nar_hash);
        ok(env, (digest(env, &id), kind, size, digest(env, &hash), chunk_count))
    }
}

nif! {
    /// `{ok, Chunks}`
    job store_chunks_job => fn(call, store: ResourceArc<SharedStore>, id: Id) {
        ok(call.env, Held::new(store.get()?.chunks(&id.0)?))
    }
}

/// The number of chunks that one call lists.
const CHUNKS: usize = 1000;

nif! {
    /// `{ok, [{Digest, Offset, Length}]}`, which are none at the end.
    job chunks_next_job => fn(call, chunks: ResourceArc<Held<Chunks>>) {
        let mut open = chunks.0.take()?;
        let mut list = Vec::new();
        while list.len() < CHUNKS
            && let Some(chunk) = open.next_chunk()?
        {
            list.push((digest(call.env, &chunk.digest), chunk.offset, chunk.length));
        }
        chunks.0.put(open);
        ok(call.env, list)
    }
}

#[rustler::nif]
fn chunks_close<'a>(env: Env<'a>, chunks: ResourceArc<Held<Chunks>>) -> Term<'a> {
    drop_elsewhere(chunks.0.close());
    atoms::ok().encode(env)
}

nif! {
    /// `{ok, Digests}`
    list_job store_missing_job => fn(call, store: ResourceArc<SharedStore>, digests: List<Id>) {
        let List(digests) = digests;
        let digests: Vec<Digest> = digests.into_iter().map(|id| id.0).collect();
        let missing = store.get()?.missing(&digests, &call.is_cancelled())?;
        ok(call.env, missing.iter().map(|missing| digest(call.env, missing)).collect::<Vec<_>>())
    }
}

nif! {
    /// `{ok, Id | nil}`
    io store_tag => fn(call, store: ResourceArc<SharedStore>, name: &'a str) {
        let id = store.get()?.tag(name)?;
        ok(call.env, id.map(|id| digest(call.env, &id)))
    }
}

/// What a tag must be: `any`, `absent`, or an id.
struct Condition(If);

impl<'a> rustler::Decoder<'a> for Condition {
    fn decode(term: Term<'a>) -> rustler::NifResult<Self> {
        if let Ok(Id(id)) = term.decode() {
            return Ok(Self(If::Is(id)));
        }
        match term.atom_to_string()?.as_str() {
            "any" => Ok(Self(If::Any)),
            "absent" => Ok(Self(If::Absent)),
            _ => Err(rustler::Error::BadArg),
        }
    }
}

nif! {
    job store_set_tag_job => fn(
        call,
        store: ResourceArc<SharedStore>,
        name: &'a str,
        id: Id,
        condition: Condition,
    ) {
        store.get()?.set_tag(name, &id.0, condition.0, &call.is_cancelled())?;
        Ok(atoms::ok().encode(call.env))
    }
}

nif! {
    /// `{ok, WasThere}`
    job store_remove_tag_job => fn(call, store: ResourceArc<SharedStore>, name: &'a str, condition: Condition) {
        ok(call.env, store.get()?.remove_tag(name, condition.0)?)
    }
}

nif! {
    /// `{ok, WasKept}`
    job store_forget_job => fn(call, store: ResourceArc<SharedStore>, id: Id) {
        ok(call.env, store.get()?.forget(&id.0)?)
    }
}

nif! {
    /// `{ok, [{Name, Id}]}`
    job store_tags_job => fn(call, store: ResourceArc<SharedStore>, prefix: &'a str) {
        let tags = store.get()?.tags(prefix)?;
        ok(call.env, tags.iter().map(|(name, id)| (name, digest(call.env, id))).collect::<Vec<_>>())
    }
}

nif! {
    /// `{ok, {Objects, Packs, DeletedPacks, DeletedBytes, RewrittenBytes}}`
    job store_gc_job => fn(call, store: ResourceArc<SharedStore>, work: ReportedWork<'a>) {
        let (store, is_cancelled) = (store.get()?, call.is_cancelled());
        let collected =
            work.run(call, |workers, progress| store.collect_garbage(workers, progress, &is_cancelled))?;
        let Collected { objects, packs, deleted_packs, deleted_bytes, rewritten_bytes } = collected;
        ok(call.env, (objects, packs, deleted_packs, deleted_bytes, rewritten_bytes))
    }
}

/// `{Packs, Bytes, Records, Objects, [{Object, Offset | nil, Why}], [{Id, Tags, Missing}], [Id]}`
fn report<'a>(env: Env<'a>, report: &Report) -> Term<'a> {
    let damage: Vec<_> =
        report.damage.iter().map(|damage| (&damage.object, damage.offset, atom(env, damage.why))).collect();
    let incomplete: Vec<_> = report
        .incomplete
        .iter()
        .map(|object| {
            let missing: Vec<_> = object.missing.iter().map(|missing| digest(env, missing)).collect();
            (digest(env, &object.id), &object.tags, missing)
        })
        .collect();
    let kept: Vec<_> = report.kept.iter().map(|id| digest(env, id)).collect();
    (report.packs, report.bytes, report.records, report.objects, damage, incomplete, kept).encode(env)
}

nif! {
    /// `{ok, Report}`
    job store_check_job => fn(
        call,
        store: ResourceArc<SharedStore>,
        repairs: bool,
        work: ReportedWork<'a>,
    ) {
        let (store, is_cancelled) = (store.get()?, call.is_cancelled());
        let found = work.run(call, |workers, progress| {
            let progress = progress
                .map(|progress| move |done: usize, total: usize| progress(done as u64, Some(total as u64)));
            let options = chunker::BatchOptions {
                workers: Some(workers),
                progress: progress.as_ref().map(|progress| progress as &dyn Fn(usize, usize)),
                ..chunker::BatchOptions::default()
            };
            if repairs { store.repair(&options, &is_cancelled) } else { store.check(&options, &is_cancelled) }
        })?;
        ok(call.env, report(call.env, &found))
    }
}

nif! {
    /// `{ok, {{Packs, Bytes}, {MetaPacks, Bytes}, Records, {IndexSegments, Bytes}, Tags, Sessions,
    /// {Objects, Unreadable, Bytes}}}`
    job store_stats_job => fn(call, store: ResourceArc<SharedStore>) {
        let Stats {
            packs, pack_bytes, delta_packs, delta_bytes, chunks, chunk_bytes, deltas, delta_chunk_bytes, meta_packs,
            meta_bytes, records, index_segments, index_bytes, tags, sessions, objects, unreadable_objects, object_bytes,
        } = store.get()?.stats(&call.is_cancelled())?;
        let stats = (
            (packs, pack_bytes),
            (delta_packs, delta_bytes, deltas, delta_chunk_bytes),
            (chunks, chunk_bytes),
            (meta_packs, meta_bytes),
            records,
            (index_segments, index_bytes),
            (tags, sessions, objects, unreadable_objects, object_bytes),
        );
        ok(call.env, stats)
    }
}

nif! {
    /// `{ok, {Ids, NewChunks, NewBytes, StoredBytes}}`
    list_job store_copy_job => fn(
        call,
        from: ResourceArc<SharedStore>,
        to: ResourceArc<SharedStore>,
        objects: List<(Id, Option<&'a str>)>,
        work: ReportedWork<'a>,
    ) {
        let (from, to, is_cancelled) = (from.get()?, to.get()?, call.is_cancelled());
        let List(objects) = objects;
        let objects: Vec<_> = objects.into_iter().map(|(Id(id), name)| (id, name)).collect();
        let copied = work.run(call, |workers, progress| {
            from.copy(&to, &objects, workers, progress, &is_cancelled)
        })?;
        let Copied { ids, new_chunks, new_bytes, stored_bytes } = copied;
        let ids: Vec<_> = ids.iter().map(|id| digest(call.env, id)).collect();
        ok(call.env, (ids, new_chunks, new_bytes, stored_bytes))
    }
}

/// Closes a store for all that hold it.
#[rustler::nif]
fn store_close<'a>(env: Env<'a>, store: ResourceArc<SharedStore>) -> Term<'a> {
    drop_elsewhere(store.0.write().unwrap_or_else(PoisonError::into_inner).take());
    atoms::ok().encode(env)
}

/// Returns whether a term is a store of this VM.
#[rustler::nif]
fn is_store(term: Term<'_>) -> bool {
    term.decode::<ResourceArc<SharedStore>>().is_ok()
}
