//! The official programs read the output of this library, and this library reads theirs, at every level.

use chunker::ErrorCode;
use chunker::codec::*;

use super::codecs::{is_concatenated, is_detected, reading};
use super::content::{all, crc32, machine_code, noise, sources, text};
use super::program::{compress_by_program, decompress_by_program, run, try_run};

const LIMIT: u64 = 1 << 30;

fn ours(codec: Codec, level: impl Into<Option<i32>>, data: &[u8]) -> Vec<u8> {
    compress(data, &CompressOptions::new(codec).level(level)).expect("the level is one of the codec's")
}

fn streamed(codec: Codec, level: i32, data: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::new(&CompressOptions::new(codec).level(level)).expect("the level is good");
    let mut out = Vec::new();
    for piece in data.chunks(10_007) {
        encoder.update(piece, &mut out).expect("memory suffices");
    }
    encoder.finish(&mut out).expect("memory suffices");
    out
}

/// Returns the contents for a level or an option: all of them for the most used ones, a few for the others.
fn contents(most_used: bool) -> Vec<Vec<u8>> {
    if most_used { all() } else { vec![vec![], b"a".to_vec(), text(200_000), machine_code(150_000)] }
}

/// Checks that the program reads the output of each level, compressed at once and in pieces.
fn program_reads(codec: Codec, levels: impl IntoIterator<Item = i32>) {
    for level in levels {
        for content in &contents(level == codec.default_level()) {
            for compressed in [ours(codec, level, content), streamed(codec, level, content)] {
                let read = decompress_by_program(codec, &compressed);
                assert!(read == *content, "{codec} {level}: {} bytes of content", content.len());
            }
        }
    }
}

/// Checks that this library reads the output of the program with each of these arguments, both with the codec
/// given and detected.
fn we_read(codec: Codec, arguments: &[&[&str]]) {
    let default = format!("-{}", codec.default_level());
    for arguments in arguments {
        for content in &contents(*arguments == [default.as_str()]) {
            let compressed = compress_by_program(codec, arguments, content);
            for chosen in [None, Some(codec)].into_iter().filter(|it| it.is_some() || is_detected(codec)) {
                let read = decompress(&compressed, &DecompressOptions::new().codec(chosen));
                assert!(read.as_ref() == Ok(content), "{codec} {arguments:?}: {} bytes", content.len());
            }
            let mut decoder = Decoder::new(&reading(codec)).expect("the options are good");
            let mut read = Vec::new();
            for piece in compressed.chunks(4099) {
                decoder.update(piece, &mut read).expect("the program writes its own format");
            }
            decoder.finish(&mut read).expect("the input is whole");
            assert!(read == *content, "{codec} {arguments:?} in pieces: {} bytes", content.len());
        }
    }
}

#[test]
fn zstd_reads_our_low_levels() {
    program_reads(Codec::Zstd, [-131_072, -1000, -50, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6]);
}

#[test]
fn zstd_reads_our_high_levels() {
    program_reads(Codec::Zstd, 7..=18);
}

#[test]
fn zstd_reads_our_highest_levels() {
    for level in 19..=22 {
        for content in [vec![], text(300_000), machine_code(200_000)] {
            let compressed = ours(Codec::Zstd, level, &content);
            assert!(run("zstd", &["-d", "-c"], &compressed) == content, "level {level}");
        }
    }
    let content = text(100_000);
    assert!(run("zstd", &["-d", "-c"], &streamed(Codec::Zstd, 22, &content)) == content);
}

#[test]
fn we_read_zstd_at_each_level() {
    let levels: Vec<String> = (1..=19).map(|level| format!("-{level}")).collect();
    let mut arguments: Vec<Vec<&str>> = levels.iter().map(|level| vec![level.as_str()]).collect();
    arguments.extend([
        vec!["--fast=1"],
        vec!["--fast=50"],
        vec!["--no-check"],
        vec!["--long=27"],
        vec!["--rsyncable", "-T2"],
    ]);
    we_read(Codec::Zstd, &arguments.iter().map(Vec::as_slice).collect::<Vec<_>>());
}

