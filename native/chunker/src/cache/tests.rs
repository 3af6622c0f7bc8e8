//! Tests of internal behavior: digests that are found are not computed, and collisions are handled.

use std::collections::HashSet;
use std::io::Write;
use std::sync::Arc;
use std::thread;

use proptest::prelude::*;

use super::fingerprint::{Fingerprint, Secret};
use super::table::{Entry, Key};
use super::*;
use crate::cdc::CdcParams;
use crate::engine::workers::Workers;
use crate::engine::{Chunk, Chunking, FileChunks, chunk_files};
use crate::io::file::{Input, OnChange};
use crate::io::source::FromRead;
use crate::{BatchOptions, ErrorCode};

/// Returns pseudorandom bytes (SplitMix64).
fn random(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend((mixed ^ (mixed >> 31)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Returns a secret of each function, regardless of the CPU's choice.
fn secrets() -> Vec<Secret> {
    let umash = umash::Params::new(&[42; 32]).map(Secret::Umash);
    umash.into_iter().chain([Secret::Poly1305(poly1305::Params::new(&[42; 32]))]).collect()
}

fn fingerprint<'a>(secret: &Secret, slices: impl IntoIterator<Item = &'a [u8]>) -> Fingerprint {
    let mut fingerprinting = secret.start();
    slices.into_iter().for_each(|slice| fingerprinting.update(slice));
    fingerprinting.finish()
}

fn cache(verify: Verify) -> Cache {
    Cache::new(&Options { verify, ..Options::default() }).unwrap()
}

fn never() -> bool {
    false
}

const ALGORITHM: Algorithm = Algorithm::ALL[0];

/// A digest that no content in these tests has.
const WRONG: Digest = Digest([0xbd; 32]);

/// Returns a cache with a wrong digest for each of the contents, which shows whether a digest was looked up
/// or computed.
fn cache_of_wrong_digests<'a>(contents: impl IntoIterator<Item = &'a [u8]>, verify: Verify) -> Arc<Cache> {
    let cache = cache(verify);
    for content in contents {
        let key = cache.key(ALGORITHM, &[content], content.len());
        let kept = (verify == Verify::Content).then(|| content.to_vec());
        cache.table.insert(key, Entry::new(WRONG, kept));
    }
    Arc::new(cache)
}

proptest! {
    #[test]
    fn a_fingerprint_depends_on_every_byte_but_not_on_the_pieces(
        data in proptest::collection::vec(any::<u8>(), 0..20_000),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
        flip in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        for secret in secrets() {
            let whole = fingerprint(&secret, [&data[..]]);
            let mut cuts_sorted: Vec<usize> = cuts.iter().map(|cut| cut.index(data.len() + 1)).collect();
            cuts_sorted.sort_unstable();
            let starts = std::iter::once(0).chain(cuts_sorted.iter().copied());
            let ends = cuts_sorted.iter().copied().chain([data.len()]);
            prop_assert_eq!(fingerprint(&secret, starts.zip(ends).map(|(start, end)| &data[start..end])), whole);
            if !data.is_empty() {
                let mut other = data.clone();
                other[flip.index(data.len())] ^= 1 << bit;
                prop_assert_ne!(fingerprint(&secret, [&other[..]]), whole);
            }
        }
    }
}

#[test]
fn every_flipped_bit_changes_the_fingerprint() {
    for secret in secrets() {
        for length in [1, 15, 16, 17, 255, 256, 257, 1024, 5000] {
            let mut data = random(1, length);
            let mut seen = HashSet::from([fingerprint(&secret, [&data[..]])]);
            for byte in 0..length {
                for bit in 0..8 {
                    data[byte] ^= 1 << bit;
                    assert!(
                        seen.insert(fingerprint(&secret, [&data[..]])),
                        "{length} bytes, byte {byte}, bit {bit}"
                    );
                    data[byte] ^= 1 << bit;
                }
            }
        }
    }
}

#[test]
fn each_cache_has_a_secret_of_its_own() {
    let fingerprints: HashSet<_> =
        (0..100).map(|_| fingerprint(&Secret::random().unwrap(), [&b"content"[..]])).collect();
    assert_eq!(fingerprints.len(), 100);
}

#[test]
fn algorithm_and_length_are_in_the_key() {
    // This secret maps all contents to one fingerprint, so only the rest of the key distinguishes them.
    let cache = Cache::with_secret(&Options::default(), Secret::Blind).unwrap();
    let data = random(2, 5000);
    for &algorithm in Algorithm::ALL {
        for length in 3000..3010 {
            assert_eq!(cache.get(algorithm, &data[..length], &never).unwrap(), None);
            let digest = cache.put(algorithm, &data[..length], &never).unwrap();
            assert_eq!(digest, algorithm.hash(&data[..length]));
            assert_eq!(cache.get(algorithm, &data[..length], &never).unwrap(), Some(digest));
        }
    }
    assert_eq!(cache.stats().entries, 10 * Algorithm::ALL.len() as u64);
    assert_eq!(cache.stats().collisions, 0);
}

#[test]
fn a_cached_digest_is_not_recomputed_on_any_path() {
    let data = random(3, 20_000_000);
    let options = crate::cdc::Options {
        min_size: 64 << 10,
        avg_size: 256 << 10,
        max_size: 1 << 20,
        ..Default::default()
    };
    let cutter = CdcParams::new(&options).unwrap();
    let alone = Workers::of_this_thread();
    let chunks = Chunking::new(cutter.clone(), alone, Chunk::hashed(ALGORITHM)).slice(&data, &never).unwrap();
    assert!(chunks.len() > 20);
    let contents = || chunks.iter().map(|chunk| &data[chunk.offset as usize..][..chunk.length]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    std::fs::File::create(&path).unwrap().write_all(&data).unwrap();

    for verify in [Verify::Fingerprint, Verify::Content] {
        for workers in [alone, Workers::shared(3, 3).unwrap()] {
            let cache = cache_of_wrong_digests(contents(), verify);
            let digester = Digester::new(ALGORITHM, Some(Arc::clone(&cache)));
            let chunking = || Chunking::new(cutter.clone(), workers, Chunk::hashed(digester.clone()));

            let mut found = Vec::new();
            found.push(chunking().slice(&data, &never).unwrap());
            found.push(chunking().source(FromRead(std::io::Cursor::new(data.clone()))).all(&never).unwrap());
            found.push(chunking().source(Input::open(&path).unwrap()).all(&never).unwrap());
            let mut pieces = chunking().pieces();
            let mut pushed = Vec::new();
            for piece in data.chunks(1_000_003) {
                pushed.extend(pieces.push(piece, &never).unwrap());
            }
            pushed.extend(pieces.finish(&never).unwrap());
            found.push(pushed);
            for parallel_threshold in [0, 10] {
                let batch =
                    BatchOptions { workers: Some(workers), parallel_threshold, ..BatchOptions::default() };
                for file in chunk_files(chunking(), &[&path; 4], OnChange::Error, &batch, &never).unwrap() {
                    let Ok(FileChunks::Chunks(chunks)) = file else { panic!("a plain file has chunks") };
                    found.push(chunks);
                }
            }
            let lookups = (found.len() * chunks.len()) as u64;
            for found in found {
                assert_eq!(found.len(), chunks.len());
                assert!(found.iter().all(|chunk| chunk.hash == WRONG));
            }

            // The call that a batch of hashes makes.
            for content in contents() {
                assert_eq!(digester.digest_cancellable(content, &never).unwrap(), WRONG);
            }
            let stats = cache.stats();
            assert_eq!((stats.hits, stats.misses), (lookups + chunks.len() as u64, 0));
        }
    }
}

#[test]
fn colliding_contents_get_their_own_digests_if_contents_are_compared() {
    let options = Options { verify: Verify::Content, ..Options::default() };
    let cache = Arc::new(Cache::with_secret(&options, Secret::Blind).unwrap());
    let digester = Digester::new(ALGORITHM, Some(Arc::clone(&cache)));
    let contents: Vec<Vec<u8>> = (0..50).map(|seed| random(seed, 10_000)).collect();
    for _ in 0..3 {
        for content in &contents {
            assert_eq!(digester.digest(&[content]), ALGORITHM.hash(content));
            assert_eq!(digester.digest_cancellable(content, &never).unwrap(), ALGORITHM.hash(content));
        }
    }
    // The first content stays, and every lookup of it except the first is a hit.
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.collisions), (5, 295, 294));
    assert_eq!((stats.insertions, stats.evictions, stats.entries), (1, 0, 1));
    assert_eq!(cache.get(ALGORITHM, &contents[0], &never).unwrap(), Some(ALGORITHM.hash(&contents[0])));
    assert_eq!(cache.get(ALGORITHM, &contents[1], &never).unwrap(), None);
    assert_eq!(cache.put(ALGORITHM, &contents[1], &never).unwrap(), ALGORITHM.hash(&contents[1]));
    assert_eq!(cache.get(ALGORITHM, &contents[0], &never).unwrap(), Some(ALGORITHM.hash(&contents[0])));
    assert_eq!(cache.stats().collisions, 296);
}

