//! Decompressing any bytes yields content within the limit or an error, and the same result at once and in
//! pieces, with unbounded and with bounded output.
#![no_main]

mod input;

use chunker::ErrorCode;
use chunker::codec::{Codec, CompressionError, Decoder, DecompressOptions, decompress, detect_format};
use input::Chance;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut chance = Chance::of(data);
    // With a given codec, which may be wrong, and with a detected one.
    for codec in [None, Some(Codec::ALL[(chance.number() as usize) % Codec::ALL.len()])] {
        judge(data, codec, &mut chance);
    }
});

fn judge(data: &[u8], codec: Option<Codec>, chance: &mut Chance) {
    let limit = [100, 10_000, 1_000_000][(chance.number() % 3) as usize];
    let options = DecompressOptions::new().codec(codec).limit(limit);
    let whole = decompress(data, &options);
    if let Ok(content) = &whole {
        assert!(content.len() as u64 <= limit, "more than the limit");
        if codec.is_none() {
            assert!(detect_format(data).is_ok(), "content of no known format");
        }
    }

    let pieces = chance.pieces().of(data);
    let most = 1 + (chance.number() % 5000) as usize;
    let streamed = stream(&options, &pieces);
    let bit_by_bit = stream_some(&options, &pieces, most);
    match (&whole, &streamed, &bit_by_bit) {
        (Ok(whole), Ok(streamed), Ok(bits)) => {
            assert!(streamed == whole && bits == whole, "other content in pieces");
        }
        (Err(whole), Err(streamed), Err(bits)) => {
            // The first of several faults may depend on how much input is available; whether there is a fault
            // does not.
            assert_eq!(streamed.code(), bits.code(), "{whole} {streamed} {bits}");
        }
        _ => panic!("{whole:?}, but in pieces {streamed:?} and {bit_by_bit:?}"),
    }
}

fn stream(options: &DecompressOptions, pieces: &[&[u8]]) -> Result<Vec<u8>, CompressionError> {
    let mut decoder = Decoder::new(options)?;
    let mut out = Vec::new();
    for piece in pieces {
        decoder.update(piece, &mut out)?;
    }
    decoder.finish(&mut out)?;
    Ok(out)
}

fn stream_some(
    options: &DecompressOptions,
    pieces: &[&[u8]],
    most: usize,
) -> Result<Vec<u8>, CompressionError> {
    let mut decoder = Decoder::new(options)?;
    let mut out = Vec::new();
    for piece in pieces {
        let mut rest = *piece;
        loop {
            let before = out.len();
            let progress = decoder.update_some(rest, most, &mut out)?;
            assert!(out.len() - before <= most, "more than was asked for");
            rest = &rest[progress.consumed..];
            if !progress.pending {
                break;
            }
        }
        assert!(rest.is_empty(), "nothing is pending, but not all was taken");
    }
    decoder.finish(&mut out)?;
    Ok(out)
}
