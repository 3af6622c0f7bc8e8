//! Represents the paths of entries in memory proportional to their names.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::parser::{Kind, Node};

/// The path of an entry: the names that lead to it from the root.
///
/// Entries share the path of their directory. Without that, an entry of 200 bytes in the NAR could take 16
/// KiB of memory, for the longest possible path of 63 names of 255 bytes.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct EntryPath {
    /// `None` in the root directory.
    directory: Option<Arc<Directory>>,
    /// Empty for the root.
    name: Name,
}

/// The path of a directory below the root, which its entries share. Its depth is bounded by that of a NAR, so
/// recursive code, such as the destructor, does not exhaust the stack.
#[derive(PartialEq, Eq)]
struct Directory {
    path: EntryPath,
    depth: usize,
    length: usize,
}

/// A name. Most are short and need no allocation, which would double what an entry costs while a NAR is chunked.
#[derive(Clone)]
enum Name {
    Short { length: u8, bytes: [u8; SHORT] },
    Long(Box<[u8]>),
}

/// The longest name, in bytes, that is as large as a pointer, a length and the tag.
const SHORT: usize = 22;

impl EntryPath {
    /// The path of the root, which has no names.
    pub const ROOT: Self = Self { directory: None, name: Name::EMPTY };

    /// Returns the number of names.
    #[must_use]
    pub fn depth(&self) -> usize {
        let directory = self.directory.as_ref().map_or(0, |directory| directory.depth);
        directory + usize::from(!self.is_root())
    }

    /// Returns the length in bytes, with `/` between the names.
    #[must_use]
    pub fn length(&self) -> usize {
        let directory = self.directory.as_ref().map_or(0, |directory| directory.length + 1);
        directory + self.name.len()
    }

    /// Returns whether this is the path of the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.name.is_empty()
    }

    /// Returns the last name and the path of its directory, or `None` for the root.
    #[must_use]
    pub fn split_last(&self) -> Option<(&[u8], &Self)> {
        static ROOT: EntryPath = EntryPath::ROOT;
        let directory = self.directory.as_ref().map_or(&ROOT, |directory| &directory.path);
        (!self.is_root()).then_some((&*self.name, directory))
    }

    /// Returns whether both are paths of the same entry, if both are paths in one NAR. Names in a directory
    /// differ, so no more than the last one is compared.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        let same_directory = match (&self.directory, &other.directory) {
            (Some(directory), Some(other)) => Arc::ptr_eq(directory, other),
            (directory, other) => directory.is_none() && other.is_none(),
        };
        same_directory && self.name == other.name
    }

    /// Copies the names to `target`, with `/` between them.
    ///
    /// # Panics
    ///
    /// Panics unless `target` is exactly [`length`](Self::length) bytes long.
    pub fn copy_to(&self, target: &mut [u8]) {
        assert_eq!(target.len(), self.length(), "the target must have the path's length");
        let mut path = self;
        let mut rest = target;
        loop {
            let at = rest.len() - path.name.len();
            let (front, name) = rest.split_at_mut(at);
            name.copy_from_slice(&path.name);
            let (Some(directory), [front @ .., slash]) = (&path.directory, front) else { return };
            *slash = b'/';
            (path, rest) = (&directory.path, front);
        }
    }

    /// Returns the names with `/` between them. Empty for the root.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut path = vec![0; self.length()];
        self.copy_to(&mut path);
        path
    }
}

impl Name {
    const EMPTY: Self = Self::Short { length: 0, bytes: [0; SHORT] };

    fn new(name: &[u8]) -> Self {
        if name.len() > SHORT {
            return Self::Long(name.into());
        }
        let mut bytes = [0; SHORT];
        bytes[..name.len()].copy_from_slice(name);
        Self::Short { length: name.len() as u8, bytes }
    }
}

impl Deref for Name {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Short { length, bytes } => &bytes[..usize::from(*length)],
            Self::Long(name) => name,
        }
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Name {}

impl Default for Name {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// Builds the paths of the nodes of a NAR in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Paths {
    /// The open directories below the root.
    directories: Vec<Arc<Directory>>,
}

impl Paths {
    /// Returns the path of the next node.
    pub(super) fn next(&mut self, node: &Node<'_>) -> EntryPath {
        // The directory of a node at depth 1 is the root.
        let Some(depth) = node.depth.checked_sub(1) else { return EntryPath::ROOT };
        let directory = depth.checked_sub(1).map(|above| &self.directories[above]);
        let start = directory.map_or(0, |directory| directory.length + 1);
        let path = EntryPath { directory: directory.cloned(), name: Name::new(&node.path[start..]) };
        if node.kind == Kind::Directory {
            self.directories.truncate(depth);
            self.directories.push(Arc::new(Directory {
                path: path.clone(),
                depth: node.depth,
                length: node.path.len(),
            }));
        }
        path
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.fmt(f)
    }
}

impl fmt::Debug for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.to_vec()))
    }
}
