//! Every way to break a rule, at every position where that is possible.

use std::fs;
use std::io::{Seek, Write};
use std::ops::Range;

use chunker::hash::Algorithm;
use chunker::io::file::Input;
#[cfg(unix)]
use chunker::nar::Restore;
use chunker::nar::{
    Hash, List, Listing, MAX_DEPTH, NarConsumer, NarError, ReadFile, Rule, read_slice, read_source,
};
use chunker::{Error, NEVER};

use super::naive::{self, Role, Token, Tree};

/// An invalid archive, with its expected error.
struct Case {
    what: String,
    nar: Vec<u8>,
    offset: u64,
    rule: Rule,
}

fn file(executable: bool, contents: &[u8]) -> Tree {
    Tree::File { executable, contents: contents.into() }
}

fn folder<const N: usize>(entries: [(&str, Tree); N]) -> Tree {
    Tree::Folder(entries.into_iter().map(|(name, node)| (name.as_bytes().to_vec(), node)).collect())
}

/// Returns trees that together have each token in each position: at the root and below, first and last, with
/// padding and without.
fn trees() -> Vec<Tree> {
    let all = || {
        [
            ("a", folder([])),
            ("b", file(false, b"contents of a file")),
            ("c", file(true, b"#!/bin/sh")),
            ("d", Tree::Link(b"a target".to_vec())),
            ("eight888", file(false, b"")),
            ("f", folder([("inner", Tree::Link(b"target".to_vec()))])),
        ]
    };
    let mut trees = vec![folder(all()), folder([("only", folder(all()))])];
    trees.extend(all().map(|(_, tree)| tree));
    trees
}

/// Returns the tokens of a tree, each with its range in the NAR.
fn placed(tree: &Tree) -> Vec<(Token, Range<usize>)> {
    let mut at = 0;
    naive::tokens(tree)
        .into_iter()
        .map(|token| {
            let start = at;
            at += token.bytes().len();
            (token, start..at)
        })
        .collect()
}

/// Returns the offset and rule of the error after the first `start` bytes of `nar` if only the `allowed`
/// tokens are valid there: the offset of the first byte that matches none of them.
fn first_difference(nar: &[u8], start: usize, allowed: &[&str]) -> (usize, Rule) {
    let tokens: Vec<Vec<u8>> = allowed
        .iter()
        .map(|string| Token { role: Role::Fixed, string: string.as_bytes().to_vec() }.bytes())
        .collect();
    let common = |token: &Vec<u8>| nar[start..].iter().zip(token).take_while(|(a, b)| a == b).count();
    let at = start + tokens.iter().map(common).max().unwrap();
    let rule = match at {
        _ if at == nar.len() => Rule::Truncated,
        0..24 => Rule::Magic,
        _ => Rule::Token,
    };
    (at, rule)
}

/// Returns the fixed strings that the grammar allows at the position of token `number`; none if any string is
/// allowed.
fn allowed(tokens: &[(Token, Range<usize>)], number: usize) -> Vec<&'static str> {
    let string = |number: usize| std::str::from_utf8(&tokens[number].0.string).unwrap_or("");
    if number == 0 {
        return vec!["nix-archive-1"];
    }
    let before = &tokens[number - 1].0;
    match (before.role, string(number - 1)) {
        (Role::Name, _) => vec!["node"],
        (Role::Target | Role::Contents, _) => vec![")"],
        (Role::Fixed, "nix-archive-1" | "node" | "entry") => vec!["("],
        (Role::Fixed, "(") => {
            vec![if number >= 2 && string(number - 2) == "entry" { "name" } else { "type" }]
        }
        (Role::Fixed, "type") => vec!["regular", "symlink", "directory"],
        (Role::Fixed, "regular") => vec!["executable", "contents"],
        (Role::Fixed, "executable") => vec![""],
        (Role::Fixed, "") => vec!["contents"],
        (Role::Fixed, "symlink") => vec!["target"],
        (Role::Fixed, "name" | "target" | "contents") => vec![],
        (Role::Fixed, "directory") => vec!["entry", ")"],
        // The end of a node or of an entry, depending on which is open.
        (Role::Fixed, ")") => {
            let mut open = Vec::new();
            for (token, _) in &tokens[..number] {
                match (token.role, &token.string[..]) {
                    (Role::Fixed, b"(") => open.push("node"),
                    (Role::Fixed, b"name") => *open.last_mut().unwrap() = "entry",
                    (Role::Fixed, b")") => drop(open.pop()),
                    _ => {}
                }
            }
            if open.last() == Some(&"entry") { vec![")"] } else { vec!["entry", ")"] }
        }
        other => panic!("the grammar has no place after {other:?}"),
    }
}

