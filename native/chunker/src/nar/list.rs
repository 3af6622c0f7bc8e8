//! Lists the entries of a NAR.

use super::consumer::NarConsumer;
use super::parser::{Event, Kind, Parser};
use super::path::{EntryPath, Paths};
use crate::error::Error;

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
/// length of its paths.
#[derive(Debug, Default)]
pub struct List {
    parser: Parser,
    paths: Paths,
    entries: Vec<Entry>,
}

impl List {
    /// Starts a list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl NarConsumer for List {
    type Output = Vec<Entry>;

    fn feed(&mut self, piece: &[u8]) -> Result<(), Error> {
        let Self { parser, paths, entries } = self;
        parser.feed(piece, |event| {
            if let Event::Node(node) = event {
                let kind = match node.kind {
                    Kind::Directory => Kind::Directory,
                    Kind::Regular { executable, offset, size } => Kind::Regular { executable, offset, size },
                    Kind::Symlink { target } => Kind::Symlink { target: target.to_vec() },
                };
                entries.push(Entry { path: paths.next(&node), kind });
            }
            Ok(())
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
        Ok(self.entries)
    }
}
