//! Store hashes taken out of content before it is chunked, and put back after.
//!
//! A package names its dependencies by their paths in the store: `/nix/store/`, a hash of 32 characters, `-` and a name.
//! When something deep down changes, everything above it is built anew, and of many packages nothing changes but those
//! hashes, which are spread over all their files. [`Normalizer`] replaces each by [`PLACEHOLDER`] and keeps the hash and its
//! position in a table, so that the chunks of such a rebuild are the old ones and only the table is new. [`Restorer`] is
//! the inverse.
//!
//! A reference is any 32 characters of Nix's base 32 that follow `/nix/store/`, whatever stands behind them: in a link of
//! symbols, in the middle of a program, in a text. References never overlap, for the prefix has `/`, which no hash has.
//! Lengths do not change, so that a NAR stays a NAR, with all its files where they were. Restoring looks at positions alone,
//! so that content which happens to hold the placeholder comes back as it was.

use memchr::memmem::Finder;

use crate::hash::nix_base32::is_digit;

/// What precedes a hash.
const PREFIX: &[u8] = b"/nix/store/";

/// The length of a hash in a store path, in characters.
pub(super) const LENGTH: usize = 32;

/// What stands in place of each hash. Nix's base 32 has no `e`: what was normalized once has no references.
pub const PLACEHOLDER: [u8; LENGTH] = [b'e'; LENGTH];

/// A hash that was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reference {
    /// Where its first character is, in bytes from the start of the content.
    pub position: u64,
    /// Its characters.
    pub hash: [u8; LENGTH],
}

/// Replaces the hashes in content that comes in pieces.
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
/// Time is linear in the content, however it is cut into pieces. Beside the table, which has 40 bytes for each reference,
/// it keeps 32 bytes: those of a hash that is not complete.
#[derive(Debug, Clone)]
pub struct Normalizer {
    finder: Finder<'static>,
    /// How many bytes were fed.
    offset: u64,
    /// How many of the last bytes are the beginning of the prefix and a hash. Those of the hash have not been given out.
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
    /// A normalizer at the start of a content.
    #[must_use]
    pub fn new() -> Self {
        Self { finder: Finder::new(PREFIX), offset: 0, matched: 0, hash: [0; LENGTH], references: Vec::new() }
    }

    /// Takes in the next bytes, and gives those that have become certain to `emit`, in as few calls as there can be without
    /// copying.
    pub fn feed(&mut self, piece: &[u8], mut emit: impl FnMut(&[u8])) {
        // The bytes from `from` to `at` are looked at and not given out, those of an incomplete hash left aside.
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
                    // The byte is looked at again, with what could still begin before it.
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

    /// The references that were found since this was called last, in ascending order of positions. Their bytes have been given
    /// out by then, and none of those that are still to be found.
    pub fn take_references(&mut self) -> Vec<Reference> {
        std::mem::take(&mut self.references)
    }

    /// Ends the content, gives the rest of it to `emit`, and gives the table, in ascending order of positions: of all references,
    /// but for those that were [taken](Self::take_references) before. The normalizer is then at the start of another content.
    pub fn finish(&mut self, mut emit: impl FnMut(&[u8])) -> Vec<Reference> {
        emit(&self.hash[..self.matched.saturating_sub(PREFIX.len())]);
        self.offset = 0;
        self.matched = 0;
        std::mem::take(&mut self.references)
    }
}

/// How many of the last bytes are a beginning of the prefix, and not all of it.
fn beginning_of_prefix(bytes: &[u8]) -> usize {
    let most = bytes.len().min(PREFIX.len() - 1);
    (1..=most).rev().find(|&count| bytes.ends_with(&PREFIX[..count])).unwrap_or(0)
}

/// What was taken out of a chunk: a hash, or the part of one that is in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Replaced {
    /// Where it is in the chunk, in bytes from its start.
    pub position: usize,
    /// The characters that stood there, at most 32.
    pub characters: Vec<u8>,
}

/// Puts back into a chunk what was taken out of it.
///
/// # Errors
///
/// [`ReferencesError`] unless the chunk has a placeholder at each of the places, which must be in ascending order. The chunk is
/// then as it was.
pub fn restore(chunk: &mut [u8], references: &[Replaced]) -> Result<(), ReferencesError> {
    check(chunk, references, |there, _| *there == PLACEHOLDER[..there.len()])?;
    for Replaced { position, characters } in references {
        chunk[*position..position + characters.len()].copy_from_slice(characters);
    }
    Ok(())
}

/// Takes out of a chunk again what was taken out of it before: the inverse of [`restore`].
///
/// # Errors
///
/// [`ReferencesError`] unless it has those characters in these places. The chunk is then as it was.
pub fn replace(chunk: &mut [u8], references: &[Replaced]) -> Result<(), ReferencesError> {
    check(chunk, references, |there, characters| there == characters)?;
    for Replaced { position, characters } in references {
        chunk[*position..position + characters.len()].copy_from_slice(&PLACEHOLDER[..characters.len()]);
    }
    Ok(())
}

/// Whether there is in each place what should be there.
fn check(
    chunk: &[u8],
    references: &[Replaced],
    is_expected: impl Fn(&[u8], &[u8]) -> bool,
) -> Result<(), ReferencesError> {
    let mut end = 0;
    for Replaced { position, characters } in references {
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

/// A table of references does not belong to the content that it was used with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no reference at byte {position}")]
pub struct ReferencesError {
    /// The position of the first reference in the table that the content does not have, or that is out of order.
    pub position: u64,
}

impl ReferencesError {
    /// The stable name of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "invalid_references"
    }
}

/// Puts hashes back into content that comes in pieces: the inverse of [`Normalizer`]. `I` gives the table.
///
/// It keeps nothing of the content.
#[derive(Debug, Clone)]
pub struct Restorer<I> {
    references: I,
    next: Option<Reference>,
    /// How many bytes were fed.
    offset: u64,
    failure: Option<ReferencesError>,
}

impl<I: Iterator<Item = Reference>> Restorer<I> {
    /// A restorer at the start of a content that had these references, in ascending order of positions.
    pub fn new(references: impl IntoIterator<IntoIter = I>) -> Self {
        let mut references = references.into_iter();
        Self { next: references.next(), references, offset: 0, failure: None }
    }

    /// Takes in the next bytes and gives what they were to `emit`.
    ///
    /// # Errors
    ///
    /// [`ReferencesError`] when the next reference is not where the table says. All later calls give that error too.
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
            // The part of the hash that earlier pieces did not have.
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
    /// [`ReferencesError`] when it ended before the table, or when there was an error before.
    pub fn finish(self) -> Result<(), ReferencesError> {
        let missing = self.next.map(|Reference { position, .. }| ReferencesError { position });
        self.failure.or(missing).map_or(Ok(()), Err)
    }
}
