//! Reads stores that cannot be written to: for lack of permission, or since the file system is read-only.

use std::io::{self, Cursor, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use chunker::engine::workers::Workers;
use chunker::hash::Digest;
use chunker::store::{If, Store};
use chunker::{BatchOptions, ErrorCode, NEVER};

use super::simulated_disk::Random;
use super::small_chunks;
use super::watched_disk::{Operation, WatchedDisk};

const NAMES: [&str; 3] = ["a", "b/c", "d"];

fn content(name: &str) -> Vec<u8> {
    Random::new(name.len() as u64 + u64::from(name.as_bytes()[0])).bytes(5000)
}

fn store_in(folder: &Path) -> Store {
    let store = Store::open(folder, &small_chunks()).unwrap();
    for name in NAMES {
        store.put(Cursor::new(content(name)), Some(name), Workers::of_this_thread(), NEVER).unwrap();
    }
    store
}

/// Lets everything fail that changes a file of the folder, with a kind of error.
fn read_only(folder: &Path, kind: ErrorKind) -> WatchedDisk {
    let (disk, folder) = (WatchedDisk::new(folder), folder.to_owned());
    disk.watch(move |operation, path| match operation {
        Operation::Write | Operation::Rename | Operation::Remove | Operation::CreateFolder => {
            Err(io::Error::from(kind))
        }
        Operation::Lock if !folder.join(path).exists() => Err(io::Error::from(kind)),
        _ => Ok(()),
    });
    disk
}

type Lose = fn(&Path);

/// What may be missing or damaged of a store that is read-only.
const LOSSES: [(&str, Lose); 6] = [
    ("nothing", |_| {}),
    ("the lock", |folder| std::fs::remove_file(folder.join("lock")).unwrap()),
    ("the index", |folder| std::fs::remove_dir_all(folder.join("index")).unwrap()),
    ("tmp", |folder| std::fs::remove_dir_all(folder.join("tmp")).unwrap()),
    ("the start of each segment", |folder| damage_index(folder, 100)),
    ("the end of each segment", |folder| damage_index(folder, usize::MAX)),
];

fn damage_index(folder: &Path, at: usize) {
    for entry in std::fs::read_dir(folder.join("index")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let at = at.min(bytes.len() - 10);
        bytes[at] ^= 1;
        std::fs::write(path, bytes).unwrap();
    }
}

#[test]
fn a_store_is_read_without_permission_to_write() {
    for kind in [ErrorKind::ReadOnlyFilesystem, ErrorKind::PermissionDenied] {
        for (lost, lose) in LOSSES {
            let why = format!("{kind:?}, without {lost}");
            let folder = tempfile::tempdir().unwrap();
            drop(store_in(folder.path()));
            lose(folder.path());
            let before = tree(folder.path());
            let disk = read_only(folder.path(), kind);
            let store = disk.store();
            let tags = store.tags("").unwrap_or_else(|error| panic!("{why}: {error}"));
            assert_eq!(tags.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), NAMES, "{why}");
            let workers = Workers::of_this_thread();
            for (name, id) in tags {
                let content = content(&name);
                assert_eq!(store.tag(&name).unwrap(), Some(id), "{why}");
                assert_eq!(store.manifest(&id).unwrap().size, 5000, "{why}");
                assert!(store.read(&id, .., workers, NEVER).unwrap() == content, "{why}");
                assert!(store.read(&id, 10..20, workers, NEVER).unwrap() == content[10..20], "{why}");
                let restored = tempfile::NamedTempFile::new().unwrap();
                store.restore_file(&id, restored.path(), workers, None, NEVER).unwrap();
                assert!(std::fs::read(restored.path()).unwrap() == content, "{why}");
            }
            assert_eq!(store.missing(&[Digest([1; 32])], NEVER).unwrap().len(), 1, "{why}");
            for _ in 0..2 {
                let report = store.check(&BatchOptions::default(), NEVER).unwrap();
                assert_eq!(report.incomplete, [], "{why}");
                assert_eq!(report.damage.is_empty(), !lost.contains("segment"), "{why}: {report:?}");
            }
            assert_eq!(store.stats(NEVER).unwrap().tags, 3, "{why}");
            let put = store.put(Cursor::new(b"new"), Some("new"), workers, NEVER);
            assert_eq!(put.unwrap_err().code(), "io_error", "{why}");
            assert_eq!(store.remove_tag("a", If::Any).unwrap_err().code(), "io_error", "{why}");
            assert_eq!(
                store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap_err().code(),
                "io_error",
                "{why}"
            );
            assert_eq!(tree(folder.path()), before, "{why}");
            // The same handle, once it can write again.
            disk.unwatch();
            let stored = store.put(Cursor::new(content("new")), Some("new"), workers, NEVER).unwrap();
            assert!(store.read(&stored.id, .., workers, NEVER).unwrap() == content("new"), "{why}");
            store.check(&BatchOptions::default(), NEVER).unwrap();
            let fresh = Store::open(folder.path(), &small_chunks()).unwrap();
            let report = fresh.check(&BatchOptions::default(), NEVER).unwrap();
            assert!(report.is_good(), "{why}: {report:?}");
            assert!(fresh.stats(NEVER).unwrap().index_segments > 0, "{why}");
        }
    }
}

