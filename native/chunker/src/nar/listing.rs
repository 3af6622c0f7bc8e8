//! What is in a NAR, as Nix prints it.

use std::io::Write;

use super::consumer::NarConsumer;
use super::parser::{Event, Kind, Parser};
use crate::error::Error;

/// The JSON that `nix nar ls --json --recursive` prints for the root, which is also that of the `.ls` files of binary caches.
///
/// Byte for byte that of Nix 2.8, without a line break at the end. So names and targets that are not UTF-8 stand as they
/// are, which is no JSON by its definition; JSON has no way to write them.
#[derive(Debug, Default)]
pub struct Listing {
    parser: Parser,
    json: Vec<u8>,
    /// Whether the node that began last is a file, which ends on its own.
    within_file: bool,
}

impl Listing {
    /// A listing of what is to come.
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

/// A string as Nix 2.8 writes it (`toJSON` in `src/libutil/json.cc`).
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
