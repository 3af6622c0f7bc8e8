//! Looks up the digest of a file.

use super::table::Key;
use super::{Cache, Verify};
use crate::Cancel;
use crate::error::Error;
use crate::hash::{Algorithm, Digest, Hasher};
use crate::io::aligned_buffer::Buffer;
use crate::io::file::Input;
use crate::io::source::{SOURCE_WAIT, Source};

/// The memory for the contents of a file, in bytes. A shorter file is read once; a longer one is read for its
/// fingerprint, and again for its digest if the cache does not have it.
const BUFFER: usize = 1 << 20;

impl Cache {
    /// Returns whether files of this length can be looked up. A cache that compares contents cannot look up a
    /// file that does not fit in the memory for it.
    pub(super) fn takes_file(&self, length: usize) -> bool {
        self.verify == Verify::Fingerprint || length < BUFFER
    }

    /// Looks up the digest of a file, and if it is not there, computes and inserts it. The length of the file
    /// is known, and at most [`LONGEST`](super::LONGEST).
    pub(super) fn fetch_file(
        &self,
        algorithm: Algorithm,
        mut input: Input,
        is_cancelled: Cancel<'_>,
    ) -> Result<Digest, Error> {
        let mut buffer = Buffer::new(BUFFER);
        if input.length().is_some_and(|length| length < BUFFER as u64) {
            let mut filled = 0;
            loop {
                match read(&mut input, &mut buffer[filled..], is_cancelled)? {
                    0 => return self.fetch(algorithm, &buffer[..filled], is_cancelled),
                    count => filled += count,
                }
            }
        }
        let mut fingerprinting = self.secret.start();
        let length = for_each(&mut input, &mut buffer, is_cancelled, |bytes| fingerprinting.update(bytes))?;
        if let Some(digest) = self.find(&Key::new(algorithm, length, fingerprinting.finish()), &[]) {
            return Ok(digest);
        }
        // The file may have been overwritten since, so the digest is that of the fingerprint of the same
        // bytes.
        input.rewind()?;
        let mut fingerprinting = self.secret.start();
        let mut hasher = Hasher::new(algorithm);
        let length = for_each(&mut input, &mut buffer, is_cancelled, |bytes| {
            fingerprinting.update(bytes);
            hasher.update(bytes);
        })?;
        let digest = hasher.finish();
        self.remember(Key::new(algorithm, length, fingerprinting.finish()), &[], digest, is_cancelled);
        Ok(digest)
    }
}

/// Reads some bytes, 0 only at the end of the file.
fn read(input: &mut Input, buffer: &mut [u8], is_cancelled: Cancel<'_>) -> Result<usize, Error> {
    loop {
        if is_cancelled() {
            return Err(Error::Cancelled);
        }
        match input.read(buffer)? {
            Some(count) => return Ok(count),
            None => {
                input.wait(SOURCE_WAIT);
            }
        }
    }
}

/// Calls `work` with all bytes in order, and returns their number.
fn for_each(
    input: &mut Input,
    buffer: &mut [u8],
    is_cancelled: Cancel<'_>,
    mut work: impl FnMut(&[u8]),
) -> Result<usize, Error> {
    let mut length = 0;
    loop {
        match read(input, buffer, is_cancelled)? {
            0 => return Ok(length),
            count => {
                work(&buffer[..count]);
                length += count;
            }
        }
    }
}
