//! Digests of whole inputs: BLAKE3 and SHA-256, both of 32 bytes.

mod beside;
mod hashing_reader;
pub mod nix_base32;

pub use beside::hash_beside;
pub use hashing_reader::HashingReader;

use std::fmt;

#[cfg(feature = "sha256")]
use sha2::Digest as _;

use crate::Cancel;
use crate::cpu;
use crate::engine::workers::yield_to_other_threads;
use crate::error::Error;
use crate::io::aligned_buffer::Buffer;
use crate::io::source::{SOURCE_WAIT, Source};

#[cfg(not(any(feature = "blake3", feature = "sha256")))]
compile_error!("a hash function is needed: turn on the feature blake3 or sha256");

/// The number of bytes hashed before the thread yields the core: less than 20 µs of work.
const HASH_STRETCH: usize = 32 << 10;

/// A digest of 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A hash function that is built in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// BLAKE3 without a key, which is fast on every CPU.
    #[cfg(feature = "blake3")]
    Blake3,
    /// SHA-256, the content address of Nix, OCI and Git's newer object format.
    #[cfg(feature = "sha256")]
    Sha256,
}

impl Algorithm {
    /// Every algorithm that is built in.
    pub const ALL: &[Self] = &[
        #[cfg(feature = "blake3")]
        Self::Blake3,
        #[cfg(feature = "sha256")]
        Self::Sha256,
    ];

    /// The names of all algorithms, built in or not.
    const NAMES: [&str; 2] = ["blake3", "sha256"];

    /// Returns the name in the public API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "blake3")]
            Self::Blake3 => "blake3",
            #[cfg(feature = "sha256")]
            Self::Sha256 => "sha256",
        }
    }

    /// Returns the algorithm with this name, or `None` if there is none.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Disabled`] if the algorithm is disabled in this build.
    pub fn from_name(name: &str) -> Result<Option<Self>, Error> {
        let algorithm = Self::ALL.iter().copied().find(|algorithm| algorithm.name() == name);
        match Self::NAMES.into_iter().find(|known| *known == name) {
            Some(name) if algorithm.is_none() => Err(Error::Disabled { name }),
            _ => Ok(algorithm),
        }
    }

    /// Returns the digest of `data`, computed on this thread.
    #[must_use]
    pub fn hash(self, data: &[u8]) -> Digest {
        self.hash_slices(&[data])
    }

    /// Returns the digest of the concatenation of `slices`, computed on this thread.
    #[must_use]
    pub fn hash_slices(self, slices: &[&[u8]]) -> Digest {
        match (self, slices) {
            // A one-shot hash saves creating a hasher, which is noticeable for small inputs.
            #[cfg(feature = "blake3")]
            (Self::Blake3, [data]) if data.len() <= HASH_STRETCH => Digest(blake3::hash(data).into()),
            _ => {
                let mut hasher = Hasher::new(self);
                let mut left = HASH_STRETCH;
                for &(mut slice) in slices {
                    // Stretches are counted along the whole input, because BLAKE3 works in powers of two from
                    // its start.
                    while slice.len() >= left {
                        let (stretch, rest) = slice.split_at(left);
                        hasher.update(stretch);
                        yield_to_other_threads();
                        (slice, left) = (rest, HASH_STRETCH);
                    }
                    hasher.update(slice);
                    left -= slice.len();
                }
                hasher.finish()
            }
        }
    }

    /// Returns the digest of `data`, computed on this thread.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Cancelled`] if `is_cancelled` returns `true`, and no other error.
    pub fn hash_cancellable(self, data: &[u8], is_cancelled: Cancel<'_>) -> Result<Digest, Error> {
        let mut hasher = Hasher::new(self);
        for piece in data.chunks(HASH_STRETCH) {
            if is_cancelled() {
                return Err(Error::Cancelled);
            }
            hasher.update(piece);
        }
        Ok(hasher.finish())
    }

    /// Returns the digest of all bytes of `source`, computed on this thread in 1 MiB of memory.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Cancelled`] if `is_cancelled` returns `true`, and the errors of the source.
    pub fn hash_source(self, mut source: impl Source, is_cancelled: Cancel<'_>) -> Result<Digest, Error> {
        let mut hasher = Hasher::new(self);
        let mut buffer = Buffer::new(1 << 20);
        loop {
            if is_cancelled() {
                return Err(Error::Cancelled);
            }
            match source.read(&mut buffer)? {
                Some(0) => return Ok(hasher.finish()),
                Some(count) => hasher.update(&buffer[..count]),
                None => {
                    source.wait(SOURCE_WAIT);
                }
            }
        }
    }

    /// Returns the name of the implementation of this algorithm on this CPU, by the instructions that it
    /// uses.
    #[must_use]
    pub fn implementation(self) -> &'static str {
        match self {
            #[cfg(feature = "blake3")]
            Self::Blake3 => cpu::blake3_implementation(),
            #[cfg(feature = "sha256")]
            Self::Sha256 => cpu::sha256_implementation(),
        }
    }
}

