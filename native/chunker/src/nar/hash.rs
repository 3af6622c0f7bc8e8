//! The digest of a NAR, which names the tree in it.

use super::consumer::NarConsumer;
use super::parser::Parser;
use crate::error::Error;
use crate::hash::{Algorithm, Digest, Hasher};

/// The digest of a NAR that is checked in the same pass. With SHA-256 it is what Nix calls the NAR hash.
#[derive(Debug)]
pub struct Hash {
    parser: Parser,
    hasher: Hasher,
}

impl Hash {
    /// A digest of what is to come.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        Self { parser: Parser::new(), hasher: Hasher::new(algorithm) }
    }
}

impl NarConsumer for Hash {
    type Output = Digest;

    fn feed(&mut self, piece: &[u8]) -> Result<(), Error> {
        // What is no NAR is refused before it is hashed.
        self.parser.feed(piece, |_| Ok::<_, Error>(()))?;
        self.hasher.update(piece);
        Ok(())
    }

    fn finish(self) -> Result<Digest, Error> {
        self.parser.finish()?;
        Ok(self.hasher.finish())
    }
}
