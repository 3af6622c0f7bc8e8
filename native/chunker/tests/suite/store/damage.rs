//! Damages each kind of object: a check finds it, a repair loses only what is lost, and a put heals.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use chunker::BatchOptions;
use chunker::engine::workers::Workers;
use chunker::hash::Digest;
use chunker::store::{If, Report, Store};
use chunker::{ErrorCode, NEVER};

use super::simulated_disk::Random;
use super::small_chunks;
use super::watched_disk::{Operation, WatchedDisk};

/// A store with some objects: a tag for each, and one that is kept without.
struct Sample {
    folder: tempfile::TempDir,
    objects: Vec<(Option<String>, Digest, Vec<u8>)>,
}

impl Sample {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), &small_chunks()).unwrap();
        let mut random = Random::new(1);
        let mut objects = Vec::new();
        for number in 0..4 {
            let content = random.bytes(3000 * number);
            let name = (number < 3).then(|| format!("object/{number}"));
            let source = Cursor::new(content.clone());
            let stored = store.put(source, name.as_deref(), Workers::of_this_thread(), NEVER).unwrap();
            objects.push((name, stored.id, content));
        }
        Self { folder, objects }
    }

    fn store(&self) -> Store {
        Store::open(self.folder.path(), &small_chunks()).unwrap()
    }

    /// Returns the files of a folder and below it, in order.
    fn files(&self, folder: &str) -> Vec<PathBuf> {
        let mut folders = vec![self.folder.path().join(folder)];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { &mut folders } else { &mut files }.push(path);
            }
        }
        files.sort();
        files
    }

    /// Checks that each object is read as it was put, or is reported and fails.
    fn judge(&self, store: &Store, report: &Report, why: &str) -> usize {
        let mut lost = 0;
        for (name, id, content) in &self.objects {
            let incomplete = report.incomplete.iter().find(|object| object.id == *id);
            match store.read(id, .., Workers::of_this_thread(), NEVER) {
                Ok(read) => {
                    assert!(read == *content, "{why}");
                    assert!(incomplete.is_none(), "{why}: {incomplete:?}");
                }
                Err(error) => {
                    let incomplete = incomplete.unwrap_or_else(|| panic!("{why}: {error}"));
                    assert_eq!(incomplete.tags, name.iter().cloned().collect::<Vec<_>>(), "{why}");
                    assert!(!incomplete.missing.is_empty(), "{why}");
                    lost += 1;
                }
            }
        }
        lost
    }
}

fn check(store: &Store) -> Report {
    store.check(&BatchOptions::default(), NEVER).unwrap()
}

/// Ways to damage a file.
fn damages(random: &mut Random, content: &[u8]) -> Vec<(String, Option<Vec<u8>>)> {
    let mut damages = vec![("removed".into(), None), ("emptied".into(), Some(Vec::new()))];
    for _ in 0..4 {
        let at = random.below(content.len());
        let mut flipped = content.to_vec();
        flipped[at] ^= 1 << random.below(8);
        damages.push((format!("a bit of byte {at} flipped"), Some(flipped)));
        damages.push((format!("cut at byte {at}"), Some(content[..at].to_vec())));
    }
    damages.push(("more at the end".into(), Some([content, b"more"].concat())));
    damages
}

/// Damages each file of a folder in each way, and calls `judge` with a store and a description.
fn damage_all(folder: &str, judge: impl Fn(&Sample, &Path, &str)) {
    let mut random = Random::new(9);
    let names: usize = Sample::new().files(folder).len();
    for number in 0..names {
        let ways = {
            let sample = Sample::new();
            let file = &sample.files(folder)[number];
            damages(&mut random, &std::fs::read(file).unwrap()).len()
        };
        for way in 0..ways {
            let sample = Sample::new();
            let file = sample.files(folder)[number].clone();
            let content = std::fs::read(&file).unwrap();
            let (what, damaged) = damages(&mut random, &content).swap_remove(way);
            match damaged {
                Some(damaged) => std::fs::write(&file, damaged).unwrap(),
                None => std::fs::remove_file(&file).unwrap(),
            }
            judge(
                &sample,
                &file,
                &format!("{}: {what}", file.strip_prefix(sample.folder.path()).unwrap().display()),
            );
        }
    }
}

