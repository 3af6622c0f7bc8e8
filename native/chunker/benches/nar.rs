//! Measures how fast Nix archives in memory are parsed, and parsed and hashed.
//!
//! Run with `cargo bench -p chunker --bench nar`; a name after `--` filters.

use std::hint::black_box;

use chunker::NEVER;
use chunker::hash::Algorithm;
use chunker::nar::{Event, Hash, Kind, List, NarError, Parser, START, read_slice};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Appends strings in the encoding of a NAR.
fn push(nar: &mut Vec<u8>, strings: &[&[u8]]) {
    for string in strings {
        nar.extend((string.len() as u64).to_le_bytes());
        nar.extend_from_slice(string);
        nar.resize(nar.len().next_multiple_of(8), 0);
    }
}

/// Returns the NAR of a folder of files of one size, about 256 MiB or 200,000 files.
fn nar(size: usize) -> (Vec<u8>, usize) {
    let contents: Vec<u8> = (0..size).map(|at| (at * 7 % 251) as u8).collect();
    let count = ((256 << 20) / size.max(1)).min(200_000);
    let mut nar = START.to_vec();
    push(&mut nar, &[b"directory"]);
    for number in 0..count {
        let name = format!("{number:08}");
        push(&mut nar, &[b"entry", b"(", b"name", name.as_bytes(), b"node", b"(", b"type", b"regular"]);
        push(&mut nar, &[b"contents", &contents, b")", b")"]);
    }
    push(&mut nar, &[b")"]);
    (nar, count)
}

fn parse(c: &mut Criterion) {
    for (name, size) in [("8 MiB", 8 << 20), ("64 KiB", 64 << 10), ("1 KiB", 1 << 10), ("nothing", 0)] {
        let (nar, count) = nar(size);
        let mut group = c.benchmark_group(format!("files of {name}"));
        group.throughput(Throughput::Bytes(nar.len() as u64)).sample_size(10);
        for piece in [nar.len(), 64 << 10, 1000] {
            let label = if piece == nar.len() { "all".into() } else { piece.to_string() };
            group.bench_function(BenchmarkId::new("parse, in pieces of", label), |b| {
                b.iter(|| {
                    let mut parser = Parser::new();
                    let (mut files, mut bytes) = (0, 0);
                    for piece in nar.chunks(piece) {
                        parser
                            .feed(piece, |event| {
                                match event {
                                    Event::Node(node) => files += usize::from(node.kind != Kind::Directory),
                                    Event::Contents(contents) => bytes += black_box(contents).len(),
                                    Event::End => {}
                                }
                                Ok::<_, NarError>(())
                            })
                            .unwrap();
                    }
                    parser.finish().unwrap();
                    assert_eq!((files, bytes), (count, count * size));
                });
            });
        }
        group.bench_function("list", |b| {
            b.iter(|| assert_eq!(read_slice(List::new(), &nar, NEVER).unwrap().len(), count + 1));
        });
        for &algorithm in Algorithm::ALL {
            group.bench_function(BenchmarkId::new("hash alone", algorithm.name()), |b| {
                b.iter(|| algorithm.hash_cancellable(&nar, NEVER).unwrap());
            });
            group.bench_function(BenchmarkId::new("hash and check", algorithm.name()), |b| {
                b.iter(|| read_slice(Hash::new(algorithm), &nar, NEVER).unwrap());
            });
        }
        group.finish();
    }
}

criterion_group!(benches, parse);
criterion_main!(benches);
