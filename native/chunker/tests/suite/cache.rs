//! A cache never returns the digest of another content, for any contents and any number of threads.

use std::sync::Arc;
use std::thread;

use chunker::cache::{Cache, Digester, Options, Verify};
use chunker::cdc::CdcParams;
use chunker::engine::workers::Workers;
use chunker::engine::{Chunk, Chunking};
use chunker::hash::Algorithm;
use chunker::io::file::Input;
use chunker::{ErrorCode, NEVER};
use proptest::prelude::*;

/// Encodes a string as in a NAR: its length, its bytes, and zeros up to a multiple of eight.
fn string(bytes: &[u8]) -> Vec<u8> {
    let mut string = (bytes.len() as u64).to_le_bytes().to_vec();
    string.extend_from_slice(bytes);
    string.resize(string.len().next_multiple_of(8), 0);
    string
}

/// Returns the NAR of a file.
fn nar(content: &[u8]) -> Vec<u8> {
    let strings: [&[u8]; 6] = [b"nix-archive-1", b"(", b"type", b"regular", b"contents", content];
    strings.iter().chain(&[&b")"[..]]).flat_map(|bytes| string(bytes)).collect()
}

/// Returns similar contents: all of one length and with the same first and last kilobyte, and each one bit
/// different from `base` at one of the positions.
fn family(base: &[u8], positions: &[prop::sample::Index]) -> Vec<Vec<u8>> {
    let flipped = positions.iter().map(|position| {
        let mut other = base.to_vec();
        let bit = position.index(8 * (base.len() - 2048)) + 8 * 1024;
        other[bit / 8] ^= 1 << (bit % 8);
        other
    });
    std::iter::once(base.to_vec()).chain(flipped).collect()
}

/// Looks up the digests of all contents from many threads at once, with all algorithms, in small and large
/// caches.
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
                                            digester.digest_cancellable(content, NEVER).unwrap(),
                                            digest
                                        ),
                                        2 => {
                                            assert_eq!(cache.put(algorithm, content, NEVER).unwrap(), digest)
                                        }
                                        _ => {
                                            let found = cache.get(algorithm, content, NEVER).unwrap();
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
    fn contents_that_differ_in_a_bit_get_their_own_digests(
        base in proptest::collection::vec(any::<u8>(), 2500..12_000),
        positions in proptest::collection::vec(any::<prop::sample::Index>(), 1..12),
    ) {
        all_digests_are_right(&family(&base, &positions));
    }

    #[test]
    fn nars_of_one_length_get_their_own_digests(
        base in proptest::collection::vec(any::<u8>(), 4000..9000),
        positions in proptest::collection::vec(any::<prop::sample::Index>(), 1..12),
    ) {
        let nars: Vec<_> = family(&base, &positions).iter().map(|content| nar(content)).collect();
        prop_assert!(nars.iter().all(|other| other.len() == nars[0].len()));
        all_digests_are_right(&nars);
    }

    #[test]
    fn repetitive_contents_of_many_lengths_get_their_own_digests(
        unit in proptest::collection::vec(any::<u8>(), 1..40),
        length in 2048..9000_usize,
    ) {
        let whole: Vec<u8> = unit.iter().copied().cycle().take(length + 10).collect();
        let contents: Vec<_> = (0..10).map(|more| whole[..length + more].to_vec()).collect();
        all_digests_are_right(&contents);
    }

    /// Generates versions of an input that share most of their chunks.
    #[test]
    fn chunks_of_versions_get_their_own_digests(
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
            for (position, byte) in &edits {
                version.insert(position.index(version.len()), *byte);
                let workers = Workers::shared(threads, crate::POOL).unwrap();
                let plain = Chunking::new(cutter.clone(), workers, Chunk::hashed(algorithm));
                let cached = Chunking::new(cutter.clone(), workers, Chunk::hashed(digester.clone()));
                prop_assert_eq!(cached.slice(&version, NEVER).unwrap(), plain.slice(&version, NEVER).unwrap());
            }
            let stats = cache.stats();
            prop_assert!(edits.len() == 1 || stats.hits > stats.misses / 4, "{:?}", stats);
        }
    }
}

