//! Checks stores that keep chunks as deltas of others.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use chunker::cdc::Options;
use chunker::engine::workers::Workers;
use chunker::hash::Digest;
use chunker::store::{FormatOptions, If, PutAs, Stats, Store, StoreError, StoreOptions, Stored};
use chunker::{BatchOptions, Error, ErrorCode, NEVER};

use super::simulated_disk::Random;

/// Options for chunks of 4 KiB, which are long enough for deltas.
fn options(deltas: bool) -> StoreOptions {
    let chunking = Options { min_size: 1024, avg_size: 4096, max_size: 16384, ..Options::default() };
    let format = FormatOptions { chunking: Some(chunking), deltas: Some(deltas), ..FormatOptions::default() };
    StoreOptions { format, ..StoreOptions::default() }
}

fn open(folder: &Path, name: &str, deltas: bool) -> Store {
    Store::open(&folder.join(name), &options(deltas)).unwrap()
}

fn workers() -> Workers {
    Workers::shared(3, crate::POOL).expect("threads")
}

fn put<'a>(store: &Store, target: impl Into<PutAs<'a>>, content: &[u8]) -> Stored {
    store.put(Cursor::new(content.to_vec()), target, workers(), NEVER).unwrap()
}

fn read(store: &Store, id: &Digest) -> Vec<u8> {
    store.read(id, .., workers(), NEVER).unwrap()
}

fn collect(store: &Store) {
    store.collect_garbage(workers(), None, NEVER).unwrap();
}

fn is_good(store: &Store) -> bool {
    store.check(&BatchOptions::default(), NEVER).unwrap().is_good()
}

fn stats(store: &Store) -> Stats {
    store.stats(NEVER).unwrap()
}

/// Changes a byte in each of some places that are far apart, so that nearly every chunk is another one.
fn version(content: &[u8], random: &mut Random) -> Vec<u8> {
    let mut new = content.to_vec();
    for place in (0..new.len()).step_by(1500) {
        let end = new.len();
        new[(place + random.below(1000)).min(end - 1)] ^= 1 + random.below(255) as u8;
    }
    new
}

/// Returns all packs of a folder of a store.
fn packs(store: &Path, folder: &str) -> Vec<PathBuf> {
    let list = |folder: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(folder)
            .map_or(Vec::new(), |entries| entries.map(|entry| entry.unwrap().path()).collect())
    };
    list(&store.join(folder)).iter().flat_map(|folder| list(folder)).collect()
}

#[test]
fn versions_take_what_differs_and_are_read_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let (with, without) = (open(folder.path(), "with", true), open(folder.path(), "without", false));
    let mut random = Random::new(1);
    let mut versions = vec![random.bytes(400_000)];
    for _ in 0..8 {
        versions.push(version(versions.last().unwrap(), &mut random));
    }
    let mut ids = Vec::new();
    for content in &versions {
        let (stored, whole) = (put(&with, Some("v"), content), put(&without, Some("v"), content));
        assert_eq!((stored.id, stored.new_bytes), (whole.id, whole.new_bytes));
        if !ids.is_empty() {
            assert!(
                stored.stored_bytes < whole.stored_bytes / 5,
                "{} {}",
                stored.stored_bytes,
                whole.stored_bytes
            );
        }
        put(&with, Some(format!("{}", ids.len()).as_str()), content);
        ids.push(stored.id);
    }
    assert!(stats(&with).delta_packs > 0 && stats(&without).delta_packs == 0);
    for store in [with, open(folder.path(), "with", true)] {
        for (id, content) in ids.iter().zip(&versions) {
            assert!(read(&store, id) == *content);
            let part = store.read(id, 123_456..234_567, workers(), NEVER).unwrap();
            assert!(part == content[123_456..234_567]);
            let path = folder.path().join("restored");
            store.restore_file(id, &path, workers(), None, NEVER).unwrap();
            assert!(std::fs::read(&path).unwrap() == *content);
        }
        assert!(is_good(&store));
    }
}

