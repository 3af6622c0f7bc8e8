//! Represents the paths of entries in memory proportional to their names.

use std::fmt;
use std::sync::Arc;

use super::parser::{Kind, Node};

/// The path of an entry: the names that lead to it from the root.
///
/// Entries share the path of their directory. Without that, an entry of 200 bytes in the NAR could take 16
/// KiB of memory, for the longest possible path of 63 names of 255 bytes.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct EntryPath(Option<Arc<Last>>);

#[derive(PartialEq, Eq)]
struct Last {
    name: Box<[u8]>,
    directory: EntryPath,
    depth: usize,
}

impl EntryPath {
    /// The path of the root, which has no names.
    pub const ROOT: Self = Self(None);

    /// Returns the path of an entry in the directory with this path. Its depth is bounded by that of a NAR,
    /// so recursive code, such as the destructor, does not exhaust the stack.
    fn join(&self, name: &[u8]) -> Self {
        Self(Some(Arc::new(Last { name: name.into(), directory: self.clone(), depth: self.depth() + 1 })))
    }

    /// Returns the number of names.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.0.as_ref().map_or(0, |last| last.depth)
    }

    /// Returns the last name and the path of its directory, or `None` for the root.
    #[must_use]
    pub fn split_last(&self) -> Option<(&[u8], &Self)> {
        self.0.as_ref().map(|last| (&*last.name, &last.directory))
    }

    /// Returns whether both paths are the same object, and not only equal. Takes O(1) time.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(last), Some(other)) => Arc::ptr_eq(last, other),
            (last, other) => last.is_none() && other.is_none(),
        }
    }

    /// Returns the names with `/` between them. Empty for the root.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut names = Vec::with_capacity(self.depth());
        let mut path = self;
        while let Some((name, directory)) = path.split_last() {
            names.push(name);
            path = directory;
        }
        names.reverse();
        names.join(&b'/')
    }
}

/// Builds the paths of the nodes of a NAR in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Paths {
    /// The paths of the open directories, the root first.
    directories: Vec<EntryPath>,
}

impl Paths {
    /// Returns the path of the next node.
    pub(super) fn next(&mut self, node: &Node<'_>) -> EntryPath {
        let path = match node.depth.checked_sub(1) {
            None => EntryPath::ROOT,
            Some(depth) => self.directories[depth].join(node.name()),
        };
        if node.kind == Kind::Directory {
            self.directories.truncate(node.depth);
            self.directories.push(path.clone());
        }
        path
    }
}

impl fmt::Debug for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.to_vec()))
    }
}
