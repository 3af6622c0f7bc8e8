//! Lets a process sleep before each of its operations on files, while another one does all that it has to do;
//! and kills one before each. model.rs explores the same with any number of switches, but in a model.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use chunker::engine::workers::Workers;
use chunker::hash::Digest;
use chunker::io::source::FromRead;
use chunker::store::{If, Store};
use chunker::{BatchOptions, ErrorCode, NEVER};

use super::simulated_disk::Random;
use super::small_chunks;
use super::watched_disk::{Operation, WatchedDisk};

fn open(folder: &Path) -> Store {
    Store::open(folder, &small_chunks()).unwrap()
}

fn put(store: &Store, name: &str, content: &[u8]) -> Result<Digest, chunker::Error> {
    let content = io::Cursor::new(content.to_vec());
    Ok(store.put(content, Some(name), Workers::of_this_thread(), NEVER)?.id)
}

fn read(store: &Store, id: &Digest) -> Vec<u8> {
    store.read(id, .., Workers::of_this_thread(), NEVER).unwrap()
}

fn collect(store: &Store) {
    store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap();
}

fn untag(store: &Store, name: &str) {
    assert!(store.remove_tag(name, If::Any).unwrap());
}

/// Returns whether another process can do anything at that moment: nothing waits for a lock that is held
/// there.
fn is_free(operation: Operation, path: &str) -> bool {
    match operation {
        Operation::Lock => path == "lock",
        Operation::ReadAt(_) | Operation::Length => true,
        _ => false,
    }
}

/// Runs `sleeper` with a store again and again, and `others` before its first, second, ... operation, until
/// it has no more. `set_up` prepares each store, and `judge` checks it.
fn interleave<T>(
    set_up: impl Fn(&Store),
    sleeper: impl Fn(&Store) -> T,
    others: impl Fn(&Store) + Send + Clone + 'static,
    judge: impl Fn(&Store, T, &str),
) {
    for moment in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let mut options = small_chunks();
        options.format.deltas = Some(cfg!(feature = "zstd"));
        set_up(&Store::open(folder.path(), &options).unwrap());
        let disk = WatchedDisk::new(folder.path());
        let store = disk.store();
        let (path, others) = (folder.path().to_owned(), others.clone());
        let slept = Arc::new(Mutex::new(None));
        let (mut count, noted) = (0, Arc::clone(&slept));
        disk.watch(move |operation, object| {
            if is_free(operation, object) {
                if count == moment {
                    *noted.lock().unwrap() = Some(format!("before {moment}: {operation:?} of {object}"));
                    others(&open(&path));
                }
                count += 1;
            }
            Ok(())
        });
        let result = sleeper(&store);
        disk.unwatch();
        let Some(why) = slept.lock().unwrap().take() else {
            assert!(moment > 5, "only {moment} moments");
            return;
        };
        let store = open(folder.path());
        judge(&store, result, &why);
        let report = store.check(&BatchOptions::default(), NEVER).unwrap();
        assert!(report.is_good(), "{why}: {report:?}");
        for (name, _) in store.tags("").unwrap() {
            untag(&store, &name);
        }
        store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap();
        assert_eq!(store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap().packs, 0, "{why}");
    }
}

fn contents() -> (Vec<u8>, Vec<u8>) {
    let mut random = Random::new(1);
    let (shared, new) = (random.bytes(6000), random.bytes(3000));
    (shared.clone(), [shared, new].concat())
}

/// A store with garbage of which the next object has some.
fn garbage(store: &Store) {
    put(store, "kept", b"kept").unwrap();
    put(store, "garbage", &contents().0).unwrap();
    untag(store, "garbage");
}

