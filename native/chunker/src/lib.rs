//! The engine of Chunker: content-defined chunking, hashing and compression, free of the BEAM.
//!
//! * [`cdc`] finds cut points, without threads;
//! * [`engine`] cuts inputs into chunks and works on them, or on many items, on several threads;
//! * [`codec`] compresses and decompresses;
//! * [`cache`] looks digests up that were computed before;
//! * [`mod@hash`] computes digests and writes them as Nix does;
//! * [`narinfo`] reads, writes, signs and verifies what Nix's binary caches say about store paths;
//! * [`nar`] reads and writes Nix archives;
//! * [`io`] reads files of any kind, without blocking;
//! * [`cpu`] reports the features of the CPU and which of them are used.
//!
//! Nothing here knows of Erlang: the NIF crate decodes terms, calls this one, and encodes what it gives.

pub mod cache;
pub mod cdc;
pub mod codec;
pub mod cpu;
pub mod engine;
pub mod error;
pub mod hash;
pub mod io;
pub mod nar;
pub mod narinfo;

pub use error::{Error, IoError, OptionsError};

/// The version of the engine, which is also that of the NIF and of the Hex package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Asked now and then by long work: whether to give up. Work that is told to ends with [`Error::Cancelled`] within a few
/// milliseconds.
pub type Cancel<'a> = &'a dyn Fn() -> bool;
