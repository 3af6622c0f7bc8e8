//! Replaces store hashes in content before it is chunked, and restores them afterwards.
//!
//! A package names its dependencies by their store paths: `/nix/store/`, a hash of 32 characters, `-` and a
//! name. If a dependency changes, every package above it is rebuilt, and in many of them only these hashes
//! change, which are spread over all their files. [`Normalizer`] replaces each hash by [`PLACEHOLDER`] and
//! records it with its position in a table. A rebuilt package then has the chunks of the old one, and only
//! the table is new. [`Restorer`] is the inverse.
//!
//! A reference is any 32 characters of Nix's base 32 after `/nix/store/`, in the target of a symbolic link, a
//! binary or a text, and regardless of what follows them. References never overlap, because the prefix
//! contains `/` and a hash does not. Lengths do not change, so a NAR remains a NAR with all its files at the
//! same positions. Restoring depends only on positions, so content that happens to contain the placeholder is
//! restored correctly.

use memchr::memmem::Finder;

use crate::error::{Detail, ErrorCode};
use crate::hash::nix_base32::is_digit;

/// The bytes before a hash.
const PREFIX: &[u8] = b"/nix/store/";

/// The length of a hash in a store path, in characters.
pub(super) const LENGTH: usize = 32;

/// The replacement for each hash. Nix's base 32 has no `e`, so normalized content has no references.
pub const PLACEHOLDER: [u8; LENGTH] = [b'e'; LENGTH];

/// Describes a replaced hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reference {
    /// The position of its first character, in bytes from the start of the content.
    pub position: u64,
    /// The characters of the hash.
    pub hash: [u8; LENGTH],
}

/// Replaces the hashes in content that arrives in pieces.
///
/// ```
/// use chunker::nar::references::{Normalizer, Restorer};
///
/// let content = b"#!/nix/store/6xg259477c90a229xwmb53pdfkn6ig3g-bash-5.2/bin/sh\n";
/// let mut normalized = Vec::new();
/// let mut normalizer = Normalizer::new();
/// normalizer.feed(content, |bytes| normalized.extend_from_slice(bytes));
/// let references = normalizer.finish(|bytes| normalized.extend_from_slice(bytes));
/// assert_eq!(normalized, b"#!/nix/store/eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee-bash-5.2/bin/sh\n");
/// assert_eq!(references[0].position, 13);
///
/// let mut restored = Vec::new();
/// let mut restorer = Restorer::new(references);
/// restorer.feed(&normalized, |bytes| restored.extend_from_slice(bytes))?;
/// restorer.finish()?;
/// assert_eq!(restored, content);
/// # Ok::<(), chunker::nar::references::ReferencesError>(())
/// ```
///
/// Takes time linear in the content, however it is split into pieces. In addition to the table, which takes
/// 40 bytes for each reference, it buffers at most the 32 bytes of an incomplete hash.
#[derive(Debug, Clone)]
pub struct Normalizer {
    finder: Finder<'static>,
    /// The number of bytes fed.
    offset: u64,
    /// The number of the last bytes that match the beginning of the prefix and a hash. Bytes of the hash have
    /// not been emitted.
    matched: usize,
    /// The characters of the hash among them.
    hash: [u8; LENGTH],
    references: Vec<Reference>,
}

impl Default for Normalizer {
    fn default() -> Self {
        Self::new()
    }
}

impl Normalizer {
    /// Creates a normalizer at the start of a content.
    #[must_use]
    pub fn new() -> Self {
        Self { finder: Finder::new(PREFIX), offset: 0, matched: 0, hash: [0; LENGTH], references: Vec::new() }
    }

