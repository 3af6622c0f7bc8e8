//! Compares chunking along the files of NARs and tars with plain FastCDC, on successive versions of packages.
//!
//! Run with `cargo run --release --example nar_series -- [--average KIB] [--seeds N] [--variants]
//! [--normalize] FOLDER [SERIES...]`.
//!
//! FOLDER is the output of scripts/nar-series, NARs or tars. For each n from 2 on, version n of a series is added to a
//! store that holds versions 1 to n-1, and the bytes that are new in the store are counted. With any method,
//! more and smaller chunks find more duplicates. Each variant is therefore compared with plain FastCDC of the
//! average size that gives as many chunks, interpolated between averages a quarter of an octave apart. Each
//! figure is the mean over several seeds of the gear table, starting with 0: with a single seed, chance
//! outweighs the differences between variants.
//!
//! Prints a row for each series. With `--variants`, prints a row for each variant instead: the new bytes
//! relative to plain FastCDC, for each series and in total, and the relative number of chunks. With
//! `--normalize`, store hashes are removed from the NARs first.

use std::collections::HashSet;
use std::error::Error;
use std::fs;
use std::path::Path;

use chunker::aligned::Config;
use chunker::cdc::{CdcParams, Options, Scanner};
use chunker::codec::{Codec, CompressOptions, compress};
use chunker::nar::references::Normalizer;
use chunker::nar::scanner::NarScanner;
use chunker::nar::{Event, Kind, NarError, Parser};
use chunker::tar;
use chunker::tar::scanner::TarScanner;
use rayon::prelude::*;

/// The size of a chunk in the index of a NAR, in bytes: its hash and its length.
const METADATA: f64 = 40.0;

/// The averages of plain FastCDC, in quarters of an octave relative to the variant's.
const SWEEP: std::ops::RangeInclusive<i32> = -6..=2;

struct Archive {
    format: Format,
    bytes: Vec<u8>,
    files: Vec<File>,
}

#[derive(Debug, Clone, Copy)]
enum Format {
    Nar,
    Tar,
}

/// The positions of a file in an archive.
struct File {
    /// The start of its entry.
    entry: usize,
    /// The range of its contents.
    start: usize,
    end: usize,
    /// The end of its entry.
    entry_end: usize,
    /// Whether it is an executable or a library, by its first bytes.
    is_program: bool,
}

impl File {
    fn size(&self) -> u64 {
        (self.end - self.start) as u64
    }
}

impl Archive {
    fn read(path: &Path, normalize: bool) -> Result<Self, Box<dyn Error>> {
        let mut bytes = fs::read(path)?;
        if normalize {
            let mut normalized = Vec::new();
            let mut normalizer = Normalizer::new();
            normalizer.feed(&bytes, |bytes| normalized.extend_from_slice(bytes));
            let references = normalizer.finish(|bytes| normalized.extend_from_slice(bytes));
            eprintln!("{}: {} references", path.display(), references.len());
            bytes = normalized;
        }
        let (format, files) = if path.extension().is_some_and(|extension| extension == "tar") {
            (Format::Tar, Self::files_of_tar(&bytes)?)
        } else {
            (Format::Nar, Self::files_of_nar(&bytes)?)
        };
        Ok(Self { format, bytes, files })
    }

    fn files_of_tar(bytes: &[u8]) -> Result<Vec<File>, Box<dyn Error>> {
        let (mut parser, mut files, mut rest) = (tar::Parser::new(), Vec::new(), bytes);
        while let Some(event) = parser.next(&mut rest) {
            if let tar::Event::Member(tar::Member { start: entry, offset, size, .. }) = event {
                let (start, end) = (offset as usize, (offset + size) as usize);
                files.push(File {
                    entry: entry as usize,
                    start,
                    end,
                    entry_end: end.next_multiple_of(512),
                    is_program: is_program(&bytes[start..]),
                });
            }
        }
        if parser.is_tar() { Ok(files) } else { Err("not a tar".into()) }
    }