#[test]
fn bytes_that_have_moved_find_their_bases() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), "store", true);
    let mut random = Random::new(2);
    let first = random.bytes(300_000);
    put(&store, Some("v"), &first);
    // The first chunks tell how far the others have moved. On one thread, since another one may get to later chunks
    // before that is known.
    let moved =
        [random.bytes(50_000), first[..40_000].to_vec(), version(&first[40_000..], &mut random)].concat();
    let stored = store.put(Cursor::new(moved.clone()), Some("v"), Workers::of_this_thread(), NEVER).unwrap();
    assert!(stored.stored_bytes < 100_000, "{}", stored.stored_bytes);
    assert!(read(&store, &stored.id) == moved);
}

#[test]
fn a_base_is_named_or_is_what_the_name_was_before() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), "store", true);
    let mut random = Random::new(3);
    let first = random.bytes(100_000);
    let base = put(&store, None, &first).id;
    let other = |random: &mut Random| version(&first, random);
    let small = |stored: Stored| stored.stored_bytes < 30_000;
    assert!(!small(put(&store, Some("new"), &other(&mut random))));
    assert!(small(put(&store, PutAs { name: None, base: Some(base) }, &other(&mut random))));
    assert!(small(put(&store, Some("new"), &other(&mut random))));

    // One that is not there counts as none: a garbage collection may have deleted it.
    let unknown = PutAs { name: None, base: Some(Digest([7; 32])) };
    assert!(!small(put(&store, unknown, &other(&mut random))));
    let without = open(folder.path(), "without", false);
    let base = put(&without, None, &first).id;
    let refused = without.put(Cursor::new([]), PutAs { name: None, base: Some(base) }, workers(), NEVER);
    let Err(Error::Options(error)) = refused else { panic!("{refused:?}") };
    assert_eq!((error.option, &*error.allowed), ("base", "absent, since the store has no deltas"));
}

#[test]
fn whether_a_store_has_deltas_is_kept_in_it() {
    let folder = tempfile::tempdir().unwrap();
    for (name, deltas) in [("with", true), ("without", false)] {
        let path = folder.path().join(name);
        open(folder.path(), name, deltas);
        let any = StoreOptions {
            format: FormatOptions { deltas: None, ..options(true).format },
            ..StoreOptions::default()
        };
        assert_eq!(Store::open(&path, &any).unwrap().format().deltas, deltas);
        let Err(Error::Options(error)) = Store::open(&path, &options(!deltas)) else { panic!("{name}") };
        assert_eq!(error.option, "delta");
        let format = std::fs::read_to_string(path.join("format")).unwrap();
        assert_eq!(format.contains("\nfeature deltas\n"), deltas);
    }
}

#[test]
fn a_delta_keeps_its_bases() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), "store", true);
    let mut random = Random::new(4);
    let mut content = random.bytes(200_000);
    let mut ids = Vec::new();
    for number in 0..6 {
        let id =
            put(&store, PutAs { name: Some(&format!("{number}")), base: ids.last().copied() }, &content).id;
        ids.push(id);
        content = version(&content, &mut random);
    }
    let last = read(&store, &ids[5]);
    for number in 0..5 {
        store.remove_tag(&format!("{number}"), If::Any).unwrap();
        collect(&store);
        let store = open(folder.path(), "store", true);
        assert!(read(&store, &ids[5]) == last, "{number}");
        assert!(is_good(&store), "{number}");
    }
    let before = stats(&store);
    assert!(before.delta_bytes < before.pack_bytes / 2, "{before:?}");
    store.remove_tag("5", If::Any).unwrap();
    collect(&store);
    let after = stats(&store);
    assert_eq!((after.packs, after.delta_packs, after.meta_packs), (0, 0, 0));
}

