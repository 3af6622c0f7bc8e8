//! Lists the entries of a NAR.

use super::consumer::NarConsumer;
use super::limits::{EntryBudget, EntryLimits};
use super::parser::{Event, Kind, Node, Parser};
use super::path::{EntryPath, Paths};
use crate::error::Error;
use crate::io::output_buffer::OutOfMemory;

/// A file, directory or symbolic link in a NAR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The names that lead to the entry from the root.
    pub path: EntryPath,
    /// The kind of the entry.
    pub kind: Kind<Vec<u8>>,
}

/// Lists all entries in the order of the NAR, the root first.
///
/// Skips contents. Memory is proportional to the names and targets in the NAR, and does not depend on the
/// length of its paths, and [`EntryLimits`] bound it.
#[derive(Debug, Default)]
pub struct List {
    parser: Parser,
    entries: EntryList,
}

/// Collects the entries of a NAR.
#[derive(Debug, Default)]
pub(crate) struct EntryList {
    budget: EntryBudget,
    paths: Paths,
    entries: Vec<Entry>,
}

impl EntryList {
    pub(crate) fn with_limits(limits: EntryLimits) -> Self {
        Self { budget: EntryBudget::new(limits), ..Self::default() }
    }

    /// Adds the next entry.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Limit`] for more entries than the limits allow.
    pub(crate) fn add(&mut self, node: &Node<'_>) -> Result<(), Error> {
        self.budget.take(node)?;
        self.entries.try_reserve(1).map_err(|_| OutOfMemory)?;
        let kind = match node.kind {
            Kind::Directory => Kind::Directory,
            Kind::Regular { executable, offset, size } => Kind::Regular { executable, offset, size },
            Kind::Symlink { target } => Kind::Symlink { target: target.to_vec() },
        };
        self.entries.push(Entry { path: self.paths.next(node), kind });
        Ok(())
    }

    /// Passes the next entry, which is not listed.
    #[cfg(all(unix, feature = "store"))]
    pub(crate) fn pass(&mut self, node: &Node<'_>) {
        if node.kind == Kind::Directory {
            self.paths.next(node);
        }
    }

    pub(crate) fn finish(self) -> Vec<Entry> {
        self.entries
    }
}

impl List {
    /// Starts a list with the default limits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a list.
    #[must_use]
    pub fn with_limits(limits: EntryLimits) -> Self {
        Self { parser: Parser::new(), entries: EntryList::with_limits(limits) }
    }
}

impl NarConsumer for List {
    type Output = Vec<Entry>;

    /// # Errors
    ///
    /// Returns [`Error::Nar`], and [`Error::Limit`] for more entries than the limits allow.
    fn feed(&mut self, piece: &[u8]) -> Result<(), Error> {
        let Self { parser, entries } = self;
        parser.feed(piece, |event| match event {
            Event::Node(node) => entries.add(&node),
            _ => Ok(()),
        })
    }

    fn skippable(&self) -> u64 {
        self.parser.skippable()
    }

    fn skip(&mut self, count: u64) {
        self.parser.skip(count);
    }

    fn finish(self) -> Result<Vec<Entry>, Error> {
        self.parser.finish()?;
        Ok(self.entries.finish())
    }
}
