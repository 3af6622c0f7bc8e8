//! Measures the cost of a cache lookup in comparison with the digest that it saves, and the number of lookups
//! per second.
//!
//! Run with `cargo bench -p chunker --bench cache`; a name after `--` filters.

use std::hint::black_box;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use chunker::cache::{Cache, Digester, Options, Verify};
use chunker::hash::Algorithm;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Larger than the CPU caches of usual machines, so that contents are read from memory, as chunks are.
const LENGTH: usize = 64 << 20;

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

fn never() -> bool {
    false
}

/// Returns contents of one length in sequence, in rotation.
fn contents<'a>(data: &'a [u8], length: usize) -> impl FnMut() -> &'a [u8] {
    let mut at = 0;
    move || {
        if at + length > data.len() {
            at = 0;
        }
        at += length;
        &data[at - length..at]
    }
}

fn lookup(c: &mut Criterion) {
    let data = random();
    for length in [64, 256, 1 << 10, 2 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20] {
        let mut group = c.benchmark_group(format!("lookup/{length}"));
        group.throughput(Throughput::Bytes(length as u64));
        group
            .warm_up_time(Duration::from_millis(200))
            .measurement_time(Duration::from_millis(500))
            .sample_size(10);
        for &algorithm in Algorithm::ALL {
            let mut next = contents(&data, length);
            group.bench_function(algorithm.name(), |b| b.iter(|| black_box(algorithm.hash(next()))));
        }
        let algorithm = Algorithm::ALL[0];
        let options = Options { max_entries: 2 * (LENGTH / length) as u64, ..Options::default() };
        let options = Options { max_entries: options.max_entries.min(100_000), ..options };
        let empty = Cache::new(&options).unwrap();
        let mut next = contents(&data, length);
        group.bench_function("miss", |b| b.iter(|| black_box(empty.get(algorithm, next(), &never))));
        for verify in [Verify::Fingerprint, Verify::Content] {
            let cache = Cache::new(&Options { verify, ..options }).unwrap();
            // As many contents as fit in the cache.
            let known = &data[..data.len().min(32 << 20).min(20_000 * length).max(length)];
            known.chunks(length).for_each(|content| drop(cache.put(algorithm, content, &never)));
            let mut next = contents(known, length);
            group.bench_function(format!("hit {verify:?}"), |b| {
                b.iter(|| black_box(cache.get(algorithm, next(), &never)));
            });
            let stats = cache.stats();
            assert!(50 * stats.misses <= stats.hits, "most of them are known: {stats:?}");
        }
        let cache = Arc::new(Cache::new(&options).unwrap());
        let digester = Digester::new(algorithm, Some(Arc::clone(&cache)));
        // A counter in the first bytes makes each content unique.
        let mut content = data[..length].to_vec();
        let mut count = 0u64;
        group.bench_function("miss, digest, insertion", |b| {
            b.iter(|| {
                count += 1;
                content[..8].copy_from_slice(&count.to_le_bytes());
                black_box(digester.digest(&[&content]))
            });
        });
        group.finish();
    }
}

fn throughput(c: &mut Criterion) {
    const ENTRIES: u64 = 100_000;
    let algorithm = Algorithm::ALL[0];
    let content = |number: u64| {
        let mut content = [7; 256];
        content[..8].copy_from_slice(&number.to_le_bytes());
        content
    };
    let cache = Cache::new(&Options { max_entries: ENTRIES, ..Options::default() }).unwrap();
    let mut group = c.benchmark_group("throughput of 256 bytes");
    group.throughput(Throughput::Elements(1));
    group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(2)).sample_size(10);
    type Call = fn(&Cache, Algorithm, &[u8]);
    let calls: [(&str, Call); 2] = [
        ("put", |cache, algorithm, content| drop(black_box(cache.put(algorithm, content, &never)))),
        ("get", |cache, algorithm, content| drop(black_box(cache.get(algorithm, content, &never)))),
    ];
    for (name, call) in calls {
        for threads in [1, 2] {
            group.bench_function(BenchmarkId::new(name, threads), |b| {
                b.iter_custom(|iterations| {
                    let start = Instant::now();
                    thread::scope(|scope| {
                        for thread in 0..threads {
                            let (cache, content) = (&cache, &content);
                            scope.spawn(move || {
                                // Each thread uses an order of its own.
                                for i in 0..iterations / threads {
                                    let number = (i * 7919 + thread * 50_021) % ENTRIES;
                                    call(cache, algorithm, &content(number));
                                }
                            });
                        }
                    });
                    start.elapsed()
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, lookup, throughput);
criterion_main!(benches);
