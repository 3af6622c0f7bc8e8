//! The events of the parser for valid and invalid archives.

use chunker::nar::{NarError, Parser, START};
use proptest::prelude::*;
use proptest::sample::Index;

use super::naive::{self, Tree};

/// Splits `bytes` at the given indices.
fn cut<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    ends.extend([0, bytes.len()]);
    ends.sort_unstable();
    ends.windows(2).map(|ends| &bytes[ends[0]..ends[1]]).collect()
}

proptest! {
    #[test]
    fn a_tree_round_trips(tree in naive::trees(), cuts in proptest::collection::vec(any::<Index>(), 0..20)) {
        let nar = naive::encode(&tree);
        let expected = naive::expected(&tree);
        for pieces in [vec![&nar[..]], nar.chunks(1).collect(), cut(&nar, &cuts)] {
            let (reported, end) = naive::events(pieces);
            prop_assert_eq!(end, Ok(()));
            prop_assert_eq!(&reported, &expected);
        }
        prop_assert_eq!(naive::tree(&expected), tree);
    }

    #[test]
    fn an_accepted_archive_is_the_only_archive_of_its_tree(
        tree in naive::trees(),
        changes in proptest::collection::vec((any::<Index>(), any::<u8>()), 1..4),
        cuts in proptest::collection::vec(any::<Index>(), 0..20),
    ) {
        let mut nar = naive::encode(&tree);
        for (at, value) in changes {
            let at = at.index(nar.len());
            nar[at] = value;
        }
        let (reported, end) = naive::events([&nar[..]]);
        prop_assert_eq!(&naive::events(nar.chunks(1)), &(reported.clone(), end));
        prop_assert_eq!(&naive::events(cut(&nar, &cuts)), &(reported.clone(), end));
        if end.is_ok() {
            prop_assert_eq!(naive::encode(&naive::tree(&reported)), nar);
        }
    }

    #[test]
    fn strings_in_any_order_form_no_other_archive(
        trees in proptest::collection::vec(naive::trees(), 1..3),
        order in proptest::collection::vec(any::<Index>(), 0..40),
    ) {
        let strings: Vec<_> = trees.iter().flat_map(naive::tokens).collect();
        let mut nar = START.to_vec();
        for index in order {
            nar.extend(index.get(&strings).bytes());
        }
        let (reported, end) = naive::events([&nar[..]]);
        prop_assert_eq!(&naive::events(nar.chunks(1)), &(reported.clone(), end));
        if end.is_ok() {
            prop_assert_eq!(naive::encode(&naive::tree(&reported)), nar);
        }
    }

    #[test]
    fn any_input_is_read_or_rejected(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        whole in any::<bool>(),
    ) {
        let input = if whole { [&START[..], &bytes].concat() } else { bytes };
        let (reported, end) = naive::events([&input[..]]);
        prop_assert_eq!(naive::events(input.chunks(1)), (reported, end));
    }

    #[test]
    fn skipping_contents_changes_no_other_event(tree in naive::trees(), at_once in 1u64..20) {
        let nar = naive::encode(&tree);
        let mut expected = naive::expected(&tree);
        for reported in &mut expected {
            if let naive::Reported::File { contents, .. } = reported {
                contents.clear();
            }
        }
        let mut parser = Parser::new();
        let mut reported = Vec::new();
        let mut rest = &nar[..];
        while !rest.is_empty() {
            let count = parser.skippable().min(at_once);
            parser.skip(count);
            rest = &rest[count as usize..];
            if parser.skippable() == 0 {
                let mut one = &rest[..1];
                rest = &rest[1..];
                while let Some(event) = parser.next(&mut one).unwrap() {
                    naive::note(&mut reported, event);
                }
            }
            prop_assert_eq!(parser.offset(), (nar.len() - rest.len()) as u64);
        }
        prop_assert_eq!(parser.finish(), Ok(()));
        prop_assert_eq!(reported, expected);
    }
}

#[test]
fn every_archive_begins_with_the_same_56_bytes() {
    for tree in [Tree::Link(b"x".to_vec()), Tree::Folder([].into())] {
        assert!(naive::encode(&tree).starts_with(&START));
    }
}

#[test]
fn an_error_of_the_callback_stops_the_parser() {
    #[derive(Debug, PartialEq)]
    enum Stop {
        Here,
        Broken,
    }
    impl From<NarError> for Stop {
        fn from(_: NarError) -> Self {
            Self::Broken
        }
    }
    let nar = naive::encode(&Tree::Folder([].into()));
    assert_eq!(Parser::new().feed(&nar, |_| Err(Stop::Here)), Err(Stop::Here));
    assert_eq!(Parser::new().feed(b"else", |_| Err(Stop::Here)), Err(Stop::Broken));
}

#[test]
#[should_panic(expected = "only contents can be skipped")]
fn only_contents_can_be_skipped() {
    Parser::new().skip(1);
}

#[test]
fn skipping_nothing_changes_nothing() {
    let nar = naive::encode(&Tree::File { executable: false, contents: b"contents".to_vec() });
    let mut parser = Parser::new();
    for byte in nar.chunks(1) {
        parser.skip(0);
        parser.feed(byte, |_| Ok::<_, NarError>(())).unwrap();
    }
    assert_eq!(parser.finish(), Ok(()));
}
