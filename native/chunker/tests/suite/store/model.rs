//! Explores the protocol of sessions, tags and garbage collections, in every order of its steps, for small
//! numbers.
//!
//! The model has the steps of session.rs, writer.rs, mod.rs and gc.rs, each of which is one operation on
//! objects of a store: what happens between two of them, others may see. Each process may sleep before any
//! step for any time, and may be killed. It has no packs' bytes, no disks and no index segments: a lookup
//! sees what packs there are, or misses one that no segment has. So a change of the protocol in those files
//! needs the same change here.
//!
//! A [`Fault`] takes a part of the protocol away. Each must be found: else the model says nothing.

use stateright::{Checker, HasDiscoveries, Model, Property};

/// The writers. Traces of at most `SESSIONS` sessions are left at a time of each, and of collections, which
/// rewrite packs in sessions of their own.
const WRITERS: usize = 2;
const SESSIONS: usize = 4;
/// One more session, the first, has written the packs that are there at the start.
const ALL_SESSIONS: usize = (WRITERS + 1) * SESSIONS + 1;
/// A session writes a pack of chunks and one with its commit.
const ALL_PACKS: usize = ALL_SESSIONS * 2;
const NAMES: usize = 2;
/// The chunks of each object; the manifest counts as one of them.
const OBJECTS: [u32; 2] = [0b11, 0b10];
const CHUNKS: u32 = 2;

/// What is left out of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// A collection does not fence.
    NoFence,
    /// A collection does not mark again after it has fenced.
    NoSecondMark,
    /// A collection marks what tags need, and nothing for sessions.
    NoSessions,
    /// A collection reads tags before sessions.
    TagsFirst,
    /// A collection does not spare what open sessions have written.
    NoSparing,
    /// A collection spares what open sessions have written, and not what fenced ones have whose writers do not
    /// know it yet.
    NoSparingOfFenced,
    /// A collection does not publish what it is about to delete.
    NoList,
    /// A writer whose session was fenced commits all the same.
    IgnoredFence,
    /// A writer whose session was fenced commits in a new one without looking again.
    NoSecondLook,
    /// A writer takes the word of an index that has packs which are gone.
    TrustedIndex,
    /// An object that is in a condemned pack gets no tag, instead of being copied.
    RefusedTags,
    /// Packs that are rewritten are deleted before.
    LateRewriting,
    /// What others commit before they are fenced is not rewritten.
    NoSecondMarkForRewriting,
    /// Two processes may finish the session of a dead writer at once.
    NoClaims,
    /// Nothing is left of a tag that is removed.
    NoTraces,
    /// A tag is as before if it names the same object.
    NoVersions,
}

/// Numbers and liberties.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// How many operations each writer performs at most.
    operations: [u8; WRITERS],
    collections: u8,
    /// How many times a writer is killed at most, and a collection.
    killed_writers: u8,
    killed_collections: u8,
    /// Whether a writer may not find a chunk that is there.
    stale_index: bool,
    /// Whether nothing comes between a list and the reads of what it has, nor between lookups of chunks.
    is_coarse: bool,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            operations: [1, 1],
            collections: 1,
            killed_writers: 0,
            killed_collections: 0,
            stale_index: false,
            is_coarse: false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Operation {
    Put { name: u8, object: u8 },
    Tag { name: u8, object: u8 },
    Untag { name: u8 },
}

impl Operation {
    fn name(self) -> u8 {
        match self {
            Self::Put { name, .. } | Self::Tag { name, .. } | Self::Untag { name } => name,
        }
    }

    fn object(self) -> Option<u8> {
        match self {
            Self::Put { object, .. } | Self::Tag { object, .. } => Some(object),
            Self::Untag { .. } => None,
        }
    }
}

/// Sets of packs and of sessions, as bits.
type Packs = u32;
type Sessions = u16;

/// What a session commits. Equal commits are one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
struct Commit {
    name: u8,
    object: u8,
    before: Option<u8>,
    /// Whether the tag has changed since `before` was read. A real commit has the version of the tag.
    is_stale: bool,
}