#[test]
fn we_read_zstd_with_its_largest_common_window() {
    let content = text(300_000);
    // Reading from a pipe, the program does not know the size, so the frame declares the whole window of
    // 128 MiB.
    let compressed = run("zstd", &["-22", "--ultra", "--long=27", "-c"], &content);
    assert_eq!(compressed[5] >> 3, 27 - 10, "the header asks for a window of 2^27 bytes");
    assert!(decompress_zstd(&compressed, LIMIT).as_ref() == Ok(&content));
}

#[test]
fn zstd_frames_hold_size_and_checksum() {
    for content in all() {
        let compressed = ours(Codec::Zstd, None, &content);
        assert_eq!(
            zstd_safe::get_frame_content_size(&compressed).expect("it is a frame"),
            Some(content.len() as u64)
        );
        assert_ne!(compressed[4] & 0b100, 0, "RFC 8878, section 3.1.1.1.1.5: Content_Checksum_flag");
    }
}

#[test]
fn lz4_reads_ours() {
    program_reads(Codec::Lz4, [1]);
}

#[test]
fn we_read_lz4_at_each_level() {
    let levels: Vec<String> = (1..=12).map(|level| format!("-{level}")).collect();
    let mut arguments: Vec<Vec<&str>> = levels.iter().map(|level| vec![level.as_str()]).collect();
    for block_size in ["-B4", "-B5", "-B6", "-B7"] {
        arguments.push(vec![block_size]);
        arguments.push(vec![block_size, "-BD"]);
        arguments.push(vec![block_size, "-BDX"]);
    }
    arguments.extend([vec!["--fast=9"], vec!["--no-frame-crc"], vec!["-BX", "-9"], vec!["-BD", "-12"]]);
    we_read(Codec::Lz4, &arguments.iter().map(Vec::as_slice).collect::<Vec<_>>());
}

#[test]
fn lz4_frames_hold_size_and_checksum() {
    for content in all() {
        let compressed = ours(Codec::Lz4, None, &content);
        assert_eq!(compressed[4], 0b0110_1100, "version 1, independent blocks, content size and checksum");
        assert_eq!(compressed[6..14], (content.len() as u64).to_le_bytes());
    }
}

#[test]
fn we_read_lz4_with_the_size_in_its_frame() {
    let content = text(200_000);
    let file = tempfile::NamedTempFile::new().expect("there is room for a temporary file");
    std::fs::write(file.path(), &content).expect("it can be written");
    let path = file.path().to_str().expect("the path is text");
    let compressed = run("lz4", &["--content-size", "-c", path], &[]);
    assert_eq!(compressed[6..14], (content.len() as u64).to_le_bytes());
    assert!(decompress_lz4(&compressed, LIMIT).as_ref() == Ok(&content));
}

#[test]
fn xz_reads_ours() {
    program_reads(Codec::Xz, 0..=6);
}

#[test]
fn xz_reads_ours_at_high_levels() {
    for level in 7..=9 {
        for content in [vec![], text(200_000)] {
            for compressed in [ours(Codec::Xz, level, &content), streamed(Codec::Xz, level, &content)] {
                assert!(run("xz", &["-d", "-c"], &compressed) == content, "level {level}");
            }
        }
    }
}

#[test]
fn an_independent_decoder_reads_our_xz() {
    for level in 0..=9 {
        for content in [vec![], text(100_000), machine_code(150_000), noise(70_000, 3)] {
            let mut read = Vec::new();
            lzma_rs::xz_decompress(&mut ours(Codec::Xz, level, &content).as_slice(), &mut read)
                .expect("lzma-rs reads .xz");
            assert!(read == content, "level {level}");
        }
    }
}

