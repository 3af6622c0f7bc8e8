//! A NAR that is cut off at any byte is not one, for each consumer and in each form of input.

use std::io::{Read, Seek, Write};
use std::path::Path;

use chunker::cdc::CdcParams;
use chunker::engine::workers::Workers;
use chunker::engine::{Chunk, ChunkerKind, Chunking};
use chunker::hash::{Algorithm, HashingReader};
use chunker::io::file::{Input, OnChange};
use chunker::io::source::{FromRead, Source};
use chunker::nar::annotations::{AnnotationOptions, ChunkAnnotation};
use chunker::nar::scanner::Config;
use chunker::nar::{
    EntryLimits, Hash, List, Listing, NarConsumer, NarError, NarMethod, RECOGNIZER, ReadFile, Rule, is_nar,
    is_nar_source, read_slice, read_source,
};
use chunker::{Error, NEVER};

use super::naive::{self, Tree};

const ANY: Algorithm = Algorithm::ALL[0];

/// Returns a tree with a node of each kind, at the end of a folder and before.
fn small() -> Tree {
    let file = |contents: &[u8]| Tree::File { executable: contents.is_empty(), contents: contents.into() };
    let nodes = || [("a", file(b"")), ("b", file(b"contents")), ("c", Tree::Link(b"target".to_vec()))];
    let folder = |nodes: Vec<(&str, Tree)>| {
        Tree::Folder(nodes.into_iter().map(|(name, node)| (name.as_bytes().to_vec(), node)).collect())
    };
    let [a, b, c] = nodes();
    folder(vec![a, b, c, ("d", folder(nodes().into())), ("e", folder(vec![])), ("f", file(b"odd"))])
}

/// Reads a slice some bytes at a time.
struct Slowly<'a>(&'a [u8], usize);

impl Read for Slowly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = buffer.len().min(self.1);
        self.0.read(&mut buffer[..count])
    }
}

/// Returns the end of reading an input with each consumer: the name of the consumer, and whether the input
/// was accepted as a whole.
fn consumed<S: Source>(source: impl Fn() -> S) -> Vec<(&'static str, Result<(), Error>)> {
    vec![
        ("list", read_source(List::new(), source(), NEVER).map(drop)),
        ("listing", read_source(Listing::new(), source(), NEVER).map(drop)),
        ("hash", read_source(Hash::new(ANY), source(), NEVER).map(drop)),
        ("file", read_source(ReadFile::new(b"f"), source(), NEVER).map(drop)),
    ]
}

fn consumed_slice(nar: &[u8]) -> Vec<(&'static str, Result<(), Error>)> {
    vec![
        ("list of a slice", read_slice(List::new(), nar, NEVER).map(drop)),
        ("listing of a slice", read_slice(Listing::new(), nar, NEVER).map(drop)),
        ("hash of a slice", read_slice(Hash::new(ANY), nar, NEVER).map(drop)),
    ]
}

/// Restores in pieces. The target must be absent after an error.
#[cfg(unix)]
fn restored(nar: &[u8], target: &Path) -> Result<(), Error> {
    let mut restore = chunker::nar::Restore::new(target)?;
    let result = match nar.chunks(50).try_for_each(|piece| restore.feed(piece)) {
        Ok(()) => restore.finish(),
        Err(error) => {
            drop(restore);
            Err(error)
        }
    };
    assert_eq!(target.exists(), result.is_ok());
    let _ = std::fs::remove_dir_all(target);
    result
}

/// Chunks in each form of input.
fn chunked(nar: &[u8], path: &Path, threads: usize) -> Vec<(&'static str, Result<(), Error>)> {
    let workers = Workers::shared(threads, crate::POOL).unwrap();
    let annotations = AnnotationOptions { entries: true, references: false, limits: EntryLimits::default() };
    let method = NarMethod::new(&Config::SMALL_PACKAGES).unwrap().with_annotations(annotations);
    let chunking = Chunking::with_method(method, workers, Chunk::hashed(ANY));
    let input = || Input::open(path).unwrap().on_change(OnChange::Snapshot);
    let mut pieces = chunking.clone().pieces();
    let pushed = nar.chunks(37).try_for_each(|piece| pieces.push(piece, NEVER).map(drop));
    let (hashed, _) = HashingReader::new(input(), ANY);
    vec![
        ("chunks of a slice", chunking.slice(nar, NEVER).map(drop)),
        ("chunks of a file", chunking.clone().source(input()).all(NEVER).map(drop)),
        ("chunks of a hashed file", chunking.source(hashed).all(NEVER).map(drop)),
        ("chunks of pieces", pushed.and_then(|()| pieces.finish(NEVER).map(drop))),
    ]
}

