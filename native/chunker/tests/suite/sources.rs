//! Behavior when an input, or the caller that chunks it, misbehaves.

use std::fs::File;
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use chunker::cdc::{CdcParams, Options};
use chunker::engine::workers::Workers;
use chunker::engine::{Chunk, ChunkBytes, Chunking, FileChunks, Pulled, chunk_files};
use chunker::hash::Algorithm;
use chunker::io::file::{self, Input, Kind, OnChange};
use chunker::io::source::Source;
use chunker::{BatchOptions, Error, ErrorCode, NEVER};

use crate::inputs;

/// Used where the algorithm does not matter.
const ANY: Algorithm = Algorithm::ALL[0];

fn small() -> Options {
    Options { min_size: 1024, avg_size: 4096, max_size: 16_384, ..Options::default() }
}

fn chunking(
    options: &Options,
    threads: usize,
) -> Chunking<impl Fn(&ChunkBytes<'_>) -> Chunk + Clone + Send + Sync + 'static> {
    let workers = Workers::shared(threads, crate::POOL).unwrap();
    Chunking::new(CdcParams::new(options).unwrap(), workers, Chunk::hashed(ANY))
}

/// A folder that is removed at the end of the test.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("chunker-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A reader that returns some bytes and then one error, after which it would return bytes again.
struct Failing {
    good: usize,
    failed: bool,
}

impl Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.good == 0 && !self.failed {
            self.failed = true;
            return Err(io::Error::from_raw_os_error(5));
        }
        let count = if self.failed { buffer.len() } else { buffer.len().min(self.good) };
        self.good -= count.min(self.good);
        buffer[..count].fill(1);
        Ok(count)
    }
}

#[test]
fn no_chunk_comes_after_a_read_error() {
    for threads in [1, 3] {
        for good in [0, 1, 100_000, 3_000_000, 20_000_000] {
            let mut reader = chunking(&small(), threads).reader(Failing { good, failed: false });
            let mut bytes = 0;
            let error = loop {
                match reader.next_results(NEVER) {
                    Ok(Some(chunks)) => bytes += chunks.iter().map(|chunk| chunk.length).sum::<usize>(),
                    Ok(None) => panic!("the error was lost"),
                    Err(error) => break error,
                }
            };
            assert!(bytes <= good, "{bytes} bytes came out of {good}");
            assert_eq!(error.code(), "io_error");
            assert!(matches!(&error, Error::Io(error) if error.kind() == "eio"), "{error:?}");
            assert!(reader.next_results(NEVER).unwrap().is_none());
        }
    }
}

/// Returns the message that `call` panics with.
fn panic_of(call: impl FnOnce() -> Result<(), Error>) -> String {
    let panic = catch_unwind(AssertUnwindSafe(call)).expect_err("the call panics");
    *panic.downcast::<String>().expect("the message of an assertion")
}

#[test]
fn a_panic_in_the_work_reaches_the_caller() {
    let data = inputs::random(3, 8 << 20);
    for threads in [1, 2, 3] {
        let workers = Workers::shared(threads, crate::POOL).unwrap();
        let work = |chunk: &ChunkBytes<'_>| {
            assert!(chunk.offset < 4 << 20, "chunk at {} is one too many", chunk.offset);
        };
        let chunking = Chunking::new(CdcParams::new(&small()).unwrap(), workers, work);
        let slice = panic_of(|| chunking.slice(&data, NEVER).map(drop));
        assert!(slice.ends_with("is one too many"), "{slice}");
        let reader =
            panic_of(|| chunking.clone().reader(std::io::Cursor::new(data.clone())).all(NEVER).map(drop));
        assert!(reader.ends_with("is one too many"), "{reader}");
        let pieces = panic_of(|| {
            let mut pieces = chunking.clone().pieces();
            pieces.push(&data, NEVER).and_then(|_| pieces.finish(NEVER)).map(drop)
        });
        assert!(pieces.ends_with("is one too many"), "{pieces}");
    }
    // The pool still works.
    assert_eq!(chunking(&small(), 3).slice(&data, NEVER).unwrap().last().unwrap().hash, {
        let last = chunking(&small(), 1).slice(&data, NEVER).unwrap().pop().unwrap();
        ANY.hash(&data[last.offset as usize..])
    });
}

