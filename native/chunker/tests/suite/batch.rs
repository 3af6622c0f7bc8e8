//! Many items in one call of a plain function.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use chunker::cache::{Cache, Digester, Options};
use chunker::codec::{Codec, CompressOptions, DecompressOptions, compress};
use chunker::engine::workers::Workers;
use chunker::hash::Algorithm;
use chunker::{BatchOptions, ErrorCode, NEVER, compress_batch, decompress_batch, hash_batch};

use crate::inputs;

fn items() -> Vec<Vec<u8>> {
    (0..40).map(|i| inputs::random(i, 5000 * i as usize % 90_001)).collect()
}

/// Returns options for one thread, for some, and the default ones.
fn all_options() -> Vec<BatchOptions<'static>> {
    let one = Some(Workers::of_this_thread());
    let two = Some(Workers::shared(2, crate::POOL).unwrap());
    let options = [None, one, two].map(|workers| BatchOptions { workers, ..BatchOptions::default() });
    let at_once = BatchOptions { parallel_threshold: 0, ..options[2] };
    options.into_iter().chain([at_once]).collect()
}

#[test]
fn digests_come_in_the_order_of_the_items() {
    let items = items();
    for options in all_options() {
        for &algorithm in Algorithm::ALL {
            let expected: Vec<_> = items.iter().map(|item| algorithm.hash(item)).collect();
            assert_eq!(hash_batch(&items, algorithm, &options, NEVER).unwrap(), expected);
            let cache = Arc::new(Cache::new(&Options::default()).unwrap());
            let digester = Digester::new(algorithm, Some(Arc::clone(&cache)));
            for _ in 0..2 {
                assert_eq!(hash_batch(&items, digester.clone(), &options, NEVER).unwrap(), expected);
            }
            let looked_up = items.iter().filter(|item| item.len() >= Digester::SMALL).count() as u64;
            assert_eq!((cache.stats().hits, cache.stats().misses), (looked_up, looked_up));
        }
        assert_eq!(hash_batch(&[] as &[&[u8]], Algorithm::ALL[0], &options, NEVER).unwrap(), []);
        let cancelled = hash_batch(&items, Algorithm::ALL[0], &options, &|| true).unwrap_err();
        assert_eq!(cancelled.code(), "cancelled");
    }
}

#[test]
fn each_item_is_compressed_and_decompressed_by_itself() {
    let items = items();
    for codec in Codec::ENCODABLE.into_iter().filter(|codec| codec.is_enabled()) {
        let compression = CompressOptions::new(codec);
        for options in all_options() {
            let compressed = compress_batch(&items, &compression, &options, NEVER).unwrap();
            let mut compressed: Vec<_> = compressed.into_iter().map(Result::unwrap).collect();
            assert_eq!(compressed[7], compress(&items[7], &compression).unwrap(), "{codec}");
            compressed[3].truncate(1);
            let decompression = DecompressOptions::new().codec(codec).limit(80_000);
            let contents = decompress_batch(&compressed, &decompression, &options, NEVER).unwrap();
            for (i, (content, item)) in contents.into_iter().zip(&items).enumerate() {
                match content {
                    Ok(content) => assert_eq!(&content, item, "{codec} {i}"),
                    Err(error) if i == 3 => assert_eq!(error.code(), "decompression_failed", "{codec}"),
                    Err(error) => {
                        assert!(item.len() > 80_000, "{codec} {i}");
                        assert_eq!(error.code(), "size_exceeded", "{codec}");
                    }
                }
            }
        }
        // Options that no item can be compressed with are an error of the call, even without items.
        let wrong = CompressOptions::new(codec).level(1_000_000);
        let error = compress_batch(&[] as &[&[u8]], &wrong, &BatchOptions::default(), NEVER).unwrap_err();
        assert_eq!(error.code(), "invalid_options", "{codec}");
    }
}

#[test]
fn default_options_use_several_threads_from_four_items_on() {
    // The pool of the other tests.
    Workers::shared(2, crate::POOL).unwrap();
    let cores = std::thread::available_parallelism().unwrap().get();
    let threads = |count: usize| {
        let seen = Mutex::new(HashSet::new());
        let work = |(): &mut (), _: &usize, _: chunker::Cancel<'_>| {
            seen.lock().unwrap().insert(std::thread::current().id());
            std::thread::sleep(std::time::Duration::from_millis(30));
        };
        BatchOptions::default().run(&vec![1; count], |_| 1, || (), work, NEVER).unwrap();
        seen.into_inner().unwrap().len()
    };
    assert_eq!(threads(3), 1);
    // Other tests use the threads of the pool too.
    assert!(cores == 1 || (0..200).any(|_| threads(4) > 1));
    assert_eq!(Workers::with_threads(2).unwrap().threads(), 2);
    assert_eq!(Workers::all().unwrap().threads(), cores.min(1 + crate::POOL));
    assert_eq!(Workers::with_threads(0).unwrap_err().code(), "invalid_options");
}

#[test]
fn progress_is_reported() {
    let reports = RefCell::new(Vec::new());
    let report = |done, total| reports.borrow_mut().push((done, total));
    let options = BatchOptions { progress: Some(&report), ..BatchOptions::default() };
    hash_batch(&["a", "b"], Algorithm::ALL[0], &options, NEVER).unwrap();
    assert_eq!(reports.borrow().first(), Some(&(0, 2)));
    assert_eq!(reports.borrow().last(), Some(&(2, 2)));
}
