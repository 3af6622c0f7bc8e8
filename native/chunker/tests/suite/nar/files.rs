//! Reads and writes the file system when it fails or changes.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use chunker::engine::workers::Workers;
use chunker::error::IoError;
use chunker::hash::Algorithm;
use chunker::io::file::{Input, OnChange};
use chunker::io::source::{FromRead, Source};
use chunker::nar::{
    Dump, Hash, List, MAX_DEPTH, NarConsumer, NarError, ReadFile, Restore, Rule, dump_file, read_slice,
    read_source,
};
use chunker::{Error, ErrorCode, NEVER};
use tempfile::TempDir;

use super::folder;
use super::naive::{self, Tree};
use crate::inputs;

const ANY: Algorithm = Algorithm::ALL[0];

fn file(contents: &[u8]) -> Tree {
    Tree::File { executable: false, contents: contents.into() }
}

fn tree<const N: usize>(entries: [(&str, Tree); N]) -> Tree {
    Tree::Folder(entries.into_iter().map(|(name, node)| (name.as_bytes().to_vec(), node)).collect())
}

/// Returns the kind and the path of an error of the operating system.
fn os_error<T>(result: Result<T, Error>) -> (&'static str, PathBuf) {
    match result {
        Err(Error::Io(error)) => (error.kind(), error.path.clone().unwrap()),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it succeeded"),
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn dumped(path: &Path) -> Result<Vec<u8>, Error> {
    let mut dump = Dump::new(path);
    let (mut nar, mut buffer) = (Vec::new(), vec![0; 777]);
    loop {
        match dump.read(&mut buffer)? {
            Some(0) => return Ok(nar),
            Some(count) => nar.extend(&buffer[..count]),
            None => panic!("it waits"),
        }
    }
}

#[test]
fn nodes_that_no_nar_can_hold_are_rejected_with_their_path() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    fs::create_dir(root.join("inner")).unwrap();
    for name in ["inner/fifo", "fifo"] {
        let path = root.join(name);
        let name = CString::new(path.as_os_str().as_bytes()).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &name,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        assert_eq!(os_error(dumped(root)), ("enotsup", path.clone()));
        assert_eq!(os_error(dumped(&path)), ("enotsup", path.clone()));
        fs::remove_file(&path).unwrap();
    }
    let socket = root.join("inner/socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    assert_eq!(os_error(dumped(root)), ("enotsup", socket));
    assert_eq!(os_error(dumped(Path::new("/dev/null"))), ("enotsup", "/dev/null".into()));
    assert_eq!(os_error(dumped(&root.join("missing"))), ("enoent", root.join("missing")));
    assert_eq!(os_error(dumped(Path::new(""))), ("enoent", "".into()));
    assert_eq!(os_error(dumped(Path::new("/etc/passwd/x"))), ("enotdir", "/etc/passwd/x".into()));
}

#[test]
fn a_tree_that_is_too_deep_for_a_nar_is_rejected() {
    let folder = TempDir::new().unwrap();
    let mut path = folder.path().join("root");
    for _ in 0..MAX_DEPTH - 1 {
        path.push("d");
    }
    fs::create_dir_all(&path).unwrap();
    let root = folder.path().join("root");
    let nar = dumped(&root).unwrap();
    assert_eq!(read_slice(List::new(), &nar, NEVER).unwrap().len(), MAX_DEPTH);
    fs::write(path.join("e"), "").unwrap();
    match dumped(&root) {
        Err(Error::TreeTooDeep { path: deep, limit }) => assert_eq!((deep, limit), (path.join("e"), 63)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_that_changes_while_it_is_read_is_detected() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("file");
    type Change = fn(&Path);
    let changes: [(&str, Change); 3] = [
        ("shrinks", |path| OpenOptions::new().write(true).open(path).unwrap().set_len(5000).unwrap()),
        ("grows", |path| OpenOptions::new().append(true).open(path).unwrap().write_all(b"x").unwrap()),
        ("is emptied", |path| drop(File::create(path).unwrap())),
    ];
    for (how, change) in changes {
        fs::write(&path, vec![1; 10_000]).unwrap();
        let mut dump = Dump::new(folder.path());
        let mut buffer = vec![0; 4000];
        dump.read(&mut buffer).unwrap();
        change(&path);
        let error = loop {
            match dump.read(&mut buffer) {
                Ok(count) => assert_ne!(count, Some(0), "the file {how}"),
                Err(error) => break error,
            }
        };
        assert!(matches!(&error, Error::FileChanged { path: changed } if *changed == path), "{how}: {error}");
    }
}

#[test]
fn a_snapshot_of_a_file_that_grows_is_dumped() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log");
    for (length, is_complete) in [(10_001, true), (20_000, true), (9_999, false), (0, false)] {
        fs::write(&path, vec![1; 10_000]).unwrap();
        let mut dump = Dump::new(&path).on_change(OnChange::Snapshot);
        let mut nar = vec![0; 4000];
        assert_eq!(dump.fill(&mut nar, NEVER).unwrap(), 4000);
        OpenOptions::new().write(true).open(&path).unwrap().set_len(length).unwrap();
        let mut rest = vec![0; 20_000];
        let filled = dump.fill(&mut rest, NEVER);
        if is_complete {
            nar.extend(&rest[..filled.unwrap()]);
            assert_eq!(nar, naive::encode(&file(&[1; 10_000])), "{length}");
        } else {
            assert_eq!(filled.unwrap_err().code(), "file_changed", "{length}");
        }
    }
    // A file that is shorter after its last byte was read may have been written anew before.
    fs::write(&path, vec![1; 10_000]).unwrap();
    let mut dump = Dump::new(&path).on_change(OnChange::Snapshot);
    // The contents begin at byte 96.
    assert_eq!(dump.fill(&mut vec![0; 10_096], NEVER).unwrap(), 10_096);
    fs::write(&path, "anew").unwrap();
    assert_eq!(dump.fill(&mut [0; 100], NEVER).unwrap_err().code(), "file_changed");
}

#[test]
fn a_file_that_reports_a_size_of_zero_is_dumped_as_empty() {
    // Like Nix. The content of such a file is generated when it is read.
    let nar = dumped(Path::new("/proc/self/status")).unwrap();
    assert_eq!(nar, naive::encode(&file(b"")));
}

#[test]
fn a_dump_is_complete_or_absent() {
    check_interrupted_dumps(Workers::of_this_thread());
    check_interrupted_dumps(Workers::shared(2, crate::POOL).unwrap());
}

fn check_interrupted_dumps(workers: Workers) {
    let folder = TempDir::new().unwrap();
    let [source, fifo, into] = ["source", "source/fifo", "into"].map(|name| folder.path().join(name));
    folder::make(&tree([("a", file(&inputs::random(1, 3_000_000)))]), &source);
    fs::write(&into, "old").unwrap();
    let name = CString::new(fifo.as_os_str().as_bytes()).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &name, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert_eq!(os_error(dump_file(&source, &into, OnChange::Error, ANY, workers, NEVER)).0, "enotsup");
    assert_eq!(fs::read(&into).unwrap(), b"old");
    fs::remove_file(&fifo).unwrap();
    assert_eq!(
        dump_file(&source, &into, OnChange::Error, ANY, workers, &|| true).unwrap_err().code(),
        "cancelled"
    );
    assert_eq!(fs::read(&into).unwrap(), b"old");
    assert_eq!(names(folder.path()), ["into", "source"]);

    // Into the tree itself, twice.
    let mut before = dumped(&source).unwrap();
    let inside = source.join("inside");
    for _ in 0..2 {
        dump_file(&source, &inside, OnChange::Error, ANY, workers, NEVER).unwrap();
        assert_eq!(fs::read(&inside).unwrap(), before);
        before = dumped(&source).unwrap();
    }
    fs::remove_file(&inside).unwrap();

    let link = folder.path().join("link");
    symlink("into", &link).unwrap();
    let digest = dump_file(&source, &link, OnChange::Error, ANY, workers, NEVER).unwrap();
    let nar = fs::read(&into).unwrap();
    assert_eq!(ANY.hash(&nar), digest);
    assert!(link.is_symlink());
    assert_eq!(names(folder.path()), ["into", "link", "source"]);

    let [dangling, missing] = ["dangling", "missing/into"].map(|name| folder.path().join(name));
    symlink("nowhere", &dangling).unwrap();
    for (into, kind) in [
        (source.as_path(), "eexist"),
        (Path::new("/dev/null"), "eexist"),
        (&dangling, "eexist"),
        (&missing, "enoent"),
        (Path::new(""), "enoent"),
        (Path::new("/"), "eexist"),
    ] {
        assert_eq!(
            os_error(dump_file(&source, into, OnChange::Error, ANY, workers, NEVER)),
            (kind, into.into())
        );
    }
    assert_eq!(names(folder.path()), ["dangling", "into", "link", "source"]);
}

fn restore(nar: &[u8], target: &Path) -> Result<(), Error> {
    read_slice(Restore::new(target)?, nar, NEVER)
}

#[test]
fn only_a_new_path_is_restored_to() {
    let folder = TempDir::new().unwrap();
    let nar = naive::encode(&tree([("a", file(b"new"))]));
    for (name, make) in [
        ("file", (|path| fs::write(path, "old").unwrap()) as fn(&Path)),
        ("folder", |path| fs::create_dir(path).unwrap()),
        ("dangling", |path| symlink("nowhere", path).unwrap()),
        ("link", |path| symlink("folder", path).unwrap()),
    ] {
        let target = folder.path().join(name);
        make(&target);
        let before = folder::walk(folder.path());
        assert_eq!(os_error(restore(&nar, &target)), ("eexist", target));
        assert_eq!(folder::walk(folder.path()), before);
    }
    for (target, kind) in [("missing/target", "enoent"), ("file/target", "enotdir"), ("missing/..", "enoent")]
    {
        let target = folder.path().join(target);
        assert_eq!(os_error(restore(&nar, &target)), (kind, target));
    }
    assert_eq!(os_error(restore(&nar, Path::new(""))), ("enoent", "".into()));
    for target in ["/", ".", ".."] {
        assert_eq!(os_error(restore(&nar, Path::new(target))), ("eexist", target.into()));
    }
    let nul = folder.path().join(std::ffi::OsStr::from_bytes(b"nul\0"));
    assert_eq!(os_error(restore(&nar, &nul)).0, "einval");
}

#[test]
fn a_restored_tree_does_not_depend_on_pieces_and_threads() {
    let folder = TempDir::new().unwrap();
    // More files in a folder and more folders than are written at a time, and files longer than a piece.
    let many = |seed: u64, count: u64, longest: usize| {
        Tree::Folder(
            (0..count)
                .map(|i| {
                    let contents = inputs::random(seed + i, (i * 7919) as usize % (longest + 1));
                    (format!("{i}").into_bytes(), Tree::File { executable: i % 3 == 0, contents })
                })
                .collect(),
        )
    };
    let folders = (0..100).map(|i| (format!("{i}").into_bytes(), many(i * 1000, i % 4, 300)));
    let nested = (0..40).fold(many(1, 2, 10), |inner, i| {
        Tree::Folder([(b"a".to_vec(), inner), (b"b".to_vec(), file(&[i; 5]))].into())
    });
    let Tree::Folder(mut entries) = folder::odd() else { unreachable!() };
    entries.extend([
        (b"deep".to_vec(), nested),
        (b"folders".to_vec(), Tree::Folder(folders.collect())),
        (b"large".to_vec(), file(&inputs::random(2, 1_500_000))),
        (b"many".to_vec(), many(3, 500, 2000)),
    ]);
    let tree = Tree::Folder(entries);
    let nar = naive::encode(&tree);
    let made = folder.path().join("made");
    folder::make(&tree, &made);
    let expected = folder::walk(&made);
    for (threads, piece, together) in
        [(1, 1000, 1), (3, 1000, 1), (3, 4096, 50), (2, 100_000, 3), (3, nar.len(), 1), (1, nar.len(), 1)]
    {
        let target = folder.path().join("target");
        let mut restore = Restore::new(&target).unwrap();
        let workers = Workers::shared(threads, 3).unwrap();
        let pieces: Vec<&[u8]> = nar.chunks(piece).collect();
        for pieces in pieces.chunks(together) {
            restore.feed_pieces(pieces, workers, NEVER).unwrap();
        }
        restore.finish().unwrap();
        assert!(folder::walk(&target) == expected, "{threads} threads, {together} pieces of {piece} bytes");
        fs::remove_dir_all(&target).unwrap();
    }
}

#[test]
fn a_target_that_appears_during_the_restore_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let target = folder.path().join("target");
    let nar = naive::encode(&tree([("a", file(b"new"))]));
    let mut restore = Restore::new(&target).unwrap();
    restore.feed(&nar).unwrap();
    // A plain rename would replace an empty folder.
    fs::create_dir(&target).unwrap();
    assert_eq!(os_error(restore.finish()), ("eexist", target.clone()));
    assert_eq!(names(folder.path()), ["target"]);
    assert_eq!(names(&target), [""; 0]);
}

#[test]
fn nothing_is_written_through_a_symbolic_link() {
    let folder = TempDir::new().unwrap();
    let [outside, target] = ["outside", "target"].map(|name| folder.path().join(name));
    fs::create_dir(&outside).unwrap();
    // A link, and then a folder of the same name with a file in it: rejected as unsorted before anything is
    // written.
    let link = Tree::Link(outside.as_os_str().as_bytes().to_vec());
    let good = naive::encode(&tree([("a", link), ("b", tree([("file", file(b"x"))]))]));
    let name = good.windows(16).position(|window| window == b"\x01\0\0\0\0\0\0\0b\0\0\0\0\0\0\0").unwrap();
    let mut bad = good;
    bad[name + 8] = b'a';
    match restore(&bad, &target) {
        Err(Error::Nar(error)) => {
            assert_eq!(error, NarError { offset: name as u64 + 8, rule: Rule::NamesUnsorted });
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(names(folder.path()), ["outside"]);
    assert_eq!(names(&outside), [""; 0]);
}

/// Returns the staging folder of the restore.
fn unpacking(folder: &Path) -> PathBuf {
    let names: Vec<_> = names(folder).into_iter().filter(|name| name.starts_with(".chunker-")).collect();
    assert_eq!(names.len(), 1, "{names:?}");
    folder.join(&names[0])
}

#[test]
fn files_that_appear_in_the_staging_folder_are_neither_opened_nor_followed() {
    // Imitates a file system that ignores case, where two names are the same file: an existing file is an
    // error.
    let nar = naive::encode(&tree([
        ("a", file(&[1; 1000])),
        ("b", file(b"x")),
        ("c", tree([("file", file(b"x"))])),
        ("d", Tree::Link(b"x".to_vec())),
    ]));
    let start = nar.windows(8).position(|window| window == [1; 8]).unwrap();
    for name in ["b", "c", "d"] {
        let folder = TempDir::new().unwrap();
        let [outside, target] = ["outside", "target"].map(|name| folder.path().join(name));
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "kept").unwrap();
        let mut restore = Restore::new(&target).unwrap();
        restore.feed(&nar[..start + 1]).unwrap();
        let link = if name == "b" { outside.join("kept") } else { outside.clone() };
        symlink(link, unpacking(folder.path()).join(name)).unwrap();
        let fed = restore.feed(&nar[start + 1..]);
        assert_eq!(os_error(fed), ("eexist", target.join(name)));
        drop(restore);
        assert_eq!(names(folder.path()), ["outside"]);
        assert_eq!(names(&outside), ["kept"]);
        assert_eq!(fs::read(outside.join("kept")).unwrap(), b"kept");
    }
}

#[test]
fn a_folder_that_is_moved_away_takes_its_files_with_it() {
    let nar = naive::encode(&tree([("d", tree([("e", file(&[1; 1000])), ("f", file(b"x"))]))]));
    let start = nar.windows(8).position(|window| window == [1; 8]).unwrap();
    let folder = TempDir::new().unwrap();
    let [outside, moved, target] = ["outside", "moved", "target"].map(|name| folder.path().join(name));
    fs::create_dir(&outside).unwrap();
    let mut restore = Restore::new(&target).unwrap();
    restore.feed(&nar[..start + 1]).unwrap();
    let inner = unpacking(folder.path()).join("d");
    fs::rename(&inner, &moved).unwrap();
    symlink(&outside, &inner).unwrap();
    restore.feed(&nar[start + 1..]).unwrap();
    assert_eq!(names(&outside), [""; 0]);
    assert_eq!(names(&moved), ["e", "f"]);
    drop(restore);
    assert_eq!(names(&outside), [""; 0]);
    assert_eq!(names(folder.path()), ["moved", "outside"]);
}

#[test]
fn a_cancelled_call_leaves_nothing_behind() {
    let folder = TempDir::new().unwrap();
    let target = folder.path().join("target");
    let nar = naive::encode(&folder::odd());
    let asked = std::cell::Cell::new(0);
    let later = || asked.replace(asked.get() + 1) > 2;
    let error = read_slice(Restore::new(&target).unwrap(), &nar, &later).unwrap_err();
    assert_eq!(error.code(), "cancelled");
    assert_eq!(names(folder.path()), [""; 0]);
    let error = read_source(Restore::new(&target).unwrap(), FromRead(&nar[..]), &|| true).unwrap_err();
    assert_eq!(error.code(), "cancelled");
    assert_eq!(names(folder.path()), [""; 0]);
}

#[cfg(feature = "sha256")]
#[test]
fn cancelling_does_not_wait_for_a_large_folder() {
    let folder = TempDir::new().unwrap();
    for number in 0..5_000 {
        File::create(folder.path().join(number.to_string())).unwrap();
    }
    // The first poll comes before the folder is opened, and four come while it is read.
    for questions in 1..=5 {
        let asked = std::cell::Cell::new(0);
        let later = || asked.replace(asked.get() + 1) + 1 == questions;
        let mut buffer = [0; 100];
        let error = Dump::new(folder.path()).fill(&mut buffer, &later).unwrap_err();
        assert_eq!((error.code(), asked.get()), ("cancelled", questions));
    }
    let empty = || Tree::File { executable: false, contents: Vec::new() };
    let tree = Tree::Folder((0..5_000).map(|number| (number.to_string().into_bytes(), empty())).collect());
    assert_eq!(dumped(folder.path()).unwrap(), naive::encode(&tree));
}

/// Counts the bytes that are read from a file.
struct Counting(Input, std::rc::Rc<std::cell::Cell<u64>>);

impl Source for Counting {
    fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Error> {
        let count = self.0.read(buffer)?;
        self.1.set(self.1.get() + count.unwrap_or(0) as u64);
        Ok(count)
    }

    fn skip(&mut self, count: u64) -> Result<u64, Error> {
        self.0.skip(count)
    }
}

#[test]
fn skipped_contents_are_not_read_from_a_file() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("nar");
    let large = || file(&vec![1; 30 << 20]);
    let nar = naive::encode(&tree([("a", large()), ("b", file(b"wanted")), ("c", large())]));
    fs::write(&path, &nar).unwrap();
    let count = std::rc::Rc::new(std::cell::Cell::new(0));
    let input = || {
        count.set(0);
        Counting(Input::open(&path).unwrap(), count.clone())
    };
    assert_eq!(read_source(ReadFile::new(b"b"), input(), NEVER).unwrap(), b"wanted");
    assert!(count.get() <= 512 << 10, "{} bytes", count.get());
    assert_eq!(read_source(List::new(), input(), NEVER).unwrap().len(), 4);
    assert!(count.get() <= 768 << 10, "{} bytes", count.get());
    assert_eq!(read_source(Hash::new(ANY), input(), NEVER).unwrap(), ANY.hash(&nar));
    assert_eq!(count.get(), nar.len() as u64);

    // Bytes after the requested file are not read at all; padding that is skipped is read.
    let mut file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(nar.len() as u64 - 100).unwrap();
    assert_eq!(read_source(ReadFile::new(b"b"), input(), NEVER).unwrap(), b"wanted");
    let truncated = read_source(List::new(), input(), NEVER).unwrap_err();
    let expected = NarError { offset: nar.len() as u64 - 100, rule: Rule::Truncated };
    assert!(matches!(truncated, Error::Nar(error) if error == expected), "{truncated:?}");
    file.seek(SeekFrom::Start(nar.windows(6).position(|window| window == b"wanted").unwrap() as u64 + 7))
        .unwrap();
    file.write_all(b"x").unwrap();
    let padding = read_source(ReadFile::new(b"b"), input(), NEVER).unwrap_err();
    assert_eq!(padding.code(), "invalid_nar");
}

#[test]
fn a_node_that_is_not_a_file_is_rejected_with_its_path() {
    let nar = naive::encode(&tree([
        ("folder", tree([("file", file(b"x"))])),
        ("link", Tree::Link(b"folder/file".to_vec())),
    ]));
    let of = |path: &str| os_error(read_slice(ReadFile::new(path.as_bytes()), &nar, NEVER));
    for path in ["folder", "", "/"] {
        assert_eq!(of(path), ("eisdir", path.trim_start_matches('/').into()));
    }
    assert_eq!(of("link"), ("eloop", "link".into()));
    for path in
        ["link/file", "folder/file/x", "folder/", "folder//file", "./folder/file", "fold", "//folder/file"]
    {
        assert_eq!(of(path).0, "enoent", "{path}");
    }
    assert_eq!(read_slice(ReadFile::new(b"folder/file"), &nar, NEVER).unwrap(), b"x");
    assert_eq!(read_slice(ReadFile::new(b""), &naive::encode(&file(b"root")), NEVER).unwrap(), b"root");
}

#[test]
fn a_file_that_shrinks_while_it_is_listed_is_detected() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("nar");
    fs::write(&path, naive::encode(&tree([("a", file(&vec![1; 3 << 20])), ("b", file(b"b"))]))).unwrap();
    let mut input = Input::open(&path).unwrap();
    let mut list = List::new();
    let mut buffer = vec![0; 1000];
    let count = input.read(&mut buffer).unwrap().unwrap();
    list.feed(&buffer[..count]).unwrap();
    File::create(&path).unwrap();
    let error = read_source(list, input, NEVER).unwrap_err();
    assert_eq!(error.code(), "file_changed");
}

#[test]
fn the_error_of_a_reader_is_returned() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::from_raw_os_error(5))
        }
    }
    let error = read_source(List::new(), FromRead(Failing), NEVER).unwrap_err();
    assert!(
        matches!(&error, Error::Io(error @ IoError { path: None, .. }) if error.kind() == "eio"),
        "{error:?}"
    );
}

#[test]
fn a_full_disk_is_reported_with_the_path() {
    // A full file system would need privileges to mount; a limit on the size of files is a close substitute.
    let folder = TempDir::new().unwrap();
    let target = folder.path().join("target");
    let script = "ulimit -f 1; trap '' XFSZ; exec \"$0\" --exact nar::files::exceed_the_file_size_limit --nocapture --ignored";
    let output = std::process::Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .env("CHUNKER_TEST_TARGET", &target)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains(&format!("refused: efbig {}", target.join("large").display())), "{text}");
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
#[ignore = "run by the test above, in a process with a limit on file sizes"]
fn exceed_the_file_size_limit() {
    let target = PathBuf::from(std::env::var_os("CHUNKER_TEST_TARGET").unwrap());
    let nar = naive::encode(&tree([("a", file(b"small")), ("large", file(&[1; 100_000]))]));
    let (kind, path) = os_error(restore(&nar, &target));
    println!("refused: {kind} {}", path.display());
}
