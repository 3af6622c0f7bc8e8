//! Dictionaries: what many small contents have in common, so that each need not say it again. Only zstd has them.

use std::sync::Arc;
#[cfg(feature = "zstd")]
use std::{
    panic::resume_unwind,
    sync::atomic::{AtomicUsize, Ordering},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

#[cfg(feature = "zstd")]
use super::CodecFailure;
use super::{Codec, CompressionError};
use crate::Cancel;
use crate::error::Error;
#[cfg(feature = "zstd")]
use crate::error::IoError;

/// The magic of a dictionary that was trained, RFC 8878, section 5.
const MAGIC: [u8; 4] = [0x37, 0xa4, 0x30, 0xec];

/// A dictionary for zstd: the output of [`train_dictionary`] or of `zstd --train`, or any content that resembles what
/// is to be compressed.
///
/// A trained dictionary has an id, which each frame names, so that a missing or another dictionary is noticed before
/// anything is decompressed. With any other content it is the checksum that notices.
///
/// Clones share the bytes.
#[derive(Debug, Clone)]
pub struct Dictionary(Arc<[u8]>);

impl Dictionary {
    /// Takes the bytes of a dictionary, which are copied.
    ///
    /// # Errors
    ///
    /// [`CompressionError::InvalidDictionary`] when there are no bytes, or when they begin like a trained dictionary and
    /// are damaged; [`CompressionError::CodecDisabled`] when zstd was left out of the build.
    pub fn new(bytes: &[u8]) -> Result<Self, CompressionError> {
        #[cfg(feature = "zstd")]
        if !bytes.is_empty() && super::zstd::accepts_dictionary(bytes) {
            return Ok(Self(bytes.into()));
        }
        if Codec::Zstd.is_enabled() {
            Err(CompressionError::InvalidDictionary)
        } else {
            let _ = bytes;
            Err(CompressionError::CodecDisabled { codec: Codec::Zstd })
        }
    }

    /// The bytes of the dictionary.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The id of a trained dictionary; `None` when it was not trained.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        match self.0.strip_prefix(&MAGIC)?.first_chunk::<4>().map(|id| u32::from_le_bytes(*id))? {
            0 => None,
            id => Some(id),
        }
    }

    /// Whether both are clones of one, which is quick to tell, unlike whether they have the same bytes.
    #[cfg(feature = "zstd")]
    pub(super) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Trains a dictionary of at most `max_size` bytes on samples of what is to be compressed.
///
/// A hundred samples or more, each like one content that will be compressed on its own, together about a hundred times
/// `max_size`, make a good dictionary; 112,640 bytes is what the `zstd` program makes. The result depends on nothing but
/// the samples and their order. Takes time and about ten times the memory of the samples together.
///
/// # Errors
///
/// [`CompressionError::CompressionFailed`] with [`CodecFailure::SamplesUnsuitable`] when no dictionary can be made of the
/// samples, or none as small as `max_size`, of which the least is 256 bytes; [`CodecFailure::OutOfMemory`] without memory;
/// [`CompressionError::CodecDisabled`] when zstd was left out of the build.
pub fn train_dictionary<S: AsRef<[u8]>>(
    samples: &[S],
    max_size: usize,
) -> Result<Dictionary, CompressionError> {
    #[cfg(feature = "zstd")]
    return Training::new(samples, max_size)?.run();
    #[cfg(not(feature = "zstd"))]
    {
        let _ = (samples, max_size);
        Err(CompressionError::CodecDisabled { codec: Codec::Zstd })
    }
}

/// [`train_dictionary`] on a thread of its own, for which whoever gives up does not wait.
///
/// The library cannot be interrupted, so the thread comes to its end all the same. There are never more of them than the
/// machine has cores; a call that finds so many waits for one to end.
///
/// # Errors
///
/// [`Error::Cancelled`] when `is_cancelled` says so, [`Error::Io`] when the operating system refuses the thread, and those of
/// [`train_dictionary`] as [`Error::Compression`].
pub fn train_dictionary_cancellable<S: AsRef<[u8]>>(
    samples: &[S],
    max_size: usize,
    is_cancelled: Cancel<'_>,
) -> Result<Dictionary, Error> {
    #[cfg(feature = "zstd")]
    return Training::new(samples, max_size)?.run_cancellable(is_cancelled);
    #[cfg(not(feature = "zstd"))]
    {
        let _ = is_cancelled;
        Ok(train_dictionary(samples, max_size)?)
    }
}

