//! Records: what packs consist of.
//!
//! A record is a header of 52 bytes and a payload. The header has what is needed to read the payload without
//! any other object, and a check of its own, so that a scan finds the next record after damage.

use std::ops::Range;

use crate::codec::{
    Codec, CompressOptions, CompressionError, CompressionScratch, DecompressOptions, compress_into,
    compress_with_prefix, decompress_into, decompress_with_prefix,
};
use crate::error::Error;
use crate::hash::{Algorithm, Digest};
use crate::io::output_buffer::OutputBuffer;

use super::delta::{Base, DeltaHead};
use super::error::StoreError;

/// The first bytes of a record.
const MAGIC: [u8; 4] = *b"CKR1";

/// The length of a header, in bytes.
pub(super) const HEADER: usize = 52;

/// The longest payload and the longest content, in bytes: more than the longest chunk.
pub(super) const MOST: usize = 1 << 26;

/// What a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    /// The bytes of a chunk.
    Chunk,
    /// A manifest.
    Manifest,
    /// A part of the list of chunks of a long manifest.
    Node,
    /// The objects that a session has committed.
    Commit,
    /// The bytes of a chunk, as what differs from other chunks.
    Delta,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Chunk, Self::Manifest, Self::Node, Self::Commit, Self::Delta];

    pub(super) const fn to_number(self) -> u8 {
        self as u8
    }

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.to_number() == number)
    }
}

/// The codecs by their numbers in headers, from 1 on; 0 is a payload that is the content itself. Numbers
/// never change.
const CODECS: [Codec; 6] = [Codec::Zstd, Codec::Lz4, Codec::Xz, Codec::Bzip2, Codec::Gzip, Codec::Brotli];

/// The header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    /// `None` for a payload that is the content itself.
    pub(super) codec: Option<Codec>,
    /// The length of the payload, in bytes.
    pub(super) stored: u32,
    /// The length of the content, in bytes.
    pub(super) length: u32,
    /// The digest of the content.
    pub(super) digest: Digest,
}

impl Header {
    /// Returns the bytes of the header.
    pub(super) fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = self.kind.to_number();
        bytes[5] = self.codec_number();
        bytes[8..12].copy_from_slice(&self.stored.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.length.to_le_bytes());
        bytes[16..48].copy_from_slice(&self.digest.0);
        let check = crc32c::crc32c(&bytes[..48]);
        bytes[48..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    /// Reads a header. The error is what is wrong.
    pub(super) fn from_bytes(bytes: &[u8; HEADER]) -> Result<Self, &'static str> {
        let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        if bytes[..4] != MAGIC {
            return Err("no_record");
        }
        if number(48) != crc32c::crc32c(&bytes[..48]) {
            return Err("header_check");
        }
        let digest = Digest(bytes[16..48].try_into().expect("32 bytes"));
        Self::from_numbers(bytes[4], bytes[5], number(8), number(12), digest)
    }

    /// Returns the header with these values. The error is what is wrong.
    pub(super) fn from_numbers(
        kind: u8,
        codec: u8,
        stored: u32,
        length: u32,
        digest: Digest,
    ) -> Result<Self, &'static str> {
        let kind = Kind::from_number(kind).ok_or("unknown_kind")?;
        let codec = match codec {
            0 => None,
            number => Some(*CODECS.get(usize::from(number) - 1).ok_or("unknown_codec")?),
        };
        if stored as usize > MOST || length as usize > MOST {
            return Err("record_length");
        }
        Ok(Self { kind, codec, stored, length, digest })
    }

    /// Returns the number of the codec.
    pub(super) fn codec_number(self) -> u8 {
        self.codec.map_or(0, |codec| {
            let place = CODECS.iter().position(|&known| known == codec);
            place.expect("options with another codec are refused") as u8 + 1
        })
    }
}

/// Returns whether a record can have the codec of these options.
pub(super) fn is_storable(options: &CompressOptions) -> bool {
    CODECS.contains(&options.codec())
}

/// Writes a compressed content.
type Compressor = fn(
    &[u8],
    &CompressOptions,
    &mut CompressionScratch,
    &mut dyn OutputBuffer,
) -> Result<(), CompressionError>;

/// Writes a content that is compressed after a prefix.
type PrefixCompressor =
    fn(&[u8], &[u8], Option<&CompressOptions>, &mut dyn OutputBuffer) -> Result<(), CompressionError>;

/// What a thread keeps from record to record.
#[derive(Default)]
pub(super) struct Scratch {
    /// The content of a chunk that lies in several places.
    joined: Vec<u8>,
    whole: WholeScratch,
    delta: DeltaScratch,
}

/// What it needs for a content that is compressed alone.
#[derive(Default)]
struct WholeScratch {
    codec: CompressionScratch,
    payload: Vec<u8>,
    checked: Vec<u8>,
}

/// What it needs for a delta.
#[derive(Default)]
struct DeltaScratch {
    prefix: Vec<u8>,
    frame: Vec<u8>,
    payload: Vec<u8>,
    checked: Vec<u8>,
}

