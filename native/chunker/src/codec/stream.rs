//! Compression and decompression piece by piece, in memory that does not grow with the content.
//!
//! Both objects are pushed: a caller hands in what it has and takes what comes out. Each codec implements [`Encode`] and
//! [`Decode`]; the same decoders serve the functions for whole buffers, so that an input is accepted or refused alike
//! however it is split.

use std::fmt;

use super::detect::{Sniff, sniff, unknown_format};
use super::output::{Flow, Output, OutputBudget};
use super::{Codec, CompressOptions, CompressionError, DecompressOptions, Dictionary, decoder, encoder};
use crate::io::output_buffer::OutputBuffer;

/// What a codec does to compress a content in pieces.
pub(super) trait Encode: Send {
    /// Takes all of `input`.
    fn update(&mut self, input: &[u8], out: &mut Output<'_>) -> Result<(), CompressionError>;

    /// Ends the stream; nothing is called after it.
    fn finish(&mut self, out: &mut Output<'_>) -> Result<(), CompressionError>;
}

/// What a codec does to decompress a content in pieces.
pub(super) trait Decode: Send {
    /// Takes bytes off the front of `input` until there are none or `out` is full.
    fn decode(&mut self, input: &mut &[u8], out: &mut Output<'_>) -> Result<Flow, CompressionError>;

    /// Checks that the input given so far is whole. All output has been taken.
    fn finish(&mut self) -> Result<(), CompressionError>;

    /// Decompresses an input that is all there, into an output that only the limit ends.
    fn decode_whole(&mut self, mut input: &[u8], out: &mut Output<'_>) -> Result<(), CompressionError> {
        while self.decode(&mut input, out)? == Flow::Full {}
        self.finish()
    }
}

/// Compresses a content that comes in pieces.
///
/// Memory is what the codec's level demands, however large the content. The size of the content is not known
/// beforehand and therefore not in the output, unlike with [`compress`](super::compress).
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "zstd")] {
/// use chunker::codec::{Codec, CompressOptions, Encoder};
///
/// let mut encoder = Encoder::new(&CompressOptions::new(Codec::Zstd))?;
/// let mut out = Vec::new();
/// for piece in [b"some ".as_slice(), b"content"] {
///     encoder.update(piece, &mut out)?;
/// }
/// encoder.finish(&mut out)?;
/// assert!(out.starts_with(b"\x28\xb5\x2f\xfd"));
/// # }
/// # Ok::<(), chunker::codec::CompressionError>(())
/// ```
pub struct Encoder {
    codec: Codec,
    state: Result<Box<dyn Encode>, CompressionError>,
}

impl Encoder {
    /// Starts a stream.
    ///
    /// # Errors
    ///
    /// Those of [`CompressOptions::validate`], and [`CompressionError::CompressionFailed`] without memory.
    pub fn new(options: &CompressOptions) -> Result<Self, CompressionError> {
        Self::of_size(options, None)
    }

    /// Starts a stream of exactly `size` bytes, which go into the output where the format has a place for them, and let
    /// a codec get along with less memory.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new). To give it more or fewer bytes than `size` is a mistake, which zstd reports and others do
    /// not.
    pub fn sized(options: &CompressOptions, size: usize) -> Result<Self, CompressionError> {
        Self::of_size(options, Some(size))
    }

    fn of_size(options: &CompressOptions, size: Option<usize>) -> Result<Self, CompressionError> {
        let level = options.checked_level()?;
        let state = Ok(encoder(options.codec, level, options.dictionary.as_ref(), size)?);
        Ok(Self { codec: options.codec, state })
    }

    /// Takes all of `input`, which may be empty, and appends to `out` what it gives so far, which may be nothing.
    ///
    /// # Errors
    ///
    /// [`CompressionError::CompressionFailed`]; then `out` is as it was, and so every further call fails.
    pub fn update(&mut self, input: &[u8], out: &mut dyn OutputBuffer) -> Result<(), CompressionError> {
        let encoder = self.state.as_mut().map_err(|error| error.clone())?;
        let mut budget = OutputBudget::unlimited();
        let mut output = Output::append(out, usize::MAX, &mut budget);
        let result = encoder.update(input, &mut output);
        let result = output.finish(result);
        if let Err(error) = &result {
            self.state = Err(error.clone());
        }
        result
    }

    /// Ends the stream and appends to `out` what is left of it.
    ///
    /// # Errors
    ///
    /// As [`update`](Self::update).
    pub fn finish(self, out: &mut dyn OutputBuffer) -> Result<(), CompressionError> {
        let mut encoder = self.state?;
        let mut budget = OutputBudget::unlimited();
        let mut output = Output::append(out, usize::MAX, &mut budget);
        let result = encoder.finish(&mut output);
        output.finish(result)
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").field("codec", &self.codec).finish_non_exhaustive()
    }
}

/// How far a call of [`Decoder::update_some`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Progress {
    /// How many bytes of the input were taken; the next call is to be given the others.
    pub consumed: usize,
    /// Whether to call again, with the rest of the input even if that is empty, before there is more input.
    pub pending: bool,
}

/// Decompresses a content that comes in pieces, of any size and with any cuts.
///
/// Memory is bounded by [`MAX_WINDOW`](super::MAX_WINDOW) and, with [`update_some`](Self::update_some), what the caller
/// takes at a time. The limit holds for the content as a whole.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "bzip2")] {
/// use chunker::codec::{Codec, CompressOptions, DecompressOptions, Decoder, compress};
///
/// let compressed = compress(b"content", &CompressOptions::new(Codec::Bzip2))?;
/// let mut decoder = Decoder::new(&DecompressOptions::new())?;
/// let mut out = Vec::new();
/// for byte in &compressed {
///     decoder.update(&[*byte], &mut out)?;
/// }
/// decoder.finish(&mut out)?;
/// assert_eq!(out, b"content");
/// # }
/// # Ok::<(), chunker::codec::CompressionError>(())
/// ```
pub struct Decoder {
    state: State,
    budget: OutputBudget,
    dictionary: Option<Dictionary>,
}

enum State {
    Detecting(Detection),
    Running(Codec, Box<dyn Decode>),
    Failed(CompressionError),
}

/// What is known of an input whose format is not.
#[derive(Default)]
struct Detection {
    /// The first bytes of all, for the error.
    magic: Vec<u8>,
    /// The first bytes behind the skippable frames.
    seen: Vec<u8>,
    /// How many bytes of a skippable frame are still to come. They are no part of the content, whichever codec it is.
    skip: u64,
}

impl Decoder {
    /// Starts to decompress.
    ///
    /// # Errors
    ///
    /// Those of [`DecompressOptions::validate`], and [`CompressionError::DecompressionFailed`] without memory.
    pub fn new(options: &DecompressOptions) -> Result<Self, CompressionError> {
        options.validate()?;
        let dictionary = options.dictionary.clone();
        let state = match options.codec {
            Some(codec) => State::Running(codec, decoder(codec, dictionary.as_ref())?),
            None => State::Detecting(Detection::default()),
        };
        Ok(Self { state, budget: OutputBudget::new(options.limit), dictionary })
    }

