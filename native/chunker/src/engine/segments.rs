//! The candidates of an input that is in memory, found by threads that would otherwise wait for the one that scans.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cdc::CdcParams;
use crate::cdc::candidates::Candidates;

/// How much is looked through at once, in bytes.
const SEGMENT: usize = 256 << 10;

/// How many segments ahead of the scan are looked through, so that their bytes are still in a cache when it comes to them.
const MOST_AHEAD: usize = (8 << 20) / SEGMENT;

/// The segments of an input.
pub(super) struct Segments<'a> {
    data: &'a [u8],
    params: &'a CdcParams,
    state: Mutex<State>,
}

struct State {
    /// The segment that the scan is in.
    at: usize,
    /// All before this one are scanned or looked through, or a thread is about to.
    next: usize,
    known: BTreeMap<usize, Candidates>,
}

impl<'a> Segments<'a> {
    pub(super) const fn new(data: &'a [u8], params: &'a CdcParams) -> Self {
        Self { data, params, state: Mutex::new(State { at: 0, next: 1, known: BTreeMap::new() }) }
    }

    /// Returns the segment that has the byte at `position`.
    pub(super) const fn of(position: usize) -> usize {
        position / SEGMENT
    }

    /// Returns where a segment begins.
    pub(super) const fn start(segment: usize) -> usize {
        segment * SEGMENT
    }

    /// Notes that the scan has come to a segment, and returns the candidates in it if they are known.
    pub(super) fn enter(&self, segment: usize) -> Option<Candidates> {
        let mut state = self.lock();
        state.at = segment;
        state.known = state.known.split_off(&segment);
        state.known.remove(&segment)
    }

    /// Looks for the candidates in a segment that the scan will come to soon; returns false if there is none to look through.
    pub(super) fn look_ahead(&self) -> bool {
        let mut state = self.lock();
        // The scan reaches the segment behind its own before that could be looked through.
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
        // A panic leaves the state as it should be.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
