//! Bytes after the last stream: an error that says where, or ignored and counted, as the official programs
//! do.

use chunker::codec::*;

use super::codecs::{is_concatenated, is_detected};
use super::content::text;
use super::program::{compress_by_program, try_run};

/// Decompresses and ignores what trails, in every way, and checks that all results are equal.
fn read(codec: Codec, input: &[u8]) -> Result<(Vec<u8>, u64), CompressionError> {
    let given = DecompressOptions::new().codec(codec).trailing(Trailing::Ignore);
    let mut results = Vec::new();
    for options in [given.clone(), given.codec(None)].into_iter().take(1 + usize::from(is_detected(codec))) {
        let (mut scratch, mut out) = (CompressionScratch::new(), Vec::new());
        results.push(
            decompress_into(input, &options, &mut scratch, &mut out).map(|ignored| (out.clone(), ignored)),
        );
        let cancellable = decompress_cancellable(input, &options, &mut scratch, &mut out, &|| false);
        results.push(match cancellable {
            Ok(ignored) => Ok((out, ignored)),
            Err(chunker::Error::Compression(error)) => Err(error),
            Err(error) => panic!("{error}"),
        });
        for (size, most) in [(1, 10), (7, 1), (4099, usize::MAX)] {
            results.push((|| {
                let (mut decoder, mut out) = (Decoder::new(&options)?, Vec::new());
                for mut piece in input.chunks(size) {
                    loop {
                        let progress = decoder.update_some(piece, most, &mut out)?;
                        piece = &piece[progress.consumed..];
                        if !progress.pending {
                            break;
                        }
                    }
                    assert!(piece.is_empty());
                }
                let before = decoder.ignored();
                let ignored = decoder.finish(&mut out)?;
                assert!(before <= ignored, "it only grows");
                Ok((out, ignored))
            })());
        }
    }
    let first = results[0].clone();
    // The first of several faults may depend on the split; whether there is one does not.
    for result in &results {
        assert!(*result == first || result.is_err() && first.is_err(), "{codec}: {result:?}, not {first:?}");
    }
    first
}

const GARBAGE: [&[u8]; 9] = [
    &[0],
    &[0; 3],
    &[0; 4],
    &[0; 7],
    &[0; 4096],
    b"x",
    b"garbage!",
    // Beginnings of other formats, which are no streams of this one.
    &[0x42, 0x5a],
    &[0xff; 70],
];

#[test]
fn trailing_bytes_are_ignored_and_counted() {
    for codec in Codec::ALL {
        for content in [vec![], text(300), text(200_000)] {
            let input = compress_by_program(codec, &[], &content);
            assert_eq!(read(codec, &input), Ok((content.clone(), 0)), "{codec}");
            for garbage in GARBAGE {
                if codec == Codec::Bzip2 && garbage == [0x42, 0x5a] {
                    continue;
                }
                let with_garbage = [input.as_slice(), garbage].concat();
                // Zeros are padding of xz in units of four.
                let padding = codec == Codec::Xz && garbage.iter().all(|byte| *byte == 0);
                let padding = if padding { garbage.len() / 4 * 4 } else { 0 };
                let ignored = (garbage.len() - padding) as u64;
                assert_eq!(
                    read(codec, &with_garbage),
                    Ok((content.clone(), ignored)),
                    "{codec} {garbage:02x?}"
                );

                let strict = DecompressOptions::new().codec(codec);
                let offset = (input.len() + padding) as u64;
                let why = CodecFailure::TrailingData { offset };
                let expected = match ignored {
                    0 => Ok(content.clone()),
                    _ => Err(CompressionError::DecompressionFailed { codec, why }),
                };
                assert_eq!(decompress(&with_garbage, &strict), expected, "{codec} {garbage:02x?}");
            }
        }
    }
}

