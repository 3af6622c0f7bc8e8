//! What stands for signing in a build that leaves it out.

use crate::Cancel;
use crate::error::Error;
use crate::narinfo::NarInfo;

const DISABLED: Error = Error::Disabled { name: "signing" };

/// [`Error::Disabled`]
///
/// # Errors
///
/// Always.
pub fn generate_key(_name: &[u8]) -> Result<(String, String), Error> {
    Err(DISABLED)
}

/// [`Error::Disabled`]
///
/// # Errors
///
/// Always.
pub fn public_key(_secret_key: &[u8]) -> Result<String, Error> {
    Err(DISABLED)
}

/// [`Error::Disabled`]
///
/// # Errors
///
/// Always.
pub fn sign(_narinfo: NarInfo, _secret_key: &[u8]) -> Result<NarInfo, Error> {
    Err(DISABLED)
}

/// [`Error::Disabled`]
///
/// # Errors
///
/// Always.
pub fn verify(_narinfo: &NarInfo, _keys: &[&[u8]], _give_up: Cancel<'_>) -> Result<Vec<u8>, Error> {
    Err(DISABLED)
}
