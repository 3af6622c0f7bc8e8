//! Many inputs at once, from sources with reads of any size that fail, panic, or are dropped midway. The
//! output must be a prefix of the output of one thread, in order, and nothing may hang.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use chunker::cdc::{CdcParams, Options};
use chunker::engine::workers::Workers;
use chunker::engine::{Chunk, Chunking, Pieces, Pulled};
use chunker::hash::Algorithm;
use chunker::io::source::Source;
use chunker::{Error, ErrorCode, NEVER};

use crate::inputs;

const ANY: Algorithm = Algorithm::ALL[0];

/// A pseudorandom number generator (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    Ends,
    Fails,
    Panics,
}

struct UnreliableSource {
    data: Arc<Vec<u8>>,
    position: usize,
    /// The position at which its ending takes effect.
    until: usize,
    ending: Ending,
    dice: Dice,
    /// The position at which it ends, if it is a part of another source.
    end: usize,
    /// Whether it can be split, most of the time.
    splits: bool,
}

impl Source for UnreliableSource {
    fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Error> {
        let mood = self.dice.below(50);
        if mood == 0 {
            std::thread::sleep(Duration::from_micros(self.dice.below(500)));
        } else if mood < 5 {
            return Ok(None);
        }
        if self.position >= self.until {
            match self.ending {
                Ending::Ends => return Ok(Some(0)),
                Ending::Fails => return Err(Error::FileChanged { path: "unreliable".into() }),
                Ending::Panics => panic!("unreliable"),
            }
        }
        let most = if mood < 25 { 1 + self.dice.below(5000) as usize } else { usize::MAX };
        let count = most.min(buffer.len()).min(self.until.min(self.end) - self.position);
        buffer[..count].copy_from_slice(&self.data[self.position..self.position + count]);
        self.position += count;
        Ok(Some(count))
    }

    /// Refuses to split off a part that ends early: a part must yield exactly as many bytes as requested.
    fn split_off(&mut self, count: u64) -> Option<Box<dyn Source + Send>> {
        let end = self.position + count as usize;
        let most = if self.ending == Ending::Ends { self.until } else { self.end };
        if !self.splits || self.dice.below(4) == 0 || end > most {
            return None;
        }
        let dice = Dice(self.dice.below(u64::MAX));
        let part = Self { data: Arc::clone(&self.data), dice, end, splits: false, ..*self };
        self.position = end;
        Some(Box::new(part))
    }

    fn wait(&self, _timeout: Duration) -> bool {
        true
    }
}

type NextResults = Box<dyn FnMut() -> Result<Option<Vec<Chunk>>, Error>>;

/// Pulls a source as one of a slow producer.
fn pulled(mut pieces: Pieces<Chunk>, mut source: UnreliableSource) -> NextResults {
    let mut ended = false;
    Box::new(move || {
        while !ended {
            let results = match pieces.pull(&mut source, NEVER)? {
                Pulled::Results(results) => results,
                Pulled::Waiting => continue,
                Pulled::End(results) => {
                    ended = true;
                    results
                }
            };
            if !results.is_empty() {
                return Ok(Some(results));
            }
        }
        Ok(None)
    })
}

/// Chunks one source to its end, or until it is dropped, and checks the output.
fn one_input(seed: u64, data: &Arc<Vec<u8>>) {
    let mut dice = Dice(seed);
    let (min_size, avg_size, max_size) =
        [(64, 256, 1024), (1024, 4096, 16_384), (16_384, 65_536, 262_144), (262_144, 1 << 20, 4 << 20)]
            [dice.below(4) as usize];
    let options = Options { min_size, avg_size, max_size, ..Options::default() };
    let ending = [Ending::Ends, Ending::Ends, Ending::Fails, Ending::Panics][dice.below(4) as usize];
    let ends = ending == Ending::Ends;
    let until = dice.below(data.len() as u64 + 1) as usize;
    let threads = [1, 2, 3, 8][dice.below(4) as usize];
    let chunking = |threads| {
        let workers = Workers::shared(threads, crate::POOL).unwrap();
        Chunking::new(CdcParams::new(&options).unwrap(), workers, Chunk::hashed(ANY))
    };
    let expected = chunking(1).slice(&data[..until], NEVER).unwrap();
    let source = UnreliableSource {
        data: Arc::clone(data),
        position: 0,
        until,
        ending,
        end: data.len(),
        splits: dice.below(4) > 0,
        dice: Dice(dice.below(u64::MAX)),
    };
    let mut next_results = if dice.below(4) == 0 {
        pulled(chunking(threads).pieces(), source)
    } else {
        let mut reader = chunking(threads).source(source);
        Box::new(move || reader.next_results(NEVER))
    };
    let mut rounds = if dice.below(3) == 0 { dice.below(6) } else { u64::MAX };
    let mut got = Vec::new();
    let slow = dice.below(4) == 0;
    while rounds > 0 {
        rounds -= 1;
        if slow {
            std::thread::sleep(Duration::from_micros(dice.below(3000)));
        }
        match catch_unwind(AssertUnwindSafe(&mut next_results)) {
            Ok(Ok(Some(results))) => {
                assert!(!results.is_empty());
                got.extend(results);
                assert!(expected.starts_with(&got), "seed {seed}: other chunks");
            }
            Ok(Ok(None)) => {
                assert!(ends && got == expected, "seed {seed}: {} of {}", got.len(), expected.len());
                break;
            }
            Ok(Err(error)) => {
                assert_eq!((ending, error.code()), (Ending::Fails, "file_changed"), "seed {seed}");
                break;
            }
            Err(panic) => {
                assert_eq!(
                    (ending, panic.downcast_ref()),
                    (Ending::Panics, Some(&"unreliable")),
                    "seed {seed}"
                );
                break;
            }
        }
    }
}

#[test]
fn unreliable_sources_give_the_right_chunks_on_any_number_of_threads() {
    std::panic::set_hook(Box::new(|info| {
        if info.payload().downcast_ref() != Some(&"unreliable") {
            eprintln!("{info}");
        }
    }));
    let rounds = std::env::var("CHUNKER_STRESS").map_or(15, |rounds| rounds.parse().unwrap());
    let data = Arc::new(inputs::random(9, 12 << 20));
    let (done, all) = mpsc::channel();
    for caller in 0..12 {
        let (data, done) = (Arc::clone(&data), done.clone());
        std::thread::spawn(move || {
            for round in 0..rounds {
                one_input(caller * 1_000_003 + round, &data);
            }
            done.send(()).unwrap();
        });
    }
    drop(done);
    for _ in 0..12 {
        // A thread that fails drops its sender, and a thread that hangs triggers the timeout.
        all.recv_timeout(Duration::from_secs(60 + rounds)).expect("every input ends");
    }
}