/// Damages each token of a tree in every way that breaks a rule.
fn damaged(tree: &Tree) -> Vec<Case> {
    let tokens = placed(tree);
    let nar = naive::encode(tree);
    let mut cases = Vec::new();
    for (number, (token, place)) in tokens.iter().enumerate() {
        let what = |how: &str| format!("token {number} ({:?}) {how}", String::from_utf8_lossy(&token.string));
        let with = |bytes: &[u8]| [&nar[..place.start], bytes, &nar[place.end..]].concat();
        let text = place.start + 8..place.start + 8 + token.string.len();
        let mut add = |how: &str, nar: Vec<u8>, (offset, rule): (usize, Rule)| {
            cases.push(Case { what: what(how), nar, offset: offset as u64, rule });
        };

        // Truncate before the token, in its length, in it, and in its padding.
        let mut ends =
            vec![place.start, place.start + 1, place.start + 7, text.start, text.end, place.end - 1];
        ends.retain(|end| *end < nar.len() && *end < place.end);
        ends.dedup();
        for end in ends {
            add(&format!("cut off at {end}"), nar[..end].to_vec(), (end, Rule::Truncated));
        }

        // Set each byte of the padding to values with one bit and with all bits.
        for at in text.end..place.end {
            for value in [1, 128, 255] {
                let mut nar = nar.clone();
                nar[at] = value;
                let rule = if token.role == Role::Fixed && at < 24 { Rule::Magic } else { Rule::Token };
                let rule = if token.role == Role::Fixed { rule } else { Rule::Padding };
                add(&format!("with padding {value} at {at}"), nar, (at, rule));
            }
        }

        if token.role == Role::Fixed {
            let allowed = allowed(&tokens, number);
            let mut replace = |how: &str, nar: Vec<u8>| {
                let difference = first_difference(&nar, place.start, &allowed);
                add(how, nar, difference);
            };
            let others =
                ["(", ")", "type", "regular", "contents", "executable", "symlink", "target", "directory"];
            let more =
                ["entry", "name", "node", "", "nix-archive-1", "nix-archive-2", "Type", "contentS", "x"];
            for other in others.iter().chain(&more).filter(|other| !allowed.contains(other)) {
                let other = Token { role: Role::Fixed, string: other.as_bytes().to_vec() };
                replace(&format!("replaced by {:?}", other.string), with(&other.bytes()));
            }
            for (at, value) in place.clone().flat_map(|at| [1u8, 0x80].map(|bit| (at, nar[at] ^ bit))) {
                let mut changed = nar.clone();
                changed[at] = value;
                // No single bit turns one allowed token into another.
                replace(&format!("with byte {at} as {value}"), changed);
            }
            // Without the token, the next one takes its position.
            if let Some((next, _)) = tokens.get(number + 1)
                && !allowed.iter().any(|string| string.as_bytes() == next.string)
            {
                replace("left out", with(b""));
            }
            let follower = self::allowed(&tokens, number + 1);
            let is_last = number + 1 == tokens.len();
            if !is_last
                && tokens[number + 1].0.role == Role::Fixed
                && !follower.iter().any(|s| s.as_bytes() == token.string)
            {
                let nar = with(&[token.bytes(), token.bytes()].concat());
                let difference = first_difference(&nar, place.end, &follower);
                add("doubled", nar, difference);
            }
            continue;
        }

        let (empty, long, most) = match token.role {
            Role::Name => (Rule::NameEmpty, Rule::NameTooLong, 255),
            Role::Target => (Rule::TargetEmpty, Rule::TargetTooLong, 4095),
            _ => (Rule::ContentsTooLong, Rule::ContentsTooLong, u64::MAX),
        };
        let length = |length: u64| [&nar[..place.start], &length.to_le_bytes(), &nar[text.start..]].concat();
        for huge in [u64::MAX, u64::MAX - 7, 1 << 63, i64::MAX as u64] {
            add(&format!("with length {huge}"), length(huge), (place.start, long));
        }
        if token.role == Role::Contents {
            // The largest length of a file. The input ends before that.
            let largest = i64::MAX as u64 - text.start as u64;
            add("with the largest length", length(largest), (nar.len(), Rule::Truncated));
            add("with more", length(largest + 1), (place.start, Rule::ContentsTooLong));
            continue;
        }
        add("empty", with(&[0; 8]), (place.start, empty));
        for more in [most + 1, most + 2, 65_536, 1 << 32] {
            add(&format!("with length {more}"), length(more), (place.start, long));
        }
        let too_long = Token { role: token.role, string: vec![b'x'; most as usize + 1] };
        add("too long", with(&too_long.bytes()), (place.start, long));
        let replaced = |string: &[u8]| with(&Token { role: token.role, string: string.into() }.bytes());
        let mut bad = vec![("\0", 0), ("a\0", 1), ("a\0b", 1), ("eight88\0", 7)];
        let rule = if token.role == Role::Target {
            Rule::TargetInvalid
        } else {
            bad.extend([
                (".", 0),
                ("..", 0),
                ("/", 0),
                ("../x", 2),
                ("/etc", 0),
                ("a/b", 1),
                ("a/", 1),
                ("./a", 1),
            ]);
            Rule::NameInvalid
        };
        for (string, at) in bad {
            add(&format!("as {string:?}"), replaced(string.as_bytes()), (text.start + at, rule));
        }
    }

    for trailing in [&b"\0"[..], b"x", &[0; 8], &nar[..], &naive::tokens(tree).last().unwrap().bytes()] {
        cases.push(Case {
            what: format!("followed by {} bytes", trailing.len()),
            nar: [&nar, trailing].concat(),
            offset: nar.len() as u64,
            rule: Rule::TrailingData,
        });
    }
    cases
}