    /// Consumes the next bytes and passes the bytes whose values are final to `emit`, in as few calls as are
    /// possible without copying.
    pub fn feed(&mut self, piece: &[u8], mut emit: impl FnMut(&[u8])) {
        // The bytes in `from..at` are scanned and not emitted, except those of an incomplete hash, which are
        // in `self.hash`.
        let (mut from, mut at) = (0, 0);
        while at < piece.len() {
            if self.matched == 0 {
                match self.finder.find(&piece[at..]) {
                    Some(found) => {
                        at += found + PREFIX.len();
                        self.matched = PREFIX.len();
                    }
                    None => {
                        self.matched = beginning_of_prefix(&piece[at..]);
                        at = piece.len();
                    }
                }
            } else if self.matched < PREFIX.len() {
                if piece[at] == PREFIX[self.matched] {
                    self.matched += 1;
                    at += 1;
                } else {
                    // The byte is compared again, with the longest beginning that precedes it.
                    self.matched = beginning_of_prefix(&PREFIX[1..self.matched]);
                }
            } else {
                if self.matched == PREFIX.len() {
                    emit(&piece[from..at]);
                }
                let known = self.matched - PREFIX.len();
                let run = piece[at..].iter().take(LENGTH - known).take_while(|&&byte| is_digit(byte));
                let count = run.count();
                self.hash[known..known + count].copy_from_slice(&piece[at..at + count]);
                at += count;
                self.matched += count;
                from = at;
                if self.matched == PREFIX.len() + LENGTH {
                    emit(&PLACEHOLDER);
                    let position = self.offset + at as u64 - LENGTH as u64;
                    self.references.push(Reference { position, hash: self.hash });
                    self.matched = 0;
                } else if at < piece.len() {
                    let hash = &self.hash[..known + count];
                    emit(hash);
                    // The last byte of one prefix may be the first byte of the next.
                    let next = &PREFIX[1..];
                    self.matched = if next.starts_with(hash) { 1 + hash.len() } else { 0 };
                }
            }
        }
        emit(&piece[from..]);
        self.offset += piece.len() as u64;
    }

    /// Returns the references found since the last call, in ascending order of positions. All their bytes
    /// have been emitted, and none of those of later references.
    pub fn take_references(&mut self) -> Vec<Reference> {
        std::mem::take(&mut self.references)
    }

    /// Ends the content, passes its last bytes to `emit`, and returns the table in ascending order of
    /// positions, without the references that [`take_references`](Self::take_references) has returned. The
    /// normalizer is then at the start of another content.
    pub fn finish(&mut self, mut emit: impl FnMut(&[u8])) -> Vec<Reference> {
        emit(&self.hash[..self.matched.saturating_sub(PREFIX.len())]);
        self.offset = 0;
        self.matched = 0;
        std::mem::take(&mut self.references)
    }
}

/// Returns the length of the longest suffix of `bytes` that is a proper prefix of [`PREFIX`].
fn beginning_of_prefix(bytes: &[u8]) -> usize {
    let most = bytes.len().min(PREFIX.len() - 1);
    (1..=most).rev().find(|&count| bytes.ends_with(&PREFIX[..count])).unwrap_or(0)
}

/// Describes a replaced hash in a chunk, or the part of one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Replaced<Characters = Vec<u8>> {
    /// The position in the chunk, in bytes.
    pub position: usize,
    /// The replaced characters, 1 to 32.
    pub characters: Characters,
}

/// Restores the replaced hashes of a chunk. Checks all of them before it copies any, and allocates nothing.
///
/// # Errors
///
/// Returns [`ReferencesError`] unless the chunk has a placeholder at each position, and the positions are
/// ascending. The chunk is then unchanged.
pub fn restore<C: AsRef<[u8]>>(chunk: &mut [u8], references: &[Replaced<C>]) -> Result<(), ReferencesError> {
    check(chunk, references, |there, _| *there == PLACEHOLDER[..there.len()])?;
    for Replaced { position, characters } in references {
        let characters = characters.as_ref();
        chunk[*position..position + characters.len()].copy_from_slice(characters);
    }
    Ok(())
}

/// Replaces the hashes of a chunk again: the inverse of [`restore`].
///
/// # Errors
///
/// Returns [`ReferencesError`] unless the chunk has these characters at each position, and the positions are
/// ascending. The chunk is then unchanged.
pub fn replace<C: AsRef<[u8]>>(chunk: &mut [u8], references: &[Replaced<C>]) -> Result<(), ReferencesError> {
    check(chunk, references, |there, characters| there == characters)?;
    for Replaced { position, characters } in references {
        let length = characters.as_ref().len();
        chunk[*position..position + length].copy_from_slice(&PLACEHOLDER[..length]);
    }
    Ok(())
}

