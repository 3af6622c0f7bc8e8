//! Compressed content, at once or in pieces, decompresses to the same content with exactly the limit that it
//! needs.
#![no_main]

mod input;

use chunker::ErrorCode;
use chunker::codec::{Codec, CompressOptions, DecompressOptions, Encoder, compress, decompress};
use input::{Pieces, stretch};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Case {
    pieces: Pieces,
    codec: u8,
    level: u8,
    repeats: u8,
    data: Vec<u8>,
}

fuzz_target!(|case: Case| {
    let codec = Codec::ENCODABLE[usize::from(case.codec) % Codec::ENCODABLE.len()];
    // The highest levels use much memory and time, and run no other code.
    let levels = codec.levels();
    let low = (*levels.start()).max(-5);
    let span = i32::from(case.level) % ((*levels.end()).min(7) - low + 1);
    let options = CompressOptions::new(codec).level(low + span);
    let data = stretch(&case.data, case.repeats % 16);

    let whole = compress(&data, &options).expect("compresses");
    let mut encoder = Encoder::new(&options).expect("the options are in range");
    let mut streamed = Vec::new();
    for piece in case.pieces.of(&data) {
        encoder.update(piece, &mut streamed).expect("compresses");
    }
    encoder.finish(&mut streamed).expect("compresses");

    // brotli cannot be detected.
    let reading = DecompressOptions::new().codec((codec == Codec::Brotli).then_some(codec));
    for compressed in [whole, streamed] {
        let limit = data.len() as u64;
        let content = decompress(&compressed, &reading.clone().limit(limit)).expect("decompresses");
        assert!(content == data, "other content with {options:?}");
        if limit > 0 {
            let error = decompress(&compressed, &reading.clone().limit(limit - 1));
            assert_eq!(error.map(|_| ()).map_err(|error| error.code()), Err("size_exceeded"));
        }
    }
});
