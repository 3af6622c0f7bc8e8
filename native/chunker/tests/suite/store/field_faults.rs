//! What stores of others got wrong, where it takes a look at single operations.
//! test/store_field_faults_test.exs has what shows from outside, and collections.rs the faults of garbage
//! collections.

use std::io::{self, Cursor};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use chunker::cdc::Options;
use chunker::engine::workers::Workers;
use chunker::hash::Digest;
use chunker::io::source::FromRead;
use chunker::store::{FormatOptions, If, Store, StoreOptions};
use chunker::{BatchOptions, ErrorCode, NEVER};

use super::simulated_disk::Random;
use super::small_chunks;
use super::watched_disk::{Operation, WatchedDisk};

fn open(folder: &Path) -> Store {
    Store::open(folder, &small_chunks()).unwrap()
}

fn put(store: &Store, name: &str, content: &[u8]) -> chunker::store::Stored {
    store.put(Cursor::new(content.to_vec()), Some(name), Workers::of_this_thread(), NEVER).unwrap()
}

fn read(store: &Store, id: &Digest) -> Vec<u8> {
    store.read(id, .., Workers::of_this_thread(), NEVER).unwrap()
}

/// Returns the files below a folder.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let (mut folders, mut files) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { &mut folders } else { &mut files }.push(path);
        }
    }
    files.sort();
    files
}

#[test]
fn chunks_of_a_failed_upload_are_not_relied_on() {
    // Several packs, so that some of them are there as a whole when the disk is full.
    let content = Random::new(1).bytes(20 << 20);
    let chunking = Options::with_average(65_536);
    let options = StoreOptions {
        format: FormatOptions { chunking: Some(chunking), ..FormatOptions::default() },
        ..StoreOptions::default()
    };
    // From which write of how many on the disk is full; each pack takes one write, and each segment several.
    let mut failed = 0;
    for full in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let disk = WatchedDisk::new(folder.path());
        let store = Store::on_disk(disk.clone(), "watched".into(), &options).unwrap();
        let mut writes = 0;
        disk.watch(move |operation, path| {
            if operation == Operation::Write && path.starts_with("tmp/") {
                writes += 1;
                if writes > full {
                    return Err(io::Error::from(io::ErrorKind::StorageFull));
                }
            }
            Ok(())
        });
        let put =
            |name| store.put(Cursor::new(content.clone()), Some(name), Workers::of_this_thread(), NEVER);
        let first = put("a");
        disk.unwatch();
        let Err(error) = first else { break };
        failed += 1;
        assert_eq!(error.code(), "io_error", "{full}");
        assert_eq!(store.tag("a").unwrap(), None, "{full}");
        // Through the same handle, which has seen the first upload.
        let stored = put("a").unwrap();
        let other = Store::open(folder.path(), &options).unwrap();
        assert!(read(&other, &stored.id) == content, "{full}");
        let report = other.check(&BatchOptions::default(), NEVER).unwrap();
        assert!(report.is_good(), "{full}: {report:?}");
        // What the first one has left is not in the way of anything. If it had committed, and lacked room for
        // its tag, that is set once its process has ended.
        drop(store);
        other.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap();
        other.remove_tag("a", If::Any).unwrap();
        other.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap();
        assert_eq!(other.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap().packs, 0, "{full}");
    }
    assert!(failed > 5, "{failed}");
}

#[test]
fn a_stale_index_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    // It gets to know the segments of today, and keeps their pages.
    let stale = open(folder.path());
    let content = Random::new(2).bytes(50_000);
    let stored = put(&store, "a", &content);
    put(&store, "other", b"other");
    let mut chunks = store.chunks(&stored.id).unwrap();
    let mut digests = Vec::new();
    while let Some(chunk) = chunks.next_chunk().unwrap() {
        digests.push(chunk.digest);
    }
    assert!(read(&stale, &stored.id) == content);
    assert_eq!(stale.missing(&digests, NEVER).unwrap(), []);
    let segments: Vec<_> = files(&folder.path().join("index"))
        .into_iter()
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    store.remove_tag("a", If::Any).unwrap();
    assert!(store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap().deleted_packs > 0);
    // As a backup or a slow network file system may bring them back.
    for (path, bytes) in segments {
        std::fs::write(path, bytes).unwrap();
    }
    for store in [&stale, &store, &open(folder.path())] {
        assert_eq!(store.missing(&digests, NEVER).unwrap(), digests);
        let error = store.read(&stored.id, .., Workers::of_this_thread(), NEVER).unwrap_err();
        // A handle may have its manifest, in a file that it has open.
        assert!(["not_found", "chunk_missing"].contains(&error.code()), "{error}");
        let again = put(store, "a", &content);
        assert_eq!((again.id, again.new_chunks), (stored.id, stored.chunk_count));
        assert!(read(&open(folder.path()), &stored.id) == content);
        store.remove_tag("a", If::Any).unwrap();
        assert!(store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap().deleted_packs > 0);
    }
    assert!(open(folder.path()).check(&BatchOptions::default(), NEVER).unwrap().is_good());
}

/// Counts operations on the index and on packs.
#[derive(Default)]
struct Counts {
    index_reads: AtomicU64,
    pack_lookups: AtomicU64,
}