#[test]
fn damage_of_a_base_is_reported_for_all_that_need_it_and_heals() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::new(5);
    let first = random.bytes(100_000);
    let (second, third) = (version(&first, &mut random), version(&first, &mut random));
    let path = folder.path().join("store");
    let ids = {
        let store = open(folder.path(), "store", true);
        let base = put(&store, Some("first"), &first).id;
        let others = [("second", &second), ("third", &third)]
            .map(|(name, content)| put(&store, PutAs { name: Some(name), base: Some(base) }, content).id);
        [base, others[0], others[1]]
    };
    let [pack] = &packs(&path, "packs")[..] else { panic!("one pack") };
    let mut bytes = std::fs::read(pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::remove_file(pack).unwrap();
    std::fs::write(pack, bytes).unwrap();

    let store = open(folder.path(), "store", true);
    let report = store.check(&BatchOptions::default(), NEVER).unwrap();
    assert_eq!(report.damage.len(), 1, "{report:?}");
    let mut incomplete: Vec<_> = report.incomplete.iter().map(|object| object.tags.join(",")).collect();
    incomplete.sort();
    // One of the versions may have been changed where the damage is, so that it has a delta of two others.
    assert_eq!(incomplete, ["first", "second", "third"]);
    for id in ids {
        let error = store.read(&id, .., workers(), NEVER).unwrap_err();
        assert!(["store_corrupt", "chunk_missing"].contains(&error.code()), "{error:?}");
    }
    let report = store.repair(&BatchOptions::default(), NEVER).unwrap();
    assert_eq!(report.incomplete.len(), 3);
    // What is put again heals what depends on it, which was never damaged itself.
    put(&store, Some("first"), &first);
    assert_eq!(put(&store, Some("second"), &second).new_chunks, 0);
    for store in [&store, &open(folder.path(), "store", true)] {
        assert!(is_good(store));
        assert!([first.clone(), second.clone(), third.clone()] == ids.map(|id| read(store, &id)));
    }
}

#[test]
fn a_copy_sends_a_delta_if_the_other_store_has_its_bases() {
    let folder = tempfile::tempdir().unwrap();
    let from = open(folder.path(), "from", true);
    let mut random = Random::new(6);
    let mut contents = vec![random.bytes(300_000)];
    contents.push(version(&contents[0], &mut random));
    contents.push(version(&contents[1], &mut random));
    let ids: Vec<_> = contents.iter().map(|content| put(&from, Some("v"), content).id).collect();
    let copy = |to: &Store, ids: &[Digest]| {
        let objects: Vec<_> = ids.iter().map(|&id| (id, None)).collect();
        let copied = from.copy(to, &objects, workers(), None, NEVER).unwrap();
        assert!(is_good(to));
        for id in ids {
            let place = contents.iter().position(|content| read(to, id) == *content);
            assert!(place.is_some());
        }
        copied.stored_bytes
    };
    let (all, single, plain) = (
        open(folder.path(), "all", true),
        open(folder.path(), "single", true),
        open(folder.path(), "plain", false),
    );
    assert!(copy(&all, &ids) < 400_000);
    assert!(stats(&all).delta_packs > 0);
    // Each in a session of its own: what lacks the bases is sent as whole chunks, and what has them as deltas.
    assert!(copy(&single, &ids[2..]) > 300_000);
    assert!(copy(&single, &ids[..1]) > 300_000);
    assert!(copy(&single, &ids[1..2]) < 60_000);
    assert!(copy(&plain, &ids) > 800_000);
    assert_eq!(stats(&plain).delta_packs, 0);
}

#[test]
fn data_without_anything_in_common_takes_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let (with, without) = (open(folder.path(), "with", true), open(folder.path(), "without", false));
    let mut random = Random::new(7);
    let (mut most, mut whole) = (0, 0);
    for _ in 0..4 {
        let content = random.bytes(500_000);
        most += put(&with, Some("v"), &content).stored_bytes;
        whole += put(&without, Some("v"), &content).stored_bytes;
    }
    assert_eq!(most, whole);
}