/// Lengths around those at which a file is treated otherwise.
const FILE_LENGTHS: [usize; 9] = [0, 1, 2047, 2048, 5000, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3_500_000];

#[test]
fn a_file_is_looked_up_by_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let data = crate::inputs::random(3, 3_500_000);
    for verify in [Verify::Fingerprint, Verify::Content] {
        for &algorithm in Algorithm::ALL {
            for length in FILE_LENGTHS {
                let what = format!("{verify:?} {algorithm:?} {length}");
                let cache = Arc::new(Cache::new(&Options { verify, ..Options::default() }).unwrap());
                let digester = Digester::new(algorithm, Some(Arc::clone(&cache)));
                std::fs::write(&path, &data[..length]).unwrap();
                let expected = algorithm.hash(&data[..length]);
                for _ in 0..3 {
                    let input = Input::open(&path).unwrap();
                    assert_eq!(digester.digest_file(input, NEVER).unwrap(), expected, "{what}");
                }
                let looked_up = length >= 2048 && (verify == Verify::Fingerprint || length < 1 << 20);
                let stats = cache.stats();
                let counts = (stats.hits, stats.misses, stats.insertions, stats.collisions);
                assert_eq!(counts, if looked_up { (2, 1, 1, 0) } else { (0, 0, 0, 0) }, "{what}");
                if looked_up {
                    // A content in memory and one in a file are the same to a cache.
                    let found = cache.get(algorithm, &data[..length], NEVER).unwrap();
                    assert_eq!(found, Some(expected), "{what}");
                }
                // Another content of the same length is another one.
                if length > 0 {
                    let mut other = data[..length].to_vec();
                    other[length / 2] ^= 1;
                    std::fs::write(&path, &other).unwrap();
                    let input = Input::open(&path).unwrap();
                    assert_eq!(digester.digest_file(input, NEVER).unwrap(), algorithm.hash(&other), "{what}");
                }
            }
        }
    }
}

/// A file that is overwritten in place between its two reads must not give its old content the digest of the
/// new one.
#[test]
fn a_file_that_changes_between_its_two_reads_poisons_no_cache() {
    use std::cell::Cell;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let [old, new] = [1, 2].map(|seed| crate::inputs::random(seed, 3 << 20));
    let algorithm = Algorithm::ALL[0];
    // At the first poll, and so on, until the file has been read twice.
    for change_at in 1..=10 {
        let cache = Arc::new(Cache::new(&Options::default()).unwrap());
        let digester = Digester::new(algorithm, Some(Arc::clone(&cache)));
        std::fs::write(&path, &old).unwrap();
        let polls = Cell::new(0);
        let is_cancelled = || {
            polls.set(polls.get() + 1);
            if polls.get() == change_at {
                use std::io::Write;
                let mut file = std::fs::File::options().write(true).open(&path).unwrap();
                file.write_all(&new).unwrap();
            }
            false
        };
        let digest = digester.digest_file(Input::open(&path).unwrap(), &is_cancelled).unwrap();
        if change_at == 5 {
            // Between the reads.
            assert_eq!(digest, algorithm.hash(&new));
            assert_eq!(cache.get(algorithm, &new, NEVER).unwrap(), Some(digest));
        }
        for content in [&old, &new] {
            let found = cache.get(algorithm, content, NEVER).unwrap();
            assert!(found.is_none_or(|digest| digest == algorithm.hash(content)), "at poll {change_at}");
        }
    }
    let error = Digester::new(algorithm, Some(Arc::new(Cache::new(&Options::default()).unwrap())))
        .digest_file(Input::open(&path).unwrap(), &|| true)
        .unwrap_err();
    assert_eq!(error.code(), "cancelled");
}
