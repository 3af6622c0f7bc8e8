//! Trees in the file system.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::naive::Tree;

/// Creates a tree.
pub(crate) fn make(tree: &Tree, path: &Path) {
    match tree {
        Tree::File { executable, contents } => {
            fs::write(path, contents).unwrap();
            fs::set_permissions(path, PermissionsExt::from_mode(if *executable { 0o755 } else { 0o644 }))
                .unwrap();
        }
        Tree::Link(target) => symlink(OsStr::from_bytes(target), path).unwrap(),
        Tree::Folder(entries) => {
            fs::create_dir(path).unwrap();
            for (name, node) in entries {
                make(node, &path.join(OsStr::from_bytes(name)));
            }
        }
    }
}

/// A node of the file system, with all bits of its mode.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    File(u32, Vec<u8>),
    Link(PathBuf),
    Folder(u32),
}

/// Returns the node at a path and all nodes below it.
pub(crate) fn walk(path: &Path) -> BTreeMap<PathBuf, Found> {
    let mut all = BTreeMap::new();
    let mut left = vec![path.to_path_buf()];
    while let Some(next) = left.pop() {
        let metadata = fs::symlink_metadata(&next).unwrap();
        let mode = metadata.permissions().mode();
        let found = if metadata.is_dir() {
            left.extend(fs::read_dir(&next).unwrap().map(|entry| entry.unwrap().path()));
            Found::Folder(mode)
        } else if metadata.is_symlink() {
            Found::Link(fs::read_link(&next).unwrap())
        } else {
            Found::File(mode, fs::read(&next).unwrap())
        };
        all.insert(next.strip_prefix(path).unwrap().into(), found);
    }
    all
}

fn file(contents: &[u8]) -> Tree {
    Tree::File { executable: false, contents: contents.into() }
}

fn folder(entries: impl IntoIterator<Item = (Vec<u8>, Tree)>) -> Tree {
    Tree::Folder(entries.into_iter().collect())
}

/// Returns a tree with every unusual node that is allowed.
pub(crate) fn odd() -> Tree {
    // Each byte that a name can have, and pairs that differ only in case or sort differently as text.
    let mut names: Vec<Vec<u8>> =
        (1..=255).filter(|byte| *byte != b'/').map(|byte| vec![b'n', byte]).collect();
    let twins = ["twin", "TWIN", "Twin", "a", "a-", "a.b", "a b", "aé", "...", ".a", "-", "\u{65e5}\u{672c}"];
    names.extend(twins.map(|name| name.as_bytes().to_vec()));
    names.extend([vec![b'x'; 255], vec![255; 255], b"a\x80".to_vec()]);
    let mut entries: BTreeMap<_, _> =
        names.into_iter().enumerate().map(|(i, name)| (name, file(&vec![1; i % 20]))).collect();
    let executable = Tree::File { executable: true, contents: b"#!/bin/sh\n".to_vec() };
    // A path with the maximum number of names: this one and 62 below.
    let deep = (0..62).fold(folder([]), |inner, _| folder([(b"d".to_vec(), inner)]));
    entries.extend([
        (b"empty file".to_vec(), file(b"")),
        (b"empty executable".to_vec(), Tree::File { executable: true, contents: Vec::new() }),
        (b"empty folder".to_vec(), folder([])),
        (b"executable".to_vec(), executable.clone()),
        (b"dangling".to_vec(), Tree::Link(b"nowhere/at all".to_vec())),
        (b"not text".to_vec(), Tree::Link(b"\xff\x01\"\\\n\r\t\x1f\x7f\x80".to_vec())),
        (b"itself".to_vec(), Tree::Link(b"itself".to_vec())),
        (b"root".to_vec(), Tree::Link(b"/".to_vec())),
        (b"long target".to_vec(), Tree::Link(vec![b't'; 4095])),
        (b"folder".to_vec(), folder([(b"executable".to_vec(), executable)])),
        (b"deep".to_vec(), deep),
        (b"large".to_vec(), file(&(0..1_000_003u32).map(|i| (i % 251) as u8).collect::<Vec<_>>())),
    ]);
    Tree::Folder(entries)
}

/// Returns trees of a single node.
#[cfg(feature = "sha256")]
pub(crate) fn single() -> Vec<Tree> {
    vec![
        file(b""),
        file(b"content"),
        file(&[7; 8]),
        Tree::File { executable: true, contents: b"x".to_vec() },
        Tree::Link(b"dangling".to_vec()),
        folder([]),
    ]
}