/// A reader of reads of many sizes that panics at the end of its bytes.
struct Panicking(usize);

impl Read for Panicking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        assert!(self.0 > 0, "{} bytes are left", self.0);
        let count = buffer.len().min(self.0).min(1 + self.0 % 50_000);
        self.0 -= count;
        buffer[..count].fill(7);
        Ok(count)
    }
}

#[test]
fn a_panic_of_the_source_reaches_the_caller() {
    for threads in [1, 2, 3] {
        for length in [0, 1, 300_000, 9_000_000] {
            let panic =
                panic_of(|| chunking(&small(), threads).reader(Panicking(length)).all(NEVER).map(drop));
            assert_eq!(panic, "0 bytes are left");
        }
    }
}

/// Returns `data` in reads of many sizes.
struct Short<'a>(&'a [u8]);

impl Read for Short<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(self.0.len()).min(1 + self.0.len() * 7 % 90_001);
        buffer[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

#[test]
fn concurrent_inputs_do_not_affect_each_other() {
    let data: &'static [u8] = Vec::leak(inputs::random(11, 6 << 20));
    let expected = chunking(&small(), 1).slice(data, NEVER).unwrap();
    std::thread::scope(|scope| {
        for caller in 0..8 {
            let expected = &expected;
            scope.spawn(move || {
                for round in 0..12 {
                    let chunking = chunking(&small(), 1 + (caller + round) % 4);
                    match round % 4 {
                        0 => assert_eq!(chunking.slice(data, NEVER).unwrap(), *expected),
                        1 => assert_eq!(chunking.reader(Short(data)).all(NEVER).unwrap(), *expected),
                        // Dropped midway, while other threads may still work on it.
                        2 => {
                            let mut reader = chunking.reader(Short(data));
                            let first = reader.next_results(NEVER).unwrap().unwrap();
                            assert!(expected.starts_with(&first));
                        }
                        // A slow consumer of the results.
                        _ => {
                            let mut reader = chunking.reader(Short(data));
                            let mut chunks = Vec::new();
                            while let Some(results) = reader.next_results(NEVER).unwrap() {
                                chunks.extend(results);
                                std::thread::sleep(Duration::from_millis(2));
                            }
                            assert_eq!(chunks, *expected);
                        }
                    }
                }
            });
        }
    });
}

#[test]
fn a_cancelled_call_returns_no_results() {
    let data = inputs::random(4, 8 << 20);
    for threads in [1, 3] {
        for patience in [0, 1, 5] {
            let asked = AtomicUsize::new(0);
            let is_cancelled = || asked.fetch_add(1, Ordering::Relaxed) >= patience;
            assert_eq!(
                chunking(&small(), threads).slice(&data, &is_cancelled).unwrap_err().code(),
                "cancelled"
            );
            asked.store(0, Ordering::Relaxed);
            let mut reader = chunking(&small(), threads).reader(io::repeat(0));
            let error = loop {
                match reader.next_results(&is_cancelled) {
                    Ok(chunks) => assert!(chunks.is_some()),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.code(), "cancelled");
            assert!(reader.next_results(NEVER).unwrap().is_none());

            let mut pieces = chunking(&small(), threads).pieces();
            assert_eq!(pieces.push(&data, &|| true).unwrap_err().code(), "cancelled");
            assert_eq!(pieces.finish(NEVER).unwrap_err().code(), "cancelled");
        }
    }
}

/// An endless reader of zeros that counts them.
struct Counting(Arc<AtomicUsize>);

impl Read for Counting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        buffer.fill(0);
        self.0.fetch_add(buffer.len(), Ordering::Relaxed);
        Ok(buffer.len())
    }
}

