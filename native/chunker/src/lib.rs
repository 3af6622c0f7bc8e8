//! The engine of Chunker: content-defined chunking, hashing and compression, independent of the BEAM.
//!
//! * [`cdc`] finds cut points, without threads;
//! * [`aligned`] finds cut points along the members of an archive;
//! * [`engine`] splits inputs into chunks and processes them, or batches of items, on several threads;
//! * [`codec`] compresses and decompresses;
//! * [`cache`] looks up digests of known contents;
//! * [`mod@hash`] computes digests and encodes them in Nix's base 32;
//! * [`narinfo`] reads, writes, signs and verifies the metadata of store paths in Nix binary caches;
//! * [`nar`] reads and writes Nix archives;
//! * [`store`] keeps chunks and objects that consist of them in a folder;
//! * [`tar`] finds the members of tars, to chunk along them;
//! * [`io`] reads files of any kind, without blocking;
//! * [`mod@batch`] hashes and compresses many items in one call;
//! * [`cpu`] reports the features of the CPU and which of them are used.
//!
//! Nothing in this crate depends on Erlang: the NIF crate decodes terms, calls this crate, and encodes the
//! results.

pub mod aligned;
pub mod batch;
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
#[cfg(all(unix, feature = "store"))]
pub mod store;
pub mod tar;

pub use batch::{compress_batch, decompress_batch, hash_batch};
pub use engine::batch::BatchOptions;
pub use engine::chunk_files;
pub use error::{Error, ErrorCode, IoError, OptionsError};

/// The version of the engine, which is also the version of the NIF and of the Hex package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Returns whether the operation has been cancelled. Long operations poll it and return [`Error::Cancelled`]
/// within a few milliseconds of the first `true`.
pub type Cancel<'a> = &'a dyn Fn() -> bool;

/// Never cancels: for callers that always want the result.
pub const NEVER: Cancel<'static> = &|| false;
