//! Lists the entries of a NAR as JSON, as Nix does.

use std::io::Write;

use super::consumer::NarConsumer;
use super::limits::{EntryBudget, EntryLimits};
use super::parser::{Event, Kind, Node, Parser};
use crate::error::Error;
use crate::io::output_buffer::OutOfMemory;

/// What Nix writes such a listing for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ListingFormat {
    /// The output of `nix nar ls --json --recursive` for the root.
    #[default]
    Json,
    /// The `.ls` file of a binary cache: the same with its version around it.
    Ls,
}

/// The version of Nix whose notation a listing has. Both have the same meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ListingNotation {
    /// Nix 2.8: `type` comes first, and control characters are written by their numbers.
    #[default]
    Nix2_8,
    /// Newer versions, compared with 2.26 and 2.34: the keys of each object are sorted, and `\b` and `\f` have
    /// names.
    Newest,
}

/// Selects the form of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ListingOptions {
    /// What Nix writes such a listing for.
    pub format: ListingFormat,
    /// The version of Nix.
    pub notation: ListingNotation,
    /// The limits for the entries.
    pub limits: EntryLimits,
}

/// Lists the entries of a NAR as the JSON that Nix writes.
///
/// The output equals that of Nix byte for byte, without a line break at the end. Names and targets that are not
/// UTF-8 are copied unchanged, although JSON does not allow that and cannot represent them. Nix 2.8 does the
/// same; newer versions refuse to list them.
#[derive(Debug, Default)]
pub struct Listing {
    parser: Parser,
    options: ListingOptions,
    budget: EntryBudget,
    json: Vec<u8>,
    /// Whether the last node is a file. Its object is closed at once, so its end adds nothing.
    within_file: bool,
}

impl Listing {
    /// Starts a listing in the default form.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a listing.
    #[must_use]
    pub fn with_options(options: ListingOptions) -> Self {
        Self { options, budget: EntryBudget::new(options.limits), ..Self::default() }
    }
}

impl NarConsumer for Listing {
    type Output = Vec<u8>;

    /// # Errors
    ///
    /// Returns [`Error::Nar`], and [`Error::Limit`] for more entries or a longer listing than the options allow.
    fn feed(&mut self, piece: &[u8]) -> Result<(), Error> {
        let Self { parser, options, budget, json, within_file } = self;
        parser.feed(piece, |event| match event {
            Event::Contents(_) => Ok(()),
            Event::Node(node) => {
                budget.count()?;
                *within_file = matches!(node.kind, Kind::Regular { .. });
                // The longest form of a byte has six characters; all else has less than 200.
                let target = if let Kind::Symlink { target } = node.kind { target.len() } else { 0 };
                let most = 200 + 6 * (node.name().len() + target);
                json.try_reserve(most).map_err(|_| OutOfMemory)?;
                begin(json, &node, options.notation);
                budget.check_memory(json.len() as u64)
            }
            Event::End => {
                if !std::mem::take(within_file) {
                    json.try_reserve(30).map_err(|_| OutOfMemory)?;
                    json.extend_from_slice(match options.notation {
                        ListingNotation::Nix2_8 => b"}}",
                        ListingNotation::Newest => br#"},"type":"directory"}"#,
                    });
                }
                budget.check_memory(json.len() as u64)
            }
        })
    }

    fn skippable(&self) -> u64 {
        self.parser.skippable()
    }

    fn skip(&mut self, count: u64) {
        self.parser.skip(count);
    }

    fn finish(mut self) -> Result<Vec<u8>, Error> {
        self.parser.finish()?;
        if self.options.format == ListingFormat::Ls {
            let (before, after): (&[u8], &[u8]) = match self.options.notation {
                ListingNotation::Nix2_8 => (br#"{"version":1,"root":"#, b"}"),
                ListingNotation::Newest => (br#"{"root":"#, br#","version":1}"#),
            };
            let length = self.json.len() + before.len() + after.len();
            self.budget.check_memory(length as u64)?;
            self.json.try_reserve(before.len() + after.len()).map_err(|_| OutOfMemory)?;
            self.json.splice(0..0, before.iter().copied());
            self.json.extend_from_slice(after);
        }
        Ok(self.json)
    }
}

/// Appends the object of a node, which for a directory is its beginning.
fn begin(json: &mut Vec<u8>, node: &Node<'_>, notation: ListingNotation) {
    let is_newest = notation == ListingNotation::Newest;
    if node.depth > 0 {
        if json.last() != Some(&b'{') {
            json.push(b',');
        }
        push_string(json, node.name(), notation);
        json.push(b':');
    }
    match node.kind {
        Kind::Directory if is_newest => json.extend_from_slice(br#"{"entries":{"#),
        Kind::Directory => json.extend_from_slice(br#"{"type":"directory","entries":{"#),
        Kind::Regular { executable, offset, size } => {
            let executable = if executable { r#""executable":true,"# } else { "" };
            if is_newest {
                write!(json, r#"{{{executable}"narOffset":{offset},"size":{size},"type":"regular"}}"#)
            } else {
                write!(json, r#"{{"type":"regular","size":{size},{executable}"narOffset":{offset}}}"#)
            }
            .expect("writing to memory");
        }
        Kind::Symlink { target } => {
            let (before, after): (&[u8], &[u8]) = if is_newest {
                (br#"{"target":"#, br#","type":"symlink"}"#)
            } else {
                (br#"{"type":"symlink","target":"#, b"}")
            };
            json.extend_from_slice(before);
            push_string(json, target, notation);
            json.extend_from_slice(after);
        }
    }
}

/// Appends a string as Nix does (`toJSON` in `src/libutil/json.cc` of Nix 2.8).
fn push_string(json: &mut Vec<u8>, string: &[u8], notation: ListingNotation) {
    json.push(b'"');
    for &byte in string {
        match byte {
            b'"' | b'\\' => json.extend([b'\\', byte]),
            b'\n' => json.extend_from_slice(b"\\n"),
            b'\r' => json.extend_from_slice(b"\\r"),
            b'\t' => json.extend_from_slice(b"\\t"),
            0x08 if notation == ListingNotation::Newest => json.extend_from_slice(b"\\b"),
            0x0c if notation == ListingNotation::Newest => json.extend_from_slice(b"\\f"),
            0..0x20 => write!(json, "\\u{byte:04x}").expect("writing to memory"),
            _ => json.push(byte),
        }
    }
    json.push(b'"');
}
