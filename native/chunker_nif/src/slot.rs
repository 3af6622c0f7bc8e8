//! The state of a resource between two calls.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};

use chunker::Error;

use crate::call::Call;

/// Holds a state that one call at a time takes out and puts back. It is empty while a call has the state, and
/// for good after an error, a panic or a close.
pub(crate) struct Slot<T> {
    state: Mutex<Option<T>>,
    /// Set for good by a close, which may come from another process while a call has the state.
    closed: AtomicBool,
}

impl<T> Slot<T> {
    pub(crate) fn new(state: T) -> Self {
        Self { state: Mutex::new(Some(state)), closed: AtomicBool::new(false) }
    }

    /// Takes the state out for a call. Fails if the slot is empty, or if another process is inside a call.
    pub(crate) fn take(&self) -> Result<T, Error> {
        self.state.try_lock().ok().and_then(|mut state| state.take()).ok_or(Error::Cancelled)
    }

    /// Puts the state back, unless the slot was closed during the call.
    pub(crate) fn put(&self, state: T) {
        if let Ok(mut slot) = self.state.lock() {
            // Read under the lock: a close either sets the flag before, or takes this state out afterwards.
            if !self.closed.load(Ordering::Acquire) {
                *slot = Some(state);
            }
        }
    }

    /// Closes the slot and returns the state. If a call has it, that call is cancelled and frees it.
    pub(crate) fn close(&self) -> Option<T> {
        self.closed.store(true, Ordering::Release);
        // No call holds the lock while it works.
        self.state.lock().ok().and_then(|mut state| state.take())
    }

    /// Returns the state of a resource that no process holds any more.
    pub(crate) fn take_remaining(&mut self) -> Option<T> {
        self.state.get_mut().ok().and_then(Option::take)
    }

    /// Returns whether the caller has died or the slot was closed, which cancels a call.
    pub(crate) fn is_cancelled(&self, call: Call<'_>) -> impl Fn() -> bool {
        let died = call.is_cancelled();
        move || self.closed.load(Ordering::Acquire) || died()
    }
}

/// Drops the state of a resource in a thread for that. To remove a tree that is half unpacked, or to unmap
/// the tables of a compressor, takes long, and this may be called on a plain scheduler, which collects the
/// garbage of a process that died. If no thread can be started, drops it here.
pub(crate) fn drop_elsewhere<T: Send + 'static>(remaining: Option<T>) {
    static CLOSER: OnceLock<Option<Sender<Box<dyn Send>>>> = OnceLock::new();

    let Some(remaining) = remaining else { return };
    let closer = CLOSER.get_or_init(|| {
        let (sender, receiver) = channel::<Box<dyn Send>>();
        let run = move || {
            for state in receiver {
                // A panic must not end the thread.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(state)));
            }
        };
        std::thread::Builder::new().name("chunker-close".into()).spawn(run).ok().map(|_| sender)
    });
    if let Some(closer) = closer {
        let _ = closer.send(Box::new(remaining));
    }
}
