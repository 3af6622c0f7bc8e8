//! Puts NARs, tars and trees, and reads what is in them.

use std::collections::BTreeMap;
use std::io::Cursor;

use chunker::engine::workers::Workers;
use chunker::engine::{Chunk, Chunking, ChunkingMethod};
use chunker::hash::{Algorithm, Digest};
use chunker::io::source::FromRead;
use chunker::nar::references::Normalizer;
use chunker::nar::scanner::Config;
use chunker::nar::{EntryLimits, Kind, List, NarMethod, OutlineReader, Outliner, read_slice};
use chunker::store::{If, ObjectKind, PutKind, Store, StoreError, Stored};
use chunker::tar::TarMethod;
use chunker::{Error, ErrorCode, NEVER};

use super::simulated_disk::Random;
use super::small_chunks;
use crate::nar::naive::{Tree, encode};
use crate::nar::program;

const NAR: PutKind = PutKind::Nar { references: false };
const WITH_REFERENCES: PutKind = PutKind::Nar { references: true };

fn workers() -> Workers {
    Workers::shared(3, crate::POOL).expect("threads")
}

fn sha256(bytes: &[u8]) -> Digest {
    Algorithm::from_name("sha256").unwrap().unwrap().hash(bytes)
}

fn store_path(random: &mut Random) -> Vec<u8> {
    let digits = b"0123456789abcdfghijklmnpqrsvwxyz";
    let hash: Vec<u8> = (0..32).map(|_| digits[random.below(32)]).collect();
    [b"/nix/store/", &hash[..], b"-name/bin"].concat()
}

/// Returns a folder of files, links and folders, with many store paths in files and links.
pub(super) fn tree(random: &mut Random, depth: usize) -> Tree {
    let mut entries = BTreeMap::new();
    for at in 0..random.below(8) + 1 {
        let entry = match random.below(8) {
            0 => Tree::Link(store_path(random)),
            1 => Tree::Link(b"somewhere".to_vec()),
            2 | 3 if depth > 0 => tree(random, depth - 1),
            4 => Tree::File { executable: false, contents: random.bytes(at) },
            _ => {
                let length = random.below(3000);
                let mut contents = Vec::new();
                while contents.len() < length {
                    let count = random.below(400);
                    contents.extend(random.bytes(count));
                    contents.extend(store_path(random));
                }
                Tree::File { executable: random.below(2) == 0, contents }
            }
        };
        entries.insert(format!("{}-{at}", ["b", "a", "a b"][at % 3]).into_bytes(), entry);
    }
    Tree::Folder(entries)
}

/// Calls `visit` with the path and the node of everything in a tree.
fn walk(tree: &Tree, path: &str, visit: &mut dyn FnMut(&str, &Tree)) {
    visit(path, tree);
    if let Tree::Folder(entries) = tree {
        for (name, entry) in entries {
            let name = String::from_utf8(name.clone()).unwrap();
            let path = if path.is_empty() { name } else { format!("{path}/{name}") };
            walk(entry, &path, visit);
        }
    }
}

/// Puts bytes in both ways, as a source and in pieces, and checks that they are the same object.
fn put(store: &Store, bytes: &[u8], kind: PutKind, name: &str) -> Stored {
    let source = FromRead(Cursor::new(bytes.to_vec()));
    let stored = store.put_as(source, kind, Some(name), workers(), NEVER).unwrap();
    let mut session = store.session().unwrap();
    let mut pieces = session.pieces_as(kind, workers(), NEVER).unwrap();
    for piece in bytes.chunks(777) {
        pieces.push(piece, NEVER).unwrap();
    }
    let again = pieces.finish(NEVER).unwrap();
    session.add(&again);
    session.tag(name, again.id, NEVER).unwrap();
    session.commit(NEVER).unwrap();
    assert_eq!(again, Stored { new_chunks: 0, new_bytes: 0, stored_bytes: 0, ..stored });
    stored
}

