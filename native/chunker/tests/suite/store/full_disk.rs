//! Collects garbage on a disk that is full.

use std::io::Cursor;
use std::path::PathBuf;

use chunker::engine::workers::Workers;
use chunker::error::{Error, IoError};
use chunker::store::{If, Store};
use chunker::{BatchOptions, ErrorCode, NEVER};

use super::simulated_disk::{Random, SimulatedDisk};
use super::small_chunks;

fn open(disk: &SimulatedDisk) -> Store {
    Store::on_disk(disk.clone(), PathBuf::from("simulated"), &small_chunks()).unwrap()
}

fn workers() -> Workers {
    Workers::of_this_thread()
}

fn content(seed: u64) -> Vec<u8> {
    Random::new(seed).bytes(5000)
}

/// A store with two objects in packs of their own, and two that share packs, most of which the first has.
fn store_on(disk: &SimulatedDisk) -> Store {
    let store = open(disk);
    for (name, seed) in [("live", 1), ("garbage", 2)] {
        store.put(Cursor::new(content(seed)), Some(name), workers(), NEVER).unwrap();
    }
    let mut session = store.session().unwrap();
    let (large, small) = (Random::new(3).bytes(20_000), Random::new(4).bytes(3000));
    for (name, bytes) in [("large", large), ("small", small)] {
        let source = chunker::io::source::FromRead(Cursor::new(bytes));
        let stored = session.put(source, workers(), NEVER).unwrap();
        session.tag(name, stored.id, NEVER).unwrap();
    }
    session.commit(NEVER).unwrap();
    store
}

fn is_full(error: &Error) -> bool {
    let Error::Io(IoError { source, path }) = error else { return false };
    source.kind() == std::io::ErrorKind::StorageFull && path.is_some()
}

fn judge(disk: &SimulatedDisk) {
    let store = open(disk);
    for (name, bytes) in [("live", content(1)), ("small", Random::new(4).bytes(3000))] {
        let id = store.tag(name).unwrap().unwrap();
        assert!(store.read(&id, .., workers(), NEVER).unwrap() == bytes, "{name}");
    }
    let report = store.check(&BatchOptions::default(), NEVER).unwrap();
    assert!(report.is_good(), "{report:?}");
}

#[test]
fn a_collection_frees_a_disk_that_is_full() {
    let disk = SimulatedDisk::default();
    let store = store_on(&disk);
    disk.leave_free(0);
    let full = store.put(Cursor::new(content(5)), Some("new"), workers(), NEVER).unwrap_err();
    assert!(is_full(&full), "{full}");
    drop(store);
    let store = open(&disk);
    // Tags are removed without writing.
    for name in ["garbage", "large"] {
        assert!(store.remove_tag(name, If::Any).unwrap());
    }
    disk.leave_free(0);
    let collected = store.collect_garbage(workers(), None, NEVER).unwrap();
    assert!(collected.deleted_bytes > 5000, "{collected:?}");
    assert!(collected.rewritten_bytes > 3000, "{collected:?}");
    judge(&disk);
    assert!(disk.files("index") > 0);
    assert_eq!(disk.files("sessions") + disk.files("tmp"), 0);
    store.put(Cursor::new(content(5)), Some("new"), workers(), NEVER).unwrap();
    judge(&disk);
}

#[test]
fn a_collection_without_any_room_loses_nothing() {
    let disk = SimulatedDisk::default();
    let store = store_on(&disk);
    for name in ["garbage", "large"] {
        assert!(store.remove_tag(name, If::Any).unwrap());
    }
    disk.remove_all("index");
    disk.leave_free(0);
    let store = open(&disk);
    let full = store.collect_garbage(workers(), None, NEVER).unwrap_err();
    assert!(is_full(&full), "{full}");
    judge(&disk);
    disk.leave_free(100_000);
    let collected = store.collect_garbage(workers(), None, NEVER).unwrap();
    assert!(collected.deleted_bytes > 20_000, "{collected:?}");
    judge(&disk);
}

#[test]
fn a_disk_that_becomes_full_at_any_point_of_a_collection_loses_nothing() {
    let mut collections = 0;
    for free in (0..60_000).step_by(1500) {
        let disk = SimulatedDisk::default();
        let store = store_on(&disk);
        for name in ["garbage", "large"] {
            assert!(store.remove_tag(name, If::Any).unwrap());
        }
        disk.remove_all("index");
        disk.leave_free(free);
        let store = {
            drop(store);
            open(&disk)
        };
        match store.collect_garbage(workers(), None, NEVER) {
            Ok(_) => collections += 1,
            Err(error) => assert_eq!(error.code(), "io_error", "{free}"),
        }
        judge(&disk);
        disk.leave_free(100_000);
        store.collect_garbage(workers(), None, NEVER).unwrap();
        assert_eq!(disk.files("condemned"), 0, "{free}");
        judge(&disk);
    }
    assert!(collections > 0 && collections < 40, "{collections}");
}

/// Puts an object with a name and some others, whose tags need room after the commit.
fn put_with_tags(store: &Store, name: &str) -> Result<(), Error> {
    let mut session = store.session()?;
    let source = chunker::io::source::FromRead(Cursor::new(content(5)));
    let id = session.put(source, workers(), NEVER)?.id;
    for name in ["1", "2", "3", "4", "5", name] {
        session.tag(name, id, NEVER)?;
    }
    session.commit(NEVER).map(drop)
}

#[test]
fn tags_are_removed_on_a_full_disk_while_a_session_cannot_be_finished() {
    for put in ["unrelated", "garbage"] {
        let mut unfinished = 0;
        for free in (0..).step_by(256) {
            let disk = SimulatedDisk::default();
            let store = store_on(&disk);
            disk.leave_free(free);
            let is_put = put_with_tags(&store, put).is_ok();
            drop(store);
            if is_put {
                break;
            }
            disk.leave_free(0);
            let store = open(&disk);
            let (segments, sessions) = (disk.files("index"), disk.files("sessions"));
            unfinished += sessions;
            let removed = store.remove_tag("garbage", If::Any);
            assert!(removed.unwrap_or_else(|error| panic!("{put}, {free}: {error}")), "{put}, {free}");
            if put == "unrelated" {
                assert_eq!(disk.files("index"), segments, "{free}");
            }
            let collected = store.collect_garbage(workers(), None, NEVER).unwrap();
            assert!(collected.deleted_bytes > 5000, "{put}, {free}: {collected:?}");
            judge(&disk);
            // What was committed is there, except for the tag that was removed since.
            let is_committed = sessions > 0;
            assert_eq!(store.tag("1").unwrap().is_some(), is_committed, "{put}, {free}");
            assert_eq!(
                store.tag(put).unwrap().is_some(),
                is_committed && put == "unrelated",
                "{put}, {free}"
            );
        }
        assert!(unfinished > 0, "{put}");
    }
}
