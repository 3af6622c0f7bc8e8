//! Content-defined chunking: where to cut, and how to cut and hash a whole input on several threads.
//!
//! To chunk something, make a [`Chunking`] once and call it: [`Chunking::slice`] for bytes in memory,
//! [`Chunking::reader`] for a file or any `Read`, [`Chunking::pieces`] for input that arrives in pieces.
//! [`Selection`] chunks NARs in one way and other inputs in another.
//! [`Scanner`] gives bare cut points, for those who hash and store in their own way.
//!
//! Cut points are those of crate `fastcdc`'s `v2020` for the same options, however the input comes and on any number
//! of threads: the chunks that someone stored last year must be the ones that are found today.

#[cfg(target_arch = "x86_64")]
mod avx512;
mod blocks;
mod chunk;
mod cuts;
mod files;
mod front;
mod jobs;
mod kernel;
mod marks;
mod options;
mod pieces;
mod pipeline;
mod prefetch;
mod reader;
mod scalar;
mod scanner;
mod segments;
mod selection;
mod slice;
mod tap;

pub use chunk::{Chunk, ChunkBytes};
pub use files::FileChunks;
pub(crate) use marks::Ahead;
pub use options::{Cutter, Options};
pub use pieces::Pieces;
pub(crate) use reader::PATIENCE;
pub use reader::{Reader, Step};
pub use scanner::{Cut, Scanner};
pub use selection::Selection;

use std::time::Duration;

use crate::nar::chunking::NarScanner;
use crate::nar::notes::Notes;
use crate::workers::Workers;
use cuts::Cuts;
use kernel::Kernel;

/// How to chunk: where to cut, what to do with each chunk, and on which threads.
///
/// `work` is called once for each chunk, on any of the threads, and what it gives is the result for that chunk;
/// results come in the order of the chunks. [`Chunk::hashed`] makes the usual one.
///
/// ```
/// use chunker::chunking::{Chunk, Chunking, Cutter, Options};
/// use chunker::hashing::Algorithm;
/// use chunker::workers::Workers;
///
/// let cutter = Cutter::new(&Options::default())?;
/// let chunking = Chunking::new(cutter, Workers::of_this_thread(), Chunk::hashed(Algorithm::ALL[0]));
/// let chunks = chunking.slice(b"hello", &|| false)?;
/// assert_eq!((chunks[0].offset, chunks[0].length), (0, 5));
/// # Ok::<(), chunker::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Chunking<W> {
    cuts: Cuts,
    workers: Workers,
    work: W,
    notes: Notes,
}

impl<W> Chunking<W> {
    /// Puts the parts together. Costs nothing.
    #[must_use]
    pub fn new(cutter: Cutter, workers: Workers, work: W) -> Self {
        Self { cuts: Cuts::plain(cutter), workers, work, notes: Notes::default() }
    }

    /// The same for inputs that are NARs, which are chunked along their files. With any other input chunking fails with
    /// [`Error::Nar`](crate::Error::Nar).
    #[must_use]
    pub fn nar(scanner: NarScanner, workers: Workers, work: W) -> Self {
        Self { cuts: Cuts::Nar(Box::new(scanner)), workers, work, notes: Notes::default() }
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
const GROUP: usize = 256 << 10;

/// What is scanned at a stretch, in bytes, before other threads may have the core: less than ten microseconds' work.
const STRETCH: usize = 32 << 10;

/// How long a thread sleeps that waits for another before it asks again whether to give up.
const NAP: Duration = Duration::from_millis(10);

/// The name of the scan kernel that is used: the fastest one that the CPU can run, or the one that the environment variable
/// `CHUNKER_KERNEL` asks for.
///
/// # Errors
///
/// When the variable asks for one that does not exist or that the CPU cannot run.
pub fn kernel() -> Result<&'static str, crate::OptionsError> {
    Ok(Kernel::selected()?.name())
}

/// The names of all scan kernels that this CPU can run, the fastest first.
#[must_use]
pub fn kernels() -> Vec<&'static str> {
    Kernel::available().iter().map(Kernel::name).collect()
}