fn chunks(store: &Store, id: &Digest) -> Vec<Chunk> {
    let (mut all, mut chunks) = (Vec::new(), store.chunks(id).unwrap());
    while let Some(chunk) = chunks.next_chunk().unwrap() {
        all.push(Chunk { offset: chunk.offset, length: chunk.length as usize, hash: chunk.digest });
    }
    all
}

/// Returns the chunks of the engine without a store.
fn expected_chunks<A: Send>(
    store: &Store,
    bytes: &[u8],
    method: impl ChunkingMethod<A> + 'static,
) -> Vec<Chunk> {
    let work = Chunk::hashed(store.format().hash);
    Chunking::with_method(method, Workers::of_this_thread(), work).slice(bytes, NEVER).unwrap()
}

fn config(store: &Store) -> Config {
    Config { options: store.format().chunking, min_entry_size: None, boundary_preference_distance: None }
}

fn read(store: &Store, id: &Digest) -> Vec<u8> {
    store.read(id, .., workers(), NEVER).unwrap()
}

fn read_file(store: &Store, id: &Digest, path: &str) -> Result<Vec<u8>, Error> {
    read_part(store, id, path, 0..u64::MAX)
}

fn read_part(store: &Store, id: &Digest, path: &str, range: std::ops::Range<u64>) -> Result<Vec<u8>, Error> {
    let mut reader = if range.end == u64::MAX {
        store.file_reader(id, path.as_bytes(), range.start.., workers(), NEVER)?
    } else {
        store.file_reader(id, path.as_bytes(), range, workers(), NEVER)?
    };
    let mut bytes = Vec::new();
    while let Some(pieces) = reader.next_pieces(Vec::new, NEVER)? {
        bytes.extend(pieces.concat());
    }
    Ok(bytes)
}

#[test]
fn an_outline_lists_what_the_nar_lists() {
    for seed in 0..20 {
        let nar = encode(&tree(&mut Random::new(seed), 3));
        let mut outlines = Vec::new();
        for size in [1, 7, 100_000] {
            let (mut outliner, mut outline) = (Outliner::new(), Vec::new());
            nar.chunks(size).for_each(|piece| outliner.feed(piece, &mut outline).unwrap());
            outliner.finish().unwrap();
            outlines.push(outline);
        }
        assert!(outlines.iter().all(|outline| *outline == outlines[0]));
        let listed = read_slice(List::new(), &nar, NEVER).unwrap();
        let contents: u64 = listed.iter().map(|entry| contents(&entry.kind)).sum();
        assert_eq!(outlines[0].len() as u64, nar.len() as u64 - contents);
        for size in [1, 9, 100_000] {
            let (mut reader, mut found) = (OutlineReader::new(), Vec::new());
            for piece in outlines[0].chunks(size) {
                let note = |node: &chunker::nar::Node<'_>| {
                    found.push((node.path.to_vec(), format!("{:?}", node.kind)));
                    Ok::<_, Error>(true)
                };
                reader.feed(piece, note).unwrap();
            }
            reader.finish().unwrap();
            let kinds = listed.iter().map(|entry| match &entry.kind {
                Kind::Symlink { target } => format!("{:?}", Kind::Symlink { target: &target[..] }),
                kind => format!("{kind:?}"),
            });
            assert_eq!(found, listed.iter().map(|entry| entry.path.to_vec()).zip(kinds).collect::<Vec<_>>());
        }
    }
}

fn contents<T>(kind: &Kind<T>) -> u64 {
    if let Kind::Regular { size, .. } = kind { *size } else { 0 }
}