#[test]
fn a_writer_sleeps_anywhere_while_garbage_is_collected() {
    let content = contents().1;
    let results = Mutex::new(BTreeSet::new());
    interleave(
        garbage,
        |store| put(store, "a", &content),
        collect,
        |store, result, why| {
            let code = result.as_ref().map_or_else(ErrorCode::code, |_| "ok");
            results.lock().unwrap().insert(code);
            match result {
                Ok(id) => assert_eq!(store.tag("a").unwrap(), Some(id), "{why}"),
                Err(error) => {
                    assert_eq!(error.code(), "session_fenced", "{why}");
                    assert_eq!(store.tag("a").unwrap(), None, "{why}");
                    put(store, "a", &content).unwrap();
                }
            }
            store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap();
            let id = store.tag("a").unwrap().unwrap();
            assert!(read(store, &id) == content, "{why}");
        },
    );
    // Both happen.
    assert_eq!(results.into_inner().unwrap(), BTreeSet::from(["ok", "session_fenced"]));
}

#[test]
fn a_file_is_put_whenever_garbage_is_collected() {
    let content = contents().1;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &content).unwrap();
    interleave(
        garbage,
        |store| store.put_file(file.path(), Some("a"), Workers::of_this_thread(), None, NEVER),
        collect,
        |store, result, why| {
            let id = result.unwrap_or_else(|error| panic!("{why}: {error}")).id;
            assert_eq!(store.tag("a").unwrap(), Some(id), "{why}");
            assert!(read(store, &id) == content, "{why}");
        },
    );
}

#[test]
fn a_collection_sleeps_anywhere_while_others_write() {
    let content = contents().1;
    let written = content.clone();
    interleave(
        garbage,
        |store| store.collect_garbage(Workers::of_this_thread(), None, NEVER),
        move |other| {
            let id = put(other, "a", &written).unwrap();
            assert!(read(other, &id) == written);
            untag(other, "kept");
        },
        |store, result, why| {
            result.unwrap_or_else(|error| panic!("{why}: {error}"));
            let id = store.tag("a").unwrap().unwrap();
            assert!(read(store, &id) == content, "{why}");
            assert_eq!(store.tag("kept").unwrap(), None, "{why}");
        },
    );
}

#[test]
fn a_reader_sleeps_anywhere_while_garbage_is_collected() {
    let content = contents().1;
    interleave(
        |store| {
            garbage(store);
            put(store, "a", &content).unwrap();
        },
        |store| read(store, &store.tag("a").unwrap().unwrap()),
        collect,
        |_, result, why| assert!(result == content, "{why}"),
    );
}

#[test]
fn a_session_that_found_garbage_outlives_a_collection_that_is_killed_anywhere() {
    let (shared, content) = contents();
    for moment in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        garbage(&store);
        let mut session = store.session().unwrap();
        for bytes in [&shared, &content] {
            let source = chunker::io::source::FromRead(io::Cursor::new(bytes.clone()));
            let stored = session.put(source, Workers::of_this_thread(), NEVER).unwrap();
            session.tag("a", stored.id, NEVER).unwrap();
        }
        let disk = WatchedDisk::new(folder.path());
        let collector = disk.store();
        let mut count = 0;
        disk.watch(move |operation, _| {
            let is_change = matches!(operation, Operation::Write | Operation::Rename | Operation::Remove);
            count += usize::from(is_change);
            if is_change && count > moment { Err(io::Error::other("killed")) } else { Ok(()) }
        });
        let collected = collector.collect_garbage(Workers::of_this_thread(), None, NEVER);
        let is_whole = collected.is_ok();
        match session.commit(NEVER) {
            Ok(()) => {}
            Err(error) => {
                assert_eq!(error.code(), "session_fenced", "{moment}");
                put(&store, "a", &content).unwrap();
            }
        }
        let id = store.tag("a").unwrap().unwrap();
        assert!(read(&open(folder.path()), &id) == content, "{moment}");
        store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap();
        assert!(read(&open(folder.path()), &id) == content, "{moment}");
        assert!(store.check(&BatchOptions::default(), NEVER).unwrap().is_good(), "{moment}");
        if is_whole {
            assert!(moment > 5, "{moment}");
            return;
        }
    }
}

