//! The first object of a store: what version it has, and how its objects are chunked, hashed and compressed.

use super::error::StoreError;
use super::objects::Objects;
use super::text::{self, Lines};
use crate::cdc::Options;
use crate::codec::{Codec, CompressOptions};
use crate::error::{Error, IoError, OptionsError};
use crate::hash::Algorithm;

/// The name of the object.
const OBJECT: &str = "format";
const VERSION: u32 = 1;

/// What is the same for all objects of a store, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// A random number that tells stores apart.
    pub uuid: u128,
    /// Names chunks and manifests.
    pub hash: Algorithm,
    /// How objects are chunked.
    pub chunking: Options,
    /// Compresses new chunks; `None` for none. Records say how each was compressed, so this may differ.
    pub codec: Option<Codec>,
    /// The level of the codec; `None` for its default.
    pub level: Option<i32>,
    /// Whether what is committed survives a power cut. Without it, a store after a power cut may have damaged
    /// objects, which is of use for caches and tests. The same for all who write to a store, since each
    /// relies on chunks that others have put.
    pub durable: bool,
    /// Whether chunks may be kept as deltas of others.
    pub deltas: bool,
}

/// The feature of a store with deltas, which a reader must know.
const DELTAS: &str = "deltas";

impl Format {
    /// Returns how a new chunk is compressed.
    pub(super) fn compression(&self) -> Option<CompressOptions> {
        self.codec.map(|codec| CompressOptions::new(codec).level(self.level))
    }

    fn to_bytes(self) -> Vec<u8> {
        let Options { min_size, avg_size, max_size, normalization, seed } = self.chunking;
        let mut lines = vec![
            ("chunker-store", VERSION.to_string()),
            ("uuid", format!("{:032x}", self.uuid)),
            ("hash", self.hash.name().to_owned()),
            ("min_size", min_size.to_string()),
            ("avg_size", avg_size.to_string()),
            ("max_size", max_size.to_string()),
            ("normalization", normalization.to_string()),
            ("seed", seed.to_string()),
            ("codec", self.codec.map_or("none", Codec::name).to_owned()),
            ("level", self.level.map_or("default".into(), |level| level.to_string())),
            ("durability", if self.durable { "full" } else { "relaxed" }.to_owned()),
        ];
        if self.deltas {
            lines.push(("feature", DELTAS.to_owned()));
        }
        text::write(lines)
    }

    fn read(bytes: &[u8]) -> Result<Self, Error> {
        let lines = Lines::read(OBJECT, bytes)?;
        let version: u32 = lines.one("chunker-store", |version| version.parse().ok())?;
        if version != VERSION {
            return Err(StoreError::UnsupportedFormat { feature: format!("version {version}") }.into());
        }
        if let Some(feature) = lines.all("feature").find(|&feature| feature != DELTAS) {
            return Err(StoreError::UnsupportedFormat { feature: feature.into() }.into());
        }
        let number = |key| lines.one(key, |number| number.parse::<u64>().ok());
        let chunking = Options {
            min_size: number("min_size")?,
            avg_size: number("avg_size")?,
            max_size: number("max_size")?,
            normalization: number("normalization")?,
            seed: number("seed")?,
        };
        let hash = lines.one("hash", |name| Some(name.to_owned()))?;
        let unknown = || StoreError::UnsupportedFormat { feature: format!("hash {hash}") };
        let codec = lines.one("codec", |name| match name {
            "none" => Some(None),
            name => Codec::ALL.into_iter().find(|codec| codec.name() == name).map(Some),
        })?;
        let level = lines.one("level", |level| match level {
            "default" => Some(None),
            level => level.parse().ok().map(Some),
        })?;
        let durable = lines.one("durability", |durability| match durability {
            "full" => Some(true),
            "relaxed" => Some(false),
            _ => None,
        })?;
        Ok(Self {
            uuid: lines.one("uuid", |uuid| u128::from_str_radix(uuid, 16).ok())?,
            hash: Algorithm::from_name(&hash)?.ok_or_else(unknown)?,
            chunking,
            codec,
            level,
            durable,
            deltas: lines.all("feature").any(|feature| feature == DELTAS),
        })
    }

