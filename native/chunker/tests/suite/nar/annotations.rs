//! The annotations of the chunks of a NAR, against a program that has the whole tree.

use chunker::engine::workers::Workers;
use chunker::engine::{Chunk, ChunkBytes, Chunking};
use chunker::hash::Algorithm;
use chunker::nar::annotations::{AnnotationOptions, ChunkAnnotation, EntryPart};
use chunker::nar::references::{PLACEHOLDER, Replaced, replace, restore};
use chunker::nar::scanner::Config;
use chunker::nar::{EntryLimits, EntryPath, NarMethod};
use chunker::{Error, NEVER};
use proptest::collection::vec;
use proptest::prelude::*;

use super::chunking::{large_tree, string, tree};
use super::naive::{Tree, encode};
use super::references::{content, references};
use crate::aligned::config;

/// An entry: its path, the end of its header, and the length of its contents.
type Entry = (Vec<u8>, usize, usize);

fn entries(tree: &Tree) -> Vec<Entry> {
    let mut entries = Vec::new();
    add(&mut entries, tree, b"", string(b"nix-archive-1"));
    entries
}

/// Adds the node that begins at `at`, and returns its end.
fn add(entries: &mut Vec<Entry>, tree: &Tree, path: &[u8], mut at: usize) -> usize {
    let end = at + encode(tree).len() - string(b"nix-archive-1");
    match tree {
        Tree::File { contents, .. } => {
            let start = end - string(b")") - string(contents) + 8;
            entries.push((path.to_vec(), start, contents.len()));
        }
        Tree::Link(target) => {
            let start = end - string(b")") - string(target) + 8;
            entries.push((path.to_vec(), start + target.len(), 0));
        }
        Tree::Folder(nodes) => {
            at += string(b"(") + string(b"type") + string(b"directory");
            entries.push((path.to_vec(), at, 0));
            for (name, node) in nodes {
                at += string(b"entry") + string(b"(") + string(b"name") + string(name) + string(b"node");
                let path = if path.is_empty() { name.clone() } else { [path, b"/", name].concat() };
                at = add(entries, node, &path, at) + string(b")");
            }
        }
    }
    end
}

/// A part: its path, its offset in the contents, its length, and its position in the chunk.
type PlainPart = (Vec<u8>, u64, usize, usize);

fn plain(parts: &[EntryPart]) -> Vec<PlainPart> {
    parts.iter().map(|part| (part.path.to_vec(), part.offset, part.length, part.position)).collect()
}

/// The parts of entries in a chunk, by the definition.
fn parts(entries: &[Entry], chunk: Chunk) -> Vec<PlainPart> {
    let (start, end) = (chunk.offset as usize, chunk.offset as usize + chunk.length);
    let mut parts = Vec::new();
    for (path, head, size) in entries {
        let (from, to) = ((*head).max(start), (head + size).min(end));
        let has_head = (start..end).contains(&(head - 1));
        if from < to || has_head {
            parts.push((path.clone(), (from - head) as u64, to.saturating_sub(from), from - start));
        }
    }
    parts
}

type Annotated = (Chunk, ChunkAnnotation);

/// The chunks of a NAR by each way to chunk, with their annotations.
fn every_way(
    nar: &[u8],
    config: &Config,
    options: AnnotationOptions,
    threads: usize,
    pieces: &[usize],
) -> [Vec<Annotated>; 3] {
    let workers = Workers::shared(threads, crate::POOL).unwrap();
    let hashed = Chunk::hashed(Algorithm::ALL[0]);
    let work = move |bytes: &ChunkBytes<'_, ChunkAnnotation>| (hashed(bytes), bytes.annotation.clone());
    let method = NarMethod::new(config).unwrap().with_annotations(options);
    let chunking = Chunking::with_method(method, workers, work);
    let (mut pushed, mut chunks, mut rest) = (chunking.clone().pieces(), Vec::new(), nar);
    let mut sizes = pieces.iter().cycle();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
        chunks.extend(pushed.push(piece, NEVER).unwrap());
        rest = after;
    }
    chunks.extend(pushed.finish(NEVER).unwrap());
    let read = std::io::Cursor::new(nar.to_vec());
    [chunking.slice(nar, NEVER).unwrap(), chunking.clone().reader(read).all(NEVER).unwrap(), chunks]
}

fn bare(annotated: &[Annotated]) -> Vec<Chunk> {
    annotated.iter().map(|(chunk, _)| *chunk).collect()
}

