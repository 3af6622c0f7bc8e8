//! Chunks do not depend on the form of the input (one slice, pieces, or a source with short reads), nor on
//! the number of threads.
#![no_main]

mod input;

use std::io::{Cursor, Read};

use chunker::NEVER;
use chunker::cdc::CdcParams;
use chunker::engine::workers::Workers;
use chunker::engine::{Chunk, Chunking};
use chunker::hash::Algorithm;
use input::{Pieces, Sizes, stretch};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Case {
    sizes: Sizes,
    pieces: Pieces,
    threads: u8,
    repeats: u8,
    data: Vec<u8>,
}

fuzz_target!(|case: Case| {
    let data = stretch(&case.data, case.repeats);
    let cutter = CdcParams::new(&case.sizes.options()).expect("the options are in range");
    let chunking = |threads| {
        let workers = Workers::shared(threads, 4).expect("threads can be had");
        Chunking::new(cutter.clone(), workers, Chunk::hashed(Algorithm::Blake3))
    };
    let expected = chunking(1).slice(&data, NEVER).expect("the call is not cancelled");
    let mut end = 0;
    for chunk in &expected {
        assert_eq!(chunk.offset, end);
        end += chunk.length as u64;
        assert_eq!(chunk.hash, Algorithm::Blake3.hash(&data[chunk.offset as usize..end as usize]));
    }
    assert_eq!(end, data.len() as u64, "chunks leave nothing out");

    let threads = 1 + usize::from(case.threads % 4);
    assert_eq!(chunking(threads).slice(&data, NEVER).expect("the call is not cancelled"), expected);

    let mut pushed = chunking(threads).pieces();
    let mut chunks = Vec::new();
    for piece in case.pieces.of(&data) {
        chunks.extend(pushed.push(piece, NEVER).expect("the call is not cancelled"));
    }
    chunks.extend(pushed.finish(NEVER).expect("the call is not cancelled"));
    assert_eq!(chunks, expected);

    // A source that returns one piece per read.
    let sizes = case.pieces.of(&data).iter().map(|piece| piece.len()).filter(|&size| size > 0).collect();
    let reader = Slow { data: Cursor::new(data), sizes, at: 0 };
    assert_eq!(chunking(threads).reader(reader).all(NEVER).expect("the call is not cancelled"), expected);
});

struct Slow {
    data: Cursor<Vec<u8>>,
    sizes: Vec<usize>,
    at: usize,
}

impl Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = self.sizes.get(self.at).copied().unwrap_or(usize::MAX).min(buffer.len());
        self.at += 1;
        self.data.read(&mut buffer[..most])
    }
}
