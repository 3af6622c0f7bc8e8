//! Checks compression against the official programs, an independent decoder, damage, splits and limits.

#![cfg(all(
    feature = "zstd",
    feature = "lz4",
    feature = "xz",
    feature = "bzip2",
    feature = "gzip",
    feature = "brotli"
))]

mod codecs;
mod content;
mod damage;
mod detection;
mod dictionaries;
mod legacy_lz4;
mod limits;
mod options;
mod program;
mod programs;
mod properties;
mod streaming;
mod trailing;