#[test]
fn we_read_xz_at_each_level() {
    let levels: Vec<String> = (0..=9).map(|level| format!("-{level}")).collect();
    let mut arguments: Vec<Vec<&str>> = levels[..7].iter().map(|level| vec![level.as_str()]).collect();
    arguments.extend([
        vec!["-1", "-e"],
        vec!["-0", "--check=none"],
        vec!["-0", "--check=crc32"],
        vec!["-0", "--check=sha256"],
        vec!["--x86", "--lzma2=preset=1"],
        vec!["--delta=dist=4", "--lzma2=preset=0"],
        vec!["-0", "--block-size=65536"],
    ]);
    we_read(Codec::Xz, &arguments.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let content = text(100_000);
    for level in &levels[7..] {
        assert!(decompress_xz(&run("xz", &[level, "-c"], &content), LIMIT).as_ref() == Ok(&content));
    }
}

#[test]
fn xz_output_is_as_small_as_the_programs() {
    for content in [text(1_500_000), machine_code(2_000_000), noise(100_000, 4), text(5_000)] {
        let theirs = run("xz", &["-6", "-c"], &content).len();
        for compressed in [ours(Codec::Xz, 6, &content), streamed(Codec::Xz, 6, &content)] {
            let ours = compressed.len();
            assert!(ours * 100 <= theirs * 101, "{ours} bytes where xz -6 makes {theirs}");
        }
    }
}

#[test]
fn xz_writes_one_block_with_crc64() {
    let compressed = ours(Codec::Xz, None, &text(2_000_000));
    assert_eq!(compressed[6..8], [0, 4], "The .xz File Format, section 2.1.1.2: stream flags");
    let file = tempfile::Builder::new().suffix(".xz").tempfile().expect("there is room for a file");
    std::fs::write(file.path(), &compressed).expect("it can be written");
    let list = run("xz", &["--robot", "--list", file.path().to_str().expect("the path is text")], &[]);
    let list = String::from_utf8(list).expect("the list is text");
    let fields: Vec<&str> =
        list.lines().find(|line| line.starts_with("file")).expect("a file").split('\t').collect();
    assert_eq!((fields[1], fields[2], fields[6]), ("1", "1", "CRC64"), "streams, blocks, check in {list}");
}

/// Returns a JSON document as an API returns it: keys that repeat, and values that follow patterns.
fn json(len: usize) -> Vec<u8> {
    let record = |n: usize| {
        let key = n.wrapping_mul(0x9e37_79b9) & 0xffff;
        format!(
            "  {{\"id\": {n}, \"name\": \"user-{key:04x}\", \"active\": {}, \"score\": {}.{:02}}},\n",
            key.is_multiple_of(3),
            key % 1000,
            n % 100
        )
    };
    let mut document: Vec<u8> = (0..len / 40).flat_map(|n| record(n).into_bytes()).collect();
    document.truncate(len);
    document
}

/// Returns a lock file: names, versions, and checksums, which do not compress.
fn lock_file(len: usize) -> Vec<u8> {
    let mut file = Vec::new();
    for (n, checksum) in noise(len, 11).chunks_exact(32).enumerate() {
        let digits: String = checksum.iter().map(|byte| format!("{byte:02x}")).collect();
        file.extend_from_slice(
            format!(
                "[[package]]\nname = \"crate-{n}\"\nversion = \"{}.{}.0\"\nchecksum = \"{digits}\"\n\n",
                n % 7,
                n % 31
            )
            .as_bytes(),
        );
        if file.len() >= len {
            break;
        }
    }
    file
}

#[test]
fn the_smallest_strategy_is_as_small_as_the_best_program() {
    // What the header and trailer of a format may differ by, in bytes.
    const TOLERANCE: usize = 16;
    let corpus = [
        ("text", text(600_000)),
        ("short text", text(3000)),
        ("JSON", json(1_800_000)),
        ("zeros", vec![0; 4_000_000]),
        ("noise", noise(300_000, 5)),
        ("lock file", lock_file(200_000)),
        ("this workspace's lock file", include_bytes!("../../../../../Cargo.lock").to_vec()),
        ("machine code", machine_code(800_000)),
        ("sources", sources(600_000)),
        ("package", [sources(200_000), machine_code(300_000)].concat()),
        ("nothing", vec![]),
        ("a byte", vec![7]),
    ];
    let mut winners = std::collections::BTreeMap::new();
    for (name, content) in corpus {
        let size = |compressed: Result<Vec<u8>, CompressionError>| compressed.expect("memory").len();
        let options = Strategy::Smallest.options();
        let smallest = compress(&content, &options).expect("memory");
        let programs = [
            (Codec::Xz, ["-9", "-e"].as_slice()),
            (Codec::Zstd, &["-19"]),
            (Codec::Bzip2, &["-9"]),
            (Codec::Gzip, &["-9"]),
        ];
        for (codec, arguments) in programs {
            let theirs = compress_by_program(codec, arguments, &content).len();
            assert!(
                smallest.len() <= theirs + TOLERANCE,
                "{name}: {} bytes, and {theirs} with {codec} {arguments:?}",
                smallest.len()
            );
        }
        for codec in [Codec::Zstd, Codec::Lz4, Codec::Xz, Codec::Bzip2, Codec::Gzip] {
            let other = size(compress(&content, &CompressOptions::new(codec)));
            assert!(smallest.len() <= other, "{name}: {} bytes, and {other} with {codec}", smallest.len());
        }
        assert!(decompress(&smallest, &DecompressOptions::new()).as_ref() == Ok(&content), "{name}");
        let codec = detect_format(&smallest).expect("it is detected");
        assert!(decompress_by_program(codec, &smallest) == content, "{name} with {codec}");
        *winners.entry(codec.name()).or_insert(0) += 1;

        if name == "package" {
            let (mut scratch, mut out) = (CompressionScratch::new(), b"stale".to_vec());
            compress_cancellable(&content, &options, &mut scratch, &mut out, &|| false).expect("memory");
            // Large contents are compressed in pieces, which changes a few bytes.
            assert!(out.len().abs_diff(smallest.len()) <= smallest.len() / 200);
        }
    }
    assert!(winners.len() >= 3, "a codec that never wins would be tried in vain: {winners:?}");
}

#[test]
fn the_smallest_strategy_can_be_cancelled_between_and_inside_codecs() {
    let content = text(500_000);
    let options = Strategy::Smallest.options();
    let (mut scratch, mut out) = (CompressionScratch::new(), b"stale".to_vec());
    let polls = std::cell::Cell::new(0);
    let count = || {
        polls.set(polls.get() + 1);
        false
    };
    compress_cancellable(&content, &options, &mut scratch, &mut out, &count).expect("memory");
    let all = polls.get();
    assert!(all > 4 * 5, "{all} polls");
    for after in [1, all / 4, all / 2, all] {
        polls.set(0);
        let cancel = || {
            polls.set(polls.get() + 1);
            polls.get() == after
        };
        let error = compress_cancellable(&content, &options, &mut scratch, &mut out, &cancel).unwrap_err();
        assert_eq!((error.code(), out.len()), ("cancelled", 0));
    }
}

#[test]
fn a_stream_with_the_smallest_strategy_is_xz() {
    let content = text(200_000);
    let mut encoder = Encoder::new(&Strategy::Smallest.options()).expect("xz is built in");
    let mut out = Vec::new();
    encoder.update(&content, &mut out).expect("memory");
    encoder.finish(&mut out).expect("memory");
    assert!(out == streamed(Codec::Xz, 6, &content));
}

#[test]
fn bzip2_reads_ours() {
    program_reads(Codec::Bzip2, 1..=9);
}

#[test]
fn we_read_bzip2_at_each_level() {
    let levels: Vec<String> = (1..=9).map(|level| format!("-{level}")).collect();
    let arguments: Vec<[&str; 1]> = levels.iter().map(|level| [level.as_str()]).collect();
    we_read(Codec::Bzip2, &arguments.iter().map(<[&str; 1]>::as_slice).collect::<Vec<_>>());
}

#[test]
fn gzip_reads_ours() {
    program_reads(Codec::Gzip, 0..=9);
}

#[test]
fn we_read_gzip_at_each_level() {
    let levels: Vec<String> = (1..=9).map(|level| format!("-{level}")).collect();
    let mut arguments: Vec<Vec<&str>> = levels.iter().map(|level| vec![level.as_str()]).collect();
    arguments.push(vec!["--rsyncable"]);
    we_read(Codec::Gzip, &arguments.iter().map(Vec::as_slice).collect::<Vec<_>>());
}

#[test]
fn an_independent_decoder_reads_our_gzip() {
    // zlib, which checks the header too.
    let program = "import gzip, sys; sys.stdout.buffer.write(gzip.decompress(sys.stdin.buffer.read()))";
    for content in all() {
        for compressed in [ours(Codec::Gzip, 0, &content), streamed(Codec::Gzip, 9, &content)] {
            assert!(run("python3", &["-c", program], &compressed) == content);
        }
    }
    let program = "import gzip, sys; sys.stdout.buffer.write(gzip.compress(sys.stdin.buffer.read()))";
    let content = text(200_000);
    assert!(decompress_gzip(&run("python3", &["-c", program], &content), LIMIT).as_ref() == Ok(&content));
}

#[test]
fn the_levels_of_gzip_and_brotli_have_an_effect() {
    let content = sources(1_000_000);
    for (codec, levels) in [(Codec::Gzip, [0, 1, 6, 9]), (Codec::Brotli, [0, 1, 9, 11])] {
        let size =
            |level| [ours(codec, level, &content), streamed(codec, level, &content)].map(|out| out.len());
        let sizes: Vec<usize> = levels.iter().flat_map(|level| size(*level)).collect();
        for at in 2..sizes.len() {
            assert!(sizes[at] < sizes[at - 2], "{codec}: {sizes:?} bytes at {levels:?}");
        }
        let default = ours(codec, None, &content);
        assert!(default == ours(codec, codec.default_level(), &content), "{codec}");
    }
}

#[test]
fn gzip_headers_hold_no_name_and_no_time() {
    for level in 0..=9 {
        for content in all() {
            for compressed in [ours(Codec::Gzip, level, &content), streamed(Codec::Gzip, level, &content)] {
                // RFC 1952, section 2.3: no flags, no time; then the extra flags, and Unix.
                assert_eq!(compressed[..8], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0], "level {level}");
                assert_eq!(compressed[9], 3);
            }
        }
    }
}

