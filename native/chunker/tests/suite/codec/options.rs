//! Levels, names, codes, buffers, and `Send` types.

use chunker::ErrorCode;
use chunker::codec::*;
use chunker::error::Detail;

use super::codecs::{is_detected, reading};
use super::content::{noise, text};

#[test]
fn levels_match_the_libraries() {
    assert_eq!(Codec::Zstd.levels(), zstd_safe::min_c_level()..=zstd_safe::max_c_level());
    assert_eq!(Codec::Zstd.default_level(), 3);
    assert_eq!((Codec::Lz4.levels(), Codec::Lz4.default_level()), (1..=1, 1));
    assert_eq!((Codec::Xz.levels(), Codec::Xz.default_level()), (0..=9, 6));
    assert_eq!((Codec::Bzip2.levels(), Codec::Bzip2.default_level()), (1..=9, 6));
    assert_eq!((Codec::Gzip.levels(), Codec::Gzip.default_level()), (0..=9, 6));
    assert_eq!((Codec::Brotli.levels(), Codec::Brotli.default_level()), (0..=11, 6));
}

/// The level reaches the library: a higher one compresses a text better.
#[test]
fn higher_levels_compress_better() {
    let content = text(2_000_000);
    for (codec, levels) in [
        (Codec::Zstd, [-5, 1, 6, 19]),
        (Codec::Xz, [0, 2, 4, 6]),
        (Codec::Bzip2, [1, 3, 6, 9]),
        (Codec::Gzip, [0, 1, 6, 9]),
        (Codec::Brotli, [0, 2, 6, 11]),
    ] {
        let sizes = levels.map(|level| {
            let options = CompressOptions::new(codec).level(level);
            let whole = compress(&content, &options).expect("the level is good").len();
            let mut encoder = Encoder::new(&options).expect("the level is good");
            let mut pieces = Vec::new();
            encoder.update(&content, &mut pieces).expect("memory");
            encoder.finish(&mut pieces).expect("memory");
            (whole, pieces.len())
        });
        assert!(sizes.is_sorted_by(|a, b| a.0 > b.0 && a.1 > b.1), "{codec} {levels:?}: {sizes:?}");
    }
}

#[test]
fn a_level_out_of_range_never_reaches_the_library() {
    for codec in Codec::ENCODABLE {
        let (min, max) = codec.levels().into_inner();
        for level in [min, max] {
            let options = CompressOptions::new(codec).level(level);
            assert_eq!(options.validate(), Ok(()));
            assert!(compress(b"content", &options).is_ok(), "{codec} {level}");
        }
        for level in [min - 1, max + 1, i32::MIN, i32::MAX] {
            let error = CompressionError::InvalidLevel { codec, level, min, max };
            assert_eq!(error.code(), "invalid_options");
            let options = CompressOptions::new(codec).level(level);
            assert_eq!(options.validate(), Err(error.clone()));
            assert_eq!(compress(b"content", &options), Err(error.clone()));
            assert_eq!(Encoder::new(&options).unwrap_err(), error);
            let mut out = noise(1000, 1);
            let capacity = out.capacity();
            let result = compress_into(b"content", &options, &mut CompressionScratch::new(), &mut out);
            assert_eq!(result, Err(error));
            assert_eq!((out.len(), out.capacity()), (0, capacity), "empty, and its capacity kept");
        }
    }
}

#[test]
fn lzma_is_only_read() {
    let error = CompressionError::EncodingUnsupported { codec: Codec::Lzma };
    for options in [CompressOptions::new(Codec::Lzma), CompressOptions::new(Codec::Lzma).level(99)] {
        assert_eq!(options.validate(), Err(error.clone()));
        assert_eq!(compress(b"content", &options), Err(error.clone()));
        assert_eq!(Encoder::new(&options).unwrap_err(), error);
    }
    let details = format!("{:?}", error.details());
    assert!(details.contains("zstd, lz4, xz, bzip2, gzip, brotli"), "{details}");
}

