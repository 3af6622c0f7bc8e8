//! Names of objects: tags, which users choose, and marks that keep objects without a tag.
//!
//! Both are small objects that name the id of an object. They are, with sessions, all that changes in a
//! store.

use super::check::{Damage, Unreadable, fails, ignores};
use super::error::StoreError;
use super::objects::Objects;
use super::session::{self, Commit, Session, State, id_text, read_id};
use super::text::{self, Lines};
use crate::error::Error;
use crate::hash::Digest;

/// The folder of the tags, and of the marks.
const TAGS: &str = "refs";
const KEPT: &str = "kept";
pub(super) const FOLDERS: [&str; 2] = [TAGS, KEPT];

/// What a check calls one that is damaged.
const TAG: &str = "tag";
const MARK: &str = "kept_object";

/// The longest name, and the longest component of one as it is in the name of an object, in bytes.
const LONGEST: usize = 1024;
const LONGEST_PART: usize = 240;

/// The end of the last component in the name of an object, so that the tag `a` can stand beside the tag
/// `a/b`.
const END: char = '=';

/// Returns the object of a tag. Components are kept as they are except bytes that file systems or URLs may
/// change.
fn tag_object(name: &str) -> Result<String, StoreError> {
    let invalid = |why| StoreError::InvalidName { name: name.into(), why };
    if name.is_empty() || name.len() > LONGEST {
        return Err(invalid("1 to 1,024 bytes"));
    }
    let mut object = String::from(TAGS);
    for part in name.split('/') {
        if part.is_empty() {
            return Err(invalid("components that are not empty, separated by /"));
        }
        if part.chars().any(char::is_control) {
            return Err(invalid("no control characters"));
        }
        object.push('/');
        let start = object.len();
        for (place, byte) in part.bytes().enumerate() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'+' | b'@' | b':' | b',' => {
                    object.push(byte.into());
                }
                b'.' if place > 0 => object.push('.'),
                byte => object.push_str(&format!("%{byte:02X}")),
            }
        }
        if object.len() - start > LONGEST_PART {
            return Err(invalid(
                "components of at most 240 bytes, where each but letters, digits and -_+@:,. counts three times",
            ));
        }
    }
    object.push(END);
    Ok(object)
}

/// Returns the name of a tag by its object.
fn tag_name(object: &str) -> Option<String> {
    let encoded = object.strip_prefix(TAGS)?.strip_prefix('/')?.strip_suffix(END)?;
    let mut bytes = Vec::new();
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

fn kept_object(id: &Digest) -> String {
    let hex = hex(id);
    format!("{KEPT}/{}/{hex}", &hex[..2])
}

/// Returns a digest in hexadecimal.
pub(super) fn hex(digest: &Digest) -> String {
    blake3::Hash::from_bytes(digest.0).to_hex().to_string()
}

/// Returns the digest that a text of 64 hexadecimal digits stands for.
pub(super) fn from_hex(text: &str) -> Option<Digest> {
    blake3::Hash::from_hex(text).ok().map(|hash| Digest(*hash.as_bytes()))
}

/// What a tag or the mark of an object is.
enum Name {
    /// It names an object, or keeps it.
    Named(Digest),
    /// It was removed while sessions were committed that may have set it, and that may not be finished. A process
    /// that finishes one of these does not set it again.
    Removed(Vec<[u8; 16]>),
}

/// Returns the content of a tag. It has the session that sets it, so that no two versions of a tag are equal.
fn content(id: &Digest, session: Option<&[u8; 16]>) -> Vec<u8> {
    let session = session.map(|session| ("session", id_text(session)));
    text::write([("id", hex(id))].into_iter().chain(session))
}

impl Name {
    fn read(object: &str, content: &[u8]) -> Result<Self, StoreError> {
        let lines = Lines::read(object, content)?;
        let removed = lines.all("removed").map(read_id).collect::<Option<Vec<_>>>();
        match removed.ok_or_else(|| StoreError::corrupt(object, None, "removed"))? {
            sessions if sessions.is_empty() => lines.one("id", from_hex).map(Self::Named),
            sessions => Ok(Self::Removed(sessions)),
        }
    }

    fn named(self) -> Option<Digest> {
        match self {
            Self::Named(id) => Some(id),
            Self::Removed(_) => None,
        }
    }

    /// Removes a tag or a mark whose content is `current`, durably from the next flush on, unless it has changed.
    /// `concerns` returns whether a commit names it. Returns whether it was removed.
    fn remove(
        objects: &dyn Objects,
        object: &str,
        current: &[u8],
        concerns: &dyn Fn(&Digest) -> bool,
    ) -> Result<bool, Error> {
        // After the content was read: a session that has set it is in the list, or has ended.
        let sessions = Session::all(objects, &mut ignores)?;
        // Others never set it. Without them, nothing needs to be written, for which a full disk has no room.
        let concerned = sessions
            .iter()
            .filter(|session| matches!(&session.state, State::Committed(commit) if concerns(commit)));
        let removed: Vec<_> = concerned.map(|session| ("removed", id_text(&session.id))).collect();
        // One that has ended does not come back after a power cut.
        objects.settle(session::FOLDER)?;
        let removed = (!removed.is_empty()).then(|| text::write(removed));
        objects.exchange(object, Some(current), removed.as_deref())
    }
}

/// What a commit may name.
pub(super) enum Subject<'a> {
    /// A tag.
    Tag(&'a str),
    /// An object that is kept without one.
    Kept(&'a Digest),
}

impl Subject<'_> {
    /// Returns whether a commit names it.
    pub(super) fn is_in(&self, commit: &Commit) -> bool {
        match self {
            Self::Tag(name) => commit.tags.iter().any(|tag| tag.name == *name),
            Self::Kept(id) => commit.objects.contains(id),
        }
    }
}

/// Returns whether the commit of a digest names something, or may if it cannot be read.
pub(super) type Concerns<'a> = dyn Fn(&Digest, &Subject<'_>) -> bool + 'a;

