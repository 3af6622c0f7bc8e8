//! Copies objects between stores.

use std::cell::RefCell;
use std::io::Cursor;
use std::path::Path;

use chunker::engine::workers::Workers;
use chunker::hash::{Algorithm, Digest};
use chunker::store::{Copied, FormatOptions, If, Store, StoreOptions};
use chunker::{BatchOptions, Error, ErrorCode, NEVER};

use super::simulated_disk::Random;
use super::small_chunks;

fn open(folder: &Path, name: &str) -> Store {
    Store::open(&folder.join(name), &small_chunks()).unwrap()
}

fn workers() -> Workers {
    Workers::shared(3, crate::POOL).expect("threads")
}

fn put(store: &Store, name: Option<&str>, content: &[u8]) -> Digest {
    store.put(Cursor::new(content.to_vec()), name, workers(), NEVER).unwrap().id
}

fn copy(from: &Store, to: &Store, objects: &[(Digest, Option<&str>)]) -> Result<Copied, Error> {
    from.copy(to, objects, workers(), None, NEVER)
}

fn read(store: &Store, id: &Digest) -> Vec<u8> {
    store.read(id, .., workers(), NEVER).unwrap()
}

fn is_good(store: &Store) -> bool {
    store.check(&BatchOptions::default(), NEVER).unwrap().is_good()
}

#[test]
fn what_is_missing_is_sent_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (open(folder.path(), "from"), open(folder.path(), "to"));
    let mut random = Random::new(1);
    // Enough chunks for nodes of nodes, and packs.
    let (shared, own) = (random.bytes(6_000_000), random.bytes(300_000));
    let both = [shared.clone(), own.clone()].concat();
    let first = put(&from, Some("first"), &shared);
    let second = put(&from, None, &both);
    put(&from, Some("other"), &random.bytes(100_000));

    let copied = copy(&from, &to, &[(first, Some("copy/first"))]).unwrap();
    let count = from.manifest(&first).unwrap().chunk_count;
    assert_eq!((&copied.ids[..], copied.new_chunks, copied.new_bytes), (&[first][..], count, 6_000_000));
    assert!(copied.stored_bytes > 6_000_000);
    assert_eq!(to.tags("").unwrap(), [("copy/first".to_owned(), first)]);
    assert!(read(&to, &first) == shared);

    let copied = copy(&from, &to, &[(second, None), (first, None), (second, Some("b"))]).unwrap();
    assert_eq!(copied.ids, [second, first, second]);
    let digests = |store: &Store, id: &Digest| {
        let (mut digests, mut chunks) = (Vec::new(), store.chunks(id).unwrap());
        while let Some(chunk) = chunks.next_chunk().unwrap() {
            digests.push(chunk.digest);
        }
        digests
    };
    let known = digests(&from, &first);
    let new = digests(&from, &second).iter().filter(|digest| !known.contains(digest)).count();
    assert_eq!(copied.new_chunks, new as u64);
    assert!(copied.new_bytes < 310_000, "{copied:?}");
    assert!(read(&to, &second) == both);

    let again = copy(&from, &to, &[(first, None), (second, None)]).unwrap();
    assert_eq!((again.new_chunks, again.new_bytes, again.stored_bytes), (0, 0, 0));
    assert!(is_good(&to) && is_good(&from));
    // Nothing that the copies need is garbage.
    to.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap();
    assert!(read(&to, &second) == both && read(&to, &first) == shared);
    assert_eq!(to.stats(NEVER).unwrap().objects, 2);
}

#[test]
fn records_keep_their_compression() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = small_chunks();
    options.format.codec = Some(None);
    let to = Store::open(&folder.path().join("to"), &options).unwrap();
    let from = open(folder.path(), "from");
    let id = put(&from, None, &b"content ".repeat(10_000));
    let copied = copy(&from, &to, &[(id, None)]).unwrap();
    assert!(copied.stored_bytes < 10_000, "{copied:?}");
    assert!(read(&to, &id) == b"content ".repeat(10_000));
}

#[test]
fn a_store_with_another_hash_function_gets_the_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let Some(other) = Algorithm::ALL.iter().copied().find(|hash| *hash != Algorithm::ALL[0]) else { return };
    let chunking = small_chunks().format.chunking;
    let format = FormatOptions { hash: Some(other), chunking, ..FormatOptions::default() };
    let options = StoreOptions { format, ..StoreOptions::default() };
    let to = Store::open(&folder.path().join("to"), &options).unwrap();
    let from = open(folder.path(), "from");
    let contents = [Random::new(2).bytes(20_000_000), Vec::new()];
    let [long, empty] = [&contents[0], &contents[1]].map(|content| put(&from, None, content));
    let copied = copy(&from, &to, &[(long, Some("long")), (empty, None), (long, Some("again"))]).unwrap();
    assert_eq!(copied.new_bytes, 20_000_000);
    assert!(read(&to, &copied.ids[0]) == contents[0]);
    assert!(read(&to, &copied.ids[1]).is_empty());
    let id = copied.ids[0];
    assert_eq!(to.tags("").unwrap(), [("again".to_owned(), id), ("long".to_owned(), id)]);
    assert_eq!(to.manifest(&id).unwrap().hash, other.hash(&contents[0]));
    let again = copy(&from, &to, &[(long, None), (empty, None)]).unwrap();
    assert_eq!((again.ids, again.stored_bytes), (copied.ids[..2].to_vec(), 0));
    assert!(is_good(&to));
}