/// Two sessions of which one finds a base in packs that a collection deletes before it commits.
#[test]
fn a_session_whose_bases_are_collected_keeps_what_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    let (store, other) = (open(folder.path(), "store", true), open(folder.path(), "store", true));
    let mut random = Random::new(8);
    let first = random.bytes(200_000);
    let base = put(&store, Some("first"), &first).id;
    let second = version(&first, &mut random);
    let mut session = other.session().unwrap();
    session.set_base(None, Some(base)).unwrap();
    let source = chunker::io::source::FromRead(Cursor::new(second.clone()));
    let stored = session.put(source, workers(), NEVER).unwrap();
    assert!(stored.stored_bytes < 60_000, "{stored:?}");
    session.tag("second", stored.id, NEVER).unwrap();
    store.remove_tag("first", If::Any).unwrap();
    collect(&store);
    match session.commit(NEVER) {
        Ok(()) => {}
        Err(Error::Store(StoreError::SessionFenced)) => {
            put(&other, Some("second"), &second);
        }
        Err(error) => panic!("{error}"),
    }
    for store in [&store, &other, &open(folder.path(), "store", true)] {
        assert!(is_good(store));
        assert!(read(store, &stored.id) == second);
    }
    collect(&store);
    assert!(is_good(&store) && read(&open(folder.path(), "store", true), &stored.id) == second);
}

/// Flips a bit of a file.
fn damage(path: &Path, byte: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[byte] ^= 1;
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// A delta whose base was collected does not take the place of one that can be read.
#[test]
fn a_delta_without_its_base_replaces_no_other_one() {
    for seed in 0..8 {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), "store", true);
        let mut random = Random::new(40 + seed);
        let first = random.bytes(20_000);
        let content = version(&first, &mut random);
        let other = version(&first, &mut random);
        // Deltas of objects that go and of one that stays, in one pack.
        let base = put(&store, Some("base"), &first).id;
        let kept_base = random.bytes(20_000);
        let kept = put(&store, Some("kept base"), &kept_base).id;
        let mut session = store.session().unwrap();
        for (name, content, base) in
            [("x", content.clone(), base), ("kept", version(&kept_base, &mut random), kept)]
        {
            session.set_base(None, Some(base)).unwrap();
            let source = chunker::io::source::FromRead(Cursor::new(content));
            let stored = session.put(source, workers(), NEVER).unwrap();
            session.tag(name, stored.id, NEVER).unwrap();
        }
        session.commit(NEVER).unwrap();
        for name in ["base", "x"] {
            store.remove_tag(name, If::Any).unwrap();
        }
        collect(&store);
        // The same content again, as deltas of another base.
        let base = put(&store, Some("base"), &other).id;
        let id = put(&store, PutAs { name: Some("x"), base: Some(base) }, &content).id;
        // Many small packs, so that all are written anew.
        for number in 0..20 {
            put(&store, Some(&*format!("small/{number}")), &random.bytes(100));
            let small = version(&kept_base[..4000], &mut random);
            put(&store, PutAs { name: Some(&format!("delta/{number}")), base: Some(kept) }, &small);
        }
        for _ in 0..2 {
            collect(&store);
            let store = open(folder.path(), "store", true);
            assert!(read(&store, &id) == content, "seed {seed}");
            assert!(is_good(&store), "seed {seed}");
        }
    }
}

#[test]
fn a_repair_keeps_deltas_whose_base_may_be_put_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::new(50);
    let first = random.bytes(60_000);
    let second = version(&first, &mut random);
    let path = folder.path().join("store");
    let id = {
        let store = open(folder.path(), "store", true);
        put(&store, Some("first"), &first);
        let base = store.tag("first").unwrap();
        put(&store, PutAs { name: Some("second"), base }, &second).id
    };
    for (section, place) in [("packs", 30_000), ("deltas", 100)] {
        let [pack] = &packs(&path, section)[..] else { panic!("one pack") };
        damage(pack, place);
    }
    let store = open(folder.path(), "store", true);
    let report = store.repair(&BatchOptions::default(), NEVER).unwrap();
    assert!(!report.damage.is_empty() && report.incomplete.len() == 2, "{report:?}");
    put(&store, Some("first"), &first);
    let report = open(folder.path(), "store", true).check(&BatchOptions::default(), NEVER).unwrap();
    // Only the delta that was damaged itself is lost.
    assert_eq!(report.incomplete.iter().map(|object| object.missing.len()).collect::<Vec<_>>(), [1]);
    put(&store, Some("second"), &second);
    assert!(is_good(&store) && read(&store, &id) == second);
}

