//! Store paths: `HASH-NAME` in the store folder.

use super::error::Fault;
use crate::hash::nix_base32;

/// The length of the hash, in characters: 160 bits in base 32.
const HASH_LENGTH: usize = 32;

/// The longest name, in bytes (`StorePath::MaxPathLen` in Nix's `path.hh`).
const MAX_NAME: usize = 211;

/// Validates the base name of a store path. The rules are those of `StorePath::StorePath` and `checkName` in
/// Nix's `path.cc`.
pub(super) fn check(base_name: &[u8]) -> Result<(), Fault> {
    let Some((hash, rest)) = base_name.split_at_checked(HASH_LENGTH) else { return Err(Fault::BadHashPart) };
    if nix_base32::decode(hash).is_err() {
        return Err(Fault::BadHashPart);
    }
    let name = rest.strip_prefix(b"-").ok_or(Fault::BadHashPart)?;
    if name.is_empty() {
        return Err(Fault::NameEmpty);
    }
    if name.len() > MAX_NAME {
        return Err(Fault::NameTooLong);
    }
    if !name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-._?=".contains(byte)) {
        return Err(Fault::NameCharacter);
    }
    // Reject `.` and `..`, alone or before a dash.
    match name.split(|&byte| byte == b'-').next() {
        Some(b"." | b"..") => Err(Fault::NameDots),
        _ => Ok(()),
    }
}

/// Splits a full store path into its folder and base name. As in Nix, empty components and `.` are dropped,
/// and `..` drops the previous component.
pub(super) fn split(path: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Fault> {
    if !path.starts_with(b"/") {
        return Err(Fault::NotAbsolute);
    }
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let base_name = parts.pop().ok_or(Fault::BadHashPart)?;
    check(base_name)?;
    let folder = parts.iter().flat_map(|part| [b"/", *part]).flatten().copied().collect();
    Ok((folder, base_name.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "00bgd045z0d4icpbc2yyz4gx48ak44la";

    #[test]
    fn every_rule_for_store_paths_is_enforced() {
        let name = |name: &str| check(format!("{HASH}-{name}").as_bytes());
        for good in
            ["a", "net-tools-1.60_p20170221182432", "+-._?=", ".a", "...", ".gitignore", "..a-b", "-", "0-."]
        {
            assert_eq!(name(good), Ok(()), "{good}");
        }
        assert_eq!(name(&"x".repeat(211)), Ok(()));
        assert_eq!(name(&"x".repeat(212)), Err(Fault::NameTooLong));
        assert_eq!(name(""), Err(Fault::NameEmpty));
        for bad in ["a b", "a/b", "a\0", "a:", "\u{e9}", "a,b", "a;b", "a~"] {
            assert_eq!(name(bad), Err(Fault::NameCharacter), "{bad}");
        }
        for bad in [".", "..", ".-a", "..-a"] {
            assert_eq!(name(bad), Err(Fault::NameDots), "{bad}");
        }
        for bad in ["", "a", HASH, &HASH[1..], "/nix/store"] {
            assert_eq!(check(bad.as_bytes()), Err(Fault::BadHashPart), "{bad}");
        }
        for letter in ["e", "o", "u", "t", "A", "-", "\u{e9}"] {
            let text = format!("{letter}{}-name", &HASH[letter.len()..]);
            assert_eq!(check(text.as_bytes()), Err(Fault::BadHashPart), "{letter}");
        }
        assert_eq!(check(format!("{HASH}0name").as_bytes()), Err(Fault::BadHashPart));
        // The 32nd byte is in the middle of this character.
        assert_eq!(check(format!("{}\u{e9}-a", &HASH[1..]).as_bytes()), Err(Fault::BadHashPart));
    }

    #[test]
    fn a_path_is_split_as_nix_splits_it() {
        let base_name = format!("{HASH}-a");
        for (path, folder) in [
            ("/nix/store/", "/nix/store"),
            ("//nix/.//store/x/../", "/nix/store"),
            ("/../nix/store/", "/nix/store"),
            ("/", ""),
        ] {
            let expected = (folder.as_bytes().to_vec(), base_name.clone().into_bytes());
            assert_eq!(split(format!("{path}{base_name}").as_bytes()), Ok(expected.clone()));
            assert_eq!(split(format!("{path}{base_name}/").as_bytes()), Ok(expected));
        }
        for relative in [base_name.as_str(), "", "nix/store"] {
            assert_eq!(split(relative.as_bytes()), Err(Fault::NotAbsolute));
        }
        for bad in ["/", "/nix/store", "/.."] {
            assert_eq!(split(bad.as_bytes()), Err(Fault::BadHashPart));
        }
    }
}
