//! Ed25519 signatures of narinfos, with keys and signatures in Nix's notation: `name:base64`.
//!
//! A secret key has 64 bytes, as in libsodium: the seed and the public key. All secrets are wiped when they
//! are dropped.
//!
//! Verification is as strict as in libsodium, which Nix calls, so that both accept the same signatures: it
//! rejects keys and signatures whose point is of small order and non-canonical encodings, and uses the
//! equation without the cofactor (`verify_strict` of crate `ed25519-dalek`). Weaker checks let a third party
//! alter a signature, or make one that is valid for any text.
//!
//! Without the feature `signing`, every function returns [`Error::Disabled`](crate::Error::Disabled).

#[cfg(not(feature = "signing"))]
mod disabled;
#[cfg(feature = "signing")]
mod enabled;
#[cfg(feature = "signing")]
mod keys;

#[cfg(not(feature = "signing"))]
pub use disabled::{generate_key, public_key, sign, verify};
#[cfg(feature = "signing")]
pub use enabled::{generate_key, public_key, sign, verify};
#[cfg(feature = "signing")]
pub use keys::{PublicKey, SecretKey};
