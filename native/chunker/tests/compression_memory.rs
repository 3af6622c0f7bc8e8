//! Decompression bombs: small inputs that expand to 10 GiB. Decoders must reject them within 1 s and 64 MiB.
//!
//! The kernel measures memory per process, so each bomb is decompressed in a process of its own: this test
//! executable, started again with the bomb in a file.

#![cfg(all(
    target_os = "linux",
    feature = "zstd",
    feature = "lz4",
    feature = "xz",
    feature = "bzip2",
    feature = "gzip",
    feature = "brotli"
))]

use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use chunker::ErrorCode;
use chunker::codec::{
    Codec, CompressOptions, CompressionError, CompressionScratch, Decoder, DecompressOptions, Encoder,
    compress, decompress_into,
};

const SIZE: u64 = 10 << 30;
const LIMIT: u64 = 16 << 20;
const MEMORY: u64 = 64 << 20;
const TIME: Duration = Duration::from_secs(1);

/// Returns a zstd frame (RFC 8878) whose blocks each repeat a zero 128 KiB times.
fn zstd_bomb(with_size: bool) -> Vec<u8> {
    let blocks = SIZE / (128 << 10);
    // The size in eight bytes if there is one, a window of 8 MiB, no checksum.
    let mut bomb = vec![0x28, 0xb5, 0x2f, 0xfd, if with_size { 0b1100_0000 } else { 0 }, (23 - 10) << 3];
    if with_size {
        bomb.extend_from_slice(&SIZE.to_le_bytes());
    }
    for block in 1..=blocks {
        let last = u32::from(block == blocks);
        let header = last | 1 << 1 | (128 << 10) << 3;
        bomb.extend_from_slice(&header.to_le_bytes()[..3]);
        bomb.push(0);
    }
    bomb
}

/// Returns an lz4 frame with blocks of 4 MiB, each a zero and the longest possible match of it.
fn lz4_bomb() -> Vec<u8> {
    // Magic, version and independent blocks, 4 MiB, and the header checksum.
    let mut bomb = vec![0x04, 0x22, 0x4d, 0x18, 0b0110_0000, 0x70];
    let [_, checksum, ..] = twox_hash::XxHash32::oneshot(0, &bomb[4..]).to_le_bytes();
    bomb.push(checksum);
    // One literal, a match at distance one of 4 + 15 + 255 * 16,448 + 39 bytes, and five literals for an end.
    let mut block = vec![0x1f, 0, 1, 0];
    block.extend([255; 16_448]);
    block.extend([39, 0x50, 0, 0, 0, 0, 0]);
    let size = u32::try_from(block.len()).expect("the block is small").to_le_bytes();
    for _ in 0..SIZE / (4 << 20) {
        bomb.extend_from_slice(&size);
        bomb.extend_from_slice(&block);
    }
    bomb.extend_from_slice(&[0; 4]);
    bomb
}

/// The content of a stream of zeros, in bytes.
const PART: u64 = 128 << 20;

/// Returns consecutive streams of zeros, each of which is a bomb.
fn streams(codec: Codec, level: i32) -> Vec<u8> {
    stream(codec, level).repeat((SIZE / PART) as usize)
}

fn stream(codec: Codec, level: i32) -> Vec<u8> {
    let mut encoder = Encoder::new(&CompressOptions::new(codec).level(level)).expect("memory");
    let mut stream = Vec::new();
    let zeros = vec![0; 1 << 20];
    for _ in 0..PART as usize / zeros.len() {
        encoder.update(&zeros, &mut stream).expect("memory");
    }
    encoder.finish(&mut stream).expect("memory");
    stream
}

/// Returns the peak memory of the process since the last reset, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has this file");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux reports the peak");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("it is a number");
    kib << 10
}

/// Runs `work` and returns its peak memory beyond the memory before it, in bytes, and its time.
fn measured(work: impl FnOnce()) -> (u64, Duration) {
    // proc(5): 5 resets the peak to the current size.
    std::fs::write("/proc/self/clear_refs", "5").expect("a process may reset its own peak");
    let before = peak();
    let start = Instant::now();
    work();
    let time = start.elapsed();
    (peak() - before, time)
}

/// The ways to decompress a bomb.
const WAYS: [&str; 3] = ["at once", "in pieces", "bit by bit"];

