//! Any input is chunked without an error, and the same however it is split into pieces. Where no tar begins, the
//! chunks are those of FastCDC. Members are in order, and end within the input or behind its end.
#![no_main]

mod input;

use chunker::cdc::{CdcParams, Options, Scanner};
use chunker::tar::scanner::{Config, TarScanner};
use chunker::tar::{Event, Parser};
use input::Chance;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut chance = Chance::of(data);
    let mut data = data.to_vec();
    if !chance.number().is_multiple_of(8) {
        // The fuzzer finds no checksum by itself.
        data.chunks_exact_mut(512).filter(|block| block[257] == b'u').for_each(sum);
    }
    let pieces = chance.pieces().of(&data);

    let whole = events(&[&data]);
    assert_eq!(events(&pieces), whole);
    let (mut end, mut open) = (0, false);
    for event in &whole {
        match event {
            Event::Member(member) => {
                assert!(!open && end <= member.start && member.start < member.offset);
                assert!(member.offset <= data.len() as u64 && member.size <= i64::MAX as u64);
                end = member.offset + member.size;
                open = true;
            }
            Event::End => {
                assert!(open && end <= data.len() as u64);
                open = false;
            }
        }
    }

    let options = Options { min_size: 64, avg_size: 256, max_size: 1024, ..Options::default() };
    let config = Config {
        options,
        min_entry_size: Some(64 + chance.number() % 2000),
        boundary_preference_distance: Some(chance.number() % 65),
    };
    let cuts = cut(&config, &[&data]);
    assert_eq!(cut(&config, &pieces), cuts);
    assert_eq!(cuts.iter().sum::<usize>(), data.len());
    assert!(cuts.iter().all(|&length| 0 < length && length <= 1024));
    if whole.is_empty() {
        let mut scanner = Scanner::new(CdcParams::new(&options).expect("the options are in range"));
        let (mut plain, mut rest) = (Vec::new(), &data[..]);
        while let Some(cut) = scanner.feed(rest) {
            rest = &rest[cut.consumed..];
            plain.push(cut.length);
        }
        plain.extend(scanner.finish());
        assert_eq!(cuts, plain);
    }
});

fn sum(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn events(pieces: &[&[u8]]) -> Vec<Event> {
    let (mut parser, mut events) = (Parser::new(), Vec::new());
    for mut piece in pieces.iter().copied() {
        while let Some(event) = parser.next(&mut piece) {
            events.push(event);
        }
    }
    events
}

fn cut(config: &Config, pieces: &[&[u8]]) -> Vec<usize> {
    let mut scanner = TarScanner::new(config).expect("the options are in range");
    let mut lengths = Vec::new();
    for mut piece in pieces.iter().copied() {
        while let Some(cut) = scanner.feed(piece) {
            piece = &piece[cut.consumed..];
            lengths.push(cut.length);
        }
    }
    lengths.extend(scanner.finish());
    lengths
}
