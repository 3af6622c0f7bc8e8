//! Ed25519 signatures of narinfos, with keys and signatures in Nix's notation: `name:base64`.
//!
//! A secret key is 64 bytes, as libsodium has them: the seed, and the public key. Whatever holds secrets here is wiped when it
//! is dropped.
//!
//! Verifying is as strict as libsodium, which Nix calls, so that the two never differ: no key and no signature whose point is of
//! small order, no key and no signature in another than its one form, and the equation without the cofactor (`verify_strict`
//! of crate `ed25519-dalek`). What is laxer lets somebody else than the signer change a signature, or make one that is
//! good for any text.
//!
//! Without the feature `signing` each function gives the error `Disabled`.

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
