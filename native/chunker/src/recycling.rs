//! Memory for bytes that are handed out, held by others for a while, and given back.
//!
//! A fresh page of memory costs more than the copy that fills it, so what comes back is used for the next bytes. Nothing is
//! kept longer than the [`Recycler`] lives.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

/// How much memory waits for new bytes at most, of all recyclers together: there may be hundreds, and most of them idle.
/// Garbage collectors give much back at once.
const MOST_SPARE: usize = 64 << 20;

/// To give more than this back to the system takes so long that no scheduler should wait for it.
const LARGE: usize = 1 << 20;

/// How much waits now.
static SPARE: AtomicUsize = AtomicUsize::new(0);

/// Copies bytes into memory that was used before, if there is any of about their size.
#[derive(Debug, Clone, Default)]
pub struct Recycler(Arc<Mutex<Spare>>);

#[derive(Debug, Default)]
struct Spare {
    /// By capacity.
    memory: BTreeMap<usize, Vec<Vec<u8>>>,
    /// All capacities together.
    bytes: usize,
}

/// Bytes in memory that goes back to the [`Recycler`] when they are dropped, if it is still there.
#[derive(Debug)]
pub struct Recycled {
    bytes: Vec<u8>,
    home: Weak<Mutex<Spare>>,
}

impl Recycler {
    /// One that has no memory yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Copies all of the slices, one behind the other. The memory is at most an eighth larger than they are.
    #[must_use]
    pub fn copy(&self, slices: &[&[u8]]) -> Recycled {
        let length = slices.iter().map(|slice| slice.len()).sum();
        // Large enough for what is a little longer too.
        let (spare, unfit) = lock(&self.0).take(length, length + length / 8);
        drop(unfit);
        let mut bytes = spare.unwrap_or_else(|| Vec::with_capacity(length + length / 16));
        for slice in slices {
            bytes.extend_from_slice(slice);
        }
        Recycled { bytes, home: Arc::downgrade(&self.0) }
    }
}

impl Deref for Recycled {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Recycled {
    fn drop(&mut self) {
        if let Some(home) = self.home.upgrade() {
            let bytes = std::mem::take(&mut self.bytes);
            let too_much = lock(&home).put(bytes);
            drop(too_much);
        }
    }
}

impl Spare {
    /// The smallest memory of a capacity in this range, empty. If there is none and hardly room for more, what fits worst comes
    /// out instead, to be freed: chunks of other lengths may have come before than come now.
    fn take(&mut self, least: usize, most: usize) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        if let Some(capacity) = self.memory.range(least..=most).next().map(|(&capacity, _)| capacity) {
            return (self.remove(capacity), None);
        }
        let full = SPARE.load(Ordering::Relaxed) > MOST_SPARE / 4 * 3;
        let worst = self.memory.last_key_value().filter(|_| full).map(|(&capacity, _)| capacity);
        (None, worst.and_then(|capacity| self.remove(capacity)))
    }

    fn remove(&mut self, capacity: usize) -> Option<Vec<u8>> {
        let same = self.memory.get_mut(&capacity)?;
        let memory = same.pop();
        if same.is_empty() {
            self.memory.remove(&capacity);
        }
        self.bytes -= capacity;
        SPARE.fetch_sub(capacity, Ordering::Relaxed);
        memory
    }

    /// Keeps the memory, or gives it back if there is enough.
    fn put(&mut self, mut memory: Vec<u8>) -> Option<Vec<u8>> {
        let capacity = memory.capacity();
        let one_more = |bytes: usize| (bytes + capacity <= MOST_SPARE).then_some(bytes + capacity);
        if SPARE.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_err() {
            return Some(memory);
        }
        memory.clear();
        self.bytes += capacity;
        self.memory.entry(capacity).or_default().push(memory);
        None
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        SPARE.fetch_sub(self.bytes, Ordering::Relaxed);
        if self.bytes > LARGE {
            let memory = std::mem::take(&mut self.memory);
            // Where there can be no thread, it is freed here after all.
            drop(thread::Builder::new().name("chunker-free".into()).spawn(move || drop(memory)));
        }
    }
}

fn lock(spare: &Mutex<Spare>) -> MutexGuard<'_, Spare> {
    // Nothing that can panic comes between two changes that belong together.
    spare.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All recyclers share one bound, and these tests come near it.
    static ALONE: Mutex<()> = Mutex::new(());

    fn alone() -> MutexGuard<'static, ()> {
        ALONE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[test]
    fn memory_is_used_again_for_what_is_about_as_long() {
        let _alone = alone();
        let recycler = Recycler::new();
        let first = recycler.copy(&[&[1; 10_000], &[2; 6_000]]);
        assert_eq!(first[..], [[1; 10_000].as_slice(), &[2; 6_000]].concat());
        let place = first.as_ptr();
        drop(first);
        // Too short and too long.
        for length in [1_000, 14_000, 18_000, 100_000] {
            let other = recycler.copy(&[&vec![3; length]]);
            assert_eq!(other[..], vec![3; length]);
            assert!(other.bytes.capacity() <= length + length / 8);
        }
        let second = recycler.copy(&[&[4; 16_500]]);
        assert_eq!((second.as_ptr(), &second[..]), (place, &[4; 16_500][..]));
    }

    #[test]
    fn no_more_is_kept_than_there_may_be_by_all_together() {
        let _alone = alone();
        let recyclers: Vec<_> = (0..4).map(|_| Recycler::new()).collect();
        let held: Vec<_> = recyclers
            .iter()
            .flat_map(|recycler| (0..20).map(|_| recycler.copy(&[&vec![5; 1 << 20]])))
            .collect();
        drop(held);
        let kept = |recycler: &Recycler| {
            let spare = lock(&recycler.0);
            let kept: usize = spare.memory.iter().map(|(capacity, same)| capacity * same.len()).sum();
            assert_eq!(spare.bytes, kept);
            kept
        };
        let all: usize = recyclers.iter().map(kept).sum();
        assert!((MOST_SPARE - (2 << 20)..=MOST_SPARE).contains(&all), "{all}");
        // What one of them kept is room for others when it goes.
        drop(recyclers);
        let recycler = Recycler::new();
        drop(recycler.copy(&[&vec![6; 40 << 20]]));
        assert!(kept(&recycler) >= 40 << 20);
    }

    #[test]
    fn bytes_outlive_the_recycler_and_take_their_memory_along() {
        let _alone = alone();
        let recycler = Recycler::new();
        let bytes = recycler.copy(&[b"content"]);
        let home = Arc::downgrade(&recycler.0);
        drop(recycler);
        assert!(home.upgrade().is_none());
        assert_eq!(&bytes[..], b"content");
    }

    #[test]
    fn memory_that_nobody_needs_any_more_makes_room() {
        let _alone = alone();
        let recycler = Recycler::new();
        let fill = |length: usize| {
            let held: Vec<_> = (0..MOST_SPARE / length).map(|_| recycler.copy(&[&vec![7; length]])).collect();
            drop(held);
        };
        fill(4 << 20);
        fill(1 << 20);
        let spare = lock(&recycler.0);
        let long: usize = spare.memory.range(2 << 20..).map(|(capacity, same)| capacity * same.len()).sum();
        let short: usize = spare.memory.range(..2 << 20).map(|(capacity, same)| capacity * same.len()).sum();
        // Only as much goes as there must.
        assert!(long <= MOST_SPARE / 4 * 3 && short >= MOST_SPARE / 5, "{long} {short}");
        assert_eq!(spare.bytes, long + short);
    }
}