/// Returns a gzip member with the optional fields that `flags` names, RFC 1952, section 2.3.
fn with_fields(flags: u8, content: &[u8]) -> Vec<u8> {
    let plain = ours(Codec::Gzip, None, content);
    let mut member = [&plain[..3], &[flags], &[1, 2, 3, 4], &plain[8..10]].concat();
    if flags & 4 != 0 {
        member.extend_from_slice(b"\x09\0xx\x05\0extra");
    }
    if flags & 8 != 0 {
        member.extend_from_slice(b"name.txt\0");
    }
    if flags & 16 != 0 {
        member.extend_from_slice(b"a comment\0");
    }
    if flags & 2 != 0 {
        member.extend_from_slice(&crc32(&member).to_le_bytes()[..2]);
    }
    [&member, &plain[10..]].concat()
}

#[test]
fn gzip_fields_are_not_content() {
    for flags in 0..32 {
        let member = with_fields(flags, b"content");
        assert_eq!(decompress_by_program(Codec::Gzip, &member), b"content", "flags {flags:#x}");
        let two = [member.clone(), member.clone()].concat();
        for cut in [1, 3, 11, two.len()] {
            let mut decoder = Decoder::new(&DecompressOptions::new()).expect("the options are good");
            let mut read = Vec::new();
            for piece in two.chunks(cut) {
                decoder.update(piece, &mut read).expect("the fields are legal");
            }
            decoder.finish(&mut read).expect("the input is complete");
            assert_eq!(read, b"contentcontent", "flags {flags:#x} in pieces of {cut}");
        }
        if flags & 2 != 0 {
            let mut damaged = member.clone();
            damaged[4] ^= 1;
            let why = CodecFailure::ChecksumMismatch;
            let error = CompressionError::DecompressionFailed { codec: Codec::Gzip, why };
            assert_eq!(decompress_gzip(&damaged, LIMIT), Err(error), "the header is checked");
        }
    }
    let mut reserved = with_fields(0, b"content");
    reserved[3] = 0x20;
    let error = CompressionError::DecompressionFailed { codec: Codec::Gzip, why: CodecFailure::Unsupported };
    assert_eq!(decompress_gzip(&reserved, LIMIT), Err(error));
}

