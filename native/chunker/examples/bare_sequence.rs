//! The baseline of `bench/main_job.exs`: the same work with crates `fastcdc`, `blake3` and `sha2`, without
//! Chunker.
//!
//! Reads a file into memory, then cuts it and hashes its chunks on one thread, and prints the seconds that
//! each round of cutting and hashing took. The time for reading is not included.
//!
//! Run with `cargo run --release --example bare_sequence -- FILE blake3|sha256 ROUNDS`.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use chunker::cdc::Options;
use fastcdc::v2020::FastCDC;
use sha2::{Digest, Sha256};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, algorithm, rounds] = arguments.as_slice() else {
        return Err("usage: bare_sequence FILE blake3|sha256 ROUNDS".into());
    };
    let hash: fn(&[u8]) -> [u8; 32] = match algorithm.as_str() {
        "blake3" => |data| blake3::hash(data).into(),
        "sha256" => |data| Sha256::digest(data).into(),
        other => return Err(format!("{other} is neither blake3 nor sha256").into()),
    };
    let data = std::fs::read(path)?;
    let Options { min_size, avg_size, max_size, .. } = Options::default();
    for _ in 0..rounds.parse()? {
        let start = Instant::now();
        for chunk in FastCDC::new(&data, min_size as usize, avg_size as usize, max_size as usize) {
            black_box(hash(&data[chunk.offset..chunk.offset + chunk.length]));
        }
        println!("{}", start.elapsed().as_secs_f64());
    }
    Ok(())
}