/// Returns NARs with two entries in a folder below the root, the second of which does not sort after the
/// first.
fn unsorted() -> Vec<Case> {
    let pairs: [(&[u8], &[u8]); 9] = [
        (b"a", b"a"),
        (b"b", b"a"),
        (b"aa", b"a"),
        (b"a", b"A"),
        (b"\x80", b"~"),
        (b"\xff\xff", b"\xff"),
        (b"a.b", b"a-b"),
        (b"a b", b"a b"),
        (b"\xc3\xa9", b"z"),
    ];
    let mut cases = Vec::new();
    for (first, second) in pairs {
        for node in
            [Tree::Link(b"..".to_vec()), file(false, b"x"), folder([("zzz", file(true, b""))]), folder([])]
        {
            // Names in ascending order, of the same lengths as the names that replace them.
            let (low, high) = (vec![0x01; first.len()], vec![0xff; second.len() + 1][1..].to_vec());
            let tree = Tree::Folder(
                [(b"d".to_vec(), Tree::Folder([(low, node.clone()), (high, node)].into()))].into(),
            );
            let mut tokens = placed(&tree);
            let mut names: Vec<_> = tokens
                .iter_mut()
                .filter(|(token, _)| {
                    token.role == Role::Name && token.string != b"zzz" && token.string != b"d"
                })
                .collect();
            assert_eq!(names.len(), 2);
            names[0].0.string = first.to_vec();
            names[1].0.string = second.to_vec();
            let offset = names[1].1.start as u64 + 8;
            let nar = tokens.iter().flat_map(|(token, _)| token.bytes()).collect();
            cases.push(Case {
                what: format!("{second:?} after {first:?}"),
                nar,
                offset,
                rule: Rule::NamesUnsorted,
            });
        }
    }
    cases
}

/// Returns nested folders.
fn nested(levels: usize) -> Tree {
    (0..levels).fold(folder([]), |inner, _| folder([("d", inner)]))
}