#[test]
fn nars_are_chunked_along_their_files_and_read_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &small_chunks()).unwrap();
    for seed in 0..12 {
        let mut random = Random::new(seed);
        let tree = tree(&mut random, 3);
        let nar = encode(&tree);
        let mut normalized = Vec::new();
        let mut normalizer = Normalizer::new();
        normalizer.feed(&nar, |bytes| normalized.extend_from_slice(bytes));
        normalizer.finish(|bytes| normalized.extend_from_slice(bytes));
        for (kind, chunked) in [(NAR, &nar), (WITH_REFERENCES, &normalized)] {
            let stored = put(&store, &nar, kind, "nar");
            assert_eq!((stored.kind, stored.size), (ObjectKind::Nar, nar.len() as u64));
            assert_eq!(stored.hash, store.format().hash.hash(&nar));
            assert_eq!(stored.nar_hash, Some(sha256(&nar)));
            let manifest = store.manifest(&stored.id).unwrap();
            assert_eq!(
                (manifest.kind, manifest.hash, manifest.nar_hash),
                (stored.kind, stored.hash, stored.nar_hash)
            );
            assert_eq!((manifest.size, manifest.chunk_count), (stored.size, stored.chunk_count));
            let method = NarMethod::new(&config(&store)).unwrap();
            assert_eq!(chunks(&store, &stored.id), expected_chunks(&store, chunked, method));
            assert!(read(&store, &stored.id) == nar);
            for _ in 0..30 {
                let start = random.below(nar.len() + 1);
                let end = (start + random.below(700)).min(nar.len());
                let part = store.read(&stored.id, start as u64..end as u64, workers(), NEVER).unwrap();
                assert!(part == nar[start..end], "{start}..{end}");
            }
            let to = folder.path().join("../restored.nar");
            store.restore_file(&stored.id, &to, workers(), None, NEVER).unwrap();
            assert!(std::fs::read(&to).unwrap() == nar);
            std::fs::remove_file(&to).unwrap();
        }
    }
    assert!(store.check(&Default::default(), NEVER).unwrap().is_good());
}

#[test]
fn equal_packages_in_other_store_paths_share_their_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &small_chunks()).unwrap();
    let package = |hash: &[u8; 32]| {
        let mut random = Random::new(1);
        let mut contents = Vec::new();
        for _ in 0..500 {
            let count = random.below(100);
            contents.extend(random.bytes(count));
            contents.extend([b"/nix/store/", &hash[..], b"-name"].concat());
        }
        encode(&Tree::Folder([(b"a".to_vec(), Tree::File { executable: true, contents })].into()))
    };
    let (one, other) = (package(&[b'a'; 32]), package(&[b'b'; 32]));
    let first = put(&store, &one, WITH_REFERENCES, "one");
    let second = put(&store, &other, WITH_REFERENCES, "other");
    assert!(first.chunk_count > 50 && first.new_chunks == first.chunk_count, "{first:?}");
    assert_eq!((second.chunk_count, second.new_chunks), (first.chunk_count, 0));
    assert_ne!(first.id, second.id);
    assert!(read(&store, &first.id) == one && read(&store, &second.id) == other);
    // Without them, most is new.
    let third = put(&store, &other, NAR, "third");
    assert!(third.new_chunks > third.chunk_count / 2, "{third:?}");
}

#[test]
fn a_long_table_of_references_is_searched() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &small_chunks()).unwrap();
    let mut random = Random::new(3);
    let contents: Vec<u8> = (0..30_000).flat_map(|_| store_path(&mut random)).collect();
    let nar = encode(&Tree::File { executable: false, contents });
    let stored = put(&store, &nar, WITH_REFERENCES, "nar");
    assert!(read(&store, &stored.id) == nar);
    for at in 0..200 {
        let start = if at < 5 { at } else { random.below(nar.len()) };
        let end = (start + random.below(300)).min(nar.len());
        let part = store.read(&stored.id, start as u64..end as u64, workers(), NEVER).unwrap();
        assert!(part == nar[start..end], "{start}..{end}");
    }
    let last = nar.len() as u64;
    assert!(store.read(&stored.id, last - 1000..last, workers(), NEVER).unwrap() == nar[nar.len() - 1000..]);
    assert!(store.read(&stored.id, last..last, workers(), NEVER).unwrap().is_empty());
}

