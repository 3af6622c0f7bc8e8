//! What is in a NAR.

use super::parser::{Event, Kind, Parser};
use super::reading::Reading;
use crate::error::Error;

/// A file, directory or symbolic link in a NAR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The names that lead to it from the root, with `/` between them: empty for the root itself.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind<Vec<u8>>,
}

/// All entries, the root first, in the order of the NAR.
///
/// Contents are passed over. Memory grows with the list: at most by some 16 KiB an entry, if their paths are the longest that
/// there can be.
#[derive(Debug, Default)]
pub struct List {
    parser: Parser,
    entries: Vec<Entry>,
}

impl List {
    /// A list of what is to come.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Reading for List {
    type Output = Vec<Entry>;

    fn feed(&mut self, piece: &[u8]) -> Result<(), Error> {
        self.parser.feed(piece, |event| {
            if let Event::Node(node) = event {
                let kind = match node.kind {
                    Kind::Directory => Kind::Directory,
                    Kind::Regular { executable, offset, size } => Kind::Regular { executable, offset, size },
                    Kind::Symlink { target } => Kind::Symlink { target: target.to_vec() },
                };
                self.entries.push(Entry { path: node.path.to_vec(), kind });
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
