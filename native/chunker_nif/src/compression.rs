//! Compression and decompression of whole binaries.

use chunker::codec::{
    CompressionScratch, compress_cancellable, decompress_cancellable, detect_format,
    train_dictionary_cancellable,
};
use rustler::{Binary, Env, NifResult, Term};

use crate::binary::{BinaryBuffer, text};
use crate::call::{caller_died, guard, ok, twins};
use crate::error::{NifError, atom};
use crate::list::List;
use crate::options::{Compression, Decompression};

/// `{ok, Compressed}`
#[rustler::nif(schedule = "DirtyCpu")]
fn compress<'a>(env: Env<'a>, data: Binary<'a>, options: Compression<'a>) -> NifResult<Term<'a>> {
    guard(env, || {
        let (options, mut out) = (options.checked()?, BinaryBuffer::new());
        compress_cancellable(&data, &options, &mut CompressionScratch::new(), &mut out, &caller_died(env))?;
        ok(env, out.into_term(env))
    })
}

/// `{ok, {Content, Ignored}}`, with the number of bytes after the content that were ignored.
#[rustler::nif(schedule = "DirtyCpu")]
fn decompress<'a>(env: Env<'a>, data: Binary<'a>, options: Decompression<'a>) -> NifResult<Term<'a>> {
    guard(env, || {
        let (options, mut out) = (options.checked()?, BinaryBuffer::new());
        let mut scratch = CompressionScratch::new();
        let ignored = decompress_cancellable(&data, &options, &mut scratch, &mut out, &caller_died(env))?;
        ok(env, (out.into_term(env), ignored))
    })
}

twins! {
    /// `{ok, Codec}`. Even a row of empty skippable frames takes less than a millisecond if it is short.
    fn detect_codec, detect_codec_dirty(env, _scheduler; data: Binary<'a>) {
        ok(env, atom(env, detect_format(&data).map_err(chunker::Error::from)?.name()))
    }
}

/// `{ok, Dictionary}`
#[rustler::nif(schedule = "DirtyCpu")]
fn train_dictionary<'a>(
    env: Env<'a>,
    List(samples): List<Binary<'a>>,
    size: Term<'a>,
) -> NifResult<Term<'a>> {
    guard(env, || {
        let samples: Vec<&[u8]> = samples.iter().map(Binary::as_slice).collect();
        // 100 MiB is far beyond the size at which a larger dictionary helps.
        let most = 100 << 20;
        match size.decode() {
            Ok(size) if (256..=most).contains(&size) => {
                let dictionary = train_dictionary_cancellable(&samples, size, &caller_died(env))?;
                ok(env, text(env, dictionary.as_bytes()))
            }
            _ => {
                Err(NifError::OutOfRange { option: "max_size", value: size, allowed: format!("256..{most}") })
            }
        }
    })
}