#[test]
fn brotli_reads_ours() {
    program_reads(Codec::Brotli, 0..=9);
}

#[test]
fn brotli_reads_ours_at_the_highest_levels() {
    program_reads(Codec::Brotli, 10..=11);
}

#[test]
fn brotli_output_at_the_highest_levels_is_about_as_small_as_the_programs() {
    // More than one metablock of these levels.
    let content = [text(700_000), machine_code(800_000), noise(100_000, 5)].concat();
    let theirs = compress_by_program(Codec::Brotli, &["--quality=11"], &content).len();
    for compressed in [ours(Codec::Brotli, 11, &content), streamed(Codec::Brotli, 11, &content)] {
        assert!(decompress_by_program(Codec::Brotli, &compressed) == content);
        let ours = compressed.len();
        assert!(ours * 100 <= theirs * 102, "{ours} bytes where quality 11 makes {theirs}");
    }
}

#[test]
fn we_read_brotli_at_each_level() {
    let levels: Vec<String> = (0..=11).map(|level| format!("--quality={level}")).collect();
    let mut arguments: Vec<Vec<&str>> = levels.iter().map(|level| vec![level.as_str()]).collect();
    arguments.extend([vec!["-6"], vec!["-5", "-w", "10"], vec!["-9", "-w", "24"]]);
    we_read(Codec::Brotli, &arguments.iter().map(Vec::as_slice).collect::<Vec<_>>());
}