#[test]
fn lookups_of_a_large_object_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let content = Random::new(3).bytes(8 << 20);
    let stored = put(&open(folder.path()), "a", &content);
    let chunks = stored.chunk_count;
    assert!(chunks > 20_000, "{chunks}");
    // Each page of the index has 85 entries, and is read once.
    let (pages, packs) = (chunks / 85 + 10, 4);
    let disk = WatchedDisk::new(folder.path());
    let counts = Arc::new(Counts::default());
    let counted = Arc::clone(&counts);
    disk.watch(move |operation, path| {
        match operation {
            Operation::ReadAt(_) if path.starts_with("index/") => &counted.index_reads,
            Operation::Length if path.starts_with("packs/") => &counted.pack_lookups,
            _ => return Ok(()),
        }
        .fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
    let judge = |what: &str, times: u64| {
        let (reads, lookups) = (take(&counts.index_reads), take(&counts.pack_lookups));
        assert!(reads <= pages * times, "{what}: {reads} reads of the index for {chunks} chunks");
        assert!(lookups <= packs * times, "{what}: {lookups} lookups of packs for {chunks} chunks");
    };
    assert!(read(&disk.store(), &stored.id) == content);
    judge("read", 2);
    let store = disk.store();
    let mut digests = Vec::new();
    let mut all = store.chunks(&stored.id).unwrap();
    while let Some(chunk) = all.next_chunk().unwrap() {
        digests.push(chunk.digest);
    }
    judge("chunks", 1);
    assert_eq!(store.missing(&digests, NEVER).unwrap(), []);
    judge("missing", 2);
    assert_eq!(put(&disk.store(), "b", &content).new_chunks, 0);
    judge("put", 2);
    disk.store().set_tag("c", &stored.id, If::Any, NEVER).unwrap();
    judge("tag", 2);
    // Twice to mark, and once to look for packs that are not in the index.
    disk.store().collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap();
    judge("gc", 4);
}

#[test]
fn half_of_the_metadata_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut random = Random::new(4);
    let objects: Vec<(String, Vec<u8>, Digest)> = (0..8)
        .map(|number| {
            let (name, content) = (format!("object/{number}"), random.bytes(5000));
            let id = put(&store, &name, &content).id;
            (name, content, id)
        })
        .collect();
    let mut meta = files(&folder.path().join("meta"));
    assert_eq!(meta.len(), 8);
    for path in meta.split_off(4) {
        std::fs::remove_file(path).unwrap();
    }
    let chunks = files(&folder.path().join("packs"));
    let store = open(folder.path());
    // The other half is as good as before, and each object is either there or an error.
    let lost: Vec<_> = objects
        .iter()
        .filter(|(_, content, id)| match store.read(id, .., Workers::of_this_thread(), NEVER) {
            Ok(read) => {
                assert!(read == *content);
                false
            }
            Err(error) => {
                assert_eq!(error.code(), "not_found");
                true
            }
        })
        .collect();
    assert_eq!(lost.len(), 4);
    let report = store.check(&BatchOptions::default(), NEVER).unwrap();
    let mut incomplete: Vec<_> = report.incomplete.iter().flat_map(|object| object.tags.clone()).collect();
    incomplete.sort();
    assert_eq!(incomplete, lost.iter().map(|(name, ..)| name.clone()).collect::<Vec<_>>());
    // It is not known what they need: nothing is deleted.
    assert_eq!(
        store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap_err().code(),
        "chunk_missing"
    );
    assert_eq!(files(&folder.path().join("packs")), chunks);
    for (name, content, id) in &objects {
        let stored = put(&store, name, content);
        assert_eq!((stored.id, stored.new_chunks), (*id, 0), "their chunks were there all the time");
    }
    assert_eq!(store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap().objects, 8);
    assert!(store.check(&BatchOptions::default(), NEVER).unwrap().is_good());
}

#[test]
fn opening_after_a_kill_reads_little() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let disk = WatchedDisk::new(folder.path());
    let store = disk.store();
    let content = Random::new(5).bytes(40 << 20);
    put(&store, "a", &content);
    // One session that is killed while it puts, and one that is killed between its commit and its tags.
    let mut session = store.session().unwrap();
    let source = FromRead(Cursor::new(Random::new(6).bytes(20 << 20)));
    session.put(source, Workers::of_this_thread(), NEVER).unwrap();
    disk.watch(|operation, path| match operation {
        Operation::Rename if path.starts_with("refs/") => Err(io::Error::other("killed")),
        _ => Ok(()),
    });
    let killed = store.put(Cursor::new(b"content".to_vec()), Some("b"), Workers::of_this_thread(), NEVER);
    assert_eq!(killed.unwrap_err().code(), "io_error");
    disk.kill();
    drop((session, store));
    assert_eq!(files(&folder.path().join("sessions")).len(), 2);

    let disk = WatchedDisk::new(folder.path());
    let (bytes, packs) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Vec::new())));
    let (counted, touched, root) = (Arc::clone(&bytes), Arc::clone(&packs), folder.path().to_owned());
    disk.watch(move |operation, path| {
        let length = match operation {
            Operation::Read => std::fs::metadata(root.join(path)).map_or(0, |file| file.len()),
            Operation::ReadAt(length) => length,
            _ => 0,
        };
        counted.fetch_add(length, Ordering::Relaxed);
        if path.starts_with("packs") {
            touched.lock().unwrap().push((operation, path.to_owned()));
        }
        Ok(())
    });
    let store = disk.store();
    // Its index has 8 bytes in memory for each page, and pages were read to finish the session.
    let index: u64 =
        files(&folder.path().join("index")).iter().map(|path| path.metadata().unwrap().len()).sum();
    let bytes = bytes.load(Ordering::Relaxed);
    assert!(bytes < index / 100 + (64 << 10), "{bytes} bytes, of an index of {index}");
    assert_eq!(*packs.lock().unwrap(), []);
    assert_eq!(
        store.read(&store.tag("b").unwrap().unwrap(), .., Workers::of_this_thread(), NEVER).unwrap(),
        b"content"
    );
}
