//! Computes the digest of a NAR, which identifies the tree in it.

use super::consumer::NarConsumer;
use super::parser::Parser;
use crate::error::Error;
use crate::hash::{Algorithm, Digest, Hasher};

/// Computes the digest of a NAR and validates it in the same pass. With SHA-256, the result is the NAR hash
/// of Nix.
#[derive(Debug)]
pub struct Hash {
    parser: Parser,
    hasher: Hasher,
}

impl Hash {
    /// Starts a digest.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        Self { parser: Parser::new(), hasher: Hasher::new(algorithm) }
    }
}

impl NarConsumer for Hash {
    type Output = Digest;

    fn feed(&mut self, piece: &[u8]) -> Result<(), Error> {
        // Parsing comes first, so that an invalid NAR is rejected before it is hashed.
        self.parser.feed(piece, |_| Ok::<_, Error>(()))?;
        self.hasher.update(piece);
        Ok(())
    }

    fn finish(self) -> Result<Digest, Error> {
        self.parser.finish()?;
        Ok(self.hasher.finish())
    }
}