const ENTRIES: AnnotationOptions =
    AnnotationOptions { entries: true, references: false, limits: EntryLimits::NONE };
const REFERENCES: AnnotationOptions =
    AnnotationOptions { entries: false, references: true, limits: EntryLimits::NONE };
const BOTH: AnnotationOptions =
    AnnotationOptions { entries: true, references: true, limits: EntryLimits::NONE };

fn assert_entries(tree: &Tree, config: &Config, threads: usize, pieces: &[usize]) {
    let nar = encode(tree);
    let entries = entries(tree);
    let expected = bare(&every_way(&nar, config, AnnotationOptions::default(), 1, pieces)[0]);
    for annotated in every_way(&nar, config, ENTRIES, threads, pieces) {
        assert_eq!(bare(&annotated), expected);
        for (chunk, annotation) in annotated {
            let annotation = annotation.unwrap();
            assert_eq!(
                (annotation.entries.as_deref().map(plain), annotation.references.clone()),
                (Some(parts(&entries, chunk)), None)
            );
        }
    }
}

/// Generates a tree with contents that are full of store hashes.
fn tree_with_references() -> impl Strategy<Value = Tree> {
    let file = content().prop_map(|contents| Tree::File { executable: false, contents });
    let files = vec(file, 1..30);
    files.prop_map(|files| {
        let named = files.into_iter().enumerate().map(|(i, file)| (format!("{i:03}").into_bytes(), file));
        let link = Tree::Link(b"/nix/store/0123456789abcdfghijklmnpqrsvwxyz-glibc/lib".to_vec());
        Tree::Folder(named.chain([(b"link".to_vec(), link)]).collect())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn each_chunk_lists_the_entries_that_it_overlaps(
        tree in tree(),
        config in config(),
        threads in 1usize..=3,
        pieces in vec(prop_oneof![1usize..20, 1usize..2000], 1..8),
    ) {
        assert_entries(&tree, &config, threads, &pieces);
    }

    #[test]
    fn the_references_of_each_chunk_can_be_restored(
        tree in tree_with_references(),
        config in config(),
        threads in 1usize..=3,
        pieces in vec(prop_oneof![1usize..20, 1usize..2000], 1..8),
    ) {
        let nar = encode(&tree);
        let mut normalized = nar.clone();
        for reference in references(&nar) {
            normalized[reference.position as usize..][..32].copy_from_slice(&PLACEHOLDER);
        }
        let entries = entries(&tree);
        let expected = bare(&every_way(&normalized, &config, AnnotationOptions::default(), 1, &pieces)[0]);
        for options in [REFERENCES, BOTH] {
            for annotated in every_way(&nar, &config, options, threads, &pieces) {
                prop_assert_eq!(&bare(&annotated), &expected);
                for (chunk, annotation) in annotated {
                    let annotation = annotation.unwrap();
                    prop_assert_eq!(annotation.entries.as_deref().map(plain), options.entries.then(|| parts(&entries, chunk)));
                    let range = chunk.offset as usize..chunk.offset as usize + chunk.length;
                    let replaced = annotation.references.clone().unwrap();
                    let mut bytes = normalized[range.clone()].to_vec();
                    restore(&mut bytes, &replaced).unwrap();
                    prop_assert_eq!(&bytes, &nar[range.clone()]);
                    replace(&mut bytes, &replaced).unwrap();
                    prop_assert_eq!(&bytes, &normalized[range]);
                }
            }
        }
    }
}

#[test]
fn annotations_are_complete_on_any_number_of_threads() {
    let tree = large_tree();
    for config in [Config::DEFAULT, Config::with_average(4096)] {
        for (threads, pieces) in [(1, [100_000, 1]), (2, [1 << 20, 1 << 20]), (4, [3_000_001, 777])] {
            assert_entries(&tree, &config, threads, &pieces);
        }
    }
}

/// Names of lengths around the one up to which a path needs no allocation, in directories of such names.
#[test]
fn entries_with_names_of_any_length() {
    let lengths = [1usize, 2, 21, 22, 23, 24, 255];
    let mut tree = Tree::File { executable: true, contents: vec![1; 700] };
    for length in lengths.into_iter().chain(lengths) {
        let nodes = lengths.map(|sibling| {
            let contents = vec![sibling as u8; 3 * sibling];
            (vec![b'x'; sibling], Tree::File { executable: false, contents })
        });
        let others = [(b"y".to_vec(), Tree::Link(b"z".to_vec())), (b"z".to_vec(), Tree::Folder([].into()))];
        let directory = (vec![b'd'; length], tree);
        tree = Tree::Folder(nodes.into_iter().chain(others).chain([directory]).collect());
    }
    for average in [256, 4096, 65_536] {
        assert_entries(&tree, &Config::with_average(average), 2, &[777, 1]);
    }

    let nar = encode(&tree);
    let mut parts = Vec::new();
    for (_, annotation) in &every_way(&nar, &Config::with_average(256), ENTRIES, 1, &[1 << 20])[0] {
        parts.extend(annotation.as_ref().unwrap().entries.clone().unwrap());
    }
    let paths: Vec<_> = parts.iter().map(|part| part.path.to_vec()).collect();
    // Some entries are in several chunks.
    assert!(paths.windows(2).any(|pair| pair[0] == pair[1]));
    for (part, bytes) in parts.iter().zip(&paths) {
        let names: Vec<_> = bytes.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).collect();
        assert_eq!((part.path.length(), part.path.depth()), (bytes.len(), names.len()));
        let mut path = &part.path;
        for expected in names.iter().rev() {
            let (name, directory) = path.split_last().unwrap();
            assert_eq!(&name, expected);
            path = directory;
        }
        assert!(path.is_root() && path.split_last().is_none() && path.is(&EntryPath::ROOT));
        for (other, other_bytes) in parts.iter().zip(&paths) {
            assert_eq!(
                (part.path.is(&other.path), part.path == other.path),
                (bytes == other_bytes, bytes == other_bytes)
            );
        }
    }
}

#[test]
fn a_nar_that_is_broken_gives_the_same_error_with_annotations_as_without() {
    let nar = encode(&large_tree());
    let mut damaged = nar.clone();
    damaged[nar.len() - 9] ^= 1;
    for bad in [&b""[..], b"something else", &nar[..3_000_000], &damaged] {
        let error = |options| {
            let work = Chunk::hashed(Algorithm::ALL[0]);
            let method = NarMethod::new(&Config::DEFAULT).unwrap().with_annotations(options);
            let chunking = Chunking::with_method(method, Workers::of_this_thread(), work);
            let read = chunking.clone().reader(std::io::Cursor::new(bad.to_vec())).all(NEVER).unwrap_err();
            let mut pushed = chunking.clone().pieces();
            let pushed = pushed.push(bad, NEVER).and_then(|_| pushed.finish(NEVER)).unwrap_err();
            [chunking.slice(bad, NEVER).unwrap_err(), read, pushed].map(|error| match error {
                Error::Nar(error) => error,
                error => panic!("{error}"),
            })
        };
        let expected = error(AnnotationOptions::default());
        for options in [ENTRIES, REFERENCES, BOTH] {
            assert_eq!(error(options), expected);
        }
    }
}

#[test]
fn references_of_another_chunk_are_not_restored() {
    let at = |position, characters: &[u8]| Replaced { position, characters: characters.to_vec() };
    let hash = b"0123456789abcdfghijklmnpqrsvwxyz";
    let mut chunk = [b"eeeee..", &PLACEHOLDER[..], b".eee"].concat();
    let before = chunk.clone();
    let whole = [at(0, &hash[27..]), at(7, hash), at(40, &hash[..3])];
    restore(&mut chunk, &whole).unwrap();
    assert_eq!(chunk, [&hash[27..], b"..", hash, b".", &hash[..3]].concat());
    let restored = chunk.clone();
    assert!(restore(&mut chunk, &whole).is_err());
    assert_eq!(chunk, restored);
    replace(&mut chunk, &whole).unwrap();
    assert_eq!(chunk, before);
    assert!(replace(&mut chunk, &whole).is_err());

    for (references, position) in [
        (vec![at(8, hash)], 8),
        (vec![at(7, hash), at(6, &hash[..1])], 6),
        (vec![at(7, hash), at(7, hash)], 7),
        (vec![at(7, hash), at(38, &hash[..1])], 38),
        (vec![at(0, b"")], 0),
        (vec![at(7, &[hash, &hash[..1]].concat())], 7),
        (vec![at(41, &hash[..3])], 41),
        (vec![at(usize::MAX, &hash[..3])], usize::MAX),
    ] {
        let error = restore(&mut chunk, &references).unwrap_err();
        assert_eq!((error.position, chunk.clone()), (position as u64, before.clone()));
    }
}