    fn files_of_nar(bytes: &[u8]) -> Result<Vec<File>, Box<dyn Error>> {
        let string = |length: usize| 8 + length.next_multiple_of(8);
        let mut files = Vec::new();
        let mut parser = Parser::new();
        parser.feed(bytes, |event| {
            if let Event::Node(node) = event
                && let Kind::Regular { executable, offset, size } = node.kind
            {
                // Before the contents: entry ( name NAME node ( type regular [executable ""] contents SIZE
                let header = 8 * 16 + string(node.name().len()) + if executable { 32 } else { 0 } + 8;
                let (start, size) = (offset as usize, size as usize);
                files.push(File {
                    entry: start.saturating_sub(header),
                    start,
                    end: start + size,
                    // After the contents: padding ) )
                    entry_end: start + size.next_multiple_of(8) + 32,
                    is_program: is_program(&bytes[start..]),
                });
            }
            Ok::<_, NarError>(())
        })?;
        parser.finish()?;
        Ok(files)
    }
}

/// Returns whether a file is an ELF or Mach-O file, by its first bytes.
fn is_program(contents: &[u8]) -> bool {
    [&b"\x7fELF"[..], b"\xcf\xfa\xed\xfe"].iter().any(|magic| contents.starts_with(magic))
}

/// Returns the lengths of the chunks of an archive.
type Chunk = dyn Fn(&Archive, Options) -> Vec<usize> + Sync;

fn plain(options: Options, bytes: &[u8]) -> Vec<usize> {
    let mut scanner = Scanner::new(CdcParams::new(&options).expect("in range"));
    let (mut lengths, mut rest) = (Vec::new(), bytes);
    while let Some(cut) = scanner.feed(rest) {
        rest = &rest[cut.consumed..];
        lengths.push(cut.length);
    }
    lengths.extend(scanner.finish());
    lengths
}

/// Returns the method of the engine. `entry` is the minimum entry size and `distance` the boundary preference
/// distance, both as multiples of the average.
fn engine(entry: f64, distance: f64) -> Box<Chunk> {
    Box::new(move |archive, options| {
        let of_average = |factor: f64| Some((factor * options.avg_size as f64) as u64);
        let config = Config {
            options,
            min_entry_size: of_average(entry),
            boundary_preference_distance: of_average(distance),
        };
        let (mut lengths, mut rest) = (Vec::new(), &archive.bytes[..]);
        match archive.format {
            Format::Nar => {
                let mut scanner = NarScanner::new(&config).expect("in range");
                while let Some(cut) = scanner.feed(rest).expect("it was read before") {
                    rest = &rest[cut.consumed..];
                    lengths.push(cut.length);
                }
                lengths.extend(scanner.finish().expect("it was read before"));
            }
            Format::Tar => {
                let mut scanner = TarScanner::new(&config).expect("in range");
                while let Some(cut) = scanner.feed(rest) {
                    rest = &rest[cut.consumed..];
                    lengths.push(cut.length);
                }
                lengths.extend(scanner.finish());
            }
        }
        lengths
    })
}

/// Forces cuts at positions that depend on the file, and leaves the rest to FastCDC.
fn forced(cuts: impl Fn(&File, Options) -> Vec<usize> + Sync + 'static) -> Box<Chunk> {
    Box::new(move |archive, options| {
        let mut start = 0;
        let ends = archive.files.iter().flat_map(|file| cuts(file, options)).chain([archive.bytes.len()]);
        ends.flat_map(|end| plain(options, &archive.bytes[std::mem::replace(&mut start, end)..end])).collect()
    })
}