/// Puts an object that stays and one that does not into the same packs, so that a collection rewrites them.
fn live_beside_garbage(store: &Store) {
    let mut random = Random::new(3);
    let mut session = store.session().unwrap();
    for (name, length) in [("live", 3000), ("garbage", 30_000)] {
        let content = io::Cursor::new(random.bytes(length));
        let stored = session.put(FromRead(content), Workers::of_this_thread(), NEVER).unwrap();
        session.tag(name, stored.id, NEVER).unwrap();
    }
    session.commit(NEVER).unwrap();
    untag(store, "garbage");
}

fn live_content() -> Vec<u8> {
    Random::new(3).bytes(3000)
}

#[test]
fn an_object_gets_another_tag_while_its_packs_are_rewritten() {
    interleave(
        live_beside_garbage,
        collect,
        |store| {
            let id = store.tag("live").unwrap().unwrap();
            store.set_tag("other", &id, If::Any, NEVER).unwrap();
            untag(store, "live");
        },
        |store, (), why| {
            collect(store);
            let id = store.tag("other").unwrap().unwrap_or_else(|| panic!("{why}"));
            assert!(read(store, &id) == live_content(), "{why}");
        },
    );
}

#[test]
fn a_put_that_found_its_chunks_is_not_fenced_while_their_packs_are_rewritten() {
    interleave(
        live_beside_garbage,
        |store| put(store, "other", &live_content()),
        collect,
        |store, result, why| {
            let id = result.unwrap_or_else(|error| panic!("{why}: {error}"));
            assert!(read(store, &id) == live_content(), "{why}");
        },
    );
}

#[test]
fn a_handle_finds_chunks_that_another_one_has_rewritten() {
    let folder = tempfile::tempdir().unwrap();
    let (store, other) = (open(folder.path()), open(folder.path()));
    live_beside_garbage(&store);
    let id = store.tag("live").unwrap().unwrap();
    let mut digests = Vec::new();
    let mut chunks = other.chunks(&id).unwrap();
    while let Some(chunk) = chunks.next_chunk().unwrap() {
        digests.push(chunk.digest);
    }
    assert_eq!(other.missing(&digests, NEVER).unwrap(), []);
    assert!(store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap().rewritten_bytes > 3000);
    assert_eq!(other.missing(&digests, NEVER).unwrap(), []);
}

#[test]
fn an_upload_during_two_collections_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (writer, collector) = (open(folder.path()), open(folder.path()));
    let mut random = Random::new(6);
    // More than a pack.
    let content = random.bytes(18 << 20);
    let mut session = writer.session().unwrap();
    let stored = session.put(FromRead(io::Cursor::new(content)), Workers::of_this_thread(), NEVER).unwrap();
    session.tag("a", stored.id, NEVER).unwrap();
    let uploaded = || std::fs::read_dir(folder.path().join("packs")).is_ok_and(|folders| folders.count() > 0);
    while !uploaded() {
        std::thread::yield_now();
    }
    for _ in 0..2 {
        put(&collector, "garbage", &random.bytes(9000)).unwrap();
        untag(&collector, "garbage");
        collect(&collector);
    }
    session.commit(NEVER).unwrap();
    assert_eq!(read(&writer, &stored.id).len(), 18 << 20);
}

#[test]
fn an_open_handle_survives_the_loss_of_folders() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut random = Random::new(7);
    for lost in ["packs", "meta", "index", "tmp", "sessions", "refs"] {
        let content = random.bytes(3000);
        put(&store, "a", &content).unwrap();
        std::fs::remove_dir_all(folder.path().join(lost)).unwrap();
        let id = put(&store, "a", &content).unwrap_or_else(|error| panic!("{lost}: {error}"));
        assert!(read(&store, &id) == content, "{lost}");
    }
}

