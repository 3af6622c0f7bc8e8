//! Signing and verifying whole narinfos.

use zeroize::{Zeroize, Zeroizing};

use super::{PublicKey, SecretKey};
use crate::Cancel;
use crate::error::Error;
use crate::narinfo::{KeyError, KeyFault, NarInfo, SignatureError, SignatureFault};

/// A new key pair of that name: the secret key, wiped when it is dropped, and the public one.
///
/// # Errors
///
/// [`KeyError`] for a name that no key can have; [`Error::Io`] if the operating system has no randomness to give.
pub fn generate_key(name: &[u8]) -> Result<(Zeroizing<String>, String), Error> {
    with_wiped_stack(|| {
        let key = SecretKey::generate(name)?;
        Ok((key.to_text(), key.public().to_text()))
    })
}

/// The public key of a secret one.
///
/// # Errors
///
/// [`KeyError`] if it is none.
pub fn public_key(secret_key: &[u8]) -> Result<String, Error> {
    with_wiped_stack(|| Ok(SecretKey::parse(secret_key)?.public().to_text()))
}

/// The same narinfo with the signature of that key, at the place where Nix puts it.
///
/// # Errors
///
/// [`KeyError`] if it is no secret key.
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

/// The name of the first signature that one of these public keys verifies.
///
/// # Errors
///
/// [`KeyError`] for a key that is none, and if no signature has the name of any; [`SignatureError`] if there is no signature,
/// or none of a known name is good; [`Error::Cancelled`] when `is_cancelled` says so.
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
                // A forged signature says more than one that somebody garbled.
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

/// Runs `work`, which has a secret, and writes over the stack that it used: what is moved leaves a copy where it was, which
/// nothing wipes when it is dropped.
fn with_wiped_stack<T>(work: impl FnOnce() -> T) -> T {
    let result = with_frame(work);
    wipe_stack();
    result
}

/// What is not inlined has its frame, and those of all that it calls, where [`wipe_stack`] has its own then.
#[inline(never)]
fn with_frame<T>(work: impl FnOnce() -> T) -> T {
    work()
}

/// Sixteen KiB are more than all of that takes: `tests/narinfo_wiped.rs` looks for what is left.
#[inline(never)]
fn wipe_stack() {
    [0u64; 2048].zeroize();
}
