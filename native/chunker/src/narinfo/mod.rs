//! Narinfo files: the metadata of a store path in a Nix binary cache, and its signatures.
//!
//! A narinfo consists of lines `Name: value`. [`NarInfo::parse`] reads one, and [`NarInfo::to_text`] writes
//! it as Nix does; a file written by Nix is reproduced byte for byte. [`NarInfo::fingerprint`] is the text
//! that is signed, and [`signing`] signs and verifies it.
//!
//! The rules are those of Nix's `src/libstore/nar-info.cc` and `path.cc`. The parser is as tolerant as Nix: a
//! missing `Compression` means bzip2; references may be missing, unsorted or repeated; hashes may be in base
//! 16, 32 or 64 or in SRI form; the last of several `URL` lines counts; and unknown fields are kept. It is as
//! strict as Nix where Nix rejects a field, either when it reads it or when it writes it. It is stricter in
//! two cases that Nix misreads: a line without a colon, which Nix joins to the name of the next line, and a
//! colon without a space, after which Nix drops a character or a line.

mod base64;
mod error;
mod fields;
mod hash;
pub mod signing;
mod store_path;
mod text;

pub use error::{Fault, KeyError, KeyFault, LineFault, NarInfoError, SignatureError, SignatureFault};
pub use fields::{Fields, MAX_SIZE, check_size, name};

use crate::Cancel;
use crate::error::Error;

/// A valid narinfo, in the notation that Nix writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NarInfo {
    fields: Fields,
    /// The store folder, without a trailing slash.
    store_dir: Vec<u8>,
}

impl NarInfo {
    /// Parses the text of a narinfo file.
    ///
    /// # Errors
    ///
    /// Returns [`NarInfoError`] with the line or the field and the rule that it breaks,
    /// [`Error::BufferLimit`] for a text of more than [`MAX_SIZE`] bytes, and [`Error::Cancelled`] if
    /// `is_cancelled` returns `true`.
    pub fn parse(text: &[u8], is_cancelled: Cancel<'_>) -> Result<Self, Error> {
        Self::new(text::parse(text, is_cancelled)?, is_cancelled)
    }

    /// Validates the fields and normalizes them to the notation and order that Nix writes.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`parse`](Self::parse).
    pub fn new(mut fields: Fields, is_cancelled: Cancel<'_>) -> Result<Self, Error> {
        let store_dir = fields.check(is_cancelled)?;
        Ok(Self { fields, store_dir })
    }

    /// Returns the fields.
    #[must_use]
    pub const fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Returns the fields by value.
    #[must_use]
    pub fn into_fields(self) -> Fields {
        self.fields
    }

    /// Returns the text of the narinfo file as Nix writes it, with unknown fields at the end.
    #[must_use]
    pub fn to_text(&self) -> Vec<u8> {
        text::write(&self.fields)
    }

    /// Returns the text that signatures cover: the full store path, the hash and size of the NAR, and the
    /// full paths of the references, sorted. The server of a narinfo can change everything else in it
    /// unnoticed.
    #[must_use]
    pub fn fingerprint(&self) -> Vec<u8> {
        let fields = &self.fields;
        let mut text = b"1;".to_vec();
        text.extend_from_slice(&fields.store_path);
        text.push(b';');
        text.extend_from_slice(&fields.nar_hash);
        text.extend_from_slice(format!(";{};", fields.nar_size.unwrap_or(0)).as_bytes());
        for (position, reference) in fields.references.iter().enumerate() {
            if position > 0 {
                text.push(b',');
            }
            text.extend_from_slice(&self.store_dir);
            text.push(b'/');
            text.extend_from_slice(reference);
        }
        text
    }
}
