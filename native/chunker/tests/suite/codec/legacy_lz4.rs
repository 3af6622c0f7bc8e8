//! Legacy frames of lz4, as `lz4 -l` writes them and Linux kernels hold them.

use chunker::codec::*;

use super::content::{noise, text};
use super::program::{run, try_run};

fn legacy(content: &[u8], level: &str) -> Vec<u8> {
    run("lz4", &["-l", level, "-c", "-q"], content)
}

/// Decompresses in every way, and checks that all results are equal.
fn read(input: &[u8], trailing: Trailing) -> Result<Vec<u8>, CompressionError> {
    let given = DecompressOptions::new().codec(Codec::Lz4).trailing(trailing);
    let whole = decompress(input, &given);
    for options in [given.clone(), given.codec(None)] {
        assert!(decompress(input, &options) == whole, "detected as given");
        for (size, most) in [(1, usize::MAX), (4099, 100_000), (usize::MAX, 1000)] {
            if size == 1 && input.len() > 100_000 {
                continue;
            }
            let pieces = || -> Result<Vec<u8>, CompressionError> {
                let (mut decoder, mut out) = (Decoder::new(&options)?, Vec::new());
                for mut piece in input.chunks(size) {
                    loop {
                        let progress = decoder.update_some(piece, most, &mut out)?;
                        piece = &piece[progress.consumed..];
                        if !progress.pending {
                            break;
                        }
                    }
                }
                decoder.finish(&mut out)?;
                Ok(out)
            };
            assert!(pieces() == whole, "pieces of {size}, at most {most} at a time");
        }
    }
    whole
}

#[test]
fn legacy_frames_are_read() {
    // A block has 8 MiB of content: less, one block, one byte more, and several.
    let sizes = [0, 1, 5, 100_000, 8 << 20, (8 << 20) + 1, 17_000_000];
    for size in sizes {
        for content in [text(size), noise(size.min(9_000_000), 4), vec![0; size]] {
            for level in ["-1", "-9"] {
                if level == "-9" && size > 1 << 20 {
                    continue;
                }
                let input = legacy(&content, level);
                assert_eq!(input[..4], [0x02, 0x21, 0x4c, 0x18]);
                assert_eq!(detect_format(&input), Ok(Codec::Lz4));
                assert!(read(&input, Trailing::Error).as_ref() == Ok(&content), "{size} bytes at {level}");
            }
        }
    }
}

#[test]
fn legacy_frames_stand_beside_others() {
    let (one, two) = (legacy(b"one", "-1"), compress_lz4(b"two", None).expect("memory"));
    let skippable = [&[0x53, 0x2a, 0x4d, 0x18], &3u32.to_le_bytes()[..], b"abc"].concat();
    for (frames, content) in [
        (vec![&one, &one], "oneone"),
        (vec![&one, &two], "onetwo"),
        (vec![&two, &one], "twoone"),
        (vec![&one, &skippable, &one, &two, &skippable], "oneonetwo"),
        (vec![&skippable, &one], "one"),
    ] {
        let input: Vec<u8> = frames.into_iter().flatten().copied().collect();
        assert_eq!(read(&input, Trailing::Error).expect("all are frames"), content.as_bytes());
        assert_eq!(run("lz4", &["-d", "-c"], &input), content.as_bytes(), "the program agrees");
    }
}

#[test]
fn damaged_and_cut_legacy_frames_are_errors() {
    let content = text(2000);
    let input = legacy(&content, "-1");
    let failed = |why| Err(CompressionError::DecompressionFailed { codec: Codec::Lz4, why });
    // Without an end mark, the frame may end before its first block.
    assert_eq!(read(&input[..4], Trailing::Error), Ok(vec![]));
    for len in 5..input.len() {
        assert_eq!(read(&input[..len], Trailing::Error), failed(CodecFailure::Truncated), "{len}");
        assert!(len > 8 || !try_run("lz4", &["-d", "-c"], &input[..len]).status.success());
    }
    // A block with more content than a legacy block has: a literal and a match of 9 MB.
    let mut bomb = vec![0x1f, 0, 1, 0];
    bomb.extend([255; 36_000]);
    bomb.extend([9, 0x50, 0, 0, 0, 0, 0]);
    let size = u32::try_from(bomb.len()).expect("it is small").to_le_bytes();
    let bomb = [&input[..4], &size, &bomb].concat();
    assert_eq!(read(&bomb, Trailing::Error), failed(CodecFailure::Corrupt));
    let options = DecompressOptions::new().limit(1999);
    assert_eq!(decompress(&input, &options), Err(CompressionError::SizeExceeded { limit: 1999 }));
    assert_eq!(decompress(&input, &options.limit(2000)), Ok(content));
}

#[test]
fn bytes_after_a_legacy_frame_trail_if_they_are_no_size() {
    let content = text(2000);
    let input = legacy(&content, "-1");
    for garbage in [&[0; 4][..], &[0; 100], &[0xff; 4], b"garbage, which is no size of a block"] {
        let with = [&input, garbage].concat();
        let offset = input.len() as u64;
        let why = CodecFailure::TrailingData { offset };
        let error = CompressionError::DecompressionFailed { codec: Codec::Lz4, why };
        assert_eq!(read(&with, Trailing::Error), Err(error));
        assert_eq!(read(&with, Trailing::Ignore).as_ref(), Ok(&content));
        assert!(try_run("lz4", &["-d", "-c"], &with).stdout == content, "the program writes the content too");
    }
    // Fewer bytes may be the beginning of a size, as the program has it.
    let why = CodecFailure::Truncated;
    let error = CompressionError::DecompressionFailed { codec: Codec::Lz4, why };
    assert_eq!(read(&[&input[..], &[0; 3]].concat(), Trailing::Ignore), Err(error));
}