#[test]
fn colliding_contents_from_many_threads_get_their_own_digests() {
    let options = Options { verify: Verify::Content, max_entries: 40, max_memory: 400_000 };
    let cache = Arc::new(Cache::with_secret(&options, Secret::Blind).unwrap());
    let contents: Vec<Vec<u8>> = (0..200).map(|seed| random(seed, 3000 + seed as usize % 60)).collect();
    thread::scope(|scope| {
        for worker in 0..6_usize {
            let digester = Digester::new(ALGORITHM, Some(Arc::clone(&cache)));
            let contents = &contents;
            scope.spawn(move || {
                for round in 0..2000 {
                    let content = &contents[(round * 7919 + worker * 104_729) % contents.len()];
                    assert_eq!(
                        digester.digest(&[&content[..1000], &content[1000..]]),
                        ALGORITHM.hash(content)
                    );
                }
            });
        }
    });
    let stats = cache.stats();
    assert_eq!(stats.hits + stats.misses, 12_000);
    assert!(stats.collisions > 0 && stats.hits > 0 && stats.evictions > 0, "{stats:?}");
    assert_statistics_match_the_table(&cache);
}

/// Checks that the statistics match the content of the table.
fn assert_statistics_match_the_table(cache: &Cache) {
    let stats = cache.stats();
    let (entries, bytes) = cache.table.count();
    assert_eq!((stats.entries, stats.bytes), (entries, bytes));
    assert_eq!(stats.insertions - stats.evictions, entries);
}

