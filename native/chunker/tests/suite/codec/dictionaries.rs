//! Dictionaries of zstd, trained by this library and by the official program.

use chunker::ErrorCode;
use chunker::codec::*;

use super::codecs::is_detected;
use super::content::{noise, text};
use super::program::run;

/// Returns small contents that have much in common.
fn samples() -> Vec<Vec<u8>> {
    (0..2000u64)
        .map(|n| {
            let noise = noise(8, n);
            format!(
                "{{\"name\": \"package-{n}\", \"hash\": \"{noise:02x?}\", \"references\": [], \"size\": {}}}",
                n * n
            )
            .into_bytes()
        })
        .collect()
}

fn trained() -> Dictionary {
    train_dictionary(&samples(), 16 << 10).expect("the samples suffice")
}

fn with(dictionary: &Dictionary) -> CompressOptions {
    CompressOptions::new(Codec::Zstd).dictionary(dictionary.clone())
}

fn read_with(dictionary: Option<&Dictionary>, input: &[u8]) -> Result<Vec<u8>, CompressionError> {
    let options = DecompressOptions::new().dictionary(dictionary.cloned());
    let whole = decompress(input, &options);
    let mut decoder = Decoder::new(&options)?;
    let mut pieces = Vec::new();
    let result = input.iter().try_for_each(|byte| decoder.update(&[*byte], &mut pieces));
    let result = result.and_then(|()| decoder.finish(&mut pieces));
    assert_eq!(result.map(|_| pieces), whole, "the same however the input is split");
    whole
}

fn failed(why: CodecFailure) -> CompressionError {
    CompressionError::DecompressionFailed { codec: Codec::Zstd, why }
}

#[test]
fn a_dictionary_makes_small_contents_smaller() {
    let dictionary = trained();
    assert!(dictionary.as_bytes().len() <= 16 << 10);
    let id = dictionary.id().expect("a trained dictionary has an id");
    for sample in samples().iter().step_by(97) {
        let plain = compress_zstd(sample, None).expect("memory");
        for level in [-5, 1, 3, 19, 22] {
            let small = compress(sample, &with(&dictionary).level(level)).expect("memory");
            assert!(2 * small.len() < plain.len() + 40, "{} and {} bytes", small.len(), plain.len());
            assert_eq!(zstd_safe::get_dict_id_from_frame(&small).map(u32::from), Some(id));
            assert_eq!(read_with(Some(&dictionary), &small).as_ref(), Ok(sample));
        }
    }
    assert_eq!(train_dictionary(&samples(), 16 << 10).expect("as before").as_bytes(), dictionary.as_bytes());
}

#[test]
fn dictionaries_are_interchangeable_with_the_program() {
    let folder = tempfile::tempdir().expect("there is room for a temporary folder");
    let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
    let mut paths = Vec::new();
    for (n, sample) in samples().iter().enumerate() {
        let path = folder.path().join(format!("sample-{n}"));
        std::fs::write(&path, sample).expect("a sample can be written");
        paths.push(path.to_str().expect("the path is text").to_owned());
    }
    let theirs_path = theirs.to_str().expect("the path is text");
    let mut arguments = vec!["--train", "--maxdict=16384", "-q", "-o", theirs_path];
    arguments.extend(paths.iter().map(String::as_str));
    run("zstd", &arguments, &[]);
    std::fs::write(&ours, trained().as_bytes()).expect("a dictionary can be written");

    for path in [&ours, &theirs] {
        let dictionary = Dictionary::new(&std::fs::read(path).expect("it is there")).expect("it has bytes");
        let path = path.to_str().expect("the path is text");
        for content in [samples().swap_remove(5), vec![], text(300_000)] {
            let compressed = compress(&content, &with(&dictionary)).expect("memory");
            assert!(run("zstd", &["-d", "-c", "-D", path], &compressed) == content);
            let compressed = run("zstd", &["-c", "-D", path], &content);
            assert!(read_with(Some(&dictionary), &compressed).as_ref() == Ok(&content));
        }
    }
}

#[test]
fn a_missing_or_wrong_dictionary_is_an_error() {
    let right = trained();
    let wrong = train_dictionary(&samples()[..1000], 8 << 10).expect("the samples suffice");
    assert_ne!(right.id(), wrong.id());
    let content = samples().swap_remove(3);
    let mut encoder = Encoder::new(&with(&right)).expect("memory");
    let mut streamed = Vec::new();
    encoder.update(&content, &mut streamed).expect("memory");
    encoder.finish(&mut streamed).expect("memory");
    for input in [compress(&content, &with(&right)).expect("memory"), streamed] {
        assert_eq!(read_with(Some(&right), &input).as_ref(), Ok(&content));
        assert_eq!(read_with(None, &input), Err(failed(CodecFailure::DictionaryMissing)));
        assert_eq!(read_with(Some(&wrong), &input), Err(failed(CodecFailure::DictionaryWrong)));
    }
}

