//! The fixed parts of a NAR, fused into tokens as long as they can be.

/// A path has fewer names than this. A directory that has no place for entries any more may be there, empty.
pub const MAX_DEPTH: usize = 64;

/// The longest name, in bytes: that of Linux.
pub const MAX_NAME: usize = 255;

/// The longest target of a symbolic link, in bytes: that of Linux, whose limit of 4096 counts a NUL.
pub const MAX_TARGET: usize = 4095;

/// Where the contents of a file may end at most.
pub(super) const MAX_END: u64 = i64::MAX as u64;

/// How many zeros follow a string of that length.
pub(super) const fn padding(length: u64) -> u64 {
    length.wrapping_neg() % 8
}

/// The length of a string with all that belongs to it.
const fn size(string: &str) -> usize {
    8 + string.len().next_multiple_of(8)
}

/// Strings as they stand in a NAR. `N` is checked by the compiler.
const fn token<const N: usize>(strings: &[&str]) -> [u8; N] {
    let mut bytes = [0; N];
    let (mut at, mut index) = (0, 0);
    while index < strings.len() {
        let string = strings[index].as_bytes();
        assert!(string.len() < 256, "the length fits into its first byte");
        bytes[at] = string.len() as u8;
        let mut byte = 0;
        while byte < string.len() {
            bytes[at + 8 + byte] = string[byte];
            byte += 1;
        }
        at += size(strings[index]);
        index += 1;
    }
    assert!(at == N);
    bytes
}

/// What every NAR begins with.
pub const START: [u8; 56] = token(&["nix-archive-1", "(", "type"]);

/// How long the first string of [`START`] is, which says that this is a NAR.
pub(super) const MAGIC: usize = size("nix-archive-1");

pub(super) const REGULAR: [u8; 32] = token(&["regular", "contents"]);
pub(super) const EXECUTABLE: [u8; 64] = token(&["regular", "executable", "", "contents"]);
pub(super) const SYMLINK: [u8; 32] = token(&["symlink", "target"]);
pub(super) const DIRECTORY: [u8; 24] = token(&["directory"]);

/// Before the name of an entry.
pub(super) const ENTRY: [u8; 48] = token(&["entry", "(", "name"]);

/// After the name of an entry.
pub(super) const NODE: [u8; 48] = token(&["node", "(", "type"]);

/// The end of the root.
pub(super) const END: [u8; 16] = token(&[")"]);

/// The end of a node and of the entry that it is in.
pub(super) const END_OF_ENTRY: [u8; 32] = token(&[")", ")"]);
