//! Dictionaries for zstd and lz4: data that many small contents have in common, so that it need not be stored
//! in each.

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
use zstd_safe::{
    CDict, DDict, ErrorCode, is_error_kind, zstd_sys::ZSTD_ErrorCode::ZSTD_error_memory_allocation,
};

#[cfg(feature = "zstd")]
use super::error::CodecFailure;
use super::error::CompressionError;
use super::format::Codec;
use crate::Cancel;
use crate::error::Error;
#[cfg(feature = "zstd")]
use crate::error::IoError;

/// The magic of a trained dictionary, RFC 8878, section 5.
const MAGIC: [u8; 4] = [0x37, 0xa4, 0x30, 0xec];

/// A dictionary for zstd or lz4: the output of [`train_dictionary`] or of `zstd --train`, or any data that
/// resembles the contents to compress. lz4 uses its last 64 KiB.
///
/// A trained dictionary has an id. Each frame stores it, so a missing or different dictionary is detected
/// before decompression. With any other data, and with lz4, only the checksum detects it, or references
/// to bytes that are not there.
///
/// Clones share the bytes.
#[derive(Debug, Clone)]
pub struct Dictionary(Arc<[u8]>);

impl Dictionary {
    /// Creates a dictionary from a copy of `bytes`.
    ///
    /// # Errors
    ///
    /// Returns [`CompressionError::InvalidDictionary`] if `bytes` is empty, or is a damaged trained
    /// dictionary; returns [`CompressionError::CodecDisabled`] if zstd and lz4 are disabled in this build.
    pub fn new(bytes: &[u8]) -> Result<Self, CompressionError> {
        if !Codec::ALL.into_iter().any(|codec| codec.takes_dictionary() && codec.is_enabled()) {
            return Err(CompressionError::CodecDisabled { codec: Codec::Zstd });
        }
        #[cfg(feature = "zstd")]
        if !is_accepted(bytes) {
            return Err(CompressionError::InvalidDictionary);
        }
        if bytes.is_empty() { Err(CompressionError::InvalidDictionary) } else { Ok(Self(bytes.into())) }
    }

    /// Returns the bytes of the dictionary.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the id of a trained dictionary, or `None` if the dictionary was not trained.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        match self.0.strip_prefix(&MAGIC)?.first_chunk::<4>().map(|id| u32::from_le_bytes(*id))? {
            0 => None,
            id => Some(id),
        }
    }

    /// Returns whether both are clones of one dictionary. This compares pointers, not bytes.
    #[cfg(feature = "zstd")]
    pub(super) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Trains a dictionary of at most `max_size` bytes on sample contents.
///
/// A good dictionary needs a hundred samples or more, each like one content that will be compressed on its
/// own, with a total size of about a hundred times `max_size`. The `zstd` program makes dictionaries of
/// 112,640 bytes. The result depends only on the samples and their order. Training uses about ten times the
/// memory of all samples.
///
/// # Errors
///
/// Returns [`CompressionError::CompressionFailed`] with [`CodecFailure::SamplesUnsuitable`] if no dictionary
/// can be made of the samples, or none within `max_size`, which must be at least 256 bytes, and with
/// [`CodecFailure::OutOfMemory`] if memory runs out. Returns [`CompressionError::CodecDisabled`] if zstd is
/// disabled in this build.
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

/// Trains like [`train_dictionary`], but on a thread of its own, for which a cancelled call does not wait.
///
/// The library cannot be interrupted, so the thread of a cancelled call runs to its end. There are at most as
/// many such threads as the machine has cores; further calls wait for one to end.
///
/// # Errors
///
/// Returns [`Error::Cancelled`] if `is_cancelled` returns `true`, [`Error::Io`] if the operating system
/// cannot create the thread, and the errors of [`train_dictionary`] as [`Error::Compression`].
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

/// The interval between two polls for cancellation.
#[cfg(feature = "zstd")]
const CANCEL_POLL: Duration = Duration::from_millis(10);

/// Returns whether the library can build its tables from a dictionary, for both directions.
#[cfg(feature = "zstd")]
fn is_accepted(bytes: &[u8]) -> bool {
    CDict::try_create(bytes, zstd_safe::CLEVEL_DEFAULT).is_some() && DDict::try_create(bytes).is_some()
}

/// Returns the reason for which training failed. A wrong size is that of the samples or the dictionary.
#[cfg(feature = "zstd")]
fn training_failure(code: ErrorCode) -> CodecFailure {
    if is_error_kind(code, ZSTD_error_memory_allocation) {
        CodecFailure::OutOfMemory
    } else {
        CodecFailure::SamplesUnsuitable
    }
}

/// The samples in the form that the library takes.
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
        // The library takes all samples in one buffer of at most 4 GiB, and their number in 32 bits.
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
            .map_err(|code| failed(training_failure(code)))?;
        Dictionary::new(&self.dictionary)
    }

    fn run_cancellable(self, is_cancelled: Cancel<'_>) -> Result<Dictionary, Error> {
        let permit = loop {
            match TrainingPermit::take() {
                Some(permit) => break permit,
                None if is_cancelled() => return Err(Error::Cancelled),
                None => thread::sleep(CANCEL_POLL),
            }
        };
        let (sender, receiver) = mpsc::sync_channel(1);
        let trainer = move || {
            let _permit = permit;
            // The send fails if the call was cancelled; the dictionary is then unused.
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

/// A permit for one of the trainings in progress, of which there are as many as cores. A cancelled training
/// holds its permit until its thread ends.
#[cfg(feature = "zstd")]
struct TrainingPermit;

#[cfg(feature = "zstd")]
static PERMITS_TAKEN: AtomicUsize = AtomicUsize::new(0);

#[cfg(feature = "zstd")]
impl TrainingPermit {
    fn take() -> Option<Self> {
        let most = thread::available_parallelism().map_or(1, usize::from);
        let one_more = |taken| (taken < most).then_some(taken + 1);
        PERMITS_TAKEN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok().map(|_| Self)
    }
}

#[cfg(feature = "zstd")]
impl Drop for TrainingPermit {
    fn drop(&mut self) {
        PERMITS_TAKEN.fetch_sub(1, Ordering::Relaxed);
    }
}
