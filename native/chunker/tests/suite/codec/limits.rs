//! The limits of decoders are exact to the byte.

use chunker::ErrorCode as _;
use chunker::codec::*;

use super::codecs::is_concatenated;
use super::content::{crc32, noise, text};
use super::program::{compress_by_program, run};

/// Decompresses an input under a limit in every way, and checks that all results are equal.
fn read(codec: Codec, input: &[u8], limit: u64) -> Result<Vec<u8>, CompressionError> {
    read_with(codec, input, &DecompressOptions::new().codec(codec).limit(limit))
}

fn read_with(codec: Codec, input: &[u8], options: &DecompressOptions) -> Result<Vec<u8>, CompressionError> {
    let whole = decompress(input, options);

    // A reused buffer of the caller that is longer than the limit.
    let mut out = vec![0xaa; 3_000_000];
    let capacity = out.capacity();
    let reused = decompress_into(input, options, &mut CompressionScratch::new(), &mut out);
    assert!(out.capacity() >= capacity, "the capacity is kept");
    match &reused {
        Ok(ignored) => assert!(whole.as_ref() == Ok(&out) && *ignored == 0),
        Err(_) => assert!(out.is_empty(), "nothing partial is returned"),
    }
    assert_eq!(reused.clone().err(), whole.clone().err());

    for (piece, most) in [(1, usize::MAX), (1000, 10), (usize::MAX, 1000), (usize::MAX, usize::MAX)] {
        let pieces: Result<Vec<u8>, CompressionError> = (|| {
            let mut decoder = Decoder::new(options)?;
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
        assert!(pieces == whole, "{codec}: pieces of {piece}, at most {most} at a time, {options:?}");
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
    // 2 | code & 1, shifted by code / 2 + 11: 64 MiB, which xz -9 uses, 96, and 128.
    for code in [28, 29, 30] {
        assert_eq!(read(Codec::Xz, &xz_with_dictionary(code), 100).as_deref(), Ok(b"content".as_slice()));
    }
    // 192 MiB, 256 MiB, 1.5 GiB, and 4 GiB minus one byte.
    for (code, window) in [(31, 192 << 20), (32, 256 << 20), (37, 1536 << 20), (40, u32::MAX.into())] {
        only_with_memory(Codec::Xz, &xz_with_dictionary(code), window, 1 << 20, b"content");
    }

    let content = text(1000);
    for log in 10..=27 {
        let input = run("zstd", &["-1", &format!("--zstd=wlog={log}"), "-c"], &content);
        assert_eq!(input[5] >> 3, log - 10, "the header asks for that window");
        assert!(read(Codec::Zstd, &input, 1000).as_ref() == Ok(&content), "window of 2^{log}");
    }
    for log in 28..=31 {
        let input = run("zstd", &["-1", &format!("--long={log}"), "-c"], &content);
        only_with_memory(Codec::Zstd, &input, 1 << log, 0, &content);
    }
    // Frames of one empty block, with windows of 4 GiB and of the most that a header can declare, 2^41 and
    // seven eighths more.
    for window in [(32 - 10) << 3, 0xff] {
        let plain = vec![0x28, 0xb5, 0x2f, 0xfd, 0, window, 1, 0, 0];
        // With the size, 0, in the header: such a frame would need no window, but declares it.
        let with_size = vec![0x28, 0xb5, 0x2f, 0xfd, 0b1000_0000, window, 0, 0, 0, 0, 1, 0, 0];
        for input in [plain, with_size] {
            assert!(matches!(memory_limit(read(Codec::Zstd, &input, 1000)), Some((1.., _))), "{window}");
            // The library has windows of 2 GiB at most.
            let options = DecompressOptions::new().codec(Codec::Zstd).max_memory(u64::MAX);
            let why = CodecFailure::Unsupported;
            let error = CompressionError::DecompressionFailed { codec: Codec::Zstd, why };
            assert_eq!(read_with(Codec::Zstd, &input, &options), Err(error), "{window}");
        }
    }
    // The dictionary of .lzma is four bytes after the first.
    let lzma = compress_by_program(Codec::Lzma, &[], b"content");
    let lzma_with = |dictionary: u32| [&lzma[..1], &dictionary.to_le_bytes(), &lzma[5..]].concat();
    for dictionary in [4096, 128 << 20] {
        assert_eq!(read(Codec::Lzma, &lzma_with(dictionary), 100).as_deref(), Ok(b"content".as_slice()));
    }
    for dictionary in [192 << 20, 1 << 30, u32::MAX] {
        only_with_memory(Codec::Lzma, &lzma_with(dictionary), dictionary.into(), 1 << 20, b"content");
    }

    // brotli has windows of at most 16 MiB, and an extension to larger ones.
    for bits in 10..=24 {
        let input = compress_by_program(Codec::Brotli, &["-w", &bits.to_string()], &content);
        assert!(read(Codec::Brotli, &input, 1000).as_ref() == Ok(&content), "window of 2^{bits}");
        only_with_memory(Codec::Brotli, &input, 1 << bits, 0, &content);
    }
    for bits in [25, 27, 28, 30] {
        let input = compress_by_program(Codec::Brotli, &[&format!("--large_window={bits}")], &content);
        let default = read(Codec::Brotli, &input, 1000);
        assert!(if bits <= 27 { default.as_ref() == Ok(&content) } else { memory_limit(default).is_some() });
        only_with_memory(Codec::Brotli, &input, 1 << bits, 0, &content);
    }
    // Sizes that the extension does not have.
    for bits in [9, 31, 63] {
        let options = DecompressOptions::new().codec(Codec::Brotli).max_memory(u64::MAX);
        let why = CodecFailure::Unsupported;
        let error = CompressionError::DecompressionFailed { codec: Codec::Brotli, why };
        assert_eq!(read_with(Codec::Brotli, &[0x11, bits, 0x03], &options), Err(error), "2^{bits}");
    }

    // 128 MiB is the largest window by default, an eighth more the smallest that is rejected.
    let with_window = |window| [0x28, 0xb5, 0x2f, 0xfd, 0, window, 1, 0, 0];
    assert_eq!(read(Codec::Zstd, &with_window((27 - 10) << 3), 0), Ok(vec![]));
    assert!(memory_limit(read(Codec::Zstd, &with_window((27 - 10) << 3 | 1), 0)).is_some());
}

/// Returns the memory that an input needs and the limit, if it is rejected for them.
fn memory_limit(result: Result<Vec<u8>, CompressionError>) -> Option<(u64, u64)> {
    match result {
        Err(CompressionError::DecompressionFailed {
            why: CodecFailure::MemoryLimit { needed, limit },
            ..
        }) => Some((needed, limit)),
        _ => None,
    }
}

/// Checks that an input with this window is read with as much memory, and with no less, and that the error
/// names what suffices. A decoder may ask for `state` more, and use as much without asking.
fn only_with_memory(codec: Codec, input: &[u8], window: u64, state: u64, content: &[u8]) {
    let options = |memory| DecompressOptions::new().codec(codec).max_memory(memory);
    let less = window - 1 - state;
    let refused = read_with(codec, input, &options(less));
    let (needed, limit) =
        memory_limit(refused).unwrap_or_else(|| panic!("{codec}: {window} bytes are too many"));
    assert_eq!(limit, less);
    assert!((window..=window + state).contains(&needed), "{codec}: {needed} bytes for a window of {window}");
    for memory in [window, needed, u64::MAX] {
        let read = read_with(codec, input, &options(memory));
        assert!(read.as_deref() == Ok(content), "{codec}: a window of {window} with {memory}");
    }
}

#[test]
fn the_memory_limit_is_named_and_applies_to_windows() {
    // Codecs without a choice of windows ignore the limit, and the others have small ones.
    for codec in [Codec::Lz4, Codec::Bzip2, Codec::Gzip] {
        let content = text(100_000);
        let input = compress_by_program(codec, &[], &content);
        let options = DecompressOptions::new().codec(codec).max_memory(0);
        assert!(read_with(codec, &input, &options).as_ref() == Ok(&content), "{codec}");
    }
    let error = read(Codec::Xz, &xz_with_dictionary(37), 100).unwrap_err();
    let details = format!("{:?}", error.details());
    for part in ["max_memory", "needed", "limit"] {
        assert!(details.contains(part), "{details}");
    }
    let text = error.to_string();
    assert!(text.contains("bytes are needed, and max_memory is 134217728 bytes"), "{text}");
}

#[test]
fn a_declared_size_is_checked_before_memory_is_reserved() {
    // A single segment of 2^62 bytes, and one of 1 TiB in an lz4 frame: over the limit, or without any of the
    // content.
    let zstd = [&[0x28, 0xb5, 0x2f, 0xfd, 0b1110_0000], &(1u64 << 62).to_le_bytes()[..], &[1, 0, 0]].concat();
    let error = read(Codec::Zstd, &zstd, u64::MAX).unwrap_err();
    assert_eq!(memory_limit(Err(error)), Some((1 << 62, DEFAULT_MAX_MEMORY)));
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
