//! Properties of every content, split, and damage.

use chunker::ErrorCode;
use chunker::codec::{
    Codec, CompressOptions, CompressionError, Decoder, DecompressOptions, Encoder, compress, decompress,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::codecs::{is_checked, reading};

fn codec() -> impl Strategy<Value = Codec> {
    select(Codec::ENCODABLE.as_slice())
}

/// Generates contents of runs, repetitions and noise.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        vec(any::<u8>(), 0..300),
        (any::<u8>(), 0..70_000usize).prop_map(|(byte, len)| vec![byte; len]),
        (vec(any::<u8>(), 1..20), 0..2000usize).prop_map(|(word, times)| word.repeat(times)),
    ];
    vec(part, 0..6).prop_map(|parts| parts.concat())
}

/// Prefixes with which an input passes format detection.
const MAGICS: [&[u8]; 11] = [
    b"",
    b"\x28\xb5\x2f\xfd",
    b"\x04\x22\x4d\x18",
    b"\xfd7zXZ\0",
    b"BZh9",
    b"\x50\x2a\x4d\x18",
    b"\x1f\x8b\x08\0\0\0\0\0\0\x03",
    b"\x1f\x8b\x08",
    b"\x5d\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff\0",
    b"BZh11AY&SY",
    b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46",
];

/// Splits `data` at the given indices.
fn pieces<'a>(data: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(data.len() + 1)).collect();
    cuts.sort_unstable();
    let mut start = 0;
    let mut pieces: Vec<&[u8]> = Vec::new();
    for cut in cuts {
        pieces.push(&data[start..cut]);
        start = cut;
    }
    pieces.push(&data[start..]);
    pieces
}

fn decode(pieces: &[&[u8]], options: &DecompressOptions) -> Result<Vec<u8>, CompressionError> {
    let mut decoder = Decoder::new(options)?;
    let mut out = Vec::new();
    for piece in pieces {
        decoder.update(piece, &mut out)?;
    }
    decoder.finish(&mut out)?;
    Ok(out)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn compressed_content_round_trips(
        codec in codec(),
        content in content(),
        level in any::<Index>(),
        cuts in vec(any::<Index>(), 0..8),
    ) {
        let (min, max) = codec.levels().into_inner();
        let min = min.max(-7);
        let level = min + level.index((max.min(12) - min + 1) as usize) as i32;
        let options = CompressOptions::new(codec).level(level);
        let whole = compress(&content, &options).unwrap();

        let mut encoder = Encoder::new(&options).unwrap();
        let mut streamed = Vec::new();
        for piece in pieces(&content, &cuts) {
            encoder.update(piece, &mut streamed).unwrap();
        }
        encoder.finish(&mut streamed).unwrap();

        let limit = content.len() as u64;
        let any = reading(codec).limit(limit);
        for compressed in [&whole, &streamed] {
            prop_assert!(decompress(compressed, &any).as_ref() == Ok(&content));
            prop_assert!(decode(&pieces(compressed, &cuts), &any).as_ref() == Ok(&content));
            if let Some(less) = limit.checked_sub(1) {
                let error = decompress(compressed, &any.clone().limit(less)).unwrap_err();
                prop_assert_eq!(error, CompressionError::SizeExceeded { limit: less });
            }
        }
    }

    #[test]
    fn damage_has_the_same_result_for_any_split(
        codec in codec(),
        content in content(),
        damage in vec((any::<Index>(), any::<u8>()), 1..4),
        cuts in vec(any::<Index>(), 0..8),
    ) {
        let mut compressed = compress(&content, &CompressOptions::new(codec)).unwrap();
        for (at, byte) in damage {
            let at = at.index(compressed.len());
            compressed[at] = byte;
        }
        for chosen in [None, Some(codec)] {
            let options = DecompressOptions::new().codec(chosen).limit(1 << 20);
            let whole = decompress(&compressed, &options);
            let split = decode(&pieces(&compressed, &cuts), &options);
            match (&whole, &split) {
                (Ok(whole), Ok(split)) => {
                    prop_assert!(whole == split && (*whole == content || !is_checked(codec)));
                }
                (Err(whole), Err(split)) => prop_assert_eq!(whole.code(), split.code()),
                _ => prop_assert!(false, "{:?} at once, {:?} in pieces", whole.err(), split.err()),
            }
        }
    }

    #[test]
    fn any_bytes_have_the_same_result_for_any_split(
        magic in select(&MAGICS[..]),
        bytes in vec(any::<u8>(), 0..200),
        cuts in vec(any::<Index>(), 0..4),
    ) {
        let input = [magic, &bytes].concat();
        let options = DecompressOptions::new().limit(1 << 20);
        let whole = decompress(&input, &options);
        let split = decode(&pieces(&input, &cuts), &options);
        match (&whole, &split) {
            (Ok(whole), Ok(split)) => prop_assert!(whole == split),
            (Err(whole), Err(split)) => prop_assert_eq!(whole.code(), split.code()),
            _ => prop_assert!(false, "{:?} at once, {:?} in pieces", whole.err(), split.err()),
        }
        for codec in Codec::ALL {
            let options = options.clone().codec(codec);
            let (whole, split) = (decompress(&input, &options), decode(&pieces(&input, &cuts), &options));
            prop_assert_eq!(whole.map_err(|e| e.code()), split.map_err(|e| e.code()));
        }
    }
}