#[test]
fn statistics_and_limits_hold_after_any_race() {
    let limits = [
        Options { max_entries: 500, ..Options::default() },
        Options { max_entries: 40_000, max_memory: 20_000 * 128, ..Options::default() },
        Options { max_memory: 1, ..Options::default() },
        Options { max_entries: 1, ..Options::default() },
        Options { max_memory: 1 << 20, verify: Verify::Content, ..Options::default() },
        Options { max_entries: 30, verify: Verify::Content, ..Options::default() },
    ];
    for options in limits {
        let cache = Cache::new(&options).unwrap();
        let lookups = AtomicU64::new(0);
        let done = std::sync::atomic::AtomicBool::new(false);
        thread::scope(|scope| {
            let workers: Vec<_> = (0..6_u64)
                .map(|worker| {
                    let (cache, lookups) = (&cache, &lookups);
                    scope.spawn(move || {
                        for round in 0..20_000_u64 {
                            let content = (round * (worker + 1) % 30_011).to_le_bytes();
                            match round % 5 {
                                0 => assert_eq!(
                                    cache.put(ALGORITHM, &content, &never).unwrap(),
                                    ALGORITHM.hash(&content)
                                ),
                                1 if round % 4001 == 0 => cache.clear(&never).unwrap(),
                                _ => {
                                    let digest = cache.get(ALGORITHM, &content, &never).unwrap();
                                    assert!(digest.is_none_or(|digest| digest == ALGORITHM.hash(&content)));
                                    lookups.fetch_add(1, Ordering::Relaxed);
                                }
                            }
                        }
                    })
                })
                .collect();
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let (entries, bytes) = cache.table.holds();
                    assert!(
                        entries <= options.max_entries && bytes <= options.max_memory,
                        "{entries}, {bytes}"
                    );
                }
            });
            for worker in workers {
                worker.join().unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
        let stats = cache.stats();
        assert_eq!(stats.hits + stats.misses, lookups.into_inner());
        assert_statistics_match_the_table(&cache);
        cache.clear(&never).unwrap();
        assert_statistics_match_the_table(&cache);
        assert_eq!((cache.stats().entries, cache.stats().bytes), (0, 0));
    }
}

