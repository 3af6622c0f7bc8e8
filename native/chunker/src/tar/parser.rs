//! Parses tars with a state machine that is fed pieces of any size.

use super::header::{BLOCK, Block, Header, map_goes_on};
use super::records::{Records, Size};

/// A part of a tar. Events are returned in the order of the tar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A member begins. This event precedes its contents: it is returned as soon as its headers are complete.
    Member(Member),
    /// The member that began last is complete, with its padding.
    End,
}

/// A member of a tar: a file, directory, link or anything else that has a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// The type in its header: `b'0'` for most files, `b'5'` for a directory.
    pub kind: u8,
    /// The start of its first header, in bytes from the start of the tar. Pax records and long names are in headers
    /// of their own; global records belong to no member.
    pub start: u64,
    /// The start of the contents, in bytes from the start of the tar.
    pub offset: u64,
    /// The length of the contents in the tar, in bytes. A sparse file is longer.
    pub size: u64,
}

/// Parses a tar that arrives in pieces.
///
/// ```
/// use chunker::tar::{Event, Parser};
///
/// /// Where the contents of each member lie.
/// fn contents<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<(u64, u64)> {
///     let mut parser = Parser::new();
///     let mut contents = Vec::new();
///     for mut piece in pieces {
///         while let Some(event) = parser.next(&mut piece) {
///             if let Event::Member(member) = event {
///                 contents.push((member.offset, member.size));
///             }
///         }
///     }
///     contents
/// }
/// assert!(contents([&b"something else"[..]].into_iter()).is_empty());
/// ```
///
/// The events do not depend on how the input is split. After a block that is not understood there are none. Uses
/// constant memory, and contents that are skipped cost nothing.
#[derive(Debug, Clone)]
pub struct Parser {
    state: State,
    /// The number of bytes read or skipped.
    offset: u64,
    /// The part of a block that was in earlier pieces.
    block: Block,
    /// The start of the first header of the next member, once there is one.
    start: Option<u64>,
    /// What pax records say about the next member.
    size: Size,
    /// What pax records say about all following members.
    global_size: Size,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// In a header, of which `at` bytes were read.
    Header { at: usize },
    /// In the map of a sparse file, of which a block follows the header.
    Map { at: usize, size: u64 },
    /// In pax records.
    Records { records: Records, is_global: bool, left: u64 },
    /// In contents.
    Contents { left: u64 },
    /// In what precedes the next header.
    Padding { left: u64, then: Then },
    /// Behind the last block that was understood.
    Unknown,
}

/// What follows padding.
#[derive(Debug, Clone, Copy)]
enum Then {
    /// Another header of the same member.
    Header,
    /// The end of the member.
    End,
}

/// The number of bytes that a file can have, in which contents must end.
const MAX_END: u64 = i64::MAX as u64;

impl Default for Parser {
    fn default() -> Self {
        Self::new()
    }
}