/// A delta that takes at most one in so many bytes of its content is taken without compressing the content for
/// comparison. Measured on versions of packages, this costs 1% of size and saves a third of the time.
const SURELY_SMALL: usize = 8;

/// Otherwise a delta is taken if it is shorter by at least one in so many bytes: reading it takes longer, and it
/// keeps its bases alive.
const LEAST_SAVING: usize = 8;

impl WholeScratch {
    /// Compresses a content. What the compressor has made is decompressed and compared, since a fault of it would
    /// otherwise be noticed when the content is needed.
    fn compress<'a>(
        &'a mut self,
        content: &'a [u8],
        options: Option<&CompressOptions>,
        compressor: Compressor,
    ) -> Result<(Option<Codec>, &'a [u8]), Error> {
        let Some(options) = options else { return Ok((None, content)) };
        compressor(content, options, &mut self.codec, &mut self.payload)?;
        if self.payload.len() >= content.len() {
            return Ok((None, content));
        }
        let codec = options.codec();
        let result = decompress(&self.payload, codec, content.len(), &mut self.codec, &mut self.checked);
        if result.is_err() || self.checked != content {
            return Err(compressor_fault());
        }
        Ok((Some(codec), &self.payload))
    }
}

impl DeltaScratch {
    /// Compresses a content after those of bases, checks that as well, and returns the payload.
    fn compress(
        &mut self,
        content: &[u8],
        options: Option<&CompressOptions>,
        bases: &[Base],
        head: &DeltaHead,
        compressor: PrefixCompressor,
    ) -> Result<&[u8], Error> {
        let Self { prefix: buffer, frame, payload, checked } = self;
        let prefix = prefix(bases, buffer);
        compressor(content, prefix, options, frame)?;
        let result = decompress_with_prefix(frame, prefix, content.len(), checked);
        if result.is_err() || checked != content {
            return Err(compressor_fault());
        }
        payload.clear();
        payload.extend(head.to_bytes());
        payload.extend_from_slice(frame);
        Ok(payload)
    }
}

fn compressor_fault() -> Error {
    StoreError::corrupt("a new record", None, "compressor_fault").into()
}

/// Returns the prefix of a delta of these bases.
fn prefix<'a>(bases: &'a [Base], buffer: &'a mut Vec<u8>) -> &'a [u8] {
    match bases {
        [content] => content,
        bases => {
            buffer.clear();
            bases.iter().for_each(|content| buffer.extend_from_slice(content));
            buffer
        }
    }
}

/// Returns a content that lies in one place or several as one slice.
fn contiguous<'a>(slices: &'a [&'a [u8]], joined: &'a mut Vec<u8>) -> &'a [u8] {
    match slices {
        [content] => content,
        slices => {
            joined.clear();
            slices.iter().for_each(|slice| joined.extend_from_slice(slice));
            joined
        }
    }
}

impl Scratch {
    /// Compresses a content that lies in one place or several, and returns the codec and the payload: the
    /// content itself if `options` is `None` or compressed it is no shorter.
    pub(super) fn compress<'a>(
        &'a mut self,
        slices: &'a [&'a [u8]],
        options: Option<&CompressOptions>,
    ) -> Result<(Option<Codec>, &'a [u8]), Error> {
        self.compress_by(slices, options, compress_into)
    }

    /// Does so with a compressor.
    fn compress_by<'a>(
        &'a mut self,
        slices: &'a [&'a [u8]],
        options: Option<&CompressOptions>,
        compressor: Compressor,
    ) -> Result<(Option<Codec>, &'a [u8]), Error> {
        let Self { joined, whole, .. } = self;
        whole.compress(contiguous(slices, joined), options, compressor)
    }

    /// Compresses a chunk: as a delta of bases if that is shorter by enough. Returns the header and the payload.
    pub(super) fn compress_chunk<'a>(
        &'a mut self,
        digest: Digest,
        slices: &'a [&'a [u8]],
        options: Option<&CompressOptions>,
        bases: &[Base],
        head: &DeltaHead,
    ) -> Result<(Header, &'a [u8]), Error> {
        let Self { joined, whole, delta } = self;
        let content = contiguous(slices, joined);
        let length = content.len() as u32;
        let header = |kind, codec, payload: &[u8]| {
            let stored = payload.len() as u32;
            Header { kind, codec, stored, length, digest }
        };
        let delta = delta.compress(content, options, bases, head, compress_with_prefix)?;
        if delta.len() > content.len() / SURELY_SMALL {
            let (codec, payload) = whole.compress(content, options, compress_into)?;
            if delta.len() + payload.len() / LEAST_SAVING > payload.len() {
                return Ok((header(Kind::Chunk, codec, payload), payload));
            }
        }
        Ok((header(Kind::Delta, Some(Codec::Zstd), delta), delta))
    }

    /// Returns the content of a delta whose frame and bases these are, as [`content`](Self::content) does.
    pub(super) fn delta_content(
        &mut self,
        header: &Header,
        frame: &[u8],
        bases: &[Base],
        algorithm: Algorithm,
        out: &mut dyn OutputBuffer,
    ) -> Result<(), ContentError> {
        let prefix = prefix(bases, &mut self.delta.prefix);
        decompress_with_prefix(frame, prefix, header.length as usize, out)
            .map_err(|error| of_payload(error.into()))?;
        check(header, out.as_mut_slice(), algorithm)
    }

    /// Returns the content of a record, once it is found to have its length and its digest. The error is what
    /// is wrong.
    pub(super) fn content(
        &mut self,
        header: &Header,
        payload: &[u8],
        algorithm: Algorithm,
        out: &mut dyn OutputBuffer,
    ) -> Result<(), ContentError> {
        match header.codec {
            None => {
                check(header, payload, algorithm)?;
                copy(payload, out)
            }
            Some(codec) => {
                decompress_payload(header, codec, payload, &mut self.whole.codec, out)?;
                check(header, out.as_mut_slice(), algorithm)
            }
        }
    }

    /// Returns a part of the content, once the whole is found to be right. `range` is cut off at its end.
    pub(super) fn content_range(
        &mut self,
        header: &Header,
        payload: &[u8],
        algorithm: Algorithm,
        range: Range<usize>,
        out: &mut dyn OutputBuffer,
    ) -> Result<(), ContentError> {
        let whole = match header.codec {
            None => payload,
            Some(codec) => {
                let WholeScratch { codec: scratch, checked, .. } = &mut self.whole;
                decompress_payload(header, codec, payload, scratch, checked)?;
                checked
            }
        };
        check(header, whole, algorithm)?;
        copy_range(whole, range, out)
    }
}