#[test]
fn damage_of_packs_is_found_and_repaired_and_healed() {
    for folder in ["packs", "meta"] {
        damage_all(folder, |sample, file, why| {
            let store = sample.store();
            let report = check(&store);
            assert!(!report.is_good(), "{why}");
            if file.exists() {
                let name = file.strip_prefix(sample.folder.path()).unwrap().to_str().unwrap();
                assert!(
                    report.damage.iter().any(|damage| damage.object == name),
                    "{why}: {:?}",
                    report.damage
                );
            }
            let lost = sample.judge(&store, &report, why);
            let repaired = store.repair(&BatchOptions::default(), NEVER).unwrap();
            let after = check(&store);
            assert_eq!(after.damage, [], "{why}");
            let still_lost = sample.judge(&store, &repaired, why);
            assert!(still_lost <= lost, "{why}");
            assert_eq!(sample.judge(&sample.store(), &after, why), still_lost, "{why}");
            for (name, id, content) in &sample.objects {
                let source = Cursor::new(content.clone());
                let stored = store.put(source, name.as_deref(), Workers::of_this_thread(), NEVER).unwrap();
                assert_eq!(stored.id, *id);
            }
            let healed = check(&sample.store());
            assert!(healed.is_good(), "{why}: {healed:?}");
            assert_eq!(sample.judge(&sample.store(), &healed, why), 0);
        });
    }
}

/// Also if another program has put another file in the place of a pack that the store has open.
#[test]
fn a_pack_that_is_replaced_while_the_store_is_open_is_found() {
    let sample = Sample::new();
    let store = sample.store();
    assert!(check(&store).is_good());
    for file in [sample.files("packs"), sample.files("meta")].concat() {
        let content = std::fs::read(&file).unwrap();
        let mut damaged = content.clone();
        damaged[content.len() / 2] ^= 1;
        for (bytes, is_good) in [(&damaged, false), (&content, true)] {
            std::fs::remove_file(&file).unwrap();
            std::fs::write(&file, bytes).unwrap();
            assert_eq!(check(&store).is_good(), is_good, "{}", file.display());
        }
    }
}

#[test]
fn a_put_after_a_check_heals_without_a_repair() {
    damage_all("packs", |sample, _, why| {
        let store = sample.store();
        check(&store);
        for (name, _, content) in &sample.objects {
            let source = Cursor::new(content.clone());
            store.put(source, name.as_deref(), Workers::of_this_thread(), NEVER).unwrap();
        }
        let report = check(&sample.store());
        assert_eq!(report.incomplete, [], "{why}");
        assert_eq!(sample.judge(&sample.store(), &report, why), 0, "{why}");
    });
}

#[test]
fn damage_of_the_index_costs_nothing() {
    damage_all("index", |sample, _, why| {
        let store = sample.store();
        for (_, id, content) in &sample.objects {
            let read = store.read(id, .., Workers::of_this_thread(), NEVER);
            assert!(read.unwrap_or_else(|error| panic!("{why}: {error}")) == *content, "{why}");
        }
        let report = check(&sample.store());
        assert_eq!(report.incomplete, [], "{why}");
        let report = check(&sample.store());
        assert!(report.is_good(), "{why}: {report:?}");
    });
}

#[test]
fn damage_of_the_index_is_found() {
    damage_all("index", |sample, file, why| {
        let is_there = file.exists();
        let report = check(&sample.store());
        assert_eq!(report.incomplete, [], "{why}");
        assert!(!is_there || !report.damage.is_empty(), "{why}");
        let report = check(&sample.store());
        assert!(report.is_good(), "{why}: {report:?}");
        assert_eq!(sample.judge(&sample.store(), &report, why), 0, "{why}");
    });
}

#[test]
fn a_record_whose_header_is_damaged_is_saved_by_the_footer() {
    for folder in ["packs", "meta"] {
        let sample = Sample::new();
        for file in sample.files(folder) {
            let mut content = std::fs::read(&file).unwrap();
            // The header of the first record is behind that of the pack.
            content[32 + 20] ^= 1;
            std::fs::write(&file, content).unwrap();
        }
        let store = sample.store();
        let report = check(&store);
        assert!(!report.incomplete.is_empty());
        assert!(
            report.damage.iter().all(|damage| damage.why == "record_header" && damage.offset == Some(32))
        );
        let report = store.repair(&BatchOptions::default(), NEVER).unwrap();
        assert_eq!(report.incomplete, []);
        assert_eq!(sample.judge(&sample.store(), &report, folder), 0);
        assert!(check(&sample.store()).is_good());
    }
}

