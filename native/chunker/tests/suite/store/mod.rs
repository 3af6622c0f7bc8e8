//! Checks the store.

#[cfg(feature = "sha256")]
mod archives;
mod collections;
mod copy;
mod crash;
mod damage;
#[cfg(feature = "zstd")]
mod deltas;
mod field_faults;
mod format;
mod full_disk;
mod interleavings;
mod model;
mod objects;
mod read_only;
mod simulated_disk;
mod watched_disk;

use chunker::cdc::Options;
use chunker::codec::Codec;
use chunker::store::{FormatOptions, StoreOptions};

/// Options for many small chunks.
fn small_chunks() -> StoreOptions {
    let chunking = Options { min_size: 64, avg_size: 256, max_size: 1024, ..Options::default() };
    let format = FormatOptions {
        chunking: Some(chunking),
        codec: Some(Some(Codec::Zstd)),
        ..FormatOptions::default()
    };
    StoreOptions { format, ..StoreOptions::default() }
}
