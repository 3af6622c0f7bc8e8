//! Garbage collections while others write.

use std::io::Cursor;
use std::path::Path;

use chunker::cdc::Options;
use chunker::engine::workers::Workers;
use chunker::hash::Digest;
use chunker::io::source::FromRead;
use chunker::store::{If, Store, StoreError, StoreOptions};
use chunker::{Error, ErrorCode, NEVER};

use super::simulated_disk::Random;
use super::small_chunks;

fn open(folder: &Path) -> Store {
    Store::open(folder, &small_chunks()).unwrap()
}

fn put(store: &Store, name: Option<&str>, content: &[u8]) -> Result<Digest, Error> {
    let content = Cursor::new(content.to_vec());
    Ok(store.put(content, name, Workers::of_this_thread(), NEVER)?.id)
}

fn read(store: &Store, id: &Digest) -> Vec<u8> {
    store.read(id, .., Workers::of_this_thread(), NEVER).unwrap()
}

#[test]
fn a_session_that_found_what_is_deleted_cannot_commit() {
    let folder = tempfile::tempdir().unwrap();
    let (writer, collector) = (open(folder.path()), open(folder.path()));
    let content = Random::new(1).bytes(10_000);
    put(&writer, Some("a"), &content).unwrap();
    writer.remove_tag("a", If::Any).unwrap();
    let mut session = writer.session().unwrap();
    let source = FromRead(Cursor::new(content.clone()));
    let stored = session.put(source, Workers::of_this_thread(), NEVER).unwrap();
    assert_eq!(stored.new_chunks, 0);
    session.tag("b", stored.id, NEVER).unwrap();
    assert!(collector.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap().deleted_packs > 0);
    assert_eq!(session.commit(NEVER).unwrap_err().code(), "session_fenced");
    assert_eq!(writer.tag("b").unwrap(), None);
    assert_eq!(writer.tags("").unwrap(), []);
    let id = put(&writer, Some("b"), &content).unwrap();
    assert!(read(&collector, &id) == content);
    collector.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap();
    assert!(read(&collector, &id) == content);
}

#[test]
fn a_session_that_needs_nothing_that_is_deleted_commits() {
    let folder = tempfile::tempdir().unwrap();
    let (writer, collector) = (open(folder.path()), open(folder.path()));
    let mut random = Random::new(2);
    let (kept, garbage, new) = (random.bytes(9000), random.bytes(9000), random.bytes(9000));
    put(&writer, Some("kept"), &kept).unwrap();
    put(&writer, Some("garbage"), &garbage).unwrap();
    writer.remove_tag("garbage", If::Any).unwrap();
    let mut session = writer.session().unwrap();
    for content in [&kept, &new] {
        let source = FromRead(Cursor::new(content.clone()));
        session.put(source, Workers::of_this_thread(), NEVER).unwrap();
    }
    // Twice: the session that continues the first one is fenced, too.
    assert!(collector.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap().deleted_packs > 0);
    put(&collector, Some("garbage"), &garbage).unwrap();
    collector.remove_tag("garbage", If::Any).unwrap();
    assert!(collector.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap().deleted_packs > 0);
    session.commit(NEVER).unwrap();
    let id = put(&writer, Some("new"), &new).unwrap();
    collector.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap();
    assert!(read(&collector, &id) == new);
    assert!(read(&collector, &put(&writer, None, &kept).unwrap()) == kept);
}

/// Waits until the thread of a session has uploaded a full pack.
fn wait_for_upload(folder: &Path) {
    let is_full =
        |pack: std::io::Result<std::fs::DirEntry>| pack.unwrap().metadata().unwrap().len() > 16 << 20;
    let is_uploaded = || {
        let mut folders = std::fs::read_dir(folder.join("packs")).into_iter().flatten();
        folders.any(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap().any(is_full))
    };
    while !is_uploaded() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn packs_of_a_session_that_is_open_are_not_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let (writer, collector) = (open(folder.path()), open(folder.path()));
    let mut random = Random::new(6);
    put(&writer, Some("garbage"), &random.bytes(9000)).unwrap();
    writer.remove_tag("garbage", If::Any).unwrap();
    // More than a pack.
    let content = random.bytes(18 << 20);
    let mut session = writer.session().unwrap();
    let source = FromRead(Cursor::new(content.clone()));
    let stored = session.put(source, Workers::of_this_thread(), NEVER).unwrap();
    session.tag("a", stored.id, NEVER).unwrap();
    wait_for_upload(folder.path());
    let collected = collector.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap();
    assert!(collected.packs > 0 && collected.deleted_packs > 0, "{collected:?}");
    session.commit(NEVER).unwrap();
    assert!(read(&collector, &stored.id) == content);
}

