//! What the parser tells of archives that are none and of those that are.

use chunker::nar::{NarError, Parser, START};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::naive::{self, Tree};

/// Boundaries `bytes` where the indices say.
fn cut<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    ends.extend([0, bytes.len()]);
    ends.sort_unstable();
    ends.windows(2).map(|ends| &bytes[ends[0]..ends[1]]).collect()
}

proptest! {
    #[test]
    fn a_tree_comes_out_as_it_went_in(tree in naive::trees(), cuts in proptest::collection::vec(any::<Index>(), 0..20)) {
        let nar = naive::encode(&tree);
        let expected = naive::expected(&tree);
        for pieces in [vec![&nar[..]], nar.chunks(1).collect(), cut(&nar, &cuts)] {
            let (told, end) = naive::told(pieces);
            prop_assert_eq!(end, Ok(()));
            prop_assert_eq!(&told, &expected);
        }
        prop_assert_eq!(naive::tree(&expected), tree);
    }

    #[test]
    fn whatever_is_accepted_is_the_one_archive_of_its_tree(
        tree in naive::trees(),
        changes in proptest::collection::vec((any::<Index>(), any::<u8>()), 1..4),
        cuts in proptest::collection::vec(any::<Index>(), 0..20),
    ) {
        let mut nar = naive::encode(&tree);
        for (at, value) in changes {
            let at = at.index(nar.len());
            nar[at] = value;
        }
        let (told, end) = naive::told([&nar[..]]);
        prop_assert_eq!(&naive::told(nar.chunks(1)), &(told.clone(), end));
        prop_assert_eq!(&naive::told(cut(&nar, &cuts)), &(told.clone(), end));
        if end.is_ok() {
            prop_assert_eq!(naive::encode(&naive::tree(&told)), nar);
        }
    }

    #[test]
    fn strings_in_any_order_make_no_other_archive(
        trees in proptest::collection::vec(naive::trees(), 1..3),
        order in proptest::collection::vec(any::<Index>(), 0..40),
    ) {
        let strings: Vec<_> = trees.iter().flat_map(naive::tokens).collect();
        let mut nar = START.to_vec();
        for index in order {
            nar.extend(index.get(&strings).bytes());
        }
        let (told, end) = naive::told([&nar[..]]);
        prop_assert_eq!(&naive::told(nar.chunks(1)), &(told.clone(), end));
        if end.is_ok() {
            prop_assert_eq!(naive::encode(&naive::tree(&told)), nar);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300), whole in any::<bool>()) {
        let input = if whole { [&START[..], &bytes].concat() } else { bytes };
        let (told, end) = naive::told([&input[..]]);
        prop_assert_eq!(naive::told(input.chunks(1)), (told, end));
    }

    #[test]
    fn who_skips_contents_sees_all_else(tree in naive::trees(), at_once in 1u64..20) {
        let nar = naive::encode(&tree);
        let mut expected = naive::expected(&tree);
        for told in &mut expected {
            if let naive::Told::File { contents, .. } = told {
                contents.clear();
            }
        }
        let mut parser = Parser::new();
        let mut told = Vec::new();
        let mut rest = &nar[..];
        while !rest.is_empty() {
            let count = parser.skippable().min(at_once);
            parser.skip(count);
            rest = &rest[count as usize..];
            if parser.skippable() == 0 {
                let mut one = &rest[..1];
                rest = &rest[1..];
                while let Some(event) = parser.next(&mut one).unwrap() {
                    naive::note(&mut told, event);
                }
            }
            prop_assert_eq!(parser.offset(), (nar.len() - rest.len()) as u64);
        }
        prop_assert_eq!(parser.finish(), Ok(()));
        prop_assert_eq!(told, expected);
    }
}

#[test]
fn the_first_56_bytes_are_those_of_every_archive() {
    for tree in [Tree::Link(b"x".to_vec()), Tree::Folder([].into())] {
        assert!(naive::encode(&tree).starts_with(&START));
    }
}

#[test]
fn a_failure_of_the_listener_ends_the_feeding() {
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
fn nothing_but_contents_can_be_skipped() {
    Parser::new().skip(1);
}
