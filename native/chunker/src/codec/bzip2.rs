//! bzip2, using its library. Each content is one stream, with a checksum for each block and one for the
//! whole. A flush ends a stream, because the blocks of a stream do not end at bytes: the last bits of a block
//! would wait for the next one.

use bzip2::{Action, Compress, Compression, Decompress, Error, Status};

use super::coder::Encode;
use super::error::{CodecFailure, CompressionError};
use super::format::Codec;
use super::output::Output;
use super::step::{Step, encode_step};
use super::streams::{Format, StreamDecoder, Streams};

/// The effort spent on sorting repetitive data before the library switches to its fallback, which is slow on
/// all data. 0 selects the default of 30, which the `bzip2` program also uses.
const WORK_FACTOR: u32 = 0;

fn new_stream(level: u32) -> Compress {
    Compress::new(Compression::new(level), WORK_FACTOR)
}

/// Compresses a content in pieces.
pub(super) struct Encoder {
    /// The current stream, or `None` after a flush.
    stream: Option<Compress>,
    level: u32,
    /// Whether the current stream has content.
    begun: bool,
}

impl Encoder {
    /// Creates an encoder. `level` must be in 1..=9; the library panics on any other.
    pub(super) fn new(level: i32) -> Self {
        let level = level as u32;
        Self { stream: Some(new_stream(level)), level, begun: false }
    }

    fn step(
        &mut self,
        input: &mut &[u8],
        action: Action,
        out: &mut Output<'_>,
    ) -> Result<Status, CompressionError> {
        let stream = self.stream.get_or_insert_with(|| new_stream(self.level));
        let totals = |stream: &Compress| (stream.total_in(), stream.total_out());
        let run = |input: &[u8], space: &mut [u8]| {
            Step::counted(stream, totals, |stream| {
                stream.compress(input, space, action).map_err(|_| CodecFailure::Internal)
            })
        };
        encode_step(Codec::Bzip2, input, out, run).map(|(status, _)| status)
    }
}

impl Encode for Encoder {
    fn update(&mut self, mut input: &[u8], out: &mut Output<'_>) -> Result<(), CompressionError> {
        self.begun |= !input.is_empty();
        while !input.is_empty() {
            self.step(&mut input, Action::Run, out)?;
        }
        Ok(())
    }

    fn flush(&mut self, out: &mut Output<'_>) -> Result<(), CompressionError> {
        if self.begun {
            self.finish(out)?;
            (self.stream, self.begun) = (None, false);
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Output<'_>) -> Result<(), CompressionError> {
        // After a flush there need not be another stream.
        if self.stream.is_some() {
            while self.step(&mut [].as_slice(), Action::Finish, out)? != Status::StreamEnd {}
        }
        Ok(())
    }
}

/// Decompresses a content, in pieces or at once.
pub(super) type Decoder = Streams<Bzip2>;

pub(super) struct Bzip2(Decompress);

impl StreamDecoder for Bzip2 {
    const FORMAT: Format = Format { codec: Codec::Bzip2, magic: &[], concatenated: true, padding: 0 };

    fn new(_max_memory: u64) -> Result<Self, CodecFailure> {
        Ok(Self(Decompress::new(false)))
    }

    fn step(&mut self, input: &[u8], space: &mut [u8]) -> Step<bool> {
        let totals = |stream: &Decompress| (stream.total_in(), stream.total_out());
        Step::counted(&mut self.0, totals, |stream| match stream.decompress(input, space) {
            Ok(Status::MemNeeded) => Err(CodecFailure::OutOfMemory),
            Ok(status) => Ok(status == Status::StreamEnd),
            Err(Error::DataMagic) => Err(CodecFailure::BadMagic),
            Err(Error::Data) => Err(CodecFailure::Corrupt),
            Err(Error::Sequence | Error::Param) => Err(CodecFailure::Internal),
        })
    }
}
