//! Compares the hit rate of the cache with that of a least-recently-used cache.
//!
//! Run with `cargo run --release -p chunker --example cache_hit_rates`.
//!
//! The cache holds 10,000 digests. `versions` chunks an input of a given number of chunks, 90 % of which each
//! version keeps; `packages` are many inputs of 200 chunks, some more popular than others, which keep 80 % of
//! their chunks from version to version; `zipf` looks up 100,000 contents with a Zipf distribution.

use std::collections::{BTreeMap, HashMap};

use chunker::NEVER;
use chunker::cache::{Cache, Options};
use chunker::hash::Algorithm;

const ENTRIES: usize = 10_000;

/// A pseudorandom number generator (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// Returns a number from 0 to 1.
    fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Returns the lookups for inputs, as numbers of chunks, that are repeatedly changed and chunked.
fn versions(inputs: usize, chunks: usize, kept: f64, steps: usize) -> Vec<u64> {
    let mut random = Random(1);
    let mut fresh = 0..;
    let mut inputs: Vec<Vec<u64>> = (0..inputs).map(|_| fresh.by_ref().take(chunks).collect()).collect();
    let mut asked = Vec::new();
    for _ in 0..steps {
        // Favor the first inputs.
        let below = random.below(inputs.len()) + 1;
        let input = &mut inputs[random.below(below)];
        asked.extend_from_slice(input);
        for chunk in input {
            if random.part() > kept {
                *chunk = fresh.next().expect("there is no end of them");
            }
        }
    }
    asked
}

fn zipf(contents: usize, exponent: f64, asked: usize) -> Vec<u64> {
    let mut random = Random(2);
    let mut sum = 0.0;
    let sums: Vec<f64> = (1..=contents)
        .map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        })
        .collect();
    (0..asked)
        .map(|_| {
            let place = random.part() * sum;
            sums.partition_point(|&sum| sum < place) as u64
        })
        .collect()
}

fn rate_of_cache(asked: &[u64]) -> f64 {
    let cache = Cache::new(&Options { max_entries: ENTRIES as u64, ..Options::default() }).unwrap();
    for number in asked {
        let content = number.to_le_bytes();
        if cache.get(Algorithm::ALL[0], &content, NEVER).unwrap().is_none() {
            cache.put(Algorithm::ALL[0], &content, NEVER).unwrap();
        }
    }
    cache.stats().hit_rate()
}

fn rate_of_least_recently_used(asked: &[u64]) -> f64 {
    let (mut used, mut order) = (HashMap::new(), BTreeMap::new());
    let mut hits = 0;
    for (time, &number) in asked.iter().enumerate() {
        if let Some(before) = used.insert(number, time) {
            hits += 1;
            order.remove(&before);
        }
        order.insert(time, number);
        if used.len() > ENTRIES {
            let (_, oldest) = order.pop_first().expect("it holds something");
            used.remove(&oldest);
        }
    }
    f64::from(hits) / asked.len() as f64
}

fn main() {
    let workloads = [
        ("versions, 6,000 chunks", versions(1, 6000, 0.9, 30)),
        ("versions, 9,000 chunks", versions(1, 9000, 0.9, 30)),
        ("versions, 12,000 chunks", versions(1, 12_000, 0.9, 30)),
        ("versions, 20,000 chunks", versions(1, 20_000, 0.9, 20)),
        ("packages, 20,000 chunks", versions(100, 200, 0.8, 3000)),
        ("packages, 50,000 chunks", versions(250, 200, 0.8, 5000)),
        ("zipf 0.8", zipf(100_000, 0.8, 1_000_000)),
        ("zipf 1.0", zipf(100_000, 1.0, 1_000_000)),
    ];
    println!("{:24} {:>8} {:>20}", "", "cache", "least recently used");
    for (name, asked) in workloads {
        let (cache, least) = (rate_of_cache(&asked), rate_of_least_recently_used(&asked));
        println!("{name:24} {cache:8.3} {least:20.3}");
    }
}