#[test]
fn limits_are_filled_and_not_exceeded() {
    let cases = [
        (Options { max_entries: 1, ..Options::default() }, 1),
        (Options { max_entries: 2, ..Options::default() }, 2),
        (Options { max_entries: 1000, ..Options::default() }, 1000),
        (Options { max_entries: 100_000, ..Options::default() }, 100_000),
        (Options { max_memory: 1 << 20, ..Options::default() }, 8192),
        // A content of eight bytes has the minimum weight.
        (Options { max_memory: 256 * 1000, verify: Verify::Content, ..Options::default() }, 1000),
        // Few entries, each of which may be large.
        (Options { max_entries: 1, verify: Verify::Content, ..Options::default() }, 1),
        (Options { max_entries: 2, verify: Verify::Content, ..Options::default() }, 2),
        (Options { max_entries: 5, verify: Verify::Content, ..Options::default() }, 5),
        (Options { max_entries: 600, verify: Verify::Content, ..Options::default() }, 600),
    ];
    for (options, most) in cases {
        let cache = Cache::new(&options).unwrap();
        for number in 0..3_u64 * most {
            cache.put(ALGORITHM, &number.to_le_bytes(), &never).unwrap();
        }
        let stats = cache.stats();
        assert!(stats.entries <= most && stats.entries >= most - most / 30, "{stats:?} of {most}");
        assert_statistics_match_the_table(&cache);
    }
}

#[test]
fn a_lookup_counts_as_use() {
    let cache = Cache::new(&Options { max_entries: 100, ..Options::default() }).unwrap();
    let put = |number: u64| cache.put(ALGORITHM, &number.to_le_bytes(), &never).unwrap();
    let known = |number: u64| cache.get(ALGORITHM, &number.to_le_bytes(), &never).unwrap().is_some();
    // What fills an empty cache stays longer than what comes later, whether it is used or not.
    for number in 10_000..11_000 {
        put(number);
    }
    for number in 0..20 {
        put(number);
    }
    for number in 100..10_000 {
        assert!((0..10).all(known), "before {number}");
        put(number);
    }
    // No entry of the same age that was not used is left.
    assert_eq!((10..9000).filter(|&number| known(number)).count(), 0);
}

