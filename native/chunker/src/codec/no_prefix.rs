//! Stands for [`prefix`](super::prefix) in a build without zstd.

use super::error::CompressionError;
use super::format::Codec;
use super::options::CompressOptions;
use crate::io::output_buffer::OutputBuffer;

pub(crate) fn compress_with_prefix(
    _content: &[u8],
    _prefix: &[u8],
    _options: Option<&CompressOptions>,
    _out: &mut dyn OutputBuffer,
) -> Result<(), CompressionError> {
    Err(CompressionError::CodecDisabled { codec: Codec::Zstd })
}

pub(crate) fn decompress_with_prefix(
    _frame: &[u8],
    _prefix: &[u8],
    _length: usize,
    _out: &mut dyn OutputBuffer,
) -> Result<(), CompressionError> {
    Err(CompressionError::CodecDisabled { codec: Codec::Zstd })
}
