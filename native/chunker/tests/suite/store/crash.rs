//! Cuts the power at each operation of several workloads, and checks in what state the store is found.
//!
//! `CHUNKER_CRASH_STATES` sets how many states each operation is followed into, 4 by default.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::PathBuf;

use chunker::engine::workers::Workers;
use chunker::error::Error;
use chunker::nar::EntryLimits;
use chunker::store::{If, ObjectKind, Store, StoreError};
use chunker::{BatchOptions, NEVER};

use super::simulated_disk::{Chance, Random, SimulatedDisk};
use super::small_chunks;

/// What the store must have: for each tag its content, or none. A tag that an operation was changing when the
/// power was cut may have either value.
#[derive(Clone, Default)]
struct Expected {
    tags: BTreeMap<String, Vec<Option<Vec<u8>>>>,
}

impl Expected {
    fn begins(&mut self, name: &str, content: Option<&[u8]>) {
        self.tags.entry(name.into()).or_insert_with(|| vec![None]).push(content.map(<[u8]>::to_vec));
    }

    fn ends(&mut self, name: &str) {
        let values = self.tags.get_mut(name).expect("it has begun");
        values.drain(..values.len() - 1);
    }
}

/// The steps of a workload, which ends with the power.
struct Workload<'a> {
    disk: &'a SimulatedDisk,
    store: &'a Store,
    expected: &'a mut Expected,
}

impl Workload<'_> {
    fn put(&mut self, name: &str, content: &[u8]) -> Result<(), Error> {
        self.expected.begins(name, Some(content));
        self.store.put(Cursor::new(content.to_vec()), Some(name), Workers::of_this_thread(), NEVER)?;
        self.expected.ends(name);
        Ok(())
    }

    #[cfg(feature = "sha256")]
    fn put_nar(&mut self, name: &str, nar: &[u8]) -> Result<(), Error> {
        self.expected.begins(name, Some(nar));
        let source = chunker::io::source::FromRead(Cursor::new(nar.to_vec()));
        let kind = chunker::store::PutKind::Nar { references: true };
        self.store.put_as(source, kind, Some(name), Workers::of_this_thread(), NEVER)?;
        self.expected.ends(name);
        Ok(())
    }

    fn session(&mut self, objects: &[(&str, &[u8])]) -> Result<(), Error> {
        for (name, content) in objects {
            self.expected.begins(name, Some(content));
        }
        let mut session = self.store.session()?;
        for (name, content) in objects {
            let source = chunker::io::source::FromRead(Cursor::new(content.to_vec()));
            let stored = session.put(source, Workers::of_this_thread(), NEVER)?;
            session.tag(name, stored.id, NEVER)?;
        }
        session.commit(NEVER)?;
        for (name, _) in objects {
            self.expected.ends(name);
        }
        Ok(())
    }

    /// Puts in a session of another process, collects garbage before it commits, and puts in another session
    /// in between.
    fn put_beside_a_collection(&mut self, name: &str, content: &[u8]) -> Result<(), Error> {
        let other = open(self.disk)?;
        self.expected.begins(name, Some(content));
        let mut session = other.session()?;
        let source = chunker::io::source::FromRead(Cursor::new(content.to_vec()));
        let stored = session.put(source, Workers::of_this_thread(), NEVER)?;
        session.tag(name, stored.id, NEVER)?;
        self.put(&format!("{name}/beside"), content)?;
        self.collect()?;
        match session.commit(NEVER) {
            // What it had found present is gone.
            Err(Error::Store(StoreError::SessionFenced)) => self.put(name, content)?,
            committed => committed?,
        }
        self.expected.ends(name);
        Ok(())
    }

    /// Damages a pack where there is a payload, and repairs the store.
    fn repair(&mut self) -> Result<(), Error> {
        self.disk.damage("packs", 100);
        self.store.repair(&BatchOptions::default(), NEVER).map(drop)
    }

    fn remove(&mut self, name: &str) -> Result<(), Error> {
        self.expected.begins(name, None);
        self.store.remove_tag(name, If::Any)?;
        self.expected.ends(name);
        Ok(())
    }

    fn collect(&mut self) -> Result<(), Error> {
        self.store.collect_garbage(Workers::of_this_thread(), None, NEVER).map(drop)
    }
}

fn open(disk: &SimulatedDisk) -> Result<Store, Error> {
    let mut options = small_chunks();
    // Only a workload with versions of a content has any.
    options.format.deltas = Some(cfg!(feature = "zstd"));
    Store::on_disk(disk.clone(), PathBuf::from("simulated"), &options)
}