#[test]
fn a_file_in_a_nar_is_read_by_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &small_chunks()).unwrap();
    let to = tempfile::tempdir().unwrap();
    let mut files = 0;
    for (seed, kind) in (0..20).flat_map(|seed| [(seed, NAR), (seed, WITH_REFERENCES)]) {
        let tree = tree(&mut Random::new(seed), 3);
        let id = put(&store, &encode(&tree), kind, "nar").id;
        walk(&tree, "", &mut |path, node| match node {
            Tree::File { contents, .. } => {
                files += 1;
                assert!(read_file(&store, &id, path).unwrap() == *contents);
                assert!(read_file(&store, &id, &format!("/{path}")).unwrap() == *contents);
                let middle = contents.len() as u64 / 2;
                assert!(
                    read_part(&store, &id, path, middle..u64::MAX).unwrap() == contents[middle as usize..]
                );
                assert!(read_part(&store, &id, path, 0..middle).unwrap() == contents[..middle as usize]);
                let beyond = read_part(&store, &id, path, middle..contents.len() as u64 + 1).unwrap_err();
                let size = contents.len() as u64;
                let is_bounds = matches!(beyond, Error::Bounds { data_length, .. } if data_length == size);
                assert!(is_bounds, "{beyond}");
                let file = to.path().join("file");
                store.extract_file(&id, path.as_bytes(), &file, workers(), None, NEVER).unwrap();
                assert!(std::fs::read(&file).unwrap() == *contents);
            }
            Tree::Folder(_) | Tree::Link(_) => {
                let error = read_file(&store, &id, path).unwrap_err();
                let kind = if matches!(node, Tree::Link(_)) { "eloop" } else { "eisdir" };
                let Error::Io(io) = &error else { panic!("{error}") };
                assert_eq!((io.kind(), io.path.as_deref()), (kind, Some(path.as_ref())));
            }
        });
        for missing in ["nothing", "b", "b-0/nothing/x", "zzz"] {
            for error in [
                read_file(&store, &id, missing).unwrap_err(),
                store
                    .entries(&id, missing.as_bytes(), false, EntryLimits::NONE, workers(), NEVER)
                    .unwrap_err(),
            ] {
                assert!(
                    matches!(&error, Error::Store(StoreError::NotFound { name }) if name == missing),
                    "{missing}: {error}"
                );
            }
        }
    }
    assert!(files > 50, "{files}");
    for (kind, name) in [(PutKind::Bytes, "bytes"), (PutKind::Tar, "tar")] {
        let id = put(&store, b"no NAR", kind, name).id;
        let error = read_file(&store, &id, "x").unwrap_err();
        assert_eq!(error.code(), "invalid_options");
        assert!(error.to_string().ends_with(name), "{error}");
    }
}

#[test]
fn entries_are_those_of_the_nar() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &small_chunks()).unwrap();
    let tree = tree(&mut Random::new(5), 3);
    let nar = encode(&tree);
    let id = put(&store, &nar, WITH_REFERENCES, "nar").id;
    let listed = read_slice(List::new(), &nar, NEVER).unwrap();
    let entries = |path: &str, recursive| {
        store.entries(&id, path.as_bytes(), recursive, EntryLimits::NONE, workers(), NEVER).unwrap()
    };
    assert_eq!(entries("", true), listed[1..]);
    walk(&tree, "", &mut |path, node| {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        let below: Vec<_> = listed
            .iter()
            .filter(|entry| match node {
                Tree::Folder(_) => {
                    entry.path.depth() > 0 && entry.path.to_vec().starts_with(prefix.as_bytes())
                }
                _ => entry.path.to_vec() == path.as_bytes(),
            })
            .cloned()
            .collect();
        assert_eq!(entries(path, true), below, "{path}");
        let depth = if path.is_empty() { 1 } else { path.split('/').count() + 1 };
        let direct: Vec<_> = below.into_iter().filter(|entry| entry.path.depth() <= depth).collect();
        assert_eq!(entries(path, false), direct, "{path}");
    });
    let limits = EntryLimits { max_entries: 3, ..EntryLimits::NONE };
    let error = store.entries(&id, b"", true, limits, workers(), NEVER).unwrap_err();
    assert!(matches!(error, Error::Limit { option: "max_entries", limit: 3 }), "{error}");
}

