//! The fields of a narinfo, and the rules for each.

use super::error::{Fault, NarInfoError};
use super::{hash, store_path};
use crate::Cancel;
use crate::error::Error;

/// The maximum size of a narinfo, in bytes: space for 100,000 references. Nix has no limit.
pub const MAX_SIZE: u64 = 8 << 20;

/// The number of references checked between two polls for cancellation.
const REFERENCES_PER_POLL: usize = 1 << 12;

/// The names of the fields in a file, in the order in which Nix writes them.
pub mod name {
    #![allow(missing_docs, reason = "they say it themselves")]

    pub const STORE_PATH: &str = "StorePath";
    pub const URL: &str = "URL";
    pub const COMPRESSION: &str = "Compression";
    pub const FILE_HASH: &str = "FileHash";
    pub const FILE_SIZE: &str = "FileSize";
    pub const NAR_HASH: &str = "NarHash";
    pub const NAR_SIZE: &str = "NarSize";
    pub const REFERENCES: &str = "References";
    pub const DERIVER: &str = "Deriver";
    pub const SYSTEM: &str = "System";
    pub const SIG: &str = "Sig";
    pub const CA: &str = "CA";

    pub const ALL: [&str; 12] = [
        STORE_PATH,
        URL,
        COMPRESSION,
        FILE_HASH,
        FILE_SIZE,
        NAR_HASH,
        NAR_SIZE,
        REFERENCES,
        DERIVER,
        SYSTEM,
        SIG,
        CA,
    ];
}

/// The content of a narinfo. All texts are bytes, because files from elsewhere need not be UTF-8.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields {
    /// The full store path, such as `/nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-net-tools-1.60`.
    pub store_path: Vec<u8>,
    /// The URL of the NAR, absolute or relative to the cache.
    pub url: Vec<u8>,
    /// The compression of the NAR: `none`, `xz`, `zstd` and so on. An empty value means `bzip2`, as in the
    /// first caches.
    pub compression: Vec<u8>,
    /// The hash of the compressed NAR.
    pub file_hash: Option<Vec<u8>>,
    /// The size of the compressed NAR, in bytes.
    pub file_size: Option<u64>,
    /// The SHA-256 hash of the NAR.
    pub nar_hash: Vec<u8>,
    /// The size of the NAR, in bytes.
    pub nar_size: Option<u64>,
    /// The base names of the store paths that this one refers to.
    pub references: Vec<Vec<u8>>,
    /// The base name of the derivation that built the path.
    pub deriver: Option<Vec<u8>>,
    /// The system for which the path was built, such as `x86_64-linux`. Written by Nix before 2.19.
    pub system: Option<Vec<u8>>,
    /// The content address, if the path has one, such as `fixed:r:sha256:` and the hash.
    pub ca: Option<Vec<u8>>,
    /// The signatures, each `name:base64`.
    pub sigs: Vec<Vec<u8>>,
    /// The names and values of all other fields.
    pub extra: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Fields {
    /// Validates each field and normalizes it to the notation and order that Nix writes. Returns the store
    /// folder.
    pub(super) fn check(&mut self, is_cancelled: Cancel<'_>) -> Result<Vec<u8>, Error> {
        check_size(self.size())?;
        let (store_dir, base_name) = store_path::split(required(name::STORE_PATH, &self.store_path)?)
            .map_err(|why| why.of(name::STORE_PATH))?;
        self.store_path = [&store_dir, b"/".as_slice(), &base_name].concat();
        one_line(name::STORE_PATH, &self.store_path)?;
        one_line(name::URL, required(name::URL, &self.url)?)?;
        if self.compression.is_empty() {
            self.compression = b"bzip2".to_vec();
        }
        one_line(name::COMPRESSION, &self.compression)?;
        if let Some(text) = &mut self.file_hash {
            *text = hash::canonical(text).map_err(|why| why.of(name::FILE_HASH))?;
        }
        self.nar_hash = hash::canonical_sha256(required(name::NAR_HASH, &self.nar_hash)?)
            .map_err(|why| why.of(name::NAR_HASH))?;
        if self.nar_size.unwrap_or(0) == 0 {
            return Err(Fault::Missing.of(name::NAR_SIZE).into());
        }
        self.check_references(is_cancelled)?;
        self.deriver.take_if(|deriver| deriver == b"unknown-deriver");
        if let Some(deriver) = &self.deriver {
            store_path::check(deriver).map_err(|why| why.of(name::DERIVER))?;
        }
        self.system.take_if(|system| system.is_empty());
        if let Some(system) = &self.system {
            one_line(name::SYSTEM, system)?;
        }
        self.ca.take_if(|address| address.is_empty());
        if let Some(address) = &mut self.ca {
            *address = hash::canonical_address(address).map_err(|why| why.of(name::CA))?;
        }
        self.check_signatures_and_extra()?;
        Ok(store_dir)
    }

    fn check_references(&mut self, is_cancelled: Cancel<'_>) -> Result<(), Error> {
        for references in self.references.chunks(REFERENCES_PER_POLL) {
            for reference in references {
                store_path::check(reference).map_err(|why| why.of(name::REFERENCES))?;
            }
            if is_cancelled() {
                return Err(Error::Cancelled);
            }
        }
        self.references.sort_unstable();
        self.references.dedup();
        Ok(())
    }

    /// Checks signatures and extra fields. Signatures keep their order: the order of Nix 2.8 differs from
    /// that of newer versions if the name of one key is a prefix of another's.
    fn check_signatures_and_extra(&mut self) -> Result<(), NarInfoError> {
        self.sigs.iter().try_for_each(|signature| one_line(name::SIG, signature))?;
        let mut seen = std::collections::HashSet::new();
        self.sigs.retain(|signature| seen.insert(signature.clone()));
        for (field, value) in &self.extra {
            let shown = String::from_utf8_lossy(field);
            if name::ALL.iter().any(|known| known.as_bytes() == field) {
                return Err(Fault::NameKnown.of(&shown));
            }
            if field.contains(&b':') || field.contains(&b'\n') {
                return Err(Fault::NameCharacter.of(&shown));
            }
            one_line(&shown, value)?;
        }
        Ok(())
    }

    /// Returns the total size of all fields of unbounded length, in bytes.
    fn size(&self) -> u64 {
        let optional = [&self.file_hash, &self.deriver, &self.system, &self.ca];
        let lengths = [&self.store_path, &self.url, &self.compression, &self.nar_hash]
            .into_iter()
            .chain(optional.into_iter().flatten())
            .chain(&self.references)
            .chain(&self.sigs)
            .chain(self.extra.iter().flat_map(|(field, value)| [field, value]))
            .map(|text| text.len() as u64);
        lengths.sum()
    }
}

/// Checks the total size of the fields of a narinfo, in bytes, so that a caller can do it before it copies them.
///
/// # Errors
///
/// Returns [`Error::BufferLimit`] for more than [`MAX_SIZE`] bytes.
pub const fn check_size(size: u64) -> Result<(), Error> {
    if size > MAX_SIZE { Err(Error::BufferLimit { attempted: size, limit: MAX_SIZE }) } else { Ok(()) }
}

fn required<'v>(field: &str, value: &'v [u8]) -> Result<&'v [u8], NarInfoError> {
    if value.is_empty() { Err(Fault::Missing.of(field)) } else { Ok(value) }
}

fn one_line(field: &str, value: &[u8]) -> Result<(), NarInfoError> {
    if value.contains(&b'\n') { Err(Fault::LineBreak.of(field)) } else { Ok(()) }
}