#[test]
fn brotli_output_is_about_as_small_as_the_programs() {
    for content in [text(1_500_000), machine_code(2_000_000), noise(100_000, 4), text(5_000)] {
        for level in [0, 1, 5, 6, 9] {
            let arguments = [format!("--quality={level}")];
            let theirs = compress_by_program(Codec::Brotli, &[&arguments[0]], &content).len();
            for compressed in [ours(Codec::Brotli, level, &content), streamed(Codec::Brotli, level, &content)]
            {
                let ours = compressed.len();
                assert!(
                    ours * 100 <= theirs * 106 + 5000,
                    "{ours} bytes where quality {level} makes {theirs}"
                );
            }
        }
    }
}

#[test]
fn output_of_brotli_depends_on_the_content_only() {
    let content = text(700_000);
    for level in 0..=9 {
        let mut outputs = [1usize, 999, 70_000, 700_000].into_iter().map(|size| {
            let mut encoder =
                Encoder::new(&CompressOptions::new(Codec::Brotli).level(level)).expect("the level is good");
            let mut out = Vec::new();
            for piece in content.chunks(size) {
                encoder.update(piece, &mut out).expect("memory");
            }
            encoder.finish(&mut out).expect("memory");
            out
        });
        let first = outputs.next().expect("there are four");
        assert!(outputs.all(|output| output == first), "level {level}");
    }
}

#[test]
fn we_read_lzma_at_each_level() {
    let levels: Vec<String> = (0..=6).map(|level| format!("-{level}")).collect();
    let arguments: Vec<[&str; 1]> = levels.iter().map(|level| [level.as_str()]).collect();
    we_read(Codec::Lzma, &arguments.iter().map(<[&str; 1]>::as_slice).collect::<Vec<_>>());
    let content = text(100_000);
    for options in ["--lzma1=preset=1,lc=0,lp=2,pb=0", "--lzma1=dict=96MiB,lc=4,pb=1"] {
        let compressed = compress_by_program(Codec::Lzma, &[options], &content);
        assert!(decompress_lzma(&compressed, LIMIT).as_ref() == Ok(&content), "{options}");
        assert_eq!(detect_format(&compressed).unwrap_err().code(), "unknown_format", "{options}");
    }
}

#[test]
fn we_read_lzma_with_the_size_in_its_header() {
    for content in [vec![], b"a".to_vec(), text(100_000)] {
        let size = Some(content.len() as u64);
        let options = lzma_rs::compress::Options {
            unpacked_size: lzma_rs::compress::UnpackedSize::WriteToHeader(size),
        };
        let mut compressed = Vec::new();
        lzma_rs::lzma_compress_with_options(&mut content.as_slice(), &mut compressed, &options)
            .expect("memory");
        assert_eq!(compressed[5..13], (content.len() as u64).to_le_bytes());
        assert!(decompress_lzma(&compressed, LIMIT).as_ref() == Ok(&content), "{} bytes", content.len());
        assert!(decompress(&compressed, &DecompressOptions::new()).as_ref() == Ok(&content));
        for len in 0..compressed.len().min(200) {
            assert!(decompress_lzma(&compressed[..len], LIMIT).is_err(), "cut after {len} bytes");
        }
    }
}

