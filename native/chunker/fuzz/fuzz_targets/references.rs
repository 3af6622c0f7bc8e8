//! Normalizing and restoring store hashes yields the original content for any split, and the references do
//! not depend on the split.
#![no_main]

mod input;

use chunker::nar::references::{Normalizer, Reference, Restorer};
use input::Pieces;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Case {
    pieces: Pieces,
    other: Pieces,
    parts: Vec<Part>,
}

/// A part of a content. Random bytes almost never contain a store path.
#[derive(Debug, Arbitrary)]
enum Part {
    Bytes(Vec<u8>),
    Prefix(u8),
    Digits(u8, u8),
}

const PREFIX: &[u8] = b"/nix/store/";
const DIGITS: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";

fuzz_target!(|case: Case| {
    let mut data = Vec::new();
    for part in &case.parts {
        match part {
            Part::Bytes(bytes) => data.extend_from_slice(bytes),
            Part::Prefix(length) => {
                data.extend_from_slice(&PREFIX[..usize::from(*length) % (PREFIX.len() + 1)])
            }
            Part::Digits(length, digit) => {
                data.extend(std::iter::repeat_n(DIGITS[usize::from(*digit) % 32], usize::from(*length) % 40));
            }
        }
    }
    let (normalized, references) = normalize(&[&data]);
    assert_eq!(normalized.len(), data.len());
    assert_eq!(normalize(&case.pieces.of(&data)), (normalized.clone(), references.clone()));

    let mut restorer = Restorer::new(references);
    let mut restored = Vec::new();
    for piece in case.other.of(&normalized) {
        restorer
            .feed(piece, |bytes| restored.extend_from_slice(bytes))
            .expect("the table is the content's own");
    }
    restorer.finish().expect("the table is the content's own");
    assert_eq!(restored, data);
});

fn normalize(pieces: &[&[u8]]) -> (Vec<u8>, Vec<Reference>) {
    let mut normalizer = Normalizer::new();
    let mut out = Vec::new();
    for piece in pieces {
        normalizer.feed(piece, |bytes| out.extend_from_slice(bytes));
    }
    let references = normalizer.finish(|bytes| out.extend_from_slice(bytes));
    (out, references)
}