/// Writes a pack with one record, as docs/store-format.md describes it.
fn write_pack(store: &Path, section: &str, kind: u8, digest: [u8; 32], payload: &[u8], length: u32) {
    let mut bytes = b"CHUNKERP".to_vec();
    bytes.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend([7; 16]);
    let start = bytes.len() as u32;
    bytes.extend(b"CKR1");
    bytes.extend([kind, 1, 0, 0]);
    bytes.extend((payload.len() as u32).to_le_bytes());
    bytes.extend(length.to_le_bytes());
    bytes.extend(digest);
    let check = crc32c::crc32c(&bytes[start as usize..]);
    bytes.extend(check.to_le_bytes());
    bytes.extend(payload);
    let footer = bytes.len();
    bytes.extend(digest);
    for number in [start, payload.len() as u32, length] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend([kind, 1, 0, 0]);
    let check = crc32c::crc32c(&bytes[footer..]);
    bytes.extend(1u32.to_le_bytes());
    bytes.extend(check.to_le_bytes());
    bytes.extend(b"CHUNKERF");
    let name = blake3::hash(&bytes).to_hex();
    let folder = store.join(section).join(&name[..2]);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(&*name), bytes).unwrap();
}

/// Deltas that depend on themselves or on each other are damage, wherever they are.
#[test]
fn made_up_deltas_are_damage() {
    for section in ["packs", "deltas"] {
        for count in [0, 1, 2, 3, 255] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("store");
            open(folder.path(), "store", true);
            let content = Random::new(60).bytes(3000);
            let digests = [1, 2, 3]
                .map(|number| if number == 1 { *blake3::hash(&content).as_bytes() } else { [number; 32] });
            for digest in digests {
                let mut payload = vec![count, 0, 0, 0];
                (0..count).for_each(|base| payload.extend(digests[usize::from(base) % 3]));
                payload.extend(crc32c::crc32c(&payload).to_le_bytes());
                payload.extend(b"no frame");
                write_pack(&path, section, 4, digest, &payload, 3000);
            }
            let store = open(folder.path(), "store", true);
            let report = store.check(&BatchOptions::default(), NEVER).unwrap();
            // A delta in its place without bases is garbage, and all else is damage.
            let is_garbage = section == "deltas" && (1..3).contains(&count);
            assert_eq!(report.damage.is_empty(), is_garbage, "{section}, {count}: {report:?}");
            let id = put(&store, Some("a"), &content).id;
            assert!(read(&store, &id) == content, "{section}, {count}");
            store.repair(&BatchOptions::default(), NEVER).unwrap();
            collect(&store);
            assert!(is_good(&store) && read(&store, &id) == content, "{section}, {count}");
        }
    }
}

/// A whole chunk that is damaged is written anew, also if a delta of it is in the store whose base is gone.
#[test]
fn damage_is_marked_beside_a_delta_without_its_base() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let content = Random::new(61).bytes(900);
    let id = put(&open(folder.path(), "store", true), Some("a"), &content).id;
    let [pack] = &packs(&path, "packs")[..] else { panic!("one pack") };
    damage(pack, 100);
    let mut payload = vec![1, 0, 0, 0];
    payload.extend([9; 32]);
    payload.extend(crc32c::crc32c(&payload).to_le_bytes());
    write_pack(&path, "deltas", 4, *blake3::hash(&content).as_bytes(), &payload, 900);
    let store = open(folder.path(), "store", true);
    // Completes the index.
    assert_eq!(store.missing(&[Digest([1; 32])], NEVER).unwrap().len(), 1);
    let error = store.read(&id, .., workers(), NEVER).unwrap_err();
    let Error::Store(StoreError::Corrupt { why, .. }) = error else { panic!("{error}") };
    assert_eq!(why, "record_digest");
    put(&store, Some("a"), &content);
    assert!(read(&open(folder.path(), "store", true), &id) == content);
}

