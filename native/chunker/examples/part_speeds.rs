//! Measures the speed of each part of chunking a file on one thread: reading, finding cut points, and
//! hashing.
//!
//! Run with `cargo run --release -p chunker --example part_speeds -- FILE ROUNDS`.
//!
//! Part of `scripts/bench`, which compares the speed of the whole with that of its parts. Prints `part
//! seconds` for each round.

use std::error::Error;
use std::fs::File;
use std::hint::black_box;
use std::io::Read;
use std::time::Instant;

use chunker::cdc::{CdcParams, Options, Scanner};
use chunker::hash::Algorithm;

/// Large enough to amortize system calls, and small enough for the CPU cache.
const BUFFER: usize = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, rounds] = arguments.as_slice() else {
        return Err("usage: part_speeds FILE ROUNDS".into());
    };
    let data = std::fs::read(path)?;
    let cutter = CdcParams::new(&Options::default())?;
    let chunks = chunks(&cutter, &data);
    // Linux copies faster into memory that is aligned to a cache line.
    let mut memory = vec![0; BUFFER + 63];
    let line = memory.as_ptr().align_offset(64);
    let buffer = &mut memory[line..line + BUFFER];
    for _ in 0..rounds.parse()? {
        let mut file = File::open(path)?;
        let start = Instant::now();
        while file.read(buffer)? > 0 {}
        report("read", start);

        let start = Instant::now();
        black_box(self::chunks(&cutter, &data));
        report("scan", start);

        for &algorithm in Algorithm::ALL {
            let start = Instant::now();
            for chunk in &chunks {
                black_box(algorithm.hash(chunk));
            }
            report(algorithm.name(), start);
        }
    }
    Ok(())
}

fn report(part: &str, start: Instant) {
    println!("{part}\t{}", start.elapsed().as_secs_f64());
}

fn chunks<'a>(cutter: &CdcParams, mut data: &'a [u8]) -> Vec<&'a [u8]> {
    let mut scanner = Scanner::new(cutter.clone());
    let mut chunks = Vec::new();
    let whole = data;
    let mut start = 0;
    while let Some(cut) = scanner.feed(data) {
        data = &data[cut.consumed..];
        chunks.push(&whole[start..start + cut.length]);
        start += cut.length;
    }
    if let Some(length) = scanner.finish() {
        chunks.push(&whole[start..start + length]);
    }
    chunks
}
