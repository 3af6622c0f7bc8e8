//! Checks cut points in NARs against their definition.

use chunker::cdc::Options;
use chunker::engine::workers::Workers;
use chunker::engine::{Chunk, Chunking};
use chunker::hash::Algorithm;
use chunker::nar::scanner::{Config, NarScanner};
use chunker::nar::{NarError, NarMethod, Rule};
use chunker::{Error, ErrorCode, NEVER};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::naive::{self, Tree, encode};
use crate::aligned::{self, Members, config};
use crate::inputs;

/// Returns the structure of the NAR of a tree.
fn members(tree: &Tree) -> Members {
    let mut members = Members::default();
    let end = add_node(&mut members, tree, string(b"nix-archive-1"));
    members.ends.push(end);
    members
}

/// Adds the node that begins at `at`, and returns its end.
fn add_node(members: &mut Members, tree: &Tree, mut at: usize) -> usize {
    let end = at + encode(tree).len() - string(b"nix-archive-1");
    match tree {
        Tree::File { contents, .. } => {
            let start = end - string(b")") - string(contents) + 8;
            members.contents.push(start..start + contents.len());
        }
        Tree::Link(_) => {}
        Tree::Folder(entries) => {
            at += string(b"(") + string(b"type") + string(b"directory");
            for (name, node) in entries {
                at += string(b"entry") + string(b"(") + string(b"name") + string(name) + string(b"node");
                at = add_node(members, node, at) + string(b")");
                if !matches!(node, Tree::Link(_)) {
                    members.ends.push(at);
                }
            }
        }
    }
    end
}

/// Returns the length of a string in a NAR, in bytes.
pub(crate) fn string(bytes: &[u8]) -> usize {
    8 + bytes.len().next_multiple_of(8)
}

/// Returns the lengths of the chunks by the definition.
fn reference(tree: &Tree, config: &Config) -> (Vec<usize>, usize) {
    aligned::reference(&encode(tree), &members(tree), config)
}

fn scan(nar: &[u8], config: &Config, pieces: &[usize]) -> Result<(Vec<usize>, usize), NarError> {
    let mut scanner = NarScanner::new(config).unwrap();
    let mut lengths = Vec::new();
    let mut rest = nar;
    let mut sizes = pieces.iter().copied().cycle();
    while !rest.is_empty() {
        let (mut piece, after) = rest.split_at(sizes.next().unwrap().clamp(1, rest.len()));
        rest = after;
        while let Some(cut) = scanner.feed(piece)? {
            piece = &piece[cut.consumed..];
            lengths.push(cut.length);
        }
    }
    lengths.extend(scanner.finish()?);
    Ok((lengths, scanner.short_chunks() as usize))
}

/// Generates files of many sizes, most of them small, some with contents in which FastCDC finds no cut.
pub(crate) fn tree() -> impl Strategy<Value = Tree> {
    let length = prop_oneof![4 => 0usize..200, 3 => 200usize..1500, 1 => 1500usize..8000];
    let contents = (length, any::<u64>(), 1..5usize).prop_map(|(length, seed, kind)| match kind {
        1 => vec![seed as u8; length],
        _ => inputs::random(seed, length),
    });
    let leaf = prop_oneof![
        8 => (any::<bool>(), contents).prop_map(|(executable, contents)| Tree::File { executable, contents }),
        1 => vec(1u8..=255, 1..60).prop_map(Tree::Link),
    ];
    let name = "[a-z]{1,12}".prop_map(String::into_bytes);
    leaf.prop_recursive(3, 60, 20, move |node| btree_map(name.clone(), node, 0..20).prop_map(Tree::Folder))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn cut_points_match_the_definition_for_any_split(
        tree in tree(),
        config in config(),
        pieces in vec(prop_oneof![1usize..20, 1usize..2000], 1..8),
    ) {
        let nar = encode(&tree);
        let expected = reference(&tree, &config);
        for pieces in [&[usize::MAX][..], &pieces, &[1]] {
            prop_assert_eq!(scan(&nar, &config, pieces), Ok(expected.clone()), "{:?}", pieces);
        }
    }

    #[test]
    fn an_invalid_nar_gives_the_error_of_the_parser(
        tree in tree(),
        config in config(),
        at in any::<prop::sample::Index>(),
        flip in 1u8..=255,
        pieces in vec(1usize..2000, 1..8),
    ) {
        let mut nar = encode(&tree);
        let at = at.index(nar.len());
        let truncated = scan(&nar[..at], &config, &pieces);
        prop_assert_eq!(truncated, Err(NarError { offset: at as u64, rule: Rule::Truncated }));
        nar[at] ^= flip;
        let reported = naive::events([&nar[..]]).1;
        match scan(&nar, &config, &pieces) {
            Ok((lengths, _)) => prop_assert_eq!((reported, lengths.iter().sum()), (Ok(()), nar.len())),
            Err(error) => prop_assert_eq!(reported, Err(error)),
        }
    }

    #[test]
    fn the_chunks_of_a_large_file_do_not_depend_on_its_position(
        tree in tree(),
        others in tree(),
        config in config(),
        contents in (any::<u64>(), 4000usize..9000),
    ) {
        let contents = inputs::random(contents.0, contents.1);
        let file = |executable| Tree::File { executable, contents: contents.clone() };
        let folder = |name: &str, node, other| Tree::Folder([(name.into(), node), (b"m".to_vec(), other)].into());
        let mut found = Vec::new();
        for tree in [file(false), folder("a", file(true), tree), folder("z", folder("b", file(false), others.clone()), others)] {
            let nar = encode(&tree);
            let start = nar.windows(contents.len()).position(|window| window == contents).unwrap();
            let mut offset = 0;
            let cuts = scan(&nar, &config, &[usize::MAX]).unwrap().0;
            let ends = cuts.iter().map(|length| { offset += length; offset });
            found.push(ends.filter(|end| (start..=start + contents.len()).contains(end)).map(|end| end - start).collect::<Vec<_>>());
        }
        prop_assert_eq!(found[0].first(), Some(&0));
        prop_assert_eq!(found[0].last(), Some(&contents.len()));
        prop_assert_eq!(&found[0], &found[1]);
        prop_assert_eq!(&found[0], &found[2]);
    }
}