/// A base that is lost is written whole when it is put again, also if it is in the store as a delta, or could be one.
#[test]
fn a_base_that_is_put_again_heals_in_any_form() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut random = Random::new(63);
    let first = random.bytes(50_000);
    let (second, other) = (version(&first, &mut random), version(&first, &mut random));
    for is_repaired in [false, true] {
        let _ = std::fs::remove_dir_all(&path);
        let id = {
            let store = open(folder.path(), "store", true);
            let base = put(&store, Some("first"), &first).id;
            put(&store, PutAs { name: Some("second"), base: Some(base) }, &second).id
        };
        let [pack] = &packs(&path, "packs")[..] else { panic!("one pack") };
        for byte in (100..50_000).step_by(700) {
            damage(pack, byte);
        }
        let store = open(folder.path(), "store", true);
        store.check(&BatchOptions::default(), NEVER).unwrap();
        if is_repaired {
            store.repair(&BatchOptions::default(), NEVER).unwrap();
        }
        let base = put(&store, Some("other"), &other).id;
        put(&store, PutAs { name: Some("first"), base: Some(base) }, &first);
        for _ in 0..2 {
            let store = open(folder.path(), "store", true);
            assert!(read(&store, &id) == second, "{is_repaired}");
            collect(&store);
        }
        store.repair(&BatchOptions::default(), NEVER).unwrap();
        assert!(is_good(&open(folder.path(), "store", true)), "{is_repaired}");
    }
}

/// A chunk that was whole is written whole again, so that losses do not make chains of deltas.
#[test]
fn bases_that_are_lost_one_after_the_other_are_healed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut random = Random::new(65);
    let first = random.bytes(30_000);
    let [second, third, fourth] = [0; 3].map(|_| version(&first, &mut random));
    let lose = |pack: &Path| {
        let length = std::fs::metadata(pack).unwrap().len() as usize;
        (100..length).step_by(700).for_each(|byte| damage(pack, byte));
        let store = open(folder.path(), "store", true);
        store.check(&BatchOptions::default(), NEVER).unwrap();
        store
    };
    let id = {
        let store = open(folder.path(), "store", true);
        let base = put(&store, Some("first"), &first).id;
        put(&store, PutAs { name: Some("second"), base: Some(base) }, &second).id
    };
    let store = lose(&packs(&path, "packs")[0]);
    let before = packs(&path, "packs");
    let base = put(&store, Some("third"), &third).id;
    let pack = packs(&path, "packs").into_iter().find(|pack| !before.contains(pack)).unwrap();
    put(&store, PutAs { name: Some("first"), base: Some(base) }, &first);
    assert!(read(&open(folder.path(), "store", true), &id) == second);
    let store = lose(&pack);
    let base = put(&store, Some("fourth"), &fourth).id;
    put(&store, PutAs { name: Some("third"), base: Some(base) }, &third);
    assert!(read(&open(folder.path(), "store", true), &id) == second);
    store.repair(&BatchOptions::default(), NEVER).unwrap();
    let store = open(folder.path(), "store", true);
    assert!(is_good(&store) && read(&store, &id) == second);
}

/// A delta that cannot be read for its base is not damaged, and is used again once the base is.
#[test]
fn a_delta_without_its_base_is_not_marked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut random = Random::new(66);
    let first = random.bytes(30_000);
    let second = version(&first, &mut random);
    let id = {
        let store = open(folder.path(), "store", true);
        let base = put(&store, Some("first"), &first).id;
        put(&store, PutAs { name: Some("second"), base: Some(base) }, &second).id
    };
    let [pack] = &packs(&path, "packs")[..] else { panic!("one pack") };
    (100..30_000).step_by(700).for_each(|byte| damage(pack, byte));
    let store = open(folder.path(), "store", true);
    for from in (0..30_000).step_by(1000) {
        // All chunks of it need the base, the chunks of which are damaged.
        assert!(store.read(&id, from..from + 1, workers(), NEVER).is_err(), "{from}");
    }
    put(&store, Some("first"), &first);
    assert_eq!(put(&store, Some("second"), &second).new_chunks, 0);
    assert!(read(&store, &id) == second);
}