fn variants() -> Vec<(String, Box<Chunk>)> {
    let mut variants: Vec<(String, Box<Chunk>)> = Vec::new();
    for entry in [0.25, 0.5, 1.0, 2.0, 4.0] {
        variants.push((format!("contents of files from {entry} averages on"), engine(entry, 0.0)));
    }
    for distance in [0.125, 0.25] {
        variants.push((format!("the same from 2 on, boundaries within {distance}"), engine(2.0, distance)));
    }
    variants.push(("no forced cuts, boundaries within 0.25".into(), engine(1e9, 0.25)));
    let with_header = |file: &File, options: Options| {
        if file.size() < 2 * options.avg_size { vec![] } else { vec![file.entry, file.entry_end] }
    };
    variants.push(("whole entries of files from 2 averages on".into(), forced(with_header)));
    let separate_header = |file: &File, options: Options| {
        if file.size() < 2 * options.avg_size { vec![] } else { vec![file.entry, file.start, file.end] }
    };
    variants.push(("header and contents of files from 2 averages on".into(), forced(separate_header)));
    let with_padding = |file: &File, options: Options| {
        if file.size() < 2 * options.avg_size { vec![] } else { vec![file.start, file.entry_end] }
    };
    variants.push(("contents and padding of files from 2 averages on".into(), forced(with_padding)));
    let programs = |file: &File, options: Options| {
        let least = if file.is_program { options.min_size } else { 2 * options.avg_size };
        if file.size() < least { vec![] } else { vec![file.start, file.end] }
    };
    variants.push(("contents from 2 averages on, and of programs".into(), forced(programs)));
    variants
}

/// The result of adding all versions of a series except the first.
#[derive(Debug, Clone, Copy, Default)]
struct Figures {
    chunks: f64,
    /// Chunks below the minimum size.
    short: f64,
    new: f64,
    /// The new chunks, each compressed. With the first seed only, and only if requested.
    compressed: f64,
}

fn add(series: &[Archive], chunk: &Chunk, options: Options, with_compression: bool) -> Figures {
    let chunks = |archive: &Archive| -> Vec<_> {
        let mut offset = 0;
        let hashed = |length| {
            offset += length;
            (blake3::hash(&archive.bytes[offset - length..offset]), offset - length, length)
        };
        chunk(archive, options).into_iter().map(hashed).collect()
    };
    let versions: Vec<_> = series.par_iter().map(chunks).collect();
    let mut known: HashSet<_> = versions[0].iter().map(|&(hash, ..)| hash).collect();
    let mut figures = Figures::default();
    for (archive, chunks) in series.iter().zip(&versions).skip(1) {
        figures.chunks += chunks.len() as f64;
        figures.short +=
            chunks.iter().filter(|&&(.., length)| (length as u64) < options.min_size).count() as f64;
        let new: Vec<_> = chunks.iter().filter(|&&(hash, ..)| known.insert(hash)).collect();
        figures.new += new.iter().map(|&&(.., length)| length as f64).sum::<f64>();
        if with_compression {
            let zstd = CompressOptions::new(Codec::Zstd).level(3);
            let compressed = |&&(_, offset, length): &&(_, usize, usize)| {
                compress(&archive.bytes[offset..offset + length], &zstd).expect("it can be compressed").len()
                    as f64
            };
            figures.compressed += new.par_iter().map(compressed).sum::<f64>();
        }
    }
    figures
}

/// Returns the mean over seeds 0 to `seeds` - 1.
fn mean(series: &[Archive], chunk: &Chunk, average: f64, seeds: u64, with_compression: bool) -> Figures {
    let mut mean = Figures::default();
    for seed in 0..seeds {
        let options = Options { seed, ..Config::with_average(average as u64).options };
        let figures = add(series, chunk, options, with_compression && seed == 0);
        mean.chunks += figures.chunks / seeds as f64;
        mean.short += figures.short / seeds as f64;
        mean.new += figures.new / seeds as f64;
        mean.compressed += figures.compressed;
    }
    mean
}

/// Interpolates the figures of plain FastCDC at the given number of chunks.
fn at_equal_count(sweep: &[Figures], chunks: f64) -> Figures {
    let above = sweep.partition_point(|figures| figures.chunks < chunks).clamp(1, sweep.len() - 1);
    let (low, high) = (sweep[above - 1], sweep[above]);
    // A small package is one chunk with any average.
    let octaves = (high.chunks / low.chunks).ln();
    let way = if octaves > 0.0 { ((chunks / low.chunks).ln() / octaves).clamp(0.0, 1.0) } else { 0.0 };
    let between = |low: f64, high: f64| low + way * (high - low);
    Figures {
        chunks,
        short: between(low.short, high.short),
        new: between(low.new, high.new),
        compressed: between(low.compressed, high.compressed),
    }
}

