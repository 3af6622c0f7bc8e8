//! Secret keys are wiped: after their use, no copy is left in the memory of the process.
//!
//! This test has a process of its own.

#![cfg(all(feature = "signing", target_os = "linux"))]

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use base64ct::{Base64, Encoding};
use chunker::narinfo::NarInfo;
use chunker::narinfo::signing;
use zeroize::{Zeroize, Zeroizing};

/// A secret to search for, stored in a form that the search does not match.
struct Masked(Vec<u8>);

impl Masked {
    const MASK: u8 = 0x5a;

    fn new(secret: &[u8]) -> Self {
        Self(secret.iter().map(|byte| byte ^ Self::MASK).collect())
    }

    fn revealed(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.0.iter().map(|byte| byte ^ Self::MASK).collect())
    }

    /// Returns whether the secret is anywhere in the writable memory of this process.
    fn is_found(&self) -> bool {
        let mut memory = File::open("/proc/self/mem").unwrap();
        let mut found = false;
        for line in BufReader::new(File::open("/proc/self/maps").unwrap()).lines() {
            let line = line.unwrap();
            let mut parts = line.split_whitespace();
            let (range, access) = (parts.next().unwrap(), parts.next().unwrap());
            if !access.starts_with("rw") {
                continue;
            }
            let (start, end) = range.split_once('-').unwrap();
            let [start, end] = [start, end].map(|text| u64::from_str_radix(text, 16).unwrap());
            let mut bytes = vec![0; (end - start) as usize];
            memory.seek(SeekFrom::Start(start)).unwrap();
            // Some regions of the kernel cannot be read, and others may have been unmapped since they were
            // listed.
            if memory.read_exact(&mut bytes).is_ok() {
                found |= bytes.windows(self.0.len()).any(|window| self.is(window));
            }
            // Wipe the copy, so that the next search does not find it.
            bytes.zeroize();
        }
        found
    }

    fn is(&self, bytes: &[u8]) -> bool {
        self.0.iter().zip(bytes).all(|(masked, byte)| masked ^ Self::MASK == *byte)
    }
}

#[test]
fn no_part_of_a_secret_key_is_left_after_its_use() {
    let narinfo = b"StorePath: /nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-a\nURL: a\n\
        NarHash: sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73\nNarSize: 1\n";
    let narinfo = NarInfo::parse(narinfo, &|| false).unwrap();

    let (secret, public) = signing::generate_key(b"name").unwrap();
    let whole = Masked::new(secret.as_bytes());
    let base64 = &secret["name:".len()..];
    let decoded = Zeroizing::new(Base64::decode_vec(base64).unwrap());
    // Search for the middle of the secret half: the allocator overwrites the beginning of freed memory.
    let (bytes, text) = (Masked::new(&decoded[16..32]), Masked::new(&base64.as_bytes()[20..40]));
    assert!(bytes.is_found() && text.is_found(), "the search finds what is there");
    drop(decoded);
    drop(secret);
    let assert_wiped = |by: &str| assert!(!bytes.is_found() && !text.is_found(), "{by}");
    assert_wiped("generate_key");

    assert_eq!(signing::public_key(&whole.revealed()).unwrap(), public);
    assert_wiped("public_key");
    let signed = signing::sign(narinfo, &whole.revealed()).unwrap();
    assert_wiped("sign");
    assert_eq!(signing::verify(&signed, &[public.as_bytes()], &|| false).unwrap(), b"name");
}