    /// The codec, once it is known.
    #[must_use]
    pub fn codec(&self) -> Option<Codec> {
        match self.state {
            State::Running(codec, _) => Some(codec),
            State::Detecting(_) | State::Failed(_) => None,
        }
    }

    /// Takes all of `input`, which may be empty, and appends all that it gives to `out`.
    ///
    /// A small input can give up to the limit of output; [`update_some`](Self::update_some) bounds that.
    ///
    /// # Errors
    ///
    /// [`CompressionError::SizeExceeded`], [`CompressionError::DecompressionFailed`],
    /// [`CompressionError::UnknownFormat`], [`CompressionError::CodecDisabled`]; then `out` is as it was, and so every
    /// further call fails.
    pub fn update(&mut self, input: &[u8], out: &mut dyn OutputBuffer) -> Result<(), CompressionError> {
        self.update_some(input, usize::MAX, out).map(|_| ())
    }

    /// Takes as much of `input` as gives at most `most` bytes and appends these to `out`.
    ///
    /// With `most` 0 no progress may be made.
    ///
    /// # Errors
    ///
    /// Those of [`update`](Self::update).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "xz")] {
    /// use chunker::codec::{Codec, CompressOptions, DecompressOptions, Decoder, compress};
    ///
    /// let compressed = compress(&vec![0; 1_000_000], &CompressOptions::new(Codec::Xz))?;
    /// let mut decoder = Decoder::new(&DecompressOptions::new())?;
    /// let (mut input, mut total) = (compressed.as_slice(), 0);
    /// loop {
    ///     let mut piece = Vec::new();
    ///     let progress = decoder.update_some(input, 4096, &mut piece)?;
    ///     assert!(piece.len() <= 4096);
    ///     total += piece.len();
    ///     input = &input[progress.consumed..];
    ///     if !progress.pending {
    ///         break;
    ///     }
    /// }
    /// decoder.finish(&mut Vec::new())?;
    /// assert_eq!(total, 1_000_000);
    /// # }
    /// # Ok::<(), chunker::codec::CompressionError>(())
    /// ```
    pub fn update_some(
        &mut self,
        input: &[u8],
        most: usize,
        out: &mut dyn OutputBuffer,
    ) -> Result<Progress, CompressionError> {
        let mut rest = input;
        let mut output = Output::append(out, most, &mut self.budget);
        let result = self.state.decode(&mut rest, &mut output, self.dictionary.as_ref());
        match output.finish(result) {
            Ok(flow) => Ok(Progress { consumed: input.len() - rest.len(), pending: flow == Flow::Full }),
            Err(error) => {
                self.state = State::Failed(error.clone());
                Err(error)
            }
        }
    }