#[test]
fn consecutive_streams_and_frames_are_one_content() {
    let parts = [text(70_000), vec![], noise(5_000, 5), b"end".to_vec()];
    let content = parts.concat();
    for codec in Codec::ENCODABLE.into_iter().filter(|codec| is_concatenated(*codec)) {
        let mixed: Vec<Vec<u8>> = vec![
            ours(codec, None, &parts[0]),
            compress_by_program(codec, &[], &parts[1]),
            streamed(codec, codec.default_level(), &parts[2]),
            compress_by_program(codec, &[], &parts[3]),
        ];
        let joined = mixed.concat();
        assert!(run(codec.name(), &["-d", "-c"], &joined) == content, "{codec} reads several");
        assert!(decompress(&joined, &DecompressOptions::new()).as_ref() == Ok(&content), "{codec}");
        let mut decoder = Decoder::new(&DecompressOptions::new()).expect("the options are good");
        let mut read = Vec::new();
        for byte in &joined {
            decoder.update(std::slice::from_ref(byte), &mut read).expect("the input is complete");
        }
        decoder.finish(&mut read).expect("the input is complete");
        assert!(read == content, "{codec} byte by byte");
    }
}

#[test]
fn padding_between_and_after_xz_streams_is_not_content() {
    let stream = ours(Codec::Xz, None, b"content");
    for padding in [4, 8, 64] {
        let padded = [stream.clone(), vec![0; padding], stream.clone(), vec![0; padding]].concat();
        assert_eq!(run("xz", &["-d", "-c"], &padded), b"contentcontent");
        assert_eq!(decompress_xz(&padded, LIMIT).expect("padding is legal"), b"contentcontent");
    }
    for padding in [1, 2, 3, 5] {
        let padded = [stream.clone(), vec![0; padding]].concat();
        assert!(!try_run("xz", &["-d", "-c"], &padded).status.success());
        assert_eq!(decompress_xz(&padded, LIMIT).unwrap_err().code(), "decompression_failed");
    }
}

/// Returns a skippable frame with `len` bytes; `nibble` selects one of the sixteen magics.
fn skippable(nibble: u8, len: usize) -> Vec<u8> {
    let size = u32::try_from(len).expect("the frame is small").to_le_bytes();
    [vec![0x50 | nibble, 0x2a, 0x4d, 0x18], size.to_vec(), noise(len, 6)].concat()
}

#[test]
fn skippable_frames_are_not_content() {
    for codec in [Codec::Zstd, Codec::Lz4] {
        let frame = ours(codec, None, b"content");
        for nibble in 0..16 {
            for len in [0, 1, 100_000] {
                let skippable = skippable(nibble, len);
                let around = [&skippable, &frame, &skippable, &skippable, &frame, &skippable]
                    .map(Vec::as_slice)
                    .concat();
                assert_eq!(run(codec.name(), &["-d", "-c"], &around), b"contentcontent", "{codec} {nibble}");
                for chosen in [None, Some(codec)] {
                    let options = DecompressOptions::new().codec(chosen);
                    assert_eq!(decompress(&around, &options).expect("skipping is legal"), b"contentcontent");
                    for cut in [1, 7, around.len()] {
                        let mut decoder = Decoder::new(&options).expect("the options are good");
                        let mut read = Vec::new();
                        for piece in around.chunks(cut) {
                            decoder.update(piece, &mut read).expect("skipping is legal");
                        }
                        decoder.finish(&mut read).expect("skipping is legal");
                        assert_eq!(read, b"contentcontent", "{codec} {nibble} {len} in pieces of {cut}");
                    }
                }
            }
        }
        let alone = skippable(3, 9);
        let read = decompress(&alone, &DecompressOptions::new().codec(codec));
        assert_eq!(read.expect("nothing is skipped"), b"");
        assert_eq!(decompress(&alone, &DecompressOptions::new()).unwrap_err().code(), "unknown_format");
    }
}