/// How often who waits for a training asks whether to give up.
#[cfg(feature = "zstd")]
const CANCEL_POLL: Duration = Duration::from_millis(10);

/// What the library trains on, in the form that it takes.
#[cfg(feature = "zstd")]
struct Training {
    joined: Vec<u8>,
    sizes: Vec<usize>,
    dictionary: Vec<u8>,
}

#[cfg(feature = "zstd")]
impl Training {
    fn new<S: AsRef<[u8]>>(samples: &[S], max_size: usize) -> Result<Self, CompressionError> {
        let sizes: Vec<usize> = samples.iter().map(|sample| sample.as_ref().len()).collect();
        // The library's interface: all samples in one buffer, at most 4 GiB of them, and their number in 32 bits.
        let total = sizes.iter().try_fold(0u32, |total, &size| total.checked_add(u32::try_from(size).ok()?));
        let (Some(total), Ok(_)) = (total, u32::try_from(samples.len())) else {
            return Err(failed(CodecFailure::SamplesUnsuitable));
        };
        let mut joined = Vec::new();
        joined.try_reserve_exact(total as usize).map_err(|_| failed(CodecFailure::OutOfMemory))?;
        for sample in samples {
            joined.extend_from_slice(sample.as_ref());
        }
        let mut dictionary = Vec::new();
        dictionary.try_reserve_exact(max_size).map_err(|_| failed(CodecFailure::OutOfMemory))?;
        Ok(Self { joined, sizes, dictionary })
    }

    fn run(mut self) -> Result<Dictionary, CompressionError> {
        zstd_safe::train_from_buffer(&mut self.dictionary, &self.joined, &self.sizes)
            .map_err(|code| failed(super::zstd::training_failure(code)))?;
        Dictionary::new(&self.dictionary)
    }

    fn run_cancellable(self, is_cancelled: Cancel<'_>) -> Result<Dictionary, Error> {
        let place = loop {
            match Place::take() {
                Some(place) => break place,
                None if is_cancelled() => return Err(Error::Cancelled),
                None => thread::sleep(CANCEL_POLL),
            }
        };
        let (sender, receiver) = mpsc::sync_channel(1);
        let trainer = move || {
            let _place = place;
            // Nobody may be there any more to take it.
            let _ = sender.send(self.run());
        };
        let thread = thread::Builder::new().name("chunker-train".into()).spawn(trainer);
        let thread = thread.map_err(|source| IoError { path: None, source })?;
        loop {
            match receiver.recv_timeout(CANCEL_POLL) {
                Ok(result) => return Ok(result?),
                Err(RecvTimeoutError::Timeout) if is_cancelled() => return Err(Error::Cancelled),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => match thread.join() {
                    Err(panic) => resume_unwind(panic),
                    Ok(()) => unreachable!("a trainer that does not panic sends its result"),
                },
            }
        }
    }
}

#[cfg(feature = "zstd")]
fn failed(why: CodecFailure) -> CompressionError {
    CompressionError::CompressionFailed { codec: Codec::Zstd, why }
}

/// One of as many trainings under way as the machine has cores, those included that were given up.
#[cfg(feature = "zstd")]
struct Place;

#[cfg(feature = "zstd")]
static TAKEN: AtomicUsize = AtomicUsize::new(0);

#[cfg(feature = "zstd")]
impl Place {
    fn take() -> Option<Self> {
        let most = thread::available_parallelism().map_or(1, usize::from);
        let one_more = |taken| (taken < most).then_some(taken + 1);
        TAKEN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok().map(|_| Self)
    }
}

#[cfg(feature = "zstd")]
impl Drop for Place {
    fn drop(&mut self) {
        TAKEN.fetch_sub(1, Ordering::Relaxed);
    }
}