#[test]
fn writers_readers_and_collections_at_once() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let mut random = Random::new(3);
    let contents: Vec<Vec<u8>> = (0..12).map(|size| random.bytes(size * 1500)).collect();
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (folder, contents) = (folder.path(), &contents);
            scope.spawn(move || {
                let store = open(folder);
                let mut random = Random::new(100 + thread);
                let mut own: Vec<(String, usize)> = Vec::new();
                for step in 0..60 {
                    let which = random.below(contents.len());
                    let name = format!("{thread}/{step}");
                    // A file that is put again after its session was fenced.
                    let path = folder
                        .parent()
                        .unwrap()
                        .join(format!("chunker-store-test-{thread}-{}", std::process::id()));
                    std::fs::write(&path, &contents[which]).unwrap();
                    let stored =
                        store.put_file(&path, Some(name.as_str()), Workers::of_this_thread(), None, NEVER);
                    std::fs::remove_file(&path).unwrap();
                    let stored = stored.unwrap();
                    assert_eq!(store.tag(&name).unwrap(), Some(stored.id));
                    own.push((name, which));
                    if own.len() > 3 {
                        let (name, _) = own.swap_remove(random.below(own.len()));
                        assert!(store.remove_tag(&name, If::Any).unwrap());
                    }
                    for (name, which) in &own {
                        let id = store.tag(name).unwrap().unwrap();
                        assert!(read(&store, &id) == contents[*which], "{name}");
                    }
                }
            });
        }
        let folder = folder.path();
        scope.spawn(move || {
            let store = open(folder);
            for _ in 0..40 {
                store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap();
            }
        });
    });
    let store = open(folder.path());
    for (name, _) in store.tags("").unwrap() {
        store.remove_tag(&name, If::Any).unwrap();
    }
    // The first one fences, and the second one finds the rest.
    store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap();
    let left = store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap();
    assert_eq!((left.objects, left.packs), (0, 0));
}

#[test]
fn a_session_that_is_dropped_leaves_nothing_but_garbage() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for fenced in [false, true] {
        let mut session = store.session().unwrap();
        let source = FromRead(Cursor::new(Random::new(7).bytes(20 << 20)));
        session.put(source, Workers::of_this_thread(), NEVER).unwrap();
        wait_for_upload(folder.path());
        if fenced {
            // Something else that it deletes.
            let id = put(&store, None, b"garbage").unwrap();
            store.forget(&id).unwrap();
            store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap();
        }
        drop(session);
        assert_eq!(std::fs::read_dir(folder.path().join("sessions")).unwrap().count(), 0);
        assert!(store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap().deleted_packs > 0);
        assert_eq!(store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap().packs, 0);
    }
}

#[test]
fn a_session_with_a_failed_put_cannot_commit() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let content = Random::new(8).bytes(9000);
    for pieces in [false, true] {
        let mut session = store.session().unwrap();
        if pieces {
            let mut pieces = session.pieces(Workers::of_this_thread()).unwrap();
            pieces.push(&content, NEVER).unwrap();
        } else {
            let source = FromRead(Cursor::new(content.clone()));
            session.put(source, Workers::of_this_thread(), &|| true).unwrap_err();
        }
        let source = FromRead(Cursor::new(content.clone()));
        let stored = session.put(source, Workers::of_this_thread(), NEVER).unwrap();
        session.tag("a", stored.id, NEVER).unwrap();
        assert_eq!(session.commit(NEVER).unwrap_err().code(), "cancelled");
        assert_eq!(store.tag("a").unwrap(), None);
    }
    let id = put(&store, Some("a"), &content).unwrap();
    assert!(read(&store, &id) == content);
}