/// What a tag must be for it to be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum If {
    /// Anything.
    Any,
    /// There is none.
    Absent,
    /// It names this object.
    Is(Digest),
}

impl If {
    /// Returns whether it holds for what a tag names.
    pub(super) fn holds(self, id: Option<Digest>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => id.is_none(),
            Self::Is(expected) => id == Some(expected),
        }
    }
}

/// Returns the id that a tag names.
pub(super) fn tag(objects: &dyn Objects, name: &str) -> Result<Option<Digest>, Error> {
    let object = tag_object(name)?;
    let Some(content) = objects.get(&object)? else { return Ok(None) };
    Ok(Name::read(&object, &content)?.named())
}

/// What a tag is before a session changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Before {
    /// The id that it names. One that is damaged names nothing.
    pub(super) id: Option<Digest>,
    /// The BLAKE3 of its content, which no tag of this name has again, or `None` if it names nothing.
    pub(super) version: Option<Digest>,
}

/// Returns what a tag is.
pub(super) fn before(objects: &dyn Objects, name: &str) -> Result<Before, Error> {
    let object = tag_object(name)?;
    let content = objects.get(&object)?;
    let id = content.as_ref().and_then(|content| Name::read(&object, content).ok()).and_then(Name::named);
    let version = content.filter(|_| id.is_some()).map(|content| version(&content));
    Ok(Before { id, version })
}

fn version(content: &[u8]) -> Digest {
    Digest(*blake3::hash(content).as_bytes())
}

/// Sets a tag for a committed session, durably from the next flush on, if it still is what it was before the
/// commit, of which `version` is the version. Returns whether it was set.
pub(super) fn set(
    objects: &dyn Objects,
    session: &[u8; 16],
    name: &str,
    id: &Digest,
    before: Option<Digest>,
) -> Result<bool, Error> {
    let object = tag_object(name)?;
    loop {
        let current = objects.get(&object)?;
        let is_as_before = match &current {
            None => before.is_none(),
            Some(content) => match Name::read(&object, content) {
                Ok(Name::Named(_)) => before == Some(version(content)),
                Ok(Name::Removed(sessions)) => before.is_none() && !sessions.contains(session),
                Err(_) => before.is_none(),
            },
        };
        if !is_as_before {
            return Ok(false);
        }
        if objects.exchange(&object, current.as_deref(), Some(&content(id, Some(session))))? {
            return Ok(true);
        }
    }
}

/// Removes a tag, durably from the next flush on. One that is damaged names nothing. Returns whether there was
/// any.
pub(super) fn remove(
    objects: &dyn Objects,
    name: &str,
    condition: If,
    concerns: &Concerns<'_>,
) -> Result<bool, Error> {
    let object = tag_object(name)?;
    loop {
        let current = objects.get(&object)?;
        let named = current.as_ref().map(|content| Name::read(&object, content));
        let is_there = !matches!(named, None | Some(Ok(Name::Removed(_))));
        let id = named.and_then(Result::ok).and_then(Name::named);
        if !condition.holds(id) {
            return Err(StoreError::AlreadyExists { name: name.into() }.into());
        }
        let Some(current) = current.filter(|_| is_there) else { return Ok(false) };
        if Name::remove(objects, &object, &current, &|commit| concerns(commit, &Subject::Tag(name)))? {
            return Ok(true);
        }
    }
}

