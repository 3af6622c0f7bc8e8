//! Compares each codec with its official program on the same content, in chunks of 1 MiB and as a whole.
//!
//! The content is at most 16 MiB, and 4 MiB for xz, which is slow, of the file named by `CHUNKER_BENCH_FILE`,
//! or else of this executable, which is real data that always exists. The time of a program includes its
//! start and reading the file from the page cache. Programs that are not installed are skipped. Run one codec
//! with `cargo bench --bench compression zstd`.

use std::hint::black_box;
use std::process::{Command, Stdio};
use std::time::Duration;

use chunker::codec::{
    Codec, CompressOptions, CompressionScratch, DecompressOptions, compress_into, decompress_into,
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_main};

const CHUNK: usize = 1 << 20;

fn content() -> Vec<u8> {
    let path =
        std::env::var_os("CHUNKER_BENCH_FILE").map_or_else(std::env::current_exe, |path| Ok(path.into()));
    path.and_then(std::fs::read).expect("the file to compress can be read")
}

fn program(codec: Codec, level: i32) -> Command {
    let mut command = Command::new(codec.name());
    command.arg("-c").stdout(Stdio::null());
    if codec == Codec::Brotli {
        // It has no option to be quiet, and only this one for its two highest levels.
        command.arg(format!("--quality={level}"));
        return command;
    }
    command.args([&format!("-{level}"), "-q"]);
    match codec {
        // Like the library: on one thread, and not from or to a terminal.
        Codec::Zstd => command.arg("--single-thread"),
        Codec::Xz => command.arg("--threads=1"),
        Codec::Lz4 | Codec::Bzip2 | Codec::Gzip | Codec::Brotli | Codec::Lzma => &mut command,
    };
    command
}

fn benches(c: &mut Criterion) {
    let content = content();

    for codec in Codec::ENCODABLE.into_iter().filter(|codec| codec.is_enabled()) {
        let content = &content[..content.len().min(if codec == Codec::Xz { 4 << 20 } else { 16 << 20 })];
        let file = tempfile::NamedTempFile::new().expect("there is room for a temporary file");
        std::fs::write(file.path(), content).expect("a temporary file can be written");
        let level = codec.default_level();
        let options = CompressOptions::new(codec);
        let given = DecompressOptions::new().codec(codec);
        let (mut scratch, mut out) = (CompressionScratch::new(), Vec::new());

        let mut group = c.benchmark_group(codec.name());
        group.throughput(Throughput::Bytes(content.len() as u64)).sample_size(10);
        group.measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));

        for (name, size) in [("chunks", CHUNK), ("whole", content.len())] {
            let compressed: Vec<Vec<u8>> = content
                .chunks(size)
                .map(|chunk| {
                    compress_into(chunk, &options, &mut scratch, &mut out).expect("the options are good");
                    out.clone()
                })
                .collect();
            group.bench_function(BenchmarkId::new("compress", name), |b| {
                b.iter(|| {
                    for chunk in content.chunks(size) {
                        compress_into(black_box(chunk), &options, &mut scratch, &mut out).expect("as before");
                    }
                });
            });
            group.bench_function(BenchmarkId::new("decompress", name), |b| {
                b.iter(|| {
                    for chunk in &compressed {
                        decompress_into(black_box(chunk), &given, &mut scratch, &mut out)
                            .expect("it is ours");
                    }
                });
            });
        }
        if Command::new(codec.name()).arg("--version").stdin(Stdio::null()).output().is_ok() {
            group.bench_function(BenchmarkId::new("compress", "program"), |b| {
                b.iter(|| {
                    let status = program(codec, level).arg(file.path()).status();
                    assert!(status.expect("the program is there").success());
                });
            });
        }
        group.finish();
    }
}

// `criterion_group!` does not accept a doc comment for the function that it defines.
#[allow(missing_docs)]
mod group {
    criterion::criterion_group!(compression, super::benches);
}
criterion_main!(group::compression);
