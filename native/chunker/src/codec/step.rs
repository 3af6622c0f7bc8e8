//! One step of a codec's library, which takes from the front of the input and writes to the front of a space.

use super::error::{CodecFailure, CompressionError};
use super::format::Codec;
use super::output::Output;

/// The effect of one step. Counts are valid also if the step failed.
pub(super) struct Step<S> {
    /// The number of input bytes that the library took.
    pub(super) taken: usize,
    /// The number of output bytes that it wrote.
    pub(super) written: usize,
    pub(super) result: Result<S, CodecFailure>,
}

impl<S> Step<S> {
    /// Runs a step of a library that counts its whole input and output, as `totals` returns them.
    #[cfg(any(feature = "xz", feature = "bzip2", feature = "gzip"))]
    pub(super) fn counted<L>(
        library: &mut L,
        totals: fn(&L) -> (u64, u64),
        run: impl FnOnce(&mut L) -> Result<S, CodecFailure>,
    ) -> Self {
        let (taken, written) = totals(library);
        let result = run(library);
        let (taken_after, written_after) = totals(library);
        // Both differences are lengths of slices, so the casts are lossless.
        Self { taken: (taken_after - taken) as usize, written: (written_after - written) as usize, result }
    }
}

/// Runs a step of an encoder. Returns its status, and whether it filled the space, and so may hold back
/// output.
pub(super) fn encode_step<S>(
    codec: Codec,
    input: &mut &[u8],
    out: &mut Output<'_>,
    run: impl FnOnce(&[u8], &mut [u8]) -> Step<S>,
) -> Result<(S, bool), CompressionError> {
    let failed = |why| CompressionError::CompressionFailed { codec, why };
    let space = out.step().map_err(failed)?;
    let room = space.len();
    let Step { taken, written, result } = run(input, space);
    *input = &input[taken..];
    out.advance(written)?;
    Ok((result.map_err(failed)?, written == room))
}