/// Checks the form of a name.
pub(super) fn check_name(name: &str) -> Result<(), StoreError> {
    tag_object(name).map(drop)
}

/// Keeps an object without a tag, durably from the next flush on, unless it was let go since the session was
/// committed for which this is done, if there is one.
pub(super) fn keep(objects: &dyn Objects, session: Option<&[u8; 16]>, id: &Digest) -> Result<(), Error> {
    let object = kept_object(id);
    loop {
        let current = objects.get(&object)?;
        match current.as_ref().map(|content| Name::read(&object, content)) {
            Some(Ok(Name::Named(named))) if named == *id => return Ok(()),
            Some(Ok(Name::Removed(sessions))) if session.is_some_and(|id| sessions.contains(id)) => {
                return Ok(());
            }
            // It may be damaged.
            _ => {}
        }
        if objects.exchange(&object, current.as_deref(), Some(&content(id, session)))? {
            return Ok(());
        }
    }
}

/// Lets an object go that is kept without a tag, durably. Returns whether it was kept.
pub(super) fn forget(objects: &dyn Objects, id: &Digest, concerns: &Concerns<'_>) -> Result<bool, Error> {
    let object = kept_object(id);
    loop {
        let Some(current) = objects.get(&object)? else { return Ok(false) };
        if let Ok(Name::Removed(_)) = Name::read(&object, &current) {
            return Ok(false);
        }
        if Name::remove(objects, &object, &current, &|commit| concerns(commit, &Subject::Kept(id)))? {
            objects.flush()?;
            return Ok(true);
        }
    }
}

/// Removes what is left of tags and marks that were removed, and whose sessions have ended. `removed` are from
/// [`roots`].
pub(super) fn clean(objects: &dyn Objects, removed: &[String]) -> Result<(), Error> {
    for object in removed {
        let Some(content) = objects.get(object)? else { continue };
        let Ok(Name::Removed(sessions)) = Name::read(object, &content) else { continue };
        if !Session::is_any_left(objects, &sessions)? {
            // As when it was removed.
            objects.settle(session::FOLDER)?;
            objects.exchange(object, Some(&content), None)?;
        }
    }
    Ok(())
}

/// Returns the objects that tags name or that are kept without one, and the names of the objects that are left of
/// tags and marks that were removed.
pub(super) fn roots(objects: &dyn Objects) -> Result<(Vec<Digest>, Vec<String>), Error> {
    let (mut ids, mut removed) = (Vec::new(), Vec::new());
    let mut take = |object, name| match name {
        Name::Named(id) => ids.push(id),
        Name::Removed(_) => removed.push(object),
    };
    each(objects, tag_objects(objects, "")?, TAG, &mut fails, &mut take)?;
    each(objects, objects.list_at_once(KEPT)?, MARK, &mut fails, &mut take)?;
    Ok((ids, removed))
}

/// Returns all tags whose names begin with `prefix`, in the order of their names.
pub(super) fn tags(
    objects: &dyn Objects,
    prefix: &str,
    unreadable: &mut Unreadable<'_>,
) -> Result<Vec<(String, Digest)>, Error> {
    let mut tags = Vec::new();
    each(objects, tag_objects(objects, prefix)?, TAG, unreadable, &mut |object, name| {
        tags.extend(tag_name(&object).zip(name.named()));
    })?;
    tags.sort();
    Ok(tags)
}

fn tag_objects(objects: &dyn Objects, prefix: &str) -> Result<Vec<String>, Error> {
    let mut tags = objects.list_at_once(TAGS)?;
    tags.retain(|object| tag_name(object).is_some_and(|name| name.starts_with(prefix)));
    Ok(tags)
}

/// Returns the objects that are kept without a tag.
pub(super) fn kept(objects: &dyn Objects, unreadable: &mut Unreadable<'_>) -> Result<Vec<Digest>, Error> {
    let mut ids = Vec::new();
    each(objects, objects.list_at_once(KEPT)?, MARK, unreadable, &mut |_, name| ids.extend(name.named()))?;
    Ok(ids)
}

/// Calls `take` with each of some tags or marks that can be read, and `unreadable` with the others.
fn each(
    objects: &dyn Objects,
    names: Vec<String>,
    why: &'static str,
    unreadable: &mut Unreadable<'_>,
    take: &mut dyn FnMut(String, Name),
) -> Result<(), Error> {
    for object in names {
        // It may have been removed since.
        let Some(content) = objects.get(&object)? else { continue };
        match Name::read(&object, &content) {
            Ok(name) => take(object, name),
            Err(error) => unreadable(Damage { object, offset: None, why }, error)?,
        }
    }
    Ok(())
}
