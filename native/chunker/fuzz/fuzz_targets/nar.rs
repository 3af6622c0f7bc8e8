//! Reading any bytes as a NAR gives the same events at once and in pieces. An accepted archive is the only
//! archive of its tree, so a tree restored from it is dumped to the same bytes.
#![no_main]

mod input;

use chunker::NEVER;
use chunker::hash::Algorithm;
use chunker::io::source::Source;
use chunker::nar::scanner::{Config, NarScanner};
use chunker::nar::{
    Dump, Event, Hash, Kind, List, Listing, NarConsumer, NarError, Parser, Restore, is_nar, read_slice,
};
use input::Chance;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut chance = Chance::of(data);
    let pieces = chance.pieces().of(data);
    let whole = parse(&[data]);
    assert_eq!(parse(&pieces), whole);
    let valid = whole.is_ok();
    assert_eq!(is_nar(data, NEVER).expect("the call is not cancelled"), valid);
    assert_eq!(read_slice(List::new(), data, NEVER).is_ok(), valid);
    let listing = read_slice(Listing::new(), data, NEVER);
    assert_eq!(listing.is_ok(), valid);
    let hash = in_pieces(Hash::new(Algorithm::Sha256), &pieces);
    assert_eq!(hash.is_ok(), valid);
    if let Ok(hash) = hash {
        assert_eq!(hash, Algorithm::Sha256.hash(data));
    }

    let options = Config::with_average(256).options;
    let config =
        Config { options: chunker::cdc::Options { min_size: 64, ..options }, ..Config::with_average(256) };
    let lengths = cut(&config, &[data]);
    assert_eq!(cut(&config, &pieces), lengths);
    assert_eq!(lengths.is_ok(), valid);
    if let Ok(lengths) = lengths {
        assert_eq!(lengths.iter().sum::<usize>(), data.len());
    }

    // Files are much slower than the rest.
    if valid && chance.number().is_multiple_of(16) {
        restore_and_dump(data);
    }
});

/// Events of the parser, with contents concatenated.
#[derive(Debug, PartialEq)]
enum Reported {
    Node(Vec<u8>, usize, String),
    Contents(Vec<u8>),
    End,
}

fn parse(pieces: &[&[u8]]) -> Result<Vec<Reported>, NarError> {
    let mut parser = Parser::new();
    let mut reported = Vec::new();
    for piece in pieces {
        parser.feed::<NarError>(piece, |event| {
            match (event, reported.last_mut()) {
                (Event::Contents(more), Some(Reported::Contents(contents))) => {
                    contents.extend_from_slice(more)
                }
                (Event::Contents(contents), _) => reported.push(Reported::Contents(contents.to_vec())),
                (Event::Node(node), _) => {
                    let kind = match node.kind {
                        Kind::Symlink { target } => format!("symlink {target:?}"),
                        kind => format!("{kind:?}"),
                    };
                    reported.push(Reported::Node(node.path.to_vec(), node.depth, kind));
                }
                (Event::End, _) => reported.push(Reported::End),
            }
            Ok(())
        })?;
    }
    parser.finish()?;
    Ok(reported)
}

fn in_pieces<R: NarConsumer>(mut reading: R, pieces: &[&[u8]]) -> Result<R::Output, chunker::Error> {
    for piece in pieces {
        chunker::nar::feed(&mut reading, piece, NEVER)?;
    }
    reading.finish()
}

fn cut(config: &Config, pieces: &[&[u8]]) -> Result<Vec<usize>, NarError> {
    let mut scanner = NarScanner::new(config).expect("the options are in range");
    let mut lengths = Vec::new();
    for mut piece in pieces.iter().copied() {
        while let Some(cut) = scanner.feed(piece)? {
            piece = &piece[cut.consumed..];
            lengths.push(cut.length);
        }
    }
    lengths.extend(scanner.finish()?);
    Ok(lengths)
}

fn restore_and_dump(data: &[u8]) {
    let folder = std::env::temp_dir().join(format!("chunker-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    let place = folder.join("tree");
    let restored = Restore::new(&place).and_then(|restore| read_slice(restore, data, NEVER));
    // A file system may reject a tree that a NAR can hold, for example a path that is too long, but then
    // nothing may be left behind.
    if restored.is_ok() {
        let mut dump = Dump::new(&place);
        let mut again = Vec::new();
        let mut buffer = vec![0; 4096];
        while let Some(count) =
            dump.read(&mut buffer).expect("the tree can be read").filter(|&count| count > 0)
        {
            again.extend_from_slice(&buffer[..count]);
        }
        assert_eq!(again, data, "the tree gives another archive");
    } else {
        assert!(!place.exists());
    }
    std::fs::remove_dir_all(&folder).expect("the folder can be removed");
}
