//! Encoders and decoders take pieces of any size.

use chunker::codec::*;

use super::codecs::reading;
use super::content::{all, noise, text};

fn encode(codec: Codec, pieces: &[&[u8]]) -> Vec<u8> {
    let mut encoder = Encoder::new(&CompressOptions::new(codec)).expect("the options are good");
    let mut out = Vec::new();
    for piece in pieces {
        encoder.update(piece, &mut out).expect("memory");
    }
    encoder.finish(&mut out).expect("memory");
    out
}

#[test]
fn pieces_of_any_size_give_the_content() {
    for codec in Codec::ENCODABLE {
        for content in all().into_iter().chain([noise(5, 1)]) {
            for size in [1, 3, 1000, 65_536, 100_000, usize::MAX] {
                if size < 1000 && content.len() > 150_000 {
                    continue;
                }
                let pieces: Vec<&[u8]> = content.chunks(size.min(content.len().max(1))).collect();
                let compressed = encode(codec, &pieces);
                assert!(
                    decompress(&compressed, &reading(codec)).as_ref() == Ok(&content),
                    "{codec} in pieces of {size}: {} bytes",
                    content.len()
                );
            }
        }
    }
}

#[test]
fn empty_pieces_change_nothing() {
    let content = text(200_000);
    for codec in Codec::ENCODABLE {
        let (first, last) = content.split_at(100_000);
        let compressed = encode(codec, &[b"", first, b"", b"", last, b""]);
        assert!(compressed == encode(codec, &[first, last]), "{codec}");
        let mut decoder = Decoder::new(&reading(codec)).expect("the options are good");
        let mut out = Vec::new();
        for byte in &compressed {
            for piece in [&[], std::slice::from_ref(byte), &[], &[]] {
                decoder.update(piece, &mut out).expect("the input is complete");
            }
        }
        for _ in 0..100 {
            decoder.update(b"", &mut out).expect("the input is complete");
        }
        decoder.finish(&mut out).expect("the input is complete");
        assert!(out == content, "{codec}");
    }
}

#[test]
fn output_is_appended() {
    for codec in Codec::ENCODABLE {
        let mut compressed = b"before".to_vec();
        let mut encoder = Encoder::new(&CompressOptions::new(codec)).expect("the options are good");
        encoder.update(b"content", &mut compressed).expect("memory");
        encoder.finish(&mut compressed).expect("memory");
        let stream = compressed.strip_prefix(b"before").expect("earlier output is kept");
        let mut out = b"before".to_vec();
        let mut decoder = Decoder::new(&reading(codec)).expect("the options are good");
        decoder.update(stream, &mut out).expect("the input is complete");
        decoder.finish(&mut out).expect("the input is complete");
        assert_eq!(out, b"beforecontent", "{codec}");
    }
}

/// Neither encoder nor decoder reads its earlier output, so the caller may take it away after each call.
/// A decoder that has seen all that was flushed has returned all the content so far.
#[test]
fn a_flush_makes_the_content_so_far_decodable() {
    for codec in Codec::ENCODABLE {
        for level in [*codec.levels().start(), codec.default_level(), *codec.levels().end()] {
            let mut encoder = Encoder::new(&CompressOptions::new(codec).level(level)).unwrap();
            let mut decoder = Decoder::new(&reading(codec)).unwrap();
            let (mut content, mut decoded, mut sent) = (Vec::new(), Vec::new(), Vec::new());
            for length in [0, 1, 0, 1000, 0, 70_000, 300_000, 3] {
                let piece = noise(length, length as u64);
                content.extend_from_slice(&piece);
                let start = sent.len();
                encoder.update(&piece, &mut sent).unwrap();
                encoder.flush(&mut sent).unwrap();
                decoder.update(&sent[start..], &mut decoded).unwrap();
                assert!(decoded == content, "{codec} {level}: {} of {}", decoded.len(), content.len());
            }
            let start = sent.len();
            encoder.finish(&mut sent).unwrap();
            decoder.update(&sent[start..], &mut decoded).unwrap();
            decoder.finish(&mut decoded).unwrap();
            assert!(decoded == content, "{codec} {level}");
        }
    }
}

#[test]
fn output_may_be_taken_after_each_piece() {
    let content = [text(300_000), noise(100_000, 2)].concat();
    for codec in Codec::ENCODABLE {
        let mut encoder = Encoder::new(&CompressOptions::new(codec)).expect("the options are good");
        let mut decoder = Decoder::new(&reading(codec)).expect("the options are good");
        let (mut read, mut compressed, mut piece) = (Vec::new(), Vec::new(), Vec::new());
        for input in content.chunks(7_001) {
            compressed.clear();
            encoder.update(input, &mut compressed).expect("memory");
            piece.clear();
            decoder.update(&compressed, &mut piece).expect("the input is valid");
            read.extend_from_slice(&piece);
        }
        compressed.clear();
        encoder.finish(&mut compressed).expect("memory");
        decoder.update(&compressed, &mut read).expect("the input is valid");
        decoder.finish(&mut read).expect("the input is complete");
        assert!(read == content, "{codec}");
    }
}

#[test]
fn one_call_yields_no_more_than_its_bound() {
    let content = vec![0; 20_000_000];
    for codec in Codec::ENCODABLE {
        let compressed = compress(&content, &CompressOptions::new(codec)).expect("memory");
        let mut decoder = Decoder::new(&reading(codec)).expect("the options are good");
        let (mut input, mut total, mut piece) = (compressed.as_slice(), 0, Vec::new());
        loop {
            piece.clear();
            let progress = decoder.update_some(input, 100_000, &mut piece).expect("the input is valid");
            assert!(piece.len() <= 100_000 && piece.iter().all(|byte| *byte == 0));
            assert!(piece.capacity() <= 400_000, "{codec}: room for {}", piece.capacity());
            assert!(
                progress.consumed > 0 || !piece.is_empty() || !progress.pending,
                "{codec} comes to an end"
            );
            total += piece.len();
            input = &input[progress.consumed..];
            if !progress.pending {
                break;
            }
        }
        assert!(input.is_empty());
        decoder.finish(&mut piece).expect("the input is complete");
        assert_eq!(total, content.len(), "{codec}");
    }
}

#[test]
fn pending_output_is_written_by_finish() {
    let content = vec![7; 300_000];
    for codec in Codec::ENCODABLE {
        let compressed = compress(&content, &CompressOptions::new(codec)).expect("memory");
        let mut decoder = Decoder::new(&reading(codec)).expect("the options are good");
        let (mut input, mut out) = (compressed.as_slice(), Vec::new());
        // Take 10 bytes of output at a time until the input is consumed; some output may then be pending.
        while !input.is_empty() {
            input = &input[decoder.update_some(input, 10, &mut out).expect("the input is valid").consumed..];
        }
        decoder.finish(&mut out).expect("the input is complete");
        assert!(out == content, "{codec}");
    }
}

#[test]
fn a_stream_without_its_end_is_truncated() {
    for codec in Codec::ENCODABLE {
        let mut encoder = Encoder::new(&CompressOptions::new(codec)).expect("the options are good");
        let mut compressed = Vec::new();
        encoder.update(&text(1_000_000), &mut compressed).expect("memory");
        let mut decoder = Decoder::new(&DecompressOptions::new().codec(codec)).expect("the options are good");
        let mut out = Vec::new();
        decoder.update(&compressed, &mut out).expect("the input is valid so far");
        assert_eq!(
            decoder.finish(&mut out).unwrap_err(),
            CompressionError::DecompressionFailed { codec, why: CodecFailure::Truncated }
        );
    }
}