#[test]
fn read_ahead_is_bounded() {
    for (options, threads) in [(small(), 1), (small(), 3), (Options::default(), 3)] {
        let read = Arc::new(AtomicUsize::new(0));
        let mut reader = chunking(&options, threads).reader(Counting(Arc::clone(&read)));
        let mut taken = 0;
        for _ in 0..20 {
            taken +=
                reader.next_results(NEVER).unwrap().unwrap().iter().map(|chunk| chunk.length).sum::<usize>();
            // Helpers go as far as they may while the caller does something else.
            std::thread::sleep(Duration::from_millis(50));
            let ahead = read.load(Ordering::Relaxed) - taken;
            // What the invariants of the pipeline allow: results that have not been taken, the items of one
            // block beyond their limit, the blocks that are read ahead, and what the splitter holds.
            let max_size = options.max_size as usize;
            let untaken = max_size + (4 << 20) + threads * (2 << 20);
            let block = 256 << 10;
            let bound = untaken + (max_size + block) + 2 * threads * block + (max_size + block);
            assert!(ahead <= bound, "{ahead} bytes ahead, more than {bound}");
        }
    }
}

#[test]
fn offsets_beyond_32_bits_are_right() {
    let length = 5 * (1u64 << 30) + 12_345;
    let chunks = chunking(&Options::default(), 3).reader(io::repeat(0).take(length)).all(NEVER).unwrap();
    let mut offset = 0;
    for chunk in &chunks {
        assert_eq!(chunk.offset, offset);
        offset += chunk.length as u64;
    }
    assert_eq!(offset, length);
    // Zeros have no cut point below the maximum size.
    assert!(chunks[..chunks.len() - 1].iter().all(|chunk| chunk.length == 4 << 20));
    assert_eq!(chunks.last().unwrap().length as u64, length % (4 << 20));
}

#[test]
fn a_file_gives_the_same_chunks_as_its_bytes() {
    let folder = Folder::new("file");
    for length in [0, 1, 1_048_575, 1_048_576, 1_048_577, 5_000_000] {
        let data = inputs::random(length as u64, length);
        let path = folder.file("data", &data);
        assert_eq!(file::kind(&path).unwrap(), Kind::Regular);
        for threads in [1, 2] {
            let chunking = chunking(&small(), threads);
            let chunks = chunking.clone().source(Input::open(&path).unwrap()).all(NEVER).unwrap();
            assert_eq!(chunks, chunking.slice(&data, NEVER).unwrap());
        }
        let digest = ANY.hash_source(Input::open(&path).unwrap(), NEVER).unwrap();
        assert_eq!(digest, ANY.hash(&data));
    }
}

#[cfg(unix)]
#[test]
fn parts_of_a_file_are_read_in_any_order() {
    fn all(source: &mut dyn Source) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let mut buffer = [0; 700];
        while let Some(count @ 1..) = source.read(&mut buffer)? {
            bytes.extend(&buffer[..count]);
        }
        Ok(bytes)
    }

    let folder = Folder::new("parts");
    let data = inputs::random(9, 10_000);
    let path = folder.file("data", &data);
    let mut input = Input::open(&path).unwrap();
    let mut first = input.split_off(4_000).unwrap();
    let mut second = input.split_off(5_000).unwrap();
    assert!(input.split_off(1_001).is_none(), "more than there is");
    assert_eq!(all(&mut input).unwrap(), data[9_000..]);
    assert_eq!(all(&mut *second).unwrap(), data[4_000..9_000]);
    assert_eq!(all(&mut *first).unwrap(), data[..4_000]);
    assert!(input.split_off(1).is_none(), "after the end");

    let mut input = Input::open(&path).unwrap();
    let mut part = input.split_off(10_000).unwrap();
    File::options().write(true).open(&path).unwrap().set_len(3_000).unwrap();
    assert_eq!(all(&mut *part).unwrap_err().code(), "file_changed");
}

