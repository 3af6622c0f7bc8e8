//! Formats are detected by their first bytes, and only if these are unambiguous.

use chunker::ErrorCode;
use chunker::codec::*;

use super::codecs::is_detected;
use super::content::text;
use super::program::compress_by_program;

fn magic(result: Result<Codec, CompressionError>) -> Vec<u8> {
    match result {
        Err(CompressionError::UnknownFormat { magic }) => magic,
        other => panic!("the format was to be unknown, not {other:?}"),
    }
}

#[test]
fn each_format_needs_its_whole_magic() {
    let needed = [
        (Codec::Zstd, 4),
        (Codec::Lz4, 4),
        (Codec::Xz, 6),
        (Codec::Bzip2, 4),
        (Codec::Gzip, 3),
        (Codec::Lzma, 14),
    ];
    for (codec, needed) in needed {
        for content in [vec![], text(1000)] {
            let input = compress_by_program(codec, &[], &content);
            for len in 0..input.len() {
                if len < needed {
                    assert_eq!(magic(detect_format(&input[..len])), input[..len.min(4)], "{codec} {len}");
                } else {
                    assert_eq!(detect_format(&input[..len]), Ok(codec), "{len} bytes");
                }
            }
        }
    }
}

#[test]
fn bytes_that_resemble_a_format_are_unknown() {
    let unknown: [&[u8]; 23] = [
        b"",
        b"B",
        b"BZ",
        b"BZh",
        b"BZh0",
        b"BZhello",
        b"BZh9 is a nice word",
        b"\xfd7zXZ\x01",
        b"\x28\xb5\x2f",
        b"\x28\xb5\x2f\xfe",
        b"\x02\x21\x4c\x19 no lz4 legacy frame",
        b"\x02\x21\x4c",
        b"\x5d\x00\x00\x80\x00 lzma without xz",
        b"\x5d\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff\x01 lzma without its zero",
        b"\x5d\0\0\x90\0\xff\xff\xff\xff\xff\xff\xff\xff\0 lzma with an odd dictionary",
        b"\x5d\0\x08\0\0\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x5d\0\x08\0\0\0\0\0\0\x40\0\0\0\0 lzma of 256 GiB",
        b"\x5d\0\x04\0\0\0\0\0\0\0\0\0\x01\0 lzma of more",
        b"\x5e\0\x08\0\0\xff\xff\xff\xff\xff\xff\xff\xff\0 lzma with lc=4",
        b"\x1f\x8b",
        b"\x1f\x8b\x07 gzip with another method",
        b"\x8b\x03\x80content\x03 brotli",
        b"\x60\x2a\x4d\x18\0\0\0\0 after the skippable frames",
    ];
    for input in unknown {
        assert_eq!(magic(detect_format(input)), input[..input.len().min(4)], "{input:02x?}");
        let mut decoder = Decoder::new(&DecompressOptions::new()).expect("the options are good");
        let pieces = input.iter().try_for_each(|byte| decoder.update(&[*byte], &mut Vec::new()));
        let pieces = pieces.and_then(|()| decoder.finish(&mut Vec::new()));
        let whole = decompress(input, &DecompressOptions::new()).map(|_| 0);
        assert_eq!(pieces, whole, "{input:02x?}");
        assert_eq!(whole.unwrap_err().code(), "unknown_format");
    }
}

#[test]
fn the_bytes_after_skippable_frames_determine_the_format() {
    let skippable = [&[0x5f, 0x2a, 0x4d, 0x18, 3, 0, 0, 0], b"abc".as_slice()].concat();
    for codec in [Codec::Zstd, Codec::Lz4] {
        let frame = compress(b"content", &CompressOptions::new(codec)).expect("memory");
        for count in 1..4 {
            let input = [skippable.repeat(count), frame.clone()].concat();
            let needed = skippable.len() * count + 4;
            assert_eq!(detect_format(&input), Ok(codec));
            assert_eq!(detect_format(&input[..needed]), Ok(codec));
            for len in 0..needed {
                assert_eq!(magic(detect_format(&input[..len])), input[..len.min(4)], "{len}");
            }
        }
    }
    assert_eq!(magic(detect_format(&[skippable.as_slice(), b"neither"].concat())), skippable[..4]);
    let endless = [0x50, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(magic(detect_format(&endless)), endless[..4]);
}

#[test]
fn a_decoder_reports_its_codec_once_it_is_detected() {
    for codec in Codec::ALL.into_iter().filter(|codec| is_detected(*codec)) {
        let input = compress_by_program(codec, &[], b"content");
        let mut decoder = Decoder::new(&DecompressOptions::new()).expect("the options are good");
        assert_eq!(decoder.codec(), None);
        decoder.update(&input, &mut Vec::new()).expect("the input is complete");
        assert_eq!(decoder.codec(), Some(codec));
    }
}
