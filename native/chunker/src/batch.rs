//! Hashes and compresses many items in one call.
//!
//! [`chunk_files`](crate::engine::chunk_files) does the same for the chunks of files.

use crate::Cancel;
use crate::cache::Digester;
use crate::codec::{
    CompressOptions, CompressionScratch, DecompressOptions, compress_cancellable, decompress_cancellable,
};
use crate::engine::batch::BatchOptions;
use crate::error::Error;
use crate::hash::Digest;
use crate::io::output_buffer::OutputBuffer;

/// Returns the digests of `items`, in order. Takes time linear in their lengths.
///
/// ```
/// use chunker::hash::Algorithm;
/// use chunker::{BatchOptions, NEVER, hash_batch};
///
/// let algorithm = Algorithm::ALL[0];
/// let digests = hash_batch(&["one", "two"], algorithm, &BatchOptions::default(), NEVER)?;
/// assert_eq!(digests, [algorithm.hash(b"one"), algorithm.hash(b"two")]);
/// # Ok::<(), chunker::Error>(())
/// ```
///
/// # Errors
///
/// Returns [`Error::Cancelled`] if `is_cancelled` returns true, and [`Error::Io`] if threads are needed and
/// the operating system cannot create them.
pub fn hash_batch<I: AsRef<[u8]> + Sync>(
    items: &[I],
    digester: impl Into<Digester>,
    options: &BatchOptions<'_>,
    is_cancelled: Cancel<'_>,
) -> Result<Vec<Digest>, Error> {
    let digester = digester.into();
    let work = |(): &mut (), item: &I, is_cancelled: Cancel<'_>| {
        digester.digest_cancellable(item.as_ref(), is_cancelled)
    };
    let digests = options.run(items, |item| item.as_ref().len(), || (), work, is_cancelled)?;
    digests.into_iter().collect()
}

/// Compresses `items`. Returns a result for each, in order: one that fails does not affect the others.
///
/// # Errors
///
/// Returns an error of the call if the options are wrong, and the errors of [`hash_batch`].
pub fn compress_batch<I: AsRef<[u8]> + Sync>(
    items: &[I],
    compression: &CompressOptions,
    options: &BatchOptions<'_>,
    is_cancelled: Cancel<'_>,
) -> Result<Vec<Result<Vec<u8>, Error>>, Error> {
    compress_batch_into(items, compression, Vec::new, options, is_cancelled)
}

/// Compresses `items` like [`compress_batch`], each into a buffer that `buffer` returns.
///
/// # Errors
///
/// Returns the errors of [`compress_batch`].
pub fn compress_batch_into<I: AsRef<[u8]> + Sync, B: OutputBuffer + Send>(
    items: &[I],
    compression: &CompressOptions,
    buffer: impl Fn() -> B + Sync,
    options: &BatchOptions<'_>,
    is_cancelled: Cancel<'_>,
) -> Result<Vec<Result<B, Error>>, Error> {
    compression.validate()?;
    let compress = |item: &[u8], scratch: &mut CompressionScratch, out: &mut B, is_cancelled: Cancel<'_>| {
        compress_cancellable(item, compression, scratch, out, is_cancelled)
    };
    code_batch(items, compress, buffer, options, is_cancelled)
}

/// Decompresses `items`. Returns a result for each, in order: one that fails does not affect the others. The
/// limits of `decompression` apply to each item.
///
/// ```
/// use chunker::codec::{Codec, CompressOptions, DecompressOptions};
/// use chunker::{BatchOptions, NEVER, compress_batch, decompress_batch};
///
/// let codec = Codec::ALL.into_iter().find(|codec| codec.is_enabled());
/// let Some(codec) = codec else { return Ok(()) };
/// let options = BatchOptions::default();
/// let compressed = compress_batch(&["one", "two"], &CompressOptions::new(codec), &options, NEVER)?;
/// let compressed: Vec<_> = compressed.into_iter().collect::<Result<_, _>>()?;
/// let contents = decompress_batch(&compressed, &DecompressOptions::new(), &options, NEVER)?;
/// assert_eq!(contents[1].as_deref().unwrap(), b"two");
/// # Ok::<(), chunker::Error>(())
/// ```
///
/// # Errors
///
/// Returns the errors of [`compress_batch`].
pub fn decompress_batch<I: AsRef<[u8]> + Sync>(
    items: &[I],
    decompression: &DecompressOptions,
    options: &BatchOptions<'_>,
    is_cancelled: Cancel<'_>,
) -> Result<Vec<Result<Vec<u8>, Error>>, Error> {
    decompress_batch_into(items, decompression, Vec::new, options, is_cancelled)
}

/// Decompresses `items` like [`decompress_batch`], each into a buffer that `buffer` returns.
///
/// # Errors
///
/// Returns the errors of [`decompress_batch`].
pub fn decompress_batch_into<I: AsRef<[u8]> + Sync, B: OutputBuffer + Send>(
    items: &[I],
    decompression: &DecompressOptions,
    buffer: impl Fn() -> B + Sync,
    options: &BatchOptions<'_>,
    is_cancelled: Cancel<'_>,
) -> Result<Vec<Result<B, Error>>, Error> {
    decompression.validate()?;
    let decompress =
        |item: &[u8], scratch: &mut CompressionScratch, out: &mut B, is_cancelled: Cancel<'_>| {
            decompress_cancellable(item, decompression, scratch, out, is_cancelled).map(|_| ())
        };
    code_batch(items, decompress, buffer, options, is_cancelled)
}

/// Calls `code` for each item, with a scratch that a thread reuses and a buffer of its own.
fn code_batch<I: AsRef<[u8]> + Sync, B: OutputBuffer + Send>(
    items: &[I],
    code: impl Fn(&[u8], &mut CompressionScratch, &mut B, Cancel<'_>) -> Result<(), Error> + Sync,
    buffer: impl Fn() -> B + Sync,
    options: &BatchOptions<'_>,
    is_cancelled: Cancel<'_>,
) -> Result<Vec<Result<B, Error>>, Error> {
    let work = |scratch: &mut CompressionScratch, item: &I, is_cancelled: Cancel<'_>| {
        let mut out = buffer();
        code(item.as_ref(), scratch, &mut out, is_cancelled)?;
        // Here, on all threads, and not when the last item is done.
        out.shrink();
        Ok(out)
    };
    options.run(items, |item| item.as_ref().len(), CompressionScratch::new, work, is_cancelled)
}