/// Opens a file of 32 MiB, takes the first chunks, changes the file's length, and reads on. Returns all
/// chunks and those of the content before the change.
fn resize_while_reading(
    threads: usize,
    on_change: OnChange,
    length: u64,
) -> Result<(Vec<Chunk>, Vec<Chunk>), Error> {
    let folder = Folder::new(&format!("resized-{threads}-{on_change:?}-{length}"));
    let data = inputs::random(1, 32 << 20);
    let path = folder.file("data", &data);
    let chunking = chunking(&small(), threads);
    let expected = chunking.slice(&data, NEVER)?;
    let mut reader = chunking.source(Input::open(&path)?.on_change(on_change));
    let mut chunks = reader.next_results(NEVER)?.unwrap();
    File::options().write(true).open(&path).unwrap().set_len(length).unwrap();
    while let Some(more) = reader.next_results(NEVER)? {
        chunks.extend(more);
    }
    Ok((chunks, expected))
}

#[test]
fn a_file_that_shrinks_or_grows_is_detected() {
    for threads in [1, 2] {
        for length in [100, 0, (32 << 20) - 1, (32 << 20) + 1, 64 << 20] {
            let error = resize_while_reading(threads, OnChange::Error, length).unwrap_err();
            assert_eq!(error.code(), "file_changed", "{threads} threads, {length} bytes");
        }
    }
}

#[test]
fn a_snapshot_has_what_was_there_when_the_file_was_opened() {
    for threads in [1, 2] {
        for length in [(32 << 20) + 1, 64 << 20] {
            let (chunks, expected) = resize_while_reading(threads, OnChange::Snapshot, length).unwrap();
            assert_eq!(chunks, expected, "{threads} threads, {length} bytes");
        }
        for length in [100, 0, (32 << 20) - 1] {
            let error = resize_while_reading(threads, OnChange::Snapshot, length).unwrap_err();
            assert_eq!(error.code(), "file_changed", "{threads} threads, {length} bytes");
        }
    }
    // What an empty log had when it was opened is nothing.
    let folder = Folder::new("empty-log");
    let path = folder.file("log", b"");
    let open = || Input::open(&path).unwrap().on_change(OnChange::Snapshot);
    let (to_hash, to_chunk) = (open(), open());
    std::fs::write(&path, "line").unwrap();
    assert_eq!(ANY.hash_source(to_hash, NEVER).unwrap(), ANY.hash(b""));
    assert_eq!(chunking(&small(), 2).source(to_chunk).all(NEVER).unwrap(), []);
    // The whole snapshot, whatever the size of the reads.
    let mut input = open();
    std::fs::write(&path, "line, and more").unwrap();
    let mut bytes: Vec<u8> = Vec::new();
    let mut buffer = [0; 3];
    while let Some(count @ 1..) = input.read(&mut buffer).unwrap() {
        bytes.extend(&buffer[..count]);
    }
    assert_eq!(bytes, b"line");
    // A file that is shorter after its last byte was read may have been written anew before.
    let mut input = open();
    assert_eq!(input.read(&mut [0; 100]).unwrap(), Some(14));
    std::fs::write(&path, "anew").unwrap();
    assert_eq!(input.read(&mut [0; 100]).unwrap_err().code(), "file_changed");
}

/// Appends to a file until it is dropped.
struct Appending(Arc<AtomicBool>, Option<std::thread::JoinHandle<()>>);

impl Appending {
    fn to(path: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let mut file = File::options().append(true).open(path).unwrap();
        let append = move || {
            // At most as much again, so that a reader that does not end is noticed.
            for _ in 0..200_000 {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                file.write_all(&[7; 100]).unwrap();
            }
        };
        Self(stop, Some(std::thread::spawn(append)))
    }
}

impl Drop for Appending {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        let _ = self.1.take().map(std::thread::JoinHandle::join);
    }
}

