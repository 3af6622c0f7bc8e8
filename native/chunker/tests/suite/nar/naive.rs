//! A naive implementation of the format: string by string, recursive, and in memory.

use std::collections::BTreeMap;

use chunker::nar::{Event, Kind, NarError, Parser};
use proptest::prelude::*;

/// A file system tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tree {
    File { executable: bool, contents: Vec<u8> },
    Link(Vec<u8>),
    Folder(BTreeMap<Vec<u8>, Tree>),
}

/// The role of a string in a NAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Fixed,
    Name,
    Target,
    Contents,
}

/// A string of a NAR.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) role: Role,
    pub(crate) string: Vec<u8>,
}

impl Token {
    /// Encodes the token: its length, the string, and zeros up to a multiple of 8.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = (self.string.len() as u64).to_le_bytes().to_vec();
        bytes.extend(&self.string);
        while !bytes.len().is_multiple_of(8) {
            bytes.push(0);
        }
        bytes
    }
}

/// Returns the strings of the NAR of `tree`.
pub(crate) fn tokens(tree: &Tree) -> Vec<Token> {
    let mut tokens = Vec::new();
    push(&mut tokens, Role::Fixed, b"nix-archive-1");
    push_node(&mut tokens, tree);
    tokens
}

fn push(tokens: &mut Vec<Token>, role: Role, string: &[u8]) {
    tokens.push(Token { role, string: string.to_vec() });
}

fn push_node(tokens: &mut Vec<Token>, tree: &Tree) {
    let fixed = |tokens: &mut Vec<Token>, strings: &[&str]| {
        strings.iter().for_each(|string| push(tokens, Role::Fixed, string.as_bytes()));
    };
    fixed(tokens, &["(", "type"]);
    match tree {
        Tree::File { executable, contents } => {
            fixed(tokens, &["regular"]);
            if *executable {
                fixed(tokens, &["executable", ""]);
            }
            fixed(tokens, &["contents"]);
            push(tokens, Role::Contents, contents);
        }
        Tree::Link(target) => {
            fixed(tokens, &["symlink", "target"]);
            push(tokens, Role::Target, target);
        }
        Tree::Folder(entries) => {
            fixed(tokens, &["directory"]);
            for (name, node) in entries {
                fixed(tokens, &["entry", "(", "name"]);
                push(tokens, Role::Name, name);
                fixed(tokens, &["node"]);
                push_node(tokens, node);
                fixed(tokens, &[")"]);
            }
        }
    }
    fixed(tokens, &[")"]);
}

pub(crate) fn bytes(tokens: &[Token]) -> Vec<u8> {
    tokens.iter().flat_map(Token::bytes).collect()
}

pub(crate) fn encode(tree: &Tree) -> Vec<u8> {
    bytes(&tokens(tree))
}

/// A node as reported by the parser, with its contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reported {
    Directory { path: Vec<u8>, depth: usize },
    File { path: Vec<u8>, depth: usize, executable: bool, offset: u64, size: u64, contents: Vec<u8> },
    Link { path: Vec<u8>, depth: usize, target: Vec<u8> },
    End,
}

/// Returns the events of the parser for an input in pieces, up to its end or its error.
pub(crate) fn events<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Reported>, Result<(), NarError>) {
    let mut parser = Parser::new();
    let mut reported = Vec::new();
    for piece in pieces {
        let fed = parser.feed(piece, |event| {
            note(&mut reported, event);
            Ok::<_, NarError>(())
        });
        if let Err(error) = fed {
            // The error is sticky.
            assert_eq!(parser.feed(b"", |_| Ok(())), Err(error));
            assert_eq!(parser.finish(), Err(error));
            assert_eq!(parser.skippable(), 0);
            return (reported, Err(error));
        }
    }
    let end = parser.finish();
    assert_eq!(end.is_ok(), parser.is_complete());
    (reported, end)
}

pub(crate) fn note(all: &mut Vec<Reported>, event: Event<'_>) {
    all.push(match event {
        Event::Node(node) => {
            let (path, depth) = (node.path.to_vec(), node.depth);
            let name = node.path.rsplit(|&byte| byte == b'/').next().unwrap();
            assert_eq!(node.name(), name);
            match node.kind {
                Kind::Directory => Reported::Directory { path, depth },
                Kind::Regular { executable, offset, size } => {
                    Reported::File { path, depth, executable, offset, size, contents: Vec::new() }
                }
                Kind::Symlink { target } => Reported::Link { path, depth, target: target.to_vec() },
            }
        }
        Event::Contents(bytes) => {
            assert!(!bytes.is_empty());
            let Some(Reported::File { contents, .. }) = all.last_mut() else { panic!("contents of no file") };
            contents.extend(bytes);
            return;
        }
        Event::End => Reported::End,
    });
}