/// A collection deletes nothing while it cannot know what a delta needs.
#[test]
fn a_collection_does_not_believe_a_delta_whose_head_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut random = Random::new(64);
    let first = random.bytes(50_000);
    let second = version(&first, &mut random);
    let id = {
        let store = open(folder.path(), "store", true);
        let base = put(&store, Some("first"), &first).id;
        let id = put(&store, PutAs { name: Some("second"), base: Some(base) }, &second).id;
        store.remove_tag("first", If::Any).unwrap();
        id
    };
    let [pack] = &packs(&path, "deltas")[..] else { panic!("one pack") };
    for place in [33, 90, 110] {
        damage(pack, place);
        let store = open(folder.path(), "store", true);
        let error = store.collect_garbage(workers(), None, NEVER).unwrap_err();
        assert_eq!(error.code(), "store_corrupt", "{place}");
        // The pack is restored from a backup, and opened again.
        damage(pack, place);
        let store = open(folder.path(), "store", true);
        assert!(read(&store, &id) == second, "{place}");
        collect(&store);
        assert!(is_good(&store) && read(&open(folder.path(), "store", true), &id) == second, "{place}");
    }
}

/// Equal chunks, as disk images have many of, do not tell how far others have moved.
#[test]
fn repeated_chunks_do_not_mislead() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), "store", true);
    let mut random = Random::new(62);
    let parts = [random.bytes(100_000), random.bytes(100_000)];
    let zeros = vec![0; 100_000];
    let image = |parts: &[Vec<u8>]| [&parts[0], &zeros, &parts[1], &zeros].map(|part| &part[..]).concat();
    store.put(Cursor::new(image(&parts)), Some("v"), Workers::of_this_thread(), NEVER).unwrap();
    let parts = parts.map(|part| version(&part, &mut random));
    let stored = store.put(Cursor::new(image(&parts)), Some("v"), Workers::of_this_thread(), NEVER).unwrap();
    assert!(stored.stored_bytes < 40_000, "{}", stored.stored_bytes);
}

/// Puts, removes, collects, damages, repairs and copies at random, and compares with what there should be.
#[test]
fn any_sequence_of_operations_keeps_all_versions() {
    for seed in 0..12 {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path(), "store", true);
        let mut random = Random::new(100 + seed);
        let mut contents = vec![random.bytes(60_000), random.bytes(30_000)];
        let mut expected: Vec<(String, Digest, Vec<u8>)> = Vec::new();
        for step in 0..60 {
            match random.below(10) {
                0..5 => {
                    // A version of any that there was, under any name.
                    let old = contents[random.below(contents.len())].clone();
                    let content = if random.below(4) == 0 { old } else { version(&old, &mut random) };
                    let base = match expected.len() {
                        0 => None,
                        count => Some(expected[random.below(count)].1).filter(|_| step % 2 == 0),
                    };
                    let name = format!("{}", random.below(8));
                    let id = put(&store, PutAs { name: Some(&name), base }, &content).id;
                    contents.push(content.clone());
                    expected.retain(|(other, ..)| *other != name);
                    expected.push((name, id, content));
                }
                5 | 6 if !expected.is_empty() => {
                    let (name, ..) = expected.swap_remove(random.below(expected.len()));
                    store.remove_tag(&name, If::Any).unwrap();
                }
                7 => collect(&store),
                8 => store = open(folder.path(), "store", true),
                _ => {
                    let other = open(folder.path(), "other", true);
                    let objects: Vec<_> =
                        expected.iter().map(|(name, id, _)| (*id, Some(name.as_str()))).collect();
                    store.copy(&other, &objects, workers(), None, NEVER).unwrap();
                    for (_, id, content) in &expected {
                        assert!(read(&other, id) == *content, "seed {seed}, step {step}");
                    }
                    assert!(is_good(&other));
                }
            }
            for (name, id, content) in &expected {
                assert!(read(&store, id) == *content, "seed {seed}, step {step}, {name}");
            }
        }
        assert!(is_good(&store), "seed {seed}");
        let store = open(folder.path(), "store", true);
        for (name, id, content) in &expected {
            assert!(read(&store, id) == *content, "seed {seed}, {name}");
            store.remove_tag(name, If::Any).unwrap();
        }
        collect(&store);
        let left = stats(&store);
        assert_eq!((left.packs, left.delta_packs, left.meta_packs), (0, 0, 0), "seed {seed}");
    }
}
