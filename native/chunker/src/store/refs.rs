//! Names of objects: tags, which users choose, and marks that keep objects without a tag.
//!
//! Both are small objects that name the id of an object. They are, with sessions, all that changes in a
//! store.

use super::check::Damage;
use super::error::StoreError;
use super::objects::Objects;
use super::text::{self, Lines};
use crate::error::Error;
use crate::hash::Digest;

/// The folder of the tags, and of the marks.
const TAGS: &str = "refs";
const KEPT: &str = "kept";
pub(super) const FOLDERS: [&str; 2] = [TAGS, KEPT];

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

fn content(id: &Digest) -> Vec<u8> {
    text::write([("id", hex(id))])
}

fn read(object: &str, content: &[u8]) -> Result<Digest, StoreError> {
    Lines::read(object, content)?.one("id", from_hex)
}

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

/// Returns the id that a tag names.
pub(super) fn tag(objects: &dyn Objects, name: &str) -> Result<Option<Digest>, Error> {
    let object = tag_object(name)?;
    Ok(objects.get(&object)?.map(|content| read(&object, &content)).transpose()?)
}

/// Returns the id that a tag names, or `None` if it is damaged and names nothing.
pub(super) fn readable_tag(objects: &dyn Objects, name: &str) -> Result<Option<Digest>, Error> {
    match tag(objects, name) {
        Err(Error::Store(StoreError::Corrupt { .. })) => Ok(None),
        tag => tag,
    }
}

/// Sets a tag, or removes it, durably from the next flush on. One that is damaged counts as none. Returns whether
/// there was any.
pub(super) fn set(
    objects: &dyn Objects,
    name: &str,
    id: Option<&Digest>,
    condition: If,
) -> Result<bool, Error> {
    let object = tag_object(name)?;
    loop {
        let current = objects.get(&object)?;
        let named = current.as_ref().and_then(|content| read(&object, content).ok());
        let holds = match condition {
            If::Any => true,
            If::Absent => named.is_none(),
            If::Is(id) => named == Some(id),
        };
        if !holds {
            return Err(StoreError::AlreadyExists { name: name.into() }.into());
        }
        if objects.exchange(&object, current.as_deref(), id.map(content).as_deref())? {
            return Ok(current.is_some());
        }
    }
}

/// Checks the form of a name.
pub(super) fn check_name(name: &str) -> Result<(), StoreError> {
    tag_object(name).map(drop)
}

/// Keeps an object without a tag, durably from the next flush on.
pub(super) fn keep(objects: &dyn Objects, id: &Digest) -> Result<(), Error> {
    let (object, content) = (kept_object(id), content(id));
    loop {
        // It may be damaged.
        let current = objects.get(&object)?;
        if current.as_ref() == Some(&content)
            || objects.exchange(&object, current.as_deref(), Some(&content))?
        {
            return Ok(());
        }
    }
}

/// Lets an object go that is kept without a tag, durably. Returns whether it was kept.
pub(super) fn forget(objects: &dyn Objects, id: &Digest) -> Result<bool, Error> {
    let object = kept_object(id);
    match objects.get(&object)? {
        Some(content) => objects.compare_and_set(&object, Some(&content), None),
        None => Ok(false),
    }
}

/// Returns all tags whose names begin with `prefix`, in the order of their names.
pub(super) fn tags(objects: &dyn Objects, prefix: &str) -> Result<Vec<(String, Digest)>, Error> {
    let mut tags = Vec::new();
    for (object, name) in tag_objects(objects)? {
        // It may have been removed since.
        if name.starts_with(prefix)
            && let Some(content) = objects.get(&object)?
        {
            tags.push((name, read(&object, &content)?));
        }
    }
    tags.sort();
    Ok(tags)
}

fn tag_objects(objects: &dyn Objects) -> Result<Vec<(String, String)>, Error> {
    let objects = objects.list_at_once(TAGS)?.into_iter();
    Ok(objects.filter_map(|object| tag_name(&object).map(|name| (object, name))).collect())
}

/// Returns the objects that are kept without a tag.
pub(super) fn kept(objects: &dyn Objects) -> Result<Vec<Digest>, Error> {
    let mut ids = Vec::new();
    for object in objects.list_at_once(KEPT)? {
        if let Some(content) = objects.get(&object)? {
            ids.push(read(&object, &content)?);
        }
    }
    Ok(ids)
}

/// Returns all tags that can be read, and reports the others.
pub(super) fn readable_tags(
    objects: &dyn Objects,
    report: &mut dyn FnMut(Damage),
) -> Result<Vec<(String, Digest)>, Error> {
    let mut tags = Vec::new();
    for (object, name) in tag_objects(objects)? {
        let Some(content) = objects.get(&object)? else { continue };
        match read(&object, &content) {
            Ok(id) => tags.push((name, id)),
            Err(_) => report(Damage { object, offset: None, why: "tag" }),
        }
    }
    Ok(tags)
}

/// Returns all kept objects that can be read, and reports the others.
pub(super) fn readable_kept(
    objects: &dyn Objects,
    report: &mut dyn FnMut(Damage),
) -> Result<Vec<Digest>, Error> {
    let mut ids = Vec::new();
    for object in objects.list_at_once(KEPT)? {
        let Some(content) = objects.get(&object)? else { continue };
        match read(&object, &content) {
            Ok(id) => ids.push(id),
            Err(_) => report(Damage { object, offset: None, why: "kept_object" }),
        }
    }
    Ok(ids)
}
