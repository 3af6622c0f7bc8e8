//! Sessions: the objects by which writers and a garbage collection see each other.
//!
//! A writer creates its session before anything else, and commits by setting it from `open` to `committed`. A
//! collection fences sessions that were open before it decided what to delete, by setting them to `fenced`:
//! those writers cannot commit what they found present, and look again.

use super::check::{Damage, Unreadable};
use super::error::{StoreError, is_unwritable};
use super::objects::{Lock, Objects};
use super::refs::{from_hex, hex};
use super::text::{self, Lines};
use crate::error::{Error, IoError};
use crate::hash::Digest;

/// The folder of the sessions.
pub(super) const FOLDER: &str = "sessions";

/// The state of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Its writer may write.
    Open,
    /// The objects of this commit are in the store. Their tags may not yet be set.
    Committed(Digest),
    /// Its writer cannot commit.
    Fenced,
}

/// A session as it is in the store.
#[derive(Debug, Clone)]
pub(super) struct Session {
    /// The random id, which the packs of the session have in their headers.
    pub(super) id: [u8; 16],
    pub(super) state: State,
    /// The ids of fenced sessions which this one continues, and whose packs it uses.
    pub(super) continues: Vec<[u8; 16]>,
    /// Who writes, so that a collection finds out whether it has ended.
    owner: String,
}

impl Session {
    /// Creates a session, durably.
    pub(super) fn create(objects: &dyn Objects, continues: Vec<[u8; 16]>) -> Result<Self, Error> {
        let mut id = [0; 16];
        getrandom::fill(&mut id)
            .map_err(|error| IoError { path: None, source: std::io::Error::other(error) })?;
        let session = Self { id, state: State::Open, continues, owner: objects.owner()? };
        if objects.compare_and_set(&session.object(), None, Some(&session.content()))? {
            Ok(session)
        } else {
            Err(StoreError::SessionFenced.into())
        }
    }

    fn object(&self) -> String {
        object(&self.id)
    }

    fn content(&self) -> Vec<u8> {
        let state = match self.state {
            State::Open => "open",
            State::Committed(_) => "committed",
            State::Fenced => "fenced",
        };
        let mut lines = vec![("state", state.to_owned()), ("owner", self.owner.clone())];
        lines.extend(self.continues.iter().map(|id| ("continues", id_text(id))));
        if let State::Committed(commit) = self.state {
            lines.push(("commit", hex(&commit)));
        }
        text::write(lines)
    }

    fn read(object: &str, content: &[u8]) -> Result<Self, StoreError> {
        let lines = Lines::read(object, content)?;
        let corrupt = |why| StoreError::corrupt(object, None, why);
        let id = object.rsplit('/').next().and_then(read_id).ok_or_else(|| corrupt("session_name"))?;
        let state = match lines.one("state", |state| Some(state.to_owned()))?.as_str() {
            "open" => State::Open,
            "committed" => State::Committed(lines.one("commit", from_hex)?),
            "fenced" => State::Fenced,
            _ => return Err(corrupt("state")),
        };
        let continues = lines.all("continues").map(read_id).collect::<Option<_>>();
        let owner = lines.one("owner", |owner| Some(owner.to_owned()))?;
        Ok(Self { id, state, continues: continues.ok_or_else(|| corrupt("continues"))?, owner })
    }

    /// Returns all sessions.
    pub(super) fn all(objects: &dyn Objects, unreadable: &mut Unreadable<'_>) -> Result<Vec<Self>, Error> {
        let mut sessions = Vec::new();
        for object in objects.list_at_once(FOLDER)? {
            // It may have ended since.
            let Some(content) = objects.get(&object)? else { continue };
            match Self::read(&object, &content) {
                Ok(session) => sessions.push(session),
                Err(error) => unreadable(Damage { object, offset: None, why: "session" }, error)?,
            }
        }
        Ok(sessions)
    }

