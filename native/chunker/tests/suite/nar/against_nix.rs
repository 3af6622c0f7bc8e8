//! Archives and trees are the same as those of the real Nix, in both directions.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use chunker::NEVER;
use chunker::engine::workers::Workers;
use chunker::hash::{Algorithm, nix_base32};
use chunker::io::file::{Input, OnChange};
use chunker::io::source::Source;
use chunker::nar::{
    Dump, Entry, Hash, Kind, List, Listing, NarConsumer, ReadFile, Restore, dump_file, read_slice,
    read_source,
};
use proptest::prelude::*;
use tempfile::TempDir;

use super::folder::{self, Found};
use super::naive::{self, Tree};
use super::program;

fn nar_hash(digest: chunker::hash::Digest) -> String {
    format!("sha256:{}", nix_base32::encode(&digest.0))
}

/// Runs a consumer on a slice, a file, and a source of short reads, and checks that the results are equal.
fn read<R: NarConsumer>(nar: &Path, bytes: &[u8], make: impl Fn() -> R) -> R::Output
where
    R::Output: PartialEq + std::fmt::Debug,
{
    let from_file = read_source(make(), Input::open(nar).unwrap(), NEVER).unwrap();
    assert!(read_slice(make(), bytes, NEVER).unwrap() == from_file);
    let mut pieces = make();
    bytes.chunks(1009).for_each(|piece| pieces.feed(piece).unwrap());
    assert!(pieces.finish().unwrap() == from_file);
    from_file
}

/// Returns whether a listed entry matches the entry of the file system.
fn expected(found: &Found, entry: &Entry) -> bool {
    match (found, &entry.kind) {
        (Found::File(mode, contents), Kind::Regular { executable, size, .. }) => {
            (mode & 0o100 != 0) == *executable && contents.len() as u64 == *size
        }
        (Found::Link(path), Kind::Symlink { target }) => path.as_os_str().as_bytes() == target,
        (Found::Folder(_), Kind::Directory) => true,
        _ => false,
    }
}

/// Compares everything that can be compared about the tree at `path`.
fn compare(path: &Path, folder: &Path) {
    let (nar, by_nix) = (folder.join("ours.nar"), program::dump(path));
    let digest = dump_file(
        path,
        &nar,
        OnChange::Error,
        Algorithm::Sha256,
        Workers::shared(2, crate::POOL).unwrap(),
        NEVER,
    )
    .unwrap();
    let ours = fs::read(&nar).unwrap();
    assert!(ours == by_nix, "{} bytes instead of {}", ours.len(), by_nix.len());
    let expected_hash = program::hash(path);
    assert_eq!(nar_hash(digest), expected_hash);
    assert_eq!(nar_hash(read(&nar, &ours, || Hash::new(Algorithm::Sha256))), expected_hash);

    let listing = read(&nar, &ours, Listing::new);
    assert!(listing == program::listing(&nar), "{}", String::from_utf8_lossy(&listing));

    let walked = folder::walk(path);
    let list = read(&nar, &ours, List::new);
    assert_eq!(list.len(), walked.len());
    for entry in &list {
        let found = &walked[Path::new(OsStr::from_bytes(&entry.path.to_vec()))];
        assert!(expected(found, entry), "{entry:?}");
        if let (Kind::Regular { offset, size, .. }, Found::File(_, contents)) = (&entry.kind, found) {
            assert!(ours[*offset as usize..][..*size as usize] == *contents, "{entry:?}");
        }
    }
    let files = list.iter().filter(|entry| matches!(entry.kind, Kind::Regular { .. }));
    let some = files.clone().count().div_ceil(8).max(1);
    for entry in files.step_by(some) {
        let Found::File(_, contents) = &walked[Path::new(OsStr::from_bytes(&entry.path.to_vec()))] else {
            unreachable!()
        };
        assert!(read(&nar, &ours, || ReadFile::new(&entry.path.to_vec())) == *contents, "{entry:?}");
    }

    let (by_us, by_nix) = (folder.join("restored by us"), folder.join("restored by nix"));
    read_source(Restore::new(&by_us).unwrap(), Input::open(&nar).unwrap(), NEVER).unwrap();
    program::restore(&nar, &by_nix);
    assert!(folder::walk(&by_us) == folder::walk(&by_nix));
    assert_eq!(program::hash(&by_us), expected_hash);
    let names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.as_bytes().starts_with(b".chunker")), "{names:?}");
}

/// Creates a tree and compares it.
fn compare_tree(tree: &Tree) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("tree");
    folder::make(tree, &path);
    compare(&path, folder.path());
    assert!(fs::read(folder.path().join("ours.nar")).unwrap() == naive::encode(tree));
}

#[test]
fn odd_names_and_unusual_nodes_match_nix() {
    compare_tree(&folder::odd());
}

#[test]
fn a_single_node_as_root_matches_nix() {
    folder::single().iter().for_each(compare_tree);
}

#[test]
fn the_sources_of_a_crate_match_nix() {
    // Use a crate that these tests are built with, which is therefore on the machine.
    let home = || PathBuf::from(std::env::var_os("HOME").expect("there is a home")).join(".cargo");
    let registry = std::env::var_os("CARGO_HOME").map_or_else(home, PathBuf::from).join("registry/src");
    let found = fs::read_dir(&registry)
        .unwrap()
        .flat_map(|index| fs::read_dir(index.unwrap().path()).unwrap())
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().unwrap().as_bytes().starts_with(b"proptest-"));
    let folder = TempDir::new().unwrap();
    compare(&found.expect("a crate that is used has been unpacked"), folder.path());
}

