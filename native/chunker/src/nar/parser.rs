//! Parses the format with a state machine that is fed pieces of any size.

use super::error::{NarError, Rule};
use super::wire::{
    DIRECTORY, END, END_OF_ENTRY, ENTRY, EXECUTABLE, MAGIC, MAX_DEPTH, MAX_END, MAX_NAME, MAX_TARGET, NODE,
    REGULAR, START, SYMLINK, padding,
};

/// A part of a NAR. Events are returned in the order of the NAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A node begins.
    ///
    /// For a regular file, this event precedes the contents: it is returned as soon as their length is known.
    /// They are at `offset..offset + size`.
    Node(Node<'a>),
    /// The next bytes of the contents of the current file, as far as they are in one piece; at least one.
    Contents(&'a [u8]),
    /// The file or directory that began last and has not ended is complete. A symbolic link has no end.
    End,
}

/// A file, directory or symbolic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node<'a> {
    /// The names that lead to the node from the root, with `/` between them. Empty for the root.
    pub path: &'a [u8],
    /// The number of these names.
    pub depth: usize,
    /// The kind of the node.
    pub kind: Kind<&'a [u8]>,
}

/// The kind of a [`Node`] or an [`Entry`](super::Entry). `Target` holds the target of a symbolic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind<Target> {
    /// A directory. Its entries follow, up to its [`Event::End`].
    Directory,
    /// A regular file. Its contents follow, up to its [`Event::End`].
    Regular {
        /// Whether the file is executable.
        executable: bool,
        /// The start of the contents, in bytes from the start of the NAR.
        offset: u64,
        /// The length of the contents, in bytes.
        size: u64,
    },
    /// A symbolic link.
    Symlink {
        /// The target, uninterpreted.
        target: Target,
    },
}

impl<'a> Node<'a> {
    /// Returns the last name of the path. Empty for the root.
    #[must_use]
    pub fn name(&self) -> &'a [u8] {
        self.path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
    }
}

/// Parses a NAR that arrives in pieces.
///
/// ```
/// use chunker::nar::{Event, Kind, NarError, Parser};
///
/// /// Where the contents of each regular file lie.
/// fn files<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<Vec<(u64, u64)>, NarError> {
///     let mut parser = Parser::new();
///     let mut files = Vec::new();
///     for piece in pieces {
///         parser.feed(piece, |event| {
///             if let Event::Node(node) = event && let Kind::Regular { offset, size, .. } = node.kind {
///                 files.push((offset, size));
///             }
///             Ok::<_, NarError>(())
///         })?;
///     }
///     parser.finish()?;
///     Ok(files)
/// }
/// assert!(files([&b"something else"[..]].into_iter()).is_err());
/// ```
///
/// The events do not depend on how the input is split, except [`Event::Contents`], which follow the pieces.
/// Copies a name or target only if it is split between pieces, and never copies contents; contents that are
/// skipped cost nothing. Memory stays below 64 KiB for any input.
///
/// Every call after an error returns that error.
#[derive(Debug, Clone)]
pub struct Parser {
    state: State,
    /// The number of bytes read or skipped.
    offset: u64,
    /// The path of the current node. In a directory, the path of its last entry, which the next name is
    /// compared with.
    path: Vec<u8>,
    /// The length of the path of each open directory.
    directories: Vec<usize>,
    /// The part of a name or target that was in earlier pieces.
    text: Vec<u8>,
    failure: Option<NarError>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// In a token, of which `at` bytes match the alternative.
    Token { place: Place, alternative: usize, at: usize },
    /// In a length, of which `at` bytes were read.
    Length { field: Field, bytes: [u8; 8], at: usize },
    /// In a name or target of this length.
    Text { field: Field, length: usize },
    /// In contents.
    Contents { left: u64 },
    /// In padding.
    Padding { left: u64, then: Place },
    /// After the archive.
    End,
}

/// The position of a token in the grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    /// At the type of a node.
    Kind,
    /// In a directory, before an entry or the end.
    Entries,
    /// After the name of an entry.
    Name,
    /// After the contents of a file.
    File,
    /// After the target of a symbolic link.
    Symlink,
}