fn too_deep() -> Vec<Case> {
    [MAX_DEPTH, MAX_DEPTH + 1, 1000, 10_000]
        .map(|levels| {
            // Without recursion, which would overflow the stack.
            let string =
                |string: &str| Token { role: Role::Fixed, string: string.as_bytes().to_vec() }.bytes();
            let join = |strings: &[&str]| strings.iter().flat_map(|s| string(s)).collect::<Vec<u8>>();
            let start = join(&["nix-archive-1", "(", "type", "directory"]);
            let level = join(&["entry", "(", "name", "d", "node", "(", "type", "directory"]);
            let end = join(&[")", ")"]);
            let offset = start.len() + level.len() * (MAX_DEPTH - 1);
            let nar = [&start[..], &level.repeat(levels), &end.repeat(levels), &string(")")].concat();
            Case { what: format!("{levels} levels"), nar, offset: offset as u64, rule: Rule::Depth }
        })
        .into()
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = trees().iter().flat_map(damaged).collect();
    cases.extend(unsorted());
    cases.extend(too_deep());
    for bytes in
        [&b""[..], b"n", b"nix-archive-1\n", b"\x7fELF", &[0; 100], b"\x0d\0\0\0\0\0\0\0nix-archive-2\0\0\0"]
    {
        let (offset, rule) = first_difference(bytes, 0, &["nix-archive-1"]);
        cases.push(Case { what: format!("{bytes:?} alone"), nar: bytes.into(), offset: offset as u64, rule });
    }
    cases
}

#[test]
fn every_broken_rule_is_detected_in_every_form_of_input() {
    let cases = cases();
    for rule in Rule::ALL {
        assert!(cases.iter().any(|case| case.rule == rule), "no case breaks {rule:?}");
    }
    assert!(cases.len() > 4000, "{}", cases.len());
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for Case { what, nar, offset, rule } in &cases {
        let expected = Err(NarError { offset: *offset, rule: *rule });
        let reported = naive::events([&nar[..]]);
        assert_eq!(reported.1, expected, "{what}");
        for size in [1, 3, 8, 64] {
            assert_eq!(naive::events(nar.chunks(size)), reported, "{what} in pieces of {size}");
        }
        // Truncate after writing: some file systems flush a file to disk if it is truncated to 0 first.
        file.rewind().unwrap();
        file.write_all(nar).unwrap();
        file.as_file().set_len(nar.len() as u64).unwrap();
        let list = read_source(List::new(), Input::open(file.path()).unwrap(), NEVER);
        let refused = |error: Error| match error {
            Error::Nar(error) => error,
            error => panic!("{what}: {error}"),
        };
        assert_eq!(list.map(drop).map_err(refused), expected, "{what} from a file");
    }
}

/// Returns the NAR error of a result.
fn error<T>(result: Result<T, Error>) -> Option<NarError> {
    match result {
        Err(Error::Nar(error)) => Some(error),
        Err(error) => panic!("{error}"),
        Ok(_) => None,
    }
}

#[test]
fn every_consumer_rejects_an_invalid_nar() {
    let algorithm = Algorithm::ALL[0];
    for Case { what, nar, offset, rule } in cases().iter().step_by(37) {
        let expected = Some(NarError { offset: *offset, rule: *rule });
        assert_eq!(error(read_slice(List::new(), nar, NEVER)), expected, "{what}");
        assert_eq!(error(read_slice(Listing::new(), nar, NEVER)), expected, "{what}");
        assert_eq!(error(read_slice(Hash::new(algorithm), nar, NEVER)), expected, "{what}");
        assert_eq!(error(read_slice(ReadFile::new(b"not there"), nar, NEVER)), expected, "{what}");
    }
}

#[cfg(unix)]
#[test]
fn a_rejected_nar_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("target");
    for Case { what, nar, offset, rule } in cases().iter().step_by(11) {
        let mut restore = Restore::new(&target).unwrap();
        let fed = nar.chunks(100).try_for_each(|piece| restore.feed(piece));
        let result = match fed {
            Ok(()) => restore.finish(),
            Err(error) => {
                drop(restore);
                Err(error)
            }
        };
        assert_eq!(error(result), Some(NarError { offset: *offset, rule: *rule }), "{what}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{what}");
    }
}

#[test]
fn the_deepest_tree_is_read() {
    let nar = naive::encode(&nested(MAX_DEPTH - 1));
    assert_eq!(read_slice(List::new(), &nar, NEVER).unwrap().len(), MAX_DEPTH);
}