#[test]
fn tags_that_could_not_be_set_are_set_with_the_next_session() {
    let folder = tempfile::tempdir().unwrap();
    let disk = WatchedDisk::new(folder.path());
    let store = disk.store();
    put(&store, "first", b"first").unwrap();
    disk.watch(|operation, path| {
        // As on a full disk.
        if operation == Operation::Rename && path.starts_with("refs/") {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(())
    });
    assert_eq!(put(&store, "second", b"second").unwrap_err().code(), "io_error");
    assert_eq!(open(folder.path()).tag("second").unwrap(), None);
    disk.watch(|_, _| Ok(()));
    put(&store, "third", b"third").unwrap();
    let id = store.tag("second").unwrap().expect("it was committed");
    assert_eq!(read(&store, &id), b"second");
    assert_eq!(std::fs::read_dir(folder.path().join("sessions")).unwrap().count(), 0);
}

#[test]
fn a_tag_that_was_removed_is_not_set_again_for_a_writer_that_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let other = open(folder.path());
    let disk = WatchedDisk::new(folder.path());
    let killed = disk.store();
    disk.watch(|operation, path| {
        // After its tags are set, and before its session is removed.
        if operation == Operation::Remove && path.starts_with("sessions/") {
            return Err(io::Error::other("killed"));
        }
        Ok(())
    });
    put(&killed, "a", b"content").unwrap_err();
    drop(killed);
    assert!(other.tag("a").unwrap().is_some());
    assert!(other.remove_tag("a", If::Any).unwrap());
    assert_eq!(open(folder.path()).tag("a").unwrap(), None);
    other.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap();
    assert_eq!(other.tag("a").unwrap(), None);
}

/// Returns the number of files in a folder and below it.
fn files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

/// Lets a process put an object in a session, calls `others` once the tag is set and the session has not ended,
/// kills the process, and lets others finish what it began.
fn kill_before_the_end(
    set_up: impl Fn(&Store),
    name: Option<&str>,
    others: impl Fn(&Store, &Digest) + Send + 'static,
    judge: impl Fn(&Store, &Digest),
) {
    let content = b"content";
    let id = put(&open(tempfile::tempdir().unwrap().path()), "a", content).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let other = open(folder.path());
    set_up(&other);
    let disk = WatchedDisk::new(folder.path());
    let killed = disk.store();
    let (mut is_set, mut is_done) = (false, false);
    let named = if name.is_some() { "refs/" } else { "kept/" };
    disk.watch(move |operation, path| {
        is_set |= operation == Operation::Rename && path.starts_with(named);
        // The next lock is that for the end of the session.
        if is_set && !is_done && operation == Operation::Lock && path == "lock" {
            is_done = true;
            others(&other, &id);
        }
        if is_done && operation == Operation::Remove && path.starts_with("sessions/") {
            return Err(io::Error::other("killed"));
        }
        Ok(())
    });
    killed.put(&content[..], name, Workers::of_this_thread(), NEVER).unwrap_err();
    drop(killed);
    let store = open(folder.path());
    judge(&store, &id);
    assert_eq!(std::fs::read_dir(folder.path().join("sessions")).unwrap().count(), 0);
    store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap();
    judge(&store, &id);
    store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap();
    // Nothing is left of what was removed.
    let names = ["refs", "kept"].map(|names| files(&folder.path().join(names)));
    assert_eq!(names.iter().sum::<usize>(), store.tags("").unwrap().len());
}

#[test]
fn a_tag_that_is_removed_before_its_writer_is_killed_does_not_come_back() {
    kill_before_the_end(
        |_| {},
        Some("a"),
        |other, _| untag(other, "a"),
        |store, _| assert_eq!(store.tag("a").unwrap(), None),
    );
}

#[test]
fn a_tag_that_is_set_back_before_its_writer_is_killed_stays() {
    let before = || put(&open(tempfile::tempdir().unwrap().path()), "a", b"before").unwrap();
    kill_before_the_end(
        |store| {
            put(store, "a", b"before").unwrap();
        },
        Some("a"),
        move |other, _| other.set_tag("a", &before(), If::Any, NEVER).unwrap(),
        |store, id| {
            let named = store.tag("a").unwrap().unwrap();
            assert!(named != *id);
            assert_eq!(read(store, &named), b"before");
        },
    );
}

