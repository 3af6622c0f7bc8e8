//! Secret keys are wiped: after their use none is in the memory of the process.
//!
//! A test of its own, in whose process nothing else is.

#![cfg(all(feature = "signing", target_os = "linux"))]

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use base64ct::{Base64, Encoding};
use chunker::narinfo::NarInfo;
use chunker::narinfo::signing;
use zeroize::{Zeroize, Zeroizing};

/// What is searched for, in a form in which the search does not find it.
struct Masked(Vec<u8>);

impl Masked {
    const MASK: u8 = 0x5a;

    fn new(secret: &[u8]) -> Self {
        Self(secret.iter().map(|byte| byte ^ Self::MASK).collect())
    }

    fn revealed(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.0.iter().map(|byte| byte ^ Self::MASK).collect())
    }

    /// Whether it is anywhere in what this process may write to.
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
            // Some regions of the kernel's cannot be read, and what was given back meanwhile is not there.
            if memory.read_exact(&mut bytes).is_ok() {
                found |= bytes.windows(self.0.len()).any(|window| self.is(window));
            }
            // What it found is not to be found by the next search.
            bytes.zeroize();
        }
        found
    }

    fn is(&self, bytes: &[u8]) -> bool {
        self.0.iter().zip(bytes).all(|(masked, byte)| masked ^ Self::MASK == *byte)
    }
}

#[test]
fn nothing_of_a_secret_key_is_left_after_its_use() {
    let narinfo = b"StorePath: /nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-a\nURL: a\n\
        NarHash: sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73\nNarSize: 1\n";
    let narinfo = NarInfo::parse(narinfo, &|| false).unwrap();

    let (secret, public) = signing::generate_key(b"name").unwrap();
    let whole = Masked::new(secret.as_bytes());
    let base64 = &secret["name:".len()..];
    let decoded = Zeroizing::new(Base64::decode_vec(base64).unwrap());
    // Of what is secret, without the public half, a part from the middle: the allocator writes over the beginning of what is
    // freed.
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
