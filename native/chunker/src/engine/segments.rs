//! Finds the candidates of an input in memory ahead of the scan, on threads that would otherwise wait for it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cdc::CdcParams;
use crate::cdc::candidates::Candidates;

/// The size of a segment, in bytes.
const SEGMENT: usize = 256 << 10;

/// The number of segments that are looked through ahead of the scan: few enough that their bytes are still in
/// a cache when it reaches them.
const MOST_AHEAD: usize = (8 << 20) / SEGMENT;

/// Holds the candidates of the segments of an input.
pub(super) struct Segments<'a> {
    data: &'a [u8],
    params: &'a CdcParams,
    state: Mutex<State>,
}

struct State {
    /// The segment that the scan is in.
    at: usize,
    /// Every segment before this one is left to the scan, or a thread has taken it to look through it.
    next: usize,
    known: BTreeMap<usize, Candidates>,
}

impl<'a> Segments<'a> {
    pub(super) const fn new(data: &'a [u8], params: &'a CdcParams) -> Self {
        Self { data, params, state: Mutex::new(State { at: 0, next: 1, known: BTreeMap::new() }) }
    }

    /// Returns the segment that contains the byte at `position`.
    pub(super) const fn of(position: usize) -> usize {
        position / SEGMENT
    }

    /// Returns the start of a segment, in bytes.
    pub(super) const fn start(segment: usize) -> usize {
        segment * SEGMENT
    }

    /// Records that the scan has reached a segment, and returns the candidates in it if they are known.
    pub(super) fn enter(&self, segment: usize) -> Option<Candidates> {
        let mut state = self.lock();
        state.at = segment;
        state.known = state.known.split_off(&segment);
        state.known.remove(&segment)
    }

    /// Looks for the candidates in a segment that the scan reaches soon. Returns false if there is none to
    /// look through.
    pub(super) fn look_ahead(&self) -> bool {
        let mut state = self.lock();
        // The scan would reach the segment after its own before it is looked through.
        let segment = state.next.max(state.at + 2);
        let bytes = self.data.get(Self::start(segment)..).unwrap_or_default();
        if bytes.is_empty() || segment > state.at + MOST_AHEAD {
            return false;
        }
        state.next = segment + 1;
        drop(state);
        let candidates = Candidates::find(self.params, &bytes[..bytes.len().min(SEGMENT)]);
        let mut state = self.lock();
        if segment > state.at
            && let Some(candidates) = candidates
        {
            state.known.insert(segment, candidates);
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic leaves the state consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