#[test]
fn any_content_can_be_a_dictionary() {
    let [right, wrong] =
        [text(5000), noise(5000, 9)].map(|bytes| Dictionary::new(&bytes).expect("it has bytes"));
    assert_eq!(right.id(), None);
    let content = text(5000)[1000..3000].to_vec();
    let small = compress(&content, &with(&right)).expect("memory");
    assert!(small.len() < 100, "{} bytes", small.len());
    assert_eq!(read_with(Some(&right), &small), Ok(content));
    // The frame has no id for such a dictionary; only the checksum of the content detects a wrong one.
    for other in [None, Some(&wrong)] {
        let whole = decompress(&small, &DecompressOptions::new().dictionary(other.cloned())).unwrap_err();
        assert!(
            matches!(
                whole,
                CompressionError::DecompressionFailed {
                    why: CodecFailure::Corrupt | CodecFailure::ChecksumMismatch,
                    codec: Codec::Zstd
                }
            ),
            "{whole}"
        );
    }
}

#[test]
fn one_scratch_serves_several_dictionaries_and_none() {
    let dictionaries =
        [trained(), train_dictionary(&samples()[..1000], 8 << 10).expect("the samples suffice")];
    let (mut scratch, mut small, mut read) = (CompressionScratch::new(), Vec::new(), Vec::new());
    for (round, content) in samples().iter().step_by(50).enumerate() {
        let dictionary = dictionaries.get(round % 3).cloned();
        let level = [3, 3, 7, 1][round % 4];
        let options = CompressOptions::new(Codec::Zstd).level(level).dictionary(dictionary.clone());
        compress_into(content, &options, &mut scratch, &mut small).expect("memory");
        assert_eq!(small, compress(content, &options).expect("memory"), "as without a scratch");
        let id = dictionary.as_ref().and_then(Dictionary::id);
        assert_eq!(zstd_safe::get_dict_id_from_frame(&small).map(u32::from), id);
        let options = DecompressOptions::new().dictionary(dictionary);
        decompress_into(&small, &options, &mut scratch, &mut read).expect("the dictionary is right");
        assert_eq!(&read, content);
    }
}

#[test]
fn invalid_dictionaries_are_rejected() {
    let damaged = [&trained().as_bytes()[..8], &[0xff; 200]].concat();
    for bytes in [&[], damaged.as_slice()] {
        let error = Dictionary::new(bytes).unwrap_err();
        assert_eq!((&error, error.code()), (&CompressionError::InvalidDictionary, "invalid_options"));
    }
    assert_eq!(Dictionary::new(trained().as_bytes()).expect("the dictionary is valid").id(), trained().id());
}

#[test]
fn lz4_dictionaries_are_interchangeable_with_the_program() {
    let folder = tempfile::tempdir().expect("there is room for a temporary folder");
    let path = folder.path().join("dictionary");
    let path = path.to_str().expect("the path is text");
    // Shorter than the reach of a block, as long as that, and longer.
    for bytes in [trained().as_bytes().to_vec(), text(65_536), text(200_000), b"abc".to_vec()] {
        std::fs::write(path, &bytes).expect("a dictionary can be written");
        let dictionary = Dictionary::new(&bytes).expect("it has bytes");
        let options = CompressOptions::new(Codec::Lz4).dictionary(dictionary.clone());
        for content in [samples().swap_remove(5), vec![], text(300_000), noise(100_000, 3)] {
            let mut encoder = Encoder::new(&options).expect("memory");
            let mut streamed = Vec::new();
            for piece in content.chunks(10_007) {
                encoder.update(piece, &mut streamed).expect("memory");
            }
            encoder.finish(&mut streamed).expect("memory");
            for compressed in [compress(&content, &options).expect("memory"), streamed] {
                assert!(
                    run("lz4", &["-d", "-c", "-D", path], &compressed) == content,
                    "the program reads ours"
                );
                assert!(read_with(Some(&dictionary), &compressed).as_ref() == Ok(&content));
            }
            // Independent and linked blocks, of several sizes.
            for arguments in
                [["-BI", "-B4", "-1"], ["-BD", "-B4", "-1"], ["-BD", "-B7", "-9"], ["-BX", "-B5", "-9"]]
            {
                let compressed = run("lz4", &[&arguments[..], &["-c", "-D", path]].concat(), &content);
                let read = read_with(Some(&dictionary), &compressed);
                assert!(read.as_ref() == Ok(&content), "we read the program's {arguments:?}");
            }
        }
    }
}