/// Returns whether an input is recognized as a NAR, in each form of input.
fn recognized(nar: &[u8], path: &Path) -> Vec<(&'static str, bool)> {
    let workers = Workers::of_this_thread();
    let work = Chunk::hashed::<ChunkAnnotation>(ANY);
    let nar_method = NarMethod::new(&Config::SMALL_PACKAGES).unwrap();
    let plain = CdcParams::new(&Config::SMALL_PACKAGES.options).unwrap();
    let kind = ChunkerKind::ByContent {
        recognizer: RECOGNIZER,
        matching: Chunking::with_method(nar_method, workers, work.clone()),
        other: Chunking::with_method(plain, workers, work),
    };
    let ChunkerKind::ByContent { matching, .. } = &kind else { unreachable!() };
    let mut input = Input::open(path).unwrap();
    let by_file = kind.for_input(&mut input, NEVER).unwrap().unwrap();
    vec![
        ("slice", is_nar(nar, NEVER).unwrap()),
        ("file", is_nar_source(&mut Input::open(path).unwrap(), NEVER).unwrap()),
        ("reader", is_nar_source(&mut FromRead(Slowly(nar, 5)), NEVER).unwrap()),
        ("kind of a slice", std::ptr::eq(kind.for_slice(nar, NEVER).unwrap(), matching)),
        ("kind of a file", std::ptr::eq(by_file, matching)),
    ]
}

/// Calls `check` with the outcome of each way to read the first bytes of a NAR.
fn for_each_way(nar: &[u8], check: impl Fn(&str, Result<(), Error>)) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.rewind().unwrap();
    file.write_all(nar).unwrap();
    let path = file.path();
    let mut outcomes = consumed_slice(nar);
    outcomes.extend(consumed(|| FromRead(Slowly(nar, 13))));
    outcomes.extend(consumed(|| Input::open(path).unwrap()));
    outcomes.extend(chunked(nar, path, 1 + nar.len() % 2));
    #[cfg(unix)]
    outcomes.push(("restore", restored(nar, &path.with_extension("restored"))));
    for (what, outcome) in outcomes {
        check(what, outcome);
    }
}

#[test]
fn a_nar_that_is_cut_off_anywhere_is_rejected_however_it_is_read() {
    let nar = naive::encode(&small());
    for_each_way(&nar, |what, outcome| assert!(outcome.is_ok(), "{what}: {outcome:?}"));
    // The contents of this file end there, and no more is read.
    let end_of_last = nar.windows(3).rposition(|bytes| bytes == b"odd").unwrap() + 3;
    for end in 0..nar.len() {
        let expected = NarError { offset: end as u64, rule: Rule::Truncated };
        for_each_way(&nar[..end], |what, outcome| match outcome {
            Err(Error::Nar(error)) => assert_eq!(error, expected, "{what} of {end} bytes"),
            Ok(()) if what == "file" && end >= end_of_last => {}
            other => panic!("{what} of {end} bytes: {other:?}"),
        });
    }
}

#[test]
fn a_nar_that_is_cut_off_anywhere_is_not_recognized_as_one() {
    let nar = naive::encode(&small());
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let mut check = |bytes: &[u8], expected: bool| {
        file.rewind().unwrap();
        file.write_all(bytes).unwrap();
        file.as_file().set_len(bytes.len() as u64).unwrap();
        for (form, is_nar) in recognized(bytes, file.path()) {
            assert_eq!(is_nar, expected, "{form} of {} bytes", bytes.len());
        }
    };
    for end in 0..nar.len() {
        check(&nar[..end], false);
    }
    check(&nar, true);
    check(&[&nar[..], b"\0"].concat(), false);
    // Contents that are skipped without being read: the NAR may end in them, or after them.
    let large = naive::encode(&Tree::File { executable: false, contents: vec![1; 700_001] });
    check(&large, true);
    for end in [100, 262_144, 300_000, 700_000, 700_096, 700_097, 700_100, 700_104, large.len() - 1] {
        check(&large[..end], false);
    }
}
