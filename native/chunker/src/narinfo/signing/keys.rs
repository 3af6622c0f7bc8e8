//! Ed25519 keys (RFC 8032) in Nix's notation.

use base64ct::{Base64, Encoding};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::error::{Error, IoError};
use crate::narinfo::{KeyError, KeyFault, SignatureFault, base64};

/// The length of a secret key and of a signature, in bytes.
const LONG_LENGTH: usize = 64;

/// A key for signing. Its bytes are wiped when it is dropped, and are never printed.
pub struct SecretKey {
    name: String,
    key: SigningKey,
}

impl SecretKey {
    /// Generates a key from the randomness of the operating system.
    ///
    /// # Errors
    ///
    /// Returns [`KeyError`] for an invalid name, and [`Error::Io`] if the operating system provides no random
    /// bytes.
    pub fn generate(name: &[u8]) -> Result<Self, Error> {
        let name = checked_name(name)?;
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).map_err(|error| IoError { path: None, source: error.into() })?;
        Ok(Self { name, key: SigningKey::from_bytes(&seed) })
    }

    /// Parses `name:base64`, the file format of `nix-store --generate-binary-cache-key`.
    ///
    /// # Errors
    ///
    /// Returns [`KeyError`] if the text is not a valid key.
    pub fn parse(text: &[u8]) -> Result<Self, KeyError> {
        let (name, bytes) = parse::<LONG_LENGTH>(text)?;
        let key =
            SigningKey::from_keypair_bytes(&bytes).map_err(|_| KeyError { why: KeyFault::HalvesDiffer })?;
        Ok(Self { name, key })
    }

    /// Returns the key in the notation that [`parse`](Self::parse) reads.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let bytes = Zeroizing::new(self.key.to_keypair_bytes());
        let base64 = Zeroizing::new(Base64::encode_string(&*bytes));
        // Reserve the whole length: a string that grows leaves copies behind.
        let mut text = Zeroizing::new(String::with_capacity(self.name.len() + 1 + base64.len()));
        text.push_str(&self.name);
        text.push(':');
        text.push_str(&base64);
        text
    }

    /// Returns the public key.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey { name: self.name.clone(), key: self.key.verifying_key() }
    }

    /// Returns the signature of `message`, as `name:base64`.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> String {
        format!("{}:{}", self.name, Base64::encode_string(&self.key.sign(message).to_bytes()))
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretKey").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A key for verifying.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    name: String,
    key: VerifyingKey,
}

impl PublicKey {
    /// Parses `name:base64`, the format of `trusted-public-keys` in `nix.conf`.
    ///
    /// # Errors
    ///
    /// Returns [`KeyError`] if the text is not a valid key, also for keys under which libsodium accepts no
    /// signature.
    pub fn parse(text: &[u8]) -> Result<Self, KeyError> {
        let (name, bytes) = parse::<32>(text)?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| KeyError { why: KeyFault::NotAPoint })?;
        if key.is_weak() {
            return Err(KeyError { why: KeyFault::SmallOrder });
        }
        // The crate reduces a coordinate that is not below the field's prime, so check that the encoding is
        // canonical.
        if key.to_edwards().compress().to_bytes() != *bytes {
            return Err(KeyError { why: KeyFault::NotAPoint });
        }
        Ok(Self { name, key })
    }

    /// Returns the key in the notation that [`parse`](Self::parse) reads.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{}:{}", self.name, Base64::encode_string(self.key.as_bytes()))
    }

    /// Returns the name of the key.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Verifies that `signature`, in base 64, is a signature of `message` by this key.
    ///
    /// # Errors
    ///
    /// Returns the reason if it is not.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureFault> {
        let mut bytes = [0; LONG_LENGTH];
        let signature = match base64::decode(signature, &mut bytes) {
            Ok(bytes) => Signature::from_slice(bytes).map_err(|_| SignatureFault::WrongLength)?,
            Err(base64ct::Error::InvalidLength) => return Err(SignatureFault::WrongLength),
            Err(base64ct::Error::InvalidEncoding) => return Err(SignatureFault::BadBase64),
        };
        self.key.verify_strict(message, &signature).map_err(|_| SignatureFault::Mismatch)
    }
}

/// Parses the name and the bytes of a key, which are wiped when they are dropped. As in Nix, line breaks are
/// ignored: editors end a file with one.
fn parse<const N: usize>(text: &[u8]) -> Result<(String, Zeroizing<[u8; N]>), KeyError> {
    let colon = text.iter().position(|&byte| byte == b':').ok_or(KeyError { why: KeyFault::MissingColon })?;
    let name = checked_name(&text[..colon])?;
    let mut base64 = Zeroizing::new(Vec::with_capacity(text.len()));
    base64.extend(text[colon + 1..].iter().filter(|&&byte| byte != b'\n'));
    let mut bytes = Zeroizing::new([0; N]);
    match base64::decode(&base64, &mut *bytes) {
        Ok(decoded) if decoded.len() == N => Ok((name, bytes)),
        Ok(_) | Err(base64ct::Error::InvalidLength) => Err(KeyError { why: KeyFault::WrongLength }),
        Err(base64ct::Error::InvalidEncoding) => Err(KeyError { why: KeyFault::BadBase64 }),
    }
}

/// Validates the name of a key. A name ends at a colon, and keys are separated by spaces and line breaks in
/// `nix.conf` and in narinfos.
fn checked_name(name: &[u8]) -> Result<String, KeyError> {
    let bad = KeyError { why: KeyFault::BadName };
    let name = str::from_utf8(name).map_err(|_| bad)?;
    let unfit = |character: char| character == ':' || character.is_whitespace() || character.is_control();
    if name.is_empty() || name.contains(unfit) { Err(bad) } else { Ok(name.into()) }
}
