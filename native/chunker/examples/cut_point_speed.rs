//! Measures the speed of finding cut points: with crate `fastcdc`, with each scan kernel on one thread, and
//! with the engine on several threads.
//!
//! Run with `cargo run --release -p chunker --example cut_point_speed -- FILE ROUNDS`.
//!
//! Part of `scripts/bench`. Reads FILE into memory and finds the cut points of the whole file, and repeatedly
//! those of its first 16 MiB, which stay in the CPU cache, for several average sizes, with a minimum of a
//! quarter and a maximum of four times the average. Rounds alternate between the implementations, so that all
//! of them run under the same conditions. Prints a line for each round:
//!
//! `cache|memory  average size  implementation  bytes  seconds`
//!
//! Fails if two implementations find different cut points.

use std::error::Error;
use std::time::Instant;

use chunker::NEVER;
use chunker::cdc::{CdcParams, Options, Scanner, kernels};
use chunker::engine::workers::Workers;
use chunker::engine::{ChunkBytes, Chunking};
use fastcdc::v2020::FastCDC;

/// Average sizes, in KiB.
const AVERAGES: [u64; 5] = [8, 64, 256, 1024, 4096];

/// Fits in the CPU cache, and holds some chunks of the largest average.
const IN_CACHE: usize = 16 << 20;

/// The fewest bytes scanned in a round, so that it takes some tens of milliseconds.
const LEAST: usize = 256 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, rounds] = arguments.as_slice() else {
        return Err("usage: cut_point_speed FILE ROUNDS".into());
    };
    let rounds = rounds.parse()?;
    let data = std::fs::read(path)?;
    for average in AVERAGES {
        let size = average << 10;
        let options =
            Options { min_size: size / 4, avg_size: size, max_size: size * 4, ..Options::default() };
        compete("cache", &options, &data[..data.len().min(IN_CACHE)], rounds)?;
        compete("memory", &options, &data, rounds)?;
    }
    Ok(())
}

/// Returns the lengths of the chunks of an input.
type Implementation<'a> = Box<dyn Fn(&[u8]) -> Vec<usize> + 'a>;

fn implementations(options: &Options) -> Result<Vec<(String, Implementation<'_>)>, Box<dyn Error>> {
    let cutter = CdcParams::new(options)?;
    let mut implementations: Vec<(String, Implementation<'_>)> =
        vec![("fastcdc".into(), Box::new(|data| bare(options, data)))];
    for kernel in kernels() {
        let cutter = cutter.clone().with_kernel(kernel).ok_or("a kernel has gone")?;
        implementations.push((kernel.into(), Box::new(move |data| scan(cutter.clone(), data))));
    }
    let cores = std::thread::available_parallelism()?.get();
    for threads in [1, cores] {
        let workers = Workers::shared(threads, cores)?;
        let chunking = Chunking::new(cutter.clone(), workers, |chunk: &ChunkBytes<'_>| chunk.length);
        let work = move |data: &[u8]| chunking.slice(data, NEVER).expect("the call is not cancelled");
        implementations.push((format!("engine, {threads}"), Box::new(work)));
    }
    Ok(implementations)
}

fn bare(options: &Options, data: &[u8]) -> Vec<usize> {
    let [min, avg, max] = [options.min_size, options.avg_size, options.max_size].map(|size| size as usize);
    FastCDC::new(data, min, avg, max).map(|chunk| chunk.length).collect()
}

fn scan(cutter: CdcParams, mut data: &[u8]) -> Vec<usize> {
    let mut scanner = Scanner::new(cutter);
    let mut lengths = Vec::new();
    while let Some(cut) = scanner.feed(data) {
        data = &data[cut.consumed..];
        lengths.push(cut.length);
    }
    lengths.extend(scanner.finish());
    lengths
}

fn compete(place: &str, options: &Options, data: &[u8], rounds: usize) -> Result<(), Box<dyn Error>> {
    let average = options.avg_size;
    let implementations = implementations(options)?;
    let expected = bare(options, data);
    for (name, implementation) in &implementations {
        if implementation(data) != expected {
            return Err(format!("{name} finds other cut points at an average of {average} bytes").into());
        }
    }
    let repeats = (LEAST / data.len().max(1)).max(1);
    for _ in 0..rounds {
        for (name, implementation) in &implementations {
            let start = Instant::now();
            for _ in 0..repeats {
                std::hint::black_box(implementation(std::hint::black_box(data)));
            }
            let seconds = start.elapsed().as_secs_f64();
            println!("{place}\t{average}\t{name}\t{}\t{seconds}", data.len() * repeats);
        }
    }
    Ok(())
}