#[test]
fn a_tag_that_is_removed_and_set_again_before_its_writer_is_killed_can_be_removed() {
    kill_before_the_end(
        |_| {},
        Some("a"),
        |other, id| {
            untag(other, "a");
            other.set_tag("a", id, If::Absent, NEVER).unwrap();
            untag(other, "a");
        },
        |store, _| assert_eq!(store.tag("a").unwrap(), None),
    );
}

#[test]
fn an_object_that_is_let_go_before_its_writer_is_killed_is_not_kept() {
    kill_before_the_end(
        |_| {},
        None,
        |other, id| assert!(other.forget(id).unwrap()),
        |store, id| {
            assert!(!store.forget(id).unwrap());
            assert_eq!(store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap().objects, 0);
        },
    );
}

#[test]
fn a_damaged_tag_is_set_also_if_it_is_repaired_in_the_meantime() {
    let folder = tempfile::tempdir().unwrap();
    let other = open(folder.path());
    put(&other, "a", b"before").unwrap();
    std::fs::write(folder.path().join("refs/a="), "id 1\n").unwrap();
    let disk = WatchedDisk::new(folder.path());
    let store = disk.store();
    let (mut is_read, mut is_done) = (false, false);
    disk.watch(move |operation, path| {
        is_read |= operation == Operation::Read && path == "refs/a=";
        if is_read && !is_done && operation == Operation::Lock && path == "lock" {
            is_done = true;
            assert_eq!(other.repair(&BatchOptions::default(), NEVER).unwrap().damage.len(), 1);
            assert_eq!(other.tag("a").unwrap(), None);
        }
        Ok(())
    });
    let id = put(&store, "a", b"content").unwrap();
    assert_eq!(store.tag("a").unwrap(), Some(id));
}

/// Puts a version of a content whose chunks are deltas of an object that nothing names.
#[cfg(feature = "zstd")]
fn put_version(store: &Store, base: Digest) -> Result<Digest, chunker::Error> {
    let mut content = contents().1;
    content.iter_mut().step_by(200).for_each(|byte| *byte ^= 1);
    let target = chunker::store::PutAs { name: Some("version"), base: Some(base) };
    Ok(store.put(io::Cursor::new(content), target, Workers::of_this_thread(), NEVER)?.id)
}

/// Returns a store with garbage, and the id of an object of it.
#[cfg(feature = "zstd")]
fn garbage_base(store: &Store) -> Digest {
    let id = put(store, "base", &contents().1).unwrap();
    untag(store, "base");
    id
}

#[cfg(feature = "zstd")]
#[test]
fn deltas_that_are_committed_during_a_collection_keep_their_bases() {
    let base = garbage_base(&open(tempfile::tempdir().unwrap().path()));
    let deltas = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&deltas);
    interleave(
        |store| {
            garbage_base(store);
        },
        collect,
        move |store| {
            put_version(store, base).unwrap();
            *counted.lock().unwrap() += store.stats(NEVER).unwrap().deltas;
        },
        |store, (), why| {
            let id = store.tag("version").unwrap().expect(why);
            store.read(&id, .., Workers::of_this_thread(), NEVER).unwrap_or_else(|e| panic!("{why}: {e}"));
        },
    );
    assert!(*deltas.lock().unwrap() > 100);
}

#[cfg(feature = "zstd")]
#[test]
fn a_writer_of_deltas_sleeps_anywhere_while_their_bases_are_collected() {
    let base = garbage_base(&open(tempfile::tempdir().unwrap().path()));
    interleave(
        |store| {
            garbage_base(store);
        },
        |store| put_version(store, base),
        collect,
        |store, result, why| match result {
            Ok(id) => {
                store
                    .read(&id, .., Workers::of_this_thread(), NEVER)
                    .unwrap_or_else(|e| panic!("{why}: {e}"));
            }
            Err(error) => assert_eq!(error.code(), "session_fenced", "{why}"),
        },
    );
}