#[test]
fn contents_that_do_not_fit_are_not_kept() {
    let cache = cache(Verify::Content);
    let whole = vec![1; 300 << 20];
    let digest = cache.put(ALGORITHM, &whole, &never).unwrap();
    assert_eq!(digest, ALGORITHM.hash(&whole));
    assert_eq!(cache.stats().entries, 0);
    // A content that takes too long to compare is not stored either, even if there is room for it.
    let options = Options { max_entries: 10, max_memory: 16 << 30, verify: Verify::Content };
    let roomy = Cache::new(&options).unwrap();
    roomy.put(ALGORITHM, &whole, &never).unwrap();
    roomy.put(ALGORITHM, &whole[..100 << 20], &never).unwrap();
    assert_eq!(roomy.stats().entries, 1);
    // The longest chunk is stored.
    let chunk = &whole[..Chunk::LONGEST as usize];
    cache.put(ALGORITHM, chunk, &never).unwrap();
    assert_eq!(cache.get(ALGORITHM, chunk, &never).unwrap(), Some(ALGORITHM.hash(chunk)));
}

#[test]
fn small_and_huge_contents_bypass_the_cache() {
    let cache = Arc::new(cache(Verify::Fingerprint));
    let digester = Digester::new(ALGORITHM, Some(Arc::clone(&cache)));
    let huge = vec![0; LONGEST + 1];
    for length in [0, 1, Digester::SMALL - 1, LONGEST + 1] {
        let expected = ALGORITHM.hash(&huge[..length]);
        assert_eq!(digester.digest(&[&huge[..length]]), expected);
    }
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.entries), (0, 0, 0));
    assert_eq!(cache.get(ALGORITHM, &huge, &never).unwrap(), None);
    cache.fetch(ALGORITHM, &huge, &never).unwrap();
    assert_eq!((cache.stats().misses, cache.stats().entries), (2, 0));

    for length in [Digester::SMALL, LONGEST] {
        let first = digester.digest_cancellable(&huge[..length], &never).unwrap();
        assert_eq!(digester.digest_cancellable(&huge[..length], &never).unwrap(), first);
    }
    assert_eq!((cache.stats().hits, cache.stats().entries), (2, 2));
    assert!(cache.get(ALGORITHM, &huge[..LONGEST], &never).unwrap().is_some());
}

#[test]
fn long_calls_can_be_cancelled() {
    let cache = Arc::new(cache(Verify::Fingerprint));
    let data = random(5, 100_000);
    let is_cancelled = || true;
    assert_eq!(cache.get(ALGORITHM, &data, &is_cancelled).unwrap_err().code(), "cancelled");
    assert_eq!(cache.put(ALGORITHM, &data, &is_cancelled).unwrap_err().code(), "cancelled");
    let digester = Digester::new(ALGORITHM, Some(Arc::clone(&cache)));
    assert_eq!(digester.digest_cancellable(&data, &is_cancelled).unwrap_err().code(), "cancelled");
    cache.put(ALGORITHM, &data, &never).unwrap();
    assert_eq!(cache.clear(&is_cancelled).unwrap_err().code(), "cancelled");
    assert_statistics_match_the_table(&cache);
}

#[test]
fn a_cancelled_clear_keeps_the_rest() {
    let cache = Cache::new(&Options { max_entries: 50_000, ..Options::default() }).unwrap();
    for number in 0..5000_u64 {
        cache.put(ALGORITHM, &number.to_le_bytes(), &never).unwrap();
    }
    // Polled once in 1024 entries.
    let polls = AtomicU64::new(0);
    let third = || polls.fetch_add(1, Ordering::Relaxed) == 2;
    assert_eq!(cache.clear(&third).unwrap_err().code(), "cancelled");
    assert_eq!(cache.stats().evictions, 2 * 1024 + 1);
    assert_statistics_match_the_table(&cache);
    cache.clear(&third).unwrap();
    assert_eq!(cache.stats().entries, 0);
}

#[test]
fn the_hit_rate_is_the_share_of_hits() {
    let cache = cache(Verify::Fingerprint);
    assert_eq!(cache.stats().hit_rate().to_bits(), 0.0_f64.to_bits());
    cache.put(ALGORITHM, b"known", &never).unwrap();
    for content in [b"known", b"known", b"known", b"other"] {
        cache.get(ALGORITHM, content, &never).unwrap();
    }
    assert_eq!(cache.stats().hit_rate().to_bits(), 0.75_f64.to_bits());
}