/// A field with a length.
#[derive(Debug, Clone, Copy)]
enum Field {
    Contents { executable: bool },
    Target,
    Name,
}

/// An event without the data that it borrows from the parser.
enum Found<'a> {
    Directory,
    Regular {
        executable: bool,
        size: u64,
    },
    /// The target, unless it is in the parser's `text`.
    Symlink(Option<&'a [u8]>),
    Contents(&'a [u8]),
    End,
}

impl Place {
    /// Returns the tokens that are allowed here, the most frequent first. None is a prefix of another.
    const fn alternatives(self, within_entry: bool) -> &'static [&'static [u8]] {
        match (self, within_entry) {
            (Self::Start, _) => &[&START],
            (Self::Kind, _) => &[&REGULAR, &DIRECTORY, &SYMLINK, &EXECUTABLE],
            (Self::Entries, true) => &[&ENTRY, &END_OF_ENTRY],
            (Self::Entries, false) => &[&ENTRY, &END],
            (Self::Name, _) => &[&NODE],
            (Self::File | Self::Symlink, true) => &[&END_OF_ENTRY],
            (Self::File | Self::Symlink, false) => &[&END],
        }
    }
}

impl Default for Parser {
    fn default() -> Self {
        Self::new()
    }
}

impl Parser {
    /// Creates a parser at the start of a NAR.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: State::Token { place: Place::Start, alternative: 0, at: 0 },
            offset: 0,
            path: Vec::new(),
            directories: Vec::new(),
            text: Vec::new(),
            failure: None,
        }
    }

    /// Returns the number of bytes read or skipped.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns whether the archive is complete, so that only the end of the input may follow.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        matches!(self.state, State::End)
    }

    /// Parses up to the next event, removes the parsed bytes from the front of `piece`, and returns the
    /// event, or `None` at the end of the piece. Call it with the same piece until then.
    ///
    /// # Errors
    ///
    /// Returns [`NarError`] if the input breaks a rule.
    pub fn next<'a, 'p: 'a>(&'a mut self, piece: &mut &'p [u8]) -> Result<Option<Event<'a>>, NarError> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let found = match self.advance(piece) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            Err(failure) => {
                self.failure = Some(failure);
                return Err(failure);
            }
        };
        let kind = match found {
            Found::Directory => Kind::Directory,
            Found::Regular { executable, size } => Kind::Regular { executable, offset: self.offset, size },
            Found::Symlink(target) => Kind::Symlink { target: target.unwrap_or(&self.text) },
            Found::Contents(bytes) => return Ok(Some(Event::Contents(bytes))),
            Found::End => return Ok(Some(Event::End)),
        };
        // A directory that begins is already open, and is not part of its own path.
        let depth = self.directories.len() - usize::from(kind == Kind::Directory);
        Ok(Some(Event::Node(Node { path: &self.path, depth, kind })))
    }

    /// Parses all of `piece` and calls `emit` with each event.
    ///
    /// # Errors
    ///
    /// Returns [`NarError`] if the input breaks a rule, and the errors of `emit`, after which the parser is
    /// in the middle of the piece.
    pub fn feed<E: From<NarError>>(
        &mut self,
        mut piece: &[u8],
        mut emit: impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(event) = self.next(&mut piece)? {
            emit(event)?;
        }
        Ok(())
    }

    /// Returns the number of following bytes whose values do not matter, because they are contents. The
    /// caller may [`skip`](Self::skip) some or all of them.
    #[must_use]
    pub const fn skippable(&self) -> u64 {
        match self.state {
            // No rule can be broken within contents, so there is no failure.
            State::Contents { left } => left,
            _ => 0,
        }
    }

    /// Continues as if `count` bytes had been read.
    ///
    /// # Panics
    ///
    /// Panics if `count` exceeds [`skippable`](Self::skippable).
    pub fn skip(&mut self, count: u64) {
        if count > 0 {
            let left = self.skippable().checked_sub(count).expect("only contents can be skipped");
            self.offset += count;
            self.state = State::Contents { left };
        }
    }

    /// Ends the input.
    ///
    /// # Errors
    ///
    /// Returns [`NarError`] with [`Rule::Truncated`] if the archive is not complete, and the error of an
    /// earlier call.
    pub fn finish(&self) -> Result<(), NarError> {
        match self.failure {
            Some(failure) => Err(failure),
            None if self.is_complete() => Ok(()),
            None => Err(NarError { offset: self.offset, rule: Rule::Truncated }),
        }
    }

    /// Returns the error for a rule that is broken `back` bytes before the current position.
    const fn broken(&self, rule: Rule, back: usize) -> NarError {
        NarError { offset: self.offset - back as u64, rule }
    }

    /// Removes `count` bytes from the front of the piece and returns them.
    fn take<'a>(&mut self, piece: &mut &'a [u8], count: usize) -> &'a [u8] {
        let (taken, rest) = piece.split_at(count);
        *piece = rest;
        self.offset += count as u64;
        taken
    }

    /// Parses up to the next event or the end of the piece.
    fn advance<'a>(&mut self, piece: &mut &'a [u8]) -> Result<Option<Found<'a>>, NarError> {
        loop {
            let found = match self.state {
                State::Token { place, alternative, at } => {
                    match self.token(place, alternative, at, piece)? {
                        Some(token) => self.after_token(place, token)?,
                        None => return Ok(None),
                    }
                }
                State::Length { field, mut bytes, at } => {
                    let part = self.take(piece, piece.len().min(8 - at));
                    bytes[at..at + part.len()].copy_from_slice(part);
                    if at + part.len() < 8 {
                        self.state = State::Length { field, bytes, at: at + part.len() };
                        return Ok(None);
                    }
                    self.after_length(field, u64::from_le_bytes(bytes))?
                }
                State::Text { field, length } => {
                    let missing = length - self.text.len();
                    let part = self.take(piece, piece.len().min(missing));
                    let whole = if part.len() == length {
                        Some(part)
                    } else {
                        self.text.extend_from_slice(part);
                        if part.len() < missing {
                            return Ok(None);
                        }
                        None
                    };
                    self.after_text(field, whole)?
                }
                State::Contents { left } => {
                    if left > 0 {
                        if piece.is_empty() {
                            return Ok(None);
                        }
                        let count = usize::try_from(left).map_or(piece.len(), |left| left.min(piece.len()));
                        self.state = State::Contents { left: left - count as u64 };
                        return Ok(Some(Found::Contents(self.take(piece, count))));
                    }
                    // Contents begin at a multiple of 8, like all padded fields.
                    self.state = State::Padding { left: padding(self.offset), then: Place::File };
                    None
                }
                State::Padding { left, then } => {
                    let part = self.take(piece, piece.len().min(left as usize));
                    if let Some(at) = part.iter().position(|&byte| byte != 0) {
                        return Err(self.broken(Rule::Padding, part.len() - at));
                    }
                    if (part.len() as u64) < left {
                        self.state = State::Padding { left: left - part.len() as u64, then };
                        return Ok(None);
                    }
                    self.expect(then);
                    None
                }
                State::End if piece.is_empty() => return Ok(None),
                State::End => return Err(self.broken(Rule::TrailingData, 0)),
            };
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    const fn expect(&mut self, place: Place) {
        self.state = State::Token { place, alternative: 0, at: 0 };
    }

    /// Compares a token and returns the index of the alternative that matches, once all of it was read.
    fn token(
        &mut self,
        place: Place,
        mut alternative: usize,
        mut at: usize,
        piece: &mut &[u8],
    ) -> Result<Option<usize>, NarError> {
        // A directory that ends is itself open.
        let within_entry = self.directories.len() > usize::from(place == Place::Entries);
        let alternatives = place.alternatives(within_entry);
        loop {
            let expected = alternatives[alternative];
            let rest = &expected[at..];
            let same = if piece.starts_with(rest) {
                rest.len()
            } else {
                piece.iter().zip(rest).take_while(|(byte, expected)| byte == expected).count()
            };
            self.take(piece, same);
            at += same;
            if at == expected.len() {
                return Ok(Some(alternative));
            }
            let Some(&byte) = piece.first() else {
                self.state = State::Token { place, alternative, at };
                return Ok(None);
            };
            let begins_alike = |other: &&[u8]| other.get(..at) == expected.get(..at);
            let goes_on = |other: &&[u8]| begins_alike(other) && other.get(at) == Some(&byte);
            let Some(other) = alternatives.iter().position(goes_on) else {
                let rule = if place == Place::Start && at < MAGIC { Rule::Magic } else { Rule::Token };
                return Err(self.broken(rule, 0));
            };
            alternative = other;
        }
    }

    fn after_token(&mut self, place: Place, token: usize) -> Result<Option<Found<'static>>, NarError> {
        let length = |field| State::Length { field, bytes: [0; 8], at: 0 };
        match (place, token) {
            (Place::Start | Place::Name, _) => self.expect(Place::Kind),
            (Place::Kind, 0) => self.state = length(Field::Contents { executable: false }),
            (Place::Kind, 1) => {
                self.directories.push(self.path.len());
                self.expect(Place::Entries);
                return Ok(Some(Found::Directory));
            }
            (Place::Kind, 2) => self.state = length(Field::Target),
            (Place::Kind, _) => self.state = length(Field::Contents { executable: true }),
            (Place::Entries, 0) => {
                if self.directories.len() >= MAX_DEPTH {
                    return Err(self.broken(Rule::Depth, ENTRY.len()));
                }
                self.state = length(Field::Name);
            }
            (Place::Entries, _) => {
                let path = self.directories.pop().expect("entries are in a directory");
                self.path.truncate(path);
                self.after_node();
                return Ok(Some(Found::End));
            }
            (Place::File, _) => {
                self.after_node();
                return Ok(Some(Found::End));
            }
            (Place::Symlink, _) => self.after_node(),
        }
        Ok(None)
    }

    /// Continues after the end of a node and of its entry.
    const fn after_node(&mut self) {
        if self.directories.is_empty() { self.state = State::End } else { self.expect(Place::Entries) }
    }

    fn after_length(&mut self, field: Field, length: u64) -> Result<Option<Found<'static>>, NarError> {
        let (empty, too_long, most) = match field {
            Field::Name => (Rule::NameEmpty, Rule::NameTooLong, MAX_NAME as u64),
            Field::Target => (Rule::TargetEmpty, Rule::TargetTooLong, MAX_TARGET as u64),
            Field::Contents { executable } => {
                if self.offset.checked_add(length).is_none_or(|end| end > MAX_END) {
                    return Err(self.broken(Rule::ContentsTooLong, 8));
                }
                self.state = State::Contents { left: length };
                return Ok(Some(Found::Regular { executable, size: length }));
            }
        };
        if length == 0 || length > most {
            return Err(self.broken(if length == 0 { empty } else { too_long }, 8));
        }
        self.text.clear();
        self.state = State::Text { field, length: length as usize };
        Ok(None)
    }

    /// Continues after a text, which is `whole`, or in `self.text` if that is `None`.
    fn after_text<'a>(
        &mut self,
        field: Field,
        whole: Option<&'a [u8]>,
    ) -> Result<Option<Found<'a>>, NarError> {
        let text = whole.unwrap_or(&self.text);
        let length = text.len();
        let then = match field {
            Field::Name => {
                if let Some(at) = text.iter().position(|&byte| byte == b'/' || byte == 0) {
                    return Err(self.broken(Rule::NameInvalid, length - at));
                }
                if text == b"." || text == b".." {
                    return Err(self.broken(Rule::NameInvalid, length));
                }
                let directory = *self.directories.last().expect("names are in a directory");
                // Below the root, a slash separates the path of the directory from the name.
                let start = directory + usize::from(directory > 0);
                if self.path.get(start..).is_some_and(|previous| text <= previous) {
                    return Err(self.broken(Rule::NamesUnsorted, length));
                }
                self.path.truncate(directory);
                if directory > 0 {
                    self.path.push(b'/');
                }
                self.path.extend_from_slice(text);
                Place::Name
            }
            Field::Target => {
                if let Some(at) = text.iter().position(|&byte| byte == 0) {
                    return Err(self.broken(Rule::TargetInvalid, length - at));
                }
                Place::Symlink
            }
            Field::Contents { .. } => unreachable!("contents are not text"),
        };
        self.state = State::Padding { left: padding(self.offset), then };
        Ok((then == Place::Symlink).then_some(Found::Symlink(whole)))
    }
}
