//! Checks the normalization and restoration of store hashes against a search at every position of the whole
//! input.

use chunker::ErrorCode;
use chunker::nar::references::{Normalizer, PLACEHOLDER, Reference, ReferencesError, Restorer};
use proptest::collection::vec;
use proptest::prelude::*;

const PREFIX: &[u8] = b"/nix/store/";

/// Returns each reference by the definition.
pub(crate) fn references(content: &[u8]) -> Vec<Reference> {
    let is_digit = |byte: &u8| b"0123456789abcdfghijklmnpqrsvwxyz".contains(byte);
    let windows = content.windows(PREFIX.len() + 32).enumerate();
    windows
        .filter(|(_, window)| window.starts_with(PREFIX) && window[PREFIX.len()..].iter().all(is_digit))
        .map(|(at, window)| Reference {
            position: (at + PREFIX.len()) as u64,
            hash: window[PREFIX.len()..].try_into().unwrap(),
        })
        .collect()
}

fn pieces<'a>(mut bytes: &'a [u8], sizes: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut sizes = sizes.iter().copied().cycle();
    std::iter::from_fn(move || {
        let (piece, rest) = bytes.split_at(sizes.next()?.min(bytes.len()));
        bytes = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

fn normalize(content: &[u8], sizes: &[usize]) -> (Vec<u8>, Vec<Reference>) {
    let mut normalized = Vec::new();
    let mut normalizer = Normalizer::new();
    for piece in pieces(content, sizes) {
        normalizer.feed(piece, |bytes| normalized.extend_from_slice(bytes));
    }
    let references = normalizer.finish(|bytes| normalized.extend_from_slice(bytes));
    (normalized, references)
}

fn restore(normalized: &[u8], sizes: &[usize], table: &[Reference]) -> Result<Vec<u8>, ReferencesError> {
    let mut restored = Vec::new();
    let mut restorer = Restorer::new(table.iter().copied());
    for piece in pieces(normalized, sizes) {
        restorer.feed(piece, |bytes| restored.extend_from_slice(bytes))?;
    }
    restorer.finish()?;
    Ok(restored)
}

/// Generates bytes that are full of hashes, near misses, and bytes that hide a hash.
pub(crate) fn content() -> impl Strategy<Value = Vec<u8>> {
    let hash = vec(prop::sample::select(&b"0123456789abcdfghijklmnpqrsvwxyz"[..]), 0..40);
    let digits = "[0-9a-df-np-z]{31,33}".prop_map(String::into_bytes);
    let part = prop_oneof![
        3 => (0..=PREFIX.len()).prop_map(|length| PREFIX[..length].to_vec()),
        3 => Just(PREFIX.to_vec()),
        3 => vec(prop::sample::select(&b"0123456789abcdfghijklmnpqrsvwxyz"[..]), 32),
        1 => hash,
        1 => digits,
        1 => Just(PLACEHOLDER.to_vec()),
        1 => Just(b"/nix/store".to_vec()),
        1 => Just(b"/nix".to_vec()),
        1 => vec(any::<u8>(), 0..50),
    ];
    vec(part, 0..30).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn every_hash_is_normalized_and_restored(
        content in content(),
        sizes in vec(1usize..80, 1..6),
        other_sizes in vec(1usize..80, 1..6),
    ) {
        let table = references(&content);
        let mut expected = content.clone();
        for reference in &table {
            expected[reference.position as usize..][..32].copy_from_slice(&PLACEHOLDER);
        }
        for sizes in [&sizes[..], &[1], &[usize::MAX]] {
            let (normalized, found) = normalize(&content, sizes);
            prop_assert_eq!(&found, &table);
            prop_assert_eq!(&normalized, &expected);
        }
        for sizes in [&other_sizes[..], &[1], &[usize::MAX]] {
            prop_assert_eq!(restore(&expected, sizes, &table), Ok(content.clone()));
        }
        prop_assert_eq!(normalize(&expected, &sizes), (expected, Vec::new()));
    }

    #[test]
    fn a_table_of_other_content_is_rejected(
        content in content(),
        sizes in vec(1usize..80, 1..6),
        at in any::<prop::sample::Index>(),
        distance in prop_oneof![Just(u64::MAX), Just(u64::MAX - 32), 0u64..100],
    ) {
        let (normalized, table) = normalize(&content, &sizes);
        // A surplus reference at any position without a placeholder of its own.
        let position = distance.max(at.index(content.len() + 1) as u64);
        let mut more = table.clone();
        let place = more.partition_point(|reference| reference.position < position);
        more.insert(place, Reference { position, hash: *b"0123456789abcdfghijklmnpqrsvwxyz" });
        let overlaps = table.iter().any(|reference| reference.position.abs_diff(position) < 32);
        let there = usize::try_from(position).ok().and_then(|position| normalized.get(position..));
        if overlaps || !there.is_some_and(|rest| rest.starts_with(&PLACEHOLDER)) {
            prop_assert!(restore(&normalized, &sizes, &more).is_err());
        }
    }
}

#[test]
fn a_rejected_table_reports_the_position_of_its_reference() {
    let hash = *b"0123456789abcdfghijklmnpqrsvwxyz";
    let at = |position| Reference { position, hash };
    let content = [PREFIX, &hash, PREFIX, &hash].concat();
    let (normalized, table) = normalize(&content, &[7]);
    assert_eq!(table, [at(11), at(54)]);
    for sizes in [[1], [5], [usize::MAX]] {
        let refused = |table: &[Reference]| restore(&normalized, &sizes, table).unwrap_err().position;
        // There is no placeholder, or only a part of one.
        assert_eq!(refused(&[at(0), at(11), at(54)]), 0);
        assert_eq!(refused(&[at(11), at(55)]), 55);
        // The position is after the end.
        assert_eq!(refused(&[at(11), at(54), at(86)]), 86);
        assert_eq!(refused(&[at(11), at(54), at(u64::MAX)]), u64::MAX);
        // The references are out of order, or overlap.
        assert_eq!(refused(&[at(54), at(11)]), 11);
        assert_eq!(refused(&[at(11), at(11), at(54)]), 11);
        assert_eq!(refused(&[at(11), at(42), at(54)]), 42);
    }
    // The error is sticky.
    let mut restorer = Restorer::new([at(0)]);
    for _ in 0..2 {
        let error = restorer.feed(&normalized, |_| {}).unwrap_err();
        assert_eq!((error.position, error.code()), (0, "invalid_references"));
    }
    assert!(restorer.finish().is_err());
}

#[test]
fn a_table_of_long_references_is_rejected_without_a_copy() {
    use chunker::nar::references::{self, Replaced};

    let long = vec![b'e'; 5_000_000];
    let table: Vec<_> = (0..1000).map(|position| Replaced { position, characters: &long[..] }).collect();
    let mut chunk = vec![b'e'; 10_000_000];
    let measured = allocation_counter::measure(|| {
        assert_eq!(references::restore(&mut chunk, &table).unwrap_err().position, 0);
        assert_eq!(references::replace(&mut chunk, &table).unwrap_err().position, 0);
        assert!(references::restore(&mut chunk, &[Replaced { position: 3, characters: [b'x'; 32] }]).is_ok());
    });
    assert_eq!(measured.bytes_total, 0);
    assert_eq!(chunk[2..36], *[b"e".as_slice(), &[b'x'; 32], b"e"].concat());
}