    /// Returns the format of a store, or `None` if there is none.
    pub(super) fn open(objects: &dyn Objects) -> Result<Option<Self>, Error> {
        objects.get(OBJECT)?.map(|bytes| Self::read(&bytes)).transpose()
    }

    /// Creates a store, unless another process has created one, and returns its format.
    pub(super) fn create(self, objects: &dyn Objects) -> Result<Self, Error> {
        if objects.compare_and_set(OBJECT, None, Some(&self.to_bytes()))? {
            return Ok(self);
        }
        let created = Self::open(objects)?;
        Ok(created.ok_or_else(|| StoreError::corrupt(OBJECT, None, "vanished"))?)
    }
}

/// What a caller asks of a store. A new one gets it, and an existing one must have it; `None` is anything,
/// and a default for a new one.
#[derive(Debug, Clone, Copy, Default)]
pub struct FormatOptions {
    /// See [`Format::hash`]; BLAKE3 by default.
    pub hash: Option<Algorithm>,
    /// See [`Format::chunking`].
    pub chunking: Option<Options>,
    /// See [`Format::codec`]; zstd by default, if it is built in. Applies to new chunks only, and is kept by
    /// a new store.
    pub codec: Option<Option<Codec>>,
    /// See [`Format::level`].
    pub level: Option<i32>,
    /// See [`Format::durable`]; true by default.
    pub durable: Option<bool>,
    /// See [`Format::deltas`]; false by default. Needs zstd.
    pub deltas: Option<bool>,
}

impl FormatOptions {
    /// Returns the format of a new store.
    pub(super) fn format(&self) -> Result<Format, Error> {
        let hash = match self.hash {
            Some(hash) => hash,
            None => *Algorithm::ALL
                .first()
                .ok_or(StoreError::UnsupportedFormat { feature: "a hash function".into() })?,
        };
        let codec = self.codec.unwrap_or(Codec::Zstd.is_enabled().then_some(Codec::Zstd));
        let mut uuid = [0; 16];
        getrandom::fill(&mut uuid)
            .map_err(|error| IoError { path: None, source: std::io::Error::other(error) })?;
        Ok(Format {
            uuid: u128::from_be_bytes(uuid),
            hash,
            chunking: self.chunking.unwrap_or_default(),
            codec,
            level: self.level,
            durable: self.durable.unwrap_or(true),
            deltas: self.deltas.unwrap_or(false),
        })
    }

    /// Checks that an existing store has what is asked for, and returns its format, with another codec if one
    /// is asked for.
    pub(super) fn check(&self, mut format: Format) -> Result<Format, Error> {
        let refused =
            |option, value: String, allowed: String| OptionsError { option, value: value.into(), allowed };
        if let Some(hash) = self.hash.filter(|&hash| hash != format.hash) {
            let allowed = format!("{}, which the store has", format.hash.name());
            return Err(refused("hash", hash.name().into(), allowed).into());
        }
        if let Some(chunking) = self.chunking.filter(|&chunking| chunking != format.chunking) {
            let numbers = |options: Options| {
                let Options { min_size, avg_size, max_size, normalization, seed } = options;
                [
                    ("min_size", min_size),
                    ("avg_size", avg_size),
                    ("max_size", max_size),
                    ("normalization", normalization),
                    ("seed", seed),
                ]
            };
            for ((option, value), (_, kept)) in numbers(chunking).into_iter().zip(numbers(format.chunking)) {
                if value != kept {
                    let allowed = format!("{kept}, which the store has");
                    return Err(OptionsError { option, value: value.into(), allowed }.into());
                }
            }
        }
        if let Some(durable) = self.durable.filter(|&durable| durable != format.durable) {
            let name = |durable| if durable { "full" } else { "relaxed" };
            let allowed = format!("{}, which the store has", name(format.durable));
            return Err(refused("durability", name(durable).into(), allowed).into());
        }
        if let Some(deltas) = self.deltas.filter(|&deltas| deltas != format.deltas) {
            let allowed = format!("{}, which the store has", format.deltas);
            return Err(refused("delta", deltas.to_string(), allowed).into());
        }
        if let Some(codec) = self.codec {
            format.codec = codec;
            format.level = None;
        }
        if self.level.is_some() {
            format.level = self.level;
        }
        Ok(format)
    }
}