/// Computes a digest of input that comes in pieces.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    // Boxed: the state of BLAKE3 is about 20 times as large as that of SHA-256.
    #[cfg(feature = "blake3")]
    Blake3(Box<blake3::Hasher>),
    #[cfg(feature = "sha256")]
    Sha256(sha2::Sha256),
}

impl Hasher {
    /// Creates a hasher for an empty input.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            #[cfg(feature = "blake3")]
            Algorithm::Blake3 => State::Blake3(Box::default()),
            #[cfg(feature = "sha256")]
            Algorithm::Sha256 => State::Sha256(sha2::Sha256::new()),
        })
    }

    /// Hashes the next bytes.
    pub fn update(&mut self, data: &[u8]) {
        match &mut self.0 {
            #[cfg(feature = "blake3")]
            State::Blake3(hasher) => {
                hasher.update(data);
            }
            #[cfg(feature = "sha256")]
            State::Sha256(hasher) => hasher.update(data),
        }
    }

    /// Returns the digest of all bytes hashed so far.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest(match self.0 {
            #[cfg(feature = "blake3")]
            State::Blake3(hasher) => hasher.finalize().into(),
            #[cfg(feature = "sha256")]
            State::Sha256(hasher) => hasher.finalize().into(),
        })
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            #[cfg(feature = "blake3")]
            State::Blake3(_) => "Hasher(blake3)",
            #[cfg(feature = "sha256")]
            State::Sha256(_) => "Hasher(sha256)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorCode;
    use crate::engine::workers::Workers;
    use crate::io::source::FromRead;

    fn hex(digest: Digest) -> String {
        format!("{digest:?}")
    }

    #[cfg(feature = "sha256")]
    #[test]
    fn sha256_matches_the_vectors_of_fips_180_4() {
        let cases: [(&[u8], &str); 3] = [
            (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
            ),
        ];
        for (input, expected) in cases {
            assert_eq!(hex(Algorithm::Sha256.hash(input)), expected);
        }
    }

    /// Returns the input of the published vectors: the bytes 0 to 250, repeated.
    fn counting(length: usize) -> Vec<u8> {
        (0..=250).cycle().take(length).collect()
    }

    #[cfg(feature = "blake3")]
    #[test]
    fn blake3_matches_the_published_vectors() {
        let cases = [
            (0, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
            (1, "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213"),
            (1023, "10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11"),
            (1024, "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7"),
            (1025, "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444"),
            (102_400, "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085"),
        ];
        for (length, expected) in cases {
            assert_eq!(hex(Algorithm::Blake3.hash(&counting(length))), expected, "{length} bytes");
        }
    }

    #[test]
    fn every_way_to_hash_gives_the_same_digest() {
        let data = counting(3_000_001);
        for &algorithm in Algorithm::ALL {
            let whole = algorithm.hash(&data);
            for size in [1000, 65_537, 1 << 20] {
                let slices: Vec<&[u8]> = data.chunks(size).collect();
                assert_eq!(algorithm.hash_slices(&slices), whole);
            }
            assert_eq!(algorithm.hash_source(FromRead(&data[..]), &|| false).unwrap(), whole);
            let (mut source, whole_digest) = HashingReader::new(FromRead(&data[..]), algorithm);
            let mut buffer = vec![0; 1_000_003];
            while source.read(&mut buffer).unwrap() != Some(0) {
                assert_eq!(whole_digest(), None);
            }
            assert_eq!(whole_digest(), Some(whole));
            for threads in 1..=2 {
                let workers = Workers::shared(threads, 2).unwrap();
                let beside = |is_cancelled: Cancel<'_>| {
                    hash_beside(algorithm, &data, workers, is_cancelled, |_| Ok(7))
                };
                assert_eq!(beside(&|| false).unwrap(), (7, whole));
                assert_eq!(beside(&|| true).unwrap_err().code(), "cancelled");
                let failing = |_| Err::<(), _>(Error::Disabled { name: "it" });
                let failed = hash_beside(algorithm, &data, workers, &|| false, failing);
                assert_eq!(failed.unwrap_err().code(), "feature_disabled");
            }
            assert_eq!(algorithm.hash_source(FromRead(&data[..]), &|| true).unwrap_err().code(), "cancelled");
            assert_eq!(algorithm.hash_cancellable(&data, &|| false).unwrap(), whole);
            assert_eq!(algorithm.hash_cancellable(&data, &|| true).unwrap_err().code(), "cancelled");
        }
    }

    #[test]
    fn a_name_maps_back_to_its_algorithm() {
        for &algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::from_name(algorithm.name()).unwrap(), Some(algorithm));
        }
        assert_eq!(Algorithm::from_name("md5").unwrap(), None);
        for name in Algorithm::NAMES {
            let built_in = Algorithm::ALL.iter().any(|algorithm| algorithm.name() == name);
            let found = Algorithm::from_name(name).map_err(|error| error.code());
            assert_eq!(
                found.map(|algorithm| algorithm.is_some()),
                if built_in { Ok(true) } else { Err("feature_disabled") }
            );
        }
    }
}