#[test]
fn what_is_no_nar_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &small_chunks()).unwrap();
    let nar = encode(&tree(&mut Random::new(6), 2));
    let (mut long, mut wrong) = (nar.clone(), nar.clone());
    long.push(0);
    let end = wrong.len() - 9;
    wrong[end] ^= 1;
    let cases = [b"something else", &nar[..nar.len() - 1], &nar[..100], &nar[..0], &long, &wrong];
    for bytes in cases {
        for kind in [NAR, WITH_REFERENCES] {
            let expected = read_slice(List::new(), bytes, NEVER).unwrap_err().to_string();
            let source = FromRead(Cursor::new(bytes.to_vec()));
            let error = store.put_as(source, kind, Some("nar"), workers(), NEVER).unwrap_err();
            assert!(matches!(error, Error::Nar(_)) && error.to_string() == expected, "{error}");
            let mut session = store.session().unwrap();
            let mut pieces = session.pieces_as(kind, workers(), NEVER).unwrap();
            let pushed = bytes.chunks(100).try_for_each(|piece| pieces.push(piece, NEVER));
            let error = pushed.and_then(|()| pieces.finish(NEVER).map(drop)).unwrap_err();
            assert!(matches!(error, Error::Nar(_)) && error.to_string() == expected, "{error}");
            // What others of the session rely on may be missing.
            assert_eq!(session.commit(NEVER).unwrap_err().code(), "cancelled");
        }
    }
    assert!(store.tags("").unwrap().is_empty());
    let collected = store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap();
    assert_eq!((collected.objects, collected.packs), (0, 0));
}

#[test]
fn tars_are_chunked_along_their_members() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &small_chunks()).unwrap();
    let mut random = Random::new(7);
    let mut tar = Vec::new();
    for at in 0..40 {
        let contents = random.bytes([10, 500, 3000, 9000][at % 4]);
        let size = crate::tar::writer::octal(contents.len());
        tar.extend(crate::tar::writer::header(format!("file{at}").as_bytes(), b'0', &size, false));
        crate::tar::writer::append(&mut tar, &contents);
    }
    tar.extend([0; 1024]);
    for bytes in [&tar[..], &tar[..tar.len() / 2], b"no tar", &random.bytes(10_000), b""] {
        let stored = put(&store, bytes, PutKind::Tar, "tar");
        assert_eq!((stored.kind, stored.nar_hash), (ObjectKind::Tar, None));
        assert_eq!(store.manifest(&stored.id).unwrap().kind, ObjectKind::Tar);
        assert!(read(&store, &stored.id) == bytes);
        let method = TarMethod::new(&config(&store)).unwrap();
        assert_eq!(chunks(&store, &stored.id), expected_chunks::<()>(&store, bytes, method));
        let target = folder.path().join("../unpacked");
        let error = store.restore_tree(&stored.id, &target, workers(), None, NEVER).unwrap_err();
        assert!(error.code() == "invalid_options" && error.to_string().contains("a tar"), "{error}");
        assert!(!target.exists());
    }
    let plain = put(&store, &tar, PutKind::Bytes, "plain");
    let along = put(&store, &tar, PutKind::Tar, "tar");
    assert_ne!(chunks(&store, &plain.id), chunks(&store, &along.id));
}

