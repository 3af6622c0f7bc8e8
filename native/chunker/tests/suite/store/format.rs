//! Reads a store as docs/store-format.md describes it, with another program.

use std::io::Cursor;
use std::path::Path;
use std::process::Command;

use chunker::NEVER;
use chunker::cdc::Options;
use chunker::codec::Codec;
use chunker::engine::workers::Workers;
use chunker::hash::Algorithm;
use chunker::store::{FormatOptions, Store, StoreOptions};

use super::simulated_disk::Random;

/// Returns an object of a store as the program in Python reads it, or its error.
fn read_from_python(store: &Path, name: &str) -> Result<Vec<u8>, String> {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/../../test/support/read_store.py");
    let output = Command::new("python3").arg(program).arg(store).arg(name).output();
    let output = output.expect("python3 is installed");
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

#[test]
fn an_object_is_read_from_packs_alone_in_another_language() {
    let sha256 = Algorithm::from_name("sha256").ok().flatten();
    for (hash, codec) in [(sha256, Some(Codec::Zstd)), (None, None), (sha256, Some(Codec::Xz))] {
        if codec.is_some_and(|codec| !codec.is_enabled()) {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let chunking = Options::with_average(1024);
        let format =
            FormatOptions { hash, chunking: Some(chunking), codec: Some(codec), ..FormatOptions::default() };
        let store = Store::open(folder.path(), &StoreOptions { format, ..StoreOptions::default() }).unwrap();
        let mut random = Random::new(1);
        let text: Vec<u8> =
            (0..20_000).map(|at| b"words and words "[at % 16] ^ (random.below(50) == 0) as u8).collect();
        // Two records in zeros, and others of a codec; enough chunks for nodes without running a program for
        // each.
        let noise = if codec.is_none() { random.bytes(3_000_000) } else { random.bytes(3000) };
        for (name, content) in [("text", text), ("a/b", noise), ("empty", Vec::new())] {
            store.put(Cursor::new(content.clone()), Some(name), Workers::of_this_thread(), NEVER).unwrap();
            assert!(read_from_python(folder.path(), name) == Ok(content), "{name}");
        }
        let error = read_from_python(folder.path(), &"0".repeat(64)).unwrap_err();
        assert!(error.contains("KeyError"), "{error}");
    }
}

#[cfg(feature = "sha256")]
#[test]
fn archives_are_read_from_packs_alone_in_another_language() {
    use chunker::io::source::FromRead;
    use chunker::store::{ObjectKind, PutKind};

    let folder = tempfile::tempdir().unwrap();
    let format = FormatOptions { codec: Some(None), ..super::small_chunks().format };
    let store = Store::open(folder.path(), &StoreOptions { format, ..StoreOptions::default() }).unwrap();
    let nar = crate::nar::naive::encode(&super::archives::tree(&mut Random::new(3), 3));
    for (kind, object) in [
        (PutKind::Nar { references: true }, ObjectKind::Nar),
        (PutKind::Nar { references: false }, ObjectKind::Nar),
        (PutKind::Tar, ObjectKind::Tar),
    ] {
        let source = FromRead(Cursor::new(nar.clone()));
        let stored = store.put_as(source, kind, Some("a"), Workers::of_this_thread(), NEVER).unwrap();
        assert_eq!(stored.kind, object);
        assert!(read_from_python(folder.path(), "a").unwrap() == nar, "{kind:?}");
    }
}

#[cfg(feature = "zstd")]
#[test]
fn deltas_are_read_from_packs_alone_in_another_language() {
    let folder = tempfile::tempdir().unwrap();
    let chunking = Options::with_average(8192);
    let format = FormatOptions { chunking: Some(chunking), deltas: Some(true), ..FormatOptions::default() };
    let store = Store::open(folder.path(), &StoreOptions { format, ..StoreOptions::default() }).unwrap();
    let mut random = Random::new(4);
    let mut content = random.bytes(60_000);
    for version in 0..6 {
        let target = Some("a");
        store.put(Cursor::new(content.clone()), target, Workers::of_this_thread(), NEVER).unwrap();
        assert!(read_from_python(folder.path(), "a").unwrap() == content, "{version}");
        for place in (0..content.len()).step_by(3000) {
            content[place] ^= 1 << version;
        }
    }
    let stats = store.stats(NEVER).unwrap();
    assert!(stats.deltas > stats.chunks / 2, "{stats:?}");
}

#[test]
fn packs_are_named_by_their_blake3() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &super::small_chunks()).unwrap();
    store.put(Cursor::new(Random::new(2).bytes(50_000)), None, Workers::of_this_thread(), NEVER).unwrap();
    let mut packs = 0;
    for section in ["packs", "meta", "index"] {
        let mut folders = vec![folder.path().join(section)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let hash =
                    Algorithm::from_name("blake3").unwrap().unwrap().hash(&std::fs::read(&path).unwrap());
                assert_eq!(path.file_name().unwrap().to_str(), Some(&*format!("{hash:?}")));
                packs += 1;
            }
        }
    }
    assert_eq!(packs, 3);
}
