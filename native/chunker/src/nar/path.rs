//! Where an entry is in a tree, in memory that grows with the names there are and not with their paths.

use std::fmt;
use std::sync::Arc;

use super::parser::{Kind, Node};

/// The names that lead to an entry from the root.
///
/// The entries of a directory share its path: 63 names of 255 bytes, the longest path that there can be, would else be
/// there 16 KiB long for an entry that takes 200 bytes in the NAR.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct EntryPath(Option<Arc<Last>>);

#[derive(PartialEq, Eq)]
struct Last {
    name: Box<[u8]>,
    directory: EntryPath,
    depth: usize,
}

impl EntryPath {
    /// That of the root, which has no names.
    pub const ROOT: Self = Self(None);

    /// The path of an entry in the directory that has this one. It is not deeper than a NAR can be, so that nothing recursive
    /// uses up the stack.
    fn join(&self, name: &[u8]) -> Self {
        Self(Some(Arc::new(Last { name: name.into(), directory: self.clone(), depth: self.depth() + 1 })))
    }

    /// How many names it has.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.0.as_ref().map_or(0, |last| last.depth)
    }

    /// The last name, and the path of the directory that it is in; `None` for the root.
    #[must_use]
    pub fn split_last(&self) -> Option<(&[u8], &Self)> {
        self.0.as_ref().map(|last| (&*last.name, &last.directory))
    }

    /// Whether this is the other one and not only equal to it.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(last), Some(other)) => Arc::ptr_eq(last, other),
            (last, other) => last.is_none() && other.is_none(),
        }
    }

    /// The names with `/` between them: empty for the root.
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

/// Makes the paths of the nodes of a NAR, one after the other.
#[derive(Debug, Clone, Default)]
pub(super) struct Paths {
    /// Those of the directories that are open, the root first.
    directories: Vec<EntryPath>,
}

impl Paths {
    /// That of the next node.
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
