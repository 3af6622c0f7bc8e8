//! A damaged input is an error or, if the damaged bits have no meaning in the format, yields the same
//! content; it never yields another one, unless the format has no checksum.

use chunker::ErrorCode;
use chunker::codec::*;

use super::codecs::{has_magic, is_checked, is_concatenated};
use super::content::{noise, text};
use super::program::{compress_by_program, run};

const LIMIT: u64 = 1 << 20;

/// Decompresses at once and byte by byte, and checks that both results are equal.
fn read(codec: Codec, data: &[u8]) -> Result<Vec<u8>, CompressionError> {
    let options = DecompressOptions::new().codec(codec).limit(LIMIT);
    let whole = decompress(data, &options);
    let pieces: Result<Vec<u8>, CompressionError> = (|| {
        let mut decoder = Decoder::new(&options)?;
        let mut out = Vec::new();
        for byte in data {
            decoder.update(std::slice::from_ref(byte), &mut out)?;
        }
        decoder.finish(&mut out)?;
        Ok(out)
    })();
    match (&whole, &pieces) {
        (Ok(whole), Ok(pieces)) => assert!(whole == pieces, "{codec}: the same content however it is split"),
        (Err(whole), Err(pieces)) => assert_eq!(whole.code(), pieces.code(), "{codec}: {whole} {pieces}"),
        _ => panic!("{codec} {data:02x?}: {whole:?} at once, {pieces:?} byte by byte"),
    }
    whole
}

fn failure(result: Result<Vec<u8>, CompressionError>) -> CodecFailure {
    match result {
        Err(CompressionError::DecompressionFailed { why, .. }) => why,
        other => panic!("a failure was expected, not {other:?}"),
    }
}

/// Returns inputs of each codec, written by this library at once and in pieces, and by the official program.
/// They are small, and some are incompressible.
fn inputs() -> Vec<(Codec, Vec<u8>, Vec<u8>)> {
    let contents = [vec![], b"a".to_vec(), text(400), [noise(60, 1), vec![b'x'; 200]].concat()];
    let mut inputs = Vec::new();
    for codec in Codec::ALL {
        for content in &contents {
            inputs.push((codec, content.clone(), compress_by_program(codec, &[], content)));
            if !Codec::ENCODABLE.contains(&codec) {
                continue;
            }
            inputs.push((
                codec,
                content.clone(),
                compress(content, &CompressOptions::new(codec)).expect("memory"),
            ));
            let mut encoder = Encoder::new(&CompressOptions::new(codec)).expect("memory");
            let mut streamed = Vec::new();
            encoder.update(content, &mut streamed).expect("memory");
            encoder.finish(&mut streamed).expect("memory");
            inputs.push((codec, content.clone(), streamed));
        }
    }
    inputs.push((Codec::Lz4, contents[2].clone(), run("lz4", &["-c", "-BDX"], &contents[2])));
    inputs
}

#[test]
fn a_flipped_bit_never_yields_another_content() {
    let (mut refused, mut meaningless) = (0, 0);
    for (codec, content, input) in inputs() {
        let mut meaningless_here = 0;
        for bit in 0..8 * input.len() {
            let mut damaged = input.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            match read(codec, &damaged) {
                Err(_) => refused += 1,
                Ok(read) => {
                    assert!(
                        read == content || !is_checked(codec),
                        "{codec}: bit {bit} of {} bytes gives another content",
                        input.len()
                    );
                    meaningless_here += 1;
                }
            }
        }
        if codec == Codec::Gzip {
            // RFC 1952, section 2.3: one flag says whether the content is text, and time, extra flags and
            // operating system are six bytes; the last block may end with seven bits of padding.
            assert!(meaningless_here <= 1 + 6 * 8 + 7, "{meaningless_here} bits without meaning");
        } else if is_checked(codec) {
            meaningless += meaningless_here;
        }
    }
    assert!(refused > 50 * meaningless, "{refused} refused, {meaningless} without meaning");
}

#[test]
fn a_flipped_bit_of_xz_is_always_detected() {
    // In an .xz file every byte is covered by a checksum; the padding bits of bzip2 and the window size of
    // zstd are not.
    for (codec, _, input) in inputs().into_iter().filter(|(codec, ..)| *codec == Codec::Xz) {
        for bit in 0..8 * input.len() {
            let mut damaged = input.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(read(codec, &damaged).is_err(), "bit {bit} of {} bytes", input.len());
        }
    }
}

#[test]
fn an_input_cut_anywhere_is_truncated() {
    for (codec, _, input) in inputs() {
        for len in 0..input.len() {
            assert_eq!(
                failure(read(codec, &input[..len])),
                CodecFailure::Truncated,
                "{codec} cut after {len} bytes"
            );
            let error = decompress(&input[..len], &DecompressOptions::new()).unwrap_err();
            assert!(
                matches!(
                    error,
                    CompressionError::UnknownFormat { .. }
                        | CompressionError::DecompressionFailed { why: CodecFailure::Truncated, .. }
                ),
                "{codec} cut after {len} bytes: {error}"
            );
        }
    }
}