#[test]
fn a_collection_keeps_what_heals() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let content = Random::new(9).bytes(9000);
    let id = put(&store, Some("a"), &content).unwrap();
    let packs = folder.path().join("packs");
    let pack = std::fs::read_dir(&packs).unwrap().next().unwrap().unwrap().path();
    let pack = std::fs::read_dir(pack).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&pack).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&pack, bytes).unwrap();
    store.check(&chunker::BatchOptions::default(), NEVER).unwrap();
    put(&store, Some("a"), &content).unwrap();
    store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap();
    assert!(read(&open(folder.path()), &id) == content);
}

#[test]
fn an_object_that_is_not_whole_gets_no_tag() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = put(&store, None, &Random::new(10).bytes(9000)).unwrap();
    std::fs::remove_dir_all(folder.path().join("packs")).unwrap();
    assert_eq!(store.set_tag("a", &id, If::Any, NEVER).unwrap_err().code(), "chunk_missing");
    assert_eq!(store.tag("a").unwrap(), None);
}

#[test]
fn one_collection_runs_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let content = Random::new(4).bytes(1000);
    put(&store, Some("a"), &content).unwrap();
    let other = open(folder.path());
    let refused = std::cell::Cell::new(None);
    let during = || {
        refused.set(Some(other.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap_err().code()));
        false
    };
    store.collect_garbage(Workers::of_this_thread(), None, &during).unwrap();
    assert_eq!(refused.get(), Some("store_locked"));
}

#[test]
fn an_object_that_shares_chunks_outlives_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions::default();
    let options = StoreOptions {
        format: chunker::store::FormatOptions {
            chunking: Some(Options::with_average(1024)),
            ..options.format
        },
        ..options
    };
    let store = Store::open(folder.path(), &options).unwrap();
    let mut random = Random::new(5);
    // Long enough that their lists have nodes.
    let shared = random.bytes(12_000_000);
    let a = [&shared[..], &random.bytes(100_000)].concat();
    let b = [&random.bytes(100_000), &shared[..]].concat();
    put(&store, Some("a"), &a).unwrap();
    let stored = store.put(Cursor::new(b.clone()), Some("b"), Workers::of_this_thread(), NEVER).unwrap();
    assert!(stored.new_bytes < 200_000, "{stored:?}");
    store.remove_tag("a", If::Any).unwrap();
    store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap();
    assert!(read(&store, &stored.id) == b);
}

#[test]
fn packs_that_are_mostly_garbage_are_rewritten() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut random = Random::new(7);
    let (large, small) = (random.bytes(200_000), random.bytes(20_000));
    // In the same packs, since they are put in one session.
    let mut session = store.session().unwrap();
    for (name, content) in [("large", &large), ("small", &small)] {
        let source = chunker::io::source::FromRead(Cursor::new(content.clone()));
        let stored = session.put(source, Workers::of_this_thread(), NEVER).unwrap();
        session.tag(name, stored.id, NEVER).unwrap();
    }
    session.commit(NEVER).unwrap();
    let bytes = |store: &Store| store.check(&chunker::BatchOptions::default(), NEVER).unwrap().bytes;
    let before = bytes(&store);
    store.remove_tag("large", If::Any).unwrap();
    let collected = store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap();
    assert!((20_000..40_000).contains(&collected.rewritten_bytes), "{collected:?}");
    let after = bytes(&store);
    assert_eq!(before + collected.rewritten_bytes - collected.deleted_bytes, after - 2 * (32 + 16));
    assert!(after < 40_000, "{after}");
    let id = store.tag("small").unwrap().unwrap();
    assert!(read(&store, &id) == small);
    assert!(read(&open(folder.path()), &id) == small);
    // Now they are not.
    let collected = store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap();
    assert_eq!((collected.rewritten_bytes, collected.deleted_packs), (0, 0));
}

#[test]
fn many_small_packs_become_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut random = Random::new(8);
    let contents: Vec<_> = (0..40).map(|number| random.bytes(100 * number)).collect();
    let ids: Vec<_> = contents
        .iter()
        .map(|content| put(&store, Some("x"), content).unwrap_or_else(|e| panic!("{e}")))
        .collect();
    for (number, id) in ids.iter().enumerate() {
        store.set_tag(&format!("object/{number}"), id, If::Any, NEVER).unwrap();
    }
    let collected = store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap();
    assert_eq!(collected.packs, 2);
    for (id, content) in ids.iter().zip(&contents) {
        assert!(read(&store, id) == *content);
    }
    let report = store.check(&chunker::BatchOptions::default(), NEVER).unwrap();
    assert!(report.is_good(), "{report:?}");
    assert_eq!(report.objects, 40);
    let collected = store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap();
    assert_eq!((collected.packs, collected.deleted_packs), (2, 0));
}

