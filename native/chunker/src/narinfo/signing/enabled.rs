//! Signs and verifies whole narinfos.

use zeroize::{Zeroize, Zeroizing};

use super::{PublicKey, SecretKey};
use crate::Cancel;
use crate::error::Error;
use crate::narinfo::{KeyError, KeyFault, NarInfo, SignatureError, SignatureFault};

/// Generates a key pair with a name. Returns the secret key, which is wiped when it is dropped, and the
/// public key.
///
/// # Errors
///
/// Returns [`KeyError`] for an invalid name, and [`Error::Io`] if the operating system provides no random
/// bytes.
pub fn generate_key(name: &[u8]) -> Result<(Zeroizing<String>, String), Error> {
    with_wiped_stack(|| {
        let key = SecretKey::generate(name)?;
        Ok((key.to_text(), key.public().to_text()))
    })
}

/// Returns the public key of a secret key.
///
/// # Errors
///
/// Returns [`KeyError`] if `secret_key` is invalid.
pub fn public_key(secret_key: &[u8]) -> Result<String, Error> {
    with_wiped_stack(|| Ok(SecretKey::parse(secret_key)?.public().to_text()))
}

/// Adds a signature by `secret_key`, at the position where Nix puts it.
///
/// # Errors
///
/// Returns [`KeyError`] if `secret_key` is invalid.
pub fn sign(mut narinfo: NarInfo, secret_key: &[u8]) -> Result<NarInfo, Error> {
    let fingerprint = narinfo.fingerprint();
    let signature =
        with_wiped_stack(|| Ok::<_, Error>(SecretKey::parse(secret_key)?.sign(&fingerprint)))?.into_bytes();
    let signatures = &mut narinfo.fields.sigs;
    if !signatures.contains(&signature) {
        let place = signatures.iter().position(|other| *other > signature).unwrap_or(signatures.len());
        signatures.insert(place, signature);
    }
    Ok(narinfo)
}

/// Returns the name of the first signature that one of the public keys verifies.
///
/// # Errors
///
/// Returns [`KeyError`] for an invalid key, and if no signature has the name of any key; returns
/// [`SignatureError`] if there is no signature, or none of a known name is valid; returns
/// [`Error::Cancelled`] if `is_cancelled` returns `true`.
pub fn verify(narinfo: &NarInfo, public_keys: &[&[u8]], is_cancelled: Cancel<'_>) -> Result<Vec<u8>, Error> {
    let keys = public_keys.iter().map(|text| PublicKey::parse(text)).collect::<Result<Vec<_>, _>>()?;
    if narinfo.fields.sigs.is_empty() {
        return Err(SignatureError { why: SignatureFault::Unsigned }.into());
    }
    let fingerprint = narinfo.fingerprint();
    let mut failure = None;
    for text in &narinfo.fields.sigs {
        let colon = text.iter().position(|&byte| byte == b':').unwrap_or(text.len());
        let (name, signature) = (&text[..colon], text.get(colon + 1..).unwrap_or_default());
        for key in keys.iter().filter(|key| key.name().as_bytes() == name) {
            if is_cancelled() {
                return Err(Error::Cancelled);
            }
            match key.verify(&fingerprint, signature) {
                Ok(()) => return Ok(name.to_vec()),
                // Report a mismatch in preference to a garbled signature.
                Err(why) if failure != Some(SignatureFault::Mismatch) => failure = Some(why),
                Err(_) => {}
            }
        }
    }
    Err(match failure {
        Some(why) => SignatureError { why }.into(),
        None => KeyError { why: KeyFault::UnknownName }.into(),
    })
}

/// Runs `work`, which handles a secret, and then overwrites the stack that it used: moving a value leaves a
/// copy at its old address, which `Drop` does not wipe.
fn with_wiped_stack<T>(work: impl FnOnce() -> T) -> T {
    let result = with_frame(work);
    wipe_stack();
    result
}

/// Not inlined, so that the frames of `work` lie where [`wipe_stack`] has its own frame afterwards.
#[inline(never)]
fn with_frame<T>(work: impl FnOnce() -> T) -> T {
    work()
}

/// Overwrites 16 KiB of stack, more than all calls above use. `tests/narinfo_wiped.rs` searches for remains.
#[inline(never)]
fn wipe_stack() {
    [0u64; 2048].zeroize();
}
