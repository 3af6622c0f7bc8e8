//! Narinfo files: what a binary cache of Nix says about a store path, and its signatures.
//!
//! A narinfo is lines of `Name: value`. [`NarInfo::parse`] reads one and [`NarInfo::to_text`] writes it as Nix does, byte for
//! byte if Nix wrote it. [`NarInfo::fingerprint`] is the text that is signed, and [`signing`] signs and verifies it.
//!
//! The rules are those of Nix's `src/libstore/nar-info.cc` and `path.cc`. Where Nix is tolerant, so is this: a missing
//! `Compression` means bzip2, references may be missing, unsorted or repeated, hashes may be in base 16, 32 or 64 or in SRI
//! form, the last of several `URL` lines counts, and what nobody knows is kept. Where Nix is strict, or refuses to write what
//! it read, so is this. It is stricter in two places, where Nix misreads: a line without a colon, which Nix takes for the
//! beginning of the next one's name, and a colon without a space, which makes Nix swallow a character or a line.

mod base64;
mod error;
mod fields;
mod hash;
pub mod signing;
mod store_path;
mod text;

pub use error::{Fault, KeyError, KeyFault, LineFault, NarInfoError, SignatureError, SignatureFault};
pub use fields::{Fields, MAX_SIZE, name};

use crate::Cancel;
use crate::error::Error;

/// A narinfo whose fields are what they must be, in the notation that Nix writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NarInfo {
    fields: Fields,
    /// The folder of the store, without a slash at its end.
    store_dir: Vec<u8>,
}

impl NarInfo {
    /// Reads the text of a narinfo file.
    ///
    /// # Errors
    ///
    /// [`NarInfoError`], with the line or the field and the rule it breaks; [`Error::BufferLimit`] for a text of more than
    /// [`MAX_SIZE`] bytes; [`Error::Cancelled`] when `is_cancelled` says so.
    pub fn parse(text: &[u8], is_cancelled: Cancel<'_>) -> Result<Self, Error> {
        Self::new(text::parse(text, is_cancelled)?, is_cancelled)
    }

    /// Checks the fields, and puts them into the notation and order that Nix writes.
    ///
    /// # Errors
    ///
    /// Those of [`parse`](Self::parse).
    pub fn new(mut fields: Fields, is_cancelled: Cancel<'_>) -> Result<Self, Error> {
        let store_dir = fields.check(is_cancelled)?;
        Ok(Self { fields, store_dir })
    }

    /// What it says.
    #[must_use]
    pub const fn fields(&self) -> &Fields {
        &self.fields
    }

    /// What it says, to be taken apart.
    #[must_use]
    pub fn into_fields(self) -> Fields {
        self.fields
    }

    /// The text of the narinfo file, as Nix writes it, with the fields that Nix does not know at the end.
    #[must_use]
    pub fn to_text(&self) -> Vec<u8> {
        text::write(&self.fields)
    }

    /// What a signature is made of: the full store path, the hash and size of the NAR, and the full paths of the references,
    /// sorted. All else in a narinfo can be changed by whoever serves it.
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