impl Commit {
    /// The record of the commit, among the bits of all records.
    fn record(self) -> u32 {
        let before = self.before.map_or(0, |object| object + 1);
        1 << (CHUNKS + u32::from(self.name) * 6 + u32::from(self.object) * 3 + u32::from(before))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
enum Stage {
    /// It is not there.
    #[default]
    Gone,
    Open,
    Committed,
    Fenced,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
struct Session {
    stage: Stage,
    continues: Sessions,
    commit: Commit,
    /// Whether its writer has died.
    is_dead: bool,
    /// Whether its tag was set.
    is_set: bool,
}

/// The next step of a writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
enum Step {
    #[default]
    Idle,
    /// It was killed, and opens the store again.
    Open,
    Claim,
    FinishTag,
    FinishEnd,
    ReadTag,
    CreateSession,
    ReadCondemned,
    LookUp,
    UploadChunks,
    UploadCommit,
    Commit,
    SetTag,
    EndSession,
    Untag,
    UntagList,
    UntagSet,
    /// Its session is fenced.
    CreateAnother,
    ReadCondemnedAgain,
    EndFenced,
    LookAgain,
    /// A chunk has gone.
    Abandon,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
struct Writer {
    step: Step,
    operation: Option<Operation>,
    operations: u8,
    session: u8,
    fenced: u8,
    condemned: Packs,
    /// The records to look for, and those that it has to write.
    left: u32,
    new: u32,
    /// Whether one of them is nowhere.
    is_lacking: bool,
    commit: Commit,
    finish: Sessions,
    /// Whether another process has changed the tag since the operation began.
    is_disturbed: bool,
    /// Whether a tag has named the object ever since the operation began.
    is_named: bool,
}

/// The next step of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
enum Phase {
    #[default]
    Idle,
    Finish,
    Claim,
    FinishTag,
    FinishEnd,
    ListPacks,
    ListSessions,
    ReadSession,
    ListTags,
    ReadTag,
    Spare,
    SpareSession,
    Condemn,
    ListForFence,
    Fence,
    Delete,
    RewriteSession,
    Rewrite,
    EndRewriting,
    DeleteRewritten,
    Unlist,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
struct Collection {
    phase: Phase,
    /// Whether it marks for the second time.
    is_second: bool,
    packs: Packs,
    /// The records that are needed.
    marked: u32,
    dead: Packs,
    /// Packs of which only a part is needed, and the records that are written anew.
    wasteful: Packs,
    rewritten: u32,
    session: u8,
    sessions: Sessions,
    tags: u8,
    finish: Sessions,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Store {
    /// The records of each pack, none for one that is not there.
    packs: [u32; ALL_PACKS],
    /// The same, with packs that are gone, as an index may have it.
    index: [u32; ALL_PACKS],
    sessions: [Session; ALL_SESSIONS],
    tags: [Option<u8>; NAMES],
    /// The sessions that were committed when a tag was removed, and that have not ended.
    removed: [Sessions; NAMES],
    condemned: Option<Packs>,
    writers: [Writer; WRITERS],
    collection: Collection,
    collections: u8,
    killed_writers: u8,
    killed_collections: u8,
    wrong: Wrong,
}

/// What must never happen, in steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
struct Wrong {
    /// A put returned, and its tag was not set, although nothing else changed it.
    lost_tag: bool,
    /// A tag was set for a session that had ended before.
    late_tag: bool,
    /// A tag was set twice for a session.
    second_tag: bool,
    /// A pack was deleted that a writer has written which is alive and has not committed.
    lost_upload: bool,
    /// An object that had a tag all the time was not found for another tag.
    refused: bool,
}

struct Protocol {
    fault: Fault,
    bounds: Bounds,
    operations: Vec<Operation>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Begin(usize, Operation),
    Step(usize),
    /// A step that does not find what it looks for.
    Miss(usize),
    Kill(usize),
    Collect,
    CollectionStep,
    KillCollection,
}

fn bits(set: u32) -> impl Iterator<Item = usize> {
    (0..32).filter(move |bit| set >> bit & 1 == 1)
}

fn first(set: impl Into<u32>) -> usize {
    set.into().trailing_zeros() as usize
}

impl Store {
    /// The packs that have some of these records.
    fn packs_with(&self, records: u32) -> Packs {
        let with = |pack: &usize| self.packs[*pack] & records != 0;
        (0..ALL_PACKS).filter(with).fold(0, |packs, pack| packs | 1 << pack)
    }

    fn there(&self) -> Packs {
        self.packs_with(u32::MAX)
    }

    fn has(&self, records: u32) -> bool {
        self.packs.iter().fold(0, |all, pack| all | pack) & records == records
    }

    /// Sessions of which `which` is true, as bits.
    fn sessions(&self, which: impl Fn(&Session) -> bool) -> Sessions {
        let with = |session: &usize| which(&self.sessions[*session]);
        (0..ALL_SESSIONS).filter(with).fold(0, |sessions, session| sessions | 1 << session)
    }

    /// Returns a session of a writer that nothing refers to any more. A real one has a random number.
    fn free_session(&self, writer: usize) -> u8 {
        let collection = &self.collection;
        let listed =
            self.writers.iter().fold(self.condemned.unwrap_or(0), |all, writer| all | writer.condemned);
        let packs = self.there() | listed | collection.packs | collection.dead | collection.wasteful;
        let continued = self.sessions.iter().fold(0, |all, session| all | session.continues);
        let finished = self.writers.iter().fold(collection.finish, |all, writer| all | writer.finish);
        let referred = continued | finished | collection.sessions;
        let is_free = |session: &usize| {
            self.sessions[*session].stage == Stage::Gone
                && packs >> (session * 2) & 0b11 == 0
                && referred >> session & 1 == 0
                && self
                    .writers
                    .iter()
                    .all(|writer| usize::from(writer.fenced) != *session || writer.fenced == 0)
        };
        let free = (writer * SESSIONS + 1..=writer * SESSIONS + SESSIONS).find(is_free);
        free.expect("the model has no room for another session") as u8
    }

    fn delete(&mut self, pack: usize) {
        let writes =
            |session: &Session| matches!(session.stage, Stage::Open | Stage::Fenced) && !session.is_dead;
        let writer = pack / 2;
        self.wrong.lost_upload |= writes(&self.sessions[writer])
            || self.sessions.iter().any(|session| writes(session) && session.continues >> writer & 1 == 1);
        self.packs[pack] = 0;
    }

    fn upload(&mut self, pack: usize, records: u32) {
        self.packs[pack] = records;
        self.index[pack] = records;
    }

    /// Changes a tag: each time it has another version, also if it names the same object.
    fn set_tag(&mut self, name: u8, object: Option<u8>, removed: Sessions, by: Option<usize>) {
        self.tags[usize::from(name)] = object;
        self.removed[usize::from(name)] = removed;
        let commits = self.sessions.iter_mut().map(|session| &mut session.commit);
        let commits = commits.chain(self.writers.iter_mut().map(|writer| &mut writer.commit));
        commits
            .filter(|commit| commit.name == name && commit.before.is_some())
            .for_each(|commit| commit.is_stale = true);
        for (number, writer) in self.writers.iter_mut().enumerate() {
            if Some(number) != by && writer.operation.is_some_and(|operation| operation.name() == name) {
                writer.is_disturbed = true;
            }
            let object = writer.operation.and_then(Operation::object);
            writer.is_named &= object.is_some_and(|object| self.tags.contains(&Some(object)));
        }
    }
}

impl Protocol {
    /// Whether a record is in a pack that counts.
    fn is_present(&self, store: &Store, condemned: Packs, record: u32) -> bool {
        let packs = if self.fault == Fault::TrustedIndex { &store.index } else { &store.packs };
        (0..ALL_PACKS).any(|pack| condemned >> pack & 1 == 0 && packs[pack] & record != 0)
    }

    /// Returns whether a process may finish a session: it is dead, and no other process is doing so.
    fn claims(&self, store: &Store, session: usize) -> bool {
        let writers = store.writers.iter().map(|writer| match writer.step {
            Step::FinishTag | Step::FinishEnd => first(writer.finish),
            _ => ALL_SESSIONS,
        });
        let collection = match store.collection.phase {
            Phase::FinishTag | Phase::FinishEnd => first(store.collection.finish),
            _ => ALL_SESSIONS,
        };
        let is_claimed = writers.chain([collection]).any(|claimed| claimed == session);
        self.fault == Fault::NoClaims || (store.sessions[session].stage == Stage::Committed && !is_claimed)
    }

    /// Sets the tag of a session if it is as before, for its writer or for another process.
    fn finish_tag(&self, store: &mut Store, session: usize, writer: Option<usize>) {
        let Session { stage, commit, is_set, .. } = store.sessions[session];
        let name = usize::from(commit.name);
        let is_as_before = store.tags[name] == commit.before
            && match commit.before {
                None => store.removed[name] >> session & 1 == 0,
                Some(_) => !commit.is_stale || self.fault == Fault::NoVersions,
            };
        if is_as_before {
            store.wrong.late_tag |= stage == Stage::Gone && commit.before != Some(commit.object);
            store.wrong.second_tag |= is_set;
            store.sessions[session].is_set = true;
            store.set_tag(commit.name, Some(commit.object), 0, writer);
        }
    }

    fn writer_step(&self, store: &mut Store, number: usize, misses: bool) {
        let mut writer = store.writers[number];
        let at = usize::from(writer.session);
        let condemned = if self.fault == Fault::NoList { None } else { store.condemned };
        // Between operations this is one that does nothing.
        let operation = writer.operation.unwrap_or(Operation::Untag { name: 0 });
        let is_put = matches!(operation, Operation::Put { .. });
        match writer.step {
            Step::Idle => unreachable!("it has nothing to do"),
            Step::Open => {
                writer.finish =
                    store.sessions(|session| session.stage == Stage::Committed && session.is_dead);
                writer.step = if writer.finish == 0 { Step::Idle } else { Step::Claim };
            }
            Step::Claim if self.claims(store, first(writer.finish)) => writer.step = Step::FinishTag,
            Step::Claim => {
                writer.finish &= writer.finish - 1;
                writer.step = if writer.finish == 0 { Step::Idle } else { Step::Claim };
            }
            Step::FinishTag => {
                self.finish_tag(store, first(writer.finish), None);
                writer.step = Step::FinishEnd;
            }
            Step::FinishEnd => {
                store.sessions[first(writer.finish)].stage = Stage::Gone;
                writer.finish &= writer.finish - 1;
                writer.step = if writer.finish == 0 { Step::Idle } else { Step::Claim };
            }
            Step::ReadTag => {
                let (name, object) = (operation.name(), operation.object().expect("an object"));
                let before = store.tags[usize::from(name)];
                writer.commit = Commit { name, object, before, is_stale: false };
                writer.step = if is_put { Step::UploadCommit } else { Step::CreateSession };
            }
            Step::CreateSession => {
                writer.session = store.free_session(number);
                store.sessions[usize::from(writer.session)] =
                    Session { stage: Stage::Open, ..Session::default() };
                writer.step = Step::ReadCondemned;
            }
            Step::ReadCondemned => {
                writer.condemned = condemned.unwrap_or(0);
                writer.left = OBJECTS[usize::from(operation.object().expect("an object"))];
                writer.step = Step::LookUp;
            }
            Step::LookUp => {
                let record = 1 << first(writer.left);
                let found = !misses && self.is_present(store, writer.condemned, record);
                writer.left &= !record;
                writer.new |= if found { 0 } else { record };
                // What is about to be deleted is copied.
                let is_copied = !is_put && !misses && self.fault != Fault::RefusedTags && store.has(record);
                let found = found || is_copied;
                writer.is_lacking |= !found;
                store.wrong.refused |= !found && !misses && !is_put && writer.is_named;
                writer.step = match (writer.left, writer.new) {
                    _ if writer.is_lacking && !is_put => Step::EndSession,
                    (0, 0) if is_put => Step::ReadTag,
                    (0, 0) => Step::UploadCommit,
                    (0, _) => Step::UploadChunks,
                    _ => Step::LookUp,
                };
            }
            Step::UploadChunks => {
                store.upload(at * 2, writer.new);
                writer.new = 0;
                writer.step = if is_put { Step::ReadTag } else { Step::UploadCommit };
            }
            Step::UploadCommit => {
                if !self.is_present(store, writer.condemned, writer.commit.record()) {
                    store.upload(at * 2 + 1, writer.commit.record());
                }
                writer.step = Step::Commit;
            }
            Step::Commit => {
                let session = &mut store.sessions[at];
                if session.stage == Stage::Open || self.fault == Fault::IgnoredFence {
                    session.stage = Stage::Committed;
                    session.commit = writer.commit;
                    writer.step = Step::SetTag;
                } else {
                    writer.fenced = writer.session;
                    writer.step = Step::CreateAnother;
                }
            }
            Step::SetTag => {
                let Commit { name, object, .. } = writer.commit;
                self.finish_tag(store, at, Some(number));
                let is_set = store.tags[usize::from(name)] == Some(object);
                store.wrong.lost_tag |= !is_set && !writer.is_disturbed;
                writer.step = Step::EndSession;
            }
            Step::EndSession => {
                store.sessions[at].stage = Stage::Gone;
                writer.step = Step::Idle;
            }
            Step::Untag => {
                let name = operation.name();
                let before = store.tags[usize::from(name)];
                writer.commit = Commit { name, before, ..Commit::default() };
                writer.step = if before.is_some() { Step::UntagList } else { Step::Idle };
            }
            Step::UntagList => {
                writer.finish = store.sessions(|session| session.stage == Stage::Committed);
                writer.step = Step::UntagSet;
            }
            Step::UntagSet if writer.commit.is_stale => {
                writer.finish = 0;
                writer.step = Step::Untag;
            }
            Step::UntagSet => {
                let removed = if self.fault == Fault::NoTraces { 0 } else { writer.finish };
                store.set_tag(operation.name(), None, removed, Some(number));
                writer.step = Step::Idle;
            }
            Step::CreateAnother => {
                let fenced = usize::from(writer.fenced);
                let continues = store.sessions[fenced].continues | 1 << fenced;
                writer.session = store.free_session(number);
                store.sessions[usize::from(writer.session)] =
                    Session { stage: Stage::Open, continues, ..Session::default() };
                writer.step = Step::ReadCondemnedAgain;
            }
            Step::ReadCondemnedAgain => {
                writer.condemned = condemned.unwrap_or(0);
                writer.step = Step::EndFenced;
            }
            Step::EndFenced => {
                store.sessions[usize::from(writer.fenced)].stage = Stage::Gone;
                writer.left = OBJECTS[usize::from(writer.commit.object)] | writer.commit.record();
                writer.step = if self.fault == Fault::NoSecondLook { Step::Commit } else { Step::LookAgain };
            }
            Step::LookAgain => {
                let record = 1 << first(writer.left);
                let found = self.is_present(store, writer.condemned, record);
                writer.left &= !record;
                writer.step = match (found, writer.left) {
                    (false, _) => Step::Abandon,
                    (true, 0) => Step::Commit,
                    (true, _) => Step::LookAgain,
                };
            }
            Step::Abandon => {
                store.sessions[at].stage = Stage::Gone;
                // A file is put again, and so is what a caller has in memory.
                writer = Writer {
                    step: Self::first_step(operation),
                    operation: writer.operation,
                    operations: writer.operations,
                    is_disturbed: writer.is_disturbed,
                    is_named: writer.is_named,
                    ..Writer::default()
                };
            }
        }
        if writer.step == Step::Idle {
            writer = Writer { operations: writer.operations, ..Writer::default() };
        }
        store.writers[number] = writer;
    }

    fn first_step(operation: Operation) -> Step {
        match operation {
            Operation::Put { .. } => Step::CreateSession,
            Operation::Tag { .. } => Step::ReadTag,
            Operation::Untag { .. } => Step::Untag,
        }
    }

    /// The step after all roots of one kind are marked.
    fn after_roots(&self, store: &Store, collection: &mut Collection, was: Phase) {
        let last = if self.fault == Fault::TagsFirst { Phase::ReadSession } else { Phase::ReadTag };
        collection.phase = match was {
            _ if was == last && collection.is_second => {
                collection.dead &= !store.packs_with(collection.marked);
                if self.fault != Fault::NoSecondMarkForRewriting {
                    collection.rewritten = collection.marked;
                }
                collection.marked = 0;
                Phase::Delete
            }
            _ if was == last => {
                let needed = store.packs_with(collection.marked) & collection.packs;
                collection.dead = collection.packs & !needed;
                collection.wasteful = needed & store.packs_with(!collection.marked);
                collection.rewritten = collection.marked;
                Phase::Spare
            }
            Phase::ReadSession => Phase::ListTags,
            _ => Phase::ListSessions,
        };
    }

    fn first_roots(&self) -> Phase {
        if self.fault == Fault::TagsFirst { Phase::ListTags } else { Phase::ListSessions }
    }

    fn collection_step(&self, store: &mut Store) {
        let mut collection = store.collection;
        match collection.phase {
            Phase::Idle => unreachable!("it has nothing to do"),
            Phase::Finish => {
                collection.finish =
                    store.sessions(|session| session.stage == Stage::Committed && session.is_dead);
                collection.phase = if collection.finish == 0 { Phase::ListPacks } else { Phase::Claim };
            }
            Phase::Claim if self.claims(store, first(collection.finish)) => {
                collection.phase = Phase::FinishTag;
            }
            Phase::Claim => {
                collection.finish &= collection.finish - 1;
                collection.phase = if collection.finish == 0 { Phase::ListPacks } else { Phase::Claim };
            }
            Phase::FinishTag => {
                self.finish_tag(store, first(collection.finish), None);
                collection.phase = Phase::FinishEnd;
            }
            Phase::FinishEnd => {
                store.sessions[first(collection.finish)].stage = Stage::Gone;
                collection.finish &= collection.finish - 1;
                collection.phase = if collection.finish == 0 { Phase::ListPacks } else { Phase::Claim };
            }
            Phase::ListPacks => {
                collection.packs = store.there();
                collection.phase = self.first_roots();
            }
            Phase::ListSessions => {
                collection.sessions = store.sessions(|session| session.stage != Stage::Gone);
                if self.fault == Fault::NoSessions {
                    collection.sessions = 0;
                }
                collection.phase = Phase::ReadSession;
                if collection.sessions == 0 {
                    self.after_roots(store, &mut collection, Phase::ReadSession);
                }
            }
            Phase::ReadSession => {
                let Session { stage, commit, .. } = store.sessions[first(collection.sessions)];
                if stage == Stage::Committed {
                    collection.marked |= commit.record() | OBJECTS[usize::from(commit.object)];
                }
                collection.sessions &= collection.sessions - 1;
                if collection.sessions == 0 {
                    self.after_roots(store, &mut collection, Phase::ReadSession);
                }
            }
            Phase::ListTags => {
                let is_there = |name: &usize| store.tags[*name].is_some();
                collection.tags = (0..NAMES).filter(is_there).fold(0, |names, name| names | 1 << name);
                collection.phase = Phase::ReadTag;
                if collection.tags == 0 {
                    self.after_roots(store, &mut collection, Phase::ReadTag);
                }
            }
            Phase::ReadTag => {
                if let Some(object) = store.tags[first(collection.tags)] {
                    collection.marked |= OBJECTS[usize::from(object)];
                }
                collection.tags &= collection.tags - 1;
                if collection.tags == 0 {
                    self.after_roots(store, &mut collection, Phase::ReadTag);
                }
            }
            Phase::Spare => {
                collection.sessions = store.sessions(|session| session.stage != Stage::Gone);
                if matches!(self.fault, Fault::NoSparing | Fault::NoSessions) {
                    collection.sessions = 0;
                }
                collection.phase =
                    if collection.sessions == 0 { Phase::Condemn } else { Phase::SpareSession };
            }
            Phase::SpareSession => {
                let session = first(collection.sessions);
                let Session { stage, continues, is_dead, .. } = store.sessions[session];
                let is_fenced = stage == Stage::Fenced && self.fault != Fault::NoSparingOfFenced;
                if (stage == Stage::Open || is_fenced) && !is_dead {
                    for session in bits(u32::from(continues) | 1 << session) {
                        collection.dead &= !(0b11 << (session * 2));
                        collection.wasteful &= !(0b11 << (session * 2));
                    }
                }
                collection.sessions &= collection.sessions - 1;
                collection.phase =
                    if collection.sessions == 0 { Phase::Condemn } else { Phase::SpareSession };
            }
            Phase::Condemn => {
                let list = collection.dead | collection.wasteful;
                store.condemned = (list != 0).then_some(list);
                collection.phase =
                    if self.fault == Fault::NoFence { self.first_roots() } else { Phase::ListForFence };
                collection.is_second = true;
                // What else is needed stays anyway.
                collection.packs = 0;
                collection.marked &= bits(list).fold(0, |records, pack| records | store.packs[pack]);
                collection.rewritten &= collection.marked;
            }
            Phase::ListForFence => {
                collection.sessions = store.sessions(|session| session.stage != Stage::Gone);
                collection.phase = Phase::Fence;
                if collection.sessions == 0 {
                    self.after_fence(store, &mut collection);
                }
            }
            Phase::Fence => {
                let session = &mut store.sessions[first(collection.sessions)];
                if session.stage == Stage::Open && (store.condemned.is_some() || session.is_dead) {
                    session.stage = Stage::Fenced;
                }
                if session.stage == Stage::Fenced && session.is_dead {
                    session.stage = Stage::Gone;
                }
                collection.sessions &= collection.sessions - 1;
                if collection.sessions == 0 {
                    self.after_fence(store, &mut collection);
                }
            }
            Phase::Delete => {
                if self.fault == Fault::LateRewriting {
                    collection.dead |= std::mem::take(&mut collection.wasteful);
                }
                if collection.dead != 0 {
                    store.delete(first(collection.dead));
                    collection.dead &= collection.dead - 1;
                }
                collection.phase = match (collection.dead, collection.wasteful) {
                    (0, 0) if self.fault != Fault::LateRewriting => Phase::Unlist,
                    (0, _) => Phase::RewriteSession,
                    _ => Phase::Delete,
                };
            }
            Phase::RewriteSession => {
                collection.session = store.free_session(WRITERS);
                store.sessions[usize::from(collection.session)].stage = Stage::Open;
                collection.phase = Phase::Rewrite;
            }
            Phase::Rewrite => {
                let condemned = store.condemned.unwrap_or(0);
                let staying = bits(store.there() & !condemned).fold(0, |all, pack| all | store.packs[pack]);
                // One at a time; a real collection takes as many as have some bytes.
                let next = collection.wasteful & collection.wasteful.wrapping_neg();
                let going = bits(next).fold(0, |all, pack| all | store.packs[pack]);
                let records = collection.rewritten & !staying;
                let records = if self.fault == Fault::LateRewriting { records } else { records & going };
                store.upload(usize::from(collection.session) * 2, records);
                collection.phase = Phase::EndRewriting;
            }
            Phase::EndRewriting => {
                store.sessions[usize::from(collection.session)].stage = Stage::Gone;
                collection.session = 0;
                collection.phase = Phase::DeleteRewritten;
            }
            Phase::DeleteRewritten => {
                if collection.wasteful != 0 {
                    store.delete(first(collection.wasteful));
                    collection.wasteful &= collection.wasteful - 1;
                }
                collection.phase = Phase::RewriteSession;
                if collection.wasteful == 0 {
                    collection.rewritten = 0;
                    collection.phase = Phase::Unlist;
                }
            }
            Phase::Unlist => {
                store.condemned = None;
                collection.phase = Phase::Idle;
            }
        }
        if collection.phase == Phase::Idle {
            collection = Collection::default();
        }
        store.collection = collection;
    }

    fn after_fence(&self, store: &Store, collection: &mut Collection) {
        collection.phase = match self.fault {
            _ if store.condemned.is_none() => Phase::Unlist,
            Fault::NoSecondMark => Phase::Delete,
            _ => self.first_roots(),
        };
    }

    /// Forgets what no process refers to any more, so that states which differ in nothing else are one.
    fn tidy(&self, store: &mut Store) {
        let finish = store.writers.iter().fold(store.collection.finish, |all, writer| all | writer.finish);
        for (number, session) in store.sessions.iter_mut().enumerate() {
            if session.stage == Stage::Gone && finish >> number & 1 == 0 {
                *session = Session::default();
            }
        }
        let left = store.sessions(|session| session.stage != Stage::Gone);
        store.removed.iter_mut().for_each(|removed| *removed &= left);
        if self.fault == Fault::TrustedIndex {
            return;
        }
        store.index = store.packs;
        let there = store.there();
        store.condemned = store.condemned.map(|packs| packs & there).filter(|&packs| packs != 0);
        for writer in &mut store.writers {
            writer.condemned &= there;
        }
    }

    /// Runs a writer alone. Returns whether it comes to the end of what it does.
    fn finishes(&self, store: &Store, number: usize) -> bool {
        let mut store = store.clone();
        for _ in 0..60 {
            if store.writers[number].step == Step::Idle {
                return true;
            }
            self.writer_step(&mut store, number, false);
        }
        false
    }

    /// Runs a collection alone, from its start to its end.
    fn collected(&self, store: &Store) -> Store {
        let mut store = store.clone();
        store.collection.phase = Phase::Finish;
        while store.collection.phase != Phase::Idle {
            self.collection_step(&mut store);
            self.tidy(&mut store);
        }
        store
    }
}

impl Model for Protocol {
    type State = Store;
    type Action = Action;

    fn init_states(&self) -> Vec<Store> {
        let mut store = Store {
            packs: [0; ALL_PACKS],
            index: [0; ALL_PACKS],
            sessions: [Session::default(); ALL_SESSIONS],
            tags: [None; NAMES],
            removed: [0; NAMES],
            condemned: None,
            writers: self.bounds.operations.map(|operations| Writer { operations, ..Writer::default() }),
            collection: Collection::default(),
            collections: self.bounds.collections,
            killed_writers: self.bounds.killed_writers,
            killed_collections: self.bounds.killed_collections,
            wrong: Wrong::default(),
        };
        // Garbage of the first object; or the same with a tag, so that it becomes garbage.
        store.upload(0, OBJECTS[0]);
        let mut tagged = store.clone();
        tagged.tags[0] = Some(0);
        vec![store, tagged]
    }

    fn actions(&self, store: &Store, actions: &mut Vec<Action>) {
        for (number, writer) in store.writers.iter().enumerate() {
            if writer.step == Step::Idle {
                if writer.operations > 0 {
                    actions.extend(self.operations.iter().map(|&operation| Action::Begin(number, operation)));
                }
                continue;
            }
            actions.push(Action::Step(number));
            if writer.step == Step::LookUp && self.bounds.stale_index {
                actions.push(Action::Miss(number));
            }
            if store.killed_writers > 0 && writer.step != Step::Open {
                actions.push(Action::Kill(number));
            }
        }
        match store.collection.phase {
            Phase::Idle if store.collections > 0 => actions.push(Action::Collect),
            Phase::Idle => {}
            _ => {
                actions.push(Action::CollectionStep);
                if store.killed_collections > 0 {
                    actions.push(Action::KillCollection);
                }
            }
        }
    }

    fn next_state(&self, last: &Store, action: Action) -> Option<Store> {
        let mut store = last.clone();
        match action {
            Action::Begin(number, operation) => {
                let writer = &mut store.writers[number];
                writer.operations -= 1;
                writer.operation = Some(operation);
                writer.step = Self::first_step(operation);
                writer.is_named = operation.object().is_some_and(|object| last.tags.contains(&Some(object)));
            }
            Action::Step(number) => {
                self.writer_step(&mut store, number, false);
                while self.bounds.is_coarse
                    && matches!(store.writers[number].step, Step::LookUp | Step::LookAgain)
                {
                    self.writer_step(&mut store, number, false);
                }
            }
            Action::Miss(number) => self.writer_step(&mut store, number, true),
            Action::Kill(number) => {
                store.killed_writers -= 1;
                let operations = store.writers[number].operations;
                store.writers[number] = Writer { step: Step::Open, operations, ..Writer::default() };
                for session in &mut store.sessions[number * SESSIONS + 1..][..SESSIONS] {
                    session.is_dead = true;
                }
            }
            Action::Collect => {
                store.collections -= 1;
                store.collection.phase = Phase::Finish;
            }
            Action::CollectionStep => {
                self.collection_step(&mut store);
                while self.bounds.is_coarse
                    && matches!(
                        store.collection.phase,
                        Phase::ReadSession
                            | Phase::ReadTag
                            | Phase::SpareSession
                            | Phase::DeleteRewritten
                            | Phase::Fence
                            | Phase::Delete
                    )
                {
                    self.collection_step(&mut store);
                }
            }
            Action::KillCollection => {
                store.killed_collections -= 1;
                for session in &mut store.sessions[WRITERS * SESSIONS + 1..][..SESSIONS] {
                    session.is_dead = true;
                }
                store.collection = Collection::default();
            }
        }
        self.tidy(&mut store);
        Some(store)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(COMPLETE, |_: &Self, store: &Store| {
                let commits = store.sessions.iter().filter(|session| session.stage == Stage::Committed);
                commits.clone().all(|session| store.has(session.commit.record()))
                    && commits
                        .map(|session| session.commit.object)
                        .chain(store.tags.iter().copied().flatten())
                        .all(|object| store.has(OBJECTS[usize::from(object)]))
            }),
            Property::always(LOST_TAG, |_: &Self, store: &Store| !store.wrong.lost_tag),
            Property::always(LATE_TAG, |_: &Self, store: &Store| !store.wrong.late_tag),
            Property::always(SECOND_TAG, |_: &Self, store: &Store| !store.wrong.second_tag),
            Property::always(LOST_UPLOAD, |_: &Self, store: &Store| !store.wrong.lost_upload),
            Property::always(REFUSED, |_: &Self, store: &Store| !store.wrong.refused),
            Property::always(PROGRESS, |model: &Self, store: &Store| {
                (0..WRITERS).all(|number| model.finishes(store, number))
            }),
            Property::always(GARBAGE, |model: &Self, store: &Store| {
                let is_quiet = store.collection.phase == Phase::Idle
                    && store.writers.iter().all(|writer| writer.step == Step::Idle);
                if !is_quiet {
                    return true;
                }
                let store = model.collected(store);
                let objects = store.tags.iter().copied().flatten();
                let needed = objects.fold(0, |all, object| all | OBJECTS[usize::from(object)]);
                store.there() == store.packs_with(needed) && store.condemned.is_none()
            }),
            // So that the model is about something.
            Property::sometimes(SEEN[0], |_: &Self, store: &Store| {
                store.writers.iter().any(|writer| {
                    writer.step == Step::SetTag && store.sessions[usize::from(writer.session)].continues != 0
                })
            }),
            Property::sometimes(SEEN[1], |_: &Self, store: &Store| {
                store.writers.iter().any(|writer| writer.step == Step::Abandon)
            }),
            Property::sometimes(SEEN[2], |_: &Self, store: &Store| {
                let Collection { phase, packs, marked, dead, .. } = store.collection;
                phase == Phase::Condemn && packs & !store.packs_with(marked) & !dead != 0
            }),
            Property::sometimes(SEEN[3], |_: &Self, store: &Store| {
                store.collection.phase == Phase::EndRewriting
            }),
        ]
    }
}

const COMPLETE: &str = "what is committed is complete";
const LOST_TAG: &str = "what a put returned has its tag";
const LATE_TAG: &str = "a session that has ended sets no tag";
const SECOND_TAG: &str = "a session sets its tag once";
const LOST_UPLOAD: &str = "what is uploaded stays until the commit";
const REFUSED: &str = "an object that has a tag gets another";
const PROGRESS: &str = "a writer finishes, whatever others do not do";
const GARBAGE: &str = "the next collection takes all garbage";

/// What happens in some order of steps.
const SEEN: [&str; 4] = [
    "a fenced writer commits what it finds again",
    "a fenced writer puts again",
    "a collection spares an upload",
    "a collection rewrites a pack",
];

fn puts_and_untags() -> Vec<Operation> {
    vec![
        Operation::Put { name: 0, object: 0 },
        Operation::Put { name: 1, object: 1 },
        Operation::Untag { name: 0 },
    ]
}

fn puts_and_tags() -> Vec<Operation> {
    vec![
        Operation::Put { name: 1, object: 0 },
        Operation::Tag { name: 0, object: 0 },
        Operation::Untag { name: 0 },
        Operation::Untag { name: 1 },
    ]
}

/// Explores everything within bounds. Fails if something goes wrong, or if `seen` never happens.
fn explore(bounds: Bounds, operations: Vec<Operation>, seen: &[&'static str]) {
    let model = Protocol { fault: Fault::None, bounds, operations };
    let checker = model.checker().threads(2).spawn_bfs().join();
    println!("{} states, {} steps deep, {bounds:?}", checker.unique_state_count(), checker.max_depth());
    for (property, path) in checker.discoveries() {
        assert!(SEEN.contains(&property), "not {property:?} after {:?}", path.into_actions());
    }
    for property in seen {
        checker.assert_any_discovery(property);
    }
}

/// Checks that a fault is found, by a certain property.
fn is_found(fault: Fault, bounds: Bounds, operations: Vec<Operation>, property: &'static str) {
    let model = Protocol { fault, bounds, operations };
    let found = HasDiscoveries::AnyOf([property].into());
    let checker = model.checker().threads(2).finish_when(found).spawn_bfs().join();
    let states = checker.unique_state_count();
    let path = checker.discovery(property).unwrap_or_else(|| panic!("{fault:?}: nothing in {states} states"));
    println!("{fault:?}: not {property:?} after {:?}", path.into_actions());
}

#[test]
fn nothing_goes_wrong_in_any_order_of_steps() {
    explore(Bounds::default(), puts_and_untags(), &SEEN);
}

#[test]
fn an_object_that_has_a_tag_gets_others() {
    explore(Bounds::default(), puts_and_tags(), &SEEN[..3]);
}

#[test]
fn a_writer_that_is_killed_does_no_harm() {
    explore(Bounds { killed_writers: 1, is_coarse: true, ..Bounds::default() }, puts_and_untags(), &SEEN);
}

#[test]
fn a_collection_that_is_killed_does_no_harm() {
    let bounds = Bounds { collections: 2, killed_collections: 1, is_coarse: true, ..Bounds::default() };
    let operations = vec![Operation::Put { name: 0, object: 0 }, Operation::Untag { name: 0 }];
    explore(bounds, operations, &SEEN[..3]);
}

#[test]
#[ignore = "takes minutes"]
fn nothing_goes_wrong_within_larger_bounds() {
    let bounds = Bounds { is_coarse: true, ..Bounds::default() };
    for bounds in [
        Bounds { operations: [2, 1], ..Bounds::default() },
        Bounds { stale_index: true, ..Bounds::default() },
        Bounds { operations: [2, 2], ..bounds },
        Bounds { collections: 2, killed_collections: 1, ..bounds },
        Bounds { collections: 2, killed_writers: 1, ..bounds },
    ] {
        explore(bounds, puts_and_untags(), &SEEN);
    }
}

#[test]
fn each_part_of_the_protocol_is_needed() {
    for fault in [
        Fault::NoFence,
        Fault::NoSecondMark,
        Fault::NoSessions,
        Fault::TagsFirst,
        Fault::NoList,
        Fault::IgnoredFence,
        Fault::NoSecondLook,
    ] {
        is_found(fault, Bounds::default(), puts_and_untags(), COMPLETE);
    }
    let twice = Bounds { operations: [2, 1], ..Bounds::default() };
    is_found(Fault::TrustedIndex, twice, puts_and_untags(), COMPLETE);
    is_found(Fault::NoSparing, Bounds::default(), puts_and_untags(), LOST_UPLOAD);
    let coarse = Bounds { is_coarse: true, ..Bounds::default() };
    is_found(Fault::NoSparingOfFenced, Bounds { collections: 2, ..coarse }, puts_and_untags(), LOST_UPLOAD);
    is_found(Fault::RefusedTags, coarse, puts_and_tags(), REFUSED);
    is_found(Fault::LateRewriting, coarse, puts_and_untags(), COMPLETE);
    is_found(Fault::NoSecondMarkForRewriting, coarse, puts_and_untags(), COMPLETE);
    let killed = Bounds { operations: [2, 1], killed_writers: 1, ..coarse };
    is_found(Fault::NoClaims, killed, puts_and_untags(), LATE_TAG);
    let killed = Bounds { killed_writers: 1, ..coarse };
    is_found(Fault::NoTraces, killed, puts_and_untags(), SECOND_TAG);
    let puts = (0..2).map(|object| Operation::Put { name: 0, object }).collect();
    is_found(Fault::NoVersions, killed, puts, SECOND_TAG);
}
