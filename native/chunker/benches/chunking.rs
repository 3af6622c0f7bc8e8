//! Compares the engine with the bare crate `fastcdc`, on data in memory and on a file, and reading into new
//! blocks with reading into those of a buffer pool.
//!
//! Run with `cargo bench -p chunker --bench chunking`; a name after `--` filters.

use std::fs::File;
use std::hint::black_box;
use std::io::Read;
use std::path::PathBuf;

use chunker::NEVER;
use chunker::cdc::{CdcParams, Options, Scanner};
use chunker::engine::workers::Workers;
use chunker::engine::{Chunk, ChunkBytes, Chunking};
use chunker::hash::Algorithm;
use chunker::io::file::Input;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fastcdc::v2020::FastCDC;

/// Larger than any CPU cache of usual machines, and small enough for many rounds.
const LENGTH: usize = 256 << 20;

/// Returns pseudorandom bytes (SplitMix64).
fn random() -> Vec<u8> {
    let mut state = 1u64;
    let mut bytes = Vec::with_capacity(LENGTH);
    while bytes.len() < LENGTH {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend((mixed ^ (mixed >> 31)).to_le_bytes());
    }
    bytes
}

/// Returns options with a minimum of a quarter and a maximum of four times the average.
fn options(average: u64) -> Options {
    Options { min_size: average / 4, avg_size: average, max_size: average * 4, ..Options::default() }
}

fn crate_chunks<'a>(data: &'a [u8], options: &Options) -> FastCDC<'a> {
    let [min, avg, max] = [options.min_size, options.avg_size, options.max_size].map(|size| size as usize);
    FastCDC::new(data, min, avg, max)
}

fn cut_points(c: &mut Criterion) {
    let data = random();
    let mut group = c.benchmark_group("cut_points");
    group.throughput(Throughput::Bytes(LENGTH as u64)).sample_size(10);
    for average in [8 << 10, 64 << 10, 1 << 20] {
        let options = options(average);
        let name = format!("{} KiB", average >> 10);
        group.bench_function(BenchmarkId::new("fastcdc", &name), |b| {
            b.iter(|| crate_chunks(&data, &options).count());
        });
        group.bench_function(BenchmarkId::new("chunker", &name), |b| {
            b.iter(|| {
                let mut scanner = Scanner::new(CdcParams::new(&options).unwrap());
                let mut rest = &data[..];
                let mut count = 0;
                while let Some(cut) = scanner.feed(rest) {
                    rest = &rest[cut.consumed..];
                    count += 1;
                }
                count + usize::from(scanner.finish().is_some())
            });
        });
    }
    group.finish();
}

fn chunking(
    threads: usize,
    algorithm: Algorithm,
) -> Chunking<impl Fn(&ChunkBytes<'_>) -> Chunk + Clone + Send + Sync + 'static> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = Workers::shared(threads, cores).unwrap();
    Chunking::new(CdcParams::new(&Options::default()).unwrap(), workers, Chunk::hashed(algorithm))
}

fn chunk_and_hash(c: &mut Criterion) {
    let data = random();
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("chunking-bench");
    std::fs::write(&path, &data).unwrap();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    for &algorithm in Algorithm::ALL {
        let mut group = c.benchmark_group(format!("chunk_and_hash/{}", algorithm.name()));
        group.throughput(Throughput::Bytes(LENGTH as u64)).sample_size(10);
        group.bench_function("fastcdc, then hash", |b| {
            b.iter(|| {
                for chunk in crate_chunks(&data, &Options::default()) {
                    black_box(algorithm.hash(&data[chunk.offset..chunk.offset + chunk.length]));
                }
            });
        });
        for threads in [1, cores] {
            let chunking = chunking(threads, algorithm);
            group.bench_function(BenchmarkId::new("slice", threads), |b| {
                b.iter(|| chunking.slice(&data, NEVER).unwrap());
            });
            group.bench_function(BenchmarkId::new("file", threads), |b| {
                b.iter(|| chunking.clone().source(Input::open(&path).unwrap()).all(NEVER).unwrap());
            });
        }
        group.finish();
    }
    std::fs::remove_file(&path).unwrap();
}

/// Reads a file of as many blocks as the engine's buffer pool keeps between two inputs: into new blocks, as
/// without the pool, and into kept ones.
fn blocks(c: &mut Criterion) {
    const BLOCK_SIZE: usize = 256 << 10;
    const BLOCKS: usize = 40;
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("blocks-bench");
    std::fs::write(&path, &random()[..BLOCKS * BLOCK_SIZE]).unwrap();
    let new_blocks = || (0..BLOCKS).map(|_| vec![0; BLOCK_SIZE]).collect::<Vec<_>>();
    let read = |blocks: &mut [Vec<u8>]| {
        let mut file = File::open(&path).unwrap();
        for block in blocks {
            file.read_exact(block).unwrap();
        }
    };
    let mut group = c.benchmark_group("blocks");
    group.throughput(Throughput::Bytes((BLOCKS * BLOCK_SIZE) as u64));
    group.bench_function("new", |b| b.iter(|| read(&mut new_blocks())));
    let mut kept = new_blocks();
    group.bench_function("kept", |b| b.iter(|| read(&mut kept)));
    group.finish();
    std::fs::remove_file(&path).unwrap();
}

criterion_group!(benches, cut_points, chunk_and_hash, blocks);
criterion_main!(benches);
