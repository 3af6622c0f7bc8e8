//! Dictionaries: what many small contents have in common, so that each need not say it again. Only zstd has them.

use std::sync::Arc;

#[cfg(feature = "zstd")]
use super::Failure;
use super::{Codec, CompressionError};

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
/// [`CompressionError::CompressionFailed`] with [`Failure::SamplesUnsuitable`] when no dictionary can be made of the
/// samples, or none as small as `max_size`, of which the least is 256 bytes; [`Failure::OutOfMemory`] without memory;
/// [`CompressionError::CodecDisabled`] when zstd was left out of the build.
pub fn train_dictionary<S: AsRef<[u8]>>(
    samples: &[S],
    max_size: usize,
) -> Result<Dictionary, CompressionError> {
    #[cfg(feature = "zstd")]
    return train(samples, max_size);
    #[cfg(not(feature = "zstd"))]
    {
        let _ = (samples, max_size);
        Err(CompressionError::CodecDisabled { codec: Codec::Zstd })
    }
}

#[cfg(feature = "zstd")]
fn train<S: AsRef<[u8]>>(samples: &[S], max_size: usize) -> Result<Dictionary, CompressionError> {
    let failed = |why| CompressionError::CompressionFailed { codec: Codec::Zstd, why };
    let sizes: Vec<usize> = samples.iter().map(|sample| sample.as_ref().len()).collect();
    // The library's interface: all samples in one buffer, at most 4 GiB of them, and their number in 32 bits.
    let total = sizes.iter().try_fold(0u32, |total, &size| total.checked_add(u32::try_from(size).ok()?));
    let (Some(total), Ok(_)) = (total, u32::try_from(samples.len())) else {
        return Err(failed(Failure::SamplesUnsuitable));
    };
    let mut joined = Vec::new();
    joined.try_reserve_exact(total as usize).map_err(|_| failed(Failure::OutOfMemory))?;
    for sample in samples {
        joined.extend_from_slice(sample.as_ref());
    }
    let mut dictionary = Vec::new();
    dictionary.try_reserve_exact(max_size).map_err(|_| failed(Failure::OutOfMemory))?;
    zstd_safe::train_from_buffer(&mut dictionary, &joined, &sizes)
        .map_err(|code| failed(super::zstd::training_failure(code)))?;
    Dictionary::new(&dictionary)
}