/// For those who print a structure that holds them.
#[test]
fn coders_and_scratches_print_their_codec_and_no_content() {
    let encoder = Encoder::new(&CompressOptions::new(Codec::Gzip)).expect("the options are good");
    assert_eq!(format!("{encoder:?}"), "Encoder { codec: Gzip, .. }");
    let decoder = Decoder::new(&DecompressOptions::new()).expect("the options are good");
    assert_eq!(format!("{decoder:?}"), "Decoder { codec: None, .. }");
    let mut scratch = CompressionScratch::new();
    let fresh = format!("{scratch:?}");
    compress_into(b"content", &CompressOptions::new(Codec::Lz4), &mut scratch, &mut Vec::new())
        .expect("memory");
    assert!(fresh.contains("compressor: false") && !fresh.contains("true"), "{fresh}");
    assert_eq!(format!("{scratch:?}").matches("compressor: true").count(), 1);
}

/// In the VM a slow encoder is kept off the schedulers that other processes wait for.
#[test]
fn long_searches_are_slow() {
    let slow = |codec, level: Option<i32>| CompressOptions::new(codec).level(level).is_slow();
    for (codec, most) in [(Codec::Lz4, 1), (Codec::Gzip, 6), (Codec::Zstd, 9)] {
        assert!(!slow(codec, None) && !slow(codec, Some(*codec.levels().start())), "{codec}");
        assert!(!slow(codec, Some(most)), "{codec} {most}");
        assert_eq!(slow(codec, Some(most + 1)), codec != Codec::Lz4, "{codec} {most} + 1");
    }
    for codec in [Codec::Xz, Codec::Bzip2, Codec::Brotli] {
        assert!(slow(codec, None) && slow(codec, Some(*codec.levels().start())), "{codec}");
    }
    assert!(CompressOptions::smallest().is_slow());
}

#[test]
fn each_error_has_its_code_and_its_details() {
    let (codec, name) = (Codec::Gzip, ("codec", Detail::Name("gzip")));
    let trailing = CodecFailure::TrailingData { offset: 7 };
    let memory = CodecFailure::MemoryLimit { needed: 9, limit: 8 };
    let why = |why| ("why", Detail::Name(why));
    let option = |name, value, allowed: &str| {
        vec![("option", Detail::Name(name)), ("value", value), ("allowed", Detail::Text(allowed.into()))]
    };
    let limits =
        [("option", Detail::Name("max_memory")), ("needed", Detail::Number(9)), ("limit", Detail::Number(8))];
    for (error, code, details) in [
        (
            CompressionError::InvalidLevel { codec, level: -1, min: 0, max: 9 },
            "invalid_options",
            option("level", Detail::Signed(-1), "0..9"),
        ),
        (
            CompressionError::DictionaryUnsupported { codec },
            "invalid_options",
            option("codec", Detail::Name("gzip"), "zstd or lz4, if a dictionary is given"),
        ),
        (
            CompressionError::CompressionFailed { codec, why: CodecFailure::OutOfMemory },
            "compression_failed",
            vec![name.clone(), why("out_of_memory")],
        ),
        (
            CompressionError::DecompressionFailed { codec, why: trailing },
            "decompression_failed",
            vec![name.clone(), why("trailing_data"), ("offset", Detail::Number(7))],
        ),
        (
            CompressionError::DecompressionFailed { codec, why: memory },
            "decompression_failed",
            [&[name, why("memory_limit")], &limits[..]].concat(),
        ),
        (CompressionError::SizeExceeded { limit: 5 }, "size_exceeded", vec![("limit", Detail::Number(5))]),
        (
            CompressionError::UnknownFormat { magic: vec![1] },
            "unknown_format",
            vec![("magic", Detail::Bytes(vec![1]))],
        ),
        (
            CompressionError::CodecDisabled { codec: Codec::Lzma },
            "feature_disabled",
            vec![("feature", Detail::Name("xz"))],
        ),
    ] {
        assert_eq!((error.code(), error.details()), (code, details), "{error}");
    }
    assert_eq!(trailing.to_string(), "trailing_data at byte 7");
    assert_eq!(memory.to_string(), "memory_limit: 9 bytes are needed, and max_memory is 8 bytes");
    assert_eq!(CodecFailure::Corrupt.to_string(), "corrupt");
}