/// Decompresses a bomb in a fresh process. `window` is the memory that the format requires of the decoder, in
/// bytes.
fn decompress_bomb(way: &str, codec: Option<Codec>, bomb: &[u8], window: u64) {
    let exceeded = CompressionError::SizeExceeded { limit: LIMIT };
    let options = DecompressOptions::new().codec(codec).limit(LIMIT);
    let mut decompressed = 0;
    let (memory, time) = measured(|| match way {
        "at once" => {
            let mut out = Vec::new();
            let result =
                decompress_into(bomb, &options, &mut CompressionScratch::new(), &mut out).map(|_| ());
            assert_eq!(result, Err(exceeded.clone()));
        }
        "in pieces" => {
            let mut decoder = Decoder::new(&options).expect("the options are good");
            let mut out = Vec::new();
            let error = bomb.chunks(64 << 10).find_map(|piece| decoder.update(piece, &mut out).err());
            assert_eq!(error, Some(exceeded.clone()));
        }
        _ => {
            let options = options.clone().limit(4 * LIMIT);
            let mut decoder = Decoder::new(&options).expect("the options are good");
            let mut out = Vec::new();
            let result: Result<(), CompressionError> = bomb.chunks(64 << 10).try_for_each(|mut piece| {
                loop {
                    out.clear();
                    let progress = decoder.update_some(piece, 64 << 10, &mut out)?;
                    decompressed += out.len() as u64;
                    piece = &piece[progress.consumed..];
                    if !progress.pending {
                        return Ok(());
                    }
                }
            });
            assert_eq!(result, Err(CompressionError::SizeExceeded { limit: 4 * LIMIT }));
        }
    });
    if way == "bit by bit" {
        // With bounded output, the memory is the window and the state of the decoder, regardless of the size
        // of the content. A bomb that declares its size is rejected before any output.
        assert!(memory <= window + (8 << 20), "{memory} bytes");
        assert!(decompressed == 0 || decompressed > 4 * LIMIT - (4 << 20), "{decompressed} bytes of content");
    } else {
        assert!(memory <= MEMORY, "{memory} bytes");
        assert!(time <= TIME, "{time:?}");
    }
}

/// Runs this executable on the bomb in each way.
fn check_bomb(name: &str, bomb: &[u8], window: u64) {
    let mut file = tempfile::NamedTempFile::new().expect("there is room for a temporary file");
    file.write_all(bomb).expect("it can be written");
    for way in WAYS {
        let program = std::env::current_exe().expect("a test has a program");
        let output = Command::new(program)
            .args(["--exact", "bombs_are_rejected_in_little_time_and_memory", "--nocapture"])
            .env("COMPRESSION_BOMB", file.path())
            .env("COMPRESSION_BOMB_WAY", way)
            .env("COMPRESSION_BOMB_NAME", name)
            .env("COMPRESSION_BOMB_WINDOW", window.to_string())
            .output()
            .expect("the executable starts");
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
        assert!(output.status.success() && said[0].contains("1 passed"), "{name} {way}: {}", said.concat());
    }
}

#[test]
fn bombs_are_rejected_in_little_time_and_memory() {
    if let Some(path) = std::env::var_os("COMPRESSION_BOMB") {
        let bomb = std::fs::read(path).expect("the bomb is there");
        let [way, name, window] =
            ["COMPRESSION_BOMB_WAY", "COMPRESSION_BOMB_NAME", "COMPRESSION_BOMB_WINDOW"]
                .map(|name| std::env::var(name).expect("it is set along with the bomb"));
        // The other formats are detected.
        let codec = (name == Codec::Brotli.name()).then_some(Codec::Brotli);
        return decompress_bomb(&way, codec, &bomb, window.parse().expect("it is a number"));
    }

    // Check the measurement itself: 80 MiB exceed the bound.
    let (memory, _) = measured(|| drop(std::hint::black_box(vec![1u8; 80 << 20])));
    assert!(memory > MEMORY, "{memory} bytes for 80 MiB");

    check_bomb("zstd with its size", &zstd_bomb(true), 8 << 20);
    check_bomb("zstd", &zstd_bomb(false), 8 << 20);
    check_bomb("lz4", &lz4_bomb(), 4 << 20);
    check_bomb("xz -0", &streams(Codec::Xz, 0), 256 << 10);
    check_bomb("xz -9", &streams(Codec::Xz, 9), 64 << 20);
    check_bomb("bzip2", &streams(Codec::Bzip2, 9), 4 << 20);
    check_bomb("gzip", &streams(Codec::Gzip, 9), 32 << 10);
    check_bomb("brotli", &stream(Codec::Brotli, 6), 16 << 20);

    // Check the hand-made bombs: truncated after 8 MiB of content, they yield that much.
    let whole = DecompressOptions::new();
    let zstd = zstd_bomb(false);
    let mut decoder = Decoder::new(&whole).expect("the options are good");
    let mut out = Vec::new();
    decoder.update(&zstd[..6 + 4 * 64], &mut out).expect("the input is valid so far");
    assert!(out == vec![0; 8 << 20]);
    let lz4 = lz4_bomb();
    let block = (lz4.len() - 11) / (SIZE / (4 << 20)) as usize;
    out.clear();
    let mut decoder = Decoder::new(&whole).expect("the options are good");
    decoder.update(&lz4[..7 + 2 * block], &mut out).expect("the input is valid so far");
    assert!(out == vec![0; 8 << 20]);

    // A header with the true size costs no more than its content, and one with a false size costs nothing.
    let small = compress(b"content", &CompressOptions::new(Codec::Zstd)).expect("memory");
    let mut lies = small.clone();
    // A size of 4 bytes instead of one: RFC 8878, section 3.1.1.1.1.1.
    lies[4] |= 0b1000_0000;
    lies.splice(5..6, (128u32 << 20).to_le_bytes());
    let (memory, _) = measured(|| {
        let mut out = Vec::new();
        let result = decompress_into(&lies, &whole, &mut CompressionScratch::new(), &mut out);
        assert_eq!(result.expect_err("it lies").code(), "decompression_failed");
    });
    assert!(memory < 4 << 20, "{memory} bytes for seven");
}