#[test]
fn a_printed_cache_has_statistics_and_no_secret() {
    let cache = cache(Verify::Content);
    let expected = format!("Cache {{ verify: Content, stats: {:?}, .. }}", cache.stats());
    assert_eq!(format!("{cache:?}"), expected);
}

#[test]
fn a_content_is_not_copied_after_cancellation() {
    let data = random(6, 5 << 20);
    let asked = AtomicU64::new(0);
    let counting = || {
        asked.fetch_add(1, Ordering::Relaxed);
        false
    };
    cache(Verify::Fingerprint).put(ALGORITHM, &data, &counting).unwrap();
    // Cancel after the hashing and before the copy.
    let hashed = asked.swap(0, Ordering::Relaxed);
    let cache = Arc::new(cache(Verify::Content));
    let cancelled = || asked.fetch_add(1, Ordering::Relaxed) >= hashed;
    assert_eq!(cache.put(ALGORITHM, &data, &cancelled).unwrap(), ALGORITHM.hash(&data));
    assert_eq!(asked.swap(0, Ordering::Relaxed), hashed + 1);
    let digester = Digester::new(ALGORITHM, Some(Arc::clone(&cache)));
    assert_eq!(digester.digest_cancellable(&data, &cancelled).unwrap(), ALGORITHM.hash(&data));
    assert_eq!((cache.stats().insertions, cache.stats().collisions), (0, 0));
}

#[test]
fn a_content_that_does_not_fit_is_not_copied() {
    let data = random(7, 5 << 20);
    let polls = |options: &Options| {
        let polls = AtomicU64::new(0);
        let counting = || {
            polls.fetch_add(1, Ordering::Relaxed);
            false
        };
        Cache::new(options).unwrap().put(ALGORITHM, &data, &counting).unwrap();
        polls.into_inner()
    };
    let hashed = polls(&Options::default());
    let roomy = Options { verify: Verify::Content, ..Options::default() };
    // A copy polls once in a MiB.
    assert_eq!(polls(&roomy), hashed + 5);
    assert_eq!(polls(&Options { max_memory: 5 << 20, ..roomy }), hashed);
}

#[test]
fn the_fingerprint_is_computed_by_the_function_that_is_reported() {
    let expected = match Secret::random().unwrap() {
        Secret::Umash(_) => "umash",
        Secret::Poly1305(_) => "poly1305",
        Secret::Blind => panic!("a secret of tests"),
    };
    assert_eq!(fingerprint_implementation(), expected);
}

#[test]
fn options_out_of_range_are_refused() {
    for (option, options) in [
        ("max_entries", Options { max_entries: 0, ..Options::default() }),
        ("max_entries", Options { max_entries: Options::MOST_ENTRIES + 1, ..Options::default() }),
        ("max_memory", Options { max_memory: 0, ..Options::default() }),
        ("max_memory", Options { max_memory: Options::MOST_MEMORY + 1, ..Options::default() }),
    ] {
        match Cache::new(&options) {
            Err(Error::Options(error)) => assert_eq!(error.option, option),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_largest_limits_reserve_a_bounded_amount_of_memory() {
    let options = Options {
        max_entries: Options::MOST_ENTRIES,
        max_memory: Options::MOST_MEMORY,
        verify: Verify::Fingerprint,
    };
    let cache = Cache::new(&options).unwrap();
    cache.put(ALGORITHM, b"content", &never).unwrap();
    assert_eq!(cache.stats().entries, 1);
}

#[test]
fn keys_and_entries_have_the_counted_size() {
    // `ENTRY` relies on these sizes. On 32-bit targets they are smaller.
    let expected = if usize::BITS < 64 { 20..=24 } else { 24..=24 };
    assert!(expected.contains(&size_of::<Key>()), "{}", size_of::<Key>());
    assert_eq!(size_of::<Entry>(), 32 + size_of::<usize>());
}
