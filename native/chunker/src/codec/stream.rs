//! Streaming compression and decompression, in memory that does not grow with the content.
//!
//! Both objects are pushed: the caller passes input and receives output. The
//! one-shot functions use the same decoders, so acceptance of an input does not depend on how it is split.

use std::fmt;

use super::coder::{Decode, Encode};
use super::detect::{Sniff, sniff, unknown_format};
use super::dispatch::{decoder, encoder};
use super::error::CompressionError;
use super::format::Codec;
use super::options::{CompressOptions, DecompressOptions, Trailing};
use super::output::{Flow, Output, OutputBudget};
use crate::io::output_buffer::OutputBuffer;

/// Compresses a content that comes in pieces.
///
/// Memory use depends on the codec's level and not on the content. Unlike with [`compress`](super::compress),
/// the output does not declare the size of the content, because it is not known at the start.
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
    /// Returns the errors of [`CompressOptions::validate`], and [`CompressionError::CompressionFailed`] if
    /// memory runs out.
    pub fn new(options: &CompressOptions) -> Result<Self, CompressionError> {
        Self::of_size(options, None)
    }

    /// Starts a stream of exactly `size` bytes. The output declares the size if the format has a field for
    /// it, and a codec may use less memory.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`new`](Self::new). Passing more or fewer than `size` bytes is a bug of the
    /// caller; zstd returns an error, and other codecs do not.
    pub fn sized(options: &CompressOptions, size: usize) -> Result<Self, CompressionError> {
        Self::of_size(options, Some(size))
    }

    fn of_size(options: &CompressOptions, size: Option<usize>) -> Result<Self, CompressionError> {
        let level = options.checked_level()?;
        let state = Ok(encoder(options.codec, level, options.dictionary.as_ref(), size)?);
        Ok(Self { codec: options.codec, state })
    }

    /// Consumes all of `input`, which may be empty, and appends the output that is available so far to `out`,
    /// which may be none.
    ///
    /// # Errors
    ///
    /// Returns [`CompressionError::CompressionFailed`]; `out` is then unchanged, and every further call fails
    /// the same way.
    pub fn update(&mut self, input: &[u8], out: &mut dyn OutputBuffer) -> Result<(), CompressionError> {
        self.run(out, |encoder, output| encoder.update(input, output))
    }

    fn run(
        &mut self,
        out: &mut dyn OutputBuffer,
        step: impl FnOnce(&mut dyn Encode, &mut Output<'_>) -> Result<(), CompressionError>,
    ) -> Result<(), CompressionError> {
        let encoder = self.state.as_mut().map_err(|error| error.clone())?;
        let mut budget = OutputBudget::unlimited();
        let mut output = Output::append(out, usize::MAX, &mut budget);
        let result = step(&mut **encoder, &mut output);
        let result = output.finish(result);
        if let Err(error) = &result {
            self.state = Err(error.clone());
        }
        result
    }

    /// Appends so much output to `out` that all input so far can be decoded.
    ///
    /// Each flush costs some bytes, and compression across it: for a few KiB about as much as a stream of
    /// their own. bzip2 ends its stream and starts another one, which together are one content.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`update`](Self::update).
    pub fn flush(&mut self, out: &mut dyn OutputBuffer) -> Result<(), CompressionError> {
        self.run(out, |encoder, output| encoder.flush(output))
    }

    /// Ends the stream and appends the rest of the output to `out`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`update`](Self::update).
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

/// The progress of a call of [`Decoder::update_some`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Progress {
    /// The number of input bytes consumed. The next call takes the bytes after them.
    pub consumed: usize,
    /// Whether more output is pending: call again with the rest of the input, even if it is empty, before
    /// passing new input.
    pub pending: bool,
}

/// Decompresses a content that comes in pieces of any size.
///
/// Memory use is bounded by [`DecompressOptions::max_memory`] and, with [`update_some`](Self::update_some),
/// by the output of one call. The limit applies to the content as a whole.
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
    options: DecompressOptions,
    /// The number of input bytes consumed so far.
    consumed: u64,
    /// The number of them that were ignored.
    ignored: u64,
}

enum State {
    Detecting(Detection),
    Running(Codec, Box<dyn Decode>),
    /// The last stream has ended, and the rest of the input is ignored.
    Ended(Codec),
    Failed(CompressionError),
}

/// The state of an input whose format is not known yet.
#[derive(Default)]
struct Detection {
    /// The first bytes of the input, for the error.
    magic: Vec<u8>,
    /// The first bytes after the skippable frames.
    seen: Vec<u8>,
    /// The number of bytes left in a skippable frame. They are not content, whichever codec follows.
    skip: u64,
}

impl Decoder {
    /// Starts a stream.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`DecompressOptions::validate`], and [`CompressionError::DecompressionFailed`]
    /// if memory runs out.
    pub fn new(options: &DecompressOptions) -> Result<Self, CompressionError> {
        options.validate()?;
        let options = options.clone();
        let state = match options.codec {
            Some(codec) => State::Running(codec, decoder(codec, &options)?),
            None => State::Detecting(Detection::default()),
        };
        let budget = OutputBudget::new(options.limit);
        Ok(Self { state, budget, options, consumed: 0, ignored: 0 })
    }

    /// Returns the codec, once it is known.
    #[must_use]
    pub fn codec(&self) -> Option<Codec> {
        match self.state {
            State::Running(codec, _) | State::Ended(codec) => Some(codec),
            State::Detecting(_) | State::Failed(_) => None,
        }
    }