/// Each codec's own functions equal the general ones with that codec.
#[test]
fn each_codec_has_functions_of_its_own() {
    type Compress = fn(&[u8], Option<i32>) -> Result<Vec<u8>, CompressionError>;
    type CompressInto = fn(&[u8], Option<i32>, &mut Vec<u8>) -> Result<(), CompressionError>;
    type Decompress = fn(&[u8], u64) -> Result<Vec<u8>, CompressionError>;
    type DecompressInto = fn(&[u8], u64, &mut Vec<u8>) -> Result<(), CompressionError>;
    let functions: [(Codec, Compress, CompressInto, Decompress, DecompressInto); 6] = [
        (Codec::Zstd, compress_zstd, compress_zstd_into, decompress_zstd, decompress_zstd_into),
        (Codec::Lz4, compress_lz4, compress_lz4_into, decompress_lz4, decompress_lz4_into),
        (Codec::Xz, compress_xz, compress_xz_into, decompress_xz, decompress_xz_into),
        (Codec::Bzip2, compress_bzip2, compress_bzip2_into, decompress_bzip2, decompress_bzip2_into),
        (Codec::Gzip, compress_gzip, compress_gzip_into, decompress_gzip, decompress_gzip_into),
        (Codec::Brotli, compress_brotli, compress_brotli_into, decompress_brotli, decompress_brotli_into),
    ];
    let content = text(10_000);
    for (codec, compress_x, compress_x_into, decompress_x, decompress_x_into) in functions {
        let level = *codec.levels().end();
        for level in [None, Some(level)] {
            let compressed = compress_x(&content, level).expect("the level is good");
            let options = CompressOptions::new(codec).level(level);
            assert_eq!(Ok(&compressed), compress(&content, &options).as_ref());
            assert!(detect_format(&compressed) == Ok(codec) || !is_detected(codec));

            let mut out = noise(50_000, 1);
            let capacity = out.capacity();
            compress_x_into(&content, level, &mut out).expect("the level is good");
            assert_eq!((&out, out.capacity()), (&compressed, capacity), "replaced, in the same buffer");
            assert_eq!(
                compress_x_into(&content, Some(-200_000), &mut out).unwrap_err().code(),
                "invalid_options"
            );
            assert_eq!((out.len(), out.capacity()), (0, capacity));

            assert_eq!(decompress_x(&compressed, 10_000).as_ref(), Ok(&content));
            let error = decompress_x(&compressed, 9_999).unwrap_err();
            assert_eq!(error, CompressionError::SizeExceeded { limit: 9_999 });
            decompress_x_into(&compressed, 10_000, &mut out).expect("it fits");
            assert_eq!((&out, out.capacity()), (&content, capacity));
            assert_eq!(decompress_x_into(&compressed, 9_999, &mut out), Err(error));
            assert_eq!((out.len(), out.capacity()), (0, capacity));
            assert!(decompress_x_into(&compressed[1..], 10_000, &mut out).is_err());
            assert_eq!((out.len(), out.capacity()), (0, capacity));
            decompress_x_into(&compressed, 10_000, &mut out).expect("an error leaves nothing behind");
            assert_eq!(out, content);
        }
    }
}

