//! Compression and decompression of whole binaries.

use chunker::codec::{
    CompressionScratch, compress_cancellable, decompress_cancellable, detect_format,
    train_dictionary_cancellable,
};
use rustler::{Binary, Encoder, Env, NifResult, Term};

use crate::atoms;
use crate::binary::BinaryBuffer;
use crate::call::{caller_died, guard};
use crate::error::{NifError, atom, text};
use crate::options::{Compression, Decompression};

#[rustler::nif(schedule = "DirtyCpu")]
fn compress<'a>(env: Env<'a>, data: Binary<'a>, options: Compression<'a>) -> NifResult<Term<'a>> {
    guard(env, || {
        let (options, mut out) = (options.checked()?, BinaryBuffer::new());
        compress_cancellable(&data, &options, &mut CompressionScratch::new(), &mut out, &caller_died(env))?;
        Ok((atoms::ok(), out.into_term(env)).encode(env))
    })
}

#[rustler::nif(schedule = "DirtyCpu")]
fn decompress<'a>(env: Env<'a>, data: Binary<'a>, options: Decompression<'a>) -> NifResult<Term<'a>> {
    guard(env, || {
        let (options, mut out) = (options.checked()?, BinaryBuffer::new());
        decompress_cancellable(&data, &options, &mut CompressionScratch::new(), &mut out, &caller_died(env))?;
        Ok((atoms::ok(), out.into_term(env)).encode(env))
    })
}

/// For data so short that a plain scheduler is not held up, even if it is a row of empty skippable frames.
#[rustler::nif]
fn detect_codec_small<'a>(env: Env<'a>, data: Binary<'a>) -> NifResult<Term<'a>> {
    guard(env, || detect(env, &data))
}

#[rustler::nif(schedule = "DirtyCpu")]
fn detect_codec<'a>(env: Env<'a>, data: Binary<'a>) -> NifResult<Term<'a>> {
    guard(env, || detect(env, &data))
}

fn detect<'a>(env: Env<'a>, data: &[u8]) -> Result<Term<'a>, NifError<'a>> {
    let codec = detect_format(data).map_err(chunker::Error::from)?;
    Ok((atoms::ok(), atom(env, codec.name())).encode(env))
}

#[rustler::nif(schedule = "DirtyCpu")]
fn train_dictionary<'a>(env: Env<'a>, samples: Vec<Binary<'a>>, size: Term<'a>) -> NifResult<Term<'a>> {
    guard(env, || {
        let samples: Vec<&[u8]> = samples.iter().map(Binary::as_slice).collect();
        // 100 MiB is far more than any dictionary is good for.
        let most = 100 << 20;
        match size.decode() {
            Ok(size) if (256..=most).contains(&size) => {
                let dictionary = train_dictionary_cancellable(&samples, size, &caller_died(env))?;
                Ok((atoms::ok(), text(env, dictionary.as_bytes())).encode(env))
            }
            _ => {
                Err(NifError::OutOfRange { option: "max_size", value: size, allowed: format!("256..{most}") })
            }
        }
    })
}
