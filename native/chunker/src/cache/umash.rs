//! UMASH, for CPUs that can multiply polynomials over GF(2).
//!
//! <https://github.com/backtrace-labs/umash>, `umash.pdf`: two contents of at most `s` bytes have the same
//! 128-bit fingerprint with a probability below `ceil(s / 2^26)^2 * 2^-83`.

use super::fingerprint::Fingerprint;

/// The parameters of the function, which are the secret.
pub(super) struct Params(Box<::umash::Params>);

impl Params {
    /// Derives the parameters from a key. Returns `None` if this CPU lacks the instructions, because the C
    /// functions would then crash the process.
    pub(super) fn new(key: &[u8; 32]) -> Option<Self> {
        // The library expands the key with Salsa20.
        is_supported().then(|| Self(Box::new(::umash::Params::derive(0, key))))
    }

    pub(super) fn start(&self) -> Fingerprinting<'_> {
        Fingerprinting(self.0.fingerprinter(0))
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) fn is_supported() -> bool {
    std::arch::is_x86_feature_detected!("pclmulqdq")
}

#[cfg(target_arch = "aarch64")]
pub(super) fn is_supported() -> bool {
    // The C code is compiled for `armv8-a+crypto` and may use any of these features.
    std::arch::is_aarch64_feature_detected!("aes")
        && std::arch::is_aarch64_feature_detected!("pmull")
        && std::arch::is_aarch64_feature_detected!("sha2")
}

pub(super) struct Fingerprinting<'a>(::umash::Fingerprinter<'a>);

impl Fingerprinting<'_> {
    pub(super) fn update(&mut self, data: &[u8]) {
        self.0.write(data);
    }

    pub(super) fn finish(self) -> Fingerprint {
        Fingerprint(self.0.digest().hash)
    }
}

#[cfg(test)]
mod tests {
    /// Checks the example in the README of the reference implementation.
    #[test]
    fn umash_matches_the_published_vector() {
        if !super::is_supported() {
            return;
        }
        let params = ::umash::Params::derive(0, b"hello example.c");
        let fingerprint = params.fingerprinter(42).write(b"the quick brown fox").digest();
        assert_eq!(fingerprint.hash, [0x398c_5bb5_cc11_3d03, 0x3a52_6935_1957_5aba]);
    }
}