#[test]
fn a_scratch_is_usable_after_an_error() {
    let content = text(200_000);
    for codec in Codec::ENCODABLE {
        let options = CompressOptions::new(codec);
        let compressed = compress(&content, &options).expect("memory");
        let (mut scratch, mut out) = (CompressionScratch::new(), Vec::new());
        for cut in [0, 1, 5, 20, compressed.len() / 2, compressed.len() - 1] {
            let any = reading(codec);
            assert!(
                decompress_into(&compressed[..cut], &any.clone().codec(codec), &mut scratch, &mut out)
                    .is_err()
            );
            decompress_into(&compressed, &any, &mut scratch, &mut out).expect("the input is complete");
            assert!(out == content, "{codec} after a cut at {cut}");
            assert!(decompress_into(&compressed, &any.limit(1000), &mut scratch, &mut out).is_err());
            assert!(compress_into(&content, &options.clone().level(99), &mut scratch, &mut out).is_err());
            compress_into(&content, &options, &mut scratch, &mut out).expect("memory");
            assert!(out == compressed, "{codec} after a cut at {cut}");
        }
    }
}

#[test]
fn one_scratch_serves_all_codecs_and_levels_in_turn() {
    let (mut scratch, mut compressed, mut out) = (CompressionScratch::new(), Vec::new(), Vec::new());
    for round in 0..3 {
        for codec in Codec::ENCODABLE {
            for level in [None, Some(1)] {
                for content in [text(100), text(70_000), vec![], noise(150_000, round)] {
                    let options = CompressOptions::new(codec).level(level);
                    compress_into(&content, &options, &mut scratch, &mut compressed).expect("memory");
                    assert_eq!(
                        Ok(&compressed),
                        compress(&content, &options).as_ref(),
                        "as without a scratch"
                    );
                    decompress_into(&compressed, &reading(codec), &mut scratch, &mut out)
                        .expect("the input is valid");
                    assert!(out == content, "{codec} {level:?}");
                }
            }
        }
    }
}

#[test]
fn names_and_codes_are_stable() {
    let names = ["zstd", "lz4", "xz", "bzip2", "gzip", "brotli", "lzma"];
    assert_eq!(Codec::ALL.map(Codec::name), names);
    assert_eq!(Codec::ENCODABLE.map(Codec::name), names[..6]);
    assert_eq!(Codec::ALL.map(Codec::feature), ["zstd", "lz4", "xz", "bzip2", "gzip", "brotli", "xz"]);
    assert_eq!(Strategy::ALL.map(Strategy::name), ["fastest", "balanced", "smallest"]);
    let codecs = Strategy::ALL.map(|strategy| strategy.options().codec());
    assert_eq!(codecs, [Codec::Lz4, Codec::Zstd, Codec::Xz]);
    let codec = Codec::Xz;
    let codes = [
        (CompressionError::InvalidLevel { codec, level: 10, min: 0, max: 9 }, "invalid_options"),
        (CompressionError::DictionaryUnsupported { codec }, "invalid_options"),
        (CompressionError::EncodingUnsupported { codec }, "invalid_options"),
        (CompressionError::InvalidDictionary, "invalid_options"),
        (CompressionError::CompressionFailed { codec, why: CodecFailure::OutOfMemory }, "compression_failed"),
        (
            CompressionError::DecompressionFailed { codec, why: CodecFailure::Truncated },
            "decompression_failed",
        ),
        (CompressionError::SizeExceeded { limit: 5 }, "size_exceeded"),
        (CompressionError::UnknownFormat { magic: vec![1, 2] }, "unknown_format"),
        (CompressionError::CodecDisabled { codec }, "feature_disabled"),
    ];
    for (error, code) in codes {
        assert_eq!(error.code(), code);
    }
    let error = CompressionError::DecompressionFailed { codec, why: CodecFailure::Truncated };
    assert_eq!(error.to_string(), "xz failed to decompress: truncated");
}

#[test]
fn types_held_by_a_vm_are_send() {
    fn moves<T: Send + 'static>() {}
    moves::<Encoder>();
    moves::<Decoder>();
    moves::<CompressionScratch>();
    moves::<Dictionary>();
    moves::<CompressionError>();
}
