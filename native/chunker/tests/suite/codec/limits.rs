//! The limits of decoders are exact to the byte.

use chunker::codec::*;

use super::codecs::is_concatenated;
use super::content::{crc32, noise, text};
use super::program::{compress_by_program, run};

/// Decompresses an input under a limit in every way, and checks that all results are equal.
fn read(codec: Codec, input: &[u8], limit: u64) -> Result<Vec<u8>, CompressionError> {
    let options = DecompressOptions::new().codec(codec).limit(limit);
    let whole = decompress(input, &options);

    // A reused buffer of the caller that is longer than the limit.
    let mut out = vec![0xaa; 3_000_000];
    let capacity = out.capacity();
    let reused = decompress_into(input, &options, &mut CompressionScratch::new(), &mut out);
    assert!(out.capacity() >= capacity, "the capacity is kept");
    match &reused {
        Ok(ignored) => assert!(whole.as_ref() == Ok(&out) && *ignored == 0),
        Err(_) => assert!(out.is_empty(), "nothing partial is returned"),
    }
    assert_eq!(reused.clone().err(), whole.clone().err());

    for (piece, most) in [(1, usize::MAX), (1000, 10), (usize::MAX, 1000), (usize::MAX, usize::MAX)] {
        let pieces: Result<Vec<u8>, CompressionError> = (|| {
            let mut decoder = Decoder::new(&options)?;
            let mut out = Vec::new();
            for mut input in input.chunks(piece.min(input.len().max(1))) {
                loop {
                    let before = out.len();
                    let progress = decoder.update_some(input, most, &mut out)?;
                    assert!(out.len() - before <= most);
                    input = &input[progress.consumed..];
                    if !progress.pending {
                        break;
                    }
                }
                assert!(input.is_empty(), "all is taken when nothing is pending");
            }
            decoder.finish(&mut out)?;
            Ok(out)
        })();
        assert!(pieces == whole, "{codec}: pieces of {piece}, at most {most} at a time, limit {limit}");
    }
    whole
}

fn exact(codec: Codec, content: &[u8], input: &[u8]) {
    let size = content.len() as u64;
    for limit in [size, size + 1, 1 << 30, u64::MAX] {
        assert!(read(codec, input, limit).as_deref() == Ok(content), "{codec}: {size} bytes, limit {limit}");
    }
    for limit in [size.saturating_sub(1), size / 2, 1, 0].into_iter().filter(|limit| *limit < size) {
        assert_eq!(
            read(codec, input, limit),
            Err(CompressionError::SizeExceeded { limit }),
            "{codec} {size}"
        );
    }
}

#[test]
fn a_content_of_the_limit_passes_and_one_byte_more_does_not() {
    for codec in Codec::ALL {
        for size in [0, 1, 2, 511, 512, 513, 4096, 65_535, 65_536, 65_537, 131_073, 300_000] {
            for content in [text(size), vec![0; size]] {
                if Codec::ENCODABLE.contains(&codec) {
                    let ours = compress(&content, &CompressOptions::new(codec)).expect("memory");
                    exact(codec, &content, &ours);
                }
                // Reading from a pipe, the program does not know the size either.
                exact(codec, &content, &compress_by_program(codec, &[], &content));
            }
        }
    }
}

#[test]
fn the_limit_applies_to_all_streams_together() {
    for codec in Codec::ALL.into_iter().filter(|codec| is_concatenated(*codec)) {
        let parts = [text(1000), vec![], noise(500, 2), vec![0; 100_000]];
        let input: Vec<u8> = parts
            .iter()
            .flat_map(|part| compress(part, &CompressOptions::new(codec)).expect("memory"))
            .collect();
        exact(codec, &parts.concat(), &input);
    }
}

#[test]
fn the_limit_applies_to_lz4_with_linked_and_large_blocks() {
    let content = text(1_000_000);
    for arguments in [["-BD", "-B4"], ["-BD", "-B7"], ["-BX", "-B7"]] {
        exact(Codec::Lz4, &content, &run("lz4", &[&arguments[..], &["-c"]].concat(), &content));
    }
}

/// Returns an xz stream whose block header declares another dictionary size: `code` of the format's section
/// 5.3.1.
fn xz_with_dictionary(code: u8) -> Vec<u8> {
    let mut stream = compress_xz(b"content", None).expect("memory");
    // The block header follows the stream header of 12 bytes: size, flags, then filter, length and
    // dictionary.
    let size = (usize::from(stream[12]) + 1) * 4;
    assert_eq!(stream[14..16], [0x21, 1], "LZMA2 with one byte of properties");
    stream[16] = code;
    let checksum = crc32(&stream[12..12 + size - 4]);
    stream[12 + size - 4..12 + size].copy_from_slice(&checksum.to_le_bytes());
    stream
}