#[test]
fn a_file_that_is_appended_to_all_the_time_can_be_read_as_a_snapshot() {
    let folder = Folder::new("appended");
    let data = inputs::random(5, 48 << 20);
    // With and without a thread for each file.
    for (threads, files) in [(1, 1), (2, 1), (2, 5)] {
        let paths: Vec<_> = (0..files).map(|i| folder.file(&format!("log{i}"), &data)).collect();
        let chunking = chunking(&small(), threads);
        let workers = Some(Workers::shared(threads, crate::POOL).unwrap());
        let batch = BatchOptions { workers, ..BatchOptions::default() };
        let appending: Vec<_> = paths.iter().map(|path| Appending::to(path)).collect();
        let results = chunk_files(chunking.clone(), &paths, OnChange::Snapshot, &batch, NEVER).unwrap();
        let hash = |path: &PathBuf| {
            let input = Input::open(path).unwrap().on_change(OnChange::Snapshot);
            (input.length().unwrap() as usize, ANY.hash_source(input, NEVER).unwrap())
        };
        let hashed: Vec<_> = paths.iter().map(hash).collect();
        drop(appending);
        for ((path, result), (hashed, digest)) in paths.iter().zip(results).zip(hashed) {
            let FileChunks::Chunks(chunks) = result.unwrap() else { panic!("a regular file") };
            let content = std::fs::read(path).unwrap();
            let length: usize = chunks.iter().map(|chunk| chunk.length).sum();
            assert!((data.len()..=content.len()).contains(&length));
            assert_eq!(chunks, chunking.slice(&content[..length], NEVER).unwrap());
            assert_eq!(digest, ANY.hash(&content[..hashed]));
        }
    }
}

/// Whenever a file changes, the chunks returned so far are those of its original content.
#[test]
fn a_file_that_changes_at_any_moment_gives_no_wrong_chunk() {
    let folder = Folder::new("changing");
    let data = inputs::random(4, 6 << 20);
    let mut noticed = 0;
    for round in 0..60u64 {
        let dice =
            move |bound: u64, salt: u64| (round + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ salt << 17) % bound;
        let length = if round % 3 == 0 { data.len() } else { dice(data.len() as u64, 1) as usize };
        let path = folder.file("data", &data[..length]);
        let chunking = chunking(&small(), [1, 2, 3][round as usize % 3]);
        let expected = chunking.slice(&data[..length], NEVER).unwrap();
        let on_change = if round % 8 < 4 { OnChange::Error } else { OnChange::Snapshot };
        let mut reader = chunking.source(Input::open(&path).unwrap().on_change(on_change));
        let changing = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(dice(1500, 2)));
            let mut file = File::options().append(true).open(&path).unwrap();
            match round % 4 {
                0 => file.set_len(dice(length as u64 + 1, 3)).unwrap(),
                1 => file.set_len(length as u64 / (256 << 10) * (256 << 10)).unwrap(),
                _ => file.write_all(&vec![1; dice(600_000, 4) as usize]).unwrap(),
            }
        });
        let mut chunks = Vec::new();
        loop {
            match reader.next_results(NEVER) {
                Ok(Some(more)) => chunks.extend(more),
                Ok(None) => {
                    assert_eq!(chunks, expected, "round {round}");
                    break;
                }
                Err(error) => {
                    assert_eq!(error.code(), "file_changed");
                    assert!(on_change == OnChange::Error || round % 4 < 2, "round {round} only appends");
                    assert!(expected.starts_with(&chunks), "round {round}");
                    noticed += 1;
                    break;
                }
            }
        }
        changing.join().unwrap();
    }
    assert!(noticed > 0);
}

#[cfg(target_os = "linux")]
#[test]
fn files_that_report_a_wrong_size_are_read_to_their_end() {
    for path in ["/proc/version", "/proc/self/limits", "/sys/kernel/mm/transparent_hugepage/enabled"] {
        let Ok(content) = std::fs::read(path) else { continue };
        for on_change in [OnChange::Error, OnChange::Snapshot] {
            let input = Input::open(Path::new(path)).unwrap().on_change(on_change);
            let chunks = chunking(&small(), 2).source(input).all(NEVER).unwrap();
            assert_eq!(chunks.len(), 1);
            assert_eq!(chunks[0].hash, ANY.hash(&content), "{path}");
        }
    }
}

