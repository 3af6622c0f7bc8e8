//! Ed25519 keys (RFC 8032) in Nix's notation.

use base64ct::{Base64, Encoding};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::error::{Error, IoError};
use crate::narinfo::{KeyError, KeyFault, SignatureFault, base64};

/// The bytes of a secret key and of a signature.
const LONG: usize = 64;

/// A key to sign with. Its bytes are wiped when it is dropped, and never printed.
pub struct SecretKey {
    name: String,
    key: SigningKey,
}

impl SecretKey {
    /// A new key, of the operating system's randomness.
    ///
    /// # Errors
    ///
    /// [`KeyError`] for a name that no key can have; [`Error::Io`] if there is no randomness to be had.
    pub fn generate(name: &[u8]) -> Result<Self, Error> {
        let name = checked_name(name)?;
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).map_err(|error| IoError { path: None, source: error.into() })?;
        Ok(Self { name, key: SigningKey::from_bytes(&seed) })
    }

    /// Reads `name:base64`, as `nix-store --generate-binary-cache-key` writes it into a file.
    ///
    /// # Errors
    ///
    /// [`KeyError`]
    pub fn parse(text: &[u8]) -> Result<Self, KeyError> {
        let (name, bytes) = parse::<LONG>(text)?;
        let key =
            SigningKey::from_keypair_bytes(&bytes).map_err(|_| KeyError { why: KeyFault::HalvesDiffer })?;
        Ok(Self { name, key })
    }

    /// The key as [`parse`](Self::parse) reads it.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let bytes = Zeroizing::new(self.key.to_keypair_bytes());
        let base64 = Zeroizing::new(Base64::encode_string(&*bytes));
        // In one go: a text that grows leaves copies of itself behind.
        let mut text = Zeroizing::new(String::with_capacity(self.name.len() + 1 + base64.len()));
        text.push_str(&self.name);
        text.push(':');
        text.push_str(&base64);
        text
    }

    /// The key to verify with.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey { name: self.name.clone(), key: self.key.verifying_key() }
    }

    /// The signature of `message`, as `name:base64`.
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

/// A key to verify with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    name: String,
    key: VerifyingKey,
}

impl PublicKey {
    /// Reads `name:base64`, as `trusted-public-keys` in `nix.conf` has it.
    ///
    /// # Errors
    ///
    /// [`KeyError`]; also for keys for which libsodium finds no signature good.
    pub fn parse(text: &[u8]) -> Result<Self, KeyError> {
        let (name, bytes) = parse::<32>(text)?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| KeyError { why: KeyFault::NotAPoint })?;
        if key.is_weak() {
            return Err(KeyError { why: KeyFault::SmallOrder });
        }
        // The crate takes a coordinate that is not below the field's prime for what remains of it.
        if key.to_edwards().compress().to_bytes() != *bytes {
            return Err(KeyError { why: KeyFault::NotAPoint });
        }
        Ok(Self { name, key })
    }

    /// The key as [`parse`](Self::parse) reads it.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{}:{}", self.name, Base64::encode_string(self.key.as_bytes()))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether `signature`, in base 64, is one of `message` by this key.
    ///
    /// # Errors
    ///
    /// Why it is not.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureFault> {
        let mut bytes = [0; LONG];
        let signature = match base64::decode(signature, &mut bytes) {
            Ok(bytes) => Signature::from_slice(bytes).map_err(|_| SignatureFault::WrongLength)?,
            Err(base64ct::Error::InvalidLength) => return Err(SignatureFault::WrongLength),
            Err(base64ct::Error::InvalidEncoding) => return Err(SignatureFault::BadBase64),
        };
        self.key.verify_strict(message, &signature).map_err(|_| SignatureFault::Mismatch)
    }
}

/// The name and the bytes of a key, which are wiped when they are dropped. As in Nix, line breaks do not count: a file ends
/// with one when an editor was at it.
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

/// Names end at a colon, and keys stand in `nix.conf` and in narinfos with spaces and line breaks between them.
fn checked_name(name: &[u8]) -> Result<String, KeyError> {
    let bad = KeyError { why: KeyFault::BadName };
    let name = str::from_utf8(name).map_err(|_| bad)?;
    let unfit = |character: char| character == ':' || character.is_whitespace() || character.is_control();
    if name.is_empty() || name.contains(unfit) { Err(bad) } else { Ok(name.into()) }
}