/// Returns the chunks of a NAR by each way to chunk: in one slice, read, and pushed in pieces.
fn every_way(
    nar: &[u8],
    config: &Config,
    threads: usize,
    pieces: &[usize],
) -> [Result<Vec<Chunk>, Error>; 3] {
    let workers = Workers::shared(threads, crate::POOL).unwrap();
    let method = NarMethod::new(config).unwrap();
    let chunking = Chunking::with_method(method, workers, Chunk::hashed(Algorithm::ALL[0]));
    let push = || {
        let (mut pushed, mut chunks, mut rest) = (chunking.clone().pieces(), Vec::new(), nar);
        let mut sizes = pieces.iter().cycle();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
            chunks.extend(pushed.push(piece, NEVER)?);
            rest = after;
        }
        chunks.extend(pushed.finish(NEVER)?);
        Ok(chunks)
    };
    let read = std::io::Cursor::new(nar.to_vec());
    [chunking.slice(nar, NEVER), chunking.clone().reader(read).all(NEVER), push()]
}

/// Returns a tree of some MB of large and small files.
pub(crate) fn large_tree() -> Tree {
    let file = |(seed, length): (usize, usize)| {
        let contents = inputs::random(seed as u64, length);
        (format!("{seed:04}").into_bytes(), Tree::File { executable: false, contents })
    };
    let small = (0..2000).map(|seed| (seed, seed * seed % 5000)).map(file);
    let large = [2_000_000, 0, 1_048_576, 5_000_001, 1_100_000].into_iter().enumerate().map(file);
    let folders = [(b"large".to_vec(), large.collect()), (b"small".to_vec(), small.collect())];
    Tree::Folder(folders.map(|(name, files)| (name, Tree::Folder(files))).into())
}

#[test]
fn every_way_to_chunk_a_nar_gives_the_same_chunks_on_any_number_of_threads() {
    let tree = large_tree();
    let nar = encode(&tree);
    for config in [Config::DEFAULT, Config::SMALL_PACKAGES, Config::with_average(4096)] {
        let mut offset = 0;
        let chunks: Vec<_> = reference(&tree, &config)
            .0
            .into_iter()
            .map(|length| {
                let hash = Algorithm::ALL[0].hash(&nar[offset..offset + length]);
                offset += length;
                Chunk { offset: (offset - length) as u64, length, hash }
            })
            .collect();
        for (threads, pieces) in [(1, [100_000, 1]), (2, [1 << 20, 1 << 20]), (4, [3_000_001, 777])] {
            for got in every_way(&nar, &config, threads, &pieces) {
                assert_eq!(got.unwrap(), chunks, "{threads} threads");
            }
        }
    }
}

#[test]
fn every_way_to_chunk_an_invalid_nar_gives_the_error_of_the_parser() {
    let nar = encode(&large_tree());
    let trailing = [&nar[..], b"more"].concat();
    let mut damaged = nar.clone();
    let last = damaged.len() - 9;
    damaged[last] ^= 1;
    for bad in [&b""[..], b"something else", &nar[..3_000_000], &nar[..nar.len() - 1], &damaged, &trailing] {
        let expected = naive::events([bad]).1.unwrap_err();
        for threads in [1, 3] {
            for got in every_way(bad, &Config::DEFAULT, threads, &[100_000]) {
                assert!(matches!(got, Err(Error::Nar(error)) if error == expected), "{got:?}, {expected:?}");
            }
        }
    }
}

#[test]
fn presets_are_in_range_and_the_ends_of_each_range_are_accepted() {
    for (name, config) in Config::PRESETS {
        assert!(NarScanner::new(&config).is_ok(), "{name}");
        let min = config.options.min_size;
        let refused = |config: Config| {
            let error = NarScanner::new(&config).unwrap_err();
            assert_eq!(error.code(), "invalid_options");
            (error.option, error.value)
        };
        assert!(NarScanner::new(&Config { min_entry_size: Some(min), ..config }).is_ok());
        assert!(NarScanner::new(&Config { min_entry_size: Some(u64::MAX), ..config }).is_ok());
        let low = Config { min_entry_size: Some(min - 1), ..config };
        assert_eq!(refused(low), ("min_entry_size", (min - 1).into()));
        assert!(NarScanner::new(&Config { boundary_preference_distance: Some(0), ..config }).is_ok());
        assert!(NarScanner::new(&Config { boundary_preference_distance: Some(min), ..config }).is_ok());
        let far = Config { boundary_preference_distance: Some(min + 1), ..config };
        assert_eq!(refused(far), ("boundary_preference_distance", (min + 1).into()));
    }
    let options = Options { normalization: 4, ..Options::default() };
    assert!(NarScanner::new(&Config { options, ..Config::DEFAULT }).is_err());
}