#[test]
fn a_window_that_is_too_large_is_rejected() {
    let refused =
        |codec| Err(CompressionError::DecompressionFailed { codec, why: CodecFailure::MemoryLimit });

    // 2 | code & 1, shifted by code / 2 + 11: 64 MiB, which xz -9 uses, 96, and 128.
    for code in [28, 29, 30] {
        assert_eq!(read(Codec::Xz, &xz_with_dictionary(code), 100).as_deref(), Ok(b"content".as_slice()));
    }
    // 192 MiB, 256 MiB, 1.5 GiB, and 4 GiB minus one byte.
    for code in [31, 32, 37, 40] {
        assert_eq!(read(Codec::Xz, &xz_with_dictionary(code), 100), refused(Codec::Xz), "{code}");
    }

    let content = text(1000);
    for log in 10..=27 {
        let input = run("zstd", &["-1", &format!("--zstd=wlog={log}"), "-c"], &content);
        assert_eq!(input[5] >> 3, log - 10, "the header asks for that window");
        assert!(read(Codec::Zstd, &input, 1000).as_ref() == Ok(&content), "window of 2^{log}");
    }
    for log in 28..=31 {
        let input = run("zstd", &["-1", &format!("--long={log}"), "-c"], &content);
        assert_eq!(read(Codec::Zstd, &input, 1000), refused(Codec::Zstd), "window of 2^{log}");
    }
    // Frames of one empty block, with windows of 4 GiB and of the most that a header can declare, 2^41 and
    // seven eighths more.
    for window in [(32 - 10) << 3, 0xff] {
        let input = [0x28, 0xb5, 0x2f, 0xfd, 0, window, 1, 0, 0];
        assert_eq!(read(Codec::Zstd, &input, 1000), refused(Codec::Zstd), "{window}");
        // With the size, 0, in the header: such a frame would need no window, but declares it.
        let input = [0x28, 0xb5, 0x2f, 0xfd, 0b1000_0000, window, 0, 0, 0, 0, 1, 0, 0];
        assert_eq!(read(Codec::Zstd, &input, 1000), refused(Codec::Zstd), "{window} with a size");
    }
    // The dictionary of .lzma is four bytes after the first.
    let lzma = compress_by_program(Codec::Lzma, &[], b"content");
    for (dictionary, read_as) in [(4096u32, true), (128 << 20, true), (192 << 20, false), (u32::MAX, false)] {
        let input = [&lzma[..1], &dictionary.to_le_bytes(), &lzma[5..]].concat();
        let expected = if read_as { Ok(b"content".to_vec()) } else { refused(Codec::Lzma) };
        assert_eq!(read(Codec::Lzma, &input, 100), expected, "{dictionary}");
    }

    // brotli has windows of at most 16 MiB, and an extension to larger ones.
    for bits in 10..=24 {
        let input = compress_by_program(Codec::Brotli, &["-w", &bits.to_string()], &content);
        assert!(read(Codec::Brotli, &input, 1000).as_ref() == Ok(&content), "window of 2^{bits}");
    }
    let large = [25, 30]
        .map(|bits| compress_by_program(Codec::Brotli, &[&format!("--large_window={bits}")], &content));
    // One of 2^24 bytes, which the program writes without the extension, and the end of the stream.
    let small = vec![0x11, 24, 0x03];
    for input in large.into_iter().chain([small]) {
        let why = CodecFailure::Unsupported;
        let error = CompressionError::DecompressionFailed { codec: Codec::Brotli, why };
        assert_eq!(read(Codec::Brotli, &input, 1000), Err(error), "{:02x?}", &input[..3]);
    }

    // 128 MiB is the largest accepted window, an eighth more the smallest that is rejected.
    let with_window = |window| [0x28, 0xb5, 0x2f, 0xfd, 0, window, 1, 0, 0];
    assert_eq!(read(Codec::Zstd, &with_window((27 - 10) << 3), 0), Ok(vec![]));
    assert_eq!(read(Codec::Zstd, &with_window((27 - 10) << 3 | 1), 0), refused(Codec::Zstd));
}

#[test]
fn a_declared_size_is_checked_before_memory_is_reserved() {
    // A single segment of 2^62 bytes, and one of 1 TiB in an lz4 frame: over the limit, or without any of the
    // content.
    let zstd = [&[0x28, 0xb5, 0x2f, 0xfd, 0b1110_0000], &(1u64 << 62).to_le_bytes()[..], &[1, 0, 0]].concat();
    let error = read(Codec::Zstd, &zstd, u64::MAX).unwrap_err();
    assert_eq!(
        error,
        CompressionError::DecompressionFailed { codec: Codec::Zstd, why: CodecFailure::MemoryLimit }
    );
    // The largest possible window, declared by a frame of sixteen bytes.
    let zstd = [&[0x28, 0xb5, 0x2f, 0xfd, 0b1110_0000], &(1u64 << 27).to_le_bytes()[..], &[1, 0, 0]].concat();
    let mut out = Vec::new();
    let error = decompress_zstd_into(&zstd, 1 << 30, &mut out).unwrap_err();
    assert_eq!(
        error,
        CompressionError::DecompressionFailed { codec: Codec::Zstd, why: CodecFailure::Corrupt }
    );
    assert!(out.capacity() < 1 << 20, "{} bytes were allocated for nothing", out.capacity());

    let mut lz4 = vec![0x04, 0x22, 0x4d, 0x18, 0b0110_1000, 0x70];
    lz4.extend_from_slice(&(1u64 << 40).to_le_bytes());
    let [_, checksum, ..] = twox_hash::XxHash32::oneshot(0, &lz4[4..]).to_le_bytes();
    lz4.push(checksum);
    lz4.extend_from_slice(&[0; 4]);
    let error = read(Codec::Lz4, &lz4, 1 << 30).unwrap_err();
    assert_eq!(error, CompressionError::SizeExceeded { limit: 1 << 30 });
    let mut out = Vec::new();
    let error = decompress_lz4_into(&lz4, 1 << 40, &mut out).unwrap_err();
    assert_eq!(
        error,
        CompressionError::DecompressionFailed { codec: Codec::Lz4, why: CodecFailure::Corrupt }
    );
    assert!(out.capacity() < 1 << 20, "{} bytes were allocated for nothing", out.capacity());
}
