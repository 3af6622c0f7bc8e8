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
    assert_eq!(result.map(|()| pieces), whole, "the same however the input is split");
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
fn only_zstd_supports_dictionaries() {
    let dictionary = trained();
    for codec in Codec::ENCODABLE.into_iter().filter(|codec| *codec != Codec::Zstd) {
        let error = CompressionError::DictionaryUnsupported { codec };
        assert_eq!(error.code(), "invalid_options");
        let options = CompressOptions::new(codec).dictionary(dictionary.clone());
        assert_eq!(options.validate(), Err(error.clone()));
        assert_eq!(compress(b"content", &options), Err(error.clone()));
        assert_eq!(Encoder::new(&options).unwrap_err(), error);
        let options = DecompressOptions::new().dictionary(dictionary.clone());
        let input = compress(b"content", &CompressOptions::new(codec)).expect("memory");
        if is_detected(codec) {
            assert_eq!(decompress(&input, &options).expect("this input needs no dictionary"), b"content");
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
