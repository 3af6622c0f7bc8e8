//! A cache gives no digest that is not the content's own, whatever the contents and however many threads ask.

use std::sync::Arc;
use std::thread;

use chunker::cache::{Cache, Digester, Options, Verify};
use chunker::cdc::CdcParams;
use chunker::engine::workers::Workers;
use chunker::engine::{Chunk, Chunking};
use chunker::hash::Algorithm;
use proptest::prelude::*;

fn never() -> bool {
    false
}

/// A string as NARs hold them: its length, its bytes, and zeros up to a multiple of eight.
fn string(bytes: &[u8]) -> Vec<u8> {
    let mut string = (bytes.len() as u64).to_le_bytes().to_vec();
    string.extend_from_slice(bytes);
    string.resize(string.len().next_multiple_of(8), 0);
    string
}

/// The NAR of a file.
fn nar(content: &[u8]) -> Vec<u8> {
    let strings: [&[u8]; 6] = [b"nix-archive-1", b"(", b"type", b"regular", b"contents", content];
    strings.iter().chain(&[&b")"[..]]).flat_map(|bytes| string(bytes)).collect()
}

/// Contents that are as alike as contents can be: of one length, with the same first and last kilobyte, and one bit
/// different from the first of them, at each of the places.
fn family(base: &[u8], places: &[prop::sample::Index]) -> Vec<Vec<u8>> {
    let flipped = places.iter().map(|place| {
        let mut other = base.to_vec();
        let bit = place.index(8 * (base.len() - 2048)) + 8 * 1024;
        other[bit / 8] ^= 1 << (bit % 8);
        other
    });
    std::iter::once(base.to_vec()).chain(flipped).collect()
}

/// Asks for the digests of all contents from many threads at once, with all algorithms, in small caches and large ones.
fn all_digests_are_right(contents: &[Vec<u8>]) {
    for verify in [Verify::Fingerprint, Verify::Content] {
        for max_entries in [3, 100_000] {
            let options = Options { verify, max_entries, max_memory: 10_000_000 };
            let cache = Arc::new(Cache::new(&options).unwrap());
            let lookups: u64 = thread::scope(|scope| {
                let workers: Vec<_> = (0..4)
                    .map(|worker| {
                        let cache = Arc::clone(&cache);
                        scope.spawn(move || {
                            let mut lookups = 0;
                            for round in 0..3 * contents.len() {
                                let content = &contents[(round * (worker + 1) + worker) % contents.len()];
                                for &algorithm in Algorithm::ALL {
                                    let digest = algorithm.hash(content);
                                    let digester = Digester::new(algorithm, Some(Arc::clone(&cache)));
                                    let (head, tail) = content.split_at(content.len() / 3);
                                    match round % 4 {
                                        0 => assert_eq!(digester.digest(&[head, tail]), digest),
                                        1 => assert_eq!(
                                            digester.digest_cancellable(content, &never).unwrap(),
                                            digest
                                        ),
                                        2 => {
                                            assert_eq!(cache.put(algorithm, content, &never).unwrap(), digest)
                                        }
                                        _ => {
                                            let found = cache.get(algorithm, content, &never).unwrap();
                                            assert!(found.is_none_or(|found| found == digest));
                                        }
                                    }
                                    lookups += u64::from(round % 4 != 2);
                                }
                            }
                            lookups
                        })
                    })
                    .collect();
                workers.into_iter().map(|worker| worker.join().unwrap()).sum()
            });
            let stats = cache.stats();
            assert_eq!(stats.hits + stats.misses, lookups);
            assert_eq!(stats.insertions - stats.evictions, stats.entries);
            assert!(stats.entries <= max_entries && stats.collisions == 0, "{stats:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn digests_of_contents_that_differ_in_a_bit(
        base in proptest::collection::vec(any::<u8>(), 2500..12_000),
        places in proptest::collection::vec(any::<prop::sample::Index>(), 1..12),
    ) {
        all_digests_are_right(&family(&base, &places));
    }

    #[test]
    fn digests_of_nars_of_one_length(
        base in proptest::collection::vec(any::<u8>(), 4000..9000),
        places in proptest::collection::vec(any::<prop::sample::Index>(), 1..12),
    ) {
        let nars: Vec<_> = family(&base, &places).iter().map(|content| nar(content)).collect();
        prop_assert!(nars.iter().all(|other| other.len() == nars[0].len()));
        all_digests_are_right(&nars);
    }

    #[test]
    fn digests_of_repetitive_contents_of_many_lengths(
        unit in proptest::collection::vec(any::<u8>(), 1..40),
        length in 2048..9000_usize,
    ) {
        let whole: Vec<u8> = unit.iter().copied().cycle().take(length + 10).collect();
        let contents: Vec<_> = (0..10).map(|more| whole[..length + more].to_vec()).collect();
        all_digests_are_right(&contents);
    }

    /// Versions of an input, of which most chunks were there before.
    #[test]
    fn chunks_of_versions(
        base in proptest::collection::vec(any::<u8>(), 100_000..300_000),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        threads in 1..4_usize,
    ) {
        let options = chunker::cdc::Options { min_size: 2048, avg_size: 8192, max_size: 32_768, ..Default::default() };
        let cutter = CdcParams::new(&options).unwrap();
        for &algorithm in Algorithm::ALL {
            let cache = Arc::new(Cache::new(&Options::default()).unwrap());
            let digester = Digester::new(algorithm, Some(Arc::clone(&cache)));
            let mut version = base.clone();
            for (place, byte) in &edits {
                version.insert(place.index(version.len()), *byte);
                let workers = Workers::shared(threads, 3).unwrap();
                let plain = Chunking::new(cutter.clone(), workers, Chunk::hashed(algorithm));
                let cached = Chunking::new(cutter.clone(), workers, Chunk::hashed(digester.clone()));
                prop_assert_eq!(cached.slice(&version, &never).unwrap(), plain.slice(&version, &never).unwrap());
            }
            let stats = cache.stats();
            prop_assert!(edits.len() == 1 || stats.hits > stats.misses / 4, "{:?}", stats);
        }
    }
}
