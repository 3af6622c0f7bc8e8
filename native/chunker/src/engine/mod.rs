//! Content-defined chunking: where to cut, and how to cut and hash a whole input on several threads.
//!
//! To chunk something, make a [`Chunking`] once and call it: [`Chunking::slice`] for bytes in memory,
//! [`Chunking::reader`] for a file or any `Read`, [`Chunking::pieces`] for input that arrives in pieces.
//! [`ChunkerKind`] chunks NARs in one way and other inputs in another.
//! [`Scanner`](crate::cdc::Scanner) gives bare cut points, for those who hash and store in their own way.
//!
//! Cut points are those of crate `fastcdc`'s `v2020` for the same options, however the input comes and on any number
//! of threads: the chunks that someone stored last year must be the ones that are found today.

pub mod batch;
mod block_reader;
mod boundaries;
mod chunk;
mod chunker_kind;
mod files;
mod pieces;
mod pipeline;
mod reader;
mod segments;
mod slice;
mod splitter;
mod work_item;
pub mod workers;

pub use chunk::{Chunk, ChunkBytes};
pub use chunker_kind::ChunkerKind;
pub use files::FileChunks;
pub use pieces::Pieces;
pub(crate) use reader::SOURCE_WAIT;
pub use reader::{Reader, Step};

use std::time::Duration;

use crate::cdc::CdcParams;
use crate::engine::workers::Workers;
use crate::nar::annotations::Notes;
use crate::nar::scanner::NarScanner;
use boundaries::Boundaries;

/// How to chunk: where to cut, what to do with each chunk, and on which threads.
///
/// `work` is called once for each chunk, on any of the threads, and what it gives is the result for that chunk;
/// results come in the order of the chunks. [`Chunk::hashed`] makes the usual one.
///
/// ```
/// use chunker::cdc::{CdcParams, Options};
/// use chunker::engine::{Chunk, Chunking};
/// use chunker::hash::Algorithm;
/// use chunker::engine::workers::Workers;
///
/// let cutter = CdcParams::new(&Options::default())?;
/// let chunking = Chunking::new(cutter, Workers::of_this_thread(), Chunk::hashed(Algorithm::ALL[0]));
/// let chunks = chunking.slice(b"hello", &|| false)?;
/// assert_eq!((chunks[0].offset, chunks[0].length), (0, 5));
/// # Ok::<(), chunker::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Chunking<W> {
    cuts: Boundaries,
    workers: Workers,
    work: W,
    notes: Notes,
}

impl<W> Chunking<W> {
    /// Puts the parts together. Costs nothing.
    #[must_use]
    pub fn new(cutter: CdcParams, workers: Workers, work: W) -> Self {
        Self { cuts: Boundaries::plain(cutter), workers, work, notes: Notes::default() }
    }

    /// The same for inputs that are NARs, which are chunked along their files. With any other input chunking fails with
    /// [`Error::Nar`](crate::Error::Nar).
    #[must_use]
    pub fn nar(scanner: NarScanner, workers: Workers, work: W) -> Self {
        Self { cuts: Boundaries::Nar(Box::new(scanner)), workers, work, notes: Notes::default() }
    }

    /// The threads that work.
    #[must_use]
    pub const fn workers(&self) -> Workers {
        self.workers
    }

    /// The same on other threads.
    #[must_use]
    pub fn with_workers(mut self, workers: Workers) -> Self {
        self.workers = workers;
        self
    }

    /// The same, with these notes on each chunk of a NAR, which are given to the work on it.
    #[must_use]
    pub fn with_notes(mut self, notes: Notes) -> Self {
        self.notes = notes;
        self
    }
}

/// The least that is handed to a thread at once, in bytes: handing out costs about a microsecond, and so many bytes are
/// hashed in a hundred.
const WORK_ITEM_BYTES: usize = 256 << 10;

/// What is scanned at a stretch, in bytes, before other threads may have the core: less than ten microseconds' work.
const SCAN_STRETCH: usize = 32 << 10;

/// How long a thread sleeps that waits for another before it asks again whether to give up.
const CANCEL_POLL: Duration = Duration::from_millis(10);
