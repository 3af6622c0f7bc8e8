//! Counts the allocations of a warm scratch. zstd is built on Rust's allocator here, so its contexts are
//! counted too.

#![cfg(all(feature = "zstd", feature = "lz4"))]

use allocation_counter::{AllocationInfo, measure};
use chunker::codec::{
    Codec, CompressOptions, CompressionScratch, DecompressOptions, Dictionary, ScratchPool, compress,
    compress_into, decompress_into, train_dictionary,
};

/// Returns contents of one kind in several sizes up to `largest`, the largest first.
fn contents(largest: usize) -> Vec<Vec<u8>> {
    let line =
        |n: usize| format!("{:x} some words that come again, {}\n", n.wrapping_mul(0x9e37_79b9), n % 97);
    let text: Vec<u8> = (0..).flat_map(|n| line(n).into_bytes()).take(largest).collect();
    [largest, largest / 2, 70_000, 65_536, 40_000, 1000, 1, 0]
        .into_iter()
        .filter(|size| *size <= largest)
        .map(|size| text[..size].to_vec())
        .collect()
}

struct Round<'a> {
    scratch: &'a mut CompressionScratch,
    compressed: &'a mut Vec<u8>,
    read: &'a mut Vec<u8>,
}

impl Round<'_> {
    fn run(&mut self, content: &[u8], compress: &CompressOptions, decompress: &DecompressOptions) {
        compress_into(content, compress, self.scratch, self.compressed).expect("the options are good");
        decompress_into(self.compressed, decompress, self.scratch, self.read).expect("the input is complete");
        assert!(self.read == content);
    }
}

fn after_warm_up(
    compress: &CompressOptions,
    decompress: &DecompressOptions,
    largest: usize,
) -> AllocationInfo {
    let contents = contents(largest);
    let (mut scratch, mut compressed, mut read) = (CompressionScratch::new(), Vec::new(), Vec::new());
    let mut round = Round { scratch: &mut scratch, compressed: &mut compressed, read: &mut read };
    let cold = measure(|| contents.iter().for_each(|content| round.run(content, compress, decompress)));
    assert!(cold.count_total > 0, "the counter counts");
    measure(|| {
        for _ in 0..5 {
            contents.iter().for_each(|content| round.run(content, compress, decompress));
        }
    })
}

fn nothing(info: &AllocationInfo) -> bool {
    (info.count_total, info.bytes_total) == (0, 0)
}

#[test]
fn the_counter_sees_the_contexts_of_zstd() {
    let options = CompressOptions::new(Codec::Zstd);
    let content = &contents(1_000_000)[0];
    let info = measure(|| drop(compress(content, &options).expect("memory")));
    assert!(info.bytes_total > 2_000_000, "a context at level 3 takes megabytes, not {}", info.bytes_total);
}

#[test]
fn zstd_allocates_nothing_after_warm_up() {
    for level in [-5, 1, 3, 7, 12, 19] {
        let options = CompressOptions::new(Codec::Zstd).level(level);
        for decompress in [DecompressOptions::new(), DecompressOptions::new().codec(Codec::Zstd)] {
            let info = after_warm_up(&options, &decompress, 400_000);
            assert!(nothing(&info), "level {level}: {info:?}");
        }
    }
}

#[test]
fn zstd_allocates_nothing_after_warm_up_with_a_dictionary() {
    let samples: Vec<Vec<u8>> = contents(1_000_000)[0].chunks(500).map(<[u8]>::to_vec).collect();
    let dictionary: Dictionary = train_dictionary(&samples, 16 << 10).expect("the samples suffice");
    for level in [1, 3, 19] {
        let compress = CompressOptions::new(Codec::Zstd).level(level).dictionary(dictionary.clone());
        let decompress = DecompressOptions::new().dictionary(dictionary.clone());
        let info = after_warm_up(&compress, &decompress, 200_000);
        assert!(nothing(&info), "level {level}: {info:?}");
    }
}

#[test]
fn lz4_allocates_nothing_after_warm_up() {
    let info = after_warm_up(&CompressOptions::new(Codec::Lz4), &DecompressOptions::new(), 1_000_000);
    assert!(nothing(&info), "{info:?}");
}

#[test]
fn input_of_unknown_size_is_decompressed_without_allocating() {
    use chunker::codec::Encoder;
    for codec in [Codec::Zstd, Codec::Lz4] {
        let inputs: Vec<Vec<u8>> = contents(500_000)
            .iter()
            .map(|content| {
                let mut encoder = Encoder::new(&CompressOptions::new(codec)).expect("memory");
                let mut out = Vec::new();
                encoder.update(content, &mut out).expect("memory");
                encoder.finish(&mut out).expect("memory");
                out
            })
            .collect();
        let (mut scratch, mut read) = (CompressionScratch::new(), Vec::new());
        let mut all = || {
            for input in &inputs {
                decompress_into(input, &DecompressOptions::new(), &mut scratch, &mut read)
                    .expect("the input is complete");
            }
        };
        all();
        let info = measure(all);
        assert!(nothing(&info), "{codec}: {info:?}");
    }
}

#[test]
fn the_end_of_a_limit_is_detected_without_allocating() {
    for codec in [Codec::Zstd, Codec::Lz4] {
        let input = compress(&contents(500_000)[0], &CompressOptions::new(codec)).expect("memory");
        let (mut scratch, mut read) = (CompressionScratch::new(), Vec::new());
        let mut twice = || {
            for limit in [500_000, 499_999] {
                let options = DecompressOptions::new().limit(limit);
                let result = decompress_into(&input, &options, &mut scratch, &mut read);
                assert_eq!(result.is_ok(), limit == 500_000);
            }
        };
        twice();
        let info = measure(twice);
        assert!(nothing(&info), "{codec}: {info:?}");
    }
}

#[test]
fn a_pool_reuses_its_scratches() {
    let (content, scratches) = (&contents(400_000)[0], ScratchPool::new());
    let options = CompressOptions::new(Codec::Zstd);
    // Two nested calls, which need two scratches.
    let two = || {
        scratches.lend(|outer, one| {
            compress_into(content, &options, outer, one).expect("memory");
            scratches.lend(|inner, another| {
                compress_into(content, &options, inner, another).expect("memory");
                assert!(one == another && !one.is_empty());
            });
        });
    };
    two();
    let info = measure(two);
    assert!(nothing(&info), "{info:?}");
}

#[test]
fn a_window_over_the_limit_is_not_allocated() {
    // A frame without a size, of one empty block, with a window of 1 GiB: RFC 8878, section 3.1.1.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0, (30 - 10) << 3, 1, 0, 0];
    let most = |max_memory| {
        let options = DecompressOptions::new().max_memory(max_memory);
        let mut result = Ok(0);
        let info = measure(|| {
            result = decompress_into(&frame, &options, &mut CompressionScratch::new(), &mut Vec::new());
        });
        (result.is_ok(), info.bytes_max)
    };
    let (read, bytes) = most(1 << 30);
    assert!(read && bytes >= 1 << 30, "the counter sees the window: {bytes} bytes");
    let (read, bytes) = most((1 << 30) - 1);
    assert!(!read && bytes < 1 << 20, "{bytes} bytes for a window that is refused");
}
