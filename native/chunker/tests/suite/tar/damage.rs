//! Tars that are damaged, truncated, made to do harm, or none at all: they are chunked without an error.

use std::ops::Range;

use chunker::aligned::Config;
use chunker::tar::{Event, Parser};
use proptest::collection::vec;
use proptest::prelude::*;

use super::chunking::{plain, scan};
use super::parsing::{events, members};
use super::writer::{self, Dialect, File, append_special, base_256, header, octal, record, sum, tar, write};
use crate::aligned::{config, reference, reference_before};
use crate::inputs;

/// A configuration under which contents of a KB get chunks of their own.
fn small() -> Config {
    Config { min_entry_size: Some(1000), ..Config::with_average(512) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn random_damage_gives_chunks_that_do_not_depend_on_the_split(
        (mut tar, _) in tar(),
        config in config(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        length in any::<prop::sample::Index>(),
        pieces in vec(prop_oneof![1usize..20, 1usize..2000], 1..8),
    ) {
        if !tar.is_empty() {
            for (at, byte) in damage {
                let at = at.index(tar.len());
                tar[at] = byte;
            }
            tar.truncate(tar.len() - length.index(tar.len()) / 2);
        }
        let whole = scan(&tar, &config, &[usize::MAX]);
        prop_assert_eq!(whole.0.iter().sum::<usize>(), tar.len());
        prop_assert!(whole.0.iter().all(|&length| 0 < length && length <= config.options.max_size as usize));
        for pieces in [&pieces[..], &[1]] {
            prop_assert_eq!(scan(&tar, &config, pieces), whole.clone(), "{:?}", pieces);
        }
    }

    #[test]
    fn the_fields_of_a_header_may_hold_anything(
        fields in vec((100..512usize, any::<u8>()), 0..40),
        size in prop_oneof![any::<[u8; 12]>(), any::<u64>().prop_map(base_256), (0..2000usize).prop_map(octal)],
        kind in prop_oneof![any::<u8>(), prop::sample::select(&b"01567xXgLKSMNDV\0"[..])],
        rest in vec(any::<u8>(), 0..3000),
        pieces in vec(1usize..600, 1..4),
    ) {
        let mut block = header(b"name", kind, &size, false);
        for (at, byte) in fields {
            block[at] = byte;
        }
        block[124..136].copy_from_slice(&size);
        block[156] = kind;
        sum(&mut block, false);
        let tar = [&block[..], &rest].concat();
        let whole = scan(&tar, &small(), &[usize::MAX]);
        prop_assert_eq!(whole.0.iter().sum::<usize>(), tar.len());
        prop_assert_eq!(scan(&tar, &small(), &pieces), whole);
    }

    #[test]
    fn from_a_damaged_header_on_only_fastcdc_decides(
        (tar, members) in tar(),
        config in config(),
        junk in (any::<u64>(), 512..20_000usize),
    ) {
        // The sum of a block of random bytes is never that in its field.
        let damaged = [&tar[..], &inputs::random(junk.0, junk.1)].concat();
        prop_assert_eq!(scan(&damaged, &config, &[usize::MAX]), reference(&damaged, &members, &config));
    }

    #[test]
    fn what_is_no_tar_has_the_chunks_of_fastcdc(
        bytes in (any::<u64>(), 0..30_000usize).prop_map(|(seed, length)| inputs::random(seed, length)),
        config in config(),
        pieces in vec(1usize..2000, 1..4),
    ) {
        prop_assert_eq!(scan(&bytes, &config, &pieces), (plain(&bytes, &config), 0));
    }

    #[test]
    fn a_truncated_tar_keeps_the_chunks_of_what_is_there(
        (tar, members) in tar(),
        config in config(),
        at in any::<prop::sample::Index>(),
    ) {
        prop_assume!(!tar.is_empty());
        let at = at.index(tar.len());
        let least = config.min_entry_size.unwrap_or(2 * config.options.avg_size) as usize;
        let is_cut_off = |range: &&Range<usize>| range.len() >= least && range.start <= at && at < range.end;
        // Large contents that the end of the input is in are chunked like those that are complete.
        let start = members.contents.iter().find(is_cut_off).map_or(at, |range| range.start);
        let mut known = members.clone();
        known.contents.retain(|range| range.end <= start);
        known.ends.retain(|&end| end <= start);
        let mut expected = reference_before(&tar[..start], &known, &config, start < at).0;
        expected.extend(plain(&tar[start..at], &config));
        prop_assert_eq!(scan(&tar[..at], &config, &[usize::MAX]).0, expected);
    }
}

fn file(name: &[u8], kind: u8, contents: &[u8]) -> File {
    File { kind, name: name.to_vec(), contents: contents.to_vec(), dialect: Dialect::Ustar }
}

#[test]
fn hostile_sizes_do_no_harm() {
    let rest = inputs::random(1, 40_000);
    let sizes = [u64::MAX, u64::MAX - 511, 1 << 63, (1 << 63) - 1, (1 << 63) - 512, (1 << 62), 1 << 40];
    for size in sizes {
        for kind in *b"0xXgLKSM" {
            let tar = [&header(b"n", kind, &base_256(size), false)[..], &rest].concat();
            let whole = scan(&tar, &small(), &[usize::MAX]);
            assert_eq!(whole.0.iter().sum::<usize>(), tar.len());
            assert_eq!(scan(&tar, &small(), &[700]), whole);
            if size >= (1 << 63) - 512 {
                // It ends behind the longest possible file.
                assert_eq!(whole.0, plain(&tar, &small()), "{size} {}", kind as char);
            }
        }
        for (records, is_size) in [
            (record("size", &size.to_string()), true),
            (format!("{size} path=").into_bytes(), false),
            (format!("{size}0 size=1\n").into_bytes(), false),
        ] {
            let mut tar = Vec::new();
            append_special(&mut tar, b'x', &records);
            tar.extend_from_slice(&header(b"n", b'0', &octal(0), false));
            tar.extend_from_slice(&rest);
            let whole = scan(&tar, &small(), &[usize::MAX]);
            assert_eq!(scan(&tar, &small(), &[1]), whole);
            let has_cut = is_size && size < (1 << 63) - 1536;
            let cut = plain(&tar[1536..], &small());
            assert_eq!(
                whole.0.ends_with(&cut) && whole.0.iter().sum::<usize>() - cut.iter().sum::<usize>() == 1536,
                has_cut
            );
        }
    }
}

#[test]
fn a_large_member_begins_where_it_is_cut_off() {
    let contents = inputs::random(2, 8 << 20);
    let tar = [&header(b"n", b'0', &base_256(8 << 30), false)[..], &contents].concat();
    let (lengths, short) = scan(&tar, &Config::DEFAULT, &[usize::MAX]);
    assert_eq!((lengths[0], short), (512, 1));
    assert_eq!(lengths[1..], plain(&contents, &Config::DEFAULT));
}

#[test]
fn malformed_pax_records_are_skipped() {
    let contents = inputs::random(3, 5000);
    let size = |size: &str| record("size", size);
    for (records, length) in [
        (b"15 comment=abc\n".to_vec(), 5000),
        (b"14 comment=abc\n".to_vec(), 5000),
        (b"16 comment=abc\n".to_vec(), 5000),
        (b"size=3000\n".to_vec(), 5000),
        (b"13 size=3e3x\n".to_vec(), 5000),
        (b"99 comment=abc\n".to_vec(), 5000),
        (b"\0\0\0".to_vec(), 5000),
        (Vec::new(), 5000),
        // Records before a malformed one hold, and those after it do not.
        ([size("3000"), b"x".to_vec()].concat(), 3000),
        ([size("3000"), b"x".to_vec(), size("1000")].concat(), 3000),
        ([b"x".to_vec(), size("1000")].concat(), 5000),
        // The rest of the header has several blocks.
        ([b"x".to_vec(), vec![b'y'; 2000]].concat(), 5000),
        ([b"x".to_vec(), vec![b'y'; 1023]].concat(), 5000),
    ] {
        for kind in *b"xg" {
            let mut tar = Vec::new();
            append_special(&mut tar, kind, &records);
            tar.extend_from_slice(&header(b"n", b'0', &octal(5000), false));
            let start = tar.len();
            writer::append(&mut tar, &contents[..length]);
            // Global records of a length would apply to it, too.
            tar.resize(tar.len() + 512, 0);
            tar.extend_from_slice(&write(&[file(b"next", b'0', b"abc")]).0);
            let found = members([&tar[..]]);
            let places: Vec<_> = found.iter().map(|member| (member.offset as usize, member.size)).collect();
            let next = tar.len() - 512;
            assert_eq!(places, [(start, length as u64), (next, 3)], "{}", records.escape_ascii());
            assert_eq!(members(tar.chunks(1)), found);
        }
    }
}

#[test]
fn links_have_no_contents_unless_pax_records_give_their_length() {
    for kind in *b"123456" {
        let header = header(b"link", kind, &octal(1000), false);
        let next = write(&[file(b"next", b'0', b"abc")]).0;
        let tar = [&header[..], &next].concat();
        let sizes: Vec<_> = members([&tar[..]]).iter().map(|member| member.size).collect();
        assert_eq!(sizes, [0, 3], "{}", kind as char);
        let mut tar = Vec::new();
        append_special(&mut tar, b'x', &record("size", "1000"));
        tar.extend_from_slice(&header);
        if kind == b'1' {
            writer::append(&mut tar, &[7; 1000]);
        }
        tar.extend_from_slice(&next);
        let sizes: Vec<_> = members([&tar[..]]).iter().map(|member| member.size).collect();
        assert_eq!(sizes, [if kind == b'1' { 1000 } else { 0 }, 3], "{}", kind as char);
    }
}

#[test]
fn global_records_hold_up_to_the_end_of_the_archive() {
    let (mut tar, contents) = (Vec::new(), [7; 700]);
    let member = |tar: &mut Vec<u8>, size, contents: &[u8]| {
        tar.extend_from_slice(&header(b"n", b'0', &octal(size), false));
        writer::append(tar, contents);
    };
    append_special(&mut tar, b'g', &record("size", "700"));
    member(&mut tar, 0, &contents);
    // Records of a member take precedence, and an empty value revokes the global one.
    append_special(&mut tar, b'x', &record("size", "5"));
    member(&mut tar, 0, &contents[..5]);
    append_special(&mut tar, b'x', &record("size", ""));
    member(&mut tar, 9, &contents[..9]);
    member(&mut tar, 0, &contents);
    tar.resize(tar.len() + 1024, 0);
    member(&mut tar, 3, &contents[..3]);
    let sizes: Vec<_> = members([&tar[..]]).iter().map(|member| member.size).collect();
    assert_eq!(sizes, [700, 5, 9, 700, 3]);
}

#[test]
fn what_follows_the_end_is_read_as_another_archive() {
    let one = write(&[file(b"a", b'0', &[1; 2000])]).0;
    let two = write(&[file(b"b", b'0', &[2; 3000]), file(b"c", b'5', b"")]).0;
    for zeros in [512, 1024, 10_240, 1_024_000] {
        let tar = [&one[..], &vec![0; zeros], &two, &vec![0; zeros]].concat();
        let sizes: Vec<_> = members([&tar[..]]).iter().map(|member| member.size).collect();
        assert_eq!(sizes, [2000, 3000, 0]);
        // Anything else ends what is understood.
        let tar = [&one[..], &vec![0; zeros], b"junk", &two].concat();
        assert_eq!(members([&tar[..]]).len(), 1);
    }
}

#[test]
fn a_tar_is_recognized_up_to_the_first_block_that_is_not_understood() {
    let mut parser = Parser::new();
    let tar = write(&[file(b"a", b'0', &[1; 2000])]).0;
    let mut rest = &tar[..];
    assert_eq!(parser.next(&mut rest).map(|event| matches!(event, Event::Member(_))), Some(true));
    assert_eq!(parser.next(&mut rest), Some(Event::End));
    assert_eq!((parser.next(&mut rest), parser.is_tar(), parser.offset()), (None, true, tar.len() as u64));
    let mut junk = &[1; 600][..];
    assert_eq!((parser.next(&mut junk), parser.is_tar()), (None, false));
    assert_eq!(parser.offset(), tar.len() as u64 + 600);
    assert_eq!(events([&tar[..], &[1; 600], &tar]).len(), 2);
}