/// Compares the first folders of `/usr/lib` of at most 25 MiB each, up to 60 MiB in total, which takes some
/// seconds.
#[test]
fn a_part_of_this_machine_matches_nix() {
    let mut paths: Vec<_> = fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut left = 60 << 20;
    let mut compared = 0;
    for path in paths.iter().filter(|path| path.is_dir() && !path.is_symlink()) {
        let size = size(path);
        if size <= (25 << 20).min(left) {
            left -= size;
            compared += 1;
            let folder = TempDir::new().unwrap();
            compare(path, folder.path());
        }
    }
    assert!(compared > 0);
}

/// Returns the total size of the files below a path, in bytes.
fn size(path: &Path) -> u64 {
    let mut sum = 0;
    let mut left = vec![path.to_path_buf()];
    while let Some(next) = left.pop() {
        let metadata = fs::symlink_metadata(&next).unwrap();
        if metadata.is_dir() {
            left.extend(fs::read_dir(&next).unwrap().map(|entry| entry.unwrap().path()));
        } else if metadata.is_file() {
            sum += metadata.len();
        }
    }
    sum
}

#[test]
fn a_file_of_three_gibibytes_matches_nix() {
    let folder = TempDir::new().unwrap();
    let [tree, path, nar] = ["tree", "tree/large", "nar"].map(|name| folder.path().join(name));
    fs::create_dir(&tree).unwrap();
    let mut file = File::create(&path).unwrap();
    file.write_all(b"start").unwrap();
    file.set_len(3 << 30).unwrap();
    fs::write(tree.join("later"), "small").unwrap();

    // Compare the streams as they arrive: not every machine has that much memory or disk space.
    let mut child =
        Command::new("nix-store").arg("--dump").arg(&tree).stdout(Stdio::piped()).spawn().unwrap();
    let mut by_nix = child.stdout.take().unwrap();
    let mut dump = Dump::new(&tree);
    let (mut ours, mut theirs) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut length = 0;
    loop {
        let count = dump.read(&mut ours).unwrap().unwrap();
        std::io::Read::read_exact(&mut by_nix, &mut theirs[..count]).unwrap();
        assert!(ours[..count] == theirs[..count], "after {length} bytes");
        length += count as u64;
        if count == 0 {
            break;
        }
    }
    assert_eq!(std::io::Read::read(&mut by_nix, &mut theirs).unwrap(), 0);
    assert!(child.wait().unwrap().success());

    // Skip the contents in a sparse file. The bytes around them are written by hand.
    let contents = 3 << 30;
    let small = naive::encode(&Tree::Folder(
        [
            (b"large".to_vec(), Tree::File { executable: false, contents: b"start".to_vec() }),
            (b"later".to_vec(), Tree::File { executable: false, contents: b"small".to_vec() }),
        ]
        .into(),
    ));
    let at = small.windows(5).position(|window| window == b"start").unwrap();
    let mut file = File::create(&nar).unwrap();
    file.write_all(&small[..at - 8]).unwrap();
    file.write_all(&u64::to_le_bytes(contents)).unwrap();
    file.write_all(b"start").unwrap();
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(at as u64 + contents)).unwrap();
    file.write_all(&small[at + 8..]).unwrap();
    drop(file);
    assert_eq!(fs::metadata(&nar).unwrap().len(), length);

    let input = || Input::open(&nar).unwrap();
    let list = read_source(List::new(), input(), NEVER).unwrap();
    let large = Kind::Regular { executable: false, offset: at as u64, size: contents };
    assert_eq!((list[1].path.to_vec(), &list[1].kind), (b"large".to_vec(), &large));
    assert_eq!(list[2].path.to_vec(), b"later");
    assert_eq!(read_source(ReadFile::new(b"/later"), input(), NEVER).unwrap(), b"small");
    // `nix nar ls` would read all of it into memory.
    let listing = String::from_utf8(read_source(Listing::new(), input(), NEVER).unwrap()).unwrap();
    assert!(listing.contains(&format!(r#""size":{contents},"narOffset":{at}}},"later""#)), "{listing}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]
    #[test]
    fn any_tree_matches_nix(tree in naive::trees()) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("tree");
        folder::make(&tree, &path);
        let mut nar = Vec::new();
        let mut dump = Dump::new(&path);
        let mut buffer = [0; 100];
        loop {
            let count = dump.read(&mut buffer).unwrap().unwrap();
            nar.extend(&buffer[..count]);
            if count == 0 {
                break;
            }
        }
        prop_assert!(nar == naive::encode(&tree));
        prop_assert!(nar == program::dump(&path));
        let restored = folder.path().join("restored");
        read_slice(Restore::new(&restored).unwrap(), &nar, NEVER).unwrap();
        prop_assert!(folder::walk(&restored) == folder::walk(&path));
    }
}

/// Compares with `nix nar cat` of the installed version, for files with plain names.
#[test]
fn one_file_out_of_many_matches_nix() {
    let folder = TempDir::new().unwrap();
    let nar = folder.path().join("nar");
    let tree = folder::odd();
    let bytes = naive::encode(&tree);
    fs::write(&nar, &bytes).unwrap();
    for path in ["folder/executable", "large", "twin", "empty file"] {
        let by_nix = program::cat(&nar, &Path::new("/").join(path));
        assert!(read(&nar, &bytes, || ReadFile::new(path.as_bytes())) == by_nix);
        assert!(read(&nar, &bytes, || ReadFile::new(format!("/{path}").as_bytes())) == by_nix);
    }
}