#[test]
fn nothing_is_copied_unless_all_of_it_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (open(folder.path(), "from"), open(folder.path(), "to"));
    let (whole, cut) = (put(&from, None, b"whole"), put(&from, None, &Random::new(3).bytes(100_000)));
    let unknown = Digest([7; 32]);
    let error = copy(&from, &to, &[(whole, Some("a")), (unknown, None)]).unwrap_err();
    assert_eq!(error.code(), "not_found");

    let packs = folder.path().join("from/packs");
    let pack = |min: u64| {
        let folders = std::fs::read_dir(&packs).unwrap().map(|folder| folder.unwrap().path());
        let mut files = folders.flat_map(|folder| std::fs::read_dir(folder).unwrap());
        files.find_map(|file| {
            let file = file.unwrap();
            (file.metadata().unwrap().len() > min).then(|| file.path())
        })
    };
    let path = pack(50_000).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let mut damaged = bytes.clone();
    damaged[50_000] ^= 1;
    std::fs::write(&path, damaged).unwrap();
    let error = copy(&open(folder.path(), "from"), &to, &[(whole, Some("a")), (cut, Some("b"))]).unwrap_err();
    assert_eq!(error.code(), "store_corrupt");
    std::fs::remove_file(&path).unwrap();
    let error = copy(&open(folder.path(), "from"), &to, &[(whole, Some("a")), (cut, Some("b"))]).unwrap_err();
    assert_eq!(error.code(), "chunk_missing");
    assert_eq!(to.tags("").unwrap(), []);
    assert_eq!(to.stats(NEVER).unwrap().objects, 0);

    // What the other store has is not read here.
    std::fs::write(&path, bytes).unwrap();
    copy(&open(folder.path(), "from"), &to, &[(cut, Some("b"))]).unwrap();
    std::fs::remove_file(&path).unwrap();
    let copied = copy(&open(folder.path(), "from"), &to, &[(cut, Some("c"))]).unwrap();
    assert_eq!(copied.new_chunks, 0);
    // And it can give it back.
    let healed = copy(&to, &open(folder.path(), "from"), &[(cut, Some("b"))]).unwrap();
    assert!(healed.new_bytes == 100_000 && is_good(&open(folder.path(), "from")));
}

#[test]
fn a_collection_in_the_other_store_takes_nothing_that_is_copied() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (open(folder.path(), "from"), open(folder.path(), "to"));
    let content = Random::new(4).bytes(100_000);
    let id = put(&from, None, &content);
    put(&to, Some("garbage"), &content);
    to.remove_tag("garbage", If::Any).unwrap();
    // Collected when some of it was found present.
    let (asked, collector) = (RefCell::new(0), open(folder.path(), "to"));
    let during = || {
        *asked.borrow_mut() += 1;
        if *asked.borrow() == 100 {
            assert!(
                collector.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap().deleted_packs > 0
            );
        }
        false
    };
    let copied = from.copy(&to, &[(id, Some("a"))], Workers::of_this_thread(), None, &during).unwrap();
    assert_eq!(copied.new_bytes, 100_000);
    assert!(*asked.borrow() > 100);
    collector.collect_garbage(Workers::of_this_thread(), None, NEVER).unwrap();
    assert!(read(&to, &id) == content && is_good(&to));
}

#[test]
fn progress_is_in_bytes_and_a_copy_can_be_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (open(folder.path(), "from"), open(folder.path(), "to"));
    let ids = [1, 2].map(|seed| put(&from, None, &Random::new(seed).bytes(2_000_000)));
    let objects = [(ids[0], None), (ids[1], None), (ids[0], None)];
    let cancelled = from.copy(&to, &objects, workers(), None, &|| true);
    assert!(matches!(cancelled, Err(Error::Cancelled)));
    assert_eq!(to.stats(NEVER).unwrap().objects, 0);
    let reports = RefCell::new(Vec::new());
    let progress = |done, total| reports.borrow_mut().push((done, total));
    from.copy(&to, &objects, workers(), Some(&progress), NEVER).unwrap();
    let reports = reports.into_inner();
    assert_eq!(reports[0], (0, Some(4_000_000)));
    assert_eq!(reports.last(), Some(&(4_000_000, Some(4_000_000))));
    assert!(reports.is_sorted());
}

#[test]
fn stats_count_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), "store");
    assert_eq!(store.stats(NEVER).unwrap(), chunker::store::Stats::default());
    let id = put(&store, Some("a"), &Random::new(5).bytes(100_000));
    store.set_tag("b", &id, If::Any, NEVER).unwrap();
    put(&store, None, b"kept");
    let stats = store.stats(NEVER).unwrap();
    let chunks = store.manifest(&id).unwrap().chunk_count + 1;
    assert_eq!((stats.tags, stats.objects, stats.unreadable_objects), (2, 2, 0));
    assert_eq!((stats.object_bytes, stats.packs, stats.sessions), (100_004, 2, 0));
    assert!(stats.pack_bytes > 100_004 && stats.pack_bytes < 200_000, "{stats:?}");
    // Two manifests and three commits, and nodes of the longer list.
    assert!(stats.records >= chunks + 5 && stats.records < chunks + 10, "{stats:?}");
    assert!(stats.meta_packs == 3 && stats.index_segments > 0 && stats.index_bytes > 0, "{stats:?}");
    let open = store.session().unwrap();
    assert_eq!(store.stats(NEVER).unwrap().sessions, 1);
    drop(open);
    std::fs::remove_dir_all(folder.path().join("store/meta")).unwrap();
    let stats = self::open(folder.path(), "store").stats(NEVER).unwrap();
    assert_eq!((stats.objects, stats.unreadable_objects, stats.meta_packs), (2, 2, 0));
    assert!(matches!(store.stats(&|| true), Err(Error::Cancelled)));
}