/// Returns the files of a folder and their lengths.
fn tree(folder: &Path) -> Vec<(String, u64)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(tree(&path));
        } else {
            files.push((path.display().to_string(), path.metadata().unwrap().len()));
        }
    }
    files.sort();
    files
}

#[test]
fn a_pack_that_is_whole_again_does_not_count_as_damaged_in_a_read_only_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = store_in(folder.path());
    let pack = files_below(&folder.path().join("packs")).remove(0);
    let bytes = std::fs::read(&pack).unwrap();
    let mut damaged = bytes.clone();
    damaged[100] ^= 1;
    std::fs::write(&pack, damaged).unwrap();
    assert!(!store.check(&BatchOptions::default(), NEVER).unwrap().is_good());
    drop(store);
    std::fs::write(&pack, bytes).unwrap();
    let store = read_only(folder.path(), ErrorKind::ReadOnlyFilesystem).store();
    for _ in 0..2 {
        let report = store.check(&BatchOptions::default(), NEVER).unwrap();
        assert!(report.is_good(), "{report:?}");
    }
}

#[test]
fn readers_at_once_read_what_the_index_lacks_once() {
    let folder = tempfile::tempdir().unwrap();
    drop(store_in(folder.path()));
    std::fs::remove_dir_all(folder.path().join("index")).unwrap();
    let packs = ["packs", "meta"].iter().map(|section| files_below(&folder.path().join(section)).len()).sum();
    let disk = WatchedDisk::new(folder.path());
    let store = disk.store();
    let footers: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&footers);
    disk.watch(move |operation, path| match operation {
        Operation::Write => Err(ErrorKind::ReadOnlyFilesystem.into()),
        Operation::Length if path.starts_with("packs/") || path.starts_with("meta/") => {
            seen.lock().unwrap().push(path.into());
            Ok(())
        }
        _ => Ok(()),
    });
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(store.missing(&[Digest([1; 32])], NEVER).unwrap().len(), 1));
        }
    });
    let mut footers = footers.lock().unwrap().clone();
    footers.sort();
    let read: usize = footers.len();
    footers.dedup();
    assert_eq!((read, footers.len()), (packs, packs));
}

#[test]
fn a_store_is_read_whose_folders_cannot_be_synced() {
    let folder = tempfile::tempdir().unwrap();
    drop(store_in(folder.path()));
    std::fs::remove_dir_all(folder.path().join("index")).unwrap();
    let disk = WatchedDisk::new(folder.path());
    // As squashfs does.
    disk.watch(|operation, path| match operation {
        Operation::Sync => Err(ErrorKind::InvalidInput.into()),
        Operation::Lock if path.starts_with("tmp/") => Err(ErrorKind::ReadOnlyFilesystem.into()),
        Operation::Write | Operation::Rename | Operation::Remove => Err(ErrorKind::ReadOnlyFilesystem.into()),
        _ => Ok(()),
    });
    let store = disk.store();
    for name in NAMES {
        let id = store.tag(name).unwrap().unwrap();
        assert!(store.read(&id, .., Workers::of_this_thread(), NEVER).unwrap() == content(name), "{name}");
    }
    // The same handle, once it can write again, relies on what it has found only when that is durable.
    disk.watch(|operation, path| match operation {
        Operation::Sync if path.starts_with("packs/") => Err(io::Error::other("not synced")),
        _ => Ok(()),
    });
    let put = || store.put(Cursor::new(content("a")), Some("again"), Workers::of_this_thread(), NEVER);
    assert_eq!(put().unwrap_err().code(), "io_error");
    disk.unwatch();
    put().unwrap();
}

#[test]
fn packs_that_cannot_be_made_durable_do_not_count_as_present() {
    for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded] {
        let folder = tempfile::tempdir().unwrap();
        drop(store_in(folder.path()));
        std::fs::remove_dir_all(folder.path().join("index")).unwrap();
        let disk = WatchedDisk::new(folder.path());
        let store = disk.store();
        disk.watch(move |operation, path| match operation {
            Operation::Sync if path.starts_with("packs/") => Err(kind.into()),
            _ => Ok(()),
        });
        let missing = store.missing(&[Digest([1; 32])], NEVER);
        assert_eq!(missing.unwrap_err().code(), "io_error", "{kind:?}");
        disk.unwatch();
        assert_eq!(store.missing(&[Digest([1; 32])], NEVER).unwrap().len(), 1, "{kind:?}");
    }
}

#[test]
fn a_collection_that_is_not_allowed_leaves_the_index() {
    let folder = tempfile::tempdir().unwrap();
    let store = store_in(folder.path());
    assert!(store.remove_tag("a", If::Any).unwrap());
    drop(store);
    let before = files_below(&folder.path().join("index"));
    let disk = WatchedDisk::new(folder.path());
    let store = disk.store();
    disk.watch(|operation, path| match operation {
        Operation::Rename if path == "condemned" => Err(ErrorKind::PermissionDenied.into()),
        _ => Ok(()),
    });
    let collected = store.collect_garbage(Workers::of_this_thread(), None, NEVER);
    assert_eq!(collected.unwrap_err().code(), "io_error");
    assert_eq!(files_below(&folder.path().join("index")), before);
}

/// Returns the paths of the files of a folder.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    tree(folder).into_iter().map(|(path, _)| path.into()).collect()
}
