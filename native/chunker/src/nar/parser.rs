//! NarConsumer the format: a state machine that is fed pieces of any size.

use super::error::{NarError, Rule};
use super::wire::{
    DIRECTORY, END, END_OF_ENTRY, ENTRY, EXECUTABLE, MAGIC, MAX_DEPTH, MAX_END, MAX_NAME, MAX_TARGET, NODE,
    REGULAR, START, SYMLINK, padding,
};

/// What a NAR holds, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A node begins.
    ///
    /// For a regular file it comes as soon as the length of the contents is known, before any of them: they lie at
    /// `offset..offset + size`, whether or not they are there yet.
    Node(Node<'a>),
    /// The next bytes of the contents of the file that began last; as many as came in one piece, never none.
    Contents(&'a [u8]),
    /// The file or directory that began last and has not ended is complete. (A symbolic link has no end of its own.)
    End,
}

/// A file, directory or symbolic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node<'a> {
    /// The names that lead to it from the root, with `/` between them: empty for the root itself.
    pub path: &'a [u8],
    /// How many names that are.
    pub depth: usize,
    /// What it is.
    pub kind: Kind<&'a [u8]>,
}

/// What a [`Node`] or an [`Entry`](super::Entry) is, with targets in a form that the one or the other can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind<Target> {
    /// A directory. Its entries follow, up to its [`Event::End`].
    Directory,
    /// A regular file. Its contents follow, up to its [`Event::End`].
    Regular {
        /// Whether it is marked as executable.
        executable: bool,
        /// Where in the NAR the contents begin.
        offset: u64,
        /// How many bytes they are.
        size: u64,
    },
    /// A symbolic link.
    Symlink {
        /// Where it leads, as it stands there.
        target: Target,
    },
}

impl<'a> Node<'a> {
    /// The last name of its path, which is empty for the root.
    #[must_use]
    pub fn name(&self) -> &'a [u8] {
        self.path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
    }
}

/// Reads a NAR that comes in pieces.
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
/// What it tells is the same however the input is cut into pieces, but for [`Event::Contents`], which come as they were fed.
/// It copies a name or a target of which only a part is there, and never contents; those that nobody looks at cost
/// nothing. Memory stays below 64 KiB, whatever the input says.
///
/// After an error all calls give that error.
#[derive(Debug, Clone)]
pub struct Parser {
    state: State,
    /// How many bytes were read or skipped.
    offset: u64,
    /// The path of the current node. In a directory, that of its latest entry, with which the next one is compared.
    path: Vec<u8>,
    /// For each directory that is open the length of its path.
    directories: Vec<usize>,
    /// The part of a name or target that was in earlier pieces.
    text: Vec<u8>,
    failure: Option<NarError>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Within a fixed part, of which `at` bytes are those of the alternative.
    Token { place: Place, alternative: usize, at: usize },
    /// Within the length of something.
    Length { field: Field, bytes: [u8; 8], at: usize },
    /// Within a name or target of that length.
    Text { field: Field, length: usize },
    /// Within contents.
    Contents { left: u64 },
    /// Within the zeros after something.
    Padding { left: u64, then: Place },
    /// After the archive.
    End,
}

/// Where a fixed part stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    /// What kind of node it is.
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

/// What has a length.
#[derive(Debug, Clone, Copy)]
enum Field {
    Contents { executable: bool },
    Target,
    Name,
}

/// An event without what it borrows from the parser.
enum Found<'a> {
    Directory,
    Regular {
        executable: bool,
        size: u64,
    },
    /// With its target, unless that is in the parser's `text`.
    Symlink(Option<&'a [u8]>),
    Contents(&'a [u8]),
    End,
}

impl Place {
    /// What can stand here, the most frequent first. None is the beginning of another.
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
    /// A parser at the start of a NAR.
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

    /// How many bytes were read or skipped.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether the archive is complete: only its end may follow.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        matches!(self.state, State::End)
    }

    /// Reads on in `piece`, takes what it has read off its front, and tells what that comes to; `None` when all of the piece
    /// was read. To be called until then, with the same piece.
    ///
    /// # Errors
    ///
    /// [`NarError`] where the input breaks a rule.
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
        // A directory that begins is open already, and is no part of its own path.
        let depth = self.directories.len() - usize::from(kind == Kind::Directory);
        Ok(Some(Event::Node(Node { path: &self.path, depth, kind })))
    }

    /// Reads all of `piece` and calls `tell` with what it comes to.
    ///
    /// # Errors
    ///
    /// [`NarError`] where the input breaks a rule, and what `tell` fails with; the parser is then in the middle of the
    /// piece.
    pub fn feed<E: From<NarError>>(
        &mut self,
        mut piece: &[u8],
        mut tell: impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(event) = self.next(&mut piece)? {
            tell(event)?;
        }
        Ok(())
    }

    /// How many bytes come next whose values do not matter, since they are contents. Whoever can go on behind them may
    /// [`skip`](Self::skip) some or all.
    #[must_use]
    pub const fn skippable(&self) -> u64 {
        match self.state {
            State::Contents { left } if self.failure.is_none() => left,
            _ => 0,
        }
    }

    /// Goes on as if `count` bytes had been read.
    ///
    /// # Panics
    ///
    /// When that is more than is [`skippable`](Self::skippable).
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
    /// [`Rule::Truncated`] if the archive is not complete, and the error there was before.
    pub fn finish(&self) -> Result<(), NarError> {
        match self.failure {
            Some(failure) => Err(failure),
            None if self.is_complete() => Ok(()),
            None => Err(NarError { offset: self.offset, rule: Rule::Truncated }),
        }
    }

    /// That the rule is broken `back` bytes before the next one.
    const fn broken(&self, rule: Rule, back: usize) -> NarError {
        NarError { offset: self.offset - back as u64, rule }
    }

    /// Takes bytes off the front of the piece.
    fn take<'a>(&mut self, piece: &mut &'a [u8], count: usize) -> &'a [u8] {
        let (taken, rest) = piece.split_at(count);
        *piece = rest;
        self.offset += count as u64;
        taken
    }

    /// Reads up to the next event, or the end of the piece.
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
                    // Contents begin at a multiple of 8, as everything does that has padding.
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

    /// The alternative that stands there, once all of it was read.
    fn token(
        &mut self,
        place: Place,
        mut alternative: usize,
        mut at: usize,
        piece: &mut &[u8],
    ) -> Result<Option<usize>, NarError> {
        // A directory that ends is open itself.
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

    /// A node has ended, and with it the entry that it is in.
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

    /// The text is `whole`, or in `self.text`.
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
                // A directory below the root has a slash between its path and the name.
                let start = directory + usize::from(directory > 0);
                if self.path.get(start..).is_some_and(|previous| !previous.is_empty() && text <= previous) {
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
            Field::Contents { .. } => unreachable!("contents are no text"),
        };
        self.state = State::Padding { left: padding(self.offset), then };
        Ok((then == Place::Symlink).then_some(Found::Symlink(whole)))
    }
}
