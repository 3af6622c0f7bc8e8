//! Splits inputs into chunks and processes them, or batches of items, on several threads.
//!
//! To chunk inputs, create a [`Chunking`] and call [`Chunking::slice`] for bytes in memory,
//! [`Chunking::reader`] for a file or any `Read`, or [`Chunking::pieces`] for input that arrives in pieces.
//! [`ChunkerKind`] chunks inputs of one format with one method and all others with another.
//! [`Scanner`](crate::cdc::Scanner) only finds cut points, without threads.
//!
//! With plain FastCDC, cut points are those of the `v2020` module of the crate `fastcdc` for the same
//! options, for any kind of input and any number of threads. Other methods implement [`ChunkingMethod`].

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
pub mod progress;
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
pub use pieces::{Pieces, Pulled};
pub use reader::Reader;
