//! Chunks many files.

use std::path::Path;

use super::batch::BatchOptions;
use super::chunk::ChunkBytes;
use super::chunker_kind::ChunkerKind;
use super::workers::Workers;
use crate::Cancel;
use crate::error::Error;
use crate::io::file::{self, Input, Kind, OnChange};

/// The result for one of many files.
#[derive(Debug)]
pub enum FileChunks<T> {
    /// The results of its chunks.
    Chunks(Vec<T>),
    /// The file is special, for example a FIFO, and was skipped: waiting for its producer would delay the
    /// files after it.
    Special,
}

/// Chunks the files at `paths` and returns the results in their order. A file that cannot be chunked does not
/// affect the others.
///
/// Many files are each chunked by one thread, the largest first, and each thread has one file open. Fewer
/// files than the batch's threshold are chunked one after the other, each by all threads.
///
/// ```
/// use chunker::cdc::{CdcParams, Options};
/// use chunker::engine::workers::Workers;
/// use chunker::engine::{Chunk, Chunking, FileChunks};
/// use chunker::hash::Algorithm;
/// use chunker::io::file::OnChange;
/// use chunker::{BatchOptions, NEVER, chunk_files};
///
/// let params = CdcParams::new(&Options::default())?;
/// let chunking = Chunking::new(params, Workers::all()?, Chunk::hashed(Algorithm::ALL[0]));
/// let paths = ["Cargo.toml", "no such file"];
/// let files = chunk_files(chunking, &paths, OnChange::Error, &BatchOptions::default(), NEVER)?;
/// assert!(matches!(&files[0], Ok(FileChunks::Chunks(chunks)) if chunks.len() == 1));
/// assert!(files[1].is_err());
/// # Ok::<(), chunker::Error>(())
/// ```
///
/// Progress counts the files that are chunked; special files are not counted as done.
///
/// # Errors
///
/// Returns the errors of [`BatchOptions::run`]. The errors of the files are among the results.
///
/// # Panics
///
/// Panics with the same payload if the work on a chunk panics.
pub fn chunk_files<T, A, W>(
    kind: impl Into<ChunkerKind<W, A>>,
    paths: &[impl AsRef<Path> + Sync],
    on_change: OnChange,
    options: &BatchOptions<'_>,
    is_cancelled: Cancel<'_>,
) -> Result<Vec<Result<FileChunks<T>, Error>>, Error>
where
    T: Send + 'static,
    A: Send + 'static,
    W: Fn(&ChunkBytes<'_, A>) -> T + Clone + Send + Sync + 'static,
{
    let kind = kind.into();
    let few = paths.len() < options.parallel_threshold;
    let kind = if few { kind } else { kind.with_workers(Workers::of_this_thread()) };
    // All threads read the sizes, which takes long on a network file system.
    let looks = BatchOptions { progress: None, ..*options };
    let looks = looks.run(paths, |_| 0, || (), |(), path, _| look(path.as_ref()), is_cancelled)?;
    let special = looks.iter().filter(|(special, _)| *special).count();
    let total = paths.len();
    // Special files come last, so that the batch counts the files that are chunked first.
    let report = |done: usize, _: usize| {
        if let Some(progress) = options.progress
            && done <= total - special
        {
            progress(done, total);
        }
    };
    let options = BatchOptions { progress: options.progress.is_some().then_some(&report), ..*options };
    let files: Vec<_> = paths.iter().map(AsRef::as_ref).zip(looks).collect();
    let work = |(): &mut (), (path, (special, _)): &(&Path, (bool, usize)), is_cancelled: Cancel<'_>| {
        if *special || file::kind(path)? == Kind::Special {
            return Ok(FileChunks::Special);
        }
        let mut input = Input::open(path)?.on_change(on_change);
        // The path may lead to another file by now.
        let Some(chunking) = kind.for_input(&mut input, is_cancelled)? else {
            return Ok(FileChunks::Special);
        };
        Ok(FileChunks::Chunks(chunking.clone().source(input).all(is_cancelled)?))
    };
    let size = |(_, (special, length)): &(&Path, (bool, usize))| {
        if *special { 0 } else { length.saturating_add(1) }
    };
    options.run(&files, size, || (), work, is_cancelled)
}

/// Returns whether a file is special, and its length in bytes, or 0 if it is unknown. The length only
/// determines the order.
fn look(path: &Path) -> (bool, usize) {
    let Ok(metadata) = std::fs::metadata(path) else { return (false, 0) };
    let special = !metadata.is_file() && !metadata.is_dir();
    (special, usize::try_from(metadata.len()).unwrap_or(usize::MAX))
}
