//! Replaces signing in a build without it.

use crate::Cancel;
use crate::error::Error;
use crate::narinfo::NarInfo;

const DISABLED: Error = Error::Disabled { name: "signing" };

/// Returns [`Error::Disabled`].
///
/// # Errors
///
/// Always.
pub fn generate_key(_name: &[u8]) -> Result<(String, String), Error> {
    Err(DISABLED)
}

/// Returns [`Error::Disabled`].
///
/// # Errors
///
/// Always.
pub fn public_key(_secret_key: &[u8]) -> Result<String, Error> {
    Err(DISABLED)
}

/// Returns [`Error::Disabled`].
///
/// # Errors
///
/// Always.
pub fn sign(_narinfo: NarInfo, _secret_key: &[u8]) -> Result<NarInfo, Error> {
    Err(DISABLED)
}

/// Returns [`Error::Disabled`].
///
/// # Errors
///
/// Always.
pub fn verify(_narinfo: &NarInfo, _keys: &[&[u8]], _is_cancelled: Cancel<'_>) -> Result<Vec<u8>, Error> {
    Err(DISABLED)
}
