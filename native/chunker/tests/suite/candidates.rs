//! Cut points if threads have so little to do that they find candidates ahead of the one that scans: those of
//! crate `fastcdc`, and those of one thread.

use std::io::{Cursor, Read};
use std::path::Path;
use std::sync::Arc;

use chunker::NEVER;
use chunker::cdc::{CdcParams, Options};
use chunker::engine::workers::Workers;
use chunker::engine::{ChunkBytes, Chunking};
use chunker::io::file::Input;
use chunker::nar::NarMethod;
use chunker::nar::scanner::{Config, NarScanner};
use fastcdc::v2020::{FastCDC, Normalization};
use proptest::prelude::*;

use crate::{POOL, inputs};

fn reference(data: &[u8], options: &Options) -> Vec<(u64, usize)> {
    let [min, avg, max] = [options.min_size, options.avg_size, options.max_size].map(|size| size as usize);
    let level = [Normalization::Level0, Normalization::Level1, Normalization::Level2, Normalization::Level3]
        [options.normalization as usize];
    FastCDC::with_level_and_seed(data, min, avg, max, level, options.seed)
        .map(|chunk| (chunk.offset as u64, chunk.length))
        .collect()
}

fn place<A>(chunk: &ChunkBytes<'_, A>) -> (u64, usize) {
    (chunk.offset, chunk.length)
}

/// Returns random bytes, bytes of few values, periodic bytes, or zeros, in stretches of any length.
fn patchwork(seed: u64, length: usize) -> Vec<u8> {
    let noise = inputs::random(seed, length);
    let mut data = noise.clone();
    let mut at = 0;
    while at < length {
        let dice = u32::from_le_bytes(std::array::from_fn(|i| noise[(at + i * 7) % length]));
        let end = length.min(at + 1 + (dice as usize >> 8) % 900_000);
        let patch = &mut data[at..end];
        match dice % 8 {
            0 => patch.fill(dice as u8 & 0x80),
            1 => patch.iter_mut().for_each(|byte| *byte = b"etaoin shrdlu"[usize::from(*byte) % 13]),
            2 => {
                let period = 1 + dice as usize / 11 % 300;
                (period..patch.len()).for_each(|i| patch[i] = patch[i - period]);
            }
            _ => {}
        }
        at = end;
    }
    data
}

fn options() -> impl Strategy<Value = Options> {
    // Sizes below and above the bound for collecting candidates, and sizes whose masks are not nested.
    let sizes =
        (8..=22u32, 0..2u64, 2..=8u64, 1..=8u64, 0..2u64).prop_map(|(log, odd, under, over, more)| {
            let avg = ((1u64 << log) + odd * (1 << (log - 2)) + odd).min(4_194_304);
            let min = (avg / under).clamp(64, 1_048_576).min(avg);
            (min, avg, (avg * over + more).clamp(1024, 16_777_216))
        });
    (sizes, 0..=3u64, prop_oneof![Just(0), any::<u64>()]).prop_map(
        |((min_size, avg_size, max_size), normalization, seed)| Options {
            min_size,
            avg_size,
            max_size: max_size.max(avg_size),
            normalization,
            seed,
        },
    )
}

/// A reader that returns short reads.
struct ShortReads(Cursor<Arc<Vec<u8>>>, Vec<usize>, usize);

impl Read for ShortReads {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.2 += 1;
        let count = buffer.len().min(self.1[self.2 % self.1.len()]);
        let position = self.0.position() as usize;
        let data = Arc::clone(self.0.get_ref());
        let count = count.min(data.len() - position);
        buffer[..count].copy_from_slice(&data[position..position + count]);
        self.0.set_position((position + count) as u64);
        Ok(count)
    }
}

fn check(data: &Arc<Vec<u8>>, path: &Path, options: &Options, threads: usize, pieces: &[usize]) {
    let expected = reference(data, options);
    let workers = Workers::shared(threads, POOL).unwrap();
    let chunking = || Chunking::new(CdcParams::new(options).unwrap(), workers, place);
    assert!(chunking().slice(data, NEVER).unwrap() == expected, "slice, {threads}, {options:?}");
    let input = Input::open(path).unwrap();
    assert!(chunking().source(input).all(NEVER).unwrap() == expected, "file, {threads}, {options:?}");
    let short_reads = ShortReads(Cursor::new(Arc::clone(data)), pieces.to_vec(), 0);
    assert!(chunking().reader(short_reads).all(NEVER).unwrap() == expected, "reader, {threads}, {options:?}");
    let mut pushed = chunking().pieces();
    let mut got = pushed.push(&data[..data.len() / 3], NEVER).unwrap();
    got.extend(pushed.push(&data[data.len() / 3..], NEVER).unwrap());
    got.extend(pushed.finish(NEVER).unwrap());
    assert!(got == expected, "pieces, {threads}, {options:?}");
}