    /// Checks that the input was whole, and appends to `out` what has not been taken yet: nothing, unless the last
    /// [`update_some`](Self::update_some) said that there is more.
    ///
    /// # Errors
    ///
    /// Those of [`update`](Self::update), above all [`CompressionError::DecompressionFailed`] with
    /// [`CodecFailure::Truncated`](super::CodecFailure::Truncated).
    pub fn finish(mut self, out: &mut dyn OutputBuffer) -> Result<(), CompressionError> {
        let mut output = Output::append(out, usize::MAX, &mut self.budget);
        let result = self.state.finish(&mut output, self.dictionary.as_ref());
        output.finish(result)
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("codec", &self.codec()).finish_non_exhaustive()
    }
}

impl State {
    fn decode(
        &mut self,
        input: &mut &[u8],
        out: &mut Output<'_>,
        dictionary: Option<&Dictionary>,
    ) -> Result<Flow, CompressionError> {
        loop {
            match self {
                Self::Running(_, decoder) => return decoder.decode(input, out),
                Self::Failed(error) => return Err(error.clone()),
                Self::Detecting(detection) => match detection.take(input)? {
                    Some(codec) => *self = detection.start(codec, dictionary)?,
                    None => return Ok(Flow::Drained),
                },
            }
        }
    }

    fn finish(
        &mut self,
        out: &mut Output<'_>,
        dictionary: Option<&Dictionary>,
    ) -> Result<(), CompressionError> {
        if let Self::Detecting(detection) = self {
            match sniff(&detection.seen) {
                Sniff::Likely(codec) => *self = detection.start(codec, dictionary)?,
                _ => return Err(unknown_format(&detection.magic)),
            }
        }
        while self.decode(&mut [].as_slice(), out, dictionary)? == Flow::Full {}
        match self {
            Self::Running(_, decoder) => decoder.finish(),
            Self::Detecting(_) | Self::Failed(_) => unreachable!("decode() got past both"),
        }
    }
}

impl Detection {
    /// Takes bytes until the format is certain, or there are none.
    fn take(&mut self, input: &mut &[u8]) -> Result<Option<Codec>, CompressionError> {
        loop {
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(input.len());
            *input = &input[skipped..];
            self.skip -= skipped as u64;
            if self.skip > 0 {
                return Ok(None);
            }
            let Some((&byte, rest)) = input.split_first() else { return Ok(None) };
            *input = rest;
            self.seen.push(byte);
            if self.magic.len() < 4 {
                self.magic.push(byte);
            }
            match sniff(&self.seen) {
                Sniff::Known(codec) => return Ok(Some(codec)),
                Sniff::Skippable(size) => {
                    self.skip = size - self.seen.len() as u64;
                    self.seen.clear();
                }
                Sniff::Likely(_) | Sniff::TooShort => {}
                // The error shows four bytes however the input is split, so it waits for them.
                Sniff::Unknown if self.magic.len() < 4 => {}
                Sniff::Unknown => return Err(unknown_format(&self.magic)),
            }
        }
    }

    /// The decoder for a format, having read what was needed to tell it.
    fn start(&mut self, codec: Codec, dictionary: Option<&Dictionary>) -> Result<State, CompressionError> {
        let mut decoder = decoder(codec, dictionary)?;
        // A magic alone gives no content, so it needs none of the caller's room, of which there may be none.
        let (mut nothing, mut budget) = (Vec::new(), OutputBudget::new(0));
        decoder.decode(&mut self.seen.as_slice(), &mut Output::append(&mut nothing, 1, &mut budget))?;
        Ok(State::Running(codec, decoder))
    }
}