#[test]
fn a_footer_of_impossible_lengths_ends_no_search() {
    let sample = Sample::new();
    for file in sample.files("packs") {
        let mut content = std::fs::read(&file).unwrap();
        let end = content.len() - 16;
        let count = u32::from_le_bytes(content[end..end + 4].try_into().unwrap()) as usize;
        let footer = end - 48 * count;
        for entry in content[footer..end].chunks_exact_mut(48) {
            entry[36..44].fill(0xff);
        }
        let check = crc32c::crc32c(&content[footer..end]);
        content[end + 4..end + 8].copy_from_slice(&check.to_le_bytes());
        std::fs::write(&file, content).unwrap();
    }
    sample.files("index").iter().for_each(|segment| std::fs::remove_file(segment).unwrap());
    let store = sample.store();
    let (_, id, _) = &sample.objects[2];
    let error = store.read(id, .., Workers::of_this_thread(), NEVER).unwrap_err();
    assert_eq!(error.code(), "chunk_missing");
    assert!(!check(&store).is_good());
}

#[test]
fn other_handles_do_not_rely_on_what_a_check_found_damaged() {
    let sample = Sample::new();
    let (other, store) = (sample.store(), sample.store());
    for file in sample.files("packs") {
        let mut content = std::fs::read(&file).unwrap();
        let middle = content.len() / 2;
        content[middle] ^= 1;
        std::fs::write(&file, content).unwrap();
    }
    assert!(!check(&store).is_good());
    for (name, _, content) in &sample.objects {
        let source = Cursor::new(content.clone());
        other.put(source, name.as_deref(), Workers::of_this_thread(), NEVER).unwrap();
    }
    let report = check(&sample.store());
    assert_eq!(report.incomplete, []);
    assert_eq!(sample.judge(&sample.store(), &report, "healed"), 0);
    // What was healed is not written again.
    let (_, _, content) = &sample.objects[2];
    let again = other.put(Cursor::new(content.clone()), None, Workers::of_this_thread(), NEVER).unwrap();
    assert_eq!(again.stored_bytes, 0);
}

#[test]
fn marks_that_could_not_be_written_are_written_later() {
    let sample = Sample::new();
    let pack = sample.files("packs").pop().unwrap();
    let mut bytes = std::fs::read(&pack).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&pack, bytes).unwrap();
    let disk = WatchedDisk::new(sample.folder.path());
    let store = disk.store();
    disk.watch(|operation, path| {
        if operation == Operation::Rename && path.starts_with("damaged/") {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        Ok(())
    });
    let marks = || sample.files("damaged").len();
    assert!(!check(&store).is_good());
    assert_eq!(marks(), 0);
    disk.unwatch();
    assert!(!check(&store).is_good());
    assert_eq!(marks(), 1);
}

#[test]
fn a_damaged_list_of_condemned_packs_stops_nothing() {
    let sample = Sample::new();
    std::fs::write(sample.folder.path().join("condemned"), "pack packs/00").unwrap();
    let report = check(&sample.store());
    assert_eq!(report.damage.len(), 1);
    assert_eq!(report.damage[0].object, "condemned");
    // Any pack may be about to be deleted.
    let (_, id, content) = &sample.objects[2];
    let source = Cursor::new(content.clone());
    let stored = sample.store().put(source, Some("again"), Workers::of_this_thread(), NEVER).unwrap();
    assert_eq!((stored.id, stored.new_chunks), (*id, stored.chunk_count));
    sample.store().repair(&BatchOptions::default(), NEVER).unwrap();
    let report = check(&sample.store());
    assert!(report.is_good(), "{report:?}");
    assert_eq!(sample.judge(&sample.store(), &report, "repaired"), 0);
    let source = Cursor::new(content.clone());
    let stored = sample.store().put(source, Some("again"), Workers::of_this_thread(), NEVER).unwrap();
    assert_eq!(stored.new_chunks, 0);
}

