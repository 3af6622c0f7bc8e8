//! Checks cut points in tars against their definition.

use chunker::aligned::Config;
use chunker::cdc::{CdcParams, Scanner};
use chunker::engine::workers::Workers;
use chunker::engine::{Chunk, Chunking};
use chunker::hash::Algorithm;
use chunker::tar::TarMethod;
use chunker::tar::scanner::TarScanner;
use chunker::{Error, ErrorCode, NEVER};
use proptest::collection::vec;
use proptest::prelude::*;

use super::writer::{Dialect, File, tar, write};
use crate::aligned::{config, reference};
use crate::inputs;

/// Returns the lengths of the chunks, and the number of short ones.
pub(crate) fn scan(tar: &[u8], config: &Config, pieces: &[usize]) -> (Vec<usize>, usize) {
    let mut scanner = TarScanner::new(config).unwrap();
    let mut lengths = Vec::new();
    let mut rest = tar;
    let mut sizes = pieces.iter().copied().cycle();
    while !rest.is_empty() {
        let (mut piece, after) = rest.split_at(sizes.next().unwrap().clamp(1, rest.len()));
        rest = after;
        while let Some(cut) = scanner.feed(piece) {
            piece = &piece[cut.consumed..];
            lengths.push(cut.length);
        }
    }
    lengths.extend(scanner.finish());
    (lengths, scanner.short_chunks() as usize)
}

/// Returns the lengths of the chunks of plain FastCDC.
pub(crate) fn plain(bytes: &[u8], config: &Config) -> Vec<usize> {
    let mut scanner = Scanner::new(CdcParams::new(&config.options).unwrap());
    let (mut lengths, mut rest) = (Vec::new(), bytes);
    while let Some(cut) = scanner.feed(rest) {
        rest = &rest[cut.consumed..];
        lengths.push(cut.length);
    }
    lengths.extend(scanner.finish());
    lengths
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn cut_points_match_the_definition_for_any_split(
        (tar, members) in tar(),
        config in config(),
        pieces in vec(prop_oneof![1usize..20, 1usize..2000], 1..8),
    ) {
        let expected = reference(&tar, &members, &config);
        prop_assert_eq!(expected.0.iter().sum::<usize>(), tar.len());
        for pieces in [&[usize::MAX][..], &pieces, &[1]] {
            prop_assert_eq!(scan(&tar, &config, pieces), expected.clone(), "{:?}", pieces);
        }
    }

    #[test]
    fn the_chunks_of_a_large_member_do_not_depend_on_its_position(
        (before, _) in tar(),
        (after, _) in tar(),
        config in config(),
        contents in (any::<u64>(), 4000usize..9000),
    ) {
        let contents = inputs::random(contents.0, contents.1);
        let file = |name: &[u8], dialect| {
            write(&[File { kind: b'0', name: name.to_vec(), contents: contents.clone(), dialect }]).0
        };
        let mut found = Vec::new();
        for tar in [
            file(b"a", Dialect::Ustar),
            [&before[..], &file(b"another/name", Dialect::Pax), &after].concat(),
            [&after[..], &file(b"b", Dialect::LongNames), &[0; 1024], &before].concat(),
        ] {
            let start = tar.windows(contents.len()).position(|window| window == contents).unwrap();
            let mut offset = 0;
            let cuts = scan(&tar, &config, &[usize::MAX]).0;
            let ends = cuts.iter().map(|length| { offset += length; offset });
            found.push(ends.filter(|end| (start..=start + contents.len()).contains(end)).map(|end| end - start).collect::<Vec<_>>());
        }
        // They are those of the file by itself, too.
        let mut offset = 0;
        let by_itself: Vec<_> = std::iter::once(0)
            .chain(plain(&contents, &config).into_iter().map(|length| { offset += length; offset }))
            .collect();
        for found in found {
            prop_assert_eq!(&found, &by_itself);
        }
    }
}

/// Returns the chunks of a tar by each way to chunk: in one slice, read, and pushed in pieces.
fn every_way(
    tar: &[u8],
    config: &Config,
    threads: usize,
    pieces: &[usize],
) -> [Result<Vec<Chunk>, Error>; 3] {
    let workers = Workers::shared(threads, crate::POOL).unwrap();
    let method = TarMethod::new(config).unwrap();
    let chunking: Chunking<_, ()> = Chunking::with_method(method, workers, Chunk::hashed(Algorithm::ALL[0]));
    let push = || {
        let (mut pushed, mut chunks, mut rest) = (chunking.clone().pieces(), Vec::new(), tar);
        let mut sizes = pieces.iter().cycle();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
            chunks.extend(pushed.push(piece, NEVER)?);
            rest = after;
        }
        chunks.extend(pushed.finish(NEVER)?);
        Ok(chunks)
    };
    let read = std::io::Cursor::new(tar.to_vec());
    [chunking.slice(tar, NEVER), chunking.clone().reader(read).all(NEVER), push()]
}

#[test]
fn every_way_to_chunk_a_tar_gives_the_same_chunks_on_any_number_of_threads() {
    let file = |(seed, length): (usize, usize)| File {
        kind: b'0',
        name: format!("file-{seed}").into_bytes(),
        contents: inputs::random(seed as u64, length),
        dialect: [Dialect::Ustar, Dialect::Pax, Dialect::LongNames, Dialect::Sparse(2)][seed % 4],
    };
    let small = (0..1000).map(|seed| (seed, seed * seed % 5000));
    let large = [2_000_000, 0, 1_048_576, 5_000_001, 1_100_000].into_iter().enumerate();
    let (tar, members) = write(&small.clone().chain(large).chain(small).map(file).collect::<Vec<_>>());
    for config in [Config::DEFAULT, Config::SMALL_PACKAGES, Config::with_average(4096)] {
        let mut offset = 0;
        let chunks: Vec<_> = reference(&tar, &members, &config)
            .0
            .into_iter()
            .map(|length| {
                let hash = Algorithm::ALL[0].hash(&tar[offset..offset + length]);
                offset += length;
                Chunk { offset: (offset - length) as u64, length, hash }
            })
            .collect();
        for (threads, pieces) in [(1, [100_000, 1]), (2, [1 << 20, 1 << 20]), (4, [3_000_001, 777])] {
            for got in every_way(&tar, &config, threads, &pieces) {
                assert_eq!(got.unwrap(), chunks, "{threads} threads");
            }
        }
    }
}

#[test]
fn options_out_of_range_are_refused() {
    let min = Config::DEFAULT.options.min_size;
    for (config, option) in [
        (Config { min_entry_size: Some(min - 1), ..Config::DEFAULT }, "min_entry_size"),
        (
            Config { boundary_preference_distance: Some(min + 1), ..Config::DEFAULT },
            "boundary_preference_distance",
        ),
        (Config::with_average(1), "avg_size"),
    ] {
        let error = TarScanner::new(&config).unwrap_err();
        assert_eq!((error.code(), error.option), ("invalid_options", option));
    }
}
