//! Bounds what the entries of a NAR may take: compressed, a NAR of many small entries is a thousandth of their
//! list.

use super::parser::{Kind, Node};
use crate::error::Error;

/// The limits for a list of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryLimits {
    /// The maximum number of entries.
    pub max_entries: u64,
    /// The maximum size of the list, in bytes: for each entry [`ENTRY_SIZE`], its path and its target. For a
    /// [`Listing`](super::Listing), the size of the JSON.
    pub max_memory: u64,
}

impl EntryLimits {
    /// One million entries, and 512 MiB.
    pub const DEFAULT: Self = Self { max_entries: 1_000_000, max_memory: 512 << 20 };

    /// No limits.
    pub const NONE: Self = Self { max_entries: u64::MAX, max_memory: u64::MAX };
}

impl Default for EntryLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What an entry takes without its path and its target, in bytes, in this library and as a term of the VM.
pub const ENTRY_SIZE: u64 = 256;

/// Counts entries against the limits.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct EntryBudget {
    limits: EntryLimits,
    entries: u64,
    memory: u64,
}

impl EntryBudget {
    pub(super) const fn new(limits: EntryLimits) -> Self {
        Self { limits, entries: 0, memory: 0 }
    }

    /// Counts an entry and what it takes.
    pub(super) fn take(&mut self, node: &Node<'_>) -> Result<(), Error> {
        let target = if let Kind::Symlink { target } = node.kind { target.len() } else { 0 };
        self.memory = self.memory.saturating_add(ENTRY_SIZE + (node.path.len() + target) as u64);
        self.count()?;
        self.check_memory(self.memory)
    }

    /// Counts an entry.
    pub(super) const fn count(&mut self) -> Result<(), Error> {
        self.entries += 1;
        let limit = self.limits.max_entries;
        if self.entries > limit { Err(Error::Limit { option: "max_entries", limit }) } else { Ok(()) }
    }

    /// Checks the size of the result.
    pub(super) const fn check_memory(&self, memory: u64) -> Result<(), Error> {
        let limit = self.limits.max_memory;
        if memory > limit { Err(Error::Limit { option: "max_memory", limit }) } else { Ok(()) }
    }
}