#[test]
fn a_repair_keeps_the_objects_of_damaged_tags() {
    for folder in ["refs", "kept", "sessions"] {
        let sample = Sample::new();
        if folder == "sessions" {
            std::fs::write(sample.folder.path().join("sessions").join("0".repeat(32)), "state open").unwrap();
        }
        let files = sample.files(folder);
        assert!(!files.is_empty());
        for file in &files {
            std::fs::write(file, "id 0").unwrap();
        }
        let store = sample.store();
        assert_eq!(
            store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap_err().code(),
            "store_corrupt",
            "{folder}"
        );
        let report = store.repair(&BatchOptions::default(), NEVER).unwrap();
        assert_eq!(report.damage.len(), files.len(), "{folder}");
        let kept = match folder {
            "refs" => 3,
            "kept" => 1,
            _ => 0,
        };
        assert_eq!(report.kept.len(), kept, "{folder}: {report:?}");
        store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap();
        let report = check(&store);
        assert!(report.is_good(), "{folder}: {report:?}");
        assert_eq!(sample.judge(&store, &report, folder), 0);
    }
}

#[test]
fn damage_of_tags_is_found() {
    for folder in ["refs", "kept"] {
        damage_all(folder, |sample, file, why| {
            let store = sample.store();
            let report = check(&store);
            assert_eq!(report.incomplete, [], "{why}");
            if file.exists() {
                assert_eq!(report.damage.len(), 1, "{why}: {:?}", report.damage);
                // Nothing is deleted as long as it is not known what is needed.
                assert_eq!(
                    store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap_err().code(),
                    "store_corrupt",
                    "{why}"
                );
            } else {
                assert!(report.is_good(), "{why}");
            }
            for (_, id, content) in &sample.objects {
                assert!(store.read(id, .., Workers::of_this_thread(), NEVER).unwrap() == *content, "{why}");
            }
            // Setting the tag again mends it.
            for (name, id, content) in &sample.objects {
                match name {
                    Some(name) => store.set_tag(name, id, If::Any, NEVER).unwrap(),
                    None => drop(
                        store
                            .put(Cursor::new(content.clone()), None, Workers::of_this_thread(), NEVER)
                            .unwrap(),
                    ),
                }
            }
            let report = check(&store);
            assert!(report.is_good(), "{why}: {report:?}");
            assert_eq!(report.objects, 4, "{why}");
        });
    }
}

