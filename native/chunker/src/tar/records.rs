//! Reads pax records, which arrive in pieces of any size, without keeping them.

/// Reads the records `LENGTH KEY=VALUE\n` of an extended header and keeps the value of `size`. `LENGTH` is that of
/// the whole record, in decimal digits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Records {
    state: State,
    size: Size,
}

/// What the records say about the length of the contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Size {
    /// Nothing.
    #[default]
    Unset,
    /// An empty value, which revokes that of a global header.
    Revoked,
    Bytes(u64),
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// In the length, of which this many digits were read.
    Length { digits: u64, value: u64 },
    /// In the key, of which `matched` bytes equal those of [`KEY`]. `left` bytes of the record follow.
    Key { matched: usize, left: u64 },
    /// In the value of `size`.
    Value { size: Size, left: u64 },
    /// In a record that does not matter.
    Other { left: u64 },
    /// After a NUL in place of a record, which some programs write at the end.
    End,
}

const KEY: &[u8] = b"size=";

const START: State = State::Length { digits: 0, value: 0 };

/// An extended header that breaks the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

impl Records {
    pub(super) const fn new() -> Self {
        Self { state: START, size: Size::Unset }
    }

    /// Reads the next bytes of the header.
    pub(super) fn feed(&mut self, mut piece: &[u8]) -> Result<(), Malformed> {
        while let [byte, rest @ ..] = piece {
            // Most bytes are in values that do not matter: all but the last byte of a record are skipped at once.
            if let State::Other { left } = &mut self.state
                && *left > 1
            {
                let count = usize::try_from(*left - 1).map_or(piece.len(), |left| left.min(piece.len()));
                *left -= count as u64;
                piece = &piece[count..];
                continue;
            }
            self.state = self.after(*byte)?;
            piece = rest;
        }
        Ok(())
    }

    /// Ends the header and returns what it says.
    pub(super) const fn finish(self) -> Result<Size, Malformed> {
        match self.state {
            State::End | State::Length { digits: 0, .. } => Ok(self.size),
            _ => Err(Malformed),
        }
    }

    /// Returns the state after the next byte.
    fn after(&mut self, byte: u8) -> Result<State, Malformed> {
        Ok(match self.state {
            State::Length { digits: 0, .. } if byte == 0 => State::End,
            State::Length { digits, value } => match byte {
                b'0'..=b'9' => {
                    State::Length { digits: digits + 1, value: decimal(value, byte).ok_or(Malformed)? }
                }
                b' ' if digits > 0 => {
                    // A key of a byte, `=` and the newline are left at least.
                    let left = value.checked_sub(digits + 1).filter(|&left| left >= 3).ok_or(Malformed)?;
                    State::Key { matched: 0, left }
                }
                _ => return Err(Malformed),
            },
            State::Key { matched, left } if byte == KEY[matched] && left > 1 => {
                let (matched, left) = (matched + 1, left - 1);
                if matched == KEY.len() {
                    State::Value { size: Size::Revoked, left }
                } else {
                    State::Key { matched, left }
                }
            }
            State::Value { size, left } if left > 1 => {
                let value = if let Size::Bytes(value) = size { value } else { 0 };
                let digit = byte.is_ascii_digit().then_some(byte).ok_or(Malformed)?;
                State::Value { size: Size::Bytes(decimal(value, digit).ok_or(Malformed)?), left: left - 1 }
            }
            State::Key { left, .. } | State::Other { left } if left > 1 => State::Other { left: left - 1 },
            State::Key { .. } | State::Other { .. } | State::Value { .. } if byte != b'\n' => {
                return Err(Malformed);
            }
            State::Value { size, .. } => {
                self.size = size;
                START
            }
            State::Key { .. } | State::Other { .. } => START,
            State::End => State::End,
        })
    }
}

/// Appends a decimal digit to a number.
fn decimal(value: u64, digit: u8) -> Option<u64> {
    value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: &[u8]) -> Result<Size, Malformed> {
        let whole = read_in_pieces(header, usize::MAX);
        for length in 1..8 {
            assert_eq!(read_in_pieces(header, length), whole, "{} by {length}", header.escape_ascii());
        }
        whole
    }

    fn read_in_pieces(header: &[u8], length: usize) -> Result<Size, Malformed> {
        let mut records = Records::new();
        for piece in header.chunks(length) {
            records.feed(piece)?;
        }
        records.finish()
    }

    #[test]
    fn the_size_is_found_among_other_records() {
        for (header, size) in [
            (&b""[..], Size::Unset),
            (b"30 mtime=1700000000.123456789\n", Size::Unset),
            (b"12 size=123\n", Size::Bytes(123)),
            (b"0012 size=1\n", Size::Bytes(1)),
            (b"28 mtime=1700000000.1234567\n19 size=8589934592\n12 path=abc\n", Size::Bytes(8 << 30)),
            (b"12 size=123\n12 size=456\n", Size::Bytes(456)),
            (b"12 size=123\n8 size=\n", Size::Revoked),
            (b"12 sizes=12\n", Size::Unset),
            (b"12 siz=size\n", Size::Unset),
            (b"17 path=\n size=1\n", Size::Unset),
            (b"29 size=18446744073709551615\n", Size::Bytes(u64::MAX)),
            (b"12 size=123\n\0\0junk", Size::Bytes(123)),
        ] {
            assert_eq!(read(header), Ok(size), "{}", header.escape_ascii());
        }
    }

    #[test]
    fn malformed_records_are_refused() {
        for header in [
            &b"x"[..],
            b" 12 size=123\n",
            b"12size=123\n",
            b"12 size=123",
            b"11 size=123\n",
            b"13 size=123\n",
            b"12 size=12x\n",
            b"12 size=-12\n",
            b"29 size=18446744073709551616\n",
            b"0 size=1\n",
            b"2 \n",
            b"4 \n\n",
            b"99999999999999999999999 a=b\n",
            b"18446744073709551615 a=b\n",
            b"12",
        ] {
            assert_eq!(read(header), Err(Malformed), "{}", header.escape_ascii());
        }
    }
}
