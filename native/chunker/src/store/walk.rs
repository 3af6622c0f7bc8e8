//! Goes through what objects consist of.

use std::collections::HashSet;

use super::Inner;
use super::error::StoreError;
use super::manifest::{Item, read_node};
use crate::Cancel;
use crate::error::Error;
use crate::hash::Digest;

/// The order in which the items of an object or a node are visited.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// That of the object.
    Object,
    /// That of the index, so that each page of it is read once.
    Index,
}

impl Inner {
    /// Calls `visit` with all items of an object and of the nodes below, a node before what it consists of, and with
    /// whether the items below are visited: those of a node that is in `seen` are not, and each node gets there.
    ///
    /// Returns [`StoreError::ChunkMissing`] for a node that the store does not have, and the errors of `visit`.
    pub(super) fn walk(
        &self,
        items: Vec<Item>,
        order: Order,
        seen: &mut HashSet<Digest>,
        visit: &mut dyn FnMut(&Item, bool) -> Result<(), Error>,
        is_cancelled: Cancel<'_>,
    ) -> Result<(), Error> {
        let mut left = Vec::new();
        let push = |mut items: Vec<Item>, left: &mut Vec<Item>| {
            if order == Order::Index {
                items.sort_unstable_by_key(|item| item.digest);
            }
            left.extend(items.into_iter().rev());
        };
        push(items, &mut left);
        while let Some(item) = left.pop() {
            if is_cancelled() {
                return Err(Error::Cancelled);
            }
            let is_new_node = item.height > 0 && seen.insert(item.digest);
            visit(&item, is_new_node)?;
            if is_new_node {
                let missing = || StoreError::ChunkMissing { digests: vec![item.digest] };
                let node = self.record(&item.digest)?.ok_or_else(missing)?;
                push(read_node(&item, &node)?, &mut left);
            }
        }
        Ok(())
    }
}
