//! Reads and writes the lines of a narinfo file.

use super::error::{Fault, LineFault, NarInfoError};
use super::fields::{Fields, MAX_SIZE, name};
use crate::Cancel;
use crate::error::Error;

/// The number of lines parsed between two polls for cancellation.
const LINES_PER_POLL: u64 = 1 << 12;

/// Parses the fields without validating them. As in Nix, a repeated field replaces the earlier one, except
/// that `Sig` and unknown fields accumulate, and that `References` and `CA` must not be repeated.
pub(super) fn parse(text: &[u8], is_cancelled: Cancel<'_>) -> Result<Fields, Error> {
    let size = text.len() as u64;
    if size > MAX_SIZE {
        return Err(Error::BufferLimit { attempted: size, limit: MAX_SIZE });
    }
    let mut fields = Fields::default();
    let mut rest = text;
    let mut number = 0;
    while !rest.is_empty() {
        number += 1;
        if number % LINES_PER_POLL == 0 && is_cancelled() {
            return Err(Error::Cancelled);
        }
        let fault = |why| NarInfoError::Line { line: number, why };
        let (line, after) = split_once(rest, b'\n').ok_or_else(|| fault(LineFault::MissingNewline))?;
        let (field, value) = split_once(line, b':').ok_or_else(|| fault(LineFault::MissingColon))?;
        let value = value.strip_prefix(b" ").ok_or_else(|| fault(LineFault::MissingSpace))?;
        fields.set(field, value)?;
        rest = after;
    }
    Ok(fields)
}

fn split_once(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|&byte| byte == separator)?;
    Some((&text[..at], &text[at + 1..]))
}

impl Fields {
    fn set(&mut self, field: &[u8], value: &[u8]) -> Result<(), NarInfoError> {
        match str::from_utf8(field).unwrap_or_default() {
            name::STORE_PATH => self.store_path = value.to_vec(),
            name::URL => self.url = value.to_vec(),
            name::COMPRESSION => self.compression = value.to_vec(),
            name::FILE_HASH => self.file_hash = Some(value.to_vec()),
            name::FILE_SIZE => self.file_size = Some(number(name::FILE_SIZE, value)?),
            name::NAR_HASH => self.nar_hash = value.to_vec(),
            name::NAR_SIZE => self.nar_size = Some(number(name::NAR_SIZE, value)?),
            name::REFERENCES if !self.references.is_empty() => {
                return Err(Fault::Repeated.of(name::REFERENCES));
            }
            name::REFERENCES => {
                let references = value.split(|&byte| byte == b' ').filter(|reference| !reference.is_empty());
                self.references = references.map(Vec::from).collect();
            }
            // As in Nix, this value does not clear an earlier `Deriver`.
            name::DERIVER if value == b"unknown-deriver" => {}
            name::DERIVER => self.deriver = Some(value.to_vec()),
            name::SYSTEM => self.system = Some(value.to_vec()),
            name::SIG => self.sigs.push(value.to_vec()),
            name::CA if self.ca.as_ref().is_some_and(|address| !address.is_empty()) => {
                return Err(Fault::Repeated.of(name::CA));
            }
            name::CA => self.ca = Some(value.to_vec()),
            _ => self.extra.push((field.to_vec(), value.to_vec())),
        }
        Ok(())
    }
}

/// Parses a number as Nix does: leading zeros and a plus sign are allowed.
fn number(field: &str, value: &[u8]) -> Result<u64, NarInfoError> {
    str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or_else(|| Fault::NotANumber.of(field))
}

pub(super) fn write(fields: &Fields) -> Vec<u8> {
    let mut lines = Lines::default();
    lines.add(name::STORE_PATH, &fields.store_path);
    lines.add(name::URL, &fields.url);
    lines.add(name::COMPRESSION, &fields.compression);
    lines.add_any(name::FILE_HASH, &fields.file_hash);
    lines.add_number(name::FILE_SIZE, fields.file_size);
    lines.add(name::NAR_HASH, &fields.nar_hash);
    lines.add_number(name::NAR_SIZE, fields.nar_size);
    lines.add(name::REFERENCES, &fields.references.join(&b' '));
    lines.add_any(name::DERIVER, &fields.deriver);
    lines.add_any(name::SYSTEM, &fields.system);
    lines.add_any(name::SIG, &fields.sigs);
    lines.add_any(name::CA, &fields.ca);
    for (field, value) in &fields.extra {
        lines.add(field, value);
    }
    lines.0
}

#[derive(Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn add(&mut self, field: impl AsRef<[u8]>, value: &[u8]) {
        for part in [field.as_ref(), b": ", value, b"\n"] {
            self.0.extend_from_slice(part);
        }
    }

    /// Writes a line for each value.
    fn add_any<'v>(&mut self, field: &str, values: impl IntoIterator<Item = &'v Vec<u8>>) {
        values.into_iter().for_each(|value| self.add(field, value));
    }

    fn add_number(&mut self, field: &str, number: Option<u64>) {
        number.into_iter().for_each(|number| self.add(field, number.to_string().as_bytes()));
    }
}