impl Parser {
    /// Creates a parser at the start of a tar.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: State::Header { at: 0 },
            offset: 0,
            block: [0; BLOCK],
            start: None,
            size: Size::Unset,
            global_size: Size::Unset,
        }
    }

    /// Returns the number of bytes read or skipped.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns whether all blocks up to here were understood.
    #[must_use]
    pub const fn is_tar(&self) -> bool {
        !matches!(self.state, State::Unknown)
    }

    /// Parses up to the next event, removes the parsed bytes from the front of `piece`, and returns the event, or
    /// `None` at the end of the piece. Call it with the same piece until then.
    pub fn next(&mut self, piece: &mut &[u8]) -> Option<Event> {
        loop {
            match self.state {
                State::Header { at } => {
                    let start = self.offset - at as u64;
                    let Some(block) = self.take_block(at, piece) else {
                        self.state = State::Header { at: (self.offset - start) as usize };
                        return None;
                    };
                    if let Some(member) = self.after_header(start, &block) {
                        return Some(Event::Member(member));
                    }
                }
                State::Map { at, size } => {
                    let start = self.offset - at as u64;
                    let Some(block) = self.take_block(at, piece) else {
                        self.state = State::Map { at: (self.offset - start) as usize, size };
                        return None;
                    };
                    if map_goes_on(&block) {
                        self.state = State::Map { at: 0, size };
                    } else if let Some(member) = self.begin(b'S', size) {
                        return Some(Event::Member(member));
                    }
                }
                State::Records { mut records, is_global, left } => {
                    let part = self.take(piece, left);
                    let read = records.feed(part);
                    let left = left - part.len() as u64;
                    self.state = State::Records { records, is_global, left };
                    if read.is_err() {
                        self.state = State::Unknown;
                    } else if left > 0 {
                        return None;
                    } else {
                        self.after_records(records, is_global);
                    }
                }
                State::Contents { left } => {
                    let left = left - self.take(piece, left).len() as u64;
                    if left > 0 {
                        self.state = State::Contents { left };
                        return None;
                    }
                    self.pad(Then::End);
                }
                State::Padding { left, then } => {
                    let left = left - self.take(piece, left).len() as u64;
                    if left > 0 {
                        self.state = State::Padding { left, then };
                        return None;
                    }
                    self.state = State::Header { at: 0 };
                    if matches!(then, Then::End) {
                        return Some(Event::End);
                    }
                }
                State::Unknown => {
                    self.take(piece, u64::MAX);
                    return None;
                }
            }
        }
    }

    /// Returns the number of following bytes whose values do not matter, because they are contents. The caller may
    /// [`skip`](Self::skip) some or all of them.
    #[must_use]
    pub const fn skippable(&self) -> u64 {
        if let State::Contents { left } = self.state { left } else { 0 }
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

    /// Removes up to `most` bytes from the front of the piece and returns them.
    fn take<'a>(&mut self, piece: &mut &'a [u8], most: u64) -> &'a [u8] {
        let count = usize::try_from(most).map_or(piece.len(), |most| most.min(piece.len()));
        let (taken, rest) = piece.split_at(count);
        *piece = rest;
        self.offset += count as u64;
        taken
    }

    /// Takes the rest of a block of which `at` bytes were read, and returns the block once it is complete.
    fn take_block(&mut self, at: usize, piece: &mut &[u8]) -> Option<Block> {
        let part = self.take(piece, (BLOCK - at) as u64);
        self.block[at..at + part.len()].copy_from_slice(part);
        (at + part.len() == BLOCK).then_some(self.block)
    }

    /// Continues after the header that began at `start`, and returns the member if it begins.
    fn after_header(&mut self, start: u64, block: &Block) -> Option<Member> {
        if block.iter().all(|&byte| byte == 0) {
            // The end of an archive, which another one may follow.
            (self.start, self.size, self.global_size) = (None, Size::Unset, Size::Unset);
            self.state = State::Header { at: 0 };
            return None;
        }
        let Some(Header { kind, size, extended }) = Header::read(block) else {
            self.state = State::Unknown;
            return None;
        };
        let is_global = kind == b'g';
        if !is_global {
            self.start.get_or_insert(start);
        }
        match kind {
            b'g' | b'x' | b'X' | b'L' | b'K' if !self.fits(size) => self.state = State::Unknown,
            b'g' | b'x' | b'X' => {
                self.state = State::Records { records: Records::new(), is_global, left: size };
            }
            b'L' | b'K' => {
                self.state = State::Padding { left: size.next_multiple_of(BLOCK as u64), then: Then::Header }
            }
            _ => {
                let of_records = match (self.size, self.global_size) {
                    (Size::Bytes(size), _) | (Size::Unset, Size::Bytes(size)) => Some(size),
                    _ => None,
                };
                let size = match kind {
                    b'1' => of_records.unwrap_or(0),
                    b'2'..=b'6' => 0,
                    _ => of_records.unwrap_or(size),
                };
                if !extended {
                    return self.begin(kind, size);
                }
                self.state = State::Map { at: 0, size };
            }
        }
        None
    }

    /// Begins the contents of a member.
    fn begin(&mut self, kind: u8, size: u64) -> Option<Member> {
        if !self.fits(size) {
            self.state = State::Unknown;
            return None;
        }
        self.state = State::Contents { left: size };
        self.size = Size::Unset;
        let start = self.start.take().expect("a member has a header");
        Some(Member { kind, start, offset: self.offset, size })
    }

    fn after_records(&mut self, records: Records, is_global: bool) {
        match (records.finish(), is_global) {
            (Err(_), _) => {
                self.state = State::Unknown;
                return;
            }
            (Ok(Size::Unset), _) => {}
            (Ok(size), false) => self.size = size,
            (Ok(size), true) => self.global_size = size,
        }
        self.pad(Then::Header);
    }

    /// Continues with the padding up to the next block. All headers begin at a multiple of the length of a block.
    const fn pad(&mut self, then: Then) {
        self.state = State::Padding { left: self.offset.next_multiple_of(BLOCK as u64) - self.offset, then };
    }

    /// Returns whether contents of this length, with their padding, end within the length that a file can have.
    fn fits(&self, size: u64) -> bool {
        self.offset.checked_add(size).is_some_and(|end| end <= MAX_END - BLOCK as u64)
    }
}
