//! Hashes and content addresses in the notations of Nix.
//!
//! All notations of Nix are read, and one is written: `algorithm:` followed by base 32. Nix distinguishes
//! base 16, 32 and 64 by the number of characters; the SRI form has a `-` after the algorithm and then base
//! 64 (`Hash::parseAnyPrefixed` in its `hash.cc`, `ContentAddress::parse` in `content-address.cc`).

use super::base64;
use super::error::Fault;
use crate::hash::nix_base32;

/// The names of the algorithms, and the lengths of their digests in bytes.
const ALGORITHMS: [(&[u8], usize); 5] =
    [(b"md5", 16), (b"sha1", 20), (b"sha256", 32), (b"sha512", 64), (b"blake3", 32)];

/// The longest digest, in bytes.
const LONGEST: usize = 64;

/// Converts a hash in any notation to the one that Nix writes.
pub(super) fn canonical(text: &[u8]) -> Result<Vec<u8>, Fault> {
    let at = |separator| text.iter().position(|&byte| byte == separator);
    let (end, is_sri) = match (at(b':'), at(b'-')) {
        (Some(end), _) => (end, false),
        (None, Some(end)) => (end, true),
        (None, None) => return Err(Fault::UnknownAlgorithm),
    };
    write(&text[..end], &text[end + 1..], is_sri)
}

/// Converts a SHA-256 hash in any notation to the one that Nix writes.
pub(super) fn canonical_sha256(text: &[u8]) -> Result<Vec<u8>, Fault> {
    let hash = canonical(text)?;
    if hash.starts_with(b"sha256:") { Ok(hash) } else { Err(Fault::NotSha256) }
}

/// Converts a content address to the notation that Nix writes. Its hash may be in any notation except SRI. An
/// address is `text:` or `fixed:` and the hash; `fixed:` is followed by `r:` if the hash is that of a NAR and
/// by `git:` if it is that of a Git tree.
pub(super) fn canonical_address(text: &[u8]) -> Result<Vec<u8>, Fault> {
    let method: &[u8] = [b"text:".as_slice(), b"fixed:r:", b"fixed:git:", b"fixed:"]
        .into_iter()
        .find(|method| text.starts_with(method))
        .ok_or(Fault::UnknownMethod)?;
    let hash = &text[method.len()..];
    let end = hash.iter().position(|&byte| byte == b':').ok_or(Fault::UnknownAlgorithm)?;
    let mut address = method.to_vec();
    address.append(&mut write(&hash[..end], &hash[end + 1..], false)?);
    Ok(address)
}

fn write(algorithm: &[u8], digest: &[u8], is_sri: bool) -> Result<Vec<u8>, Fault> {
    let &(algorithm, length) =
        ALGORITHMS.iter().find(|(name, _)| *name == algorithm).ok_or(Fault::UnknownAlgorithm)?;
    let digest = if is_sri { from_base64(digest) } else { from_any(digest, length) };
    let digest = digest.filter(|digest| digest.len() == length).ok_or(Fault::BadHash)?;
    let mut text = algorithm.to_vec();
    text.push(b':');
    text.extend_from_slice(nix_base32::encode(&digest).as_bytes());
    Ok(text)
}

fn from_any(text: &[u8], length: usize) -> Option<Vec<u8>> {
    if text.len() == 2 * length {
        from_base16(text)
    } else if text.len() == (8 * length).div_ceil(5) {
        nix_base32::decode(text).ok()
    } else if text.len() == 4 * length.div_ceil(3) {
        from_base64(text)
    } else {
        None
    }
}

