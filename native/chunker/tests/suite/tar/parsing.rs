//! Parses tars in pieces of any size.

use chunker::tar::{Event, Member, Parser};
use proptest::collection::vec;
use proptest::prelude::*;

use super::writer::tar;

/// Returns all events.
pub(crate) fn events<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Event> {
    let mut parser = Parser::new();
    let mut events = Vec::new();
    for mut piece in pieces {
        while let Some(event) = parser.next(&mut piece) {
            events.push(event);
        }
    }
    events
}

/// Returns all members.
pub(crate) fn members<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Member> {
    let member = |event| if let Event::Member(member) = event { Some(member) } else { None };
    events(pieces).into_iter().filter_map(member).collect()
}

proptest! {
    #[test]
    fn members_are_found_where_they_were_written(
        (tar, written) in tar(),
        pieces in vec(prop_oneof![1usize..20, 1usize..2000], 1..8),
    ) {
        let found = events([&tar[..]]);
        let contents: Vec<_> = members([&tar[..]])
            .iter()
            .map(|member| member.offset as usize..(member.offset + member.size) as usize)
            .collect();
        prop_assert_eq!(contents, written.contents);
        prop_assert_eq!(found.iter().filter(|&&event| event == Event::End).count(), written.ends.len());
        let (mut rest, mut split) = (&tar[..], Vec::new());
        for length in pieces.into_iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at(length.min(rest.len()));
            split.push(piece);
            rest = after;
        }
        prop_assert_eq!(events(split), found.clone());
        prop_assert_eq!(events(tar.chunks(1)), found);
    }

    #[test]
    fn skipping_contents_changes_no_other_event((tar, _) in tar(), part in 0u64..3000) {
        let (mut parser, mut found, mut at) = (Parser::new(), Vec::new(), 0);
        while at < tar.len() {
            let mut rest = &tar[at..];
            let event = parser.next(&mut rest);
            at = tar.len() - rest.len();
            found.extend(event);
            let count = parser.skippable().min(part);
            parser.skip(count);
            at += count as usize;
            prop_assert_eq!(parser.offset(), at as u64);
        }
        found.extend(parser.next(&mut &[][..]));
        prop_assert_eq!(found, events([&tar[..]]));
    }
}

#[test]
#[should_panic(expected = "only contents can be skipped")]
fn only_contents_can_be_skipped() {
    Parser::new().skip(1);
}