/// The programs write the same content, and those that refuse the rest refuse it after that.
#[test]
fn programs_write_the_same_content() {
    for codec in [Codec::Bzip2, Codec::Gzip, Codec::Xz, Codec::Zstd, Codec::Lz4, Codec::Lzma, Codec::Brotli] {
        let content = text(5000);
        let input = compress_by_program(codec, &[], &content);
        for garbage in GARBAGE {
            let with_garbage = [input.as_slice(), garbage].concat();
            let program = if codec == Codec::Lzma { "xz" } else { codec.name() };
            let theirs = try_run(program, &["-d", "-c"], &with_garbage);
            match read(codec, &with_garbage) {
                Ok((ours, ignored)) => {
                    // brotli writes what it has before it finds the garbage, and it finds the garbage at
                    // once.
                    assert!(theirs.stdout == ours || codec == Codec::Brotli, "{codec} {garbage:02x?}");
                    // bzip2 and gzip warn; xz accepts padding alone; the others refuse anything.
                    // gzip ignores zeros, and has another status after a warning.
                    let accepts = match codec {
                        Codec::Bzip2 => true,
                        Codec::Gzip => garbage.iter().all(|byte| *byte == 0),
                        _ => ignored == 0,
                    };
                    assert_eq!(theirs.status.success(), accepts, "{codec} {garbage:02x?}");
                }
                Err(error) => assert!(!theirs.status.success(), "{codec} {garbage:02x?}: {error}"),
            }
        }
    }
}

#[test]
fn the_beginning_of_another_stream_is_truncated_all_the_same() {
    for codec in Codec::ALL.into_iter().filter(|codec| is_concatenated(*codec)) {
        let stream = compress_by_program(codec, &[], &text(300));
        for len in 1..stream.len() {
            let why = CodecFailure::Truncated;
            let error = CompressionError::DecompressionFailed { codec, why };
            assert_eq!(read(codec, &[&stream, &stream[..len]].concat()), Err(error), "{codec} {len}");
        }
        let program = codec.name();
        let cut = [&stream[..], &stream[..2]].concat();
        assert!(!try_run(program, &["-d", "-c"], &cut).status.success(), "{program} agrees");
    }
}

#[test]
fn damage_is_no_trailing_data() {
    for codec in Codec::ALL.into_iter().filter(|codec| is_concatenated(*codec)) {
        let stream = compress_by_program(codec, &[], &text(300));
        assert!(read(codec, &[b"garbage".as_slice(), &stream].concat()).is_err(), "{codec}: at the front");
        let mut damaged = stream.clone();
        let at = damaged.len() / 2;
        damaged[at] ^= 0x55;
        assert!(read(codec, &[&stream[..], &damaged].concat()).is_err(), "{codec}: in the last stream");
        // What follows garbage is not content, even if it is a stream.
        let after = [&stream[..], b"x", &stream].concat();
        assert_eq!(read(codec, &after), Ok((text(300), stream.len() as u64 + 1)), "{codec}");
    }
}

/// The offset counts skippable frames, also those before the first frame, which only detection reads.
#[test]
fn offsets_count_from_the_first_byte() {
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18], &3u32.to_le_bytes()[..], b"abc"].concat();
    for codec in [Codec::Zstd, Codec::Lz4] {
        let frame = compress(b"content", &CompressOptions::new(codec)).expect("memory");
        let whole = [&skippable[..], &frame, &skippable, &frame, &skippable].concat();
        let offset = whole.len() as u64;
        let input = [&whole[..], b"garbage"].concat();
        assert_eq!(read(codec, &input), Ok((b"contentcontent".to_vec(), 7)));
        let error =
            CompressionError::DecompressionFailed { codec, why: CodecFailure::TrailingData { offset } };
        for codec in [None, Some(codec)] {
            let options = DecompressOptions::new().codec(codec);
            assert_eq!(decompress(&input, &options), Err(error.clone()));
            for size in [1, 5, input.len()] {
                let mut decoder = Decoder::new(&options).expect("the options are good");
                let mut out = b"kept".to_vec();
                let mut update = || input.chunks(size).try_for_each(|piece| decoder.update(piece, &mut out));
                let result = update().and_then(|()| decoder.finish(&mut out));
                assert_eq!(result, Err(error.clone()), "in pieces of {size}");
            }
        }
    }
    assert_eq!(
        CodecFailure::TrailingData { offset: 12 }.to_string(),
        "trailing_data at byte 12",
        "the text says where"
    );
}