fn from_base16(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    text.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    base64::decode(text, &mut [0; LONGEST]).ok().map(Vec::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64ct::{Base64, Encoding};
    use proptest::prelude::*;

    fn text(result: Result<Vec<u8>, Fault>) -> Result<String, Fault> {
        result.map(|bytes| String::from_utf8(bytes).unwrap())
    }

    /// Digests of empty input, as printed by `nix hash file --type TYPE --base32` and so on.
    const NOTATIONS: [[&str; 4]; 4] = [
        [
            "md5:3y8bwfr609h3lh9ch0izcqq7fl",
            "md5:d41d8cd98f00b204e9800998ecf8427e",
            "md5:1B2M2Y8AsgTpgAmY7PhCfg==",
            "md5-1B2M2Y8AsgTpgAmY7PhCfg==",
        ],
        [
            "sha1:143xibwh31h9bvxzalr0sjvbbvpa6ffs",
            "sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "sha1:2jmj7l5rSw0yVb/vlWAYkK/YBwk=",
            "sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=",
        ],
        [
            "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73",
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        ],
        [
            "sha512:0zdl9zrg8r3i9c1g90lgg9ip5ijzv3yhz91i0zzn3r8ap9ws784gkp9dk9j3aglhgf1amqb0pj21mh7h1nxcl18akqvvf7ggqsy30yg",
            "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce\
             47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
            "sha512:z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==",
            "sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==",
        ],
    ];

    #[test]
    fn every_notation_of_nix_is_read_and_base_32_is_written() {
        for notations in NOTATIONS {
            for notation in notations {
                assert_eq!(text(canonical(notation.as_bytes())).as_deref(), Ok(notations[0]), "{notation}");
            }
            let address = format!("fixed:r:{}", notations[0]);
            for notation in &notations[..3] {
                assert_eq!(
                    text(canonical_address(format!("fixed:r:{notation}").as_bytes())),
                    Ok(address.clone())
                );
            }
            let sri = format!("fixed:{}", notations[3]);
            assert_eq!(canonical_address(sri.as_bytes()), Err(Fault::UnknownAlgorithm));
        }
        let upper = NOTATIONS[2][1].to_uppercase().replace("SHA", "sha");
        assert_eq!(text(canonical(upper.as_bytes())).as_deref(), Ok(NOTATIONS[2][0]));
        // Nix stops at the padding of base 64, and does not require it in the SRI form.
        assert_eq!(
            text(canonical(NOTATIONS[2][3].trim_end_matches('=').as_bytes())).as_deref(),
            Ok(NOTATIONS[2][0])
        );
    }

    #[test]
    fn invalid_hashes_are_rejected() {
        for bad in
            ["", "sha256", NOTATIONS[2][0].strip_prefix("sha256:").unwrap(), "sha3:00", ":", "-", "SHA256:00"]
        {
            assert_eq!(canonical(bad.as_bytes()), Err(Fault::UnknownAlgorithm), "{bad}");
        }
        for notation in NOTATIONS.concat() {
            for bad in [
                notation[..notation.len() - 3].to_owned(),
                format!("{notation}aaa"),
                format!("{}!", &notation[..notation.len() - 1]),
            ] {
                assert_eq!(canonical(bad.as_bytes()), Err(Fault::BadHash), "{bad}");
            }
        }
        // The first digit has more bits than are left in the last byte.
        for bad in ["md5:8y8bwfr609h3lh9ch0izcqq7fl", &NOTATIONS[2][0].replacen(":0", ":h", 1)] {
            assert_eq!(canonical(bad.as_bytes()), Err(Fault::BadHash), "{bad}");
        }
        assert_eq!(canonical_sha256(NOTATIONS[3][0].as_bytes()), Err(Fault::NotSha256));
        assert_eq!(canonical_sha256(b"sha256:0"), Err(Fault::BadHash));
    }

    #[test]
    fn a_content_address_names_its_method() {
        let hash = NOTATIONS[2][0];
        for method in ["text:", "fixed:", "fixed:r:", "fixed:git:"] {
            let address = format!("{method}{hash}");
            assert_eq!(text(canonical_address(address.as_bytes())), Ok(address));
        }
        for method in ["", "r:", "Text:", "fixed", "nar:"] {
            let address = format!("{method}{hash}");
            assert_eq!(canonical_address(address.as_bytes()), Err(Fault::UnknownMethod), "{address}");
        }
        assert_eq!(canonical_address(b"fixed:r:"), Err(Fault::UnknownAlgorithm));
        assert_eq!(canonical_address(b"fixed:r:sha256:"), Err(Fault::BadHash));
        assert_eq!(canonical_address(b"text:sha256"), Err(Fault::UnknownAlgorithm));
    }

    proptest! {
        #[test]
        fn any_digest_is_read_from_every_notation(bytes: [u8; 32]) {
            let base32 = format!("sha256:{}", nix_base32::encode(&bytes));
            let base16: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let base64 = Base64::encode_string(&bytes);
            for notation in [
                base32.clone(), format!("sha256:{base16}"), format!("sha256:{base64}"), format!("sha256-{base64}"),
            ] {
                prop_assert_eq!(text(canonical_sha256(notation.as_bytes())), Ok(base32.clone()));
            }
        }
    }
}