#[test]
fn what_killed_writers_left_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (store, other) = (open(folder.path()), open(folder.path()));
    put(&store, Some("a"), b"content").unwrap();
    put(&other, Some("b"), b"content").unwrap();
    let tmp = folder.path().join("tmp");
    std::fs::write(tmp.join("0123456789abcdef-7"), "half").unwrap();
    std::fs::write(tmp.join("0123456789abcdef.lock"), "").unwrap();
    std::fs::write(tmp.join("00000000000000aa-0"), "half").unwrap();
    other.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap();
    let left = || -> Vec<_> {
        let names = std::fs::read_dir(&tmp).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| !name.to_str().unwrap().ends_with(".lock")).collect()
    };
    assert_eq!(left(), Vec::<std::ffi::OsString>::new());
    // Both handles have written.
    assert_eq!(std::fs::read_dir(&tmp).unwrap().count(), 2);
    drop((store, other));
    assert_eq!(std::fs::read_dir(&tmp).unwrap().count(), 0);
}

#[test]
fn durability_is_the_same_for_all_who_write() {
    let folder = tempfile::tempdir().unwrap();
    let with = |durable| {
        let mut options = super::small_chunks();
        options.format.durable = durable;
        Store::open(folder.path(), &options)
    };
    assert!(!with(Some(false)).unwrap().format().durable);
    assert!(!with(None).unwrap().format().durable);
    let error = with(Some(true)).unwrap_err();
    assert_eq!(error.code(), "invalid_options");
    assert!(error.to_string().contains("durability"), "{error}");
}

#[test]
fn a_session_with_an_open_put_cannot_commit() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let content = Random::new(11).bytes(5000);
    let mut session = store.session().unwrap();
    // It has taken chunks on that the next put then finds.
    let mut pieces = session.pieces(Workers::of_this_thread()).unwrap();
    pieces.push(&content, NEVER).unwrap();
    let source = chunker::io::source::FromRead(Cursor::new(content.clone()));
    let stored = session.put(source, Workers::of_this_thread(), NEVER).unwrap();
    session.tag("a", stored.id, NEVER).unwrap();
    assert_eq!(session.commit(NEVER).unwrap_err().code(), "cancelled");
    assert_eq!(store.tag("a").unwrap(), None);
    let id = put(&store, Some("a"), &content).unwrap();
    assert!(read(&store, &id) == content);
}

#[test]
fn a_commit_of_many_objects_has_several_records() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut session = store.session().unwrap();
    let stored = session
        .put(chunker::io::source::FromRead(&b"content"[..]), Workers::of_this_thread(), NEVER)
        .unwrap();
    for number in 0..30_000 {
        session.tag(&format!("tag {number}"), stored.id, NEVER).unwrap();
    }
    // A collection that fences it lets it look again at all of them.
    put(&store, Some("garbage"), b"garbage").unwrap();
    store.remove_tag("garbage", If::Any).unwrap();
    assert!(
        open(folder.path()).collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap().deleted_packs
            > 0
    );
    session.commit(NEVER).unwrap();
    assert_eq!(store.tags("").unwrap().len(), 30_000);
    store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap();
    assert_eq!(read(&store, &stored.id), b"content");
}

#[test]
fn what_is_no_object_is_not_found_and_what_is_not_whole_gets_no_tag() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let content = Random::new(12).bytes(60);
    let stored = store.put(Cursor::new(content), Some("a"), Workers::of_this_thread(), NEVER).unwrap();
    // The digest of the only chunk.
    assert_eq!(store.manifest(&stored.hash).unwrap_err().code(), "not_found");
    std::fs::remove_dir_all(folder.path().join("packs")).unwrap();
    // This one has the file still open.
    drop(store);
    let store = open(folder.path());
    assert!(store.manifest(&stored.id).is_ok());
    match store.set_tag("b", &stored.id, If::Any, NEVER) {
        Err(chunker::Error::Store(StoreError::ChunkMissing { digests })) => {
            assert_eq!(digests, [stored.hash]);
        }
        other => panic!("{other:?}"),
    }
}