fn cases() -> u32 {
    std::env::var("CHUNKER_STRESS").map_or(12, |cases| cases.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 50, ..ProptestConfig::default() })]

    #[test]
    fn idle_threads_do_not_change_cut_points(
        seed in any::<u64>(),
        length in 1_000_000..24_000_000usize,
        options in options(),
        threads in 3..=POOL,
        pieces in prop::collection::vec(prop_oneof![20_000..300_000usize, Just(1 << 20)], 1..5),
        random in any::<bool>(),
    ) {
        let data = Arc::new(if random { inputs::random(seed, length) } else { patchwork(seed, length) });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        std::fs::write(&path, &*data).unwrap();
        for _ in 0..3 {
            check(&data, &path, &options, threads, &pieces);
        }
    }
}

fn string(nar: &mut Vec<u8>, bytes: &[u8]) {
    nar.extend((bytes.len() as u64).to_le_bytes());
    nar.extend_from_slice(bytes);
    nar.resize(nar.len().next_multiple_of(8), 0);
}

/// Returns the NAR of a directory with files of these contents.
fn nar(files: &[&[u8]]) -> Vec<u8> {
    let mut nar = Vec::new();
    for word in ["nix-archive-1", "(", "type", "directory"] {
        string(&mut nar, word.as_bytes());
    }
    for (i, contents) in files.iter().enumerate() {
        for word in ["entry", "(", "name", &format!("{i:08}"), "node", "(", "type", "regular", "contents"] {
            string(&mut nar, word.as_bytes());
        }
        string(&mut nar, contents);
        string(&mut nar, b")");
        string(&mut nar, b")");
    }
    string(&mut nar, b")");
    nar
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 50, ..ProptestConfig::default() })]

    #[test]
    fn idle_threads_do_not_change_cut_points_in_nars(
        seed in any::<u64>(),
        sizes in prop::collection::vec(prop_oneof![10 => 0..3_000usize, 3 => 0..60_000usize, 1 => 0..3_000_000usize], 50..600),
        log in 12..20u32,
        threads in 3..=POOL,
        cut_off in prop_oneof![3 => Just(0), 1 => 1..100_000usize],
    ) {
        let data = patchwork(seed, 3_000_000);
        let files: Vec<&[u8]> =
            sizes.iter().enumerate().map(|(i, &size)| &data[(i * 7919) % (3_000_001 - size)..][..size]).collect();
        let mut nar = nar(&files);
        nar.truncate(nar.len() - cut_off.min(nar.len() - 200));
        let config = Config::with_average(1 << log);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        std::fs::write(&path, &nar).unwrap();

        // One thread, and the whole NAR in one piece.
        let mut scanner = NarScanner::new(&config).unwrap();
        let mut lengths = Vec::new();
        let mut rest = &nar[..];
        let end = loop {
            match scanner.feed(rest) {
                Ok(Some(cut)) => {
                    rest = &rest[cut.consumed..];
                    lengths.push(cut.length);
                }
                Ok(None) => break scanner.finish(),
                Err(error) => break Err(error),
            }
        };
        let expected = end.map(|last| {
            lengths.extend(last);
            let mut offset = 0;
            lengths.iter().map(|&length| { offset += length as u64; (offset - length as u64, length) }).collect::<Vec<_>>()
        });
        let expected = expected.map_err(|error| format!("{error:?}"));
        let workers = Workers::shared(threads, POOL).unwrap();
        let chunking = || Chunking::with_method(NarMethod::new(&config).unwrap(), workers, place);
        let described = |result: Result<Vec<(u64, usize)>, chunker::Error>| result.map_err(|error| match error {
            chunker::Error::Nar(error) => format!("{error:?}"),
            other => panic!("{other}"),
        });
        for _ in 0..4 {
            prop_assert!(described(chunking().slice(&nar, NEVER)) == expected, "slice");
            prop_assert!(described(chunking().source(Input::open(&path).unwrap()).all(NEVER)) == expected, "file");
            prop_assert!(described(chunking().reader(Cursor::new(nar.clone())).all(NEVER)) == expected, "reader");
        }
    }
}