/// Checks that the store has what is expected.
fn check(store: &Store, expected: &Expected, why: &str) {
    let tags: BTreeMap<String, _> = store.tags("").expect(why).into_iter().collect();
    for (name, values) in &expected.tags {
        let content = tags.get(name).map(|id| {
            store
                .read(id, .., Workers::of_this_thread(), NEVER)
                .unwrap_or_else(|e| panic!("{why}: {name}: {e}"))
        });
        let lengths: Vec<_> = values.iter().map(|value| value.as_ref().map(Vec::len)).collect();
        let found = content.as_ref().map(Vec::len);
        assert!(values.contains(&content), "{why}: {name} has {found:?} bytes, not one of {lengths:?}");
    }
    for id in tags.values() {
        if store.manifest(id).expect(why).kind == ObjectKind::Nar {
            let workers = Workers::of_this_thread();
            let entries = store.entries(id, b"", true, EntryLimits::NONE, workers, NEVER);
            assert!(!entries.unwrap_or_else(|e| panic!("{why}: {e}")).is_empty(), "{why}");
        }
    }
    assert!(tags.keys().all(|name| expected.tags.contains_key(name)), "{why}: {:?}", tags.keys());
}

/// Runs a workload again and again, cuts the power after each number of operations, and checks the states that the
/// disk may then be in.
fn cut_everywhere(seed: u64, workload: impl Fn(&mut Workload<'_>, &mut Random) -> Result<(), Error>) {
    let states = std::env::var("CHUNKER_CRASH_STATES").map_or(4, |states| states.parse().expect("a number"));
    let run = |disk: &SimulatedDisk, expected: &mut Expected| {
        let store = open(disk)?;
        workload(&mut Workload { disk, store: &store, expected }, &mut Random::new(seed))
    };
    let disk = SimulatedDisk::default();
    let mut expected = Expected::default();
    run(&disk, &mut expected).expect("nothing fails while there is power");
    check(&open(&disk).unwrap(), &expected, "without a power cut");
    let operations = disk.operations();
    let mut random = Random::new(seed);
    for end in 0..operations {
        let disk = SimulatedDisk::default();
        disk.cut_after(end);
        let mut expected = Expected::default();
        let _ = run(&disk, &mut expected);
        for state in 0..states {
            let chance = [Chance::Least, Chance::Most].get(state).copied().unwrap_or(Chance::Any);
            let why = format!("seed {seed}, operation {end} of {operations}, state {state}, {chance:?}");
            let disk = disk.after_power_cut(&mut random, chance);
            let store = open(&disk).unwrap_or_else(|error| panic!("{why}: {error}"));
            check(&store, &expected, &why);
            // Whatever was left does not harm what comes later.
            store
                .collect_garbage(Workers::of_this_thread(), None, NEVER)
                .unwrap_or_else(|error| panic!("{why}: {error}"));
            check(&store, &expected, &format!("{why}, after a collection"));
            for (name, values) in &mut expected.clone().tags {
                if let Some(content) = values.pop().flatten() {
                    let source = Cursor::new(content.clone());
                    let stored =
                        store.put(source, Some(name.as_str()), Workers::of_this_thread(), NEVER).expect(&why);
                    assert!(
                        store.read(&stored.id, .., Workers::of_this_thread(), NEVER).expect(&why) == content,
                        "{why}"
                    );
                }
                if store.tag(name).expect(&why).is_some() {
                    store.remove_tag(name, If::Any).expect(&why);
                }
            }
            // Nothing is left over.
            store.collect_garbage(Workers::of_this_thread(), None, NEVER).expect(&why);
            for folder in ["packs", "deltas", "meta", "sessions", "refs", "kept", "tmp", "damaged"] {
                assert_eq!(disk.files(folder), 0, "{why}: {folder}");
            }
        }
    }
    println!("{} states of {operations} operations", operations * states);
}

#[test]
fn puts_survive_a_power_cut() {
    cut_everywhere(1, |workload, random| {
        let first = random.bytes(5000);
        workload.put("a", &first)?;
        // Half of it is new.
        let second = [&first[..2500], &random.bytes(2500)].concat();
        workload.put("b/c", &second)?;
        workload.put("a", &second)?;
        workload.put("a", &[])
    });
}

#[test]
fn a_session_is_there_as_a_whole_or_not_at_all() {
    cut_everywhere(2, |workload, random| {
        let (a, b) = (random.bytes(2000), random.bytes(3000));
        workload.put("a", &a)?;
        workload.session(&[("x", &a), ("y", &b), ("z", &random.bytes(10))])?;
        workload.session(&[("x", &b), ("a", &b)])
    });
}

#[test]
fn a_collection_survives_a_power_cut() {
    cut_everywhere(3, |workload, random| {
        let (a, b) = (random.bytes(4000), random.bytes(4000));
        workload.put("a", &a)?;
        workload.put("b", &b)?;
        workload.remove("a")?;
        workload.collect()?;
        workload.put("c", &a)?;
        workload.remove("b")?;
        workload.collect()
    });
}

#[test]
fn a_collection_that_rewrites_packs_survives_a_power_cut() {
    cut_everywhere(4, |workload, random| {
        let (large, small) = (random.bytes(6000), random.bytes(800));
        workload.session(&[("large", &large), ("small", &small)])?;
        workload.remove("large")?;
        workload.collect()?;
        workload.put("again", &large)?;
        workload.collect()
    });
}

#[test]
fn two_writers_and_a_collection_survive_a_power_cut() {
    cut_everywhere(5, |workload, random| {
        let (a, b) = (random.bytes(3000), random.bytes(2000));
        workload.put("a", &a)?;
        workload.remove("a")?;
        // It finds its chunks in a pack that the collection deletes.
        workload.put_beside_a_collection("b", &a)?;
        workload.put_beside_a_collection("c", &b)
    });
}

#[test]
fn a_repair_survives_a_power_cut() {
    cut_everywhere(6, |workload, random| {
        let (lost, whole) = (random.bytes(300), random.bytes(5000));
        // The damage is in the first object of the pack, and nothing needs it any more.
        workload.session(&[("lost", &lost), ("whole", &whole)])?;
        workload.remove("lost")?;
        workload.repair()?;
        workload.put("again", &whole)?;
        workload.put("lost", &lost)
    });
}

#[test]
fn a_tag_that_was_removed_does_not_come_back_after_a_power_cut() {
    let mut random = Random::new(8);
    let mut removals = 0;
    for end in 0.. {
        let disk = SimulatedDisk::default();
        let (store, writer) = (open(&disk).unwrap(), open(&disk).unwrap());
        // Only the writer stops here, and it is not yet known to have ended.
        disk.cut_after(disk.operations() + end);
        let is_whole =
            writer.put(Cursor::new(b"content"), Some("a"), Workers::of_this_thread(), NEVER).is_ok();
        disk.cut_after(usize::MAX);
        if store.remove_tag("a", If::Any).unwrap() {
            removals += 1;
            for chance in [Chance::Least, Chance::Most, Chance::Any, Chance::Any] {
                let why = format!("operation {end}, {chance:?}");
                let store = open(&disk.after_power_cut(&mut random, chance)).expect(&why);
                assert_eq!(store.tag("a").expect(&why), None, "{why}");
                store.collect_garbage(Workers::of_this_thread(), None, NEVER).expect(&why);
                assert_eq!(store.tag("a").expect(&why), None, "{why}");
            }
        }
        if is_whole {
            break;
        }
    }
    // Not only after the last operation.
    assert!(removals > 2, "{removals}");
}

#[cfg(feature = "sha256")]
#[test]
fn nars_survive_a_power_cut() {
    use super::archives::tree;
    use crate::nar::naive::encode;

    cut_everywhere(7, |workload, random| {
        let (a, b) = (encode(&tree(random, 1)), encode(&tree(random, 1)));
        workload.put_nar("a", &a)?;
        workload.put_nar("b", &b)?;
        workload.remove("a")?;
        workload.collect()?;
        workload.put_nar("c", &a)
    });
}

/// Returns a content with a byte changed in nearly every chunk.
#[cfg(feature = "zstd")]
fn version(content: &[u8], random: &mut Random) -> Vec<u8> {
    let mut new = content.to_vec();
    for place in (0..new.len()).step_by(300) {
        new[place] = random.below(256) as u8;
    }
    new
}

#[cfg(feature = "zstd")]
#[test]
fn deltas_survive_a_power_cut() {
    cut_everywhere(9, |workload, random| {
        let first = random.bytes(4000);
        let second = version(&first, random);
        let third = version(&second, random);
        workload.put("a", &first)?;
        workload.put("a", &second)?;
        workload.put("a", &third)?;
        // The whole chunks are those of the first version only.
        workload.collect()?;
        workload.put("b", &second)?;
        workload.remove("a")?;
        workload.collect()?;
        workload.put_beside_a_collection("b", &version(&second, random))?;
        workload.repair()
    });
}
