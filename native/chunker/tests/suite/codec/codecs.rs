//! The properties by which the codecs differ.

use chunker::codec::*;

/// Returns whether the first bytes of an input tell the codec.
pub(crate) fn is_detected(codec: Codec) -> bool {
    codec != Codec::Brotli
}

/// Returns whether several streams in a row are one content.
pub(crate) fn is_concatenated(codec: Codec) -> bool {
    !matches!(codec, Codec::Brotli | Codec::Lzma)
}

/// Returns whether the format has a magic, so that another format is always told apart.
pub(crate) fn has_magic(codec: Codec) -> bool {
    !matches!(codec, Codec::Brotli | Codec::Lzma)
}

/// Returns whether the format has a checksum, so that a damaged content is always detected.
pub(crate) fn is_checked(codec: Codec) -> bool {
    !matches!(codec, Codec::Brotli | Codec::Lzma)
}

/// Returns options that detect the codec if that is possible, and otherwise give it.
pub(crate) fn reading(codec: Codec) -> DecompressOptions {
    DecompressOptions::new().codec((!is_detected(codec)).then_some(codec))
}