/// Copies a part of a content, which is cut off at its end.
pub(super) fn copy_range(
    content: &[u8],
    range: Range<usize>,
    out: &mut dyn OutputBuffer,
) -> Result<(), ContentError> {
    let end = range.end.min(content.len());
    copy(&content[range.start.min(end)..end], out)
}

/// Checks that a content is that of a header.
fn check(header: &Header, content: &[u8], algorithm: Algorithm) -> Result<(), ContentError> {
    if content.len() == header.length as usize && algorithm.hash(content) == header.digest {
        Ok(())
    } else {
        Err(ContentError::Wrong("record_digest"))
    }
}

fn copy(content: &[u8], out: &mut dyn OutputBuffer) -> Result<(), ContentError> {
    out.truncate(0);
    out.grow(content.len()).map_err(|_| ContentError::Wrong("no_memory"))?;
    out.as_mut_slice()[..content.len()].copy_from_slice(content);
    out.truncate(content.len());
    Ok(())
}

fn decompress_payload(
    header: &Header,
    codec: Codec,
    payload: &[u8],
    scratch: &mut CompressionScratch,
    out: &mut dyn OutputBuffer,
) -> Result<(), ContentError> {
    let result = decompress(payload, codec, header.length as usize, scratch, out);
    result.map_err(of_payload)
}

fn of_payload(error: Error) -> ContentError {
    match error {
        Error::Compression(error @ CompressionError::CodecDisabled { .. }) => {
            ContentError::Other(error.into())
        }
        _ => ContentError::Wrong("record_payload"),
    }
}

/// The reason for which the content of a record cannot be had.
#[derive(Debug)]
pub(super) enum ContentError {
    /// The record is damaged.
    Wrong(&'static str),
    /// This library cannot read it.
    Other(Error),
}

fn decompress(
    payload: &[u8],
    codec: Codec,
    length: usize,
    scratch: &mut CompressionScratch,
    out: &mut dyn OutputBuffer,
) -> Result<(), Error> {
    let options = DecompressOptions::new().codec(codec).limit(length as u64).max_memory(MOST as u64);
    decompress_into(payload, &options, scratch, out)?;
    Ok(())
}

#[cfg(all(test, feature = "zstd"))]
mod tests {
    use super::*;

    /// Compresses as a faulty codec would: another content, or nothing that can be decompressed.
    fn other_content(
        content: &[u8],
        options: &CompressOptions,
        scratch: &mut CompressionScratch,
        out: &mut dyn OutputBuffer,
    ) -> Result<(), CompressionError> {
        let mut other = content.to_vec();
        other[content.len() / 2] ^= 1;
        compress_into(&other, options, scratch, out)
    }

    fn cut_off(
        content: &[u8],
        options: &CompressOptions,
        scratch: &mut CompressionScratch,
        out: &mut dyn OutputBuffer,
    ) -> Result<(), CompressionError> {
        compress_into(content, options, scratch, out)?;
        out.truncate(out.len() - 1);
        Ok(())
    }

    #[test]
    fn what_was_compressed_is_checked() {
        let content = [7; 1000];
        let options = CompressOptions::new(Codec::Zstd);
        let mut scratch = Scratch::default();
        for compressor in [other_content as Compressor, cut_off] {
            let error = scratch.compress_by(&[&content], Some(&options), compressor).unwrap_err();
            let why = "compressor_fault";
            assert!(matches!(error, Error::Store(StoreError::Corrupt { why: found, .. }) if found == why));
        }
        assert!(scratch.compress(&[&content[..400], &content[400..]], Some(&options)).unwrap().1.len() < 100);
    }
}