#[test]
fn a_damaged_format_is_an_error() {
    let sample = Sample::new();
    let path = sample.folder.path().join("format");
    let content = std::fs::read(&path).unwrap();
    let mut random = Random::new(4);
    for (what, damaged) in damages(&mut random, &content) {
        match damaged {
            Some(damaged) => std::fs::write(&path, damaged).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let error = Store::open(sample.folder.path(), &small_chunks()).unwrap_err();
        assert!(["store_corrupt", "invalid_options"].contains(&error.code()), "{what}: {error}");
    }
    let newer = String::from_utf8(content.clone()).unwrap();
    for (from, to) in [("chunker-store 1", "chunker-store 2"), ("uuid", "feature encryption\nuuid")] {
        let text = newer.replace(from, to);
        let (text, _) = text.split_at(text.rfind("check ").unwrap());
        let check = chunker::hash::Algorithm::from_name("blake3").unwrap().unwrap().hash(text.as_bytes());
        std::fs::write(&path, format!("{text}check {}\n", &format!("{check:?}")[..16])).unwrap();
        let error = Store::open(sample.folder.path(), &small_chunks()).unwrap_err();
        assert_eq!(error.code(), "unsupported_format");
    }
    std::fs::write(&path, content).unwrap();
    sample.store();
}

/// Returns the records of a pack, in order, as docs/store-format.md describes them: offset, length and
/// digest.
fn records(pack: &[u8]) -> Vec<(usize, usize, Digest)> {
    let (mut at, mut records) = (32, Vec::new());
    while pack[at..].starts_with(b"CKR1") {
        let stored = u32::from_le_bytes(pack[at + 8..at + 12].try_into().unwrap()) as usize;
        records.push((at, 52 + stored, Digest(pack[at + 16..at + 48].try_into().unwrap())));
        at += 52 + stored;
    }
    records
}

/// The digests of all chunks of an object.
fn chunks(store: &Store, id: &Digest) -> Vec<Digest> {
    let (mut all, mut digests) = (store.chunks(id).unwrap(), Vec::new());
    while let Some(chunk) = all.next_chunk().unwrap() {
        digests.push(chunk.digest);
    }
    digests
}

#[test]
fn a_repair_loses_only_the_records_that_are_damaged() {
    let mut random = Random::new(12);
    for round in 0..60 {
        let sample = Sample::new();
        let store = sample.store();
        let needed: Vec<Vec<Digest>> = sample.objects.iter().map(|(_, id, _)| chunks(&store, id)).collect();
        let files = sample.files("packs");
        let file = &files[random.below(files.len())];
        let mut content = std::fs::read(file).unwrap();
        let all = records(&content);
        // Zeros, noise or a hole over some bytes between two records of the pack.
        let (start, length) = (32 + random.below(content.len() - 32), 1 + random.below(3000));
        let last = all.last().map(|(offset, length, _)| offset + length).unwrap();
        let end = (start + length).min(last);
        let cut = round % 3 == 2;
        match round % 3 {
            0 => content.get_mut(start..end).unwrap_or_default().fill(0),
            1 => content.get_mut(start..end).unwrap_or_default().iter_mut().for_each(|byte| *byte ^= 0x55),
            _ => content.truncate(start),
        }
        std::fs::write(file, &content).unwrap();
        let lost: Vec<Digest> = all
            .iter()
            .filter(|&&(offset, length, _)| {
                let payload = offset + 52..offset + length;
                if cut { offset + length > start } else { start < payload.end && payload.start < end }
            })
            .map(|(.., digest)| *digest)
            .collect();
        let why = format!("round {round}: {start}..{end} of {last}, cut: {cut}");
        let report = sample.store().repair(&BatchOptions::default(), NEVER).unwrap();
        for ((_, id, _), needed) in sample.objects.iter().zip(&needed) {
            let missing: Vec<Digest> =
                needed.iter().filter(|digest| lost.contains(digest)).copied().collect();
            let reported = report.incomplete.iter().find(|object| object.id == *id);
            let reported = reported.map(|object| object.missing.clone()).unwrap_or_default();
            assert_eq!(reported, missing, "{why}");
        }
        let after = check(&sample.store());
        assert_eq!(after.damage, [], "{why}");
        sample.judge(&sample.store(), &after, &why);
    }
}

#[test]
fn a_chunk_that_is_in_two_packs_is_not_lost_with_one() {
    let sample = Sample::new();
    let (_, id, content) = &sample.objects[3];
    // It is written again, since its pack is gone, and then that is back.
    let packs: Vec<_> =
        sample.files("packs").into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
    std::fs::remove_dir_all(sample.folder.path().join("packs")).unwrap();
    let stored =
        sample.store().put(Cursor::new(content.clone()), None, Workers::of_this_thread(), NEVER).unwrap();
    assert_eq!(stored.new_chunks, stored.chunk_count);
    for (path, bytes) in &packs {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    for file in sample.files("packs") {
        let original = std::fs::read(&file).unwrap();
        let mut damaged = original.clone();
        damaged[32..].fill(0);
        std::fs::write(&file, damaged).unwrap();
        let store = sample.store();
        assert!(store.read(id, .., Workers::of_this_thread(), NEVER).unwrap() == *content);
        let report = check(&store);
        assert!(!report.damage.is_empty() && report.incomplete.iter().all(|object| object.id != *id));
        std::fs::write(&file, original).unwrap();
    }
}

#[test]
fn damage_of_sessions_is_found_and_deletes_nothing() {
    let mut random = Random::new(13);
    for (committed, way) in (0..11).flat_map(|way| [(false, way), (true, way)]) {
        let sample = Sample::new();
        let disk = WatchedDisk::new(sample.folder.path());
        let store = disk.store();
        let content = random.bytes(5000);
        let mut session = store.session().unwrap();
        let source = chunker::io::source::FromRead(Cursor::new(content.clone()));
        let id = session.put(source, Workers::of_this_thread(), NEVER).unwrap().id;
        session.tag("of the session", id, NEVER).unwrap();
        if committed {
            disk.watch(|operation, path| match operation {
                Operation::Rename if path.starts_with("refs/") => Err(std::io::Error::other("killed")),
                _ => Ok(()),
            });
            session.commit(NEVER).unwrap_err();
            disk.kill();
        } else {
            disk.kill();
            drop(session);
        }
        drop(store);
        let file = sample.files("sessions").pop().unwrap();
        let (what, damaged) = damages(&mut random, &std::fs::read(&file).unwrap()).swap_remove(way);
        match damaged {
            Some(damaged) => std::fs::write(&file, damaged).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        let why = format!("committed: {committed}, {what}");
        let store = sample.store();
        let report = check(&store);
        assert_eq!(report.incomplete, [], "{why}");
        if file.exists() {
            assert_eq!(report.damage.len(), 1, "{why}: {report:?}");
            assert!(report.damage[0].object.starts_with("sessions/"), "{why}: {report:?}");
            // It may be committed: nothing is deleted.
            assert_eq!(
                store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap_err().code(),
                "store_corrupt",
                "{why}"
            );
            let report = store.repair(&BatchOptions::default(), NEVER).unwrap();
            // What it may have committed can still be had.
            if committed {
                assert!(report.kept.contains(&id), "{why}: {report:?}");
                assert!(store.read(&id, .., Workers::of_this_thread(), NEVER).unwrap() == content, "{why}");
            }
        } else {
            assert!(report.is_good(), "{why}: {report:?}");
        }
        store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap();
        let report = check(&sample.store());
        assert!(report.is_good(), "{why}: {report:?}");
        assert_eq!(sample.judge(&sample.store(), &report, &why), 0, "{why}");
    }
}

#[test]
fn damage_of_lists_of_condemned_packs_and_of_marks_stops_nothing() {
    let mut random = Random::new(14);
    for way in 0..11 {
        let sample = Sample::new();
        let folder = sample.folder.path().to_owned();
        // A collection that is killed before it deletes leaves its list, and a check of a damaged pack a
        // mark.
        sample.store().remove_tag("object/2", If::Any).unwrap();
        let disk = WatchedDisk::new(&folder);
        disk.watch(|operation, path| match operation {
            Operation::Remove if path.starts_with("packs/") || path.starts_with("meta/") => {
                Err(std::io::Error::other("killed"))
            }
            _ => Ok(()),
        });
        disk.store().collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap_err();
        disk.kill();
        let packs = sample.files("packs");
        let pack = &packs[random.below(packs.len())];
        let original = std::fs::read(pack).unwrap();
        let mut content = original.clone();
        content[32 + 60] ^= 1;
        std::fs::write(pack, &content).unwrap();
        check(&sample.store());
        let marks = sample.files("damaged");
        assert_eq!(marks.len(), 1);
        for file in [folder.join("condemned"), marks[0].clone()] {
            let (_, damaged) = damages(&mut random, &std::fs::read(&file).unwrap()).swap_remove(way);
            match damaged {
                Some(damaged) => std::fs::write(&file, damaged).unwrap(),
                None => std::fs::remove_file(&file).unwrap(),
            }
        }
        let why = damages(&mut Random::new(14), &[0; 100]).swap_remove(way).0;
        let report = check(&sample.store());
        let is_list_there = folder.join("condemned").exists();
        assert_eq!(report.damage.iter().any(|damage| damage.object == "condemned"), is_list_there, "{why}");
        // All is put again, whatever counts as absent.
        for (name, id, content) in &sample.objects {
            let source = Cursor::new(content.clone());
            let stored =
                sample.store().put(source, name.as_deref(), Workers::of_this_thread(), NEVER).unwrap();
            assert_eq!(stored.id, *id, "{why}");
        }
        sample.store().repair(&BatchOptions::default(), NEVER).unwrap();
        sample.store().collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap();
        let report = check(&sample.store());
        assert!(report.is_good(), "{why}: {report:?}");
        assert_eq!(sample.judge(&sample.store(), &report, &why), 0, "{why}");
        assert_eq!(sample.files("damaged"), Vec::<PathBuf>::new(), "{why}");
        assert!(!folder.join("condemned").exists(), "{why}");
    }
}