    /// Returns whether any of some sessions has not ended.
    pub(super) fn is_any_left(objects: &dyn Objects, ids: &[[u8; 16]]) -> Result<bool, Error> {
        for id in ids {
            if objects.length(&object(id))?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Sets the state unless another process has changed the session, and returns whether it was set.
    pub(super) fn set(&mut self, objects: &dyn Objects, state: State) -> Result<bool, Error> {
        let new = Self { state, ..self.clone() };
        let changed = objects.compare_and_set(&self.object(), Some(&self.content()), Some(&new.content()))?;
        if changed {
            *self = new;
        }
        Ok(changed)
    }

    /// Returns a lock if its writer has ended, which keeps others from finishing the session. If the lock cannot be
    /// made, the writer counts as alive.
    pub(super) fn claim(&self, objects: &dyn Objects) -> Result<Option<Lock>, Error> {
        match objects.claim(&self.owner) {
            Err(error) if is_unwritable(&error) => Ok(None),
            claimed => claimed,
        }
    }

    /// Returns the session as it is now, unless it has ended.
    pub(super) fn again(&self, objects: &dyn Objects) -> Result<Option<Self>, Error> {
        let object = self.object();
        Ok(objects.get(&object)?.map(|content| Self::read(&object, &content)).transpose()?)
    }

    /// Removes the session after a collection has fenced it.
    pub(super) fn end_fenced(&self, objects: &dyn Objects) -> Result<(), Error> {
        Self { state: State::Fenced, ..self.clone() }.end(objects)
    }

    /// Removes a session that has not committed.
    pub(super) fn abandon(&self, objects: &dyn Objects) -> Result<(), Error> {
        self.end(objects)?;
        self.end_fenced(objects)
    }

    /// Removes the session, unless its state has changed.
    pub(super) fn end(&self, objects: &dyn Objects) -> Result<(), Error> {
        objects.compare_and_set(&self.object(), Some(&self.content()), None).map(drop)
    }
}

fn object(id: &[u8; 16]) -> String {
    format!("{FOLDER}/{}", id_text(id))
}

pub(super) fn id_text(id: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*id))
}

pub(super) fn read_id(text: &str) -> Option<[u8; 16]> {
    (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)).flatten()
}

/// What a session commits: the objects, and the tags that are set afterwards.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Commit {
    /// The ids of all objects.
    pub(super) objects: Vec<Digest>,
    pub(super) tags: Vec<NewTag>,
}

/// A tag that a commit sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NewTag {
    pub(super) name: String,
    pub(super) id: Digest,
    /// The version that it had before the commit. If it has another one by the time that it is set, it was changed
    /// after the commit, and stays.
    pub(super) before: Option<Digest>,
}

/// The most lines of a record of a commit, which keeps it far below the longest record.
const MOST_LINES: usize = 20_000;

impl Commit {
    /// Passes the records of the commit to `write`, which returns their digests, and returns that of the commit: of
    /// the only record, or of a list of all.
    pub(super) fn write(
        &self,
        write: &mut dyn FnMut(&[u8]) -> Result<Digest, Error>,
    ) -> Result<Digest, Error> {
        let objects = self.objects.iter().map(|id| ("object", hex(id)));
        // A name may have spaces, and has no line breaks.
        let tags = self.tags.iter().map(|NewTag { name, id, before }| {
            let before = before.as_ref().map_or("none".into(), hex);
            ("tag", format!("{} {before} {name}", hex(id)))
        });
        let lines: Vec<_> = objects.chain(tags).collect();
        if lines.len() <= MOST_LINES {
            return write(&text::write(lines));
        }
        let mut parts = Vec::new();
        for lines in lines.chunks(MOST_LINES) {
            parts.push(("part", hex(&write(&text::write(lines.iter().cloned()))?)));
        }
        write(&text::write(parts))
    }

    /// Reads a record of a commit, and appends the digests of others that it lists to `parts`.
    pub(super) fn read(&mut self, bytes: &[u8], parts: &mut Vec<Digest>) -> Result<(), StoreError> {
        let corrupt = || StoreError::corrupt("a commit", None, "no_commit");
        let lines = Lines::read("a commit", bytes)?;
        for part in lines.all("part") {
            parts.push(from_hex(part).ok_or_else(corrupt)?);
        }
        for object in lines.all("object") {
            self.objects.push(from_hex(object).ok_or_else(corrupt)?);
        }
        for tag in lines.all("tag") {
            let tag = || {
                let mut parts = tag.splitn(3, ' ');
                let id = from_hex(parts.next()?)?;
                let before = match parts.next()? {
                    "none" => None,
                    before => Some(from_hex(before)?),
                };
                Some(NewTag { name: parts.next()?.to_owned(), id, before })
            };
            self.tags.push(tag().ok_or_else(corrupt)?);
        }
        Ok(())
    }
}
