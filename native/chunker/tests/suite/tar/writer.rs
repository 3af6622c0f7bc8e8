//! Writes tars in all dialects, from the description of the format and nothing else.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::aligned::Members;
use crate::inputs;

/// A member.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) kind: u8,
    pub(crate) name: Vec<u8>,
    pub(crate) contents: Vec<u8>,
    pub(crate) dialect: Dialect,
}

/// How a member is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    V7,
    Ustar,
    /// A length in base 256.
    Base256,
    /// A header of type `L` before the member, and one of type `K`.
    LongNames,
    /// Pax records before the member, without its length.
    Pax,
    /// Pax records with its length, which is zero in the header.
    PaxSize,
    /// A checksum of signed bytes.
    Signed,
    /// A sparse file with this number of blocks for its map.
    Sparse(u8),
}

const BLOCK: usize = 512;

/// Returns a header with the given values in its fields.
pub(crate) fn header(name: &[u8], kind: u8, size: &[u8; 12], signed: bool) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let length = name.len().min(100);
    block[..length].copy_from_slice(&name[..length]);
    block[100..124].copy_from_slice(b"0000644\x000000000\x000000000\0");
    block[124..136].copy_from_slice(size);
    block[136..148].copy_from_slice(b"14642305050\0");
    block[156] = kind;
    sum(&mut block, signed);
    block
}

/// Writes the checksum of a header.
pub(crate) fn sum(block: &mut [u8; BLOCK], signed: bool) {
    block[148..156].fill(b' ');
    let unsigned: i64 = block.iter().map(|&byte| i64::from(byte)).sum();
    let of_signed: i64 = block.iter().map(|&byte| i64::from(byte as i8)).sum();
    let sum = if signed { of_signed } else { unsigned };
    block[148..156].copy_from_slice(format!("{:06o}\0 ", sum.max(0)).as_bytes());
}

/// Writes a length as octal digits.
pub(crate) fn octal(size: usize) -> [u8; 12] {
    format!("{size:011o}\0").into_bytes().try_into().unwrap()
}

/// Writes a length in base 256.
pub(crate) fn base_256(size: u64) -> [u8; 12] {
    let mut field = [0; 12];
    field[0] = 0x80;
    field[4..].copy_from_slice(&size.to_be_bytes());
    field
}

/// Appends `contents` with their padding.
pub(crate) fn append(tar: &mut Vec<u8>, contents: &[u8]) {
    tar.extend_from_slice(contents);
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
}

/// Returns a pax record.
pub(crate) fn record(key: &str, value: &str) -> Vec<u8> {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len();
    while length.to_string().len() + rest.len() != length {
        length = length.to_string().len() + rest.len();
    }
    format!("{length}{rest}").into_bytes()
}

/// Appends a header of type `kind` with its contents.
pub(crate) fn append_special(tar: &mut Vec<u8>, kind: u8, contents: &[u8]) {
    tar.extend_from_slice(&header(b"././@LongLink", kind, &octal(contents.len()), false));
    append(tar, contents);
}

/// Appends a member and records its position.
pub(crate) fn append_file(tar: &mut Vec<u8>, members: &mut Members, file: &File) {
    let File { kind, name, contents, dialect } = file;
    let (mut size, mut kind) = (octal(contents.len()), *kind);
    match dialect {
        Dialect::V7 | Dialect::Ustar | Dialect::Signed => {}
        Dialect::Base256 => size = base_256(contents.len() as u64),
        Dialect::LongNames => {
            append_special(tar, b'K', b"a target");
            append_special(tar, b'L', &name.repeat(20));
        }
        Dialect::Pax => {
            let records = [record("mtime", "1700000000.123456789"), record("path", "a/b")].concat();
            append_special(tar, b'x', &records);
        }
        Dialect::PaxSize => {
            let records = [
                record("mtime", "1700000000.5"),
                record("size", &contents.len().to_string()),
                record("comment", &"size=7 ".repeat(name.len())),
            ];
            append_special(tar, b'x', &records.concat());
            size = octal(0);
        }
        Dialect::Sparse(_) => kind = b'S',
    }
    let mut block = header(name, kind, &size, false);
    if *dialect == Dialect::Ustar {
        block[257..265].copy_from_slice(b"ustar\x0000");
    }
    if let Dialect::Sparse(maps) = dialect {
        block[257..265].copy_from_slice(b"ustar  \0");
        block[482] = u8::from(*maps > 0);
    }
    sum(&mut block, *dialect == Dialect::Signed);
    tar.extend_from_slice(&block);
    if let Dialect::Sparse(maps) = dialect {
        for left in (0..*maps).rev() {
            let mut map = [b'1'; BLOCK];
            map[504] = u8::from(left > 0);
            tar.extend_from_slice(&map);
        }
    }
    members.contents.push(tar.len()..tar.len() + contents.len());
    append(tar, contents);
    members.ends.push(tar.len());
}

/// Returns a tar of these files, without an end.
pub(crate) fn write(files: &[File]) -> (Vec<u8>, Members) {
    let (mut tar, mut members) = (Vec::new(), Members::default());
    for file in files {
        append_file(&mut tar, &mut members, file);
    }
    (tar, members)
}

/// Generates a member. Most are small; some have contents in which FastCDC finds no cut.
fn file() -> impl Strategy<Value = File> {
    let length = prop_oneof![4 => 0usize..200, 3 => 200usize..1500, 1 => 1500usize..8000];
    let contents = (length, any::<u64>(), 1..5usize).prop_map(|(length, seed, kind)| match kind {
        1 => vec![seed as u8; length],
        _ => inputs::random(seed, length),
    });
    let dialect = prop_oneof![
        1 => Just(Dialect::V7),
        4 => Just(Dialect::Ustar),
        1 => Just(Dialect::Base256),
        2 => Just(Dialect::LongNames),
        2 => Just(Dialect::Pax),
        2 => Just(Dialect::PaxSize),
        1 => Just(Dialect::Signed),
        1 => (0..4u8).prop_map(Dialect::Sparse),
    ];
    let name = vec(1u8..=255, 1..60);
    (
        prop_oneof![6 => Just(b'0'), 1 => Just(0), 1 => Just(b'7'), 2 => Just(b'5'), 1 => Just(b'Z')],
        name,
        contents,
        dialect,
    )
        .prop_map(|(kind, name, mut contents, dialect)| {
            if kind == b'5' && !matches!(dialect, Dialect::Sparse(_)) {
                contents.clear();
            }
            File { kind, name, contents, dialect }
        })
}

/// Generates a tar with an end marker at any place, or several, or none.
pub(crate) fn tar() -> impl Strategy<Value = (Vec<u8>, Members)> {
    let end = prop_oneof![3 => Just(0), 1 => 1..25usize];
    vec((file(), end), 0..30).prop_map(|files| {
        let (mut tar, mut members) = (Vec::new(), Members::default());
        for (file, end) in files {
            append_file(&mut tar, &mut members, &file);
            tar.resize(tar.len() + end * BLOCK, 0);
        }
        (tar, members)
    })
}
