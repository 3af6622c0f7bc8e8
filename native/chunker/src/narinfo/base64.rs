//! Base 64 as Nix reads it: the padding may be missing.

use base64ct::{Base64Unpadded, Encoding, Error};

/// The bytes that `text` stands for, written to `target`. Takes the same time for all texts of a length, since some are
/// secret.
///
/// # Errors
///
/// `InvalidLength` for more bytes than `target` holds, else `InvalidEncoding`.
pub(super) fn decode<'t>(text: &[u8], target: &'t mut [u8]) -> Result<&'t [u8], Error> {
    let end = text.iter().rposition(|&byte| byte != b'=').map_or(0, |last| last + 1);
    Base64Unpadded::decode(&text[..end], target)
}
