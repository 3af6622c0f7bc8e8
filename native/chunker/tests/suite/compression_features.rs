//! A disabled codec returns an error and the others work, for any combination of features.

use chunker::ErrorCode;
use chunker::codec::{
    Codec, CompressOptions, CompressionError, Decoder, DecompressOptions, Dictionary, Encoder, Strategy,
    compress, decompress, detect_format,
};

const CONTENT: &[u8] = b"content";

/// [`CONTENT`] as compressed by `printf content | zstd -c` and by each of the other programs.
const INPUTS: [(Codec, &[u8]); 7] = [
    (
        Codec::Zstd,
        b"\x28\xb5\x2f\xfd\x04\x58\x39\x00\x00\x63\x6f\x6e\x74\x65\x6e\x74\xfc\xa9\xc5\x31",
    ),
    (
        Codec::Lz4,
        b"\x04\x22\x4d\x18\x64\x40\xa7\x07\x00\x00\x80\x63\x6f\x6e\x74\x65\x6e\x74\x00\x00\x00\x00\x89\x6a\
              \x80\xa1",
    ),
    (
        Codec::Xz,
        b"\xfd\x37\x7a\x58\x5a\x00\x00\x04\xe6\xd6\xb4\x46\x02\x00\x21\x01\x16\x00\x00\x00\x74\x2f\xe5\xa3\
              \x01\x00\x06\x63\x6f\x6e\x74\x65\x6e\x74\x00\x00\xdc\x8d\x35\x22\xff\xc1\x47\x7b\x00\x01\x1f\x07\
              \x16\x2e\xb8\x73\x1f\xb6\xf3\x7d\x01\x00\x00\x00\x00\x04\x59\x5a",
    ),
    (
        Codec::Bzip2,
        b"\x42\x5a\x68\x39\x31\x41\x59\x26\x53\x59\x23\x0d\xca\xfd\x00\x00\x00\x01\x80\x0a\x01\x84\x00\x20\
              \x00\x21\x83\x41\x9a\x01\x53\x0b\x8b\xb9\x22\x9c\x28\x48\x11\x86\xe5\x7e\x80",
    ),
    (
        Codec::Gzip,
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x4b\xce\xcf\x2b\x49\xcd\x2b\x01\x00\xa9\x30\xc5\xfe\x07\
              \x00\x00\x00",
    ),
    (
        Codec::Brotli,
        b"\x1f\x06\x00\xf8\x25\x00\xa2\x90\xa8\x00",
    ),
    (
        Codec::Lzma,
        b"\x5d\x00\x00\x80\x00\xff\xff\xff\xff\xff\xff\xff\xff\x00\x31\x9b\xca\x19\xda\xe9\xca\xd7\x4c\xd1\
              \x5f\xff\xfd\x98\x30\x00",
    ),
];

#[test]
fn a_codec_works_or_is_reported_as_disabled() {
    for (codec, input) in INPUTS {
        // brotli has no magic.
        let detected = codec != Codec::Brotli;
        assert_eq!(detect_format(input).ok(), detected.then_some(codec), "even if it is disabled");
        let options = CompressOptions::new(codec);
        let given = DecompressOptions::new().codec(codec);
        let reading =
            if detected { vec![given.clone(), DecompressOptions::new()] } else { vec![given.clone()] };
        if codec.is_enabled() {
            for reading in &reading {
                assert_eq!(decompress(input, reading).as_deref(), Ok(CONTENT));
            }
            if Codec::ENCODABLE.contains(&codec) {
                let ours = compress(CONTENT, &options).expect("memory");
                for reading in &reading {
                    assert_eq!(decompress(&ours, reading).as_deref(), Ok(CONTENT));
                }
            }
        } else {
            let error = CompressionError::CodecDisabled { codec };
            assert_eq!(error.code(), "feature_disabled");
            assert_eq!(options.validate(), Err(error.clone()));
            assert_eq!(compress(CONTENT, &options), Err(error.clone()));
            assert_eq!(Encoder::new(&options).unwrap_err(), error);
            assert_eq!(Decoder::new(&given).unwrap_err(), error);
            if detected {
                let any = DecompressOptions::new();
                let mut decoder = Decoder::new(&any).expect("the format is not known yet");
                assert_eq!(decoder.update(input, &mut Vec::new()), Err(error.clone()));
            }
            for reading in &reading {
                assert_eq!(decompress(input, reading), Err(error.clone()));
            }
        }
    }
}

#[test]
fn a_disabled_codec_is_reported_before_its_level() {
    for codec in Codec::ALL.into_iter().filter(|codec| !codec.is_enabled()) {
        let options = CompressOptions::new(codec).level(i32::MAX);
        assert_eq!(options.validate(), Err(CompressionError::CodecDisabled { codec }));
    }
    for strategy in Strategy::ALL {
        assert_eq!(strategy.options().validate().is_ok(), strategy.options().codec().is_enabled());
    }
}

#[test]
fn a_dictionary_needs_zstd_or_lz4() {
    let dictionary = Dictionary::new(b"what contents have in common");
    if Codec::Zstd.is_enabled() || Codec::Lz4.is_enabled() {
        assert_eq!(dictionary.expect("any bytes are a dictionary").id(), None);
    } else {
        assert_eq!(dictionary.unwrap_err(), CompressionError::CodecDisabled { codec: Codec::Zstd });
    }
}

#[test]
fn features_determine_the_enabled_codecs() {
    let built = [
        cfg!(feature = "zstd"),
        cfg!(feature = "lz4"),
        cfg!(feature = "xz"),
        cfg!(feature = "bzip2"),
        cfg!(feature = "gzip"),
        cfg!(feature = "brotli"),
        cfg!(feature = "xz"),
    ];
    assert_eq!(Codec::ALL.map(Codec::is_enabled), built);
}