/// Returns the expected events for `tree`, with offsets computed from the NAR.
pub(crate) fn expected(tree: &Tree) -> Vec<Reported> {
    let mut starts = Vec::new();
    let mut at = 0;
    for token in tokens(tree) {
        if token.role == Role::Contents {
            starts.push(at + 8);
        }
        at += token.bytes().len() as u64;
    }
    let mut reported = Vec::new();
    expect_node(&mut reported, tree, &[], &mut starts.into_iter());
    reported
}

fn expect_node(
    reported: &mut Vec<Reported>,
    tree: &Tree,
    names: &[&[u8]],
    starts: &mut impl Iterator<Item = u64>,
) {
    let (path, depth) = (names.join(&b'/'), names.len());
    match tree {
        Tree::File { executable, contents } => {
            let (offset, size) = (starts.next().unwrap(), contents.len() as u64);
            let (executable, contents) = (*executable, contents.clone());
            reported
                .extend([Reported::File { path, depth, executable, offset, size, contents }, Reported::End]);
        }
        Tree::Link(target) => reported.push(Reported::Link { path, depth, target: target.clone() }),
        Tree::Folder(entries) => {
            reported.push(Reported::Directory { path, depth });
            for (name, node) in entries {
                expect_node(reported, node, &[names, &[name]].concat(), starts);
            }
            reported.push(Reported::End);
        }
    }
}

/// Rebuilds the tree from the events of the parser.
pub(crate) fn tree(reported: &[Reported]) -> Tree {
    let mut reported = reported.iter();
    let tree = tree_of(reported.next().unwrap(), &mut reported);
    assert_eq!(reported.next(), None);
    tree
}

fn tree_of<'a>(first: &Reported, rest: &mut impl Iterator<Item = &'a Reported>) -> Tree {
    match first {
        Reported::File { executable, contents, .. } => {
            assert_eq!(rest.next(), Some(&Reported::End));
            Tree::File { executable: *executable, contents: contents.clone() }
        }
        Reported::Link { target, .. } => Tree::Link(target.clone()),
        Reported::Directory { .. } => {
            let mut entries = BTreeMap::new();
            loop {
                let next = rest.next().unwrap();
                let path = match next {
                    Reported::End => return Tree::Folder(entries),
                    Reported::File { path, .. }
                    | Reported::Link { path, .. }
                    | Reported::Directory { path, .. } => path,
                };
                let name = path.rsplit(|&byte| byte == b'/').next().unwrap().to_vec();
                entries.insert(name, tree_of(next, rest));
            }
        }
        Reported::End => panic!("an end of nothing"),
    }
}

/// Generates names, many of which are similar.
fn name() -> impl Strategy<Value = Vec<u8>> {
    let alike = proptest::collection::vec(proptest::sample::select(&b"aA.~\xff"[..]), 1..4);
    let any_bytes = proptest::collection::vec(1u8.., 1..=255);
    prop_oneof![4 => alike, 1 => any_bytes]
        .prop_map(|name: Vec<u8>| {
            name.into_iter().map(|byte| if byte == b'/' { b':' } else { byte }).collect()
        })
        .prop_filter("a name", |name| name != b"." && name != b"..")
}

fn leaf() -> impl Strategy<Value = Tree> {
    let file = (any::<bool>(), proptest::collection::vec(any::<u8>(), 0..40))
        .prop_map(|(executable, contents)| Tree::File { executable, contents });
    let target = proptest::collection::vec(1u8.., 1..30).prop_map(Tree::Link);
    let long_target = proptest::collection::vec(1u8.., 4090..=4095).prop_map(Tree::Link);
    prop_oneof![6 => file, 2 => target, 1 => long_target]
}

/// Generates trees that are neither deep nor large.
pub(crate) fn trees() -> impl Strategy<Value = Tree> {
    leaf().prop_recursive(5, 40, 6, |inner| {
        proptest::collection::btree_map(name(), inner, 0..6).prop_map(Tree::Folder)
    })
}