#[test]
fn an_open_error_has_its_kind_and_path() {
    let folder = Folder::new("refused");
    let inside_a_file = folder.file("data", b"").join("inside");
    let too_long = folder.0.join("x".repeat(300));
    let missing = folder.0.join("missing");
    for (path, kind) in [
        (&folder.0, "eisdir"),
        (&missing, "enoent"),
        (&inside_a_file, "enotdir"),
        (&too_long, "enametoolong"),
        (&PathBuf::from("nul\0inside"), "einval"),
    ] {
        for error in [file::kind(path).unwrap_err(), Input::open(path).unwrap_err()] {
            assert_eq!((error.code(), error.kind()), ("io_error", kind), "{}", path.display());
            assert_eq!(error.path.as_ref(), Some(path));
        }
    }
}

#[cfg(unix)]
mod fifo {
    use super::*;

    fn make(folder: &Folder) -> PathBuf {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let path = folder.0.join("fifo");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        path
    }

    #[test]
    fn is_read_until_its_writer_closes_it() {
        let folder = Folder::new("fifo-content");
        let path = make(&folder);
        assert_eq!(file::kind(&path).unwrap(), Kind::Special);
        let data = inputs::random(5, 3_000_000);
        let input = Input::open(&path).unwrap();
        let writer = std::thread::spawn({
            let (path, data) = (path, data.clone());
            move || {
                // The reader must poll a FIFO without a writer at least once, and not take it for an empty
                // file.
                std::thread::sleep(Duration::from_millis(60));
                let mut fifo = File::options().write(true).open(path).unwrap();
                for piece in data.chunks(1_000_000) {
                    fifo.write_all(piece).unwrap();
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        });
        let chunking = chunking(&small(), 2);
        assert_eq!(chunking.clone().source(input).all(NEVER).unwrap(), chunking.slice(&data, NEVER).unwrap());
        writer.join().unwrap();
    }

    #[test]
    fn without_a_writer_is_waited_for_until_the_caller_cancels() {
        let folder = Folder::new("fifo-wait");
        let path = make(&folder);
        let is_cancelled = Arc::new(AtomicBool::new(false));
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn({
            let is_cancelled = Arc::clone(&is_cancelled);
            move || {
                let input = Input::open(&path).unwrap();
                let is_cancelled = || is_cancelled.load(Ordering::Relaxed);
                sender.send(chunking(&small(), 2).source(input).all(&is_cancelled)).unwrap();
            }
        });
        assert!(receiver.recv_timeout(Duration::from_millis(100)).is_err(), "it waits");
        is_cancelled.store(true, Ordering::Relaxed);
        let result =
            receiver.recv_timeout(Duration::from_secs(10)).expect("the call returns after it is cancelled");
        assert_eq!(result.unwrap_err().code(), "cancelled");
    }

    #[test]
    fn gives_chunks_before_its_writer_closes_it() {
        let folder = Folder::new("fifo-live");
        let path = make(&folder);
        let mut input = Input::open(&path).unwrap();
        let mut fifo = File::options().write(true).open(&path).unwrap();
        let data = inputs::random(6, 60_000);
        fifo.write_all(&data).unwrap();
        let mut pieces = chunking(&small(), 2).pieces();
        let expected = chunking(&small(), 1).slice(&data, NEVER).unwrap();
        let start = Instant::now();
        let mut all = Vec::new();
        // All but the last chunk, whose end is not known yet.
        while all.len() < expected.len() - 1 {
            assert!(start.elapsed() < Duration::from_secs(10), "chunks of what was written so far");
            match pieces.pull(&mut input, NEVER).unwrap() {
                Pulled::Results(chunks) => all.extend(chunks),
                Pulled::Waiting => std::thread::sleep(Duration::from_millis(1)),
                Pulled::End(_) => panic!("the writer has not closed it"),
            }
        }
        assert!(matches!(pieces.pull(&mut input, NEVER).unwrap(), Pulled::Waiting));
        drop(fifo);
        let Pulled::End(last) = pieces.pull(&mut input, NEVER).unwrap() else { panic!("it has ended") };
        all.extend(last);
        assert_eq!(all, expected);
    }
}
