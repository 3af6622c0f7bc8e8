//! The engine of Chunker: content-defined chunking and hashing, free of the BEAM.

pub mod compression;

/// The version of the engine, which is also that of the NIF and of the Hex package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
