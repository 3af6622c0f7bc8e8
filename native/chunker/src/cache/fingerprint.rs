//! Fingerprints under a secret: 128 bits that differ where contents of the same length differ, but for a probability that
//! is proven. There are two functions for them; the CPU decides which.

use crate::error::{Error, IoError};

use super::{poly1305, umash};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint(pub(super) [u64; 2]);

/// What nobody outside knows, so that nobody can look for contents that collide.
pub(super) enum Secret {
    Umash(umash::Params),
    Poly1305(poly1305::Params),
    /// Gives all contents the same fingerprint, to see what happens then.
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

/// The name of the function that makes fingerprints on this CPU: `umash` or `poly1305`.
#[must_use]
pub fn implementation() -> &'static str {
    if umash::is_supported() { "umash" } else { "poly1305" }
}

/// A fingerprint in the making, for contents that come in pieces. It does not depend on where they were cut.
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