#[test]
fn trees_are_kept_as_nix_keeps_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store"), &small_chunks()).unwrap();
    for seed in 10..14 {
        let nar = encode(&tree(&mut Random::new(seed), 3));
        let file = folder.path().join("nar");
        std::fs::write(&file, &nar).unwrap();
        let tree = folder.path().join(format!("tree{seed}"));
        program::restore(&file, &tree);
        assert!(program::dump(&tree) == nar);
        for references in [false, true] {
            let stored = store.put_tree(&tree, references, Some("tree"), workers(), None, NEVER).unwrap();
            assert_eq!(stored.id, put(&store, &nar, PutKind::Nar { references }, "nar").id);
            let mut session = store.session().unwrap();
            let again = session.put_tree(&tree, references, workers(), None, NEVER).unwrap();
            assert_eq!((again.id, again.stored_bytes), (stored.id, 0));
            drop(session);
            let restored = folder.path().join(format!("restored{seed}{references}"));
            store.restore_tree(&stored.id, &restored, workers(), None, NEVER).unwrap();
            assert!(program::dump(&restored) == nar);
            let error = store.restore_tree(&stored.id, &restored, workers(), None, NEVER).unwrap_err();
            assert!(matches!(&error, Error::Io(io) if io.kind() == "eexist"), "{error}");
            assert!(program::dump(&restored) == nar);
        }
        let stored = store.put_file_as(&file, NAR, None, workers(), None, NEVER).unwrap();
        let hash = chunker::hash::nix_base32::encode(&stored.nar_hash.unwrap().0);
        assert_eq!(format!("sha256:{hash}"), program::hash(&tree));
    }
    let error = store.put_tree(&folder.path().join("none"), false, None, workers(), None, NEVER).unwrap_err();
    assert!(matches!(&error, Error::Io(io) if io.kind() == "enoent"), "{error}");
    let id = put(&store, b"bytes", PutKind::Bytes, "bytes").id;
    let error = store.restore_tree(&id, &folder.path().join("x"), workers(), None, NEVER).unwrap_err();
    assert_eq!(error.code(), "invalid_options");
}

#[test]
fn half_a_tree_is_never_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = Store::open(&path, &small_chunks()).unwrap();
    let id = put(&store, &encode(&tree(&mut Random::new(15), 3)), NAR, "nar").id;
    std::fs::remove_dir_all(path.join("packs")).unwrap();
    let store = Store::open(&path, &small_chunks()).unwrap();
    let target = folder.path().join("target");
    let error = store.restore_tree(&id, &target, workers(), None, NEVER).unwrap_err();
    assert_eq!(error.code(), "chunk_missing");
    assert_eq!(read_file(&store, &id, "a-1").unwrap_err().code(), "chunk_missing");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// A store with a NAR and, in packs of their own, the chunks of its outline and of its table of references,
/// which an object of their own had put there before.
struct Shared {
    folder: tempfile::TempDir,
    store: Store,
    nar: Vec<u8>,
    references: Vec<u8>,
    outline: Vec<u8>,
}

fn shared() -> Shared {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &small_chunks()).unwrap();
    let nar = encode(&tree(&mut Random::new(16), 3));
    let mut outline = Vec::new();
    Outliner::new().feed(&nar, &mut outline).unwrap();
    let mut normalizer = Normalizer::new();
    normalizer.feed(&nar, |_| ());
    let references = normalizer.take_references();
    let references = references
        .iter()
        .flat_map(|found| [&found.position.to_le_bytes()[..], &found.hash].concat())
        .collect();
    Shared { folder, store, nar, references, outline }
}

impl Shared {
    fn put_parts(&self) {
        for (name, part) in [("references", &self.references), ("outline", &self.outline)] {
            self.store.put(Cursor::new(part.clone()), Some(name), workers(), NEVER).unwrap();
        }
    }

    fn remove_parts(&self) {
        for name in ["references", "outline"] {
            assert!(self.store.remove_tag(name, If::Any).unwrap());
        }
    }

    fn packs(&self) -> Vec<std::path::PathBuf> {
        let folders = std::fs::read_dir(self.folder.path().join("packs")).unwrap();
        let packs = folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
        packs.map(|pack| pack.unwrap().path()).collect()
    }

