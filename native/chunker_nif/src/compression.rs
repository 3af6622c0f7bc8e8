//! Compression and decompression of whole binaries.

use chunker::codec::{
    CompressionError, CompressionScratch, compress_cancellable, decompress_cancellable, detect_format,
    train_dictionary_cancellable,
};
use rustler::{Binary, Encoder, Term};

use crate::atoms;
use crate::binary::{BinaryBuffer, text};
use crate::call::{Place, nif, ok};
use crate::error::{NifError, atom};
use crate::list::List;
use crate::options::{Compression, Decompression};

nif! {
    /// `{ok, Compressed}`, or `short` if the codec is too slow for a dirty scheduler.
    dirty compress, job compress_job => fn(call, data: Binary<'a>, options: Compression<'a>) {
        let (options, mut out) = (options.checked()?, BinaryBuffer::new());
        if call.place == Place::Dirty && options.is_slow() {
            return Ok(atoms::short().encode(call.env));
        }
        let mut scratch = CompressionScratch::new();
        compress_cancellable(&data, &options, &mut scratch, &mut out, &call.is_cancelled())?;
        ok(call.env, out.into_term(call.env))
    }
}

/// The most bytes that a call on a dirty scheduler decompresses. Short inputs may decompress to a thousand
/// times their size.
const SHORT_OUTPUT: u64 = 1 << 20;

nif! {
    /// `{ok, {Content, Ignored}}`, with the number of bytes after the content that were ignored, or `long` if
    /// the content is too long for a dirty scheduler.
    dirty decompress, job decompress_job => fn(call, data: Binary<'a>, options: Decompression<'a>) {
        let checked = options.checked()?;
        let is_short = call.place == Place::Dirty && options.limit()? > SHORT_OUTPUT;
        let options = if is_short { checked.limit(SHORT_OUTPUT) } else { checked };
        let mut out = BinaryBuffer::new();
        let mut scratch = CompressionScratch::new();
        match decompress_cancellable(&data, &options, &mut scratch, &mut out, &call.is_cancelled()) {
            Err(chunker::Error::Compression(CompressionError::SizeExceeded { .. })) if is_short => {
                Ok(atoms::long().encode(call.env))
            }
            result => {
                let ignored = result?;
                ok(call.env, (out.into_term(call.env), ignored))
            }
        }
    }
}

nif! {
    /// `{ok, Codec}`
    plain detect_codec, dirty detect_codec_dirty, job detect_codec_job => fn(call, data: Binary<'a>) {
        ok(call.env, atom(call.env, detect_format(&data).map_err(chunker::Error::from)?.name()))
    }
}

nif! {
    /// `{ok, Dictionary}`
    list_job train_dictionary_job => fn(
        call,
        samples: List<Binary<'a>>,
        size: Term<'a>,
    ) {
        let List(samples) = samples;
        let samples: Vec<&[u8]> = samples.iter().map(Binary::as_slice).collect();
        // 100 MiB is far beyond the size at which a larger dictionary helps.
        let most = 100 << 20;
        match size.decode() {
            Ok(size) if (256..=most).contains(&size) => {
                let dictionary = train_dictionary_cancellable(&samples, size, &call.is_cancelled())?;
                ok(call.env, text(call.env, dictionary.as_bytes()))
            }
            _ => {
                Err(NifError::OutOfRange { option: "max_size", value: size, allowed: format!("256..{most}") })
            }
        }
    }
}