fn per_cent(value: f64, of: f64) -> f64 {
    if value == of { 0.0 } else { 100.0 * (value / of - 1.0) }
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut average, mut seeds, mut compare_variants) = (512.0 * 1024.0, 8, false);
    let mut normalize = false;
    let mut arguments = std::env::args().skip(1).peekable();
    while let Some(option) = arguments.next_if(|argument| argument.starts_with("--")) {
        let mut value = || arguments.next().ok_or("a number is missing");
        match option.as_str() {
            "--average" => average = value()?.parse::<f64>()? * 1024.0,
            "--seeds" => seeds = value()?.parse()?,
            "--normalize" => normalize = true,
            "--variants" => compare_variants = true,
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    let folder = arguments.next().ok_or("the folder with the series is missing")?;
    let mut names: Vec<_> = arguments.collect();
    if names.is_empty() {
        for entry in fs::read_dir(&folder)? {
            names.push(entry?.file_name().into_string().map_err(|_| "a name that is no text")?);
        }
        names.sort();
    }

    let variants = if compare_variants { variants() } else { vec![("engine".into(), engine(2.0, 0.25))] };
    let mut rows: Vec<_> = variants.iter().map(|(name, _)| format!("| {name} |")).collect();
    let mut totals = vec![[Figures::default(); 2]; variants.len()];
    for name in &names {
        let mut paths = Vec::new();
        for entry in fs::read_dir(Path::new(&folder).join(name))? {
            paths.push(entry?.path());
        }
        paths.sort();
        let series =
            paths.par_iter().map(|path| Archive::read(path, normalize).map_err(|error| error.to_string()));
        let series = series.collect::<Result<Vec<_>, _>>()?;
        let plain: &Chunk = &|archive, options| plain(options, &archive.bytes);
        let averages = SWEEP.map(|step| average * f64::from(step).exp2().powf(0.25));
        let run = |chunk, average| mean(&series, chunk, average, seeds, !compare_variants);
        let mut sweep: Vec<_> = averages.map(|average| run(plain, average)).collect();
        sweep.sort_by(|a, b| a.chunks.total_cmp(&b.chunks));
        let plain_chunks = run(plain, average).chunks;
        for (i, (_, chunk)) in variants.iter().enumerate() {
            let ours = run(&**chunk, average);
            let theirs = at_equal_count(&sweep, ours.chunks);
            for (total, figures) in totals[i].iter_mut().zip([ours, theirs]) {
                total.chunks += figures.chunks;
                total.short += figures.short;
                total.new += figures.new;
                total.compressed += figures.compressed;
            }
            let change = per_cent(ours.new, theirs.new);
            if compare_variants {
                rows[i] += &format!(" {change:+.1} ({:.2}) |", ours.chunks / plain_chunks);
            } else {
                let bytes: usize = series[1..].iter().map(|archive| archive.bytes.len()).sum();
                print!("| {name} | {} | {:.1} |", series.len(), bytes as f64 / 1e6);
                print_row(&ours, &theirs);
            }
        }
    }
    if compare_variants {
        println!("| | {} | together |", names.join(" | "));
        for (row, [ours, theirs]) in rows.iter().zip(&totals) {
            println!("{row} {:+.2} |", per_cent(ours.new, theirs.new));
        }
    } else {
        print!("| together | | |");
        print_row(&totals[0][0], &totals[0][1]);
    }
    Ok(())
}

/// Prints chunks, short chunks, and kB of metadata; then the new MB and the new compressed MB, of plain
/// FastCDC and of the variant.
fn print_row(ours: &Figures, theirs: &Figures) {
    let Figures { chunks, short, new, compressed } = *ours;
    print!(" {chunks:.0} | {short:.1} | {:.1} |", chunks * METADATA / 1e3);
    for (theirs, ours) in [(theirs.new, new), (theirs.compressed, compressed)] {
        print!(" {:.2} | {:.2} | {:+.2}% |", theirs / 1e6, ours / 1e6, per_cent(ours, theirs));
    }
    println!();
}
