//! Keyed fingerprints of 128 bits: two different contents of one length have the same fingerprint with a
//! proven, negligible probability. The CPU determines which of two functions is used.

use crate::error::{Error, IoError};

use super::{poly1305, umash};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint(pub(super) [u64; 2]);

/// The key of a fingerprint function. It must stay secret: with it, collisions could be constructed.
pub(super) enum Secret {
    Umash(umash::Params),
    Poly1305(poly1305::Params),
    /// Maps all contents to one fingerprint, to test collisions.
    #[cfg(test)]
    Blind,
}

impl Secret {
    pub(super) fn random() -> Result<Self, Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|error| IoError { path: None, source: error.into() })?;
        Ok(match umash::Params::new(&key) {
            Some(params) => Self::Umash(params),
            None => Self::Poly1305(poly1305::Params::new(&key)),
        })
    }

    pub(super) fn start(&self) -> Fingerprinting<'_> {
        match self {
            Self::Umash(params) => Fingerprinting::Umash(params.start()),
            Self::Poly1305(params) => Fingerprinting::Poly1305(params.start()),
            #[cfg(test)]
            Self::Blind => Fingerprinting::Blind,
        }
    }
}

/// Returns the name of the fingerprint function for this CPU: `umash` or `poly1305`.
#[must_use]
pub fn implementation() -> &'static str {
    if umash::is_supported() { "umash" } else { "poly1305" }
}

/// Computes a fingerprint of a content that comes in pieces. The result does not depend on how it is split.
pub(super) enum Fingerprinting<'a> {
    Umash(umash::Fingerprinting<'a>),
    Poly1305(poly1305::Fingerprinting),
    #[cfg(test)]
    Blind,
}

impl Fingerprinting<'_> {
    pub(super) fn update(&mut self, data: &[u8]) {
        match self {
            Self::Umash(state) => state.update(data),
            Self::Poly1305(state) => state.update(data),
            #[cfg(test)]
            Self::Blind => {}
        }
    }

    pub(super) fn finish(self) -> Fingerprint {
        match self {
            Self::Umash(state) => state.finish(),
            Self::Poly1305(state) => state.finish(),
            #[cfg(test)]
            Self::Blind => Fingerprint([0; 2]),
        }
    }
}
