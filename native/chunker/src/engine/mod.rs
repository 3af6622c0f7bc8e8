//! Chunks whole inputs, and works on many items, on several threads.
//!
//! To chunk something, make a [`Chunking`] once and call it: [`Chunking::slice`] for bytes in memory,
//! [`Chunking::reader`] for a file or any `Read`, [`Chunking::pieces`] for input that arrives in pieces.
//! [`ChunkerKind`] chunks inputs of one format in one way and others in another.
//! [`Scanner`](crate::cdc::Scanner) gives bare cut points, for those who hash and store in their own way.
//!
//! With plain FastCDC, cut points are those of crate `fastcdc`'s `v2020` for the same options, however the input comes and
//! on any number of threads. Other methods implement [`ChunkingMethod`].

pub mod batch;
mod block_reader;
mod boundaries;
mod chunk;
mod chunker_kind;
mod chunking;
mod files;
mod filter;
mod pieces;
mod pipeline;
mod reader;
mod segments;
mod slice;
mod splitter;
mod work_item;
pub mod workers;

pub use boundaries::{Boundaries, ChunkingMethod, FoundChunk};
pub use chunk::{Chunk, ChunkBytes};
pub use chunker_kind::{ChunkerKind, Recognizer};
pub use chunking::Chunking;
pub use files::{FileChunks, chunk_files};
pub use filter::Filter;
pub use pieces::Pieces;
pub use reader::{Reader, Step};