    fn assert_whole(&self, id: &Digest) {
        let store = Store::open(self.folder.path(), &small_chunks()).unwrap();
        assert!(read(&store, id) == self.nar);
        let listed = read_slice(List::new(), &self.nar, NEVER).unwrap();
        let entries = store.entries(id, b"", true, EntryLimits::NONE, workers(), NEVER).unwrap();
        assert_eq!(entries, listed[1..]);
        assert!(store.check(&Default::default(), NEVER).unwrap().is_good());
    }
}

#[test]
fn a_collection_keeps_what_belongs_to_a_nar() {
    let shared = shared();
    shared.put_parts();
    let stored = shared.store.put_as(
        FromRead(Cursor::new(shared.nar.clone())),
        WITH_REFERENCES,
        Some("nar"),
        workers(),
        NEVER,
    );
    shared.remove_parts();
    let collected = shared.store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap();
    assert_eq!((collected.objects, shared.packs().len()), (1, 3));
    shared.assert_whole(&stored.unwrap().id);
    shared.store.remove_tag("nar", If::Any).unwrap();
    assert_eq!(shared.store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap().packs, 0);
}

#[test]
fn a_pack_that_is_rewritten_keeps_what_belongs_to_a_nar() {
    let shared = shared();
    let mut session = shared.store.session().unwrap();
    let large = FromRead(Cursor::new(Random::new(17).bytes(10 * shared.nar.len())));
    let large = session.put(large, workers(), NEVER).unwrap();
    session.tag("large", large.id, NEVER).unwrap();
    let source = FromRead(Cursor::new(shared.nar.clone()));
    let stored = session.put_as(source, WITH_REFERENCES, workers(), NEVER).unwrap();
    session.tag("nar", stored.id, NEVER).unwrap();
    session.commit(NEVER).unwrap();
    shared.store.remove_tag("large", If::Any).unwrap();
    assert!(
        shared.store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap().rewritten_bytes > 0
    );
    shared.assert_whole(&stored.id);
}

#[test]
fn a_session_is_fenced_if_what_belongs_to_its_nar_was_deleted() {
    for lost in [&["references"][..], &["outline"], &["references", "outline"]] {
        let shared = shared();
        shared.put_parts();
        let mut session = shared.store.session().unwrap();
        let source = || FromRead(Cursor::new(shared.nar.clone()));
        session.put_as(source(), WITH_REFERENCES, workers(), NEVER).unwrap();
        for name in lost {
            shared.store.remove_tag(name, If::Any).unwrap();
        }
        assert_eq!(
            shared.store.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap().deleted_packs,
            2 * lost.len() as u64
        );
        assert_eq!(session.commit(NEVER).unwrap_err().code(), "session_fenced");
        let stored = shared.store.put_as(source(), WITH_REFERENCES, Some("nar"), workers(), NEVER).unwrap();
        shared.assert_whole(&stored.id);
    }
}

#[test]
fn a_check_finds_that_what_belongs_to_a_nar_is_missing() {
    let shared = shared();
    shared.put_parts();
    let source = FromRead(Cursor::new(shared.nar.clone()));
    let stored = shared.store.put_as(source, WITH_REFERENCES, Some("nar"), workers(), NEVER).unwrap();
    shared.remove_parts();
    let packs = shared.packs();
    assert_eq!(packs.len(), 3);
    for pack in packs {
        let bytes = std::fs::read(&pack).unwrap();
        std::fs::remove_file(&pack).unwrap();
        let store = Store::open(shared.folder.path(), &small_chunks()).unwrap();
        let report = store.check(&Default::default(), NEVER).unwrap();
        let incomplete: Vec<_> = report.incomplete.iter().map(|object| object.id).collect();
        assert_eq!(incomplete, [stored.id]);
        std::fs::write(&pack, bytes).unwrap();
        shared.assert_whole(&stored.id);
    }
}
