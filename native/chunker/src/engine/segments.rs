//! The marks of an input that is in memory, made by threads that would otherwise wait for the one that scans.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cdc::CdcParams;
use crate::cdc::candidates::Candidates;

/// What is marked at once, in bytes.
const SEGMENT: usize = 256 << 10;

/// How many segments may be marked before the scanner comes to them, so that their bytes are still in a cache then.
const MOST_AHEAD: usize = (8 << 20) / SEGMENT;

/// The segments of an input.
pub(super) struct Segments<'a> {
    data: &'a [u8],
    cutter: &'a CdcParams,
    state: Mutex<State>,
}

struct State {
    /// The segment that the scanner is in.
    at: usize,
    /// All before this one are scanned or marked, or somebody is at it.
    next: usize,
    marked: BTreeMap<usize, Candidates>,
}

impl<'a> Segments<'a> {
    pub(super) const fn new(data: &'a [u8], cutter: &'a CdcParams) -> Self {
        Self { data, cutter, state: Mutex::new(State { at: 0, next: 1, marked: BTreeMap::new() }) }
    }

    /// The segment that has the byte at `position`.
    pub(super) const fn of(position: usize) -> usize {
        position / SEGMENT
    }

    /// Where a segment begins.
    pub(super) const fn start(segment: usize) -> usize {
        segment * SEGMENT
    }

    /// Tells that the scanner has come to a segment, and gives its marks if they are there.
    pub(super) fn enter(&self, segment: usize) -> Option<Candidates> {
        let mut state = self.lock();
        state.at = segment;
        state.marked = state.marked.split_off(&segment);
        state.marked.remove(&segment)
    }

    /// Candidates a segment that the scanner will come to soon; false if there is none.
    pub(super) fn mark(&self) -> bool {
        let mut state = self.lock();
        // The one behind the scanner's it reaches before it could be marked.
        let segment = state.next.max(state.at + 2);
        let bytes = self.data.get(Self::start(segment)..).unwrap_or_default();
        if bytes.is_empty() || segment > state.at + MOST_AHEAD {
            return false;
        }
        state.next = segment + 1;
        drop(state);
        let marks = self.cutter.mark(&bytes[..bytes.len().min(SEGMENT)]);
        let mut state = self.lock();
        if segment > state.at
            && let Some(marks) = marks
        {
            state.marked.insert(segment, marks);
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic leaves the state as it should be.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