#[test]
fn a_declared_length_reserves_no_memory() {
    // A file that declares 2^62 bytes of contents and has 100.
    let nar = naive::encode(&file(false, &[7; 100]));
    let at = nar.len() - 16 - 104 - 8;
    let nar = [&nar[..at], &u64::to_le_bytes(1 << 62), &nar[at + 8..at + 108]].concat();
    let truncated = Some(NarError { offset: nar.len() as u64, rule: Rule::Truncated });
    let mut most = 0;
    for path in [&b""[..], b"another"] {
        let measured = allocation_counter::measure(|| {
            assert_eq!(error(read_slice(ReadFile::new(path), &nar, NEVER)), truncated);
        });
        most = most.max(measured.bytes_max);
    }
    assert!(most < 10_000, "{most} bytes");
}

#[test]
fn the_memory_of_the_parser_is_bounded() {
    // Names and targets of the maximum length, at the maximum depth, in pieces of one byte.
    let link = || Tree::Link(vec![b't'; 4095]);
    let tree = (0..MAX_DEPTH - 2).fold(Tree::Folder([(vec![b'n'; 255], link())].into()), |inner, _| {
        Tree::Folder([(vec![b'n'; 255], inner), (vec![b'o'; 255], link())].into())
    });
    let nar = naive::encode(&tree);
    let mut entries = 0;
    let measured = allocation_counter::measure(|| {
        let mut parser = chunker::nar::Parser::new();
        for byte in nar.chunks(1) {
            parser
                .feed(byte, |event| {
                    entries += usize::from(matches!(event, chunker::nar::Event::Node(_)));
                    Ok::<_, NarError>(())
                })
                .unwrap();
        }
        parser.finish().unwrap();
    });
    assert_eq!(entries, 2 * (MAX_DEPTH - 1));
    assert!(measured.bytes_max < 64 << 10, "{} bytes", measured.bytes_max);
}

#[test]
fn the_entries_of_a_list_are_limited() {
    use chunker::nar::{ENTRY_SIZE, EntryLimits, Listing, ListingOptions};

    let link = |name: String| (name.into_bytes(), Tree::Link(b"x".to_vec()));
    let nar = naive::encode(&Tree::Folder((0..9999).map(|i| link(format!("{i:08}"))).collect()));
    let memory = ENTRY_SIZE + 9999 * (ENTRY_SIZE + 9);
    let list = |max_entries, max_memory| {
        read_slice(List::with_limits(EntryLimits { max_entries, max_memory }), &nar, NEVER)
    };
    assert_eq!(list(10_000, memory).unwrap().len(), 10_000);
    let limit = |result: Result<_, Error>| match result {
        Err(Error::Limit { option, limit }) => (option, limit),
        other => panic!("{:?}", other.map(|_: ()| ())),
    };
    assert_eq!(limit(list(9999, memory).map(drop)), ("max_entries", 9999));
    assert_eq!(limit(list(10_000, memory - 1).map(drop)), ("max_memory", memory - 1));
    // What is taken until then follows the limit, and not the NAR.
    for limits in [
        EntryLimits { max_entries: 100, ..EntryLimits::NONE },
        EntryLimits { max_memory: 25_600, ..EntryLimits::NONE },
    ] {
        let measured = allocation_counter::measure(|| {
            let _ = limit(read_slice(List::with_limits(limits), &nar, NEVER).map(drop));
            let options = ListingOptions { limits, ..ListingOptions::default() };
            let _ = limit(read_slice(Listing::with_options(options), &nar, NEVER).map(drop));
        });
        assert!(measured.bytes_max < 100_000, "{} bytes", measured.bytes_max);
    }
    let json = read_slice(Listing::new(), &nar, NEVER).unwrap().len() as u64;
    let listing = |max_memory| {
        let limits = EntryLimits { max_memory, ..EntryLimits::NONE };
        let options = ListingOptions { limits, ..ListingOptions::default() };
        read_slice(Listing::with_options(options), &nar, NEVER).map(drop)
    };
    listing(json).unwrap();
    assert_eq!(limit(listing(json - 1)), ("max_memory", json - 1));
}
