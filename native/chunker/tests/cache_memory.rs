//! The memory of a cache, as measured by the allocator.

use std::sync::Arc;

use chunker::cache::{Cache, Digester, Options, Verify};
use chunker::hash::Algorithm;

/// Fills a cache with three times as many contents as it holds, and returns the allocated bytes and the
/// statistics.
fn allocated(options: Options, content: impl Fn(u64) -> Vec<u8>) -> (u64, chunker::cache::Stats) {
    let mut cache = None;
    let info = allocation_counter::measure(|| {
        let filled = Cache::new(&options).unwrap();
        for number in 0..3 * options.max_entries {
            filled.put(Algorithm::ALL[0], &content(number), &|| false).unwrap();
        }
        cache = Some(filled);
    });
    let stats = cache.expect("it was made").stats();
    (u64::try_from(info.bytes_current).unwrap(), stats)
}

#[test]
fn an_entry_takes_no_more_memory_than_counted() {
    for max_entries in [1000, 8192, 10_000, 60_000, 100_000, 150_000, 1_000_000, 1_500_000] {
        let options = Options { max_entries, ..Options::default() };
        let (bytes, stats) = allocated(options, |number| number.to_le_bytes().to_vec());
        assert!(stats.entries > max_entries * 97 / 100, "{stats:?}");
        assert_eq!(stats.bytes, 128 * stats.entries);
        println!("{max_entries} entries: {} bytes each", bytes as f64 / stats.entries as f64);
        // A few kilobytes do not depend on the number of entries.
        assert!(bytes <= 128 * stats.entries + 16_384, "{bytes} bytes for {stats:?}");
    }
}

#[test]
fn a_cache_with_contents_stays_within_its_memory() {
    for length in [3000_usize, 20_000, 300_000] {
        let max_memory = 20_000_000;
        let max_entries = 3 * max_memory / length as u64;
        let options = Options { max_memory, max_entries, verify: Verify::Content };
        let content = |number: u64| {
            let mut content = vec![0; length];
            content[..8].copy_from_slice(&number.to_le_bytes());
            content
        };
        let (bytes, stats) = allocated(options, content);
        println!("contents of {length} bytes: {bytes} bytes for {stats:?}");
        assert!(stats.bytes <= max_memory && bytes <= stats.bytes + 16_384, "{bytes} bytes for {stats:?}");
        assert!(stats.bytes > max_memory * 9 / 10, "{stats:?}");
    }
}

/// In the VM that thread would be a normal scheduler, which must not block.
#[test]
fn dropping_a_large_cache_does_not_free_it_on_the_calling_thread() {
    let filled = |options: Options, length: usize| {
        let cache = Cache::new(&options).unwrap();
        for number in 0..50_000_000 / length as u64 {
            let content = [&number.to_le_bytes()[..], &vec![0; length - 8]].concat();
            cache.put(Algorithm::ALL[0], &content, &|| false).unwrap();
        }
        cache
    };
    let contents = filled(Options { verify: Verify::Content, ..Options::default() }, 1_000_000);
    assert_eq!(contents.stats().entries, 50);
    // A cleared table keeps the memory of its slots.
    let cleared = filled(Options { max_entries: 500_000, ..Options::default() }, 100);
    cleared.clear(&|| false).unwrap();
    for cache in [contents, cleared] {
        // A stream holds the cache like this after the cache's own handle is gone.
        let digester = Digester::new(Algorithm::ALL[0], Some(Arc::new(cache)));
        let info = allocation_counter::measure(|| drop(digester));
        assert!(info.bytes_current > -100_000, "{info:?}");
    }
}

/// A thread for each small cache would cost more than freeing it does.
#[test]
fn dropping_a_small_cache_frees_it_at_once() {
    let cache = Cache::new(&Options { max_entries: 10_000, ..Options::default() }).unwrap();
    cache.put(Algorithm::ALL[0], b"content", &|| false).unwrap();
    let info = allocation_counter::measure(|| drop(cache));
    assert!(info.bytes_current < -100_000, "{info:?}");
}