#[test]
fn an_lz4_dictionary_makes_small_contents_smaller_and_is_needed() {
    let [right, wrong] =
        [text(70_000), noise(70_000, 9)].map(|bytes| Dictionary::new(&bytes).expect("it has bytes"));
    let content = text(70_000)[60_000..62_000].to_vec();
    let options = CompressOptions::new(Codec::Lz4);
    let with = compress(&content, &options.clone().dictionary(right.clone())).expect("memory");
    let without = compress(&content, &options).expect("memory");
    assert!(with.len() < without.len() / 4, "{} and {} bytes", with.len(), without.len());
    let (mut scratch, mut out) = (CompressionScratch::new(), Vec::new());
    for (dictionary, is_right) in
        [(Some(&right), true), (None, false), (Some(&wrong), false), (Some(&right), true)]
    {
        let reading = DecompressOptions::new().dictionary(dictionary.cloned());
        let result = decompress_into(&with, &reading, &mut scratch, &mut out);
        assert_eq!(result.is_ok(), is_right, "a scratch keeps no dictionary of another call");
        assert!(out == if is_right { content.clone() } else { vec![] });
        compress_into(&content, &options.clone().dictionary(dictionary.cloned()), &mut scratch, &mut out)
            .expect("memory");
        assert_eq!(out.len() < without.len() / 4, is_right);
    }
    // The flag and the id, of which the program writes neither: LZ4 Frame Format Description, 1.6.
    let mut with_id = [&with[..4], &[with[4] | 1], &with[5..14], &7u32.to_le_bytes()].concat();
    let [_, checksum, ..] = twox_hash::XxHash32::oneshot(0, &with_id[4..]).to_le_bytes();
    with_id.push(checksum);
    with_id.extend_from_slice(&with[15..]);
    assert_eq!(read_with(Some(&right), &with_id), Ok(content));
    let why = CodecFailure::DictionaryMissing;
    assert_eq!(
        read_with(None, &with_id),
        Err(CompressionError::DecompressionFailed { codec: Codec::Lz4, why })
    );
}

#[test]
fn only_zstd_and_lz4_support_dictionaries() {
    let dictionary = trained();
    for codec in Codec::ENCODABLE.into_iter().filter(|codec| !codec.takes_dictionary()) {
        let error = CompressionError::DictionaryUnsupported { codec };
        assert_eq!(error.code(), "invalid_options");
        let options = CompressOptions::new(codec).dictionary(dictionary.clone());
        assert_eq!(options.validate(), Err(error.clone()));
        assert_eq!(compress(b"content", &options), Err(error.clone()));
        assert_eq!(Encoder::new(&options).unwrap_err(), error);
        let options = DecompressOptions::new().dictionary(dictionary.clone());
        let input = compress(b"content", &CompressOptions::new(codec)).expect("memory");
        if is_detected(codec) {
            let why = CodecFailure::DictionaryInapplicable;
            let error = CompressionError::DecompressionFailed { codec, why };
            assert_eq!(read_with(Some(&dictionary), &input), Err(error));
        }
        assert_eq!(decompress(&input, &options.codec(codec)), Err(error));
    }
}

#[test]
fn unsuitable_samples_are_rejected() {
    let error =
        CompressionError::CompressionFailed { codec: Codec::Zstd, why: CodecFailure::SamplesUnsuitable };
    assert_eq!(train_dictionary::<&[u8]>(&[], 16 << 10).unwrap_err(), error);
    assert_eq!(train_dictionary(&[b"one"], 16 << 10).unwrap_err(), error);
    assert_eq!(train_dictionary(&[[0u8; 0]; 100], 16 << 10).unwrap_err(), error);
    for size in [0, 255] {
        assert_eq!(train_dictionary(&samples(), size).unwrap_err(), error);
    }
}

#[test]
fn training_can_be_cancelled() {
    let dictionary =
        train_dictionary_cancellable(&samples(), 16 << 10, &|| false).expect("the samples suffice");
    assert_eq!(dictionary.as_bytes(), trained().as_bytes());
    let error = train_dictionary_cancellable(&samples(), 255, &|| false).unwrap_err();
    assert_eq!(error.code(), "compression_failed");

    // Each of these calls that gets a permit leaves a thread running for seconds; the others wait for a
    // permit.
    let large: Vec<Vec<u8>> = (0..50_000).map(|n| noise(200, n)).collect();
    let cores = std::thread::available_parallelism().expect("Linux reports it").get();
    for _ in 0..=cores {
        let error = train_dictionary_cancellable(&large, 112_640, &|| true).unwrap_err();
        assert_eq!(error.code(), "cancelled");
    }
    // A call that waits gets a permit eventually.
    let again = train_dictionary_cancellable(&samples(), 16 << 10, &|| false).expect("as before");
    assert_eq!(again.as_bytes(), dictionary.as_bytes());
}
