//! Lists the entries of a NAR as JSON, as Nix does.

use std::io::Write;

use super::consumer::NarConsumer;
use super::parser::{Event, Kind, Parser};
use crate::error::Error;

/// Lists the entries of a NAR as the JSON that `nix nar ls --json --recursive` prints for the root, which is
/// also the format of the `.ls` files of binary caches.
///
/// The output equals that of Nix 2.8 byte for byte, without a line break at the end. Names and targets that
/// are not UTF-8 are therefore copied unchanged, although JSON does not allow that and cannot represent them.
#[derive(Debug, Default)]
pub struct Listing {
    parser: Parser,
    json: Vec<u8>,
    /// Whether the last node is a file. Its object is closed at once, so its end adds nothing.
    within_file: bool,
}

impl Listing {
    /// Starts a listing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl NarConsumer for Listing {
    type Output = Vec<u8>;

    fn feed(&mut self, piece: &[u8]) -> Result<(), Error> {
        let Self { parser, json, within_file } = self;
        parser.feed(piece, |event| {
            let node = match event {
                Event::Node(node) => node,
                Event::Contents(_) => return Ok(()),
                Event::End => {
                    if !std::mem::take(within_file) {
                        json.extend_from_slice(b"}}");
                    }
                    return Ok(());
                }
            };
            if node.depth > 0 {
                if json.last() != Some(&b'{') {
                    json.push(b',');
                }
                push_string(json, node.name());
                json.push(b':');
            }
            match node.kind {
                Kind::Directory => json.extend_from_slice(br#"{"type":"directory","entries":{"#),
                Kind::Regular { executable, offset, size } => {
                    *within_file = true;
                    let executable = if executable { r#""executable":true,"# } else { "" };
                    write!(json, r#"{{"type":"regular","size":{size},{executable}"narOffset":{offset}}}"#)
                        .expect("writing to memory");
                }
                Kind::Symlink { target } => {
                    json.extend_from_slice(br#"{"type":"symlink","target":"#);
                    push_string(json, target);
                    json.push(b'}');
                }
            }
            Ok(())
        })
    }

    fn skippable(&self) -> u64 {
        self.parser.skippable()
    }

    fn skip(&mut self, count: u64) {
        self.parser.skip(count);
    }

    fn finish(self) -> Result<Vec<u8>, Error> {
        self.parser.finish()?;
        Ok(self.json)
    }
}

/// Appends a string as Nix 2.8 does (`toJSON` in `src/libutil/json.cc`).
fn push_string(json: &mut Vec<u8>, string: &[u8]) {
    json.push(b'"');
    for &byte in string {
        match byte {
            b'"' | b'\\' => json.extend([b'\\', byte]),
            b'\n' => json.extend_from_slice(b"\\n"),
            b'\r' => json.extend_from_slice(b"\\r"),
            b'\t' => json.extend_from_slice(b"\\t"),
            0..0x20 => write!(json, "\\u{byte:04x}").expect("writing to memory"),
            _ => json.push(byte),
        }
    }
    json.push(b'"');
}