/// Checks that the chunk has the expected characters at each position.
fn check<C: AsRef<[u8]>>(
    chunk: &[u8],
    references: &[Replaced<C>],
    is_expected: impl Fn(&[u8], &[u8]) -> bool,
) -> Result<(), ReferencesError> {
    let mut end = 0;
    for Replaced { position, characters } in references {
        let characters = characters.as_ref();
        let place = || chunk.get(*position..position.checked_add(characters.len())?);
        if *position < end
            || !(1..=LENGTH).contains(&characters.len())
            || !place().is_some_and(|there| is_expected(there, characters))
        {
            return Err(ReferencesError { position: *position as u64 });
        }
        end = position + characters.len();
    }
    Ok(())
}

/// Reports that a table of references does not match the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no reference at byte {position}")]
pub struct ReferencesError {
    /// The position of the first reference that the content does not have, or that is out of order.
    pub position: u64,
}

impl ErrorCode for ReferencesError {
    fn code(&self) -> &'static str {
        "invalid_references"
    }

    fn details(&self) -> Vec<(&'static str, Detail)> {
        vec![("position", Detail::Number(self.position))]
    }
}

/// Restores the hashes in content that arrives in pieces: the inverse of [`Normalizer`]. `I` iterates over
/// the table.
///
/// Does not buffer any content.
#[derive(Debug, Clone)]
pub struct Restorer<I> {
    references: I,
    next: Option<Reference>,
    /// The number of bytes fed.
    offset: u64,
    failure: Option<ReferencesError>,
}

impl<I: Iterator<Item = Reference>> Restorer<I> {
    /// Creates a restorer at the start of a content with these references, in ascending order of positions.
    pub fn new(references: impl IntoIterator<IntoIter = I>) -> Self {
        let mut references = references.into_iter();
        Self { next: references.next(), references, offset: 0, failure: None }
    }

    /// Consumes the next bytes and passes the original bytes to `emit`.
    ///
    /// # Errors
    ///
    /// Returns [`ReferencesError`] if the content does not have the next reference at its position. Every
    /// further call fails the same way.
    pub fn feed(&mut self, piece: &[u8], emit: impl FnMut(&[u8])) -> Result<(), ReferencesError> {
        if self.failure.is_none() {
            self.failure = self.restore(piece, emit).err();
        }
        self.failure.map_or(Ok(()), Err)
    }

    fn restore(&mut self, mut piece: &[u8], mut emit: impl FnMut(&[u8])) -> Result<(), ReferencesError> {
        while let Some(Reference { position, hash }) = self.next {
            let error = ReferencesError { position };
            let end = position.checked_add(LENGTH as u64).ok_or(error)?;
            let before = usize::try_from(position.saturating_sub(self.offset)).unwrap_or(usize::MAX);
            let Some((head, rest)) = piece.split_at_checked(before) else { break };
            emit(head);
            self.offset += before as u64;
            // The part of the hash that was in earlier pieces.
            let known = (self.offset - position) as usize;
            let count = rest.len().min(LENGTH - known);
            if rest[..count] != PLACEHOLDER[..count] {
                return Err(error);
            }
            emit(&hash[known..known + count]);
            self.offset += count as u64;
            piece = &rest[count..];
            if self.offset < end {
                return Ok(());
            }
            self.next = self.references.next();
            if let Some(Reference { position, .. }) = self.next
                && position < end
            {
                return Err(ReferencesError { position });
            }
        }
        emit(piece);
        self.offset += piece.len() as u64;
        Ok(())
    }

    /// Ends the content.
    ///
    /// # Errors
    ///
    /// Returns [`ReferencesError`] if the content ended before the last reference, and the error of an
    /// earlier call.
    pub fn finish(self) -> Result<(), ReferencesError> {
        let missing = self.next.map(|Reference { position, .. }| ReferencesError { position });
        self.failure.or(missing).map_or(Ok(()), Err)
    }
}