    /// Returns the number of bytes ignored so far; none without [`Trailing::Ignore`].
    #[must_use]
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Consumes all of `input`, which may be empty, and appends all its output to `out`.
    ///
    /// A small input can yield output up to the limit; [`update_some`](Self::update_some) bounds the output
    /// of a call.
    ///
    /// # Errors
    ///
    /// Returns [`CompressionError::SizeExceeded`], [`CompressionError::DecompressionFailed`],
    /// [`CompressionError::UnknownFormat`], or [`CompressionError::CodecDisabled`]; `out` is then unchanged,
    /// and every further call fails the same way.
    pub fn update(&mut self, input: &[u8], out: &mut dyn OutputBuffer) -> Result<(), CompressionError> {
        self.update_some(input, usize::MAX, out).map(|_| ())
    }

    /// Consumes input until it has appended `most` bytes to `out` or `input` is exhausted.
    ///
    /// If `most` is 0, the call may make no progress.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`update`](Self::update).
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
        let result = self.state.decode(&mut rest, &mut output, &self.options);
        let result = result.and_then(|flow| {
            let consumed = input.len() - rest.len();
            self.consumed += consumed as u64;
            let Flow::Trailing(before) = flow else {
                return Ok(Progress { consumed, pending: flow == Flow::Full });
            };
            let trailing = (before + rest.len()) as u64;
            self.ignored += self.state.end(self.options.trailing, trailing, self.consumed - before as u64)?;
            self.consumed += rest.len() as u64;
            Ok(Progress { consumed: input.len(), pending: false })
        });
        match output.finish(result) {
            Ok(progress) => Ok(progress),
            Err(error) => {
                self.state = State::Failed(error.clone());
                Err(error)
            }
        }
    }

    /// Checks that the input is complete, and appends the pending output to `out`: there is none, unless the
    /// last [`update_some`](Self::update_some) returned `pending`. Returns the number of ignored bytes, as
    /// [`ignored`](Self::ignored).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`update`](Self::update), most commonly
    /// [`CompressionError::DecompressionFailed`] with
    /// [`CodecFailure::Truncated`](super::CodecFailure::Truncated).
    pub fn finish(mut self, out: &mut dyn OutputBuffer) -> Result<u64, CompressionError> {
        let mut output = Output::append(out, usize::MAX, &mut self.budget);
        let result = self.state.finish(&mut output, &self.options).and_then(|trailing| {
            let trailing = trailing as u64;
            Ok(self.ignored + self.state.end(self.options.trailing, trailing, self.consumed - trailing)?)
        });
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
        options: &DecompressOptions,
    ) -> Result<Flow, CompressionError> {
        loop {
            match self {
                Self::Running(_, decoder) => return decoder.decode(input, out),
                Self::Ended(_) => return Ok(Flow::Trailing(0)),
                Self::Failed(error) => return Err(error.clone()),
                Self::Detecting(detection) => match detection.take(input)? {
                    Some(codec) => *self = detection.start(codec, options)?,
                    None => return Ok(Flow::Drained),
                },
            }
        }
    }

    fn finish(
        &mut self,
        out: &mut Output<'_>,
        options: &DecompressOptions,
    ) -> Result<usize, CompressionError> {
        if let Self::Detecting(detection) = self {
            match sniff(&detection.seen) {
                Sniff::Likely(codec) => *self = detection.start(codec, options)?,
                _ => return Err(unknown_format(&detection.magic)),
            }
        }
        loop {
            match self.decode(&mut [].as_slice(), out, options)? {
                Flow::Full => {}
                Flow::Trailing(before) => return Ok(before),
                Flow::Drained => break,
            }
        }
        match self {
            Self::Running(_, decoder) => decoder.finish(),
            Self::Detecting(_) | Self::Ended(_) | Self::Failed(_) => {
                unreachable!("decode() does not drain these")
            }
        }
    }

    /// Ends the content before the `trailing` bytes at `offset`, and returns how many of them are ignored.
    fn end(&mut self, policy: Trailing, trailing: u64, offset: u64) -> Result<u64, CompressionError> {
        let codec = match self {
            Self::Running(codec, _) | Self::Ended(codec) => *codec,
            Self::Detecting(_) | Self::Failed(_) => unreachable!("nothing trails before the content"),
        };
        let ignored = policy.ignored(codec, trailing, offset)?;
        *self = Self::Ended(codec);
        Ok(ignored)
    }
}

impl Detection {
    /// Consumes bytes until the format is certain or the input is exhausted.
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
                // The error reports four bytes regardless of how the input is split, so wait for them.
                Sniff::Unknown if self.magic.len() < 4 => {}
                Sniff::Unknown => return Err(unknown_format(&self.magic)),
            }
        }
    }

    /// Creates the decoder of a detected format and feeds it the bytes read for detection.
    fn start(&mut self, codec: Codec, options: &DecompressOptions) -> Result<State, CompressionError> {
        options.check_dictionary(codec)?;
        let mut decoder = decoder(codec, options)?;
        // A magic yields no content, so it needs no space in the caller's buffer, which may have none.
        let (mut nothing, mut budget) = (Vec::new(), OutputBudget::new(0));
        decoder.decode(&mut self.seen.as_slice(), &mut Output::append(&mut nothing, 1, &mut budget))?;
        Ok(State::Running(codec, decoder))
    }
}