#[test]
fn a_large_input_cut_at_the_end_is_truncated() {
    // Large, so that decoders buffer much of it, and a frame is decompressed at once only if it is complete.
    for codec in Codec::ENCODABLE {
        let input = compress(&text(500_000), &CompressOptions::new(codec)).expect("memory");
        for cut in 1..20 {
            assert_eq!(
                failure(read(codec, &input[..input.len() - cut])),
                CodecFailure::Truncated,
                "{codec} {cut}"
            );
        }
    }
}

#[test]
fn trailing_data_is_an_error() {
    for (codec, content, input) in inputs() {
        let frame = compress_by_program(codec, &[], b"more");
        for garbage in [b"x".as_slice(), b"garbage and more", &[0], &[0, 0, 0], &[0xff; 40]] {
            let why = failure(read(codec, &[input.as_slice(), garbage].concat()));
            let offset = input.len() as u64;
            assert_eq!(why, CodecFailure::TrailingData { offset }, "{codec} {garbage:02x?}");
        }
        if !is_concatenated(codec) {
            let offset = input.len() as u64;
            let why = failure(read(codec, &[input, frame].concat()));
            assert_eq!(why, CodecFailure::TrailingData { offset }, "{codec} with another stream");
            continue;
        }
        for len in 1..frame.len() {
            let why = failure(read(codec, &[&input, &frame[..len]].concat()));
            assert_eq!(why, CodecFailure::Truncated, "{codec} with {len} bytes of another stream");
        }
        let both = read(codec, &[input, frame].concat()).expect("two whole streams");
        assert!(both == [content.as_slice(), b"more"].concat());
    }
}

#[test]
fn another_format_is_a_bad_magic() {
    for codec in Codec::ALL {
        for other in Codec::ALL.into_iter().filter(|other| *other != codec) {
            let why = failure(read(codec, &compress_by_program(other, &[], &text(400))));
            assert!(why == CodecFailure::BadMagic || !has_magic(codec), "{codec} given {other}: {why}");
        }
        assert_eq!(failure(read(codec, b"")), CodecFailure::Truncated);
    }
}

#[test]
fn a_wrong_checksum_is_reported_if_the_library_distinguishes_it() {
    for (codec, from_end) in [(Codec::Zstd, 1), (Codec::Lz4, 1), (Codec::Gzip, 5)] {
        let mut input = compress(&noise(1000, 2), &CompressOptions::new(codec)).expect("memory");
        let at = input.len() - from_end;
        input[at] ^= 1;
        assert_eq!(failure(read(codec, &input)), CodecFailure::ChecksumMismatch, "{codec}");
    }
}

#[test]
fn a_wrong_content_size_in_the_frame_is_corrupt() {
    let content = noise(300, 3);
    // FHD, 2 bytes of size minus 256: RFC 8878, section 3.1.1.1.4.
    let mut zstd = compress_zstd(&content, None).expect("memory");
    assert_eq!(zstd[5..7], 44u16.to_le_bytes());
    for size in [43u16, 45, 0, 5000] {
        zstd[5..7].copy_from_slice(&size.to_le_bytes());
        assert_eq!(failure(read(Codec::Zstd, &zstd)), CodecFailure::Corrupt, "{size}");
    }
    let lz4 = compress_lz4(&content, None).expect("memory");
    for size in [0u64, 299, 301, 5000] {
        let mut lz4 = lz4.clone();
        lz4[6..14].copy_from_slice(&size.to_le_bytes());
        let [_, checksum, ..] = twox_hash::XxHash32::oneshot(0, &lz4[4..14]).to_le_bytes();
        lz4[14] = checksum;
        assert_eq!(failure(read(Codec::Lz4, &lz4)), CodecFailure::Corrupt, "{size}");
    }
    let gzip = compress_gzip(&content, None).expect("memory");
    let at = gzip.len() - 4;
    assert_eq!(gzip[at..], 300u32.to_le_bytes());
    for size in [0u32, 299, 301, 5000] {
        let gzip = [&gzip[..at], &size.to_le_bytes()].concat();
        assert_eq!(failure(read(Codec::Gzip, &gzip)), CodecFailure::Corrupt, "{size}");
    }
}

#[test]
fn damage_in_a_large_input_is_detected() {
    let content = text(400_000);
    for codec in Codec::ENCODABLE {
        let input = compress(&content, &CompressOptions::new(codec)).expect("memory");
        for at in (0..input.len()).step_by(input.len() / 50) {
            let mut damaged = input.clone();
            damaged[at] ^= 0x10;
            let result = decompress(&damaged, &DecompressOptions::new().codec(codec).limit(LIMIT));
            let detected = result.is_err() || result.as_ref() == Ok(&content);
            assert!(detected || !is_checked(codec), "{codec} at {at}");
        }
    }
}

#[test]
fn a_failed_decoder_keeps_failing() {
    let input = compress(&text(10_000), &CompressOptions::new(Codec::Zstd)).expect("memory");
    let mut decoder = Decoder::new(&DecompressOptions::new().limit(10)).expect("the options are good");
    let mut out = b"kept".to_vec();
    let first = decoder.update(&input, &mut out).unwrap_err();
    assert_eq!(first, CompressionError::SizeExceeded { limit: 10 });
    assert_eq!(decoder.update(b"", &mut out).unwrap_err(), first);
    assert_eq!(decoder.finish(&mut out).unwrap_err(), first);
    assert_eq!(out, b"kept");
}
