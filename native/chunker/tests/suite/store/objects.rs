//! Puts objects and reads them again.

use std::io::Cursor;

use chunker::NEVER;
use chunker::engine::workers::Workers;
use chunker::store::{If, Store, StoreError};
use chunker::{Error, ErrorCode};

use super::simulated_disk::Random;
use super::small_chunks;

fn workers() -> Workers {
    Workers::shared(3, crate::POOL).expect("threads")
}

#[test]
fn objects_and_ranges_of_them_are_read_as_they_were_put() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store"), &small_chunks()).unwrap();
    let mut random = Random::new(1);
    for size in [0, 1, 63, 64, 1000, 100_000, 3_000_000] {
        let content = random.bytes(size);
        let stored = store.put(Cursor::new(content.clone()), None, workers(), NEVER).unwrap();
        assert_eq!(stored.size, size as u64);
        assert_eq!(stored.hash, store.format().hash.hash(&content));
        assert!(store.read(&stored.id, .., workers(), NEVER).unwrap() == content);
        for _ in 0..20 {
            let start = random.below(size + 1);
            let end = start + random.below(size - start + 1);
            let range = start as u64..end as u64;
            assert!(store.read(&stored.id, range, workers(), NEVER).unwrap() == content[start..end]);
        }
        let chunks = {
            let (mut all, mut chunks) = (Vec::new(), store.chunks(&stored.id).unwrap());
            while let Some(chunk) = chunks.next_chunk().unwrap() {
                let range = chunk.offset as usize..chunk.offset as usize + chunk.length as usize;
                assert_eq!(chunk.digest, store.format().hash.hash(&content[range]));
                all.push(chunk);
            }
            all
        };
        assert_eq!(chunks.len() as u64, stored.chunk_count);
        assert_eq!(chunks.iter().map(|chunk| u64::from(chunk.length)).sum::<u64>(), size as u64);
        let again = store.put(Cursor::new(content), None, workers(), NEVER).unwrap();
        assert_eq!((again.id, again.new_chunks, again.new_bytes, again.stored_bytes), (stored.id, 0, 0, 0));
    }
}

#[test]
fn a_restore_is_cancelled_also_between_equal_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store"), &small_chunks()).unwrap();
    let content = vec![0; 2_000_000];
    let stored = store.put(Cursor::new(content.clone()), None, workers(), NEVER).unwrap();
    assert_eq!(stored.new_chunks, 2);
    let to = folder.path().join("restored");
    let polls = std::cell::Cell::new(0);
    let counts = || polls.replace(polls.get() + 1) > u64::MAX / 2;
    let alone = Workers::of_this_thread();
    store.restore_file(&stored.id, &to, alone, None, &counts).unwrap();
    assert!(std::fs::read(&to).unwrap() == content);
    std::fs::remove_file(&to).unwrap();
    // Some polls are for opening.
    assert!(polls.get() > 2 * stored.chunk_count, "{} polls", polls.get());
    let most = polls.replace(0) - stored.chunk_count / 2;
    let later = || polls.replace(polls.get() + 1) > most;
    let error = store.restore_file(&stored.id, &to, alone, None, &later).unwrap_err();
    assert_eq!(error.code(), "cancelled");
    assert!(!to.exists());
}

#[test]
fn tags_are_compared_and_set() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &small_chunks()).unwrap();
    let put = |content: &'static [u8]| store.put(content, None, workers(), NEVER).unwrap().id;
    let (a, b) = (put(b"a"), put(b"b"));
    store.set_tag("x", &a, If::Absent, NEVER).unwrap();
    let error = store.set_tag("x", &b, If::Absent, NEVER).unwrap_err();
    assert!(matches!(&error, Error::Store(StoreError::AlreadyExists { name }) if name == "x"));
    store.set_tag("x", &b, If::Is(b), NEVER).unwrap_err();
    store.set_tag("x", &b, If::Is(a), NEVER).unwrap();
    store.set_tag("x/y", &a, If::Any, NEVER).unwrap();
    store.set_tag(".hidden/ü %", &a, If::Any, NEVER).unwrap();
    assert_eq!(
        store.tags("").unwrap(),
        [(".hidden/ü %".to_owned(), a), ("x".to_owned(), b), ("x/y".to_owned(), a)]
    );
    assert_eq!(store.tags("x/").unwrap(), [("x/y".to_owned(), a)]);
    assert!(store.remove_tag("x", If::Any).unwrap());
    assert!(!store.remove_tag("x", If::Any).unwrap());
    for name in ["", "/", "a//b", "a/", "a\nb", &"x".repeat(2000)] {
        assert_eq!(store.set_tag(name, &a, If::Any, NEVER).unwrap_err().code(), "invalid_options");
    }
    let unknown = chunker::hash::Digest([7; 32]);
    assert_eq!(store.set_tag("y", &unknown, If::Any, NEVER).unwrap_err().code(), "not_found");
}

#[test]
fn chunks_that_are_lost_are_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &small_chunks()).unwrap();
    let content = Random::new(5).bytes(50_000);
    let stored = store.put(Cursor::new(content.clone()), Some("a"), workers(), NEVER).unwrap();
    std::fs::remove_dir_all(folder.path().join("packs")).unwrap();
    let store = Store::open(folder.path(), &small_chunks()).unwrap();
    let error = store.read(&stored.id, .., workers(), NEVER).unwrap_err();
    assert_eq!(error.code(), "chunk_missing");
    let again = store.put(Cursor::new(content.clone()), Some("a"), workers(), NEVER).unwrap();
    assert_eq!((again.id, again.new_chunks), (stored.id, stored.chunk_count));
    assert!(store.read(&stored.id, .., workers(), NEVER).unwrap() == content);
}

#[test]
fn the_index_is_made_anew_if_it_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &small_chunks()).unwrap();
    let mut random = Random::new(6);
    let objects: Vec<_> = (0..40)
        .map(|_| {
            let content = random.bytes(random.clone().below(20_000));
            (store.put(Cursor::new(content.clone()), None, workers(), NEVER).unwrap().id, content)
        })
        .collect();
    let lose = || std::fs::remove_dir_all(folder.path().join("index")).unwrap();
    lose();
    let store = Store::open(folder.path(), &small_chunks()).unwrap();
    store.set_tag("found", &objects[7].0, If::Any, NEVER).unwrap();
    lose();
    let store = Store::open(folder.path(), &small_chunks()).unwrap();
    assert!(store.read(&objects[8].0, .., workers(), NEVER).unwrap() == objects[8].1);
    lose();
    let store = Store::open(folder.path(), &small_chunks()).unwrap();
    store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap();
    for (id, content) in objects {
        assert!(store.read(&id, .., workers(), NEVER).unwrap() == content);
    }
}

#[test]
fn a_tag_of_a_large_object_is_cancelled_with_its_caller() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &small_chunks()).unwrap();
    let content = super::simulated_disk::Random::new(1).bytes(30_000);
    let id =
        store.put(std::io::Cursor::new(content), Some("a"), Workers::of_this_thread(), NEVER).unwrap().id;
    let asked = std::cell::Cell::new(0);
    let is_cancelled = || {
        asked.set(asked.get() + 1);
        asked.get() > 10
    };
    assert_eq!(store.set_tag("b", &id, If::Any, &is_cancelled).unwrap_err().code(), "cancelled");
    assert_eq!(store.tag("b").unwrap(), None);
    store.set_tag("b", &id, If::Any, NEVER).unwrap();
    assert_eq!(store.tag("b").unwrap(), Some(id));
}
