//! Decodes base 64 as Nix does: the padding is optional.

use base64ct::{Base64Unpadded, Encoding, Error};

/// Decodes `text` into `target` and returns the decoded part. Runs in constant time for a given length,
/// because some texts are secret.
///
/// # Errors
///
/// Returns `InvalidLength` if `target` is too small, and `InvalidEncoding` for any other fault.
pub(super) fn decode<'t>(text: &[u8], target: &'t mut [u8]) -> Result<&'t [u8], Error> {
    let end = text.iter().rposition(|&byte| byte != b'=').map_or(0, |last| last + 1);
    Base64Unpadded::decode(&text[..end], target)
}
