//! How fast cut points are found: by crate `fastcdc`, by each scan kernel on one thread, and by the engine on several.
//!
//! `cargo run --release -p chunker --example cut_point_speed -- FILE ROUNDS`
//!
//! Part of `scripts/bench`. Reads FILE into memory and finds cut points in all of it, and in its first 16 MiB over and over,
//! which stay in the cache, for several average sizes with a quarter and four times of them as minimum and maximum. Rounds
//! alternate between the rivals, so that all see the same weather. Prints a line for each round:
//!
//! `cache|memory  average size  rival  bytes  seconds`
//!
//! Fails when two rivals find different cut points.

use std::error::Error;
use std::time::Instant;

use chunker::cdc::{CdcParams, Options, Scanner, kernels};
use chunker::engine::workers::Workers;
use chunker::engine::{ChunkBytes, Chunking};
use fastcdc::v2020::FastCDC;

/// Averages, in KiB.
const AVERAGES: [u64; 5] = [8, 64, 256, 1024, 4096];

/// What a cache holds, and enough for some chunks of the largest average.
const IN_CACHE: usize = 16 << 20;

/// The least that is scanned in a round, so that it takes some ten milliseconds.
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

/// Lengths of the chunks of an input.
type Rival<'a> = Box<dyn Fn(&[u8]) -> Vec<usize> + 'a>;

fn rivals(options: &Options) -> Result<Vec<(String, Rival<'_>)>, Box<dyn Error>> {
    let cutter = CdcParams::new(options)?;
    let mut rivals: Vec<(String, Rival<'_>)> = vec![("fastcdc".into(), Box::new(|data| bare(options, data)))];
    for kernel in kernels() {
        let cutter = cutter.clone().with_kernel(kernel).ok_or("a kernel has gone")?;
        rivals.push((kernel.into(), Box::new(move |data| scan(cutter.clone(), data))));
    }
    let cores = std::thread::available_parallelism()?.get();
    for threads in [1, cores] {
        let workers = Workers::shared(threads, cores)?;
        let chunking = Chunking::new(cutter.clone(), workers, |chunk: &ChunkBytes<'_>| chunk.length);
        let work = move |data: &[u8]| chunking.slice(data, &|| false).expect("nobody gives up");
        rivals.push((format!("engine, {threads}"), Box::new(work)));
    }
    Ok(rivals)
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
    let rivals = rivals(options)?;
    let expected = bare(options, data);
    for (name, rival) in &rivals {
        if rival(data) != expected {
            return Err(format!("{name} finds other cut points at an average of {average} bytes").into());
        }
    }
    let repeats = (LEAST / data.len().max(1)).max(1);
    for _ in 0..rounds {
        for (name, rival) in &rivals {
            let start = Instant::now();
            for _ in 0..repeats {
                std::hint::black_box(rival(std::hint::black_box(data)));
            }
            let seconds = start.elapsed().as_secs_f64();
            println!("{place}\t{average}\t{name}\t{}\t{seconds}", data.len() * repeats);
        }
    }
    Ok(())
}
