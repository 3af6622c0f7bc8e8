//! The engine of Chunker: content-defined chunking, hashing and compression, free of the BEAM.
//!
//! * [`chunking`] cuts inputs into chunks and works on them on several threads;
//! * [`compression`] compresses and decompresses with four codecs;
//! * [`batch`] spreads many items over the threads;
//! * [`cache`] looks digests up that were computed before;
//! * [`hashing`] makes digests and writes them as Nix does;
//! * [`narinfo`] reads, writes, signs and verifies what Nix's binary caches say about store paths;
//! * [`nar`] reads and writes Nix archives;
//! * [`source`] is where bytes come from, and [`mod@file`] reads files of any kind without waiting for anybody;
//! * [`output_buffer`] is the memory that a codec's output grows in;
//! * [`workers`] is the pool of threads that all of them share;
//! * [`cpu`] tells what the CPU can do and what is made of it.
//!
//! Nothing here knows of Erlang: the NIF crate decodes terms, calls this one, and encodes what it gives.

pub mod batch;
mod buffer;
pub mod cache;
pub mod chunking;
pub mod compression;
pub mod cpu;
pub mod error;
pub mod file;
pub mod hashing;
pub mod nar;
pub mod narinfo;
pub mod output_buffer;
pub mod source;
pub mod workers;

pub use error::{Error, IoError, OptionsError};

/// The version of the engine, which is also that of the NIF and of the Hex package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Asked now and then by long work: whether to give up. Work that is told to ends with [`Error::Cancelled`] within a few
/// milliseconds.
pub type GiveUp<'a> = &'a dyn Fn() -> bool;
